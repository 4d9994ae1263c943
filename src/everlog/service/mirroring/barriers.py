"""Barriers: one question to the journal, shared by all who came since the one before was asked.

What is left to others: the question itself, and what its answer needs to be applied (`mirror`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from everlog.domain.errors import JournalUnreachableError
from everlog.service.breaks import Breaks
from everlog.service.mirroring.options import MirrorFigures

# How long those who wait are kept waiting for what the answer brought to be applied.
_SECONDS_MAX: Final = 10.0

Callback = Callable[[Exception | None], None]


class Barriers:
    """Asks for as long as somebody waits; on the event loop's thread."""

    def __init__(
        self,
        pass_: Callable[[], Awaitable[None]],
        figures: MirrorFigures,
        *,
        loop: asyncio.AbstractEventLoop,
        on_failure: Callable[[Exception], Exception],
    ) -> None:
        """Ask by `pass_`, which returns when all is here that was acknowledged before the call.

        `on_failure` takes note of what it raises, and returns what those who wait are told.
        """
        self._pass: Final = pass_
        self._figures: Final = figures
        self._loop: Final = loop
        self._on_failure: Final = on_failure
        self._callers: list[Callback] = []
        self._task: asyncio.Task[None] | None = None
        self._releasing: Final[set[asyncio.Task[None]]] = set()

    def call_back(self, callback: Callback) -> None:
        """Call back once the next barrier is passed, or with why it is not."""
        self._callers.append(callback)
        if self._task is None:
            self._task = self._loop.create_task(self._run())

    def release(self, error: Exception) -> None:
        """Let those who wait for the next barrier wait no more."""
        callers, self._callers = self._callers, []
        if callers:
            releasing = self._loop.create_task(self._tell(callers, error))
            self._releasing.add(releasing)
            releasing.add_done_callback(self._releasing.discard)

    async def stop(self) -> None:
        """Ask no more."""
        if self._task is not None:
            self._task.cancel()
        if tasks := {*self._releasing, *([] if self._task is None else [self._task])}:
            await asyncio.wait(tasks)

    async def _run(self) -> None:
        try:
            while self._callers:
                callers, self._callers = self._callers, []
                self._figures.barriers += 1
                self._figures.barrier_callers += len(callers)
                error: Exception | None = None
                try:
                    async with asyncio.timeout(_SECONDS_MAX):
                        await self._pass()
                except TimeoutError:
                    error = JournalUnreachableError("what it has could not be applied in time")
                except Exception as failure:  # noqa: BLE001 - whoever waits is told
                    error = self._on_failure(failure)
                await self._tell(callers, error)
        finally:
            self._task = None

    async def _tell(self, callers: Sequence[Callback], error: Exception | None) -> None:
        """Tell all of them, some at a time: what each of them does then takes a moment."""
        breaks = Breaks()
        for caller in callers:
            try:
                caller(error)
            except Exception as failure:  # noqa: BLE001 - the others are told all the same
                self._on_failure(failure)
            await breaks.take_if_due()
