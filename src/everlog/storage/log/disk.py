"""The only way in which the embedded engine changes the disk.

Whatever opens, creates, writes, syncs, truncates, renames or removes goes through a `Disk`, so that
tests can make each single call fail, fall short, or be lost with the power. What does not is the
process id in the lock file, the cells of columns, which are mapped memory, and a sync that another
process does.

Every file is opened here too: as a regular file in its place, never through a symbolic link, so
that nobody can make the engine read or write something outside of the data directory. Its place is
a folder that is open, and a name in it: names above it may mean another folder at any time.
"""

import errno
import os
import stat
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from everlog.domain.errors import DataDirectoryError, DiskFullError

# The process, or the system, has as many open files as it may have.
_NO_FILES: Final = frozenset({errno.EMFILE, errno.ENFILE})

# No room, quota reached, file size limit reached: all of them pass once somebody makes room.
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG}) | _NO_FILES

# Linux and macOS say the first of a symbolic link that must not be followed, BSD the second.
_NOT_FOLLOWED: Final = frozenset({errno.ELOOP, errno.EMLINK})

# Without blocking: opening a pipe would wait for somebody at its other end.
_GUARDS: Final = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK

_CANNOT_ALLOCATE: Final = frozenset({errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})


class Folder(NamedTuple):
    """An open folder; what is in it is opened by its name, relative to the descriptor."""

    descriptor: int
    # What it was called when it was opened, for messages: nothing is opened by it.
    path: Path


class Disk(Protocol):
    """The system calls that open and change files; each raises OSError as the system does.

    Where there is no folder, the name is the path of a data directory, or of one above it.
    """

    def open(self, folder: Folder | None, name: str, flags: int) -> int:
        """Open a file or a folder, for its owner only where that creates it."""

    def make_directory(self, folder: Folder | None, name: str) -> None:
        """Create a directory for its owner only."""

    def write(self, file: int, data: bytes | memoryview, offset: int) -> int:
        """Write at an offset and return how many bytes were taken."""

    def sync_data(self, file: int) -> None:
        """Return when the file's bytes (and its size) are durable."""

    def free_size(self, file: int) -> int:
        """Return how many bytes are free where a file lies; quotas may allow less."""

    def allocate(self, file: int, offset: int, size: int) -> None:
        """Reserve room, reading as zeros, and let the file grow over it."""

    def truncate(self, file: int, size: int) -> None:
        """Cut or extend the file."""

    def rename(self, folder: Folder, source: str, target: str) -> None:
        """Put a file in the place of another in the same folder, atomically."""

    def move(self, source: Folder, name: str, target: Folder) -> None:
        """Put a file or folder into another folder of the same file system, atomically."""

    def remove_file(self, folder: Folder, name: str) -> None:
        """Remove the name of a file, or of a link."""

    def remove_directory(self, folder: Folder, name: str) -> None:
        """Remove an empty directory."""

    def sync_directory(self, folder: Folder) -> None:
        """Return when the folder's names are durable."""


