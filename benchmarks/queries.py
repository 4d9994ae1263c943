"""Queries: beside DuckDB, from the index alone, beside writes, and as conditions of writes."""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.client import render_request, seconds_to_first_byte
from benchmarks.events import SOURCE, TYPE, data_of
from benchmarks.figures import Bar, Figure, at_most
from benchmarks.load import run_wrk, save_bodies
from benchmarks.peers.table import OWN
from benchmarks.query_log import TYPES, subject_of
from benchmarks.questions import PATH, Asked, ask, body_of, open_duckdb
from benchmarks.servers import Addresses, serve_everlog
from benchmarks.workbench import Workbench
from benchmarks.writes import PATH as WRITE_PATH
from benchmarks.writes import saved_bodies

_TYPE = TYPES[3]
_OF_NOBODY = f"FROM e IN events WHERE e.type == '{_TYPE}' AND e.subject == '/nobody'"

# Where an index has to hold more, it is measured with so many.
_INDEX_EVENTS_MAX = 10_000_000
_ROUNDS_MAX = 7

_CONNECTIONS = 16
_BODIES = 10_000


class _Question(NamedTuple):
    """The same in both languages; `{files}` is what DuckDB reads."""

    name: str
    query: str
    sql: str
    bar: Bar


_FILTER_SQL = (
    "SELECT payload.id, payload.data.title FROM read_json({files}, format='newline_delimited', "
    "columns={{payload: 'STRUCT(id VARCHAR, type VARCHAR, "
    "data STRUCT(title VARCHAR, pages BIGINT, meta STRUCT(lang VARCHAR)))'}}) "
    f"WHERE payload.type = '{_TYPE}' AND payload.data.pages > 500 "
    "AND payload.data.meta.lang = 'de'"
)
_FILTER = (
    "FROM e IN events WHERE {condition} AND e.data.pages > 500 AND e.data.meta.lang == 'de' "
    "PROJECT INTO {{ id: e.id, title: e.data.title }}"
)

QUESTIONS = (
    _Question(
        "filter by type and data, no index",
        # No index takes a condition that is the opposite of another.
        _FILTER.format(condition=f"NOT (e.type != '{_TYPE}')"),
        _FILTER_SQL,
        at_most(1.3),
    ),
    _Question(
        "filter by type and data, type from the index",
        _FILTER.format(condition=f"e.type == '{_TYPE}'"),
        _FILTER_SQL,
        at_most(1.0),
    ),
    _Question(
        "group by data with count and average",
        "FROM e IN events GROUP BY e.data.genre "
        "PROJECT INTO { genre: e.data.genre, count: COUNT(), price: AVG(e.data.price) }",
        "SELECT payload.data.genre, count(*), avg(payload.data.price) "
        "FROM read_json({files}, format='newline_delimited', "
        "columns={{payload: 'STRUCT(data STRUCT(genre VARCHAR, price DOUBLE))'}}) GROUP BY 1",
        at_most(1.3),
    ),
)
_GROUP = QUESTIONS[-1].query


def measure_queries(bench: Workbench) -> Iterator[Figure]:
    """Compare scanning queries over HTTP with DuckDB on one core, reading the same file."""
    event_count = bench.scale.event_count
    directory = bench.query_log(event_count)
    with ExitStack() as resources:
        everlog = resources.enter_context(serve_everlog(directory, bench.certificate))
        # Where no peers take part, their environment may be missing.
        duckdb = None if bench.peers == (OWN,) else resources.enter_context(open_duckdb())
        files = [str(path) for path in sorted((directory / "log").glob("*.ndjson"))]
        for question in QUESTIONS:
            sql = question.sql.format(files=files)
            own, other = [], []
            for _ in range(_rounds(bench)):
                own.append(ask(everlog, question.query))
                if duckdb is not None:
                    other.append(duckdb.ask(sql))
            name = "" if duckdb is None else f"DuckDB {duckdb.version}, one thread"
            yield from compare(question, event_count, own, other, reference_name=name)


