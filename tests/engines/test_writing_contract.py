"""What every engine promises about writing: the four moments of a write."""

from itertools import pairwise

import pytest
from msgspec.structs import replace

from everlog.domain.chain import GENESIS_HASH, HashVersion
from everlog.storage.engine import Engine, EventType, Head
from everlog.storage.line import Mark
from everlog.storage.log.disk import PosixDisk
from tests.support.committing import WAYS
from tests.support.engines import (
    content_of,
    event_types_of,
    events_of,
    marks_of,
    positions_of,
    read,
    split_lines,
    subjects_of,
)
from tests.support.events import (
    FIRST_TIME,
    TRACEPARENT,
    a_candidate,
    a_schema,
    seal,
    stage,
    store,
    store_staged,
)


def test_a_new_log_is_empty(engine: Engine) -> None:
    assert engine.head == engine.tip == Head(0, 0, 0, 0, GENESIS_HASH, 0)
    assert read(engine) == b""
    assert subjects_of(engine) == []
    assert event_types_of(engine) == []
    assert engine.seal() is None
    assert list(engine.unpublished_events()) == []


def test_a_stored_event_is_the_text_that_was_accepted(engine: Engine) -> None:
    batch = store(engine, a_candidate(traceparent=TRACEPARENT, tracestate='a="b"'))

    line = b'{"type":"event","payload":' + batch.events[0].json + b"}  \n"
    assert read(engine) == line
    assert batch.lines == [line]


def test_the_head_counts_everything(engine: Engine) -> None:
    first = store(engine, a_candidate("/a/b", "io.everlog.one"), a_candidate("/a/c"))
    assert engine.head == Head(
        event_count=2,
        log_size=sum(map(len, first.lines)),
        # "/", "/a" and the two.
        subject_count=4,
        event_type_count=2,
        hash=first.events[-1].hash,
        time=FIRST_TIME,
    )

    second = store(engine, a_candidate("/a", "io.everlog.one"))
    assert engine.head == Head(
        event_count=3,
        log_size=sum(map(len, [*first.lines, *second.lines])),
        subject_count=4,
        event_type_count=2,
        hash=second.events[-1].hash,
        time=FIRST_TIME + 1,
    )


def test_the_tip_shows_what_is_staged_and_the_head_does_not(engine: Engine) -> None:
    before = engine.head

    events = stage(engine, a_candidate("/a"), a_candidate("/b"), time=FIRST_TIME)

    assert engine.head == before
    assert engine.tip.event_count == 2
    assert engine.tip.subject_count == 3
    assert engine.tip.event_type_count == 1
    assert engine.tip.hash == events[-1].hash
    assert engine.tip.time == FIRST_TIME


@pytest.mark.parametrize("moment", ["staged", "sealed", "committed"])
def test_readers_see_nothing_before_it_is_published(engine: Engine, moment: str) -> None:
    store(engine, a_candidate("/a"))
    before = content_of(engine)

    stage(engine, a_candidate("/a"), a_candidate("/b", "io.everlog.new"))
    engine.stage_schema(a_schema("io.everlog.schema"))
    if moment != "staged":
        batch = seal(engine)
        if moment == "committed":
            engine.commit(batch)

    assert content_of(engine) == before
    assert read(engine, "/a", recursive=False) == before.log
    assert not engine.subject_exists("/b", engine.head)
    assert engine.find_latest("/b", "io.everlog.new", engine.head) is None
    assert engine.event_type("io.everlog.new", engine.head) is None
    assert engine.event_type("io.everlog.schema", engine.head) is None
    assert len(list(engine.unpublished_events())) == 2


def test_a_batch_holds_all_that_was_staged_since_the_last(engine: Engine) -> None:
    store(engine, a_candidate("/a"))
    one = stage(engine, a_candidate("/b"))
    two = stage(engine, a_candidate("/c"), a_candidate("/d"))
    engine.stage_schema(a_schema("io.everlog.schema"))

    batch = seal(engine)

    assert batch.first_position == 1
    assert list(batch.events) == [*one, *two]
    assert list(batch.schemas) == [a_schema("io.everlog.schema")]
    assert batch.head == engine.tip
    assert engine.seal() is None


def test_marks_say_where_writes_and_batches_end(engine: Engine) -> None:
    stage(engine, a_candidate(), a_candidate(), a_candidate())
    stage(engine, a_candidate())
    stage(engine, a_candidate(), a_candidate())
    store_staged(engine)
    store(engine, a_candidate())

    assert marks_of(read(engine)) == [
        *(Mark.EVENT, Mark.EVENT, Mark.WRITE),
        Mark.WRITE,
        *(Mark.EVENT, Mark.BATCH),
        Mark.BATCH,
    ]


