"""Schema cost: an upper bound on what judging data against a schema takes, known before it is done.

Judging cannot be interrupted, and some schemas make the validator compute for ever: alternatives
that lead to alternatives double with each step, comparing a number may take a thousand times as
long as another. So a bound is computed when a schema is compiled, linear in the data: so much for
each of its values, and for each of its bytes. It assumes the worst data: no alternative is decided
early, every number is huge, every text nearly matches.

What the table below does not know has no bound, nor have references that go round within one value
or that point elsewhere than into the schema's own text. Computing it takes a few milliseconds.
What is left to others: where that is judged which has no bound, or a large one (service).
"""

import re
from collections.abc import Callable, Iterable, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

import msgspec


class JudgingCost(NamedTuple):
    """Nanoseconds that judging takes at most, on a machine of today."""

    per_value: float = 0.0
    per_byte: float = 0.0
    # For each number with an exponent: near the ends of the range, computing is a thousand times
    # slower.
    per_exponent: float = 0.0
    # For each pair of a large integer and a byte: those are compared each with each.
    per_pair: float = 0.0
    # So many reasons may be found for each value why it does not match; no nanoseconds.
    reasons_per_value: float = 0.0

    def seconds(self, text: str) -> float:
        """Return what judging the data that a JSON text describes takes at most."""
        size = len(text) if text.isascii() else 4 * len(text)
        values = _count_values(text)
        exponents, pairs = self.per_exponent * values, self.per_pair * values * size
        if exponents + pairs > _COUNTED_FROM:
            exponents = self.per_exponent * len(_EXPONENT.findall(text))
            pairs = self.per_pair * len(_LARGE_INTEGER.findall(text)) * size
        return (self.per_value * values + self.per_byte * size + exponents + pairs) * 1e-9

    def reasons(self, text: str) -> float:
        """Return how many reasons may be found why such data does not match."""
        return self.reasons_per_value * _count_values(text)


# What few values have is counted where it matters that not all have it.
_COUNTED_FROM: Final = 5e6
_EXPONENT: Final = re.compile(r"[eE][-+]?[0-9]")
_LARGE_INTEGER: Final = re.compile(r"[0-9]{19}")

_NOTHING: Final = JudgingCost()

# Decoding a text, which comes first.
_DECODING: Final = JudgingCost(150, 15, 20_000)

# As deep as data may ever have been nested.
_LEVELS_MAX: Final = 128

# So many additions take a few milliseconds. Schemas that people write take some hundreds.
_STEPS_MAX: Final = 10_000

# A value, a byte or a pair that takes longer than that makes every event too much.
_COST_MAX: Final = 1e8

# Each position of a pattern may be reached by each byte of a text.
_PER_POSITION: Final = 15.0

# Compiling so many positions takes a few milliseconds.
_POSITIONS_MAX: Final = 2_000

_COUNTED: Final = re.compile(r"(\)?)\{(\d+)(?:,(\d*))?\}")


def judging_cost(schema: dict[str, object]) -> JudgingCost | None:
    """Return what judging data takes at most, None where there is no bound, or none is known."""
    try:
        return _worst_level(_Graph(schema))
    except (_UnboundedError, TypeError, AttributeError, RecursionError):
        # What is malformed, or means something in another draft only, the validator knows.
        return None


class _UnboundedError(Exception):
    """No bound is known."""


class _Children(msgspec.Struct, eq=False):
    """What is asked of a value within: one of some, and all of others."""

    one: list["_Node"] = []
    all: list["_Node"] = []


class _Node(msgspec.Struct, eq=False):
    """A schema within the schema: what it takes itself, and what else is to be judged for it."""

    own: JudgingCost = _NOTHING
    # What is asked of the same value.
    beside: list["_Node"] = []
    members: _Children = msgspec.field(default_factory=_Children)
    items: _Children = msgspec.field(default_factory=_Children)


def _worst_level(graph: "_Graph") -> JudgingCost:
    """Return the largest cost of a value, however deep it lies.

    At each level, the cost of a value is what all schemas take that may be asked about it, each as
    often as there are ways to it.
    """
    costs = {id(node): JudgingCost() for node in graph.nodes}
    worst = _DECODING
    seen: list[list[JudgingCost]] = []
    for level in range(_LEVELS_MAX + 1):
        graph.take_steps(len(graph.nodes))
        above, costs = costs, {}
        # Those beside a node stand before it.
        for node in graph.nodes:
            inner = node.own if level == 0 else _cost_within(node, above)
            costs[id(node)] = _sum([inner, *(costs[id(other)] for other in node.beside)])
        worst = _largest([worst, _sum([costs[id(graph.root)], _DECODING])])
        if max(worst) > _COST_MAX:
            raise _UnboundedError
        if list(costs.values()) in seen:
            # What has come once comes again and again.
            break
        seen.append(list(costs.values()))
    return worst


