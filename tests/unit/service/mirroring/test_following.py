"""A follower as the order of a writer: what it hands over, when, and what it says of its source."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from functools import wraps
from pathlib import Path
from typing import Any, cast

import pytest

from everlog.domain.errors import Code, DiskFullError, RefusedError
from everlog.domain.event import AcceptedEvent, EventCandidate, to_event_json
from everlog.domain.known_event import KnownEvent
from everlog.domain.schema import read_event_schema
from everlog.service.mirroring import following
from everlog.service.mirroring.following import (
    Follower,
    FollowingEvents,
    FollowingOptions,
    FollowingState,
)
from everlog.service.mirroring.source import (
    SourceError,
    SourceType,
    UnfitSourceError,
    Writes,
)
from everlog.service.store import Store, StoreOptions, open_store
from everlog.service.write import write
from everlog.service.writing.writer import Outcome, Writer
from everlog.storage.engine import JournalEntry, Scan
from everlog.storage.line import Mark, parse_line, render_line
from everlog.storage.log import LogEngine
from tests.support.backups import an_event, chained
from tests.support.events import a_candidate
from tests.support.server import DEADLINE_SECONDS

SCHEMA = '{"type":"object","properties":{}}'
TYPE = "io.everlog.test.happened"
GENESIS = "0" * 64

Log = list[AcceptedEvent]


def a_log(count: int, *, data: str = '{"n":1}', types: tuple[str, ...] = (TYPE,)) -> Log:
    """Return events that follow each other, of types in turns."""
    found = []
    events = [an_event(data, type_=types[number % len(types)]) for number in range(count)]
    for event, hash_ in chained(events):
        candidate = EventCandidate(event["source"], event["subject"], event["type"], event["data"])
        json = to_event_json(
            candidate,
            specversion="1.0",
            id_=event["id"],
            time=event["time"],
            predecessor_hash=event["predecessorhash"],
            hash_=hash_,
        )
        found.append(AcceptedEvent(event["subject"], event["type"], json, hash_))
    return found


def writes_of(log: Log, start: int, stop: int) -> Writes:
    """Return some events of a log as one write."""
    events = log[start:stop]
    lines = [render_line(event.json, Mark.EVENT) for event in events[:-1]]
    lines.append(render_line(events[-1].json, Mark.WRITE))
    predecessor = log[start - 1].hash if start else GENESIS
    return Writes(start, predecessor, lines, events, 1, sum(map(len, lines)))


class ScriptedStream:
    """Gives away what a test tells it to."""

    version = "v9"
    is_marked = True

    def __init__(self, source: "ScriptedSource", known: KnownEvent | None) -> None:
        self._source = source
        self._position = 0 if known is None else known.position + 1
        self._known = known
        self.is_current = False
        self.is_closed = False

    @property
    def count(self) -> int:
        return self._position

    @property
    def is_proven(self) -> bool:
        return self._known is None

    def take(self, *, seconds: float) -> Writes | None:  # noqa: ARG002 - it waits for a moment.
        source = self._source
        if self.is_closed or not source.is_up:
            raise SourceError("it ended the stream")
        if self._known is not None and self._known.position < len(source.log):
            if source.log[self._known.position].hash != self._known.hash:
                raise UnfitSourceError("another hash", position=self._known.position)
            self._known = None
        start, stop = self._position, min(self._position + source.per_write, len(source.log))
        self.is_current = start == stop
        if self.is_current or self._known is not None:
            time.sleep(0.005)
            return None
        self._position = stop
        return writes_of(source.log, start, stop)

    def close(self) -> None:
        self.is_closed = True


class ScriptedSource:
    """A source whose log a test makes."""

    address = "http://source.test"

    def __init__(self, log: Log | None = None, *, per_write: int = 1) -> None:
        self.log = log or []
        self.per_write = per_write
        self.types: dict[str, str | None] = {}
        self.is_up = True
        self.asked: list[str] = []

    def observe(
        self,
        known: KnownEvent | None,
        *,
        time: int,  # noqa: ARG002 - its events have no times.
    ) -> ScriptedStream:
        self.asked.append("observe")
        if not self.is_up:
            raise SourceError("Connection refused")
        return ScriptedStream(self, known)

    def read_event_types(self) -> Iterator[SourceType]:
        self.asked.append("types")
        yield from [SourceType(name, schema) for name, schema in self.types.items()]

    def find_latest(self, position: int) -> int | None:
        return len(self.log) - 1 if len(self.log) > position else None

    def find_hash(self, position: int) -> str | None:
        return self.log[position].hash if position < len(self.log) else None


class Told:
    """What a follower has told."""

    def __init__(self) -> None:
        self.all: list[tuple[Any, ...]] = []
        self.events = FollowingEvents(
            **{
                name: self._note(name)
                for name in ("connected", "lost", "behind", "refused", "caught_up", "bug")
            }
        )

    def _note(self, name: str) -> Callable[..., None]:
        return lambda *arguments: self.all.append((name, *arguments))

    def named(self, name: str) -> list[tuple[Any, ...]]:
        return [told for told in self.all if told[0] == name]


class PatientWriter:
    """A writer that takes over nothing before a test lets it."""

    def __init__(self) -> None:
        self.calls = 0

    def take_over(self) -> None:
        self.calls += 1


def on_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test on an event loop of its own."""

    @wraps(test)
    def run(**fixtures: Any) -> None:
        asyncio.run(test(**fixtures))

    return run


