"""The files of the log: which there are, and their lines, block by block."""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final, NamedTuple

from everlog.maintenance.files import Folder, names_in, opened
from everlog.maintenance.findings import Finding, Kind

LOG_FOLDER: Final = "log"
_SUFFIX: Final = ".ndjson"

_BLOCK_SIZE: Final = 1024 * 1024

# The end of the last line of a batch.
_BATCH_END: Final = b"}}  \n"


class Segment(NamedTuple):
    """One file of the log."""

    # The one that it lies in, and its name there.
    folder: Folder
    file: str
    # As its name says.
    first_position: int
    # Counted from the beginning of the log.
    offset: int
    size: int
    # Without the zeros at its end.
    used_size: int
    is_last: bool

    @property
    def name(self) -> str:
        """Relative to the data directory, for findings."""
        return _name(self.file)


class Extent(NamedTuple):
    """How much of a log is looked at: events, and the bytes of their lines."""

    event_count: int
    size: int


class Lines(NamedTuple):
    """Lines that follow each other, without their line feeds."""

    # Of the first one, in its file.
    offset: int
    lines: list[bytes]
    # Bytes behind the last line feed of the file; only with its last lines.
    rest: bytes


def find_segments(
    folder: Folder, extent: Extent | None = None
) -> tuple[list[Segment], list[Finding]]:
    """Return the segments in the folder of the log in their order, and what else lies there.

    Where a log is not looked at as a whole, as it is being written to, no byte and no segment is
    there that lies behind the extent.
    """
    findings: list[Finding] = []
    found: dict[int, str] = {}
    for file in names_in(folder):
        digits = file.removesuffix(_SUFFIX)
        if digits == file or not (digits.isascii() and digits.isdecimal()):
            findings.append(_stranger(file, "it is not a segment of the log"))
        elif int(digits) in found:
            path = folder.path / found[int(digits)]
            findings.append(_stranger(file, f"it is the same segment as {path}"))
        else:
            found[int(digits)] = file
    if extent is not None:
        found = {place: file for place, file in found.items() if place < extent.event_count}
    segments: list[Segment] = []
    offset = 0
    for first_position, file in sorted(found.items()):
        is_last = first_position == max(found)
        if is_last and extent is not None:
            # Behind it the writer writes, and has reserved room.
            size = used_size = min(_size_of(folder, file), max(extent.size - offset, 0))
        else:
            size, used_size = _measure(folder, file)
        segments.append(Segment(folder, file, first_position, offset, size, used_size, is_last))
        offset += size
    return segments, findings


def read_lines(segment: Segment, on_read: Callable[[int], None]) -> Iterator[Lines | Finding]:
    """Yield the lines of a segment, and where it cannot be read.

    What cannot be read is given as zeros, so that the walk goes on behind it.
    """
    rest, offset, position = b"", 0, 0
    with opened(segment.folder, segment.file) as file:
        _spare_cache(file)
        while position < segment.used_size:
            size = min(_BLOCK_SIZE, segment.used_size - position)
            try:
                block = os.pread(file, size, position)
            except OSError as error:
                block = bytes(size)
                yield _unreadable(segment, position, error)
            on_read(len(block))
            position += len(block)
            lines = (rest + block).split(b"\n")
            rest = lines.pop()
            yield Lines(offset, lines, rest if position >= segment.used_size else b"")
            offset = position - len(rest)


def find_last_batch(segment: Segment) -> int:
    """Return where, in its file, the last batch may begin at the earliest: before it all is whole.

    A batch is written only after the one before it was synced, so that whatever lies before the
    last end of a batch that is followed by anything was durable.
    """
    stop, later = segment.used_size, b""
    with opened(segment.folder, segment.file) as file:
        while stop > 0:
            start = max(0, stop - _BLOCK_SIZE)
            try:
                block = os.pread(file, stop - start, start)
            except OSError:
                block = bytes(stop - start)
            window = block + later
            # An end that nothing follows is that of the last batch itself.
            is_at_end = start + len(window) == segment.used_size
            found = window.rfind(_BATCH_END, 0, len(window) - 1 if is_at_end else len(window))
            if found >= 0:
                return start + found + len(_BATCH_END)
            later = block[: len(_BATCH_END) - 1]
            stop = start
    return 0


def _size_of(folder: Folder, name: str) -> int:
    with opened(folder, name) as file:
        return os.fstat(file).st_size


def _measure(folder: Folder, name: str) -> tuple[int, int]:
    """Return the size of a file, with and without the zeros at its end."""
    with opened(folder, name) as file:
        size = stop = os.fstat(file).st_size
        while stop > 0:
            start = max(0, stop - _BLOCK_SIZE)
            try:
                used = len(os.pread(file, stop - start, start).rstrip(b"\0"))
            except OSError:
                # It may hold anything: reading it again will tell.
                return size, stop
            if used > 0:
                return size, start + used
            stop = start
    return size, 0


def _spare_cache(file: int) -> None:
    """Let what is read of a file push nothing out of the system's memory that others use again."""
    advice = getattr(os, "POSIX_FADV_NOREUSE", None)
    if advice is not None:
        # Not every file system knows it.
        with suppress(OSError):
            os.posix_fadvise(file, 0, 0, advice)


def _name(file: str) -> str:
    return f"{LOG_FOLDER}/{file}"


def _stranger(file: str, reason: str) -> Finding:
    return Finding(
        kind=Kind.SEGMENT,
        event_id=None,
        file=_name(file),
        offset=None,
        meaning=f"{reason}: the server does not start while it is there",
    )


def _unreadable(segment: Segment, offset: int, error: OSError) -> Finding:
    return Finding(
        kind=Kind.UNREADABLE,
        event_id=None,
        file=segment.name,
        offset=offset,
        meaning=f"the system cannot read the bytes from here on: {error.strerror}",
    )
