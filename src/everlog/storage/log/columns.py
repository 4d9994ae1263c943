"""Columns: fixed-width numbers, one for each event or subject, that only grow.

A `Column` lives in a memory-mapped file that other processes may read; a `BorrowedColumn` begins
with the cells of such a file, and goes on in memory; a `Vector` lives in memory. All are read and
written cell by cell through `cells` (a memoryview, the fastest way in Python) or as a whole through
`array` (numpy).

Growing makes a new buffer; whoever still holds the old one sees what was there then.
"""

import mmap
import os
from contextlib import ExitStack
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from everlog.storage.log.disk import Disk, Folder, allocate, open_file, open_in_place

# 64 and 32 bits, unsigned.
TypeCode = Literal["Q", "I"]

_TYPES: Final[dict[TypeCode, np.dtype[Any]]] = {
    "Q": np.dtype(np.uint64),
    "I": np.dtype(np.uint32),
}

_CAPACITY_MIN: Final = 16 * 1024
# Past this many cells a buffer grows by as many at a time instead of doubling.
_GROWTH_MAX: Final = 4 * 1024 * 1024

_READ_AHEAD_SIZE: Final = 128 * 1024


class Vector:
    """Numbers in memory, zero until set."""

    def __init__(self, type_code: TypeCode) -> None:
        """Start empty; the type code is "Q" (64 bits) or "I" (32 bits)."""
        self._type = _TYPES[type_code]
        self._type_code = type_code
        self._fill(np.zeros(_CAPACITY_MIN, self._type))

    def reserve(self, count: int) -> None:
        """Make room for so many cells."""
        capacity = len(self.cells)
        if count <= capacity:
            return
        grown = np.zeros(_grown_capacity(capacity, count), self._type)
        grown[:capacity] = self.array
        self._fill(grown)

    def load(self, values: npt.NDArray[Any]) -> None:
        """Replace everything by these values."""
        grown = np.zeros(_grown_capacity(_CAPACITY_MIN, len(values)), self._type)
        grown[: len(values)] = values
        self._fill(grown)

    def _fill(self, array: npt.NDArray[Any]) -> None:
        self.array = array
        self.cells = array.data


class Column:
    """Numbers in a memory-mapped file; what lies behind the caller's count is rubbish."""

    def __init__(
        self, folder: Folder, name: str, type_code: TypeCode, disk: Disk, resources: ExitStack
    ) -> None:
        """Open or create the file; its mapping goes when nobody looks at it any more."""
        self._type = _TYPES[type_code]
        self._type_code = type_code
        self._disk = disk
        self.name: Final = name
        # Other processes read it too.
        self.file: Final = open_file(disk, folder, name, resources)
        self._capacity = os.fstat(self.file).st_size // self._type.itemsize
        if self._capacity < _CAPACITY_MIN:
            self._grow(_CAPACITY_MIN)
        else:
            self._map()

    def reserve(self, count: int) -> None:
        """Make room for so many cells.

        Raises:
            DiskFullError: There is none.
        """
        if count > self._capacity:
            self._grow(_grown_capacity(self._capacity, count))

    def read_ahead(self, count: int) -> None:
        """Ask the system to bring the first cells into memory, and do not wait for it."""
        size = count * self._type.itemsize
        # It takes so much at a time only, whatever it is asked for.
        for first in range(0, size, _READ_AHEAD_SIZE):
            self._mapping.madvise(mmap.MADV_WILLNEED, first, min(_READ_AHEAD_SIZE, size - first))

    def sync(self) -> None:
        """Return when all cells set so far are durable."""
        self._disk.sync_data(self.file)

    def _grow(self, capacity: int) -> None:
        # Allocated, not merely extended: writing to a hole of a mapped file on a full disk would
        # kill the process.
        size = self._type.itemsize
        allocate(self._disk, self.file, 0, capacity * size)
        self._capacity = capacity
        self._map()

    def _map(self) -> None:
        self._mapping = mmap.mmap(self.file, self._capacity * self._type.itemsize)
        self.array = np.frombuffer(self._mapping, self._type)
        self.cells = memoryview(self._mapping).cast(self._type_code)


class BorrowedColumn:
    """A column of which somebody else has the file, for whoever may not change it.

    The owner may write to the file meanwhile. So only the cells that a snapshot speaks of are to be
    believed; they never change. What belongs behind them is set here, from the log, and seen here
    only: the mapping is private, so that the system copies a page when a cell of it is set, and no
    cell behind the believed ones is looked at before it was set.
    """

    def __init__(
        self, folder: Folder | None, name: str, type_code: TypeCode, disk: Disk, *, is_copied: bool
    ) -> None:
        """Open the file, if there is one; its mapping goes when nobody looks at it any more."""
        self._type = _TYPES[type_code]
        self.name: Final = name
        cells = self._borrow(folder, disk)
        if is_copied or len(cells) < _CAPACITY_MIN:
            copied = np.zeros(max(len(cells), _CAPACITY_MIN), self._type)
            copied[: len(cells)] = cells
            cells = copied
        self._fill(cells)

    def reserve(self, count: int) -> None:
        """Make room for so many cells, in memory."""
        capacity = len(self.cells)
        if count > capacity:
            grown = np.zeros(_grown_capacity(capacity, count), self._type)
            grown[:capacity] = self.array
            self._fill(grown)

    def _borrow(self, folder: Folder | None, disk: Disk) -> npt.NDArray[Any]:
        if folder is None:
            return np.zeros(0, self._type)
        try:
            file = open_in_place(disk, folder, self.name, os.O_RDONLY)
        except FileNotFoundError:
            return np.zeros(0, self._type)
        try:
            size = os.fstat(file).st_size // self._type.itemsize * self._type.itemsize
            if size == 0:
                return np.zeros(0, self._type)
            mapping = mmap.mmap(file, size, access=mmap.ACCESS_COPY)
        finally:
            os.close(file)
        return np.frombuffer(mapping, self._type)

    def _fill(self, array: npt.NDArray[Any]) -> None:
        self.array = array
        self.cells = array.data


AnyColumn = Column | BorrowedColumn


def _grown_capacity(capacity: int, count: int) -> int:
    while capacity < count:
        capacity += min(capacity, _GROWTH_MAX)
    return capacity
