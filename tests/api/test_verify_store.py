"""verify-store beside writes: what is sound, what is damaged, and what may become of an audit."""

import json
import os
import re
import signal
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.support.api import Connection, an_event
from tests.support.running_audits import (
    SOUND,
    V2_PATH,
    ask,
    edit_file,
    edit_memory,
    first_segment,
    held_audit,
    hold,
    is_gone,
    items_of,
    release,
    rewritten,
    verify,
)
from tests.support.server import RunningServer, running_server, wait_until
from tests.support.threads import Background

FIRST = f"log/{0:020}.ndjson"

ONE, TWO = "io.everlog.test.one", "io.everlog.test.two"
SCHEMA = {"type": "object", "properties": {"n": {"type": "number"}}, "required": ["n"]}

COUNT = 40


def fill(server: RunningServer) -> list[dict[str, Any]]:
    with Connection(server.url) as connection:
        body = {"eventType": ONE, "schema": SCHEMA}
        assert connection.v1("register-event-schema", body).status == 200
        for number in range(COUNT):
            type_ = ONE if number % 2 == 0 else TWO
            connection.write(an_event(f"/books/{number % 10}", type_, data={"n": number}))
        return connection.read_all()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Return a data directory with a snapshot of its index."""
    with running_server(data_directory=tmp_path / "data") as server:
        fill(server)
        assert server.stop() == 0
    return tmp_path / "data"


@pytest.fixture
def server(directory: Path) -> Iterator[RunningServer]:
    with running_server(data_directory=directory) as server:
        yield server


def test_an_empty_store_is_sound_and_so_is_one_that_has_no_snapshot_yet(tmp_path: Path) -> None:
    with running_server(data_directory=tmp_path / "data") as server:
        assert verify(server) == SOUND
        fill(server)
        assert verify(server) == SOUND


@pytest.mark.slow
def test_a_store_is_sound_while_others_write_to_it(tmp_path: Path) -> None:
    is_over = threading.Event()

    def write_on(url: str, name: int) -> int:
        count = 0
        with Connection(url) as connection:
            while not is_over.is_set():
                subject = f"/writers/{name}/{count % 97}"
                connection.write(an_event(subject), an_event(f"{subject}/more", ONE))
                count += 2
        return count

    with running_server(data_directory=tmp_path / "data") as server:
        url = server.url
        writing = [Background(lambda n=n: write_on(url, n)) for n in range(4)]
        found = [verify(server) for _ in range(5)]
        found += [items_of(ask(server, "v2", "verify-store"))[-2]["data"] for _ in range(3)]
        is_over.set()
        written = sum(background.result() for background in writing)

        assert found == [SOUND] * 8
        assert verify(server) == SOUND
        last = json.loads(ask(server, "v1", "audit-history").text)
        assert int(last["latestEventId"]) == written - 1


def test_what_comes_after_it_began_is_not_looked_at(server: RunningServer) -> None:
    with held_audit(server, "v2", "audit-history") as (_, asking):
        pass
    first = items_of(asking.result())[-2]["data"]["lastAuditedEvent"]
    assert first["id"] == str(COUNT - 1)


# Each row: a file, what is done to it, and what is said of it.
DAMAGE: dict[str, tuple[str, Callable[[bytes], bytes], str]] = {
    "data": (
        FIRST,
        lambda text: text.replace(b'"data":{"n":7}', b'"data":{"n":8}', 1),
        rf"data: {FIRST} at byte \d+, event 7: its hash is not that of its content \[hash\]",
    ),
    "hash": (
        FIRST,
        lambda text: re.sub(rb'"id":"8",(.*)"hash":".', rb'"id":"8",\1"hash":"g', text, count=1),
        rf"data: {FIRST} at byte \d+, event 8: its hash is not that of its content \[hash\]",
    ),
    "mark": (
        FIRST,
        lambda text: text.replace(b"}}  \n", b"}}\t \n", 1),
        rf"data: {FIRST} at byte 0, event 0: .* says it in another form \[broken-line\]",
    ),
    "id": (
        FIRST,
        lambda text: text.replace(b'"id":"12"', b'"id":"21"', 1),
        rf"data: {FIRST} at byte \d+, event 12: it has the id '21' \[id\]",
    ),
    "schema": (
        "schemas.ndjson",
        lambda text: text.replace(b'"number"', b'"string"', 1),
        r"data: schemas.ndjson at byte 0: the event schema in line 1 .* \[schema\]",
    ),
    "column": (
        "index/subject",
        lambda cells: cells[:20] + bytes([cells[20] ^ 1]) + cells[21:],
        r"index: index/subject at byte 20, event 5: its cell says \d+, but .* \[column\]",
    ),
    "name": (
        "index/event-types",
        lambda names: names.replace(b"one", b"eno"),
        r"index: index/event-types: its names do not have the checksum .* \[names\]",
    ),
    "format": (
        "everlog.json",
        lambda text: text.replace(b"}\n", b"} "),
        r"data: everlog.json: the file is damaged: .* \[format\]",
    ),
}


def test_files_that_were_taken_away_are_named(server: RunningServer) -> None:
    for name, said in (
        ("everlog.json", "data: everlog.json: it is missing, or that of another version"),
        ("schemas.ndjson", "data: schemas.ndjson at byte 0: the file has 0 bytes, but "),
        ("index/subject", "index: index/subject: it is missing [column]"),
    ):
        path = server.data_directory / name
        path.rename(server.data_directory.parent / "taken")
        [error] = verify(server)["errors"]
        assert error.startswith(said)
        (server.data_directory.parent / "taken").rename(path)
    assert verify(server) == SOUND


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_in_the_files_of_a_running_server_is_found_and_named(
    server: RunningServer, what: str
) -> None:
    name, edit, said = DAMAGE[what]
    edit_file(server.data_directory / name, edit)

    found = verify(server)

    assert any(re.search(said, text) for text in found["errors"]), found
    assert found["warnings"] == []
    # It is the same for who asks in version 2, and nothing was changed by looking.
    item, end = items_of(ask(server, "v2", "verify-store"))
    assert item == {"type": "verification", "data": found}
    assert end == {"type": "end", "data": {}}


def test_a_lost_bound_is_told_while_the_server_has_another(server: RunningServer) -> None:
    path = server.data_directory / "durable"
    edit_file(path, lambda content: bytes(len(content)))
    [warning] = verify(server)["warnings"]
    assert warning.startswith("notice: durable at byte 0: there is none")

    edit_file(path, lambda content: b"x" * len(content))
    [error] = verify(server)["errors"]
    assert error.startswith("data: durable at byte 0: its checksum is wrong")


def test_a_log_that_was_written_anew_with_hashes_that_fit_is_told(server: RunningServer) -> None:
    def rewrite(text: bytes) -> bytes:
        log = text.rstrip(b"\0")
        return rewritten(log, 7, b'"n":7', b'"n":8') + bytes(len(text) - len(log))

    edit_file(first_segment(server), rewrite)

    # The index was saved with another hash, too.
    errors = [error for error in verify(server)["errors"] if "[checkpoint]" not in error]
    [error] = errors
    assert error.startswith(f"data: log, event {COUNT - 1}: it is as it should be, but not what")
    assert error.endswith(" [head]")


MEMORY = {
    "offset": (8 * 5, rb"\x01\0\0\0\0\0\0\0", "offset", 5),
    "subject": (4 * 6, b"\xff\0\0\0", "subject", 6),
    "type": (4 * 7, b"\xff\0\0\0", "type", 7),
    "previous": (8 * 30, b"\xff\0\0\0\0\0\0\0", "previous", 30),
}


@pytest.mark.parametrize("column", MEMORY)
def test_a_wrong_cell_in_the_memory_of_the_server_is_found(
    server: RunningServer, column: str
) -> None:
    offset, content, name, event_id = MEMORY[column]
    edit_memory(server, column, offset, content[:8])

    found = verify(server)

    [error] = found["errors"]
    place = f"index: {name} in the memory of the server at byte {offset}, event {event_id}: "
    assert error.startswith(place)
    assert error.endswith(" [memory]")


def test_a_wrong_name_of_a_subject_in_the_memory_of_the_server_is_found(
    server: RunningServer,
) -> None:
    # The root's segment is empty, and that of the next subject is "books".
    edit_memory(server, "subject-segments", 1, b"B")
    [error] = verify(server)["errors"]
    assert error.startswith("index: subject-segments in the memory of the server: ")
    assert "the name of subject 1 does not end with 'books'" in error

    edit_memory(server, "subject-segments", 1, b"b")
    edit_memory(server, "parent", 4 * 3, b"\x02\0\0\0")
    [error] = verify(server)["errors"]
    assert "the subject above subject 3 is 1, not 2" in error


def test_an_event_that_does_not_match_its_schema_is_found(server: RunningServer) -> None:
    # The line of the schema has a hash of its own, so that it is made anew, as a bug could.
    text = (server.data_directory / "schemas.ndjson").read_bytes()
    payload = re.search(rb'"payload":(.*),"hash":', text)
    assert payload is not None
    changed = payload[1].replace(b'"number"', b'"string"')
    line = b'{"type":"schema","payload":%b,"hash":"%b"}\n' % (
        changed,
        sha256(changed).hexdigest().encode(),
    )
    edit_file(server.data_directory / "schemas.ndjson", lambda _: line)

    errors = verify(server)["errors"]

    assert len(errors) == COUNT // 2
    said = rf"data: {FIRST} at byte 0, event 0: it does not match the event schema of '{ONE}'"
    assert re.match(said, errors[0])


def test_of_many_findings_a_thousand_are_told_and_how_many_there_are(tmp_path: Path) -> None:
    with running_server(data_directory=tmp_path / "data") as server:
        with Connection(server.url) as connection:
            connection.write(*[an_event(f"/a/{number}") for number in range(1_200)])
        edit_file(
            first_segment(server), lambda text: text.replace(b"everlog.test", b"everlog.tset")
        )

        errors = verify(server)["errors"]

        assert len(errors) == 1_001
        assert errors[-1] == "and 200 more, which are not told"
        assert all("[hash]" in error for error in errors[:-1])
        line = server.wait_for_log("an audit has found that not everything is as it was written")
        assert (line["level"], line["errorCount"], line["eventCount"]) == ("error", 1_200, 1_200)


def test_who_waits_is_told_that_it_goes_on(server: RunningServer) -> None:
    for version, path in (("v1", "/api/v1"), ("v2", V2_PATH)):
        with Connection(server.url) as connection:
            pid: int | None = None
            while pid is None:
                response = connection.send("POST", f"{path}/verify-store")
                pid = hold(server)
                first = b"" if pid is None else response.read(10)
                if pid is not None:
                    release(pid)
                rest = response.read()
        if version == "v1":
            assert first[:1] == b" "
            assert json.loads(first + rest) == SOUND
        else:
            heartbeat, *_, item, end = map(json.loads, (first + rest).splitlines())
            assert heartbeat == {"type": "heartbeat", "data": {}}
            assert (item["data"], end["type"]) == (SOUND, "end")


def test_one_audit_runs_at_a_time_and_others_are_told_so(server: RunningServer) -> None:
    with held_audit(server, "v1", "verify-store") as (_, asking):
        for version in ("v1", "v2"):
            for name in ("verify-store", "audit-history"):
                answer = ask(server, version, name)
                assert answer.status == 503
                assert answer.text == "an audit is running already: ask again when it has ended\n"
        with Connection(server.url) as connection:
            connection.write(an_event())
    assert asking.result().json == SOUND
    assert verify(server) == SOUND


@pytest.mark.parametrize(
    "path", ["/api/v1/verify-store", f"{V2_PATH}/verify-store", f"{V2_PATH}/audit-history"]
)
def test_a_client_that_goes_away_ends_its_audit(server: RunningServer, path: str) -> None:
    check_gone_client_ends_audit(server, path, is_reset=False)


def test_a_client_that_goes_away_before_it_was_sent_anything_is_noticed_by_its_reset(
    server: RunningServer,
) -> None:
    # One that only closes may still read: it would get its answer.
    check_gone_client_ends_audit(server, "/api/v1/audit-history", is_reset=True)


def check_gone_client_ends_audit(server: RunningServer, path: str, *, is_reset: bool) -> None:
    pid: int | None = None
    while pid is None:
        with Connection(server.url) as connection:
            authorization = {"Authorization": f"Bearer {server.token}"}
            connection.http.request("POST", path, headers=authorization)
            pid = hold(server)
            if is_reset:
                linger = struct.pack("ii", 1, 0)
                connection.http.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    wait_until(lambda: is_gone(pid))
    assert verify(server) == SOUND


def test_a_server_that_stops_ends_its_audits_and_tells_who_waits(directory: Path) -> None:
    expected: dict[tuple[str, str], tuple[int, Any]] = {
        ("v1", "verify-store"): (200, {"errors": ["server is shutting down"], "warnings": []}),
        ("v1", "audit-history"): (503, "server is shutting down\n"),
        ("v2", "verify-store"): (200, "server-shutting-down"),
        ("v2", "audit-history"): (200, "server-shutting-down"),
    }
    for (version, name), (status, said) in expected.items():
        with running_server(data_directory=directory) as server:
            with held_audit(server, version, name) as (pid, asking):
                assert server.stop() == 0
                assert is_gone(pid)
            answer = asking.result()
        assert answer.status == status
        if version == "v2":
            assert answer.code == said
        else:
            assert (answer.json if status == 200 else answer.text) == said


def test_of_a_process_that_is_killed_the_answer_says_so_and_nobody_is_harmed(
    server: RunningServer,
) -> None:
    reason = "its process was ended by SIGKILL, perhaps for lack of memory"
    message = f"the audit did not come to its end: {reason}"
    for version, name in [(v, n) for v in ("v1", "v2") for n in ("verify-store", "audit-history")]:
        with held_audit(server, version, name) as (pid, asking):
            os.kill(pid, signal.SIGKILL)
        answer = asking.result()
        if (version, name) == ("v1", "verify-store"):
            assert answer.json == {"errors": [message], "warnings": []}
        elif version == "v1":
            assert (answer.status, answer.text) == (503, f"{message}\n")
        else:
            assert answer.code == "audit-failed"
            assert answer.error["description"] == message
        if (version, name) == ("v2", "verify-store"):
            assert items_of(answer)[-2] == {"type": "verification", "data": SOUND}
    line = server.wait_for_log("an audit did not come to its end")
    assert (line["level"], line["reason"]) == ("warn", reason)
    assert verify(server) == SOUND


def test_the_process_steps_back_for_everybody(server: RunningServer) -> None:
    ranks = set()

    def has_been_seen() -> bool:
        with suppress(ProcessLookupError):
            ranks.add((os.getpriority(os.PRIO_PROCESS, pid), os.sched_getscheduler(pid)))
        return (19, os.SCHED_IDLE) in ranks

    # It may come to its end before it is looked at.
    while (19, os.SCHED_IDLE) not in ranks:
        with held_audit(server, "v1", "verify-store") as (pid, asking):
            release(pid)
            wait_until(lambda: has_been_seen() or asking.is_done)


def test_a_body_must_be_empty(server: RunningServer) -> None:
    for version in ("v1", "v2"):
        for body in (b"", b"{}", b" \n"):
            assert ask(server, version, "verify-store", body).status == 200
        answer = ask(server, version, "verify-store", {"all": True})
        assert answer.status == 400
        assert answer.text.startswith("malformed request body: Object contains unknown field `all`")
