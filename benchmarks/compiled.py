"""Compiled clients, where there are any: they cost a tenth of one in Python, or less.

What they send is made beforehand, or by the client itself in the way that is cheapest for it.
"""

import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.drive import Outcome, Target
from benchmarks.events import EVENTS_PER_SUBJECT, TYPE, data_of
from benchmarks.load import children_cpu_seconds, run_wrk
from benchmarks.peers.servers import postgres_program
from benchmarks.processes import tree_cpu_seconds
from benchmarks.reads import saved_subjects
from benchmarks.sessions.histogram import Histogram
from benchmarks.workbench import Workbench
from benchmarks.writes import saved_bodies

_BODIES = 10_000

_without_connecting = re.compile(
    r"^tps = ([0-9.]+) \(without initial connection time\)", re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Compiled:
    """A client for one work of one store."""

    name: str
    run: Callable[[Workbench, Target, int], Outcome]


def _write_by_wrk(bench: Workbench, target: Target, connections: int, *, count: int) -> Outcome:
    bodies = saved_bodies(bench, _BODIES // count, events_per_write=count)
    return _run_wrk(bench, target, "write-events", bodies, connections, count)


def _read_by_wrk(bench: Workbench, target: Target, connections: int) -> Outcome:
    bodies = saved_subjects(bench, bench.scale.event_count)
    return _run_wrk(bench, target, "read-events", bodies, connections, EVENTS_PER_SUBJECT)


def _run_wrk(
    bench: Workbench, target: Target, endpoint: str, bodies: Path, connections: int, count: int
) -> Outcome:
    assert target.process_id is not None
    url = f"http://127.0.0.1:{target.address.split()[0]}/api/v1/{endpoint}"
    before = tree_cpu_seconds(target.process_id)
    load = run_wrk(url, bodies, connections=connections, seconds=bench.scale.seconds)
    server_cpu = tree_cpu_seconds(target.process_id) - before
    operations = round(load.requests_per_second * load.seconds)
    return Outcome(
        operations=operations,
        events=operations * count,
        seconds=load.seconds,
        times=_median_and_p99(load.median_seconds, load.p99_seconds),
        client_cores=load.client_cpu_seconds / load.seconds,
        server_cores=server_cpu / load.seconds,
    )


def _median_and_p99(median: float, p99: float) -> Histogram:
    """Return times that have these percentiles, which are all that wrk tells."""
    times = Histogram()
    for seconds, often in ((median, 90), (p99, 10)):
        for _ in range(often):
            times.add(seconds)
    return times


_PGBENCH_WRITE = (
    r"\set number random(0, 999999)" + "\n"
    "INSERT INTO events (subject, type, data) VALUES "
    "('/libraries/' || :number % 100 || '/books/' || :number, "
    f"'{TYPE}', '{data_of(0)}');\n"
)
_PGBENCH_READ = (
    r"\set number random(0, {subject_count} - 1)" + "\n"
    "SELECT position, subject, type, time, data::text FROM events "
    "WHERE subject = '/libraries/' || :number % 100 || '/books/' || :number ORDER BY position;\n"
)


def _run_pgbench(
    bench: Workbench, target: Target, connections: int, *, script: str, count: int
) -> Outcome:
    assert target.process_id is not None
    event_count = bench.scale.event_count
    subject_count = (event_count - event_count // 20) // EVENTS_PER_SUBJECT
    path = bench.new_directory("pgbench") / "script"
    path.write_text(script.replace("{subject_count}", str(subject_count)))
    settings = dict(part.split("=") for part in target.address.split())
    wanted = max(round(bench.scale.seconds), 1)
    command = [
        *(postgres_program("pgbench"), "--no-vacuum", "--protocol=prepared"),
        *(f"--client={connections}", "--jobs=1", f"--time={wanted}", f"--file={path}"),
        *(f"--host={settings['host']}", f"--port={settings['port']}", "--log"),
        *(f"--log-prefix={path.parent / 'log'}", "--username=postgres", "postgres"),
    ]
    server_before, client_before = tree_cpu_seconds(target.process_id), children_cpu_seconds()
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    server_cpu = tree_cpu_seconds(target.process_id) - server_before
    client_cpu = children_cpu_seconds() - client_before
    times = Histogram()
    (log,) = path.parent.glob("log.*")
    with log.open() as lines:
        for line in lines:
            times.add(int(line.split()[2]) / 1e6)
    operations = sum(often for _, often in times.counts())
    rate = _without_connecting.search(told)
    if rate is None or not operations:
        raise RuntimeError("pgbench was not answered")
    # It goes on until each of its last transactions is answered.
    seconds = operations / float(rate[1])
    return Outcome(
        operations=operations,
        events=operations * count,
        seconds=seconds,
        times=times,
        client_cores=client_cpu / seconds,
        server_cores=server_cpu / seconds,
    )


COMPILED = {
    ("everlog", "write"): Compiled("wrk", partial(_write_by_wrk, count=1)),
    ("everlog", "write_100"): Compiled("wrk", partial(_write_by_wrk, count=100)),
    ("everlog", "read_subject"): Compiled("wrk", _read_by_wrk),
    ("postgres", "write"): Compiled(
        "pgbench", partial(_run_pgbench, script=_PGBENCH_WRITE, count=1)
    ),
    ("postgres", "read_subject"): Compiled(
        "pgbench", partial(_run_pgbench, script=_PGBENCH_READ, count=EVENTS_PER_SUBJECT)
    ),
}
