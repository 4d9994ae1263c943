"""What both revisions are asked to do, and by whom."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.client import Crowd, connect, render_request
from benchmarks.drive import Target, drive
from benchmarks.events import LIBRARIES, SOURCE, TYPE, data_of, subject_of
from benchmarks.load import download, run_wrk, save_bodies
from benchmarks.queries import saved_conditional_bodies
from benchmarks.questions import body_of
from benchmarks.reads import EVERYTHING, VERSIONS, Version, saved_subjects
from benchmarks.servers import TOKEN, Addresses
from benchmarks.workbench import Workbench
from benchmarks.writes import saved_bodies

_BODIES = 10_000
_OBSERVERS = 100
_ANSWER_SIZE_MAX = 64 * 1024


@dataclass(frozen=True, slots=True)
class Done:
    """What a load came to."""

    operations: float
    seconds: float
    # Of a write with a condition and of one without, where that was asked.
    median_seconds: float = 0.0
    plain_median_seconds: float = 0.0


# Loads a server for about so many seconds.
Run = Callable[[Addresses, float], Done]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Something that both do, and what it is counted in."""

    unit: str
    run: Run
    # Whose whole log it reads, which nginx then serves as a file, too.
    version: Version | None = None
    times_plain_max: float | None = None
    # Whether it is done without being asked for.
    is_usual: bool = True


def works(bench: Workbench) -> dict[str, Work]:
    """Return all works by their names; reading comes first, since writing makes the log larger."""
    return {**_reads(bench), **_writes(bench), **_conditions(bench), **_of_python(bench)}


