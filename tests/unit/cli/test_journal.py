"""`everlog journal`: what becomes of a source, what is said of it, and what is refused."""

import json
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from everlog import journals
from everlog.cli.backing_up.compression import compress
from everlog.cli.main import cli
from everlog.domain.errors import JournalUnreachableError
from everlog.service.mirroring import loading
from everlog.service.mirroring.journal import (
    Announced,
    Announcement,
    UnfitJournalError,
    UnknownEntryFormatError,
)
from everlog.service.mirroring.neighbours import nodes_of
from everlog.storage.engine import JournalEntry
from tests.support.backups import an_event, chained, lines_of, schema_line
from tests.support.engines import open_log
from tests.support.events import a_candidate, a_schema, an_entry
from tests.support.given_journal import GivenJournal

CHAIN = chained([an_event(f'{{"n":{number}}}') for number in range(9)])
SCHEMA = schema_line("io.everlog.test.happened", '{"type":"object","properties":{}}')
FULL, INCREMENT = SCHEMA + lines_of(CHAIN[:6]), SCHEMA + lines_of(CHAIN[6:])

URL = "--journal=nats://journal.test/everlog"


@pytest.fixture(autouse=True)
def _surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loading, "_PATIENCE_SECONDS", 0.0)


@pytest.fixture
def journal(monkeypatch: pytest.MonkeyPatch) -> GivenJournal:
    journal = GivenJournal()
    monkeypatch.setattr(journals, "make_journal", lambda _: journal)
    return journal


def load(*arguments: str, given: bytes = b"") -> Result:
    return CliRunner().invoke(cli, ["journal", "load", URL, *arguments], input=given)


def check_failed(result: Result, code: int, text: str) -> None:
    assert result.exit_code == code, result.output
    assert text in result.stderr
    assert result.stdout == ""


def write_directory(*counts: int) -> None:
    """Make the directory `data`, or write on: batches of so many writes, of two events each."""
    log = open_log(Path("data"))
    if log.head.event_type_count == 0:
        schema = a_schema("io.everlog.test.happened")
        log.apply(JournalEntry(0, log.head.hash, [], [schema]), is_verified=False)
    for count in counts:
        log.apply(an_entry(log.head, *[[a_candidate()] * 2] * count), is_verified=False)
    log.close()


def test_a_data_directory_is_loaded_and_later_what_it_has_more(journal: GivenJournal) -> None:
    write_directory(1, 2)

    first, again = load("data"), load("data")
    write_directory(1)
    later = load("data", "--format=json")

    place = journal.entries
    assert [(entry.first, entry.end) for entry in place] == [(0, 0), (0, 6), (6, 8)]
    assert first.output == (
        f"journal the-journal: 6 events, from 0 ({hash_at(place[1].lines, 0)}) to 5 "
        f"({place[1].hash}); 1 event schema\n"
    )
    assert again.output == "6 of the events were in the journal before\n" + first.output
    assert json.loads(later.stdout) == {
        "type": "summary",
        "payload": {
            "eventCount": 8,
            "schemaCount": 1,
            "firstEventId": "0",
            "firstEventHash": hash_at(place[1].lines, 0),
            "lastEventId": "7",
            "lastEventHash": place[2].hash,
            "files": [],
            "journal": "the-journal",
            "eventCountBefore": 6,
        },
    }


def hash_at(lines: bytes, index: int) -> str:
    text: str = json.loads(lines.splitlines()[index])["payload"]["hash"]
    return text


@pytest.mark.parametrize("is_compressed", [False, True])
def test_a_backup_and_its_increments_are_loaded(
    journal: GivenJournal, *, is_compressed: bool
) -> None:
    contents = [compress(text) if is_compressed else text for text in (FULL, INCREMENT)]
    for name, content in zip(("full", "increment"), contents, strict=True):
        Path(name).write_bytes(content)

    assert load("full").exit_code == 0
    result = load("full", "increment")

    assert result.exit_code == 0, result.output
    assert result.stdout == (
        "6 of the events were in the journal before\n"
        f"journal the-journal: 9 events, from 0 ({CHAIN[0][1]}) to 8 ({CHAIN[8][1]}); "
        f"1 event schema; SHA-256 {sha256(contents[0]).hexdigest()} of full, "
        f"SHA-256 {sha256(contents[1]).hexdigest()} of increment\n"
    )
    assert [(entry.first, entry.end) for entry in journal.entries] == [(0, 0), (0, 6), (6, 9)]
    assert [schema.event_type for schema in journal.entries[0].schemas] == [
        "io.everlog.test.happened"
    ]


def test_standard_input_is_loaded_and_leaves_nothing_behind(
    journal: GivenJournal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = tmp_path / "room"
    room.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(room))

    assert load("-", given=FULL).exit_code == 0

    assert journal.entries[-1].hash == CHAIN[5][1]
    assert list(room.iterdir()) == []


