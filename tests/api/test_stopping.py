"""A server that is asked to stop answers what it began, tells its observers, and ends."""

import contextlib
import http.client
import signal
import socket
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.api import Connection, an_event
from tests.support.chain import check_chain
from tests.support.faulty_server import Condition, entry_point, set_condition
from tests.support.server import RunningServer, running_server, starting_server, wait_until
from tests.support.threads import Background

SIGNALS = (signal.SIGTERM, signal.SIGINT)

# What is said to be the longest time that stopping takes, and some for a busy machine.
STOP_SECONDS_MAX = 15.0


def write_until_refused(url: str, version: str) -> list[dict[str, Any]]:
    """Write as fast as possible, and return what was acknowledged; never is anything in doubt."""
    acknowledged: list[dict[str, Any]] = []
    with contextlib.suppress(ConnectionError), Connection(url) as connection:
        while True:
            write = connection.v1 if version == "v1" else connection.v2
            try:
                answer = write("write-events", {"events": [an_event(), an_event()]})
            except http.client.RemoteDisconnected:
                # Closed between two requests.
                return acknowledged
            if answer.status == 503:
                assert answer.text == "server is shutting down\n"
                return acknowledged
            assert answer.status == 200
            acknowledged += answer.events
    return acknowledged


def observe_to_end(url: str, version: str) -> list[Any]:
    with Connection(url) as connection:
        return list(connection.observe(version))


@pytest.mark.parametrize("number", SIGNALS)
def test_every_write_that_was_answered_is_stored_and_every_observer_is_told(
    tmp_path: Path, number: signal.Signals
) -> None:
    with running_server(data_directory=tmp_path) as server:
        url = server.url
        writing = [Background(lambda v=v: write_until_refused(url, v)) for v in ("v1", "v2") * 3]
        observing = {v: Background(lambda v=v: observe_to_end(url, v)) for v in ("v1", "v2")}
        with Connection(url) as connection:
            wait_until(lambda: len(connection.read_all()) >= 200)

        started = time.monotonic()
        server.ask_to_stop(number)

        assert server.wait() == 0
        assert time.monotonic() - started < STOP_SECONDS_MAX
        assert [line["message"] for line in server.log[-2:]] == ["stopping", "stopped"]
        assert server.log[-2]["reason"] == number.name
        acknowledged = [event for background in writing for event in background.result()]
        last_items = {version: background.result()[-1] for version, background in observing.items()}

    assert last_items == {
        "v1": {"type": "error", "payload": {"error": "server is shutting down"}},
        "v2": {
            "type": "error",
            "data": {
                "code": "https://docs.eventsourcingdb.io/errors/server-shutting-down",
                "description": "the server is shutting down",
                "details": {},
            },
        },
    }
    with running_server(data_directory=tmp_path) as server, Connection(server.url) as connection:
        body = {"subject": "/", "options": {"recursive": True}}
        stored = check_chain(connection.v1("read-events", body).body.splitlines())
    for event in acknowledged:
        assert stored[int(event["id"])] == event


def test_a_write_in_the_sync_is_answered_and_new_requests_are_refused(tmp_path: Path) -> None:
    condition = tmp_path / "condition"
    with running_server(entry_point=entry_point(condition)) as server:
        late = Connection(server.url)
        # Open before the end begins.
        assert late.ask("GET", "/api/v1/ping").status == 200
        set_condition(condition, Condition.HOLDING)
        head = (
            f"POST /api/v1/write-events HTTP/1.1\r\nHost: a\r\n"
            f"Authorization: Bearer {server.token}\r\nContent-Length: "
        )
        body = (
            '{"events":[{"source":"a","subject":"/a","type":"io.everlog.test.happened","data":{}}]}'
        )
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
            client.sendall(f"{head}{len(body)}\r\n\r\n{body}".encode())
            wait_until(lambda: is_writing(server))

            server.ask_to_stop()
            server.wait_for_log("stopping")
            refused = ask_late(late)
            set_condition(condition, Condition.GOOD)

            assert client.recv(65_536).startswith(b"HTTP/1.1 200 ")
        assert refused in {503, None}
        assert server.wait() == 0
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", server.port), timeout=20)


def is_writing(server: RunningServer) -> bool:
    """Tell whether bytes of the write have reached the log's file."""
    segments = server.data_directory.rglob("*.ndjson")
    return any(b"io.everlog.test.happened" in path.read_bytes() for path in segments)


