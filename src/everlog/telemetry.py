"""The server's log on standard output: JSON lines, or lines for a person at a terminal.

Start-up and its options, warnings, errors, fatal conditions. Never a request, a body, a token or
a key: whoever logs passes fields by name, and no field here comes from a client. What an
unexpected error says is not written either, since it may quote what a client sent: only its kind
and where it was raised.

Guarantees that logging neither raises nor waits: a full disk or a closed pipe behind standard
output, or one that nobody reads, must not keep a write from being answered. A thread of its own
writes the lines in their order. What does not get out is dropped and counted, and a line says how
many there were as soon as there is a way.
"""

import asyncio
import logging
import math
import os
import re
import select
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from enum import IntEnum
from functools import partial
from pathlib import PurePath
from traceback import format_tb
from typing import Any, Final, NamedTuple, TextIO

import msgspec

from everlog.domain.time import next_event_time
from everlog.texts import is_coloured, to_printable, to_unicode


class Level(IntEnum):
    """How much a line matters; the lower ones can be left out."""

    DEBUG = 0
    INFO = 1
    WARN = 2
    ERROR = 3
    FATAL = 4


LEVELS: Final = tuple(level.name.lower() for level in Level)

# The form of lines: `auto` is text where a terminal shows them, and JSON elsewhere.
LOG_FORMATS: Final = ("auto", "json", "text")

_STANDARD_OUTPUT: Final = 1

# Lines, in bytes, that wait for somebody to read those before them: some thousands.
WAITING_SIZE_MAX: Final = 1024 * 1024

# How long the end of the server waits for the last lines to be taken.
_FLUSH_SECONDS_MAX: Final = 1.0

_AGAIN_SECONDS: Final = 0.1

# A chain of causes longer than that is a circle or tells nothing new.
_CAUSES_MAX: Final = 8

_SELDOM_SECONDS: Final = 60.0

# How long a time is that ends with its milliseconds.
_MILLISECONDS: Final = len("2026-11-23T12:00:00.123")

# By the level: what a terminal is told for its colour.
_COLOURS: Final = {"debug": "2", "info": "32", "warn": "33", "error": "31", "fatal": "1;31"}

_needs_quotes: Final = re.compile(r"[\s\"=]").search


