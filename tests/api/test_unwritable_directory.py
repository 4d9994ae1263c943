"""`--read-only` on what cannot be written to: a mount for reading, and a directory of others."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.api import Connection, an_event
from tests.support.chain import check_chain
from tests.support.server import (
    EVERLOG,
    RunningServer,
    running_server,
    starting_server,
)

# Someone who may not do everything, even if the tests run as someone who may: CAP_DAC_OVERRIDE and
# CAP_DAC_READ_SEARCH are given up for good.
BOUND = (
    "import ctypes, os, sys\n"
    "libc = ctypes.CDLL(None, use_errno=True)\n"
    "if os.geteuid() == 0:\n"
    "    for capability in (1, 2):\n"
    "        assert libc.prctl(24, capability, 0, 0, 0) == 0\n"
    "os.execv(sys.argv[1], sys.argv[1:])\n"
)
ENTRY_POINT = (sys.executable, "-c", BOUND, *EVERLOG)

NOTICE = "the data directory cannot be written to: it is served as it is"
SCHEMA = {"type": "object", "properties": {}, "additionalProperties": True}
# Long enough for a process of its own.
LONG_QUERY = "FROM e IN events PROJECT INTO e.id" + " " * 5_000


def content_of(directory: Path) -> dict[str, tuple[str, int]]:
    return {
        str(path.relative_to(directory)): (
            hashlib.sha256(path.read_bytes()).hexdigest(),
            path.stat().st_mtime_ns,
        )
        for path in directory.rglob("*")
        if path.is_file()
    }


def fill(directory: Path, *, is_killed: bool) -> None:
    with running_server(data_directory=directory) as server, Connection(server.url) as connection:
        for number in range(20):
            connection.write(an_event(f"/books/{number}", data={"number": number}))
        body = {"eventType": "io.everlog.test.other", "schema": SCHEMA}
        assert connection.v1("register-event-schema", body).status == 200
        if is_killed:
            server.kill()
        else:
            assert server.stop() == 0


@contextmanager
def unwritable(directory: Path) -> Iterator[None]:
    paths = [directory, *directory.rglob("*")]
    modes = [path.stat().st_mode for path in paths]
    try:
        for path in paths:
            path.chmod(0o500 if path.is_dir() else 0o400)
        yield
    finally:
        for path, mode in zip(paths, modes, strict=True):
            path.chmod(mode)


@pytest.fixture(params=[False, True], ids=["stopped", "killed"])
def directory(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    data = tmp_path / "data"
    fill(data, is_killed=request.param)
    return data


def check_reads(server: RunningServer) -> None:
    with Connection(server.url) as connection:
        body = {"subject": "/", "options": {"recursive": True}}
        lines = connection.v1("read-events", body).body.splitlines()
        assert len(check_chain(lines)) == 20
        few = connection.v1("read-events", {"subject": "/books/7", "options": {"recursive": False}})
        assert few.body.count(b"\n") == 1
        assert connection.v1("read-subjects", {"baseSubject": "/"}).body.count(b"\n") == 22
        assert connection.v1("read-event-types").body.count(b"\n") == 2
        for query in (LONG_QUERY, LONG_QUERY.strip()):
            answer = connection.v1("run-eventql-query", {"query": query})
            assert answer.body.count(b'"row"') == 20
        observing = connection.observe("v1")
        assert next(observing)["type"] == "event"


def check_refuses(server: RunningServer) -> None:
    with Connection(server.url) as connection:
        assert connection.v1("write-events", {"events": [an_event()]}).status == 503
        answer = connection.v2("write-events", {"events": [an_event()]})
        assert answer.code == "store-read-only"
        body = {"eventType": "io.everlog.test.more", "schema": SCHEMA}
        assert connection.v1("register-event-schema", body).status == 503
        health = connection.ask("GET", "/api/v1/health").json
        (check,) = health["checks"]["store:writability"]
        assert (check["observedValue"], check["status"]) == ("read-only", "warn")


def check_serves(server: RunningServer) -> None:
    assert server.wait_for_log(NOTICE)["level"] == "warn"
    assert server.wait_for_log("the data directory is open")["eventCount"] == 20
    check_reads(server)
    check_refuses(server)
    assert server.stop() == 0
    assert server.errors == []
    assert {line["level"] for line in server.log} <= {"info", "warn"}


def test_a_directory_that_may_only_be_read_is_served(directory: Path) -> None:
    before = content_of(directory)
    with unwritable(directory):
        with running_server(
            "--read-only", data_directory=directory, entry_point=ENTRY_POINT
        ) as server:
            check_serves(server)
        assert content_of(directory) == before
        # Without the flag nobody expects that writes are refused.
        with starting_server(data_directory=directory, entry_point=ENTRY_POINT) as server:
            assert server.wait() == 3
            assert str(directory) in server.log[-1]["message"]
    assert content_of(directory) == before

    with running_server(data_directory=directory) as server, Connection(server.url) as connection:
        assert connection.write(an_event())[0]["id"] == "20"


@pytest.mark.parametrize("name", ["lock", "durable", "log", "everlog.json"])
def test_one_file_that_cannot_be_written_to_is_enough(tmp_path: Path, name: str) -> None:
    data = tmp_path / "data"
    fill(data, is_killed=False)
    path = data / name
    mode = path.stat().st_mode
    path.chmod(mode & 0o500)
    with running_server("--read-only", data_directory=data, entry_point=ENTRY_POINT) as server:
        check_serves(server)
    path.chmod(mode)


def test_a_torn_end_stays_where_it_is(tmp_path: Path) -> None:
    data = tmp_path / "data"
    fill(data, is_killed=True)
    (segment,) = (data / "log").iterdir()
    segment.write_bytes(segment.read_bytes().rstrip(b"\0") + b'{"torn')
    before = content_of(data)

    with unwritable(data):
        with running_server("--read-only", data_directory=data, entry_point=ENTRY_POINT) as server:
            check_serves(server)
        assert content_of(data) == before


def test_a_server_that_writes_and_one_that_reads_keep_each_other_out(tmp_path: Path) -> None:
    data = tmp_path / "data"
    fill(data, is_killed=False)
    # Both see the same files, one of them may not write: as with two mounts.
    (data / "everlog.json").chmod(0o400)
    flags = {"data_directory": data, "entry_point": ENTRY_POINT}
    with running_server("--read-only", **flags) as server:
        server.wait_for_log(NOTICE)
        with running_server("--read-only", **flags) as other:
            check_serves(other)
        with starting_server(data_directory=data) as writing:
            assert writing.wait() == 3
            assert "in use by another process" in writing.log[-1]["message"]
        check_serves(server)
    with running_server(data_directory=data), starting_server("--read-only", **flags) as server:
        assert server.wait() == 3
        assert "in use by another process" in server.log[-1]["message"]


def test_where_it_can_be_written_to_it_is_opened_as_ever(tmp_path: Path) -> None:
    data = tmp_path / "data"
    fill(data, is_killed=True)
    (segment,) = (data / "log").iterdir()
    segment.write_bytes(segment.read_bytes().rstrip(b"\0") + b'{"torn')

    with running_server("--read-only", data_directory=data) as server:
        server.wait_for_log("an unfinished write at the end of the log was removed")
        check_reads(server)
        assert server.stop() == 0
    assert NOTICE not in [line["message"] for line in server.log]


def can_mount() -> bool:
    """Tell whether the system lets us have mounts of our own."""
    done = subprocess.run(
        ["unshare", "--mount", "--map-root-user", "true"],
        capture_output=True,
        check=False,
    )
    return done.returncode == 0


def test_a_mount_for_reading_is_served(directory: Path) -> None:
    """Where the system lets nobody mount, rights are taken away instead, which is tested above."""
    if not can_mount():
        return
    script = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
    entry_point = (
        *("unshare", "--mount", "--map-root-user", "sh", "-c", script, str(directory)),
        *(sys.executable, "-s", "-m", "everlog"),
    )
    before = content_of(directory)
    with running_server("--read-only", data_directory=directory, entry_point=entry_point) as server:
        check_serves(server)
    assert content_of(directory) == before
    with starting_server(data_directory=directory, entry_point=entry_point) as server:
        assert server.wait() == 3
        assert str(directory) in server.log[-1]["message"]
    assert os.access(directory, os.W_OK)
