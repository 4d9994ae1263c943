"""Snapshots: the index as of some head, saved so that opening need not rebuild it.

A snapshot is a small file that says how much of the columns and name files to believe. It is
replaced only after everything it speaks of is durable. Whatever is behind it is rubbish, whatever
is before it never changes: that is why another process may read an index that a server goes on
writing. The file is named after the word that was used for a snapshot when the format was made.
"""

import errno
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Final

import msgspec

from everlog.domain.chain import GENESIS_HASH
from everlog.storage.engine import Head
from everlog.storage.line import parse_line
from everlog.storage.log.columns import Column
from everlog.storage.log.disk import (
    Disk,
    Folder,
    is_full,
    open_file,
    open_in_place,
    read_file,
    replace_file,
    write_all,
)
from everlog.storage.log.index import Index
from everlog.storage.log.reading import SegmentFiles
from everlog.storage.log.subject_tree import SubjectTree

_BLOCK_SIZE: Final = 1024 * 1024

_SNAPSHOT_FILE: Final = "checkpoint.json"
# What older snapshots speak of.
_SUBJECTS_FILE: Final = "subjects"
_EVENT_TYPES_FILE: Final = "event-types"


class _Names(msgspec.Struct, frozen=True):
    """How much of a file of names, one a line, to believe."""

    count: int
    size: int
    checksum: int