def test_a_backup_that_is_not_whole_is_refused_before_anything_is_appended(
    journal: GivenJournal,
) -> None:
    Path("cut").write_bytes(FULL[:-10])
    Path("other").write_bytes(FULL.replace(b'"n":3', b'"n":4'))

    check_failed(load("cut"), 4, "cut: the backup is incomplete")
    check_failed(load("other"), 4, "other: line 5, event 3: ")
    check_failed(load("missing"), 1, "No such file or directory: 'missing'")
    assert journal.entries == []


def test_a_directory_that_cannot_be_loaded_is_told(journal: GivenJournal) -> None:
    Path("empty").mkdir()
    write_directory(1)
    log_file = next(Path("data/log").iterdir())
    log_file.write_bytes(log_file.read_bytes().replace(b'"n":1', b'"n":2'))

    assert load("empty").exit_code == 3
    check_failed(load("data"), 4, "event 0 is not as it was written: its hash")
    check_failed(load("data", "empty"), 2, "data is a directory, which is loaded by itself")
    assert journal.entries == []


def test_a_journal_that_has_something_else_is_refused(journal: GivenJournal) -> None:
    Path("full").write_bytes(FULL)
    write_directory(4)
    load("full")
    before = journal.entries

    check_failed(
        load("data"), 3,
        "the journal is not empty, nor the beginning of what is to be loaded: its event 5 is "
        "another one",
    )  # fmt: skip
    assert journal.entries == before


# Each row: what the journal says, the exit code, and what is said.
@pytest.mark.parametrize(
    "error, code, text",
    [
        (JournalUnreachableError("no answer"), 8, "the journal cannot be reached: no answer"),
        (UnfitJournalError("it forgets"), 2, "it forgets"),
        (UnknownEntryFormatError("what is this"), 3, "what is this"),
    ],
    ids=["unreachable", "unfit", "unknown"],
)
def test_a_journal_that_cannot_be_used_is_told(
    journal: GivenJournal,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    code: int,
    text: str,
) -> None:
    Path("full").write_bytes(FULL)

    async def fail(*_: object) -> str:
        raise error

    monkeypatch.setattr(journal, "open", fail)
    check_failed(load("full"), code, f"Error: {text}\n")


def test_what_was_interrupted_says_how_to_go_on(
    journal: GivenJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("full").write_bytes(FULL)

    async def interrupt(*_: object, **__: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(journal, "append", interrupt)
    check_failed(load("full"), 130, "interrupted; the same command goes on from here")


def test_a_server_that_still_writes_is_named(journal: GivenJournal) -> None:
    write_directory(1)
    log = open_log(Path("data"))
    try:
        result = load("data")
    finally:
        log.close()

    assert result.exit_code == 0
    assert "A server has data open" in result.stderr
    assert len(journal.entries) == 2


def test_the_help_says_what_a_source_is_and_every_exit_code() -> None:
    result = CliRunner().invoke(cli, ["journal", "load", "--help"])

    for text in ("SOURCE is a data directory, or a backup", "8  the journal cannot be reached"):
        assert text in result.output


def check(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["journal", "check", URL, *arguments])


def an_announcement(node: str, **more: Any) -> Announcement:
    said = {"version": "0.1.0", "entry_format": 1, "hash_version": 1, "signing_key": "",
            "checkpoint_key": "", "clock": time.time_ns()} | more  # fmt: skip
    return Announcement(node_id=node * 8, node=node, **said)


def test_what_a_journal_has_is_told(journal: GivenJournal) -> None:
    assert check().output == "journal the-journal: 0 events\n"
    assert journal.append_count == 0
    Path("full").write_bytes(FULL)
    load("full")

    result = check()

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"journal the-journal: 6 events, to 5 ({CHAIN[5][1]})\n"
    assert json.loads(check("--format=json").stdout) == {
        "type": "summary",
        "payload": {
            "journal": "the-journal",
            "eventCount": 6,
            "lastEventHash": CHAIN[5][1],
            "nodes": [],
            "mismatches": [],
            "remarks": [],
        },
    }


def test_nodes_are_told_of_and_what_is_wrong_between_them(journal: GivenJournal) -> None:
    journal.remarks = ["it is alone"]
    for said in (an_announcement("one"), an_announcement("two", signing_key="another")):
        journal.shared.announcements[said.node_id] = said

    result = check()

    assert result.exit_code == 4
    assert result.stdout.splitlines() == [
        "the journal promises less than it could: it is alone",
        "node one: version 0.1.0, 0.0 s ago",
        "node two: version 0.1.0, 0.0 s ago",
        "wrong: the node two has another signing key",
        "journal the-journal: 0 events",
    ]
    # Whoever looks is no node.
    looked = [said for said in journal.shared.announcements.values() if not said.is_node]
    assert len(looked) == 1
    assert nodes_of([Announced(looked[0], 0.0, 0.0)]) == []


def test_a_load_beside_nodes_says_that_they_run(journal: GivenJournal) -> None:
    Path("full").write_bytes(FULL)
    said = an_announcement("one")
    journal.shared.announcements[said.node_id] = said

    result = load("full")

    assert result.exit_code == 0
    assert result.stderr == "The node one runs, and shows what is there already.\n"
