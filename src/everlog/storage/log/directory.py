"""The data directory: its file names, its lock, its place, its format, the durable bound.

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
    Folder,
    names_in,
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

_LOCKED: Final = frozenset({errno.EWOULDBLOCK, errno.EACCES})

# What network file systems say: a lock of a whole file is one of its bytes there, and wants a file
# that is open for writing.
_NO_LOCK_OF_A_FOLDER: Final = frozenset(
    {errno.EBADF, errno.EINVAL, errno.EISDIR, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
)

_NOT_THERE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE})

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
    """Holds a data directory for this process; the system lets go of it when the process ends.

    Two things are locked. Nobody can delete the lock of the directory itself, but some network file
    systems have none; the file is what older versions look at.
    """

    def __init__(self, directory: Folder, disk: Disk, resources: ExitStack) -> None:
        """Take the lock, until the resources go.

        Raises:
            DirectoryLockedError: Another process holds it.
        """
        self._directory = directory
        self._disk = disk
        try:
            self._lock(directory.descriptor)
        except OSError as error:
            if error.errno not in _NO_LOCK_OF_A_FOLDER:
                raise
        # Only now: who has to stay out leaves nothing behind.
        file = open_file(disk, directory, LOCK_FILE, resources)
        self._lock(file)
        # Told to whoever comes next; on a full disk there may be no room for even that.
        with suppress(OSError):
            os.ftruncate(file, 0)
            os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        self.place: Final = Place(directory, LOCK_FILE, file)

    def _lock(self, descriptor: int) -> None:
        try:
            _take(descriptor)
        except OSError as error:
            if error.errno not in _LOCKED:
                raise
            message = (
                f"the data directory {self._directory.path} is in use by another process "
                f"({self._holder(descriptor)}): stop that one first, or choose another directory"
            )
            raise DirectoryLockedError(message) from error

    def _holder(self, descriptor: int) -> str:
        """Say who has the lock; the number in the file is that of whoever wrote there last."""
        if _is_shared(descriptor):
            # Servers keep it from each other; who only reads keeps it from servers.
            return "an audit, or a server that cannot write to it"
        found = b""
        with suppress(FileNotFoundError):
            found = read_file(self._disk, self._directory, LOCK_FILE)
        return f"process id {found[:32].decode(errors='replace').strip() or 'unknown'}"


def _take(descriptor: int) -> None:
    for _ in range(_LOOKS_MAX):
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        if not _is_shared(descriptor):
            break
        # Somebody may have looked whether it is taken, which takes an instant.
        time.sleep(_LOOK_SECONDS)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _is_shared(descriptor: int) -> bool:
    """Tell whether those who hold the lock do not mind others who only read."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return True


def is_served(directory: Folder, disk: Disk) -> bool:
    """Tell whether a server has a directory open now; nothing is changed, and nobody kept out."""
    if _is_taken(directory.descriptor):
        return True
    try:
        file = open_in_place(disk, directory, LOCK_FILE, os.O_RDONLY)
    except FileNotFoundError:
        # A copy without it.
        return False
    try:
        return _is_taken(file)
    finally:
        os.close(file)


def _is_taken(descriptor: int) -> bool:
    try:
        # Held for this instant only, for which a server that starts waits.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _LOCKED:
            return True
        if error.errno in _NO_LOCK_OF_A_FOLDER:
            return False
        raise
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return False


class Place(NamedTuple):
    """A name, and the open file or folder that it means as long as nobody moves or deletes it."""

    # None for the data directory itself, whose name is a whole path and may lead through links.
    folder: Folder | None
    name: str
    descriptor: int
    # So many bytes were stored there.
    size_min: int = 0

    @property
    def path(self) -> Path:
        """What messages call it."""
        return Path(self.name) if self.folder is None else self.folder.path / self.name

    def is_kept(self) -> bool:
        """Tell whether the name means the file, with all that was stored in it.

        Who may not look takes the name for right.
        """
        folder = self.folder
        try:
            if folder is None:
                found = os.stat(self.name)  # noqa: PTH116 - before each batch, and twice as fast
            else:
                found = os.lstat(self.name, dir_fd=folder.descriptor)
        except OSError as error:
            return error.errno not in _NOT_THERE
        opened = os.fstat(self.descriptor)
        return (
            found.st_ino == opened.st_ino
            and found.st_dev == opened.st_dev
            and opened.st_size >= self.size_min
        )


def hold_for_reading(path: Path, disk: Disk, resources: ExitStack) -> Folder:
    """Open a data directory and keep servers from it, but nobody who only reads.

    Where the file system has no such lock, or lets nobody take it who may not write, none is held.

    Raises:
        DirectoryLockedError: A server has it open.
        DataDirectoryError: It is no directory.
    """
    directory = open_directory(path, disk, resources)
    descriptors = [directory.descriptor]
    with suppress(FileNotFoundError):
        file = open_in_place(disk, directory, LOCK_FILE, os.O_RDONLY)
        resources.callback(os.close, file)
        descriptors.append(file)
    for descriptor in descriptors:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError as error:
            message = (
                f"the data directory {path} is in use by another process, which may write to it: "
                "stop that one first, or choose another directory"
            )
            raise DirectoryLockedError(message) from error
        except OSError as error:
            if error.errno not in _NO_LOCK_OF_A_FOLDER:
                raise
    return directory


