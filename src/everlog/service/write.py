"""The write: from what a client sent to its outcome.

Texts become candidates and preconditions. A write whose preconditions are about subjects only goes
to the writer as it is. Queries among them are evaluated first, at once where that takes no longer
than handing them to a thread, and the writer decides about what came since. Where a query went
stale meanwhile, all of them are evaluated anew. Whatever happens, it is decided in bounded time.

Guarantees that the answer is called once, on the event loop's thread, whatever happens; and that
whatever it says, a refusal too, is based on what is durable.
What is left to others: single values (the domain), and judging a write at its place
(`writing.writer`).
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NoReturn, Protocol

import msgspec
from msgspec import UnsetType

from everlog.domain.chain import HashVersion
from everlog.domain.data import keep_members, parse_data, sort_members
from everlog.domain.errors import Code, RefusedError
from everlog.domain.event import EventCandidate, candidate_size
from everlog.domain.event_type import parse_event_type
from everlog.domain.limits import EVENT_SIZE_MAX, EVENTS_PER_WRITE_MAX, PRECONDITIONS_PER_WRITE_MAX
from everlog.domain.precondition import (
    IsEventQlQueryTrue,
    Precondition,
    PreconditionText,
    SubjectPrecondition,
    parse_precondition,
)
from everlog.domain.source import parse_source
from everlog.domain.subject import parse_subject
from everlog.domain.tracing import parse_traceparent, parse_tracestate
from everlog.service.judging import UnjudgedError, Verdict, judge_at_once
from everlog.service.querying.conditions import (
    StaleQueryError,
    catch_up,
    evaluate,
    evaluate_at_once,
    is_caught_up,
)
from everlog.service.querying.queries import is_going_down
from everlog.service.store import Store
from everlog.service.writing.changes import Answer, Outcome, Preconditions

# Each is a whole evaluation; events that matter have come during all of them.
_ATTEMPTS_MAX: Final = 10
# How long all attempts may take, in what one query may: it may be all but over when it goes stale.
_TIME_LIMITS_MAX: Final = 2

# An application has few sources and types, and checking one takes as long as hashing an event.
_CACHE_SIZE: Final = 4_096

# By the names of the members of a write.
COUNTS_MAX: Final[Mapping[str, int]] = MappingProxyType(
    {"events": EVENTS_PER_WRITE_MAX, "preconditions": PRECONDITIONS_PER_WRITE_MAX}
)

# Whose data has no more characters than this is within the bound, whatever its other values are:
# a character is four bytes at most, and each of the others is bounded by itself.
_DATA_LENGTH_SMALL: Final = 8 * 1024

_source: Callable[[str | None], str] = lru_cache(_CACHE_SIZE)(parse_source)
_event_type: Callable[[str | None], str] = lru_cache(_CACHE_SIZE)(parse_event_type)


class CandidateText(Protocol):
    """An event candidate as it was sent; None or UNSET is what was not sent."""

    @property
    def source(self) -> str | UnsetType | None: ...
    @property
    def subject(self) -> str | UnsetType | None: ...
    @property
    def type(self) -> str | UnsetType | None: ...
    @property
    def data(self) -> msgspec.Raw | UnsetType | None: ...
    @property
    def traceparent(self) -> str | UnsetType | None: ...
    @property
    def tracestate(self) -> str | UnsetType | None: ...


def parse_candidates(
    texts: Sequence[CandidateText], *, hash_version: HashVersion, first: int = 0
) -> list[EventCandidate]:
    """Return the candidates of one write, their data as events of a hash version have it.

    `first` is the index of the first one where these are not all. With version 1 the members of all
    objects in data are in order, with version 2 as they were sent (docs/hashes.md).

    Raises:
        RefusedError: The first fault, with the index and the field of its event.
    """
    if not texts:
        raise RefusedError(Code.EVENTS_MISSING, "a write needs at least one event", field="events")
    if len(texts) > EVENTS_PER_WRITE_MAX:
        refuse_count("events", len(texts))
    arrange = sort_members if hash_version is HashVersion.V1 else keep_members
    candidates: list[EventCandidate] = []
    try:
        # All of it in one function: a write of one event is what most are.
        for text in texts:
            # UNSET is falsy, as are None and the empty string, which some clients send for nothing.
            # Of several faults the first in this order is told.
            source = _source(text.source or None)
            subject = parse_subject(text.subject or None)
            event_type = _event_type(text.type or None)
            data_text, data = parse_data(text.data or None)
            traceparent = text.traceparent or None
            candidate = EventCandidate(
                source,
                subject,
                event_type,
                arrange(data_text, data),
                parse_traceparent(traceparent) if traceparent else None,
                parse_tracestate(text.tracestate, traceparent=traceparent)
                if text.tracestate
                else None,
            )
            if len(candidate.data) > _DATA_LENGTH_SMALL:
                _check_size(candidate)
            candidates.append(candidate)
    except RefusedError as error:
        raise _located(error, index=first + len(candidates)) from None
    return candidates


def parse_preconditions(texts: Sequence[PreconditionText]) -> list[Precondition]:
    """Return the preconditions of one write.

    Raises:
        RefusedError: The first fault, with the index of its precondition.
    """
    if len(texts) > PRECONDITIONS_PER_WRITE_MAX:
        refuse_count("preconditions", len(texts))
    return [parse_precondition(text, index=index) for index, text in enumerate(texts)]


def refuse_count(name: str, count: int | None = None) -> NoReturn:
    """Refuse a write with more of something than it may have; it is not always known how many."""
    limit = COUNTS_MAX[name]
    code = Code.EVENT_TOO_LARGE if name == "events" else Code.PRECONDITION_UNKNOWN
    held = "more" if count is None else count
    message = f"a write may have {limit} {name}, this one has {held}"
    raise RefusedError(code, message, field=name, limit=limit)


def _check_size(candidate: EventCandidate) -> None:
    size = candidate_size(candidate)
    if size > EVENT_SIZE_MAX:
        raise RefusedError(
            Code.EVENT_TOO_LARGE,
            f"the event is too large: an event may hold {EVENT_SIZE_MAX} bytes, "
            f"this one holds {size}",
            limit=EVENT_SIZE_MAX,
        )


def _located(error: RefusedError, *, index: int) -> RefusedError:
    details = {**error.details, "eventIndex": index}
    field = details.get("field")
    details["field"] = f"events[{index}]" if field is None else f"events[{index}].{field}"
    return RefusedError(error.code, error.message, **details)


def write(
    store: Store,
    candidates: Sequence[EventCandidate],
    preconditions: Sequence[Precondition],
    answer: Answer,
) -> asyncio.Task[None] | None:
    """Write, and call the answer with the outcome: the events as stored, or why there are none.

    Returns a task where a query has to be waited for. It may be cancelled when nobody waits for the
    answer; then nothing is written, and nothing answered, unless the write has been handed over.
    """
    subjects_only: list[SubjectPrecondition] = []
    for entry in preconditions:
        if isinstance(entry, IsEventQlQueryTrue):
            return _ConditionalWrite(store, candidates, preconditions, answer).begin()
        subjects_only.append(entry)
    verdict = None
    if store.writer.schemas:
        try:
            verdict = judge_at_once(store.writer.schemas, candidates)
        except UnjudgedError:
            return _ConditionalWrite(store, candidates, preconditions, answer).begin()
    store.writer.write(candidates, subjects_only, answer, verdict)
    return None


class _ConditionalWrite:
    """A write that depends on queries, or whose events take long to judge, until it is decided."""

    def __init__(
        self,
        store: Store,
        candidates: Sequence[EventCandidate],
        preconditions: Sequence[Precondition],
        answer: Answer,
    ) -> None:
        self._store: Final = store
        self._candidates: Final = candidates
        self._preconditions: Final = preconditions
        self._answer: Final = answer
        # By the schemas that were in force when its events were judged; none before.
        self._verdict: Verdict | None = None
        self._loop: Final = asyncio.get_running_loop()
        self._seconds_max: Final = _TIME_LIMITS_MAX * store.queries.seconds_max
        # When they are over, from the first evaluation on.
        self._until: float | None = None

    def begin(self) -> asyncio.Task[None] | None:
        """Hand it over if all of it can be found out at once, else wait for that in a task."""
        try:
            if self._store.writer.schemas:
                self._verdict = judge_at_once(self._store.writer.schemas, self._candidates)
            judgeable = evaluate_at_once(self._store.queries, self._preconditions)
        except UnjudgedError:
            judgeable = None
        except Exception as error:  # noqa: BLE001 - as after waiting: it is the outcome
            self._answer(error)
            return None
        if judgeable is None:
            return self._loop.create_task(self._decide(None))

        def note(outcome: Outcome) -> None:
            if not isinstance(outcome, StaleQueryError):
                self._answer(outcome)
            elif self._store.queries.is_ending:
                # Nobody waits any more for those who would try again.
                self._answer(is_going_down())
            else:
                # Whoever asked has been told that there is nothing to wait for.
                retry = self._decide(outcome)
                self._store.queries.own(self._loop.create_task(retry))

        self._store.writer.write(self._candidates, judgeable, note, self._verdict)
        return None

    async def _decide(self, stale: StaleQueryError | None) -> None:
        """Try until it is decided; `stale` is why the first attempt was in vain, if it was made."""
        try:
            for _ in range(_ATTEMPTS_MAX if stale is None else _ATTEMPTS_MAX - 1):
                async with self._turn_after(stale):
                    stale = await self._attempt(is_first=stale is None)
                if stale is None:
                    return
            outcome: Outcome = RefusedError(
                Code.QUERY_UNEVALUABLE,
                f"in {_ATTEMPTS_MAX} attempts, events that the query depends on came while it ran",
            )
        except TimeoutError:
            outcome = RefusedError(
                Code.QUERY_UNEVALUABLE,
                f"the queries of the preconditions took longer than {self._seconds_max:g} seconds",
            )
        except Exception as error:  # noqa: BLE001 - nobody may wait for an answer that never comes
            outcome = error
        self._answer(outcome)

    def _turn_after(self, stale: StaleQueryError | None) -> AbstractAsyncContextManager[None]:
        # One after the other, so that those who contend do not overtake each other again and again.
        is_quick = stale is not None and stale.is_quick
        return self._store.queries.turn_again() if is_quick else nullcontext()

    async def _attempt(self, *, is_first: bool) -> StaleQueryError | None:
        """Evaluate and hand over; return None if it is decided, and then the answer was called."""
        await self._judge()
        queries = self._store.queries
        self._until = self._until or self._loop.time() + self._seconds_max
        async with AsyncExitStack() as held:
            async with asyncio.timeout_at(self._until):
                judgeable = await evaluate(queries, self._preconditions, is_first=is_first)
                if not is_caught_up(queries, judgeable):
                    # Until it is decided: the writer pauses for one at a time.
                    await held.enter_async_context(queries.catching_up)
                    await catch_up(queries, judgeable)
            return await self._hand_over(judgeable)

    async def _judge(self) -> None:
        """Judge the events, unless they have been by the schemas that are in force."""
        schemas = self._store.writer.schemas
        if schemas and (self._verdict is None or not self._verdict.is_current(schemas)):
            self._verdict = await self._store.judge.judge(schemas, self._candidates)

    async def _hand_over(self, judgeable: Preconditions) -> StaleQueryError | None:
        done: asyncio.Future[StaleQueryError | None] = self._loop.create_future()

        def note(outcome: Outcome) -> None:
            stale = outcome if isinstance(outcome, StaleQueryError) else None
            if not done.done():
                done.set_result(stale)
            if stale is None:
                # Whoever waited may be gone, but what was written is written.
                self._answer(outcome)

        self._store.writer.write(self._candidates, judgeable, note, self._verdict)
        return await done
