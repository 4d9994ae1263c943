"""The server's log: JSON lines on standard output.

Start-up and its options, warnings, errors, fatal conditions. Never a request, a body, a token or
a key: whoever logs passes fields by name, and no field here comes from a client.
"""

import sys
import time
from collections.abc import Callable
from enum import IntEnum
from traceback import format_exception
from typing import IO, Final

import msgspec

from everlog.domain.time import format_time, next_event_time


class Level(IntEnum):
    """How much a line matters; the lower ones can be left out."""

    DEBUG = 0
    INFO = 1
    WARN = 2
    ERROR = 3
    FATAL = 4


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
        """Tell about an error that nobody expected: where it was raised, not what it says.

        An unexpected error's text may quote what a client sent.
        """
        frames = "".join(format_exception(type(error), None, error.__traceback__))
        self.error("unexpected error", error=type(error).__name__, traceback=frames)

    def _write(self, level: Level, message: str, fields: dict[str, object]) -> None:
        if level < self._level:
            return
        line = {
            "time": format_time(next_event_time(self._clock(), previous=0)),
            "level": level.name.lower(),
            "message": message,
            **fields,
        }
        self._output.write(msgspec.json.encode(line, enc_hook=str).decode() + "\n")
        self._output.flush()
