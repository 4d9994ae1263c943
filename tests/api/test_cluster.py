"""What several nodes decide, and who decides it: each row of the page's table that can be tried.

The nodes share a journal that real servers keep, and clients ask each of them by its own address.
"""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.api import Answer, Connection, an_event
from tests.support.balanced_cluster import JOURNALS, NewJournal, running_journals, running_nodes
from tests.support.keys import write_signing_key
from tests.support.server import RunningServer, run_to_end, running_server, wait_until

TYPE = "io.everlog.test.numbered"
SCHEMA = {"type": "object", "properties": {"n": {"type": "number"}}}
ALL = {"subject": "/", "options": {"recursive": True}}


@pytest.fixture(scope="module", params=JOURNALS)
def new_journal(request: pytest.FixtureRequest) -> Iterator[NewJournal]:
    with running_journals(request.param) as new_journal:
        yield new_journal


@pytest.fixture(scope="module")
def nodes(new_journal: NewJournal) -> Iterator[Sequence[RunningServer]]:
    with running_nodes(new_journal()) as nodes:
        yield nodes


def ask(node: RunningServer, name: str, body: object) -> Answer:
    with Connection(node.url) as client:
        return client.v1(name, body)


def write(node: RunningServer, subject: str, *preconditions: Any, **event: Any) -> Answer:
    body = {"events": [an_event(subject, **event)], "preconditions": list(preconditions)}
    return ask(node, "write-events", body)


def checks(node: RunningServer) -> dict[str, Any]:
    with Connection(node.url) as client:
        found: dict[str, Any] = client.ask("GET", "/api/v1/health").json["checks"]
    return found


def knows_of(node: RunningServer, count: int) -> bool:
    return bool(checks(node)["cluster:nodes"][0]["observedValue"] == count)


def has_logged(node: RunningServer, reason: str) -> bool:
    return reason in [line.get("reason") for line in node.log]


@pytest.mark.slow
def test_what_a_node_acknowledged_is_read_by_every_other_one(
    nodes: Sequence[RunningServer],
) -> None:
    for number in range(30):
        written = write(nodes[number % 3], "/current", data={"n": number})
        assert written.status == 200
        for node in nodes:
            read = ask(
                node, "read-events", {"subject": "/current", "options": {"recursive": False}}
            )
            assert [event["data"]["n"] for event in read.events] == list(range(number + 1))


