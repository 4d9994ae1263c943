"""Counting what a store asks of the disk while it answers writes, where strace can be used."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.drive import Target, drive
from benchmarks.processes import tree

_CALLS = "fsync,fdatasync,sync_file_range,msync"
# The share of the time, seconds, microseconds for each call, calls, perhaps errors, the call.
_row = re.compile(r"^ *[\d.]+ +[\d.]+ +\d+ +(\d+) +(?:\d+ +)?(?!total)\w+$", re.MULTILINE)
_SECONDS = 0.5


def count_syncs(target: Target) -> float | None:
    """Return how many syncs a write of one event costs a server; None where nobody can tell.

    Tracing slows the server down, which is why nothing else is measured meanwhile.
    """
    if target.process_id is None or shutil.which("strace") is None or os.geteuid() != 0:
        return None
    with _tracing(target.process_id) as tracer:
        outcome = drive(target, "write", connections=1, seconds=_SECONDS, is_warmed=False)
        # It ends with a table.
        tracer.send_signal(signal.SIGINT)
        _, told = tracer.communicate(timeout=30)
    # Whoever is told late that the time is over has synced once more than it has answered.
    return parse_count(told) / (outcome.operations + 1)


def parse_count(table: str) -> int:
    """Return the calls that a summary of strace counts."""
    return sum(int(calls) for calls in _row.findall(table))


@contextmanager
def _tracing(process_id: int) -> Iterator[subprocess.Popen[str]]:
    processes = [f"--attach={each}" for each in tree(process_id)]
    command = ["strace", "--follow-forks", "--summary-only", f"--trace={_CALLS}", *processes]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert tracer.stderr is not None
        for _ in processes:
            # "Process 1 attached"
            tracer.stderr.readline()
        yield tracer
    finally:
        tracer.kill()
        tracer.wait()
