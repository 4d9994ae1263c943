"""The process of an audit: reads what the server has stored up to a head, and tells what it finds.

Started by the server with a socket (`service.auditing`), and gone with it: when the server's end of
it closes, for whatever reason, the process ends at once. It reads by the independent reader
(`maintenance`), in the folders that the server has open, and compares the index in the server's
memory, which it has inherited.

Guarantees that nobody who has something better to do waits for it: it runs only while a processor
has nothing else to do, as far as the system knows such a thing, and its reading of the disk has the
same rank. Where others want the processors too, it pauses most of the time besides, since what it
takes may be counted as the server's share. If memory is short, the system ends it before the
server.
"""

import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from everlog.domain.errors import DataDirectoryError
from everlog.domain.limits import AUDIT_FINDINGS_MAX
from everlog.maintenance.audit import Head, Progress, audit_up_to, head_of_server
from everlog.maintenance.audit_history import AuditedEvent, OtherHash, audit_history
from everlog.maintenance.audit_index import MemoryIndex
from everlog.maintenance.audit_log import DurableBound
from everlog.maintenance.files import Folder
from everlog.maintenance.findings import Finding, Weight
from everlog.service.auditing_messages import (
    LENGTH,
    Answer,
    Audited,
    AuditHead,
    AuditHistory,
    Broken,
    End,
    EventTypeNames,
    Failed,
    Found,
    Job,
    Mismatched,
    Progressed,
    Ready,
    Request,
    Verified,
    VerifyStore,
    decode_request,
    encode,
)

_NICENESS: Final = 19

# As for the processes of queries, and more: those have a client that waits for something small.
_OUT_OF_MEMORY_SCORE: Final = 700
_OUT_OF_MEMORY_FILE: Final = Path("/proc/self/oom_score_adj")

_PROGRESS_SECONDS: Final = 1.0

# In nanoseconds: how long this process ran, and how long it waited for a processor.
_SCHEDULING_FILE: Final = Path("/proc/self/schedstat")

# Others want the processors if it waited for more than this share of the time that it ran; then it
# pauses for so many times as long as it ran, but not for longer than that.
_WAITING_SHARE: Final = 0.1
_PAUSE_RATIO: Final = 4
_PAUSE_SECONDS_MAX: Final = 0.2

# A finding may quote what a damaged file holds.
_TEXT_LENGTH_MAX: Final = 1_000

# Who says where the log ends, in findings.
_SERVER: Final = "the server"

Send = Callable[[Answer], None]


def main() -> None:
    """Run one job, unless the server goes before it is done."""
    # A person's Ctrl+C is meant for the server, which then ends us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _step_back()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    job = _read()
    assert isinstance(job, Job)
    _send(run_job(job, _read, _watch, _send))


def _step_back() -> None:
    """Let everybody else go first, for processors, disks and memory; a sandbox may forbid it."""
    with suppress(OSError):
        os.nice(_NICENESS)
    if hasattr(os, "SCHED_IDLE"):
        with suppress(OSError):
            # The system gives what it reads the same rank (`ioprio_set(2)`).
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    with suppress(OSError):
        _OUT_OF_MEMORY_FILE.write_text(str(_OUT_OF_MEMORY_SCORE))


def run_job(job: Job, read: Callable[[], Request], on_read: Callable[[], None], send: Send) -> End:
    """Run a job, tell what is found, and return how it ended.

    `on_read` is called when there is nothing more to be read.
    """

    def find_head() -> Head:
        send(Ready())
        names: list[str] = []
        while isinstance(request := read(), EventTypeNames):
            names += request.names
        assert isinstance(request, AuditHead)
        on_read()
        return _head_of(directory, request, names)

    directory = Folder(job.directory, Path())
    try:
        if isinstance(job, VerifyStore):
            return _verify_store(directory, find_head, send)
        return _audit_history(job, directory, find_head(), send)
    except DataDirectoryError as error:
        return Failed(str(error))
    except OSError as error:
        return Failed(error.strerror or type(error).__name__)
    except Exception as error:  # noqa: BLE001 - the server says it in its log
        return Failed(f"its process met a bug ({type(error).__name__})")


