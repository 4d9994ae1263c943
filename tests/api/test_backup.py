"""Backups: everything as of one head, while others write, in the form that restores anywhere."""

import json
import socket
import threading
from contextlib import ExitStack
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.support.api import GOOD_TYPE, Answer, Connection, an_event
from tests.support.backups import Event, hash_of
from tests.support.faulty_server import Condition, entry_point, set_condition
from tests.support.keys import write_signing_key
from tests.support.server import TOKEN, RunningServer, running_server
from tests.support.threads import Background

V1, V2 = "/api/v1/backup", "/api/v2/management/backup"
BODIES = {V1: "payload", V2: "data"}
PATHS = [V1, V2]

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}}
TRACES = {
    "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "tracestate": "vendor=some value",
}
# As they are stored: what is escaped, and what is not.
DATA = [{"n": 1, "text": 'quotes ", <&>, \u00fc, \u2028'}, {"hash": 'x","hash":"'}, {}]


def backed_up(answer: Answer, path: str) -> list[tuple[Event, str]]:
    """Return the events of a backup and their hashes, data being its very bytes."""
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    found: list[tuple[Event, str]] = []
    for line in answer.body.splitlines():
        item = json.loads(line)
        if item["type"] == "event":
            body = item[BODIES[path]]
            assert body.keys() == {"event", "hash"}
            event = body["event"]
            # The last member of the event, and nothing but the hash behind it.
            text = line[line.index(b',"data":', line.index(b'"predecessorhash"')) + 8 :]
            data = text[: text.rindex(b'},"hash":')].decode()
            assert json.loads(data) == event["data"]
            found.append(({**event, "data": data}, body["hash"]))
    return found


def check_chain_of(events: list[tuple[Event, str]], *, start: int = 0) -> None:
    hash_ = events[0][0]["predecessorhash"]
    for position, (event, own_hash) in enumerate(events, start):
        assert event["id"] == str(position)
        assert event["predecessorhash"] == hash_
        hash_ = own_hash
        assert own_hash == hash_of(event, 2 if own_hash.startswith("esdb") else 1)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("hash_version", [1, 2])
def test_a_backup_has_schemas_and_events_with_the_bytes_that_were_hashed(
    path: str, hash_version: int
) -> None:
    with running_server(hash_version=hash_version) as server, Connection(server.url) as connection:
        for data in DATA:
            connection.write(an_event("/a", data=data), an_event("/b", data=data, **TRACES))
        connection.v1("register-event-schema", {"eventType": GOOD_TYPE, "schema": SCHEMA})
        connection.v1("register-event-schema", {"eventType": "io.other.type", "schema": SCHEMA})

        answer = connection.ask("POST", path)

        events = backed_up(answer, path)
        check_chain_of(events)
        shown = connection.read_all()
        assert len(events) == len(shown) == 2 * len(DATA)
        for (event, hash_), stored in zip(events, shown, strict=True):
            assert {**event, "data": json.loads(event["data"]), "hash": hash_} == {
                name: value for name, value in stored.items() if name != "signature"
            }
        items = answer.items
        schemas = [item[BODIES[path]] for item in items if item["type"] == "schema"]
        assert schemas == [
            {"eventType": name, "schema": SCHEMA} for name in (GOOD_TYPE, "io.other.type")
        ]
        # A restore knows them before the events.
        assert [item["type"] for item in items[:2]] == ["schema", "schema"]
        if path == V2:
            assert items[-1] == {"type": "end", "data": {}}


@pytest.mark.parametrize("path", PATHS)
def test_an_empty_store_has_an_empty_backup(path: str, fresh: Connection) -> None:
    bodies: tuple[object, ...] = (None, b"", {})
    for body in bodies:
        answer = fresh.ask("POST", path, body)
        assert answer.status == 200
        assert answer.items == ([] if path == V1 else [{"type": "end", "data": {}}])


def test_each_line_of_version_1_is_a_chunk_of_its_own(fresh: Connection) -> None:
    fresh.write(*[an_event(data={"n": n}) for n in range(50)])
    port = fresh.http.port
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(
            f"POST {V1} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {TOKEN}\r\n"
            "Connection: close\r\nContent-Length: 0\r\n\r\n".encode()
        )
        received = b"".join(iter(lambda: client.recv(65_536), b""))
    rest = received.partition(b"\r\n\r\n")[2]
    count = 0
    while True:
        size, _, rest = rest.partition(b"\r\n")
        if int(size, 16) == 0:
            break
        chunk, rest = rest[: int(size, 16)], rest[int(size, 16) + 2 :]
        assert chunk.count(b"\n") == 1
        assert chunk.endswith(b"\n")
        count += 1
    assert count == 50


@pytest.mark.parametrize("path", PATHS)
def test_signatures_are_not_backed_up(path: str, tmp_path: Path) -> None:
    write_signing_key(tmp_path / "key.pem")
    with (
        running_server(signing_key_file=tmp_path / "key.pem") as server,
        Connection(server.url) as connection,
    ):
        connection.write(an_event())
        assert b"signature" not in connection.ask("POST", path).body


