"""What a head of a log shows, found by an index: which events a scan means, and their lines.

Few events are found by following the chains of their subjects. Large selections are masks over
the columns, window by window, so that the first events of an answer are there at once.

`IndexedLog` is the half that the embedded engine and a log opened for reading share: both have the
bytes and an index of them, and differ in who moves the head. `Selector` needs the index alone.
"""

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from everlog.domain.errors import CorruptLogError
from everlog.domain.subject import ROOT
from everlog.domain.time import parse_time
from everlog.storage.engine import (
    CachedBlock,
    ChildSubjects,
    ColumnPlace,
    EventType,
    Head,
    LocatedScan,
    Scan,
    StoreFiles,
    SubjectCounts,
)
from everlog.storage.line import parse_line
from everlog.storage.log.index import Index
from everlog.storage.log.reading import (
    RangeBlocks,
    SegmentFiles,
    read_few,
    read_positions,
    size_of,
)

# Events looked at in one go of a masked selection: a fifth of a millisecond.
_WINDOW: Final = 64 * 1024

# A step along a chain costs as much as masking so many events.
_CHAIN_STEP_COST: Final = 32

# What an event loop may be asked to do: so many steps along chains, or events masked, are some tens
# of microseconds.
_FEW_STEPS_MAX: Final = 1_024
_FEW_MASKED_MAX: Final = 8 * 1024

# Finding names of so many characters takes as long, however many segments they have.
_FEW_NAMES_LENGTH_MAX: Final = 4 * 1024

# So many lines are read and sent in less time than a hand-over to a thread and back takes.
_FEW_EVENTS_MAX: Final = 64

Positions = npt.NDArray[np.int64]
_Numbers = npt.NDArray[Any]


