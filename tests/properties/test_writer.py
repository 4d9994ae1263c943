"""The writer, whatever becomes of its batches: what was answered is what the log holds.

Writes and registrations come in any order, also while a batch is on its way or others' batches are
applied; batches become durable, find no room, or are lost. In the end the log is read once, event
by event, and everything that anybody was told is held against it.
"""

import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from queue import SimpleQueue
from typing import Any

import msgspec
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    precondition,
    rule,
    run_state_machine_as_test,
)

from everlog.domain.chain import HashVersion
from everlog.domain.errors import Code, DiskFullError, RefusedError
from everlog.domain.event import AcceptedEvent, Event, EventCandidate
from everlog.domain.precondition import (
    IsSubjectOnEventId,
    IsSubjectPopulated,
    IsSubjectPristine,
    SubjectPrecondition,
)
from everlog.domain.schema import compile_event_schema
from everlog.service.querying.conditions import StaleQueryError, StandingQuery
from everlog.service.writing import changes as changes_module
from everlog.service.writing import precondition_checks as checks_module
from everlog.service.writing import writer as writer_module
from everlog.service.writing.changes import Outcome, WriterEvents
from everlog.service.writing.committer import Committer, Ended
from everlog.service.writing.states import Turn
from everlog.service.writing.writer import Writer
from everlog.storage.engine import Batch, BatchLostError, JournalEntry, StagedSchema
from tests.support.engines import event_types_of
from tests.support.events import a_candidate, entries_behind
from tests.support.memory_engine import MemoryEngine
from tests.support.planted_bugs import PLANTED, Bug
from tests.support.writer_bench import check_log

SUBJECTS = ("/", "/a", "/a/b", "/a-b", "/b")
TYPES = tuple(f"io.everlog.type-{number}" for number in range(6))
# Events are good or bad; a schema takes the good ones, or all.
STRICT = '{"type":"object","properties":{"kind":{"const":"good"}},"additionalProperties":true}'
LAX = '{"type":"object","properties":{},"additionalProperties":true}'

PATIENCE_SECONDS = 20


@dataclass(frozen=True)
class CountIs:
    """A query: the log has so many events. One that is heavy is for a thread only."""

    count: int
    is_heavy: bool = False


Condition = SubjectPrecondition | CountIs

# Numbers are told from the tip on, as far as they can be: so they hold often, and often just not.
CONDITIONS = st.lists(
    st.one_of(
        st.builds(IsSubjectPristine, subject=st.sampled_from(SUBJECTS), recursive=st.booleans()),
        st.builds(IsSubjectPopulated, subject=st.sampled_from(SUBJECTS), recursive=st.booleans()),
        st.builds(
            IsSubjectOnEventId,
            subject=st.sampled_from(SUBJECTS),
            event_id=st.integers(-4, 2),
            recursive=st.booleans(),
        ),
        st.builds(CountIs, st.integers(-1, 3), st.sampled_from((*(False,) * 7, True))),
    ),
    max_size=2,
)
# Of more than three events a write is large here.
AT_ONCE_EVENTS_MAX = 3
EVENT = st.tuples(
    st.sampled_from(SUBJECTS), st.sampled_from(TYPES), st.sampled_from(("good", "good", "bad"))
)
FEW, MANY = st.lists(EVENT, min_size=1, max_size=3), st.lists(EVENT, min_size=4, max_size=6)


@dataclass(frozen=True)
class Wish:
    """A write, or the registration of a schema, that somebody will ask for."""

    events: Sequence[tuple[str, str, str]] = ()
    conditions: Sequence[Condition] = ()
    schema: tuple[str, str] | None = None