class Log:
    """Writes lines of at least one level."""

    def __init__(
        self,
        *,
        level: Level = Level.INFO,
        form: str = "json",
        file: int = _STANDARD_OUTPUT,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """Write to a descriptor, standard output unless told otherwise, in a form of `LOG_FORMATS`.

        The clock returns nanoseconds since 1970.
        """
        self.level: Final = level
        self._encode: Final = _encoder(form, file)
        self._output: Final = _Output(file, self._render_gap)
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

    def flush(self) -> None:
        """Return when all lines are written, or are not taken for a second."""
        self._output.flush(_FLUSH_SECONDS_MAX)

    def say(self, level: Level, message: str, fields: dict[str, object]) -> None:
        """Write a line of another process of this server."""
        self._write(level, message, fields)

    def _write(self, level: Level, message: str, fields: dict[str, object]) -> None:
        if level >= self.level:
            self._output.put(self._render(level, message, fields))

    def _render(self, level: Level, message: str, fields: dict[str, object]) -> bytes:
        line = {
            "time": next_event_time(self._clock(), previous=0)[1],
            "level": level.name.lower(),
            "message": message,
            **fields,
        }
        return self._encode(line)

    def _render_gap(self, count: int) -> bytes:
        message = "lines of this log were dropped: nobody took them"
        return self._render(Level.WARN, message, {"count": count})


def _encoder(form: str, file: int) -> Callable[[dict[str, object]], bytes]:
    """Return what makes a line of its members, for whoever reads the descriptor."""
    if form == "json" or (form == "auto" and not os.isatty(file)):
        return _to_json
    return partial(_to_text, has_colours=is_coloured(file))


def _to_json(line: dict[str, object]) -> bytes:
    try:
        return msgspec.json.encode(line, enc_hook=str) + b"\n"
    except UnicodeEncodeError:
        return msgspec.json.encode(_to_unicode(line), enc_hook=str) + b"\n"


def _to_text(line: dict[str, object], *, has_colours: bool) -> bytes:
    """Return a line as a person reads it: a traceback stands below it, all else beside it."""
    # As strings, numbers, booleans and arrays or objects of those.
    members = msgspec.json.decode(_to_json(line))
    moment, level, message = (str(members.pop(name)) for name in ("time", "level", "message"))
    below = str(members.pop("traceback", "")).splitlines()
    shown = f"{level.upper():<5}"
    if has_colours:
        shown = f"\033[{_COLOURS[level]}m{shown}\033[0m"
    beside = "".join(f"  {name}={_shown(value)}" for name, value in members.items())
    first = f"{moment[:_MILLISECONDS]}Z {shown} {to_printable(message)}{beside}"
    return "\n".join([first, *(f"    {to_printable(each)}" for each in below), ""]).encode()


def _shown(value: object) -> str:
    """Return a field's value on one line, in quotes where one could not tell where it ends."""
    if isinstance(value, dict):
        # Options that nobody gave would hide the others.
        value = {name: each for name, each in value.items() if each not in (None, "")}
    if isinstance(value, str) and value and not _needs_quotes(value):
        return to_printable(value)
    return to_printable(msgspec.json.encode(value).decode())


class _Entry(NamedTuple):
    """A line that waits, and how many were dropped just before it."""

    line: bytes
    dropped_count: int


class _Output:
    """Lines on their way to a descriptor, which may block, fail, or be gone."""

    def __init__(self, file: int, render_gap: Callable[[int], bytes]) -> None:
        """Start the thread with the first line; `render_gap` says that so many lines are missing.

        The descriptor is left as it is: whether it blocks is the matter of all who share it.
        """
        self._file: Final = file
        self._render_gap: Final = render_gap
        # Of the same thread as often as it likes: a line may be logged while one is being put here.
        self._changed: Final = threading.Condition()
        self._waiting: Final[deque[_Entry]] = deque()
        self._size = 0
        # Since the last line that found room here.
        self._dropped_count = 0
        self._thread: threading.Thread | None = None
        # Of the thread: what it could not write since the last line, and whether that has no end.
        self._lost_count = 0
        self._is_line_torn = False

    def put(self, line: bytes) -> None:
        """Have a line written, or drop it where too many wait."""
        with self._changed:
            if self._size + len(line) > WAITING_SIZE_MAX:
                self._dropped_count += 1
                return
            self._append(line)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="log", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def flush(self, seconds_max: float) -> None:
        """Return when no line waits any more, but not later than that."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting, seconds_max)

    def _append(self, line: bytes) -> None:
        self._waiting.append(_Entry(line, self._dropped_count))
        self._size += len(line)
        self._dropped_count = 0

    def _run(self) -> None:
        while True:
            try:
                self._take_next()
            except Exception:  # noqa: BLE001 - there may be no memory now, and some later.
                time.sleep(_AGAIN_SECONDS)

    def _take_next(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting)
            entry = self._waiting[0]
        self._write(entry)
        with self._changed:
            # Only now, so that who waits for the end waits for this one too.
            self._waiting.popleft()
            self._size -= len(entry.line)
            if not self._waiting and self._dropped_count > 0:
                # No line may come for a long time that would say so.
                self._append(b"")
            self._changed.notify_all()

    def _write(self, entry: _Entry) -> None:
        self._lost_count += entry.dropped_count
        try:
            gap = self._render_gap(self._lost_count) if self._lost_count > 0 else b""
            self._write_all(b"\n" * self._is_line_torn + gap + entry.line)
        except Exception:  # noqa: BLE001 - whatever it is, the next line may get out.
            self._lost_count += entry.line != b""
        else:
            self._lost_count = 0

    def _write_all(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._file, rest) :]
            except BlockingIOError:
                # Somebody who has the same descriptor wants it like this.
                poll = select.poll()
                poll.register(self._file, select.POLLOUT)
                poll.poll()
            except OSError:
                self._is_line_torn = self._is_line_torn or len(rest) < len(data)
                raise
        self._is_line_torn = False


def _to_unicode(value: object) -> object:
    """Return a value of a line with all of its texts like that."""
    if isinstance(value, str | PurePath):
        return to_unicode(str(value))
    if isinstance(value, dict):
        return {_to_unicode(name): _to_unicode(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [*map(_to_unicode, value)]
    return value


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
