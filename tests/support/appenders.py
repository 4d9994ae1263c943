"""One who appends to a journal that nodes share, as a mirror does, and notes what it was told."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from everlog.domain.errors import JournalUnreachableError
from everlog.service.mirroring.journal import (
    BEGINNING,
    Entry,
    EntryLostError,
    OutcomeUnknownError,
    PlacedEntry,
    SharedJournal,
)
from tests.support.journal_places import make_entry

Answer = TypeVar("Answer")


class Appender:
    """It appends until it is stopped, and resolves each outcome before the next entry."""

    def __init__(
        self, journal: SharedJournal, name: str, *, seed: int, pause_seconds: float = 0.0
    ) -> None:
        self._pause_seconds: Final = pause_seconds
        self._journal: Final = journal
        self._name: Final = name
        self._random: Final = random.Random(seed)
        self._place = BEGINNING
        self._end = 0
        self._is_stopping = False
        # The ids of what stands in the journal, as it was told.
        self.acknowledged: Final[list[str]] = []
        self.unknown_count = 0

    def stop(self) -> None:
        self._is_stopping = True

    async def run(self) -> None:
        """Append, whatever becomes of the journal."""
        await self._insist(self._journal.open)
        while not self._is_stopping:
            # Here a mirror would judge what is written.
            entry = make_entry(self._end, self._random.randrange(4), node=self._name)
            # Whoever has lost tries again at once: else it would always be behind.
            if await self._append(entry):
                await asyncio.sleep(self._random.uniform(0, 2 * self._pause_seconds))

    async def _append(self, entry: Entry) -> bool:
        """Append an entry, or take others over that stand in its place; say which."""
        while True:
            try:
                self._place = await self._journal.append(entry, after=self._place)
            except OutcomeUnknownError:
                self.unknown_count += 1
            except JournalUnreachableError:
                await asyncio.sleep(0.02)
                continue
            except EntryLostError:
                pass
            else:
                self._end = entry.end
                self.acknowledged.append(entry.batch_id)
                return True
            others = await self._insist(self._read)
            for placed in others:
                self._place, self._end = placed.place, placed.entry.end
            if others:
                is_ours = entry.batch_id in {placed.entry.batch_id for placed in others}
                if is_ours:
                    self.acknowledged.append(entry.batch_id)
                return is_ours

    async def _read(self) -> list[PlacedEntry]:
        page = await self._journal.read(after=self._place, size_max=1 << 20)
        return list(page.entries)

    async def _insist(self, call: Callable[[], Awaitable[Answer]]) -> Answer:
        while True:
            try:
                return await call()
            except JournalUnreachableError:
                await asyncio.sleep(0.02)