class IndexedLog:
    """Reading a log by its index; whoever extends this one moves the head.

    A head is published last, by replacing one reference: what it counts is in the index by then,
    and never changes. That is why any thread may read without a lock.
    """

    def __init__(self, log: SegmentFiles, index: Index, head: Head) -> None:
        """Show a head of which the index knows everything."""
        self._log: Final = log
        self._index: Final = index
        self._selector: Final = Selector(index)
        # The published head.
        self.head = head

    def scan(self, scan: Scan, head: Head) -> Iterator[bytes]:
        """Return blocks of whole lines, with more promises for neighbours in their order."""
        stop = min(scan.stop, head.event_count)
        if scan.start >= stop:
            return iter(())
        is_everything = scan.event_types is None and not is_of_some_subjects(scan)
        if is_everything and not scan.is_reversed:
            offsets = self._index.offsets.cells
            end = head.log_size if stop == head.event_count else offsets[stop]
            return RangeBlocks(self._log, offsets, scan.start, stop, end)
        return self._scan_selected(scan, head)

    def _scan_selected(self, scan: Scan, head: Head) -> Iterator[bytes]:
        offsets: npt.NDArray[np.uint64] = self._index.offsets.array[: head.event_count]
        for positions in self._selector.select(scan, head):
            yield from read_positions(self._log, offsets, head.log_size, positions)

    def read_few(self, scan: Scan, head: Head) -> CachedBlock | None:
        """Return all lines of a scan if they are few and in the system's cache."""
        positions = self._selector.select_few(scan, head, count_max=_FEW_EVENTS_MAX)
        if positions is None:
            return None
        offsets = self._index.offsets.cells
        return read_few(self._log, offsets, positions, head)

    def count(self, scan: Scan, head: Head) -> int:
        """Return how many events a scan means."""
        return self._selector.count(scan, head)

    def size(self, scan: Scan, head: Head, *, count_max: int) -> int:
        """Return how many bytes the lines of the first events that a scan means take."""
        offsets: npt.NDArray[np.uint64] = self._index.offsets.array[: head.event_count]
        size, missing = 0, count_max
        for positions in self._selector.select(scan, head):
            chosen = positions[:missing]
            size += size_of(offsets, head.log_size, chosen)
            missing -= len(chosen)
            if missing == 0:
                break
        return size

    def count_few(self, scan: Scan, head: Head) -> int | None:
        """Return how many events a scan means, if the index knows it within a few steps."""
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
        if scan.event_types is None and not is_of_some_subjects(scan):
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
        if node is not None:
            yield from tree.names_below(node, count=head.subject_count)

    def child_subjects(
        self, subject: str, head: Head, *, prefix: str, offset: int, limit: int
    ) -> ChildSubjects:
        """Return some of the children whose last segment begins so, and how much is on each."""
        tree = self._index.subjects
        node = tree.find(subject, count=head.subject_count)
        if node is None:
            return ChildSubjects(SubjectCounts(subject, 0, 0, 0), 0, [])
        counts = self._index.event_counts(head)
        matching = tree.children(node, prefix, count=head.subject_count)
        [parent] = self._count_below([subject], np.array([node]), counts)
        nodes = matching[offset : offset + limit].astype(np.intp)
        names = [tree.name(child) for child in nodes.tolist()]
        return ChildSubjects(parent, len(matching), self._count_below(names, nodes, counts))

    def _count_below(
        self, names: Sequence[str], nodes: _Numbers, counts: npt.NDArray[np.int64]
    ) -> Sequence[SubjectCounts]:
        totals, children = self._index.subjects.sum_below(nodes, counts)
        columns = (counts[nodes].tolist(), totals.tolist(), children.tolist())
        return [SubjectCounts(*cells) for cells in zip(names, *columns, strict=True)]

    def event_types(self, head: Head) -> Iterator[Sequence[EventType]]:
        """Yield chunks of all event types, sorted by name."""
        return self._index.event_types.visible(head)

    def event_type(self, name: str, head: Head) -> EventType | None:
        """Return one event type."""
        return self._index.event_types.find(name, head)

    def _store_files(self, directory: int, head: Head, *, schemas_size: int) -> StoreFiles:
        """Return where everything is; `directory` is the open data directory."""
        index = self._index
        segments = index.subjects.segments
        columns = (
            *index.columns(head),
            (segments, index.subjects.size_of_segments(head.subject_count)),
        )
        return StoreFiles(
            directory=directory,
            schemas_size=schemas_size,
            columns={
                column.name: ColumnPlace(column.file, count)
                for column, count in columns
                if column.file is not None
            },
            event_types=index.event_types.names[: head.event_type_count],
        )

    def _read_time(self, position: int, head: Head) -> int:
        scan = Scan(start=position, stop=position + 1)
        return parse_time(parse_line(b"".join(self.scan(scan, head)))[0].time)


