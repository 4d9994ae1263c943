"""The processes in which long queries run.

A long scan in this process would hold the interpreter's lock, and writers and observers would
wait. So it runs in a process of its own, which reads the same files and has a lower priority. When
its client goes away, its job is taken back, and if it does not listen, it is killed. One that has
nothing to do is kept for the next query.
"""

import asyncio
import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, Self

from everlog.service.child_process import ChildProcess
from everlog.service.querying.messages import (
    FRAME_HEADER,
    FRAME_SIZE_MAX,
    FrameKind,
    encode_frame,
)

# Enough for a frame, so that one is sent while the other is being computed.
_BUFFER_SIZE: Final = 512 * 1024

# Starting one takes a tenth of a second, keeping one some 40 MB.
_IDLE_MAX: Final = 2

# A job looks at each block whether it is still wanted, but it may be busy with something larger.
_CANCEL_SECONDS_MAX: Final = 0.5

# How long the end of a process is awaited that closed its socket, to tell what ended it.
_END_SECONDS_MAX: Final = 2.0

_NAMES_OF_SIGNALS: Final = {number.value: number.name for number in signal.Signals}

_KINDS: Final = frozenset(FrameKind)


class QueryProcessLostError(Exception):
    """A process did not do what it was asked to: it ended, or never began; it is not used again."""


class QueryProcessDiedError(QueryProcessLostError):
    """A process ended without having been asked to; the system may have taken its memory."""


class QueryProcessGarbledError(QueryProcessLostError):
    """A process said what makes no sense."""


class QueryProcessUnstartableError(QueryProcessLostError):
    """The system does not start a process."""


class QueryProcess:
    """One process, which runs one job after the other."""

    def __init__(self, process: ChildProcess) -> None:
        """Take over a process that waits for its first job."""
        self._process: Final = process
        self._input: Final = process.input
        self._output: Final = process.output
        # Whether it waits for a job.
        self.is_free = True
        # Of a frame whose content has not been read yet.
        self._header: tuple[int, int] | None = None

    @classmethod
    async def start(cls, command: tuple[str, ...], inherited: Sequence[int] = ()) -> Self:
        """Start a process, which inherits some open files under their numbers.

        Raises:
            QueryProcessUnstartableError: The system refuses to.
        """
        try:
            process = await ChildProcess.start(
                command, inherited=inherited, buffer_size=_BUFFER_SIZE
            )
        except OSError as error:
            raise QueryProcessUnstartableError(error.strerror or type(error).__name__) from error
        return cls(process)

    @property
    def is_alive(self) -> bool:
        """Whether it is still there."""
        return self._process.is_alive

    async def run(
        self, frames: AsyncIterable[bytes]
    ) -> AsyncGenerator[tuple[FrameKind, bytes], None]:
        """Send the frames of one job, and yield what the process says, up to what ends the job.

        Raises:
            QueryProcessLostError: The process ended on its own, or says what makes no sense.
        """
        self.is_free = False
        try:
            async for frame in frames:
                await self._send(frame)
            while not self.is_free:
                yield await self._read_frame()
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise QueryProcessDiedError(await self._describe_end()) from error

    async def cancel(self) -> None:
        """Take back the job that runs; the process is then free, unless it does not listen."""
        with suppress(
            asyncio.IncompleteReadError, ConnectionError, QueryProcessLostError, TimeoutError
        ):
            async with asyncio.timeout(_CANCEL_SECONDS_MAX):
                await self._send(encode_frame(FrameKind.CANCEL, b""))
                while not self.is_free:
                    await self._read_frame()

    async def _send(self, frame: bytes) -> None:
        try:
            self._input.write(frame)
        except RuntimeError as error:
            # uvloop says so of a socket whose other end has closed.
            raise ConnectionResetError from error
        await self._input.drain()

    async def _read_frame(self) -> tuple[FrameKind, bytes]:
        """Return the next frame, wherever reading it was given up before."""
        if self._header is None:
            header = await self._output.readexactly(FRAME_HEADER.size)
            self._header = FRAME_HEADER.unpack(header)
        size, code = self._header
        if size > FRAME_SIZE_MAX or code not in _KINDS:
            raise QueryProcessGarbledError
        content = await self._output.readexactly(size)
        self._header = None
        kind = FrameKind(code)
        self.is_free = kind is not FrameKind.ROWS
        return kind, content

    async def _describe_end(self) -> str:
        """Return what ended the process: the name of a signal, or its exit code."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_END_SECONDS_MAX):
                code = await self._process.wait()
                return _NAMES_OF_SIGNALS.get(-code, f"exit code {code}")
        return "it closed its socket"

    async def end(self) -> None:
        """Kill the process, whatever it does, and return when it is gone."""
        self._process.kill()
        self._input.close()
        await self._process.wait()


class QueryProcesses:
    """A number of processes, lent out one query at a time."""

    def __init__(
        self,
        *,
        count_max: int,
        on_lost: Callable[[QueryProcessLostError], None],
        inherited: Sequence[int] = (),
        command: tuple[str, ...] = (sys.executable, "-m", "everlog.query_worker"),
    ) -> None:
        """Start none yet; each inherits some open files, under their numbers.

        `on_lost` is told why a process could not do what it was asked to.
        """
        self._on_lost: Final = on_lost
        self._inherited: Final = inherited
        self._command: Final = command
        self._turns: Final = asyncio.Semaphore(count_max)
        self._idle: Final[list[QueryProcess]] = []
        self._ending: Final[set[asyncio.Task[None]]] = set()
        self._is_closed = False

    @asynccontextmanager
    async def borrow(self) -> AsyncGenerator[QueryProcess, None]:
        """Lend a process, waiting for one where all are busy.

        Raises:
            QueryProcessLostError: None can be started; or what the borrower met of that kind.
        """
        async with self._turns:
            try:
                process = await self._take()
                try:
                    yield process
                finally:
                    self._take_back(process)
            except QueryProcessLostError as error:
                self._on_lost(error)
                raise

    async def close(self) -> None:
        """End all processes, the busy ones too, once they are given back."""
        self._is_closed = True
        while self._idle:
            self._end(self._idle.pop())
        while self._ending:
            await asyncio.wait(self._ending)

    async def _take(self) -> QueryProcess:
        while self._idle:
            process = self._idle.pop()
            if process.is_alive:
                return process
            self._end(process)
        return await QueryProcess.start(self._command, self._inherited)

    def _take_back(self, process: QueryProcess) -> None:
        if process.is_free or self._is_closed:
            self._keep_or_end(process)
        else:
            self._start(self._cancel(process))

    async def _cancel(self, process: QueryProcess) -> None:
        await process.cancel()
        self._keep_or_end(process)

    def _keep_or_end(self, process: QueryProcess) -> None:
        is_usable = process.is_free and process.is_alive and not self._is_closed
        if is_usable and len(self._idle) < _IDLE_MAX:
            self._idle.append(process)
        else:
            self._end(process)

    def _end(self, process: QueryProcess) -> None:
        self._start(process.end())

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        # Somebody else's time: whoever gives a process back may have been cancelled.
        task = asyncio.get_running_loop().create_task(work)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
