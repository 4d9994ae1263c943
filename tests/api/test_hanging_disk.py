"""A disk that never answers: it is told of, nobody else waits for it, and the server still ends."""

import http.client
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.support.api import Connection, an_event
from tests.support.chain import check_chain
from tests.support.faulty_server import Condition, set_condition
from tests.support.hasty_server import STOP_SECONDS
from tests.support.server import RunningServer, running_server, starting_server, wait_until
from tests.support.threads import Background

# What the server takes at most here, and much for a busy machine.
STOP_SECONDS_MAX = STOP_SECONDS + 8.0

HANGING = "a commit has been waiting for the disk for long"
RESUMED = "the commit that waited for the disk has ended"
CUT = "the server was ended before it was done"


def entry_point(condition: Path | str) -> tuple[str, ...]:
    return (sys.executable, "-m", "tests.support.hasty_server", str(condition))


def write(url: str, version: str = "v1") -> int | None:
    """Return the status of one write, None if there was no answer."""
    try:
        with Connection(url) as connection:
            call = connection.v1 if version == "v1" else connection.v2
            return call("write-events", {"events": [an_event()]}).status
    except (http.client.RemoteDisconnected, ConnectionError):
        return None


def messages(server: RunningServer, beginning: str) -> list[dict[str, object]]:
    return [line for line in server.log if line["message"].startswith(beginning)]


@contextmanager
def hanging_server(tmp_path: Path) -> Iterator[tuple[RunningServer, Path, Background[int | None]]]:
    """Yield a server with one event, whose disk has been hanging since another write."""
    condition = tmp_path / "condition"
    set_condition(condition, Condition.GOOD)
    with running_server(
        entry_point=entry_point(condition), data_directory=tmp_path / "data"
    ) as server:
        assert write(server.url) == 200
        set_condition(condition, Condition.HOLDING)
        writing = Background(lambda: write(server.url))
        server.wait_for_log(HANGING)
        yield server, condition, writing


def test_a_commit_that_hangs_is_told_of_until_it_has_ended(tmp_path: Path) -> None:
    with hanging_server(tmp_path) as (server, condition, writing):
        wait_until(lambda: len(messages(server, HANGING)) >= 3)
        told = messages(server, HANGING)
        seconds = [line["seconds"] for line in told]
        assert {line["level"] for line in told} == {"warn"}
        assert seconds == sorted(seconds)
        with Connection(server.url) as connection:
            health = connection.ask("GET", "/api/v1/health")
            (check,) = health.json["checks"]["log:pendingCommit"]
            metrics = connection.ask("GET", "/api/v1/health?format=openmetrics").text

            set_condition(condition, Condition.GOOD)
            assert server.wait_for_log(RESUMED)["level"] == "info"
            assert writing.result() == 200
            assert write(server.url) == 200
            assert len(connection.read_all()) == 3
        assert server.stop() == 0
        assert messages(server, CUT) == []

    pending = next(
        line for line in metrics.splitlines() if line.startswith("everlog_commit_pending_seconds ")
    )
    assert float(pending.split()[1]) > 0.5
    assert check["observedValue"] > 0.5


def test_new_writes_are_refused_at_once_and_reads_go_on(tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {}, "additionalProperties": True}
    with hanging_server(tmp_path) as (server, condition, writing):
        with Connection(server.url) as connection:
            for version in ("v1", "v2") * 20:
                assert write(server.url, version) == 503
            body = {"eventType": "io.everlog.test.other", "schema": schema}
            refused = connection.v1("register-event-schema", body)
            assert refused.status == 503
            assert "nothing was stored" in refused.text
            assert len(connection.read_all()) == 1
            assert connection.ask("GET", "/api/v1/ping").status == 200
        set_condition(condition, Condition.GOOD)
        assert writing.result() == 200
        # Nothing of what was refused came.
        with Connection(server.url) as connection:
            assert len(connection.read_all()) == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_whose_commit_hangs_ends_when_it_is_told(
    tmp_path: Path, number: signal.Signals
) -> None:
    with hanging_server(tmp_path) as (server, _, writing):
        started = time.monotonic()
        server.ask_to_stop(number)

        assert server.wait() == 1
        assert time.monotonic() - started < STOP_SECONDS_MAX
        assert writing.result() is None
        (cut,) = messages(server, CUT)
        assert server.log[-1] == cut
        assert (cut["level"], cut["step"]) == ("fatal", "the commit on its way to the disk")
        assert server.errors == []

    data = tmp_path / "data"
    with running_server(data_directory=data) as server, Connection(server.url) as connection:
        # What was acknowledged is there, and what was not may be.
        assert len(check_chain(read(connection))) in {1, 2}


