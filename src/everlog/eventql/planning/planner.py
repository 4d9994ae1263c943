"""The planner: from a text to a plan, with all decisions about how a query is answered.

Rules in order: simple subqueries are inlined; operations on constants are folded; conditions on
type, subject, id and time become scans; an order that the log has anyway is not sorted for; what
the index can count is not read; counting for a comparison stops when its result is certain.
Nothing here changes an answer, and no error is hidden by a rule, but for rows that an early end
never asks for.
"""

import math
from dataclasses import replace

from everlog.eventql.analysis.analyzed import (
    AggregateValue,
    AnalyzedQuery,
    BinaryOperation,
    Constant,
    FieldAccess,
    LogSource,
    Ordering,
    TypeConversion,
    TypedExpression,
    operands,
)
from everlog.eventql.analysis.analyzer import analyze
from everlog.eventql.language.parser import parse
from everlog.eventql.planning.fallible import can_fail, is_event_id
from everlog.eventql.planning.plan import EventScan, IndexAnswer, Plan, SourcePlan
from everlog.eventql.planning.pushdown import bounds_of, conjuncts_of
from everlog.eventql.planning.rewriting import fold_constants, inline_subquery
from everlog.eventql.trees import walk
from everlog.eventql.types import BinaryOperator, Kind


def prepare(text: str) -> Plan:
    """Return the plan for a query.

    Raises:
        QueryMalformedError: The text is no query, or one without meaning.
    """
    statement = parse(text)
    return plan_query(analyze(statement.query, text), is_explain=statement.is_explain)


def plan_query(query: AnalyzedQuery, *, is_explain: bool = False) -> Plan:
    """Return the plan for a query."""
    query = fold_constants(inline_subquery(query))
    conditions = [*conjuncts_of(query.where)]
    sources: list[SourcePlan] = []
    for index, source in enumerate(query.sources):
        match source:
            case LogSource.EVENTS:
                scan, exact = bounds_of(conditions, index, query.sources)
                said = {id(condition) for condition in exact}
                conditions = [condition for condition in conditions if id(condition) not in said]
                sources.append(SourcePlan(scan))
            case AnalyzedQuery():
                sources.append(SourcePlan(plan_query(source)))
            case _:
                sources.append(SourcePlan(source))
    ordering = query.ordering
    if ordering is not None and _is_log_order(query, ordering):
        log_scan = sources[0].source
        assert isinstance(log_scan, EventScan)
        sources = [SourcePlan(replace(log_scan, is_reversed=ordering.is_descending))]
        ordering = None
    elif ordering is not None and _is_order_irrelevant(query, ordering):
        ordering = None
    return Plan(
        query=query,
        sources=tuple(sources),
        conditions=tuple(conditions),
        ordering=ordering,
        index_answer=None if conditions else _index_answer(query, ordering),
        count_enough=_count_enough(query),
        is_explain=is_explain,
    )


def _is_log_order(query: AnalyzedQuery, ordering: Ordering) -> bool:
    """Tell whether rows come in the order asked for, or in its exact reverse.

    Times never decrease from one event to the next, so that events with the same time are as
    they should be too.
    """
    if query.sources != (LogSource.EVENTS,) or query.group_key is not None:
        return False
    match ordering.key:
        case FieldAccess(path=("time",)):
            return True
        case TypeConversion(operand=operand, target=Kind.INT):
            return is_event_id(operand, query.sources)
        case _:
            return False


def _is_order_irrelevant(query: AnalyzedQuery, ordering: Ordering) -> bool:
    """Tell whether the one row of an aggregated query is the same in any order."""
    return (
        query.is_aggregated
        and query.group_key is None
        and not can_fail(ordering.key, query.sources)
        and not any(call.aggregate.is_by_place for call in query.aggregates)
    )


def _index_answer(query: AnalyzedQuery, ordering: Ordering | None) -> IndexAnswer | None:
    """Return how the index answers a query whose scan selects all its rows, and no others."""
    if query.sources != (LogSource.EVENTS,) or not query.is_aggregated:
        return None
    if query.group_key is None and ordering is not None:
        # The key of each row may be an error.
        return None
    is_by_type = query.group_key is not None and _is_event_type(query.group_key)
    if query.group_key is not None and not is_by_type:
        return None
    for call in query.aggregates:
        is_count = call.aggregate.name == "COUNT" and call.argument is None
        is_type = (
            call.aggregate.is_by_place
            and call.argument is not None
            and _is_event_type(call.argument)
        )
        if not is_count and not (is_by_type and is_type):
            return None
    return IndexAnswer.COUNT_BY_EVENT_TYPE if is_by_type else IndexAnswer.COUNT


def _is_event_type(expression: TypedExpression) -> bool:
    return isinstance(expression, FieldAccess) and expression.path == ("type",)


def _count_enough(query: AnalyzedQuery) -> int | None:
    """Return from which count on each comparison of COUNT() in the projection is certain."""
    is_plain_count = (
        query.is_aggregated
        and query.group_key is None
        and len(query.aggregates) == 1
        and query.aggregates[0].aggregate.name == "COUNT"
        and query.aggregates[0].argument is None
    )
    if not is_plain_count:
        return None
    compared = {}
    used = 0
    for node in walk(query.projection, operands):
        used += isinstance(node, AggregateValue)
        if isinstance(node, BinaryOperation):
            left, right = node.left, node.right
            for side, other, is_left in ((left, right, True), (right, left, False)):
                limit = _certain_from(node.operator, other, is_left=is_left)
                if isinstance(side, AggregateValue) and limit is not None:
                    compared[id(side)] = limit
    return max(compared.values(), default=0) if len(compared) == used else None


def _certain_from(operator: BinaryOperator, other: TypedExpression, *, is_left: bool) -> int | None:
    number = other.value if isinstance(other, Constant) else None
    if not (type(number) is int or type(number) is float):
        return None
    match operator:
        case BinaryOperator.EQUAL | BinaryOperator.NOT_EQUAL:
            limit = math.floor(number) + 1
        case BinaryOperator.GREATER | BinaryOperator.LESS_OR_EQUAL:
            limit = math.floor(number) + 1 if is_left else math.ceil(number)
        case BinaryOperator.GREATER_OR_EQUAL | BinaryOperator.LESS:
            limit = math.ceil(number) if is_left else math.floor(number) + 1
        case _:
            return None
    return max(limit, 0)
