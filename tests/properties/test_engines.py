"""The embedded engine and the reference engine, driven with the same commands, show the same.

Sizes that are large in production are made tiny here, so that a few dozen events roll segments,
grow columns, span blocks and windows, and take both ways through the index.
"""

import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from everlog.domain.chain import HashVersion
from everlog.domain.event import EventCandidate
from everlog.storage.engine import Batch, BatchLostError, Engine, Head, Scan
from everlog.storage.log import (
    ReadOnlyLog,
    columns,
    index,
    indexed_log,
    reading,
    recovery,
    subject_tree,
)
from everlog.storage.log import engine as log_engine
from everlog.storage.log.reading import LogView
from tests.support.committing import commit_in_steps
from tests.support.engines import content_of, few_lines, kill, open_log, subjects_of
from tests.support.events import (
    TRACEPARENT,
    a_candidate,
    a_schema,
    accept_at,
    an_entry,
    time_after,
)
from tests.support.memory_engine import MemoryEngine

SUBJECTS = ("/", "/a", "/a/b", "/a/b/c", "/a-b", "/a-b/c", "/b", "/b/a", "/b/a/b/c")
TYPES = ("io.everlog.one", "io.everlog.two", "io.everlog.three")

EVENTS = st.lists(
    st.builds(
        a_candidate,
        st.sampled_from(SUBJECTS),
        st.sampled_from(TYPES),
        data=st.sampled_from(('{"n":1}', '{"text":"\u00e9\\n"}', '{"text":"' + "x" * 300 + '"}')),
        traceparent=st.sampled_from((None, TRACEPARENT)),
    ),
    min_size=1,
    max_size=6,
)
POSITIONS = st.integers(0, 80)


class Sealed(NamedTuple):
    """The same batch, as each engine made it."""

    memory: Batch
    log: Batch


# So small that what a tree does now and then it does all the time.
SMALL_TREE = {
    "_KNOWN_SIZE_MAX": 400,
    "_TABLE_SIZE_MIN": 2,
    "_MOVED_AT_ONCE": 2,
    "_ADDED_BETWEEN": 1,
    "_LOADED_AT_ONCE": 3,
    "_LAG_MAX": 3,
    "_NAMES_PER_CHUNK": 2,
}


