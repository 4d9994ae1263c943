"""From positions or ranges of the log to blocks of whole lines.

`LogView` does that in a process that has the files and no index: the server's process finds the
events (`LocatedScan`), and the view reads them from the same files, without a lock and without
changing anything. What lies within a head is durable and never changes, so both see the same bytes.
"""

import errno
import os
import sys
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol, Self

import numpy as np
import numpy.typing as npt

from everlog.domain.errors import CorruptLogError, ReadFailedError
from everlog.storage.engine import CachedBlock, Head, LocatedScan, LogFiles, SegmentPlace
from everlog.storage.log.columns import map_cells
from everlog.storage.log.directory import LOG_FOLDER
from everlog.storage.log.disk import Disk, Folder, PosixDisk, names_in, open_folder, open_in_place

SEGMENT_SUFFIX: Final = ".ndjson"

# Not every C library knows it.
_NOWAIT: Final[int | None] = getattr(os, "RWF_NOWAIT", None)


class Segment(NamedTuple):
    """One open file of the log."""

    first_position: int
    offset: int
    file: int
    name: str


class SegmentFiles:
    """Open files that together hold the log, for whoever reads it."""

    def __init__(self) -> None:
        """Start without any."""
        self._segments: Final[list[Segment]] = []
        self._files: Final[list[int]] = []
        self._places: Final[list[SegmentPlace]] = []
        self._offsets: Final[list[int]] = []

    def add(self, segment: Segment) -> None:
        """Take over a file that continues the log."""
        self._segments.append(segment)
        inode = os.fstat(segment.file).st_ino
        self._places.append(SegmentPlace(segment.name, inode, segment.offset))
        # In this order: whoever finds an offset finds the file, whatever the thread.
        self._files.append(segment.file)
        self._offsets.append(segment.offset)

    def remove_last(self) -> None:
        """Forget the last file, while nobody reads."""
        for files in (self._segments, self._places, self._files, self._offsets):
            files.pop()

    def open_new(self, directory: Folder, disk: Disk, resources: ExitStack) -> None:
        """Open the segments of a data directory that have come since, for reading only.

        Raises:
            CorruptLogError: A file in the folder of the log is not a segment.
        """
        with ExitStack() as opening:
            try:
                folder = open_folder(disk, directory, LOG_FOLDER, opening)
            except FileNotFoundError:
                # A server that was killed early, or a copy of an empty log, may lack it.
                return
            for first_position, name in find_segments(folder)[len(self._segments) :]:
                # The writer has cut the segment before to its size for good by now: it does that
                # before it creates the next one.
                offset = self.size
                file = open_in_place(disk, folder, name, os.O_RDONLY)
                resources.callback(os.close, file)
                self.add(Segment(first_position, offset, file, name))

    @property
    def size(self) -> int:
        """The bytes in all files, including what is allocated behind the log's end."""
        if not self._segments:
            return 0
        last = self._segments[-1]
        return last.offset + os.fstat(last.file).st_size

    @property
    def starts(self) -> list[tuple[int, int]]:
        """The first position and the offset of each segment."""
        return [(segment.first_position, segment.offset) for segment in self._segments]

    def name_of(self, position: int) -> str:
        """Return the name of the segment in which an event stands."""
        return self._segments[bisect_right(self.starts, (position, sys.maxsize)) - 1].name

    @property
    def places(self) -> list[SegmentPlace]:
        """Where another process finds each segment."""
        return self._places.copy()

    def read(self, offset: int, size: int) -> bytes:
        """Return the bytes at an offset, fewer only at the end of the last file.

        Raises:
            ReadFailedError: The disk does not give them.
        """
        index = bisect_right(self._offsets, offset) - 1
        if index < 0:
            return b""
        try:
            data = os.pread(self._files[index], size, offset - self._offsets[index])
        except OSError as error:
            raise ReadFailedError(error.strerror or type(error).__name__) from error
        missing = size - len(data)
        if missing == 0 or index + 1 == len(self._offsets):
            return data
        return data + self.read(offset + len(data), missing)

    def read_cached(self, buffer: memoryview, offset: int) -> bool:
        """Fill a buffer with the bytes at an offset of one file, if the system has them in memory.

        Where reading fails it returns False too: who then reads with patience learns why.
        """
        return self.read_spans_cached(buffer, ((offset, offset + len(buffer)),))

    def read_spans_cached(self, buffer: memoryview, spans: Iterable[tuple[int, int]]) -> bool:
        """Fill a buffer with what lies between pairs of offsets, each in one file; as above."""
        if _NOWAIT is None:
            return False
        offsets, preadv, nowait = self._offsets, os.preadv, _NOWAIT
        # The file that was looked into last, and between which offsets it is.
        file = begin = end = first = 0
        try:
            for start, stop in spans:
                if not begin <= start < end:
                    index = bisect_right(offsets, start)
                    if index == 0:
                        return False
                    file, begin = self._files[index - 1], offsets[index - 1]
                    end = offsets[index] if index < len(offsets) else sys.maxsize
                size = stop - start
                following = first + size
                if preadv(file, (buffer[first:following],), start - begin, nowait) < size:
                    return False
                first = following
        except OSError:
            return False
        return first == len(buffer)


