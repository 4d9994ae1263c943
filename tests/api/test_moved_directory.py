"""A data directory that an operator moves, deletes or exchanges under a running server.

Nothing is acknowledged into another directory or into none, nothing is read from another store, and
no second server comes beside the first.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from everlog.exit_codes import EXIT_DATA_DIRECTORY, EXIT_OK
from tests.support.api import Connection, an_event
from tests.support.server import RunningServer, run_to_end, running_server, starting_server

FAILED = "the store has failed"

# Too long for a thread: a process answers it.
QUERY = f"FROM e IN events WHERE e.subject != '{'x' * 5_000}' PROJECT INTO e.subject"

CONDITION = {
    "type": "isEventQlQueryTrue",
    "payload": {"query": f"{QUERY.partition(' PROJECT')[0]} PROJECT INTO COUNT() == 3"},
}


def stored(directory: Path, subject: str, count: int) -> Path:
    """Return a directory with so many events on one subject."""
    with running_server(data_directory=directory) as server:
        with Connection(server.url) as connection:
            connection.write(*[an_event(subject)] * count)
        assert server.stop() == 0
    return directory


def exchange(one: Path, other: Path) -> None:
    between = one.with_name("between")
    one.rename(between)
    other.rename(one)
    between.rename(other)


def subjects_of(connection: Connection, query: str = QUERY) -> list[str]:
    answer = connection.v1("run-eventql-query", {"query": query})
    assert answer.status == 200, answer.text
    return [item["payload"] for item in answer.items if item["type"] == "row"]


def check_has_failed(server: RunningServer, name: str) -> None:
    """Check that everybody is told, without a write."""
    line = server.wait_for_log(FAILED)
    assert line["level"] == "fatal"
    assert f"{name} was moved, deleted, exchanged or cut" in line["reason"]
    with Connection(server.url) as connection:
        answer = connection.v2("write-events", {"events": [an_event("/late")]})
        assert answer.code == "store-failed"
        health = connection.ask("GET", "/api/v1/health")
        found = json.loads(health.body)["checks"]["store:writability"][0]
        assert found["status"] == "fail"
        assert f"{name} was moved, deleted, exchanged or cut" in found["output"]


def test_after_two_directories_were_exchanged_each_store_answers_for_itself(
    tmp_path: Path,
) -> None:
    mine, others = tmp_path / "mine", stored(tmp_path / "others", "/others", 3)
    before = content_of(others)
    with running_server(data_directory=mine) as server, Connection(server.url) as connection:
        connection.write(an_event("/mine"))

        exchange(mine, others)

        # There are three events in the other store, and one in this one.
        body = {"events": [an_event("/late")], "preconditions": [CONDITION]}
        assert connection.v2("write-events", body).code in {"precondition-violated", "store-failed"}
        answer = connection.v2("write-events", {"events": [an_event("/late")]})
        # The first one finds it out; what it was told is what nobody knows after a failure.
        assert answer.status == 500 or answer.code == "store-failed"
        assert subjects_of(connection) == ["/mine"]
        check_has_failed(server, "mine")
        assert subjects_of(connection) == ["/mine"]
        server.stop()
    assert content_of(mine) == before
    with running_server(data_directory=others) as server, Connection(server.url) as connection:
        assert [event["subject"] for event in connection.read_all()] == ["/mine"]


def content_of(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def delete(directory: Path) -> None:
    shutil.rmtree(directory)


def move_away(directory: Path) -> None:
    directory.rename(directory.with_name("elsewhere"))


def put_a_copy_in_its_place(directory: Path) -> None:
    shutil.copytree(directory, directory.with_name("copy"))
    move_away(directory)
    directory.with_name("copy").rename(directory)


def move_a_folder_above(directory: Path) -> None:
    directory.parent.rename(directory.parent.with_name("other parent"))


def delete_the_lock(directory: Path) -> None:
    (directory / "lock").unlink()


def exchange_the_lock(directory: Path) -> None:
    delete_the_lock(directory)
    (directory / "lock").touch()


def move_the_log(directory: Path) -> None:
    (directory / "log").rename(directory / "old log")


def delete_a_segment(directory: Path) -> None:
    [segment] = (directory / "log").iterdir()
    segment.unlink()


def cut_a_segment(directory: Path) -> None:
    [segment] = (directory / "log").iterdir()
    with segment.open("rb+") as file:
        file.truncate(10)


def restore_a_segment(directory: Path) -> None:
    [segment] = (directory / "log").iterdir()
    shutil.copy(segment, directory / "copy")
    (directory / "copy").rename(segment)


def delete_the_schemas(directory: Path) -> None:
    (directory / "schemas.ndjson").unlink()


def delete_the_bound(directory: Path) -> None:
    (directory / "durable").unlink()


SLIPS: dict[Callable[[Path], None], str] = {
    delete: "data",
    move_away: "data",
    put_a_copy_in_its_place: "data",
    move_a_folder_above: "data",
    delete_the_lock: "data/lock",
    exchange_the_lock: "data/lock",
    move_the_log: "data/log",
    delete_a_segment: f"data/log/{0:020d}.ndjson",
    cut_a_segment: f"data/log/{0:020d}.ndjson",
    restore_a_segment: f"data/log/{0:020d}.ndjson",
    delete_the_schemas: "data/schemas.ndjson",
    delete_the_bound: "data/durable",
}


@pytest.mark.parametrize("slip", SLIPS, ids=lambda slip: slip.__name__)
def test_a_server_notices_what_was_taken_from_it_while_nobody_writes(
    tmp_path: Path, slip: Callable[[Path], None]
) -> None:
    directory = tmp_path / "parent" / "data"
    with running_server(data_directory=directory) as server:
        with Connection(server.url) as connection:
            connection.write(an_event("/early"))

        slip(directory)

        check_has_failed(server, SLIPS[slip])
        if slip is not cut_a_segment:
            with Connection(server.url) as connection:
                assert [event["subject"] for event in connection.read_all()] == ["/early"]
        # It writes nothing more, wherever that would go.
        before = content_of(tmp_path)
        assert server.stop() == 0
    assert content_of(tmp_path) == before


@pytest.fixture
def unlocked(tmp_path: Path) -> Iterator[RunningServer]:
    """Run a server whose lock somebody has just deleted."""
    with running_server(data_directory=tmp_path / "data") as server:
        with Connection(server.url) as connection:
            connection.write(an_event("/early"))
        (tmp_path / "data" / "lock").unlink()
        yield server


def test_no_second_server_comes_when_the_lock_was_deleted(unlocked: RunningServer) -> None:
    with starting_server(data_directory=unlocked.data_directory) as rival:
        assert rival.wait() == EXIT_DATA_DIRECTORY
        assert "in use by another process" in rival.log[-1]["message"]
    assert not (unlocked.data_directory / "lock").exists()


def test_no_audit_takes_a_directory_for_unused_when_the_lock_was_deleted(
    unlocked: RunningServer,
) -> None:
    ended = run_to_end("audit", f"--data-directory={unlocked.data_directory}")

    assert ended.code == EXIT_OK
    assert "a server has the directory open" in ended.output
