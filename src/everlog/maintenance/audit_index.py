"""The audit of the index: it must say of every event what the event's line says.

The index is derived from the log, and the engine believes it as far as its snapshot goes. So first
the checksums of the snapshot are checked, then each cell of each column is compared with the lines,
whatever the checksums say: a wrong cell with a right checksum would be a bug. A snapshot is called
*checkpoint* here, after its file and as findings have it.
"""

import zlib
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from everlog.maintenance.audit_log import Block, DurableBound
from everlog.maintenance.files import Folder, read_whole
from everlog.maintenance.findings import Finding, Kind

INDEX_FOLDER: Final = "index"
_CHECKPOINT_FILE: Final = "checkpoint.json"
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
    subjects: _Names
    event_types: _Names


class IndexAudit:
    """The index of one log, as far as its checkpoint goes."""

    def __init__(self) -> None:
        """Begin with nothing read."""
        self._checkpoint: _Checkpoint | None = None
        self._columns: dict[str, Cells] = {}
        # The numbers of subjects and event types, by the column that speaks of them.
        self._names: dict[str, dict[str, int]] = {}
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
        for name, names, column in (
            (_SUBJECTS_FILE, checkpoint.subjects, "subject"),
            (_EVENT_TYPES_FILE, checkpoint.event_types, "type"),
        ):
            try:
                self._names[column] = _read_names(folder, name, names)
            except ValueError as error:
                self._wrong.add(column)
                yield _finding(Kind.NAMES, name, str(error))
        for name, cell in _COLUMNS.items():
            is_of_events = name != _PARENT
            count = checkpoint.event_count if is_of_events else checkpoint.subjects.count
            try:
                self._columns[name] = _read_column(folder, name, cell, count)
            except ValueError as error:
                self._wrong.add(name)
                yield _finding(Kind.COLUMN, name, str(error))
            else:
                if zlib.crc32(self._columns[name].data) != checkpoint.columns.get(name):
                    meaning = "its cells do not have the checksum that the checkpoint names"
                    yield _finding(Kind.COLUMN, name, meaning)
        if "subject" in self._names:
            yield from self._compare_parents(self._names["subject"])
            self._latest = [0] * len(self._names["subject"])

    def at_least(self, bound: DurableBound) -> DurableBound:
        """Return a bound, or what the checkpoint says where that is more: it was saved later."""
        checkpoint = self._checkpoint
        if checkpoint is None or checkpoint.log_size <= bound.log_size:
            return bound
        return DurableBound(
            event_count=checkpoint.event_count,
            log_size=checkpoint.log_size,
            schemas_size=bound.schemas_size,
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
        for name in self._names:
            numbers = self._names[name]
            expected[name] = [numbers.get(getattr(event, name), _NO_NUMBER) for event in events]
        if "subject" in self._names:
            expected["previous"] = self._follow(expected["subject"], first)
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
        numbers = self._names.get("subject", {})
        above = {_above(name) for name in numbers if name != _ROOT}
        for name, number in numbers.items():
            if self._latest[number] == 0 and name not in above:
                meaning = f"the subject {name!r} has no event, nor has one below it"
                yield _finding(Kind.NAMES, _SUBJECTS_FILE, meaning)

    def _follow(self, subjects: list[int], first: int) -> list[int]:
        """Return for each event the position plus one of the event before it on its subject."""
        latest, previous = self._latest, []
        for position, subject in enumerate(subjects, start=first + 1):
            if subject == _NO_NUMBER:
                previous.append(0)
            else:
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

    def _compare_parents(self, numbers: dict[str, int]) -> Iterator[Finding]:
        if _PARENT in self._wrong:
            return
        cells = self._columns[_PARENT]
        for name, number in numbers.items():
            parent = numbers.get(_above(name), _NO_NUMBER)
            is_in_order = parent < number or name == _ROOT
            if parent != cells[number] or not is_in_order:
                meaning = f"it does not lead from {name!r} to the subject above"
                offset = number * cells.itemsize
                yield _finding(Kind.COLUMN, _PARENT, meaning, offset=offset)
                return


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


def _read_names(folder: Folder, name: str, expected: _Names) -> dict[str, int]:
    content = _read_present(folder, name)[: expected.size]
    if len(content) < expected.size:
        message = "it is shorter than the checkpoint says"
        raise ValueError(message)
    if zlib.crc32(content) != expected.checksum:
        message = "its names do not have the checksum that the checkpoint names"
        raise ValueError(message)
    names = content.decode(errors="replace").split("\n")[:-1]
    numbers = {name: number for number, name in enumerate(names)}
    if len(numbers) != expected.count:
        message = "it holds another number of names than the checkpoint says, or one of them twice"
        raise ValueError(message)
    return numbers


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


def _above(subject: str) -> str:
    return subject.rpartition("/")[0] or _ROOT


def _finding(
    kind: Kind, name: str, meaning: str, *, event_id: int | None = None, offset: int | None = None
) -> Finding:
    file = f"{INDEX_FOLDER}/{name}"
    return Finding(kind=kind, event_id=event_id, file=file, offset=offset, meaning=meaning)
