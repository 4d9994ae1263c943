"""Growth: what writing, reading, opening and keeping an event costs in logs of several sizes."""

import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks.figures import Figure, at_most
from benchmarks.load import run_wrk
from benchmarks.peers.table import OWN
from benchmarks.processes import resident_size, stored_size, tree_cpu_seconds
from benchmarks.proofs import proof_milliseconds, seconds_to_tree
from benchmarks.reads import saved_subjects
from benchmarks.servers import Addresses, serve_everlog
from benchmarks.workbench import Workbench
from benchmarks.writes import saved_bodies

# The work by which figures of growth are found again.
GROWTH = "growth"

_BATCH = 100
_CONNECTIONS = 64
_BODIES = 10_000

_OPENINGS = 3

# What costs so much more in a larger log than in the smallest one does not scale.
_COST_RATIO_MAX = 1.5


def measure_growth(bench: Workbench) -> Iterator[Figure]:
    """Compare what an event costs in large logs with what it costs in the smallest."""
    smallest: dict[str, float] = {}
    for event_count in bench.scale.growth_event_counts:
        directory = bench.filled_log(event_count)
        for name, value, unit in _costs(bench, directory, event_count):
            reference = smallest.setdefault(name, value)
            first = bench.scale.growth_event_counts[0]
            is_cost = unit == "us"
            yield Figure(
                name=f"{name} at {event_count:,} events",
                value=value,
                unit=unit,
                reference_name=f"at {first:,}",
                reference=reference,
                bar=at_most(_COST_RATIO_MAX) if is_cost and event_count != first else None,
                work=GROWTH,
                details={"event_count": event_count},
            )
        # Writing made it larger than its name says, and the largest fill a disk.
        bench.remove_store(OWN, event_count)


def _costs(bench: Workbench, directory: Path, event_count: int) -> Iterator[tuple[str, float, str]]:
    yield "stored bytes of an event", stored_size(directory) / event_count, "B"
    times, sizes = [], []
    for _ in range(_OPENINGS):
        begin = time.perf_counter()
        with serve_everlog(directory, bench.certificate) as everlog:
            times.append(time.perf_counter() - begin)
            sizes.append(resident_size(everlog.process_id))
    yield "opening", median(times), "s"
    yield "memory after opening", median(sizes) / 1e6, "MB"
    subjects = saved_subjects(bench, event_count)
    with serve_everlog(directory, bench.certificate) as everlog:
        yield "tree, of an event", seconds_to_tree(everlog, event_count) / event_count * 1e6, "us"
        times = proof_milliseconds(everlog, event_count, samples=bench.scale.samples)
        yield "proof, one connection", median(times) * 1e3, "us"
        yield from _of_load(bench, everlog, "read-events", subjects, "read of a subject of 10", 1)
        for count, name in ((1, "write of one event"), (_BATCH, "event of writes of 100")):
            bodies = saved_bodies(
                bench, _BODIES // count, events_per_write=count, event_count=event_count
            )
            yield from _of_load(bench, everlog, "write-events", bodies, name, count)
        yield "memory after load", resident_size(everlog.process_id) / 1e6, "MB"


def _of_load(
    bench: Workbench, everlog: Addresses, endpoint: str, bodies: Path, name: str, count: int
) -> Iterator[tuple[str, float, str]]:
    """Yield the time and the processor time of an operation, counted for each of its events."""
    seconds = bench.scale.seconds
    url = f"{everlog.plain}/api/v1/{endpoint}"
    begin = tree_cpu_seconds(everlog.process_id)
    load = run_wrk(url, bodies, connections=_CONNECTIONS, seconds=seconds)
    cpu = (tree_cpu_seconds(everlog.process_id) - begin) / load.seconds
    rate = load.requests_per_second * count
    yield name, 1e6 / rate, "us"
    yield f"{name}: processor", cpu / rate * 1e6, "us"
