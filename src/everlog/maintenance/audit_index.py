"""The audit of the index: it must say of every event what the event's line says.

The index is derived from the log, and the engine believes it as far as its snapshot goes. So first
the checksums of the snapshot are checked, then each cell of each column is compared with the lines,
whatever the checksums say: a wrong cell with a right checksum would be a bug. A snapshot is called
*checkpoint* here, after its file and as findings have it.
"""

import zlib
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from everlog.maintenance.audit_log import Block, DurableBound
from everlog.maintenance.files import Folder, read_whole
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


class IndexAudit:
    """The index of one log, as far as its checkpoint goes."""

    def __init__(self) -> None:
        """Begin with nothing read."""
        self._checkpoint: _Checkpoint | None = None
        self._columns: dict[str, Cells] = {}
        # The numbers of event types, and the last segment of each subject, which is empty for the
        # root; None where they cannot be read.
        self._event_types: dict[str, int] | None = None
        self._segments: list[str] | None = None
        self._names_file = _SEGMENTS_FILE
        # The numbers of subjects as the log means them, by the subject above and the last segment.
        self._subjects: dict[tuple[int, str], int] = {}
        # By the number of a subject: the position plus one of its latest event so far.
        self._latest: list[int] = []
        # Columns that cannot be compared, or have a wrong cell already: others may follow from it.
        self._wrong: set[str] = set()

    def load(self, folder: Folder | None) -> Iterator[Finding]:
        """Read the index in its folder, and yield what does not match its checkpoint."""
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
        for name, cell in _COLUMNS.items():
            is_of_events = name != _PARENT
            count = checkpoint.event_count if is_of_events else checkpoint.names_of_subjects.count
            try:
                self._columns[name] = _read_column(folder, name, cell, count)
            except ValueError as error:
                self._wrong.add(name)
                yield _finding(Kind.COLUMN, name, str(error))
            else:
                if zlib.crc32(self._columns[name].data) != checkpoint.columns.get(name):
                    meaning = "its cells do not have the checksum that the checkpoint names"
                    yield _finding(Kind.COLUMN, name, meaning)
        try:
            names = _read_names(folder, _EVENT_TYPES_FILE, checkpoint.event_types)
            self._event_types = {name: number for number, name in enumerate(names)}
        except ValueError as error:
            yield _finding(Kind.NAMES, _EVENT_TYPES_FILE, str(error))
        if checkpoint.subject_segments is None:
            self._names_file = _SUBJECTS_FILE
        try:
            names = _read_names(folder, self._names_file, checkpoint.names_of_subjects)
            self._segments = [name.rpartition("/")[2] for name in names]
        except ValueError as error:
            yield _finding(Kind.NAMES, self._names_file, str(error))

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
            file=f"{INDEX_FOLDER}/{_CHECKPOINT_FILE}",
        )

    def compare(self, block: Block) -> Iterator[Finding]:
        """Yield what the index says of events that their lines do not."""
        checkpoint = self._checkpoint
        if checkpoint is None or block.first_position >= checkpoint.event_count:
            return
        first = block.first_position
        count = min(len(block.events), checkpoint.event_count - first)
        events = block.events[:count]
        expected = {"offset": block.offsets[:count]}
        types = self._event_types
        if types is not None:
            expected["type"] = [types.get(event.type, _NO_NUMBER) for event in events]
        before = len(self._subjects)
        expected["subject"] = [self._find(event.subject) for event in events]
        expected["previous"] = self._follow(expected["subject"], first)
        yield from self._compare_subjects(before)
        for name, cells in expected.items():
            if name not in self._wrong:
                yield from self._compare_cells(name, first, np.array(cells, np.int64))
        if first + count == checkpoint.event_count:
            end = block.offsets[count] if count < len(block.offsets) else block.end
            if (end, events[-1].hash) != (checkpoint.log_size, checkpoint.hash):
                meaning = "it names another end of the log for its last event than the log does"
                yield _finding(Kind.CHECKPOINT, _CHECKPOINT_FILE, meaning)

    def finish(self, event_count: int) -> Iterator[Finding]:
        """Yield what is wrong with the index as a whole, after all events of a flawless log."""
        checkpoint = self._checkpoint
        if checkpoint is None:
            return
        if checkpoint.event_count > event_count:
            meaning = f"it speaks of {checkpoint.event_count} events, but the log has {event_count}"
            yield _finding(Kind.CHECKPOINT, _CHECKPOINT_FILE, meaning)
            return
        count = len(self._subjects)
        if self._segments is not None and len(self._segments) != count:
            meaning = (
                f"it names {len(self._segments)} subjects, but {count} have events, or have one "
                "below that has"
            )
            yield _finding(Kind.NAMES, self._names_file, meaning)

    def _find(self, subject: str) -> int:
        """Return the number of a subject: they are numbered as they come, after their ancestors."""
        subjects, number = self._subjects, 0
        for segment in subject.split("/") if subject != _ROOT else ("",):
            number = subjects.setdefault((number, segment), len(subjects))
        self._latest.extend([0] * (len(subjects) - len(self._latest)))
        return number

    def _compare_subjects(self, first: int) -> Iterator[Finding]:
        """Yield what the index says of subjects, from a number on, that the log does not."""
        expected = list(islice(self._subjects, first, None))
        segments = self._segments
        if segments is not None and _SEGMENTS_FILE not in self._wrong:
            for number, (_, segment) in enumerate(expected, start=first):
                if number >= len(segments) or segments[number] != segment:
                    self._wrong.add(_SEGMENTS_FILE)
                    meaning = f"the name of subject {number} does not end with {segment!r}"
                    yield _finding(Kind.NAMES, self._names_file, meaning)
                    break
        if _PARENT not in self._wrong:
            cells = self._columns[_PARENT]
            for number, (parent, _) in enumerate(expected[: len(cells) - first], start=first):
                if cells[number] != parent:
                    self._wrong.add(_PARENT)
                    meaning = f"the subject above subject {number} is {parent}, not {cells[number]}"
                    offset = number * cells.itemsize
                    yield _finding(Kind.COLUMN, _PARENT, meaning, offset=offset)
                    break

    def _follow(self, subjects: list[int], first: int) -> list[int]:
        """Return for each event the position plus one of the event before it on its subject."""
        latest, previous = self._latest, []
        for position, subject in enumerate(subjects, start=first + 1):
            previous.append(latest[subject])
            latest[subject] = position
        return previous

    def _compare_cells(
        self, name: str, first: int, expected: npt.NDArray[np.int64]
    ) -> Iterator[Finding]:
        cells = self._columns[name][first : first + len(expected)].astype(np.int64)
        wrong = np.flatnonzero(cells != expected)
        if len(wrong) > 0:
            self._wrong.add(name)
            index = int(wrong[0])
            meaning = (
                f"its cell says {cells[index]}, but the event's line means {expected[index]}; "
                "further cells of this column are not told"
            )
            offset = (first + index) * self._columns[name].itemsize
            yield _finding(Kind.COLUMN, name, meaning, event_id=first + index, offset=offset)


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