def _cost_within(node: _Node, above: dict[int, JudgingCost]) -> JudgingCost:
    return _largest(
        _sum(
            [
                _largest(above[id(child)] for child in children.one),
                *(above[id(child)] for child in children.all),
            ]
        )
        for children in (node.members, node.items)
        if children.one or children.all
    )


def _sum(costs: Sequence[JudgingCost]) -> JudgingCost:
    if len(costs) == 1:
        return costs[0]
    return JudgingCost(*map(sum, zip(*costs, strict=True)))


def _largest(costs: Iterable[JudgingCost]) -> JudgingCost:
    return JudgingCost(*map(max, zip(_NOTHING, *costs, strict=True)))


class _Graph:
    """The schemas within a schema, each after those that are asked about the same value."""

    def __init__(self, root: dict[str, object]) -> None:
        self.nodes: list[_Node] = []
        self._root = root
        # By the identity of the decoded schema, which lives as long as the root does.
        self._known: dict[int, _Node] = {}
        self._open: set[int] = set()
        self._steps_left = _STEPS_MAX
        self._positions_left = _POSITIONS_MAX
        # Not walked when met, since a schema may lie within itself, but not beside itself.
        self._later: list[tuple[object, list[_Node]]] = []
        self.root = self._add(root)
        while self._later:
            schema, children = self._later.pop()
            children.append(self._add(schema))

    def take_steps(self, count: int) -> None:
        """Count what has been computed."""
        self._steps_left -= count
        if self._steps_left < 0:
            raise _UnboundedError

    def _add(self, schema: object) -> _Node:
        node = self._known.get(id(schema))
        if node is not None:
            return node
        if id(schema) in self._open:
            raise _UnboundedError
        self._open.add(id(schema))
        node = _Node()
        if isinstance(schema, dict):
            self._fill(node, schema)
        elif not isinstance(schema, bool):
            raise _UnboundedError
        if not isinstance(schema, bool):
            # There are but two of those.
            self._known[id(schema)] = node
        self._open.discard(id(schema))
        self.nodes.append(node)
        return node

    def _fill(self, node: _Node, schema: dict[str, Any]) -> None:
        self.take_steps(1 + len(schema))
        costs = [JudgingCost(30)]
        for keyword, value in schema.items():
            if keyword in _WEIGHTS:
                costs.append(_WEIGHTS[keyword](value))
            elif keyword in _ALTERNATIVES:
                reasons = 1 + len(value)
                costs.append(JudgingCost(20 * reasons, reasons_per_value=reasons))
                node.beside += map(self._add, value)
            elif keyword in _BESIDE:
                costs.append(JudgingCost(20, reasons_per_value=1))
                node.beside.append(self._add(value))
            elif keyword == "$ref":
                node.beside.append(self._add(self._resolve(value)))
            elif keyword in _BY_NAME:
                self._fill_by_name(node, keyword, value)
            elif keyword in _WITHIN:
                self._fill_within(node, keyword, value)
            elif keyword == "pattern":
                costs.append(self._pattern(value))
            elif not self._is_silent(keyword, schema):
                raise _UnboundedError
        node.own = _sum(costs)

    def _is_silent(self, keyword: str, schema: dict[str, Any]) -> bool:
        # An `$id` further in gives references another meaning.
        is_name = keyword in _NAMES and schema is self._root
        return is_name or keyword in _SILENT or keyword.startswith("x-")

    def _fill_by_name(self, node: _Node, keyword: str, values: dict[str, Any]) -> None:
        """Take a keyword whose value has a schema for each of some names."""
        node_cost = JudgingCost(10 * len(values), reasons_per_value=1)
        node.beside.append(self._leaf(node_cost))
        if keyword == "properties":
            self._put_off(values.values(), node.members.one)
        elif keyword == "patternProperties":
            costs = [_sum([self._pattern(name)] * 2) for name in values]
            node.members.all.append(self._leaf(_sum(costs) if costs else JudgingCost()))
            self._put_off(values.values(), node.members.all)
        else:
            for value in values.values():
                if isinstance(value, list):
                    cost = JudgingCost(30 * len(value), reasons_per_value=len(value))
                    node.beside.append(self._leaf(cost))
                else:
                    node.beside.append(self._add(value))

    def _fill_within(self, node: _Node, keyword: str, value: object) -> None:
        """Take a keyword whose value is a schema, or several, for the values within."""
        if keyword == "additionalProperties":
            node.beside.append(self._leaf(JudgingCost(20, reasons_per_value=1)))
            self._put_off([value], node.members.one)
        elif keyword == "propertyNames":
            self._put_off([value], node.members.all)
        elif isinstance(value, list):
            self._put_off(value, node.items.one)
        else:
            # `contains` may be asked twice, for the least and for the most.
            self._put_off([value] * (2 if keyword == "contains" else 1), node.items.all)
            node.beside.append(self._leaf(JudgingCost(20, reasons_per_value=1)))

    def _put_off(self, schemas: Iterable[object], children: list[_Node]) -> None:
        self._later += ((schema, children) for schema in schemas)

    def _leaf(self, cost: JudgingCost) -> _Node:
        node = _Node(own=cost)
        self.nodes.append(node)
        return node

    def _pattern(self, pattern: str) -> JudgingCost:
        positions = count_positions(pattern)
        self._positions_left -= positions
        if self._positions_left < 0:
            raise _UnboundedError
        return JudgingCost(200, _PER_POSITION * positions, reasons_per_value=1)

    def _resolve(self, reference: object) -> object:
        if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
            raise _UnboundedError
        found: object = self._root
        for step in unquote(reference[1:]).split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(found, dict) and name in found:
                found = found[name]
            elif isinstance(found, list) and name.isdecimal() and int(name) < len(found):
                found = found[int(name)]
            else:
                raise _UnboundedError
        return found


