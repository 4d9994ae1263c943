"""Queries made to harm: whatever they are, the others are served, and the server stays small.

Each server here is watched (`tests.support.watchdog`): a test fails if its event loop was held up,
be it because a thread did not let go of the interpreter's lock.
"""

import itertools
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.api import Answer, Connection, an_event
from tests.support.faulty_server import Condition, entry_point, set_condition
from tests.support.server import RunningServer, running_server, wait_until
from tests.support.threads import Background

SMALL, LARGE, ARRAYS, NESTED = (f"io.everlog.test.{name}" for name in ("small", "large", "a", "n"))

CLIENTS = 4

# Of the server, while all of them ask: what threads may hold, rows on their way, and some more.
GROWTH_MAX = 160 * 1024 * 1024

# What the server itself computes meanwhile: processes do the rest.
COMPUTED_SECONDS_MAX = 2.5

# Reads as many combinations as there are pairs of events, again and again.
ENDLESS = (
    "FROM a IN events FROM b IN events FROM c IN events "
    "WHERE a.data.number + b.data.number + c.data.number < 0 PROJECT INTO 1"
)


def of(event_type: str, clauses: str) -> str:
    return f"FROM e IN events WHERE e.type == '{event_type}' {clauses}"


def longer(text: str, times: int) -> str:
    """Return an expression whose text is twice as long each time, up to the limit of a string."""
    for _ in range(times):
        text = f"REPLACE({text}, 'x', 'xx')"
    return text


TEN_EVENTS = ", ".join(["e"] * 10)
GROWN = f"REPLACE(e.source, 'e', '{'x' * 900}')"