class LogBytes(Protocol):
    """The log as one endless file."""

    def read(self, offset: int, size: int) -> bytes:
        """Return the bytes at an offset, fewer only at the end."""


class CachedLogBytes(Protocol):
    """The log as far as the system has it in memory."""

    def read_cached(self, buffer: memoryview, offset: int) -> bool:
        """Fill a buffer with the bytes at an offset; return False if that would take a disk."""

    def read_spans_cached(self, buffer: memoryview, spans: Iterable[tuple[int, int]]) -> bool:
        """Fill a buffer with what lies between pairs of offsets, likewise."""


class RangeBytes(LogBytes, CachedLogBytes, Protocol):
    """Both."""


# Large enough to hide the cost of a hand-over between threads and of waking the client, small
# enough that a thousand slow readers are no burden.
BLOCK_SIZE: Final = 512 * 1024

# Reading bytes nobody asked for costs less than another system call, up to this share.
_WASTE_MAX: Final = 4

# Events of a located scan looked at in one go, so that the first lines are there at once.
_WINDOW: Final = 64 * 1024

# What is copied out of the system's cache in the time that a hand-over between threads takes.
_FEW_SIZE_MAX: Final = 64 * 1024


class RangeBlocks(Iterator[bytes]):
    """The lines of neighbours, as blocks."""

    def __init__(
        self, log: RangeBytes, offsets: Sequence[int], start: int, stop: int, end: int
    ) -> None:
        """Begin at one position; stop in front of another one, whose offset is the end."""
        self.block_size = BLOCK_SIZE
        self._log = log
        self._offsets = offsets
        self._start = start
        self._stop = stop
        self._end = end

    def __next__(self) -> bytes:
        """Return the next block, however long reading it takes."""
        if self.is_end:
            raise StopIteration
        offset, end, following = self._find()
        block = self._log.read(offset, end - offset)
        self._start = following
        return block

    @property
    def start(self) -> int:
        """The position of the next event."""
        return self._start

    @property
    def is_end(self) -> bool:
        """Whether there is no next block."""
        return self._start >= self._stop

    def take_cached(self) -> CachedBlock | None:
        """Return the next block, which must exist, if that takes no waiting for a disk."""
        start = self._start
        offset, end, following = self._find()
        # Unlike any other buffer in Python, it is not filled with zeros first.
        block = np.empty(end - offset, np.uint8).data
        if not self._log.read_cached(block, offset):
            return None
        self._start = following
        return CachedBlock(block, self._offsets[start:following])

    def _find(self) -> tuple[int, int, int]:
        """Return where the next block begins and ends, and the position behind it."""
        offsets, start, stop = self._offsets, self._start, self._stop
        offset = offsets[start]
        if self._end - offset <= self.block_size:
            return offset, self._end, stop
        # Found here and not in the block, which would then be copied without its last line.
        limit = offset + self.block_size
        following = max(bisect_right(offsets, limit, start, stop) - 1, start + 1)
        return offset, offsets[following] if following < stop else self._end, following


def read_few(
    log: CachedLogBytes, offsets: Sequence[int], positions: Sequence[int], head: Head
) -> CachedBlock | None:
    """Return the lines at a few positions, None if they are too large or not in memory."""
    spans: list[tuple[int, int]] = []
    line_starts: list[int] = []
    event_count = head.event_count
    start = stop = size = 0
    for position in positions:
        offset = offsets[position]
        following = position + 1
        end = offsets[following] if following < event_count else head.log_size
        line_starts.append(size)
        size += end - offset
        if offset != stop:
            if start < stop:
                spans.append((start, stop))
            start = offset
        stop = end
    if size > _FEW_SIZE_MAX:
        return None
    if start < stop:
        spans.append((start, stop))
    lines = bytearray(size)
    if not log.read_spans_cached(memoryview(lines), spans):
        return None
    return CachedBlock(bytes(lines), line_starts)


def read_positions(
    log: LogBytes,
    offsets: npt.NDArray[np.uint64],
    log_size: int,
    positions: npt.NDArray[np.int64],
) -> Iterator[bytes]:
    """Yield the lines at positions that all ascend or all descend."""
    starts, ends = _bounds_of(offsets, log_size, positions)
    sizes = np.cumsum(ends - starts)
    first = 0
    while first < len(positions):
        before = sizes[first - 1] if first > 0 else 0
        stop = max(int(np.searchsorted(sizes, before + BLOCK_SIZE, "right")), first + 1)
        yield _read_lines(log, starts[first:stop], ends[first:stop])
        first = stop