def count_positions(pattern: str) -> int:
    """Return how many places a regular expression has at most, its repetitions written out."""
    places, repeated = len(pattern) + 1, 1
    for is_group, least, most in _COUNTED.findall(pattern):
        # Longer numbers are for nobody; the validator refuses them.
        times = int((most or least)[:9]) + 1
        if is_group:
            repeated *= times
        else:
            places += times
    # A class of letters of all languages is a hundred places, and more if case does not matter.
    letters = 200 if "\\p" in pattern or "\\P" in pattern or "(?" in pattern else 1
    return places * repeated * letters


def _count_values(text: str) -> int:
    """Return how many values a JSON text has at most, and one for each name of a member."""
    return 1 + text.count(",") + text.count(":") + text.count("[")


def _constants(values: Sequence[object]) -> JudgingCost:
    """Return what comparing with each of some values takes."""
    slow = sum(map(_count_slow, values))
    # Texts alone are looked up. Numbers that are written in different ways are worked out anew for
    # each comparison.
    quick = len(values) if slow else 0
    return JudgingCost(100 + 30 * quick + 6_000 * slow, 2 + 100 * slow, 40_000 * slow, 0, 1)


def _count_slow(value: object) -> int:
    if value is None or isinstance(value, (str, bool)):
        return 0
    if isinstance(value, (int, float)):
        return 1 if _is_plain(value) else 10
    text = msgspec.json.encode(value).decode()
    return _count_values(text) * (1 if _EXPONENT.search(text) is None else 10)


def _is_plain(value: float) -> bool:
    return value == 0 or 1e-30 < abs(value) < 1e30


def _order(bound: float) -> JudgingCost:
    return JudgingCost(600 if _is_plain(bound) else 40_000, 100, 40_000, 0, 1)


def _multiple(divisor: float) -> JudgingCost:
    return JudgingCost(10_000 if _is_plain(divisor) else 80_000, 300, 80_000, 0, 1)


_Weigh = Callable[[Any], JudgingCost]

_COUNT: Final[_Weigh] = lambda _: JudgingCost(50, reasons_per_value=1)  # noqa: E731 - a table
_LENGTH: Final[_Weigh] = lambda _: JudgingCost(50, 4, reasons_per_value=1)  # noqa: E731 - a table

# What each keyword takes that is about a value as a whole.
_WEIGHTS: Final = MappingProxyType[str, _Weigh](
    {
        "const": lambda value: _constants([value]),
        "enum": _constants,
        "exclusiveMaximum": _order,
        "exclusiveMinimum": _order,
        "maxContains": _COUNT,
        "maxItems": _COUNT,
        "maxLength": _LENGTH,
        "maxProperties": _COUNT,
        "maximum": _order,
        "minContains": _COUNT,
        "minItems": _COUNT,
        "minLength": _LENGTH,
        "minProperties": _COUNT,
        "minimum": _order,
        "multipleOf": _multiple,
        "required": lambda names: JudgingCost(40 * len(names), reasons_per_value=len(names)),
        # A number without a fraction is told by its digits.
        "type": lambda _: JudgingCost(50, 10, reasons_per_value=1),
        "uniqueItems": lambda is_asked: JudgingCost(100, 0, 0, 40 if is_asked else 0, 1),
    }
)

_ALTERNATIVES: Final = frozenset({"allOf", "anyOf", "oneOf"})
_BESIDE: Final = frozenset({"else", "if", "not", "then"})
_BY_NAME: Final = frozenset(
    {"dependencies", "dependentRequired", "dependentSchemas", "patternProperties", "properties"}
)
_WITHIN: Final = frozenset(
    {
        "additionalItems",
        "additionalProperties",
        "contains",
        "items",
        "prefixItems",
        "propertyNames",
    }
)
_NAMES: Final = frozenset({"$id", "$schema", "id"})
_SILENT: Final = frozenset(
    {
        "$anchor",
        "$comment",
        "$defs",
        "default",
        "definitions",
        "deprecated",
        "description",
        "discriminator",
        "example",
        "examples",
        "externalDocs",
        "format",
        "nullable",
        "readOnly",
        "title",
        "writeOnly",
        "xml",
    }
)
