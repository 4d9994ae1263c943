"""What every endpoint works with."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

from everlog.api.items import EventForm
from everlog.domain.time import format_time, next_event_time
from everlog.http import Exchange
from everlog.service.store import Store


class Tasks:
    """Owns the work that an endpoint has to wait for before it knows its answer."""

    def __init__(self, on_error: Callable[[BaseException], None]) -> None:
        """Report to `on_error` what no endpoint handles."""
        self._on_error: Final = on_error
        self._running: Final[set[asyncio.Task[None]]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run work to its end."""
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._finish)
        return task

    def start_for(self, exchange: Exchange, work: Coroutine[Any, Any, None]) -> None:
        """Run work that is of no use once the client is gone."""
        task = self.start(work)

        def cancel() -> None:
            task.cancel()

        exchange.on_disconnect(cancel)

    async def wait(self) -> None:
        """Return when nothing is running."""
        while self._running:
            await asyncio.wait(self._running)

    def _finish(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_error(error)


@dataclass(frozen=True, slots=True)
class Services:
    """The store and what the API adds to it; `clock` returns nanoseconds since 1970."""

    store: Store
    form: EventForm
    clock: Callable[[], int]
    tasks: Tasks

    def now(self) -> str:
        """Return the time as events state it."""
        return format_time(next_event_time(self.clock(), previous=0))
