"""Reading the files of a data directory, and the lock that keeps servers out meanwhile.

Nothing is ever created or changed, so that a copy on a medium that cannot be written to may be
audited too. Links are not followed, as the engine does not follow them; and every file is opened in
a folder that is open, so that all of them are of one directory, whatever becomes of its name.
"""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from everlog.domain.errors import DataDirectoryError, DirectoryLockedError

_LOCK_FILE: Final = "lock"

_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK

_LOCKED: Final = frozenset({errno.EWOULDBLOCK, errno.EACCES})


class Folder(NamedTuple):
    """An open folder, and what messages call it."""

    descriptor: int
    path: Path


@contextmanager
def opened_directory(path: Path) -> Iterator[Folder]:
    """Hold a data directory open, whose path may lead through links.

    Raises:
        DataDirectoryError: It is none, or the system refuses to open it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataDirectoryError(f"{path} is not a directory") from error
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        yield Folder(descriptor, path)
    finally:
        os.close(descriptor)


@contextmanager
def opened_folder(folder: Folder, name: str) -> Iterator[Folder]:
    """Hold a folder in another one open; raises what `opened` does."""
    with opened(folder, name, _FLAGS | os.O_DIRECTORY) as descriptor:
        yield Folder(descriptor, folder.path / name)


@contextmanager
def opened(folder: Folder, name: str, flags: int = _FLAGS) -> Iterator[int]:
    """Hold a file open for reading.

    Raises:
        FileNotFoundError: There is none.
        DataDirectoryError: The system refuses to open it.
    """
    try:
        file = os.open(name, flags, dir_fd=folder.descriptor)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _unreadable(folder.path / name, error) from error
    try:
        yield file
    finally:
        os.close(file)


def names_in(folder: Folder) -> list[str]:
    """Return the names of all that a folder holds, in their order."""
    return sorted(os.listdir(folder.descriptor))  # noqa: PTH208 - as the engine does


def read_whole(folder: Folder, name: str) -> bytes:
    """Return the content of a small file; raises what `opened` does."""
    with opened(folder, name) as file:
        try:
            return os.pread(file, os.fstat(file).st_size, 0)
        except OSError as error:
            raise _unreadable(folder.path / name, error) from error


@contextmanager
def servers_locked_out(directory: Folder) -> Iterator[None]:
    """Keep servers from opening a directory; several readers may do so at a time.

    The lock of the directory itself is there although somebody deleted the file, and the file's is
    what older versions have, and all on a file system without the other.

    Raises:
        DirectoryLockedError: A server has it open, or has opened it meanwhile.
    """
    _share(directory, directory.descriptor)
    with ExitStack() as resources:
        try:
            _share(directory, resources.enter_context(opened(directory, _LOCK_FILE)))
            is_held = True
        except FileNotFoundError:
            # A copy without it, or somebody removed it: there is nothing more to hold.
            is_held = False
        yield
        if not is_held and _LOCK_FILE in names_in(directory):
            message = f"a server has opened {directory.path} meanwhile: stop it, and try again"
            raise DirectoryLockedError(message)


def _share(directory: Folder, descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _LOCKED:
            # A file system without such locks; a server may not be able to use it either.
            return
        message = f"a server has the data directory {directory.path} open"
        raise DirectoryLockedError(message) from error


def _unreadable(path: Path, error: OSError) -> DataDirectoryError:
    return DataDirectoryError(f"{path} cannot be read: {error.strerror}")
