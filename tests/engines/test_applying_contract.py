"""What every engine promises about others' batches: they come in whole, where they belong."""

from collections.abc import Callable, Sequence

import pytest
from msgspec.structs import replace

from everlog.domain.chain import HashVersion
from everlog.storage.engine import (
    BatchLostError,
    Engine,
    EventType,
    JournalEntry,
    ReadLines,
    UnchainedEntryError,
)
from everlog.storage.line import Mark
from tests.support.engines import (
    content_of,
    event_types_of,
    marks_of,
    positions_of,
    read,
    split_lines,
)
from tests.support.events import (
    FIRST_TIME,
    TRACEPARENT,
    a_candidate,
    a_schema,
    accept_at,
    an_entry,
    seal,
    stage,
    store,
    store_staged,
)
from tests.support.memory_engine import MemoryEngine

ONE, TWO = "io.everlog.one", "io.everlog.two"


@pytest.mark.parametrize("is_verified", [False, True])
@pytest.mark.parametrize("hash_version", HashVersion)
def test_an_entry_is_there_as_it_was_written_elsewhere(
    engine: Engine, hash_version: HashVersion, *, is_verified: bool
) -> None:
    store(engine, a_candidate("/a", ONE))
    writes = (
        [a_candidate("/a"), a_candidate("/b/c", TWO, traceparent=TRACEPARENT)],
        [a_candidate("/b", data='{"text":"\u00e9\\n"}')],
    )
    entry = an_entry(
        engine.head, *writes, schemas=[a_schema("io.everlog.phantom")], hash_version=hash_version
    )

    batch = engine.apply(entry, is_verified=is_verified)

    assert split_lines(read(engine))[1:] == entry.lines
    assert marks_of(read(engine)) == [Mark.BATCH, Mark.EVENT, Mark.WRITE, Mark.BATCH]
    assert (batch.first_position, batch.lines, batch.head) == (1, entry.lines, engine.head)
    assert list(batch.schemas) == list(entry.schemas)
    assert engine.tip == engine.head
    assert engine.event_type("io.everlog.phantom", engine.head) == EventType(
        name="io.everlog.phantom", has_events=False, schema=entry.schemas[0].text
    )
    assert engine.state.latest_position("/b", recursive=False) == 3
    assert positions_of(read(engine, "/b")) == [2, 3]


def test_the_events_of_an_entry_are_those_that_were_accepted(engine: Engine) -> None:
    candidates = [a_candidate("/a", traceparent=TRACEPARENT, tracestate='a="b"'), a_candidate()]
    accepted = accept_at(engine.head, candidates, time=FIRST_TIME)

    assert engine.apply(an_entry(engine.head, candidates), is_verified=False).events == accepted


def test_an_entry_that_somebody_has_read_is_taken_over_in_the_same_way(engine: Engine) -> None:
    candidates = [a_candidate("/a", ONE), a_candidate("/a/b", TWO)]
    entry = an_entry(engine.head, candidates, schemas=[a_schema(TWO)])
    events = accept_at(engine.head, candidates, time=FIRST_TIME)

    batch = engine.apply(entry._replace(read=ReadLines(events, FIRST_TIME)), is_verified=False)

    assert split_lines(read(engine)) == entry.lines
    assert batch.events == events
    assert batch.head == engine.head
    assert (engine.head.event_count, engine.head.hash) == (2, events[-1].hash)
    assert engine.head.time == FIRST_TIME
    assert positions_of(read(engine, "/a/b")) == [1]
    found = engine.event_type(TWO, engine.head)
    assert found is not None
    assert found.schema is not None
    # It has to be where it belongs all the same.
    with pytest.raises(UnchainedEntryError):
        engine.apply(entry._replace(read=ReadLines(events, FIRST_TIME)), is_verified=False)


def test_an_entry_of_schemas_only_leaves_the_log_alone(engine: Engine) -> None:
    store(engine, a_candidate())
    before = read(engine)

    engine.apply(an_entry(engine.head, schemas=[a_schema(ONE), a_schema(TWO)]), is_verified=False)

    assert read(engine) == before
    assert [entry.name for entry in event_types_of(engine) if entry.schema] == [ONE, TWO]


def test_entries_and_own_writes_follow_each_other(engine: Engine) -> None:
    for number in range(20):
        engine.apply(an_entry(engine.head, [a_candidate(f"/a/{number}")] * 3), is_verified=True)
        store(engine, a_candidate("/own"))

    assert positions_of(read(engine)) == list(range(80))
    assert positions_of(read(engine, "/own")) == list(range(3, 80, 4))


def test_a_reader_of_an_older_head_sees_nothing_of_an_entry(engine: Engine) -> None:
    store(engine, a_candidate("/a"))
    head, before = engine.head, content_of(engine)

    engine.apply(an_entry(head, [a_candidate("/a"), a_candidate("/new", TWO)]), is_verified=False)

    assert read(engine, head=head) == before.log
    assert not engine.subject_exists("/new", head)


Change = Callable[[JournalEntry], JournalEntry]


def with_lines(edit: Callable[[list[bytes]], Sequence[bytes]]) -> Change:
    return lambda entry: entry._replace(lines=edit([*entry.lines]))


