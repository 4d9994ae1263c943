"""The subject tree: numbers of subjects, and their names, segment by segment.

A subject is a node: the number of the subject above it, and its last segment. So a long name costs
what its last segment costs, however many subjects are below it. A table finds the node of a parent
and a segment; it is an array of numbers, since a dictionary of names takes three times the memory.
Names that were asked for lately are remembered as they are.

Nodes are numbered in the order of their appearance, so that a parent's number is always lower than
its children's, and the subjects of any earlier head are the first so many nodes.

The writer adds and forgets nodes. Others may read meanwhile: they look at nothing but the first so
many nodes, which never change. The table may hold numbers of nodes that were forgotten, and that
may be other nodes by now. They do no harm: what is found is compared, and its number too.
"""

import sys
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from everlog.domain.subject import ROOT
from everlog.storage.log.columns import Column

# Bytes, roughly, of the names that are remembered, and of what each takes besides its characters.
_KNOWN_SIZE_MAX: Final = 16 * 1024 * 1024
_KNOWN_NAME_SIZE: Final = 160

_TABLE_SIZE_MIN: Final = 16 * 1024

# A table that becomes too small is replaced by a larger one, into which nodes move while others
# are added: so many whenever so many were added, so that it is done in time.
_MOVED_AT_ONCE: Final = 1_024
_ADDED_BETWEEN: Final = 512

# Nodes loaded in one go: what they take meanwhile is small.
_LOADED_AT_ONCE: Final = 64 * 1024

# Events that may be behind before they are taken in without being asked for: a few milliseconds,
# however deep their subjects are.
_LAG_MAX: Final = 1_024

# Names that are told at a time, and their characters.
_NAMES_PER_CHUNK: Final = 4_096
_CHUNK_SIZE: Final = 256 * 1024

_LINE_FEED: Final = 10
_TAG: Final = 0xFFFF_FFFF

Nodes = npt.NDArray[Any]

# Slots, and the mask that makes one of a tag. A slot holds a node; 0, which is the root, is none.
_Table = tuple["memoryview[int]", npt.NDArray[np.uint32], int]