def compare(
    question: _Question,
    event_count: int,
    own: Sequence[Asked],
    other: Sequence[Asked],
    *,
    reference_name: str = "",
) -> Iterator[Figure]:
    """Yield how long a question took; `other` is empty where DuckDB was not asked.

    Raises:
        RuntimeError: Not all found as many rows.
    """
    counts = {asked.row_count for asked in (*own, *other)}
    if len(counts) != 1:
        raise RuntimeError(f"{question.name}: not all answers have the same rows: {counts}")
    name = f"{question.name}, {event_count:,} events"
    yield Figure(
        name=name,
        value=median(asked.seconds for asked in own),
        unit="s",
        reference_name=reference_name,
        reference=median(asked.seconds for asked in other) if other else None,
        bar=question.bar if other else None,
        note=f"{counts.pop():,} rows",
    )
    yield Figure(
        name=f"{name}: processor",
        value=median(asked.cpu_seconds for asked in own),
        unit="s",
        reference_name=reference_name,
        reference=median(asked.cpu_seconds for asked in other) if other else None,
    )


def measure_index_queries(bench: Workbench) -> Iterator[Figure]:
    """Time queries that the index answers, and the first rows of long ones."""
    event_count = min(bench.scale.growth_event_counts[-1], _INDEX_EVENTS_MAX)
    subject = subject_of(event_count // 3, event_count=event_count)
    of_type = f"FROM e IN events WHERE e.type == '{_TYPE}'"
    with serve_everlog(bench.query_log(event_count), bench.certificate) as everlog:
        for name, query in (
            (
                "count by type",
                "FROM e IN events GROUP BY e.type PROJECT INTO { type: e.type, count: COUNT() }",
            ),
            ("count of a type", f"{of_type} PROJECT INTO COUNT()"),
            (
                "existence by subject and type",
                f"{of_type} AND e.subject == '{subject}' PROJECT INTO COUNT() > 0",
            ),
            (
                "absence by subject and type",
                f"{_OF_NOBODY} PROJECT INTO COUNT() == 0",
            ),
            (
                "the latest 10 events",
                "FROM e IN events ORDER BY e.time DESC TOP 10 PROJECT INTO e",
            ),
        ):
            first, *times = (ask(everlog, query).seconds for _ in range(bench.scale.repetitions))
            yield Figure(
                name=f"{name}, {event_count:,} events",
                value=median(times) * 1e3,
                unit="ms",
                bar=at_most(10.0),
                note=f"the first time {first * 1e3:.2f} ms",
            )
        yield from _first_rows(bench, everlog, event_count)
    # Large, and nobody else's.
    bench.remove_query_log(event_count)


def _first_rows(bench: Workbench, everlog: Addresses, event_count: int) -> Iterator[Figure]:
    for name, query in (
        ("of everything", "FROM e IN events PROJECT INTO e"),
        ("of a type", f"FROM e IN events WHERE e.type == '{_TYPE}' PROJECT INTO e.id"),
    ):
        request = render_request("POST", PATH, body_of(query))
        first, *times = (
            seconds_to_first_byte(everlog.port, request) for _ in range(bench.scale.repetitions)
        )
        yield Figure(
            name=f"first row {name}, {event_count:,} events",
            value=median(times) * 1e3,
            unit="ms",
            bar=at_most(50.0),
            note=f"the first time {first * 1e3:.2f} ms, which may start a process",
        )


def measure_queries_beside_writes(bench: Workbench) -> Iterator[Figure]:
    """Compare writes while a query reads everything with writes alone."""
    scale = bench.scale
    event_count = scale.event_count
    bodies = saved_bodies(bench, _BODIES, events_per_write=1)
    with serve_everlog(bench.query_log(event_count), bench.certificate) as everlog:
        url = everlog.plain + WRITE_PATH
        run_wrk(url, bodies, connections=_CONNECTIONS, seconds=scale.seconds / 5)
        alone, beside, durations = [], [], []
        # One after the other and often, so that all see the same machine.
        for _ in range(_rounds(bench)):
            alone.append(run_wrk(url, bodies, connections=_CONNECTIONS, seconds=scale.seconds))
            with _asking_on(everlog, _GROUP) as seconds:
                beside.append(run_wrk(url, bodies, connections=_CONNECTIONS, seconds=scale.seconds))
            durations += seconds
    yield Figure(
        name=f"writes of one event, {_CONNECTIONS} connections, beside a scan: 99 %",
        value=median(load.p99_seconds for load in beside) * 1e3,
        unit="ms",
        reference_name="alone",
        reference=median(load.p99_seconds for load in alone) * 1e3,
        bar=at_most(2.0),
        note=f"{len(durations)} scans of {event_count:,} events, each {median(durations):.2f} s",
    )
    yield Figure(
        name=f"writes of one event, {_CONNECTIONS} connections, beside a scan",
        value=median(load.requests_per_second for load in beside),
        unit="writes/s",
        reference_name="alone",
        reference=median(load.requests_per_second for load in alone),
    )


@contextmanager
def _asking_on(everlog: Addresses, query: str) -> Iterator[list[float]]:
    """Ask again whenever there is an answer; yields the durations, complete at the end."""
    durations: list[float] = []
    failures: list[Exception] = []
    is_over = threading.Event()

    def ask_on() -> None:
        try:
            while not is_over.is_set():
                durations.append(ask(everlog, query).seconds)
        except (OSError, RuntimeError) as error:
            failures.append(error)

    thread = threading.Thread(target=ask_on)
    thread.start()
    try:
        yield durations
    finally:
        is_over.set()
        thread.join()
    if failures:
        raise failures[0]


def measure_query_conditions(bench: Workbench) -> Iterator[Figure]:
    """Compare writes that depend on a query with writes that depend on nothing."""
    scale = bench.scale
    event_count = scale.event_count
    subject = subject_of(event_count // 3, event_count=event_count)
    of_one = f"FROM e IN events WHERE e.subject == '{subject}' AND e.type == '{_TYPE}'"
    with serve_everlog(bench.query_log(event_count), bench.certificate) as everlog:
        url = everlog.plain + WRITE_PATH
        for name, query in (
            (
                "from the index",
                f"{_OF_NOBODY} PROJECT INTO COUNT() == 0",
            ),
            ("of a few events", f"{of_one} AND e.data.pages > 5000 PROJECT INTO COUNT() == 0"),
        ):
            plain = saved_conditional_bodies(bench, [])
            conditional = saved_conditional_bodies(
                bench, [{"type": "isEventQlQueryTrue", "payload": {"query": query}}]
            )
            times: dict[Path, list[float]] = {plain: [], conditional: []}
            for _ in range(_rounds(bench)):
                for bodies in (plain, conditional):
                    load = run_wrk(url, bodies, connections=1, seconds=scale.seconds / 3)
                    times[bodies].append(load.median_seconds)
            yield Figure(
                name=f"write on a query {name}, 1 connection: median latency",
                value=median(times[conditional]) * 1e6,
                unit="us",
                reference_name="without a condition",
                reference=median(times[plain]) * 1e6,
            )


def saved_conditional_bodies(bench: Workbench, preconditions: Sequence[object]) -> Path:
    """Write bodies for wrk into a file, each of one event on a subject that no query asks for."""
    bodies = [
        json.dumps(
            {
                "events": [
                    {
                        "source": SOURCE,
                        "subject": f"/conditions/{number}",
                        "type": TYPE,
                        "data": json.loads(data_of(number)),
                    }
                ],
                "preconditions": preconditions,
            }
        ).encode()
        for number in range(100)
    ]
    return save_bodies(bench.new_directory("bodies") / "bodies", bodies)


def _rounds(bench: Workbench) -> int:
    return min(bench.scale.repetitions, _ROUNDS_MAX)
