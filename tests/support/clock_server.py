"""The server with a clock that a test sets by a file.

It holds nanoseconds since 1970, which the clock shows until somebody writes others, or with a sign
how many it is ahead of or behind the system's.

Run as `python -m tests.support.clock_server <file> run <flags>`.
"""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.support.altered_server import run_altered

_TEXT_SIZE_MAX: Final = 64


def clock_of(file: Path) -> Callable[[], int]:
    """Return the clock that shows what stands in a file."""

    def read() -> int:
        # Reading must write nothing, for which it might have to wait.
        opened = os.open(file, os.O_RDONLY | getattr(os, "O_NOATIME", 0))
        text = os.read(opened, _TEXT_SIZE_MAX).decode()
        os.close(opened)
        return int(text) + (time.time_ns() if text[0] in "+-" else 0)

    return read


def main() -> None:
    run_altered(clock=clock_of(Path(sys.argv.pop(1))))


if __name__ == "__main__":
    main()
