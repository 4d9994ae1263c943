"""The process that judges: compiles schemas, and judges data against them.

Started by the server with a socket (`service.judging`), and gone with it: when the server's end of
it closes, the process ends. The work is done by a child of it, which the system ends when
compiling, judging or explaining takes more processor time or memory than it may: what computes then
cannot be interrupted otherwise. To begin anew with another child takes a millisecond, and the
server need not do it.
"""

import os
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from mmap import mmap
from typing import Final

import msgspec

from everlog.domain.errors import RefusedError
from everlog.domain.json_text import to_float
from everlog.domain.limits import SCHEMA_MEMORY_SIZE_MAX, SCHEMA_SECONDS_MAX
from everlog.domain.schema import (
    EventSchema,
    compile_event_schema,
    explain_violation,
    matches,
    recompile_event_schema,
)
from everlog.judging_messages import (
    LENGTH,
    Compiled,
    End,
    Exceeded,
    Failed,
    Judged,
    JudgingJob,
    Message,
    Mismatched,
    Refused,
    decode_job,
    encode,
)

# Whoever writes without asking for much goes first.
_NICENESS: Final = 5

# The schemas of types that are written now stay compiled.
_SCHEMAS_KEPT: Final = 8

_decode_data = msgspec.json.Decoder(dict[str, object], float_hook=to_float).decode


def main() -> None:
    """Judge until the server is gone."""
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
            _send(Exceeded())


def _serve(is_busy: mmap) -> None:
    while len(header := _read(LENGTH.size)) == LENGTH.size:
        [length] = LENGTH.unpack(header)
        job = decode_job(_read(length))
        is_busy[0] = 1
        end = run_job(job, _send)
        is_busy[0] = 0
        _send(end)


def _read(size: int) -> bytes:
    """Return so many bytes, or fewer at the end; never more, which nobody else could read then."""
    parts = list[bytes]()
    while size > 0 and (part := os.read(sys.stdin.fileno(), size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _send(message: Message) -> None:
    # Shorter than what a socket takes at once.
    os.write(sys.stdout.fileno(), encode(message))


def run_job(job: JudgingJob, tell: Callable[[Message], None]) -> End:
    """Run a job, tell how far it has come, and return how it ended."""
    try:
        return Judged(_judge(job, tell))
    except RefusedError as error:
        return Refused(error.code, error.message, error.details)
    except MemoryError:
        # Whatever else would need some of it, too.
        os._exit(1)
    except Exception as error:  # noqa: BLE001 - the server says it in its log
        return Failed(type(error).__name__)
    finally:
        _limit_seconds(0)


def _judge(job: JudgingJob, tell: Callable[[Message], None]) -> str | None:
    _limit_seconds(SCHEMA_SECONDS_MAX)
    schema = _compiled(job.event_type, job.schema, is_registered=job.is_registered)
    tell(Compiled())
    _limit_seconds(SCHEMA_SECONDS_MAX)
    for index, text in enumerate(job.data):
        data = _decode_data(text)
        if not matches(schema, data):
            tell(Mismatched(index))
            _limit_seconds(SCHEMA_SECONDS_MAX)
            return explain_violation(schema, data)
    return None


@lru_cache(_SCHEMAS_KEPT)
def _compiled(event_type: str, text: str, *, is_registered: bool) -> EventSchema:
    if is_registered:
        return recompile_event_schema(event_type, text)
    return compile_event_schema(event_type, text.encode())


def _limit_seconds(seconds: float) -> None:
    """Let the system end this process after so much more processor time; 0 is for ever."""
    signal.setitimer(signal.ITIMER_PROF, seconds)


if __name__ == "__main__":
    main()
