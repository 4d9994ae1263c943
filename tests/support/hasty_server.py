"""The server with little patience, on a disk that does what a test says, or on the real one.

Run as `python -m tests.support.hasty_server <file or -> run <flags>`: see `faulty_server` for the
file; `-` is the real disk.
"""

import sys
from pathlib import Path
from typing import Final

from everlog import bootstrap
from everlog.service.writing import commit_watch
from tests.support.altered_server import run_altered
from tests.support.faulty_server import FaultyDisk

HANGS_AFTER_SECONDS: Final = 0.5
GRACE_SECONDS: Final = 0.5
STOP_SECONDS: Final = 2.0


def main() -> None:
    vars(commit_watch).update(
        HANGS_AFTER_SECONDS=HANGS_AFTER_SECONDS, _SAID_AGAIN_SECONDS=0.3, _LOOK_SECONDS=0.05
    )
    vars(bootstrap).update(_GRACE_SECONDS=GRACE_SECONDS, _STOP_SECONDS_MAX=STOP_SECONDS)
    condition = sys.argv.pop(1)
    run_altered(disk=None if condition == "-" else FaultyDisk(Path(condition)))


if __name__ == "__main__":
    main()
