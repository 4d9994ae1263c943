"""Clusters: two nodes on a journal of real servers, beside the embedded store.

Everything is measured in turns, since whatever else the machine does hits all alike. What is
counted by the nodes stands beside what was timed: it says how many clients shared an append, or a
question to the journal, on whichever machine.
"""

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection, HTTPException
from itertools import pairwise
from pathlib import Path
from shutil import copytree
from statistics import median
from typing import Self

from benchmarks.figures import Figure, at_least, at_most
from benchmarks.load import run_wrk
from benchmarks.reads import saved_subjects
from benchmarks.servers import TOKEN, Addresses, serve_everlog
from benchmarks.workbench import Workbench
from benchmarks.writes import saved_bodies
from tests.support.nats_servers import NatsServers, running_nats
from tests.support.postgresql_server import running_postgresql

_WRITES = "/api/v1/write-events"
_READS = "/api/v1/read-events"

_CONNECTIONS = 64
_EVENTS = 100_000
_TURNS = 3

# What of the embedded store's rate is to be reached, and of a node's that writes alone.
_WRITES_MIN, _LOCAL_READS_MIN, _CURRENT_READS_MIN = 0.35, 0.9, 0.5
_BOTH_WRITE_MIN = 2 / 3

_FAILOVER_SECONDS_MAX = 10.0
# Longer than any failover may take.
_PATIENCE_SECONDS = 60.0

_CAUGHT_UP = "everlog_mirror_caught_up"


@dataclass(frozen=True, slots=True)
class _Cluster:
    """Two nodes with current reads, and one with local ones where there is a third."""

    current: Sequence[Addresses]
    local: Addresses


def measure_cluster(bench: Workbench) -> Iterator[Figure]:
    """Compare two nodes on PostgreSQL, and on three servers of NATS, with the embedded store."""
    for name, running in (("PostgreSQL", _postgresql), ("NATS", _nats)):
        with _beside(bench.folder), running() as (url, servers):
            yield from _measure_rates(bench, name, url)
            yield from _measure_failover(bench, name, url, servers)


@contextmanager
def _beside(folder: Path) -> Iterator[None]:
    """Let servers keep their data on the same disk as everything else."""
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before


@contextmanager
def _postgresql() -> Iterator[tuple[str, None]]:
    with running_postgresql(shared_buffers="256MB", max_wal_size="4GB") as server:
        yield server.url, None


@contextmanager
def _nats() -> Iterator[tuple[str, NatsServers]]:
    with running_nats() as servers:
        yield servers.url, servers


# Rates.


def _measure_rates(bench: Workbench, name: str, url: str) -> Iterator[Figure]:
    event_count = min(bench.scale.event_count, _EVENTS)
    filled = bench.filled_log(event_count)
    _load(url, filled)
    writes = saved_bodies(bench, 10_000, events_per_write=1)
    reads = saved_subjects(bench, event_count)
    alone_directory = bench.new_directory("alone") / "data"
    copytree(filled, alone_directory)
    with serve_everlog(alone_directory, bench.certificate) as alone:
        yield from _measure_reads(bench, name, url, alone, reads)
        yield from _measure_writes(bench, name, url, alone, writes)


def _measure_reads(
    bench: Workbench, name: str, url: str, alone: Addresses, reads: Path
) -> Iterator[Figure]:
    with _serve(bench, url) as cluster:
        first = cluster.current[0]
        # As long as all have the same events.
        rates, counts = _in_turns(
            bench,
            cluster,
            {
                "alone": partial(_rate, [alone], _READS, reads),
                "local": partial(_rate, [cluster.local], _READS, reads),
                "one": partial(_rate, [first], _READS, reads),
                "both": partial(_rate, cluster.current, _READS, reads),
            },
        )
        yield _share(f"local reads of a node on {name}", "reads/s", rates["local"],
                     "embedded store", rates["alone"], _LOCAL_READS_MIN)  # fmt: skip
        yield _share(f"current reads of a node on {name}", "reads/s", rates["one"],
                     "embedded store", rates["alone"], _CURRENT_READS_MIN,
                     _of_barriers(counts["one"]))  # fmt: skip
        yield _share(f"current reads of two nodes on {name}", "reads/s", rates["both"],
                     "embedded store", rates["alone"], None,
                     _of_barriers(counts["both"]))  # fmt: skip


