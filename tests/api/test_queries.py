"""Queries over the API: where they run, how they end, and whom they do not disturb."""

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.api import Answer, Connection, an_event
from tests.support.engines import open_log
from tests.support.events import a_candidate, store
from tests.support.server import DEADLINE_SECONDS, RunningServer, running_server

# More than a thread of the server reads by itself; few enough that a query may judge all pairs.
MANY = 9_900

# Reads as many combinations as there are pairs of events, which takes minutes.
ENDLESS = "FROM a IN events FROM b IN events WHERE a.data.number + b.data.number < 0 PROJECT INTO 1"


def query(connection: Connection, text: str, version: str = "v1") -> Answer:
    return getattr(connection, version)("run-eventql-query", {"query": text})


def values(answer: Answer) -> list[Any]:
    rows = [item for item in answer.items if item["type"] == "row"]
    return [item["payload"] if "payload" in item else item["data"]["value"] for item in rows]


def fill(connection: Connection, count: int) -> None:
    for first in range(0, count, 2_000):
        connection.write(
            *(
                an_event(f"/numbers/{number % 7}", data={"number": number})
                for number in range(first, min(first + 2_000, count))
            )
        )


def processes_of(server: RunningServer) -> list[int]:
    """Return the processes that a server has started and that are still there."""
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text()
    return [int(pid) for pid in children.split()]


def wait_until(condition: Any) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with running_server() as server:
        with Connection(server.url) as connection:
            fill(connection, MANY)
        yield server


