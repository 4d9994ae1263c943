"""Columns: fixed-width numbers, one for each event or subject, that only grow.

They live in memory that no file system can take away: in a file that has no name and lies on no
disk, so that other processes can look at it too, or, where the system has no such thing, in the
memory of this process. Files get copies of them (`snapshot`). They are read and written cell by
cell through `cells` (a memoryview, the fastest way in Python), as a whole through `array` (numpy),
or as bytes through `memory`.

Growing makes a new buffer; whoever still holds the old one sees what was there then.
"""

import errno
import fcntl
import mmap
import os
import weakref
from contextlib import suppress
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from everlog.domain.errors import DiskFullError
from everlog.storage.log.disk import describe_shortage, is_full

# 64, 32 and 8 bits, unsigned.
TypeCode = Literal["Q", "I", "B"]

_TYPES: Final[dict[TypeCode, np.dtype[Any]]] = {
    "Q": np.dtype(np.uint64),
    "I": np.dtype(np.uint32),
    "B": np.dtype(np.uint8),
}

_CAPACITY_MIN: Final = 16 * 1024

# Past this size a buffer grows by as much at a time instead of doubling. Filling that with zeros
# takes a millisecond, for which everybody waits.
_GROWTH_SIZE_MAX: Final = 4 * 1024 * 1024

# Addresses cost nothing, but giving them back takes 60 milliseconds for each GiB in use. So far
# more are taken than are used, where the system lets us.
_ADDRESSES: Final = 4 * 1024 * 1024 * 1024

# Nobody can run what is in there; Linux knows that flag since version 6.3, and may insist on it.
_MFD_NOEXEC_SEAL: Final = 0x8

_NO_SUCH_MEMORY: Final = frozenset({errno.ENOSYS, errno.EPERM, errno.EACCES, errno.EINVAL})

# A process has, or the system gives, no more memory.
_NO_MEMORY: Final = frozenset({errno.ENOMEM, errno.ENOSPC, errno.EAGAIN})


class Column:
    """Numbers in memory, zero until set; what lies behind the caller's count is rubbish."""

    def __init__(self, name: str, type_code: TypeCode) -> None:
        """Start empty; the name is that of the file that a snapshot keeps them in.

        Raises:
            DiskFullError: Too many files are open.
            MemoryError: There is no memory.
        """
        self.name: Final = name
        self.type: Final = _TYPES[type_code]
        self._type_code: Final = type_code
        try:
            # The open file, for other processes; None where it is this process's own memory.
            self.file: Final = _create_file(name)
        except OSError as error:
            raise _shortage(error) from error
        if self.file is not None:
            self._close_file = weakref.finalize(self, os.close, self.file)
        # Bytes that there is room for, and bytes that have an address.
        self._size = self._mapped_size = 0
        self._grow(_CAPACITY_MIN * self.type.itemsize)

    def reserve(self, count: int) -> None:
        """Make room for so many cells.

        Raises:
            DiskFullError: Too many files are open.
            MemoryError: There is no memory; nothing was changed.
        """
        wanted = count * self.type.itemsize
        if wanted <= self._size:
            return
        size = self._size
        while size < wanted:
            size += min(size, _GROWTH_SIZE_MAX)
        self._grow(size)

    def read(self, file: int, count: int) -> None:
        """Take the first cells from a file.

        Raises:
            ValueError: It has not so many.
            OSError: The system refuses to read it.
        """
        self.reserve(count)
        size = count * self.type.itemsize
        target, offset = self.cells.cast("B")[:size], 0
        while offset < size:
            taken = os.preadv(file, (target[offset:],), offset)
            if taken == 0:
                message = f"the column '{self.name}' is shorter than its snapshot says"
                raise ValueError(message)
            offset += taken

    def release(self) -> None:
        """Give the memory back at once, and not when the collector comes; nobody reads any more."""
        del self.array, self.cells
        with suppress(BufferError):
            # Somebody may hold a part of it, and lets go of it later.
            self.memory.close()
        if self.file is not None:
            self._close_file()

    def _grow(self, size: int) -> None:
        try:
            if size > self._mapped_size:
                self._map(size)
            if self.file is not None:
                # Taken now, where that there is none is an error; taken by a store into a cell, it
                # would be the death of the process.
                os.posix_fallocate(self.file, self._size, size - self._size)
        except OSError as error:
            raise _shortage(error) from error
        self._size = size
        count = size // self.type.itemsize
        self.array = np.frombuffer(self.memory, self.type, count)
        self.cells = memoryview(self.memory)[:size].cast(self._type_code)

    def _map(self, size: int) -> None:
        if self.file is None:
            memory = mmap.mmap(-1, size)
            if self._size > 0:
                memory[: self._size] = self.memory[: self._size]
        else:
            # All of it is a hole so far.
            try:
                mapped_size = -(-size // _ADDRESSES) * _ADDRESSES
                os.ftruncate(self.file, mapped_size)
                memory = mmap.mmap(self.file, mapped_size)
            except OSError:
                # There are limits on addresses, and on the size of files.
                os.posix_fallocate(self.file, self._size, size - self._size)
                memory = mmap.mmap(self.file, size)
        self._mapped_size = len(memory)
        self.memory: mmap.mmap = memory


class MappedColumn:
    """The cells of a column whose file this process has inherited, as far as there are any.

    What its process has not filled yet is rubbish here, too.
    """

    def __init__(self, name: str, type_code: TypeCode, file: int) -> None:
        """Map what there is."""
        self.name: Final = name
        self.type: Final = _TYPES[type_code]
        self._type_code: Final = type_code
        self.file: Final = file
        self.map_again()

    def map_again(self) -> None:
        """Map what has come since; whoever holds the old cells still sees those."""
        # Nobody can make the file shorter, so that all of what is mapped can be read.
        self.memory: mmap.mmap = mmap.mmap(self.file, 0, access=mmap.ACCESS_READ)
        count = len(self.memory) // self.type.itemsize
        self.array: npt.NDArray[Any] = np.frombuffer(self.memory, self.type, count)
        self.cells: Any = memoryview(self.memory)[: count * self.type.itemsize].cast(
            self._type_code
        )

    def reach(self, count: int) -> None:
        """Map so many cells, which its process has by now."""
        if count > len(self.cells):
            self.map_again()


def map_cells(file: int, type_code: TypeCode, count: int) -> npt.NDArray[Any]:
    """Return the first cells of a column whose file this process has inherited."""
    type_ = _TYPES[type_code]
    if count == 0:
        return np.zeros(0, type_)
    # The mapping lives as long as the array that looks at it.
    return np.frombuffer(mmap.mmap(file, count * type_.itemsize, access=mmap.ACCESS_READ), type_)


def _create_file(name: str) -> int | None:
    """Return a file in memory that nobody can make shorter, None where there is no such thing."""
    if not hasattr(os, "memfd_create"):
        return None
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    for more in (_MFD_NOEXEC_SEAL, 0):
        try:
            file = os.memfd_create(f"everlog-{name}", flags | more)
        except OSError as error:
            if error.errno not in _NO_SUCH_MEMORY:
                raise
        else:
            fcntl.fcntl(file, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL)
            return file
    return None


def _shortage(error: OSError) -> Exception:
    """Return what to raise where there is no memory, or no file for it."""
    if error.errno in _NO_MEMORY:
        return MemoryError(f"there is no memory for the index: {error.strerror}")
    return DiskFullError(describe_shortage(error)) if is_full(error) else error
