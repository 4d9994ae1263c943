"""How much a query has to do, told before it is done."""

from everlog.eventql.analysis.analyzed import Constant, LogSource, TypedExpression
from everlog.eventql.planning.plan import EventScan, IndexAnswer, Log, Plan
from everlog.eventql.query import reads_events


def count_rows(plan: Plan, log: Log) -> int:
    """Return how many rows of sources have to be judged, at most."""
    if not reads_events(plan) and not log_sources(plan):
        return 0
    combinations, inner = 1, 0
    for entry in plan.sources:
        match entry.source:
            case EventScan() as scan:
                combinations *= log.count(scan)
            case LogSource.SUBJECTS:
                combinations *= sum(map(len, log.subjects()))
            case LogSource.EVENT_TYPES:
                combinations *= len(log.event_types())
            case Plan() as subquery:
                rows = count_rows(subquery, log)
                combinations *= rows
                inner += rows
    enough = _enough(plan)
    return inner + (combinations if enough is None else min(combinations, enough))


def scans_by_event_type(plan: Plan) -> set[EventScan]:
    """Return the scans of which a plan wants to know how many events of each type they select."""
    found: set[EventScan] = set()
    for entry in plan.sources:
        if isinstance(entry.source, Plan):
            found |= scans_by_event_type(entry.source)
        elif (
            isinstance(entry.source, EventScan)
            and plan.index_answer is IndexAnswer.COUNT_BY_EVENT_TYPE
        ):
            found.add(entry.source)
    return found


def log_sources(plan: Plan) -> set[LogSource]:
    """Return what a plan reads besides events, its subqueries included."""
    found: set[LogSource] = set()
    for entry in plan.sources:
        if isinstance(entry.source, Plan):
            found |= log_sources(entry.source)
        elif isinstance(entry.source, LogSource):
            found.add(entry.source)
    return found


def _enough(plan: Plan) -> int | None:
    """Return after how many rows a plan is done, whatever they hold; None if that is not known."""
    if plan.conditions or plan.ordering is not None or plan.query.is_distinct:
        return None
    if plan.query.is_aggregated:
        return plan.count_enough
    skip, top = _constant(plan.query.skip), _constant(plan.query.top)
    if plan.query.top is None or top is None or (plan.query.skip is not None and skip is None):
        return None
    return top + (skip or 0)


def _constant(expression: TypedExpression | None) -> int | None:
    value = expression.value if isinstance(expression, Constant) else None
    return value if isinstance(value, int) else None
