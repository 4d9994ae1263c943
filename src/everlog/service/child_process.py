"""Processes that the server starts while it serves, and how it speaks with them.

Starting one copies the tables of all memory of the server where it is done by `fork`, as the event
loop does it: some tenths of a second for some gigabytes, in which nobody is served. So it is done
without a copy (`vfork`), and on a thread, since the system may take its time. They are spoken with
over a socket, which is their standard input and output.
What is left to others: what is said.
"""

import asyncio
import os
import socket
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Final, Self

from everlog.environment import environment_without_secrets
from everlog.threads import call_on_thread


class ChildProcess:
    """A process of ours; on the event loop's thread only."""

    def __init__(
        self,
        process: "subprocess.Popen[bytes]",
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """Take over a process whose standard input and output are the other end of the streams."""
        self._process: Final = process
        # So that nothing is left of it when it has ended, whoever ended it.
        self._ended: Final = call_on_thread(process.wait)
        self.output: Final = reader
        self.input: Final = writer

    @classmethod
    async def start(
        cls,
        command: tuple[str, ...],
        *,
        inherited: Sequence[int] = (),
        buffer_size: int,
        has_own_group: bool = False,
    ) -> Self:
        """Start a process, which inherits some open files under their numbers.

        Whoever is cancelled meanwhile leaves nothing behind.

        Raises:
            OSError: The system refuses to.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            reader, writer = await asyncio.open_unix_connection(sock=ours, limit=buffer_size)
            starting = call_on_thread(
                partial(_start, command, theirs.dup(), inherited, has_own_group=has_own_group)
            )
        try:
            return cls(await asyncio.shield(starting), reader, writer)
        except asyncio.CancelledError:
            writer.close()
            starting.add_done_callback(_forget)
            raise
        except OSError:
            writer.close()
            raise

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it is still there."""
        if self._process.returncode is not None:
            return False
        # The thread may not have been told yet.
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        with suppress(ChildProcessError):
            return os.waitid(os.P_PID, self.pid, options) is None
        return False

    def kill(self) -> None:
        """End it, whatever it does."""
        with suppress(ProcessLookupError):
            self._process.kill()

    async def wait(self) -> int:
        """Return its exit code once it has ended; the number of a signal below zero."""
        return await asyncio.shield(self._ended)


def _start(
    command: tuple[str, ...],
    standard_streams: socket.socket,
    inherited: Sequence[int],
    *,
    has_own_group: bool,
) -> "subprocess.Popen[bytes]":
    with standard_streams:
        return subprocess.Popen(  # noqa: S603 - the command is ours
            command,
            stdin=standard_streams.fileno(),
            stdout=standard_streams.fileno(),
            stderr=subprocess.DEVNULL,
            env=environment_without_secrets(),
            pass_fds=inherited,
            start_new_session=has_own_group,
        )


def _forget(starting: "asyncio.Future[subprocess.Popen[bytes]]") -> None:
    """End a process that nobody waits for any more, as soon as it is there."""
    if not starting.cancelled() and starting.exception() is None:
        process = starting.result()
        process.kill()
        call_on_thread(process.wait)
