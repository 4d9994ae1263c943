"""The process that judges: compiles schemas, and judges data against them.

Started by the server with pipes (`service.judging`), and gone with it: when the server's end of the
pipe closes, the process ends. It ends by itself when compiling, judging or explaining takes more
processor time than it may, or more memory: what computes then cannot be interrupted otherwise.
"""

import os
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
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
_NICENESS: Final = 10

# The schemas of types that are written now stay compiled.
_SCHEMAS_KEPT: Final = 8

_decode_job = msgspec.msgpack.Decoder(JudgingJob).decode
_decode_data = msgspec.json.Decoder(dict[str, object]).decode

Send = Callable[[FrameKind, bytes], None]


def main() -> None:
    """Judge until the server is gone."""
    # A person's Ctrl+C is meant for the server, which then ends us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(PermissionError):
        os.nice(_NICENESS)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (SCHEMA_MEMORY_SIZE_MAX, SCHEMA_MEMORY_SIZE_MAX))
    source = sys.stdin.buffer
    with os.fdopen(sys.stdout.fileno(), "wb", buffering=0, closefd=False) as target:

        def send(kind: FrameKind, content: bytes) -> None:
            frame = memoryview(encode_frame(kind, content))
            while frame:
                frame = frame[target.write(frame) :]

        while len(header := source.read(FRAME_HEADER.size)) == FRAME_HEADER.size:
            size, kind = FRAME_HEADER.unpack(header)
            content = source.read(size)
            # Nothing else can be heard while a job runs, and it runs for moments only.
            if kind == FrameKind.JOB:
                run_job(_decode_job(content), send)


def run_job(job: JudgingJob, send: Send) -> None:
    """Run a job and say how it ended."""
    try:
        _run(job, send)
    except RefusedError as error:
        fault = JudgingFault(error.code, error.message, error.details)
        send(FrameKind.FAULT, msgspec.msgpack.encode(fault))
    except MemoryError:
        # Whatever else would need some of it, too.
        os._exit(1)
    except Exception as error:  # noqa: BLE001 - the server says it in its log
        send(FrameKind.BUG, type(error).__name__.encode())
    finally:
        _limit_processor_time(0)


def _run(job: JudgingJob, send: Send) -> None:
    _limit_processor_time(SCHEMA_SECONDS_MAX)
    schema = _compiled(job.event_type, job.schema, job.is_registered)
    send(FrameKind.ROWS, msgspec.msgpack.encode(None))
    _limit_processor_time(SCHEMA_SECONDS_MAX)
    for index, text in enumerate(job.data):
        data = _decode_data(text)
        if not matches(schema, data):
            send(FrameKind.ROWS, msgspec.msgpack.encode(index))
            _limit_processor_time(SCHEMA_SECONDS_MAX)
            send(FrameKind.END, explain_violation(schema, data).encode())
            return
    send(FrameKind.END, b"")


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
