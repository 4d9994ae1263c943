"""The process of a query: reads the log's files, runs one job after the other, writes rows.

Started by the server with a socket (`service.querying.processes`), and gone with it: when the
server's end of it closes, for whatever reason, the process ends at once.
"""

import os
import pickle
import random
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from queue import SimpleQueue
from typing import BinaryIO, Final

import msgspec

from everlog.domain.signature import SigningKey, sign
from everlog.eventql.diagnostic import QueryLimitError
from everlog.eventql.limits import (
    AGGREGATES_SIZE_MAX,
    PROCESS_MEMORY_MAX,
    ROW_SIZE_MAX,
    QueryLimits,
)
from everlog.eventql.planning.plan import ALL, EventScan, Plan
from everlog.eventql.query import EvaluationContext, execute, prepare
from everlog.service.querying.faults import QUERY_FAULTS, QueryFault, tell
from everlog.service.querying.log import Needs, aggregate, needs_of
from everlog.service.querying.messages import (
    FRAME_HEADER,
    FoundScan,
    FrameKind,
    Job,
    RowForm,
    encode_frame,
)
from everlog.storage.log.reading import LogView

# Whoever writes or observes goes first.
_NICENESS: Final = 10

# If the system has no memory left, it should end this process rather than the server, which has
# more of it: so many thousandths are added to what it looks at.
_OUT_OF_MEMORY_SCORE: Final = 500
_OUT_OF_MEMORY_FILE: Final = Path("/proc/self/oom_score_adj")

# Whose coming means that a job has been taken back.
_INTERRUPTION: Final = signal.SIGUSR1

# Rows go out when there are so many bytes of them, or when it is so long since some went out.
_FRAME_SIZE: Final = 128 * 1024
_FRAME_INTERVAL_SECONDS: Final = 0.02

_encode: Final = msgspec.msgpack.Encoder().encode
_decode_job: Final = msgspec.msgpack.Decoder(Job).decode
_decode_scan: Final = msgspec.msgpack.Decoder(FoundScan).decode
_decode_names: Final = msgspec.msgpack.Decoder(list[str]).decode

# A server asks what a text needs, and then for its rows.
_prepare: Final[Callable[[str], Plan]] = lru_cache(1)(prepare)

Frame = tuple[FrameKind, bytes]
Send = Callable[[FrameKind, bytes], None]


class JobCancelledError(Exception):
    """The server has taken back a job."""