WRITES, LARGE = st.builds(Wish, FEW, CONDITIONS), st.builds(Wish, MANY, CONDITIONS)
REGISTRATIONS = st.builds(
    Wish, schema=st.tuples(st.sampled_from(TYPES), st.sampled_from((STRICT, STRICT, LAX)))
)
WISHES = st.sampled_from((WRITES,) * 14 + (REGISTRATIONS,) * 2 + (LARGE,)).flatmap(
    lambda wishes: wishes
)
# What a rival writes in one batch: good events, a schema, or both.
RIVAL_BATCHES = st.lists(
    st.tuples(
        st.lists(
            st.tuples(st.sampled_from(SUBJECTS), st.sampled_from(TYPES)), min_size=1, max_size=2
        ),
        st.none() | st.sampled_from(TYPES),
    ),
    min_size=1,
    max_size=2,
)


@dataclass
class Asked:
    """What somebody asked for, and what the answer was."""

    key: str
    wish: Wish
    # How many events had been published by then.
    low: int
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def outcome(self) -> Outcome:
        [outcome] = self.outcomes
        return outcome


class SteppedEngine(MemoryEngine):
    """A memory engine whose commits and entries wait until a step says how they end."""

    def __init__(self) -> None:
        super().__init__()
        self.commits: SimpleQueue[Exception | None] = SimpleQueue()
        self.entries: SimpleQueue[Exception | None] = SimpleQueue()
        self.is_free = False
        self.is_full = False

    def stage(self, events: Sequence[AcceptedEvent], *, time: int, is_end: bool = True) -> None:
        if self.is_full:
            raise DiskFullError("no room in the index")
        super().stage(events, time=time, is_end=is_end)

    def commit(self, batch: Batch) -> None:
        del batch
        failure = None if self.is_free else self.commits.get(timeout=PATIENCE_SECONDS)
        if failure is not None:
            raise failure

    def apply(self, entry: JournalEntry, *, is_verified: bool) -> Batch:
        failure = self.entries.get(timeout=PATIENCE_SECONDS)
        if failure is not None:
            raise failure
        return super().apply(entry, is_verified=is_verified)


class CountingWriter(Writer):
    """A writer that counts what came back from the disk."""

    ended_count = 0

    def _finish_commit(self, ended: Ended) -> None:
        super()._finish_commit(ended)
        self.ended_count += 1

    def _judge_again(self, batches: Sequence[Batch], failure: Exception | None) -> None:
        super()._judge_again(batches, failure)
        self.ended_count += 1


