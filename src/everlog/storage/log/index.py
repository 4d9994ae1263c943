"""The index: which events a selection means, and where their lines lie.

Four columns hold one cell for each event: the offset of its line, its subject's number, its
type's number, and the previous event of the same subject. The last makes a chain through each
subject, so that a short subject is read in as many steps as it has events, and so that staged
events can be forgotten again. Large selections are masks over the columns instead, window by
window, so that the first events of an answer are there at once.

Staging changes the index at the tip at once; readers look at nothing beyond their head.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from everlog.domain.errors import DiskFullError
from everlog.domain.event import AcceptedEvent
from everlog.storage.engine import Head, Scan
from everlog.storage.log.columns import Column
from everlog.storage.log.disk import Disk
from everlog.storage.log.event_types import EventTypeTable
from everlog.storage.log.subjects import SubjectTree

# Events looked at in one go of a masked selection: a fifth of a millisecond.
_WINDOW: Final = 64 * 1024

# A step along a chain costs as much as masking so many events.
_CHAIN_STEP_COST: Final = 32

Positions = npt.NDArray[np.int64]


class Index:
    """Columns, subject tree and event types of one log."""

    def __init__(self, folder: Path, disk: Disk, resources: ExitStack) -> None:
        """Open the columns; the caller loads a checkpoint or adds the events anew."""
        self.offsets = Column(folder / "offset", "Q", disk, resources)
        self._subject_ids = Column(folder / "subject", "I", disk, resources)
        self._type_ids = Column(folder / "type", "I", disk, resources)
        self._previous = Column(folder / "previous", "Q", disk, resources)
        self.subjects = SubjectTree(Column(folder / "parent", "I", disk, resources))
        self.event_types = EventTypeTable()
        self._event_count = 0
        # How many events all columns have room for.
        self._room = 0
        # Counts how often staged events were forgotten, see `_walk`.
        self._truncations = 0

    def columns(self, *, event_count: int, subject_count: int) -> Sequence[tuple[Column, int]]:
        """Return all columns, each with the number of its cells, for saving and checking them."""
        return (
            (self.offsets, event_count),
            (self._subject_ids, event_count),
            (self._type_ids, event_count),
            (self._previous, event_count),
            (self.subjects.parents, subject_count),
        )

    def load(self, subject_names: list[str], type_names: list[str], *, event_count: int) -> None:
        """Take over the columns' first cells and the names that belong to them."""
        subject_ids = self._subject_ids.view(event_count)
        positions = np.arange(1, event_count + 1, dtype=np.uint64)
        latest = np.zeros(len(subject_names), np.uint64)
        # Where an index occurs more than once, numpy's assignment keeps the last value.
        latest[subject_ids] = positions
        counts = np.bincount(subject_ids, minlength=len(subject_names))
        self.subjects.load(subject_names, latest=latest, event_counts=counts)
        first = np.zeros(len(type_names), np.int64)
        first[self._type_ids.view(event_count)[::-1]] = positions[::-1]
        self.event_types.load(type_names, (first - 1).tolist())
        self._event_count = event_count

    def stage(self, events: Sequence[AcceptedEvent], lines: Sequence[bytes], tip: Head) -> int:
        """Add events at the tip and return the offset at the end of their lines.

        Raises:
            DiskFullError: There is no room; nothing was added.
            OSError: Anything else; nothing was added.
        """
        try:
            return self._stage(events, lines, tip)
        except (DiskFullError, OSError):
            self.truncate(tip)
            raise

    def _stage(self, events: Sequence[AcceptedEvent], lines: Sequence[bytes], tip: Head) -> int:
        position, offset = tip.event_count, tip.log_size
        if position + len(events) > self._room:
            self._make_room(position + len(events))
        subjects, event_types = self.subjects, self.event_types
        offsets, subject_ids = self.offsets.cells, self._subject_ids.cells
        type_ids, previous = self._type_ids.cells, self._previous.cells
        latest, counts = subjects.latest.cells, subjects.event_counts.cells
        for event, line in zip(events, lines, strict=True):
            node = subjects.ids.get(event.subject)
            if node is None:
                node = subjects.add(event.subject)
                # Room for one more subject may have been made elsewhere.
                latest, counts = subjects.latest.cells, subjects.event_counts.cells
            offsets[position] = offset
            subject_ids[position] = node
            type_ids[position] = event_types.number(event.type, position=position)
            previous[position] = latest[node]
            position += 1
            latest[node] = position
            counts[node] += 1
            self._event_count = position
            offset += len(line)
        return offset

    def _make_room(self, event_count: int) -> None:
        columns = (self.offsets, self._subject_ids, self._type_ids, self._previous)
        for column in columns:
            column.reserve(event_count)
        self._room = min(len(column.cells) for column in columns)

    def truncate(self, head: Head) -> None:
        """Forget every event behind a head."""
        latest, counts = self.subjects.latest.cells, self.subjects.event_counts.cells
        for position in reversed(range(head.event_count, self._event_count)):
            node = self._subject_ids.cells[position]
            latest[node] = self._previous.cells[position]
            counts[node] -= 1
        self._event_count = head.event_count
        self._truncations += 1
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

    # Selections: as of a head.

    def find_latest(self, subject: str, event_type: str, head: Head) -> int | None:
        """Return the position of the latest event of a type on exactly this subject."""
        node = self.subjects.find(subject, count=head.subject_count)
        type_id = self.event_types.ids.get(event_type)
        if node is None or type_id is None:
            return None
        scan = Scan(
            subject=subject, recursive=False, start=0, stop=head.event_count, is_reversed=True
        )
        for positions in self._select_node(node, type_id, scan, head):
            return int(positions[0])
        return None

    def select(self, scan: Scan, head: Head) -> Iterator[Positions]:
        """Yield the positions that a scan means, in its order, in arrays that are never empty."""
        node = self.subjects.find(scan.subject, count=head.subject_count)
        if node is None:
            return
        type_id = None
        if scan.event_type is not None:
            type_id = self.event_types.ids.get(scan.event_type)
            if type_id is None:
                return
        if not scan.recursive:
            yield from self._select_node(node, type_id, scan, head)
            return
        nodes = self.subjects.subtree(node, count=head.subject_count)
        if len(nodes) == 1:
            yield from self._select_node(node, type_id, scan, head)
        elif len(nodes) == head.subject_count:
            yield from self._select_masked(None, type_id, scan, head)
        else:
            yield from self._select_nodes(nodes, type_id, scan, head)

    def _select_node(
        self, node: int, type_id: int | None, scan: Scan, head: Head
    ) -> Iterator[Positions]:
        return self._select_nodes(np.array([node]), type_id, scan, head)

    def _select_nodes(
        self, nodes: npt.NDArray[Any], type_id: int | None, scan: Scan, head: Head
    ) -> Iterator[Positions]:
        event_count = int(self.subjects.event_counts.view(head.subject_count)[nodes].sum())
        stop = min(scan.stop, head.event_count)
        if event_count * _CHAIN_STEP_COST > max(stop - scan.start, _WINDOW):
            is_member = np.zeros(head.subject_count, np.bool_)
            is_member[nodes] = True
            yield from self._select_masked(is_member, type_id, scan, head)
            return
        chains = [self._walk(int(node), scan.start, stop) for node in nodes]
        positions = np.sort(np.array([step for chain in chains for step in chain], np.int64))
        if type_id is not None:
            positions = positions[self._type_ids.view(head.event_count)[positions] == type_id]
        if len(positions) > 0:
            yield positions[::-1] if scan.is_reversed else positions

    def _walk(self, node: int, start: int, stop: int) -> list[int]:
        """Return a subject's positions from `start` up to before `stop`, latest first."""
        while True:
            truncations = self._truncations
            found = []
            # In this order: the column has room for an event before the event is the latest.
            step = self.subjects.latest.cells[node]
            previous = self._previous.cells
            while step > stop:
                step = previous[step - 1]
            while step > start:
                found.append(step - 1)
                step = previous[step - 1]
            # A chain entered through events that were forgotten and overwritten meanwhile may
            # have led elsewhere.
            if truncations == self._truncations:
                return found

    def _select_masked(
        self,
        is_member: npt.NDArray[np.bool_] | None,
        type_id: int | None,
        scan: Scan,
        head: Head,
    ) -> Iterator[Positions]:
        stop = min(scan.stop, head.event_count)
        subject_ids = self._subject_ids.view(head.event_count)
        type_ids = self._type_ids.view(head.event_count)
        starts = range(scan.start, stop, _WINDOW)
        for first in reversed(starts) if scan.is_reversed else starts:
            window = slice(first, min(first + _WINDOW, stop))
            is_selected = np.ones(window.stop - first, np.bool_)
            if is_member is not None:
                is_selected &= is_member[subject_ids[window]]
            if type_id is not None:
                is_selected &= type_ids[window] == type_id
            positions = np.flatnonzero(is_selected) + first
            if len(positions) > 0:
                yield positions[::-1] if scan.is_reversed else positions
