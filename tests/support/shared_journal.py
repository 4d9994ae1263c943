"""A journal that nodes share in one process, with the faults that real ones have.

Several `MemoryJournal` may look at one `Sequence`, one for each node, as connections to one server.
"""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import uuid4

from everlog.domain.errors import JournalUnreachableError
from everlog.service.mirroring.journal import (
    Announced,
    Announcement,
    Entry,
    EntryLostError,
    OutcomeUnknownError,
    Page,
    PlacedEntry,
    decode_entry,
    encode_entry,
)


@dataclass(slots=True)
class SharedLog:
    """What all nodes see: encoded entries, at places that leave some out."""

    entries: list[tuple[int, bytes]] = field(default_factory=list)
    announcements: dict[str, Announcement] = field(default_factory=dict)
    identity: str = field(default_factory=lambda: uuid4().hex)
    step: int = 1

    @property
    def last(self) -> int:
        """The place of the last entry, 0 where there is none."""
        return self.entries[-1][0] if self.entries else 0

    def append(self, content: bytes, after: int) -> int:
        """Let an entry stand behind a place.

        Raises:
            EntryLostError: Another one does.
        """
        if after != self.last:
            raise EntryLostError("another entry stands there")
        self.entries.append((after + self.step, content))
        return self.last


@dataclass(slots=True)
class Faults:
    """What goes wrong, each with a probability, and how long everything takes."""

    unknown_and_stored: float = 0.0
    unknown_and_not_stored: float = 0.0
    # The answer is lost, and the entry is stored a moment later, if its place is free then.
    unknown_and_stored_later: float = 0.0
    unreachable: float = 0.0
    seconds: float = 0.0
    # Nobody gets through while this is set; it can be set when an answer is lost.
    is_away: bool = False
    is_away_after_unknown: bool = False


class MemoryJournal:
    """One node's connection to a shared log."""

    def __init__(
        self,
        shared: SharedLog,
        *,
        faults: Faults | None = None,
        seed: int = 0,
        entry_size_max: int = 8 * 1024 * 1024,
    ) -> None:
        """Ask nothing yet."""
        self.shared: Final = shared
        self.faults: Final = faults or Faults()
        self.entry_size_max = entry_size_max
        self.remarks: Sequence[str] = ()
        # Whether it says nothing of what is appended.
        self.is_silent = False
        self._random: Final = random.Random(seed)
        # What was asked to be read, the place each time.
        self.reads: Final[list[int]] = []
        self._later: Final[set[asyncio.Task[None]]] = set()

    async def open(self) -> str:
        """Return the identity of the shared log."""
        await self._way()
        return self.shared.identity

    async def append(self, entry: Entry, *, after: int) -> int:
        """Append, and perhaps lose the answer."""
        await self._way()
        content = encode_entry(entry)
        assert len(content) <= self.entry_size_max
        fault = self._fault()
        self.faults.is_away |= bool(fault) and self.faults.is_away_after_unknown
        match fault:
            case "stored":
                self.shared.append(content, after)
                raise OutcomeUnknownError("the answer was lost")
            case "not-stored":
                raise OutcomeUnknownError("the answer was lost")
            case "later":
                task = asyncio.get_running_loop().create_task(self._append_later(content, after))
                self._later.add(task)
                task.add_done_callback(self._later.discard)
                raise OutcomeUnknownError("the answer was lost")
        place = self.shared.append(content, after)
        if self.faults.seconds:
            await asyncio.sleep(self._random.uniform(0, self.faults.seconds))
        return place

    async def _append_later(self, content: bytes, after: int) -> None:
        await asyncio.sleep(self._random.uniform(0, 0.05))
        if after == self.shared.last:
            self.shared.append(content, after)

    async def read(self, *, after: int, size_max: int, proves_end: bool = True) -> Page:
        """Return what stands behind a place."""
        self.reads.append(after)
        await self._way()
        found: list[PlacedEntry] = []
        size = 0
        behind = [entry for entry in self.shared.entries if entry[0] > after]
        for place, content in behind:
            if found and size + len(content) > size_max:
                break
            found.append(PlacedEntry(place, decode_entry(content)))
            size += len(content)
        page = Page(found, is_end=proves_end and len(found) == len(behind))
        if self.faults.seconds:
            await asyncio.sleep(self._random.uniform(0, self.faults.seconds))
        return page

    async def find(self, position: int) -> int:
        """Return the place behind which the first entry stands that ends at a position or later."""
        await self._way()
        before = 0
        for place, content in self.shared.entries:
            if decode_entry(content).end >= position:
                return before
            before = place
        return before

    async def wait(self, *, after: int) -> None:
        """Look every few milliseconds."""
        for _ in range(200 if not self.is_silent else 10**9):
            if not self.is_silent and (self.shared.last > after or self.faults.is_away):
                return
            await asyncio.sleep(0.005)

    async def announce(self, announcement: Announcement) -> Sequence[Announced]:
        """Remember what was said, and return what others say."""
        await self._way()
        self.shared.announcements[announcement.node_id] = announcement
        return [
            Announced(other, (other.clock - announcement.clock) / 1e9, 0.0)
            for other in self.shared.announcements.values()
            if other.node_id != announcement.node_id
        ]

    async def close(self) -> None:
        """Forget what would be stored later."""
        for task in list(self._later):
            task.cancel()

    async def _way(self) -> None:
        seconds = self.faults.seconds
        await asyncio.sleep(self._random.uniform(0, seconds) if seconds else 0)
        if self.faults.is_away or self._random.random() < self.faults.unreachable:
            raise JournalUnreachableError("nobody gets through")

    def _fault(self) -> str:
        found = self._random.random()
        for name, probability in (
            ("stored", self.faults.unknown_and_stored),
            ("not-stored", self.faults.unknown_and_not_stored),
            ("later", self.faults.unknown_and_stored_later),
        ):
            if found < probability:
                return name
            found -= probability
        return ""
