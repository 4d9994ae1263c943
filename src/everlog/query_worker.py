"""The process of a query: reads the log's files, runs one job after the other, writes rows.

Started by the server with pipes (`service.querying.processes`), and gone with it: when the server's
end of the pipe closes, for whatever reason, the process ends at once.
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
from contextlib import suppress
from queue import SimpleQueue
from typing import BinaryIO, Final

import msgspec

from everlog.domain.signature import SigningKey, sign
from everlog.eventql.diagnostic import QueryLimitError, QueryUnevaluableError
from everlog.eventql.limits import QueryLimits
from everlog.eventql.planning.plan import EventScan
from everlog.eventql.query import EvaluationContext, execute, prepare, scans_of
from everlog.service.querying.log import aggregate
from everlog.service.querying.messages import (
    FRAME_HEADER,
    Fault,
    FoundScan,
    FrameKind,
    Job,
    RowForm,
    encode_frame,
)
from everlog.storage.log.reading import LogView

# Whoever writes or observes goes first.
_NICENESS: Final = 10

# Far above what the limits of a query allow; a last resort, so that one query cannot take a
# machine's memory.
_MEMORY_SIZE_MAX: Final = 4 * 1024 * 1024 * 1024

# Rows go out when there are so many bytes of them, or when it is so long since some went out.
_FRAME_SIZE: Final = 128 * 1024
_FRAME_INTERVAL_SECONDS: Final = 0.02

_decode_job = msgspec.msgpack.Decoder(Job).decode


class JobCancelledError(Exception):
    """The server has taken back a job."""


class LocatedLog:
    """The log as a query sees it, where the server has found what the query's scans select."""

    def __init__(
        self,
        view: LogView,
        job: Job,
        scans: tuple[EventScan, ...],
        check_is_wanted: Callable[[], None],
    ) -> None:
        """Answer these scans and no others."""
        self._view = view
        self._check_is_wanted = check_is_wanted
        self._job = job
        self._found: Final[dict[EventScan, FoundScan]] = dict(zip(scans, job.scans, strict=True))

    def scan(self, scan: EventScan) -> Iterator[bytes]:
        """Yield blocks of whole stored lines.

        Raises:
            JobCancelledError: Nobody waits for the answer any more.
        """
        for block in self._view.scan(self._found[scan].located):
            self._check_is_wanted()
            yield block

    def count(self, scan: EventScan) -> int:
        """Return how many events a scan selects."""
        return self._found[scan].located.event_count

    def count_by_event_type(self, scan: EventScan) -> dict[str, int]:
        """Return the same by type."""
        counts = self._found[scan].count_by_event_type
        assert counts is not None
        return counts

    def subjects(self) -> Iterator[Sequence[str]]:
        """Yield all subjects, in one chunk."""
        assert self._job.subjects is not None
        yield self._job.subjects

    def event_types(self) -> Sequence[str]:
        """Return all event types."""
        assert self._job.event_types is not None
        return self._job.event_types


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
        """Take rows, or none, and send what has become enough or has waited long enough."""
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
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY_SIZE_MAX, _MEMORY_SIZE_MAX))
    jobs: SimpleQueue[tuple[bytes, threading.Event]] = SimpleQueue()
    source = sys.stdin.buffer
    threading.Thread(target=_receive, args=(source, jobs.put), daemon=True).start()
    with os.fdopen(sys.stdout.fileno(), "wb", buffering=0, closefd=False) as target:

        def send(kind: FrameKind, content: bytes) -> None:
            frame = memoryview(encode_frame(kind, content))
            while frame:
                frame = frame[target.write(frame) :]

        while True:
            content, is_cancelled = jobs.get()
            run_job(_decode_job(content), send, is_cancelled)


def run_job(
    job: Job, send: Callable[[FrameKind, bytes], None], is_cancelled: threading.Event
) -> None:
    """Run a job and say how it ended."""
    try:
        _run(job, send, is_cancelled)
    except JobCancelledError:
        send(FrameKind.END, b"")
    except QueryUnevaluableError as error:
        found = error.diagnostic
        fault = Fault(found.message, (found.span.start, found.span.end), found.hint, error.event_id)
        send(FrameKind.FAULT, msgspec.msgpack.encode(fault))
    except (QueryLimitError, MemoryError) as error:
        message = str(error) or "the query needs more memory than it may have"
        send(FrameKind.FAULT, msgspec.msgpack.encode(Fault(message, None, None, None)))
    except Exception as error:  # noqa: BLE001 - the server says it in its log
        send(FrameKind.BUG, type(error).__name__.encode())


def _run(job: Job, send: Callable[[FrameKind, bytes], None], is_cancelled: threading.Event) -> None:
    def check_is_wanted() -> None:
        if is_cancelled.is_set():
            raise JobCancelledError

    plan = prepare(job.text)
    context = _evaluation_context(job)
    scans = scans_of(plan)
    with LogView(job.files) as view:
        log = LocatedLog(view, job, scans, check_is_wanted)
        if job.is_incremental:
            send(FrameKind.AGGREGATION, pickle.dumps(aggregate(plan, log, context)))
            return
        frames = RowFrames(job.form, send)
        try:
            for rows in execute(plan, log, context):
                check_is_wanted()
                frames.add(rows)
        finally:
            # What was found before an error is told before it.
            frames.flush()
    send(FrameKind.END, b"")


def _evaluation_context(job: Job) -> EvaluationContext:
    key = None if job.signing_key is None else SigningKey.from_pem(job.signing_key)
    return EvaluationContext(
        now=job.now,
        random=random.random,
        sign=None if key is None else lambda hash_: sign(key, hash_),
        limits=QueryLimits(),
    )


def _receive(source: BinaryIO, put: Callable[[tuple[bytes, threading.Event]], None]) -> None:
    """Take jobs from the server; its end of the pipe closes when it ends, however it does so."""
    is_cancelled = threading.Event()
    while len(header := source.read(FRAME_HEADER.size)) == FRAME_HEADER.size:
        size, kind = FRAME_HEADER.unpack(header)
        content = source.read(size)
        if kind == FrameKind.JOB:
            is_cancelled = threading.Event()
            put((content, is_cancelled))
        else:
            # It may come when the job has ended already, but never after the next one.
            is_cancelled.set()
    os._exit(0)


if __name__ == "__main__":
    main()
