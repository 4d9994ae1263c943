"""Asking questions: of Everlog over HTTP, and of DuckDB, which reads the file of Everlog's log."""

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.processes import tree_cpu_seconds
from benchmarks.servers import TOKEN, Addresses
from tools.bench_environment import ENVIRONMENT_PYTHON

PATH = "/api/v1/run-eventql-query"

_ROOT = Path(__file__).resolve().parents[1]
_SECONDS_MAX = 600.0
_RECEIVE_SIZE = 256 * 1024


class Asked(NamedTuple):
    """An answer, read to its end."""

    row_count: int
    seconds: float
    # Of everybody who helped to answer.
    cpu_seconds: float


class DuckDB:
    """A process that asks DuckDB."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.version: str = self._receive()

    def ask(self, sql: str) -> Asked:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(sql) + "\n")
        self._process.stdin.flush()
        return Asked(*self._receive())

    def _receive(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"DuckDB ended: exit code {self._process.wait()}")
        return json.loads(line)


@contextmanager
def open_duckdb() -> Iterator[DuckDB]:
    """Start DuckDB, and end it."""
    process = subprocess.Popen(
        [ENVIRONMENT_PYTHON, "-m", "benchmarks.duckdb_session"],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield DuckDB(process)
    finally:
        process.communicate()


def body_of(query: str) -> bytes:
    """Return the body of a request."""
    return json.dumps({"query": query}).encode()


def ask(everlog: Addresses, query: str) -> Asked:
    """Ask over a connection of its own, and read the answer to its end."""
    cpu_begin = tree_cpu_seconds(everlog.process_id)
    begin = time.perf_counter()
    connection = HTTPConnection("127.0.0.1", everlog.port, timeout=_SECONDS_MAX)
    connection.request("POST", PATH, body_of(query), {"Authorization": f"Bearer {TOKEN}"})
    response = connection.getresponse()
    parts = [*iter(lambda: response.read1(_RECEIVE_SIZE), b"")]
    seconds = time.perf_counter() - begin
    connection.close()
    cpu_seconds = tree_cpu_seconds(everlog.process_id) - cpu_begin
    content = b"".join(parts)
    if response.status != 200 or b'{"type":"error"' in content:
        raise RuntimeError(f"{query} was answered with {response.status}: {content[-1_000:]!r}")
    return Asked(content.count(b'{"type":"row"'), seconds, cpu_seconds)
