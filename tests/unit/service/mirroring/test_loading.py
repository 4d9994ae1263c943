"""Loading a log into a journal: what stands there then, whatever had come between."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from everlog.domain.errors import CorruptLogError, JournalUnreachableError
from everlog.service.mirroring import loading
from everlog.service.mirroring.journal import Entry
from everlog.service.mirroring.loading import (
    EntryTooLargeError,
    OtherContentError,
    append_log,
    find_last,
    find_standing,
    verify_log,
)
from everlog.storage.engine import Engine, JournalEntry, StagedSchema
from everlog.storage.line import Mark
from everlog.storage.log import LogEngine
from tests.support.engines import content_of, events_of, marks_of, open_log, read
from tests.support.events import a_candidate, a_schema, an_entry
from tests.support.given_journal import GivenJournal

SCHEMAS = [a_schema(f"io.everlog.test.type-{number}") for number in range(40)]


def apply_writes(log: Engine, *sizes: int, length: int = 100) -> None:
    """Store a batch of writes, each of so many events."""
    text = "x" * length
    writes = [[a_candidate(data=f'{{"text":"{text}"}}')] * size for size in sizes]
    log.apply(an_entry(log.head, *writes), is_verified=False)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[LogEngine]:
    """Yield a log of 360 events in writes and batches of several sizes, and 40 event schemas."""
    engine = open_log(tmp_path / "source", segment_size_max=1 << 20)
    for schema in SCHEMAS:
        engine.apply(JournalEntry(engine.head.event_count, engine.head.hash, [], [schema]),
                     is_verified=False)  # fmt: skip
    for number in range(30):
        apply_writes(engine, 1, 3, 1 + number % 5, 6 - number % 5)
    assert engine.head.event_count == 30 * 11
    yield engine
    engine.close()


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "_PAUSE_SECONDS", 0.0)
    # As if the log were a thousand times as long.
    monkeypatch.setattr(loading, "_ENTRY_SIZE", 8 * 1024)


def load(journal: GivenJournal, log: LogEngine) -> int:
    """Load a log as the command does; return how many events were there before."""
    before = asyncio.run(find_standing(journal, log))
    verify_log(log, entry_size_max=journal.entry_size_max, on_event=lambda _: None)
    told: list[int] = []
    asyncio.run(append_log(journal, log, before, on_appended=told.append))
    assert told == sorted(set(told))
    assert not told or told[-1] == log.head.event_count
    return before.event_count


def check_is_loaded(journal: GivenJournal, log: LogEngine, tmp_path: Path) -> None:
    """Check that a node that has nothing gets what the log has."""
    with_all = open_log(tmp_path / "node", segment_size_max=1 << 20)
    try:
        for entry in journal.entries:
            lines = entry.lines.splitlines(keepends=True)
            taken = JournalEntry(entry.first, entry.predecessor_hash, lines, entry.schemas)
            with_all.apply(taken, is_verified=False)
            assert (entry.end, entry.hash) == (with_all.head.event_count, with_all.head.hash)
        here, there = content_of(log), content_of(with_all)
    finally:
        with_all.close()
    assert here.event_types == there.event_types
    assert events_of(here.log) == events_of(there.log)
    # Where a write ends stays as it was; which of them share a sync is another matter.
    ends = [[mark > Mark.EVENT for mark in marks_of(content.log)] for content in (here, there)]
    assert ends[0] == ends[1]


def test_all_of_a_log_is_in_the_journal_many_writes_to_an_entry(
    log: LogEngine, tmp_path: Path
) -> None:
    journal = GivenJournal()

    assert load(journal, log) == 0

    check_is_loaded(journal, log, tmp_path)
    sizes = [len(entry.lines) for entry in journal.entries if entry.lines]
    assert 10 < len(sizes) < 40
    assert max(sizes) <= 8 * 1024
    assert min(sizes[:-1]) > 4 * 1024
    assert len({entry.batch_id for entry in journal.entries}) == len(journal.entries)
    assert {entry.node for entry in journal.entries} == {"everlog journal load"}
    assert {entry.hash_version for entry in journal.entries} == {2}


def test_a_log_without_events_has_its_schemas_loaded(tmp_path: Path) -> None:
    journal, empty = GivenJournal(), open_log(tmp_path / "empty")
    try:
        assert load(journal, empty) == 0
        assert journal.entries == []
        empty.apply(JournalEntry(0, empty.head.hash, [], SCHEMAS[:1]), is_verified=False)

        load(journal, empty)

        check_is_loaded(journal, empty, tmp_path)
    finally:
        empty.close()


# So many entries are there already, and the log is loaded once more.
@pytest.mark.parametrize("entry_count", [0, 1, 2, 5, 6, 7, 20])
def test_a_load_that_was_interrupted_is_gone_on_with(
    log: LogEngine, tmp_path: Path, entry_count: int
) -> None:
    journal = GivenJournal(entry_size_max=8 * 1024)
    load(journal, log)
    whole = journal.entries
    journal.cut(entry_count)

    before = load(journal, log)

    assert before == (whole[entry_count - 1].end if entry_count else 0)
    assert len(journal.entries) == len(whole)
    check_is_loaded(journal, log, tmp_path)


def test_a_log_that_is_in_the_journal_is_not_loaded_again_but_what_has_come_since(
    log: LogEngine, tmp_path: Path
) -> None:
    journal = GivenJournal()
    load(journal, log)
    count = journal.append_count

    assert load(journal, log) == log.head.event_count
    assert journal.append_count == count

    apply_writes(log, 2, 2)
    assert load(journal, log) == log.head.event_count - 4
    check_is_loaded(journal, log, tmp_path)


@pytest.mark.parametrize("fault", ["stored", "gone", "away"])
def test_whatever_becomes_of_an_answer_an_entry_stands_there_once(
    log: LogEngine, tmp_path: Path, fault: str
) -> None:
    journal = GivenJournal()
    journal.faults_to_come = ["", fault, fault, "", "", "", fault] * 5

    load(journal, log)

    assert journal.faults_to_come == [] or len(journal.faults_to_come) < 35
    check_is_loaded(journal, log, tmp_path)


def test_a_journal_that_does_not_come_back_ends_the_load(
    log: LogEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "_PATIENCE_SECONDS", 0.0)
    journal = GivenJournal()
    journal.faults_to_come = ["", "", "", *["away"] * 1_000]

    with pytest.raises(JournalUnreachableError):
        load(journal, log)

    assert len(journal.entries) == 3


def test_what_somebody_else_appends_meanwhile_ends_the_load(log: LogEngine) -> None:
    journal = GivenJournal()
    standing = asyncio.run(find_standing(journal, log))
    hash_ = log.head.hash
    foreign = Entry(batch_id="f" * 32, node="a node", first=0, end=0, predecessor_hash=hash_,
                    hash=hash_, hash_version=1)  # fmt: skip
    asyncio.run(journal.append(foreign, after=0))

    with pytest.raises(OtherContentError, match="'a node' has appended something meanwhile"):
        asyncio.run(append_log(journal, log, standing, on_appended=lambda _: None))

    assert [entry.node for entry in journal.entries] == ["a node"]


def check_is_refused(journal: GivenJournal, log: LogEngine, text: str) -> None:
    before = journal.entries
    with pytest.raises(OtherContentError, match=text):
        load(journal, log)
    assert journal.entries == before


def test_a_journal_that_has_something_else_is_refused(log: LogEngine, tmp_path: Path) -> None:
    other = open_log(tmp_path / "other", segment_size_max=1 << 20)
    try:
        for schema in SCHEMAS:
            other.apply(JournalEntry(0, other.head.hash, [], [schema]), is_verified=False)
        apply_writes(other, *[1] * log.head.event_count, length=99)
        journal = GivenJournal()
        load(journal, other)
        check_is_refused(journal, log, "its event 329 is another one")
        journal.cut(len(journal.entries) - 1)
        check_is_refused(journal, log, r"its event \d+ is another one")
        # What the journal has is longer.
        longer = GivenJournal()
        apply_writes(other, 1)
        load(longer, other)
        check_is_refused(longer, log, "it has 331 events, and what is to be loaded has 330")
    finally:
        other.close()


def test_other_event_schemas_are_refused(log: LogEngine) -> None:
    journal = GivenJournal()
    load(journal, log)
    last = journal.entries[-1]

    def entry_of(schema: StagedSchema, position: int, hash_: str) -> Entry:
        return Entry(batch_id="f" * 32, node="a node", first=position, end=position,
                     predecessor_hash=hash_, hash=hash_, hash_version=1,
                     schemas=[schema])  # fmt: skip

    more = a_schema("io.everlog.test.more")
    asyncio.run(journal.append(entry_of(more, last.end, last.hash), after=journal.shared.last))
    check_is_refused(journal, log, "event schemas stand in it behind its last event")

    journal = GivenJournal()
    asyncio.run(journal.append(entry_of(more, 0, "0" * 64), after=0))
    check_is_refused(journal, log, "event schemas that are not those to be loaded")

    journal = GivenJournal()
    load(journal, log)
    log.apply(JournalEntry(log.head.event_count, log.head.hash, [], [more]), is_verified=False)
    check_is_refused(journal, log, "more event schemas than it begins with")


def test_a_write_that_fits_into_no_entry_is_told_before_anything_is_appended(
    log: LogEngine,
) -> None:
    journal = GivenJournal(entry_size_max=10 * 1024)
    apply_writes(log, 1, 20)

    with pytest.raises(EntryTooLargeError, match=r"events 331 to 350, which were written at once"):
        load(journal, log)

    assert journal.entries == []


def test_a_schema_that_fits_into_no_entry_is_told_before_anything_is_appended(
    log: LogEngine,
) -> None:
    journal = GivenJournal(entry_size_max=8 * 1024)
    large = a_schema("io.everlog.large", '{"$comment":"' + '\\"' * 3_000 + '"}')
    log.apply(JournalEntry(log.head.event_count, log.head.hash, [], [large]), is_verified=False)

    with pytest.raises(
        EntryTooLargeError, match=r"the schema of the event type 'io.everlog.large'"
    ):
        load(journal, log)

    assert journal.entries == []


def test_an_event_that_is_not_as_it_was_written_is_told(
    log: LogEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = read(log)
    damaged = content.replace(b'"text":"xxx', b'"text":"yxx', 42)
    monkeypatch.setattr(LogEngine, "scan", lambda *_: iter([damaged]))

    with pytest.raises(CorruptLogError, match="event 0 is not as it was written: its hash"):
        verify_log(log, entry_size_max=1 << 20, on_event=lambda _: None)


@pytest.mark.parametrize("entry_count", [0, 1, 2, 3, 4, 5, 17, 100])
def test_the_last_entry_is_found_however_many_there_are(log: LogEngine, entry_count: int) -> None:
    journal = GivenJournal()
    load(journal, log)
    journal.cut(entry_count)

    last = asyncio.run(find_last(journal))

    expected = journal.entries[-1] if journal.entries and journal.entries[-1].end else None
    assert (last and last.entry) == expected
    assert last is None or last.place == journal.shared.last
