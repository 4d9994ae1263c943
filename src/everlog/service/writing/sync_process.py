"""The process that syncs the log, so that nobody in this one waits for the disk.

A thread could wait as well, but when the disk is done it needs the interpreter's lock, which a busy
event loop gives away only every few milliseconds. A process needs no lock: the loop learns of the
end of a sync as it learns of everything else, by a socket that has something to read.

The file is handed over as it is open here, so that it is the very file that was written, whatever
happens to its name.
What is left to others: what is to be done without the process (`committer`).
"""

import asyncio
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Final

from everlog.environment import environment_without_secrets
from everlog.service.writing.sync_messages import FILE, FILE_FOLLOWS, REPLY, REQUEST

_COMMAND: Final = (sys.executable, "-m", "everlog.sync_worker")

# What a process takes to end that has nothing to sync.
_END_SECONDS_MAX: Final = 1.0


class SyncProcessLostError(Exception):
    """The process is gone, and nobody knows whether the file was synced."""


# Told how a sync ended, None if the file is durable, and how many seconds it took.
OnEnd = Callable[[OSError | SyncProcessLostError | None, float], None]


class SyncProcess:
    """One process, which syncs one file at a time."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        on_lost: Callable[[], None],
        command: tuple[str, ...] = _COMMAND,
    ) -> None:
        """Start the process, which is ready a moment later; say if it ends on its own.

        Raises:
            OSError: The system has no room for another process.
        """
        self._loop: Final = loop
        self._on_lost: Final = on_lost
        self._socket, theirs = socket.socketpair()
        with theirs:
            try:
                self._process: Final = _start(command, theirs)
            except OSError:
                self._socket.close()
                raise
        self._socket.settimeout(0)
        self._is_ready = False
        # The file that the process has, None before the first. None is closed while we live, so
        # that no number is that of another file later.
        self._file: int | None = None
        self._on_end: OnEnd | None = None
        loop.add_reader(self._socket, self._read_reply)

    @property
    def is_ready(self) -> bool:
        """Whether it can be asked for a sync."""
        return self._is_ready

    def sync(self, file: int, on_end: OnEnd) -> None:
        """Have an open file synced, and be told later how that ended."""
        assert self._is_ready
        assert self._on_end is None
        self._on_end = on_end
        try:
            if file != self._file:
                self._socket.send(FILE_FOLLOWS)
                socket.send_fds(self._socket, [FILE], [file])
                self._file = file
            self._socket.send(REQUEST)
        except OSError:
            # The reader finds out too; here it is only not to be forgotten.
            self._loop.call_soon(self._lose)

    def close(self) -> None:
        """End the process, which has nothing to do."""
        self._disconnect()
        try:
            self._process.wait(_END_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _read_reply(self) -> None:
        try:
            reply = self._socket.recv(REPLY.size)
        except BlockingIOError:
            return
        except OSError:
            reply = b""
        if len(reply) < REPLY.size:
            self._lose()
            return
        self._is_ready = True
        on_end, self._on_end = self._on_end, None
        if on_end is not None:
            number, seconds = REPLY.unpack(reply)
            on_end(OSError(number, os.strerror(number)) if number else None, seconds)

    def _lose(self) -> None:
        if not self._disconnect():
            return
        self._process.kill()
        # A process that nobody waits for stays in the system's table. It closes its socket before
        # it has ended, and one that waits for a disk ends when the disk lets it.
        threading.Thread(target=self._process.wait, name="end-of-sync", daemon=True).start()
        self._on_lost()
        on_end, self._on_end = self._on_end, None
        if on_end is not None:
            on_end(SyncProcessLostError(), 0.0)

    def _disconnect(self) -> bool:
        """Let go of the process; return False if that was done before."""
        if self._socket.fileno() < 0:
            return False
        self._is_ready = False
        self._loop.remove_reader(self._socket)
        self._socket.close()
        return True


def _start(command: tuple[str, ...], standard_input: socket.socket) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - the command is ours
        command,
        stdin=standard_input.fileno(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment_without_secrets(),
    )