class SubjectTree:
    """All subjects that have events, or have one below that has; with some numbers of each.

    `latest` holds positions plus one, 0 where the subject itself has no event.
    """

    def __init__(self) -> None:
        """Start empty.

        Raises:
            DiskFullError, MemoryError: There is no room for it.
        """
        # How many nodes there are.
        self.count = 0
        self.parents = Column("parent", "I")
        # The last segment of each, followed by a line feed; where each begins, and the last ends.
        self.segments = Column("subject-segments", "B")
        self.starts = Column("segment-start", "Q")
        self.latest = Column("latest", "Q")
        self.event_counts = Column("event-count", "I")
        # The same as `latest`, but of events on the subject or below it; kept by `LatestBelow`.
        self.latest_below = Column("latest-below", "Q")
        # What a node hashes to, so that few are compared.
        self._tags = Column("tag", "I")
        # How many nodes, and bytes of segments, there is room for.
        self._room = self._segments_room = 0
        # Names that were asked for lately. Only the writer puts in what is not published.
        self.known: dict[str, int] = {}
        self._known_size = 0
        self._tables: tuple[_Table, ...] = (_make_table(_TABLE_SIZE_MIN),)
        # The children that were put in order last, and whose they are. A node's first so many
        # children, all of them published, are always the same.
        self._ordered: tuple[int, Nodes] = (0, np.zeros(0, np.uint32))
        # Slots in use of the newest table; nodes below the second number are in the older one, and
        # those below the first have moved.
        self._used = self._moved = self._moving = 0

    def size_of_segments(self, count: int) -> int:
        """Return the bytes of the first so many segments."""
        return self.starts.cells[count]

    def load(
        self,
        count: int,
        segments_size: int,
        *,
        latest: npt.NDArray[np.uint64],
        event_counts: npt.NDArray[np.int64],
    ) -> None:
        """Take over nodes whose parents and segments are in their columns already.

        Raises:
            ValueError: There are not so many segments.
        """
        for column in self._columns():
            column.reserve(count + 1)
        self._room = min(len(column.cells) for column in self._columns()) - 1
        ends = np.flatnonzero(self.segments.array[:segments_size] == _LINE_FEED)
        if len(ends) != count or (count > 0 and int(ends[-1]) + 1 != segments_size):
            message = "the snapshot holds another number of subjects than it says"
            raise ValueError(message)
        self.starts.array[1 : count + 1] = ends + 1
        self.latest.array[:count] = latest
        self.event_counts.array[:count] = event_counts
        self._segments_room = len(self.segments.cells)
        self._find_tags(count)
        size = _TABLE_SIZE_MIN
        while size < 2 * count:
            size *= 2
        self._tables = (_make_table(size),)
        self._place(1, count)
        self._used = self._moved = self._moving = self.count = count

    def find(self, subject: str, *, count: int) -> int | None:
        """Return a subject's number if it is among the first so many."""
        node = self.known.get(subject)
        if node is None:
            node = self._search(subject, count)
            if node is None:
                return None
            self._remember(subject, node)
        return node if node < count else None

    def number(self, subject: str) -> int:
        """Return a subject's number; it is added where it is new, with its missing ancestors.

        Raises:
            DiskFullError, MemoryError: There is no room; ancestors may have been added.
        """
        node = self.known.get(subject)
        if node is None:
            node = self._search(subject, self.count)
            if node is None:
                node = self.add(subject)
            self._remember(subject, node)
        return node

    def add(self, subject: str) -> int:
        """Add a subject that is not there, with its missing ancestors, and return its number.

        Raises:
            DiskFullError, MemoryError: There is no room; ancestors may have been added.
        """
        if self.count == 0:
            self._append(0, b"")
        above, _, last = subject.rpartition("/")
        parent = self.known.get(above)
        if parent is not None:
            return self._append(parent, last.encode())
        node, is_there = 0, True
        for segment in _segments_of(subject):
            if is_there:
                child = self._walk(node, (segment,), self.count)
                if child is not None:
                    node = child
                    continue
                # Nothing is below what is not there.
                is_there = False
            node = self._append(node, segment)
        if node != 0:
            # Many have the same one.
            self._remember(above, self.parents.cells[node])
        return node

    def truncate(self, count: int) -> None:
        """Forget all but the first so many nodes."""
        if count < self.count:
            self.count = count
            # In this order: nobody remembers a node here that was forgotten.
            self.known, self._known_size = {}, 0

    def name(self, node: int) -> str:
        """Return the name of a subject."""
        parents, segments = self.parents.cells, []
        while node != 0:
            segments.append(self._segment(node))
            node = parents[node]
        return ROOT + b"/".join(reversed(segments)).decode()

    def below(self, node: int, *, count: int) -> Nodes:
        """Return the numbers of a node and all below it, ascending, among the first so many."""
        if node == 0:
            return np.arange(count)
        is_member = np.zeros(count, np.bool_)
        is_member[node] = True
        self._add_members(is_member, np.array([node]), first=node)
        return np.flatnonzero(is_member)

    def below_with_prefix(self, node: int, prefix: str, *, count: int) -> Nodes:
        """Return the nodes below one whose segment there begins so, and all below them, ascending.

        The segment is the one that follows the node's own; an empty prefix means all.
        """
        children = np.flatnonzero(self.parents.array[:count] == node)
        children = children[children != 0]
        cells, starts = self.segments.array, self.starts.array
        for index, byte in enumerate(prefix.encode()):
            # A segment that is shorter ends with a line feed, which is in no prefix.
            children = children[cells[starts[children].astype(np.intp) + index] == byte]
        is_member = np.zeros(count, np.bool_)
        is_member[children] = True
        if len(children) > 0:
            self._add_members(is_member, children, first=int(children[0]))
        return np.flatnonzero(is_member)

    def names_below(self, node: int, *, count: int) -> Iterator[Sequence[str]]:
        """Yield chunks of the names of a node and all below it, depth first, siblings in order.

        What it keeps meanwhile is some 30 bytes for each of them.
        """
        nodes = self.below(node, count=count)
        children = self._in_order(nodes[1:].astype(np.uint32))
        above = self.parents.array[children]
        # Where in the order a node's children begin and end.
        firsts = np.searchsorted(above, nodes, "left").astype(np.uint32).data
        lasts = np.searchsorted(above, nodes, "right").astype(np.uint32).data
        places = np.searchsorted(nodes, children).astype(np.uint32).data
        numbers = children.data
        del above, nodes, children
        chunk = [self.name(node)]
        size = 0
        stack = [("" if node == 0 else chunk[0], firsts[0], lasts[0])]
        while stack:
            prefix, index, last = stack.pop()
            if index == last:
                continue
            stack.append((prefix, index + 1, last))
            name = f"{prefix}/{self._segment(numbers[index]).decode()}"
            chunk.append(name)
            size += len(name)
            if len(chunk) == _NAMES_PER_CHUNK or size >= _CHUNK_SIZE:
                yield chunk
                chunk, size = [], 0
            place = places[index]
            stack.append((name, firsts[place], lasts[place]))
        if chunk:
            yield chunk

    def children(self, node: int, prefix: str, *, count: int) -> Nodes:
        """Return the nodes directly below one whose segments begin so, siblings in order.

        All of them are among the first so many, which are published.
        """
        found = np.flatnonzero(self.parents.array[:count] == node)
        # The root is its own parent.
        found = found[found != 0].astype(np.uint32)
        parent, ordered = self._ordered
        if parent != node or len(ordered) != len(found):
            ordered = self._in_order(found)
            self._ordered = (node, ordered)
        if not prefix:
            return ordered
        beginning = prefix.encode()
        first = bisect_left(ordered.data, beginning, key=self._segment)
        # No segment has this byte.
        last = bisect_left(ordered.data, beginning + b"\xff", lo=first, key=self._segment)
        return ordered[first:last]

    def sum_below(
        self, nodes: Nodes, event_counts: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return for each of some siblings the events on it or below it, and its children.

        `event_counts` are those of the subjects of a head, all of which are looked at.
        """
        count, total = len(event_counts), event_counts[nodes]
        child_counts = np.zeros(len(nodes), np.int64)
        if len(nodes) == 0:
            return total, child_counts
        # Nothing below a node has a lower number.
        first = int(nodes.min())
        parents = self.parents.array[:count][first:]
        # Which of the siblings, counted from 1, a node is below; 0 for none, or one further up.
        owners = np.zeros(count, np.uint32)
        owners[nodes] = np.arange(1, len(nodes) + 1)
        is_first = True
        while len(nodes) > 0:
            found = np.flatnonzero(owners[parents]) + first
            # The root is its own parent.
            found = found[found != 0]
            found_owners = owners[parents[found - first]]
            owners[:] = 0
            owners[found] = found_owners
            np.add.at(total, found_owners - 1, event_counts[found])
            if is_first:
                child_counts += np.bincount(found_owners - 1, minlength=len(child_counts))
            nodes, is_first = found, False
        return total, child_counts

    # Finding.

    def _search(self, subject: str, count: int) -> int | None:
        """Return the number of a subject that is not remembered, if it is among so many."""
        if count == 0:
            return None
        if subject == ROOT:
            return 0
        above, _, last = subject.rpartition("/")
        known = self.known.get(above)
        if known is not None:
            return self._walk(known, (last.encode(),), count)
        node = self._walk(0, _segments_of(subject), count)
        if node is not None:
            # Many have the same one.
            self._remember(above, self.parents.cells[node])
        return node

    def _walk(self, node: int, segments: Sequence[bytes], count: int) -> int | None:
        """Follow some segments down from a node, as far as the first so many nodes."""
        # In this order: a table may hold what was added meanwhile, but that is not looked at.
        tables, memory = self._tables, self.segments.memory
        parents, starts = self.parents.cells, self.starts.cells
        for segment in segments:
            place, line = hash((node, segment)) & _TAG, segment + b"\n"
            size, child = len(line), 0
            for slots, _, mask in tables:
                slot = place & mask
                while child := slots[slot]:
                    if child < count and parents[child] == node:
                        start = starts[child]
                        # It ends with a line feed, which is in no other place.
                        if memory[start : start + size] == line:
                            break
                    slot = (slot + 1) & mask
                if child:
                    break
            if not child:
                return None
            node = child
        return node

    def _segment(self, node: int) -> bytes:
        starts = self.starts.cells
        return self.segments.memory[starts[node] : starts[node + 1] - 1]

    def _remember(self, subject: str, node: int) -> None:
        self._known_size += len(subject) + _KNOWN_NAME_SIZE
        if self._known_size > _KNOWN_SIZE_MAX:
            self.known, self._known_size = {}, 0
        self.known[subject] = node

    # Adding.

    def _append(self, parent: int, segment: bytes) -> int:
        node = self.count
        start = self.starts.cells[node]
        end = start + len(segment) + 1
        if node >= self._room or end > self._segments_room:
            self._make_room(node + 1, end)
        self.segments.memory[start:end] = segment + b"\n"
        self.starts.cells[node + 1] = end
        self.parents.cells[node] = parent
        # What its other cells counted, if it was another one, was taken back before that was
        # forgotten.
        self._tags.cells[node] = tag = hash((parent, segment)) & _TAG
        if node > 0:
            self._insert(node, tag)
        self.count = node + 1
        return node

    def release(self) -> None:
        """Give the memory back; nothing can be found any more."""
        for column in (*self._columns(), self.segments):
            column.release()

    def shared_columns(self) -> tuple[Column, ...]:
        """Return what another process needs to find subjects; it hashes them by itself."""
        return (self.parents, self.starts, self.segments, self.latest, self.event_counts)

    def _columns(self) -> tuple[Column, ...]:
        """Return those that have a cell for each node."""
        return (
            self.parents,
            self.starts,
            self.latest,
            self.event_counts,
            self.latest_below,
            self._tags,
        )

    def _make_room(self, count: int, segments_size: int) -> None:
        for column in self._columns():
            column.reserve(count + 1)
        self.segments.reserve(segments_size)
        self._room = min(len(column.cells) for column in self._columns()) - 1
        self._segments_room = len(self.segments.cells)

    # The table.

    def _insert(self, node: int, tag: int) -> None:
        slots, _, mask = self._tables[0]
        if 2 * self._used > mask:
            self._begin_table(node)
            slots, _, mask = self._tables[0]
        slot = tag & mask
        while slots[slot]:
            slot = (slot + 1) & mask
        slots[slot] = node
        self._used += 1
        if len(self._tables) > 1 and node % _ADDED_BETWEEN == 0:
            self._move(_MOVED_AT_ONCE)

    def _begin_table(self, count: int) -> None:
        """Begin a table with room for as many nodes again; slots of forgotten ones are left out."""
        self._move(count)
        size = _TABLE_SIZE_MIN
        while size < 4 * count:
            size *= 2
        self._used, self._moved, self._moving = 0, 1, count
        self._tables = (_make_table(size), self._tables[0])

    def _move(self, count: int) -> None:
        """Bring some more nodes from the older table into the newer one, if there are two."""
        first, last = self._moved, min(self._moved + count, self._moving)
        if len(self._tables) == 1:
            return
        if first < last:
            self._place(first, last)
            self._moved = last
            self._used += last - first
        if last >= self._moving:
            self._tables = self._tables[:1]

    def _place(self, first: int, last: int) -> None:
        """Put nodes into the newest table."""
        _, slots, mask = self._tables[0]
        nodes = np.arange(first, last, dtype=np.uint32)
        places = self._tags.array[first:last] & np.uint32(mask)
        while len(nodes) > 0:
            is_free = slots[places] == 0
            slots[places[is_free]] = nodes[is_free]
            is_left = slots[places] != nodes
            nodes, places = nodes[is_left], (places[is_left] + np.uint32(1)) & np.uint32(mask)

    def _find_tags(self, count: int, *, start: int = 0) -> None:
        """Hash nodes, of which all else is there; the tags of another process are others."""
        starts, memory = self.starts.cells, self.segments.memory
        for first in range(start, count, _LOADED_AT_ONCE):
            last = min(first + _LOADED_AT_ONCE, count)
            segments = memory[starts[first] : starts[last]].split(b"\n")
            parents = self.parents.array[first:last].tolist()
            hashes = map(hash, zip(parents, segments, strict=False))
            tags = np.fromiter(hashes, np.int64, last - first)
            self._tags.array[first:last] = tags.astype(np.uint32)

    # Many at once.

    def _add_members(self, is_member: npt.NDArray[np.bool_], nodes: Nodes, *, first: int) -> None:
        """Mark all that is below some nodes, of which none has a lower number than the first."""
        count = len(is_member)
        # Nothing below a node has a lower number.
        parents = self.parents.array[:count][first:]
        is_frontier = np.zeros(count, np.bool_)
        while len(nodes) > 0:
            if len(nodes) == 1:
                nodes = np.flatnonzero(parents == nodes[0]) + first
            else:
                is_frontier[:] = False
                is_frontier[nodes] = True
                nodes = np.flatnonzero(is_frontier[parents]) + first
            is_member[nodes] = True

    def _in_order(self, nodes: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
        """Return nodes by their parents, and siblings by their segments' characters.

        Eight characters are compared at a time, and only those go on that are still equal.
        """
        cells = self.segments.array
        starts = self.starts.array[nodes].astype(np.intp)
        ends = self.starts.array[nodes.astype(np.intp) + 1].astype(np.intp) - 1
        # What is equal so far has the same rank, and the rank is its place in the order.
        order = np.argsort(self.parents.array[nodes], kind="stable")
        ranks = _ranks(self.parents.array[nodes][order])
        tied = np.flatnonzero(np.bincount(ranks)[ranks] > 1)
        offset = 0
        while len(tied) > 0:
            members = order[tied]
            keys = np.zeros(len(tied), np.uint64)
            for index in range(offset, offset + 8):
                places = starts[members] + index
                is_there = places < ends[members]
                found = np.where(is_there, cells[np.where(is_there, places, 0)], 0)
                keys = (keys << np.uint64(8)) | found.astype(np.uint64)
            inner = np.lexsort((keys, ranks[tied]))
            order[tied] = members[inner]
            keys = keys[inner]
            # The ranks of `tied` ascend, so that they stay where they are.
            is_new = np.ones(len(tied), np.bool_)
            is_new[1:] = (ranks[tied][1:] != ranks[tied][:-1]) | (keys[1:] != keys[:-1])
            ranks[tied] = tied[np.maximum.accumulate(np.where(is_new, np.arange(len(tied)), 0))]
            is_alone = is_new & np.append(is_new[1:], True)
            tied = tied[~is_alone]
            offset += 8
        return nodes[order]


class LatestBelow:
    """Keeps for each subject the position plus one of the latest event on it or below it.

    It lags behind the events, and is brought up to those that somebody asks about. Events may be
    forgotten again until they are settled: what they replaced is kept so long. Whoever adds events
    looks at `due_at`, and whoever settles them at `steps`: mostly there is nothing to do.
    """

    def __init__(self, subjects: SubjectTree, subject_ids: Column) -> None:
        """Do nothing yet: who never asks does not pay."""
        self._subjects: Final = subjects
        self._subject_ids: Final = subject_ids
        # How many events are in, and at how many of all it has to catch up.
        self.count = 0
        self.due_at = sys.maxsize
        # How many of all will never be forgotten.
        self.settled_count = 0
        # For each time that it caught up behind those: before how many events, and what was
        # replaced.
        self.steps: list[tuple[int, list[tuple[Nodes, Nodes]]]] = []

    def begin(self, event_count: int) -> None:
        """Take in all events that there are, of which none will be forgotten."""
        latest = self._subjects.latest.array[: self._subjects.count]
        nodes = np.flatnonzero(latest)
        self._raise(nodes, latest[nodes], [])
        self.settled_count = event_count
        self._move(event_count)

    def find(self, node: int, *, event_count: int) -> int:
        """Return it for one subject, as of so many events.

        Raises:
            MemoryError: There is no memory.
        """
        if node == 0:
            return event_count
        if self.count < event_count:
            self.catch_up(event_count)
        return self._subjects.latest_below.cells[node]

    def catch_up(self, event_count: int) -> None:
        """Take in events up to a count.

        Raises:
            MemoryError: There is no memory; nothing was changed.
        """
        first = self.count
        values = np.arange(first + 1, event_count + 1, dtype=np.uint64)
        nodes = self._subject_ids.array[first:event_count].astype(np.intp)
        replaced: list[tuple[Nodes, Nodes]] = []
        try:
            self._raise(nodes, values, replaced)
            if event_count > self.settled_count:
                self.steps.append((first, replaced))
        except MemoryError:
            self._put_back(replaced)
            raise
        self._move(event_count)

    def drop_steps(self) -> None:
        """Drop what settled events have replaced."""
        while self.steps:
            end = self.steps[1][0] if len(self.steps) > 1 else self.count
            if end > self.settled_count:
                break
            del self.steps[0]

    def truncate(self, event_count: int) -> None:
        """Forget all but the first so many events, and perhaps some more, which come in again."""
        while self.count > event_count:
            count, replaced = self.steps.pop()
            self._put_back(replaced)
            self._move(count)

    def _move(self, count: int) -> None:
        self.count = count
        self.due_at = count + _LAG_MAX

    def _raise(self, nodes: Nodes, values: Nodes, replaced: list[tuple[Nodes, Nodes]]) -> None:
        """Let nodes and all above them have these values, unless they have higher ones."""
        cells, parents = self._subjects.latest_below.array, self._subjects.parents.array
        while len(nodes) > 0:
            # All events are below the root, which needs no cell.
            is_below = nodes != 0
            nodes, values = nodes[is_below], values[is_below]
            replaced.append((nodes, cells[nodes]))
            np.maximum.at(cells, nodes, values)
            # Where there is a higher one, its own way up raises what is above.
            is_raised = cells[nodes] == values
            nodes, values = parents[nodes[is_raised]].astype(np.intp), values[is_raised]

    def _put_back(self, replaced: list[tuple[Nodes, Nodes]]) -> None:
        cells = self._subjects.latest_below.array
        for nodes, values in reversed(replaced):
            cells[nodes] = values


def _segments_of(subject: str) -> Sequence[bytes]:
    return subject[1:].encode().split(b"/") if subject != ROOT else ()


def _make_table(size: int) -> _Table:
    slots = np.zeros(size, np.uint32)
    return slots.data, slots, size - 1


def _ranks(ascending: Nodes) -> Nodes:
    """Return for each value the index of the first that equals it."""
    is_new = np.ones(len(ascending), np.bool_)
    is_new[1:] = ascending[1:] != ascending[:-1]
    return np.maximum.accumulate(np.where(is_new, np.arange(len(ascending)), 0))
