"""Events as they are stored: only the fields that a query uses are decoded, into structs for it.

A line is `{"type":"event","payload":{...}}` and up to two spaces. The event ends with its hash and
a signature, which is stored as null and computed on the way out. What a query takes as it is, it
takes from the line.

A field is used as a value, to compute with it, or as a text, to be written out as it is stored.
Of what is not used nothing is decoded. `data` is anybody's JSON: where a query expects a record
and finds something else, or nothing, everything below is NULL.

    {"type":"event","payload":{"type":...,"data":{"price":...,"meta":{"language":...}}}}

becomes, for `e.type`, `e.data.price` and `e.data.meta.language`, a struct in a struct in a struct,
whose attributes are `f0`, `f1` and so on. Integers beyond 64 bits, of which structs know nothing,
are found by a line that cannot be decoded, which then takes a slower way to the same structs.

A number that is no FLOAT64 either is an error of the expression that reads it, and of no other.
Its attribute is left without a value, so that reading it raises an `AttributeError`, which
`unreadable_field` knows from others: no value in its place can be taken for another one, and
fields that have values cost nothing more.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import Annotated, Any, Final

import msgspec

from everlog.eventql.codegen.generated import GeneratedModule
from everlog.eventql.diagnostic import Span
from everlog.eventql.evaluation.conversion import to_json
from everlog.eventql.evaluation.datetimes import parse_event_time
from everlog.eventql.evaluation.values import (
    BEYOND_FLOAT64,
    INT_MAX,
    INT_MIN,
    EvaluationError,
    from_json,
)

# What may follow, and where the event stands in its line without it.
MARK: Final = b" "
EVENT_START: Final = len(b'{"type":"event","payload":')
EVENT_STOP: Final = -1

_NO_SIGNATURE: Final = b',"signature":null}'
_NUMBER_STARTS: Final = frozenset(b"-0123456789")

Sign = Callable[[str], str]


class _Identity(msgspec.Struct):
    id: str


class _IdentityLine(msgspec.Struct):
    payload: _Identity


# --- Lines


# Numbers are left to Python, which takes the same time for all of them: for those near the ends of
# the range, the library's own way takes a hundred times as long.
_decode_value: Final = msgspec.json.Decoder(float_hook=float).decode

_decode_identity: Final = msgspec.json.Decoder(_IdentityLine).decode

members_of: Final[Callable[[Any], dict[str, msgspec.Raw]]] = msgspec.json.Decoder(
    dict[str, msgspec.Raw]
).decode


def lines_of(block: bytes) -> list[bytes]:
    """Return the lines of a block without their line feeds."""
    lines = block.split(b"\n")
    assert lines[-1] == b""
    lines.pop()
    return lines


def event_id_of(line: bytes) -> str:
    """Return the id of a line's event."""
    return _decode_identity(line).payload.id


def event_text_of(line: bytes, sign: Sign | None) -> bytes:
    """Return the JSON of a line's event, signed if there is a key."""
    text = line.rstrip(MARK)[EVENT_START:EVENT_STOP]
    if sign is None or not text.endswith(_NO_SIGNATURE):
        return text
    end = len(text) - len(_NO_SIGNATURE) - 1
    hash_ = text[text.rindex(b'"', 0, end) + 1 : end].decode()
    return b'%b,"signature":"%b"}' % (text[: end + 1], sign(hash_).encode())


def text_of_line(line: bytes, sign: Sign | None) -> msgspec.Raw:
    """Return a line's event for the JSON encoder, which takes it as it is."""
    return msgspec.Raw(event_text_of(line, sign))


def event_value_of(line: bytes, sign: Sign | None) -> dict[str, Any]:
    """Return a line's event as a value: its time is a DATETIME."""
    event = from_json(_decode_value(event_text_of(line, sign)))
    event["time"] = parse_event_time(event["time"])
    value: dict[str, Any] = event
    return value


def number_or_text(raw: msgspec.Raw) -> Any:
    """Return what the JSON encoder writes for a stored text.

    That is the text itself, but for numbers: 2.0 is written as 2, wherever it comes from.
    """
    text = bytes(raw)
    if text[0] in _NUMBER_STARTS:
        return to_json(from_json(_decode_value(text)))
    return msgspec.Raw(text)


