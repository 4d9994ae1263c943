"""Snapshots of the index, saved on a reading thread while writing goes on.

None of them matters for what is stored, only for how long opening takes after a crash; so a
failure is reported and the next batch tries again.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from everlog.service.reader import Reader
from everlog.storage.engine import Engine


class IndexSnapshots:
    """Saves a snapshot of the index whenever one is due, one at a time."""

    def __init__(
        self,
        engine: Engine,
        reader: Reader,
        *,
        on_success: Callable[[int], None],
        on_failure: Callable[[OSError], None],
    ) -> None:
        """Report up to how many events was saved, and what the disk refused."""
        self._engine: Final = engine
        self._reader: Final = reader
        self._on_success: Final = on_success
        self._on_failure: Final = on_failure
        self._saving: asyncio.Task[None] | None = None
        # Since the server was started, and whether the last one could not be saved.
        self.saved_count = 0
        self.failure_count = 0
        self.has_failed = False

    def save_if_due(self) -> None:
        """Start saving if enough was written since the last snapshot."""
        if self._saving is None and self._engine.is_snapshot_due:
            self._saving = asyncio.get_running_loop().create_task(self._save())

    async def wait(self) -> None:
        """Return when nothing is being saved."""
        if self._saving is not None:
            await self._saving

    async def _save(self) -> None:
        try:
            await self._reader.call(self._engine.save_snapshot)
        except OSError as error:
            self.failure_count += 1
            self.has_failed = True
            self._on_failure(error)
        else:
            self.saved_count += 1
            self.has_failed = False
            self._on_success(self._engine.head.event_count)
        finally:
            self._saving = None
