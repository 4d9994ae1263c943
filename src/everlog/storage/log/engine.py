"""The embedded engine itself: opening, the moments of a write, reading, closing."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from heapq import merge
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from everlog.domain.errors import DiskFullError, StoreFailedError
from everlog.domain.event import AcceptedEvent
from everlog.domain.precondition import SubjectState
from everlog.domain.subject import sort_key
from everlog.domain.time import parse_time
from everlog.storage.engine import (
    Batch,
    EventType,
    Head,
    LocatedScan,
    LogFiles,
    Scan,
    StagedSchema,
)
from everlog.storage.line import Mark, parse_line, render_line, render_write
from everlog.storage.log.checkpoint import CheckpointFiles, load_index
from everlog.storage.log.directory import (
    INDEX_FOLDER,
    LOG_FOLDER,
    DirectoryLock,
    check_is_ours,
    prepare_directory,
    prepare_format,
)
from everlog.storage.log.disk import Disk, PosixDisk, SyncError, describe_shortage, is_full
from everlog.storage.log.durable import DurableBound, DurableFile
from everlog.storage.log.index import Index
from everlog.storage.log.reading import RangeBlocks, read_few, read_positions
from everlog.storage.log.recovery import replay
from everlog.storage.log.schemas import SchemasFile
from everlog.storage.log.segments import SEGMENT_SIZE_MAX, Segments
from everlog.storage.log.selecting import Selector

# Replaying costs about 10 microseconds an event: with these, a killed server opens within seconds.
_CHECKPOINT_EVENTS: Final = 200_000
_CHECKPOINT_SIZE: Final = 256 * 1024 * 1024

_SUBJECTS_PER_CHUNK: Final = 4_096

# So many lines are read and sent in less time than a hand-over to a thread and back takes.
_FEW_EVENTS_MAX: Final = 64


class OpeningReport(NamedTuple):
    """What opening a data directory found and did, for the log of the server."""

    event_count: int
    replayed_event_count: int
    torn_size: int
    # Why the index was rebuilt from the log; None where its checkpoint could be used.
    rebuild_reason: str | None


class LogEngine:
    """An engine whose log is a data directory. Made by `open`."""

    def __init__(
        self,
        *,
        resources: ExitStack,
        segments: Segments,
        schemas: SchemasFile,
        durable: DurableFile,
        checkpoints: CheckpointFiles,
        index: Index,
        head: Head,
        checkpoint_head: Head,
        report: OpeningReport,
    ) -> None:
        """Take over what `open` has opened and recovered."""
        self._resources = resources
        self._segments = segments
        self._schemas = schemas
        self._durable = durable
        self._checkpoints = checkpoints
        self._index = index
        self._selector: Final = Selector(index)
        self._head = head
        self._tip = head
        # Moved by `commit`, the head by `publish`.
        self._committed_size = head.log_size
        self._checkpoint_head = checkpoint_head
        self._staged_events: list[AcceptedEvent] = []
        self._staged_lines: list[bytes] = []
        self._staged_schemas: list[StagedSchema] = []
        self._sealed: list[Batch] = []
        self._has_failed = False
        self.report: Final = report

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        disk: Disk | None = None,
        segment_size_max: int = SEGMENT_SIZE_MAX,
    ) -> Self:
        """Open a data directory, creating or recovering it.

        Raises:
            DataDirectoryError: It is locked, of an unknown format, or damaged; see its subclasses.
            DiskFullError: There is no room to rebuild its index.
            OSError: The system refuses to read or write it.
        """
        disk = disk or PosixDisk()
        prepare_directory(directory, disk)
        check_is_ours(directory)
        resources = ExitStack()
        try:
            resources.callback(DirectoryLock(directory, disk).release)
            return cls._open(directory, disk, resources, segment_size_max)
        except BaseException:
            resources.close()
            raise

    @classmethod
    def _open(
        cls, directory: Path, disk: Disk, resources: ExitStack, segment_size_max: int
    ) -> Self:
        prepare_format(directory, disk)
        segments = Segments(
            directory / LOG_FOLDER, disk, resources, segment_size_max=segment_size_max
        )
        durable = DurableFile(directory, disk, resources)
        index_folder = directory / INDEX_FOLDER
        index, checkpoints, start, reason = load_index(index_folder, disk, resources, segments)
        bound = durable.read()
        replayed = replay(segments, index, start, bound)
        schemas = SchemasFile(directory, disk, resources)
        for schema in schemas.read(durable_size=bound.schemas_size):
            index.event_types.number(schema.event_type)
            index.event_types.schemas[schema.event_type] = schema.text
        head = replayed.head._replace(event_type_count=len(index.event_types.names))
        if head.log_size > bound.log_size:
            segments.write_again(max(replayed.batch_start, bound.log_size), head.log_size)
        # Also where nothing is torn: what a killed process allocated ahead is given back.
        segments.cut(head.log_size)
        durable.write(DurableBound(head.event_count, head.log_size, schemas.size))
        engine = cls(
            resources=resources,
            segments=segments,
            schemas=schemas,
            durable=durable,
            checkpoints=checkpoints,
            index=index,
            head=head,
            checkpoint_head=start,
            report=OpeningReport(
                head.event_count, replayed.event_count, replayed.torn_size, reason
            ),
        )
        if engine.is_checkpoint_due:
            _checkpoint_if_there_is_room(engine)
        return engine

    @property
    def head(self) -> Head:
        """The published head."""
        return self._head

    # Writing.

    @property
    def tip(self) -> Head:
        """The head as it will be when all that is staged has been published."""
        return self._tip

    @property
    def state(self) -> SubjectState:
        """The subjects as of the tip."""
        return self._index

    def stage(self, events: Sequence[AcceptedEvent], *, time: int) -> None:
        """Add one write's events at the tip.

        Raises:
            DiskFullError: There is no room to index them; nothing was staged.
            MemoryError: There is no memory for them; nothing was staged.
            StoreFailedError: The disk broke its promise; nothing was staged.
        """
        assert len(events) > 0
        lines = render_write(events)
        count = len(self._staged_lines)
        try:
            log_size = self._index.stage(events, lines, self._tip)
            self._staged_events.extend(events)
            self._staged_lines.extend(lines)
        except OSError as error:
            self._has_failed = True
            message = f"growing the index failed: {error}"
            raise StoreFailedError(message) from error
        except MemoryError:
            self._index.truncate(self._tip)
            del self._staged_events[count:], self._staged_lines[count:]
            raise
        self._tip = Head(
            event_count=self._tip.event_count + len(events),
            log_size=log_size,
            subject_count=len(self._index.subjects.names),
            event_type_count=len(self._index.event_types.names),
            hash=events[-1].hash,
            time=time,
        )

    def stage_schema(self, schema: StagedSchema) -> None:
        """Add an event schema."""
        assert schema.event_type not in self._index.event_types.schemas
        self._index.event_types.number(schema.event_type)
        self._staged_schemas.append(schema)
        self._tip = self._tip._replace(event_type_count=len(self._index.event_types.names))

    def seal(self) -> Batch | None:
        """Take all that was staged since the last call as one batch."""
        if not self._staged_lines and not self._staged_schemas:
            return None
        if self._staged_lines:
            # The last line's mark becomes that of a batch, which is one byte longer.
            self._staged_lines[-1] = render_line(self._staged_events[-1].json, Mark.BATCH)
            self._tip = self._tip._replace(log_size=self._tip.log_size + 1)
        batch = Batch(
            first_position=self._tip.event_count - len(self._staged_events),
            events=self._staged_events,
            lines=self._staged_lines,
            schemas=self._staged_schemas,
            head=self._tip,
        )
        self._staged_events, self._staged_lines, self._staged_schemas = [], [], []
        self._sealed.append(batch)
        return batch

    def commit(self, batch: Batch) -> None:
        """Make a batch durable.

        Raises:
            DiskFullError: There is no room; the disk is as before.
            StoreFailedError: The disk broke its promise.
        """
        content, offset = self._take_content(batch)
        schemas_size = self._schemas.size
        try:
            if batch.schemas:
                self._schemas.append(batch.schemas)
            if content:
                self._segments.append(content, offset=offset, first_position=batch.first_position)
            self._move_bound(batch)
        except (OSError, DiskFullError) as error:
            raise self._undo(error, offset=offset, schemas_size=schemas_size) from error

    def begin_commit(self, batch: Batch) -> int | None:
        """Write a batch into room that is there, and return its segment's file; else None.

        Raises:
            DiskFullError: There is no room after all; the disk is as before.
            StoreFailedError: The disk broke its promise.
        """
        content, offset = self._take_content(batch)
        if batch.schemas or not self._segments.has_room(len(content), offset=offset):
            return None
        try:
            return self._segments.write(content, offset=offset)
        except OSError as error:
            raise self._undo(error, offset=offset, schemas_size=self._schemas.size) from error

    def end_commit(self, batch: Batch, error: OSError | None) -> None:
        """Move the durable bound, unless the sync has failed.

        Raises:
            DiskFullError: There is no room; the disk is as before.
            StoreFailedError: The disk broke its promise.
        """
        try:
            if error is not None:
                raise SyncError(*error.args)
            self._move_bound(batch)
        except OSError as failure:
            offset = batch.head.log_size - sum(map(len, batch.lines))
            raise self._undo(failure, offset=offset, schemas_size=self._schemas.size) from failure

    def _take_content(self, batch: Batch) -> tuple[bytes, int]:
        """Return a batch's bytes and where in the log they belong."""
        if self._has_failed:
            message = "an earlier write to the disk failed"
            raise StoreFailedError(message)
        content = b"".join(batch.lines)
        return content, batch.head.log_size - len(content)

    def _move_bound(self, batch: Batch) -> None:
        self._durable.write(
            DurableBound(batch.head.event_count, batch.head.log_size, self._schemas.size)
        )
        self._committed_size = batch.head.log_size

    def publish(self, batch: Batch) -> None:
        """Let readers see a committed batch."""
        assert self._sealed[0] is batch
        for schema in batch.schemas:
            self._index.event_types.schemas[schema.event_type] = schema.text
        self._head = batch.head
        del self._sealed[0]

    def roll_back(self) -> None:
        """Make the tip the head again."""
        assert self._committed_size == self._head.log_size
        self._index.truncate(self._head)
        self._staged_events, self._staged_lines, self._staged_schemas = [], [], []
        self._sealed = []
        self._tip = self._head

    def unpublished_events(self) -> Iterator[AcceptedEvent]:
        """Yield the events between head and tip."""
        for batch in self._sealed:
            yield from batch.events
        yield from self._staged_events

    # Reading.

    def scan(self, scan: Scan, head: Head) -> Iterator[bytes]:
        """Return blocks of whole lines, with more promises for neighbours in their order."""
        stop = min(scan.stop, head.event_count)
        if scan.start >= stop:
            return iter(())
        is_everything = scan.event_types is None and not scan.is_of_some_subjects
        if is_everything and not scan.is_reversed:
            offsets = self._index.offsets.cells
            end = head.log_size if stop == head.event_count else offsets[stop]
            return RangeBlocks(self._segments, offsets, scan.start, stop, end)
        return self._scan_selected(scan, head)

    def _scan_selected(self, scan: Scan, head: Head) -> Iterator[bytes]:
        offsets: npt.NDArray[np.uint64] = self._index.offsets.view(head.event_count)
        for positions in self._selector.select(scan, head):
            yield from read_positions(self._segments, offsets, head.log_size, positions)

    def read_few(self, scan: Scan, head: Head) -> bytes | None:
        """Return all lines of a scan if they are few and in the system's cache."""
        positions = self._selector.select_few(scan, head, count_max=_FEW_EVENTS_MAX)
        if positions is None:
            return None
        offsets = self._index.offsets.cells
        return read_few(self._segments, offsets, positions, head)

    def count(self, scan: Scan, head: Head) -> int:
        """Return how many events a scan means."""
        return self._selector.count(scan, head)

    def count_by_event_type(self, scan: Scan, head: Head) -> dict[str, int]:
        """Return the same by event type, in the order of each type's first event."""
        return self._selector.count_by_event_type(scan, head)

    def find_time(self, time: int, head: Head) -> int:
        """Return the position of the first event at or after a time."""
        # Times never go back, so that reading a few lines is enough.
        return bisect_left(
            range(head.event_count), time, key=lambda position: self._read_time(position, head)
        )

    def files(self, head: Head) -> LogFiles | None:
        """Return where another process can read the log."""
        return LogFiles(
            segments=self._segments.paths,
            offsets=str(self._index.offsets.path),
            event_count=head.event_count,
            log_size=head.log_size,
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

    # Housekeeping.

    @property
    def is_checkpoint_due(self) -> bool:
        """Whether opening would take noticeably long if the process died now."""
        size = self._head.log_size - self._checkpoint_head.log_size
        return self.unsaved_event_count >= _CHECKPOINT_EVENTS or size >= _CHECKPOINT_SIZE

    @property
    def unsaved_event_count(self) -> int:
        """How many events opening would have to read again if the process died now."""
        return self._head.event_count - self._checkpoint_head.event_count

    def checkpoint(self) -> None:
        """Save what opening would otherwise have to rebuild."""
        head = self._head
        self._checkpoints.save(self._index, head)
        self._checkpoint_head = head

    def close(self) -> None:
        """Give back what was allocated ahead, save a checkpoint, and let go of the directory."""
        with self._resources:
            if not self._has_failed:
                # In this order: on a full disk, the checkpoint may need the room given back.
                self._segments.cut(self._committed_size)
                self._durable.sync()
                _checkpoint_if_there_is_room(self)

    def _read_time(self, position: int, head: Head) -> int:
        scan = Scan(start=position, stop=position + 1)
        return parse_time(parse_line(b"".join(self.scan(scan, head)))[0].time)

    def _undo(self, error: Exception, *, offset: int, schemas_size: int) -> Exception:
        """Put the disk back as it was before a batch, and return what to raise."""
        is_room_missing = isinstance(error, DiskFullError) or (
            isinstance(error, OSError) and is_full(error)
        )
        reason = str(error)
        if is_room_missing:
            try:
                self._schemas.restore(schemas_size)
                self._segments.cut(offset)
            except OSError as undo_error:
                reason = f"{reason}, and undoing the write failed: {undo_error}"
            else:
                return DiskFullError(f"{describe_shortage(error)}; nothing was stored")
        self._has_failed = True
        return StoreFailedError(f"writing to the data directory failed: {reason}")


def _checkpoint_if_there_is_room(engine: LogEngine) -> None:
    try:
        engine.checkpoint()
    except OSError as error:
        # It stays due, and a full disk can still be read from.
        if not is_full(error):
            raise
