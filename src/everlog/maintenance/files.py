"""Reading the files of a data directory, and the lock that keeps servers out meanwhile.

Nothing is ever created or changed, so that a copy on a medium that cannot be written to may be
audited too. Links are not followed, as the engine does not follow them.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from everlog.domain.errors import DataDirectoryError, DirectoryLockedError

_LOCK_FILE: Final = "lock"

_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """Hold a file open for reading.

    Raises:
        FileNotFoundError: There is none.
        DataDirectoryError: The system refuses to open it.
    """
    try:
        file = os.open(path, _FLAGS)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        yield file
    finally:
        os.close(file)


def read_whole(path: Path) -> bytes:
    """Return the content of a small file; raises what `opened` does."""
    with opened(path) as file:
        try:
            return os.pread(file, os.fstat(file).st_size, 0)
        except OSError as error:
            raise _unreadable(path, error) from error


@contextmanager
def servers_locked_out(directory: Path) -> Iterator[None]:
    """Keep servers from opening a directory; several readers may do so at a time.

    Raises:
        DirectoryLockedError: A server has it open, or has opened it meanwhile.
    """
    path = directory / _LOCK_FILE
    with ExitStack() as resources:
        try:
            file = resources.enter_context(opened(path))
        except FileNotFoundError:
            # A copy without it, or somebody removed it: there is nothing to hold.
            yield
            if path.exists():
                message = f"a server has opened {directory} meanwhile: stop it, and try again"
                raise DirectoryLockedError(message) from None
            return
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(file, 32, 0).decode(errors="replace").strip() or "unknown"
            message = (
                f"the data directory {directory} is in use by a server (process id {holder}): "
                "stop it first, or take a copy that was made while it was stopped"
            )
            raise DirectoryLockedError(message) from error
        yield


def _unreadable(path: Path, error: OSError) -> DataDirectoryError:
    return DataDirectoryError(f"{path} cannot be read: {error.strerror}")