CHANGES: dict[str, Change] = {
    "it was there before": lambda entry: entry._replace(first_position=entry.first_position - 1),
    "it leaves a gap": lambda entry: entry._replace(first_position=entry.first_position + 1),
    "it follows another log": lambda entry: entry._replace(predecessor_hash="0" * 64),
    "it is empty": lambda entry: entry._replace(lines=[], schemas=[]),
    "its schema is known": lambda entry: entry._replace(schemas=[a_schema(ONE)]),
    "it has a schema twice": lambda entry: entry._replace(schemas=[a_schema(TWO)] * 2),
    "a line is none": with_lines(lambda lines: [lines[0], b"x" + lines[1][1:], lines[2]]),
    "a line is missing": with_lines(lambda lines: [lines[0], lines[2]]),
    "lines changed places": with_lines(lambda lines: [lines[1], lines[0], lines[2]]),
    "its end is missing": with_lines(lambda lines: lines[:2]),
    "it is two batches": with_lines(lambda lines: [lines[0], lines[1][:-1] + b"  \n", lines[2]]),
    "its last mark is that of a write": with_lines(
        lambda lines: [*lines[:2], lines[2][:-2] + b"\n"]
    ),
    "two lines are one": with_lines(lambda lines: [lines[0] + lines[1], lines[2]]),
    "a line is broken": with_lines(
        lambda lines: [lines[0].replace(b',"data":', b',\n"data":'), *lines[1:]]
    ),
    "an event was changed": with_lines(
        lambda lines: [lines[0], lines[1].replace(b'{"n":1}', b'{"n":2}'), lines[2]]
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_does_not_continue_the_log_changes_nothing(engine: Engine, change: Change) -> None:
    store(engine, a_candidate("/a", ONE))
    engine.stage_schema(a_schema(ONE))
    store_staged(engine)
    before, tip = content_of(engine), engine.tip
    entry = an_entry(engine.head, [a_candidate("/new", TWO)] * 2, [a_candidate("/new/2")])

    with pytest.raises(UnchainedEntryError):
        engine.apply(change(entry), is_verified=False)

    assert (content_of(engine), engine.tip) == (before, tip)
    assert not engine.state.has_events("/new", recursive=True)
    engine.apply(entry, is_verified=False)
    assert positions_of(read(engine, "/new")) == [1, 2, 3]


def test_events_that_go_back_in_time_do_not_continue_the_log(engine: Engine) -> None:
    stage(engine, a_candidate(), time=FIRST_TIME + 1_000_000_000)
    store_staged(engine)
    early = an_entry(replace(engine.head, time=FIRST_TIME), [a_candidate()])

    with pytest.raises(UnchainedEntryError):
        engine.apply(early, is_verified=False)

    assert positions_of(read(engine)) == [0]


def test_a_hash_that_somebody_verified_is_not_computed_again(engine: Engine) -> None:
    entry = an_entry(engine.head, [a_candidate()])
    changed = [line.replace(b'{"n":1}', b'{"n":2}') for line in entry.lines]

    engine.apply(entry._replace(lines=changed), is_verified=True)

    assert split_lines(read(engine)) == changed


@pytest.mark.parametrize("is_sealed", [False, True])
def test_nothing_is_applied_while_something_is_staged(engine: Engine, *, is_sealed: bool) -> None:
    entry = an_entry(engine.head, [a_candidate()])
    stage(engine, a_candidate())
    if is_sealed:
        seal(engine)

    with pytest.raises(AssertionError):
        engine.apply(entry, is_verified=False)

    engine.roll_back()
    engine.apply(entry, is_verified=False)
    assert split_lines(read(engine)) == entry.lines


# What only a journal that others append to can do: the reference plays it.


def test_a_lost_batch_gives_way_to_those_that_stand_in_its_place() -> None:
    engine = MemoryEngine()
    store(engine, a_candidate("/a"))
    first = an_entry(engine.head, [a_candidate("/rival/1")])
    engine.lose_next(lambda head: [an_entry(head, [a_candidate("/rival/1")])])
    stage(engine, a_candidate("/own"))
    stage(engine, a_candidate("/own/2"))
    lost = seal(engine)
    stage(engine, a_candidate("/own/3"))

    with pytest.raises(BatchLostError) as raised:
        engine.commit(lost)

    assert raised.value.entries == [first]
    assert positions_of(read(engine)) == [0]
    engine.roll_back()
    for entry in raised.value.entries:
        engine.apply(entry, is_verified=False)
    assert not engine.state.has_events("/own", recursive=True)
    store(engine, a_candidate("/own"))
    assert positions_of(read(engine, "/rival")) == [1]
    assert positions_of(read(engine, "/own")) == [2]


def test_a_batch_is_lost_as_often_as_there_are_rivals() -> None:
    engine = MemoryEngine()
    rival = lambda head: [an_entry(head, [a_candidate("/rival")])]  # noqa: E731 - as short as it is
    engine.lose_next(rival, rival)
    for expected in (0, 1, None):
        stage(engine, a_candidate("/own"))
        batch = seal(engine)
        try:
            engine.commit(batch)
        except BatchLostError as lost:
            engine.roll_back()
            for entry in lost.entries:
                assert engine.apply(entry, is_verified=False).first_position == expected
        else:
            assert expected is None
            engine.publish(batch)
    assert positions_of(read(engine, "/own")) == [2]