def test_a_write_may_be_staged_in_parts(engine: Engine) -> None:
    stage(engine, a_candidate("/a"))
    parts = [("/a", "/b"), ("/c/d",), ("/a", "/e")]
    for number, subjects in enumerate(parts, 1):
        candidates = [a_candidate(subject) for subject in subjects]
        before = engine.tip
        stage(engine, *candidates, time=FIRST_TIME, is_end=number == len(parts))
        assert engine.tip.event_count == before.event_count + len(subjects)
        assert engine.tip.time == FIRST_TIME
        # What comes first is there for those that follow.
        assert engine.state.latest_position(subjects[-1], recursive=False) == (
            engine.tip.event_count - 1
        )
    stage(engine, a_candidate("/f"))
    batch = store_staged(engine)

    assert marks_of(read(engine)) == [Mark.WRITE, *[Mark.EVENT] * 4, Mark.WRITE, Mark.BATCH]
    assert read(engine) == b"".join(batch.lines)
    assert engine.head == engine.tip == batch.head
    assert subjects_of(engine) == ["/", "/a", "/b", "/c", "/c/d", "/e", "/f"]


def test_nothing_but_its_rest_follows_a_part_of_a_write(engine: Engine) -> None:
    stage(engine, a_candidate("/a"), is_end=False)

    with pytest.raises(AssertionError):
        engine.seal()
    with pytest.raises(AssertionError):
        engine.stage_schema(a_schema("io.everlog.schema"))


def test_a_part_of_a_write_is_rolled_back_with_all_else(engine: Engine) -> None:
    store(engine, a_candidate("/a"))
    before = content_of(engine)
    for _ in range(3):
        stage(engine, a_candidate("/a/b", "io.everlog.new"), a_candidate("/c"), is_end=False)

    engine.roll_back()

    assert engine.tip == engine.head
    assert content_of(engine) == before
    assert engine.seal() is None
    assert not engine.state.has_events("/a/b", recursive=True)
    assert store(engine, a_candidate("/c")).first_position == 1


def test_lines_of_a_batch_are_the_bytes_that_readers_get(engine: Engine) -> None:
    batches = [store(engine, a_candidate(), a_candidate()) for _ in range(3)]

    lines = [line for batch in batches for line in batch.lines]
    assert read(engine) == b"".join(lines)
    assert engine.head.log_size == sum(map(len, lines))


def test_several_batches_can_be_on_their_way(engine: Engine) -> None:
    stage(engine, a_candidate("/a"))
    first = seal(engine)
    stage(engine, a_candidate("/b"), a_candidate("/c"))
    second = seal(engine)
    stage(engine, a_candidate("/d"))

    engine.commit(first)
    engine.publish(first)
    assert positions_of(read(engine)) == [0]
    assert [event.subject for event in engine.unpublished_events()] == ["/b", "/c", "/d"]

    third = seal(engine)
    for batch in (second, third):
        engine.commit(batch)
        engine.publish(batch)
    assert positions_of(read(engine)) == [0, 1, 2, 3]
    assert engine.head == engine.tip == third.head
    assert list(engine.unpublished_events()) == []


@pytest.mark.parametrize("way", WAYS)
def test_both_ways_to_commit_store_the_same(engine: Engine, way: str) -> None:
    batches = []
    for number in range(20):
        stage(engine, a_candidate(f"/s{number % 3}"), a_candidate("/s/t"))
        if number % 7 == 0:
            engine.stage_schema(a_schema(f"io.everlog.t{number}"))
        batches.append(seal(engine))

    for number, batch in enumerate(batches):
        before = content_of(engine)
        WAYS[way](engine, batch, PosixDisk())
        assert content_of(engine) == before
        engine.publish(batch)
        assert positions_of(read(engine)) == list(range(2 * number + 2))

    assert engine.head == engine.tip == batches[-1].head
    assert read(engine) == b"".join(line for batch in batches for line in batch.lines)


def test_rolling_back_forgets_what_is_staged_and_sealed(engine: Engine) -> None:
    store(engine, a_candidate("/a", "io.everlog.old"))
    before = content_of(engine)

    stage(engine, a_candidate("/a/b", "io.everlog.new"))
    engine.stage_schema(a_schema("io.everlog.old"))
    seal(engine)
    stage(engine, a_candidate("/a"), a_candidate("/c"))
    engine.stage_schema(a_schema("io.everlog.schema"))
    engine.roll_back()

    assert engine.tip == engine.head
    assert content_of(engine) == before
    assert engine.seal() is None
    assert list(engine.unpublished_events()) == []
    assert not engine.state.has_events("/a/b", recursive=True)
    assert not engine.state.has_events("/c", recursive=False)
    assert engine.state.latest_position("/a", recursive=True) == 0
    assert engine.state.latest_position("/a", recursive=False) == 0