# --- Structs


_Int = Annotated[int, msgspec.Meta(ge=INT_MIN, le=INT_MAX)]
# Any JSON, as values; in arrays and records, integers are as large as they like.
_Json = _Int | float | str | bool | list[Any] | dict[str, Any] | None
_NOT_RECORDS = str | int | float | bool | list[Any] | None

_RAW_NULL: Final = msgspec.Raw(b"null")

# Fields that not every event has; the struct of each other one would miss it.
_OPTIONAL_FIELDS: Final = frozenset({"traceparent", "tracestate", "signature"})
_DATA: Final = "data"

# Deeper paths are rare, and Python's parser does not like nested parentheses without end.
_STRUCT_DEPTH_MAX: Final = 8

Path = tuple[str, ...]


class Fields(msgspec.Struct, frozen=True, gc=False):
    """The fields of a record that are used; what all structs made for queries are."""


@dataclass(slots=True)
class _Node:
    """A field that is used, or through which a path leads to one that is."""

    attribute: str = ""
    is_value: bool = False
    is_text: bool = False
    children: "dict[str, _Node]" = field(default_factory=dict)
    # The struct that the children are fields of; None for a leaf.
    struct: type | None = None
    # What is decoded into where there is no struct: a value, a text, a string.
    is_string: bool = False
    # Whether something else than the struct may stand in its place.
    is_certain: bool = False


class EventStructs:
    """How the lines of one source of events are decoded, and how code gets at the fields.

    A path of `texts` must not lead below another one, and no path of `values` below one of them.
    """

    def __init__(self, *, values: Iterable[Path], texts: Iterable[Path]) -> None:
        self._root = _Node(is_certain=True)
        for path in values:
            self._node_at(path).is_value = True
        for path in texts:
            self._node_at(path).is_text = True
        self._numbers = count()
        self._build_payload()
        self._line: Any = msgspec.defstruct(
            "Line", [("f0", self._root.struct)], rename={"f0": "payload"}, frozen=True, gc=False
        )
        decoder = msgspec.json.Decoder(self._line, float_hook=float)
        self._decode_line: Callable[[bytes], Any] = decoder.decode
        self._decode_lines: Callable[[bytes], list[Any]] = decoder.decode_lines

    def decode(self, block: bytes) -> list[Any]:
        """Return the structs of a block's lines; attribute `f0` of each is the event."""
        try:
            return self._decode_lines(block)
        except msgspec.ValidationError:
            return [self.decode_line(line) for line in block.split(b"\n") if line]

    def decode_line(self, line: bytes) -> Any:
        """Return the struct of one line."""
        try:
            return self._decode_line(line)
        except msgspec.ValidationError:
            payload = members_of(members_of(line)["payload"])
            return self._line(_build(self._root, payload))

    def value_code(self, module: GeneratedModule, event: str, path: Path, span: Span) -> str:
        """Return code for the decoded value at a path; `event` is the name of an event's struct.

        Strings of the event itself are never NULL; all the rest may be, and may be an error of
        the expression at the span.
        """
        code = self._code(module, event, path)
        return module.reading(code, span) if path[0] == _DATA else code

    def text_code(self, module: GeneratedModule, event: str, path: Path, span: Span) -> str:
        """Return code for what the JSON encoder writes as what is stored at a path."""
        node = self._find(path)
        code = self._code(module, event, path)
        if node is not None and node.is_string:
            return code
        is_text = node is not None and node.is_text
        # The field is read in the line of the call, so that its errors are at the same span.
        return module.call(number_or_text if is_text else _value_to_json, span, code)

    def _node_at(self, path: Path) -> _Node:
        node = self._root
        for name in path:
            node = node.children.setdefault(name, _Node())
        return node

    def _find(self, path: Path) -> _Node | None:
        node = self._root
        for name in path:
            if node.struct is None:
                return None
            node = node.children[name]
        return node

    def _build_payload(self) -> None:
        fields: list[tuple[str, Any, Any]] = []
        for name, node in self._root.children.items():
            if name == _DATA:
                node.is_certain = True
                annotation, default = self._field_type(node, depth=1)
            else:
                node.is_string = True
                annotation = str | None if name in _OPTIONAL_FIELDS else str
                default = None
            node.attribute = f"f{next(self._numbers)}"
            fields.append((node.attribute, annotation, default))
        self._root.struct = _struct(fields, self._root)

    def _field_type(self, node: _Node, *, depth: int) -> tuple[Any, Any]:
        """Return the type that a field of `data` is decoded as, and its value where it misses."""
        if node.is_text:
            return msgspec.Raw, _RAW_NULL
        if node.is_value or depth > _STRUCT_DEPTH_MAX or not _are_names(node.children):
            return _Json, None
        fields = []
        for child in node.children.values():
            annotation, default = self._field_type(child, depth=depth + 1)
            child.attribute = f"f{next(self._numbers)}"
            fields.append((child.attribute, annotation, default))
        node.struct = _struct(fields, node)
        if node.is_certain:
            return node.struct, None
        return node.struct | _NOT_RECORDS, None

    def _code(self, module: GeneratedModule, event: str, path: Path) -> str:
        code = event
        node = self._root
        for index, name in enumerate(path):
            if node.struct is None:
                # All the rest is found in what was decoded as a whole.
                rest = module.constant(path[index:])
                return f"{module.constant(value_below)}({code}, {rest})"
            child = node.children[name]
            if node.is_certain:
                code = f"{code}.{child.attribute}"
            else:
                record = module.temporary()
                missing = module.constant(_RAW_NULL) if child.is_text else "None"
                struct = module.constant(node.struct)
                code = (
                    f"({record}.{child.attribute} if type({record} := {code}) is {struct}"
                    f" else {missing})"
                )
            node = child
        return code


