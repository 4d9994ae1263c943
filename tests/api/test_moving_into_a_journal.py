"""Moving a store into a journal and out of it again: nothing of it becomes another."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.api import Connection, an_event
from tests.support.audits import check_audit_is_clean
from tests.support.backups import an_event as a_backed_up_event
from tests.support.backups import chained, lines_of
from tests.support.balanced_cluster import JOURNALS, NewJournal, running_journals, running_nodes
from tests.support.server import (
    DEADLINE_SECONDS,
    Ended,
    RunningServer,
    clean_environment,
    run_to_end,
    running_server,
)
from tests.support.sources import REPOSITORY

SCHEMA = {"type": "object", "properties": {"n": {"type": "number"}}}
TYPE = "io.everlog.test.numbered"
# Less than a journal takes at once.
TEXT = "x" * 400


@pytest.fixture(scope="module", params=JOURNALS)
def new_journal(request: pytest.FixtureRequest) -> Iterator[NewJournal]:
    with running_journals(request.param) as new_journal:
        yield new_journal


def fill(directory: Path) -> None:
    """Make a store with writes of several sizes, of which some are large, and event schemas."""
    with running_server(data_directory=directory) as server, Connection(server.url) as client:
        register(client, TYPE)
        for number in range(40):
            count = 1 + 7 * (number % 4)
            write(client, number, count=count)
        register(client, "io.everlog.test.unused")
        write(client, 40, count=2_000)
        server.stop()


def register(client: Connection, event_type: str) -> None:
    answer = client.v1("register-event-schema", {"eventType": event_type, "schema": SCHEMA})
    assert answer.status == 200, answer.text


def write(client: Connection, number: int, *, count: int = 1) -> None:
    data = {"n": number, "text": TEXT}
    event = an_event(f"/numbers/{number}", TYPE, data=data)
    answer = client.v1("write-events", {"events": [event] * count})
    assert answer.status == 200, answer.text


def content_of(server: RunningServer) -> tuple[list[Any], list[Any]]:
    """Return all events and event types that a server shows."""
    with Connection(server.url) as client:
        read = client.v1("read-events", {"subject": "/", "options": {"recursive": True}})
        types = client.v1("read-event-types", {})
    assert (read.status, types.status) == (200, 200)
    return read.events, types.items


def load(journal: str, *sources: Path | str) -> Ended:
    arguments = ["journal", "load", *map(str, sources), "--format=json"]
    return run_to_end(*arguments, environment={"EVERLOG_JOURNAL": journal})


def loaded(journal: str, *sources: Path | str) -> dict[str, Any]:
    ended = load(journal, *sources)
    assert (ended.code, ended.errors) == (0, "")
    summary: dict[str, Any] = json.loads(ended.output)["payload"]
    return summary


@pytest.mark.slow
def test_a_store_becomes_a_cluster_and_a_node_becomes_a_store(
    new_journal: NewJournal, tmp_path: Path
) -> None:
    directory, journal = tmp_path / "data", new_journal()
    fill(directory)
    with running_server(data_directory=directory) as server:
        before = content_of(server)
        server.stop()

    summary = loaded(journal, directory)
    assert (summary["eventCountBefore"], summary["eventCount"]) == (0, len(before[0]))
    assert (summary["schemaCount"], summary["lastEventHash"]) == (2, before[0][-1]["hash"])

    with ExitStack() as stack:
        # One goes on with the directory that was loaded, and another one begins with nothing.
        nodes = [
            *stack.enter_context(running_nodes(journal, count=1, data_directory=directory)),
            *stack.enter_context(running_nodes(journal, count=1, data_directory=tmp_path / "new")),
        ]
        assert [content_of(node) for node in nodes] == [before, before]
        for number, node in enumerate(nodes, 100):
            with Connection(node.url) as client:
                write(client, number)
                # The schema came along.
                wrong = an_event(type_=TYPE, data={"n": "none"})
                assert client.v1("write-events", {"events": [wrong]}).status == 409
        after = content_of(nodes[0])
        assert after == content_of(nodes[1])
        assert len(after[0]) == len(before[0]) + 2
        assert [node.stop() for node in nodes] == [0, 0]

    for number, name in enumerate(("data", "new"), 200):
        check_audit_is_clean(tmp_path / name)
        with running_server(data_directory=tmp_path / name) as alone:
            assert content_of(alone) == after
            with Connection(alone.url) as client:
                write(client, number)
            alone.stop()

    # Now that they went on alone, the journal is not theirs any more.
    ended = run_to_end(
        "run", "--http-enabled", "--https-enabled=false", "--http-port=0", "--api-token=secret",
        f"--data-directory={directory}", environment={"EVERLOG_JOURNAL": journal},
    )  # fmt: skip
    assert ended.code == 3
    assert "the journal does not have all of them" in ended.output


@pytest.mark.slow
def test_a_backup_is_loaded_with_its_increment_and_what_was_loaded_is_not_loaded_again(
    new_journal: NewJournal, tmp_path: Path
) -> None:
    journal, directory = new_journal(), tmp_path / "data"
    full, increment = tmp_path / "full.ndjson.zst", tmp_path / "increment.ndjson"
    fill(directory)
    source = f"--data-directory={directory}"
    assert run_to_end("backup", source, f"--output={full}").code == 0
    with running_server(data_directory=directory) as server, Connection(server.url) as client:
        write(client, 50, count=2)
        after = content_of(server)
        server.stop()
    more = ["--incremental-from", str(full), f"--output={increment}"]
    assert run_to_end("backup", source, *more).code == 0

    first = loaded(journal, full)
    second = loaded(journal, full, increment)
    third = loaded(journal, directory)

    assert first["eventCount"] == second["eventCountBefore"] == len(after[0]) - 2
    assert second["eventCount"] == third["eventCountBefore"] == third["eventCount"]
    with running_nodes(journal, count=1) as [node]:
        assert content_of(node) == after
        # What nodes write is not the beginning of any source.
        with Connection(node.url) as client:
            write(client, 51)
    ended = load(journal, directory)
    assert ended.code == 3
    assert "the journal is not empty, nor the beginning of what is to be loaded" in ended.errors


@pytest.mark.slow
def test_a_load_that_is_killed_again_and_again_is_gone_on_with(
    new_journal: NewJournal, tmp_path: Path
) -> None:
    text = json.dumps({"text": "x" * 4_000}, separators=(",", ":"))
    # Some megabytes, and so as many entries.
    chain = chained(a_backed_up_event(text, subject=f"/{number % 9}") for number in range(1_500))
    backup, journal = tmp_path / "backup", new_journal()
    backup.write_bytes(lines_of(chain))

    counts = []
    for entry_count in (1, 2, 1):
        kill_load(journal, backup, after=entry_count, room=tmp_path)
        counts.append(count_of(journal))
    summary = loaded(journal, backup)

    assert 0 < counts[0] < counts[1] < counts[2] == summary["eventCountBefore"] < len(chain)
    with running_nodes(journal, count=1) as [node]:
        read, _ = content_of(node)
    assert [event["hash"] for event in read] == [hash_ for _, hash_ in chain]


def kill_load(journal: str, source: Path, *, after: int, room: Path) -> None:
    """Begin to load, and die when the journal has taken so many entries."""
    command = [sys.executable, "-m", "tests.support.dying_load", str(after)]
    done = subprocess.run(
        [*command, "journal", "load", source],
        # What it restored into stays there.
        env={**clean_environment(), "EVERLOG_JOURNAL": journal, "TMPDIR": str(room)},
        cwd=REPOSITORY,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL


def count_of(journal: str) -> int:
    """Return how many events a journal has."""
    ended = run_to_end(
        "journal", "check", "--format=json", environment={"EVERLOG_JOURNAL": journal}
    )
    assert ended.code == 0, ended.errors
    count: int = json.loads(ended.output)["payload"]["eventCount"]
    return count


def test_a_journal_that_is_not_there_is_told_without_its_password() -> None:
    for url in (
        "postgresql://someone:hidden@127.0.0.1:1/none",
        "nats://someone:hidden@127.0.0.1:1/s",
    ):
        ended = run_to_end("journal", "check", environment={"EVERLOG_JOURNAL": url})
        assert ended.code == 8
        assert ended.errors.startswith("Error: the journal cannot be reached: ")
        assert "hidden" not in ended.errors + ended.output
