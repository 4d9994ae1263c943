"""A follower, from outside: what it mirrors, what it serves and refuses, and whom it follows."""

import json
import shutil
import signal
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.support import followed as stand_in
from tests.support.api import GOOD_TYPE, Answer, Connection, an_event
from tests.support.backups import an_event as a_backup_event
from tests.support.backups import lines_of, schema_line
from tests.support.certificates import issue, write_files
from tests.support.faulty_server import Condition, entry_point, set_condition
from tests.support.followed import answer_with, pour, refuse_with, running_followed
from tests.support.keys import write_signing_key
from tests.support.server import (
    TOKEN,
    RunningServer,
    run_to_end,
    running_server,
    wait_until,
)

SCHEMA = {"type": "object", "properties": {"n": {"type": "number"}}, "required": ["n"]}
EVERYTHING = {"subject": "/", "options": {"recursive": True}}


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "source-token"
    path.write_text(TOKEN + "\n")
    return path


def following(
    url: str, token_file: Path, *flags: str, **options: Any
) -> AbstractContextManager[RunningServer]:
    return running_server(f"--follow={url}", f"--follow-token-file={token_file}", *flags, **options)


def ask(server: RunningServer, name: str, body: object = None) -> Answer:
    with Connection(server.url) as connection:
        return connection.v1(name, body)


def write(server: RunningServer, *data: dict[str, Any], **members: Any) -> None:
    events = [an_event(data=each, **members) for each in data]
    assert ask(server, "write-events", {"events": events}).status == 200


def backup(server: RunningServer) -> bytes:
    return ask(server, "backup").body


def health(server: RunningServer) -> dict[str, Any]:
    with Connection(server.url) as connection:
        document = connection.ask("GET", "/api/v1/health").json
    checks = {name: found[0] for name, found in document["checks"].items()}
    return {"status": document["status"], **checks}


def metrics(server: RunningServer) -> dict[str, float]:
    with Connection(server.url) as connection:
        text = connection.ask("GET", "/api/v1/health?format=openmetrics").text
    lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


def wait_until_equal(source: RunningServer, follower: RunningServer) -> None:
    expected = backup(source)
    wait_until(lambda: backup(follower) == expected)


# What is mirrored.


def test_a_mirror_is_equal_byte_for_byte(tmp_path: Path, token_file: Path) -> None:
    directory, key = tmp_path / "source", tmp_path / "key.pem"
    write_signing_key(key)
    with running_server(data_directory=directory) as source:
        write(source, {"n": 1})
        body = {"eventType": "io.everlog.test.judged", "schema": SCHEMA}
        assert ask(source, "register-event-schema", body).status == 200
        write(source, {"n": 2}, {"n": 2.50}, {"n": 3e2}, type_="io.everlog.test.judged")
        traced = {"traceparent": f"00-{'1' * 32}-{'2' * 16}-01", "tracestate": "a=1,b=2"}
        write(source, {"n": "\u00fc <b>\u2013", "z": [1, {"a": None}]}, **traced)
        with following(source.url, token_file) as follower:
            wait_until_equal(source, follower)
    # The same log goes on with hashes of another version, and signed.
    with (
        running_server(data_directory=directory, hash_version=2, signing_key_file=key) as source,
        following(source.url, token_file) as follower,
    ):
        write(source, *({"z": number, "a": 1} for number in range(300)))
        wait_until_equal(source, follower)
        body = {"eventType": "io.everlog.test.later", "schema": SCHEMA}
        assert ask(source, "register-event-schema", body).status == 200
        write(source, {"n": 1}, type_="io.everlog.test.later")
        wait_until_equal(source, follower)

        unsigned = ask(follower, "read-events", EVERYTHING)
        assert {event["signature"] for event in unsigned.events} == {None}
        assert all(event["signature"] for event in ask(source, "read-events", EVERYTHING).events)
        assert ask(follower, "verify-store").json == {"errors": [], "warnings": []}
        assert follower.stop() == 0
        assert run_to_end("audit", "--data-directory", str(follower.data_directory)).code == 0


