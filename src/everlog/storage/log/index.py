"""The index: what is known about each event without reading it.

Four columns hold one cell for each event: the offset of its line, its subject's number, its
type's number, and the previous event of the same subject. The last makes a chain through each
subject, so that a short subject is read in as many steps as it has events, and so that staged
events can be forgotten again. Subjects and event types have tables of their own.

Staging changes the index at the tip at once; readers look at nothing beyond their head.
What is left to others: how subjects are stored (`subject_tree`), and which events a scan selects
(`indexed_log`).
"""

from collections.abc import Iterator, Sequence
from heapq import merge
from typing import Final

import numpy as np
import numpy.typing as npt

from everlog.domain.errors import DiskFullError
from everlog.domain.event import AcceptedEvent
from everlog.storage.engine import EventType, Head, StagedSchema
from everlog.storage.log.columns import Column
from everlog.storage.log.shared_memory import HeadBoard
from everlog.storage.log.subject_tree import LatestBelow, SubjectTree

_NEVER: Final = -1

# Event types that are told at a time, and the characters of their names and schemas.
_TYPES_PER_CHUNK: Final = 1_024
_CHUNK_SIZE: Final = 256 * 1024


class Index:
    """Columns, subject tree and event types of one log."""

    def __init__(self) -> None:
        """Start empty; the caller loads a snapshot or adds the events anew.

        Raises:
            DiskFullError, MemoryError: There is no room for it.
        """
        self.offsets = Column("offset", "Q")
        self.subject_ids = Column("subject", "I")
        self.type_ids = Column("type", "I")
        self.previous = Column("previous", "Q")
        self.subjects = SubjectTree()
        self.latest_below = LatestBelow(self.subjects, self.subject_ids)
        self.event_types = EventTypeTable()
        self._event_count = 0
        # How many events all columns have room for.
        self._room = 0
        # Counts beginnings and ends of forgetting staged events: whoever follows a chain has to
        # know. It is odd meanwhile.
        self.truncations = 0
        # Where other processes are told of heads; None while nobody shares the index.
        self.board: HeadBoard | None = None

    def share(self) -> dict[str, int]:
        """Let other processes read the index from now on; return the files that they need.

        Empty where the system has no memory that could be shared.

        Raises:
            DiskFullError, MemoryError: There is no room for it.
        """
        self.board = HeadBoard()
        columns = (
            *(self.offsets, self.subject_ids, self.type_ids, self.previous),
            *self.subjects.shared_columns(),
            *self.event_types.share(),
        )
        files = {column.name: column.file for column in columns if column.file is not None}
        return files if len(files) == len(columns) else {}

    def columns(self, head: Head) -> Sequence[tuple[Column, int]]:
        """Return the columns that are saved, each with the number of its cells up to a head."""
        return (
            (self.offsets, head.event_count),
            (self.subject_ids, head.event_count),
            (self.type_ids, head.event_count),
            (self.previous, head.event_count),
            (self.subjects.parents, head.subject_count),
        )

    def release(self) -> None:
        """Give the memory back; nothing can be found any more."""
        for column in (self.offsets, self.subject_ids, self.type_ids, self.previous):
            column.release()
        self.subjects.release()
        self.event_types.release()
        if self.board is not None:
            self.board.release()

    def load(self, head: Head, segments_size: int, type_names: list[str]) -> None:
        """Take over the columns' first cells and the names that belong to them.

        Raises:
            ValueError: They do not belong together.
        """
        event_count, subject_count = head.event_count, head.subject_count
        subject_ids = self.subject_ids.array[:event_count]
        positions = np.arange(1, event_count + 1, dtype=np.uint64)
        latest = np.zeros(subject_count, np.uint64)
        # Where an index occurs more than once, numpy's assignment keeps the last value.
        latest[subject_ids] = positions
        counts = np.bincount(subject_ids, minlength=subject_count)
        self.subjects.load(subject_count, segments_size, latest=latest, event_counts=counts)
        first = np.zeros(len(type_names), np.int64)
        first[self.type_ids.array[:event_count][::-1]] = positions[::-1]
        self.event_types.load(type_names, (first - 1).tolist())
        self._event_count = event_count

    def reach_again(self) -> None:
        """Look for more cells, where they are those of another process."""

    def stage(
        self, events: Sequence[AcceptedEvent], lines: Sequence[bytes], tip: Head, *, time: int
    ) -> Head:
        """Add events behind the tip and return the tip behind them.

        Raises:
            DiskFullError, MemoryError: There is no room; nothing was added.
        """
        position, offset = tip.event_count, tip.log_size
        # A gap, or an event twice, would shift the cells of all that follow.
        assert position == self._event_count
        try:
            if position + len(events) > self._room:
                self._make_room(position + len(events))
            subjects, event_types = self.subjects, self.event_types
            offsets, subject_ids = self.offsets.cells, self.subject_ids.cells
            type_ids, previous = self.type_ids.cells, self.previous.cells
            latest, counts = subjects.latest.cells, subjects.event_counts.cells
            known = subjects.known.get
            event_type, type_id = None, 0
            for event, line in zip(events, lines, strict=True):
                subject, type_ = event.subject, event.type
                node = known(subject)
                if node is None:
                    node = subjects.number(subject)
                    # Room for one more subject may have been made elsewhere, and who is remembered
                    # too.
                    latest, counts = subjects.latest.cells, subjects.event_counts.cells
                    known = subjects.known.get
                if type_ != event_type:
                    # The events of a batch mostly have the same type.
                    event_type, type_id = type_, event_types.number(type_, position=position)
                offsets[position] = offset
                subject_ids[position] = node
                type_ids[position] = type_id
                previous[position] = latest[node]
                position += 1
                latest[node] = position
                counts[node] += 1
                self._event_count = position
                offset += len(line)
            if position >= self.latest_below.due_at:
                self.latest_below.catch_up(position)
        except (DiskFullError, MemoryError):
            self.truncate(tip)
            raise
        return Head(position, offset, subjects.count, len(event_types.names), events[-1].hash, time)

    def _make_room(self, event_count: int) -> None:
        columns = (self.offsets, self.subject_ids, self.type_ids, self.previous)
        for column in columns:
            column.reserve(event_count)
        self._room = min(len(column.cells) for column in columns)

    def truncate(self, head: Head) -> None:
        """Forget every event behind a head."""
        self.truncations += 1
        latest, counts = self.subjects.latest.cells, self.subjects.event_counts.cells
        for position in reversed(range(head.event_count, self._event_count)):
            node = self.subject_ids.cells[position]
            latest[node] = self.previous.cells[position]
            counts[node] -= 1
        self._event_count = head.event_count
        self.truncations += 1
        if self.board is not None:
            # Before the cells are those of other events.
            self.board.note_truncation(self.truncations)
        self.latest_below.truncate(head.event_count)
        self.subjects.truncate(head.subject_count)
        self.event_types.truncate(head)

    def event_counts(self, head: Head) -> npt.NDArray[np.int64]:
        """Return how many events each subject of a head has, those behind it left out."""
        column, latest = self.subjects.event_counts, self.subjects.latest
        while True:
            truncations, tip = self.truncations, self._event_count
            counts = column.array[: head.subject_count].astype(np.int64)
            # An event is the latest of its subject before it is counted, and counted before the tip
            # is behind it.
            is_between = int(latest.array[: head.subject_count].max(initial=0)) > tip
            is_same = truncations == self.truncations and tip == self._event_count
            if is_same and truncations % 2 == 0 and not is_between:
                break
        staged = self.subject_ids.array[head.event_count : tip]
        staged = staged[staged < head.subject_count]
        return counts - np.bincount(staged, minlength=head.subject_count)

    # Preconditions: as of the tip, for whoever tells `latest_below` what is settled.

    def has_events(self, subject: str, *, recursive: bool) -> bool:
        """Tell whether a subject (or one below it) has events, staged ones included."""
        node = self.subjects.find(subject, count=self.subjects.count)
        if node is None:
            return False
        # A node exists because it or one below it has an event.
        return recursive or self.subjects.latest.cells[node] > 0

    def latest_position(self, subject: str, *, recursive: bool) -> int | None:
        """Return the position of the latest event of a subject (or of all below it too)."""
        node = self.subjects.find(subject, count=self.subjects.count)
        if node is None:
            return None
        if recursive:
            latest = self.latest_below.find(node, event_count=self._event_count)
        else:
            latest = self.subjects.latest.cells[node]
        return latest - 1 if latest > 0 else None


