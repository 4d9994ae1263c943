"""A journal in memory that a test holds: its entries can be read, and appends fail as it says."""

from typing import Any

from everlog.domain.errors import JournalUnreachableError
from everlog.service.mirroring.journal import Entry, OutcomeUnknownError, decode_entry
from tests.support.shared_journal import MemoryJournal, SharedLog


class GivenJournal(MemoryJournal):
    """The one connection to a log of its own, whose places leave some out."""

    def __init__(self, *, entry_size_max: int = 64 * 1024) -> None:
        super().__init__(SharedLog(identity="the-journal", step=7), entry_size_max=entry_size_max)
        # What the next appends end with: "away" if nobody answers, "stored" or "gone" if only the
        # answer is lost; all is well behind them.
        self.faults_to_come: list[str] = []
        self.append_count = 0

    @property
    def entries(self) -> list[Entry]:
        return [decode_entry(content) for _, content in self.shared.entries]

    def cut(self, count: int) -> None:
        """Forget all but the first entries."""
        del self.shared.entries[count:]

    async def append(self, entry: Entry, *, after: int) -> int:
        self.append_count += 1
        fault = self.faults_to_come.pop(0) if self.faults_to_come else ""
        if fault == "away":
            raise JournalUnreachableError("nobody answers")
        if fault == "gone":
            raise OutcomeUnknownError("the answer was lost")
        place = await super().append(entry, after=after)
        if fault == "stored":
            raise OutcomeUnknownError("the answer was lost")
        return place

    async def read(self, **place: Any) -> Any:
        # An entry at a time, so that whoever reads has to ask again.
        return await super().read(**{**place, "size_max": 1})
