"""The server on a disk that does what a test says, word by word, in a file.

Run as `python -m tests.support.faulty_server <file> run <flags>`; see `Condition` for the words.
"""

import errno
import os
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import Any

from everlog import query_worker
from everlog.service import child_process
from everlog.service.querying.processes import QueryProcesses
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
    # What is stored cannot be read, by the server and by the processes of its queries.
    UNREADABLE = "unreadable"
    # Not of the disk: the system starts no process.
    CROWDED = "crowded"


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


# The last argument of a query's process, instead of those of a server.
_QUERY_WORKER = "query-worker"


def _alter_reading(file: Path) -> None:
    """Let reading fail where the file says so."""
    pread, preadv = os.pread, os.preadv

    def check() -> None:
        if Condition(file.read_text()) is Condition.UNREADABLE:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def failing_pread(*arguments: Any) -> bytes:
        check()
        return pread(*arguments)

    def failing_preadv(*arguments: Any) -> int:
        check()
        return preadv(*arguments)

    vars(os).update(pread=failing_pread, preadv=failing_preadv)


def _alter_processes(file: Path) -> None:
    """Let the processes of queries fail where the file says so."""
    start = child_process._start

    def failing_start(*arguments: Any, **options: Any) -> Any:
        if Condition(file.read_text()) is Condition.CROWDED:
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return start(*arguments, **options)

    vars(child_process)["_start"] = failing_start
    command = (sys.executable, "-m", "tests.support.faulty_server", str(file), _QUERY_WORKER)
    defaults = QueryProcesses.__init__.__kwdefaults__
    assert defaults is not None
    defaults["command"] = command


def main() -> None:
    file = Path(sys.argv.pop(1))
    _alter_reading(file)
    if sys.argv[1:] == [_QUERY_WORKER]:
        query_worker.main()
        return
    _alter_processes(file)
    run_altered(disk=FaultyDisk(file))


if __name__ == "__main__":
    main()
