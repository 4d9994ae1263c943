"""Restores: all of a backup or nothing, into an empty store, while nobody else reaches it."""

import contextlib
import gzip
import http.client
import json
import os
import signal
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from everlog.api.routes import ROUTES, Route
from tests.support.api import CODE_PREFIX, GOOD_TYPE, Answer, Connection
from tests.support.api import an_event as a_candidate
from tests.support.backups import (
    END_LINE,
    an_event,
    chained,
    event_line,
    lines_of,
    schema_line,
)
from tests.support.faulty_server import Condition, entry_point, set_condition
from tests.support.keys import write_certificate
from tests.support.server import (
    DEADLINE_SECONDS,
    TOKEN,
    RunningServer,
    running_server,
    wait_until,
)
from tests.support.threads import Background

V1, V2 = "/api/v1/restore", "/api/v2/management/restore"
PATHS = [V1, V2]

READING = "the current operation mode conflicts with the given request: reading is not permitted\n"
WRITING = "the current operation mode conflicts with the given request: writing is not permitted\n"

CHAIN = chained([an_event(f'{{"n":{n}}}', subject=f"/s/{n % 7}") for n in range(1_000)])
SCHEMA = '{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}'
BACKUP = schema_line("io.everlog.test.happened", SCHEMA) + lines_of(CHAIN)
LAST_HASH = CHAIN[-1][1]

AUTHORIZATION = {"Authorization": f"Bearer {TOKEN}"}


def stored(connection: Connection) -> list[tuple[str, str]]:
    return [(event["id"], event["hash"]) for event in connection.read_all()]


IN_THE_STORE = [(event["id"], hash_) for event, hash_ in CHAIN]


# How often a server is killed while it restores, and a little later.
KILLS = int(os.environ.get("EVERLOG_RESTORE_KILLS", "8"))


def check_empty(server: RunningServer) -> None:
    """Check that nothing was restored, and nothing is left."""
    with Connection(server.url) as connection:
        wait_until(lambda: connection.v1("read-event-types").status == 200)
        assert connection.read_all() == []
        assert connection.v1("read-event-types").items == []
        assert not list(server.data_directory.glob("restore*"))


def check_empty_and_working(server: RunningServer) -> None:
    """Check that nothing was restored, nothing is left, and the server goes on."""
    check_empty(server)
    with Connection(server.url) as connection:
        assert connection.write(a_candidate())[0]["id"] == "0"


def restored_data(answer: Answer, path: str) -> dict[str, Any]:
    """Return the data of an answer that says that everything is restored."""
    assert answer.status == 200, answer.text
    event = answer.json if path == V1 else answer.json["data"]
    assert event["type"] == "io.eventsourcingdb.api.store-restored"
    assert event["subject"] == path
    data: dict[str, Any] = event["data"]
    return data