def test_what_was_rolled_back_can_be_written_anew(engine: Engine) -> None:
    store(engine, a_candidate("/a"))
    stage(engine, a_candidate("/a/b"), a_candidate("/c/d", "io.everlog.other"))
    engine.stage_schema(a_schema("io.everlog.schema"))
    seal(engine)
    engine.roll_back()

    stage(engine, a_candidate("/c", "io.everlog.schema"), a_candidate("/a/b"))
    engine.stage_schema(a_schema("io.everlog.schema", '{"type":"object"}'))
    store_staged(engine)

    assert subjects_of(engine) == ["/", "/a", "/a/b", "/c"]
    assert positions_of(read(engine, "/a/b")) == [2]
    assert event_types_of(engine) == [
        EventType("io.everlog.schema", has_events=True, schema='{"type":"object"}'),
        EventType("io.everlog.test.happened", has_events=True, schema=None),
    ]


def test_rolling_back_keeps_batches_that_were_published(engine: Engine) -> None:
    stage(engine, a_candidate("/a"))
    first = seal(engine)
    stage(engine, a_candidate("/b"))
    second = seal(engine)
    engine.commit(first)
    engine.publish(first)
    assert second.first_position == 1

    engine.roll_back()

    assert positions_of(read(engine)) == [0]
    assert engine.tip == engine.head == first.head
    assert store(engine, a_candidate("/c")).first_position == 1


def test_the_state_is_that_of_the_tip(engine: Engine) -> None:
    state = engine.state
    store(engine, a_candidate("/a/b"), a_candidate("/c"))
    stage(engine, a_candidate("/a/d"))
    seal(engine)
    stage(engine, a_candidate("/c/e"))

    # Each row: subject; has events itself, and with those below; latest of both.
    rows = {
        "/": (False, True, None, 3),
        "/a": (False, True, None, 2),
        "/a/b": (True, True, 0, 0),
        "/a/d": (True, True, 2, 2),
        "/c": (True, True, 1, 3),
        "/c/e": (True, True, 3, 3),
        "/missing": (False, False, None, None),
        "/a/b/missing": (False, False, None, None),
    }
    for subject, expected in rows.items():
        assert (
            state.has_events(subject, recursive=False),
            state.has_events(subject, recursive=True),
            state.latest_position(subject, recursive=False),
            state.latest_position(subject, recursive=True),
        ) == expected, subject


def test_both_hash_versions_follow_each_other(engine: Engine) -> None:
    versions = [HashVersion.V1, HashVersion.V2, HashVersion.V1, HashVersion.V2]

    for version in versions:
        store(engine, a_candidate(), hash_version=version)

    events = events_of(read(engine))
    assert [event.hash.startswith("esdb:hash:v2:") for event in events] == [
        version is HashVersion.V2 for version in versions
    ]
    assert [event.predecessorhash for event in events] == [
        GENESIS_HASH,
        *(event.hash for event in events[:-1]),
    ]
    assert engine.head.hash == events[-1].hash


def test_a_batch_of_schemas_only_leaves_the_log_alone(engine: Engine) -> None:
    store(engine, a_candidate())
    before = engine.head

    engine.stage_schema(a_schema("io.everlog.schema"))
    batch = store_staged(engine)

    assert batch.lines == []
    assert batch.first_position == 1
    assert engine.head == replace(before, event_type_count=2)


def test_large_and_strange_events_keep_their_bytes(engine: Engine) -> None:
    data = '{"text":"%s\\u0000\\ud83d\\ude00 \u00e9","number":1.50e+02,"a":{"a":null}}'
    candidates = [
        a_candidate(data=data % ("x" * 60_000)),
        a_candidate("/" + "s" * 4_000, data="{}"),
        a_candidate("/a/" + "/".join("d" * 100)),
    ]

    batch = store(engine, *candidates)

    log = read(engine)
    assert [bytes(event.data).decode() for event in events_of(log)] == [
        candidate.data for candidate in candidates
    ]
    assert split_lines(log) == batch.lines


def test_writing_goes_on_over_many_batches(engine: Engine) -> None:
    for number in range(100):
        store(engine, *[a_candidate(f"/s{number % 7}")] * (number % 5 + 1))

    log = read(engine)
    events = events_of(log)
    assert [event.id for event in events] == [str(position) for position in range(300)]
    assert len(log) == engine.head.log_size
    assert engine.head.event_count == 300
    assert all(event.predecessorhash == before.hash for before, event in pairwise(events))


def test_a_snapshot_changes_nothing_for_readers(engine: Engine) -> None:
    store(engine, a_candidate("/a"), a_candidate("/b"))
    engine.stage_schema(a_schema("io.everlog.schema"))
    store_staged(engine)
    stage(engine, a_candidate("/c"))
    before = content_of(engine)

    assert not engine.is_snapshot_due
    engine.save_snapshot()

    assert not engine.is_snapshot_due
    assert engine.unsaved_event_count == 0
    assert content_of(engine) == before
    assert engine.tip.event_count == 3