@pytest.mark.parametrize("version", [1, 2])
def test_an_eventsourcingdb_is_mirrored_in_either_version(tmp_path: Path, version: int) -> None:
    token = tmp_path / "token"
    token.write_text(stand_in.TOKEN)
    schema = '{"type":"object","properties":{"n":{"type":"number"}}}'
    with running_followed() as original:
        original.versions = {version}
        original.schemas["io.everlog.test.judged"] = schema
        for number in range(50):
            traced = {"traceparent": f"00-{'1' * 32}-{'2' * 16}-01"} if number % 3 else {}
            data = f'{{"n":{number}.0,"a":"\\u003cb\\u003e"}}'
            events = [a_backup_event(data, **traced) for _ in range(1 + number % 4)]
            original.write(*events, version=1 + number % 2)
        with following(original.url, token) as follower:
            expected = schema_line("io.everlog.test.judged", schema) + lines_of(original.events)
            wait_until(lambda: backup(follower) == expected)
            original.write(a_backup_event(), a_backup_event())
            expected += lines_of(original.events[-2:])
            wait_until(lambda: backup(follower) == expected)

            line = follower.wait_for_log("the source is followed")
            assert (line["version"], line["saysWhereWritesEnd"]) == (f"v{version}", False)


def test_a_follower_is_followed_in_turn(token_file: Path) -> None:
    with (
        running_server() as source,
        following(source.url, token_file) as first,
        following(first.url, token_file) as second,
    ):
        for number in range(30):
            write(source, *({"n": number} for _ in range(1 + number % 3)))
        wait_until_equal(source, second)

        refusal = ask(second, "write-events", {"events": [an_event()]}).text
        assert f"this server follows {first.url}: write there" in refusal


@pytest.mark.parametrize("clock", ["0", "4102444800000000000"], ids=["1970", "2100"])
def test_the_clock_of_a_follower_does_not_matter(
    tmp_path: Path, token_file: Path, clock: str
) -> None:
    file = tmp_path / "clock"
    file.write_text(clock)
    entry_point = (sys.executable, "-m", "tests.support.clock_server", str(file))
    with (
        running_server() as source,
        following(source.url, token_file, entry_point=entry_point) as follower,
    ):
        write(source, {"n": 1}, {"n": 2})
        wait_until_equal(source, follower)
        assert health(follower)["follower:source"]["observedValue"] == "following"


# What is served, and what is refused.


def test_all_reading_works_from_a_follower(token_file: Path) -> None:
    with running_server() as source, following(source.url, token_file) as follower:
        with Connection(follower.url) as observing:
            stream = observing.send("POST", "/api/v1/observe-events", EVERYTHING)
            write(source, {"n": 1}, {"n": 2}, subject="/books/1")
            lines: list[dict[str, Any]] = []
            while len(lines) < 2:
                item = json.loads(stream.readline())
                lines += [item["payload"]] if item["type"] == "event" else []
        assert lines == ask(source, "read-events", EVERYTHING).events

        questions = {
            "read-events": EVERYTHING,
            "read-subjects": {"baseSubject": "/"},
            "read-event-types": None,
            "read-event-type": {"eventType": GOOD_TYPE},
            "run-eventql-query": {"query": "FROM e IN events PROJECT INTO e.data.n"},
            "audit-history": None,
        }
        for name, body in questions.items():
            assert ask(follower, name, body).body == ask(source, name, body).body
        for path in ("inclusion-proof?event=1", "consistency-proof?from=1&to=2"):
            proofs = []
            for server in (source, follower):
                with Connection(server.url) as connection:
                    proofs.append(connection.ask("GET", f"/api/v2/log/{path}"))
            assert proofs[0].status == 200
            assert proofs[0].body == proofs[1].body


def test_whatever_changes_the_store_is_refused_with_the_address_of_the_source(
    token_file: Path,
) -> None:
    with running_server() as source, following(source.url, token_file) as follower:
        write(source, {"n": 1})
        wait_until_equal(source, follower)
        message = f"this server follows {source.url}: write there"
        schema = {"eventType": GOOD_TYPE, "schema": SCHEMA}
        for name, body in {
            "write-events": {"events": [an_event()]},
            "register-event-schema": schema,
            "restore": backup(source),
            "put-into-read-only-mode": None,
        }.items():
            answer = ask(follower, name, body)
            assert answer.status == 503
            assert answer.text == (
                f"the current operation mode conflicts with the given request: {message}\n"
            )
        with Connection(follower.url) as connection:
            refused = [
                connection.v2("write-events", {"events": [an_event()]}),
                connection.ask("POST", "/api/v2/management/restore", backup(source)),
            ]
        for answer in refused:
            assert answer.code == "store-read-only"
            assert answer.error["description"] == message
            assert answer.error["details"] == {"source": source.url}
        wait_until_equal(source, follower)