class Writes(RuleBasedStateMachine):
    """A writer, those who ask it, and a disk with rivals."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.engine = SteppedEngine()
        self.published: list[Batch] = []
        self.bugs: list[Exception] = []
        self.asked: list[Asked] = []
        self.rival_count = 0
        self.writer = CountingWriter(
            self.engine,
            clock=lambda: 1,
            hash_version=HashVersion.V2,
            schemas=[],
            events=WriterEvents(self.published.append, lambda *_: None, self.bugs.append),
            loop=self.loop,
        )

    @rule(
        wishes=st.lists(WISHES, min_size=1, max_size=5),
        room=st.sampled_from(("for all", "for all", "for all", "for all but the last")),
        goes_on=st.booleans(),
    )
    def ask(self, wishes: list[Wish], room: str, *, goes_on: bool) -> None:
        for wish in wishes:
            self.engine.is_full = room == "for all but the last" and wish is wishes[-1]
            self._ask(wish)
        self.engine.is_full = False
        if goes_on:
            self._go_on()

    @precondition(lambda self: self.writer._turn is Turn.JUDGING)
    @rule(turns=st.integers(1, 4), is_full=st.booleans())
    def go_on_judging(self, turns: int, *, is_full: bool) -> None:
        self.engine.is_full = is_full
        for _ in range(turns):
            self._turn()
        self.engine.is_full = False

    @precondition(lambda self: self.writer._turn is Turn.COMMITTING)
    @rule(is_full=st.sampled_from((*(False,) * 9, True)))
    def end_commit(self, *, is_full: bool) -> None:
        self._end_commit(DiskFullError("no room") if is_full else None)

    @precondition(lambda self: self.writer._turn is Turn.COMMITTING)
    @rule(
        batches=RIVAL_BATCHES,
        meanwhile=st.lists(WISHES, max_size=2),
        full_at=st.sampled_from((*(None,) * 14, 0, 1)),
    )
    def lose(
        self,
        batches: list[tuple[list[tuple[str, str]], str | None]],
        meanwhile: list[Wish],
        full_at: int | None,
    ) -> None:
        entries = self._rivals(batches)
        self._end_commit(BatchLostError(entries))
        assert self.writer._turn is Turn.APPLYING
        for wish in meanwhile:
            self._ask(wish)
        before = self.writer.ended_count
        for number in range(len(entries)):
            self.engine.entries.put(DiskFullError("no room") if number == full_at else None)
        self._run_until(lambda: self.writer.ended_count > before)
        while not self.engine.entries.empty():
            self.engine.entries.get()

    def teardown(self) -> None:
        # An error that is there already says more; or else the case has been given up.
        is_given_up = sys.exc_info()[0] is not None
        try:
            self.engine.is_free = True
            self.engine.commits.put(None)
            stopping = self.loop.create_task(self.writer.stop())
            self._run_until(stopping.done)
        finally:
            self.loop.close()
        if not is_given_up:
            self.check()

    def _ask(self, wish: Wish) -> None:
        conditions = [_behind(self.engine.tip.event_count, one) for one in wish.conditions]
        wish = replace(wish, conditions=conditions)
        asked = Asked(f"own-{len(self.asked)}", wish, self.engine.head.event_count)
        self.asked.append(asked)
        if wish.schema is not None:
            event_type, text = wish.schema
            self.writer.register(
                compile_event_schema(event_type, text.encode()),
                checked_event_count=0,
                answer=asked.outcomes.append,
            )
            return
        self.writer.write(
            [_candidate(asked.key, *event) for event in wish.events],
            [self._judgeable(condition) for condition in wish.conditions],
            asked.outcomes.append,
        )

    def _judgeable(self, condition: Condition) -> SubjectPrecondition | StandingQuery:
        if not isinstance(condition, CountIs):
            return condition
        head, wanted = self.engine.head, condition.count
        count = head.event_count

        def take(lines: bytes) -> bool:
            nonlocal count
            count += lines.count(b"\n")
            return True

        return StandingQuery(
            head=head,
            take=take,
            answer=lambda: count == wanted,
            sees_event_types=False,
            is_quick=True,
            weight=None if condition.is_heavy else 1,
        )

    def _rivals(
        self, batches: list[tuple[list[tuple[str, str]], str | None]]
    ) -> list[JournalEntry]:
        """Return the batches of somebody who goes by the schemas, as we do."""
        head = self.engine.head
        known = {
            entry.name
            for entry in event_types_of(self.engine, head=head)
            if entry.schema is not None
        }
        bad = {event.type for event in check_log(self.engine) if kind_of(event) == "bad"}
        parts: list[list[EventCandidate | StagedSchema]] = []
        for events, event_type in batches:
            key = f"rival-{self.rival_count}"
            self.rival_count += 1
            part: list[EventCandidate | StagedSchema] = [
                _candidate(key, subject, type_, "good") for subject, type_ in events
            ]
            if event_type is not None and event_type not in known | bad:
                known.add(event_type)
                part.append(StagedSchema(event_type, STRICT))
            parts.append(part)
        return entries_behind(head, *parts)

    def _end_commit(self, failure: Exception | None) -> None:
        before = self.writer.ended_count
        self.engine.commits.put(failure)
        self._run_until(lambda: self.writer.ended_count > before)

    def _go_on(self) -> None:
        # In how many turns something came is not ours to say, where it comes to rest is.
        rest = 0
        while rest < 3:
            self._turn()
            is_moving = self.writer._turn in {Turn.JUDGING, Turn.SCHEDULED}
            rest = 0 if is_moving else rest + 1

    def _turn(self) -> None:
        self.loop.run_until_complete(asyncio.sleep(0))

    def _run_until(self, is_over: Callable[[], bool]) -> None:
        end = self.loop.time() + PATIENCE_SECONDS
        while not is_over():
            assert self.loop.time() < end, "it takes for ever"
            self._turn()
        self._go_on()

    # The judge.

    def check(self) -> None:
        assert self.bugs == []
        log = check_log(self.engine)
        shown = [event.hash for batch in self.published for event in batch.events]
        assert shown == [event.hash for event in log], "observers saw something else"
        keys = [json.loads(bytes(event.data))["write"] for event in log]
        for asked in self.asked:
            assert len(asked.outcomes) == 1, f"{asked.key} has {len(asked.outcomes)} answers"
        stored = [key for number, key in enumerate(keys) if key not in keys[:number]]
        own = [key for key in stored if key.startswith("own-")]
        assert own == sorted(own, key=lambda key: int(key[len("own-") :])), "out of order"
        low = 0
        for number, asked in enumerate(self.asked):
            if asked.wish.schema is not None:
                self._check_registration(asked, log)
                continue
            positions = [position for position, key in enumerate(keys) if key == asked.key]
            if isinstance(asked.outcome, Exception):
                assert positions == [], f"{asked.key} was refused and is stored"
                later = {entry.key for entry in self.asked[number + 1 :]}
                high = next((place for place, key in enumerate(keys) if key in later), len(log))
                self._check_refusal(asked, log, range(max(low, asked.low), high + 1))
            else:
                hashes = [event.hash for event in asked.outcome]
                assert [log[position].hash for position in positions] == hashes, asked.key
                assert positions == [*range(positions[0], positions[-1] + 1)]
                assert len(hashes) == len(asked.wish.events)
                assert first_violated(asked.wish.conditions, log[: positions[0]]) is None
                low = positions[-1] + 1
        for event in log:
            is_strict = self._schema_of(event.type) == STRICT
            assert not is_strict or kind_of(event) == "good", "against its schema"

    def _check_refusal(self, asked: Asked, log: list[Event], places: range) -> None:
        outcome = asked.outcome
        if isinstance(outcome, DiskFullError | StaleQueryError):
            return
        assert isinstance(outcome, RefusedError)
        if outcome.code is Code.PRECONDITION_VIOLATED:
            index = outcome.details["preconditionIndex"]
            violated = [first_violated(asked.wish.conditions, log[:place]) for place in places]
            assert index in violated, f"{asked.key} could have been stored"
        else:
            assert outcome.code is Code.EVENT_SCHEMA_VIOLATED
            index = outcome.details["eventIndex"]
            assert isinstance(index, int)
            _, event_type, kind = asked.wish.events[index]
            assert (self._schema_of(event_type), kind) == (STRICT, "bad")

    def _check_registration(self, asked: Asked, log: list[Event]) -> None:
        assert asked.wish.schema is not None
        event_type, text = asked.wish.schema
        outcome = asked.outcome
        if not isinstance(outcome, Exception):
            assert self._schema_of(event_type) == text, f"{asked.key} is lost"
        elif isinstance(outcome, RefusedError) and outcome.code is Code.EVENT_SCHEMA_VIOLATED:
            event = log[int(str(outcome.details["eventId"]))]
            assert (event.type, kind_of(event), text) == (event_type, "bad", STRICT)
        elif isinstance(outcome, RefusedError):
            assert outcome.code is Code.EVENT_SCHEMA_ALREADY_REGISTERED
            assert self._schema_of(event_type) is not None
        else:
            assert isinstance(outcome, DiskFullError)

    def _schema_of(self, event_type: str) -> str | None:
        found = self.engine.event_type(event_type, self.engine.head)
        return None if found is None else found.schema


def _candidate(key: str, subject: str, event_type: str, kind: str) -> EventCandidate:
    return a_candidate(subject, event_type, data=json.dumps({"write": key, "kind": kind}))


def _behind(count: int, condition: Condition) -> Condition:
    """Return a condition whose number is counted from the first event, not from the tip."""
    match condition:
        case CountIs(count=more):
            return replace(condition, count=count + more)
        case IsSubjectOnEventId(event_id=more):
            return msgspec.structs.replace(condition, event_id=max(count + more, 0))
        case _:
            return condition


def kind_of(event: Event) -> str:
    kind: str = json.loads(bytes(event.data))["kind"]
    return kind


def first_violated(conditions: Sequence[Condition], log: Sequence[Event]) -> int | None:
    """Return which condition is the first that does not hold behind some events."""
    for index, condition in enumerate(conditions):
        if not is_met(condition, log):
            return index
    return None


def is_met(condition: Condition, log: Sequence[Event]) -> bool:
    """Look at every event to tell whether a condition holds behind them."""
    if isinstance(condition, CountIs):
        return len(log) == condition.count
    below = condition.subject.removesuffix("/") + "/"
    found = [
        int(event.id)
        for event in log
        if event.subject == condition.subject
        or (condition.recursive and event.subject.startswith(below))
    ]
    match condition:
        case IsSubjectPristine():
            return found == []
        case IsSubjectPopulated():
            return found != []
        case IsSubjectOnEventId(event_id=event_id):
            return found[-1:] == [event_id]


@pytest.fixture(autouse=True)
def bit_by_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let writes of few events be large, judged event by event, with a break after each."""
    monkeypatch.setattr(changes_module, "_AT_ONCE_EVENTS_MAX", AT_ONCE_EVENTS_MAX)
    monkeypatch.setattr(writer_module, "_BIT_EVENTS", 1)
    monkeypatch.setattr(checks_module, "PAUSE_SECONDS_MAX", PATIENCE_SECONDS)
    monkeypatch.setattr("everlog.service.breaks._SECONDS", -1.0)
    monkeypatch.setattr(Committer, "run", run_here)


