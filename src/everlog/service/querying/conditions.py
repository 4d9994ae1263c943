"""Conditions: queries that a write depends on, evaluated before it and decided together with it.

A query may take seconds, and the writer must not wait for it. So it is evaluated on a head, and
becomes a `StandingQuery`; what came since is taken in, and the last few events at the write's own
place in the log, by the writer. An incremental aggregation counts them in. Any other query is told
by its plan whether they matter; where they do, it is stale and has to be evaluated anew.

All queries of a write catch up together, to the same head, on a thread: in rounds, each of which
has less left to do than the one before, until the writer can do the rest in a moment. Where rounds
do not lead there, since events come about as fast as they are taken in, the writer pauses until all
are up to date; whoever is not by then is refused. Who needs that comes one after the other.

There are two ways to a standing query, and they differ in where it is evaluated only: at once, on
the event loop's thread, or off it. What either is as of is the head that it began with.
What is left to others: evaluating anew, and handing the write over (`service.write`).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from math import inf
from time import perf_counter
from typing import Final

from everlog.domain.errors import Code, EverlogError, RefusedError
from everlog.domain.limits import CATCH_UP_SECONDS_MAX
from everlog.domain.precondition import IsEventQlQueryTrue, Precondition, SubjectPrecondition
from everlog.eventql.query import IncrementalAggregation, may_affect
from everlog.service.breaks import Breaks, Rests
from everlog.service.querying.faults import QUERY_FAULTS, refusal_of
from everlog.service.querying.messages import RowForm
from everlog.service.querying.plans import SELECTION_WEIGHT, PreparedQuery
from everlog.service.querying.queries import Queries
from everlog.storage.engine import Head, LogReader, Scan

# What is staged while a query is evaluated at once, which then takes it in in any case.
_DELTA_EVENTS_MAX: Final = 256
_DELTA_SIZE_MAX: Final = 256 * 1024

# What a query costs besides what it takes in, in bytes of a node: some ten microseconds.
_WORK_MIN: Final = 16 * 1024
# What is left for the writer, for all queries of a write: some milliseconds.
_WORK_LEFT_MAX: Final = 4 * 1024 * 1024

# So much of what was missed is read once for all queries.
_KEPT_SIZE_MAX: Final = 4 * 1024 * 1024

# Lines that are taken in by one step, between which the time is looked at: so many bytes, or one.
_STEP_SIZE: Final = 8 * 1024

# Queries of one write that the event loop evaluates by itself: each takes some ten microseconds, at
# worst some hundred.
_AT_ONCE_MAX: Final = 2

_ROWS: Final = RowForm(b"", b"\n")


class StaleQueryError(EverlogError):
    """Events came that may change the answer of a query: it has to be evaluated anew.

    `is_quick` tells whether that takes a few milliseconds only.
    """

    def __init__(self, *, is_quick: bool) -> None:
        super().__init__("events have come that may change the answer of the query")
        self.is_quick: Final = is_quick


class StandingQuery:
    """The answer to a query as of a head."""

    def __init__(
        self,
        *,
        head: Head,
        take: Callable[[bytes], bool],
        answer: Callable[[], bool],
        sees_event_types: bool,
        is_quick: bool,
        weight: int | None,
    ) -> None:
        """Begin at a head.

        `take` takes in stored lines and tells whether the answer is still known; `answer` tells
        whether it is TRUE. Both may raise a `RefusedError`, whose details locate the precondition.
        `weight` says what both do for each byte, as `plans` has it; None if that is not known, so
        that the event loop must do neither.
        """
        self._take: Final = take
        self._answer: Final = answer
        self._sees_event_types: Final = sees_event_types
        self._is_quick: Final = is_quick
        self._weight: Final = weight
        # Whether the event loop may ask it, and need not ask `work` before where nothing came.
        self.is_light: Final = weight is not None
        # Why it cannot be evaluated with what was taken in, whatever comes.
        self._fault: RefusedError | None = None
        # What `settle` found out, until more is taken in.
        self._known: bool | RefusedError | None = None
        self._is_lost = False
        # Of all that was taken in.
        self.head = head

    def work(self, tip: Head) -> float:
        """Return what is to be done up to a tip, and to answer: bytes times nodes."""
        if self._is_lost or self._fault is not None:
            return 0
        if self._known is not None and self.head == tip:
            return 0
        if self._weight is None:
            return inf
        return _WORK_MIN + self._weight * (tip.log_size - self.head.log_size)

    def advance(self, blocks: Iterable[bytes], tip: Head) -> None:
        """Take in the stored lines up to the end of a head; what is wrong is told by `is_true`."""
        if self._is_lost:
            return
        # A schema makes an event type known without an event.
        has_new_type = tip.event_type_count != self.head.event_type_count
        # Until all of them are taken in: who fails halfway has counted some, nobody knows which.
        self._is_lost = True
        self.head = tip
        if has_new_type and self._sees_event_types:
            return
        for lines in blocks:
            if lines and self._fault is None:
                self._known = None
                try:
                    if not self._take(lines):
                        return
                except RefusedError as refusal:
                    self._fault = refusal
        self._is_lost = False

    def settle(self) -> None:
        """Find out the answer, so that `is_true` knows it until there is more to take in."""
        if self._is_lost or self._fault is not None or self._known is not None:
            return
        try:
            self._known = self._answer()
        except RefusedError as refusal:
            self._known = refusal

    def forget(self, head: Head) -> None:
        """Do without what was taken in from behind a head, where others' events stand now."""
        if self.head.event_count > head.event_count:
            # It cannot be taken out again.
            self._is_lost = True

    def is_true(self) -> bool:
        """Tell whether the answer is TRUE.

        Raises:
            StaleQueryError: What was taken in may have changed the answer, nobody knows how.
            RefusedError: The query cannot be evaluated, or is neither TRUE nor FALSE.
        """
        if self._is_lost:
            raise StaleQueryError(is_quick=self._is_quick)
        if self._fault is not None:
            raise self._fault
        if self._known is None:
            return self._answer()
        if isinstance(self._known, RefusedError):
            raise self._known
        return self._known


