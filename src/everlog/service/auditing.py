"""Audits: the processes that read all that is stored while the server goes on, and what they tell.

An audit would hold the interpreter's lock for minutes. So it runs in a process of its own, which
reads the same files as of one head and steps back for everybody else. Whoever stops asking ends it,
the server's end does, and that it dies harms nobody but who asked.
What is left to others: what an audit looks at (`audit_worker`), and what its findings mean to
clients (`verify_store`, `audit_history`).
"""

import asyncio
import signal
import sys
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, suppress
from typing import Final, NamedTuple

import msgspec

from everlog.domain.errors import Code, RefusedError, TooManyAuditsError
from everlog.domain.known_event import KnownEvent
from everlog.domain.limits import AUDITS_MAX
from everlog.service.auditing_messages import (
    LENGTH,
    MESSAGE_SIZE_MAX,
    Answer,
    Audited,
    AuditHead,
    AuditHistory,
    Broken,
    End,
    EndInOrder,
    EventTypeNames,
    Failed,
    Found,
    Job,
    Mismatched,
    Progressed,
    Ready,
    Request,
    Told,
    Verified,
    VerifyStore,
    decode_answer,
    encode,
)
from everlog.service.child_process import ChildProcess
from everlog.service.permits import Permits
from everlog.storage.engine import Engine, StoreFiles

HEARTBEAT_INTERVAL_SECONDS: Final = 1.0

_BUFFER_SIZE: Final = 64 * 1024

# Some tens of KB, unless they are very long.
_NAMES_PER_MESSAGE: Final = 1_024

# How long the end of a process is awaited that was killed, or closed its socket.
_END_SECONDS_MAX: Final = 2.0

_SENSELESS: Final = "its process said what makes no sense"

_NAMES_OF_SIGNALS: Final = {number.value: number.name for number in signal.Signals}


class AuditReport(NamedTuple):
    """How an audit ended that came to its end."""

    # What clients call it.
    name: str
    event_count: int
    error_count: int
    warning_count: int
    seconds: float

    @property
    def fields(self) -> Mapping[str, object]:
        """All of it by the names that the log of the server has."""
        return {
            "name": self.name,
            "eventCount": self.event_count,
            "errorCount": self.error_count,
            "warningCount": self.warning_count,
            "seconds": round(self.seconds, 3),
        }


class AuditFailedError(RefusedError):
    """An audit did not come to its end; asking again may succeed."""

    def __init__(self, reason: str) -> None:
        super().__init__(Code.AUDIT_FAILED, f"the audit did not come to its end: {reason}")
        self.reason: Final = reason


