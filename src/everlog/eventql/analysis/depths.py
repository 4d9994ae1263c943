"""Depths: how deep values can be nested, so that whatever goes through them may recurse.

A text opens only so many brackets at once, but what a subquery projects may stand inside of what
the query around it projects, and that inside of the next. So depths are counted through
subqueries; they are upper bounds, since of events only the types of their fields are known.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from everlog.domain.limits import JSON_NESTING_MAX
from everlog.eventql.analysis.analyzed import (
    AggregateValue,
    AnalyzedQuery,
    ArrayOf,
    FieldAccess,
    GroupKey,
    LogSource,
    RecordOf,
    TypedExpression,
    operands,
)
from everlog.eventql.analysis.reporting import Reporter
from everlog.eventql.limits import VALUE_DEPTH_MAX
from everlog.eventql.trees import fold
from everlog.eventql.types import ARRAY, RECORD

# An event is a record around its `data`.
_EVENT_DEPTH: Final = 1 + JSON_NESTING_MAX
_NESTED: Final = ARRAY | RECORD


def measure(query: AnalyzedQuery, reporter: Reporter) -> AnalyzedQuery:
    """Return a query with the depth of its rows; report values that can be nested too deeply."""
    meter = _Meter(query.sources, reporter)
    if query.where is not None:
        meter.depth_of(query.where)
    if query.group_key is not None:
        meter.key_depth = meter.depth_of(query.group_key)
    meter.aggregate_depths = [
        0 if call.argument is None else meter.depth_of(call.argument) for call in query.aggregates
    ]
    if query.having is not None:
        meter.depth_of(query.having)
    if query.ordering is not None:
        meter.depth_of(query.ordering.key)
    return replace(query, row_depth=meter.depth_of(query.projection))


class _Meter:
    """What is known of the depths of one query's values, in the order of evaluation."""

    def __init__(self, sources: Sequence[LogSource | AnalyzedQuery], reporter: Reporter) -> None:
        self.key_depth = 0
        self.aggregate_depths: list[int] = []
        self._source_depths: Final = [_depth_of_rows(source) for source in sources]
        self._reporter: Final = reporter

    def depth_of(self, expression: TypedExpression) -> int:
        """Return how deep an expression's value can be nested, at most; a scalar has depth 0."""
        return fold(expression, operands, self._depth_of_node)

    def _depth_of_node(self, node: TypedExpression, below: Sequence[int]) -> int:
        if node.type.isdisjoint(_NESTED):
            return 0
        match node:
            case FieldAccess(source=source, path=path):
                # Each field leads one level down, or to NULL.
                return max(self._source_depths[source] - len(path), 0)
            case GroupKey():
                return self.key_depth
            case AggregateValue(index=index):
                return self.aggregate_depths[index]
            case ArrayOf() | RecordOf():
                return self._checked(node, 1 + max(below, default=0))
            case _:
                # No operator and no function nests its operands: what they return, they are given.
                return max(below, default=0)

    def _checked(self, node: ArrayOf | RecordOf, depth: int) -> int:
        """Return a depth that is allowed; after a report 0, since all around has the same cause."""
        if depth <= VALUE_DEPTH_MAX:
            return depth
        self._reporter.report(
            f"the value of {self._reporter.quote(node.span)} "
            f"may have more than {VALUE_DEPTH_MAX} levels of nesting",
            node.span,
            hint=f"rows of subqueries count too, and events as {_EVENT_DEPTH} levels",
        )
        return 0


def _depth_of_rows(source: LogSource | AnalyzedQuery) -> int:
    if isinstance(source, AnalyzedQuery):
        return source.row_depth
    return _EVENT_DEPTH if source is LogSource.EVENTS else 0
