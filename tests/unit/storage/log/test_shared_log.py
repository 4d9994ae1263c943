"""A log that is read by the index of another process shows what that one shows."""

import random
from pathlib import Path

from everlog.domain.chain import HashVersion
from everlog.domain.event import EventCandidate, accept_events
from everlog.storage.engine import Scan, StagedSchema
from everlog.storage.log import LogEngine
from everlog.storage.log.shared_log import SharedLog

# Small segments, so that there are many.
SEGMENT_SIZE = 20_000
TIME = 1_767_225_600_000_000_000
BATCHES = 150


def stage(engine: LogEngine, rng: random.Random) -> list[EventCandidate]:
    candidates = [
        EventCandidate(
            "https://everlog.test",
            f"/s/{rng.randint(0, 600)}/{rng.choice('abc')}",
            f"io.everlog.test.t{rng.randint(0, 40)}",
            f'{{"n":{number}}}',
        )
        for number in range(rng.randint(1, 20))
    ]
    events = accept_events(
        candidates,
        position=engine.tip.event_count,
        time="2026-01-01T00:00:00.000000000Z",
        predecessor_hash=engine.tip.hash,
        hash_version=HashVersion.V1,
    )
    engine.stage(events, time=TIME)
    return candidates


def check_same(engine: LogEngine, shared: SharedLog, subject: str) -> None:
    head = engine.head
    assert shared.head == head
    for wanted in ("/", "/s", subject, "/s/7", "/nowhere"):
        for recursive in (True, False):
            for is_reversed in (True, False):
                scan = Scan(
                    start=0,
                    stop=head.event_count,
                    subject=wanted,
                    recursive=recursive,
                    is_reversed=is_reversed,
                )
                assert b"".join(shared.scan(scan, head)) == b"".join(engine.scan(scan, head))
                assert shared.count(scan, head) == engine.count(scan, head)
    assert [*shared.event_types(head)] == [*engine.event_types(head)]
    assert [*shared.subjects("/", head)] == [*engine.subjects("/", head)]


def test_whatever_the_writer_does_the_same_is_shown(tmp_path: Path) -> None:
    engine = LogEngine.open(tmp_path / "data", segment_size_max=SEGMENT_SIZE)
    files = engine.share()
    assert files is not None
    shared = SharedLog(files)
    rng = random.Random(1)

    for number in range(BATCHES):
        if number % 50 == 7:
            schema = StagedSchema(f"io.everlog.test.schema{number}", '{"type":"object"}')
            engine.stage_schema(schema)
        candidates = stage(engine, rng)
        # What is only staged is not shown, and may be forgotten.
        assert not shared.catch_up()
        if number % 7 == 0:
            engine.roll_back()
            continue
        batch = engine.seal()
        assert batch is not None
        engine.commit(batch)
        engine.publish(batch)
        assert shared.catch_up()
        if number % 10 == 1:
            check_same(engine, shared, candidates[0].subject)
    check_same(engine, shared, "/s/1/a")
    # Whoever comes later sees the same at once.
    late = SharedLog(files)
    check_same(engine, late, "/s/1/a")
    for log in (shared, late):
        log.close()
    engine.close()


def test_what_observers_are_told_is_cut_by_its_size(tmp_path: Path) -> None:
    engine = LogEngine.open(tmp_path / "data")
    files = engine.share()
    assert files is not None
    shared = SharedLog(files)
    data = f'{{"text":"{"x" * 400_000}"}}'
    for number in range(5):
        candidates = [EventCandidate("https://everlog.test", f"/{number}", "io.everlog.t", data)]
        events = accept_events(
            candidates,
            position=number,
            time="2026-01-01T00:00:00.000000000Z",
            predecessor_hash=engine.tip.hash,
            hash_version=HashVersion.V1,
        )
        engine.stage(events, time=TIME)
    batch = engine.seal()
    assert batch is not None
    engine.commit(batch)
    engine.publish(batch)
    shared.catch_up()

    events, lines = shared.events_between(0, 5)
    rest, _ = shared.events_between(4, 5)

    assert [event.subject for event in events] == ["/0", "/1"]
    assert lines == [*batch.lines[:2]]
    assert [event.subject for event in rest] == ["/4"]
    shared.close()
    engine.close()
