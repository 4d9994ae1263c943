"""The write: from candidates and preconditions to its outcome.

A write whose preconditions are about subjects only goes to the writer as it is. Queries among them
are evaluated first, at once where that takes no longer than handing them to a thread, and the
writer decides about what came since. Where a query went stale meanwhile, all of them are evaluated
anew.

Guarantees that the answer is called once, on the event loop's thread, whatever happens; and that
whatever it says, a refusal too, is based on what is durable.
What is left to others: parsing (`write_events`), and judging a write at its place (`writer`).
"""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Final

from everlog.domain.errors import Code, RefusedError
from everlog.domain.event import EventCandidate
from everlog.domain.precondition import IsEventQlQueryTrue, Precondition, SubjectPrecondition
from everlog.service.querying.conditions import StaleQueryError, evaluate, evaluate_at_once
from everlog.service.querying.queries import is_going_down
from everlog.service.store import Store
from everlog.service.writer import Answer, Outcome, Preconditions

# Each is a whole evaluation; events that matter have come during all of them.
_ATTEMPTS_MAX: Final = 10


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
    store.writer.write(candidates, subjects_only, answer)
    return None


class _ConditionalWrite:
    """A write that depends on queries, until it is decided."""

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

    def begin(self) -> asyncio.Task[None] | None:
        """Hand it over if its queries can be evaluated at once, else wait for them in a task."""
        try:
            judgeable = evaluate_at_once(self._store.queries, self._preconditions)
        except RefusedError as error:
            self._answer(error)
            return None
        if judgeable is None:
            return asyncio.get_running_loop().create_task(self._decide(None))

        def note(outcome: Outcome) -> None:
            if not isinstance(outcome, StaleQueryError):
                self._answer(outcome)
            elif self._store.queries.is_ending:
                # Nobody waits any more for those who would try again.
                self._answer(is_going_down())
            else:
                # Whoever asked has been told that there is nothing to wait for.
                retry = self._decide(outcome)
                self._store.queries.own(asyncio.get_running_loop().create_task(retry))

        self._store.writer.write(self._candidates, judgeable, note)
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
        except Exception as error:  # noqa: BLE001 - nobody may wait for an answer that never comes
            outcome = error
        self._answer(outcome)

    def _turn_after(self, stale: StaleQueryError | None) -> AbstractAsyncContextManager[None]:
        # One after the other, so that those who contend do not overtake each other again and again.
        is_quick = stale is not None and stale.is_quick
        return self._store.queries.turn_again() if is_quick else nullcontext()

    async def _attempt(self, *, is_first: bool) -> StaleQueryError | None:
        """Evaluate and hand over; return None if it is decided, and then the answer was called."""
        try:
            judgeable = await evaluate(self._store.queries, self._preconditions, is_first=is_first)
        except StaleQueryError as error:
            return error
        return await self._hand_over(judgeable)

    async def _hand_over(self, judgeable: Preconditions) -> StaleQueryError | None:
        done: asyncio.Future[StaleQueryError | None] = asyncio.get_running_loop().create_future()

        def note(outcome: Outcome) -> None:
            stale = outcome if isinstance(outcome, StaleQueryError) else None
            if not done.done():
                done.set_result(stale)
            if stale is None:
                # Whoever waited may be gone, but what was written is written.
                self._answer(outcome)

        self._store.writer.write(self._candidates, judgeable, note)
        return await done
