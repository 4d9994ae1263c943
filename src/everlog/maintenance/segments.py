"""The files of the log: which there are, and their lines, block by block."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from everlog.maintenance.files import opened
from everlog.maintenance.findings import Finding, Kind

_FOLDER: Final = "log"
_SUFFIX: Final = ".ndjson"

_BLOCK_SIZE: Final = 1024 * 1024

# The end of the last line of a batch.
_BATCH_END: Final = b"}}  \n"


class Segment(NamedTuple):
    """One file of the log."""

    path: Path
    # Relative to the data directory, for findings.
    name: str
    # As its name says.
    first_position: int
    # Counted from the beginning of the log.
    offset: int
    size: int
    # Without the zeros at its end.
    used_size: int
    is_last: bool


class Lines(NamedTuple):
    """Lines that follow each other, without their line feeds."""

    # Of the first one, in its file.
    offset: int
    lines: list[bytes]
    # Bytes behind the last line feed of the file; only with its last lines.
    rest: bytes


def find_segments(directory: Path) -> tuple[list[Segment], list[Finding]]:
    """Return the segments in their order, and what else lies among them."""
    findings: list[Finding] = []
    found: dict[int, Path] = {}
    folder = directory / _FOLDER
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.suffix != _SUFFIX or not (path.stem.isascii() and path.stem.isdecimal()):
            findings.append(_stranger(path, "it is not a segment of the log"))
        elif int(path.stem) in found:
            findings.append(_stranger(path, f"it is the same segment as {found[int(path.stem)]}"))
        else:
            found[int(path.stem)] = path
    segments: list[Segment] = []
    offset = 0
    for first_position, path in sorted(found.items()):
        size, used_size = _measure(path)
        is_last = first_position == max(found)
        segments.append(
            Segment(path, _name(path), first_position, offset, size, used_size, is_last)
        )
        offset += size
    return segments, findings


def read_lines(segment: Segment, on_read: Callable[[int], None]) -> Iterator[Lines | Finding]:
    """Yield the lines of a segment, and where it cannot be read.

    What cannot be read is given as zeros, so that the walk goes on behind it.
    """
    rest, offset, position = b"", 0, 0
    with opened(segment.path) as file:
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
    with opened(segment.path) as file:
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


def _measure(path: Path) -> tuple[int, int]:
    """Return the size of a file, with and without the zeros at its end."""
    with opened(path) as file:
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


def _name(path: Path) -> str:
    return f"{_FOLDER}/{path.name}"


def _stranger(path: Path, reason: str) -> Finding:
    return Finding(
        kind=Kind.SEGMENT,
        event_id=None,
        file=_name(path),
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