async def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.002)


@asynccontextmanager
async def following_store(
    directory: Path, source: ScriptedSource
) -> AsyncIterator[tuple[Store, Follower, Told]]:
    told = Told()
    options = StoreOptions(following=FollowingOptions(source=source, events=told.events))
    async with open_store(directory, options) as store:
        assert store.follower is not None
        yield store, store.follower, told
    assert not told.named("bug")


@asynccontextmanager
async def patient_follower(
    directory: Path, source: ScriptedSource
) -> AsyncIterator[tuple[LogEngine, Follower]]:
    """Run a follower whose writer is the test."""
    engine = LogEngine.open(directory)
    options = FollowingOptions(source=source)
    follower = Follower(engine, options, loop=asyncio.get_running_loop())
    follower.start(cast("Writer", PatientWriter()))
    try:
        yield engine, follower
    finally:
        follower.stop()
        engine.close()


async def taken(follower: Follower) -> JournalEntry:
    await until(follower.take)
    [entry] = follower.take()
    return entry


def hashes_in(store: Store) -> list[str]:
    head = store.engine.head
    blocks = store.engine.scan(Scan(start=0, stop=head.event_count), head)
    lines = b"".join(blocks).splitlines(keepends=True)
    return [parse_line(line)[0].hash for line in lines]


@on_a_loop
async def test_what_the_source_has_and_gets_is_stored(tmp_path: Path) -> None:
    log = a_log(30)
    source = ScriptedSource(log[:10], per_write=3)
    async with following_store(tmp_path, source) as (store, follower, told):
        await until(lambda: store.engine.head.event_count == 10)
        source.log = log
        await until(lambda: store.engine.head.event_count == 30)

        assert hashes_in(store) == [event.hash for event in log]
        await until(lambda: told.named("caught_up"))
        figures = follower.figures()
        assert (figures.state, figures.lag_events) == (FollowingState.FOLLOWING, 0)
        assert (figures.event_count, figures.connection_count) == (30, 1)
        assert told.named("connected") == [("connected", "v9", True)]


@on_a_loop
async def test_whoever_writes_is_told_where_to(tmp_path: Path) -> None:
    source = ScriptedSource(a_log(1))
    async with following_store(tmp_path, source) as (store, _, _):
        await until(lambda: store.engine.head.event_count == 1)
        outcomes: list[Outcome] = []

        write(store, [a_candidate()], (), outcomes.append)
        schema = read_event_schema(TYPE, SCHEMA.encode())
        store.writer.register(schema, checked_event_count=0, answer=outcomes.append)
        await until(lambda: len(outcomes) == 2)
        for action in (store.writer.become_read_only, store.writer.begin_restore):
            with pytest.raises(RefusedError) as refusal:
                action(outcomes.append)
            outcomes.append(refusal.value)

        for outcome in outcomes:
            assert isinstance(outcome, RefusedError)
            assert outcome.code is Code.STORE_READ_ONLY
            assert outcome.message == "this server follows http://source.test: write there"
            assert outcome.details == {"source": "http://source.test"}
        assert store.engine.head.event_count == 1


