"""The syntax tree: what a query says, before anybody asks what it means.

Names stand as they were written, functions and types too. Equality ignores places, so that two
texts that say the same have equal trees. Parentheses leave no trace but the shape of the tree.

Tighter than all operators between operands bind the signs, tighter than those AS, and tightest
calls and paths. All operators between operands group to the left; where grouping has no meaning,
the parser chooses (see `ASSOCIATIVE`).
"""

from dataclasses import dataclass, field
from typing import Final, assert_never

from everlog.eventql.diagnostic import Span
from everlog.eventql.types import BinaryOperator, UnaryOperator


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


# Operators between conditions, the loosest first, each a level of its own. Their operands may
# begin with NOT, which binds more tightly than all of them and more loosely than what follows.
CONNECTIVES: Final = (BinaryOperator.OR, BinaryOperator.XOR, BinaryOperator.AND)

# Operators between values, the tightest level first.
VALUE_LEVELS: Final = (
    (BinaryOperator.MULTIPLY, BinaryOperator.DIVIDE),
    (BinaryOperator.ADD, BinaryOperator.SUBTRACT),
    (BinaryOperator.CONTAINS,),
    (
        BinaryOperator.EQUAL,
        BinaryOperator.NOT_EQUAL,
        BinaryOperator.LESS,
        BinaryOperator.LESS_OR_EQUAL,
        BinaryOperator.GREATER,
        BinaryOperator.GREATER_OR_EQUAL,
    ),
)

# Operators whose grouping has no meaning: `(a AND b) AND c` evaluates the same operands in the
# same order to the same end as `a AND (b AND c)`, errors included. A chain of them becomes a tree
# as flat as can be, the left half being the larger one, so that thousands are no deep tree.
ASSOCIATIVE: Final = frozenset(CONNECTIVES)
