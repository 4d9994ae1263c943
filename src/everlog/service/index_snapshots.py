"""Snapshots of the index, saved on a reading thread while writing goes on.

None of them matters for what is stored, only for how long opening takes after a crash; so a
failure is reported, and a later batch tries again. Whatever made it fail is there for a while
mostly, and each try costs as much as it can write: so tries become rare, and only the first that
fails is told of, and the first that does not.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from everlog.service.reader import Reader
from everlog.storage.engine import Engine

# Seconds from one try that failed to the next: twice as many each time, up to some minutes.
_RETRY_SECONDS_MIN: Final = 1.0
_RETRY_SECONDS_MAX: Final = 300.0


class IndexSnapshots:
    """Saves a snapshot of the index whenever one is due, one at a time."""

    def __init__(
        self,
        engine: Engine,
        reader: Reader,
        *,
        on_success: Callable[[int], None],
        on_failure: Callable[[Exception], None],
        on_recovery: Callable[[int], None],
    ) -> None:
        """Report up to how many events was saved, the first time again after failures apart.

        Of several failures in a row the first is reported: what the disk refused, or no memory.
        """
        self._engine: Final = engine
        self._reader: Final = reader
        self._on_success: Final = on_success
        self._on_failure: Final = on_failure
        self._on_recovery: Final = on_recovery
        self._saving: asyncio.Task[None] | None = None
        # Since the server was started, and whether the last one could not be saved.
        self.saved_count = 0
        self.failure_count = 0
        self.has_failed = False
        # When the next try may be, in the loop's time, and how long that one makes wait if it
        # fails.
        self._retry_at = 0.0
        self._retry_seconds = _RETRY_SECONDS_MIN

    def save_if_due(self) -> None:
        """Start saving if enough was written since the last snapshot."""
        if self._saving is not None or not self._engine.is_snapshot_due:
            return
        loop = asyncio.get_running_loop()
        if loop.time() >= self._retry_at:
            self._saving = loop.create_task(self._save())

    async def wait(self) -> None:
        """Return when nothing is being saved."""
        if self._saving is not None:
            await self._saving

    async def _save(self) -> None:
        try:
            await self._reader.call(self._engine.save_snapshot)
        except (OSError, MemoryError) as error:
            self._note_failure(error)
        else:
            self._note_success()
        finally:
            self._saving = None

    def _note_failure(self, error: Exception) -> None:
        self.failure_count += 1
        self._retry_at = asyncio.get_running_loop().time() + self._retry_seconds
        self._retry_seconds = min(2 * self._retry_seconds, _RETRY_SECONDS_MAX)
        if not self.has_failed:
            self.has_failed = True
            self._on_failure(error)

    def _note_success(self) -> None:
        self.saved_count += 1
        self._retry_at, self._retry_seconds = 0.0, _RETRY_SECONDS_MIN
        report = self._on_recovery if self.has_failed else self._on_success
        self.has_failed = False
        report(self._engine.head.event_count)
