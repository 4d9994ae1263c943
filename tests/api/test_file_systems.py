"""File systems that take away what they gave: the server goes on, or says what is wrong.

None of them may end it, as a file that is mapped into memory would: by a signal, without a word.
Where the machine lets nobody mount one, the same is done in a folder, with what can be done there.
"""

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.support.api import Connection, an_event
from tests.support.chain import check_chain
from tests.support.server import WATCHED, RunningServer, running_server
from tests.support.small_disks import mounted_image

EVENT = an_event("/small", data={"text": "x" * 500})
LONG_QUERY = "FROM e IN events ORDER BY e.subject PROJECT INTO e.id"


def log_of(connection: Connection) -> list[bytes]:
    answer = connection.v1("read-events", {"subject": "/", "options": {"recursive": True}})
    assert answer.status == 200
    return answer.body.splitlines()


def write_until_refused(connection: Connection) -> int:
    """Write many new subjects, so that every column grows, and return how many were taken."""
    count = 0
    for number in range(400):
        events = [an_event(f"/new/{number}/{index}") for index in range(100)]
        if connection.v2("write-events", {"events": events}).items[-1]["type"] != "end":
            break
        count += len(events)
    return count


def ask_for_a_long_query(connection: Connection, *, event_count: int) -> None:
    answer = connection.v2("run-eventql-query", {"query": LONG_QUERY})
    assert sum(item["type"] == "row" for item in answer.items) == event_count, answer.items[-1]


def check_is_alive(server: RunningServer) -> None:
    with Connection(server.url) as connection:
        assert connection.ask("GET", "/api/v1/ping").status == 200
    assert server.process.poll() is None


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs"])
def test_reads_go_on_and_a_server_starts_on_a_file_system_that_is_full(
    tmp_path: Path, kind: str
) -> None:
    with mounted_image(tmp_path, kind) as disk:
        place = tmp_path if disk is None else disk.data_directory.parent
        options = {
            "entry_point": WATCHED if disk is None else disk.entry_point,
            "data_directory": place / "data",
        }
        with running_server(**options) as server, Connection(server.url) as connection:
            connection.write(*[EVENT] * 1_000)
            if disk is not None:
                disk.fill()
            count = 1_000 + write_until_refused(connection)
            events = check_chain(log_of(connection), event_count=count)
            ask_for_a_long_query(connection, event_count=count)
            check_is_alive(server)
            server.kill()
        with running_server(**options) as server, Connection(server.url) as connection:
            assert check_chain(log_of(connection)) == events
            ask_for_a_long_query(connection, event_count=count)
            assert server.stop() == 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_a_file_system_that_shuts_itself_down_does_not_end_the_server(
    tmp_path: Path, kind: str
) -> None:
    with mounted_image(tmp_path, kind) as disk:
        place = tmp_path if disk is None else disk.data_directory.parent
        with (
            running_server(
                entry_point=WATCHED if disk is None else disk.entry_point,
                data_directory=place / "data",
            ) as server,
            Connection(server.url) as connection,
        ):
            connection.write(*[EVENT] * 1_000)
            log_of(connection)
            if disk is not None:
                disk.shut_down()
            for _ in range(20):
                with Connection(server.url) as other:
                    other.v2("write-events", {"events": [EVENT] * 1_000})
                check_is_alive(server)
            # What can be read is told, and else that it cannot.
            for subject in ("/", "/small"):
                with Connection(server.url) as other:
                    other.v2("read-subjects", {"baseSubject": subject, "recursive": True})
                check_is_alive(server)
            server.ask_to_stop()
            assert server.wait() != -signal.SIGBUS


def test_columns_that_somebody_cuts_are_not_missed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running_server(data_directory=data) as server:
        with Connection(server.url) as connection:
            connection.write(*[EVENT] * 1_000)
        assert server.stop() == 0
    with running_server(data_directory=data) as server, Connection(server.url) as connection:
        for file in (data / "index").iterdir():
            os.truncate(file, 0)
        connection.write(EVENT, an_event("/other"))
        events = check_chain(log_of(connection), event_count=1_002)
        ask_for_a_long_query(connection, event_count=1_002)
        assert server.stop() == 0
    with running_server(data_directory=data) as server, Connection(server.url) as connection:
        assert check_chain(log_of(connection)) == events
        assert server.stop() == 0


COPY = "the data directory is a copy"


def is_taken_for_a_copy(disk: Any, directory: Path, *, event_count: int) -> bool:
    """Start a server that finds so many events, and stop it again."""
    entry_point = WATCHED if disk is None else disk.entry_point
    with running_server(entry_point=entry_point, data_directory=directory) as server:
        opened = server.wait_for_log("the data directory is open")
        assert opened["eventCount"] == event_count
        with Connection(server.url) as connection:
            connection.write(EVENT)
        assert server.stop() == 0
        return any(line["message"].startswith(COPY) for line in server.log)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs"])
def test_a_directory_is_no_copy_when_it_is_mounted_anew_and_a_copy_elsewhere(
    tmp_path: Path, kind: str
) -> None:
    """Elsewhere is a file system that was made in the same way, and numbers its files alike."""
    carried = tmp_path / "carried"
    with mounted_image(tmp_path, kind) as disk:
        directory = tmp_path / "data" if disk is None else disk.data_directory
        assert not is_taken_for_a_copy(disk, directory, event_count=0)
        if disk is not None:
            disk.mount_anew()
        assert not is_taken_for_a_copy(disk, directory, event_count=1)
        copy_tree(disk, directory, carried)
    (tmp_path / "elsewhere").mkdir()
    with mounted_image(tmp_path / "elsewhere", kind) as disk:
        directory = tmp_path / "copy" if disk is None else disk.data_directory
        copy_tree(disk, carried, directory)
        assert is_taken_for_a_copy(disk, directory, event_count=2)
        assert not is_taken_for_a_copy(disk, directory, event_count=3)


def copy_tree(disk: Any, source: Path, target: Path) -> None:
    if disk is None:
        shutil.copytree(source, target)
    else:
        disk.run("cp", "-a", str(source), str(target))
