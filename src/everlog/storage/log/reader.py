"""What a head of a data directory shows, found by an index, read from the log.

`IndexedLog` is the half that the embedded engine and a log opened for reading share: both have the
bytes and an index of them, and differ in who moves the head.

`ReadOnlyLog` is a log of which somebody else may be the writer. It changes nothing and keeps nobody
out, so it has to know what to believe of files that a server writes to meanwhile:

- Of the log what is durable, which never changes. While a server has the directory open, that ends
  with the durable bound: behind it stands a batch of which nobody knows yet whether it will stay.
  While nobody has it open, it is all that the next opening would keep, found by the same recovery:
  after a loss of power the bound is older than what was acknowledged, and a whole batch behind it
  may have been.
- Of the index what its snapshot speaks of, which never changes either, with one exception: where a
  server makes the index anew, types get other numbers, in place. Their column is therefore copied
  before it is checked. What belongs behind the snapshot is read from the log, and set in memory.

What is read first decides: the snapshot before the bound, since all that a snapshot speaks of was
durable before it was saved; the bound before the names of the segments, since a batch is in a
segment before it is durable.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from heapq import merge
from itertools import islice
from pathlib import Path
from typing import Final, Self

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from everlog.domain.errors import CorruptLogError
from everlog.domain.subject import sort_key
from everlog.domain.time import parse_time
from everlog.storage.engine import EventType, Head, LocatedScan, LogFiles, Scan, StagedSchema
from everlog.storage.line import parse_line
from everlog.storage.log.columns import BorrowedColumn, TypeCode
from everlog.storage.log.directory import (
    INDEX_FOLDER,
    LOG_FOLDER,
    SCHEMAS_FILE,
    DurableBound,
    check_format,
    is_served,
    read_bound,
)
from everlog.storage.log.disk import Disk, PosixDisk, read_file
from everlog.storage.log.index import TYPE_COLUMN, Index
from everlog.storage.log.reading import RangeBlocks, SegmentFiles, read_few, read_positions
from everlog.storage.log.recovery import replay
from everlog.storage.log.schemas import parse_schemas
from everlog.storage.log.selecting import Selector, is_of_some_subjects
from everlog.storage.log.snapshot import load_index

_SUBJECTS_PER_CHUNK: Final = 4_096

# So many lines are read and sent in less time than a hand-over to a thread and back takes.
_FEW_EVENTS_MAX: Final = 64


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


class ReadOnlyLog(IndexedLog):
    """A data directory opened for reading, beside a server or without one; a `LogReader`.

    Made by `open`; a `with` block closes it. Reading may happen on any thread, `refresh` on one at
    a time.
    """

    def __init__(
        self,
        directory: Path,
        disk: Disk,
        *,
        resources: ExitStack,
        log: SegmentFiles,
        index: Index,
        head: Head,
    ) -> None:
        """Take over what `open` has opened."""
        super().__init__(log, index, head)
        self._directory: Final = directory
        self._disk: Final = disk
        self._resources: Final = resources

    @classmethod
    def open(cls, directory: Path, *, disk: Disk | None = None) -> Self:
        """Open a data directory at its newest durable head.

        Raises:
            DataDirectoryError: It is of an unknown format, or damaged; see its subclasses.
            OSError: The system refuses to read it.
        """
        disk = disk or PosixDisk()
        check_format(directory, disk)
        folder = directory / INDEX_FOLDER

        def open_column(name: str, type_code: TypeCode) -> BorrowedColumn:
            return BorrowedColumn(folder / name, type_code, disk, is_copied=name == TYPE_COLUMN)

        def make_index() -> Index:
            # The snapshot has been read by now.
            log.open_new(directory / LOG_FOLDER, disk, resources)
            return Index(open_column)

        resources, log = ExitStack(), SegmentFiles()
        try:
            index, snapshot, _ = load_index(folder, disk, log, make_index)
            opened = cls(
                directory, disk, resources=resources, log=log, index=index, head=snapshot.head
            )
            opened.refresh()
        except BaseException:
            resources.close()
            raise
        return opened

    def __enter__(self) -> Self:
        """Return the log itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the files."""
        self.close()

    def close(self) -> None:
        """Close the files; nothing can be read any more."""
        self._resources.close()

    def refresh(self) -> Head:
        """Move to the newest durable head, and return it.

        Raises:
            CorruptLogError: The durable part of the log is damaged; the head is as before.
            OSError: The system refuses to read it.
        """
        while True:
            bound = read_bound(self._directory, self._disk)
            was_served = is_served(self._directory, self._disk)
            try:
                self._log.open_new(self._directory / LOG_FOLDER, self._disk, self._resources)
                head, schemas = self._read_on(bound, stop=bound.log_size if was_served else None)
            except CorruptLogError:
                self._index.truncate(self.head)
                if not self._has_become_served(was_served=was_served):
                    raise
            except BaseException:
                self._index.truncate(self.head)
                raise
            else:
                if not self._has_become_served(was_served=was_served):
                    self._publish(head, schemas)
                    return self.head
                self._index.truncate(self.head)

    def _has_become_served(self, *, was_served: bool) -> bool:
        """Tell whether a server may have been writing what was taken for the log's end."""
        return not was_served and is_served(self._directory, self._disk)

    def files(self, head: Head) -> LogFiles | None:  # noqa: ARG002 - the port's
        """Return None: what is behind the snapshot is in the memory of this process only."""
        return None

    def path_of(self, position: int) -> Path:
        """Return the file in which an event stands that the head shows."""
        firsts = [first for first, _ in self._log.starts]
        return Path(self._log.paths[bisect_right(firsts, position) - 1][0])

    def _read_on(
        self, bound: DurableBound, *, stop: int | None
    ) -> tuple[Head, Sequence[StagedSchema]]:
        """Put what has come since the head into the index; return its head and all schemas."""
        before = self.head
        if stop is not None:
            # After a loss of power, a server that is just opening has not moved the bound yet.
            stop = max(stop, before.log_size)
        head = replay(self._log, self._index, before, bound, stop=stop).head
        assert head.event_count >= before.event_count
        path, content = self._directory / SCHEMAS_FILE, b""
        with suppress(FileNotFoundError):
            content = read_file(self._disk, path)
        if stop is not None:
            content = content[: bound.schemas_size]
        return head, parse_schemas(content, path, durable_size=bound.schemas_size)[0]

    def _publish(self, head: Head, schemas: Sequence[StagedSchema]) -> None:
        """Show what was read. Only now is it certain that the schemas stay, as the events do."""
        event_types = self._index.event_types
        for schema in schemas:
            event_types.register(schema)
        self.head = replace(head, event_type_count=len(event_types.names))
