"""Queries of Prometheus as far as a dashboard needs them: read, and judged by what there is to ask.

Whoever asks about a metric that nobody exports gets an empty panel and no error, so that a query
is judged here by its metrics and labels, and by what functions take.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

# Of every metric, from Prometheus itself.
OWN_LABELS: Final = frozenset({"job", "instance"})

_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<number>\d+(?:\.\d+)?)|(?P<string>"[^"]*")|(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)"""
    r"""|(?P<range>\[[^\]]*\])|(?P<sign>==|!=|>=|<=|=~|!~|[-+*/()<>{},=]))"""
)
_DURATION: Final = re.compile(r"\[(\$__rate_interval|\$__range|\d+[smhd])\]")

# What takes a range, and may be asked about what only grows; and what needs it.
_OVER_RANGES: Final = frozenset({"rate", "increase", "changes", "deriv"})
_OF_COUNTERS: Final = frozenset({"rate", "increase"})
_AGGREGATIONS: Final = frozenset({"sum", "min", "max", "avg", "count"})
_COMPARISONS: Final = frozenset({"==", "!=", ">", "<", ">=", "<="})


class PromqlError(Exception):
    """A query that is none, or that asks about what there is not."""


@dataclass(frozen=True)
class Value:
    """What an expression becomes: a scalar has no labels, a range no meaning by itself."""

    labels: frozenset[str] | None = None
    is_range: bool = False
    # Whether it is a counter as it stands.
    is_counting: bool = False


def judge(query: str, samples: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """Return the labels of a query's result, which has to be a vector.

    `samples` are the names of all samples that are exported, with their labels.

    Raises:
        PromqlError: It is no query, or asks about what there is not.
    """
    reader = _Reader(query, samples)
    value = reader.expression()
    if reader.peek():
        raise PromqlError(f"{query}: {reader.peek()!r} is left over")
    if value.labels is None or value.is_range:
        raise PromqlError(f"{query}: it is no vector")
    if value.is_counting:
        raise PromqlError(f"{query}: a counter says nothing without a rate")
    return value.labels


class _Reader:
    """Reads one query from left to right."""

    def __init__(self, query: str, samples: Mapping[str, frozenset[str]]) -> None:
        self._query: Final = query
        self._samples: Final = samples
        self._tokens: Final[list[str]] = []
        place = 0
        while place < len(query.rstrip()):
            match = _TOKEN.match(query, place)
            if match is None:
                raise PromqlError(f"{query}: {query[place:]!r} is no token")
            self._tokens.append(match[0].strip())
            place = match.end()

    def peek(self) -> str:
        return self._tokens[0] if self._tokens else ""

    def take(self, *expected: str) -> str:
        token = self.peek()
        if not token or (expected and token not in expected):
            raise PromqlError(f"{self._query}: {token!r} where {expected} is expected")
        return self._tokens.pop(0)

    def expression(self) -> Value:
        value = self._sum()
        while self.peek() in _COMPARISONS:
            value = self._both(value, self.take(), self._sum())
        return value

    def _sum(self) -> Value:
        value = self._product()
        while self.peek() in {"+", "-"}:
            value = self._both(value, self.take(), self._product())
        return value

    def _product(self) -> Value:
        value = self._primary()
        while self.peek() in {"*", "/"}:
            value = self._both(value, self.take(), self._primary())
        return value

    def _both(self, left: Value, sign: str, right: Value) -> Value:
        if left.is_range or right.is_range or left.is_counting or right.is_counting:
            raise PromqlError(f"{self._query}: {sign} takes neither a range nor a counter")
        if left.labels is None or right.labels is None:
            return Value(left.labels if right.labels is None else right.labels)
        if left.labels != right.labels:
            # They would never match each other.
            raise PromqlError(f"{self._query}: {sign} is between {left.labels} and {right.labels}")
        return left

    def _primary(self) -> Value:
        token = self.take()
        if token == "(":
            value = self.expression()
            self.take(")")
            return value
        if token[0].isdigit():
            return Value()
        if token in _AGGREGATIONS:
            return self._aggregation()
        if self.peek() == "(":
            return self._call(token)
        return self._selector(token)

    def _aggregation(self) -> Value:
        labels = frozenset(self._list()) if self.peek() == "by" and self.take() else frozenset()
        self.take("(")
        value = self.expression()
        self.take(")")
        if value.labels is None or value.is_range or value.is_counting:
            raise PromqlError(f"{self._query}: what is aggregated is no vector, or a counter")
        if not labels <= value.labels:
            raise PromqlError(f"{self._query}: there is no label {sorted(labels - value.labels)}")
        return Value(labels)

    def _list(self) -> list[str]:
        self.take("(")
        names = [self.take()]
        while self.take(",", ")") == ",":
            names.append(self.take())
        return names

    def _call(self, name: str) -> Value:
        self.take("(")
        given: list[Value] = []
        while self.peek() != ")":
            given.append(self.expression())
            if self.peek() != ")":
                self.take(",")
        self.take(")")
        match name, given:
            case "time", []:
                return Value()
            case "histogram_quantile", [Value(labels=None), Value(labels=labels)] if (
                labels is not None and "le" in labels
            ):
                return Value(labels - {"le"})
            case _, [Value(is_range=True, labels=labels, is_counting=is_counting)] if (
                name in _OVER_RANGES and is_counting == (name in _OF_COUNTERS)
            ):
                return Value(labels)
        raise PromqlError(f"{self._query}: {name} does not take that")

    def _selector(self, name: str) -> Value:
        if name not in self._samples:
            raise PromqlError(f"{self._query}: nobody exports {name}")
        labels = self._samples[name] | OWN_LABELS
        if self.peek() == "{":
            self.take()
            while self.peek() != "}":
                label = self.take()
                if label not in labels:
                    raise PromqlError(f"{self._query}: {name} has no label {label}")
                self.take("=", "!=", "=~", "!~")
                if not self.take().startswith('"'):
                    raise PromqlError(f"{self._query}: {label} is compared with no string")
                if self.peek() != "}":
                    self.take(",")
            self.take()
        is_range = self.peek().startswith("[")
        if is_range and not _DURATION.fullmatch(self.take()):
            raise PromqlError(f"{self._query}: there is no such duration")
        is_counting = name.endswith(("_total", "_bucket", "_sum", "_count"))
        return Value(labels, is_range, is_counting)
