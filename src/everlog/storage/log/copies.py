"""Whether a data directory is a copy of another one.

A copy that was made file by file while a server wrote holds each file as of another moment: the
durable bound and the snapshot of the index may speak of more than the log has, and prove nothing.
In the directory itself they prove that something was lost. So a directory says where it is, by what
no copy can have: the numbers under which the file system knows it and the file of its format. Who
finds other numbers there has a copy.

A directory that does not say where it is, since it is of an older version, counts as no copy.
What is left to others: where the log of a copy ends (`recovery`).
"""

import fcntl
import os
import struct
import sys
from contextlib import ExitStack, suppress
from typing import Final

import msgspec

from everlog.domain.errors import DataDirectoryError
from everlog.storage.log.directory import DURABLE_FILE, FORMAT_FILE, LOG_FOLDER, SCHEMAS_FILE
from everlog.storage.log.disk import (
    Disk,
    Folder,
    is_full,
    names_in,
    open_folder,
    open_in_place,
    read_file,
    replace_file,
)

PLACE_FILE: Final = "place"

# Of Linux, FS_IOC_GETVERSION; file systems without generations refuse it.
_GET_GENERATION: Final = 0x80087601 if struct.calcsize("l") == 8 else 0x80047601


class _Number(msgspec.Struct, frozen=True):
    """What a file system calls a file or folder."""

    inode: int
    # Told apart by it are files that had the same number one after the other; 0 if unknown.
    generation: int

    def is_of(self, other: "_Number") -> bool:
        """Tell whether both may be of the same file."""
        generations = {self.generation, other.generation} - {0}
        return self.inode == other.inode and len(generations) <= 1


class _Numbers(msgspec.Struct, frozen=True):
    """Of the data directory, and of the file that says which format it has."""

    directory: _Number
    format: _Number


def is_copy(directory: Folder, disk: Disk) -> bool:
    """Tell whether a data directory says that it is somewhere else."""
    noted = _read_numbers(directory, disk)
    if noted is None:
        return False
    found = _find_numbers(directory, disk)
    return not (noted.directory.is_of(found.directory) and noted.format.is_of(found.format))


def record_place(directory: Folder, disk: Disk) -> None:
    """Let a data directory say where it is, unless it does, and be no copy from then on.

    Where there is no room it stays as it is, until the next opening.
    """
    found = _find_numbers(directory, disk)
    if found == _read_numbers(directory, disk):
        return
    file = open_in_place(disk, directory, FORMAT_FILE, os.O_RDONLY)
    try:
        # Whoever copied it has hardly synced it.
        disk.sync_data(file)
    finally:
        os.close(file)
    try:
        replace_file(disk, directory, PLACE_FILE, msgspec.json.encode(found) + b"\n")
    except OSError as error:
        if not is_full(error):
            raise


def refuse_shared_files(directory: Folder, disk: Disk) -> None:
    """Refuse a copy whose files are also those of another directory.

    Raises:
        DataDirectoryError: A file has another name, as `cp -al` gives it.
    """
    with ExitStack() as resources:
        places = [(directory, name) for name in (FORMAT_FILE, DURABLE_FILE, SCHEMAS_FILE)]
        with suppress(FileNotFoundError):
            log = open_folder(disk, directory, LOG_FOLDER, resources)
            places += [(log, name) for name in names_in(log)]
        for folder, name in places:
            with suppress(FileNotFoundError):
                if os.lstat(name, dir_fd=folder.descriptor).st_nlink > 1:
                    message = (
                        f"the data directory {directory.path} is a copy that shares its files with "
                        f"another directory ({folder.path / name} has another name, a hard link), "
                        "and writing here would change both: nothing was changed; copy it with "
                        "'cp -a', and start with that copy"
                    )
                    raise DataDirectoryError(message)


def _read_numbers(directory: Folder, disk: Disk) -> _Numbers | None:
    try:
        return msgspec.json.decode(read_file(disk, directory, PLACE_FILE), type=_Numbers)
    except (FileNotFoundError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _find_numbers(directory: Folder, disk: Disk) -> _Numbers:
    file = open_in_place(disk, directory, FORMAT_FILE, os.O_RDONLY)
    try:
        return _Numbers(_number_of(directory.descriptor), _number_of(file))
    finally:
        os.close(file)


def _number_of(descriptor: int) -> _Number:
    generation = bytearray(8)
    if sys.platform == "linux":
        with suppress(OSError):
            fcntl.ioctl(descriptor, _GET_GENERATION, generation)
    return _Number(os.fstat(descriptor).st_ino, int.from_bytes(generation, sys.byteorder))