@on_a_loop
async def test_a_write_is_one_entry_or_a_part_of_one(tmp_path: Path) -> None:
    log = a_log(12)
    async with patient_follower(tmp_path, ScriptedSource(log, per_write=4)) as (engine, follower):
        await until(lambda: follower.figures().event_count == 12)
        entry = await taken(follower)

        marks = [parse_line(line)[1] for line in entry.lines]
        write = [Mark.EVENT] * 3
        assert marks == [*write, Mark.WRITE, *write, Mark.WRITE, *write, Mark.BATCH]
        # It is the same until it is stored, and then something else or nothing.
        assert follower.take() == (entry,)
        engine.apply(entry, is_verified=False)
        follower.note_applied(1, None)
        assert follower.take() == ()
        assert engine.head.event_count == 12


@on_a_loop
async def test_what_waits_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_WAITING_SIZE_MAX", 10_000)
    monkeypatch.setattr(following, "_BATCH_SIZE_MAX", 2_000)
    log = a_log(200)
    async with patient_follower(tmp_path, ScriptedSource(log)) as (engine, follower):
        await until(lambda: follower.figures().event_count > 10)
        await asyncio.sleep(0.2)

        waiting = follower.figures().size
        assert 10_000 < waiting < 12_000
        entry = await taken(follower)
        assert sum(map(len, entry.lines)) < 3_000
        while engine.head.event_count < 200:
            engine.apply(await taken(follower), is_verified=False)
            follower.note_applied(1, None)


@on_a_loop
async def test_what_finds_no_room_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "_RETRY_SECONDS", 0.05)
    async with patient_follower(tmp_path, ScriptedSource(a_log(3))) as (engine, follower):
        await until(lambda: follower.figures().event_count == 3)
        entry = await taken(follower)

        follower.note_applied(0, DiskFullError("no room"))
        assert follower.take() == ()
        assert follower.figures().storing_failure == "no room"

        assert await taken(follower) is entry
        engine.apply(entry, is_verified=False)
        follower.note_applied(1, None)
        assert follower.figures().storing_failure == ""


@on_a_loop
async def test_schemas_come_before_the_events_that_they_are_about(tmp_path: Path) -> None:
    types = (TYPE, "io.everlog.test.other")
    log = a_log(6, types=types)
    source = ScriptedSource(log[:1])
    source.types = {"io.everlog.test.phantom": SCHEMA}
    async with patient_follower(tmp_path, source) as (engine, follower):

        async def store_all(count: int) -> list[JournalEntry]:
            entries = []
            while engine.head.event_count < count:
                entries.append(await taken(follower))
                engine.apply(entries[-1], is_verified=False)
                follower.note_applied(1, None)
            return entries

        entries = await store_all(1)
        assert [schema.event_type for schema in entries[0].schemas] == ["io.everlog.test.phantom"]

        # It is registered before the first event of the type, and right before it.
        source.types["io.everlog.test.other"] = SCHEMA
        source.log = log
        entries = await store_all(6)
        found = engine.event_type("io.everlog.test.other", engine.head)
        assert found is not None
        assert found.schema == SCHEMA
        assert entries[0].schemas[0].event_type == "io.everlog.test.other"


@on_a_loop
async def test_a_type_that_was_listed_is_not_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "_SCHEMAS_SECONDS", 1_000.0)
    monkeypatch.setattr(following, "_SCHEMAS_IDLE_SECONDS", 1_000.0)
    types = tuple(f"io.everlog.test.number-{number}" for number in range(20))
    source = ScriptedSource(a_log(40, types=types))
    source.types = dict.fromkeys(types)
    async with following_store(tmp_path, source) as (store, _, _):
        await until(lambda: store.engine.head.event_count == 40)

        assert source.asked.count("types") == 1


