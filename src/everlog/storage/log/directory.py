"""The data directory: its file names, its lock, the version of its format, the durable bound.

The durable bound is written after each sync, but not synced itself: it costs one system call,
survives the death of the process exactly, and after a power loss is merely older than the truth,
never newer. Recovery may cut what lies behind it, and must refuse damage before it.
"""

import errno
import fcntl
import os
import struct
import time
import zlib
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from everlog.domain.errors import DataDirectoryError, DirectoryLockedError, UnknownFormatError
from everlog.storage.log.disk import (
    Disk,
    create_directory,
    open_file,
    open_in_place,
    read_file,
    replace_file,
    write_all,
)

FORMAT_VERSION: Final = 1

# Whoever reads beside a server looks whether there is one; far longer than that takes, and far
# shorter than anybody minds who starts a server while an audit runs.
_LOOK_SECONDS: Final = 0.001
_LOOKS_MAX: Final = 50

FORMAT_FILE: Final = "everlog.json"
LOCK_FILE: Final = "lock"
LOG_FOLDER: Final = "log"
INDEX_FOLDER: Final = "index"
SCHEMAS_FILE: Final = "schemas.ndjson"
DURABLE_FILE: Final = "durable"

_NOT_OURS_TO_SYNC: Final = frozenset({errno.EACCES, errno.EPERM, errno.EINVAL, errno.EROFS})


_BOUND_LAYOUT: Final = struct.Struct("<QQQ")
_BOUND_CHECKSUM: Final = struct.Struct("<I")
_BOUND_SIZE: Final = _BOUND_LAYOUT.size + _BOUND_CHECKSUM.size


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
            self._take()
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
        # Told to whoever comes next; on a full disk there may be no room for even that.
        with suppress(OSError):
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def _take(self) -> None:
        for _ in range(_LOOKS_MAX):
            with suppress(BlockingIOError):
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            if not self._is_shared():
                break
            # Somebody may have looked whether it is taken, which takes an instant.
            time.sleep(_LOOK_SECONDS)
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _is_shared(self) -> bool:
        """Tell whether those who hold the lock do not mind others who only read."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return False
        fcntl.flock(self._file, fcntl.LOCK_UN)
        return True

    def _holder(self) -> str:
        """Say who has the lock; the number in the file is that of whoever wrote there last."""
        if not self._is_shared():
            found = os.pread(self._file, 32, 0).decode(errors="replace").strip()
            return f"process id {found or 'unknown'}"
        # Servers keep it from each other; an audit only keeps it from servers.
        return "an audit"

    def release(self) -> None:
        """Let go of the directory."""
        os.close(self._file)


def is_served(directory: Path, disk: Disk) -> bool:
    """Tell whether a server has a directory open now; nothing is changed, and nobody kept out."""
    try:
        file = open_in_place(disk, directory / LOCK_FILE, os.O_RDONLY)
    except FileNotFoundError:
        # A copy without it.
        return False
    try:
        # Held for this instant only, for which a server that starts waits.
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


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


def check_format(directory: Path, disk: Disk) -> None:
    """Check that a directory is a data directory of a version that we know.

    Raises:
        DataDirectoryError: It is no directory.
        UnknownFormatError: It is no data directory, or the format is from another version.
    """
    if not directory.is_dir():
        message = f"{directory} is not a directory"
        raise DataDirectoryError(message)
    try:
        _check_format(directory / FORMAT_FILE, disk)
    except FileNotFoundError as error:
        message = f"{directory} is not a data directory of Everlog"
        raise UnknownFormatError(message) from error


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


class DurableBound(NamedTuple):
    """How many events, bytes of the log and bytes of event schemas are durable."""

    event_count: int = 0
    log_size: int = 0
    schemas_size: int = 0


class DurableFile:
    """The file that holds the bound."""

    def __init__(self, directory: Path, disk: Disk, resources: ExitStack) -> None:
        """Open or create the file."""
        self._disk = disk
        self._file = open_file(disk, directory / DURABLE_FILE, resources)

    def read(self) -> DurableBound:
        """Return the bound; zero where the file is new or was torn by a power loss."""
        return _decode_bound(os.pread(self._file, _BOUND_SIZE, 0)) or DurableBound()

    def write(self, bound: DurableBound) -> None:
        """Move the bound; the caller has synced the log up to it."""
        body = _BOUND_LAYOUT.pack(*bound)
        write_all(self._disk, self._file, body + _BOUND_CHECKSUM.pack(zlib.crc32(body)), 0)

    def sync(self) -> None:
        """Make the bound itself durable."""
        self._disk.sync_data(self._file)


def read_bound(directory: Path, disk: Disk) -> DurableBound:
    """Return the bound of a directory that a server may have open; zero as `DurableFile` does."""
    content: bytes | None = None
    while True:
        before = content
        try:
            content = read_file(disk, directory / DURABLE_FILE)
        except FileNotFoundError:
            return DurableBound()
        bound = _decode_bound(content)
        # It may have been read while it was written; what stays wrong is wrong.
        if bound is not None or content == before:
            return bound or DurableBound()


def _decode_bound(content: bytes) -> DurableBound | None:
    body, checksum = content[: _BOUND_LAYOUT.size], content[_BOUND_LAYOUT.size : _BOUND_SIZE]
    if checksum != _BOUND_CHECKSUM.pack(zlib.crc32(body)):
        return None
    return DurableBound(*_BOUND_LAYOUT.unpack(body))
