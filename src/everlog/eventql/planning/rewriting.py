"""Rewriting: a query becomes a simpler one that means the same.

**Inlining.** A query over a simple subquery becomes one query:

    FROM x IN (FROM e IN events WHERE a PROJECT INTO { n: e.data.n }) WHERE x.n > 1 PROJECT INTO x

becomes `FROM e IN events WHERE a AND e.data.n > 1 PROJECT INTO { n: e.data.n }`, so that what is
known of events helps here too, and no field is decoded that nobody uses.
Only what cannot fail is inlined: an error in a field that the outer query leaves out is an error.

**Folding.** An operation on constants becomes the constant that it evaluates to. One that fails
stays as it is: it is an error of the first row that evaluates it, and none if there is no such
row. So does what depends on the time of the query, or on chance: a plan serves many executions.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from operator import is_not
from typing import Any, Final

from everlog.eventql.analysis.analyzed import (
    AggregateCall,
    AggregateValue,
    AnalyzedQuery,
    ArrayOf,
    BinaryOperation,
    Constant,
    FieldAccess,
    GroupKey,
    LogSource,
    Ordering,
    RecordOf,
    ScalarCall,
    TypeConversion,
    TypedExpression,
    UnaryOperation,
    operands,
    with_operands,
)
from everlog.eventql.evaluation.catalogue import Purity
from everlog.eventql.evaluation.conversion import convert
from everlog.eventql.evaluation.operators import (
    BINARY_OPERATORS,
    UNARY_OPERATORS,
    boolean_of,
    kind_of,
)
from everlog.eventql.evaluation.values import EvaluationError, Value
from everlog.eventql.limits import QUERY_LENGTH_MAX, TREE_DEPTH_MAX
from everlog.eventql.trees import fold, walk
from everlog.eventql.types import BOOLEAN, EVENT_FIELDS, NULL, BinaryOperator

# Far more than people write, and little enough to be generated at once.
_NODES_MAX: Final = 10_000

# In items, keys and characters. Constants stay in memory as long as the plan does, and a short
# text can make long ones (`REPLACE`); what is larger is evaluated when it is needed.
_CONSTANT_SIZE_MAX: Final = QUERY_LENGTH_MAX

_CLAUSES: Final = ("where", "group_key", "having", "projection", "skip", "top")
_LEAVES: Final = frozenset({Constant, FieldAccess, AggregateValue, GroupKey})


# --- Inlining


def inline_subquery(query: AnalyzedQuery) -> AnalyzedQuery:
    """Return a query that means the same, and has no simple subquery as its only source."""
    while len(query.sources) == 1:
        inner = query.sources[0]
        if not isinstance(inner, AnalyzedQuery) or not _is_simple(inner):
            break
        if _grown_size(query, inner) > _NODES_MAX:
            break
        inlined = _inline(query, inner)
        # Every stage relies on this depth, which a text alone cannot exceed.
        if any(_depth(each) > TREE_DEPTH_MAX for each in _expressions_of(inlined)):
            break
        query = inlined
    return query


def _depth(expression: TypedExpression) -> int:
    """Return how many levels the tree of an expression has."""

    def depth_of_node(_node: TypedExpression, below: Sequence[int]) -> int:
        return 1 + max(below, default=0)

    return fold(expression, operands, depth_of_node)


def _grown_size(outer: AnalyzedQuery, inner: AnalyzedQuery) -> int:
    """Return how many nodes the expressions of an inlined query would have, up to the limit.

    A row that is named twice in each of many subqueries would be written out thousands of times.
    """
    size = 0
    sizes: dict[tuple[str, ...], int] = {}
    for expression in _expressions_of(outer):
        for node in walk(expression, operands):
            size += 1
            if isinstance(node, FieldAccess):
                if node.path not in sizes:
                    resolved = walk(_resolve(node, inner), operands)
                    sizes[node.path] = sum(1 for _ in islice(resolved, _NODES_MAX))
                size += sizes[node.path]
            if size > _NODES_MAX:
                return size
    return size


def _expressions_of(query: AnalyzedQuery) -> Iterator[TypedExpression]:
    ordering = None if query.ordering is None else query.ordering.key
    for expression in (
        query.where,
        query.group_key,
        *(call.argument for call in query.aggregates),
        query.having,
        ordering,
        query.projection,
    ):
        if expression is not None:
            yield expression


def _is_simple(query: AnalyzedQuery) -> bool:
    is_row_wise = not (query.is_aggregated or query.is_distinct or query.ordering)
    is_whole = query.skip is None and query.top is None
    return is_row_wise and is_whole and _is_transparent(query.projection)


def _is_transparent(projection: TypedExpression) -> bool:
    pending = [projection]
    while pending:
        part = pending.pop()
        if isinstance(part, RecordOf):
            pending.extend(part.values)
        elif not isinstance(part, FieldAccess | Constant):
            return False
    return True


def _inline(outer: AnalyzedQuery, inner: AnalyzedQuery) -> AnalyzedQuery:
    def rewrite(expression: TypedExpression) -> TypedExpression:
        return fold(expression, operands, lambda node, below: _rewrite(node, below, inner))

    changes = _changes(outer, rewrite)
    where = _conjunction(inner.where, changes.pop("where", outer.where))
    return replace(outer, sources=inner.sources, where=where, **changes)


def _changes(
    query: AnalyzedQuery, rewrite: Callable[[TypedExpression], TypedExpression]
) -> dict[str, Any]:
    """Return what becomes another expression when all are rewritten, by the name of its clause."""
    changes: dict[str, Any] = {}
    for clause in _CLAUSES:
        expression: TypedExpression | None = getattr(query, clause)
        if expression is not None and (rewritten := rewrite(expression)) is not expression:
            changes[clause] = rewritten
    aggregates = [
        call if call.argument is None else _with_argument(call, rewrite(call.argument))
        for call in query.aggregates
    ]
    if any(map(is_not, aggregates, query.aggregates)):
        changes["aggregates"] = tuple(aggregates)
    ordering = query.ordering
    if ordering is not None and (key := rewrite(ordering.key)) is not ordering.key:
        changes["ordering"] = Ordering(key, ordering.is_descending)
    return changes


def _with_argument(call: AggregateCall, argument: TypedExpression) -> AggregateCall:
    if argument is call.argument:
        return call
    return AggregateCall(call.aggregate, argument, call.span)


def _conjunction(
    first: TypedExpression | None, second: TypedExpression | None
) -> TypedExpression | None:
    if first is None or second is None:
        return first if second is None else second
    return BinaryOperation(BinaryOperator.AND, first, second, BOOLEAN, second.span)


def _rewrite(
    node: TypedExpression, below: Sequence[TypedExpression], inner: AnalyzedQuery
) -> TypedExpression:
    """Return a node of the outer query with what is below it exchanged."""
    return _resolve(node, inner) if isinstance(node, FieldAccess) else with_operands(node, below)


def _resolve(access: FieldAccess, inner: AnalyzedQuery) -> TypedExpression:
    """Return where the value of a field of a subquery's row comes from."""
    expression, path = inner.projection, access.path
    while path and isinstance(expression, RecordOf):
        if path[0] not in expression.keys:
            return Constant(None, NULL, access.span)
        expression = expression.values[expression.keys.index(path[0])]
        path = path[1:]
    if not path:
        return replace(expression, span=access.span)
    if not isinstance(expression, FieldAccess):
        # A constant, in which there are no fields.
        return Constant(None, NULL, access.span)
    path = expression.path + path
    source = inner.sources[expression.source]
    is_name = source in {LogSource.SUBJECTS, LogSource.EVENT_TYPES}
    if is_name or (source is LogSource.EVENTS and path[0] not in EVENT_FIELDS):
        return Constant(None, NULL, access.span)
    return FieldAccess(expression.source, path, access.type, access.span)


