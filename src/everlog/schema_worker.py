"""The process that judges: compiles schemas, and judges data against them.

Started by the server with pipes (`service.judging`), and gone with it: when the server's end of the
pipe closes, it ends. The work is done by a child of it, which the system ends when compiling,
judging or explaining takes more processor time or memory than it may: what computes then cannot be
interrupted otherwise. To begin anew with another child takes a millisecond, and the server need
not do it.
"""

import os
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache, partial
from mmap import mmap
from typing import Final

import msgspec

from everlog.domain.errors import RefusedError
from everlog.domain.limits import SCHEMA_MEMORY_SIZE_MAX, SCHEMA_SECONDS_MAX
from everlog.domain.schema import (
    EventSchema,
    compile_event_schema,
    explain_violation,
    matches,
    recompile_event_schema,
)
from everlog.service.judging_messages import JudgingFault, JudgingJob
from everlog.service.querying.messages import FRAME_HEADER, FrameKind, encode_frame

# Whoever writes without asking for much goes first.
_NICENESS: Final = 5

# The schemas of types that are written now stay compiled.
_SCHEMAS_KEPT: Final = 8

_decode_job = msgspec.msgpack.Decoder(JudgingJob).decode
_decode_data = msgspec.json.Decoder(dict[str, object]).decode


def main() -> None:
    """Judge until the server is gone."""
    # A person's Ctrl+C is meant for the server, which then ends us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(PermissionError):
        os.nice(_NICENESS)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Whether a job is being run, for the parent to know when its child is gone.
    is_busy = mmap(-1, 1)
    while True:
        child = os.fork()
        if child == 0:
            resource.setrlimit(resource.RLIMIT_DATA, (SCHEMA_MEMORY_SIZE_MAX,) * 2)
            _serve(is_busy)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.waitstatus_to_exitcode(status) == 0:
            return
        if is_busy[0]:
            is_busy[0] = 0
            _send(FrameKind.FAULT, b"")


def _serve(is_busy: mmap) -> None:
    while len(header := _read(FRAME_HEADER.size)) == FRAME_HEADER.size:
        size, kind = FRAME_HEADER.unpack(header)
        content = _read(size)
        # Nothing else can be heard while a job runs, and it runs for moments only.
        if kind == FrameKind.JOB:
            is_busy[0] = 1
            end = run_job(_decode_job(content), partial(_send, FrameKind.ROWS))
            is_busy[0] = 0
            _send(*end)


def _read(size: int) -> bytes:
    """Return so many bytes, or fewer at the end; never more, which nobody else could read then."""
    parts = list[bytes]()
    while size > 0 and (part := os.read(sys.stdin.fileno(), size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _send(kind: FrameKind, content: bytes) -> None:
    # Shorter than what a pipe takes at once.
    os.write(sys.stdout.fileno(), encode_frame(kind, content))


def run_job(job: JudgingJob, note: Callable[[bytes], None]) -> tuple[FrameKind, bytes]:
    """Run a job, note how far it has come, and return the frame that ends it."""
    try:
        return FrameKind.END, _run(job, note)
    except RefusedError as error:
        fault = JudgingFault(error.code, error.message, error.details)
        return FrameKind.FAULT, msgspec.msgpack.encode(fault)
    except MemoryError:
        # Whatever else would need some of it, too.
        os._exit(1)
    except Exception as error:  # noqa: BLE001 - the server says it in its log
        return FrameKind.BUG, type(error).__name__.encode()
    finally:
        _limit_processor_time(0)


def _run(job: JudgingJob, note: Callable[[bytes], None]) -> bytes:
    _limit_processor_time(SCHEMA_SECONDS_MAX)
    schema = _compiled(job.event_type, job.schema, job.is_registered)
    note(msgspec.msgpack.encode(None))
    _limit_processor_time(SCHEMA_SECONDS_MAX)
    for index, text in enumerate(job.data):
        data = _decode_data(text)
        if not matches(schema, data):
            note(msgspec.msgpack.encode(index))
            _limit_processor_time(SCHEMA_SECONDS_MAX)
            return explain_violation(schema, data).encode()
    return b""


@lru_cache(_SCHEMAS_KEPT)
def _compiled(event_type: str, text: str, is_registered: bool) -> EventSchema:  # noqa: FBT001 - a key
    if is_registered:
        return recompile_event_schema(event_type, text)
    return compile_event_schema(event_type, text.encode())


def _limit_processor_time(seconds: float) -> None:
    """Let the system end this process after so much more processor time; 0 is for ever."""
    signal.setitimer(signal.ITIMER_PROF, seconds)


if __name__ == "__main__":
    main()
