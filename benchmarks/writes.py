"""Durable writes: many small ones, and large ones."""

from collections.abc import Iterator
from pathlib import Path

from benchmarks.events import write_bodies
from benchmarks.figures import Figure, at_least, at_most
from benchmarks.floors import build_rate, sync_seconds
from benchmarks.load import run_wrk, save_bodies
from benchmarks.servers import serve_everlog, serve_nginx
from benchmarks.workbench import Workbench

PATH = "/api/v1/write-events"

# About what the answer to a write of one event holds.
_ANSWER_SIZE = 640

_BATCH = 100
# Enough different ones that caches of the processor do not hold all they touch.
_SMALL_BODIES = 10_000

# The goal where the machine is as fast as the one that the plan was measured on.
_EVENTS_PER_SECOND_GOAL = 90_000


def measure_small_writes(bench: Workbench) -> Iterator[Figure]:
    """Compare writes of one event each with nginx answering the same requests at once."""
    scale = bench.scale
    bodies = saved_bodies(bench, _SMALL_BODIES, events_per_write=1)
    directory = bench.new_directory("small-writes")
    with (
        serve_nginx(bench.folder, bench.certificate, answer_size=_ANSWER_SIZE) as nginx,
        serve_everlog(directory, bench.certificate) as everlog,
    ):
        run_wrk(everlog.plain + PATH, bodies, connections=64, seconds=scale.seconds / 5)
        for name, url, reference_url, bar in (
            ("plain", everlog.plain, nginx.plain, 0.30),
            ("TLS", everlog.tls, nginx.tls, 0.20),
        ):
            for connections in scale.connections:
                load = run_wrk(url + PATH, bodies, connections=connections, seconds=scale.seconds)
                reference = run_wrk(
                    reference_url + PATH, bodies, connections=connections, seconds=scale.seconds
                )
                yield Figure(
                    name=f"small writes, {name}, {connections} connections",
                    value=load.requests_per_second,
                    unit="writes/s",
                    reference_name="nginx return 200",
                    reference=reference.requests_per_second,
                    bar=at_least(bar) if connections == 64 else None,
                    note=f"median {load.median_seconds * 1e3:.2f} ms, "
                    f"99 % {load.p99_seconds * 1e3:.2f} ms",
                )


def measure_write_latency(bench: Workbench) -> Iterator[Figure]:
    """Compare one connection's write of one event with writing and syncing 512 bytes."""
    scale = bench.scale
    bodies = saved_bodies(bench, _SMALL_BODIES, events_per_write=1)
    directory = bench.new_directory("write-latency")
    with serve_everlog(directory, bench.certificate) as everlog:
        before = sync_seconds(directory, samples=scale.samples)
        load = run_wrk(everlog.plain + PATH, bodies, connections=1, seconds=scale.seconds)
        after = sync_seconds(directory, samples=scale.samples)
    yield Figure(
        name="small writes, plain, 1 connection: median latency",
        value=load.median_seconds * 1e6,
        unit="us",
        reference_name="512 B + fdatasync",
        reference=(before + after) / 2 * 1e6,
        bar=at_most(2.0),
    )


def measure_batch_writes(bench: Workbench) -> Iterator[Figure]:
    """Compare writes of 100 events with one core that does nothing but build their lines."""
    scale = bench.scale
    bodies = saved_bodies(bench, 100, events_per_write=_BATCH)
    lines = bodies.read_bytes().splitlines()
    directory = bench.new_directory("batch-writes")
    with serve_everlog(directory, bench.certificate) as everlog:
        for connections in (1, 4, 16):
            floor = build_rate(lines, seconds=min(scale.seconds, 2.0))
            load = run_wrk(
                everlog.plain + PATH, bodies, connections=connections, seconds=scale.seconds
            )
            rate = load.requests_per_second * _BATCH
            yield Figure(
                name=f"writes of {_BATCH} events, plain, {connections} connections",
                value=rate,
                unit="events/s",
                reference_name="build only",
                reference=floor,
                bar=at_least(0.35) if connections == 16 else None,
                note=f"{rate / _EVENTS_PER_SECOND_GOAL:.2f} of the goal of 90,000/s",
            )


def saved_bodies(
    bench: Workbench, count: int, *, events_per_write: int, event_count: int = 0
) -> Path:
    """Write bodies for wrk into a file."""
    bodies = write_bodies(
        count,
        events_per_write=events_per_write,
        event_count=event_count or count * events_per_write,
    )
    return save_bodies(bench.new_directory("bodies") / "bodies", bodies)
