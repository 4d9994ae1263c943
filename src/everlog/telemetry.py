"""The server's log: JSON lines on standard output.

Start-up and its options, warnings, errors, fatal conditions. Never a request, a body, a token or
a key: whoever logs passes fields by name, and no field here comes from a client. What an
unexpected error says is not written either, since it may quote what a client sent: only its kind
and where it was raised.

Guarantees that logging never raises: a full disk or a closed pipe behind standard output must not
keep a write from being answered.
"""

import asyncio
import logging
import math
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from enum import IntEnum
from traceback import format_tb
from typing import IO, Any, Final, TextIO

import msgspec

from everlog.domain.time import next_event_time


class Level(IntEnum):
    """How much a line matters; the lower ones can be left out."""

    DEBUG = 0
    INFO = 1
    WARN = 2
    ERROR = 3
    FATAL = 4


LEVELS: Final = tuple(level.name.lower() for level in Level)

# A chain of causes longer than that is a circle or tells nothing new.
_CAUSES_MAX: Final = 8

_SELDOM_SECONDS: Final = 60.0


class Log:
    """Writes lines of at least one level."""

    def __init__(
        self,
        *,
        level: Level = Level.INFO,
        output: IO[str] | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """Write to standard output unless told otherwise."""
        self._level: Final = level
        self._output: Final = output or sys.stdout
        self._clock: Final = clock
        self._bug_count = 0

    @property
    def bug_count(self) -> int:
        """How many errors there were that nobody expected."""
        return self._bug_count

    def debug(self, message: str, **fields: object) -> None:
        """Tell what only somebody looking for a fault wants to know."""
        self._write(Level.DEBUG, message, fields)

    def info(self, message: str, **fields: object) -> None:
        """Tell what went as it should."""
        self._write(Level.INFO, message, fields)

    def warning(self, message: str, **fields: object) -> None:
        """Tell what somebody should look at soon."""
        self._write(Level.WARN, message, fields)

    def error(self, message: str, **fields: object) -> None:
        """Tell what went wrong."""
        self._write(Level.ERROR, message, fields)

    def fatal(self, message: str, **fields: object) -> None:
        """Tell what keeps the server from doing its work."""
        self._write(Level.FATAL, message, fields)

    def bug(self, error: BaseException) -> None:
        """Tell about an error that nobody expected: where it was raised, not what it says."""
        self._bug_count += 1
        traceback = "\n".join(_frames(error))
        self.error("unexpected error", error=type(error).__name__, traceback=traceback)

    def _write(self, level: Level, message: str, fields: dict[str, object]) -> None:
        if level < self._level:
            return
        line = {
            "time": next_event_time(self._clock(), previous=0)[1],
            "level": level.name.lower(),
            "message": message,
            **fields,
        }
        text = msgspec.json.encode(line, enc_hook=str).decode() + "\n"
        # ValueError is what a closed stream raises, and what text that it cannot encode does.
        with suppress(OSError, ValueError):
            self._output.write(text)
            self._output.flush()


class Seldom:
    """Tells the same thing once a minute at most, and then how often it was not told since."""

    def __init__(
        self, tell: Callable[..., None], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Tell the next time; the clock returns seconds, and never goes back."""
        self._tell: Final = tell
        self._clock: Final = clock
        self._due_at = -math.inf
        self._untold = 0

    def __call__(self, message: str, **fields: object) -> None:
        """Tell it now, or count it."""
        now = self._clock()
        if now < self._due_at:
            self._untold += 1
            return
        untold = {"untold": self._untold} if self._untold else {}
        self._tell(message, **fields, **untold)
        self._due_at, self._untold = now + _SELDOM_SECONDS, 0


def catch_uncaught_errors(log: Log) -> None:
    """Send to the log what Python would otherwise print, in full, to standard error."""

    def report_thread(arguments: threading.ExceptHookArgs) -> None:
        log.bug(arguments.exc_value or arguments.exc_type())

    def report_unraisable(arguments: Any) -> None:
        log.bug(arguments.exc_value or arguments.exc_type())

    def report_warning(
        message: Warning | str,  # noqa: ARG001 - what it says may quote a client.
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,  # noqa: ARG001 - the hook's.
        line: str | None = None,  # noqa: ARG001 - the hook's.
    ) -> None:
        log.warning("a library warns", kind=category.__name__, file=filename, line=lineno)

    threading.excepthook = report_thread
    sys.unraisablehook = report_unraisable
    warnings.showwarning = report_warning
    # Without one of ours, the last resort of `logging` would print to standard error.
    logging.getLogger().addHandler(_Forwarding(log))


class _Forwarding(logging.Handler):
    """Tells that a library has logged something, and where, but not what."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log: Final = log

    def emit(self, record: logging.LogRecord) -> None:
        where = {"file": record.pathname, "line": record.lineno}
        self._log.warning("a library warns", kind=record.name, **where)


def catch_errors_of_loop(
    log: Log, loop: asyncio.AbstractEventLoop, *, on_step_lost: Callable[[], None]
) -> None:
    """Send to the log what the event loop would otherwise print to standard error.

    Where memory was missing for one of its own steps, somebody may wait for ever for what that
    step would have done, be it the loop itself: then `on_step_lost` is called.
    """

    def report(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        # The context's message names the callback with its arguments, which may be events.
        error = context.get("exception")
        try:
            if isinstance(error, BaseException):
                log.bug(error)
            else:
                log.error("the event loop met something unexpected")
        finally:
            # There may have been no memory for telling either.
            if isinstance(error, MemoryError) and "handle" in context:
                on_step_lost()

    loop.set_exception_handler(report)


def _frames(error: BaseException) -> Iterator[str]:
    """Yield where an error and what led to it were raised, the last one first."""
    cause: BaseException | None = error
    for _ in range(_CAUSES_MAX):
        if cause is None:
            return
        frames = "".join(format_tb(cause.__traceback__))
        yield f"{frames}{type(cause).__qualname__}"
        cause = cause.__cause__ or cause.__context__