def prepare_directory(path: Path, disk: Disk, resources: ExitStack) -> Folder:
    """Open the data directory itself, created where it does not exist, so that it survives a crash.

    Raises:
        DataDirectoryError: It cannot be created or used.
    """
    missing = [above for above in (path, *path.parents) if not above.exists()]
    try:
        for above in reversed(missing):
            # Somebody else may create it at the same time.
            with suppress(FileExistsError):
                disk.make_directory(None, str(above))
        directory = _open_directory(path, disk, resources)
        if FORMAT_FILE not in names_in(directory):
            sync_names_above(path, disk)
    except NotADirectoryError as error:
        message = (
            f"the data directory {path} cannot be created: something else is there "
            f"({error.strerror})"
        )
        raise DataDirectoryError(message) from error
    except PermissionError as error:
        if missing:
            message = f"the data directory {path} cannot be created: {error.strerror}"
        else:
            message = (
                f"the data directory {path} cannot be opened: {error.strerror}; check who owns it"
            )
        raise DataDirectoryError(message) from error
    except OSError as error:
        message = f"the data directory {path} cannot be created: {error.strerror}"
        raise DataDirectoryError(message) from error
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        message = f"the data directory {path} cannot be written to: check who owns it"
        raise DataDirectoryError(message)
    return directory


def open_directory(path: Path, disk: Disk, resources: ExitStack) -> Folder:
    """Open a data directory for reading, of a version that we know.

    Raises:
        DataDirectoryError: It is no directory.
        UnknownFormatError: It is no data directory, or the format is from another version.
        OSError: The system refuses to open it.
    """
    try:
        directory = _open_directory(path, disk, resources)
    except (FileNotFoundError, NotADirectoryError) as error:
        message = f"{path} is not a directory"
        raise DataDirectoryError(message) from error
    try:
        _check_format(directory, disk)
    except FileNotFoundError as error:
        message = f"{path} is not a data directory of Everlog"
        raise UnknownFormatError(message) from error
    return directory


def _open_directory(path: Path, disk: Disk, resources: ExitStack) -> Folder:
    # It may be a link, whatever is in it may not.
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    descriptor = disk.open(None, str(path), flags)
    resources.callback(os.close, descriptor)
    return Folder(descriptor, path)


def sync_names_above(directory: Path, disk: Disk) -> None:
    """Let the way to a new directory survive a crash, whoever created it.

    A process may have died between creating a directory and syncing its name, so that a directory
    that exists proves nothing until there is something in it that was written later.
    """
    for above in directory.resolve().parents:
        try:
            with ExitStack() as resources:
                disk.sync_directory(_open_directory(above, disk, resources))
        except OSError as error:
            # Where we may not look, or where nothing is ever synced, we have created nothing.
            if error.errno not in _NOT_OURS_TO_SYNC:
                raise


def check_is_ours(directory: Folder) -> None:
    """Check that a directory is empty or a data directory, before anything is put into it.

    Raises:
        UnknownFormatError: The directory holds something else.
    """
    names = set(names_in(directory))
    strangers = sorted(names - _NAMES_OF_A_NEW_DIRECTORY)
    if strangers and FORMAT_FILE not in names:
        message = (
            f"{directory.path} is not empty and not a data directory of Everlog "
            f"(it holds {strangers[0]!r}): choose an empty directory"
        )
        raise UnknownFormatError(message)


def prepare_format(directory: Folder, disk: Disk) -> None:
    """Check the format version, or write it where the directory is new.

    Raises:
        UnknownFormatError: The format is from another version.
    """
    try:
        _check_format(directory, disk)
    except FileNotFoundError:
        content = msgspec.json.encode(_Format(_FORMAT_NAME, FORMAT_VERSION))
        replace_file(disk, directory, FORMAT_FILE, content + b"\n")
    else:
        # Whoever wrote it may have died before its name was synced, and without it nobody knows
        # what the folders that follow are.
        disk.sync_directory(directory)


def _check_format(directory: Folder, disk: Disk) -> None:
    try:
        found = msgspec.json.decode(read_file(disk, directory, FORMAT_FILE), type=_Format)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        path = directory.path / FORMAT_FILE
        message = f"{path} is damaged: {error}; restore it from a backup of the directory"
        raise UnknownFormatError(message) from error
    if found.format != _FORMAT_NAME or found.version != FORMAT_VERSION:
        message = (
            f"{directory.path} was written in data format {found.version}, and this version of "
            f"Everlog knows format {FORMAT_VERSION} only: use the version that wrote it"
        )
        raise UnknownFormatError(message)


class DurableBound(NamedTuple):
    """How many events, bytes of the log and bytes of event schemas are durable."""

    event_count: int = 0
    log_size: int = 0
    schemas_size: int = 0

    def at_least(self, other: "DurableBound") -> "DurableBound":
        """Return the bound where something else proves another one."""
        return DurableBound(*map(max, zip(self, other, strict=True)))


class DurableFile:
    """The file that holds the bound."""

    def __init__(self, directory: Folder, disk: Disk, resources: ExitStack) -> None:
        """Open or create the file."""
        self._disk = disk
        self._file = open_file(disk, directory, DURABLE_FILE, resources)
        self.place: Final = Place(directory, DURABLE_FILE, self._file)

    def write(self, bound: DurableBound) -> None:
        """Move the bound; the caller has synced the log up to it."""
        body = _BOUND_LAYOUT.pack(*bound)
        write_all(self._disk, self._file, body + _BOUND_CHECKSUM.pack(zlib.crc32(body)), 0)

    def sync(self) -> None:
        """Make the bound itself durable."""
        self._disk.sync_data(self._file)


def read_bound(directory: Folder, disk: Disk) -> DurableBound:
    """Return the bound of a directory that a server may have open.

    It is zero where the file is new, or was torn by a power loss.
    """
    content: bytes | None = None
    while True:
        before = content
        try:
            content = read_file(disk, directory, DURABLE_FILE)
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