class Snapshot(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What is saved, and the end of the chain that it was saved at."""

    event_count: int
    log_size: int
    hash: str
    time: int
    # The checksum of each column's cells, by its name.
    columns: dict[str, int]
    event_types: _Names
    # Of each subject its last segment. Older snapshots speak of whole names, in another file.
    subject_segments: _Names | None = None
    subjects: _Names | None = None
    # Of the file of event schemas; older snapshots do not say it.
    schemas_size: int = 0

    @property
    def head(self) -> Head:
        """The head that was saved."""
        return Head(
            event_count=self.event_count,
            log_size=self.log_size,
            subject_count=(self.subject_segments or self.subjects or _NO_NAMES).count,
            event_type_count=self.event_types.count,
            hash=self.hash,
            time=self.time,
        )


_NO_NAMES: Final = _Names(count=0, size=0, checksum=0)

_NOTHING: Final = Snapshot(
    event_count=0,
    log_size=0,
    hash=GENESIS_HASH,
    time=0,
    columns={},
    subject_segments=_NO_NAMES,
    event_types=_NO_NAMES,
)


class SnapshotFiles:
    """The files of one index folder, for whoever saves the index."""

    def __init__(self, folder: Folder, disk: Disk, resources: ExitStack) -> None:
        """Begin with nothing saved; files are opened, or created, when they are needed."""
        self._folder = folder
        self._disk = disk
        self._resources = resources
        self._files: dict[str, int] = {}
        self._saved = _NOTHING

    def go_on_from(self, snapshot: Snapshot) -> None:
        """Take a snapshot that was found for the one that was saved last."""
        self._saved = snapshot

    def save(self, index: Index, head: Head, *, schemas_size: int) -> None:
        """Make the index durable up to a head, and note how much of the event schemas is.

        Raises:
            OSError: As the system does; what was saved before still is.
        """
        try:
            self._save(index, head, schemas_size)
        except OSError as error:
            # Any other may have come after the snapshot was in its place.
            if is_full(error):
                self._give_back(index)
            raise

    def _save(self, index: Index, head: Head, schemas_size: int) -> None:
        saved = self._saved
        snapshot = Snapshot(
            event_count=head.event_count,
            log_size=head.log_size,
            hash=head.hash,
            time=head.time,
            columns=self._save_columns(index, head),
            subject_segments=self._save_segments(index.subjects, head.subject_count),
            event_types=self._save_event_types(
                index.event_types.names[saved.event_types.count : head.event_type_count]
            ),
            schemas_size=schemas_size,
        )
        replace_file(self._disk, self._folder, _SNAPSHOT_FILE, _encode(snapshot))
        self._saved = snapshot

    def _save_columns(self, index: Index, head: Head) -> dict[str, int]:
        """Append to the files of the columns, and return the checksums of all their cells."""
        before = self._saved
        checksums = {}
        for (column, start), (_, stop) in zip(
            index.columns(before.head), index.columns(head), strict=True
        ):
            content, size = column.cells[start:stop].cast("B"), start * column.type.itemsize
            checksum = before.columns.get(column.name, 0)
            checksums[column.name] = self._append(column.name, content, size, checksum)
        return checksums

    def _save_segments(self, subjects: SubjectTree, count: int) -> _Names:
        saved = self._saved.subject_segments or _NO_NAMES
        size = subjects.starts.cells[count]
        content = subjects.segments.cells[saved.size : size]
        return _Names(
            count=count,
            size=size,
            checksum=self._append(subjects.segments.name, content, saved.size, saved.checksum),
        )

    def _save_event_types(self, names: list[str]) -> _Names:
        saved = self._saved.event_types
        content = "".join(f"{name}\n" for name in names).encode()
        return _Names(
            count=saved.count + len(names),
            size=saved.size + len(content),
            checksum=self._append(_EVENT_TYPES_FILE, content, saved.size, saved.checksum),
        )

    def _append(self, name: str, content: bytes | memoryview, size: int, checksum: int) -> int:
        """Write behind what is saved of a file, and return the checksum of all of it."""
        file = self._file(name)
        write_all(self._disk, file, content, size)
        self._disk.sync_data(file)
        return zlib.crc32(content, checksum)

    def _file(self, name: str) -> int:
        if name not in self._files:
            self._files[name] = open_file(self._disk, self._folder, name, self._resources)
        return self._files[name]

    def _give_back(self, index: Index) -> None:
        """Cut off what no snapshot speaks of: where there is no room, others may need it."""
        saved = self._saved
        sizes = {
            column.name: count * column.type.itemsize for column, count in index.columns(saved.head)
        }
        sizes[index.subjects.segments.name] = (saved.subject_segments or _NO_NAMES).size
        sizes[_EVENT_TYPES_FILE] = saved.event_types.size
        for name, file in self._files.items():
            with suppress(OSError):
                self._disk.truncate(file, sizes[name])


def _encode(snapshot: Snapshot) -> bytes:
    body = msgspec.json.encode(snapshot)
    return body + f"\n{zlib.crc32(body)}\n".encode()


def _decode(content: bytes) -> Snapshot:
    body, _, checksum = content.partition(b"\n")
    if checksum != f"{zlib.crc32(body)}\n".encode():
        message = "the snapshot's checksum is wrong"
        raise ValueError(message)
    try:
        return msgspec.json.decode(body, type=Snapshot)
    except msgspec.MsgspecError as error:
        message = f"the snapshot cannot be read: {error}"
        raise ValueError(message) from error


def read_snapshot(folder: Folder | None, disk: Disk) -> Snapshot:
    """Return the snapshot in an index folder.

    Raises:
        ValueError: There is none, or it is damaged.
    """
    message = "there is no snapshot"
    if folder is None:
        raise ValueError(message)
    return _decode(_read(disk, folder, _SNAPSHOT_FILE, message))


def load_index(
    folder: Folder | None,
    disk: Disk,
    open_log: Callable[[], SegmentFiles],
    *,
    copied_schemas_size: int | None = None,
) -> tuple[Index, Snapshot, str | None]:
    """Return the index as of its snapshot, or an empty one and why it must be made anew.

    There is no reason where there is no log either. The log is opened once the snapshot has been
    read: what it speaks of was there before it, also where a server goes on writing meanwhile. In a
    copy, which has so many bytes of event schemas, that is looked at: it takes reading the log.
    """
    snapshot, reason = _NOTHING, ""
    try:
        snapshot = read_snapshot(folder, disk)
    except ValueError as error:
        reason = str(error)
    files = open_log()
    if not reason:
        # Where there is no folder, there is no snapshot either.
        assert folder is not None
        try:
            index = Index()
            _load(snapshot, index, folder, disk)
            _check_head(index, files, snapshot.head)
            if copied_schemas_size is not None:
                _check_copy(snapshot, files, copied_schemas_size)
        except ValueError as error:
            reason = str(error)
        else:
            return index, snapshot, None
    return Index(), _NOTHING, reason if files.size > 0 else None


def _load(snapshot: Snapshot, index: Index, folder: Folder, disk: Disk) -> None:
    """Fill an index from a snapshot.

    Raises:
        ValueError: Not all that it speaks of is there.
    """
    for column, count in index.columns(snapshot.head):
        _read_column(disk, folder, column, count, snapshot.columns.get(column.name))
    segments_size = _load_segments(snapshot, index.subjects.segments, folder, disk)
    event_types = _read_names(disk, folder, _EVENT_TYPES_FILE, snapshot.event_types)
    index.load(snapshot.head, segments_size, event_types)


def _load_segments(snapshot: Snapshot, column: Column, folder: Folder, disk: Disk) -> int:
    """Fill the column of segments, and return how many bytes there are."""
    segments = snapshot.subject_segments
    if segments is not None:
        _read_column(disk, folder, column, segments.size, segments.checksum)
        return segments.size
    names = _read_names(disk, folder, _SUBJECTS_FILE, snapshot.subjects or _NO_NAMES)
    content = "".join(f"{name.rpartition('/')[2]}\n" for name in names).encode()
    column.reserve(len(content))
    column.memory[: len(content)] = content
    return len(content)


def _read_column(
    disk: Disk, folder: Folder, column: Column, count: int, checksum: int | None
) -> None:
    message = f"the column '{column.name}' of the snapshot cannot be read"
    with _unreadable(message), ExitStack() as resources:
        file = open_in_place(disk, folder, column.name, os.O_RDONLY)
        resources.callback(os.close, file)
        column.read(file, count)
    # Of what was read, and not of the file, which may be another one by now.
    if zlib.crc32(column.cells[:count]) != checksum:
        message = f"the column '{column.name}' does not match its snapshot"
        raise ValueError(message)


def _read(disk: Disk, folder: Folder, name: str, message: str) -> bytes:
    with _unreadable(message):
        return read_file(disk, folder, name)


@contextmanager
def _unreadable(message: str) -> Iterator[None]:
    """Turn a file that is missing, or that the disk has lost, into a reason for a new index."""
    try:
        yield
    except FileNotFoundError as error:
        raise ValueError(message) from error
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        raise ValueError(f"{message}: {error.strerror}") from error


def _read_names(disk: Disk, folder: Folder, name: str, names: _Names) -> list[str]:
    # What is behind them was being appended for the next snapshot.
    content = _read(disk, folder, name, "a file of names of the snapshot is missing")[: names.size]
    if len(content) != names.size or zlib.crc32(content) != names.checksum:
        message = "a file of names does not match its snapshot"
        raise ValueError(message)
    found = content.decode().split("\n")[:-1]
    if len(found) != names.count:
        message = "a file of names holds another number of names than its snapshot says"
        raise ValueError(message)
    return found


def _check_head(index: Index, files: SegmentFiles, head: Head) -> None:
    """Check that a snapshot's last event is the log's event at that place."""
    if head.event_count == 0:
        return
    offset = index.offsets.cells[head.event_count - 1]
    line = files.read(offset, head.log_size - offset)
    message = "the snapshot's last event is not the log's"
    try:
        event, _ = parse_line(line)
    except ValueError as error:
        raise ValueError(message) from error
    is_whole = offset + len(line) == head.log_size and line.endswith(b"\n")
    if not is_whole or event.id != str(head.event_count - 1) or event.hash != head.hash:
        raise ValueError(message)


def _check_copy(snapshot: Snapshot, files: SegmentFiles, schemas_size: int) -> None:
    """Check that a copy has all that its snapshot speaks of, which may be of a later moment."""
    if snapshot.schemas_size > schemas_size:
        message = "the snapshot speaks of event schemas that the copy does not have"
        raise ValueError(message)
    # The end of the log may have been copied at a later moment than what is before it. What was
    # not there yet then reads as zeros, and no line has any.
    for offset in range(0, snapshot.log_size, _BLOCK_SIZE):
        if b"\0" in files.read(offset, min(_BLOCK_SIZE, snapshot.log_size - offset)):
            message = "the snapshot speaks of events that the copy does not have"
            raise ValueError(message)
