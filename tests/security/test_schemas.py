"""Event schemas that make the server compute: whoever registers them harms nobody else.

In each test the watchdog looks at the event loop, so that a server that is held up fails it.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.api import Answer, Connection, an_event
from tests.support.hostile_schemas import HOSTILE, an_expression, an_object, doubling, expressions
from tests.support.server import running_server

TYPE = "io.everlog.test.judged"
OTHER_TYPE = "io.everlog.test.other"


def register(client: Connection, schema: object, event_type: str = TYPE) -> Answer:
    return client.v1("register-event-schema", {"eventType": event_type, "schema": schema})


def write(client: Connection, *data: object, event_type: str = TYPE) -> Answer:
    events = [an_event(type_=event_type, data=each) for each in data]
    return client.v1("write-events", {"events": events})


@contextmanager
def others(url: str) -> Iterator[None]:
    """Write events with and without a schema meanwhile, each within the time of a connection."""
    has_ended, failures = threading.Event(), list[BaseException]()

    def work() -> None:
        with Connection(url) as client:
            while not has_ended.is_set():
                assert write(client, {"a": 1}, event_type=OTHER_TYPE).status == 200
                assert write(client, {}, event_type="io.everlog.test.any").status == 200

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - told by the one who started it
            failures.append(error)

    with Connection(url) as client:
        register(client, an_object(properties={"a": {"type": "integer"}}), OTHER_TYPE)
    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        has_ended.set()
        thread.join()
    assert failures == []


@pytest.mark.parametrize("name", HOSTILE)
def test_judging_holds_nobody_up(name: str) -> None:
    schema, data = HOSTILE[name]
    with running_server() as server, Connection(server.url) as client, others(server.url):
        registered = register(client, schema)
        answer = write(client, data)

        if registered.status == 200:
            assert answer.status in {200, 409}
        else:
            assert registered.status == 400
            assert "cannot be compiled" in registered.text
        # Whatever the type, the next one is judged as ever.
        assert write(client, {"a": "b"}, event_type=OTHER_TYPE).status == 409


def test_a_tree_with_a_wrong_leaf_is_told_in_a_moment() -> None:
    with running_server() as server, Connection(server.url) as client:
        assert register(client, expressions()).status == 200
        assert write(client, an_expression(30)).status == 200
        for levels in (3, 9, 40):
            answer = write(client, an_expression(levels, "wrong"))
            assert answer.status == 409
            assert answer.text.strip() == (
                "schema conflict: event candidate does not match schema: /expression: oneOf failed"
            )


def test_what_cannot_be_judged_is_refused_and_says_so() -> None:
    with running_server() as server, Connection(server.url) as client:
        assert register(client, doubling(40)).status == 200
        answer = write(client, {"a": 1})
        assert answer.status == 409
        assert "cannot be judged within 1 s of processor time and 512 MiB" in answer.text


def test_stored_events_are_judged_where_it_harms_nobody() -> None:
    with running_server() as server, Connection(server.url) as client:
        for _ in range(4):
            client.write(*(an_event(type_=TYPE, data=an_expression(5)) for _ in range(500)))
        client.write(an_event(type_=TYPE, data=an_expression(7, "wrong")))
        with others(server.url):
            answer = register(client, expressions())
            assert answer.status == 409
            assert "event with ID " in answer.text
            assert "/expression: oneOf failed" in answer.text
            assert register(client, doubling(40)).status == 409
            assert register(client, an_object()).status == 200


def test_what_was_registered_is_there_when_the_server_starts_again(tmp_path: Path) -> None:
    with running_server(data_directory=tmp_path) as server, Connection(server.url) as client:
        for index, (schema, _) in enumerate(HOSTILE.values()):
            register(client, schema, f"{TYPE}.number{index}")
        register(client, expressions())
    with running_server(data_directory=tmp_path) as server, Connection(server.url) as client:
        assert write(client, an_expression(20)).status == 200
        assert write(client, an_expression(20, "wrong")).status == 409


def test_large_writes_are_judged_where_it_harms_nobody() -> None:
    with running_server() as server, Connection(server.url) as client:
        register(client, expressions())
        register(client, an_object(properties={"a": {"enum": ["b", "c"]}}), f"{TYPE}.light")
        with others(server.url):
            for event_type, data, wrong in (
                (TYPE, an_expression(3), an_expression(3, "wrong")),
                (f"{TYPE}.light", {"a": "b"}, {"a": "d"}),
            ):
                answer = write(client, *[data] * 2_999, wrong, data, event_type=event_type)
                assert answer.status == 409
                assert write(client, *[data] * 3_000, event_type=event_type).status == 200