def _verify_store(directory: Folder, find_head: Callable[[], Head], send: Send) -> Verified:
    told = {True: 0, False: 0}
    for found in audit_up_to(directory, find_head, on_progress=_telling(send)):
        if not isinstance(found, Finding):
            return Verified(found.event_count, found.finding_count, found.notice_count)
        is_error = found.weight is not Weight.NOTICE
        told[is_error] += 1
        if told[is_error] <= AUDIT_FINDINGS_MAX:
            send(Found(is_error, _shorten(found.text)))
    raise AssertionError


def _audit_history(job: AuditHistory, directory: Folder, head: Head, send: Send) -> End:
    last = None if job.last_audited is None else AuditedEvent(*job.last_audited)
    found = audit_history(directory, head, last, on_progress=_telling(send))
    match found:
        case Finding():
            return Broken(found.event_id, _shorten(found.text))
        case OtherHash():
            return Mismatched(found.hash)
        case _:
            return Audited(None if found is None else (found.event_id, found.hash))


def _head_of(directory: Folder, head: AuditHead, names: list[str]) -> Head:
    bound = DurableBound(head.event_count, head.log_size, head.schemas_size, _SERVER)
    memory = MemoryIndex(head.columns, names) if head.columns else None
    return head_of_server(directory, bound, head.hash, memory)


class _Pauses:
    """The pauses that an audit takes where others want the processors, too."""

    def __init__(self) -> None:
        self._ran, self._waited = _scheduling()

    def take_if_due(self) -> None:
        """Pause, if others had to be waited for since the last call."""
        ran, waited = _scheduling()
        run_seconds = (ran - self._ran) / 1e9
        if waited - self._waited > (ran - self._ran) * _WAITING_SHARE:
            time.sleep(min(run_seconds * _PAUSE_RATIO, _PAUSE_SECONDS_MAX))
        self._ran, self._waited = _scheduling()


def _scheduling() -> tuple[int, int]:
    """Return the nanoseconds that this process ran, and waited; 0 where the system keeps none."""
    try:
        ran, waited, *_ = map(int, _SCHEDULING_FILE.read_bytes().split())
    except (OSError, ValueError):
        return 0, 0
    return ran, waited


def _telling(send: Send) -> Callable[[Progress], None]:
    told_at, pauses = time.monotonic(), _Pauses()

    def tell(progress: Progress) -> None:
        nonlocal told_at
        pauses.take_if_due()
        if time.monotonic() >= told_at + _PROGRESS_SECONDS:
            told_at = time.monotonic()
            send(Progressed(progress.done, progress.total))

    return tell


def _shorten(text: str) -> str:
    text = text.encode(errors="replace").decode()
    return text if len(text) <= _TEXT_LENGTH_MAX else f"{text[:_TEXT_LENGTH_MAX]}..."


def _read() -> Request:
    """Return what the server sends next; end where it is gone."""
    [length] = LENGTH.unpack(_read_bytes(LENGTH.size))
    request: Request = decode_request(_read_bytes(length))
    return request


def _read_bytes(size: int) -> bytes:
    parts = list[bytes]()
    while size > 0:
        part = os.read(sys.stdin.fileno(), size)
        if not part:
            os._exit(0)
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _watch() -> None:
    """End this process when the server's end of the socket closes."""
    threading.Thread(target=_wait_for_end, daemon=True).start()


def _wait_for_end() -> None:
    try:
        os.read(sys.stdin.fileno(), 1)
    finally:
        # Whatever it was: nobody would be heard any more.
        os._exit(0)


def _send(answer: Answer) -> None:
    content = memoryview(encode(answer))
    while content:
        content = content[os.write(sys.stdout.fileno(), content) :]


if __name__ == "__main__":
    main()
