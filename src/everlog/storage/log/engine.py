"""The embedded engine itself: opening, the moments of a write, closing.

Guarantees what `storage.engine` promises. There are two kinds of state. Index, tip, and what is
staged and sealed belong to the writer's thread. The files of the log, of the schemas and of the
durable bound, and how far they are committed, belong to whoever commits, which may be another
thread. `apply` and `roll_back` touch both, and therefore run beside nothing; that the disk has
failed is noted once, whoever meets it. All that readers need is the head: `publish` replaces it,
when what it counts is on the disk and in the index.
What is left to others: what a head shows (`indexed_log`), and where a log ends (`recovery`).
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from time import monotonic
from typing import Final, NamedTuple, Self

from msgspec.structs import replace

from everlog.domain.errors import DiskFullError, StoreFailedError
from everlog.domain.event import AcceptedEvent, Event
from everlog.domain.precondition import SubjectState
from everlog.domain.time import parse_time
from everlog.storage.engine import (
    Batch,
    Head,
    JournalEntry,
    LogFiles,
    SharedFiles,
    StagedSchema,
    StoreFiles,
    UnchainedEntryError,
)
from everlog.storage.line import (
    BATCH_END,
    Mark,
    accepted_event,
    parse_next_line,
    render_write,
    to_last_of_batch,
    to_last_of_write,
)
from everlog.storage.log.copies import record_place, refuse_shared_files
from everlog.storage.log.directory import (
    INDEX_FOLDER,
    LOG_FOLDER,
    DirectoryLock,
    DurableBound,
    DurableFile,
    Place,
    check_is_ours,
    prepare_directory,
    prepare_format,
    sync_names_above,
)
from everlog.storage.log.disk import (
    Disk,
    Folder,
    ForeignFileError,
    PosixDisk,
    SyncError,
    create_folder,
    describe_shortage,
    is_full,
)
from everlog.storage.log.index import Index
from everlog.storage.log.indexed_log import IndexedLog
from everlog.storage.log.recovery import Origin, Replay, find_witnesses, replay
from everlog.storage.log.restored import finish_restored
from everlog.storage.log.schemas import SchemasFile
from everlog.storage.log.segments import SEGMENT_SIZE_MAX, Segments
from everlog.storage.log.shared_memory import HeadBoard, PostedHead, open_again
from everlog.storage.log.snapshot import SnapshotFiles, load_index

# Replaying costs about 10 microseconds an event: with these, a killed server opens within seconds.
_SNAPSHOT_EVENTS: Final = 200_000
_SNAPSHOT_SIZE: Final = 256 * 1024 * 1024

# How long writes may be accepted after something was moved or deleted; the data directory itself
# is looked at before each batch.
_LOOK_SECONDS: Final = 1.0

_FAILED_BEFORE: Final = "an earlier write to the disk failed"


class OpeningReport(NamedTuple):
    """What opening a data directory found and did, for the log of the server."""

    event_count: int
    replayed_event_count: int
    torn_size: int
    # Why the index was rebuilt from the log; None where its snapshot could be used.
    rebuild_reason: str | None
    # Whether it can be written to; if not, nothing was changed.
    is_writable: bool = True
    # Whether it is a copy of another directory, and how many events its durable bound speaks of,
    # which may be of a later moment. What is torn may have been acknowledged there.
    is_copy: bool = False
    noted_event_count: int = 0


class LogEngine(IndexedLog):
    """An engine whose log is a data directory. Made by `open`."""

    def __init__(
        self,
        *,
        resources: ExitStack,
        places: Sequence[Place],
        segments: Segments,
        schemas: SchemasFile,
        durable: DurableFile,
        snapshots: SnapshotFiles,
        index: Index,
        head: Head,
        snapshot_head: Head,
        report: OpeningReport,
    ) -> None:
        """Take over what `open` has opened and recovered."""
        self._resources = resources
        # For what else is kept in it, and may be lost.
        self.directory: Final = Folder(places[0].descriptor, places[0].path)
        # The first is the data directory's own.
        self._places = places
        self._looked_at = monotonic()
        self._segments = segments
        self._schemas = schemas
        self._durable = durable
        self._snapshots = snapshots
        super().__init__(segments.files, index, head)
        index.latest_below.begin(head.event_count)
        # The head as it will be when all that is staged has been published.
        self.tip = head
        # Moved by `commit`, the head by `publish`.
        self._committed_size = head.log_size
        self._committed_schemas_size = schemas.size
        self._snapshot_head = snapshot_head
        self._staged_events: list[AcceptedEvent] = []
        self._staged_lines: list[bytes] = []
        self._staged_schemas: list[StagedSchema] = []
        self._sealed: list[Batch] = []
        # How many of those that are staged are others'.
        self._others_count = 0
        # Whether the last events that are staged are not the end of their write.
        self._is_mid_write = False
        self._has_failed = False
        self.report: Final = report

    @property
    def locked_descriptors(self) -> tuple[int, int]:
        """The open directory and file that keep others out, as long as any process has them."""
        directory, _, lock = self._places[:3]
        return directory.descriptor, lock.descriptor

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
            DiskFullError: There is no room to recover it.
            OSError: The system refuses to read or write it.
        """
        disk, resources = disk or PosixDisk(), ExitStack()
        try:
            folder = prepare_directory(directory, disk, resources)
            check_is_ours(folder)
            lock = DirectoryLock(folder, disk, resources)
            return cls._open(folder, lock, disk, resources, segment_size_max)
        except BaseException:
            resources.close()
            raise

    @classmethod
    def _open(
        cls,
        directory: Folder,
        lock: DirectoryLock,
        disk: Disk,
        resources: ExitStack,
        segment_size_max: int,
    ) -> Self:
        prepare_format(directory, disk)
        finish_restored(directory, disk)
        # Before anything else is touched.
        origin, noted, bound, copied_schemas_size = find_witnesses(directory, disk)
        if origin is not Origin.HERE:
            refuse_shared_files(directory, disk)
        log_folder = create_folder(disk, directory, LOG_FOLDER, resources)
        folder = create_folder(disk, directory, INDEX_FOLDER, resources)
        segments = Segments(log_folder, disk, resources, segment_size_max=segment_size_max)
        durable = DurableFile(directory, disk, resources)
        snapshots = SnapshotFiles(folder, disk, resources)
        index, snapshot, reason = load_index(
            folder, disk, lambda: segments.files, copied_schemas_size=copied_schemas_size
        )
        snapshots.go_on_from(snapshot)
        replayed = replay(segments.files, index, snapshot.head, bound, origin=origin)
        schemas = SchemasFile(directory, disk, resources)
        for schema in schemas.read(durable_size=bound.schemas_size, may_lack=origin is Origin.COPY):
            index.event_types.register(schema)
        head = replace(replayed.head, event_type_count=len(index.event_types.names))
        _end_log(segments, replayed, bound, origin)
        found = DurableBound(head.event_count, head.log_size, schemas.size)
        if found != noted or head.event_count == 0:
            # On a full disk, what need not be written may be what cannot.
            durable.write(found)
        engine = cls(
            resources=resources,
            places=(
                *_places_of(directory, log_folder),
                *(lock.place, durable.place, schemas.place),
            ),
            segments=segments,
            schemas=schemas,
            durable=durable,
            snapshots=snapshots,
            index=index,
            head=head,
            snapshot_head=snapshot.head,
            report=OpeningReport(
                head.event_count,
                *(replayed.event_count, replayed.torn_size, reason),
                is_copy=origin is not Origin.HERE,
                noted_event_count=noted.event_count,
            ),
        )
        engine._settle(directory, disk)
        return engine

    def _settle(self, directory: Folder, disk: Disk) -> None:
        """Save what is due, and let the directory say where it is, as far as there is room.

        A copy is no original before all of it is durable, and none of it speaks of more.
        """
        is_copy = self.report.is_copy
        if is_copy:
            self._schemas.restore(self._schemas.size)
            self._durable.sync()
            sync_names_above(directory.path, disk)
        is_saved = (is_copy or self.is_snapshot_due) and _save_snapshot_if_possible(self)
        if is_saved or not is_copy:
            record_place(directory, disk)

    @property
    def state(self) -> SubjectState:
        """The subjects as of the tip."""
        return self._index

    def stage(self, events: Sequence[AcceptedEvent], *, time: int, is_end: bool = True) -> None:
        """Add one write's events at the tip, or some of them, if that is not their end.

        Raises:
            DiskFullError: Too many files are open; nothing was staged.
            MemoryError: There is no memory for them; nothing was staged.
        """
        assert len(events) > 0
        lines = render_write(events, is_end=is_end)
        tip, count = self.tip, len(self._staged_lines)
        try:
            self.tip = self._index.stage(events, lines, tip, time=time)
            self._staged_events.extend(events)
            self._staged_lines.extend(lines)
            self._is_mid_write = not is_end
        except MemoryError:
            self._index.truncate(tip)
            self.tip = tip
            del self._staged_events[count:], self._staged_lines[count:]
            raise

    def stage_schema(self, schema: StagedSchema) -> None:
        """Add an event schema."""
        assert schema.event_type not in self._index.event_types.schemas
        assert not self._is_mid_write
        self._index.event_types.number(schema.event_type)
        self._staged_schemas.append(schema)
        self.tip = replace(self.tip, event_type_count=len(self._index.event_types.names))

    def stage_entry(self, entry: JournalEntry) -> None:
        """Add a batch from elsewhere, in front of what will be staged.

        Raises:
            UnchainedEntryError: The entry does not continue the log; nothing was staged.
            DiskFullError, MemoryError: There is no room; nothing was staged.
        """
        assert self.tip == self.head
        assert entry.lines
        assert not self._sealed
        assert not entry.schemas
        events, time = _read_entry(entry, self.head, is_verified=False)
        lines = [*entry.lines[:-1], to_last_of_write(entry.lines[-1])]
        try:
            self.tip = self._index.stage(events, lines, self.tip, time=time)
        except BaseException:
            self.roll_back()
            raise
        self._staged_events, self._staged_lines = [*events], lines
        self._others_count = len(events)

    def seal(self) -> Batch | None:
        """Take all that was staged since the last call as one batch."""
        assert not self._is_mid_write
        if not self._staged_lines and not self._staged_schemas:
            return None
        if self._staged_lines:
            # The last line's mark becomes that of a batch, which is one byte longer.
            self._staged_lines[-1] = to_last_of_batch(self._staged_lines[-1])
            self.tip = replace(self.tip, log_size=self.tip.log_size + 1)
        batch = Batch(
            self.tip.event_count - len(self._staged_events),
            self._staged_events,
            self._staged_lines,
            self._staged_schemas,
            self.tip,
            self._others_count,
        )
        self._staged_events, self._staged_lines, self._staged_schemas = [], [], []
        self._others_count = 0
        self._sealed.append(batch)
        return batch

    def commit(self, batch: Batch) -> None:
        """Make a batch durable.

        Raises:
            DiskFullError: There is no room; the disk is as before.
            StoreFailedError: The disk broke its promise.
        """
        if self._is_look_due:
            self.check_place()
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
        if self._is_look_due:
            return None
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
            raise StoreFailedError(_FAILED_BEFORE)
        if not self._places[0].is_kept():
            raise self._lose(self._places[0])
        content = b"".join(batch.lines)
        offset = batch.head.log_size - len(content)
        # Anywhere else it would overwrite what was acknowledged, or leave a gap.
        assert offset == self._committed_size
        return content, offset

    def _move_bound(self, batch: Batch) -> None:
        self._durable.write(
            DurableBound(batch.head.event_count, batch.head.log_size, self._schemas.size)
        )
        self._committed_size = batch.head.log_size
        self._committed_schemas_size = self._schemas.size

    def publish(self, batch: Batch) -> None:
        """Let readers see a committed batch."""
        # In the order of the log, and not before it is durable: readers tell clients of it.
        assert self._sealed[0] is batch
        assert batch.head.log_size <= self._committed_size
        for schema in batch.schemas:
            self._index.event_types.schemas[schema.event_type] = schema.text
        self.head = batch.head
        if self._index.board is not None:
            # Before anybody is answered: who was told of it may ask another process.
            self._post(self._index.board)
        below = self._index.latest_below
        below.settled_count = batch.head.event_count
        if below.steps:
            below.drop_steps()
        del self._sealed[0]

    def roll_back(self) -> None:
        """Make the tip the head again."""
        assert self._committed_size == self.head.log_size
        self._index.truncate(self.head)
        self._staged_events, self._staged_lines, self._staged_schemas = [], [], []
        self._sealed, self._others_count = [], 0
        self._is_mid_write = False
        self.tip = self.head

    def unpublished_events(self) -> Iterator[AcceptedEvent]:
        """Yield the events between head and tip."""
        for batch in self._sealed:
            yield from batch.events
        yield from self._staged_events

    def apply(self, entry: JournalEntry, *, is_verified: bool) -> Batch:
        """Take over a batch from elsewhere, durable and published.

        Raises:
            UnchainedEntryError: The entry does not continue the log; nothing was changed.
            DiskFullError, MemoryError: There is no room; nothing was changed.
            StoreFailedError: The disk broke its promise.
        """
        # What is staged was judged on another tip, and would be published behind it.
        assert self.tip == self.head
        assert not self._sealed
        if self._has_failed:
            raise StoreFailedError(_FAILED_BEFORE)
        events, time = _read_entry(entry, self.head, is_verified=is_verified)
        registered = set(self._index.event_types.schemas)
        for schema in entry.schemas:
            if schema.event_type in registered:
                message = f"the event type {schema.event_type!r} has an event schema already"
                raise UnchainedEntryError(message, position=None)
            registered.add(schema.event_type)
        try:
            if events:
                self.tip = self._index.stage(events, entry.lines, self.tip, time=time)
            for schema in entry.schemas:
                self._index.event_types.number(schema.event_type)
            head = replace(self.tip, event_type_count=len(self._index.event_types.names))
            batch = Batch(entry.first_position, events, entry.lines, entry.schemas, head)
            self._sealed, self.tip = [batch], head
            self.commit(batch)
        except BaseException:
            self.roll_back()
            raise
        self.publish(batch)
        return batch

    def files(self, head: Head) -> LogFiles | None:
        """Return where another process can read the log."""
        offsets = self._index.offsets.file
        if offsets is None:
            return None
        return LogFiles(
            folder=self._segments.folder.descriptor,
            segments=self._segments.files.places,
            offsets=offsets,
            event_count=head.event_count,
            log_size=head.log_size,
        )

    def share(self) -> SharedFiles | None:
        """Let other processes read the log by this index from now on; None if they cannot.

        To be called once, before anything is staged.

        Raises:
            DiskFullError, MemoryError: There is no room for it.
            OSError: The system refuses to open the directory once more.
        """
        columns, board = self._index.share(), self._index.board
        assert board is not None
        if not columns or board.file is None:
            return None
        directory = open_again(self.directory.descriptor)
        self._resources.callback(os.close, directory)
        self._post(board)
        folder = self._segments.folder.descriptor
        path = str(self.directory.path.absolute())
        return SharedFiles(directory, folder, path, board.file, columns)

    def _post(self, board: HeadBoard) -> None:
        count, schemas_size = len(self._segments.files.places), self._committed_schemas_size
        board.post(PostedHead(self.head, count, schemas_size))

    def store_files(self, head: Head) -> StoreFiles:
        """Return where another process can look at everything."""
        # Schemas may be durable that are not published yet: they stay.
        schemas_size = self._committed_schemas_size
        return self._store_files(self._places[0].descriptor, head, schemas_size=schemas_size)

    def check_place(self) -> None:
        """Look whether everything is still where it was opened; may run on any thread.

        Raises:
            StoreFailedError: Something is not; nothing is written any more.
        """
        if self._has_failed:
            raise StoreFailedError(_FAILED_BEFORE)
        self._looked_at = monotonic()
        stop = self._committed_size
        for place in (*self._places, *self._segments.places(stop)):
            if not place.is_kept():
                raise self._lose(place)

    @property
    def _is_look_due(self) -> bool:
        return monotonic() - self._looked_at >= _LOOK_SECONDS

    # Housekeeping.

    @property
    def is_snapshot_due(self) -> bool:
        """Whether opening would take noticeably long if the process died now."""
        # Asked for each batch, and so without another call.
        head, saved = self.head, self._snapshot_head
        return (
            head.event_count - saved.event_count >= _SNAPSHOT_EVENTS
            or head.log_size - saved.log_size >= _SNAPSHOT_SIZE
        )

    @property
    def unsaved_event_count(self) -> int:
        """How many events opening would have to read again if the process died now."""
        return self.head.event_count - self._snapshot_head.event_count

    def save_snapshot(self) -> None:
        """Save what opening would otherwise have to rebuild."""
        head = self.head
        try:
            self._snapshots.save(self._index, head, schemas_size=self._committed_schemas_size)
        except OSError as error:
            if is_full(error):
                self._segments.give_back()
            raise
        self._snapshot_head = head

    def close(self) -> None:
        """Give back what was allocated ahead, save a snapshot, and let go of the directory."""
        with self._resources:
            if not self._has_failed:
                # In this order: on a full disk, the snapshot may need the room given back.
                self._segments.cut(self._committed_size)
                self._durable.sync()
                _save_snapshot_if_possible(self)

    def release_index(self) -> None:
        """Give back the memory and the open files of the index, after `close`.

        They would go with the last reference; who opens stores again and again does not wait for
        the collector to find it. Nobody may read any more.
        """
        self._index.release()

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
        return self._fail(f"writing to the data directory failed: {reason}")

    def _lose(self, place: Place) -> StoreFailedError:
        """Write nothing any more, and return what to raise."""
        return self._fail(
            f"{place.path} was moved, deleted, exchanged or cut while it was in use, and nothing "
            "more is written: put back what was there, and start again"
        )

    def _fail(self, message: str) -> StoreFailedError:
        """Write nothing any more, and return what to raise."""
        self._has_failed = True
        return StoreFailedError(message)


