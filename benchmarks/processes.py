"""What a process costs: memory, disk and processor time, as Linux counts them."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_BLOCK_SIZE = 512


def cpu_seconds(process_id: int) -> float:
    """Return the processor time of all threads so far."""
    tasks = Path(f"/proc/{process_id}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def tree_cpu_seconds(process_id: int) -> float:
    """Return the processor time of a process and its descendants, ended ones included.

    Those that live are counted to the nanosecond: of hundreds of processes that each did little,
    the ticks of the kernel would leave nothing.
    """
    seconds = 0.0
    for each in tree(process_id):
        # One that ends just now is counted by its parent from then on, or a little too late.
        with suppress(FileNotFoundError, ProcessLookupError):
            ended = sum(int(field) for field in _status_fields(each)[13:15])
            seconds += cpu_seconds(each) + ended / _TICKS_PER_SECOND
    return seconds


def tree_resident_size(process_id: int) -> int:
    """Return the bytes of memory of a process and its descendants, shared ones counted once.

    Each page counts in proportion to how many processes share it.
    """
    size = 0
    for each in tree(process_id):
        lines = Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()
        size += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024
    return size


def resident_size(process_id: int) -> int:
    """Return the bytes of memory that a process holds."""
    return int(Path(f"/proc/{process_id}/statm").read_text().split()[1]) * _PAGE_SIZE


def stored_size(directory: Path) -> int:
    """Return the bytes that the files of a folder take on the disk."""
    return sum(path.lstat().st_blocks for path in directory.rglob("*")) * _BLOCK_SIZE


def tree(process_id: int) -> Iterator[int]:
    """Yield a process and all its descendants that live."""
    yield process_id
    children: list[str] = []
    with suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{process_id}/task").iterdir():
            children += (task / "children").read_text().split()
    for child in children:
        yield from tree(int(child))


def _status_fields(process_id: int) -> list[str]:
    # The name, in parentheses, may hold spaces.
    return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