@on_a_loop
async def test_few_schemas_are_taken_over_at_once(tmp_path: Path) -> None:
    source = ScriptedSource()
    source.types = {f"io.everlog.test.number-{number}": SCHEMA for number in range(30)}
    async with patient_follower(tmp_path, source) as (engine, follower):
        counts = []
        while sum(counts) < 30:
            entry = await taken(follower)
            counts.append(len(entry.schemas))
            engine.apply(entry, is_verified=False)
            follower.note_applied(1, None)

        assert max(counts) <= following._BATCH_SCHEMAS_MAX


@on_a_loop
async def test_a_schema_without_events_comes_after_some_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "_SCHEMAS_IDLE_SECONDS", 0.05)
    source = ScriptedSource(a_log(1))
    async with following_store(tmp_path, source) as (store, _, _):
        await until(lambda: store.engine.head.event_count == 1)
        source.types[TYPE] = SCHEMA
        await until(lambda: TYPE in store.writer.schemas)

        assert store.writer.schemas[TYPE].text == SCHEMA


@on_a_loop
async def test_an_old_answer_about_schemas_is_not_relied_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "_SCHEMAS_SECONDS", 0.0)
    monkeypatch.setattr(following, "_SCHEMAS_SHARE", 0)
    monkeypatch.setattr(following, "_SCHEMAS_IDLE_SECONDS", 1_000.0)
    log = a_log(2)
    source = ScriptedSource(log[:1])
    async with following_store(tmp_path, source) as (store, _, _):
        await until(lambda: store.engine.head.event_count == 1)
        source.types[TYPE] = SCHEMA
        source.log = log
        await until(lambda: store.engine.head.event_count == 2)

        found = store.engine.event_type(TYPE, store.engine.head)
        assert found is not None
        assert found.schema == SCHEMA


@on_a_loop
async def test_another_schema_is_refused(tmp_path: Path) -> None:
    source = ScriptedSource(a_log(1))
    source.types = {TYPE: SCHEMA}
    async with following_store(tmp_path, source) as (store, _, _):
        await until(lambda: TYPE in store.writer.schemas)
    source.types = {TYPE: '{"type":"object","properties":{"n":{}}}'}

    async with following_store(tmp_path, source) as (_, follower, told):
        await until(lambda: told.named("refused"))

        [(_, reason, position)] = told.named("refused")
        assert reason == f"its event type {TYPE} has another schema than the one here"
        assert position is None
        assert follower.figures().state is FollowingState.REFUSED


@on_a_loop
async def test_a_schema_that_the_source_lacks_is_told_and_asked_for_again(tmp_path: Path) -> None:
    source = ScriptedSource(a_log(1))
    source.types = {TYPE: SCHEMA}
    async with following_store(tmp_path, source) as (store, _, _):
        await until(lambda: TYPE in store.writer.schemas)
    source.types = {}

    async with following_store(tmp_path, source) as (_, follower, told):
        await until(lambda: told.named("lost"))
        reason = f"its event type {TYPE} lacks the schema that it has here"
        assert told.named("lost")[0] == ("lost", reason)
        source.types = {TYPE: SCHEMA}
        await until(lambda: follower.figures().state is FollowingState.FOLLOWING)


@on_a_loop
async def test_a_source_is_asked_again_for_ever_and_less_and_less_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "_PAUSE_SECONDS_MIN", 0.001)
    monkeypatch.setattr(following, "_PAUSE_SECONDS_MAX", 0.01)
    log = a_log(20)
    source = ScriptedSource(log[:10])
    async with following_store(tmp_path, source) as (store, follower, told):
        await until(lambda: store.engine.head.event_count == 10)
        source.is_up = False
        await until(lambda: len(told.named("lost")) > 5)
        assert follower.figures().state is FollowingState.UNREACHABLE
        assert follower.figures().reason == "Connection refused"
        assert follower.figures().failure_count > 5

        source.log, source.is_up = log, True
        await until(lambda: store.engine.head.event_count == 20)
        assert follower.figures().connection_count == 2