WRITERS = 16


def write_until(url: str, ended: threading.Event, size: int) -> None:
    with Connection(url) as connection:
        while not ended.is_set():
            connection.write(*[an_event(f"/w/{size}", data={"of": size})] * size)


@pytest.mark.slow
@pytest.mark.parametrize("path", PATHS)
def test_a_backup_under_many_writers_is_a_prefix_that_ends_with_a_write(path: str) -> None:
    with running_server() as server, Connection(server.url) as connection:
        for _ in range(20):
            connection.write(*[an_event(data={"of": 1})] * 500)
        ended = threading.Event()
        writing = [
            Background(partial(write_until, server.url, ended, size))
            for size in range(1, WRITERS + 1)
        ]
        answers = [connection.ask("POST", path) for _ in range(3)]
        ended.set()
        for each in writing:
            each.result()
        all_events = connection.read_all()

    counts = []
    for answer in answers:
        events = backed_up(answer, path)
        check_chain_of(events)
        counts.append(len(events))
        # A prefix of what there is in the end.
        assert [hash_ for _, hash_ in events] == [
            each["hash"] for each in all_events[: len(events)]
        ]
        # No write is torn: events of one write stand together, as many as it had.
        tail = [json.loads(event["data"])["of"] for event, _ in events[10_000:]]
        position = 0
        while position < len(tail):
            size = tail[position]
            assert tail[position : position + size] == [size] * size
            position += size
    # Writing went on meanwhile.
    assert counts == sorted(set(counts))
    assert counts[-1] < len(all_events)


# Increments.


def increment(connection: Connection, last: Any) -> Answer:
    return connection.ask("POST", V2, {"lastBackedUpEvent": last})


def test_an_increment_has_what_is_behind_an_event_and_all_schemas(fresh: Connection) -> None:
    fresh.write(*[an_event(data={"n": n}) for n in range(5)])
    full = backed_up(fresh.ask("POST", V2), V2)
    fresh.write(*[an_event(data={"n": n}) for n in range(3)])
    fresh.v1("register-event-schema", {"eventType": GOOD_TYPE, "schema": SCHEMA})

    answer = increment(fresh, {"id": "4", "hash": full[-1][1]})
    rest = backed_up(answer, V2)
    assert [event["id"] for event, _ in rest] == ["5", "6", "7"]
    assert rest[0][0]["predecessorhash"] == full[-1][1]
    assert answer.items[0]["type"] == "schema"
    assert answer.items[-1]["type"] == "end"

    # Nothing new is an increment, too.
    last = rest[-1]
    answer = increment(fresh, {"id": last[0]["id"], "hash": last[1]})
    assert [item["type"] for item in answer.items] == ["schema", "end"]


GOOD_HASH = "0" * 64


@pytest.mark.parametrize(
    "last, code, field",
    [
        ({}, "last-backed-up-event-missing", "lastBackedUpEvent.id"),
        ({"id": "0"}, "last-backed-up-event-missing", "lastBackedUpEvent.hash"),
        ({"hash": GOOD_HASH}, "last-backed-up-event-missing", "lastBackedUpEvent.id"),
        ({"id": "", "hash": GOOD_HASH}, "last-backed-up-event-missing", "lastBackedUpEvent.id"),
        ({"id": "x", "hash": GOOD_HASH}, "event-id-malformed", "lastBackedUpEvent.id"),
        ({"id": "-1", "hash": GOOD_HASH}, "event-id-malformed", "lastBackedUpEvent.id"),
        ({"id": "0", "hash": "0" * 63}, "event-hash-malformed", "lastBackedUpEvent.hash"),
        ({"id": "0", "hash": "g" * 64}, "event-hash-malformed", "lastBackedUpEvent.hash"),
        ({"id": "0", "hash": GOOD_HASH}, "last-backed-up-event-mismatched", None),
        ({"id": "2", "hash": GOOD_HASH}, "last-backed-up-event-unknown", None),
        ({"id": str(2**63 - 1), "hash": GOOD_HASH}, "last-backed-up-event-unknown", None),
    ],
)
def test_an_event_that_is_not_the_last_one_backed_up_is_refused(
    last: Any, code: str, field: str | None, fresh: Connection
) -> None:
    fresh.write(an_event(), an_event())

    answer = increment(fresh, last)

    assert answer.status == 200
    assert answer.code == code
    if field is None:
        assert answer.error["details"] == {"eventId": last["id"]}
    else:
        assert answer.error["details"]["field"] == field


