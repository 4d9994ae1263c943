"""What every endpoint works with."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final

from everlog.api.items import EventForm
from everlog.api.media import text_response
from everlog.domain.event import EventCandidate
from everlog.domain.precondition import Precondition
from everlog.domain.time import next_event_time
from everlog.http import Exchange
from everlog.monitoring.diagnostics import Diagnostics
from everlog.monitoring.figures import Monitor
from everlog.monitoring.tally import Tally
from everlog.service.store import Store
from everlog.service.write import write
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
        self._adopt(exchange, task)
        return task

    def start_for(self, exchange: Exchange, work: Coroutine[Any, Any, None]) -> None:
        """Run work that is of no use once the client is gone."""
        self.adopt_for(exchange, asyncio.get_running_loop().create_task(work))

    def adopt_for(self, exchange: Exchange, task: asyncio.Task[None]) -> None:
        """Own a task that is of no use once the client is gone."""
        self._adopt(exchange, task)

        def cancel() -> None:
            task.cancel()

        exchange.on_disconnect(cancel)

    def _adopt(self, exchange: Exchange, task: asyncio.Task[None]) -> None:
        self._running.add(task)

        def finish(done: asyncio.Task[None]) -> None:
            self._running.discard(done)
            if not done.cancelled() and (error := done.exception()) is not None:
                self._on_error(error)
                answer_bug(exchange)

        task.add_done_callback(finish)

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
    ) -> None:
        """Write, and answer; a write that waits for a query goes away with its client."""
        task = write(self.store, candidates, preconditions, self.guard(exchange, answer))
        if task is not None:
            self.tasks.adopt_for(exchange, task)

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