@on_a_loop
async def test_who_waits_can_be_woken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_PAUSE_SECONDS_MIN", 1_000.0)
    source = ScriptedSource(a_log(1))
    source.is_up = False
    async with following_store(tmp_path, source) as (store, follower, told):
        await until(lambda: told.named("lost"))
        source.is_up = True
        follower.wake()
        await until(lambda: store.engine.head.event_count == 1)


@pytest.mark.parametrize("differs_from", [0, 1, 7, 9])
@on_a_loop
async def test_another_source_is_refused_at_the_first_event_that_differs(
    tmp_path: Path, differs_from: int
) -> None:
    ours = a_log(10)
    async with following_store(tmp_path, ScriptedSource(ours)) as (store, _, _):
        await until(lambda: store.engine.head.event_count == 10)
    events = [an_event() for _ in range(differs_from)]
    events += [an_event('{"n":2}') for _ in range(15 - differs_from)]
    theirs = [AcceptedEvent("/", TYPE, b"", hash_) for _, hash_ in chained(events)]

    async with following_store(tmp_path, ScriptedSource(theirs)) as (store, follower, told):
        await until(lambda: told.named("refused"))

        [(_, reason, position)] = told.named("refused")
        assert position == differs_from
        assert reason == f"another hash: the first event that differs is {differs_from}"
        assert follower.figures().state is FollowingState.REFUSED
        # What is here is served.
        assert hashes_in(store) == [event.hash for event in ours]


@on_a_loop
async def test_a_source_that_is_behind_is_told_and_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "_PROOF_SECONDS", 0.02)
    log = a_log(12)
    async with following_store(tmp_path, ScriptedSource(log[:10])) as (store, _, _):
        await until(lambda: store.engine.head.event_count == 10)
    source = ScriptedSource(log[:4])

    async with following_store(tmp_path, source) as (store, follower, told):
        await until(lambda: told.named("behind"))
        assert told.named("behind")[0][1] == "it has 4 events, and here are 10"
        assert follower.figures().state is FollowingState.BEHIND

        source.log = log
        await until(lambda: store.engine.head.event_count == 12)
        assert follower.figures().state is FollowingState.FOLLOWING
        assert not told.named("refused")


@on_a_loop
async def test_a_source_that_is_behind_and_another_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "_PROOF_SECONDS", 0.02)
    async with following_store(tmp_path, ScriptedSource(a_log(10))) as (store, _, _):
        await until(lambda: store.engine.head.event_count == 10)

    async with following_store(tmp_path, ScriptedSource(a_log(4, data='{"n":2}'))) as (_, _, told):
        await until(lambda: told.named("refused"))

        assert told.named("refused")[0][2] == 0


@on_a_loop
async def test_lag_is_told_in_events_and_seconds(tmp_path: Path) -> None:
    log = a_log(100)
    source = ScriptedSource(log[:50], per_write=50)
    async with patient_follower(tmp_path, source) as (engine, follower):
        await until(lambda: follower.figures().lag_events == 50)
        first = follower.figures().lag_seconds
        await asyncio.sleep(0.05)
        assert follower.figures().lag_seconds >= first + 0.05

        engine.apply(await taken(follower), is_verified=False)
        follower.note_applied(1, None)
        figures = follower.figures()
        assert (figures.lag_events, figures.lag_seconds) == (0, 0.0)


@on_a_loop
async def test_who_stops_is_not_kept_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "_WAITING_SIZE_MAX", 1_000)
    async with patient_follower(tmp_path, ScriptedSource(a_log(50))) as (_, follower):
        await until(lambda: follower.figures().size > 1_000)
        follower.stop()

        assert follower.take() == ()


@on_a_loop
async def test_a_promoted_follower_writes_and_may_not_follow_again(tmp_path: Path) -> None:
    log = a_log(3)
    async with following_store(tmp_path, ScriptedSource(log[:2])) as (store, _, _):
        await until(lambda: store.engine.head.event_count == 2)
    async with open_store(tmp_path) as store:
        written: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        write(store, [a_candidate()], (), written.set_result)
        assert not isinstance(await written, Exception)

    async with following_store(tmp_path, ScriptedSource(log)) as (_, _, told):
        await until(lambda: told.named("refused"))

        assert told.named("refused")[0][2] == 2