class SharedTypes:
    """The names of event types by their numbers, and their first events, for other processes."""

    def __init__(self) -> None:
        self.names: Final = Column("type-names", "B")
        # Where the name of each ends; and its first position plus one, 0 where it has no event.
        self.ends: Final = Column("type-ends", "Q")
        self.firsts: Final = Column("type-firsts", "Q")
        self.columns: Final = (self.names, self.ends, self.firsts)

    def add(self, number: int, name: str, position: int) -> None:
        """Add a type, or one in the place of another that was forgotten.

        Raises:
            DiskFullError, MemoryError: There is no room for it.
        """
        start, text = self.ends.cells[number - 1] if number else 0, name.encode()
        end = start + len(text)
        self.names.reserve(end)
        self.ends.reserve(number + 1)
        self.firsts.reserve(number + 1)
        self.names.memory[start:end] = text
        self.ends.cells[number] = end
        self.firsts.cells[number] = position + 1


class EventTypeTable:
    """Names, numbers, first events and schemas of event types; small, so plain lists hold them.

    Numbered in the order of their appearance, like subjects. A type comes into being with its first
    event or with its schema. When an index is made anew, the schemas come last, so that the same
    log may have other numbers then.
    """

    def __init__(self) -> None:
        """Start empty."""
        self.ids: dict[str, int] = {}
        self.names: list[str] = []
        self.schemas: dict[str, str] = {}
        self._first_positions: list[int] = []
        # Numbers of types, in the order of their first events since the start.
        self._begun: list[int] = []
        self._shared: SharedTypes | None = None

    def share(self) -> Sequence[Column]:
        """Keep names and first events in columns, too, from now on; return those."""
        self._shared = SharedTypes()
        for number, name in enumerate(self.names):
            self._shared.add(number, name, self._first_positions[number])
        return self._shared.columns

    def release(self) -> None:
        """Give back the memory of what is shared."""
        if self._shared is not None:
            for column in self._shared.columns:
                column.release()

    def load(self, names: list[str], first_positions: list[int]) -> None:
        """Take over the types of a snapshot; a type without events has the position -1."""
        self.names = names
        self.ids = dict(zip(names, range(len(names)), strict=True))
        self._first_positions = first_positions

    def number(self, name: str, *, position: int = _NEVER) -> int:
        """Return a type's number, adding it where it is new; the position is an event's of it."""
        number = self.ids.get(name)
        if number is None:
            number = len(self.names)
            if self._shared is not None:
                self._shared.add(number, name, position)
            self.names.append(name)
            self._first_positions.append(position)
            self.ids[name] = number
        elif self._first_positions[number] == _NEVER and position != _NEVER:
            self._begun.append(number)
            self._first_positions[number] = position
            if self._shared is not None:
                self._shared.firsts.cells[number] = position + 1
        return number

    def register(self, schema: StagedSchema) -> None:
        """Give a type the schema that is stored for it."""
        self.number(schema.event_type)
        self.schemas[schema.event_type] = schema.text

    def first_position(self, number: int) -> int:
        """Return the position of a type's first event, -1 where it has none."""
        return self._first_positions[number]

    def truncate(self, head: Head) -> None:
        """Forget what came after a head, schemas apart."""
        for name in self.names[head.event_type_count :]:
            # Without a number where there was no memory for it.
            self.ids.pop(name, None)
        del self.names[head.event_type_count :], self._first_positions[head.event_type_count :]
        while self._begun:
            number = self._begun[-1]
            if number < len(self.names):
                if self._first_positions[number] < head.event_count:
                    break
                self._first_positions[number] = _NEVER
                if self._shared is not None:
                    self._shared.firsts.cells[number] = 0
            self._begun.pop()

    def visible(self, head: Head) -> Iterator[Sequence[EventType]]:
        """Yield chunks of the types of a head, sorted by name."""
        # Sorting is one step for the interpreter's lock, so many are sorted in pieces.
        runs = [
            sorted(
                range(first, min(first + _TYPES_PER_CHUNK, head.event_type_count)),
                key=self.names.__getitem__,
            )
            for first in range(0, head.event_type_count, _TYPES_PER_CHUNK)
        ]
        chunk, size = [], 0
        for number in merge(*runs, key=self.names.__getitem__):
            entry = self._entry(number, head)
            if entry is None:
                continue
            chunk.append(entry)
            size += len(entry.name) + len(entry.schema or "")
            if len(chunk) == _TYPES_PER_CHUNK or size >= _CHUNK_SIZE:
                yield chunk
                chunk, size = [], 0
        if chunk:
            yield chunk

    def find(self, name: str, head: Head) -> EventType | None:
        """Return one type as of a head."""
        number = self.ids.get(name)
        if number is None or number >= head.event_type_count:
            return None
        return self._entry(number, head)

    def _entry(self, number: int, head: Head) -> EventType | None:
        name = self.names[number]
        has_events = 0 <= self._first_positions[number] < head.event_count
        schema = self.schemas.get(name)
        # Numbered for a schema whose registration failed, or is not published yet.
        if not has_events and schema is None:
            return None
        return EventType(name, has_events, schema)
