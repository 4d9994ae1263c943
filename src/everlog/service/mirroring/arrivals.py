"""What was read of a journal and is not here yet.

What is left to others: reading it, and applying it (`mirror`).
"""

from collections import deque
from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from everlog.domain.errors import DivergedError
from everlog.service.mirroring.journal import BEGINNING, Entry, PlacedEntry
from everlog.storage.engine import JournalEntry, LogReader, StagedSchema
from everlog.storage.line import merge_batches

# What is applied with one sync.
_MERGED_SIZE_MAX: Final = 4 * 1024 * 1024


class Arrivals:
    """Entries in their order, behind the last one that is here."""

    def __init__(self, log: LogReader) -> None:
        """Begin with none; the log is the one here."""
        self._log: Final = log
        self._entries: Final[deque[PlacedEntry]] = deque()
        # How many of them are being applied, or are part of a batch that is being appended.
        self._taken = 0
        # The place of the last entry that is here, and of the last one that is known of.
        self.place = BEGINNING
        self.known = BEGINNING
        # Of all their lines, in bytes.
        self.size = 0

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._entries)

    @property
    def taken_place(self) -> int:
        """The place of the last one that was taken, or that is here where none is."""
        return self._entries[self._taken - 1].place if self._taken else self.place

    @property
    def next(self) -> PlacedEntry | None:
        """The one behind those that were taken; None if there is none."""
        return self._entries[self._taken] if len(self._entries) > self._taken else None

    @property
    def behind_events(self) -> int:
        """How many events there are in them that are not here."""
        return self._entries[-1].entry.end - self._log.head.event_count if self._entries else 0

    def begin(self, place: int) -> None:
        """Begin behind a place."""
        assert not self._entries
        self.place = self.known = place

    def arrive(self, placed: PlacedEntry) -> bool:
        """Take in what was read; return False if it is known, as our own is."""
        if placed.place <= self.known:
            return False
        self.known = placed.place
        self._entries.append(placed)
        self.size += len(placed.entry.lines)
        return True

    def put_back(self, placed: PlacedEntry) -> None:
        """Take in what was appended behind those that were taken, and was not stored with them."""
        if self.next is None or self.next.place > placed.place:
            self._entries.insert(self._taken, placed)
            self.size += len(placed.entry.lines)
            self.known = max(self.known, placed.place)
        self._taken = 0

    def take(self) -> JournalEntry | None:
        """Return what is to be applied next, merged so that it shares a sync; None if nothing is.

        What is here already is left out.

        Raises:
            DivergedError: It does not continue the log here.
        """
        head = self._log.head
        position, hash_ = head.event_count, head.hash
        run: list[Entry] = []
        size = 0
        for placed in self._entries:
            if run and (size + len(placed.entry.lines) > _MERGED_SIZE_MAX):
                break
            entry = self._behind(placed.entry, position, hash_)
            if run and entry.schemas:
                break
            run.append(entry)
            size += len(entry.lines)
            position, hash_ = entry.end, entry.hash
        self._taken = len(run)
        if not run:
            return None
        merged = _merge(run)
        if merged.lines or merged.schemas:
            return merged
        self.note_applied()
        return self.take()

    def note_applied(self) -> Sequence[Entry]:
        """Note that what was taken is here, and return it."""
        entries = [self._entries[index] for index in range(self._taken)]
        self._taken = 0
        if entries:
            self.advance(entries[-1].place)
        return [placed.entry for placed in entries]

    def advance(self, place: int) -> None:
        """Note that everything up to a place is here."""
        self.place = place
        self.known = max(self.known, place)
        while self._entries and self._entries[0].place <= place:
            self.size -= len(self._entries.popleft().entry.lines)

    def _behind(self, entry: Entry, position: int, hash_: str) -> Entry:
        """Return what an entry has behind a position of the log here.

        Raises:
            DivergedError: What stands in front of that is not what is here.
        """
        if entry.first == position and entry.predecessor_hash == hash_:
            schemas = [schema for schema in entry.schemas if not self._is_known(schema)]
            return entry if len(schemas) == len(entry.schemas) else replace(entry, schemas=schemas)
        lines = entry.lines.splitlines(keepends=True)
        skipped = position - entry.first
        is_ours = 0 < skipped <= len(lines) and f'"hash":"{hash_}"'.encode() in lines[skipped - 1]
        if not is_ours:
            message = (
                f"the data directory has other events than the journal, from the event with id "
                f"{min(position, entry.first)} on or before it: it belongs to another journal, or "
                "one of them was put back to an earlier state; start with an empty directory to "
                "mirror the journal, or without --journal to keep what is here"
            )
            raise DivergedError(message)
        schemas = [schema for schema in entry.schemas if not self._is_known(schema)]
        rest = b"".join(lines[skipped:])
        return replace(entry, first=position, predecessor_hash=hash_, lines=rest, schemas=schemas)

    def _is_known(self, schema: StagedSchema) -> bool:
        entry = self._log.event_type(schema.event_type, self._log.head)
        if entry is None or entry.schema is None:
            return False
        if entry.schema != schema.text:
            name = schema.event_type
            message = f"the event type {name!r} has another schema here than in the journal"
            raise DivergedError(message)
        return True


def _merge(entries: Sequence[Entry]) -> JournalEntry:
    """Return entries that follow each other as one, which is synced as a whole."""
    lines = merge_batches([entry.lines for entry in entries])
    schemas = [schema for entry in entries for schema in entry.schemas]
    first = entries[0]
    return JournalEntry(first.first, first.predecessor_hash, lines, schemas)
