"""Builders: short ways to make syntax trees, whose places are all zero.

Equality of trees ignores places.
"""

from typing import Final

from everlog.eventql.diagnostic import Span
from everlog.eventql.language.syntax import (
    Array,
    Binary,
    Call,
    Conversion,
    Entry,
    Expression,
    Literal,
    Name,
    Path,
    Record,
    Unary,
)
from everlog.eventql.types import BinaryOperator, UnaryOperator

NOWHERE: Final = Span(0, 0)


def name(text: str) -> Name:
    """Return a name that stands nowhere."""
    return Name(text, NOWHERE)


def literal(value: bool | float | str | None) -> Literal:  # noqa: FBT001 (A value of a query.)
    """Return a literal that stands nowhere."""
    return Literal(value, NOWHERE)


def path(alias: str, *fields: str) -> Path:
    """Return a path that stands nowhere."""
    return Path(name(alias), tuple(map(name, fields)), NOWHERE)


def call(function: str, *arguments: Expression) -> Call:
    """Return a call that stands nowhere."""
    return Call(name(function), arguments, NOWHERE)


def binary(operator: BinaryOperator, left: Expression, right: Expression) -> Binary:
    """Return an operation that stands nowhere."""
    return Binary(operator, left, right, NOWHERE)


def unary(operator: UnaryOperator, operand: Expression) -> Unary:
    """Return an operation that stands nowhere."""
    return Unary(operator, operand, NOWHERE)


def conversion(operand: Expression, target: str) -> Conversion:
    """Return a conversion that stands nowhere."""
    return Conversion(operand, name(target), NOWHERE)


def record(*entries: tuple[str, Expression]) -> Record:
    """Return a record that stands nowhere."""
    return Record(tuple(Entry(name(key), value) for key, value in entries), NOWHERE)


def array(*items: Expression) -> Array:
    """Return an array that stands nowhere."""
    return Array(items, NOWHERE)