def ask_late(connection: Connection) -> int | None:
    """Return the status of an answer, None where the connection is closed already."""
    try:
        return connection.ask("GET", "/api/v1/ping").status
    except (http.client.RemoteDisconnected, ConnectionError):
        return None


def test_a_signal_right_after_the_start_stops_the_server_as_any_other() -> None:
    for _ in range(5):
        with running_server(is_temporary=True) as server:
            assert server.stop() == 0


@pytest.mark.parametrize("second", SIGNALS)
def test_a_second_signal_ends_the_process_at_once(tmp_path: Path, second: signal.Signals) -> None:
    condition = tmp_path / "condition"
    with running_server(entry_point=entry_point(condition)) as server:
        set_condition(condition, Condition.HOLDING)
        writing = Background(lambda: write_until_refused(server.url, "v1"))
        wait_until(lambda: is_writing(server))
        server.ask_to_stop()
        server.wait_for_log("stopping")

        server.ask_to_stop(second)

        assert server.wait() == 1
        assert writing.result() == []


def test_an_idle_server_stops_at_once() -> None:
    with running_server() as server, Connection(server.url) as connection:
        assert connection.ask("GET", "/api/v1/ping").status == 200
        started = time.monotonic()

        assert server.stop() == 0

        assert time.monotonic() - started < 3.0


@pytest.mark.slow
def test_a_client_that_does_not_read_cannot_keep_the_server_alive() -> None:
    with running_server() as server:
        with Connection(server.url) as connection:
            large = an_event(data={"text": "x" * 60_000})
            for _ in range(3):
                connection.write(*[large] * 100)
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            client.settimeout(20)
            client.connect(("127.0.0.1", server.port))
            body = '{"subject":"/","options":{"recursive":true}}'
            client.sendall(
                f"POST /api/v1/observe-events HTTP/1.1\r\nHost: a\r\n"
                f"Authorization: Bearer {server.token}\r\n"
                f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
            )
            assert client.recv(100)
            started = time.monotonic()

            assert server.stop() == 0

            assert time.monotonic() - started < STOP_SECONDS_MAX


def test_a_temporary_directory_is_gone_at_the_end() -> None:
    with running_server(is_temporary=True) as server:
        opened = server.wait_for_log("the data directory is open")
        directory = Path(opened["directory"])
        assert directory.is_dir()

        assert server.stop() == 0

    assert not directory.exists()


@pytest.mark.parametrize("number", SIGNALS)
def test_a_server_that_still_opens_its_log_stops_at_once(
    tmp_path: Path, number: signal.Signals
) -> None:
    condition = tmp_path / "condition"
    command = entry_point(condition)
    set_condition(condition, Condition.HOLDING)
    environment = {"TMPDIR": str(tmp_path)}

    with starting_server(is_temporary=True, entry_point=command, environment=environment) as server:
        server.wait_for_log("starting")
        wait_until(lambda: any(tmp_path.glob("everlog-*/*")))
        server.process.send_signal(number)

        assert server.wait() == 0
        assert [line["message"] for line in server.log][-2:] == ["stopping", "stopped"]
        assert server.log[-2]["reason"] == number.name
        assert server.errors == []
    assert not any(tmp_path.glob("everlog-*"))


def test_a_hangup_waits_until_the_server_listens(tmp_path: Path) -> None:
    condition = tmp_path / "condition"
    command = entry_point(condition)
    set_condition(condition, Condition.HOLDING)
    token_file = tmp_path / "token"
    token_file.write_text("the-first-token")

    with starting_server(
        f"--api-token-file={token_file}",
        data_directory=tmp_path / "data",
        entry_point=command,
        environment={"EVERLOG_API_TOKEN": ""},
    ) as server:
        server.wait_for_log("starting")
        wait_until((tmp_path / "data").exists)
        token_file.write_text("the-second-token")
        server.process.send_signal(signal.SIGHUP)
        set_condition(condition, Condition.GOOD)

        server.wait_for_log("listening")
        wait_until(lambda: can_enter(server.url, "the-second-token"))
        assert not can_enter(server.url, "the-first-token")
        assert server.stop() == 0


def can_enter(url: str, token: str) -> bool:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(f"{parts.hostname}:{parts.port}")
    with contextlib.closing(connection):
        headers = {"Authorization": f"Bearer {token}"}
        connection.request("POST", "/api/v1/verify-api-token", headers=headers)
        return connection.getresponse().status == http.HTTPStatus.OK
