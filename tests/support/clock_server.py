"""The server with a clock that a test sets: nanoseconds since 1970, read from a file.

Run as `python -m tests.support.clock_server <file> run <flags>`.
"""

import sys
from pathlib import Path

from tests.support.altered_server import run_altered


def main() -> None:
    clock_file = Path(sys.argv.pop(1))
    run_altered(clock=lambda: int(clock_file.read_text()))


if __name__ == "__main__":
    main()
