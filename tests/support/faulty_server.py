"""The server on a disk that does what a test says, word by word, in a file.

Run as `python -m tests.support.faulty_server <file> run <flags>`; see `Condition` for the words.
"""

import errno
import os
import sys
import time
from enum import StrEnum
from pathlib import Path

from everlog.storage.log.disk import PosixDisk
from tests.support.altered_server import run_altered


class Condition(StrEnum):
    """What state the disk is in."""

    GOOD = "good"
    # Every sync waits for the condition to change.
    HOLDING = "holding"
    # Every sync fails.
    FAILING = "failing"
    # There is no room for anything more.
    FULL = "full"


class FaultyDisk(PosixDisk):
    """The real disk in the condition that a file names."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def write(self, file: int, data: bytes | memoryview, offset: int) -> int:
        self._check_room()
        return super().write(file, data, offset)

    def allocate(self, file: int, offset: int, size: int) -> None:
        self._check_room()
        super().allocate(file, offset, size)

    def sync_data(self, file: int) -> None:
        while self._condition is Condition.HOLDING:
            time.sleep(0.002)
        if self._condition is Condition.FAILING:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().sync_data(file)

    @property
    def _condition(self) -> Condition:
        return Condition(self._file.read_text())

    def _check_room(self) -> None:
        if self._condition is Condition.FULL:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def entry_point(file: Path) -> tuple[str, ...]:
    """Return the beginning of the command that starts the server, with a good disk."""
    set_condition(file, Condition.GOOD)
    return (sys.executable, "-m", "tests.support.faulty_server", str(file))


def set_condition(file: Path, condition: Condition) -> None:
    draft = file.with_suffix(".new")
    draft.write_text(condition.value)
    # In one step: the server may be reading.
    draft.replace(file)


def main() -> None:
    run_altered(disk=FaultyDisk(Path(sys.argv.pop(1))))


if __name__ == "__main__":
    main()
