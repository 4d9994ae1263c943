"""Whether a data directory is a copy of another one.

A copy that was made file by file while a server wrote holds each file as of another moment: the
durable bound and the snapshot of the index may speak of more than the log has, and prove nothing.
In the directory itself they prove that something was lost. So a directory says where it is, by what
no copy can have: the numbers under which the file system knows it and the file of its format, and
the times at which it made them. Who finds others there has a copy.

A directory that does not say where it is, since it is of an older version, counts as no copy.
What is left to others: where the log of a copy ends (`recovery`).
"""

import ctypes
import os
import struct
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

# Of the system call `statx`, which Python does not have before 3.15: to be told of an open file,
# and its time of birth; where that stands in the answer, as seconds and nanoseconds.
_OF_DESCRIPTOR: Final = 0x1000
_BIRTH: Final = 0x800
_MASK: Final = struct.Struct("=I")
_TIME: Final = struct.Struct("=qI")
_BIRTH_OFFSET: Final = 80
_ANSWER_SIZE: Final = 256


class _Identity(msgspec.Struct, frozen=True):
    """What tells a file or folder from all others, also from those that had its number before."""

    inode: int
    # In nanoseconds since 1970; 0 where the file system does not know.
    born: int

    def may_be(self, other: "_Identity") -> bool:
        """Tell whether both may be of the same file."""
        return self.inode == other.inode and len({self.born, other.born} - {0}) <= 1


class _Place(msgspec.Struct, frozen=True):
    """Of the data directory, and of the file that says which format it has."""

    directory: _Identity
    format: _Identity


def is_copy(directory: Folder, disk: Disk) -> bool:
    """Tell whether a data directory says that it is somewhere else."""
    noted = _read_place(directory, disk)
    if noted is None:
        return False
    found = _find_place(directory, disk)
    return not (noted.directory.may_be(found.directory) and noted.format.may_be(found.format))


def record_place(directory: Folder, disk: Disk) -> None:
    """Let a data directory say where it is, unless it does, and be no copy from then on.

    Where there is no room it stays as it is, until the next opening.
    """
    found = _find_place(directory, disk)
    if found == _read_place(directory, disk):
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


def _read_place(directory: Folder, disk: Disk) -> _Place | None:
    try:
        return msgspec.json.decode(read_file(disk, directory, PLACE_FILE), type=_Place)
    except (FileNotFoundError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _find_place(directory: Folder, disk: Disk) -> _Place:
    file = open_in_place(disk, directory, FORMAT_FILE, os.O_RDONLY)
    try:
        return _Place(_identify(directory.descriptor), _identify(file))
    finally:
        os.close(file)


def _identify(descriptor: int) -> _Identity:
    found = os.fstat(descriptor)
    # What other systems than Linux say without being asked for it.
    seconds: float = getattr(found, "st_birthtime", 0)
    return _Identity(found.st_ino, round(seconds * 1e9) or _birth_of(descriptor))


def _birth_of(descriptor: int) -> int:
    answer = ctypes.create_string_buffer(_ANSWER_SIZE)
    try:
        failed = ctypes.CDLL(None).statx(descriptor, b"", _OF_DESCRIPTOR, _BIRTH, answer)
    except (AttributeError, OSError):
        # A C library without it.
        return 0
    if failed or not _MASK.unpack_from(answer)[0] & _BIRTH:
        return 0
    seconds, nanoseconds = _TIME.unpack_from(answer, _BIRTH_OFFSET)
    return int(seconds * 10**9 + nanoseconds)