QUERIES = {
    # 900 events and 3 KB of text, and sorts of a megabyte each.
    "texts that grow": of(SMALL, f"AND LEN({longer(GROWN, 9)}) > 1 PROJECT INTO e.id"),
    "long texts to sort": of(SMALL, f"ORDER BY {longer(GROWN, 8)} PROJECT INTO e.id"),
    "many replacements": of(
        SMALL,
        " ".join(f"AND REPLACE(e.data.name, 'a', e.subject) != '{n}'" for n in range(50))
        + " PROJECT INTO e.id",
    ),
    "products": "FROM a IN events FROM b IN events WHERE a.id == b.data.number PROJECT INTO a",
    "cases of large texts": of(
        LARGE, "AND LOWER(e.data.text) != UPPER(e.data.text) " * 20 + "PROJECT INTO e.id"
    ),
    "searches": of(
        LARGE,
        "AND INSTR(REPLACE(e.data.text, 'x', 'xy'), REPLACE(e.data.text, '0', 'yx')) == 0 "
        "PROJECT INTO e.id",
    ),
    "prefixes": of(
        LARGE, "AND STARTSWITH(e.data.text, UPPER(e.data.text)) " * 20 + "PROJECT INTO e.id"
    ),
    "large texts to sort": of(
        LARGE, "ORDER BY REPLACE(e.data.text, 'x', 'xxxxxxxxx') PROJECT INTO e.id"
    ),
    "large texts to tell apart": of(
        LARGE, "PROJECT INTO DISTINCT LEN(REPLACE(e.data.text, 'x', 'xxxxxxxxx'))"
    ),
    "large keys": of(LARGE, "GROUP BY REPLACE(e.data.text, 'x', 'xxxxxxxxx') PROJECT INTO COUNT()"),
    "large numbers": of(LARGE, "AND (e.data.text AS FLOAT64) == 1 PROJECT INTO e.id"),
    "arrays to sort": of(ARRAYS, "ORDER BY e.data.a PROJECT INTO e.id"),
    "arrays to tell apart": of(ARRAYS, "PROJECT INTO DISTINCT [e.data.a, e.data.a] == [1]"),
    "arrays as keys": of(ARRAYS, "GROUP BY e.data.a PROJECT INTO COUNT()"),
    "the only array": of(ARRAYS, "PROJECT INTO UNIQUE(e.data.a) == 1"),
    "arrays to compare": of(ARRAYS, "AND e.data.a == e.data.a " * 40 + "PROJECT INTO e.id"),
    "items of arrays": of(ARRAYS, "AND NOT e.data.a CONTAINS -1 " * 40 + "PROJECT INTO e.id"),
    "nested arrays to sort": of(NESTED, "ORDER BY e.data.a PROJECT INTO e.id"),
    "rows that repeat": of(LARGE, f"TOP 8 PROJECT INTO [{', '.join(['e'] * 100)}]"),
    "subqueries that repeat": (
        f"FROM x IN ({of(LARGE, f'TOP 4 PROJECT INTO [{TEN_EVENTS}]')}) "
        f"PROJECT INTO [{', '.join(['x'] * 10)}]"
    ),
    "subqueries that multiply": (
        "FROM a IN (FROM e IN events GROUP BY e.subject PROJECT INTO COUNT()) "
        "FROM b IN (FROM e IN events GROUP BY e.id PROJECT INTO e.id) "
        "FROM c IN (FROM e IN events GROUP BY e.id PROJECT INTO e.id) "
        "WHERE a > 999999 PROJECT INTO a"
    ),
    "subjects by subjects": (
        "FROM a IN subjects FROM b IN subjects WHERE a == LOWER(b) AND a != b PROJECT INTO a"
    ),
    # 64 KiB of text, which nobody has asked before.
    "a long condition": of(
        SMALL, " ".join(f"AND e.data.f{n} != {{n}}" for n in range(2_900)) + " PROJECT INTO e.id"
    ),
    "a long row": f"FROM e IN events TOP 1 PROJECT INTO [{'e.data.a + {n}, ' * 3_500}1]",
    "a long sum": of(
        SMALL, f"TOP 1 PROJECT INTO [{', '.join(['+'.join(['e.data.n'] * 100)] * 65)}, {{n}}]"
    ),
    "long paths": of(
        SMALL, f"TOP 1 PROJECT INTO [{', '.join(['e.data' + '.a' * 140] * 200)}, {{n}}]"
    ),
    "many parentheses": f"FROM e IN events TOP 1 PROJECT INTO [{'{p}' * 330}{{n}}]".replace(
        "{p}", f"{'(' * 90}1{')' * 90}, "
    ),
    "a long plan": of(
        SMALL, " ".join(f"AND e.data.f{n} != {{n}}" for n in range(2_900)) + " PROJECT INTO e.id"
    ).replace("FROM", "EXPLAIN FROM", 1),
    # Wrong in thousands of places.
    "unknown fields": f"FROM e IN events PROJECT INTO [{'e.x, ' * 10_000}{{n}}]",
    "unknown names": f"FROM e IN events PROJECT INTO [{'eventz.x, ' * 6_000}{{n}}]",
    "unknown functions": f"FROM e IN events PROJECT INTO [{'REPLAC(), ' * 6_000}{{n}}]",
    "an error at the end": f"FROM e IN events PROJECT INTO [{'1, ' * 20_000}1 / ({{n}} - {{n}})]",
}


def fill(connection: Connection) -> None:
    connection.write(
        *(
            an_event(f"/small/{number}", SMALL, data={"number": number, "name": f"a {number}"})
            for number in range(900)
        )
    )
    for number in range(40):
        connection.write(
            an_event("/large", LARGE, data={"text": f"{number:04}{'x' * 100_000}"}),
            an_event("/arrays", ARRAYS, data={"a": [*range(number, number + 15_000)]}),
            an_event("/nested", NESTED, data={"a": [[[number % 2]]] * 14_000}),
        )


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with running_server("--query-time-limit=2") as server:
        with Connection(server.url) as connection:
            fill(connection)
        yield server


def query(connection: Connection, text: str) -> Answer:
    return connection.v1("run-eventql-query", {"query": text})


def last_bytes(connection: Connection, text: str) -> bytes:
    """Return the end of an answer, however long it is."""
    response = connection.send("POST", "/api/v1/run-eventql-query", {"query": text})
    assert response.status == 200
    end = b""
    while part := response.read(64 * 1024):
        end = part
    return end


