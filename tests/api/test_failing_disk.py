"""A disk that fails or fills up: clear answers, nothing half-written, and reads go on."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.api import Answer, Connection, an_event
from tests.support.chain import check_chain
from tests.support.faulty_server import (
    Condition,
    entry_point,
    set_condition,
)
from tests.support.server import RunningServer, running_server
from tests.support.threads import Background

WRITE = {"events": [an_event("/late"), an_event("/late")]}
SCHEMA = {"type": "object", "properties": {}}


@dataclass(frozen=True)
class Faulty:
    """A server and the condition of its disk."""

    server: RunningServer
    file: Path

    def connect(self) -> Connection:
        return Connection(self.server.url)

    def set(self, condition: Condition) -> None:
        set_condition(self.file, condition)

    def write(self, version: str) -> Answer:
        with self.connect() as connection:
            return (connection.v1 if version == "v1" else connection.v2)("write-events", WRITE)

    def register(self, version: str) -> Answer:
        type_ = "io.everlog.test.late"
        with self.connect() as connection:
            if version == "v1":
                body = {"eventType": type_, "schema": SCHEMA}
                return connection.v1("register-event-schema", body)
            return connection.v2("register-event-schema", {"type": type_, "schema": SCHEMA})


@pytest.fixture
def faulty(tmp_path: Path) -> Iterator[Faulty]:
    file = tmp_path / "condition"
    with running_server(entry_point=entry_point(file), data_directory=tmp_path / "data") as server:
        yield Faulty(server, file)
        assert b"Traceback" not in b"".join([*server.output, *server.errors])


def log_of(connection: Connection) -> list[bytes]:
    answer = connection.v1("read-events", {"subject": "/", "options": {"recursive": True}})
    assert answer.status == 200
    return answer.body.splitlines()


def check_outcome_unknown(answer: Answer) -> None:
    assert answer.status == 500
    assert answer.text == "storing failed: whether anything was stored is unknown\n"


def test_a_failed_sync_ends_writing_until_a_restart_and_nothing_else(
    faulty: Faulty, tmp_path: Path
) -> None:
    with faulty.connect() as connection, faulty.connect() as observing:
        connection.write(an_event("/early"))
        items = observing.observe("v2")
        assert next(items)["data"]["subject"] == "/early"

        # One write is in the sync, others gather meanwhile: the sync fails all of them.
        faulty.set(Condition.HOLDING)
        in_flight = [Background(lambda v=v: faulty.write(v)) for v in ("v1", "v2", "v1", "v2")]
        in_flight += [Background(lambda: faulty.register("v1"))]
        faulty.set(Condition.FAILING)
        for background in in_flight:
            answer = background.result()
            if answer.status != 500:
                # It came when the failure was known already.
                assert answer.status == 503 or answer.code == "store-failed"
        fatal = faulty.server.wait_for_log("the store has failed")
        assert fatal["level"] == "fatal"

        faulty.set(Condition.GOOD)
        for act in (faulty.write, faulty.register):
            refused = act("v1")
            assert (refused.status, refused.text) == (
                503,
                "the store has failed: no write is accepted until the server is restarted\n",
            )
            refused = act("v2")
            assert (refused.status, refused.code) == (200, "store-failed")
            assert "restart" in refused.error["description"]

        assert [event["subject"] for event in connection.read_all()] == ["/early"]
        assert connection.v1("read-subjects", {"baseSubject": "/late"}).items == []
        assert connection.v1("read-event-types").status == 200
        assert next(items)["type"] == "heartbeat"
    assert faulty.server.stop() == 0

    with running_server(data_directory=tmp_path / "data") as server:
        with Connection(server.url) as connection:
            # What was in flight may be there after all, but each write whole.
            assert len(check_chain(log_of(connection))) % 2 == 1
            connection.write(an_event())
        assert server.stop() == 0


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_who_waits_for_a_failing_sync_is_told_that_the_outcome_is_unknown(
    faulty: Faulty, version: str
) -> None:
    faulty.set(Condition.FAILING)

    check_outcome_unknown(faulty.write(version))


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_registration_in_a_failing_sync_has_an_unknown_outcome(
    faulty: Faulty, version: str
) -> None:
    faulty.set(Condition.FAILING)

    check_outcome_unknown(faulty.register(version))


def test_a_full_disk_refuses_writes_and_recovers_when_there_is_room(
    faulty: Faulty, tmp_path: Path
) -> None:
    with faulty.connect() as connection:
        connection.write(an_event("/early"))

        faulty.set(Condition.FULL)
        for act in (faulty.write, faulty.register):
            refused = act("v1")
            assert refused.status == 503
            assert "no space left" in refused.text
            refused = act("v2")
            assert (refused.status, refused.code) == (200, "disk-full")
            assert "no space left" in refused.error["description"]
        assert len(connection.read_all()) == 1
        assert connection.v1("read-subjects", {"baseSubject": "/late"}).items == []
        assert len(connection.v1("read-event-types").items) == 1
        faulty.server.wait_for_log("the disk is full")

        faulty.set(Condition.GOOD)
        assert [event["id"] for event in faulty.write("v2").events] == ["1", "2"]
        faulty.server.wait_for_log("there is room on the disk again")
        assert faulty.register("v1").status == 200
        events = check_chain(log_of(connection), event_count=3)
    assert faulty.server.stop() == 0
    # However many writes are refused, the log of the server is not flooded.
    levels = [line["level"] for line in faulty.server.log if "disk" in line["message"]]
    assert levels == ["error", "info"]

    with (
        running_server(data_directory=tmp_path / "data") as server,
        Connection(server.url) as connection,
    ):
        assert check_chain(log_of(connection)) == events


LIMITED_SERVER = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)),) * 2)
from everlog.cli import main
main()
"""


