"""Selecting: the positions of the events that a scan means, found in the index alone.

Few events are found by following the chains of their subjects. Large selections are masks over
the columns, window by window, so that the first events of an answer are there at once.
"""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from everlog.domain.errors import CorruptLogError
from everlog.domain.subject import ROOT
from everlog.storage.engine import Head, Scan
from everlog.storage.log.index import Index

# Events looked at in one go of a masked selection: a fifth of a millisecond.
_WINDOW: Final = 64 * 1024

# A step along a chain costs as much as masking so many events.
_CHAIN_STEP_COST: Final = 32

Positions = npt.NDArray[np.int64]
_Numbers = npt.NDArray[Any]


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
        if type_ids is not None and len(type_ids) == 0:
            return
        nodes = self._find_nodes(scan, head)
        if nodes is None:
            yield from self._select_masked(None, type_ids, scan, head)
        elif len(nodes) > 0:
            yield from self._select_nodes(nodes, type_ids, scan, head)

    def count(self, scan: Scan, head: Head) -> int:
        """Return how many events a scan means."""
        stop = min(scan.stop, head.event_count)
        if scan.start >= stop:
            return 0
        if not scan.is_of_some_subjects:
            if scan.event_types is None:
                return stop - scan.start
            if scan.start == 0 and stop == head.event_count:
                counts = self._count_types(head)
                return sum(int(counts[number]) for number in self._find_types(scan, head) or ())
        return sum(map(len, self.select(scan, head)))

    def count_by_event_type(self, scan: Scan, head: Head) -> dict[str, int]:
        """Return the same by event type, in the order of each type's first event, without zeros."""
        stop = min(scan.stop, head.event_count)
        names = self._index.event_types.names
        if scan.start == 0 and stop == head.event_count and not scan.is_of_some_subjects:
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
        if counted > head.event_count:
            return np.bincount(
                self._index.type_ids.view(head.event_count), minlength=head.event_type_count
            )
        grown = np.zeros(head.event_type_count, np.int64)
        grown[: len(counts)] = counts
        new = self._index.type_ids.view(head.event_count)[counted:]
        grown += np.bincount(new, minlength=head.event_type_count)
        self._type_counts = (head.event_count, grown)
        return grown

    def _count_selected_types(self, scan: Scan, head: Head) -> tuple[_Numbers, list[int]]:
        type_ids = self._index.type_ids.view(head.event_count)
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
        if not scan.is_of_some_subjects:
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
        return tree.subtree(node, count=count) if scan.recursive else np.array([node])

    def _find_nodes_by_prefix(self, prefix: str, count: int) -> _Numbers:
        """Return the subjects whose text begins so: a part of the tree below the last slash."""
        tree = self._index.subjects
        above, slash, rest = prefix.rpartition("/")
        node = tree.find(above or ROOT, count=count) if slash else None
        if node is None:
            return np.zeros(0, np.int64)
        nodes = tree.subtree(node, count=count)
        if not rest:
            # Everything below, but not the subject in front of the slash itself.
            return nodes if not above else nodes[nodes != node]
        names = tree.names
        return nodes[[names[number].startswith(prefix) for number in nodes.tolist()]]

    def _select_nodes(
        self, nodes: _Numbers, type_ids: list[int] | None, scan: Scan, head: Head
    ) -> Iterator[Positions]:
        subjects = self._index.subjects
        event_count = int(subjects.event_counts.view(head.subject_count)[nodes].sum())
        stop = min(scan.stop, head.event_count)
        if event_count * _CHAIN_STEP_COST > max(stop - scan.start, _WINDOW):
            is_member = np.zeros(head.subject_count, np.bool_)
            is_member[nodes] = True
            yield from self._select_masked(is_member, type_ids, scan, head)
            return
        chains = [self._walk(int(node), scan.start, stop) for node in nodes]
        positions = np.sort(np.array([step for chain in chains for step in chain], np.int64))
        if type_ids is not None:
            found = self._index.type_ids.view(head.event_count)[positions]
            positions = positions[_is_one_of(found, type_ids)]
        if len(positions) > 0:
            yield positions[::-1] if scan.is_reversed else positions

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
                f"the index is damaged at the events of {index.subjects.names[node]}: remove the "
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
            following = previous[step - 1]
            if following >= step:
                return None
            step = following
        return found

    def _select_masked(
        self,
        is_member: npt.NDArray[np.bool_] | None,
        type_ids: list[int] | None,
        scan: Scan,
        head: Head,
    ) -> Iterator[Positions]:
        stop = min(scan.stop, head.event_count)
        subject_column = self._index.subject_ids.view(head.event_count)
        type_column = self._index.type_ids.view(head.event_count)
        starts = range(scan.start, stop, _WINDOW)
        for first in reversed(starts) if scan.is_reversed else starts:
            window = slice(first, min(first + _WINDOW, stop))
            is_selected = np.ones(window.stop - first, np.bool_)
            if is_member is not None:
                is_selected &= is_member[subject_column[window]]
            if type_ids is not None:
                is_selected &= _is_one_of(type_column[window], type_ids)
            positions = np.flatnonzero(is_selected) + first
            if len(positions) > 0:
                yield positions[::-1] if scan.is_reversed else positions


def _is_one_of(found: _Numbers, numbers: list[int]) -> npt.NDArray[np.bool_]:
    if len(numbers) == 1:
        return np.equal(found, numbers[0])
    return np.isin(found, np.array(numbers, found.dtype))