def _measure_writes(
    bench: Workbench, name: str, url: str, alone: Addresses, writes: Path
) -> Iterator[Figure]:
    # A third node would take its part of this machine.
    with _serve(bench, url, has_third=False) as cluster:
        first = cluster.current[0]
        rates, counts = _in_turns(
            bench,
            cluster,
            {
                "alone": partial(_rate, [alone], _WRITES, writes),
                "one": partial(_rate, [first], _WRITES, writes),
                "both": partial(_rate, cluster.current, _WRITES, writes),
            },
        )
        yield _share(f"writes by one of two nodes on {name}", "events/s", rates["one"],
                     "embedded store", rates["alone"], _WRITES_MIN,
                     _of_appends(counts["one"]))  # fmt: skip
        yield _share(f"writes by two nodes on {name}", "events/s", rates["both"], "embedded store",
                     rates["alone"], _WRITES_MIN, _of_appends(counts["both"]))  # fmt: skip
        yield _share(f"writes by two nodes on {name}, lost races", "events/s", rates["both"],
                     "one node", rates["one"], _BOTH_WRITE_MIN,
                     f"one node: {_of_appends(counts['one'])}")  # fmt: skip


def _in_turns(
    bench: Workbench, cluster: _Cluster, works: dict[str, Callable[[float], float]]
) -> tuple[dict[str, list[float]], dict[str, Counter[str]]]:
    """Do each for a moment, then all of them again and again.

    Returns the rates of each, and what the nodes with current reads counted meanwhile.
    """
    seconds = bench.scale.seconds
    # The quick run only sees whether it works.
    is_quick = seconds < 1
    for work in () if is_quick else works.values():
        work(seconds / 5)
    rates: dict[str, list[float]] = {name: [] for name in works}
    counts: dict[str, Counter[str]] = {name: Counter() for name in works}
    for _ in range(1 if is_quick else _TURNS):
        for name, work in works.items():
            before = _counts(cluster.current)
            rates[name].append(work(seconds))
            counts[name].update(_counts(cluster.current))
            counts[name].subtract(before)
    return rates, counts


def _rate(servers: Sequence[Addresses], path: str, bodies: Path, seconds: float) -> float:
    """Return how many requests a second all servers answer together, over all connections."""
    connections = _CONNECTIONS // len(servers)
    with ThreadPoolExecutor(len(servers)) as threads:
        loads = threads.map(
            lambda server: run_wrk(
                server.plain + path, bodies, connections=connections, seconds=seconds
            ),
            servers,
        )
        return sum(load.requests_per_second for load in loads)


def _share(
    name: str,
    unit: str,
    values: Sequence[float],
    reference_name: str,
    references: Sequence[float],
    least: float | None = None,
    note: str = "",
) -> Figure:
    return Figure(
        name=name,
        value=median(values),
        unit=unit,
        reference_name=reference_name,
        reference=median(references),
        bar=None if least is None else at_least(least),
        note=note,
    )


def _of_appends(counts: Counter[str]) -> str:
    appends, lost = (
        counts[f"everlog_journal_{what}_total"] for what in ("appends", "lost_appends")
    )
    events = counts["everlog_written_events_total"]
    return f"{appends} appends of {events / max(appends, 1):.1f} events, {lost} lost"


def _of_barriers(counts: Counter[str]) -> str:
    barriers = max(counts["everlog_journal_barriers_total"], 1)
    reads = counts["everlog_journal_barrier_reads_total"]
    return f"{barriers} questions to the journal for {reads / barriers:.1f} reads each"


# Nodes.


def _load(url: str, directory: Path) -> None:
    command = [sys.executable, "-m", "everlog", "journal", "load", "--journal", url]
    subprocess.run([*command, str(directory)], check=True, stdout=subprocess.DEVNULL)


@contextmanager
def _serve(bench: Workbench, url: str, *, has_third: bool = True) -> Iterator[_Cluster]:
    """Run the nodes until the end of the block; they have caught up when it begins."""
    with ExitStack() as stack:

        def serve(name: str, *flags: str) -> Addresses:
            given = ("--journal", url, "--node", name, *flags)
            directory = bench.new_directory(f"node-{name}")
            node = stack.enter_context(serve_everlog(directory, bench.certificate, flags=given))
            _wait_until(lambda: _counts([node])[_CAUGHT_UP] == 1)
            return node

        current = [serve("one"), serve("two")]
        yield _Cluster(current, serve("three", "--reads", "local") if has_third else current[0])