def test_a_follower_without_its_followed_server_serves_what_it_has(token_file: Path) -> None:
    with running_server() as source, following(source.url, token_file) as follower:
        write(source, {"n": 1})
        wait_until_equal(source, follower)
        expected = backup(source)
        source.kill()
        refused = ": Connection refused"
        wait_until(lambda: health(follower)["follower:source"].get("output", "").endswith(refused))

        found = health(follower)
        assert found["follower:source"]["observedValue"] == "unreachable"
        assert (found["status"], found["follower:source"]["status"]) == ("warn", "warn")
        assert backup(follower) == expected
        line = follower.wait_for_log("the source cannot be read: that is tried again")
        assert (line["level"], line["source"]) == ("warn", source.url)


# The source goes, comes, and is another one.


def test_a_source_that_comes_again_is_followed_on(tmp_path: Path, token_file: Path) -> None:
    directory = tmp_path / "source"
    with running_server(data_directory=directory) as source:
        port = source.port
        write(source, {"n": 0})
        source.stop()
    with following(f"http://127.0.0.1:{port}", token_file) as follower:
        for number in range(4):
            with running_server(f"--http-port={port}", data_directory=directory) as source:
                write(source, {"n": number}, {"n": number})
                wait_until_equal(source, follower)
                if number % 2:
                    source.kill()
                else:
                    source.stop()


def test_a_follower_that_comes_again_goes_on(tmp_path: Path, token_file: Path) -> None:
    directory = tmp_path / "follower"
    with running_server() as source:
        for number in range(4):
            write(source, {"n": number}, {"n": number})
            with following(source.url, token_file, data_directory=directory) as follower:
                wait_until_equal(source, follower)
                follower.kill()


@pytest.mark.parametrize("differs_from", [0, 3])
def test_a_source_that_was_exchanged_is_refused(
    tmp_path: Path, token_file: Path, differs_from: int
) -> None:
    first = tmp_path / "first"
    with running_server(data_directory=first) as source:
        port = source.port
        for number in range(differs_from):
            write(source, {"n": number})
        source.stop()
        second = shutil.copytree(first, tmp_path / "second")
        follow = following(f"http://127.0.0.1:{port}", token_file)
        with running_server(f"--http-port={port}", data_directory=first) as one, follow as follower:
            for number in range(differs_from, 8):
                write(one, {"n": number})
            wait_until_equal(one, follower)
            expected = backup(one)
            one.stop()
            with running_server(f"--http-port={port}", data_directory=second) as other:
                # As many events, of which some are others.
                for number in range(differs_from, 8):
                    write(other, {"n": -number})
                line = follower.wait_for_log("the source is not followed any more")

                assert line["level"] == "error"
                assert line["eventId"] == str(differs_from)
                assert f"the first event that differs is {differs_from}" in line["reason"]
                found = health(follower)
                assert found["follower:source"]["status"] == "fail"
                assert found["follower:source"]["observedValue"] == "refused"
                assert str(differs_from) in found["follower:source"]["output"]
                assert backup(follower) == expected
                assert ask(follower, "write-events", {"events": [an_event()]}).status == 503


def test_a_source_of_an_older_backup_is_waited_for(tmp_path: Path, token_file: Path) -> None:
    first = tmp_path / "first"
    with running_server(data_directory=first) as source:
        port = source.port
        write(source, {"n": 1})
        source.stop()
    older = shutil.copytree(first, tmp_path / "older")
    with (
        running_server(f"--http-port={port}", data_directory=first) as source,
        following(source.url, token_file) as follower,
    ):
        write(source, {"n": 2}, {"n": 3})
        wait_until_equal(source, follower)
        source.stop()
        with running_server(f"--http-port={port}", data_directory=older) as other:
            line = follower.wait_for_log("the source has fewer events than are here")
            assert line["reason"] == "it has 1 events, and here are 3"
            assert health(follower)["follower:source"]["observedValue"] == "behind"
            # It goes another way.
            write(other, {"n": 4}, {"n": 5}, {"n": 6})
            assert follower.wait_for_log("the source is not followed any more")["eventId"] == "1"


