"""A server under mixed load for a while grows by no more than what it stores.

Clients write, read, observe and register schemas; others come and go, ask for lists, send what is
wrong, and leave in the middle of an answer. Meanwhile memory and open files are watched.

EVERLOG_SOAK_SECONDS says for how long.
"""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from time import monotonic

import psutil
import pytest

from tests.support.api import Connection
from tests.support.history_checker import find_violations
from tests.support.planted_bugs import Bug
from tests.support.rack_server import Plan, entry_point
from tests.support.server import RunningServer, running_server
from tests.support.workload import GONE, Workload, read_log

SECONDS = float(os.environ.get("EVERLOG_SOAK_SECONDS", "8"))
# Enough for a bug that leaks at every request.
SECONDS_WITH_BUG = 3.0
# However slow the machine is.
REQUESTS_MIN = 2_000

# The first part of the time: caches fill, threads start, and the allocator finds its size.
WARM_UP_SHARE = 0.3

# What a pause of the allocator or a thread more may cost, and what each request may leave: its
# events' cells in the columns, and the names of new subjects.
GROWTH_MAX = 12 * 1024 * 1024
GROWTH_PER_REQUEST_MAX = 1024

# Connections that come and go, and the files of a snapshot.
FILES_GROWTH_MAX = 12


@dataclass(frozen=True)
class Sample:
    """What a server held at one moment, and how many requests it had answered."""

    size: int
    files: int
    requests: int


class Visitor:
    """A client that comes and goes, and watches the server meanwhile."""

    def __init__(self, server: RunningServer, work: Workload) -> None:
        self._server = server
        self._work = work
        self._process = psutil.Process(server.pid)
        self._visits = count()
        self._requests = 0

    def watch(self, seconds: float) -> Sequence[Sample]:
        """Come and go for so long, and return what was seen."""
        samples = [self._sample()]
        deadline = monotonic() + seconds
        while monotonic() < deadline or samples[-1].requests < REQUESTS_MIN:
            self._visit()
            samples.append(self._sample())
        return samples

    def _visit(self) -> None:
        number = next(self._visits)
        with Connection(self._server.url) as connection:
            connection.v1("read-subjects", {"baseSubject": "/account"})
            connection.v2("read-event-types")
            connection.v1("write-events", b"{")
            connection.ask("POST", "/api/v1/read-events", {}, headers={})
            connection.ask("GET", "/api/v1/health")
            # It leaves in the middle of a stream.
            version = ("v1", "v2")[number % 2]
            list(islice(connection.observe(version), number % 50))
            self._requests += 6

    def _sample(self) -> Sample:
        history = self._work.history
        requests = self._requests + len(history.writes) + len(history.reads)
        return Sample(self._process.memory_info().rss, self._process.num_fds(), requests)


def find_growth(samples: Sequence[Sample]) -> Sequence[str]:
    """Compare the least of the last quarter with the most of what was before it, after warm-up."""
    before = samples[int(len(samples) * WARM_UP_SHARE) : len(samples) // 2]
    after = samples[-max(1, len(samples) // 4) :]
    requests = after[0].requests - before[-1].requests
    size = min(sample.size for sample in after) - max(sample.size for sample in before)
    files = min(sample.files for sample in after) - max(sample.files for sample in before)
    findings = []
    if size > GROWTH_MAX + GROWTH_PER_REQUEST_MAX * requests:
        findings.append(f"memory grew by {size >> 10} KiB in {requests} requests")
    if files > FILES_GROWTH_MAX:
        findings.append(f"open files grew by {files} in {requests} requests")
    return findings


def soak(directory: Path, *, seconds: float, bug: Bug | None = None) -> Sequence[str]:
    """Run a server under load, print what it held, and return what is found."""
    work = Workload(11)
    # Segments as large as usual: each is an open file.
    plan = Plan(segment_size_max=1 << 30, bug=bug)
    with running_server(data_directory=directory, entry_point=entry_point(plan)) as server:
        work.start(server.url)
        samples = Visitor(server, work).watch(seconds)
        work.stop_writing()
        first, last = samples[int(len(samples) * WARM_UP_SHARE)], samples[-1]
        sys.stdout.write(
            f"\n{last.requests} requests in {seconds:.0f} s; RSS {first.size >> 10} KiB after "
            f"warm-up, {last.size >> 10} at the end; files {first.files} and {last.files}\n"
        )
        findings = [*find_growth(samples), *find_violations(work.history, read_log(server.url))]
        with suppress(*GONE):
            server.stop()
        work.wait_for_end()
        return findings


@pytest.mark.slow
def test_a_server_grows_by_what_it_stores_and_no_more(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        findings = soak(tmp_path / "data", seconds=SECONDS)

    assert findings == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "bug, sentence",
    [(Bug.LEAKS_MEMORY, "memory grew"), (Bug.LEAKS_DESCRIPTORS, "open files grew")],
)
def test_a_server_that_leaks_is_noticed(tmp_path: Path, bug: Bug, sentence: str) -> None:
    findings = soak(tmp_path / "data", seconds=SECONDS_WITH_BUG, bug=bug)

    assert any(sentence in finding for finding in findings), findings
