"""Driving client processes: starting them together, and adding up what they did.

How busy clients and server were is part of each result: a rate says something about a server only
where its clients had processor time to spare.
"""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks.processes import tree_cpu_seconds
from benchmarks.sessions.histogram import Histogram
from tools.bench_environment import ENVIRONMENT_PYTHON

_ROOT = Path(__file__).resolve().parents[1]

# More would only wait for each other: of a machine's cores the server needs one or more.
WORKERS_MAX = 4

_ANSWER_SECONDS_MAX = 300.0

_runs = count(int(time.time()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A store that runs: which client it needs, where it is, and who it is."""

    session: str
    address: str
    # None where the store is a library in the client's process.
    process_id: int | None = None
    workers_max: int = WORKERS_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What all clients together did."""

    operations: int
    events: int
    seconds: float
    times: Histogram
    client_cores: float
    server_cores: float

    @property
    def operations_per_second(self) -> float:
        return self.operations / self.seconds

    @property
    def events_per_second(self) -> float:
        return self.events / self.seconds

    def details(self) -> dict[str, float]:
        """Return what a table shows beside the rate."""
        if not self.operations:
            raise RuntimeError("not a single operation was done")
        shares = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}
        milliseconds = [1e3 * seconds for seconds in self.times.percentiles(shares.values())]
        return {
            "client_cores": self.client_cores,
            "server_cores": self.server_cores,
            "server_us_per_event": self.server_cores * self.seconds / max(self.events, 1) * 1e6,
            **{f"{name}_ms": value for name, value in zip(shares, milliseconds, strict=True)},
        }


class Worker:
    """A client process with a task."""

    def __init__(self, task: dict[str, Any]) -> None:
        """Start it."""
        command = [worker_python(), "-m", "benchmarks.sessions.worker"]
        self._process = subprocess.Popen(
            command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._name = f"{task['do']} of {task['session']}"
        self.tell(json.dumps(task))

    @property
    def process_id(self) -> int:
        return self._process.pid

    def tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def wait_ready(self) -> None:
        if self._read() != "ready":
            raise RuntimeError(f"{self._name}: the client did not get ready")

    def wait_result(self) -> dict[str, Any]:
        result: dict[str, Any] = json.loads(self._read())
        if result.get("errors"):
            raise RuntimeError(f"{self._name}: {result['errors']}")
        return result

    def close(self) -> None:
        """Let it end; where it does not, end it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._name}: the client ended with {self._process.wait()}")
        return line.rstrip()


def worker_python() -> str:
    """Return the Python of the clients: the peers' if there is one, since it has all of them."""
    return str(ENVIRONMENT_PYTHON) if ENVIRONMENT_PYTHON.exists() else sys.executable


def run_task(target: Target, do: str, **more: Any) -> dict[str, Any]:
    """Let one process do one task that needs no start signal."""
    worker = Worker({"do": do, "session": target.session, "address": target.address, **more})
    try:
        return worker.wait_result()
    finally:
        worker.close()


def drive(
    target: Target,
    work: str,
    *,
    connections: int,
    seconds: float,
    event_count: int = 0,
    operations: int = 0,
    rate: float = 0.0,
    is_warmed: bool = True,
) -> Outcome:
    """Do the same work over some connections: without a pause, so often, or at a rate."""
    workers_count = min(connections, target.workers_max)
    sessions = shares(connections, workers_count)
    run = f"run{next(_runs)}"
    with ExitStack() as stack:
        workers = []
        for index, own in enumerate(sessions):
            worker = Worker(
                {
                    "do": "load",
                    "session": target.session,
                    "address": target.address,
                    "work": work,
                    "run": run,
                    "event_count": event_count,
                    "seconds": seconds,
                    "operations": operations,
                    "warm": is_warmed,
                    "sessions": own,
                    "first_session": sum(sessions[:index]),
                    "total_sessions": connections,
                    "rate": rate * own / connections,
                }
            )
            stack.callback(worker.close)
            workers.append(worker)
        for worker in workers:
            worker.wait_ready()
        cpu_before = _server_cpu(target)
        for worker in workers:
            worker.tell("go")
        results = [worker.wait_result() for worker in workers]
        server_cpu = _server_cpu(target) - cpu_before
    return _sum(results, server_cpu=server_cpu, is_embedded=target.process_id is None)


def raw_reading_rate(target: Target, event_count: int) -> float:
    """Return the events per second of a client that counts the lines of reading everything."""
    outcome = drive(
        target,
        "read_everything",
        connections=1,
        seconds=60.0,
        event_count=event_count,
        operations=1,
        is_warmed=False,
    )
    return outcome.events_per_second


def shares(whole: int, parts: int) -> list[int]:
    """Divide a number as evenly as it can be."""
    return [whole // parts + (part < whole % parts) for part in range(parts)]


def _server_cpu(target: Target) -> float:
    return 0.0 if target.process_id is None else tree_cpu_seconds(target.process_id)


def _sum(results: Sequence[dict[str, Any]], *, server_cpu: float, is_embedded: bool) -> Outcome:
    times = Histogram()
    for result in results:
        times.update(Histogram((bucket, count) for bucket, count in result["times"]))
    seconds = max(result["seconds"] for result in results)
    client_cores = sum(result["cpu_seconds"] for result in results) / seconds
    return Outcome(
        operations=sum(result["operations"] for result in results),
        events=sum(result["events"] for result in results),
        seconds=seconds,
        times=times,
        # A store in the client's process is all there is.
        client_cores=0.0 if is_embedded else client_cores,
        server_cores=client_cores if is_embedded else server_cpu / seconds,
    )