def test_a_promoted_follower_is_a_store_of_its_own(tmp_path: Path, token_file: Path) -> None:
    directory = tmp_path / "follower"
    with running_server() as source:
        write(source, {"n": 1}, {"n": 2})
        with following(source.url, token_file, data_directory=directory) as follower:
            wait_until_equal(source, follower)
            follower.stop()
        with running_server(data_directory=directory) as promoted:
            assert backup(promoted) == backup(source)
            write(promoted, {"n": "here"})
            promoted.stop()
        write(source, {"n": "there"})
        with following(source.url, token_file, data_directory=directory) as follower:
            assert follower.wait_for_log("the source is not followed any more")["eventId"] == "2"


# How the source is reached.


def test_a_source_over_https_is_trusted_by_its_certificate(
    tmp_path: Path, token_file: Path
) -> None:
    issued = issue()
    files = write_files(tmp_path, issued)
    flags = (
        *("--https-enabled", "--http-enabled=true"),
        f"--https-certificate-file={files.certificate}",
        f"--https-private-key-file={files.private_key}",
    )
    with running_server(*flags) as source:
        wait_until(lambda: len(source.urls) == 2)
        url = next(url for url in source.urls if url.startswith("https:"))
        with following(url, token_file) as untrusting:
            line = untrusting.wait_for_log("the source cannot be read")
            assert line["reason"].startswith("its certificate is not trusted: ")
        ca_file = f"--follow-ca-file={files.certificate}"
        with (
            following(url, token_file, ca_file) as follower,
            Connection(next(url for url in source.urls if url.startswith("http:"))) as connection,
        ):
            assert connection.v1("write-events", {"events": [an_event()]}).status == 200
            expected = connection.v1("backup").body
            wait_until(lambda: backup(follower) == expected)


def test_the_token_is_read_again_and_never_shown(token_file: Path) -> None:
    token_file.write_text("not-the-right-token\n")
    with running_server() as source, following(source.url, token_file) as follower:
        line = follower.wait_for_log("the source cannot be read")
        assert line["reason"] == "it refuses the token (status 401)"
        token_file.write_text("")
        follower.ask_to_stop(signal.SIGHUP)
        line = follower.wait_for_log("the files for the source cannot be used")
        assert line["reason"].endswith("there is no token in it")
        token_file.write_text(f"{TOKEN}\nanother\n")
        follower.ask_to_stop(signal.SIGHUP)
        follower.wait_for_log("the token file of the source was read again")
        write(source, {"n": 1})
        wait_until_equal(source, follower)

        shown = b"".join(follower.output) + ask(follower, "write-events", {"events": [{}]}).body
        with Connection(follower.url) as connection:
            shown += connection.ask("GET", "/api/v1/diagnostics").body
        assert TOKEN.encode() not in shown
        assert b"not-the-right-token" not in shown


def test_plain_http_to_another_machine_is_warned_about(token_file: Path) -> None:
    # An address that nobody has (RFC 5737).
    with following("http://192.0.2.1:3000", token_file) as follower:
        line = follower.wait_for_log("the source is followed over plain HTTP")
        assert line["level"] == "warn"


# A source that misbehaves.


MISBEHAVIOURS = {
    "redirect": (refuse_with(307, Location="http://127.0.0.1:1"), "it redirects (status 307)"),
    "busy": (refuse_with(503), "it is not ready to answer (status 503)"),
    "other-type": (answer_with(b"<p>", content_type="text/html"), "its answer is no application"),
    "other-server": (answer_with(b"", server="nginx"), "it is no EventSourcingDB"),
    "no-json": (answer_with(b"nonsense\n"), "is no item"),
    "no-lines": (pour(b"x" * 100_000), "it sends a line of more than"),
    "cut": (answer_with(b'{"type":"event","data":{"i'), "it ended the stream"),
}


