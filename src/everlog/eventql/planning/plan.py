"""The plan: how a query is going to be answered, and what that is in words for EXPLAIN.

What a plan leaves out of reading (`EventScan`) never changes the answer, only the work: the whole
condition of WHERE is still judged for each event that is read, unless the scan alone says the
same of a condition. A plan depends on the text alone, and nothing changes it: it can be executed
again and again, by several threads at once. What an execution needs besides is the log and an
`EvaluationContext`.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Protocol, assert_never

from everlog.eventql.analysis.analyzed import (
    AnalyzedQuery,
    ArrayOf,
    BinaryOperation,
    GroupKey,
    LogSource,
    Ordering,
    TypedExpression,
    operands,
)
from everlog.eventql.evaluation.catalogue import EXTREMES
from everlog.eventql.evaluation.datetimes import format_datetime
from everlog.eventql.evaluation.operators import ORDER_OPERATORS
from everlog.eventql.evaluation.values import DateTime
from everlog.eventql.limits import QueryLimits
from everlog.eventql.planning.fallible import is_event_id
from everlog.eventql.trees import walk


@dataclass(frozen=True, slots=True, kw_only=True)
class EventScan:
    """Which events have to be read: those that fulfil every condition that is given here.

    Ids and times are inclusive lower and exclusive upper bounds; times are nanoseconds since 1970.
    Empty sets select nothing.
    """

    event_types: frozenset[str] | None = None
    subjects: frozenset[str] | None = None
    subject_prefix: str | None = None
    id_start: int = 0
    id_stop: int | None = None
    time_start: int | None = None
    time_stop: int | None = None
    is_reversed: bool = False


ALL: Final = EventScan()
NOTHING: Final = EventScan(event_types=frozenset())


@dataclass(frozen=True, slots=True)
class SourcePlan:
    """One source of a plan: a scan of events, all names of a kind, or a plan of its own."""

    source: "EventScan | LogSource | Plan"

    @property
    def is_events(self) -> bool:
        """Whether the rows are events."""
        return isinstance(self.source, EventScan)


class IndexAnswer(StrEnum):
    """What the index knows without any event being read."""

    COUNT = "count"
    COUNT_BY_EVENT_TYPE = "count by event type"


class Log(Protocol):
    """The log as a query sees it: one state, which does not change while the query runs."""

    def scan(self, scan: EventScan) -> Iterator[bytes]:
        """Yield blocks of whole stored lines, in the scan's order."""

    def count(self, scan: EventScan) -> int:
        """Return how many events a scan selects; reads no event unless times are bounded."""

    def count_by_event_type(self, scan: EventScan) -> dict[str, int]:
        """Return the same by type, in the order of each type's first event, without zeros."""

    def subjects(self) -> Iterator[Sequence[str]]:
        """Yield chunks of all subjects, the root and all intermediate ones included."""

    def event_types(self) -> Sequence[str]:
        """Return all event types, those that have but a schema included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationContext:
    """The time of a query and all else that a pure evaluation is given."""

    # Nanoseconds since 1970: NOW.
    now: int
    # A number from 0 up to before 1, another one each time: RAND.
    random: Callable[[], float]
    # The signature for an event's hash; None where signatures are off.
    sign: Callable[[str], str] | None
    limits: QueryLimits
    # Called before each row is judged; what it raises ends the query.
    check: Callable[[], None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A query with all decisions taken; `query` may say the same with fewer subqueries."""

    query: AnalyzedQuery
    sources: tuple[SourcePlan, ...]
    # What is left of WHERE, as operands of AND, in the order written.
    conditions: tuple[TypedExpression, ...]
    # What is left to be sorted: None too where the scan or the result has that order anyway.
    ordering: Ordering | None
    index_answer: IndexAnswer | None
    # The number of rows from which on the result of a query that counts is certain.
    count_enough: int | None
    # Whether the text asks for the plan and not for rows.
    is_explain: bool = False
    # What `codegen` made of the plan, by what it depends on: made once, and kept with the plan.
    compiled: dict[Hashable, Any] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )


_INDEX_ANSWERS: Final = {
    IndexAnswer.COUNT: "the number of events",
    IndexAnswer.COUNT_BY_EVENT_TYPE: "the number of events of each type",
}

# Long enough for whatever people write; programs may list thousands.
_NAMES_SHOWN_MAX: Final = 20


