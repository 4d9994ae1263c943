"""The server with a clock that a test sets by a file.

It holds nanoseconds since 1970, which the clock shows until somebody writes others, or with a sign
how many it is ahead of or behind the system's.

Run as `python -m tests.support.clock_server <file> run <flags>`.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.support.altered_server import run_altered


def clock_of(file: Path) -> Callable[[], int]:
    """Return the clock that shows what stands in a file."""

    def read() -> int:
        text = file.read_text()
        return int(text) + (time.time_ns() if text[0] in "+-" else 0)

    return read


def main() -> None:
    run_altered(clock=clock_of(Path(sys.argv.pop(1))))


if __name__ == "__main__":
    main()