def _places_of(directory: Folder, log_folder: Folder) -> tuple[Place, Place]:
    return (
        # Whoever changes the working directory later does not change what it means.
        Place(None, str(directory.path.absolute()), directory.descriptor),
        Place(directory, LOG_FOLDER, log_folder.descriptor),
    )


def _end_log(segments: Segments, replayed: Replay, bound: DurableBound, origin: Origin) -> None:
    """Let the log end where recovery has found its end, all of it durable."""
    head = replayed.head
    if origin is not Origin.HERE:
        segments.end_at(head.log_size, head.event_count)
    elif head.log_size > bound.log_size:
        segments.write_again(max(replayed.batch_start, bound.log_size), head.log_size)
    # The torn tail is cut here and nowhere else. Also where nothing is torn: what a killed process
    # allocated ahead is given back.
    segments.cut(head.log_size)


def _read_entry(
    entry: JournalEntry, head: Head, *, is_verified: bool
) -> tuple[Sequence[AcceptedEvent], int]:
    """Return the events of an entry that continues a head, and the time of the last one.

    Raises:
        UnchainedEntryError: It does not.
    """
    position, hash_, time = head.event_count, head.hash, head.time
    if (entry.first_position, entry.predecessor_hash) != (position, hash_):
        message = f"the entry follows event {entry.first_position - 1}, and not what is the last"
        raise UnchainedEntryError(message, position=position)
    if not entry.lines and not entry.schemas:
        raise UnchainedEntryError("there is nothing in the entry", position=None)
    if entry.read is not None:
        assert len(entry.read.events) == len(entry.lines)
        assert not entry.lines or entry.lines[-1].endswith(BATCH_END)
        return entry.read.events, max(time, entry.read.time)
    events: list[AcceptedEvent] = []
    for number, line in enumerate(entry.lines, start=1):
        try:
            event, mark = parse_next_line(
                line, position=position, predecessor_hash=hash_, is_verified=is_verified
            )
            time = _check_place(event, line, mark, time, is_last=number == len(entry.lines))
        except ValueError as error:
            message = f"the event with id {position} is not what follows: {error}"
            raise UnchainedEntryError(message, position=position) from error
        events.append(accepted_event(event, line, mark))
        position, hash_ = position + 1, event.hash
    return events, time


def _check_place(event: Event, line: bytes, mark: Mark, time: int, *, is_last: bool) -> int:
    """Check what the log relies on besides the chain, and return the event's time."""
    if b"\n" in line[:-1]:
        raise ValueError("it is more than one line")
    if (mark is Mark.BATCH) != is_last:
        # Recovery tells a torn tail from damage by where a batch ends.
        raise ValueError("its mark does not say where the batch ends")
    following = parse_time(event.time)
    if following < time:
        # Events are found by their time in the way of a sorted list.
        raise ValueError("it is older than the event before it")
    return following


def _save_snapshot_if_possible(engine: LogEngine) -> bool:
    """Return whether it was saved."""
    try:
        engine.save_snapshot()
    except ForeignFileError:
        raise
    except OSError:
        # It stays due. Nothing that is stored depends on it, and what it has to say takes a little
        # longer to find at the next opening.
        return False
    return True