class PosixDisk:
    """The real disk."""

    def open(self, folder: Folder | None, name: str, flags: int) -> int:
        """Open a file or a folder, for its owner only where that creates it."""
        return os.open(name, flags, 0o600, dir_fd=_descriptor_of(folder))

    def make_directory(self, folder: Folder | None, name: str) -> None:
        """Create a directory for its owner only."""
        os.mkdir(name, 0o700, dir_fd=_descriptor_of(folder))

    def write(self, file: int, data: bytes | memoryview, offset: int) -> int:
        """Write at an offset and return how many bytes were taken."""
        return os.pwrite(file, data, offset)

    def sync_data(self, file: int) -> None:
        """Return when the file's bytes (and its size) are durable."""
        os.fdatasync(file)

    def free_size(self, file: int) -> int:
        """Return how many bytes are free where a file lies; quotas may allow less."""
        found = os.fstatvfs(file)
        # Some file systems have no size to speak of.
        return found.f_bavail * found.f_frsize if found.f_blocks > 0 else sys.maxsize

    def allocate(self, file: int, offset: int, size: int) -> None:
        """Reserve room, reading as zeros, and let the file grow over it."""
        os.posix_fallocate(file, offset, size)

    def truncate(self, file: int, size: int) -> None:
        """Cut or extend the file."""
        os.ftruncate(file, size)

    def rename(self, folder: Folder, source: str, target: str) -> None:
        """Put a file in the place of another in the same folder, atomically."""
        os.replace(source, target, src_dir_fd=folder.descriptor, dst_dir_fd=folder.descriptor)

    def move(self, source: Folder, name: str, target: Folder) -> None:
        """Put a file or folder into another folder of the same file system, atomically."""
        os.rename(name, name, src_dir_fd=source.descriptor, dst_dir_fd=target.descriptor)

    def remove_file(self, folder: Folder, name: str) -> None:
        """Remove the name of a file, or of a link."""
        os.unlink(name, dir_fd=folder.descriptor)

    def remove_directory(self, folder: Folder, name: str) -> None:
        """Remove an empty directory."""
        os.rmdir(name, dir_fd=folder.descriptor)

    def sync_directory(self, folder: Folder) -> None:
        """Return when the folder's names are durable."""
        os.fsync(folder.descriptor)


def _descriptor_of(folder: Folder | None) -> int | None:
    return None if folder is None else folder.descriptor


class ForeignFileError(DataDirectoryError, OSError):
    """Where a file or folder of ours belongs there is something else."""


def open_file(disk: Disk, folder: Folder, name: str, resources: ExitStack) -> int:
    """Open a file for reading and writing, creating it if need be, until the resources go."""
    file = open_in_place(disk, folder, name, os.O_RDWR | os.O_CREAT)
    resources.callback(os.close, file)
    return file


def open_in_place(disk: Disk, folder: Folder, name: str, flags: int) -> int:
    """Open a regular file, for its owner only where it is created.

    Raises:
        ForeignFileError: It is a symbolic link, or no file.
        OSError: The system refuses to open it.
    """
    try:
        file = disk.open(folder, name, flags | _GUARDS)
    except IsADirectoryError as error:
        raise _foreign(folder.path / name, "a directory", "a file") from error
    except OSError as error:
        if error.errno in _NOT_FOLLOWED:
            raise _foreign(folder.path / name, "a symbolic link", "a file") from error
        raise
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise _foreign(folder.path / name, "something else", "a file")
    return file


def open_folder(disk: Disk, folder: Folder, name: str, resources: ExitStack) -> Folder:
    """Open a folder in another one until the resources go.

    Raises:
        ForeignFileError: It is a symbolic link, or no folder.
        OSError: The system refuses to open it.
    """
    try:
        descriptor = disk.open(folder, name, os.O_RDONLY | os.O_DIRECTORY | _GUARDS)
    except NotADirectoryError as error:
        # A link is none either, if it is not followed.
        mode = os.lstat(name, dir_fd=folder.descriptor).st_mode
        what = "a symbolic link" if stat.S_ISLNK(mode) else "something else"
        raise _foreign(folder.path / name, what, "a directory") from error
    except OSError as error:
        if error.errno in _NOT_FOLLOWED:
            raise _foreign(folder.path / name, "a symbolic link", "a directory") from error
        raise
    resources.callback(os.close, descriptor)
    return Folder(descriptor, folder.path / name)


def names_in(folder: Folder) -> list[str]:
    """Return the names of all that a folder holds, in no order."""
    return os.listdir(folder.descriptor)  # noqa: PTH208 - a path cannot be relative to a folder


