"""The view: one head of a log, read by a process that does not have the engine.

The server's process finds the events (`LocatedScan`), since it has the index in memory; another
process reads them here, from the same files, without a lock and without changing anything. What
lies within a head is durable and never changes, so that both see the same bytes.
"""

import mmap
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from everlog.storage.engine import LocatedScan, LogFiles
from everlog.storage.log.disk import PosixDisk, open_in_place
from everlog.storage.log.reading import RangeBlocks, read_positions
from everlog.storage.log.segments import SegmentFiles

# Events looked at in one go, so that the first lines are there at once.
_WINDOW: Final = 64 * 1024


class LogView:
    """The lines of one head. A `with` block closes its files."""

    def __init__(self, files: LogFiles) -> None:
        """Open the files for reading.

        Raises:
            OSError: The system refuses to.
        """
        self._resources = ExitStack()
        self._log_size = files.log_size
        self._log = SegmentFiles()
        for path, offset in files.segments:
            self._log.add(_open(Path(path), self._resources), offset)
        self._offsets: npt.NDArray[np.uint64] = np.zeros(0, np.uint64)
        if files.event_count > 0:
            self._offsets = _map_offsets(Path(files.offsets), files.event_count)

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
        for positions in _positions(located):
            yield from read_positions(self._log, self._offsets, self._log_size, positions)


def _positions(located: LocatedScan) -> Iterator[npt.NDArray[np.int64]]:
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


def _map_offsets(path: Path, count: int) -> npt.NDArray[Any]:
    with ExitStack() as resources:
        size = count * np.dtype(np.uint64).itemsize
        mapping = mmap.mmap(_open(path, resources), size, access=mmap.ACCESS_READ)
    # The mapping lives as long as the array that looks at it.
    return np.frombuffer(mapping, np.uint64)


def _open(path: Path, resources: ExitStack) -> int:
    file = open_in_place(PosixDisk(), path, os.O_RDONLY)
    resources.callback(os.close, file)
    return file
