"""Conditions: queries that a write depends on, evaluated before it and decided together with it.

A query may take seconds, and the writer must not wait for it. So it is evaluated on a head, and
becomes a `StandingQuery`; what came since is taken in step by step, and the last few events at the
write's own place in the log, by the writer. An incremental aggregation counts them in. Any other
query is told by its plan whether they matter; where they do, it is stale and has to be evaluated
anew.

There are two ways to a standing query, and they differ in where it is evaluated only: at once, on
the event loop's thread, or off it. What either is as of is the head that it began with.
What is left to others: evaluating anew, and handing the write over (`service.write`).
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from everlog.domain.errors import Code, EverlogError, RefusedError
from everlog.domain.precondition import IsEventQlQueryTrue, Precondition, SubjectPrecondition
from everlog.eventql.query import IncrementalAggregation, may_affect
from everlog.service.querying.faults import QUERY_FAULTS, refusal_of
from everlog.service.querying.messages import RowForm
from everlog.service.querying.plans import PreparedQuery
from everlog.service.querying.queries import Queries
from everlog.storage.engine import Head, Scan

# What the writer takes in by itself: for a light query, less than a millisecond.
_DELTA_EVENTS_MAX: Final = 256
_DELTA_SIZE_MAX: Final = 256 * 1024

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
    """The answer to a query as of a position in the log."""

    def __init__(
        self,
        *,
        head: Head,
        take: Callable[[bytes], bool],
        answer: Callable[[], bool],
        sees_event_types: bool,
        is_quick: bool,
    ) -> None:
        """Begin at a head.

        `take` takes in stored lines and tells whether the answer is still known; `answer` tells
        whether it is TRUE. Both may raise a `RefusedError`, whose details locate the precondition.
        """
        self._take: Final = take
        self._answer: Final = answer
        self._sees_event_types: Final = sees_event_types
        self._is_quick: Final = is_quick
        self._event_type_count: Final = head.event_type_count
        self._is_lost = False
        # Up to before which position events have been taken in.
        self.position = head.event_count

    def advance(self, lines: bytes, tip: Head) -> None:
        """Take in the stored lines from `position` up to the end of a head.

        Raises:
            StaleQueryError: They may change the answer, nobody knows how.
            RefusedError: The query cannot be evaluated with them.
        """
        if self._is_lost:
            raise StaleQueryError(is_quick=self._is_quick)
        # A schema makes an event type known without an event.
        has_new_type = self._sees_event_types and tip.event_type_count != self._event_type_count
        # Until all of them are taken in: who fails halfway has counted some, nobody knows which.
        self._is_lost = True
        if has_new_type or (lines and not self._take(lines)):
            raise StaleQueryError(is_quick=self._is_quick)
        self._is_lost = False
        self.position = tip.event_count

    def forget(self, head: Head) -> None:
        """Do without what was taken in from behind a head, where others' events stand now."""
        if self.position > head.event_count:
            # It cannot be taken out again.
            self._is_lost = True

    def is_true(self) -> bool:
        """Tell whether the answer is TRUE.

        Raises:
            RefusedError: It is neither TRUE nor FALSE.
        """
        return self._answer()


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
        StaleQueryError: Events came meanwhile that may change an answer.
        RefusedError: A query is malformed or cannot be evaluated.
        BusyError: There are too many queries already.
    """
    judgeable: list[Judgeable] = []
    for index, precondition in enumerate(preconditions):
        if isinstance(precondition, IsEventQlQueryTrue):
            text = precondition.query
            judgeable.append(await _evaluate(queries, text, index, is_first=is_first))
        else:
            judgeable.append(precondition)
    for entry in judgeable:
        if isinstance(entry, StandingQuery):
            await _catch_up(queries, entry)
    return judgeable


async def _catch_up(queries: Queries, standing: StandingQuery) -> None:
    """Take in all but the last few events, so that the writer need not."""
    while (head := queries.engine.head).event_count - standing.position > _DELTA_EVENTS_MAX:
        await queries.reader.call(partial(_advance, queries, standing, head))


def _advance(queries: Queries, standing: StandingQuery, head: Head) -> None:
    scan = Scan(start=standing.position, stop=head.event_count)
    for block in queries.engine.scan(scan, head):
        standing.advance(block, head)


def _evaluate_at_once(queries: Queries, text: str, head: Head, index: int) -> StandingQuery | None:
    prepared = queries.known(text)
    if prepared is None:
        return None
    try:
        if prepared.is_incremental:
            aggregation = queries.aggregate_at_once(prepared, head)
            return None if aggregation is None else _of_aggregates(aggregation, head, index)
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
                return _of_aggregates(aggregation, head, index)
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


def _of_aggregates(aggregation: IncrementalAggregation, head: Head, index: int) -> StandingQuery:
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

    return StandingQuery(
        head=head, take=take, answer=is_true, sees_event_types=False, is_quick=True
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