async def run_here(_: Committer, function: Callable[[], Any]) -> Any:
    """Call a function, as the thread would, so that a case takes the same turns in every run."""
    await asyncio.sleep(0)
    return function()


@pytest.mark.slow
def test_what_was_answered_is_what_the_log_holds_whatever_became_of_the_batches() -> None:
    examples = settings().max_examples // 2
    run_state_machine_as_test(
        Writes, settings=settings(max_examples=examples, stateful_step_count=30)
    )


# Those of losing; each of these is altered by one of them.
WHEN_LOST = (
    Bug.TRUSTS_WHAT_HELD,
    Bug.JUDGES_BACKWARDS,
    Bug.ANSWERS_WHEN_LOST,
    Bug.KEEPS_LOST_SCHEMAS,
    Bug.KEEPS_LOST_ANSWERS,
    Bug.FORGETS_WHO_CAME,
    Bug.HIDES_THE_OTHERS,
)
ALTERED = ((Writer, "_begin_again"), (Writer, "_judge_again"), (StandingQuery, "forget"))


@pytest.mark.slow
@pytest.mark.parametrize("bug", WHEN_LOST)
def test_a_writer_with_a_bug_is_noticed(bug: Bug, monkeypatch: pytest.MonkeyPatch) -> None:
    for owner, name in ALTERED:
        # So that it is put back.
        monkeypatch.setattr(owner, name, vars(owner)[name])
    PLANTED[bug]()

    with pytest.raises(AssertionError):
        # Which case shows it is of no interest.
        run_state_machine_as_test(
            Writes,
            settings=settings(
                stateful_step_count=30, phases=[Phase.generate], max_examples=200, print_blob=False
            ),
        )
