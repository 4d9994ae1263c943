"""Health over HTTP: who may ask, the forms it comes in, and what a server in trouble says."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from everlog.domain.checkpoint import CheckpointKey
from everlog.monitoring.checks import CHECKS
from tests.support.api import Answer, Connection, an_event
from tests.support.faulty_server import Condition, entry_point, set_condition
from tests.support.keys import write_certificate
from tests.support.openapi import check_against
from tests.support.server import EVERLOG, RunningServer, running_server, wait_until
from tests.support.signed_notes import COSIGNATURE, NoteKey
from tests.support.threads import Background

PATHS = ("/api/v1/health", "/api/v2/system/health")

NANOSECONDS = 1_000_000_000


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with running_server() as server:
        yield server


@pytest.fixture
def connection(server: RunningServer) -> Iterator[Connection]:
    with Connection(server.url) as connection:
        yield connection


def ask_health(connection: Connection) -> Answer:
    """Return an answer that is what its media type and the OpenAPI document promise."""
    answer = connection.ask("GET", PATHS[0])
    assert answer.headers["Content-Type"] == "application/health+json"
    check_against({"$ref": "#/components/schemas/Health"}, answer.json)
    assert answer.status == (503 if answer.json["status"] == "fail" else 200)
    return answer


def check_of(answer: Answer, name: str) -> dict[str, Any]:
    [observation] = answer.json["checks"][name]
    return dict(observation)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("query", ["", "?format=rfc", "?format=openmetrics", "?format=x"])
def test_only_whoever_has_the_token_is_told(connection: Connection, path: str, query: str) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        assert connection.ask("GET", path + query, headers=headers).status == 401


@pytest.mark.parametrize("path", PATHS)
def test_both_versions_and_both_ways_of_asking_say_the_same(
    connection: Connection, path: str
) -> None:
    for query in ("", "?format=rfc", "?other=x"):
        answer = connection.ask("GET", path + query)

        assert answer.status == 200
        assert answer.headers["Content-Type"] == "application/health+json"
        assert answer.json.keys() == ask_health(connection).json.keys()
        assert answer.json["checks"].keys() == ask_health(connection).json["checks"].keys()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "query, named",
    [
        ("format=", "''"),
        ("format=RFC", "'RFC'"),
        ("format=prometheus", "'prometheus'"),
        ("format=rfc&format=rfc", "'rfc, rfc'"),
        ("format=%0d%0aX:%20y", "'\\r\\nX: y'"),
        ("format=%ff", "not '"),
    ],
)
def test_an_unknown_format_is_refused_by_name(
    connection: Connection, path: str, query: str, named: str
) -> None:
    answer = connection.ask("GET", f"{path}?{query}")

    assert (answer.status, answer.headers["X"]) == (400, None)
    assert answer.text.startswith("format must be rfc or openmetrics, not ")
    assert named in answer.text
    assert answer.text.count("\n") == 1


def test_head_has_the_headers_of_get(connection: Connection) -> None:
    answer = connection.ask("HEAD", PATHS[0])

    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["Content-Type"] == "application/health+json"


def test_the_document_says_what_there_is() -> None:
    with running_server() as server, Connection(server.url) as connection:
        empty = ask_health(connection)
        assert check_of(empty, "log:events")["observedValue"] == 0
        assert not empty.json["checks"].keys() & {"log:lastEventId", "log:lastCommitTime"}
        events = connection.write(an_event("/a"), an_event("/b"))
        with Connection(server.url) as observing:
            items = observing.observe()
            assert next(items)["type"] == "event"

            answer = ask_health(connection)

            assert answer.json["status"] == "pass"
            assert answer.json["description"] == "Everlog, an event store"
            assert answer.headers["Server"].endswith(f"Everlog/{answer.json['releaseId']}")
            assert f"EventSourcingDB/{answer.json['version']}" in answer.headers["Server"]
            observed = {
                name: check_of(answer, name)["observedValue"] for name in answer.json["checks"]
            }
            assert observed["store:writability"] == "writable"
            assert observed["log:events"] == 2
            assert observed["log:lastEventId"] == "1"
            assert observed["log:lastCommitTime"] == events[0]["time"]
            assert 0 < observed["log:syncLatency"] < 10
            assert observed["log:pendingCommit"] == 0
            assert observed["index:unsavedEvents"] == 2
            assert observed["http:observers"] == 1
            assert observed["http:connections"] == 2
            assert observed["process:openFiles"] > 5
            assert observed["disk:free"] > 0
        wait_until(lambda: check_of(ask_health(connection), "http:observers")["observedValue"] == 0)


def test_every_check_has_its_component_and_unit(tmp_path: Path) -> None:
    certificate = write_certificate(tmp_path)
    key_file = tmp_path / "checkpoint-key.pem"
    key_file.write_bytes(CheckpointKey.generate().to_pem())
    witness = NoteKey("witness.example.com/1", COSIGNATURE)
    flags = [
        *certificate.flags,
        f"--checkpoint-key-file={key_file}",
        "--checkpoint-origin=log.example.com",
        # Nobody listens there.
        f"--witness=http://127.0.0.1:1={witness.verifier_key}",
    ]
    with running_server(*flags) as server, Connection(plain_url(server)) as connection:
        connection.write(an_event())
        server.wait_for_log("a witness does not cosign")

        answer = ask_health(connection)

    # What is about other servers is where there are others.
    alone = [check for check in CHECKS if not check.name.startswith(("cluster:", "follower:"))]
    assert list(answer.json["checks"]) == [check.name for check in alone]
    for check in alone:
        observation = check_of(answer, check.name)
        assert observation["componentType"] == check.component_type
        assert observation.get("observedUnit", "") == check.unit
        assert observation["status"] in {"pass", "warn"}
        assert datetime.fromisoformat(observation["time"]).tzinfo == UTC


def test_a_full_disk_fails_until_a_write_succeeds_again(tmp_path: Path) -> None:
    condition = tmp_path / "condition"
    with asked_server(entry_point=entry_point(condition)) as (_, connection):
        connection.write(an_event())
        set_condition(condition, Condition.FULL)
        assert connection.v2("write-events", {"events": [an_event()]}).code == "disk-full"

        answer = ask_health(connection)

        assert (answer.status, answer.json["status"]) == (503, "fail")
        found = check_of(answer, "store:writability")
        assert (found["observedValue"], found["status"]) == ("disk-full", "fail")
        assert "no room" in found["output"]
        set_condition(condition, Condition.GOOD)
        connection.write(an_event())
        assert check_of(ask_health(connection), "store:writability")["status"] == "pass"


def test_a_store_that_has_failed_fails_for_good(tmp_path: Path) -> None:
    condition = tmp_path / "condition"
    with asked_server(entry_point=entry_point(condition)) as (_, connection):
        set_condition(condition, Condition.FAILING)
        assert connection.v1("write-events", {"events": [an_event()]}).status == 500
        set_condition(condition, Condition.GOOD)

        answer = ask_health(connection)

        assert answer.status == 503
        assert check_of(answer, "store:writability")["observedValue"] == "failed"
        metrics = connection.ask("GET", f"{PATHS[0]}?format=openmetrics")
        assert metrics.status == 200
        assert 'everlog_store_condition{everlog_store_condition="failed"} 1\n' in metrics.text
        assert 'everlog_health{everlog_health="fail"} 1\n' in metrics.text
        assert "everlog_commit_failures_total 1\n" in metrics.text


def test_a_read_only_store_warns() -> None:
    with asked_server("--read-only") as (_, connection):
        answer = ask_health(connection)

    assert (answer.status, answer.json["status"]) == (200, "warn")
    assert check_of(answer, "store:writability")["observedValue"] == "read-only"


def test_a_disk_that_does_not_answer_is_seen_while_it_does_not(tmp_path: Path) -> None:
    condition = tmp_path / "condition"
    with (
        asked_server(entry_point=entry_point(condition)) as (server, connection),
        Connection(server.url) as writer,
    ):
        set_condition(condition, Condition.HOLDING)
        writing = Background(lambda: writer.write(an_event()))

        def pending() -> float:
            found = check_of(ask_health(connection), "log:pendingCommit")["observedValue"]
            assert isinstance(found, float)
            return found

        wait_until(lambda: pending() > 0)
        before = pending()
        assert pending() > before
        set_condition(condition, Condition.GOOD)
        assert writing.result()
        assert pending() == 0


def test_a_certificate_that_ends_is_announced_and_then_fails(tmp_path: Path) -> None:
    certificate = write_certificate(tmp_path)
    [parsed] = x509.load_pem_x509_certificates(certificate.certificate.read_bytes())
    start = parsed.not_valid_before_utc.timestamp()
    end = parsed.not_valid_after_utc.timestamp()
    clock = tmp_path / "clock"
    entry = clock_entry_point(clock)
    set_clock(clock, max(start, end - 40 * 86_400) + 1)

    with asked_server(*certificate.flags, entry_point=entry) as (_, connection):
        for seconds, status in ((-3_600.0, "warn"), (1.0, "fail")):
            set_clock(clock, end + seconds)
            answer = ask_health(connection)
            found = check_of(answer, "tls:certificateEnd")
            assert found["status"] == status
            shown = datetime.fromisoformat(found["observedValue"])
            assert shown == parsed.not_valid_after_utc


@contextmanager
def asked_server(
    *flags: str, entry_point: Sequence[str] = EVERLOG
) -> Iterator[tuple[RunningServer, Connection]]:
    """Run a server and keep a connection to it."""
    with running_server(*flags, entry_point=entry_point) as server:
        is_secure = "--https-enabled" in flags
        with Connection(plain_url(server) if is_secure else server.url) as connection:
            yield server, connection


def plain_url(server: RunningServer) -> str:
    """Return where a server with HTTPS listens for plain HTTP."""
    wait_until(lambda: len(server.urls) == 2)
    return server.urls[1]


def clock_entry_point(clock: Path) -> tuple[str, ...]:
    return (sys.executable, "-m", "tests.support.clock_server", str(clock))


def set_clock(clock: Path, seconds: float) -> None:
    draft = clock.with_suffix(".new")
    draft.write_text(str(int(seconds * NANOSECONDS)))
    draft.replace(clock)