def _reads(bench: Workbench) -> dict[str, Work]:
    event_count = bench.scale.event_count
    subjects = saved_subjects(bench, event_count)
    trees = _saved(bench, [_tree(f"/libraries/{number}") for number in range(LIBRARIES)])
    subject = subject_of(event_count // 3, event_count=event_count)
    query = f"FROM e IN events WHERE e.subject == '{subject}' PROJECT INTO e.data.title"
    queries = _saved(bench, [body_of(query)])
    return {
        "read-16": Work(unit="reads", run=partial(_wrk, "read-events", subjects, 16)),
        "read-64": Work(unit="reads", run=partial(_wrk, "read-events", subjects, 64)),
        "read-recursive": Work(unit="reads", run=partial(_wrk, "read-events", trees, 4)),
        "query-few": Work(unit="queries", run=partial(_wrk, "run-eventql-query", queries, 4)),
        **{
            f"read-all-{version.name}": Work(
                unit="MB",
                run=partial(_download, version.method, version.path, EVERYTHING),
                version=version,
            )
            for version in VERSIONS
        },
    }


def _writes(bench: Workbench) -> dict[str, Work]:
    one = saved_bodies(bench, _BODIES, events_per_write=1)
    hundred = saved_bodies(bench, _BODIES // 100, events_per_write=100)
    return {
        **{
            f"write-{connections}": Work(
                unit="writes", run=partial(_wrk, "write-events", one, connections)
            )
            for connections in (1, 16, 64, 256)
        },
        "write-100-events": Work(unit="writes", run=partial(_wrk, "write-events", hundred, 16)),
        "write-64-tls": Work(
            unit="writes", run=partial(_wrk, "write-events", one, 64, is_tls=True), is_usual=False
        ),
        "observe": Work(unit="deliveries", run=_observe, is_usual=False),
    }


def _conditions(bench: Workbench) -> dict[str, Work]:
    event_count = bench.scale.event_count
    subject = subject_of(event_count // 3, event_count=event_count)
    of_few = f"FROM e IN events WHERE e.subject == '{subject}' AND e.type == '{TYPE}'"
    plain = saved_conditional_bodies(bench, [])

    def work(query: str, *, times_plain_max: float) -> Work:
        condition = {"type": "isEventQlQueryTrue", "payload": {"query": query}}
        bodies = saved_conditional_bodies(bench, [condition])
        run = partial(_write_on_condition, plain, bodies)
        return Work(unit="writes", run=run, times_plain_max=times_plain_max)

    return {
        "condition-index": work(
            f"FROM e IN events WHERE e.type == '{TYPE}' AND e.subject == '/nobody' "
            "PROJECT INTO COUNT() == 0",
            times_plain_max=1.5,
        ),
        "condition-few": work(
            f"{of_few} AND e.data.number < 0 PROJECT INTO COUNT() == 0", times_plain_max=2.0
        ),
    }


def _of_python(bench: Workbench) -> dict[str, Work]:
    """Return works of clients in Python, which are slower than the server is."""
    return {
        f"python-{name.replace('_', '-')}-{connections}": Work(
            unit="operations",
            run=partial(_drive, name, connections, bench.scale.event_count),
            is_usual=False,
        )
        for name, connections in (
            *(("write", 1), ("write", 16), ("write_pristine", 16), ("write_next", 16)),
            *(("read_subject", 16), ("read_recursive", 1), ("mixed", 16)),
        )
    }


def _wrk(
    endpoint: str,
    bodies: Path,
    connections: int,
    everlog: Addresses,
    seconds: float,
    *,
    is_tls: bool = False,
) -> Done:
    url = f"{everlog.tls if is_tls else everlog.plain}/api/v1/{endpoint}"
    load = run_wrk(url, bodies, connections=connections, seconds=seconds)
    return Done(load.requests_per_second * load.seconds, load.seconds)


def _write_on_condition(plain: Path, conditional: Path, everlog: Addresses, seconds: float) -> Done:
    url = f"{everlog.plain}/api/v1/write-events"
    without, load = (
        run_wrk(url, bodies, connections=1, seconds=seconds / 2) for bodies in (plain, conditional)
    )
    return Done(
        load.requests_per_second * load.seconds,
        load.seconds,
        load.median_seconds,
        without.median_seconds,
    )


def _download(method: str, path: str, body: bytes, server: Addresses, seconds: float) -> Done:
    """Read the same again and again, and count its megabytes."""
    deadline = time.monotonic() + seconds
    size, taken = 0, 0.0
    while taken == 0.0 or time.monotonic() < deadline:
        more, longer = download(server.plain + path, method=method, body=body)
        size, taken = size + more, taken + longer
    return Done(size / 1e6, taken)


def download_file(version: Version, nginx: Addresses, seconds: float) -> Done:
    """Download what a version's whole log is as a file."""
    return _download("GET", f"/files/{version.name}", b"", nginx, seconds)


def _drive(
    work: str, connections: int, event_count: int, everlog: Addresses, seconds: float
) -> Done:
    target = Target(
        session="everlog", address=f"{everlog.port} {TOKEN}", process_id=everlog.process_id
    )
    outcome = drive(target, work, connections=connections, seconds=seconds, event_count=event_count)
    return Done(outcome.operations, outcome.seconds)


def _observe(everlog: Addresses, seconds: float) -> Done:
    """Write one event after the other, each when all observers have the one before."""
    # Nobody has written to it: there is nothing to catch up with.
    subject = f"/observed/{time.monotonic_ns()}"
    observation = json.dumps({"subject": subject, "options": {"recursive": False}}).encode()
    event = {"source": SOURCE, "subject": subject, "type": TYPE, "data": json.loads(data_of(0))}
    request = render_request(
        "POST", "/api/v1/write-events", json.dumps({"events": [event]}).encode()
    )
    observe = render_request("POST", "/api/v1/observe-events", observation)
    deliveries = 0
    with (
        Crowd(everlog.port, size=_OBSERVERS, request=observe) as crowd,
        connect(everlog.port) as writer,
    ):
        begin = time.monotonic()
        while time.monotonic() < begin + seconds:
            writer.sendall(request)
            found = crowd.count(
                b'"type":"event"', until=lambda found: found >= _OBSERVERS, seconds=30
            )
            if found != _OBSERVERS:
                raise RuntimeError(f"{found} of {_OBSERVERS} observers got an event")
            deliveries += found
            writer.recv(_ANSWER_SIZE_MAX)
        return Done(deliveries, time.monotonic() - begin)


def _tree(subject: str) -> bytes:
    return json.dumps({"subject": subject, "options": {"recursive": True}}).encode()


def _saved(bench: Workbench, bodies: list[bytes]) -> Path:
    return save_bodies(bench.new_directory("bodies") / "bodies", bodies)