@pytest.mark.parametrize("name", MISBEHAVIOURS)
def test_a_source_that_misbehaves_harms_nobody(tmp_path: Path, name: str) -> None:
    token = tmp_path / "token"
    token.write_text(stand_in.TOKEN)
    misbehaviour, reason = MISBEHAVIOURS[name]
    with running_followed() as source:
        source.write(a_backup_event())
        source.instead["observe-events"] = misbehaviour
        with following(source.url, token) as follower:
            line = follower.wait_for_log("the source cannot be read")
            assert reason in line["reason"]
            assert reason in health(follower)["follower:source"]["output"]
            assert backup(follower) == b""
            # It is said once, however often it is tried.
            wait_until(lambda: metrics(follower)["everlog_follower_failures_total"] > 2)
            messages = [line["message"] for line in follower.log]
            assert messages.count("the source cannot be read: that is tried again") == 1

            del source.instead["observe-events"]
            wait_until(lambda: backup(follower) == lines_of(source.events))


def test_events_that_cannot_be_kept_are_refused_and_not_stored(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(stand_in.TOKEN)
    with running_followed() as source, following(source.url, token) as follower:
        source.write(a_backup_event())
        wait_until(lambda: backup(follower) == lines_of(source.events))
        whole = backup(follower)
        source.write(a_backup_event(type_="x"))
        line = follower.wait_for_log("the source is not followed any more")

        assert line["eventId"] == "1"
        assert "its event 1 cannot be stored here: its type is not allowed" in line["reason"]
        assert backup(follower) == whole


# A disk that misbehaves.


def test_a_follower_goes_on_when_there_is_room_again(tmp_path: Path, token_file: Path) -> None:
    condition = tmp_path / "condition"
    with (
        running_server() as source,
        following(source.url, token_file, entry_point=entry_point(condition)) as follower,
    ):
        write(source, {"n": 1})
        wait_until_equal(source, follower)
        expected = backup(follower)
        set_condition(condition, Condition.FULL)
        write(source, {"n": 2}, {"n": 3})
        wait_until(lambda: health(follower)["follower:source"]["status"] == "fail")
        assert "nothing is stored: " in health(follower)["follower:source"]["output"]
        assert backup(follower) == expected
        set_condition(condition, Condition.GOOD)
        wait_until_equal(source, follower)
        assert health(follower)["status"] == "pass"


def test_a_follower_whose_disk_fails_serves_what_it_has(tmp_path: Path, token_file: Path) -> None:
    condition = tmp_path / "condition"
    with (
        running_server() as source,
        following(source.url, token_file, entry_point=entry_point(condition)) as follower,
    ):
        write(source, {"n": 1})
        wait_until_equal(source, follower)
        expected = backup(follower)
        set_condition(condition, Condition.FAILING)
        write(source, {"n": 2})
        assert follower.wait_for_log("the store has failed")["level"] == "fatal"

        assert health(follower)["store:writability"]["observedValue"] == "failed"
        assert backup(follower) == expected


# Health and metrics.


def test_lag_is_told_in_health_and_metrics(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(stand_in.TOKEN)
    release: list[bool] = []
    with running_followed() as source:
        source.is_everlog = True
        source.write(a_backup_event())

        def send_one(handler: stand_in.Handler) -> None:
            handler.begin()
            handler.send(source.item(0, 2))
            while not release:
                time.sleep(0.01)
            for position in range(1, len(source.events)):
                handler.send(source.item(position, 2))
            while not source.is_stopping:
                handler.send(b'{"type":"heartbeat","data":{}}\n')
                time.sleep(0.05)

        source.instead["observe-events"] = send_one
        source.write(*(a_backup_event() for _ in range(9)))
        with following(source.url, token) as follower:
            wait_until(lambda: health(follower)["follower:lagEvents"]["observedValue"] == 9)
            found = metrics(follower)
            assert found["everlog_follower_lag_events"] == 9
            assert found["everlog_follower_lag_seconds"] > 0
            assert found["everlog_follower_received_events_total"] == 1
            release.append(True)
            wait_until(lambda: health(follower)["follower:lagEvents"]["observedValue"] == 0)
            wait_until(lambda: health(follower)["follower:lagSeconds"]["observedValue"] == 0)

            found = metrics(follower)
            assert found['everlog_follower_state{everlog_follower_state="following"}'] == 1
            assert found["everlog_follower_connections_total"] == 1
            assert found['everlog_store_condition{everlog_store_condition="following"}'] == 1
            assert health(follower)["status"] == "pass"
            assert health(follower)["store:writability"]["observedValue"] == "following"
