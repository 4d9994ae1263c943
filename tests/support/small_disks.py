"""A disk that is really full: a small file system of its own, or else a limit on files.

The file system lives in memory, or in a file, and in a namespace of its own, so that nobody else
sees it and it goes with the process that holds it. Where the system lets nobody make one, the
largest size of a file is limited instead, which always works.
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

# Of real file systems: their own minimum. They may be shut down, as they do themselves when their
# device fails; btrfs has no call for that.
_IMAGE_SIZES: Final = {"ext4": 48, "xfs": 320, "btrfs": 128}
_MOUNT_IMAGE: Final = (
    'mkfs -t "$1" "$2/image" >/dev/null && mkdir "$2/disk" '
    '&& mount -o loop "$2/image" "$2/disk" && echo ready && exec cat'
)
_SHUT_DOWN: Final = (
    "import fcntl, os, struct, sys; "
    # FS_IOC_SHUTDOWN, and not even what is in the journal's memory is written.
    "fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack('I', 2))"
)
_FILL: Final = 'dd if=/dev/zero of="$1/filling" bs=4k 2>/dev/null; sync -f "$1"'

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
    """A file system that only those see who enter its namespace."""

    def __init__(self, folder: Path, holder: int, *namespaces: str) -> None:
        self._enter = ("nsenter", f"--target={holder}", *namespaces, f"--wdns={REPOSITORY}")
        self._folder = folder
        self.entry_point: tuple[str, ...] = (*self._enter, *WATCHED)
        self.data_directory = folder / "data"

    def make_room(self, server: RunningServer) -> None:
        del server
        self.run("rm", str(self._folder / "ballast"))

    def take(self, size: int) -> None:
        """Take so much room, until some is made."""
        command = 'head -c "$2" /dev/zero > "$1/ballast"; sync -f "$1"'
        self.run("sh", "-c", command, "sh", str(self._folder), str(size))

    def free_size(self) -> int:
        """Return how many bytes are free."""
        command = [*self._enter, "df", "--output=avail", "-B1", str(self._folder)]
        done = subprocess.run(command, check=True, capture_output=True)
        return int(done.stdout.split()[-1])

    def fill(self) -> None:
        """Take all room that there is."""
        self.run("sh", "-c", _FILL, "sh", str(self._folder))

    def mount_anew(self) -> None:
        """Take an image away and mount it again, as a restart of the machine does."""
        self.run("umount", str(self._folder))
        self.run("mount", "-o", "loop", str(self._folder.with_name("image")), str(self._folder))

    def shut_down(self) -> None:
        """Let the file system refuse everything from now on."""
        self.run(sys.executable, "-c", _SHUT_DOWN, str(self._folder))

    def run(self, *command: str) -> None:
        """Run a command that sees the file system."""
        subprocess.run([*self._enter, *command], check=True)


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
        spaces = ("--user", "--mount", "--preserve-credentials")
        yield _FileSystem(folder, holder.pid, *spaces) if is_there else _LimitOfFiles(folder)


@contextlib.contextmanager
def mounted_image(folder: Path, kind: str) -> Iterator[_FileSystem | None]:
    """Make a file system of a kind in a folder; None where only root may, or nobody can."""
    with (folder / "image").open("wb") as image:
        image.truncate(_IMAGE_SIZES[kind] * 1024 * 1024)
    command = ["unshare", "--mount", "sh", "-c", _MOUNT_IMAGE, "sh", kind, str(folder)]
    if shutil.which("unshare") is None or shutil.which("nsenter") is None:
        yield None
        return
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as holder:
        assert holder.stdout is not None
        is_there = holder.stdout.readline() == b"ready\n"
        yield _FileSystem(folder / "disk", holder.pid, "--mount") if is_there else None
