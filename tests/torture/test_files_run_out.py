"""However many clients connect, the store gets the files that it needs.

The system allows few open files here, and segments are small, so that the store opens new ones all
the time. Clients that are there are answered, those that are too many are told so or turned away,
and when they have left, others are served again.
"""

import errno
import socket
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
import pytest

from everlog.domain.errors import DiskFullError
from tests.support.api import Connection, an_event
from tests.support.disks import FailingDisk, Fault, Kind
from tests.support.engines import open_log, positions_of, read
from tests.support.events import a_candidate, seal, stage, store
from tests.support.planted_bugs import Bug
from tests.support.rack_server import Plan, entry_point
from tests.support.server import RunningServer, running_server, wait_until
from tests.support.workload import GONE

FILES = 256
CLIENTS = 400

WRITES = 30
# About as many events as fill a segment.
EVENTS_PER_WRITE = 12

PING = b"GET /api/v1/ping HTTP/1.1\r\nHost: a\r\n\r\n"


def write_much(connection: Connection) -> list[str]:
    """Write into many segments, and return what was not accepted."""
    events = [an_event(data={"text": "x" * 4_000})] * EVENTS_PER_WRITE
    refused = []
    for number in range(WRITES):
        answer = connection.v2("write-events", {"events": events})
        if answer.status != 200 or answer.items[-1]["type"] != "end":
            refused.append(f"write {number} was answered {answer.status} {answer.body[:150]!r}")
    return refused


def findings_of(server: RunningServer) -> Sequence[str]:
    """Return what is found while there are far more clients than files."""
    findings = []
    with ExitStack() as stack:
        connection = stack.enter_context(Connection(server.url))
        connection.write(an_event())
        clients = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=10))
            for _ in range(CLIENTS)
        ]
        statuses = [status_of(client) for client in clients]
        findings += write_much(connection)
        if statuses.count(200) < FILES // 4:
            findings.append(f"only {statuses.count(200)} clients were served")
        if not {503, 0} & set(statuses):
            findings.append("nobody was turned away")
    wait_until(lambda: is_served(server))
    errors = [line["message"] for line in server.log if line["level"] in {"error", "fatal"}]
    return [*findings, *errors]


def status_of(client: socket.socket) -> int:
    """Return the status that a client gets, 0 if it gets none."""
    with suppress(OSError):
        client.sendall(PING)
        head = client.recv(4096)
        return int(head[9:12]) if head else 0
    return 0


def is_served(server: RunningServer) -> bool:
    with suppress(*GONE), Connection(server.url) as connection:
        return connection.ask("GET", "/api/v1/ping").status == 200
    return False


@pytest.mark.slow
def test_clients_cannot_take_the_files_of_the_store() -> None:
    plan = Plan(file_limits=(FILES // 2, FILES))
    with running_server(entry_point=entry_point(plan)) as server:
        assert findings_of(server) == []
        warning = server.wait_for_log("the system allows few open files")
        assert warning["openFilesMax"] == FILES
        assert server.stop() == 0


@pytest.mark.slow
def test_a_server_that_lets_clients_take_all_files_is_noticed() -> None:
    plan = Plan(file_limits=(FILES // 2, FILES), bug=Bug.KEEPS_THE_FILE_LIMIT)
    with running_server(entry_point=entry_point(plan)) as server:
        findings = findings_of(server)

    assert any("too many files are open" in finding for finding in findings), findings


@pytest.mark.parametrize("error", [errno.EMFILE, errno.ENFILE])
def test_a_write_for_which_there_is_no_file_is_refused_and_nothing_worse(
    tmp_path: Path, error: int
) -> None:
    disk = FailingDisk()
    # Every write but the first one needs a new segment.
    engine = open_log(tmp_path, disk=disk, segment_size_max=1)
    store(engine, a_candidate())
    files = psutil.Process().num_fds()
    for _ in range(5):
        disk.arm(Fault(Kind.OPEN, 0, error))
        stage(engine, a_candidate())
        with pytest.raises(DiskFullError, match="too many files are open; nothing was stored"):
            engine.commit(seal(engine))
        engine.roll_back()
    assert disk.has_failed
    assert psutil.Process().num_fds() == files

    disk.arm(None)
    store(engine, a_candidate())
    assert positions_of(read(engine)) == [0, 1]
    engine.close()
    engine = open_log(tmp_path)
    assert positions_of(read(engine)) == [0, 1]
    engine.close()
