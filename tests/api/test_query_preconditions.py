"""Preconditions that are queries: decided with the write, without making others wait."""

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.support.api import Answer, Connection, an_event
from tests.support.server import RunningServer, running_server
from tests.support.threads import run_together

ROUNDS = 50

# Takes seconds over the events of `server`, and is TRUE.
SLOW = (
    "FROM a IN events FROM b IN events WHERE a.type == 'io.everlog.test.filling' "
    "AND b.type == 'io.everlog.test.filling' PROJECT INTO COUNT(a.data.n > b.data.n) > 0"
)


def is_true(query: str) -> dict[str, Any]:
    return {"type": "isEventQlQueryTrue", "payload": {"query": query}}


def write(connection: Connection, query: str, *events: dict[str, Any]) -> Answer:
    return connection.v2("write-events", {"events": events, "preconditions": [is_true(query)]})


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with running_server() as server:
        with Connection(server.url) as connection:
            filling = (
                an_event("/filling", "io.everlog.test.filling", data={"n": n}) for n in range(2000)
            )
            connection.write(*filling)
        yield server


# Each allows one writer of a round only, whichever comes first.
CONTRADICTIONS = (
    "FROM e IN events WHERE e.subject == '/{place}/{turn}' PROJECT INTO COUNT() == 0",
    """FROM e IN events
       WHERE e.data.turn == {turn} AND e.data.place == '{place}'
       PROJECT INTO COUNT() < 1""",
    """FROM e IN events
       WHERE e.data.place == '{place}'
       PROJECT INTO IF(COUNT() == 0, true, MAX(e.data.turn) < {turn})""",
    """FROM x IN (FROM e IN events WHERE e.data.place == '{place}' PROJECT INTO e.data)
       WHERE x.turn == {turn}
       PROJECT INTO COUNT() == 0""",
    "FROM s IN subjects WHERE s == '/{place}/{turn}' PROJECT INTO COUNT() == 0",
)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(CONTRADICTIONS)))
def test_of_two_that_contradict_each_other_one_is_written(
    server: RunningServer, number: int
) -> None:
    place = f"contradiction-{number}"

    def compete(writer: int) -> list[bool]:
        with Connection(server.url) as connection:
            outcomes = []
            for turn in range(ROUNDS):
                query = (
                    CONTRADICTIONS[number].replace("{place}", place).replace("{turn}", str(turn))
                )
                event = an_event(
                    f"/{place}/{turn}", data={"turn": turn, "place": place, "by": writer}
                )
                answer = write(connection, query, event)
                is_written = answer.items[0]["type"] == "event"
                assert is_written or answer.code == "precondition-violated", answer.text
                outcomes.append(is_written)
            return outcomes

    outcomes = run_together(*[partial(compete, writer) for writer in range(3)])

    # A slower writer may come to a round that is over, but never together with another.
    assert [sum(turn) for turn in zip(*outcomes, strict=True)] == [1] * ROUNDS


# Each write is one of the events that the others ask for.
CONTENDED = (
    "FROM e IN events WHERE e.subject == '{subject}' PROJECT INTO COUNT() < 1000000",
    "FROM e IN events WHERE e.subject == '{subject}' PROJECT INTO MAX(e.data.by) != 1000000",
)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(CONTENDED)))
def test_an_aggregate_is_known_however_many_write_what_it_is_about(
    server: RunningServer, number: int
) -> None:
    subject = f"/contended/{number}"
    query = CONTENDED[number].replace("{subject}", subject)

    def contend(writer: int) -> list[str]:
        with Connection(server.url) as connection:
            event = an_event(subject, data={"by": writer})
            answers = [write(connection, query, event) for _ in range(ROUNDS)]
            return [answer.text for answer in answers if answer.items[0]["type"] != "event"]

    refused = run_together(*[partial(contend, writer) for writer in range(16)])

    assert refused == [[]] * 16


@pytest.mark.slow
def test_a_slow_query_keeps_no_other_writer_waiting(server: RunningServer) -> None:
    def write_slowly() -> float:
        with Connection(server.url) as connection:
            started = time.monotonic()
            answer = write(connection, SLOW, an_event("/slow"))
            assert answer.items[0]["type"] == "event", answer.text
            return time.monotonic() - started

    def write_quickly() -> list[float]:
        latencies = []
        with Connection(server.url) as connection:
            for _ in range(200):
                started = time.monotonic()
                connection.write(an_event("/quick"))
                latencies.append(time.monotonic() - started)
        return sorted(latencies)

    slow, quick = run_together(write_slowly, write_quickly)

    # Not a claim about speed: all of the others were done before the slow one was.
    assert quick[-1] < slow


def test_what_is_written_while_a_query_runs_counts(server: RunningServer) -> None:
    # Counts the fillings only after having gone through all pairs of them.
    query = SLOW.replace(
        "PROJECT INTO COUNT(a.data.n > b.data.n) > 0",
        "PROJECT INTO COUNT(a.data.n > b.data.n) == 1999000",
    )

    def write_slowly() -> Answer:
        with Connection(server.url) as connection:
            return write(connection, query, an_event("/late"))

    def interfere() -> None:
        time.sleep(0.2)
        with Connection(server.url) as connection:
            connection.write(an_event("/filling", "io.everlog.test.filling", data={"n": 2000}))

    answer, _ = run_together(write_slowly, interfere)

    assert answer.code == "precondition-violated", answer.text


@pytest.mark.parametrize(
    "query, code",
    [
        ("FROM e IN events", "query-malformed"),
        ("EXPLAIN FROM e IN events PROJECT INTO COUNT() == 0", "query-not-boolean"),
        ("FROM e IN events PROJECT INTO COUNT()", "query-not-boolean"),
        ("FROM e IN events PROJECT INTO true", "query-not-boolean"),
        ("FROM e IN events TOP 0 PROJECT INTO true", "query-not-boolean"),
        ("FROM e IN events PROJECT INTO MAX(e.data.n) / 0 > 1", "query-unevaluable"),
        ("FROM e IN events PROJECT INTO SUM(e.type) > 1", "query-malformed"),
        ("FROM e IN events PROJECT INTO SUM(e.data) > 1", "query-malformed"),
        ("FROM e IN events PROJECT INTO SUM(e.data.n AS BOOLEAN AS INT) > 1", "query-malformed"),
        ("FROM e IN events PROJECT INTO COUNT(e.data.n) > 1", "query-unevaluable"),
        ("FROM e IN events PROJECT INTO COUNT() == 0", "precondition-violated"),
    ],
)
def test_a_query_that_is_not_true_is_refused_with_its_index(
    server: RunningServer, query: str, code: str
) -> None:
    with Connection(server.url) as connection:
        answer = connection.v2(
            "write-events",
            {
                "events": [an_event()],
                "preconditions": [
                    is_true("FROM e IN events PROJECT INTO COUNT() > 0"),
                    is_true(query),
                ],
            },
        )

        assert answer.code == code, answer.text
        assert answer.error["details"]["preconditionIndex"] == 1


def test_the_first_condition_that_does_not_hold_is_told(server: RunningServer) -> None:
    with Connection(server.url) as connection:
        answer = connection.v2(
            "write-events",
            {
                "events": [an_event()],
                "preconditions": [
                    {"type": "isSubjectPristine", "payload": {"subject": "/filling"}},
                    is_true("FROM e IN events PROJECT INTO COUNT() == 0"),
                ],
            },
        )

        assert answer.code == "precondition-violated"
        assert answer.error["details"] == {"precondition": 0, "preconditionIndex": 0}
