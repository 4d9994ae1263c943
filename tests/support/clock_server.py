"""The server with a clock that a test sets: nanoseconds since 1970, read from a file.

Run as `python -m tests.support.clock_server <file> run <flags>`.
"""

import sys
from collections.abc import Callable
from pathlib import Path

from tests.support.altered_server import run_altered


def clock_of(file: Path) -> Callable[[], int]:
    """Return the clock that shows what stands in a file."""
    return lambda: int(file.read_text())


def main() -> None:
    run_altered(clock=clock_of(Path(sys.argv.pop(1))))


if __name__ == "__main__":
    main()
