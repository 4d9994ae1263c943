"""A disk that is really full: a small file system of its own, or else a limit on files.

The file system lives in memory and in a namespace of its own, so that nobody else sees it and it
goes with the process that holds it. Where the system lets nobody make one, the largest size of a
file is limited instead, which always works.
"""

import contextlib
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

from tests.support.server import WATCHED, RunningServer
from tests.support.sources import REPOSITORY

# Room for the index and a few thousand small events, of which a part is taken from the beginning.
_SIZE: Final = 8 * 1024 * 1024
_BALLAST_SIZE: Final = 2 * 1024 * 1024

_MOUNT: Final = (
    'mount -t tmpfs -o size="$1" everlog "$2" && head -c "$3" /dev/zero > "$2/ballast" '
    "&& echo ready && exec cat"
)

# No file may become larger; the soft limit can be raised from outside.
_LIMITED: Final = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)), hard))
from tests.support.watchdog import main
main()
"""


class SmallDisk(Protocol):
    """Where a server runs out of room."""

    # The beginning of a command that starts Everlog there, and where its data directory lies.
    entry_point: tuple[str, ...]
    data_directory: Path

    def make_room(self, server: RunningServer) -> None:
        """Let there be more room than the server found."""


class _FileSystem:
    def __init__(self, folder: Path, holder: int) -> None:
        self._enter = (
            "nsenter",
            f"--target={holder}",
            "--user",
            "--mount",
            "--preserve-credentials",
            f"--wdns={REPOSITORY}",
        )
        self._folder = folder
        self.entry_point: tuple[str, ...] = (*self._enter, *WATCHED)
        self.data_directory = folder / "data"

    def make_room(self, server: RunningServer) -> None:
        del server
        subprocess.run([*self._enter, "rm", str(self._folder / "ballast")], check=True)


class _LimitOfFiles:
    def __init__(self, folder: Path) -> None:
        self.entry_point: tuple[str, ...] = (
            sys.executable,
            "-c",
            _LIMITED,
            str(_SIZE - _BALLAST_SIZE),
        )
        self.data_directory = folder / "data"

    def make_room(self, server: RunningServer) -> None:
        _, hard = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (_SIZE, hard))


@contextlib.contextmanager
def limited_files(folder: Path) -> Iterator[SmallDisk]:
    """Limit the size of files."""
    yield _LimitOfFiles(folder)


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[SmallDisk]:
    """Make a small file system in a folder, or limit the size of files."""
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", _MOUNT, "sh"]
    command += [str(_SIZE), str(folder), str(_BALLAST_SIZE)]
    if shutil.which("unshare") is None or shutil.which("nsenter") is None:
        yield _LimitOfFiles(folder)
        return
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        # It ends by itself, once its input does.
        is_there = holder.stdout.readline() == b"ready\n"
        yield _FileSystem(folder, holder.pid) if is_there else _LimitOfFiles(folder)
