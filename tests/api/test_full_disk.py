"""A server on a disk that is really full: true answers, no harm, and writing once there is room."""

import json
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.support.api import Connection, an_event
from tests.support.chain import check_chain
from tests.support.server import DEADLINE_SECONDS, running_server
from tests.support.small_disks import SmallDisk, limited_files, small_disk

LARGE = an_event("/large", data={"text": "x" * 60_000})
SMALL = an_event("/small")
SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}, "description": "x" * 9_000}


def log_of(connection: Connection) -> list[bytes]:
    answer = connection.v1("read-events", {"subject": "/", "options": {"recursive": True}})
    assert answer.status == 200
    return answer.body.splitlines()


def fill(connection: Connection) -> int:
    """Write until there is no room, ever less at a time, and return how many events were taken."""
    count = 0
    for events in ([LARGE] * 10, [LARGE], [SMALL] * 10, [SMALL]):
        while True:
            answer = connection.v2("write-events", {"events": events})
            if answer.items[-1]["type"] != "end":
                break
            count += len(events)
    assert answer.code == "disk-full"
    return count


def check_audit(disk: SmallDisk, event_count: int) -> None:
    done = subprocess.run(
        [*disk.entry_point, "audit", f"--data-directory={disk.data_directory}", "--format=json"],
        capture_output=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads(done.stdout.splitlines()[-1])["payload"]
    assert (summary["isOk"], summary["eventCount"]) == (True, event_count)


@pytest.mark.slow
@pytest.mark.parametrize("make", [small_disk, limited_files])
def test_a_server_on_a_full_disk_tells_the_truth_and_goes_on_once_there_is_room(
    tmp_path: Path, make: Callable[[Path], AbstractContextManager[SmallDisk]]
) -> None:
    with make(tmp_path) as disk:
        options = {"entry_point": disk.entry_point, "data_directory": disk.data_directory}
        with running_server(**options) as server, Connection(server.url) as connection:
            count = fill(connection)
            assert count > 50
            assert connection.v1("write-events", {"events": [SMALL]}).status == 503
            events = check_chain(log_of(connection), event_count=count)

            disk.make_room(server)
            assert len(connection.write(LARGE)) == 1
            registered = connection.v2(
                "register-event-schema", {"type": "io.everlog.test.new", "schema": SCHEMA}
            )
            assert registered.items[-1]["type"] == "end"
            count += 1 + fill(connection)
            assert check_chain(log_of(connection), event_count=count)[: len(events)] == events
            log = log_of(connection)
            assert server.stop() == 0
        with running_server(**options) as server, Connection(server.url) as connection:
            assert log_of(connection) == log
            assert server.stop() == 0
        check_audit(disk, count)
