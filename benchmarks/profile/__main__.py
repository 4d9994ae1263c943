"""The command."""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.load import download_rate, run_wrk
from benchmarks.machine import describe_machine
from benchmarks.processes import tree_cpu_seconds
from benchmarks.profile.page import HotPath, render_page
from benchmarks.profile.sampling import SPY_RATE, hits_of, stacks_of, start_perf, start_spy
from benchmarks.reads import saved_subjects
from benchmarks.servers import Addresses, serve_everlog
from benchmarks.workbench import NORMAL, QUICK, Workbench, prepare
from benchmarks.writes import saved_bodies
from tools.bench_environment import prepare as provide_environment
from tools.system_packages import main as provide_programs

PAGE = "profile.md"

_BODIES = 10_000
_EVERYTHING = b'{"subject":"/","options":{"recursive":true}}'

# Loads a server for some seconds, and returns how many operations it did.
_Load = Callable[[Addresses, float], float]


@dataclass(frozen=True, slots=True)
class _Path:
    """A hot path: how to load a server with it."""

    name: str
    unit: str
    load: _Load


def main() -> None:
    """Profile each hot path, and print or write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny sizes; the shares mean nothing")
    parser.add_argument("--report", type=Path, metavar="FOLDER", help="write the page to a folder")
    options = parser.parse_args()
    provide_programs()
    provide_environment()
    with prepare(QUICK if options.quick else NORMAL) as bench:
        machine = describe_machine(bench.folder)
        paths = [_profile(bench, path) for path in _paths(bench)]
    page = render_page(machine, paths)
    print(page)
    if options.report is not None:
        options.report.mkdir(parents=True, exist_ok=True)
        (options.report / PAGE).write_text(page, encoding="utf-8")


def _paths(bench: Workbench) -> list[_Path]:
    scale = bench.scale
    one = saved_bodies(bench, _BODIES, events_per_write=1)
    hundred = saved_bodies(bench, _BODIES // 100, events_per_write=100)
    subjects = saved_subjects(bench, scale.event_count)
    # Reading comes first: writing makes the log larger, and the subjects in it.
    return [
        _Path(
            f"Read a subject of 10 of {scale.event_count:,} events, 64 connections",
            "read",
            partial(_wrk, "read-events", subjects, 64),
        ),
        _Path(
            f"Read all {scale.event_count:,} events, one connection",
            "event",
            partial(_download, scale.event_count),
        ),
        _Path("Write one event, 64 connections", "write", partial(_wrk, "write-events", one, 64)),
        _Path(
            "Write 100 events at once, 16 connections",
            "write",
            partial(_wrk, "write-events", hundred, 16),
        ),
    ]


def _wrk(
    endpoint: str, bodies: Path, connections: int, everlog: Addresses, seconds: float
) -> float:
    url = f"{everlog.plain}/api/v1/{endpoint}"
    load = run_wrk(url, bodies, connections=connections, seconds=seconds)
    return load.requests_per_second * load.seconds


def _download(event_count: int, everlog: Addresses, seconds: float) -> float:
    url = f"{everlog.plain}/api/v1/read-events"
    deadline = time.monotonic() + seconds
    count = 0
    while time.monotonic() < deadline:
        download_rate(url, method="POST", body=_EVERYTHING)
        count += event_count
    return count


def _profile(bench: Workbench, path: _Path) -> HotPath:
    """Load a server three times: alone, with py-spy, and with perf."""
    scale, directory = bench.scale, bench.filled_log(bench.scale.event_count)
    seconds = max(scale.seconds, 1.0)
    with serve_everlog(directory, bench.certificate) as everlog:
        process_id = everlog.process_id
        path.load(everlog, seconds / 3)
        cpu, begin = tree_cpu_seconds(process_id), time.monotonic()
        operations = path.load(everlog, seconds)
        elapsed = time.monotonic() - begin
        cpu = tree_cpu_seconds(process_id) - cpu
        folder = bench.new_directory("samples")
        spy = start_spy(process_id, folder, seconds=2 * seconds)
        begin = time.monotonic()
        slowed = path.load(everlog, 2 * seconds) / (time.monotonic() - begin)
        stacks = stacks_of(spy.wait())
        sample_count = SPY_RATE * round(2 * seconds)
        perf = start_perf(process_id, folder, seconds=seconds)
        hits = []
        if perf is not None:
            path.load(everlog, seconds)
            hits = hits_of(perf.wait())
    return HotPath(
        name=path.name,
        unit=path.unit,
        rate=operations / elapsed,
        rate_while_sampled=slowed,
        cpu_microseconds=cpu / operations * 1e6,
        busy=stacks.total / sample_count,
        stacks=stacks,
        hits=tuple(hits),
    )


if __name__ == "__main__":
    main()
