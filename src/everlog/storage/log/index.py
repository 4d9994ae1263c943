"""The index: what is known about each event without reading it.

Four columns hold one cell for each event: the offset of its line, its subject's number, its
type's number, and the previous event of the same subject. The last makes a chain through each
subject, so that a short subject is read in as many steps as it has events, and so that staged
events can be forgotten again. Subjects and event types have tables of their own.

Staging changes the index at the tip at once; readers look at nothing beyond their head.
What is left to others: which events a scan selects (`indexed_log`).
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from everlog.domain.errors import DiskFullError
from everlog.domain.event import AcceptedEvent
from everlog.domain.subject import ROOT, parent
from everlog.storage.engine import EventType, Head, StagedSchema
from everlog.storage.log.columns import Column

_NEVER: Final = -1


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
        self.event_types = EventTypeTable()
        self._event_count = 0
        # How many events all columns have room for.
        self._room = 0
        # Counts how often staged events were forgotten: whoever follows a chain has to know.
        self.truncations = 0

    def columns(self, *, event_count: int, subject_count: int) -> Sequence[tuple[Column, int]]:
        """Return all columns, each with the number of its cells, for saving and checking them."""
        return (
            (self.offsets, event_count),
            (self.subject_ids, event_count),
            (self.type_ids, event_count),
            (self.previous, event_count),
            (self.subjects.parents, subject_count),
        )

    def load(self, subject_names: list[str], type_names: list[str], *, event_count: int) -> None:
        """Take over the columns' first cells and the names that belong to them."""
        subject_ids = self.subject_ids.array[:event_count]
        positions = np.arange(1, event_count + 1, dtype=np.uint64)
        latest = np.zeros(len(subject_names), np.uint64)
        # Where an index occurs more than once, numpy's assignment keeps the last value.
        latest[subject_ids] = positions
        counts = np.bincount(subject_ids, minlength=len(subject_names))
        self.subjects.load(subject_names, latest=latest, event_counts=counts)
        first = np.zeros(len(type_names), np.int64)
        first[self.type_ids.array[:event_count][::-1]] = positions[::-1]
        self.event_types.load(type_names, (first - 1).tolist())
        self._event_count = event_count

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
            event_type, type_id = None, 0
            for event, line in zip(events, lines, strict=True):
                subject, type_ = event.subject, event.type
                node = subjects.ids.get(subject)
                if node is None:
                    node = subjects.add(subject)
                    # Room for one more subject may have been made elsewhere.
                    latest, counts = subjects.latest.cells, subjects.event_counts.cells
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
        except (DiskFullError, MemoryError):
            self.truncate(tip)
            raise
        return Head(
            position, offset, len(subjects.names), len(event_types.names), events[-1].hash, time
        )

    def _make_room(self, event_count: int) -> None:
        columns = (self.offsets, self.subject_ids, self.type_ids, self.previous)
        for column in columns:
            column.reserve(event_count)
        self._room = min(len(column.cells) for column in columns)

    def truncate(self, head: Head) -> None:
        """Forget every event behind a head."""
        latest, counts = self.subjects.latest.cells, self.subjects.event_counts.cells
        for position in reversed(range(head.event_count, self._event_count)):
            node = self.subject_ids.cells[position]
            latest[node] = self.previous.cells[position]
            counts[node] -= 1
        self._event_count = head.event_count
        self.truncations += 1
        self.subjects.truncate(head.subject_count)
        self.event_types.truncate(head)

    # Preconditions: as of the tip.

    def has_events(self, subject: str, *, recursive: bool) -> bool:
        """Tell whether a subject (or one below it) has events, staged ones included."""
        node = self.subjects.ids.get(subject)
        if node is None:
            return False
        # A node exists because it or one below it has an event.
        return recursive or self.subjects.latest.cells[node] > 0

    def latest_position(self, subject: str, *, recursive: bool) -> int | None:
        """Return the position of the latest event of a subject (or of all below it too)."""
        node = self.subjects.ids.get(subject)
        if node is None:
            return None
        count = len(self.subjects.names)
        if recursive:
            nodes = self.subjects.subtree(node, count=count)
            latest = int(self.subjects.latest.array[:count][nodes].max())
        else:
            latest = self.subjects.latest.cells[node]
        return latest - 1 if latest > 0 else None