@pytest.fixture
def connection(server: RunningServer) -> Iterator[Connection]:
    with Connection(server.url) as connection:
        yield connection


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize(
    "text, expected",
    [
        ("FROM e IN events PROJECT INTO COUNT()", [MANY]),
        ("FROM e IN events PROJECT INTO SUM(e.data.number)", [MANY * (MANY - 1) // 2]),
        (
            "FROM e IN events WHERE e.id AS INT >= 1500 TOP 2 PROJECT INTO e.data.number",
            [1500, 1501],
        ),
        (
            "FROM e IN events ORDER BY e.data.number DESC TOP 2 PROJECT INTO e.data.number",
            [MANY - 1, MANY - 2],
        ),
        (
            "FROM s IN subjects PROJECT INTO s",
            ["/", "/numbers", *(f"/numbers/{number}" for number in range(7))],
        ),
    ],
)
def test_short_and_long_queries_have_their_rows(
    connection: Connection, version: str, text: str, expected: list[Any]
) -> None:
    assert values(query(connection, text, version)) == expected


def test_a_long_query_has_all_its_rows_in_order(connection: Connection) -> None:
    found = values(query(connection, "FROM e IN events PROJECT INTO e.data"))

    assert found == [{"number": number} for number in range(MANY)]


def test_a_whole_event_is_exactly_what_is_read(connection: Connection) -> None:
    answer = query(connection, "FROM e IN events PROJECT INTO e")
    rows = [line.removeprefix(b'{"type":"row","payload":') for line in answer.body.splitlines()]
    read = connection.v1("read-events", {"subject": "/", "options": {"recursive": True}})

    events = [
        line.rstrip().removeprefix(b'{"type":"event","payload":') for line in read.body.splitlines()
    ]

    assert rows == events


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_rows_before_a_value_that_cannot_be_computed_with_are_sent(
    connection: Connection, version: str
) -> None:
    for start in (MANY - 10, 0):
        text = (
            f"FROM e IN events WHERE e.id AS INT >= {start} "
            f"PROJECT INTO IF(e.data.number == {MANY - 5}, 1 / 0, e.data.number)"
        )
        answer = query(connection, text, version)

        assert answer.status == 200
        assert values(answer) == list(range(start, MANY - 5))
        error = answer.items[-1]
        assert error["type"] == "error"
        told = error["payload"]["error"] if version == "v1" else error["data"]["description"]
        assert f"event '{MANY - 5}'" in told
        if version == "v2":
            assert answer.code == "query-unevaluable"
            assert answer.error["details"]["eventId"] == str(MANY - 5)


# Beyond what a FLOAT64 holds. Earlier versions accepted it, and their events can still be read.
HUGE = 10**400 - 1


@contextmanager
def server_with(directory: Path, *data: dict[str, int]) -> Iterator[Connection]:
    """Connect to a server whose log has events that an earlier version accepted."""
    engine = open_log(directory)
    store(engine, *(a_candidate(data=json.dumps(each, separators=(",", ":"))) for each in data))
    engine.close()
    with running_server(data_directory=directory) as server, Connection(server.url) as connection:
        yield connection


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_number_beyond_float64_disturbs_only_who_reads_it(tmp_path: Path, version: str) -> None:
    stored = ({"x": x, "y": 1} for x in (1, 2, HUGE, 4))
    with server_with(tmp_path, *stored) as connection:
        for clauses, rows in (
            ("PROJECT INTO e.data.x + 1", [2, 3]),
            ("WHERE e.data.x != 2 PROJECT INTO e.data.y", [1]),
            ("ORDER BY e.id DESC PROJECT INTO e.data.x * 1", [4]),
            ("GROUP BY e.data.x PROJECT INTO COUNT()", []),
        ):
            answer = query(connection, f"FROM e IN events {clauses}", version)

            assert answer.status == 200
            assert values(answer) == rows
            error = answer.items[-1]
            assert error["type"] == "error"
            told = error["payload"]["error"] if version == "v1" else error["data"]["description"]
            assert "a number is beyond the range of FLOAT64" in told
            assert "event '2'" in told
            if version == "v2":
                assert answer.code == "query-unevaluable"
                assert answer.error["details"]["eventId"] == "2"
        for clauses, rows in (
            ("TOP 2 PROJECT INTO e.data.x + 1", [2, 3]),
            ("WHERE e.id != '2' PROJECT INTO e.data.x", [1, 2, 4]),
            ("PROJECT INTO SUM(e.data.y)", [4]),
        ):
            assert values(query(connection, f"FROM e IN events {clauses}", version)) == rows


def test_a_precondition_that_reads_a_number_beyond_float64_is_refused(tmp_path: Path) -> None:
    with server_with(tmp_path, {"x": HUGE, "y": 1}) as connection:

        def write(text: str) -> Answer:
            is_true = {"type": "isEventQlQueryTrue", "payload": {"query": text}}
            body = {"events": [an_event()], "preconditions": [is_true]}
            return connection.v2("write-events", body)

        refused = write("FROM e IN events PROJECT INTO COUNT(e.data.x == 1) == 0")
        written = write("FROM e IN events PROJECT INTO COUNT(e.data.y == 1) == 1")

    assert refused.code == "query-unevaluable"
    assert refused.error["details"]["eventId"] == "0"
    assert written.items[0]["type"] == "event"


def test_a_fault_of_the_text_names_its_tokens(connection: Connection) -> None:
    text = "FROM e IN events\nWHERE f.type == 'x'\nPROJECT INTO e"
    token = {"line": 2, "column": 7, "text": "f"}

    v1 = query(connection, text).items
    v2 = query(connection, text, "v2")

    assert v1[0]["payload"]["error"].startswith("2:7: ")
    assert v1[0]["payload"]["startToken"].items() >= token.items()
    assert v2.code == "query-malformed"
    assert v2.error["details"]["startToken"].items() >= token.items()
    assert len(v2.error["details"]["errors"]) == 1


def test_a_request_without_a_query_is_refused(connection: Connection) -> None:
    for body in ({}, {"query": ""}):
        assert connection.v1("run-eventql-query", body).status == 400
        assert connection.v2("run-eventql-query", body).code == "query-missing"


@pytest.mark.slow
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_heartbeats_come_while_a_query_computes(server: RunningServer, version: str) -> None:
    method, path = ("POST", "v1") if version == "v1" else ("QUERY", "v2/data")
    with Connection(server.url) as connection:
        response = connection.send(method, f"/api/{path}/run-eventql-query", {"query": ENDLESS})
        items = [json.loads(response.readline()) for _ in range(3)]
    member = "payload" if version == "v1" else "data"

    assert items == [{"type": "heartbeat", member: {}}] * 3


@pytest.mark.slow
def test_a_client_that_goes_away_ends_its_query(server: RunningServer) -> None:
    with Connection(server.url) as connection:
        before = {pid: cpu_seconds(pid) for pid in processes_of(server)}
        connection.send("POST", "/api/v1/run-eventql-query", {"query": ENDLESS})
        busy: list[int] = []

        def is_busy() -> bool:
            found = processes_of(server)
            busy[:] = [pid for pid in found if cpu_seconds(pid) > before.get(pid, 0.0) + 0.2]
            return len(busy) == 1

        wait_until(is_busy)

    wait_until(lambda: all_rest(server))
    # A process that listens is worth keeping.
    assert set(busy) <= set(processes_of(server))


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.slow
def test_a_query_that_takes_too_long_is_ended() -> None:
    with running_server("--query-time-limit=1") as server, Connection(server.url) as connection:
        fill(connection, MANY)
        answer = query(connection, ENDLESS, "v2")

        assert answer.code == "query-unevaluable"
        assert "longer than 1 second" in answer.error["description"]
        assert values(query(connection, "FROM e IN events PROJECT INTO COUNT()")) == [MANY]


@pytest.mark.slow
def test_a_server_that_stops_ends_its_queries() -> None:
    with running_server() as server, Connection(server.url) as connection:
        fill(connection, MANY)
        response = connection.send("POST", "/api/v1/run-eventql-query", {"query": ENDLESS})
        assert json.loads(response.readline())["type"] == "heartbeat"
        server.ask_to_stop()
        *_, last = response.read().splitlines()

        assert json.loads(last) == {
            "type": "error",
            "payload": {"error": "server is shutting down"},
        }
        assert server.wait() == 0


@pytest.mark.slow
def test_a_query_process_ends_with_a_server_that_is_killed() -> None:
    with running_server() as server, Connection(server.url) as connection:
        fill(connection, MANY)
        response = connection.send("POST", "/api/v1/run-eventql-query", {"query": ENDLESS})
        response.readline()
        children = processes_of(server)
        assert children
        server.kill()

    wait_until(lambda: not any(Path(f"/proc/{pid}/cmdline").exists() for pid in children))


@pytest.mark.slow
def test_a_process_of_a_query_that_dies_is_told_and_replaced(server: RunningServer) -> None:
    with Connection(server.url) as connection:
        response = connection.send("POST", "/api/v1/run-eventql-query", {"query": ENDLESS})
        response.readline()
        killed = processes_of(server)
        for pid in killed:
            os.kill(pid, 9)
        wait_until(lambda: not set(killed) & set(processes_of(server)))
        *_, last = response.read().splitlines()

        told = json.loads(last)["payload"]["error"]
        assert told == "the query was ended: its process died, perhaps for lack of memory"
        assert server.wait_for_log("the process of a query died")["reason"] == "SIGKILL"
        assert values(query(connection, "FROM e IN events PROJECT INTO SUM(e.data.number)")) == [
            MANY * (MANY - 1) // 2
        ]


@pytest.mark.slow
def test_a_slow_client_holds_up_its_query_and_not_the_memory(server: RunningServer) -> None:
    text = "FROM a IN events FROM b IN events TOP 4000000 PROJECT INTO { a: a.id, b: b.subject }"
    with Connection(server.url) as connection:
        before = memory_of(server.pid)
        response = connection.send("POST", "/api/v1/run-eventql-query", {"query": text})
        response.readline()
        wait_until(lambda: all_rest(server))
        grown = memory_of(server.pid) - before
        children = [memory_of(pid) for pid in processes_of(server)]

    assert grown < 32 * 1024 * 1024
    assert max(children) < 256 * 1024 * 1024


def all_rest(server: RunningServer) -> bool:
    """Tell whether no process of a server computes."""
    pids = [server.pid, *processes_of(server)]
    before = [cpu_seconds(pid) for pid in pids]
    threading.Event().wait(0.5)
    return [cpu_seconds(pid) for pid in pids] == before


def memory_of(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    resident = next(line for line in lines if line.startswith("VmRSS"))
    return int(resident.split()[1]) * 1024


@pytest.mark.slow
def test_no_more_queries_run_at_once_than_may(server: RunningServer) -> None:
    connections = [Connection(server.url) for _ in range(64)]
    try:
        for connection in connections:
            connection.http.request(
                "POST",
                "/api/v1/run-eventql-query",
                json.dumps({"query": ENDLESS}),
                {"Authorization": f"Bearer {connection.token}"},
            )
        with Connection(server.url) as one_more:
            wait_until(
                lambda: query(one_more, "FROM e IN events TOP 1 PROJECT INTO 1").status == 503
            )
            for version in ("v1", "v2"):
                answer = query(one_more, "FROM e IN events TOP 1 PROJECT INTO 1", version)
                assert answer.status == 503
                assert answer.text.strip() == "there are 64 queries running already"
    finally:
        for connection in connections:
            connection.http.close()


def test_the_plan_is_told_in_the_place_of_rows(connection: Connection) -> None:
    text = "EXPLAIN FROM e IN events WHERE e.type == 'io.everlog.missing' PROJECT INTO e"

    (plan,) = values(query(connection, text))

    assert isinstance(plan, dict)
