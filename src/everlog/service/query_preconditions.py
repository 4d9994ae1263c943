"""Preconditions that are queries: evaluated before the write, decided together with it."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Final

from everlog.domain.errors import Code, RefusedError
from everlog.domain.event import EventCandidate
from everlog.domain.precondition import (
    IsEventQlQueryTrue,
    Precondition,
    SubjectPrecondition,
)
from everlog.eventql.analyzed import LogSource
from everlog.eventql.diagnostic import (
    QueryLimitError,
    QueryMalformedError,
    QueryUnevaluableError,
)
from everlog.eventql.plan import Plan
from everlog.eventql.query import is_incremental, may_affect
from everlog.service.queries import Queries
from everlog.service.query_faults import refusal_of
from everlog.service.query_messages import RowForm
from everlog.service.query_work import log_sources
from everlog.service.standing_query import StaleQueryError, StandingQuery
from everlog.service.store import Store
from everlog.service.writer import Answer, Outcome
from everlog.storage.engine import Head, Scan

# Each is a whole evaluation; events that matter have come during all of them.
_ATTEMPTS_MAX: Final = 10

# What the writer takes in by itself: less than a millisecond.
_DELTA_EVENTS_MAX: Final = 256

_FAULTS: Final = (QueryMalformedError, QueryUnevaluableError, QueryLimitError)

_ROWS: Final = RowForm(b"", b"\n")


def without_queries(preconditions: Sequence[Precondition]) -> list[SubjectPrecondition] | None:
    """Return the preconditions of a write that need not wait for a query, None if it must."""
    found = [entry for entry in preconditions if not isinstance(entry, IsEventQlQueryTrue)]
    return found if len(found) == len(preconditions) else None


async def write_after_queries(
    store: Store,
    candidates: Sequence[EventCandidate],
    preconditions: Sequence[Precondition],
    answer: Answer,
) -> None:
    """Evaluate the queries among the preconditions, and write; the writer calls the answer.

    Raises:
        RefusedError: A query is malformed or cannot be evaluated.
        BusyError: There are too many queries already.
    """
    for _ in range(_ATTEMPTS_MAX):
        outcome = await _attempt(store, candidates, preconditions)
        if not isinstance(outcome, StaleQueryError):
            answer(outcome)
            return
    raise RefusedError(
        Code.QUERY_UNEVALUABLE,
        f"in {_ATTEMPTS_MAX} attempts, events that the query depends on came while it ran",
    )


async def _attempt(
    store: Store, candidates: Sequence[EventCandidate], preconditions: Sequence[Precondition]
) -> Outcome:
    judged: list[SubjectPrecondition | StandingQuery] = []
    try:
        for index, precondition in enumerate(preconditions):
            if isinstance(precondition, IsEventQlQueryTrue):
                judged.append(await _evaluate(store, precondition.query, index))
            else:
                judged.append(precondition)
        for standing in judged:
            if isinstance(standing, StandingQuery):
                await _catch_up(store, standing)
    except StaleQueryError as error:
        return error
    done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    def answer(outcome: Outcome) -> None:
        # Whoever waited may be gone, but what was written is written.
        if not done.done():
            done.set_result(outcome)

    store.writer.write(candidates, judged, answer)
    return await done


async def _catch_up(store: Store, standing: StandingQuery) -> None:
    """Take in all but the last few events, so that the writer need not."""
    while store.engine.head.event_count - standing.position > _DELTA_EVENTS_MAX:
        await store.reader.call(partial(_advance, store, standing, store.engine.head))


def _advance(store: Store, standing: StandingQuery, head: Head) -> None:
    scan = Scan(start=standing.position, stop=head.event_count)
    for block in store.engine.scan(scan, head):
        standing.advance(block, head)


async def _evaluate(store: Store, text: str, index: int) -> StandingQuery:
    with store.queries.places.enter():
        try:
            plan = await store.queries.prepare(text)
            _check_is_no_explain(plan, index)
            if is_incremental(plan):
                return await _tallied(store, plan, index)
            return await _answered(store, plan, index)
        except _FAULTS as fault:
            raise refusal_of(fault, preconditionIndex=index) from fault


async def _tallied(store: Store, plan: Plan, index: int) -> StandingQuery:
    head = store.engine.head
    tally = await store.queries.tally(plan, head)

    def take(lines: bytes) -> None:
        try:
            tally.add_any(lines)
        except _FAULTS as fault:
            raise refusal_of(fault, preconditionIndex=index) from fault

    def is_true() -> bool:
        try:
            value = tally.value()
        except _FAULTS as fault:
            raise refusal_of(fault, preconditionIndex=index) from fault
        if not isinstance(value, bool):
            raise _not_boolean("its row is neither TRUE nor FALSE", index)
        return value

    return StandingQuery(head=head, take=take, answer=is_true, sees_event_types=False)


async def _answered(store: Store, plan: Plan, index: int) -> StandingQuery:
    head = store.engine.head
    rows = await _first_rows(store.queries, plan, head)
    matters = may_affect(plan)

    def take(lines: bytes) -> None:
        if matters(lines):
            raise StaleQueryError("events have come that may change the answer of the query")

    def is_true() -> bool:
        if len(rows) != 1:
            raise _not_boolean(f"it has {'more than one row' if rows else 'no row'}", index)
        if rows[0] not in {b"true", b"false"}:
            raise _not_boolean("its row is neither TRUE nor FALSE", index)
        return rows[0] == b"true"

    sees_event_types = LogSource.EVENT_TYPES in log_sources(plan)
    return StandingQuery(head=head, take=take, answer=is_true, sees_event_types=sees_event_types)


async def _first_rows(queries: Queries, plan: Plan, head: Head) -> list[bytes]:
    """Return the first two rows: more than one is too many already."""
    rows: list[bytes] = []
    blocks = queries.rows(plan, head, form=_ROWS)
    try:
        async for block in blocks:
            rows += (block or b"").splitlines()
            if len(rows) > 1:
                break
    finally:
        await blocks.aclose()
    return rows


def _check_is_no_explain(plan: Plan, index: int) -> None:
    if plan.is_explain:
        raise RefusedError(
            Code.QUERY_NOT_BOOLEAN,
            "a precondition must be a query: EXPLAIN has a plan for its answer",
            preconditionIndex=index,
        )


def _not_boolean(reason: str, index: int) -> RefusedError:
    return RefusedError(
        Code.QUERY_NOT_BOOLEAN,
        f"the query of a precondition must have one row that is TRUE or FALSE, but {reason}",
        preconditionIndex=index,
    )