# --- Folding


def fold_constants(query: AnalyzedQuery) -> AnalyzedQuery:
    """Return a query whose operations on constants are constants, but for its subqueries."""
    changes = _changes(query, lambda expression: _fold(expression)[0])
    return replace(query, **changes) if changes else query


def _fold(node: TypedExpression) -> tuple[TypedExpression, int]:
    """Return an expression with constants, and the size of its value if it is one itself."""
    if type(node) in _LEAVES:
        # Constants are literals here: all but strings are scalars without a size.
        return node, len(node.value) if type(node) is Constant and type(node.value) is str else 0
    below = operands(node)
    folded = [_fold(operand) for operand in below]
    parts = [part for part, _ in folded]
    if any(map(is_not, parts, below)):
        node = with_operands(node, parts)
    values = [part.value for part in parts if type(part) is Constant]
    if len(values) < len(parts) or not is_operation(node):
        return node, 0
    try:
        value = value_of_operation(node, values)
    except EvaluationError:
        return node, 0
    size = 0
    if isinstance(value, str):
        size = len(value)
    elif isinstance(value, list | dict):
        # Whatever is in it was in an operand, or is a key.
        keys = node.keys if isinstance(node, RecordOf) else ()
        size = len(value) + sum(map(len, keys)) + sum(size for _, size in folded)
    if size > _CONSTANT_SIZE_MAX:
        return node, 0
    return Constant(value, frozenset({kind_of(value)}), node.span), size


def is_operation(node: TypedExpression) -> bool:
    """Tell whether the value of a node depends on the values of its operands, and nothing else."""
    if isinstance(node, ScalarCall):
        return node.function.purity in {Purity.PURE, Purity.LAZY}
    return type(node) not in _LEAVES


def value_of_operation(node: TypedExpression, values: Sequence[Any]) -> Value:
    """Return what an operation makes of the values of its operands.

    Raises:
        EvaluationError: There is none.
    """
    match node:
        case UnaryOperation(operator=sign):
            return UNARY_OPERATORS[sign](*values)
        case BinaryOperation(operator=operator):
            return BINARY_OPERATORS[operator](*values)
        case TypeConversion(target=target):
            return convert(values[0], target)
        case ScalarCall(function=function) if function.purity is Purity.LAZY:
            condition, first, second = values
            chosen: Value = first if boolean_of(condition, function.name) else second
            return chosen
        case ScalarCall(function=function):
            return function.checked()(*values)
        case ArrayOf():
            return [*values]
        case RecordOf(keys=keys):
            return dict(zip(keys, values, strict=True))
        case _:
            raise AssertionError(node)