@pytest.mark.slow
def test_a_condition_holds_for_one_of_many_whichever_nodes_they_ask(
    nodes: Sequence[RunningServer],
) -> None:
    pristine = {"type": "isSubjectPristine", "payload": {"subject": "/seats/1"}}
    free = {
        "type": "isEventQlQueryTrue",
        "payload": {
            "query": "FROM e IN events WHERE e.subject == '/seats/2' PROJECT INTO COUNT() == 0"
        },
    }
    for subject, condition in (("/seats/1", pristine), ("/seats/2", free)):
        answers: list[int] = []

        def take(node: RunningServer, subject: str = subject, condition: Any = condition) -> None:
            answers.append(write(node, subject, condition).status)  # noqa: B023 - joined below

        threads = [threading.Thread(target=take, args=(nodes[number % 3],)) for number in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert sorted(answers) == [200, *[409] * 11]


@pytest.mark.slow
def test_a_schema_is_in_force_on_all_nodes_from_its_place_on(
    nodes: Sequence[RunningServer],
) -> None:
    registered = ask(nodes[0], "register-event-schema", {"eventType": TYPE, "schema": SCHEMA})
    refused = [write(node, "/typed", type_=TYPE, data={"n": "none"}) for node in nodes]
    again = ask(nodes[1], "register-event-schema", {"eventType": TYPE, "schema": SCHEMA})

    assert registered.status == 200
    assert [answer.status for answer in refused] == [409] * 3
    assert again.status == 409


@pytest.mark.slow
def test_a_backup_is_not_restored_into_what_nodes_share(nodes: Sequence[RunningServer]) -> None:
    for node in nodes:
        with Connection(node.url) as client:
            older = client.ask("POST", "/api/v1/restore", b"")
            newer = client.ask("POST", "/api/v2/management/restore", b"")
        assert older.status == 503
        assert newer.code == "store-read-only"
        assert "'everlog journal load'" in newer.error["description"]


@pytest.mark.slow
def test_the_backup_of_each_node_is_the_same(nodes: Sequence[RunningServer]) -> None:
    assert write(nodes[0], "/backed-up").status == 200

    backups = [ask(node, "backup", {}).body for node in reversed(nodes)]

    assert backups[0] == backups[1] == backups[2]
    assert b'"subject":"/backed-up"' in backups[0]


@pytest.mark.slow
def test_read_only_mode_is_a_matter_of_the_node_that_was_asked(new_journal: NewJournal) -> None:
    with running_nodes(new_journal(), count=2) as [quiet, other]:
        assert ask(quiet, "put-into-read-only-mode", {}).status == 200

        assert write(other, "/written").status == 200
        assert write(quiet, "/written").status != 200
        # It goes on to show what the others write.
        assert len(ask(quiet, "read-events", ALL).events) == 1


@pytest.mark.slow
def test_signatures_and_checkpoints_are_the_same_by_whichever_node(
    new_journal: NewJournal, tmp_path: Path
) -> None:
    write_signing_key(tmp_path / "signing.pem")
    file = f"{tmp_path}/checkpoint.pem"
    origin = "log.example.com/cluster"
    made = run_to_end("generate", "checkpoint-key", f"--file={file}", f"--origin={origin}")
    assert made.code == 0
    flags = (
        f"--checkpoint-key-file={file}",
        f"--checkpoint-origin={origin}",
        f"--signing-key-file={tmp_path}/signing.pem",
    )
    with running_nodes(new_journal(), *flags, count=2) as nodes:
        for number in range(4):
            assert write(nodes[number % 2], "/signed").status == 200
        # The blanks behind an event say what was synced together, which each node decides.
        reads = [
            [line.rstrip() for line in ask(node, "read-events", ALL).body.splitlines()]
            for node in nodes
        ]
        assert reads[0] == reads[1]
        assert len(reads[0]) == 4
        assert all(b'"signature":"esdb:signature:v1:' in line for line in reads[0])
        notes = [checkpoint_of(node, size=4) for node in nodes]
        assert notes[0] == notes[1]
        for node in nodes:
            wait_until(partial(knows_of, node, 2))
            assert checks(node)["cluster:nodes"][0]["status"] == "pass"


def checkpoint_of(node: RunningServer, *, size: int) -> str:
    """Return what a checkpoint of a size says, without its signatures, once there is one."""
    text = ""

    def is_there() -> bool:
        nonlocal text
        with Connection(node.url) as client:
            answer = client.ask("GET", "/api/v2/log/checkpoint")
        text = answer.text.partition("\n\n")[0]
        return answer.status == 200 and text.splitlines()[1] == str(size)

    wait_until(is_there)
    return text


@pytest.mark.slow
def test_nodes_that_do_not_fit_together_say_so(new_journal: NewJournal, tmp_path: Path) -> None:
    write_signing_key(tmp_path / "one.pem")
    write_signing_key(tmp_path / "two.pem")
    journal = {"EVERLOG_JOURNAL": new_journal()}
    with ExitStack() as stack:
        nodes = [
            stack.enter_context(
                running_server(f"--node={name}", f"--hash-version={version}",
                               f"--signing-key-file={tmp_path}/{name}.pem", environment=journal)
            )
            for name, version in (("one", 1), ("two", 2))
        ]  # fmt: skip
        for node, name in zip(nodes, ("two", "one"), strict=True):
            for what in ("hash version", "signing key"):
                reason = f"the node {name} has another {what}"
                wait_until(partial(has_logged, node, reason))
            check = checks(node)["cluster:nodes"][0]
            assert check["status"] == "warn"
            assert f"the node {name} has another signing key" in check["output"]
        # Both kinds of hashes are in one chain.
        assert [write(node, "/mixed").status for node in nodes] == [200, 200]
        first, second = ask(nodes[0], "read-events", ALL).events
        assert second["hash"].startswith("esdb:hash:v2:")
        assert second["predecessorhash"] == first["hash"]


@pytest.mark.slow
def test_observers_go_on_at_another_node_without_a_gap_or_a_repetition(
    new_journal: NewJournal,
) -> None:
    with running_nodes(new_journal(), count=2) as [first, second]:
        seen: list[str] = []
        for turn, node in enumerate((first, second, first)):
            for _ in range(3):
                assert write(second if turn == 0 else first, "/observed").status == 200
            options: dict[str, Any] = {"recursive": True}
            if seen:
                options["lowerBound"] = {"id": seen[-1], "type": "exclusive"}
            with observing(node, options) as items:
                for item in items:
                    if item["type"] == "event":
                        seen.append(item["payload"]["id"])
                    if len(seen) == 3 * (turn + 1):
                        break
        assert seen == [str(number) for number in range(9)]


@contextmanager
def observing(node: RunningServer, options: dict[str, Any]) -> Iterator[Iterator[Any]]:
    with Connection(node.url) as client:
        response = client.send("POST", "/api/v1/observe-events",
                               {"subject": "/observed", "options": options})  # fmt: skip
        yield (json.loads(line) for line in response)