def explain(plan: Plan, log: Log) -> dict[str, Any]:
    """Return what a plan does, for a person to read as JSON."""
    query = plan.query
    explanation: dict[str, Any] = {
        "sources": [_explain_source(plan, source.source, log) for source in plan.sources],
    }
    if plan.index_answer is not None:
        explanation["answeredByIndex"] = _INDEX_ANSWERS[plan.index_answer]
    elif plan.count_enough is not None:
        explanation["endsAfterRows"] = plan.count_enough
    if plan.conditions:
        explanation["judgesEachRow"] = [_text(plan, each) for each in plan.conditions]
    if query.group_key is not None:
        explanation["groupsBy"] = _text(plan, query.group_key)
    if plan.ordering is not None:
        direction = "DESC" if plan.ordering.is_descending else "ASC"
        explanation["sortsBy"] = f"{_text(plan, plan.ordering.key)} {direction}"
    explanation["holds"] = _held(plan)
    notes = [*dict.fromkeys(_note(plan, each) for each in _ordered_ids(query))]
    if notes:
        explanation["notes"] = notes
    return explanation


def _note(plan: Plan, event_id: TypedExpression) -> str:
    code = _text(plan, event_id)
    return f"{code} is ordered as a text, '10' before '9'; {code} AS INT is the number"


def _ordered_ids(query: AnalyzedQuery) -> Iterator[TypedExpression]:
    """Yield ids of events where the query asks for their order, which is that of texts."""
    keys = [] if query.ordering is None else [query.ordering.key]
    arguments = [call.argument for call in query.aggregates]
    keys += [
        call.argument
        for call in query.aggregates
        if call.aggregate.name in EXTREMES and call.argument is not None
    ]
    roots = [query.where, query.group_key, query.having, query.projection, *keys, *arguments]
    for root in roots:
        for node in () if root is None else walk(root, operands):
            if isinstance(node, BinaryOperation) and node.operator in ORDER_OPERATORS:
                keys += [node.left, node.right]
    for key in keys:
        for part in key.items if isinstance(key, ArrayOf) else (key,):
            meant = query.group_key if isinstance(part, GroupKey) else part
            if meant is not None and is_event_id(meant, query.sources):
                yield part


def _explain_source(plan: Plan, source: EventScan | LogSource | Plan, log: Log) -> dict[str, Any]:
    match source:
        case Plan():
            return {"source": "subquery", **explain(source, log)}
        case LogSource():
            return {"source": source.value}
        case EventScan():
            is_read = plan.index_answer is None and plan.count_enough != 0
            return {
                "source": LogSource.EVENTS.value,
                "selectedByIndex": _explain_scan(source),
                "order": "latest first" if source.is_reversed else "oldest first",
                "eventsInLog": log.count(ALL),
                "eventsToReadAtMost": log.count(source) if is_read else 0,
            }
        case _:
            assert_never(source)


def _explain_scan(scan: EventScan) -> dict[str, Any]:
    conditions = {
        "eventTypes": _names(scan.event_types),
        "subjects": _names(scan.subjects),
        "subjectPrefix": scan.subject_prefix,
        "idFrom": scan.id_start or None,
        "idBefore": scan.id_stop,
        "timeFrom": _time(scan.time_start),
        "timeBefore": _time(scan.time_stop),
    }
    return {name: value for name, value in conditions.items() if value is not None}


def _names(names: frozenset[str] | None) -> list[str] | None:
    if names is None:
        return None
    shown = sorted(names)[:_NAMES_SHOWN_MAX]
    rest = len(names) - len(shown)
    return [*shown, f"... and {rest} more"] if rest else shown


def _time(nanoseconds: int | None) -> str | None:
    return None if nanoseconds is None else format_datetime(DateTime(nanoseconds))


def _held(plan: Plan) -> list[str]:
    """Return what has to be kept in memory before the last row, or the first one, is known."""
    query = plan.query
    held = []
    if len(plan.sources) > 1:
        held.append("all rows of each source but the first")
    if query.group_key is not None:
        held.append("all groups")
    elif any(call.aggregate.name == "MEDIAN" for call in query.aggregates):
        held.append("all numbers whose median is asked for")
    if plan.ordering is not None:
        is_limited = query.top is not None and not query.is_distinct
        held.append("the first rows" if is_limited else "all rows, to sort them")
    if query.is_distinct:
        held.append("all different rows")
    return held


def _text(plan: Plan, expression: TypedExpression) -> str:
    """Return what the query says where an expression stands."""
    return plan.query.text[expression.span.start : expression.span.end]
