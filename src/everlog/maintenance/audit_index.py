"""The audit of the index: it must say of every event what the event's line says.

The index is derived from the log, and the engine believes it as far as its snapshot goes. So first
the checksums of the snapshot are checked, then each cell of each column is compared with the lines,
whatever the checksums say: a wrong cell with a right checksum would be a bug. A snapshot is called
*checkpoint* here, after its file and as findings have it.

A server that is running has the same columns in its memory, and finds events by those: where it
hands them over, they are compared in the same way.
"""

import mmap
import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import islice
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from everlog.maintenance.audit_log import Block, DurableBound
from everlog.maintenance.files import Folder, opened, read_whole
from everlog.maintenance.findings import Finding, Kind

INDEX_FOLDER: Final = "index"
_CHECKPOINT_FILE: Final = "checkpoint.json"
_SEGMENTS_FILE: Final = "subject-segments"
# What older checkpoints speak of: whole names.
_SUBJECTS_FILE: Final = "subjects"
_EVENT_TYPES_FILE: Final = "event-types"

_PARENT: Final = "parent"

# The cells of each column; all but the last one have a cell for each event.
_COLUMNS: Final = {
    "offset": "<u8",
    "subject": "<u4",
    "type": "<u4",
    "previous": "<u8",
    _PARENT: "<u4",
}

_NO_NUMBER: Final = -1

_ROOT: Final = "/"

_LINE_FEED: Final = 10

# Of a file that is read to compute its checksum.
_BLOCK_SIZE: Final = 4 * 1024 * 1024

Cells = npt.NDArray[Any]


class _Names(msgspec.Struct, frozen=True):
    count: int
    size: int
    checksum: int


class _Checkpoint(msgspec.Struct, frozen=True, rename="camel"):
    event_count: int
    log_size: int
    hash: str
    time: int
    columns: dict[str, int]
    event_types: _Names
    # One of them.
    subject_segments: _Names | None = None
    subjects: _Names | None = None
    # Older ones do not say it.
    schemas_size: int = 0

    @property
    def names_of_subjects(self) -> _Names:
        return self.subject_segments or self.subjects or _Names(count=0, size=0, checksum=0)


class MemoryIndex(NamedTuple):
    """The index in the memory of a server, as of a head: what IndexAudit compares besides.

    `columns` are open files in memory, with the number of their cells, by their names; that of the
    segments of subjects has bytes. `event_types` are the names by their numbers.
    """

    columns: Mapping[str, tuple[int, int]]
    event_types: Sequence[str]


class _Column(NamedTuple):
    """A column: how many cells it has, how long each is, and how some of them are read."""

    cell_count: int
    cell_size: int
    read: Callable[[int, int], Cells]