Judgeable = SubjectPrecondition | StandingQuery


def evaluate_at_once(
    queries: Queries, preconditions: Sequence[Precondition]
) -> list[Judgeable] | None:
    """Evaluate the queries among preconditions here and now; None if they have to be waited for.

    On the event loop's thread; nothing is awaited, and what is done is bounded.

    Raises:
        RefusedError: A query cannot be evaluated.
    """
    # Where others' batches are being applied, the tip moves meanwhile: it only says how much there
    # is to take in. What is evaluated is the head.
    head, tip = queries.engine.head, queries.engine.tip
    if tip.event_count - head.event_count > _DELTA_EVENTS_MAX:
        return None
    if tip.log_size - head.log_size > _DELTA_SIZE_MAX:
        return None
    count, judgeable = 0, list[Judgeable]()
    for index, precondition in enumerate(preconditions):
        if not isinstance(precondition, IsEventQlQueryTrue):
            judgeable.append(precondition)
            continue
        count += 1
        standing = None
        if count <= _AT_ONCE_MAX:
            standing = _evaluate_at_once(queries, precondition.query, head, index)
        if standing is None:
            return None
        judgeable.append(standing)
    return judgeable


async def evaluate(
    queries: Queries, preconditions: Sequence[Precondition], *, is_first: bool
) -> list[Judgeable]:
    """Evaluate the queries among preconditions, however long that takes.

    `is_first` tells that it is the first time, so that those who have to do it again go first.

    Raises:
        RefusedError: A query is malformed or cannot be evaluated.
        BusyError: There are too many queries already.
    """
    judgeable: list[Judgeable] = []
    breaks = Breaks()
    for index, precondition in enumerate(preconditions):
        if isinstance(precondition, IsEventQlQueryTrue):
            text = precondition.query
            judgeable.append(await _evaluate(queries, text, index, is_first=is_first))
            # Those that are at hand are evaluated without waiting for anybody.
            await breaks.take_if_due()
        else:
            judgeable.append(precondition)
    return judgeable


def is_caught_up(queries: Queries, judgeable: Sequence[Judgeable]) -> bool:
    """Tell whether the writer can let all queries take in the rest in a moment."""
    tip = queries.engine.tip
    return sum([query.work(tip) for query in _standing(judgeable)]) <= _WORK_LEFT_MAX


async def catch_up(queries: Queries, judgeable: Sequence[Judgeable]) -> None:
    """Let all queries take in what came, until what is left does not become less.

    Raises:
        RefusedError: That takes too long.
    """
    standing, engine = _standing(judgeable), queries.engine
    until = perf_counter() + CATCH_UP_SECONDS_MAX
    left: float = inf
    while True:
        head = engine.head
        missed = head.event_count - min(query.head.event_count for query in standing)
        if missed > left / 2:
            return
        left = missed
        step = partial(take_in, engine, standing, head, until - perf_counter())
        await queries.reader.call(step)
        if is_caught_up(queries, judgeable):
            return


def take_in(log: LogReader, standing: Sequence[StandingQuery], head: Head, seconds: float) -> None:
    """Let queries take in all up to a head, and find out their answers, on a thread.

    Raises:
        RefusedError: After so many seconds that was not done; they are of no use any more.
    """
    until, rests = perf_counter() + seconds, Rests()
    start, blocks = head.event_count, list[bytes]()
    for query in sorted(standing, key=lambda query: query.head.event_count):
        position = query.head.event_count
        found: Iterable[bytes] = blocks
        if position != start:
            found = log.scan(Scan(start=position, stop=head.event_count), head)
            if head.log_size - query.head.log_size <= _KEPT_SIZE_MAX:
                # The others have mostly missed the same.
                start, blocks = position, [*found]
                found = blocks
        query.advance(_steps(found, until, rests), head)
        query.settle()
        _check_time(until)


