"""Audits: how fast they read, and what writes notice of them."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from statistics import median

from benchmarks.figures import Figure, at_least
from benchmarks.load import run_wrk
from benchmarks.servers import TOKEN, Addresses, serve_everlog
from benchmarks.workbench import Workbench
from benchmarks.writes import PATH as WRITE_PATH
from benchmarks.writes import saved_bodies

VERIFY_PATH = "/api/v1/verify-store"
HISTORY_PATH = "/api/v1/audit-history"

_CONNECTIONS = 16
_BODIES = 10_000
_ROUNDS_MAX = 5
_SECONDS_MAX = 600.0

_BUSY = 503
_RETRY_SECONDS = 0.02


def measure_audits(bench: Workbench) -> Iterator[Figure]:
    """Time audits of the usual log over HTTP, while nobody does anything else."""
    event_count = bench.scale.event_count
    with serve_everlog(bench.query_log(event_count), bench.certificate) as everlog:
        for path in (VERIFY_PATH, HISTORY_PATH):
            times = [_audit(everlog, path) for _ in range(min(bench.scale.repetitions, 3))]
            yield Figure(
                name=f"{path.rpartition('/')[2]}, {event_count:,} events",
                value=median(times) / event_count * 1e9,
                unit="ns/event",
                note=f"{median(times):.2f} s",
            )


def measure_audits_beside_writes(bench: Workbench) -> Iterator[Figure]:
    """Compare writes while the store is being verified with writes alone."""
    scale = bench.scale
    event_count = scale.event_count
    bodies = saved_bodies(bench, _BODIES, events_per_write=1)
    with serve_everlog(bench.query_log(event_count), bench.certificate) as everlog:
        url = everlog.plain + WRITE_PATH
        run_wrk(url, bodies, connections=_CONNECTIONS, seconds=scale.seconds / 5)
        alone, beside = [], []
        # In turns, so that both see the same machine; and the one that goes first changes.
        for number in range(min(scale.repetitions, _ROUNDS_MAX)):
            for is_audited in (number % 2 == 0, number % 2 == 1):
                if is_audited:
                    with _auditing(everlog):
                        load = run_wrk(url, bodies, connections=_CONNECTIONS, seconds=scale.seconds)
                    beside.append(load)
                else:
                    load = run_wrk(url, bodies, connections=_CONNECTIONS, seconds=scale.seconds)
                    alone.append(load)
    yield Figure(
        name=f"writes of one event, {_CONNECTIONS} connections, beside verify-store",
        value=median(load.requests_per_second for load in beside),
        unit="writes/s",
        reference_name="alone",
        reference=median(load.requests_per_second for load in alone),
        bar=at_least(0.8),
    )
    yield Figure(
        name=f"writes of one event, {_CONNECTIONS} connections, beside verify-store: 99 %",
        value=median(load.p99_seconds for load in beside) * 1e3,
        unit="ms",
        reference_name="alone",
        reference=median(load.p99_seconds for load in alone) * 1e3,
    )


def _audit(everlog: Addresses, path: str) -> float:
    """Return how many seconds an audit takes, which must find nothing."""
    begin = time.perf_counter()
    connection = _ask(everlog, path)
    response = connection.getresponse()
    found = json.loads(response.read())
    connection.close()
    if response.status != 200 or found.get("errors"):
        raise RuntimeError(f"{path} is answered with {response.status}: {found}")
    return time.perf_counter() - begin


@contextmanager
def _auditing(everlog: Addresses) -> Iterator[None]:
    """Let one audit follow the other; the last one is given up."""
    is_over = threading.Event()
    failures: list[Exception] = []
    current: list[socket.socket] = []

    def audit_on() -> None:
        while not is_over.is_set():
            connection = _ask(everlog, VERIFY_PATH)
            current[:] = [connection.sock]
            try:
                response = connection.getresponse()
                body = response.read()
                if response.status == _BUSY:
                    # The one that was given up is just being ended.
                    is_over.wait(_RETRY_SECONDS)
                    continue
                found = json.loads(body)
                if found["errors"]:
                    failures.append(RuntimeError(f"an audit has found something: {found}"))
            except (HTTPException, OSError, ValueError) as error:
                if not is_over.is_set():
                    failures.append(error)
            finally:
                connection.close()

    thread = threading.Thread(target=audit_on)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        for each in current:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        thread.join()
    if failures:
        raise failures[0]


def _ask(everlog: Addresses, path: str) -> HTTPConnection:
    connection = HTTPConnection("127.0.0.1", everlog.port, timeout=_SECONDS_MAX)
    connection.request("POST", path, headers={"Authorization": f"Bearer {TOKEN}"})
    return connection
