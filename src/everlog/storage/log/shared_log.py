"""A log whose writer is another process of this server, read by that one's index.

`SharedLog` is a `LogReader` without an index of its own but for the names that it has to find by
hashing, which differ between processes. It is moved to the newest head by `catch_up`, whenever who
reads has to see all that was acknowledged before it asked: then it sees what other clients were
told, whichever process told them, since a head is posted before any of its answers leaves.

What is left to others: who has the index (`engine`), and what is told when there is a new head.
"""

import os
from bisect import bisect_right
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, cast

from everlog.domain.errors import ReadFailedError
from everlog.domain.event import AcceptedEvent
from everlog.storage.engine import Head, LogFiles, SharedFiles
from everlog.storage.log.columns import Column, MappedColumn, TypeCode
from everlog.storage.log.disk import Disk, Folder, PosixDisk
from everlog.storage.log.index import EventTypeTable, Index
from everlog.storage.log.indexed_log import IndexedLog
from everlog.storage.log.reading import SegmentFiles
from everlog.storage.log.schemas import parse_schemas, read_schemas
from everlog.storage.log.shared_memory import PostedBoard, PostedHead
from everlog.storage.log.subject_tree import SubjectTree

_NEVER: Final = -1

# Read at once for observers, one event at least.
_EVENTS_SIZE: Final = 1024 * 1024

# Fewer nodes are put into the table one by one.
_MANY_NODES: Final = 1_024

_TYPES: Final[dict[str, TypeCode]] = {
    "offset": "Q",
    "subject": "I",
    "type": "I",
    "previous": "Q",
    "parent": "I",
    "segment-start": "Q",
    "subject-segments": "B",
    "latest": "Q",
    "event-count": "I",
    "type-names": "B",
    "type-ends": "Q",
    "type-firsts": "Q",
}


class SharedLog(IndexedLog):
    """What another process publishes; `catch_up` belongs to one thread, reading to any."""

    def __init__(self, files: SharedFiles, *, disk: Disk | None = None) -> None:
        """Show the head that was posted last.

        Raises:
            OSError: The system refuses to read the data directory.
        """
        self._disk: Final = disk or PosixDisk()
        self._directory: Final = Folder(files.directory, Path(files.path))
        self._log_folder: Final = files.log_folder
        self._resources: Final = ExitStack()
        self._board: Final = PostedBoard(files.board)
        self._shared: Final = _SharedIndex(files, self._board)
        self._sequence = -1
        self._schemas_size = 0
        super().__init__(SegmentFiles(), cast("Index", self._shared), Head())
        self.catch_up()

    def catch_up(self) -> bool:
        """Move to the newest head; return whether there was a newer one.

        Raises:
            ReadFailedError: The system refuses to open what is new; the head is as before.
        """
        if self._board.sequence == self._sequence:
            return False
        sequence, posted = self._board.read()
        self._open(posted)
        self._shared.reach(posted.head)
        self.head = posted.head
        self._sequence = sequence
        return True

    def files(self, head: Head) -> LogFiles:
        """Return where another process can read the log."""
        return LogFiles(
            folder=self._log_folder,
            segments=self._log.places,
            offsets=self._shared.offsets.file,
            event_count=head.event_count,
            log_size=head.log_size,
        )

    def events_between(self, start: int, stop: int) -> tuple[list[AcceptedEvent], list[bytes]]:
        """Return what observers need of events of the head, and their lines.

        Those at positions from `start` up to before `stop`, or the first of them, about a megabyte.

        Raises:
            ReadFailedError: The disk does not give them.
        """
        head, index = self.head, self._shared
        bounds: list[int] = index.offsets.cells[start : stop + 1].tolist()
        if stop == head.event_count:
            bounds[stop - start :] = [head.log_size]
        count = max(bisect_right(bounds, bounds[0] + _EVENTS_SIZE) - 1, 1)
        first = bounds[0]
        content = self._log.read(first, bounds[count] - first)
        ends = [bound - first for bound in bounds[: count + 1]]
        lines = [content[begin:end] for begin, end in pairwise(ends)]
        nodes = index.subject_ids.cells[start : start + count].tolist()
        subjects = map(index.subjects.name, nodes)
        return [AcceptedEvent(subject, "", b"", "") for subject in subjects], lines

    def close(self) -> None:
        """Close the files of the log; nothing can be read any more."""
        self._resources.close()

    def _open(self, posted: PostedHead) -> None:
        """Open segments and read event schemas that are new."""
        try:
            if posted.segment_count > len(self._log.places):
                self._log.open_new(self._directory, self._disk, self._resources)
            if posted.schemas_size > self._schemas_size:
                content = read_schemas(self._directory, self._disk)[: posted.schemas_size]
                schemas, _ = parse_schemas(
                    content, self._directory.path, durable_size=posted.schemas_size
                )
                self._shared.event_types.schemas.update(
                    (schema.event_type, schema.text) for schema in schemas
                )
                self._schemas_size = posted.schemas_size
        except OSError as error:
            raise ReadFailedError(os.strerror(error.errno or 0)) from error


