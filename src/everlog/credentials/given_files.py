"""Files that an operator names for credentials: read whole, within a size and a time.

A name may lead to anything. What is no file for reading, such as a directory or /dev/zero, is
refused; a pipe, as `<(command)` makes one, is given some seconds to be written to and closed.
"""

import errno
import os
import select
import stat
import time
from pathlib import Path
from typing import Final

from everlog.domain.errors import SettingsError

# A program that hands a secret over does so at once; one that asks a person is waited for longer
# by whoever starts the server.
PIPE_SECONDS_MAX: Final = 5.0

# Without O_NONBLOCK, opening a pipe would wait for somebody at its other end.
_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


def read_given_file(flag: str, path: Path, *, size_max: int, may_be_pipe: bool = True) -> bytes:
    """Return the whole content; the flag is the one that names the file, for the message.

    Raises:
        SettingsError: It cannot be read, is larger, or no file.
    """
    content = bytearray(size_max + 1)
    size = fill_from_given_file(flag, path, content, may_be_pipe=may_be_pipe)
    return bytes(content[:size])


def fill_from_given_file(
    flag: str, path: Path, content: bytearray, *, may_be_pipe: bool = True
) -> int:
    """Read into a buffer that can be overwritten afterwards, and return how many bytes there are.

    The buffer has room for one byte more than there may be.

    Raises:
        SettingsError: As `read_given_file`.
    """
    try:
        file = os.open(path, _FLAGS)
    except OSError as error:
        raise _unreadable(flag, path, str(error.strerror)) from error
    try:
        mode = os.fstat(file).st_mode
        if not stat.S_ISREG(mode) and not (may_be_pipe and stat.S_ISFIFO(mode)):
            raise _unreadable(flag, path, _reason(mode))
        size = _fill(content, file, time.monotonic() + PIPE_SECONDS_MAX)
    except TimeoutError as error:
        reason = f"nobody has written to this pipe and closed it in {PIPE_SECONDS_MAX:g} seconds"
        raise _unreadable(flag, path, reason) from error
    except OSError as error:
        raise _unreadable(flag, path, str(error.strerror)) from error
    finally:
        os.close(file)
    if size == len(content):
        raise SettingsError(f"{flag} {path}: the file is larger than {size - 1} bytes")
    return size


def _fill(content: bytearray, file: int, deadline: float) -> int:
    """Read until the end, or until the buffer is full, and return how much that is."""
    size = 0
    poll = select.poll()
    poll.register(file, select.POLLIN)
    with memoryview(content) as view:
        # A pipe that nobody has opened for writing yet says that it is at its end: it is asked
        # only when it has something to say. A file always has.
        while size < len(content):
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
            count = os.readv(file, [view[size:]])
            if count == 0:
                break
            size += count
    return size


def _reason(mode: int) -> str:
    """Say what is wrong with what is no file."""
    if stat.S_ISDIR(mode):
        return os.strerror(errno.EISDIR)
    kinds = ((stat.S_ISFIFO, "pipe"), (stat.S_ISSOCK, "socket"), (stat.S_ISCHR, "device"))
    name = next((name for is_kind, name in kinds if is_kind(mode)), "device")
    return f"it is a {name}, and must be a file"


def _unreadable(flag: str, path: Path, reason: str) -> SettingsError:
    return SettingsError(f"{flag} {path} cannot be read: {reason}")