def _steps(blocks: Iterable[bytes], until: float, rests: Rests) -> Iterator[bytes]:
    for block in blocks:
        begin = 0
        while begin < len(block):
            _check_time(until)
            rests.take_if_due()
            end = block.rfind(b"\n", begin, begin + _STEP_SIZE) + 1
            end = end or block.index(b"\n", begin) + 1
            yield block[begin:end]
            begin = end


def _check_time(until: float) -> None:
    if perf_counter() > until:
        raise RefusedError(
            Code.QUERY_UNEVALUABLE,
            "events came faster than the queries of the preconditions could take them in",
        )


def _standing(judgeable: Sequence[Judgeable]) -> list[StandingQuery]:
    return [entry for entry in judgeable if isinstance(entry, StandingQuery)]


def _evaluate_at_once(queries: Queries, text: str, head: Head, index: int) -> StandingQuery | None:
    prepared = queries.known(text)
    if prepared is None:
        return None
    try:
        if prepared.is_incremental:
            aggregation = queries.aggregate_at_once(prepared, head)
            if aggregation is None:
                return None
            return _of_aggregates(prepared, aggregation, head, index)
        if queries.has_overtaken:
            return None
        chunks = queries.rows_at_once(prepared, head)
        if chunks is None:
            return None
        rows: list[bytes] = []
        for chunk in chunks:
            rows += chunk
            if len(rows) > 1:
                break
        return _of_rows(prepared, rows, head, index, is_quick=True)
    except QUERY_FAULTS as fault:
        raise refusal_of(fault, preconditionIndex=index) from fault


async def _evaluate(queries: Queries, text: str, index: int, *, is_first: bool) -> StandingQuery:
    with queries.permits.acquire():
        try:
            prepared = await queries.prepare(text)
            if prepared.needs.is_explain:
                raise _is_explain(index)
            if prepared.is_incremental:
                head = queries.engine.head
                aggregation = await queries.aggregate(prepared, head)
                return _of_aggregates(prepared, aggregation, head, index)
            is_quick = await queries.is_quick(prepared, queries.engine.head)
            if is_quick and is_first:
                await queries.let_overtaken_go_first()
            head = queries.engine.head
            rows = await _first_rows(queries, prepared, head)
            return _of_rows(prepared, rows, head, index, is_quick=is_quick)
        except QUERY_FAULTS as fault:
            raise refusal_of(fault, preconditionIndex=index) from fault


async def _first_rows(queries: Queries, prepared: PreparedQuery, head: Head) -> list[bytes]:
    """Return the first two rows: more than one is too many already."""
    rows: list[bytes] = []
    blocks = queries.rows(prepared, head, form=_ROWS)
    try:
        async for block in blocks:
            rows += (block or b"").splitlines()
            if len(rows) > 1:
                break
    finally:
        await blocks.aclose()
    return rows


def _of_aggregates(
    prepared: PreparedQuery, aggregation: IncrementalAggregation, head: Head, index: int
) -> StandingQuery:
    def take(lines: bytes) -> bool:
        try:
            aggregation.add_any(lines)
        except QUERY_FAULTS as fault:
            raise refusal_of(fault, preconditionIndex=index) from fault
        return True

    def is_true() -> bool:
        try:
            value = aggregation.value()
        except QUERY_FAULTS as fault:
            raise refusal_of(fault, preconditionIndex=index) from fault
        if not isinstance(value, bool):
            raise _not_boolean("its row is neither TRUE nor FALSE", index)
        return value

    weight = prepared.weight
    return StandingQuery(
        head=head,
        take=take,
        answer=is_true,
        sees_event_types=False,
        is_quick=True,
        weight=None if weight is None else weight + SELECTION_WEIGHT,
    )


def _of_rows(
    prepared: PreparedQuery, rows: Sequence[bytes], head: Head, index: int, *, is_quick: bool
) -> StandingQuery:
    matters = may_affect(prepared.needs.deciding_scans)

    def take(lines: bytes) -> bool:
        return not matters(lines)

    def is_true() -> bool:
        if len(rows) != 1:
            raise _not_boolean(f"it has {'more than one row' if rows else 'no row'}", index)
        if rows[0] not in {b"true", b"false"}:
            raise _not_boolean("its row is neither TRUE nor FALSE", index)
        return rows[0] == b"true"

    return StandingQuery(
        head=head,
        take=take,
        answer=is_true,
        sees_event_types=prepared.needs.has_event_types,
        is_quick=is_quick,
        weight=SELECTION_WEIGHT * len(prepared.needs.scans),
    )


def _not_boolean(reason: str, index: int) -> RefusedError:
    return RefusedError(
        Code.QUERY_NOT_BOOLEAN,
        f"the query of a precondition must have one row that is TRUE or FALSE, but {reason}",
        preconditionIndex=index,
    )


def _is_explain(index: int) -> RefusedError:
    return RefusedError(
        Code.QUERY_NOT_BOOLEAN,
        "a precondition must be a query: EXPLAIN has a plan for its answer",
        preconditionIndex=index,
    )