class Audits:
    """The audits of one store, each in a process of its own."""

    def __init__(
        self,
        engine: Engine,
        *,
        on_ended: Callable[[AuditReport], None],
        on_failed: Callable[[AuditFailedError], None],
        command: tuple[str, ...] = (sys.executable, "-m", "everlog.audit_worker"),
    ) -> None:
        """Start none yet; of each, `on_ended` is told, or `on_failed` if it came to no end."""
        self._engine: Final = engine
        self._on_ended: Final = on_ended
        self._on_failed: Final = on_failed
        self._command: Final = command
        self.permits: Final = Permits(AUDITS_MAX, _too_many)
        self._closing: Final = asyncio.Event()
        self._ending: Final[set[asyncio.Task[None]]] = set()

    async def verify_store(self) -> AsyncGenerator[Found | Verified | None, None]:
        """Yield what is found, at last how much of it there is, and a None each second meanwhile.

        Raises:
            AuditFailedError: It did not come to its end; what was found before has been yielded.
            RefusedError: The server is going down.
        """
        begun_at = time.monotonic()
        async with aclosing(self._run(VerifyStore)) as answers:
            async for answer in answers:
                if answer is None or isinstance(answer, Found):
                    yield answer
                elif isinstance(answer, Verified):
                    counts = (answer.event_count, answer.error_count, answer.warning_count)
                    seconds = time.monotonic() - begun_at
                    self._on_ended(AuditReport("verify-store", *counts, seconds))
                    yield answer

    async def audit_history(
        self, last_audited: KnownEvent | None
    ) -> AsyncGenerator[Audited | Mismatched | Broken | None, None]:
        """Yield how it ended, after a None each second; raises what `verify_store` does."""
        begun_at, head = time.monotonic(), self._engine.head

        def job_in(directory: int) -> Job:
            return AuditHistory(directory, last_audited)

        async with aclosing(self._run(job_in)) as answers:
            async for answer in answers:
                if answer is None:
                    yield answer
                elif isinstance(answer, Audited | Mismatched | Broken):
                    if not isinstance(answer, Mismatched):
                        counts = (head.event_count, int(isinstance(answer, Broken)), 0)
                        seconds = time.monotonic() - begun_at
                        self._on_ended(AuditReport("audit-history", *counts, seconds))
                    yield answer

    def end(self) -> None:
        """Refuse and end all audits."""
        self._closing.set()

    async def close(self) -> None:
        """Return when no process is there any more, once all audits have been ended.

        One that waits for a disk that hangs is killed, and left.
        """
        if self._ending:
            await asyncio.wait(self._ending, timeout=_END_SECONDS_MAX)

    async def _run(
        self, job_in: Callable[[int], Job]
    ) -> AsyncGenerator[Told | EndInOrder | None, None]:
        """Run a job in a process, and yield its answers, and a None each second."""
        files = self._engine.store_files(self._engine.head)
        if files is None:
            raise AuditFailedError("this store has no files that a process could read")
        if self._closing.is_set():
            raise _shutting_down()
        try:
            process = await self._start(files)
            try:
                async with aclosing(self._converse(process, job_in(files.directory))) as answers:
                    async for answer in answers:
                        yield answer
            finally:
                self._end(process)
        except AuditFailedError as error:
            self._on_failed(error)
            raise

    async def _start(self, files: StoreFiles) -> ChildProcess:
        try:
            return await ChildProcess.start(
                self._command, inherited=files.inherited, buffer_size=_BUFFER_SIZE
            )
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise AuditFailedError(f"its process cannot be started: {reason}") from error

    def _end(self, process: ChildProcess) -> None:
        """Kill a process, and see to it that nothing is left of it, while others go on."""
        process.kill()
        process.input.close()
        task = asyncio.get_running_loop().create_task(_wait(process))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _converse(
        self, process: ChildProcess, job: Job
    ) -> AsyncGenerator[Told | EndInOrder | None, None]:
        loop = asyncio.get_running_loop()
        closing = loop.create_task(self._closing.wait())
        reading = loop.create_task(_read(process))
        due_at = loop.time() + HEARTBEAT_INTERVAL_SECONDS
        progress: Progressed | None = None
        try:
            await _send(process, job)
            while True:
                # In this order: whoever is told much is told that time passes, too.
                if loop.time() >= due_at:
                    due_at = loop.time() + HEARTBEAT_INTERVAL_SECONDS
                    yield None
                await asyncio.wait(
                    {reading, closing},
                    timeout=max(due_at - loop.time(), 0),
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if closing.done():
                    raise _shutting_down()
                if not reading.done():
                    continue
                answer = await reading
                match answer:
                    case Ready():
                        await self._tell_head(process)
                    case Progressed():
                        progress = answer
                        yield answer
                    case Failed():
                        raise AuditFailedError(answer.reason)
                    case _:
                        yield answer
                if isinstance(answer, End):
                    return
                reading = loop.create_task(_read(process))
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            reason = await _describe_end(process)
            if progress is not None:
                sizes = f"{progress.done_size} of {progress.total_size}"
                reason = f"{reason}, after {sizes} bytes of the log"
            raise AuditFailedError(reason) from error
        finally:
            closing.cancel()
            reading.cancel()
            # Whoever went away does not ask why nothing could be read any more.
            reading.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def _tell_head(self, process: ChildProcess) -> None:
        head = self._engine.head
        files = self._engine.store_files(head)
        # As there were some before.
        assert files is not None
        names = files.event_types
        for first in range(0, len(names), _NAMES_PER_MESSAGE):
            await _send(process, EventTypeNames(names[first : first + _NAMES_PER_MESSAGE]))
        await _send(
            process,
            AuditHead(
                event_count=head.event_count,
                log_size=head.log_size,
                schemas_size=files.schemas_size,
                hash=head.hash,
                columns=files.columns,
            ),
        )


async def _send(process: ChildProcess, request: Request) -> None:
    try:
        process.input.write(encode(request))
    except RuntimeError as error:
        # uvloop says so of a socket whose other end has closed.
        raise ConnectionResetError from error
    await process.input.drain()


async def _read(process: ChildProcess) -> Answer:
    [length] = LENGTH.unpack(await process.output.readexactly(LENGTH.size))
    if length > MESSAGE_SIZE_MAX:
        raise AuditFailedError(_SENSELESS)
    content = await process.output.readexactly(length)
    try:
        answer: Answer = decode_answer(content)
    except msgspec.MsgspecError as error:
        raise AuditFailedError(_SENSELESS) from error
    return answer


async def _describe_end(process: ChildProcess) -> str:
    """Return what ended a process: the name of a signal, or its exit code."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_END_SECONDS_MAX):
            code = await process.wait()
            if code < 0:
                name = _NAMES_OF_SIGNALS.get(-code, f"signal {-code}")
                return f"its process was ended by {name}, perhaps for lack of memory"
            return f"its process ended with exit code {code}"
    return "its process closed its socket"


async def _wait(process: ChildProcess) -> None:
    await process.wait()


def _too_many(count_max: int) -> TooManyAuditsError:
    running = "an audit is" if count_max == 1 else f"{count_max} audits are"
    return TooManyAuditsError(f"{running} running already: ask again when it has ended")


def _shutting_down() -> RefusedError:
    return RefusedError(Code.SERVER_SHUTTING_DOWN, "the server is shutting down")
