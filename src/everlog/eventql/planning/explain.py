"""Explaining a plan: what is read, what the indexes do for it, and what is held in memory."""

from typing import Any, Final, assert_never

from everlog.eventql.analysis.analyzed import LogSource, TypedExpression
from everlog.eventql.evaluation.datetimes import format_datetime
from everlog.eventql.evaluation.values import DateTime
from everlog.eventql.planning.plan import EventScan, IndexAnswer, Log, Plan
from everlog.eventql.planning.scans import ALL

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
    return explanation


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
