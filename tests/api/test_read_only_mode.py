"""The read-only mode: what it refuses and with which words, what goes on, and how it ends."""

import select
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.api import Answer, Connection, an_event
from tests.support.faulty_server import Condition, entry_point, set_condition
from tests.support.server import running_server, wait_until
from tests.support.threads import Background

SCHEMA = {"type": "object", "properties": {}, "additionalProperties": True}
CONFLICT = "the current operation mode conflicts with the given request\n"


def enable_v1(connection: Connection) -> Answer:
    return connection.v1("put-into-read-only-mode")


def enable_v2(connection: Connection) -> Answer:
    return connection.ask("POST", "/api/v2/system/put-into-read-only-mode")


class Change(NamedTuple):
    """A request that would change the store, in both versions."""

    name: str
    v1: dict[str, Any]
    v2: dict[str, Any]


CHANGES = (
    Change("write-events", {"events": [an_event()]}, {"events": [an_event()]}),
    Change(
        "register-event-schema",
        {"eventType": "io.everlog.test.other", "schema": SCHEMA},
        {"type": "io.everlog.test.other", "schema": SCHEMA},
    ),
)


def check_read_only(connection: Connection, *, event_count: int) -> None:
    for name, v1_body, v2_body in CHANGES:
        refused = connection.v1(name, v1_body)
        assert (refused.status, refused.text) == (503, CONFLICT)
        answer = connection.v2(name, v2_body)
        assert (answer.status, answer.code, answer.error["details"]) == (
            200,
            "store-read-only",
            {},
        )
        assert "restart" in answer.error["description"]
    assert len(connection.read_all()) == event_count
    assert connection.ask("GET", "/api/v1/ping").status == 200


@pytest.mark.parametrize("enable", [enable_v1, enable_v2])
def test_once_enabled_nothing_can_change_the_store_until_a_restart(
    tmp_path: Path, enable: Callable[[Connection], Answer]
) -> None:
    with running_server(data_directory=tmp_path) as server, Connection(server.url) as connection:
        connection.write(an_event("/a"), an_event("/b"))

        enabled = enable(connection)

        assert enabled.status == 200
        event = enabled.json.get("data") if enable is enable_v2 else enabled.json
        assert event["type"] == "io.eventsourcingdb.api.read-only-mode-enabled"
        assert event["subject"].endswith("/put-into-read-only-mode")
        check_read_only(connection, event_count=2)
        server.wait_for_log("the store is read-only")
        assert server.stop() == 0

    with running_server(data_directory=tmp_path) as server, Connection(server.url) as connection:
        assert connection.write(an_event())[0]["id"] == "2"


def test_enabling_it_twice_is_refused_in_both_versions() -> None:
    with running_server("--read-only") as server, Connection(server.url) as connection:
        again = enable_v1(connection)
        again_v2 = enable_v2(connection)

    assert (again.status, again.text) == (503, CONFLICT)
    assert again_v2.status == 200
    assert again_v2.code == "read-only-mode-already-enabled"


def test_a_server_may_be_read_only_from_the_beginning(tmp_path: Path) -> None:
    with running_server(data_directory=tmp_path) as server, Connection(server.url) as connection:
        connection.write(an_event())
        assert server.stop() == 0

    with running_server("--read-only", data_directory=tmp_path) as server:
        with Connection(server.url) as connection:
            check_read_only(connection, event_count=1)
        server.wait_for_log("the store is read-only")
        assert server.stop() == 0


def test_only_whoever_has_the_token_can_enable_it() -> None:
    with running_server() as server, Connection(server.url) as connection:
        for path in ("/api/v1/put-into-read-only-mode", "/api/v2/system/put-into-read-only-mode"):
            assert connection.ask("POST", path, headers={}).status == 401
        assert connection.write(an_event())


def test_observers_go_on() -> None:
    with running_server() as server, Connection(server.url) as connection:
        connection.write(an_event("/a"))
        with Connection(server.url) as observing:
            items = observing.observe()
            assert next(items)["type"] == "event"

            assert enable_v1(connection).status == 200

            assert next(items)["type"] == "heartbeat"


def test_writes_that_had_begun_are_finished_before_the_answer(tmp_path: Path) -> None:
    condition = tmp_path / "condition"
    with running_server(entry_point=entry_point(condition)) as server:
        with Connection(server.url) as writer, Connection(server.url) as connection:
            set_condition(condition, Condition.HOLDING)
            writing = Background(lambda: writer.v1("write-events", {"events": [an_event()]}))
            wait_until(lambda: is_committing(server.url))
            authorization = {"Authorization": f"Bearer {server.token}"}
            connection.http.request(
                "POST", "/api/v1/put-into-read-only-mode", headers=authorization
            )
            server.wait_for_log("the store is read-only")
            # Whatever was answered before this is in the socket by now.
            assert is_committing(server.url)
            assert select.select([connection.http.sock], [], [], 0) == ([], [], [])
            with Connection(server.url) as other:
                late = Background(lambda: other.v1("write-events", {"events": [an_event()]}))
                set_condition(condition, Condition.GOOD)

                assert writing.result().status == 200
                assert connection.http.getresponse().status == 200
                assert late.result().status == 503
        with Connection(server.url) as connection:
            assert len(connection.read_all()) == 1


def is_committing(url: str) -> bool:
    with Connection(url) as connection:
        health = connection.ask("GET", "/api/v1/health").json
        return bool(health["checks"]["log:pendingCommit"][0]["observedValue"] > 0)