def test_a_limit_on_the_size_of_files_is_a_full_disk(tmp_path: Path) -> None:
    data = tmp_path / "data"
    entry = (sys.executable, "-c", LIMITED_SERVER, str(6 * 1024 * 1024))
    large = an_event("/large", data={"text": "x" * 60_000})
    with running_server(data_directory=data) as server:
        with Connection(server.url) as connection:
            connection.write(*[large] * 40)
        server.kill()

    with running_server(entry_point=entry, data_directory=data) as server:
        with Connection(server.url) as connection:
            for _ in range(20):
                answer = connection.v2("write-events", {"events": [large] * 10})
                if answer.items[-1]["type"] != "end":
                    break
            assert answer.code == "disk-full"
            assert connection.v1("write-events", {"events": [large] * 10}).status == 503
            events = check_chain(log_of(connection))
        server.stop()

    with running_server(data_directory=data) as server, Connection(server.url) as connection:
        assert check_chain(log_of(connection)) == events
        connection.write(*[large] * 10)


# What cannot be read.

READING = "reading the data directory failed: Input/output error"
EVERYTHING = {"subject": "/", "options": {"recursive": True}}


def check_unread(answer: Answer, version: str) -> None:
    """Check that a whole answer says that the disk cannot be read, and that nothing was stored."""
    if version == "v1":
        assert (answer.status, answer.text) == (503, f"{READING}\n")
    else:
        assert (answer.status, answer.code) == (200, "read-failed")
        assert answer.error["description"] == READING


def check_unread_stream(answer: Answer, version: str) -> None:
    """Check that the last item of a stream says so."""
    last = answer.items[-1]
    assert (answer.status, last["type"]) == (200, "error")
    if version == "v1":
        assert last["payload"] == {"error": READING}
    else:
        assert last["data"] == {
            "code": "https://docs.eventsourcingdb.io/errors/read-failed",
            "description": READING,
            "details": {},
        }


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_disk_that_cannot_be_read_is_told_and_is_no_bug(faulty: Faulty, version: str) -> None:
    with faulty.connect() as connection:
        ask = connection.v1 if version == "v1" else connection.v2
        connection.write(*(an_event("/early", data={"n": n}) for n in range(1_500)))
        aggregate = "FROM e IN events PROJECT INTO SUM(e.data.n) > 0"
        assert ask("run-eventql-query", {"query": aggregate}).status == 200

        faulty.set(Condition.UNREADABLE)
        check_unread_stream(ask("read-events", EVERYTHING), version)
        check_unread(
            ask("read-events", {"subject": "/early", "options": {"recursive": False}}), version
        )
        for text in (
            # On a thread, in a process, and while the job of one is being made.
            "FROM e IN events TOP 3 PROJECT INTO e",
            aggregate,
            "FROM e IN events WHERE e.time > '2020-01-01T00:00:00Z' AS DATETIME PROJECT INTO e",
        ):
            check_unread_stream(ask("run-eventql-query", {"query": text}), version)
        observed = connection.observe(version)
        assert next(item for item in observed if item["type"] != "heartbeat")["type"] == "error"
        for condition in (aggregate, aggregate.replace("SUM", "MEDIAN")):
            is_true = {"type": "isEventQlQueryTrue", "payload": {"query": condition}}
            with faulty.connect() as writing:
                write = writing.v1 if version == "v1" else writing.v2
                check_unread(write("write-events", {**WRITE, "preconditions": [is_true]}), version)
        with faulty.connect() as registering:
            register = registering.v1 if version == "v1" else registering.v2
            name = "eventType" if version == "v1" else "type"
            body = {name: an_event()["type"], "schema": SCHEMA}
            check_unread(register("register-event-schema", body), version)

        # Writing goes on, and health says what is wrong.
        with faulty.connect() as other:
            assert other.ask("GET", "/api/v1/ping").status == 200
            other.write(an_event("/late"))
            health = other.ask("GET", "/api/v1/health")
            assert health.status == 503
            [check] = health.json["checks"]["store:readFailures"]
            assert check["status"] == "fail"
            assert check["observedValue"] >= 8
            metrics = other.ask("GET", "/api/v1/health?format=openmetrics").text
            assert f"everlog_read_failures_total {check['observedValue']}\n" in metrics

        faulty.set(Condition.GOOD)
        with faulty.connect() as other:
            assert len(log_of(other)) == 1_501

    told = [line for line in faulty.server.log if line["level"] in {"error", "fatal"}]
    assert [(line["message"], line["reason"]) for line in told] == [
        ("reading the data directory failed", "Input/output error")
    ]
