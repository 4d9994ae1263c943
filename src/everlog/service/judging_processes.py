"""The processes that judge: as many as are needed, and two at most.

A job takes some seconds at most, whatever it is, since the process sees to that (`schema_worker`).
So it is not taken back when nobody waits for it any more, and a process is never ended for it.
What is left to others: what a job's end means (`judging`).
"""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from everlog.domain.errors import BusyError
from everlog.judging_messages import (
    LENGTH,
    Compiled,
    Exceeded,
    JudgingJob,
    Message,
    Mismatched,
    decode_message,
    encode,
)
from everlog.service.child_process import ChildProcess

# One computes while the other is asked.
_COUNT_MAX: Final = 2

# What is said is short.
_BUFFER_SIZE: Final = 64 * 1024

_COMMAND: Final = (sys.executable, "-m", "everlog.schema_worker")


class JudgingProcesses:
    """Runs jobs, each in a process that has no other; on the event loop's thread only."""

    def __init__(self, command: tuple[str, ...] = _COMMAND) -> None:
        """Start none yet."""
        self._command: Final = command
        self._turns: Final = asyncio.Semaphore(_COUNT_MAX)
        self._idle: Final[list[ChildProcess]] = []
        self._all: Final[set[ChildProcess]] = set()

    async def run(self, job: JudgingJob) -> Sequence[Message]:
        """Return all that is said about a job, of which the last is how it ended.

        Whoever is cancelled while it runs waits for its end all the same.

        Raises:
            BusyError: The system starts no process.
        """
        async with self._turns:
            running = asyncio.get_running_loop().create_task(self._run(job))
            try:
                return await asyncio.shield(running)
            finally:
                while not running.done():
                    with suppress(asyncio.CancelledError):
                        await asyncio.wait([running])

    async def close(self) -> None:
        """End all processes, and with them what they do."""
        ending = [self._end(process) for process in tuple(self._all)]
        await asyncio.gather(*ending)

    async def _run(self, job: JudgingJob) -> Sequence[Message]:
        process = await self._take()
        messages = list[Message]()
        try:
            await _ask(process, job, messages)
        except (asyncio.IncompleteReadError, ConnectionError, RuntimeError):
            # Somebody has ended it; most often the system, for the memory that it took.
            messages.append(Exceeded())
            await self._end(process)
        else:
            self._idle.append(process)
        return messages

    async def _take(self) -> ChildProcess:
        while self._idle:
            process = self._idle.pop()
            if process.is_alive:
                return process
            await self._end(process)
        return await self._start()

    async def _end(self, process: ChildProcess) -> None:
        self._all.discard(process)
        if process.is_alive:
            with suppress(ProcessLookupError):
                # Its child, too, which may be in the middle of a job.
                os.killpg(process.pid, signal.SIGKILL)
        process.input.close()
        await process.wait()

    async def _start(self) -> ChildProcess:
        try:
            process = await ChildProcess.start(
                self._command, buffer_size=_BUFFER_SIZE, has_own_group=True
            )
        except OSError as error:
            raise BusyError("the system starts no process to judge events in") from error
        self._all.add(process)
        return process


async def _ask(process: ChildProcess, job: JudgingJob, messages: list[Message]) -> None:
    """Send a job, and take what is said about it up to its end."""
    process.input.write(encode(job))
    await process.input.drain()
    while not messages or isinstance(messages[-1], Compiled | Mismatched):
        [length] = LENGTH.unpack(await process.output.readexactly(LENGTH.size))
        messages.append(decode_message(await process.output.readexactly(length)))
