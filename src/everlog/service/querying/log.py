"""The log as queries see it, one head of a reader; what a query needs of it, and how much of it."""

from collections.abc import Iterable, Iterator, Sequence
from math import prod
from typing import Final, NamedTuple

import msgspec

from everlog.domain.subject import ROOT
from everlog.eventql.analysis.analyzed import (
    AnalyzedQuery,
    Constant,
    LogSource,
    TypedExpression,
    operands,
)
from everlog.eventql.execution.memory_budget import size_of
from everlog.eventql.planning.plan import ALL, EventScan, IndexAnswer, Log, Plan
from everlog.eventql.query import (
    EvaluationContext,
    IncrementalAggregation,
    reads_events,
    scans_of,
)
from everlog.eventql.trees import walk
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

    def size(self, scan: EventScan, *, count_max: int) -> int:
        """Return how many bytes the first events that a scan selects take; reads none of them."""
        located = to_storage_scan(scan, self._reader, self._head)
        return self._reader.size(located, self._head, count_max=count_max)

    def count_by_event_type(self, scan: EventScan) -> dict[str, int]:
        """Return the same by type."""
        located = to_storage_scan(scan, self._reader, self._head)
        return self._reader.count_by_event_type(located, self._head)

    @property
    def subject_count(self) -> int:
        """How many subjects there are, at most."""
        return self._head.subject_count

    @property
    def event_type_count(self) -> int:
        """How many event types there are."""
        return self._head.event_type_count

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


# What a query needs, whoever runs it.


class Needs(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a query without its plan: what it asks for, and what it needs of the log."""

    is_explain: bool
    # Each once, with whether the plan asks how many events of each type it selects.
    scans: dict[EventScan, bool]
    has_subjects: bool
    has_event_types: bool

    @property
    def deciding_scans(self) -> Sequence[EventScan]:
        """What selects every event that the answer may depend on."""
        # Each event may have a new subject or type.
        return (ALL,) if self.has_subjects or self.has_event_types else (*self.scans,)


def needs_of(plan: Plan) -> Needs:
    """Return what a plan needs of the log."""
    sources = log_sources(plan)
    by_event_type = scans_by_event_type(plan)
    return Needs(
        is_explain=plan.is_explain,
        scans={scan: scan in by_event_type for scan in scans_of(plan)},
        has_subjects=LogSource.SUBJECTS in sources,
        has_event_types=LogSource.EVENT_TYPES in sources,
    )


# How much there is to do, told before it is done.


class Volume(NamedTuple):
    """Rows of sources that have to be judged, and the bytes that they are made of, at most."""

    rows: int
    size: int


_NO_ROWS: Final = Volume(0, 0)


def volume_of(plan: Plan, log: HeadLog, *, rows_max: int) -> Volume | None:
    """Return how much a plan has to judge; None if it may be more rows than that."""
    if not reads_events(plan) and not log_sources(plan):
        return _NO_ROWS
    enough = _enough(plan)
    inner = _NO_ROWS
    sources: list[Volume] = []
    for index, entry in enumerate(plan.sources):
        match entry.source:
            case EventScan() as scan:
                # Of several sources all rows are read, but for the first.
                count_max = rows_max + 1 if enough is None or index > 0 else enough
                count = min(log.count(scan), count_max)
                found = Volume(count, log.size(scan, count_max=count) if count <= rows_max else 0)
            case LogSource.SUBJECTS:
                found = _volume_of_names(log.subject_count, log.subjects(), rows_max)
            case LogSource.EVENT_TYPES:
                found = _volume_of_names(log.event_type_count, [log.event_types()], rows_max)
            case Plan() as subquery:
                judged = volume_of(subquery, log, rows_max=rows_max)
                if judged is None:
                    return None
                inner = Volume(inner.rows + judged.rows, inner.size + judged.size)
                found = _volume_of_answer(subquery, judged, log, rows_max)
            case _:
                raise AssertionError(entry.source)
        if found.rows > rows_max:
            return None
        sources.append(found)
    volume = _product_of(sources, enough)
    rows = inner.rows + volume.rows
    return None if rows > rows_max else Volume(rows, inner.size + volume.size)


def _product_of(sources: Sequence[Volume], enough: int | None) -> Volume:
    """Return what is judged of all combinations, and what is read before the first of them."""
    combinations = prod(source.rows for source in sources)
    size = sum(
        source.size * prod(other.rows for other in sources if other is not source)
        for source in sources
    )
    rows = combinations if enough is None else min(combinations, enough)
    others = sources[1:]
    return Volume(
        max(rows, sum(source.rows for source in others)),
        size + sum(source.size for source in others),
    )


def _volume_of_names(count: int, names: Iterable[Sequence[str]], rows_max: int) -> Volume:
    if count > rows_max:
        return Volume(count, 0)
    return Volume(count, sum(len(name) for chunk in names for name in chunk))


def _volume_of_answer(plan: Plan, judged: Volume, log: HeadLog, rows_max: int) -> Volume:
    """Return what a subquery is for the query around it: its rows may repeat what they are of."""
    if plan.index_answer is IndexAnswer.COUNT_BY_EVENT_TYPE:
        judged = _volume_of_names(log.event_type_count, [log.event_types()], rows_max)
    elif plan.query.is_aggregated and plan.query.group_key is None:
        # One row, whatever there is.
        judged = Volume(1, judged.size)
    copies = constants = 0
    for node in nodes_of(plan.query):
        if isinstance(node, Constant):
            constants += size_of(node.value)
        else:
            copies += 1
    return Volume(judged.rows, judged.size * copies + judged.rows * constants)


def nodes_of(query: AnalyzedQuery) -> Iterator[TypedExpression]:
    """Yield all nodes of a query's expressions, those of its subqueries not included."""
    roots = [query.where, query.group_key, query.having, query.projection, query.skip, query.top]
    roots += [call.argument for call in query.aggregates]
    if query.ordering is not None:
        roots.append(query.ordering.key)
    for root in roots:
        if root is not None:
            yield from walk(root, operands)


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
