"""A server of several processes beside one of one, in turns: `python -m benchmarks.fronts`.

For small writes and small reads, plain and over TLS, it prints requests per second, latency, and
the processor time that each request takes of the owner and of all fronts together.
The latter is what counts on a machine that is busy with something else, and what a server with more
processors is estimated by: with one for each process and none for clients, the busiest process is
the bound.
"""

import argparse
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.events import write_bodies
from benchmarks.load import run_wrk, save_bodies
from benchmarks.processes import cpu_seconds, tree
from benchmarks.servers import Addresses, make_certificate, serve_everlog

_WRITES = "/api/v1/write-events"
_READS = "/api/v1/read-events"
_BODIES = 10_000
_CORES = (4, 8, 16)


class Run(NamedTuple):
    """What one load came to."""

    per_second: float
    median_ms: float
    p99_ms: float
    # Processor time for each request, in microseconds.
    owner: float
    fronts: float


def measure(
    addresses: Addresses, url: str, bodies: Path, *, connections: int, seconds: float
) -> Run:
    """Load a server, and see who computed for how long."""
    fronts = [pid for pid in tree(addresses.process_id) if is_front(pid)]
    before = times_of(addresses.process_id, fronts)
    load = run_wrk(url, bodies, connections=connections, seconds=seconds)
    after = times_of(addresses.process_id, fronts)
    count = load.requests_per_second * load.seconds
    owner, others = ((now - then) / count * 1e6 for now, then in zip(after, before, strict=True))
    return Run(
        load.requests_per_second, load.median_seconds * 1e3, load.p99_seconds * 1e3, owner, others
    )


def is_front(pid: int) -> bool:
    """Tell whether a process speaks with clients for another one."""
    return b"front_worker" in Path(f"/proc/{pid}/cmdline").read_bytes()


def times_of(owner: int, fronts: list[int]) -> tuple[float, float]:
    """Return the processor time of an owner, and of all fronts."""
    return cpu_seconds(owner), sum(map(cpu_seconds, fronts))


def loads(folder: Path) -> Iterator[tuple[str, str, Path]]:
    """Yield what is asked, where, and with which bodies."""
    bodies = write_bodies(_BODIES, events_per_write=1, event_count=_BODIES)
    yield "1-event writes", _WRITES, save_bodies(folder / "writes", bodies)
    reads = [
        f'{{"subject":"/libraries/{n % 100}/books/{n}","options":{{"recursive":false}}}}'.encode()
        for n in range(1_000)
    ]
    yield "small reads", _READS, save_bodies(folder / "reads", reads)


def bound(run: Run, cores: int, *, is_alone: bool) -> float:
    """Estimate requests per second where each process has a processor of its own, and no more."""
    if is_alone:
        return 1e6 / run.owner
    owner = 1e6 / run.owner if run.owner > 1.0 else float("inf")
    return min(owner, (cores - 1) * 1e6 / run.fronts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--connections", type=int, nargs="+", default=[64])
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    found: dict[tuple[str, str, int, int], list[Run]] = {}
    with tempfile.TemporaryDirectory(prefix="everlog-fronts-") as name:
        folder = Path(name)
        certificate = make_certificate(folder)
        work = [*loads(folder)]
        for number in range(options.rounds):
            for processes in options.processes:
                directory = folder / f"data-{number}-{processes}"
                flags = () if processes == 1 else (f"--processes={processes}",)
                with serve_everlog(directory, certificate, flags=flags) as server:
                    for what, path, bodies in work:
                        for how, url in (("plain", server.plain), ("TLS", server.tls)):
                            for connections in options.connections:
                                run = measure(
                                    server,
                                    url + path,
                                    bodies,
                                    connections=connections,
                                    seconds=options.seconds,
                                )
                                key = (what, how, connections, processes)
                                found.setdefault(key, []).append(run)
    show(found)


def show(found: Mapping[tuple[str, str, int, int], list[Run]]) -> None:
    """Print the medians of all rounds."""
    for (what, how, connections, processes), runs in sorted(found.items()):
        run = Run(*(median(values) for values in zip(*runs, strict=True)))
        estimates = ", ".join(
            f"{bound(run, cores, is_alone=processes == 1) / 1e3:.0f} k/s on {cores}"
            for cores in _CORES
        )
        print(
            f"{what}, {how}, {connections} connections, {processes} processes: "
            f"{run.per_second:,.0f}/s, median {run.median_ms:.2f} ms, 99 % {run.p99_ms:.2f} ms; "
            f"owner {run.owner:.1f} us, fronts {run.fronts:.1f} us; at most {estimates}"
        )


if __name__ == "__main__":
    main()
