"""The index: what is known about each event without reading it.

Four columns hold one cell for each event: the offset of its line, its subject's number, its
type's number, and the previous event of the same subject. The last makes a chain through each
subject, so that a short subject is read in as many steps as it has events, and so that staged
events can be forgotten again.

Staging changes the index at the tip at once; readers look at nothing beyond their head.
What is left to others: which events a scan selects (`selecting`).
"""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from everlog.domain.errors import DiskFullError
from everlog.domain.event import AcceptedEvent
from everlog.storage.engine import Head
from everlog.storage.log.columns import Column
from everlog.storage.log.disk import Disk
from everlog.storage.log.event_types import EventTypeTable
from everlog.storage.log.subjects import SubjectTree


class Index:
    """Columns, subject tree and event types of one log."""

    def __init__(self, folder: Path, disk: Disk, resources: ExitStack) -> None:
        """Open the columns; the caller loads a snapshot or adds the events anew."""
        self.offsets = Column(folder / "offset", "Q", disk, resources)
        self.subject_ids = Column(folder / "subject", "I", disk, resources)
        self.type_ids = Column(folder / "type", "I", disk, resources)
        self.previous = Column(folder / "previous", "Q", disk, resources)
        self.subjects = SubjectTree(Column(folder / "parent", "I", disk, resources))
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
        # Looked at by the event loop later, which must not wait for a disk.
        for column in (self.previous, self.offsets):
            column.read_ahead(event_count)
        subject_ids = self.subject_ids.view(event_count)
        positions = np.arange(1, event_count + 1, dtype=np.uint64)
        latest = np.zeros(len(subject_names), np.uint64)
        # Where an index occurs more than once, numpy's assignment keeps the last value.
        latest[subject_ids] = positions
        counts = np.bincount(subject_ids, minlength=len(subject_names))
        self.subjects.load(subject_names, latest=latest, event_counts=counts)
        first = np.zeros(len(type_names), np.int64)
        first[self.type_ids.view(event_count)[::-1]] = positions[::-1]
        self.event_types.load(type_names, (first - 1).tolist())
        self._event_count = event_count

    def stage(
        self, events: Sequence[AcceptedEvent], lines: Sequence[bytes], tip: Head, *, time: int
    ) -> Head:
        """Add events behind the tip and return the tip behind them.

        Raises:
            DiskFullError, MemoryError: There is no room; nothing was added.
            OSError: Anything else; nothing was added.
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
        except (DiskFullError, OSError, MemoryError):
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
            latest = int(self.subjects.latest.view(count)[nodes].max())
        else:
            latest = self.subjects.latest.cells[node]
        return latest - 1 if latest > 0 else None