class _Source:
    """One of the places where an index is, and what was found to be wrong there."""

    def __init__(
        self, event_count: int, *, kinds: tuple[Kind, Kind], label: Callable[[str], str]
    ) -> None:
        """Begin without columns and names; `kinds` are those of columns and of names."""
        self.event_count: Final = event_count
        self.column_kind, self.names_kind = kinds
        self.label: Final = label
        self.columns: dict[str, _Column] = {}
        # The numbers of event types, and the last segment of each subject, which is empty for the
        # root, each with a line feed; None where they cannot be read.
        self.event_types: dict[str, int] | None = None
        self.segments: memoryview | None = None
        self.segments_file = _SEGMENTS_FILE
        # Where in them the subjects that are not compared yet begin.
        self._compared_size = self._subject_count = 0
        # Columns that have a wrong cell already: others may follow from it.
        self._wrong: set[str] = set()

    def compare_cells(self, name: str, first: int, expected: Sequence[int]) -> Iterator[Finding]:
        """Yield the first cell that does not say what it should."""
        column = self.columns.get(name)
        if column is None or name in self._wrong:
            return
        wanted = np.array(expected[: max(column.cell_count - first, 0)], np.int64)
        cells = column.read(first, len(wanted)).astype(np.int64)
        wrong = np.flatnonzero(cells != wanted[: len(cells)])
        if len(wrong) > 0 or len(cells) < len(wanted):
            self._wrong.add(name)
            index = int(wrong[0]) if len(wrong) > 0 else len(cells)
            yield self._wrong_cell(name, first + index, cells[index : index + 1], wanted[index])

    def _wrong_cell(self, name: str, number: int, cell: Cells, wanted: np.int64) -> Finding:
        said = str(cell[0]) if len(cell) > 0 else "nothing"
        if name == _PARENT:
            event_id = None
            meaning = f"the subject above subject {number} is {wanted}, not {said}"
        else:
            event_id = number
            meaning = (
                f"its cell says {said}, but the event's line means {wanted}; "
                "further cells of this column are not told"
            )
        offset = number * self.columns[name].cell_size
        return self._finding(self.column_kind, name, meaning, event_id=event_id, offset=offset)

    def compare_segments(self, first: int, expected: Sequence[str]) -> Iterator[Finding]:
        """Yield the first subject, from a number on, whose name does not end as it should."""
        self._subject_count = first + len(expected)
        if self.segments is None or _SEGMENTS_FILE in self._wrong:
            return
        start = self._compared_size
        wanted = "".join(f"{segment}\n" for segment in expected).encode()
        self._compared_size = stop = start + len(wanted)
        if self.segments[start:stop] == wanted:
            return
        self._wrong.add(_SEGMENTS_FILE)
        said = [*bytes(self.segments[start:stop]).split(b"\n"), *(b"" for _ in expected)]
        number, segment = next(
            (number, segment)
            for number, segment in enumerate(expected)
            if said[number] != segment.encode()
        )
        meaning = f"the name of subject {first + number} does not end with {segment!r}"
        yield self._finding(self.names_kind, self.segments_file, meaning)

    def compare_subject_count(self) -> Iterator[Finding]:
        """Yield a finding if there are names of other subjects, too, when all were compared."""
        if self.segments is None:
            return
        named = int(np.count_nonzero(np.frombuffer(self.segments, np.uint8) == _LINE_FEED))
        count = self._subject_count
        if named != count:
            meaning = (
                f"it names {named} subjects, but {count} have events, or have one below that has"
            )
            yield self._finding(self.names_kind, self.segments_file, meaning)

    def _finding(
        self,
        kind: Kind,
        name: str,
        meaning: str,
        *,
        event_id: int | None = None,
        offset: int | None = None,
    ) -> Finding:
        file = self.label(name)
        return Finding(kind=kind, event_id=event_id, file=file, offset=offset, meaning=meaning)


