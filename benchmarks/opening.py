"""Opening: how long a server takes until it listens, after a clean stop."""

import time
from collections.abc import Iterator
from statistics import median

from benchmarks.figures import Figure, at_most
from benchmarks.servers import serve_everlog
from benchmarks.workbench import Workbench

_SECONDS_MAX = {10_000_000: 2.0}


def measure_opening(bench: Workbench) -> Iterator[Figure]:
    """Time a server from the start of its process, Python's own start included."""
    for event_count in bench.scale.log_event_counts:
        directory = bench.filled_log(event_count)
        times = []
        for _ in range(3):
            begin = time.perf_counter()
            with serve_everlog(directory, bench.certificate):
                times.append(time.perf_counter() - begin)
        bar = _SECONDS_MAX.get(event_count)
        yield Figure(
            name=f"opening {event_count:,} events after a clean stop",
            value=median(times),
            unit="s",
            bar=None if bar is None else at_most(bar),
        )
