"""Inlining: a query over a simple subquery becomes one query.

    FROM x IN (FROM e IN events WHERE a PROJECT INTO { n: e.data.n }) WHERE x.n > 1 PROJECT INTO x

becomes `FROM e IN events WHERE a AND e.data.n > 1 PROJECT INTO { n: e.data.n }`, so that what is
known of events helps here too, and no field is decoded that nobody uses.
Only what cannot fail is inlined: an error in a field that the outer query leaves out is an error.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Final

from everlog.eventql.analysis.analyzed import (
    AggregateCall,
    AnalyzedQuery,
    BinaryOperation,
    Constant,
    FieldAccess,
    LogSource,
    RecordOf,
    TypedExpression,
    operands,
    with_operands,
)
from everlog.eventql.language.syntax import BinaryOperator
from everlog.eventql.limits import TREE_DEPTH_MAX
from everlog.eventql.trees import fold, walk
from everlog.eventql.types import BOOLEAN, EVENT_FIELDS, NULL

# Far more than people write, and little enough to be generated at once.
_SIZE_MAX: Final = 10_000


def inline_subquery(query: AnalyzedQuery) -> AnalyzedQuery:
    """Return a query that means the same, and has no simple subquery as its only source."""
    while len(query.sources) == 1:
        inner = query.sources[0]
        if not isinstance(inner, AnalyzedQuery) or not _is_simple(inner):
            break
        if _grown_size(query, inner) > _SIZE_MAX:
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
                    sizes[node.path] = sum(1 for _ in islice(resolved, _SIZE_MAX))
                size += sizes[node.path]
            if size > _SIZE_MAX:
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
    def rewritten(expression: TypedExpression) -> TypedExpression:
        return fold(expression, operands, lambda node, below: _rewrite(node, below, inner))

    where = None if outer.where is None else rewritten(outer.where)
    ordering = outer.ordering
    return replace(
        outer,
        sources=inner.sources,
        where=_conjunction(inner.where, where),
        group_key=None if outer.group_key is None else rewritten(outer.group_key),
        aggregates=tuple(
            AggregateCall(
                call.aggregate,
                None if call.argument is None else rewritten(call.argument),
                call.span,
            )
            for call in outer.aggregates
        ),
        ordering=None if ordering is None else replace(ordering, key=rewritten(ordering.key)),
        having=None if outer.having is None else rewritten(outer.having),
        projection=rewritten(outer.projection),
    )


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
