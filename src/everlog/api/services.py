"""What every endpoint works with."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final

from everlog.api.items import EventForm
from everlog.api.media import text_response
from everlog.domain.errors import BusyError, RefusedError
from everlog.domain.event import EventCandidate
from everlog.domain.precondition import Precondition
from everlog.domain.time import next_event_time
from everlog.http import Exchange
from everlog.monitoring.diagnostics import Diagnostics
from everlog.monitoring.figures import Monitor
from everlog.monitoring.tally import Tally
from everlog.service.query_preconditions import without_queries, write_after_queries
from everlog.service.store import Store
from everlog.service.writer import Answer, Outcome


class Tasks:
    """Owns the work that an endpoint has to wait for before it knows its answer."""

    def __init__(self, on_error: Callable[[BaseException], None]) -> None:
        """Report to `on_error` what no endpoint handles."""
        self._on_error: Final = on_error
        self._running: Final[set[asyncio.Task[None]]] = set()

    def start(self, exchange: Exchange, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run work to its end, whether or not the client is still there."""
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)

        def finish(done: asyncio.Task[None]) -> None:
            self._running.discard(done)
            if not done.cancelled() and (error := done.exception()) is not None:
                self._on_error(error)
                answer_bug(exchange)

        task.add_done_callback(finish)
        return task

    def start_for(self, exchange: Exchange, work: Coroutine[Any, Any, None]) -> None:
        """Run work that is of no use once the client is gone."""
        task = self.start(exchange, work)

        def cancel() -> None:
            task.cancel()

        exchange.on_disconnect(cancel)

    async def wait(self) -> None:
        """Return when nothing is running."""
        while self._running:
            await asyncio.wait(self._running)


def answer_bug(exchange: Exchange) -> None:
    """Answer a request that met a bug on the way, so that its client does not wait for ever."""
    if exchange.answer is None:
        exchange.respond(text_response(500, "the request could not be handled"))


@dataclass(frozen=True, slots=True)
class Services:
    """The store and what the API adds to it; `clock` returns nanoseconds since 1970."""

    store: Store
    form: EventForm
    clock: Callable[[], int]
    tasks: Tasks
    tally: Tally
    monitor: Monitor
    describe: Callable[[], Diagnostics]

    def write(
        self,
        exchange: Exchange,
        candidates: Sequence[EventCandidate],
        preconditions: Sequence[Precondition],
        answer: Answer,
        *,
        refuse: "Callable[[Services, Exchange, RefusedError | BusyError], None]",
    ) -> None:
        """Write, and answer; `refuse` answers where a query among the preconditions is refused."""
        guarded = self.guard(exchange, answer)
        subjects_only = without_queries(preconditions)
        if subjects_only is not None:
            self.store.writer.write(candidates, subjects_only, guarded)
            return

        async def work() -> None:
            try:
                await write_after_queries(self.store, candidates, preconditions, guarded)
            except (RefusedError, BusyError) as error:
                refuse(self, exchange, error)

        self.tasks.start_for(exchange, work())

    def guard(self, exchange: Exchange, answer: Answer) -> Answer:
        """Return the answer with one more promise: if it meets a bug, the client is told."""

        def guarded(outcome: Outcome) -> None:
            try:
                answer(outcome)
            except Exception:
                answer_bug(exchange)
                raise

        return guarded

    def now(self) -> str:
        """Return the time as events state it."""
        return next_event_time(self.clock(), previous=0)[1]