class Inbox:
    """What comes from the server, in its order.

    A job that is taken back is interrupted wherever it is, even within a row, by a signal to this
    process. So a query pays nothing for being asked whether somebody still waits.
    """

    def __init__(self, interrupt: Callable[[], None] = lambda: None) -> None:
        """Begin empty; `interrupt` sends the signal that leads to `interrupt_job`."""
        self._interrupt: Final = interrupt
        self._frames: Final[SimpleQueue[Frame]] = SimpleQueue()
        # Whether the latest job has been taken back, and may be interrupted where it is.
        self._is_cancelled = False
        self._is_interruptible = False

    def put(self, kind: FrameKind, content: bytes) -> None:
        """Take a frame, on another thread than all else."""
        if kind in _BEGINNINGS:
            # Never before the one before has ended.
            self._is_cancelled = False
        self._frames.put((kind, content))
        if kind is FrameKind.CANCEL:
            self._is_cancelled = True
            self._interrupt()

    def interrupt_job(self, *_: object) -> None:
        """Give up the job that was taken back, unless a frame is being sent."""
        if self._is_interruptible:
            self.check_is_wanted()

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let the block be interrupted, in which nothing is sent.

        Raises:
            JobCancelledError: Nobody waits for the answer any more.
        """
        try:
            self._is_interruptible = True
            self.check_is_wanted()
            yield
        finally:
            self._is_interruptible = False

    def wait_for_job(self) -> Frame:
        """Return the first frame of the next job."""
        while True:
            frame = self._frames.get()
            # What is left of a job that was taken back, or had a fault, concerns nobody.
            if frame[0] in _BEGINNINGS:
                return frame

    def next(self, kind: FrameKind) -> bytes:
        """Return the content of the next frame of a job.

        Raises:
            JobCancelledError: Nobody waits for the answer any more.
        """
        found, content = self._frames.get()
        if found is FrameKind.CANCEL:
            raise JobCancelledError
        assert found is kind
        return content

    def check_is_wanted(self) -> None:
        """Raise a `JobCancelledError` if nobody waits for the answer any more."""
        if self._is_cancelled:
            raise JobCancelledError


_BEGINNINGS: Final = frozenset({FrameKind.JOB, FrameKind.PREPARE})


class LocatedLog:
    """The log as a query sees it, where the server has found what the query's scans select."""

    def __init__(self, view: LogView, job: Job, needs: Needs, inbox: Inbox) -> None:
        """Take what the query needs out of the inbox, and answer that and nothing else."""
        self._view = view
        self._event_count = job.files.event_count
        self._found: Final[dict[EventScan, FoundScan]] = {
            scan: _decode_scan(inbox.next(FrameKind.SCAN)) for scan in needs.scans
        }
        self._subjects = _names(inbox) if needs.has_subjects else None
        self._event_types = _names(inbox) if needs.has_event_types else None

    def scan(self, scan: EventScan) -> Iterator[bytes]:
        """Return blocks of whole stored lines."""
        return self._view.scan(self._found[scan].located)

    def count(self, scan: EventScan) -> int:
        """Return how many events a scan selects."""
        if scan == ALL:
            return self._event_count
        return self._found[scan].located.event_count

    def count_by_event_type(self, scan: EventScan) -> dict[str, int]:
        """Return the same by type."""
        counts = self._found[scan].count_by_event_type
        assert counts is not None
        return counts

    def subjects(self) -> Iterator[Sequence[str]]:
        """Yield all subjects, in one chunk."""
        assert self._subjects is not None
        yield self._subjects

    def event_types(self) -> Sequence[str]:
        """Return all event types."""
        assert self._event_types is not None
        return self._event_types


def _names(inbox: Inbox) -> list[str]:
    names: list[str] = []
    while content := inbox.next(FrameKind.NAMES):
        names += _decode_names(content)
    return names


class RowFrames:
    """Gathers rows, since each frame costs the server a tenth of a millisecond."""

    def __init__(self, form: RowForm, send: Callable[[FrameKind, bytes], None]) -> None:
        """Send the first rows at once."""
        self._form: Final = form
        self._send: Final = send
        self._blocks: list[bytes] = []
        self._size = 0
        self._due_at = 0.0

    def add(self, rows: list[bytes]) -> None:
        """Take rows, or none, and send what has become enough or has waited long enough.

        Raises:
            QueryLimitError: A row is too large; those before it have been taken.
        """
        if sum(map(len, rows)) <= _FRAME_SIZE:
            self._add(rows)
            return
        for row in rows:
            if len(row) > ROW_SIZE_MAX:
                raise QueryLimitError(
                    f"a row of the query takes more than {ROW_SIZE_MAX} bytes as JSON"
                )
            if len(row) > _FRAME_SIZE:
                # Alone: the server passes it on as it is.
                self.flush()
            self._add([row])

    def _add(self, rows: list[bytes]) -> None:
        if rows:
            block = self._form.render(rows)
            self._blocks.append(block)
            self._size += len(block)
        if self._size >= _FRAME_SIZE or (self._size and time.monotonic() >= self._due_at):
            self.flush()

    def flush(self) -> None:
        """Send what is there."""
        if self._blocks:
            self._send(FrameKind.ROWS, b"".join(self._blocks))
            self._blocks.clear()
            self._size = 0
            self._due_at = time.monotonic() + _FRAME_INTERVAL_SECONDS


