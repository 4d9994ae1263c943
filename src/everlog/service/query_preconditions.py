"""Preconditions that are queries: evaluated before the write, decided together with it."""

import asyncio
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from typing import Final

from everlog.domain.errors import Code, RefusedError
from everlog.domain.event import EventCandidate
from everlog.domain.precondition import (
    IsEventQlQueryTrue,
    Precondition,
    SubjectPrecondition,
)
from everlog.eventql.analysis.analyzed import LogSource
from everlog.eventql.diagnostic import (
    QueryLimitError,
    QueryMalformedError,
    QueryUnevaluableError,
)
from everlog.eventql.planning.plan import Plan
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
    outcome = await _attempt(store, candidates, preconditions, is_first=True)
    for _ in range(1, _ATTEMPTS_MAX):
        if not isinstance(outcome, StaleQueryError):
            break
        # One after the other, so that those who contend do not overtake each other again and again.
        turn = store.queries.turn if outcome.is_quick else nullcontext()
        async with turn:
            outcome = await _attempt(store, candidates, preconditions, is_first=False)
    if isinstance(outcome, StaleQueryError):
        raise RefusedError(
            Code.QUERY_UNEVALUABLE,
            f"in {_ATTEMPTS_MAX} attempts, events that the query depends on came while it ran",
        )
    answer(outcome)


async def _attempt(
    store: Store,
    candidates: Sequence[EventCandidate],
    preconditions: Sequence[Precondition],
    *,
    is_first: bool,
) -> Outcome:
    judged: list[SubjectPrecondition | StandingQuery] = []
    try:
        for index, precondition in enumerate(preconditions):
            if isinstance(precondition, IsEventQlQueryTrue):
                standing = await _evaluate(store, precondition.query, index, is_first=is_first)
                judged.append(standing)
            else:
                judged.append(precondition)
        for entry in judged:
            if isinstance(entry, StandingQuery):
                await _catch_up(store, entry)
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


async def _evaluate(store: Store, text: str, index: int, *, is_first: bool) -> StandingQuery:
    with store.queries.places.enter():
        try:
            plan = await store.queries.prepare(text)
            _check_is_no_explain(plan, index)
            if is_incremental(plan):
                return await _tallied(store, plan, index)
            is_quick = await store.queries.is_quick(plan, store.engine.head)
            if is_quick and is_first:
                # Those who have been overtaken before go first.
                async with store.queries.turn:
                    pass
            return await _answered(store, plan, index, is_quick=is_quick)
        except _FAULTS as fault:
            raise refusal_of(fault, preconditionIndex=index) from fault


async def _tallied(store: Store, plan: Plan, index: int) -> StandingQuery:
    head = store.engine.head
    tally = await store.queries.tally(plan, head)

    def take(lines: bytes) -> bool:
        try:
            tally.add_any(lines)
        except _FAULTS as fault:
            raise refusal_of(fault, preconditionIndex=index) from fault
        return True

    def is_true() -> bool:
        try:
            value = tally.value()
        except _FAULTS as fault:
            raise refusal_of(fault, preconditionIndex=index) from fault
        if not isinstance(value, bool):
            raise _not_boolean("its row is neither TRUE nor FALSE", index)
        return value

    return StandingQuery(
        head=head, take=take, answer=is_true, sees_event_types=False, is_quick=True
    )


async def _answered(store: Store, plan: Plan, index: int, *, is_quick: bool) -> StandingQuery:
    head = store.engine.head
    rows = await _first_rows(store.queries, plan, head)
    matters = may_affect(plan)

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
        sees_event_types=LogSource.EVENT_TYPES in log_sources(plan),
        is_quick=is_quick,
    )


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