class Engines(RuleBasedStateMachine):
    """Two engines, the batches on their way, and the heads that readers may still hold."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="everlog-test-"))
        self.memory = MemoryEngine()
        self.log = open_log(self.directory)
        self.sealed: list[Sealed] = []
        self.heads: list[Head] = [self.log.head]

        self.reader = ReadOnlyLog.open(self.directory)

    def teardown(self) -> None:
        self.reader.close()
        kill(self.log)
        shutil.rmtree(self.directory)

    @property
    def engines(self) -> tuple[Engine, Engine]:
        return self.memory, self.log

    @initialize(writes=st.lists(EVENTS, max_size=12))
    def fill(self, writes: list[list[EventCandidate]]) -> None:
        for candidates in writes:
            self.store(candidates, HashVersion.V2)

    @rule(writes=st.lists(EVENTS, min_size=1, max_size=4))
    def store_many(self, writes: list[list[EventCandidate]]) -> None:
        for candidates in writes:
            self.store(candidates, HashVersion.V2)

    @rule(candidates=EVENTS, hash_version=st.sampled_from(HashVersion))
    def store(self, candidates: list[EventCandidate], hash_version: HashVersion) -> None:
        self.stage(candidates, hash_version)
        self.seal()
        while self.sealed:
            self.commit_and_publish(is_in_steps=False)

    @rule(candidates=EVENTS, hash_version=st.sampled_from(HashVersion))
    def stage(self, candidates: list[EventCandidate], hash_version: HashVersion) -> None:
        tip = self.memory.tip
        time = time_after(tip)
        events = accept_at(tip, candidates, time=time, hash_version=hash_version)
        for engine in self.engines:
            engine.stage(events, time=time)

    @rule(name=st.sampled_from((*TYPES, "io.everlog.phantom", "io.everlog.ghost")))
    def stage_schema(self, name: str) -> None:
        # Whoever stages schemas knows those on their way, too.
        sealed = [schema for batches in self.sealed for schema in batches.memory.schemas]
        known = [*self.memory._schemas, *sealed]
        if all(schema.event_type != name for schema in known):
            for engine in self.engines:
                engine.stage_schema(a_schema(name))

    @rule(writes=st.lists(EVENTS, min_size=1, max_size=3))
    def stage_entry(self, writes: list[list[EventCandidate]]) -> None:
        """Put what somebody else wrote behind the head in front of what will be staged."""
        self.roll_back()
        entry = an_entry(self.log.head, *writes)
        for engine in self.engines:
            engine.stage_entry(entry)

    @rule()
    def seal(self) -> None:
        memory, log = (engine.seal() for engine in self.engines)
        assert memory == log
        if memory is not None:
            self.sealed.append(Sealed(memory, log))

    @precondition(lambda self: self.sealed)
    @rule(is_in_steps=st.booleans())
    def commit_and_publish(self, *, is_in_steps: bool) -> None:
        batches = self.sealed.pop(0)
        for engine, batch in zip(self.engines, batches, strict=True):
            if is_in_steps:
                commit_in_steps(engine, batch)
            else:
                engine.commit(batch)
            engine.publish(batch)
        self.heads.append(self.log.head)

    @rule(
        writes=st.lists(EVENTS, max_size=3),
        name=st.none() | st.sampled_from(("io.everlog.phantom", "io.everlog.ghost")),
        is_verified=st.booleans(),
    )
    def apply(
        self, writes: list[list[EventCandidate]], name: str | None, *, is_verified: bool
    ) -> None:
        """Take over what somebody else put behind the head, in place of what was staged."""
        self.roll_back()
        known = {schema.event_type for schema in self.memory._schemas}
        schemas = [] if name is None or name in known else [a_schema(name)]
        if not writes and not schemas:
            return
        entry = an_entry(self.log.head, *writes, schemas=schemas)
        memory, log = (engine.apply(entry, is_verified=is_verified) for engine in self.engines)
        assert memory == log
        self.heads.append(self.log.head)

    @rule(writes=st.lists(EVENTS, min_size=1, max_size=2))
    def lose(self, writes: list[list[EventCandidate]]) -> None:
        """Lose what was staged against others, and take over what they wrote."""
        self.seal()
        if not self.sealed:
            return
        self.memory.lose_next(lambda head: [an_entry(head, *writes)])
        with pytest.raises(BatchLostError) as raised:
            self.memory.commit(self.sealed[0].memory)
        self.roll_back()
        for entry in raised.value.entries:
            for engine in self.engines:
                engine.apply(entry, is_verified=False)
        self.heads.append(self.log.head)

    @rule()
    def roll_back(self) -> None:
        for engine in self.engines:
            engine.roll_back()
        self.sealed.clear()

    @rule(is_opened_anew=st.booleans())
    def read_beside(self, *, is_opened_anew: bool) -> None:
        """Let somebody who reads only see what there is, with an index that may be older."""
        if is_opened_anew:
            self.reader.close()
            self.reader = ReadOnlyLog.open(self.directory)
        else:
            self.reader.refresh()
        self.check_reader(self.log.head)

    @invariant()
    def who_reads_only_sees_what_it_saw(self) -> None:
        if self.reader.head in self.heads:
            self.check_reader(self.reader.head)

    def check_reader(self, head: Head) -> None:
        assert self.reader.head == head
        found, expected = self.reader, self.log
        everything = Scan(start=0, stop=head.event_count)
        assert b"".join(found.scan(everything, head)) == b"".join(expected.scan(everything, head))
        assert subjects_of(found, head=head) == subjects_of(expected, head=head)
        for scan in (
            Scan(start=0, stop=99, event_types=frozenset(TYPES[:1])),
            Scan(start=0, stop=99, subject="/a/b", is_reversed=True),
        ):
            assert b"".join(found.scan(scan, head)) == b"".join(expected.scan(scan, head))
            counts = [log.count_by_event_type(scan, head) for log in (found, expected)]
            assert counts[0] == counts[1]

    @rule()
    def save_a_snapshot(self) -> None:
        for engine in self.engines:
            engine.save_snapshot()

    @rule(way=st.sampled_from(("close", "kill", "commit and kill", "lose the index")))
    def reopen(self, way: str) -> None:
        if way == "commit and kill" and self.sealed:
            self.log.commit(self.sealed[0].log)
            self.memory.publish(self.sealed[0].memory)
        if way in {"kill", "commit and kill"}:
            kill(self.log)
        else:
            self.log.close()
        if way == "lose the index":
            shutil.rmtree(self.directory / "index")
        self.log = open_log(self.directory)
        self.memory.roll_back()
        self.sealed.clear()
        self.heads = [self.log.head]
        assert self.log.report.torn_size == 0
        if way == "close":
            assert self.log.report.replayed_event_count == 0
        if way == "lose the index":
            assert self.log.report.replayed_event_count == self.log.head.event_count

    @rule(
        subject=st.sampled_from((*SUBJECTS, "/missing")),
        event_type=st.sampled_from((None, *TYPES)),
        recursive=st.booleans(),
        is_reversed=st.booleans(),
        bounds=st.tuples(POSITIONS, POSITIONS),
        head=st.integers(0, 100),
    )
    def scan(
        self,
        subject: str,
        event_type: str | None,
        bounds: tuple[int, int],
        head: int,
        *,
        recursive: bool,
        is_reversed: bool,
    ) -> None:
        scan = Scan(
            subject=subject,
            recursive=recursive,
            start=min(bounds),
            stop=max(bounds),
            is_reversed=is_reversed,
            event_types=None if event_type is None else frozenset({event_type}),
        )
        self.check_scan(scan, self.heads[head % len(self.heads)])

    @rule(
        subjects=st.none() | st.frozensets(st.sampled_from((*SUBJECTS, "/missing"))),
        subject_prefix=st.none()
        | st.sampled_from(("", "/", "/a", "/a/", "/b/a/", "/missing", "a")),
        event_types=st.none() | st.frozensets(st.sampled_from((*TYPES, "io.everlog.phantom"))),
        is_reversed=st.booleans(),
        bounds=st.tuples(POSITIONS, POSITIONS),
        head=st.integers(0, 100),
    )
    def select(
        self,
        subjects: frozenset[str] | None,
        subject_prefix: str | None,
        event_types: frozenset[str] | None,
        bounds: tuple[int, int],
        head: int,
        *,
        is_reversed: bool,
    ) -> None:
        scan = Scan(
            subjects=subjects,
            subject_prefix=subject_prefix,
            event_types=event_types,
            start=min(bounds),
            stop=max(bounds),
            is_reversed=is_reversed,
        )
        self.check_scan(scan, self.heads[head % len(self.heads)])

    def check_scan(self, scan: Scan, head: Head) -> None:
        memory, log = (list(engine.scan(scan, head)) for engine in self.engines)
        assert b"".join(memory) == b"".join(log)
        assert all(block.endswith(b"\n") for block in log)
        counts = [engine.count(scan, head) for engine in self.engines]
        assert counts[0] == counts[1]
        for engine in self.engines:
            assert few_lines(engine, scan, head) in (None, b"".join(memory))
            assert engine.count_few(scan, head) in (None, counts[0])
        by_type = [list(engine.count_by_event_type(scan, head).items()) for engine in self.engines]
        assert by_type[0] == by_type[1]
        files = self.log.files(head)
        assert files is not None
        with LogView(files) as view:
            assert b"".join(view.scan(self.log.locate(scan, head))) == b"".join(log)

    @rule(
        subject=st.sampled_from((*SUBJECTS, "/missing")),
        event_type=st.sampled_from((*TYPES, "io.everlog.phantom")),
        head=st.integers(0, 100),
    )
    def look_up(self, subject: str, event_type: str, head: int) -> None:
        chosen = self.heads[head % len(self.heads)]
        found = [
            (
                engine.find_latest(subject, event_type, chosen),
                engine.subject_exists(subject, chosen),
                subjects_of(engine, subject, head=chosen),
            )
            for engine in self.engines
        ]
        assert found[0] == found[1]

    @invariant()
    def both_show_the_same(self) -> None:
        assert self.memory.tip == self.log.tip
        assert content_of(self.memory) == content_of(self.log)
        staged = [list(engine.unpublished_events()) for engine in self.engines]
        assert staged[0] == staged[1]

    @invariant()
    def both_have_the_same_state(self) -> None:
        for subject in (*SUBJECTS, "/missing"):
            for recursive in (False, True):
                memory, log = (
                    (
                        engine.state.has_events(subject, recursive=recursive),
                        engine.state.latest_position(subject, recursive=recursive),
                    )
                    for engine in self.engines
                )
                assert memory == log


@pytest.mark.slow
@pytest.mark.parametrize("chain_step_cost", [0, 1, 1_000_000])
def test_both_engines_show_the_same_whatever_the_commands(
    chain_step_cost: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columns, "_CAPACITY_MIN", 2)
    monkeypatch.setattr(indexed_log, "_WINDOW", 4)
    monkeypatch.setattr(reading, "_WINDOW", 8)
    monkeypatch.setattr(indexed_log, "_CHAIN_STEP_COST", chain_step_cost)
    monkeypatch.setattr(reading, "BLOCK_SIZE", 1_200)
    monkeypatch.setattr(recovery, "_BLOCK_SIZE", 700)
    monkeypatch.setattr(recovery, "_EVENTS_PER_STAGE", 3)
    for name, value in SMALL_TREE.items():
        monkeypatch.setattr(subject_tree, name, value)
    monkeypatch.setattr(index, "_TYPES_PER_CHUNK", 2)
    monkeypatch.setattr(log_engine, "_SNAPSHOT_EVENTS", 10)

    examples = settings().max_examples // 4
    run_state_machine_as_test(
        Engines, settings=settings(max_examples=examples, stateful_step_count=40)
    )
