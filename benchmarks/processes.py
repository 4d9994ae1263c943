"""What a process costs: memory and processor time, as Linux counts them."""

import os
from pathlib import Path

_PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(process_id: int) -> float:
    """Return the processor time of all threads so far."""
    tasks = Path(f"/proc/{process_id}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def resident_size(process_id: int) -> int:
    """Return the bytes of memory that a process holds."""
    return int(Path(f"/proc/{process_id}/statm").read_text().split()[1]) * _PAGE_SIZE