def _read_names(folder: Folder, name: str, expected: _Names) -> list[str]:
    content = _read_present(folder, name)[: expected.size]
    if len(content) < expected.size:
        message = "it is shorter than the checkpoint says"
        raise ValueError(message)
    if zlib.crc32(content) != expected.checksum:
        message = "its names do not have the checksum that the checkpoint names"
        raise ValueError(message)
    names = content.decode(errors="replace").split("\n")[:-1]
    if len(names) != expected.count:
        message = "it holds another number of names than the checkpoint says"
        raise ValueError(message)
    return names


def _read_column(folder: Folder, name: str, cell: str, count: int) -> Cells:
    cells = np.frombuffer(_read_present(folder, name), np.uint8)
    size = count * np.dtype(cell).itemsize
    if len(cells) < size:
        message = "it is shorter than the checkpoint says"
        raise ValueError(message)
    return cells[:size].view(cell)


def _read_present(folder: Folder, name: str) -> bytes:
    content = _read(folder, name)
    if content is None:
        message = "it is missing"
        raise ValueError(message)
    return content


def _read(folder: Folder, name: str) -> bytes | None:
    try:
        return read_whole(folder, name)
    except FileNotFoundError:
        return None


def _finding(
    kind: Kind, name: str, meaning: str, *, event_id: int | None = None, offset: int | None = None
) -> Finding:
    file = f"{INDEX_FOLDER}/{name}"
    return Finding(kind=kind, event_id=event_id, file=file, offset=offset, meaning=meaning)
