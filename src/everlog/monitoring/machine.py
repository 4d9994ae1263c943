"""What the system says of the disk, of this process and of the machine.

Asked for anew each time, on a thread that may wait. What a system does not tell is None.
"""

import os
import platform
import resource
import sys
import time
from pathlib import Path
from typing import Final, NamedTuple

_PROCESS: Final = Path("/proc/self")

# `resource` counts them in bytes there, and in KiB elsewhere.
_MACOS: Final = "darwin"


class DiskSpace(NamedTuple):
    """The file system of the data directory, as far as this user may fill it."""

    free_bytes: int
    size_bytes: int


class ProcessFigures(NamedTuple):
    """What this process uses."""

    resident_bytes: int
    cpu_seconds: float
    open_file_count: int | None
    open_file_count_max: int


class Machine(NamedTuple):
    """What the server runs on."""

    operating_system: str
    release: str
    architecture: str
    core_count: int
    memory_bytes: int


def read_disk_space(directory: Path) -> DiskSpace | None:
    """Return how much room there is for a directory, None if the system does not say."""
    try:
        found = os.statvfs(directory)
    except OSError:
        return None
    return DiskSpace(found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize)


def read_process() -> ProcessFigures:
    """Return what this process uses now."""
    return ProcessFigures(
        resident_bytes=_read_resident_bytes(),
        cpu_seconds=time.process_time(),
        open_file_count=_count_open_files(),
        open_file_count_max=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
    )


def read_machine() -> Machine:
    """Return what this machine is."""
    return Machine(
        operating_system=platform.system(),
        release=platform.release(),
        architecture=platform.machine(),
        core_count=os.cpu_count() or 1,
        memory_bytes=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
    )


def _read_resident_bytes() -> int:
    try:
        pages = int((_PROCESS / "statm").read_bytes().split()[1])
    except OSError:
        # The largest it ever was is the best that other systems tell.
        largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return largest if sys.platform == _MACOS else largest * 1024
    return pages * os.sysconf("SC_PAGE_SIZE")


def _count_open_files() -> int | None:
    try:
        with os.scandir(_PROCESS / "fd") as files:
            # The folder itself is open now too.
            return sum(1 for _ in files) - 1
    except OSError:
        return None
