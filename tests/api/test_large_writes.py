"""Large writes and many conditions: they are what small ones are, and hold nobody up.

That nobody is held up, the watchdog of the server says.
"""

import json
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from everlog.domain.limits import EVENTS_PER_WRITE_MAX
from tests.support.api import GOOD_TYPE, Answer, Connection, an_event
from tests.support.keys import write_signing_key
from tests.support.server import RunningServer, running_server
from tests.support.threads import run_together

MANY = EVENTS_PER_WRITE_MAX


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with running_server() as server:
        yield server


def read(connection: Connection, subject: str) -> list[dict[str, Any]]:
    body = {"subject": subject, "options": {"recursive": False}}
    return connection.v1("read-events", body).events


def text_of(events: list[bytes], rest: bytes = b"") -> bytes:
    return b'{"events":[%b]%b}' % (b",".join(events), rest)


def event_text(data: bytes = b"{}", *, subject: str = "/large", type_: str = GOOD_TYPE) -> bytes:
    return b'{"source":"https://everlog.test","subject":"%b","type":"%b","data":%b}' % (
        subject.encode(),
        type_.encode(),
        data,
    )


def array_of(element: bytes, count: int) -> bytes:
    return b'{"z":1,"a":[%b]}' % b",".join([element] * count)


# What takes long somewhere: to be decoded, put in order, hashed, staged, copied or sent.
BODIES: dict[str, Callable[[], bytes]] = {
    "many events": lambda: text_of([event_text(b'{"title":"2001","author":"Clarke"}')] * MANY),
    "objects out of order": lambda: text_of([event_text(array_of(b'{"b":1,"a":2}', 200))] * 2_000),
    "objects without members": lambda: text_of([event_text(array_of(b"{}", 1_000))] * 2_000),
    "numbers that are written in another way": lambda: text_of(
        [event_text(array_of(b'{"b":1e0,"a":[]}', 100))] * 1_000
    ),
    "one event as large as it may be": lambda: text_of([event_text(array_of(b"[1,[]]", 18_000))]),
    "long texts": lambda: text_of([event_text(b'{"text":"%b"}' % (b"x" * 4_000))] * 5_000),
    "subjects that are deep": lambda: text_of(
        [event_text(subject=f"/{number}" + "/a" * 120) for number in range(1_000)]
    ),
    "as many types": lambda: text_of(
        [event_text(type_=f"{GOOD_TYPE}.n{number}") for number in range(3_000)]
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", BODIES)
def test_whatever_is_written_others_go_on(kind: str) -> None:
    body = BODIES[kind]()
    with running_server() as server, Connection(server.url) as connection:
        answer = connection.ask("POST", "/api/v1/write-events", body)
        assert answer.status == 200, answer.text[:300]
        sent = json.loads(body)["events"]
        assert [event["data"] for event in answer.events] == [event["data"] for event in sent]
        # All of it is one write, and stored as it was told.
        assert answer.events == connection.read_all()
        assert [event["id"] for event in answer.events] == [*map(str, range(len(sent)))]


REFUSED: dict[str, tuple[Callable[[], bytes], int]] = {
    "too many events": (lambda: text_of([b"{}"] * 3_000_000), 413),
    "too many preconditions": (
        lambda: text_of([], b',"preconditions":[%b]' % b",".join([b"{}"] * 3_000_000)),
        400,
    ),
    "an event of objects": (lambda: text_of([event_text(array_of(b"{}", 7_000_000))]), 413),
    "an event of space": (lambda: text_of([event_text(b" " * 20_000_000 + b"{}")]), 413),
    "a member that nobody knows": (lambda: b'{"other":%b}' % array_of(b"{}", 7_000_000), 400),
    "brackets": (lambda: b"[" * 20_000_000, 400),
    "a text": (lambda: b'"%b"' % (b"x" * 20_000_000), 400),
    "the last event is none": (lambda: text_of([event_text()] * 9_000 + [b"7"]), 400),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", REFUSED)
def test_whatever_is_refused_others_go_on(server: RunningServer, kind: str) -> None:
    make, status = REFUSED[kind]
    with Connection(server.url) as connection:
        answer = connection.ask("POST", "/api/v1/write-events", make())

        assert answer.status == status, answer.text[:300]
        assert len(answer.text) < 500
        assert connection.ask("GET", "/api/v1/ping").status == 200


@pytest.mark.parametrize("count", [60, 65, 300, 1_000])
def test_a_large_write_is_answered_as_a_small_one(tmp_path: Path, count: int) -> None:
    key = tmp_path / "key.pem"
    write_signing_key(key)
    events = [
        an_event(f"/{number % 7}", data={"z": "x" * 300, "n": number}) for number in range(count)
    ]
    choices: tuple[dict[str, Any], ...] = ({}, {"signing_key_file": key}, {"hash_version": 2})
    for options in choices:
        with running_server(**options) as server, Connection(server.url) as connection:
            first = connection.v1("write-events", {"events": events})
            assert first.headers["Content-Type"] == "application/json"
            second = connection.v2("write-events", {"events": events})
            assert second.headers["Content-Type"] == "application/x-ndjson"
            assert second.items[-1] == {"type": "end", "data": {}}
            assert len(first.events) == len(second.events) == count
            assert [*first.events, *second.events] == connection.read_all()
            assert (first.events[-1]["signature"] is None) is (options != {"signing_key_file": key})


def test_faults_of_a_large_write_have_their_place(server: RunningServer) -> None:
    events: list[dict[str, Any]] = [an_event("/faulty", data={"n": "x" * 300})] * 1_000
    faulty = {"subject": "no slash", "type": "nodots", "source": "", "data": [1]}
    with Connection(server.url) as connection:
        for name, value in faulty.items():
            for place in (0, 500, 999):
                sent = [*events[:place], {**events[0], name: value}, *events[place + 1 :]]
                answer = connection.v2("write-events", {"events": sent})
                details = answer.error["details"]
                assert (details["eventIndex"], details["field"]) == (
                    place,
                    f"events[{place}].{name}",
                )
                sent = [*events[:place], {**events[0], name: 7}, *events[place + 1 :]]
                answer = connection.v2("write-events", {"events": sent})
                if name != "data":
                    assert answer.status == 400
                    assert f"at `$.events[{place}].{name}`" in answer.text
        assert read(connection, "/faulty") == []


def test_a_large_write_has_its_conditions(server: RunningServer) -> None:
    def conditions(subject: str) -> list[dict[str, Any]]:
        query = f"FROM e IN events WHERE e.subject == '{subject}' PROJECT INTO COUNT() == 0"
        return [
            {"type": "isSubjectPristine", "payload": {"subject": subject}},
            {"type": "isEventQlQueryTrue", "payload": {"query": query}},
        ]

    with Connection(server.url) as connection:
        events = [an_event("/conditional", data={"n": "x" * 100})] * 500
        for first, second in ((0, 1), (1, 0)):
            both = conditions("/conditional")
            body = {"events": events, "preconditions": [both[first], both[second]]}
            answer = connection.v2("write-events", body)
            if first == 0:
                assert len(answer.events) == 500
            else:
                assert answer.code == "precondition-violated"
                assert answer.error["details"]["preconditionIndex"] == 0


@pytest.mark.slow
def test_those_who_leave_disturb_nobody(server: RunningServer) -> None:
    body = text_of([event_text(array_of(b"{}", 100), subject="/left")] * 5_000)
    head = (
        f"POST /api/v1/write-events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.token}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode()
    with Connection(server.url) as connection:
        for seconds in (0.0, 0.05, 0.2, 0.4):
            with socket.create_connection(("127.0.0.1", server.port)) as client:
                client.sendall(head + body)
                time.sleep(seconds)
            assert connection.ask("GET", "/api/v1/ping").status == 200
        connection.write(an_event("/after"))
        # Each of them was written wholly, or not at all.
        assert len(read(connection, "/left")) % 5_000 == 0


@pytest.mark.slow
def test_many_who_write_much_have_one_turn_after_the_other(server: RunningServer) -> None:
    def write(writer: int) -> list[list[str]]:
        with Connection(server.url) as connection:
            events = [an_event(f"/together/{writer}", data={"n": "x" * 200})] * 700
            answers = [connection.v1("write-events", {"events": events}) for _ in range(5)]
        return [[event["id"] for event in answer.events] for answer in answers]

    ids = [ids for found in run_together(*[partial(write, n) for n in range(4)]) for ids in found]

    assert len(ids) == 20
    for found in ids:
        first = int(found[0])
        assert found == [*map(str, range(first, first + 700))]


# Conditions.

CHEAP = "FROM e IN events WHERE e.subject == '/none/{n}' PROJECT INTO COUNT() == 0"
OF_ALL = "FROM e IN events WHERE e.data.n == -1 - {n} PROJECT INTO COUNT() == 0"
# Looks at a text, and at no more of it than a light one, but nobody knows that beforehand.
HEAVY = (
    "FROM e IN events WHERE "
    + "REPLACE(" * 20
    + "e.data.text"
    + ", 'x', 'y')" * 20
    + " == '{n}' PROJECT INTO COUNT() == 0"
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "query, count, times",
    [(CHEAP, 100, 3), (CHEAP, 1_000, 1), (OF_ALL, 100, 3), (HEAVY, 1, 3), (HEAVY, 3, 3)],
)
def test_many_conditions_beside_busy_writers_are_decided(
    query: str, count: int, times: int
) -> None:
    with running_server() as server:
        conditions = [
            {"type": "isEventQlQueryTrue", "payload": {"query": query.replace("{n}", str(number))}}
            for number in range(count)
        ]
        is_over = False

        def write_on(writer: int) -> int:
            written = 0
            with Connection(server.url) as connection:
                while not is_over:
                    data = {"n": written, "text": "x" * 100}
                    connection.write(an_event(f"/busy/{writer}", data=data))
                    written += 1
            return written

        def decide() -> list[Answer]:
            nonlocal is_over
            try:
                with Connection(server.url) as connection:
                    body = {"events": [an_event("/decided")], "preconditions": conditions}
                    return [connection.v2("write-events", body) for _ in range(times)]
            finally:
                is_over = True

        answers, *written = run_together(decide, partial(write_on, 0), partial(write_on, 1))

        for answer in answers:
            is_written = answer.items[0]["type"] == "event"
            # A busy machine may not be up to a thousand, and then the answer is no.
            is_refused = count == 1_000 and not is_written and answer.code == "query-unevaluable"
            assert is_written or is_refused, answer.text
        assert min(written) > 0
