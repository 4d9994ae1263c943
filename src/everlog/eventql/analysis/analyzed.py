"""The analyzed query: names resolved, types known, aggregates where they belong.

Made by the analyzer only, so that whatever holds such a tree may rely on it: every alias and
field exists, every call has arguments that are possible, aggregates stand in projection, HAVING
and the order of grouped queries only, and never inside each other.

A query evaluates in this order: product of the sources, WHERE, then

- row-wise: ORDER BY, projection;
- with GROUP BY (`group_key`): grouping, HAVING, ORDER BY (of groups), projection;
- aggregated without GROUP BY (`is_aggregated`, but no `group_key`): ORDER BY (of rows, which only
  aggregates that choose by place can tell: UNIQUE, FIRST, LAST), all rows as one group, which
  exists even if there is no row, projection;

then DISTINCT, SKIP, TOP. Equality of expressions ignores places, as in the syntax tree.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import assert_never

from everlog.eventql.diagnostic import Span
from everlog.eventql.evaluation.catalogue import Aggregate, ScalarFunction
from everlog.eventql.evaluation.values import Value
from everlog.eventql.types import BinaryOperator, Kind, Type, UnaryOperator


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal; after planning, whatever was computed from literals too."""

    value: Value
    type: Type
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class FieldAccess:
    """A field of the current row of a source, or with an empty path that row's value itself.

    `source` is the index of the source in its query. A path through anything but records is NULL.
    """

    source: int
    path: tuple[str, ...]
    type: Type
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class UnaryOperation:
    """NOT, + or -."""

    operator: UnaryOperator
    operand: "TypedExpression"
    type: Type
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class BinaryOperation:
    """An operator between two operands."""

    operator: BinaryOperator
    left: "TypedExpression"
    right: "TypedExpression"
    type: Type
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class TypeConversion:
    """`operand AS target`."""

    operand: "TypedExpression"
    target: Kind
    type: Type
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class ScalarCall:
    """A call of a scalar function."""

    function: ScalarFunction
    arguments: tuple["TypedExpression", ...]
    type: Type
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class AggregateValue:
    """The result of one of the query's aggregates; `index` is its place in `aggregates`."""

    index: int
    type: Type
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class GroupKey:
    """An expression equal to the key of GROUP BY, where fields are not to be had any more."""

    type: Type
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class ArrayOf:
    """`[a, b]`."""

    items: tuple["TypedExpression", ...]
    type: Type
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class RecordOf:
    """`{ key: value }`; the keys differ from each other."""

    keys: tuple[str, ...]
    values: tuple["TypedExpression", ...]
    type: Type
    span: Span = field(compare=False)


TypedExpression = (
    Constant
    | FieldAccess
    | UnaryOperation
    | BinaryOperation
    | TypeConversion
    | ScalarCall
    | AggregateValue
    | GroupKey
    | ArrayOf
    | RecordOf
)


def operands(expression: TypedExpression) -> tuple[TypedExpression, ...]:
    """Return the expressions that an expression is made of; the argument of an aggregate is not."""
    match expression:
        case Constant() | FieldAccess() | AggregateValue() | GroupKey():
            return ()
        case UnaryOperation(operand=operand) | TypeConversion(operand=operand):
            return (operand,)
        case BinaryOperation(left=left, right=right):
            return (left, right)
        case ScalarCall(arguments=arguments):
            return arguments
        case ArrayOf(items=items):
            return items
        case RecordOf(values=values):
            return values
        case _:
            assert_never(expression)


def with_operands(node: TypedExpression, below: Sequence[TypedExpression]) -> TypedExpression:
    """Return a node with other operands, in the order of `operands`."""
    match node:
        case UnaryOperation() | TypeConversion():
            return replace(node, operand=below[0])
        case BinaryOperation():
            return replace(node, left=below[0], right=below[1])
        case ScalarCall():
            return replace(node, arguments=tuple(below))
        case ArrayOf():
            return replace(node, items=tuple(below))
        case RecordOf():
            return replace(node, values=tuple(below))
        case Constant() | FieldAccess() | AggregateValue() | GroupKey():
            return node
        case _:
            assert_never(node)


class LogSource(StrEnum):
    """A source that is part of the log; the value is its name in a query."""

    EVENTS = "events"
    SUBJECTS = "subjects"
    EVENT_TYPES = "eventtypes"


@dataclass(frozen=True, slots=True)
class AggregateCall:
    """One aggregate to be computed for each group; without an argument it counts rows.

    Calls that give the same value share one of these, so that it is computed once.
    """

    aggregate: Aggregate
    argument: TypedExpression | None
    span: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Ordering:
    """The key to sort by."""

    key: TypedExpression
    is_descending: bool


@dataclass(frozen=True, slots=True)
class AnalyzedQuery:
    """One query. `text` is the whole source text, which spans point into."""

    text: str
    sources: tuple["LogSource | AnalyzedQuery", ...]
    where: TypedExpression | None
    is_aggregated: bool
    group_key: TypedExpression | None
    aggregates: tuple[AggregateCall, ...]
    having: TypedExpression | None
    ordering: Ordering | None
    projection: TypedExpression
    is_distinct: bool
    # Evaluated once, before the first row: they contain no field and no aggregate.
    skip: TypedExpression | None
    top: TypedExpression | None
    # How deep the value of a row can be nested, at most (`depths`).
    row_depth: int = 0
