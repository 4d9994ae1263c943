"""What a head of a data directory shows, found by an index, read from the log.

`IndexedLog` is the half that the embedded engine and a log opened for reading share: both have the
bytes and an index of them, and differ in who moves the head.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from heapq import merge
from itertools import islice
from typing import Final

import numpy as np
import numpy.typing as npt

from everlog.domain.subject import sort_key
from everlog.domain.time import parse_time
from everlog.storage.engine import EventType, Head, LocatedScan, Scan
from everlog.storage.line import parse_line
from everlog.storage.log.index import Index
from everlog.storage.log.reading import RangeBlocks, RangeBytes, read_few, read_positions
from everlog.storage.log.selecting import Selector

_SUBJECTS_PER_CHUNK: Final = 4_096

# So many lines are read and sent in less time than a hand-over to a thread and back takes.
_FEW_EVENTS_MAX: Final = 64


class IndexedLog:
    """Reading a log by its index; whoever extends this one moves the head.

    A head is published last, by replacing one reference: what it counts is in the index by then,
    and never changes. That is why any thread may read without a lock.
    """

    def __init__(self, log: RangeBytes, index: Index, head: Head) -> None:
        """Show a head of which the index knows everything."""
        self._log: Final = log
        self._index: Final = index
        self._selector: Final = Selector(index)
        self._head = head

    @property
    def head(self) -> Head:
        """The published head."""
        return self._head

    def scan(self, scan: Scan, head: Head) -> Iterator[bytes]:
        """Return blocks of whole lines, with more promises for neighbours in their order."""
        stop = min(scan.stop, head.event_count)
        if scan.start >= stop:
            return iter(())
        is_everything = scan.event_types is None and not scan.is_of_some_subjects
        if is_everything and not scan.is_reversed:
            offsets = self._index.offsets.cells
            end = head.log_size if stop == head.event_count else offsets[stop]
            return RangeBlocks(self._log, offsets, scan.start, stop, end)
        return self._scan_selected(scan, head)

    def _scan_selected(self, scan: Scan, head: Head) -> Iterator[bytes]:
        offsets: npt.NDArray[np.uint64] = self._index.offsets.view(head.event_count)
        for positions in self._selector.select(scan, head):
            yield from read_positions(self._log, offsets, head.log_size, positions)

    def read_few(self, scan: Scan, head: Head) -> bytes | None:
        """Return all lines of a scan if they are few and in the system's cache."""
        positions = self._selector.select_few(scan, head, count_max=_FEW_EVENTS_MAX)
        if positions is None:
            return None
        offsets = self._index.offsets.cells
        return read_few(self._log, offsets, positions, head)

    def count(self, scan: Scan, head: Head) -> int:
        """Return how many events a scan means."""
        return self._selector.count(scan, head)

    def count_few(self, scan: Scan, head: Head) -> int | None:
        """Return the same, if the index knows it within a few steps."""
        return self._selector.count_few(scan, head)

    def count_by_event_type(self, scan: Scan, head: Head) -> dict[str, int]:
        """Return the same by event type, in the order of each type's first event."""
        return self._selector.count_by_event_type(scan, head)

    def find_time(self, time: int, head: Head) -> int:
        """Return the position of the first event at or after a time."""
        # Times never go back, so that reading a few lines is enough.
        return bisect_left(
            range(head.event_count), time, key=lambda position: self._read_time(position, head)
        )

    def locate(self, scan: Scan, head: Head) -> LocatedScan:
        """Find the events of a scan for a process that reads `files`."""
        stop = max(scan.start, min(scan.stop, head.event_count))
        if scan.event_types is None and not scan.is_of_some_subjects:
            return LocatedScan(scan.start, stop, scan.is_reversed, None, stop - scan.start)
        is_selected = self._selector.mask(scan, head)
        count = int(np.count_nonzero(is_selected))
        selected = np.packbits(is_selected).tobytes()
        return LocatedScan(scan.start, stop, scan.is_reversed, selected, count)

    def find_latest(self, subject: str, event_type: str, head: Head) -> int | None:
        """Return the position of the latest event of a type on exactly this subject."""
        return self._selector.find_latest(subject, event_type, head)

    def subject_exists(self, subject: str, head: Head) -> bool:
        """Tell whether the subject or one below it has events."""
        return self._index.subjects.find(subject, count=head.subject_count) is not None

    def subjects(self, base_subject: str, head: Head) -> Iterator[Sequence[str]]:
        """Yield chunks of the base and all subjects below it that exist, depth first."""
        tree = self._index.subjects
        node = tree.find(base_subject, count=head.subject_count)
        if node is None:
            return
        names = tree.names
        found = [names[number] for number in tree.subtree(node, count=head.subject_count).tolist()]
        # Sorting is one step for the interpreter's lock, so a large tree is sorted in pieces.
        runs = [
            sorted(found[first : first + _SUBJECTS_PER_CHUNK], key=sort_key)
            for first in range(0, len(found), _SUBJECTS_PER_CHUNK)
        ]
        merged = merge(*runs, key=sort_key)
        while chunk := list(islice(merged, _SUBJECTS_PER_CHUNK)):
            yield chunk

    def event_types(self, head: Head) -> Sequence[EventType]:
        """Return all event types, sorted by name."""
        return self._index.event_types.visible(head)

    def event_type(self, name: str, head: Head) -> EventType | None:
        """Return one event type."""
        return self._index.event_types.find(name, head)

    def _read_time(self, position: int, head: Head) -> int:
        scan = Scan(start=position, stop=position + 1)
        return parse_time(parse_line(b"".join(self.scan(scan, head)))[0].time)