def _struct(fields: list[tuple[str, Any, Any]], node: _Node) -> type:
    names = {child.attribute: name for name, child in node.children.items()}
    return msgspec.defstruct("Fields", fields, bases=(Fields,), rename=names, frozen=True, gc=False)


def _are_names(children: Iterable[str]) -> bool:
    """Tell whether the decoder can look for keys: it refuses those that need escaping."""
    return all(not _needs_escaping(name) for name in children)


def _needs_escaping(name: str) -> bool:
    """Tell whether a key contains what JSON has to escape."""
    return any(character in '"\\' or character < " " for character in name)


def _build(node: _Node, members: dict[str, msgspec.Raw]) -> Any:
    """Return the struct of a record, its members decoded one by one."""
    assert node.struct is not None
    values = {}
    unreadable = []
    for name, child in node.children.items():
        raw = members.get(name)
        if raw is None:
            continue
        try:
            values[child.attribute] = _build_member(child, raw)
        except EvaluationError:
            unreadable.append(child.attribute)
    struct = node.struct(**values)
    for attribute in unreadable:
        # By its descriptor: structs are frozen for everybody else.
        getattr(node.struct, attribute).__delete__(struct)
    return struct


def _build_member(node: _Node, raw: msgspec.Raw) -> Any:
    if node.is_text:
        return raw
    if node.struct is None:
        value = _decode_value(raw)
        # Arrays and records are left as they are decoded, here as on the fast way.
        return from_json(value) if type(value) is int else value
    try:
        members = members_of(raw)
    except msgspec.ValidationError:
        # No record: whoever asks for a field of it finds that it is not the struct.
        return None
    return _build(node, members)


def unreadable_field(error: AttributeError) -> EvaluationError | None:
    """Return what an error means if it is that of a field whose number is beyond FLOAT64."""
    struct = error.obj
    if not isinstance(struct, Fields) or error.name not in struct.__struct_fields__:
        return None
    return EvaluationError(BEYOND_FLOAT64).with_traceback(error.__traceback__)


def value_below(value: Any, path: Path) -> Any:
    """Return what is found at a path in a value; NULL where it leads through no record."""
    for name in path:
        if type(value) is not dict:
            return None
        value = value.get(name)
    return from_json(value)


def _value_to_json(value: Any) -> Any:
    return to_json(from_json(value))
