"""The log as queries see it: one head of an engine."""

from collections.abc import Iterator, Sequence

from everlog.domain.subject import ROOT
from everlog.eventql.planning.plan import EventScan, Log, Plan
from everlog.eventql.query import EvaluationContext, IncrementalAggregation, scans_of
from everlog.storage.engine import Engine, Head, Scan


class HeadLog:
    """One head of an engine, for queries that run in this process."""

    def __init__(self, engine: Engine, head: Head) -> None:
        """Look at nothing beyond this head."""
        self._engine = engine
        self._head = head

    def scan(self, scan: EventScan) -> Iterator[bytes]:
        """Yield blocks of whole stored lines."""
        return self._engine.scan(to_storage_scan(scan, self._engine, self._head), self._head)

    def count(self, scan: EventScan) -> int:
        """Return how many events a scan selects."""
        return self._engine.count(to_storage_scan(scan, self._engine, self._head), self._head)

    def count_by_event_type(self, scan: EventScan) -> dict[str, int]:
        """Return the same by type."""
        located = to_storage_scan(scan, self._engine, self._head)
        return self._engine.count_by_event_type(located, self._head)

    def subjects(self) -> Iterator[Sequence[str]]:
        """Yield chunks of all subjects."""
        return self._engine.subjects(ROOT, self._head)

    def event_types(self) -> Sequence[str]:
        """Return all event types."""
        return [entry.name for entry in self._engine.event_types(self._head)]


def to_storage_scan(scan: EventScan, engine: Engine, head: Head) -> Scan:
    """Return what a query's scan means for storage; times become positions."""
    start, stop = scan.id_start, head.event_count
    if scan.id_stop is not None:
        stop = min(stop, scan.id_stop)
    if scan.time_start is not None:
        start = max(start, engine.find_time(scan.time_start, head))
    if scan.time_stop is not None:
        stop = min(stop, engine.find_time(scan.time_stop, head))
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


def tally_of(plan: Plan, log: Log, surroundings: EvaluationContext) -> IncrementalAggregation:
    """Return the tally of all events that a plan's scan selects, or of enough of them."""
    tally = IncrementalAggregation.start(plan, surroundings)
    [scan] = scans_of(plan)
    if tally.is_count:
        tally.begin_with(log.count(scan))
    else:
        _add_enough(tally, log.scan(scan))
    return tally


def _add_enough(tally: IncrementalAggregation, blocks: Iterator[bytes]) -> None:
    while not tally.is_certain and (block := next(blocks, None)) is not None:
        tally.add(block)
