"""The process that waits for the disk: syncs a file whenever the server asks it to.

Started by the server with a socket as its standard input (`service.writing.sync_process`), and gone
with it: when the server's end of the socket closes, for whatever reason, the process ends.
It writes nothing, so that it does no harm by living a little longer than the server.
"""

import errno
import os
import signal
import socket
import sys
from contextlib import suppress
from time import perf_counter

from everlog.service.writing.sync_messages import FILE, FILE_FOLLOWS, REPLY, REQUEST


def main() -> None:
    """Sync until the server is gone."""
    # They are meant for the server, which may still have writes to answer.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with suppress(ConnectionError):
        _serve(sys.stdin.fileno())


def _serve(server: int) -> None:
    os.write(server, REPLY.pack(0, 0.0))
    file = -1
    while request := os.read(server, 1):
        if request == FILE_FOLLOWS:
            file = _take_file(server, file)
        else:
            assert request == REQUEST
            started = perf_counter()
            number = _sync(file)
            os.write(server, REPLY.pack(number, perf_counter() - started))


def _take_file(server: int, before: int) -> int:
    """Return the file that is sent, in the place of the one before."""
    if before >= 0:
        os.close(before)
    with socket.socket(fileno=os.dup(server)) as stream:
        _, [file], _, _ = socket.recv_fds(stream, len(FILE), 1)
    return file


def _sync(file: int) -> int:
    try:
        os.fdatasync(file)
    except OSError as error:
        # The system always says which.
        return error.errno or errno.EIO
    else:
        return 0


if __name__ == "__main__":
    main()
