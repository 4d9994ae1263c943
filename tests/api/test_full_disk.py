"""A server on a disk that is really full: true answers, no harm, and writing once there is room."""

import json
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest

from tests.support.api import Connection, an_event
from tests.support.chain import check_chain
from tests.support.server import DEADLINE_SECONDS, RunningServer, running_server
from tests.support.small_disks import SmallDisk, limited_files, mounted_image, small_disk

LARGE = an_event("/large", data={"text": "x" * 60_000})
SMALL = an_event("/small")
BALLAST_SIZE = 8 * 1024 * 1024
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


def size_of_the_log(connection: Connection) -> int:
    return sum(len(line) + 1 for line in log_of(connection))


@pytest.mark.slow
def test_a_small_disk_is_used_up_to_its_end_and_its_room_is_not_swallowed(tmp_path: Path) -> None:
    """On a file system that keeps what a failed reservation took; or else on one in memory."""
    with ExitStack() as stack:
        image = stack.enter_context(mounted_image(tmp_path, "ext4"))
        disk = image or stack.enter_context(small_disk(tmp_path))
        options = {"entry_point": disk.entry_point, "data_directory": disk.data_directory}
        with running_server(**options) as server, Connection(server.url) as connection:
            if image is not None:
                usable = image.free_size()
                image.take(BALLAST_SIZE)
            fill(connection)
            if image is not None:
                assert size_of_the_log(connection) > 0.9 * (usable - BALLAST_SIZE)
                check_is_told(server, connection)

            disk.make_room(server)
            free = 0 if image is None else image.free_size()
            connection.write(SMALL)
            if image is not None:
                # Others may have the room, too.
                assert image.free_size() > 0.8 * free
            fill(connection)
            if image is not None:
                assert size_of_the_log(connection) > 0.95 * usable
            log = log_of(connection)
            assert server.stop() == 0
        with running_server(**options) as server, Connection(server.url) as connection:
            assert log_of(connection) == log
            assert server.stop() == 0


def check_is_told(server: RunningServer, connection: Connection) -> None:
    line = server.wait_for_log("the disk is full")
    assert "no space left on the device" in line["reason"]
    assert not [line for line in server.log if line["message"] == "unexpected error"]
    [check] = connection.ask("GET", "/api/v1/health").json["checks"]["store:writability"]
    assert (check["status"], check["observedValue"]) == ("fail", "disk-full")
    assert "no space left on the device" in check["output"]


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