def main() -> None:
    """Run jobs until the server is gone."""
    # A person's Ctrl+C is meant for the server, which then ends us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(PermissionError):
        # A sandbox may forbid even this; the query then competes with the server.
        os.nice(_NICENESS)
    with suppress(OSError):
        _OUT_OF_MEMORY_FILE.write_text(str(_OUT_OF_MEMORY_SCORE))
    resource.setrlimit(resource.RLIMIT_DATA, (PROCESS_MEMORY_MAX, PROCESS_MEMORY_MAX))
    main_thread = threading.main_thread().ident
    assert main_thread is not None
    inbox = Inbox(lambda: signal.pthread_kill(main_thread, _INTERRUPTION))
    signal.signal(_INTERRUPTION, inbox.interrupt_job)
    threading.Thread(target=_receive, args=(sys.stdin.buffer, inbox), daemon=True).start()
    with os.fdopen(sys.stdout.fileno(), "wb", buffering=0, closefd=False) as target:

        def send(kind: FrameKind, content: bytes) -> None:
            frame = memoryview(encode_frame(kind, content))
            while frame:
                frame = frame[target.write(frame) :]

        while True:
            run_next(inbox, send)


def run_next(inbox: Inbox, send: Send) -> None:
    """Wait for a job, run it and say how it ended."""
    kind, content = inbox.wait_for_job()
    try:
        if kind is FrameKind.PREPARE:
            with inbox.interruptible():
                needs = needs_of(_prepare(content.decode()))
            send(FrameKind.NEEDS, _encode(needs))
        else:
            _run(_decode_job(content), inbox, send)
    except JobCancelledError:
        send(FrameKind.END, b"")
    except QUERY_FAULTS as fault:
        _send_fault(fault, send)
    except MemoryError as error:
        message = str(error) or "the query needs more memory than it may have"
        _send_fault(QueryLimitError(message), send)
    except OSError as error:
        send(FrameKind.UNREADABLE, (error.strerror or type(error).__name__).encode())
    except Exception as error:  # noqa: BLE001 - the server says it in its log
        send(FrameKind.BUG, type(error).__name__.encode())


def _send_fault(fault: QueryFault, send: Send) -> None:
    send(FrameKind.FAULT, _encode(tell(fault)))


def _run(job: Job, inbox: Inbox, send: Send) -> None:
    with inbox.interruptible():
        plan = _prepare(job.text)
    context = _evaluation_context(job)
    with LogView(job.files) as view:
        log = LocatedLog(view, job, needs_of(plan), inbox)
        if job.is_incremental:
            with inbox.interruptible():
                content = pickle.dumps(aggregate(plan, log, context))
            _send_aggregation(content, send)
            return
        frames = RowFrames(job.form, send)
        chunks = execute(plan, log, context)
        try:
            while True:
                with inbox.interruptible():
                    rows = next(chunks, None)
                if rows is None:
                    break
                frames.add(rows)
        finally:
            # What was found before an error is told before it.
            frames.flush()
    send(FrameKind.END, b"")


def _send_aggregation(content: bytes, send: Send) -> None:
    if len(content) > AGGREGATES_SIZE_MAX:
        raise QueryLimitError(
            f"what the query aggregates takes more than {AGGREGATES_SIZE_MAX} bytes"
        )
    send(FrameKind.AGGREGATION, content)


def _evaluation_context(job: Job) -> EvaluationContext:
    key = None if job.signing_key is None else SigningKey.from_pem(job.signing_key)
    return EvaluationContext(
        now=job.now,
        random=random.random,
        sign=None if key is None else lambda hash_: sign(key, hash_),
        limits=QueryLimits(),
    )


def _receive(source: BinaryIO, inbox: Inbox) -> None:
    """Take frames from the server; its end of the socket closes when it ends, however it does so.

    A socket of which the other end was closed with something unread in it says that it was reset.
    """
    try:
        while len(header := source.read(FRAME_HEADER.size)) == FRAME_HEADER.size:
            size, kind = FRAME_HEADER.unpack(header)
            inbox.put(FrameKind(kind), source.read(size))
    finally:
        # Whatever it was: nobody would be heard any more.
        os._exit(0)


if __name__ == "__main__":
    main()
