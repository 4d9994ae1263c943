"""Many clients at once: observers, idle connections, and readers that do not read."""

import json
import time
from collections.abc import Iterator
from statistics import median

from benchmarks.client import Crowd, connect, render_request
from benchmarks.events import write_bodies
from benchmarks.figures import Figure, at_most
from benchmarks.processes import cpu_seconds, resident_size
from benchmarks.servers import serve_everlog
from benchmarks.workbench import Workbench

_EVERYTHING = json.dumps({"subject": "/", "options": {"recursive": True}}).encode()
_OBSERVE = render_request("POST", "/api/v1/observe-events", _EVERYTHING)
_READ = render_request("POST", "/api/v1/read-events", _EVERYTHING)

_HEARTBEAT = b'"type":"heartbeat"'
_EVENT = b'"type":"event"'

# More than any one reader may make the server hold: blocks ahead, a write buffer, and slack.
_SLOW_READER_SIZE_MAX = 2.0

_SETTLE_SECONDS = 0.5


def measure_observers(bench: Workbench) -> Iterator[Figure]:
    """Count what observers cost that see nothing, and then an event for all of them."""
    scale = bench.scale
    directory = bench.new_directory("observers")
    with serve_everlog(directory, bench.certificate) as everlog:
        process_id = everlog.process_id
        before = resident_size(process_id)
        with Crowd(everlog.port, size=scale.observers, request=_OBSERVE) as crowd:
            crowd.count(_HEARTBEAT, until=lambda _: False, seconds=_SETTLE_SECONDS)
            begin = cpu_seconds(process_id)
            heartbeats = crowd.count(_HEARTBEAT, until=lambda _: False, seconds=scale.idle_seconds)
            cpu = cpu_seconds(process_id) - begin
            yield Figure(
                name=f"{scale.observers:,} idle observers: memory of each",
                value=(resident_size(process_id) - before) / scale.observers / 1e3,
                unit="KB",
                bar=at_most(10.0),
            )
            yield Figure(
                name=f"{scale.observers:,} idle observers: processor",
                value=cpu / scale.idle_seconds * 100,
                unit="% of one",
                note=f"{heartbeats:,} heartbeats in {scale.idle_seconds:.0f} s"
                f", {cpu / max(heartbeats, 1) * 1e6:.1f} us each",
            )
            yield from _measure_fan_out(bench, crowd, everlog.port, process_id)


def _measure_fan_out(
    bench: Workbench, crowd: Crowd, port: int, process_id: int
) -> Iterator[Figure]:
    scale = bench.scale
    size = scale.observers
    bodies = write_bodies(scale.repetitions, events_per_write=1, event_count=scale.repetitions)
    times = []
    begin_cpu = cpu_seconds(process_id)
    with connect(port) as writer:
        for body in bodies:
            begin = time.perf_counter()
            writer.sendall(render_request("POST", "/api/v1/write-events", body))
            if crowd.count(_EVENT, until=lambda found: found >= size, seconds=30) != size:
                raise RuntimeError("an observer did not get its event")
            times.append(time.perf_counter() - begin)
            writer.recv(65_536)
    cpu = cpu_seconds(process_id) - begin_cpu
    yield Figure(
        name=f"an event for {size:,} observers: until all have it",
        value=median(times) * 1e3,
        unit="ms",
        note="with the client, which is one thread",
    )
    yield Figure(
        name=f"an event for {size:,} observers: processor for each",
        value=cpu / len(times) / size * 1e6,
        unit="us",
        note="with heartbeats meanwhile",
    )


def measure_idle_connections(bench: Workbench) -> Iterator[Figure]:
    """Count what connections cost that ask for nothing."""
    size = bench.scale.idle_connections
    with serve_everlog(bench.new_directory("idle"), bench.certificate) as everlog:
        process_id = everlog.process_id
        before = resident_size(process_id)
        with Crowd(everlog.port, size=size) as crowd:
            crowd.count(b"", until=lambda _: False, seconds=_SETTLE_SECONDS)
            begin = cpu_seconds(process_id)
            crowd.count(b"", until=lambda _: False, seconds=bench.scale.idle_seconds)
            cpu = cpu_seconds(process_id) - begin
            yield Figure(
                name=f"{size:,} idle connections: memory of each",
                value=(resident_size(process_id) - before) / size / 1e3,
                unit="KB",
                note=f"{cpu / bench.scale.idle_seconds * 100:.1f} % of a processor",
            )


def measure_slow_readers(bench: Workbench) -> Iterator[Figure]:
    """Count what clients cost that ask for the whole log and take nothing of it."""
    scale = bench.scale
    directory = bench.filled_log(scale.event_count)
    with serve_everlog(directory, bench.certificate) as everlog:
        before = resident_size(everlog.process_id)
        with Crowd(everlog.port, size=scale.slow_readers, request=_READ):
            largest = 0
            deadline = time.monotonic() + min(scale.idle_seconds, 3.0)
            while time.monotonic() < deadline:
                largest = max(largest, resident_size(everlog.process_id))
                time.sleep(0.02)
            yield Figure(
                name=f"{scale.slow_readers} readers that do not read: memory of each",
                value=(largest - before) / scale.slow_readers / 1e6,
                unit="MB",
                bar=at_most(_SLOW_READER_SIZE_MAX),
            )