def read_file(disk: Disk, folder: Folder, name: str) -> bytes:
    """Return a whole small file; raises FileNotFoundError, and what `open_in_place` does."""
    file = open_in_place(disk, folder, name, os.O_RDONLY)
    try:
        return read_whole(file)
    finally:
        os.close(file)


def read_whole(file: int) -> bytes:
    """Return all that a small open file holds."""
    with os.fdopen(file, "rb", closefd=False) as stream:
        stream.seek(0)
        return stream.read()


class SyncError(OSError):
    """A sync failed: what the disk holds is unknown, and syncing again would prove nothing.

    The system may have dropped the bytes, and reports so only once.
    """


def sync(disk: Disk, file: int) -> None:
    """Return when the file's bytes (and its size) are durable; else raise a SyncError."""
    try:
        disk.sync_data(file)
    except OSError as error:
        raise SyncError(*error.args) from error


def sync_names(disk: Disk, folder: Folder) -> None:
    """Return when the folder's names are durable; else raise a SyncError."""
    try:
        disk.sync_directory(folder)
    except OSError as error:
        raise SyncError(*error.args) from error


def is_full(error: OSError) -> bool:
    """Tell whether an error means that there is no room, and nothing worse."""
    return error.errno in _FULL and not isinstance(error, SyncError)


def describe_shortage(error: Exception) -> str:
    """Say what there is no room for."""
    if isinstance(error, OSError) and error.errno in _NO_FILES:
        return "too many files are open"
    return "no space left on the device"


def write_all(disk: Disk, file: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of the data, however little the system takes at a time."""
    written = 0
    while written < len(data):
        count = disk.write(file, memoryview(data)[written:], offset + written)
        if count == 0:
            raise OSError(errno.EIO, "the disk takes no more bytes")
        written += count


def allocate(disk: Disk, file: int, offset: int, size: int) -> None:
    """Reserve room where the file system can, else only let the file grow.

    Raises:
        DiskFullError: There is no room; the file has what it had.
    """
    before = os.fstat(file).st_size
    try:
        disk.allocate(file, offset, size)
    except OSError as error:
        if is_full(error):
            # File systems keep as much as there was, and nobody else could use it.
            disk.truncate(file, before)
            message = "no space left on the device"
            raise DiskFullError(message) from error
        if error.errno not in _CANNOT_ALLOCATE:
            raise
        if os.fstat(file).st_size < offset + size:
            disk.truncate(file, offset + size)


def cut(disk: Disk, file: int, size: int) -> None:
    """Cut a file back to a size, and sync it; it never becomes longer.

    Raises:
        SyncError: As `sync`.
        OSError: Somebody else has made it shorter than that, so that what was stored is lost.
    """
    found = os.fstat(file).st_size
    if found < size:
        raise OSError(errno.EIO, f"a file has {found} bytes, of {size} that were stored")
    disk.truncate(file, size)
    sync(disk, file)


def replace_file(disk: Disk, folder: Folder, name: str, content: bytes) -> None:
    """Write a whole small file so that after a crash either the old or the new one is there."""
    draft = str(Path(name).with_suffix(".new"))
    file = open_in_place(disk, folder, draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    try:
        write_all(disk, file, content, 0)
        disk.sync_data(file)
    finally:
        os.close(file)
    disk.rename(folder, draft, name)
    disk.sync_directory(folder)


def create_folder(disk: Disk, folder: Folder, name: str, resources: ExitStack) -> Folder:
    """Open a folder, creating it if need be, so that it survives a crash; as `open_folder`."""
    with suppress(FileNotFoundError):
        return open_folder(disk, folder, name, resources)
    disk.make_directory(folder, name)
    disk.sync_directory(folder)
    return open_folder(disk, folder, name, resources)


def _foreign(path: Path, found: str, expected: str) -> ForeignFileError:
    return ForeignFileError(
        f"{path} is {found}, where Everlog keeps {expected} of its own: nothing was changed; "
        "remove it or put back what belongs there (the data directory itself may be a link)"
    )
