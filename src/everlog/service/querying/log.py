"""The log as queries see it, one head of a reader, and how much a query has to do there."""

from collections.abc import Iterator, Sequence

from everlog.domain.subject import ROOT
from everlog.eventql.analysis.analyzed import Constant, LogSource, TypedExpression
from everlog.eventql.planning.plan import EventScan, IndexAnswer, Log, Plan
from everlog.eventql.query import (
    EvaluationContext,
    IncrementalAggregation,
    reads_events,
    scans_of,
)
from everlog.storage.engine import Head, LogReader, Scan


class HeadLog:
    """One head of a log, for queries that run in this process."""

    def __init__(
        self, reader: LogReader, head: Head, *, lines: bytes | None = None, count: int | None = None
    ) -> None:
        """Look at nothing beyond this head.

        `lines` or `count` are what the only scan of a query selects, where that is known already.
        """
        self._reader = reader
        self._head = head
        self._lines = lines
        self._count = count

    def scan(self, scan: EventScan) -> Iterator[bytes]:
        """Yield blocks of whole stored lines."""
        if self._lines is not None:
            return iter((self._lines,) if self._lines else ())
        return self._reader.scan(to_storage_scan(scan, self._reader, self._head), self._head)

    def count(self, scan: EventScan) -> int:
        """Return how many events a scan selects."""
        if self._count is not None:
            return self._count
        return self._reader.count(to_storage_scan(scan, self._reader, self._head), self._head)

    def count_by_event_type(self, scan: EventScan) -> dict[str, int]:
        """Return the same by type."""
        located = to_storage_scan(scan, self._reader, self._head)
        return self._reader.count_by_event_type(located, self._head)

    def subjects(self) -> Iterator[Sequence[str]]:
        """Yield chunks of all subjects."""
        return self._reader.subjects(ROOT, self._head)

    def event_types(self) -> Sequence[str]:
        """Return all event types."""
        chunks = self._reader.event_types(self._head)
        return [entry.name for chunk in chunks for entry in chunk]


def to_storage_scan(scan: EventScan, reader: LogReader, head: Head) -> Scan:
    """Return what a query's scan means for storage; times become positions."""
    start, stop = scan.id_start, head.event_count
    if scan.id_stop is not None:
        stop = min(stop, scan.id_stop)
    if scan.time_start is not None:
        start = max(start, reader.find_time(scan.time_start, head))
    if scan.time_stop is not None:
        stop = min(stop, reader.find_time(scan.time_stop, head))
    subjects, prefix = scan.subjects, scan.subject_prefix
    if subjects is not None and prefix is not None:
        subjects = frozenset(name for name in subjects if name.startswith(prefix))
    return Scan(
        start=start,
        stop=stop,
        subjects=subjects,
        subject_prefix=prefix,
        event_types=scan.event_types,
        is_reversed=scan.is_reversed,
    )


def aggregate(plan: Plan, log: Log, context: EvaluationContext) -> IncrementalAggregation:
    """Return the aggregates of all events that a plan's scan selects, or of enough of them."""
    aggregation = IncrementalAggregation.start(plan, context)
    [scan] = scans_of(plan)
    if aggregation.is_count:
        aggregation.begin_with(log.count(scan))
    else:
        _add_enough(aggregation, log.scan(scan))
    return aggregation


def _add_enough(aggregation: IncrementalAggregation, blocks: Iterator[bytes]) -> None:
    while not aggregation.is_certain and (block := next(blocks, None)) is not None:
        aggregation.add(block)


# How much there is to do, told before it is done.


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
