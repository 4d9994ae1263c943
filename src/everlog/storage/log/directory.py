"""The data directory: its file names, its lock, and the version of its format."""

import errno
import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from everlog.domain.errors import DataDirectoryError, DirectoryLockedError, UnknownFormatError
from everlog.storage.log.disk import (
    Disk,
    create_directory,
    open_in_place,
    read_file,
    replace_file,
)

FORMAT_VERSION: Final = 1

FORMAT_FILE: Final = "everlog.json"
LOCK_FILE: Final = "lock"
LOG_FOLDER: Final = "log"
INDEX_FOLDER: Final = "index"
SCHEMAS_FILE: Final = "schemas.ndjson"
DURABLE_FILE: Final = "durable"

_NOT_OURS_TO_SYNC: Final = frozenset({errno.EACCES, errno.EPERM, errno.EINVAL, errno.EROFS})


class _Format(msgspec.Struct, frozen=True):
    format: str
    version: int


_FORMAT_NAME: Final = "everlog-data"

# What a crash while creating may leave, and what file systems put at their root.
_NAMES_OF_A_NEW_DIRECTORY: Final = frozenset(
    {LOCK_FILE, Path(FORMAT_FILE).with_suffix(".new").name, "lost+found"}
)


class DirectoryLock:
    """Holds a data directory for this process; the system lets go of it when the process ends."""

    def __init__(self, directory: Path, disk: Disk) -> None:
        """Take the lock.

        Raises:
            DirectoryLockedError: Another process holds it.
        """
        self._file = open_in_place(disk, directory / LOCK_FILE, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = self._holder()
            os.close(self._file)
            if error.errno not in {errno.EWOULDBLOCK, errno.EACCES}:
                raise
            message = (
                f"the data directory {directory} is in use by another process ({holder}): "
                "stop that one first, or choose another directory"
            )
            raise DirectoryLockedError(message) from error
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def _holder(self) -> str:
        """Say who has the lock; the number in the file is that of whoever wrote there last."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            found = os.pread(self._file, 32, 0).decode(errors="replace").strip()
            return f"process id {found or 'unknown'}"
        # Servers keep it from each other; an audit only keeps it from servers.
        return "an audit"

    def release(self) -> None:
        """Let go of the directory."""
        os.close(self._file)


def prepare_directory(directory: Path, disk: Disk) -> None:
    """Create the data directory itself where it does not exist, so that it survives a crash.

    Raises:
        DataDirectoryError: It cannot be created or used.
    """
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    try:
        for path in reversed(missing):
            # Somebody else may create it at the same time.
            with suppress(FileExistsError):
                disk.make_directory(path)
        if not (directory / FORMAT_FILE).exists():
            _sync_names_above(directory, disk)
    except OSError as error:
        message = f"the data directory {directory} cannot be created: {error.strerror}"
        raise DataDirectoryError(message) from error
    if not directory.is_dir():
        message = f"the data directory {directory} cannot be created: something else is there"
        raise DataDirectoryError(message)
    if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        message = f"the data directory {directory} cannot be written to: check who owns it"
        raise DataDirectoryError(message)


def _sync_names_above(directory: Path, disk: Disk) -> None:
    """Let the way to a new directory survive a crash, whoever created it.

    A process may have died between creating a directory and syncing its name, so that a directory
    that exists proves nothing until there is something in it that was written later.
    """
    for above in directory.resolve().parents:
        try:
            disk.sync_directory(above)
        except OSError as error:
            # Where we may not look, or where nothing is ever synced, we have created nothing.
            if error.errno not in _NOT_OURS_TO_SYNC:
                raise


def check_is_ours(directory: Path) -> None:
    """Check that a directory is empty or a data directory, before anything is put into it.

    Raises:
        UnknownFormatError: The directory holds something else.
    """
    names = {path.name for path in directory.iterdir()}
    strangers = sorted(names - _NAMES_OF_A_NEW_DIRECTORY)
    if strangers and FORMAT_FILE not in names:
        message = (
            f"{directory} is not empty and not a data directory of Everlog "
            f"(it holds {strangers[0]!r}): choose an empty directory"
        )
        raise UnknownFormatError(message)


def prepare_format(directory: Path, disk: Disk) -> None:
    """Check the format version, or write it where the directory is new.

    Raises:
        UnknownFormatError: The format is from another version.
    """
    path = directory / FORMAT_FILE
    try:
        _check_format(path, disk)
    except FileNotFoundError:
        content = msgspec.json.encode(_Format(_FORMAT_NAME, FORMAT_VERSION))
        replace_file(disk, path, content + b"\n")
    else:
        # Whoever wrote it may have died before its name was synced, and without it nobody knows
        # what the folders that follow are.
        disk.sync_directory(directory)
    create_directory(disk, directory / LOG_FOLDER)
    create_directory(disk, directory / INDEX_FOLDER)


def _check_format(path: Path, disk: Disk) -> None:
    try:
        found = msgspec.json.decode(read_file(disk, path), type=_Format)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        message = f"{path} is damaged: {error}; restore it from a backup of the directory"
        raise UnknownFormatError(message) from error
    if found.format != _FORMAT_NAME or found.version != FORMAT_VERSION:
        message = (
            f"{path.parent} was written in data format {found.version}, and this version of "
            f"Everlog knows format {FORMAT_VERSION} only: use the version that wrote it"
        )
        raise UnknownFormatError(message)