class Selector:
    """Answers scans from an index; everything is as of the head that is given."""

    def __init__(self, index: Index) -> None:
        """Look at this index from now on."""
        self._index: Final = index
        # How many first events have been counted, and how many there are of each type.
        self._type_counts: tuple[int, _Numbers] = (0, np.zeros(0, np.int64))

    def find_latest(self, subject: str, event_type: str, head: Head) -> int | None:
        """Return the position of the latest event of a type on exactly this subject."""
        scan = Scan(
            subject=subject,
            recursive=False,
            event_types=frozenset({event_type}),
            start=0,
            stop=head.event_count,
            is_reversed=True,
        )
        return next((int(positions[0]) for positions in self.select(scan, head)), None)

    def select(self, scan: Scan, head: Head) -> Iterator[Positions]:
        """Yield the positions that a scan means, in its order, in arrays that are never empty."""
        type_ids = self._find_types(scan, head)
        nodes = self._find_nodes(scan, head)
        chosen = self._choose(nodes, type_ids, scan, head)
        if chosen is not None:
            found: Iterable[Positions] = (chosen,)
        else:
            masks = self._masks(nodes, type_ids, scan, head)
            found = (np.flatnonzero(mask) + first for first, mask in masks)
        for positions in found:
            if len(positions) > 0:
                yield positions[::-1] if scan.is_reversed else positions

    def select_few(self, scan: Scan, head: Head, *, count_max: int) -> Sequence[int] | None:
        """Return the positions that a scan means, in its order, if that takes a few steps only."""
        stop = min(scan.stop, head.event_count)
        if scan.start >= stop:
            return ()
        if scan.subjects is not None:
            if sum(map(len, scan.subjects)) > _FEW_NAMES_LENGTH_MAX:
                return None
            names: Collection[str] = scan.subjects
        elif scan.subject_prefix:
            return None
        elif not scan.recursive:
            names = (scan.subject,)
        elif scan.subject != ROOT:
            return None
        else:
            return self._select_few_of_all(scan, stop, head, count_max)
        type_ids = None if scan.event_types is None else self._find_types(scan, head)
        steps_max = count_max if type_ids is None else _FEW_STEPS_MAX
        tree = self._index.subjects
        found: list[int] = []
        for name in names:
            node = tree.find(name, count=head.subject_count)
            if node is None:
                continue
            if len(found) + tree.event_counts.cells[node] > steps_max:
                return None
            # The latest first.
            found += self._walk(node, scan.start, stop)
        if len(names) > 1:
            found.sort(reverse=True)
        if type_ids is not None:
            wanted, cells = frozenset(type_ids), self._index.type_ids.cells
            found = [position for position in found if cells[position] in wanted]
        if len(found) > count_max:
            return None
        return found if scan.is_reversed else found[::-1]

    def _select_few_of_all(
        self, scan: Scan, stop: int, head: Head, count_max: int
    ) -> Sequence[int] | None:
        """Return the same where no event is left out because of its subject."""
        found: Sequence[int] = range(scan.start, stop)
        if scan.event_types is not None:
            if len(found) > _FEW_MASKED_MAX or len(scan.event_types) > _FEW_STEPS_MAX:
                return None
            type_column = self._index.type_ids.array[:stop][scan.start :]
            type_ids = self._find_types(scan, head) or []
            positions = np.flatnonzero(_is_one_of(type_column, type_ids)) + scan.start
            found = positions[: count_max + 1].tolist()
        if len(found) > count_max:
            return None
        return found[::-1] if scan.is_reversed else found

    def count_few(self, scan: Scan, head: Head) -> int | None:
        """Return how many events a scan means, if that takes a few steps only."""
        stop = min(scan.stop, head.event_count)
        if scan.start >= stop:
            return 0
        if not is_of_some_subjects(scan):
            if scan.event_types is None:
                return stop - scan.start
            if scan.start == 0 and stop == head.event_count:
                uncounted = head.event_count - self._type_counts[0]
                is_counted = 0 <= uncounted <= _FEW_MASKED_MAX
                has_few_types = head.event_type_count <= _FEW_STEPS_MAX
                return self.count(scan, head) if is_counted and has_few_types else None
        found = self.select_few(scan, head, count_max=_FEW_STEPS_MAX)
        return None if found is None else len(found)

    def mask(self, scan: Scan, head: Head) -> npt.NDArray[np.bool_]:
        """Return for each event from `scan.start` up to before `scan.stop` whether it is meant."""
        found = np.zeros(max(min(scan.stop, head.event_count) - scan.start, 0), np.bool_)
        type_ids = self._find_types(scan, head)
        nodes = self._find_nodes(scan, head)
        chosen = self._choose(nodes, type_ids, scan, head)
        if chosen is not None:
            found[chosen - scan.start] = True
            return found
        for first, mask in self._masks(nodes, type_ids, scan, head):
            found[first - scan.start : first - scan.start + len(mask)] = mask
        return found

    def count(self, scan: Scan, head: Head) -> int:
        """Return how many events a scan means."""
        stop = min(scan.stop, head.event_count)
        if scan.start >= stop:
            return 0
        if not is_of_some_subjects(scan):
            if scan.event_types is None:
                return stop - scan.start
            if scan.start == 0 and stop == head.event_count:
                counts = self._count_types(head)
                return sum(int(counts[number]) for number in self._find_types(scan, head) or ())
        type_ids = self._find_types(scan, head)
        nodes = self._find_nodes(scan, head)
        chosen = self._choose(nodes, type_ids, scan, head)
        if chosen is not None:
            return len(chosen)
        masks = self._masks(nodes, type_ids, scan, head)
        return sum(int(np.count_nonzero(mask)) for _, mask in masks)

    def count_by_event_type(self, scan: Scan, head: Head) -> dict[str, int]:
        """Return the same by event type, in the order of each type's first event, without zeros."""
        stop = min(scan.stop, head.event_count)
        names = self._index.event_types.names
        if scan.start == 0 and stop == head.event_count and not is_of_some_subjects(scan):
            counts = self._count_types(head)
            found = np.flatnonzero(counts).tolist()
            # Types are numbered as they appear, but a schema may have come before the first event.
            found.sort(key=self._index.event_types.first_position)
        else:
            counts, found = self._count_selected_types(scan, head)
        wanted = scan.event_types
        return {
            names[number]: int(counts[number])
            for number in found
            if wanted is None or names[number] in wanted
        }

    def _count_types(self, head: Head) -> _Numbers:
        counted, counts = self._type_counts
        is_older = counted > head.event_count
        if is_older:
            counted, counts = 0, np.zeros(0, np.int64)
        grown = np.zeros(head.event_type_count, np.int64)
        # Types that only have a schema may have been counted for a later head of as many events.
        known = counts[: head.event_type_count]
        grown[: len(known)] = known
        type_ids = self._index.type_ids.array[: head.event_count]
        # In pieces, since each is copied to numbers of another size before it is counted.
        for first in range(counted, head.event_count, _WINDOW):
            grown += np.bincount(type_ids[first : first + _WINDOW], minlength=head.event_type_count)
        if not is_older:
            self._type_counts = (head.event_count, grown)
        return grown

    def _count_selected_types(self, scan: Scan, head: Head) -> tuple[_Numbers, list[int]]:
        type_ids = self._index.type_ids.array[: head.event_count]
        counts = np.zeros(head.event_type_count, np.int64)
        found: list[int] = []
        for positions in self.select(replace(scan, is_reversed=False), head):
            selected = type_ids[positions]
            window = np.bincount(selected, minlength=head.event_type_count)
            new = np.flatnonzero((counts == 0) & (window > 0)).tolist()
            found += sorted(new, key=lambda number: int(np.argmax(selected == number)))
            counts += window
        return counts, found

    def _find_types(self, scan: Scan, head: Head) -> list[int] | None:
        """Return the numbers of the types a scan wants, None for all."""
        if scan.event_types is None:
            return None
        ids = self._index.event_types.ids
        numbers = (ids.get(name) for name in scan.event_types)
        return [
            number for number in numbers if number is not None and number < head.event_type_count
        ]

    def _find_nodes(self, scan: Scan, head: Head) -> _Numbers | None:
        """Return the numbers of the subjects a scan wants, ascending, None for all."""
        if not is_of_some_subjects(scan):
            return None
        tree, count = self._index.subjects, head.subject_count
        if scan.subjects is not None:
            found = (tree.find(name, count=count) for name in scan.subjects)
            return np.array(sorted(node for node in found if node is not None), np.int64)
        if scan.subject_prefix is not None:
            return self._find_nodes_by_prefix(scan.subject_prefix, count)
        node = tree.find(scan.subject, count=count)
        if node is None:
            return np.zeros(0, np.int64)
        return tree.below(node, count=count) if scan.recursive else np.array([node])

    def _find_nodes_by_prefix(self, prefix: str, count: int) -> _Numbers:
        """Return the subjects whose text begins so: a part of the tree below the last slash."""
        tree = self._index.subjects
        above, slash, rest = prefix.rpartition("/")
        if prefix == ROOT:
            return tree.below(0, count=count)
        # What ends with a slash is in front of everything below, but of no subject itself.
        node = tree.find(above or ROOT, count=count) if slash else None
        if node is None:
            return np.zeros(0, np.int64)
        return tree.below_with_prefix(node, rest, count=count)

    def _choose(
        self, nodes: _Numbers | None, type_ids: list[int] | None, scan: Scan, head: Head
    ) -> Positions | None:
        """Return the positions that a scan means, ascending; None where masks find them faster."""
        if (type_ids is not None and len(type_ids) == 0) or (nodes is not None and len(nodes) == 0):
            return np.zeros(0, np.int64)
        if nodes is None:
            return None
        event_counts = self._index.subjects.event_counts.array[: head.subject_count][nodes]
        event_count = int(event_counts.sum())
        stop = min(scan.stop, head.event_count)
        if event_count * _CHAIN_STEP_COST > max(stop - scan.start, _WINDOW):
            return None
        # Of a deep tree, most have none.
        chains = [self._walk(int(node), scan.start, stop) for node in nodes[event_counts > 0]]
        positions = np.sort(np.array([step for chain in chains for step in chain], np.int64))
        if type_ids is None:
            return positions
        found = self._index.type_ids.array[: head.event_count][positions]
        return positions[_is_one_of(found, type_ids)]

    def _walk(self, node: int, start: int, stop: int) -> list[int]:
        """Return a subject's positions from `start` up to before `stop`, latest first."""
        index = self._index
        while True:
            truncations = index.truncations
            found = self._follow(node, start, stop)
            # A chain entered through events that were forgotten and overwritten meanwhile may
            # have led elsewhere.
            if truncations == index.truncations:
                break
        if found is None:
            message = (
                f"the index is damaged at the events of {index.subjects.name(node)}: remove the "
                "folder 'index' while the server is stopped, and it is made anew"
            )
            raise CorruptLogError(message, position=None)
        return found

    def _follow(self, node: int, start: int, stop: int) -> list[int] | None:
        """Return the positions of a chain, None where it does not lead back all the way."""
        found = []
        # In this order: the column has room for an event before the event is the latest.
        step = self._index.subjects.latest.cells[node]
        previous = self._index.previous.cells
        while step > start:
            if step <= stop:
                found.append(step - 1)
            try:
                following = previous[step - 1]
            except IndexError:
                # Of another process, whose column has grown, for an event that is only staged.
                self._index.reach_again()
                previous = self._index.previous.cells
                following = previous[step - 1]
            if following >= step:
                return None
            step = following
        return found

    def _masks(
        self, nodes: _Numbers | None, type_ids: list[int] | None, scan: Scan, head: Head
    ) -> Iterator[tuple[int, npt.NDArray[np.bool_]]]:
        """Yield windows in the scan's order: where each begins, and which of its events match."""
        is_member = None
        if nodes is not None:
            is_member = np.zeros(head.subject_count, np.bool_)
            is_member[nodes] = True
        stop = min(scan.stop, head.event_count)
        subject_column = self._index.subject_ids.array[: head.event_count]
        type_column = self._index.type_ids.array[: head.event_count]
        starts = range(scan.start, stop, _WINDOW)
        for first in reversed(starts) if scan.is_reversed else starts:
            window = slice(first, min(first + _WINDOW, stop))
            is_selected = np.ones(window.stop - first, np.bool_)
            if is_member is not None:
                is_selected &= is_member[subject_column[window]]
            if type_ids is not None:
                is_selected &= _is_one_of(type_column[window], type_ids)
            yield first, is_selected


def is_of_some_subjects(scan: Scan) -> bool:
    """Tell whether events are left out because of their subject."""
    is_tree = scan.subject == ROOT and scan.recursive
    return not is_tree or bool(scan.subject_prefix) or scan.subjects is not None


def _is_one_of(found: _Numbers, numbers: list[int]) -> npt.NDArray[np.bool_]:
    if len(numbers) == 1:
        return np.equal(found, numbers[0])
    return np.isin(found, np.array(numbers, found.dtype))