def size_of(
    offsets: npt.NDArray[np.uint64], log_size: int, positions: npt.NDArray[np.int64]
) -> int:
    """Return how many bytes the lines at some positions take."""
    starts, ends = _bounds_of(offsets, log_size, positions)
    return int((ends - starts).sum())


def _bounds_of(
    offsets: npt.NDArray[np.uint64], log_size: int, positions: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return where the lines at some positions begin, and where they end."""
    starts = offsets[positions].astype(np.int64)
    is_last = positions + 1 == len(offsets)
    followers = np.where(is_last, 0, positions + 1)
    return starts, np.where(is_last, log_size, offsets[followers].astype(np.int64))


def _read_lines(log: LogBytes, starts: npt.NDArray[Any], ends: npt.NDArray[Any]) -> bytes:
    """Return the lines between pairs of offsets, joined in the order given."""
    lowest, highest = int(min(starts[0], starts[-1])), int(max(ends[0], ends[-1]))
    wanted = int((ends - starts).sum())
    pairs = zip(starts.tolist(), ends.tolist(), strict=True)
    if highest - lowest > wanted * _WASTE_MAX:
        return b"".join([log.read(start, end - start) for start, end in pairs])
    span = log.read(lowest, highest - lowest)
    if len(span) == wanted and starts[0] <= starts[-1]:
        return span
    view = memoryview(span)
    return b"".join([view[start - lowest : end - lowest] for start, end in pairs])


class LogView:
    """The lines of one head. A `with` block closes its files."""

    def __init__(self, files: LogFiles) -> None:
        """Open the segments for reading.

        Raises:
            OSError: The system refuses to, or a name in the folder means another file now.
        """
        self._resources = ExitStack()
        self._log_size = files.log_size
        self._log = SegmentFiles()
        folder, disk = Folder(files.folder, Path(LOG_FOLDER)), PosixDisk()
        for name, inode, offset in files.segments:
            file = open_in_place(disk, folder, name, os.O_RDONLY)
            self._resources.callback(os.close, file)
            if os.fstat(file).st_ino != inode:
                self._resources.close()
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
            self._log.add(Segment(first_position_of(name), offset, file, name))
        self._offsets: npt.NDArray[np.uint64] = map_cells(files.offsets, "Q", files.event_count)

    def __enter__(self) -> Self:
        """Return the view itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the files."""
        self._resources.close()

    def scan(self, located: LocatedScan) -> Iterator[bytes]:
        """Yield blocks of whole lines, in the order of the scan."""
        if located.start >= located.stop:
            return
        if located.selected is None and not located.is_reversed:
            # Numbers of Python, which cost less one by one.
            offsets = self._offsets.data
            is_all = located.stop == len(offsets)
            end = self._log_size if is_all else offsets[located.stop]
            yield from RangeBlocks(self._log, offsets, located.start, located.stop, end)
            return
        for positions in positions_of(located):
            yield from read_positions(self._log, self._offsets, self._log_size, positions)


def positions_of(located: LocatedScan) -> Iterator[npt.NDArray[np.int64]]:
    """Yield the positions of a located scan, in its order, in arrays that are never empty."""
    count = located.stop - located.start
    # A multiple of eight, so that each window begins with a byte of its own.
    starts = range(0, count, _WINDOW)
    bits = None if located.selected is None else np.frombuffer(located.selected, np.uint8)
    for first in reversed(starts) if located.is_reversed else starts:
        stop = min(first + _WINDOW, count)
        if bits is None:
            found = np.arange(first, stop)
        else:
            window = np.unpackbits(bits[first // 8 : (stop + 7) // 8], count=stop - first)
            found = np.flatnonzero(window) + first
        if len(found) > 0:
            positions = found + located.start
            yield positions[::-1] if located.is_reversed else positions


def first_position_of(name: str) -> int:
    """Return the position of the first event of a segment.

    Raises:
        ValueError: It is no name of a segment.
    """
    digits = name.removesuffix(SEGMENT_SUFFIX)
    if digits == name or not (digits.isascii() and digits.isdecimal()):
        raise ValueError(name)
    return int(digits)


def find_segments(folder: Folder) -> list[tuple[int, str]]:
    """Return the first position and the name of each segment, in order.

    Raises:
        CorruptLogError: A file in the folder is not a segment.
    """
    found = []
    for name in names_in(folder):
        try:
            found.append((first_position_of(name), name))
        except ValueError as error:
            path = folder.path / name
            message = f"{path} is not a segment of the log: move it out of the data directory"
            raise CorruptLogError(message, position=None) from error
    found.sort()
    for (earlier, name), (later, _) in pairwise(found):
        if earlier == later:
            message = f"{folder.path / name} exists twice under different names"
            raise CorruptLogError(message, position=earlier)
    return found
