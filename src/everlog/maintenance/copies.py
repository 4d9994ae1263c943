"""The audit of a copy: what of it the next opening takes.

A directory says which one it is, by what the file system knows it by; a copy has other numbers. One
that was made file by file while a server wrote has files of different moments. Its log goes up to
where bytes are missing, which read as zeros; neither the durable bound nor the index says how much
there should be.
"""

import ctypes
import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final, NamedTuple

import msgspec

from everlog.maintenance.audit_log import DurableBound
from everlog.maintenance.files import Folder, opened, read_whole
from everlog.maintenance.findings import Finding, Kind
from everlog.maintenance.segments import Extent, Lines, Segment, find_segments, read_lines

PLACE_FILE: Final = "place"
_FORMAT_FILE: Final = "everlog.json"

# Of `statx`: to tell of an open file when it was made, in seconds and nanoseconds of the answer.
_OF_DESCRIPTOR: Final = 0x1000
_BIRTH: Final = 0x800
_ANSWER: Final = struct.Struct("=I76xqI164x")


_NO_INDEX: Final = Finding(
    kind=Kind.NO_CHECKPOINT,
    event_id=None,
    file="index",
    offset=None,
    meaning="it is of another moment than the log: the next opening makes the index from the log",
)


class Copied(NamedTuple):
    """What a copy has to have."""

    bound: DurableBound
    # How much of the log is looked at; None where that is all of it, since nobody wrote to it.
    extent: Extent | None
    # What is told of it: what is behind that, and that its index is none.
    notices: tuple[Finding, ...]
    is_index_used: bool


def find_copied(
    directory: Folder,
    log: Folder | None,
    schemas: bytes,
    bound: DurableBound,
    checkpoint: DurableBound | None,
) -> Copied | None:
    """Return what a copy has to have, None if the directory is none.

    `checkpoint` is what the index speaks of, None where it is not whole.
    """
    if not is_copy(directory):
        return None
    segments = [] if log is None else find_segments(log)[0]
    size = sum(segment.size for segment in segments)
    is_at_rest = (
        checkpoint is not None
        and checkpoint.log_size == bound.log_size == size
        and bound.schemas_size == len(schemas)
    )
    if is_at_rest:
        meaning = (
            "the directory is a copy that nobody wrote to while it was made: the next opening "
            "makes it a directory of its own"
        )
        return Copied(bound, None, (_notice(bound.event_count, meaning),), is_index_used=True)
    end = _find_end(segments)
    used_size = max((each.offset + each.used_size for each in segments), default=0)
    meaning = (
        "the directory is a copy that was made while it was written to: the next opening makes it "
        f"a directory of its own, with the {end.event_count} events in front of this one"
    )
    if used_size > end.size:
        meaning += f", and removes the {used_size - end.size} bytes behind them"
    if bound.event_count > end.event_count:
        meaning += f" (its durable bound, of a later moment, speaks of {bound.event_count} events)"
    notices = [_notice(end.event_count, meaning)]
    schemas_size = schemas.partition(b"\0")[0].rfind(b"\n") + 1
    is_index_used = (
        checkpoint is not None
        and checkpoint.log_size <= end.size
        and checkpoint.schemas_size <= schemas_size
    )
    if not is_index_used:
        notices.append(_NO_INDEX)
    noted = bound if bound.log_size <= end.size else DurableBound(end.event_count, end.size)
    found = noted._replace(schemas_size=schemas_size)
    return Copied(found, end, tuple(notices), is_index_used)


def is_copy(directory: Folder) -> bool:
    """Tell whether a directory says that it is somewhere else."""
    try:
        noted: Any = msgspec.json.decode(read_whole(directory, PLACE_FILE))
        with opened(directory, _FORMAT_FILE) as file:
            found = {"directory": directory.descriptor, "format": file}
            return not all(_may_be(descriptor, **noted[name]) for name, descriptor in found.items())
    except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError, LookupError, TypeError):
        # It does not say where it is.
        return False


def _may_be(descriptor: int, *, inode: int, born: int) -> bool:
    found = os.fstat(descriptor)
    births = {born, round(getattr(found, "st_birthtime", 0) * 1e9) or _find_birth(descriptor)}
    return inode == found.st_ino and len(births - {0}) <= 1


def _find_birth(descriptor: int) -> int:
    answer = ctypes.create_string_buffer(_ANSWER.size)
    with suppress(AttributeError, OSError):
        if ctypes.CDLL(None).statx(descriptor, b"", _OF_DESCRIPTOR, _BIRTH, answer) == 0:
            mask, seconds, nanoseconds = _ANSWER.unpack(answer.raw)
            return int(seconds * 10**9 + nanoseconds) if mask & _BIRTH else 0
    return 0


def _find_end(segments: list[Segment]) -> Extent:
    """Return where the last whole write ends before the first byte that is missing."""
    position, end = 0, Extent(0, 0)
    for segment in segments:
        # What is not in front of a segment is missing.
        if segment.first_position > position > 0:
            break
        for lines in _whole_lines(segment):
            offset = segment.offset + lines.offset
            for line in lines.lines:
                offset += len(line) + 1
                if b"\0" in line:
                    return end
                position += 1
                if line.endswith(b" "):
                    end = Extent(position, offset)
            if lines.rest:
                return end
        if segment.used_size < segment.size:
            break
    return end


def _whole_lines(segment: Segment) -> Iterator[Lines]:
    for found in read_lines(segment, lambda _: None):
        if isinstance(found, Lines):
            yield found


def _notice(event_id: int, meaning: str) -> Finding:
    return Finding(kind=Kind.COPY, event_id=event_id, file=PLACE_FILE, offset=None, meaning=meaning)