def _counts(nodes: Sequence[Addresses]) -> Counter[str]:
    """Return the metrics that have no labels, added up over all nodes."""
    counts: Counter[str] = Counter()
    for node in nodes:
        _, answer = _ask(node, "GET", "/api/v1/health?format=openmetrics")
        for line in answer.decode().splitlines():
            name, _, value = line.partition(" ")
            if not line.startswith("#") and "{" not in name:
                # Whole numbers are all that is looked at.
                counts[name] += int(float(value))
    return counts


def _ask(node: Addresses, method: str, path: str, body: object = None) -> tuple[int, bytes]:
    """Return the status and the body of an answer."""
    connection = HTTPConnection("127.0.0.1", node.port, timeout=_PATIENCE_SECONDS)
    try:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError("a node did not catch up")
        time.sleep(0.02)


# What dies, and how long it takes until everything goes on.


def _measure_failover(
    bench: Workbench, name: str, url: str, servers: NatsServers | None
) -> Iterator[Figure]:
    with _serve(bench, url) as cluster:
        doomed, survivor = cluster.current
        with _Writing(survivor) as writing:
            writing.let_pass(5)
            killed_at = time.monotonic()
            _kill(doomed)
            writing.let_pass(20)
            yield Figure(
                name=f"the other node on {name} after kill -9 of one: slowest write",
                value=writing.longest_since(killed_at) * 1e3,
                unit="ms",
                bar=at_most(1_000.0),
                note=f"{writing.failures} refused",
            )
            if servers is not None:
                killed_at = time.monotonic()
                servers.leader().kill()
                writing.let_pass(20)
                yield Figure(
                    name=f"writes go on after kill -9 of the leader of {name}",
                    value=writing.longest_since(killed_at),
                    unit="s",
                    bar=at_most(_FAILOVER_SECONDS_MAX),
                    note=f"{writing.failures} refused meanwhile",
                )
        yield Figure(
            name=f"acknowledged writes that are lost on {name}",
            value=max(0, writing.acknowledged_count - writing.count_stored()),
            unit="writes",
            bar=at_most(0.0),
            note=f"of {writing.acknowledged_count}",
        )


def _kill(node: Addresses) -> None:
    subprocess.run(["kill", "-KILL", str(node.process_id)], check=True)


class _Writing:
    """One client that writes one event after the other, and notes when each was acknowledged."""

    _SUBJECT = "/failover"

    def __init__(self, node: Addresses) -> None:
        self._node = node
        self._acknowledged: list[float] = []
        self.failures = 0
        self._is_stopping = False
        self._thread = threading.Thread(target=self._write)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_stopping = True
        self._thread.join(_PATIENCE_SECONDS)

    @property
    def acknowledged_count(self) -> int:
        return len(self._acknowledged)

    def let_pass(self, count: int) -> None:
        """Wait until so many more are acknowledged."""
        until = self.acknowledged_count + count
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while self.acknowledged_count < until:
            if time.monotonic() > deadline:
                raise RuntimeError("writes did not go on")
            time.sleep(0.01)

    def longest_since(self, moment: float) -> float:
        """Return the longest time without an acknowledgement from a moment on."""
        times = [moment, *(found for found in self._acknowledged if found > moment)]
        return max(after - before for before, after in pairwise(times))

    def count_stored(self) -> int:
        reading = {"subject": self._SUBJECT, "options": {"recursive": False}}
        status, answer = _ask(self._node, "POST", _READS, reading)
        if status != 200:
            raise RuntimeError(f"reading was refused: {answer!r}")
        return answer.count(b"\n")

    def _write(self) -> None:
        event = {"source": "https://library.example", "subject": self._SUBJECT,
                 "type": "com.example.library.tried", "data": {}}  # fmt: skip
        while not self._is_stopping:
            try:
                status, _ = _ask(self._node, "POST", _WRITES, {"events": [event]})
            except (OSError, HTTPException):
                status = 0
            if status == 200:
                self._acknowledged.append(time.monotonic())
            else:
                self.failures += 1
                time.sleep(0.05)
