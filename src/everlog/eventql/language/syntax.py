"""The syntax tree: what a query says, before anybody asks what it means.

Names stand as they were written, functions and types too. Equality ignores places, so that two
texts that say the same have equal trees. Parentheses leave no trace but the shape of the tree.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import assert_never

from everlog.eventql.diagnostic import Span


class UnaryOperator(StrEnum):
    """Operators before their operand."""

    NOT = "NOT"
    PLUS = "+"
    MINUS = "-"


class BinaryOperator(StrEnum):
    """Operators between their operands; see `grammar.ebnf` for what binds how tightly."""

    OR = "OR"
    XOR = "XOR"
    AND = "AND"
    EQUAL = "=="
    NOT_EQUAL = "!="
    LESS = "<"
    LESS_OR_EQUAL = "<="
    GREATER = ">"
    GREATER_OR_EQUAL = ">="
    CONTAINS = "CONTAINS"
    ADD = "+"
    SUBTRACT = "-"
    MULTIPLY = "*"
    DIVIDE = "/"


@dataclass(frozen=True, slots=True)
class Name:
    """An identifier, or a quoted field name, without its quotes."""

    text: str
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Literal:
    """NULL, TRUE, FALSE, a number or a string."""

    value: bool | int | float | str | None
    span: Span = field(compare=False)

    def __eq__(self, other: object) -> bool:
        """Tell 1 from 1.0 and from TRUE, which Python takes for equal."""
        return (
            isinstance(other, Literal)
            and type(self.value) is type(other.value)
            and self.value == other.value
        )

    def __hash__(self) -> int:
        return hash((type(self.value), self.value))


@dataclass(frozen=True, slots=True)
class Path:
    """An alias and the fields below it: `e`, `e.type`, `e.data."first-name"`."""

    alias: Name
    fields: tuple[Name, ...]
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Unary:
    """An operator and its operand."""

    operator: UnaryOperator
    operand: "Expression"
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Binary:
    """An operator between two operands."""

    operator: BinaryOperator
    left: "Expression"
    right: "Expression"
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Conversion:
    """`operand AS type`."""

    operand: "Expression"
    type: Name
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Call:
    """A function or an aggregate, with its arguments."""

    function: Name
    arguments: tuple["Expression", ...]
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Array:
    """`[a, b]`."""

    items: tuple["Expression", ...]
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Entry:
    """`key: value` of a record."""

    key: Name
    value: "Expression"


@dataclass(frozen=True, slots=True)
class Record:
    """`{ key: value, ... }`, in the order written."""

    entries: tuple[Entry, ...]
    span: Span = field(compare=False)


Expression = Literal | Path | Unary | Binary | Conversion | Call | Array | Record


def operands(expression: Expression) -> tuple[Expression, ...]:
    """Return the expressions that an expression is made of, in the order written."""
    match expression:
        case Literal() | Path():
            return ()
        case Unary(operand=operand) | Conversion(operand=operand):
            return (operand,)
        case Binary(left=left, right=right):
            return (left, right)
        case Call(arguments=arguments):
            return arguments
        case Array(items=items):
            return items
        case Record(entries=entries):
            return tuple(entry.value for entry in entries)
        case _:
            assert_never(expression)


@dataclass(frozen=True, slots=True)
class From:
    """`FROM alias IN source`; the source is a name or a query of its own."""

    alias: Name
    source: "Name | Query"


@dataclass(frozen=True, slots=True)
class Order:
    """`ORDER BY key [ASC|DESC]`."""

    key: Expression
    is_descending: bool


@dataclass(frozen=True, slots=True)
class Group:
    """`GROUP BY key [HAVING condition]`."""

    key: Expression
    having: Expression | None


@dataclass(frozen=True, slots=True)
class Query:
    """One query; the clauses stand in the order in which they are evaluated."""

    sources: tuple[From, ...]
    where: Expression | None
    group: Group | None
    order: Order | None
    projection: Expression
    is_distinct: bool
    skip: Expression | None
    top: Expression | None
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Statement:
    """What a text asks for: the rows of a query, or the plan for it."""

    query: Query
    is_explain: bool