class IndexAudit:
    """The index of one log, as far as its checkpoint goes, and where else it is."""

    def __init__(self, resources: ExitStack) -> None:
        """Begin with nothing read; files stay open until the resources go."""
        self._resources: Final = resources
        self._checkpoint: _Checkpoint | None = None
        self._sources: list[_Source] = []
        # The numbers of subjects as the log means them, by the subject above and the last segment.
        self._subjects: dict[tuple[int, str], int] = {}
        # By the number of a subject: the position plus one of its latest event so far.
        self._latest: list[int] = []

    def load(self, folder: Folder | None) -> Iterator[Finding]:
        """Open the index in its folder, and yield what does not match its checkpoint."""
        content = None if folder is None else _read(folder, _CHECKPOINT_FILE)
        if folder is None or content is None:
            meaning = "there is no checkpoint: the next opening makes the index from the log"
            yield _finding(Kind.NO_CHECKPOINT, _CHECKPOINT_FILE, meaning)
            return
        try:
            checkpoint = _decode(content)
        except ValueError as error:
            yield _finding(Kind.CHECKPOINT, _CHECKPOINT_FILE, str(error))
            return
        self._checkpoint = checkpoint
        source = _Source(
            checkpoint.event_count, kinds=(Kind.COLUMN, Kind.NAMES), label=_file_in_index
        )
        self._sources.append(source)
        for name, cell in _COLUMNS.items():
            is_of_events = name != _PARENT
            count = checkpoint.event_count if is_of_events else checkpoint.names_of_subjects.count
            try:
                column, checksum = self._open_column(folder, name, cell, count)
            except ValueError as error:
                yield _finding(Kind.COLUMN, name, str(error))
            else:
                source.columns[name] = column
                if checksum != checkpoint.columns.get(name):
                    meaning = "its cells do not have the checksum that the checkpoint names"
                    yield _finding(Kind.COLUMN, name, meaning)
        try:
            names = _read_names(folder, _EVENT_TYPES_FILE, checkpoint.event_types).decode()
            source.event_types = _numbers_of(names.split("\n")[:-1])
        except ValueError as error:
            yield _finding(Kind.NAMES, _EVENT_TYPES_FILE, str(error))
        if checkpoint.subject_segments is None:
            source.segments_file = _SUBJECTS_FILE
        try:
            found = _read_names(folder, source.segments_file, checkpoint.names_of_subjects)
        except ValueError as error:
            yield _finding(Kind.NAMES, source.segments_file, str(error))
        else:
            if checkpoint.subject_segments is None:
                found = b"".join(
                    name.rpartition(b"/")[2] for name in found.splitlines(keepends=True)
                )
            source.segments = memoryview(found)

    def look_at_memory(self, memory: MemoryIndex, event_count: int) -> None:
        """Compare the index in a server's memory from now on, too, as far as it is handed over."""
        source = _Source(event_count, kinds=(Kind.MEMORY, Kind.MEMORY), label=_file_in_memory)
        self._sources.append(source)
        source.event_types = _numbers_of(memory.event_types)
        for name, (file, count) in memory.columns.items():
            if name == _SEGMENTS_FILE:
                source.segments = _map(file, "u1", count).data
            elif name in _COLUMNS:
                source.columns[name] = _mapped_column(file, _COLUMNS[name], count)

    def at_least(self, bound: DurableBound) -> DurableBound:
        """Return a bound, or what the checkpoint says where that is more: it was saved later."""
        checkpoint = self._checkpoint
        if checkpoint is None:
            return bound
        schemas_size = max(bound.schemas_size, checkpoint.schemas_size)
        if checkpoint.log_size <= bound.log_size:
            return bound._replace(schemas_size=schemas_size)
        return DurableBound(
            event_count=checkpoint.event_count,
            log_size=checkpoint.log_size,
            schemas_size=schemas_size,
            file=_file_in_index(_CHECKPOINT_FILE),
        )

    def compare(self, block: Block) -> Iterator[Finding]:
        """Yield what the index says of events that their lines do not."""
        start, stop = block.first_position, block.first_position + len(block.events)
        # In pieces, since a place that speaks of fewer events knows nothing of what comes later.
        for event_count in sorted({source.event_count for source in self._sources}):
            end = min(event_count, stop)
            if start < end:
                yield from self._compare_events(block, start, end)
                start = end

    def _compare_events(self, block: Block, start: int, stop: int) -> Iterator[Finding]:
        part = slice(start - block.first_position, stop - block.first_position)
        events, before = block.events[part], len(self._subjects)
        subjects = [self._find(event.subject) for event in events]
        added = list(islice(self._subjects, before, None))
        cells = {
            "offset": block.offsets[part],
            "subject": subjects,
            "previous": self._follow(subjects, start),
        }
        for source in self._sources:
            if source.event_count < stop:
                continue
            if source.event_types is not None:
                cells["type"] = [source.event_types.get(event.type, _NO_NUMBER) for event in events]
            yield from source.compare_segments(before, [segment for _, segment in added])
            yield from source.compare_cells(_PARENT, before, [parent for parent, _ in added])
            for name, expected in cells.items():
                yield from source.compare_cells(name, start, expected)
            cells.pop("type", None)
        checkpoint = self._checkpoint
        if checkpoint is not None and stop == checkpoint.event_count:
            end = block.offsets[part.stop] if part.stop < len(block.offsets) else block.end
            if (end, events[-1].hash) != (checkpoint.log_size, checkpoint.hash):
                meaning = "it names another end of the log for its last event than the log does"
                yield _finding(Kind.CHECKPOINT, _CHECKPOINT_FILE, meaning)

    def finish(self, event_count: int) -> Iterator[Finding]:
        """Yield what is wrong with the index as a whole, after all events of a flawless log."""
        checkpoint = self._checkpoint
        if checkpoint is not None and checkpoint.event_count > event_count:
            meaning = f"it speaks of {checkpoint.event_count} events, but the log has {event_count}"
            yield _finding(Kind.CHECKPOINT, _CHECKPOINT_FILE, meaning)
            return
        for source in self._sources:
            yield from source.compare_subject_count()

    def _find(self, subject: str) -> int:
        """Return the number of a subject: they are numbered as they come, after their ancestors."""
        subjects, number = self._subjects, 0
        for segment in subject.split("/") if subject != _ROOT else ("",):
            number = subjects.setdefault((number, segment), len(subjects))
        self._latest.extend([0] * (len(subjects) - len(self._latest)))
        return number

    def _follow(self, subjects: list[int], first: int) -> list[int]:
        """Return for each event the position plus one of the event before it on its subject."""
        latest, previous = self._latest, []
        for position, subject in enumerate(subjects, start=first + 1):
            previous.append(latest[subject])
            latest[subject] = position
        return previous

    def _open_column(self, folder: Folder, name: str, cell: str, count: int) -> tuple[_Column, int]:
        """Open a column's file, and return it with the checksum of its cells.

        Raises:
            ValueError: It is missing, or too short.
        """
        try:
            file = self._resources.enter_context(opened(folder, name))
        except FileNotFoundError:
            raise ValueError("it is missing") from None
        type_ = np.dtype(cell)
        size, checksum, position = count * type_.itemsize, 0, 0
        while position < size:
            block = os.pread(file, min(_BLOCK_SIZE, size - position), position)
            if not block:
                raise ValueError("it is shorter than the checkpoint says")
            checksum = zlib.crc32(block, checksum)
            position += len(block)

        def read(first: int, wanted: int) -> Cells:
            content = os.pread(file, wanted * type_.itemsize, first * type_.itemsize)
            return np.frombuffer(content, type_, len(content) // type_.itemsize)

        return _Column(count, type_.itemsize, read), checksum


def _mapped_column(file: int, cell: str, count: int) -> _Column:
    cells = _map(file, cell, count)
    return _Column(count, cells.itemsize, lambda first, wanted: cells[first : first + wanted])


def _map(file: int, cell: str, count: int) -> Cells:
    """Return the first cells of a file in memory, which nobody can make shorter."""
    type_ = np.dtype(cell)
    if count == 0:
        return np.zeros(0, type_)
    return np.frombuffer(mmap.mmap(file, count * type_.itemsize, access=mmap.ACCESS_READ), type_)


def _numbers_of(names: Sequence[str]) -> dict[str, int]:
    return {name: number for number, name in enumerate(names)}


def _file_in_index(name: str) -> str:
    return f"{INDEX_FOLDER}/{name}"


def _file_in_memory(name: str) -> str:
    return f"{name} in the memory of the server"


def _decode(content: bytes) -> _Checkpoint:
    body, _, checksum = content.partition(b"\n")
    if checksum != b"%d\n" % zlib.crc32(body):
        message = "its checksum is wrong: the next opening makes the index from the log"
        raise ValueError(message)
    try:
        return msgspec.json.decode(body, type=_Checkpoint)
    except msgspec.MsgspecError as error:
        message = f"it is not as the format describes it: {error}"
        raise ValueError(message) from error


def _read_names(folder: Folder, name: str, expected: _Names) -> bytes:
    content = _read(folder, name)
    if content is None:
        raise ValueError("it is missing")
    content = content[: expected.size]
    if len(content) < expected.size:
        message = "it is shorter than the checkpoint says"
        raise ValueError(message)
    if zlib.crc32(content) != expected.checksum:
        message = "its names do not have the checksum that the checkpoint names"
        raise ValueError(message)
    if content.count(b"\n") != expected.count:
        message = "it holds another number of names than the checkpoint says"
        raise ValueError(message)
    return content


def _read(folder: Folder, name: str) -> bytes | None:
    try:
        return read_whole(folder, name)
    except FileNotFoundError:
        return None


def _finding(kind: Kind, name: str, meaning: str) -> Finding:
    file = _file_in_index(name)
    return Finding(kind=kind, event_id=None, file=file, offset=None, meaning=meaning)