@contextmanager
def half_restored(server: RunningServer, path: str = V1) -> Iterator[socket.socket]:
    """Hold a restore of which half has been sent; yield its connection."""
    with socket.create_connection(("127.0.0.1", server.port), DEADLINE_SECONDS) as client:
        client.sendall(head_of(path, len(BACKUP)) + BACKUP[: len(BACKUP) // 2])
        server.wait_for_log("a backup is being restored")
        yield client


def head_of(path: str, size: int | None) -> bytes:
    framing = "Transfer-Encoding: chunked" if size is None else f"Content-Length: {size}"
    return (
        f"POST {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {TOKEN}\r\n{framing}\r\n\r\n"
    ).encode()


def receive_answer(client: socket.socket) -> bytes:
    """Return what comes until the answer is complete, or the connection ends."""
    received = b""
    while part := client.recv(65_536):
        received += part
        head, found, body = received.partition(b"\r\n\r\n")
        if found and b"Content-Length: %d\r\n" % len(body) in head + b"\r\n":
            break
    return received


# What is restored.


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("look", [1, 2])
def test_a_backup_of_either_version_is_restored_by_either(path: str, look: int) -> None:
    lines = schema_line("io.everlog.test.happened", SCHEMA, look=look) + lines_of(CHAIN, look=look)
    with running_server() as server:
        with Connection(server.url) as connection:
            answer = connection.ask("POST", path, lines + (END_LINE if look == 2 else b""))

            assert restored_data(answer, path) == {
                "eventCount": 1_000,
                "schemaCount": 1,
                "latestEventId": "999",
                "latestEventHash": LAST_HASH,
            }
            # The same connection reaches what is there now.
            assert stored(connection) == IN_THE_STORE
            assert connection.ask("POST", "/api/v1/backup").body == BACKUP
            # The schema is in force, and what is written continues the chain.
            refused = connection.v1("write-events", {"events": [a_candidate(type_=GOOD_TYPE)]})
            assert refused.status == 409
            (event,) = connection.write(a_candidate(data={"n": 1}))
            assert (event["id"], event["predecessorhash"]) == ("1000", LAST_HASH)
        messages = [line["message"] for line in server.log]
        assert "the backup is restored" in messages
        assert not list(server.data_directory.glob("restore*"))
        assert server.stop() == 0

        with (
            running_server(data_directory=server.data_directory) as again,
            Connection(again.url) as connection,
        ):
            assert stored(connection)[:1_000] == IN_THE_STORE
            assert len(connection.read_all()) == 1_001


def pieces_of(body: bytes, size: int) -> Iterable[bytes]:
    return (body[start : start + size] for start in range(0, len(body), size))


@pytest.mark.parametrize("size", [7, 1_000, 100_000])
def test_a_body_may_come_in_chunks(size: int, fresh: Connection) -> None:
    fresh.http.request("POST", V1, pieces_of(BACKUP, size), AUTHORIZATION, encode_chunked=True)
    response = fresh.http.getresponse()

    assert (response.status, json.loads(response.read())["data"]["eventCount"]) == (200, 1_000)
    assert stored(fresh) == IN_THE_STORE


def test_a_client_that_asks_before_it_sends_is_told_to_send() -> None:
    with (
        running_server() as server,
        socket.create_connection(("127.0.0.1", server.port), DEADLINE_SECONDS) as client,
    ):
        head = head_of(V1, len(BACKUP))
        client.sendall(head[:-2] + b"Expect: 100-continue\r\n\r\n")
        assert client.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(BACKUP)
        assert b'"eventCount":1000' in receive_answer(client)


def test_a_backup_is_restored_over_tls(tmp_path: Path) -> None:
    files = write_certificate(tmp_path)
    flags = ("--https-enabled", "--http-enabled=false", *files.flags)
    with (
        running_server(*flags) as server,
        Connection(server.url, context=files.client_context()) as connection,
    ):
        answer = connection.ask("POST", V1, BACKUP)
        assert restored_data(answer, V1)["eventCount"] == 1_000
        assert stored(connection) == IN_THE_STORE


@pytest.mark.parametrize("path", PATHS)
def test_an_empty_backup_leaves_an_empty_store(path: str, fresh: Connection) -> None:
    data = restored_data(fresh.ask("POST", path, b""), path)

    assert data == {
        "eventCount": 0,
        "schemaCount": 0,
        "latestEventId": None,
        "latestEventHash": None,
    }
    assert fresh.write(a_candidate())[0]["id"] == "0"


@pytest.mark.parametrize("path", PATHS)
def test_a_filtered_backup_is_chained_anew_when_asked(path: str, fresh: Connection) -> None:
    filtered = lines_of(CHAIN[:10] + CHAIN[20:])
    refused = fresh.ask("POST", path, filtered)
    assert "line 11, event 20: " in refused.text

    answer = fresh.ask("POST", f"{path}?rechain=true", filtered)

    data = restored_data(answer, path)
    assert data["eventCount"] == 990
    rechained = data["rechained"]
    assert (rechained["changedIdCount"], rechained["changedHashCount"]) == (980, 980)
    assert rechained["firstChangedId"]["oldId"] == "20"
    assert rechained["firstChangedId"]["newId"] == "10"
    assert rechained["firstChangedHash"]["oldHash"] == CHAIN[20][1]
    assert stored(fresh)[10] == ("10", rechained["firstChangedHash"]["newHash"])


@pytest.mark.parametrize("query", ["rechain=yes", "rechain", "force=true", "rechain=true&a=b"])
def test_a_query_of_another_shape_is_refused(query: str, fresh: Connection) -> None:
    answer = fresh.ask("POST", f"{V1}?{query}", BACKUP)

    assert answer.status == 400
    assert "rechain=true" in answer.text


# Where nothing can be restored.


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("what", ["events", "schema"])
def test_a_store_that_is_not_empty_is_left_alone(path: str, what: str, fresh: Connection) -> None:
    if what == "events":
        fresh.write(a_candidate())
    else:
        body = {"eventType": GOOD_TYPE, "schema": json.loads(SCHEMA)}
        fresh.v1("register-event-schema", body)
    before = fresh.read_all()

    answer = fresh.ask("POST", path, BACKUP)

    if path == V1:
        assert answer.status == 409
        assert answer.text.startswith("the store is not empty: ")
    else:
        assert (answer.status, answer.code) == (200, "store-not-empty")
        assert answer.error["details"] == {"eventCount": len(before)}
    assert fresh.read_all() == before
    fresh.write(a_candidate(type_="io.everlog.test.other"))


def test_a_refusal_comes_before_the_body() -> None:
    with running_server() as server, Connection(server.url) as connection:
        connection.write(a_candidate())
        with socket.create_connection(("127.0.0.1", server.port), DEADLINE_SECONDS) as client:
            # A thousand GiB, of which none is sent.
            client.sendall(head_of(V1, 1 << 40))
            assert receive_answer(client).startswith(b"HTTP/1.1 409 ")


@pytest.mark.parametrize("path", PATHS)
def test_a_read_only_store_is_not_restored_into(path: str) -> None:
    with running_server("--read-only") as server, Connection(server.url) as connection:
        answer = connection.ask("POST", path, BACKUP)

        if path == V1:
            assert answer.status == 503
            assert answer.text.startswith("the current operation mode conflicts with")
        else:
            assert answer.code == "store-read-only"
        assert connection.read_all() == []


def test_whoever_has_no_token_restores_nothing(fresh: Connection) -> None:
    answer = fresh.ask("POST", V1, BACKUP, headers={"Authorization": "Bearer wrong"})

    assert answer.status == 401


# While it is being restored.


def is_refused_meanwhile(route: Route) -> bool:
    return not route.path.endswith(("/ping", "/health"))


def kind_of(route: Route) -> str:
    changes = ("write-events", "register-event-schema", "put-into-read-only-mode", "restore")
    return WRITING if route.path.endswith(changes) else READING


def test_everything_but_ping_and_health_is_refused_meanwhile() -> None:
    with running_server() as server, Connection(server.url) as connection:
        # Heads that have been admitted are asked about again.
        for _ in range(3):
            connection.ask("POST", "/api/v1/verify-api-token")
        with half_restored(server) as client:
            for _ in range(2):
                assert connection.ask("POST", "/api/v1/verify-api-token").text == READING
            for route in ROUTES:
                if not is_refused_meanwhile(route):
                    assert connection.ask(route.method, route.path).status == 200
                    continue
                answer = connection.ask(route.method, route.path)
                if route.version.name == "v1":
                    assert (answer.status, answer.text) == (503, kind_of(route))
                else:
                    assert (answer.status, answer.code) == (200, "restore-in-progress")
            # What is not there is not there, and whoever has no token learns nothing.
            assert connection.ask("POST", "/api/v2/data/nothing").status == 404
            assert connection.ask("GET", "/api/v2/management/restore").status == 405
            assert connection.ask("POST", V1, headers={}).status == 401
            health = connection.ask("GET", "/api/v1/health").json
            (check,) = health["checks"]["store:writability"]
            assert (check["observedValue"], check["status"]) == ("restoring", "warn")
            metrics = connection.ask("GET", "/api/v1/health?format=openmetrics").text
            assert 'everlog_store_condition{everlog_store_condition="restoring"} 1' in metrics

            client.sendall(BACKUP[len(BACKUP) // 2 :])
            assert b'"eventCount":1000' in receive_answer(client)
        assert stored(connection) == IN_THE_STORE
        assert connection.ask("POST", "/api/v1/verify-api-token").status == 200
        health = connection.ask("GET", "/api/v1/health").json
        assert health["checks"]["store:writability"][0]["observedValue"] == "writable"


@pytest.mark.parametrize("path", PATHS)
def test_a_second_restore_is_refused_and_the_first_goes_on(path: str) -> None:
    with running_server() as server, Connection(server.url) as connection:
        with half_restored(server) as client:
            answer = connection.ask("POST", path, BACKUP)
            if path == V1:
                assert (answer.status, answer.text) == (503, WRITING)
            else:
                assert answer.code == "restore-in-progress"
            client.sendall(BACKUP[len(BACKUP) // 2 :])
            assert b'"eventCount":1000' in receive_answer(client)
        assert stored(connection) == IN_THE_STORE


def test_a_request_whose_head_came_before_is_refused_too() -> None:
    body = json.dumps({"events": [a_candidate()]}).encode()
    with (
        running_server() as server,
        socket.create_connection(("127.0.0.1", server.port), DEADLINE_SECONDS) as early,
    ):
        early.sendall(head_of("/api/v1/write-events", len(body)) + body[:1])
        with Connection(server.url) as connection:
            connection.ask("GET", "/api/v1/ping")
        with half_restored(server) as client:
            early.sendall(body[1:])
            answer = receive_answer(early)
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert answer.endswith(WRITING.encode())
            client.sendall(BACKUP[len(BACKUP) // 2 :])
            assert b'"eventCount":1000' in receive_answer(client)


def test_observers_see_what_is_restored_when_they_come_again() -> None:
    with (
        running_server() as server,
        Connection(server.url) as first,
        Connection(server.url) as second,
    ):
        watched = {"v1": first.observe("v1"), "v2": second.observe("v2")}
        for items in watched.values():
            assert next(items)["type"] == "heartbeat"
        with half_restored(server) as client:
            # Nothing happens to them before there is something to be seen.
            for items in watched.values():
                assert next(items)["type"] == "heartbeat"
            client.sendall(BACKUP[len(BACKUP) // 2 :])
            assert b'"eventCount":1000' in receive_answer(client)
        last = {
            name: [item for item in items if item["type"] != "heartbeat"]
            for name, items in watched.items()
        }
        assert last["v1"] == [{"type": "error", "payload": {"error": READING.strip()}}]
        assert last["v2"][0]["data"]["code"] == f"{CODE_PREFIX}restore-in-progress"
        with Connection(server.url) as third:
            assert next(third.observe())["payload"]["hash"] == CHAIN[0][1]


def test_observers_go_on_where_nothing_is_restored() -> None:
    with running_server() as server, Connection(server.url) as observer:
        items = observer.observe()
        next(items)
        with half_restored(server):
            pass
        server.wait_for_log("the backup could not be restored")
        with Connection(server.url) as connection:
            wait_until(lambda: connection.v1("read-event-types").status == 200)
            connection.write(a_candidate("/late"))
        event = next(item for item in items if item["type"] != "heartbeat")
        assert event["payload"]["subject"] == "/late"


@pytest.mark.slow
def test_writes_that_come_with_a_restore_are_stored_or_refused_and_never_lost() -> None:
    outcomes = set()
    for number in range(8):
        with running_server() as server:

            def write_one(number: int = number, url: str = server.url) -> int:
                with Connection(url) as connection:
                    connection.ask("GET", "/api/v1/ping")
                    time.sleep(number / 1_000)
                    events = [a_candidate(f"/w/{number}", data={"n": 1})] * 300
                    return connection.v1("write-events", {"events": events}).status

            writing = Background(write_one)
            with Connection(server.url) as connection:
                answer = connection.ask("POST", V1, BACKUP)
                status = writing.result()
                events = connection.read_all()
            outcomes.add((answer.status, status))
            if answer.status == 200:
                # Refused while it was restored, or stored behind it.
                assert len(events) == {503: 1_000, 200: 1_300, 409: 1_000}[status]
                assert [each["hash"] for each in events[:1_000]] == [h for _, h in CHAIN]
            else:
                assert (answer.status, status, len(events)) == (409, 200, 300)
    assert outcomes


# What is no backup.


def changed(number: int, change: Callable[[dict[str, str]], None]) -> bytes:
    lines = lines_of(CHAIN).splitlines(keepends=True)
    event = dict(CHAIN[number][0])
    change(event)
    lines[number] = event_line(event, CHAIN[number][1])
    return b"".join(lines)


ERROR_LINE = b'{"type":"error","payload":"disk full"}\n'
BROKEN: dict[str, tuple[bytes, str, int | None, str | None]] = {
    "garbage": (os.urandom(64) + b"\n" + BACKUP, "backup-malformed", 1, None),
    "compressed": (gzip.compress(BACKUP), "backup-unreadable", 1, None),
    "another format": (
        BACKUP + b'{"type":"row","payload":1}\n',
        "backup-format-unknown",
        1002,
        None,
    ),
    "cut in a line": (BACKUP[:-30], "backup-incomplete", 1001, None),
    "cut between lines": (lines_of(CHAIN, look=2), "backup-incomplete", 1001, None),
    "an error": (BACKUP + ERROR_LINE, "backup-incomplete", 1002, None),
    "an increment": (lines_of(CHAIN[5:]), "full-backup-missing", 1, "5"),
    "a gap": (lines_of(CHAIN[:5] + CHAIN[6:]), "event-chain-broken", 6, "6"),
    "a swap": (
        lines_of([*CHAIN[:5], CHAIN[6], CHAIN[5], *CHAIN[7:]]),
        "event-chain-broken",
        6,
        "6",
    ),
    "a change": (
        changed(700, lambda event: event.update(data='{"n":1}')),
        "event-chain-broken",
        701,
        "700",
    ),
    "another increment": (
        lines_of(CHAIN[:5], look=2) + END_LINE + lines_of(CHAIN[6:], look=2) + END_LINE,
        "backup-increment-disconnected",
        7,
        "6",
    ),
    "a hash that is none": (event_line(CHAIN[0][0], "0" * 63), "event-hash-malformed", 1, "0"),
    "no hash": (event_line(CHAIN[0][0], ""), "event-hash-missing", 1, "0"),
    "an unknown hash": (
        event_line(CHAIN[0][0], "esdb:hash:v9:" + "0" * 64),
        "event-hash-version-unknown",
        1,
        "0",
    ),
    "no event": (
        schema_line(
            "io.everlog.test.happened", '{"type":"object","properties":{},"required":["x"]}'
        )
        + lines_of(CHAIN),
        "event-schema-violated",
        2,
        "0",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_whole_backup_is_refused_at_its_first_place(name: str) -> None:
    body, code, line, event_id = BROKEN[name]
    with running_server() as server:
        with Connection(server.url) as connection:
            answer = connection.ask("POST", V1, body)
            assert answer.status in {400, 409}, answer.text
            assert answer.text.count("\n") == 1
        check_empty(server)
        assert server.wait_for_log("the backup could not be restored")["reason"] == code

        with Connection(server.url) as connection:
            answer = connection.ask("POST", V2, body)
            assert (answer.status, answer.code) == (200, code), answer.text
            details = answer.error["details"]
            assert details.get("line") == line
            assert details.get("eventId") == event_id
        check_empty_and_working(server)
        told = [line for line in server.log if "could not be restored" in line["message"]]
        assert [line["reason"] for line in told] == [code, code]


def send_until_answered(client: socket.socket, chunk: bytes, size_max: int) -> tuple[int, bytes]:
    """Send chunks until an answer comes; return how much was sent, and the answer."""
    client.settimeout(0.0)
    sent = 0
    framed = b"%x\r\n%b\r\n" % (len(chunk), chunk)
    while sent < size_max:
        client.settimeout(0.0)
        try:
            received = client.recv(65_536)
        except (BlockingIOError, ssl.SSLWantReadError):
            pass
        else:
            return sent, received
        client.settimeout(DEADLINE_SECONDS)
        client.sendall(framed)
        sent += len(chunk)
    client.settimeout(DEADLINE_SECONDS)
    return sent, receive_answer(client)


@pytest.mark.parametrize(
    "chunk, line",
    [(b"x" * 65_536, 1), (b"\n" * 65_535 + b"{", 65_536), (b'{"type":"event"}\n' * 1_000, 1)],
)
def test_a_hostile_body_without_end_is_refused_early(chunk: bytes, line: int) -> None:
    with running_server() as server:
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(head_of(V1, None))
            sent, answer = send_until_answered(client, chunk, 64 * 1024 * 1024)

        assert answer.startswith(b"HTTP/1.1 400 "), answer
        assert b"line %d" % line in answer
        # What is read ahead, what the system holds, and the longest line there may be.
        assert sent < 32 * 1024 * 1024
        check_empty_and_working(server)


def test_empty_lines_say_nothing() -> None:
    with running_server() as server:
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(head_of(V1, None))
            for _ in range(128):
                client.sendall(b"10000\r\n%b\r\n" % (b"\n" * 65_536))
        check_empty_and_working(server)


# What goes wrong on the way.


def test_a_client_that_goes_away_leaves_an_empty_store() -> None:
    with running_server() as server:
        with half_restored(server):
            pass
        server.wait_for_log("the backup could not be restored")
        check_empty_and_working(server)


def test_a_client_that_ends_its_input_early_is_told_so() -> None:
    with running_server() as server:
        with half_restored(server) as client:
            client.shutdown(socket.SHUT_WR)
            answer = receive_answer(client)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"the body of the request ended before its end" in answer
        check_empty_and_working(server)


def test_a_server_that_is_killed_half_way_opens_an_empty_store(tmp_path: Path) -> None:
    with running_server(data_directory=tmp_path / "data") as server, half_restored(server):
        server.kill()
    with running_server(data_directory=tmp_path / "data") as server:
        check_empty_and_working(server)


def restore_until_it_ends(url: str) -> None:
    with contextlib.suppress(ConnectionError, http.client.HTTPException), Connection(url) as each:
        each.ask("POST", V1, BACKUP)


@pytest.mark.slow
def test_a_server_that_is_killed_at_any_moment_has_all_or_nothing(tmp_path: Path) -> None:
    counts = []
    # How long a whole one takes here.
    with running_server(data_directory=tmp_path / "whole") as server:
        started = time.monotonic()
        restore_until_it_ends(server.url)
        seconds = time.monotonic() - started
    for number in range(KILLS):
        directory = tmp_path / str(number)
        with running_server(data_directory=directory) as server:
            restoring = Background(partial(restore_until_it_ends, server.url))
            time.sleep(seconds * number / (KILLS * 0.75))
            server.kill()
            restoring.result()
        with running_server(data_directory=directory) as server:
            with Connection(server.url) as connection:
                events = stored(connection)
                assert events in ([], IN_THE_STORE)
                connection.write(a_candidate(data={"n": 1}))
            assert not list(directory.glob("restore*"))
            assert server.stop() == 0
        counts.append(len(events))
    assert counts[0] == 0


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_stops_gives_a_restore_up_and_says_so(
    path: str, number: signal.Signals, tmp_path: Path
) -> None:
    with running_server(data_directory=tmp_path / "data") as server:
        with half_restored(server, path) as client:
            started = time.monotonic()
            server.ask_to_stop(number)
            answer = receive_answer(client)
        assert server.wait() == 0
        # Nobody waits for the grace.
        assert time.monotonic() - started < 8.0
        if path == V1:
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert answer.endswith(b"server is shutting down\n")
        else:
            assert b"/server-shutting-down" in answer
    with running_server(data_directory=tmp_path / "data") as server:
        check_empty_and_working(server)


@pytest.mark.parametrize("path", PATHS)
def test_a_disk_without_room_leaves_an_empty_store(path: str, tmp_path: Path) -> None:
    control = tmp_path / "condition"
    with running_server(entry_point=entry_point(control)) as server:
        set_condition(control, Condition.FULL)
        with Connection(server.url) as connection:
            answer = connection.ask("POST", path, BACKUP)
            if path == V1:
                assert answer.status == 503
            else:
                assert answer.code == "disk-full"
        set_condition(control, Condition.GOOD)
        check_empty_and_working(server)


@pytest.mark.parametrize("path", PATHS)
def test_a_disk_that_fails_leaves_an_empty_store(path: str, tmp_path: Path) -> None:
    control = tmp_path / "condition"
    with running_server(entry_point=entry_point(control)) as server:
        with Connection(server.url) as connection:
            set_condition(control, Condition.FAILING)
            answer = connection.ask("POST", path, BACKUP)
            assert "restoring failed, and the store is empty as before" in answer.text
            if path == V1:
                assert answer.status == 503
            else:
                assert answer.code == "store-failed"
            assert connection.read_all() == []

            # What the disk could not remove is out of the way of the next one.
            set_condition(control, Condition.GOOD)
            assert restored_data(connection.ask("POST", path, BACKUP), path)["eventCount"] == 1_000
            assert stored(connection) == IN_THE_STORE
        assert not list(server.data_directory.glob("restore*"))


# Large ones.


def rss(server: RunningServer) -> int:
    """Return how much memory a server has, in bytes."""
    status = Path(f"/proc/{server.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


@pytest.mark.slow
def test_a_body_of_300_megabytes_takes_no_memory_to_speak_of() -> None:
    # Few events of the largest size, so that it is the body that is measured, and no index.
    text = "x" * 100_000
    chain = chained([an_event(f'{{"n":{n},"text":"{text}"}}') for n in range(3_000)])
    digest, peak = sha256(), [0]

    def pieces(server: RunningServer) -> Iterator[bytes]:
        for event, hash_ in chain:
            line = event_line(event, hash_)
            digest.update(line)
            peak[0] = max(peak[0], rss(server))
            yield line

    with running_server() as server, Connection(server.url) as connection:
        before = rss(server)
        connection.http.request("POST", V1, pieces(server), AUTHORIZATION, encode_chunked=True)
        response = connection.http.getresponse()
        assert json.loads(response.read())["data"]["eventCount"] == 3_000
        assert max(peak[0], rss(server)) - before < 100 * 1024 * 1024
        backup = connection.ask("POST", "/api/v1/backup")
        assert sha256(backup.body).digest() == digest.digest()