class SubjectTree:
    """Names and numbers of subjects, with the latest event and the event count of each.

    Every subject that has events, and every ancestor of one, is a node. Nodes are numbered in the
    order of their appearance, so that a parent's number is always lower than its children's, and
    the subjects of any earlier head are the first so many nodes.

    `latest` holds positions plus one, 0 where the subject itself has no event.
    """

    def __init__(self) -> None:
        """Start empty."""
        self.ids: dict[str, int] = {}
        self.names: list[str] = []
        self.parents = Column("parent", "I")
        self.latest = Column("latest", "Q")
        self.event_counts = Column("event-count", "I")

    def load(
        self,
        names: list[str],
        *,
        latest: npt.NDArray[np.uint64],
        event_counts: npt.NDArray[np.int64],
    ) -> None:
        """Take over the nodes of a snapshot; the parents are in their column already."""
        self.names = names
        self.ids = dict(zip(names, range(len(names)), strict=True))
        for column, values in ((self.latest, latest), (self.event_counts, event_counts)):
            column.reserve(len(names))
            column.array[: len(names)] = values

    def add(self, subject: str) -> int:
        """Add a subject that is not there, with its missing ancestors, and return its number.

        Raises:
            DiskFullError: There is no room; ancestors may have been added.
        """
        missing = [subject]
        above = parent(subject)
        while above is not None and above not in self.ids:
            missing.append(above)
            above = parent(above)
        count = len(self.names) + len(missing)
        for cells in (self.parents, self.latest, self.event_counts):
            cells.reserve(count)
        above_id = 0 if above is None else self.ids[above]
        for name in reversed(missing):
            node = len(self.names)
            self.parents.cells[node] = above_id
            self.latest.cells[node] = 0
            self.event_counts.cells[node] = 0
            self.names.append(name)
            self.ids[name] = node
            above_id = node
        return above_id

    def truncate(self, count: int) -> None:
        """Forget all but the first so many nodes."""
        for name in self.names[count:]:
            # Without a number where there was no memory for it.
            self.ids.pop(name, None)
        del self.names[count:]

    def find(self, subject: str, *, count: int) -> int | None:
        """Return a subject's number if it is among the first so many."""
        node = self.ids.get(subject)
        return node if node is not None and node < count else None

    def subtree(self, node: int, *, count: int) -> npt.NDArray[Any]:
        """Return the numbers of a node and all below it, ascending, among the first so many."""
        if self.names[node] == ROOT:
            return np.arange(count)
        # Nothing below a node has a lower number.
        parents = self.parents.array[:count][node:]
        is_member = np.zeros(count, np.bool_)
        is_member[node] = True
        children = np.flatnonzero(parents == node) + node
        while len(children) > 0:
            is_member[children] = True
            is_frontier = np.zeros(count, np.bool_)
            is_frontier[children] = True
            children = np.flatnonzero(is_frontier[parents]) + node
        return np.flatnonzero(is_member)


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
            self.names.append(name)
            self._first_positions.append(position)
            self.ids[name] = number
        elif self._first_positions[number] == _NEVER:
            self._first_positions[number] = position
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
        del self.names[head.event_type_count :]
        self._first_positions = [
            first if first < head.event_count else _NEVER
            for first in self._first_positions[: head.event_type_count]
        ]

    def visible(self, head: Head) -> list[EventType]:
        """Return the types of a head, sorted by name."""
        entries = (self._entry(number, head) for number in range(head.event_type_count))
        return sorted(entry for entry in entries if entry is not None)

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