@pytest.mark.parametrize(
    "path, body",
    [
        (V1, {"lastBackedUpEvent": {"id": "0", "hash": GOOD_HASH}}),
        (V2, {"lastBackedUpEvent": None}),
        (V2, {"lastBackedUpEvent": {"id": 0}}),
        (V2, {"since": "0"}),
        (V2, []),
    ],
)
def test_a_body_of_another_shape_is_malformed(path: str, body: object, fresh: Connection) -> None:
    answer = fresh.ask("POST", path, body)

    assert answer.status == 400
    assert answer.text.startswith("malformed request body: ")


# Clients and disks that are not as they should be.


def rss(server: RunningServer) -> int:
    """Return how much memory a server has, in bytes."""
    status = Path(f"/proc/{server.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


def begun_backup(server: RunningServer, path: str) -> socket.socket:
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    client.connect(("127.0.0.1", server.port))
    client.sendall(
        f"POST {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {TOKEN}\r\n"
        "Content-Length: 0\r\n\r\n".encode()
    )
    assert client.recv(12) == b"HTTP/1.1 200"
    return client


@pytest.mark.slow
@pytest.mark.parametrize("path", PATHS)
def test_clients_that_do_not_take_their_backups_cost_little_and_hold_nobody_up(path: str) -> None:
    with running_server() as server, Connection(server.url) as connection:
        text = "x" * 2_000
        for _ in range(20):
            connection.write(*[an_event(data={"text": text})] * 500)
        before = rss(server)
        with ExitStack() as stack:
            for _ in range(40):
                stack.enter_context(begun_backup(server, path))
            # Everybody else goes on.
            connection.write(an_event("/late"))
            assert connection.v1("read-subjects", {"baseSubject": "/late"}).status == 200
            events = backed_up(connection.ask("POST", path), path)
            assert len(events) == 10_001
            assert rss(server) - before < 120 * 1024 * 1024


@pytest.mark.parametrize("path", PATHS)
def test_a_disk_that_does_not_give_the_data_ends_a_backup_with_an_error(
    path: str, tmp_path: Path
) -> None:
    control = tmp_path / "condition"
    with (
        running_server(entry_point=entry_point(control)) as server,
        Connection(server.url) as connection,
    ):
        connection.v1("register-event-schema", {"eventType": GOOD_TYPE, "schema": SCHEMA})
        connection.write(an_event())
        set_condition(control, Condition.UNREADABLE)

        answer = connection.ask("POST", path)
        schema, error = answer.items
        assert (answer.status, schema["type"]) == (200, "schema")
        reason = "reading the data directory failed: Input/output error"
        if path == V1:
            assert error == {"type": "error", "payload": reason}
        else:
            assert (answer.code, answer.error["description"]) == ("backup-failed", reason)

        set_condition(control, Condition.GOOD)
        assert len(backed_up(connection.ask("POST", path), path)) == 1


@pytest.mark.parametrize("path", PATHS)
def test_a_log_that_was_damaged_ends_a_backup_with_an_error(path: str) -> None:
    with running_server() as server, Connection(server.url) as connection:
        connection.write(*[an_event(data={"n": n}) for n in range(10)])
        (segment,) = (server.data_directory / "log").iterdir()
        content = segment.read_bytes()
        with segment.open("r+b") as file:
            file.seek(content.rindex(b'"source"'))
            file.write(b'"soXrce"')

        answer = connection.ask("POST", path)
        error = answer.items[-1]
        assert error["type"] == "error"
        if path == V2:
            assert answer.code == "backup-failed"
            error = {"payload": answer.error["description"]}
        assert "damaged" in error["payload"]
        assert server.wait_for_log("reading the data directory failed")["level"] == "error"


@pytest.mark.parametrize("path", PATHS)
def test_a_server_that_stops_says_that_a_backup_is_not_whole(path: str) -> None:
    with running_server() as server:
        with Connection(server.url) as connection:
            text = "x" * 2_000
            for _ in range(20):
                connection.write(*[an_event(data={"text": text})] * 500)
        with begun_backup(server, path) as client:
            server.ask_to_stop()
            server.wait_for_log("stopping")
            rest = b"".join(iter(lambda: client.recv(1 << 20), b""))
        assert server.wait() == 0

    lines = [line for line in rest.split(b"\n") if line.startswith(b'{"type":"error"')]
    assert len(lines) == 1
    item = json.loads(lines[0])
    if path == V1:
        assert item == {"type": "error", "payload": "server is shutting down"}
    else:
        assert item["data"]["code"].endswith("/server-shutting-down")
    # HTTP is whole: it is the backup that is not.
    assert rest.endswith(b"0\r\n\r\n")


def test_a_backup_goes_on_in_read_only_mode(fresh: Connection) -> None:
    fresh.write(an_event())
    fresh.v1("put-into-read-only-mode")

    assert len(backed_up(fresh.ask("POST", V1), V1)) == 1


def test_the_same_events_make_the_same_bytes(fresh: Connection) -> None:
    fresh.write(*[an_event(data={"n": n}) for n in range(100)])

    first, second = (sha256(fresh.ask("POST", V1).body).digest() for _ in range(2))
    assert first == second