def cpu_seconds(pid: int) -> float:
    """Return what a process has computed, its children not included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_of(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


def processes_of(server: RunningServer) -> list[int]:
    names = {pid: Path(f"/proc/{pid}/cmdline") for pid in server.children}
    return [pid for pid, name in names.items() if "query_worker" in name.read_text()]


@pytest.mark.slow
@pytest.mark.parametrize("name", QUERIES)
def test_a_hostile_query_harms_nobody_else(server: RunningServer, name: str) -> None:
    numbers = itertools.count()

    def ask() -> bytes:
        with Connection(server.url) as connection:
            return last_bytes(connection, QUERIES[name].replace("{n}", str(next(numbers))))

    before = peak = memory_of(server.pid)
    computed = cpu_seconds(server.pid)
    asking = [Background(ask) for _ in range(CLIENTS)]
    with Connection(server.url) as connection:
        while not all(each.is_done for each in asking):
            assert connection.ask("GET", "/api/v1/ping").status == 200
            peak = max(peak, memory_of(server.pid))
            time.sleep(0.05)

    assert peak - before < GROWTH_MAX
    assert cpu_seconds(server.pid) - computed < COMPUTED_SECONDS_MAX
    for each in asking:
        # Nobody's stream was cut.
        assert not (end := each.result()) or end.endswith(b"}\n")
    messages = {line["message"] for line in server.log if line["level"] in {"error", "fatal"}}
    assert messages == set()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["long texts to sort", "rows that repeat"])
def test_a_client_that_leaves_at_once_leaves_nothing_behind(
    server: RunningServer, name: str
) -> None:
    for _ in range(20):
        with Connection(server.url) as connection:
            connection.http.request(
                "POST",
                "/api/v1/run-eventql-query",
                json.dumps({"query": QUERIES[name]}),
                {"Authorization": f"Bearer {connection.token}"},
            )

    with Connection(server.url) as connection:
        gauge = "everlog_queries 0\n"
        metrics = "/api/v1/health?format=openmetrics"
        wait_until(lambda: gauge in connection.ask("GET", metrics).text)
        assert (
            query(connection, "FROM e IN events PROJECT INTO COUNT()").items[0]["payload"] == 1_020
        )


@pytest.mark.slow
def test_a_process_that_was_stopped_is_ended_in_time(server: RunningServer) -> None:
    stopped: list[int] = []

    def stop() -> None:
        wait_until(lambda: processes_of(server) != [])
        for pid in processes_of(server):
            os.kill(pid, signal.SIGSTOP)
            stopped.append(pid)

    for _ in range(2):
        with Connection(server.url) as connection:
            stopping = Background(stop)
            *_, last = query(connection, ENDLESS).items
            stopping.result()

        assert "longer than 2 seconds" in last["payload"]["error"]
    with Connection(server.url) as connection:
        assert query(connection, f"{ENDLESS[:30]}TOP 1 PROJECT INTO 1").status == 200
    # One that had nothing to do was not ended, and would outlive the server.
    for pid in stopped:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


# Faults of the system.

HEARTBEAT = {"type": "heartbeat", "payload": {}}


def faulty_server(tmp_path: Path) -> tuple[Callable[[Condition], None], tuple[str, ...]]:
    file = tmp_path / "condition"
    command = entry_point(file)
    return (lambda condition: set_condition(file, condition)), command


@pytest.mark.slow
def test_no_process_is_no_answer_and_said_once(tmp_path: Path) -> None:
    change, command = faulty_server(tmp_path)
    text = QUERIES["products"]
    with running_server(entry_point=command) as server, Connection(server.url) as connection:
        connection.write(*[an_event(data={"number": 1})] * 1_100)
        change(Condition.CROWDED)
        for _ in range(3):
            assert query(connection, text).items[-1]["payload"] == {
                "error": "the query cannot be run now: the server has no process for it"
            }
        # Short ones need none.
        assert query(connection, "FROM e IN events TOP 1 PROJECT INTO e.id").items
        change(Condition.GOOD)
        assert query(connection, text).items[-1:] in ([], [HEARTBEAT])

        told = [line for line in server.log if line["message"].startswith("the process of")]
        assert [line["level"] for line in told] == ["warn"]
        assert told[0]["message"] == "the process of a query cannot be started"
        assert "temporarily unavailable" in told[0]["reason"]
        assert not any(line["message"] == "unexpected error" for line in server.log)