class _SharedIndex:
    """The parts of an `Index` that reading needs, of another process."""

    def __init__(self, files: SharedFiles, board: PostedBoard) -> None:
        self._board: Final = board
        columns = {
            name: MappedColumn(name, _TYPES[name], file) for name, file in files.columns.items()
        }
        self.offsets: Final = columns["offset"]
        self.subject_ids: Final = columns["subject"]
        self.type_ids: Final = columns["type"]
        self.previous: Final = columns["previous"]
        self.subjects: Final = _SharedTree(columns)
        self.event_types: Final = _SharedTypeTable(columns)

    @property
    def truncations(self) -> int:
        """How often staged events were forgotten."""
        return self._board.truncations

    def reach_again(self) -> None:
        """Look for more cells of the column that leads to earlier events."""
        self.previous.map_again()

    def reach(self, head: Head) -> None:
        """Have all that a head counts at hand."""
        for column in (self.offsets, self.subject_ids, self.type_ids, self.previous):
            column.reach(head.event_count)
        self.subjects.reach(head.subject_count)
        self.event_types.reach(head)


class _SharedTree(SubjectTree):
    """The subjects of another process, in a table of this one."""

    def __init__(self, columns: dict[str, MappedColumn]) -> None:
        self._mapped: Final = tuple(
            columns[name] for name in ("parent", "segment-start", "latest", "event-count")
        )
        self._mapped_segments: Final = columns["subject-segments"]
        super().__init__()
        for column in (*self._columns(), self.segments):
            if column is not self._tags:
                column.release()
        # They are only read, which is all that both kinds of columns have in common.
        self.parents, self.starts, self.latest, self.event_counts = cast(
            "tuple[Column, Column, Column, Column]", self._mapped
        )
        self.segments = cast("Column", self._mapped_segments)

    def reach(self, count: int) -> None:
        """Be able to find the first so many nodes."""
        first = self.count
        if count <= first:
            return
        for column in self._mapped:
            column.reach(count + 1)
        self._mapped_segments.reach(self.starts.cells[count])
        self._tags.reserve(count)
        self._find_tags(count, start=first)
        if count - first < _MANY_NODES:
            tags = self._tags.cells
            for node in range(max(first, 1), count):
                self._insert(node, tags[node])
        else:
            self._begin_table(count)
            self._move(count)
            self._place(max(first, 1), count)
            self._used += count - max(first, 1)
            self._tables = self._tables[:1]
        self.count = count


class _SharedTypeTable(EventTypeTable):
    """The event types of another process."""

    def __init__(self, columns: dict[str, MappedColumn]) -> None:
        super().__init__()
        self._text: Final = columns["type-names"]
        self._ends: Final = columns["type-ends"]
        self._firsts: Final = columns["type-firsts"]
        # Those that no event had, as of the last head.
        self._unbegun: set[int] = set()

    def reach(self, head: Head) -> None:
        """Know all types of a head."""
        first, count = len(self.names), head.event_type_count
        if first < count:
            for column in (self._ends, self._firsts):
                column.reach(count)
            ends: Any = self._ends.cells
            self._text.reach(ends[count - 1])
            start = ends[first - 1] if first else 0
            for number in range(first, count):
                self.number(self._text.memory[start : ends[number]].decode())
                start = ends[number]
                self._unbegun.add(number)
        for number in tuple(self._unbegun):
            position = self._firsts.cells[number] - 1
            # What is staged may be forgotten again.
            if _NEVER < position < head.event_count:
                self._first_positions[number] = position
                self._unbegun.discard(number)