def read(connection: Connection) -> list[bytes]:
    body = {"subject": "/", "options": {"recursive": True}}
    return connection.v1("read-events", body).body.splitlines()


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    with hanging_server(tmp_path) as (server, _, _):
        server.ask_to_stop()
        server.wait_for_log("stopping")
        server.ask_to_stop()

        assert server.wait() == 1
        assert messages(server, CUT) == []


def test_a_disk_that_hangs_when_the_index_is_saved_keeps_nobody(tmp_path: Path) -> None:
    condition = tmp_path / "condition"
    set_condition(condition, Condition.GOOD)
    with running_server(
        entry_point=entry_point(condition), data_directory=tmp_path / "data"
    ) as server:
        assert write(server.url) == 200
        set_condition(condition, Condition.HOLDING)

        # Here it is the event loop that waits.
        assert server.stop() == 1
        (cut,) = messages(server, CUT)
        assert cut["step"] == "the files of the log"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_disk_that_hangs_when_the_log_is_opened_keeps_nobody(
    tmp_path: Path, number: signal.Signals
) -> None:
    condition = tmp_path / "condition"
    set_condition(condition, Condition.HOLDING)
    data = tmp_path / "data"
    with starting_server(entry_point=entry_point(condition), data_directory=data) as server:
        server.wait_for_log("starting")
        wait_until(data.exists)
        server.ask_to_stop(number)

        assert server.wait() == 0
        assert [line["message"] for line in server.log[-2:]] == ["stopping", "stopped"]
        assert server.errors == []


def sync_process_of(server: RunningServer) -> psutil.Process | None:
    children = psutil.Process(server.pid).children()
    return next((child for child in children if "everlog.sync_worker" in child.cmdline()), None)


def has_segment(process: psutil.Process) -> bool:
    return any(file.path.endswith(".ndjson") for file in process.open_files())


@contextmanager
def server_with_a_stopped_process(
    tmp_path: Path,
) -> Iterator[tuple[RunningServer, psutil.Process, list[Background[int | None]]]]:
    """Yield a server whose syncing process does not answer, in the midst of many writes."""
    with running_server(entry_point=entry_point("-"), data_directory=tmp_path / "data") as server:
        writing = [Background(lambda: write_on(server.url)) for _ in range(16)]
        wait_until(lambda: sync_process_of(server) is not None)
        syncing = sync_process_of(server)
        assert syncing is not None
        # It has been asked for a sync, so that it will be asked for the others too.
        wait_until(lambda: has_segment(syncing))
        os.kill(syncing.pid, signal.SIGSTOP)
        try:
            server.wait_for_log(HANGING)
            yield server, syncing, writing
        finally:
            if syncing.is_running():
                syncing.kill()


def write_on(url: str) -> int | None:
    """Write until that is not answered with success, and return the status of that answer."""
    while (status := write(url)) == 200:
        pass
    return status


def test_a_process_that_syncs_and_hangs_is_told_of_and_may_be_ended(tmp_path: Path) -> None:
    with server_with_a_stopped_process(tmp_path) as (server, syncing, writing):
        # An operator who knows that it is not the disk.
        syncing.kill()
        server.wait_for_log(RESUMED)
        server.wait_for_log("the process that syncs the log ended")
        wait_until(lambda: write(server.url) == 200)
        assert server.stop() == 0
        assert {background.result() for background in writing} <= {503, None}


def test_a_process_that_syncs_and_hangs_does_not_keep_the_server(tmp_path: Path) -> None:
    with server_with_a_stopped_process(tmp_path) as (server, _, writing):
        assert server.stop() == 1
        assert messages(server, CUT)
        assert {background.result() for background in writing} <= {503, None}
