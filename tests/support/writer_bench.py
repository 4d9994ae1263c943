"""A writer on a memory engine whose disk does what a test says, and all that the writer says."""

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter
from typing import Final

from everlog.domain.chain import GENESIS_HASH, HashVersion
from everlog.domain.errors import Code, RefusedError
from everlog.domain.event import AcceptedEvent, Event, EventCandidate, is_hash_valid
from everlog.domain.precondition import IsSubjectPristine
from everlog.domain.schema import EventSchema, compile_event_schema
from everlog.domain.time import parse_time
from everlog.service.writing.changes import Outcome, Preconditions, WriterEvents
from everlog.service.writing.states import Turn
from everlog.service.writing.writer import Writer
from everlog.storage.engine import Batch, Engine, JournalEntry, StagedSchema
from tests.support.engines import events_of, read
from tests.support.events import a_candidate, entries_behind
from tests.support.memory_engine import MemoryEngine, Rival

OPEN_TYPE: Final = "io.everlog.test.open"
CLOSED_TYPE: Final = "io.everlog.test.closed"
# No event of the tests has no member.
CLOSED_TEXT: Final = '{"type":"object","properties":{},"additionalProperties":false}'
OPEN_TEXT: Final = '{"type":"object","properties":{}}'

PATIENCE_SECONDS: Final = 20


class HeldEngine(MemoryEngine):
    """A memory engine whose commits wait until they are let go, and fail if told so."""

    def __init__(self) -> None:
        """Hold every commit, and let everything else pass."""
        super().__init__()
        self.may_commit: Final = threading.Event()
        self.is_committing: Final = threading.Event()
        self.may_apply: Final = threading.Event()
        self.may_apply.set()
        self.is_applying: Final = threading.Event()
        self.failure: Exception | None = None
        self.staging_failure: Exception | None = None
        # What happens instead of applying the entry with this number, counted from zero.
        self.applying_failure: tuple[int, Exception] | None = None
        self.commit_seconds = 0.0
        # Of each part of a write that was staged.
        self.staged_sizes: Final[list[int]] = []
        self.batches: Final[list[Batch]] = []

    def stage(self, events: Sequence[AcceptedEvent], *, time: int, is_end: bool = True) -> None:
        """Add one write's events at the tip, unless that is to fail."""
        if self.staging_failure is not None:
            raise self.staging_failure
        super().stage(events, time=time, is_end=is_end)
        self.staged_sizes.append(len(events))

    def commit(self, batch: Batch) -> None:
        """Wait, take as long as a disk, and fail, lose or succeed."""
        self.batches.append(batch)
        self.is_committing.set()
        assert self.may_commit.wait(PATIENCE_SECONDS)
        begin = perf_counter()
        while perf_counter() - begin < self.commit_seconds:
            # Lets the loop's thread run.
            os.sched_yield()
        if self.failure is not None:
            raise self.failure
        super().commit(batch)

    def apply(self, entry: JournalEntry, *, is_verified: bool) -> Batch:
        """Wait, and fail or take over a batch from elsewhere."""
        self.is_applying.set()
        assert self.may_apply.wait(PATIENCE_SECONDS)
        if self.applying_failure is not None:
            number, failure = self.applying_failure
            if number == 0:
                raise failure
            self.applying_failure = number - 1, failure
        return super().apply(entry, is_verified=is_verified)


class Bench:
    """A writer on a held engine, and all that it says."""

    def __init__(self, *, closed: bool = True, make: type[Writer] = Writer) -> None:
        """Begin with an empty log, and a schema for the closed type unless that is left out."""
        self.engine: Final = HeldEngine()
        self.now = 1_000_000_001
        self.outcomes: Final[dict[str, Outcome]] = {}
        self._answered: Final = asyncio.Event()
        self.said: Final[list[str]] = []
        self.published: Final[list[Batch]] = []
        self.bugs: Final[list[Exception]] = []
        self.stopping: asyncio.Future[None] | None = None
        schemas = [a_compiled_schema(CLOSED_TYPE, CLOSED_TEXT)] if closed else []
        self.writer: Final = make(
            self.engine,
            clock=lambda: self.now,
            hash_version=HashVersion.V2,
            schemas=schemas,
            events=WriterEvents(
                self._publish,
                lambda condition, _: self.said.append(condition.value),
                self.bugs.append,
            ),
            loop=asyncio.get_running_loop(),
        )

    def _publish(self, batch: Batch) -> None:
        self.published.append(batch)
        self.said.append(f"published {len(batch.events)}")

    def write(
        self, name: str, *subjects: str, pristine: str | None = None, type_: str = OPEN_TYPE
    ) -> None:
        """Write an event to each subject; the outcome is kept under the name."""
        conditions = (
            [] if pristine is None else [IsSubjectPristine(subject=pristine, recursive=False)]
        )
        self.write_if(conditions, name, *subjects, type_=type_)

    def write_if(
        self, preconditions: Preconditions, name: str, *subjects: str, type_: str = OPEN_TYPE
    ) -> None:
        """Do the same on any preconditions."""
        candidates = [a_candidate(subject, type_) for subject in subjects]
        self.writer.write(candidates, preconditions, self.keep(name))

    def register(self, name: str, event_type: str, text: str = CLOSED_TEXT) -> None:
        """Register a schema; the outcome is kept under the name."""
        schema = a_compiled_schema(event_type, text)
        checked = self.engine.head.event_count
        self.writer.register(schema, checked_event_count=checked, answer=self.keep(name))

    def keep(self, name: str) -> Callable[[Outcome], None]:
        """Return an answer that is kept under a name, and may come once only."""

        def answer(outcome: Outcome) -> None:
            assert name not in self.outcomes, f"{name} is answered twice"
            self.outcomes[name] = outcome
            self._answered.set()

        return answer

    async def wait_until_committing(self) -> None:
        """Wait until a commit is held."""
        assert await asyncio.to_thread(self.engine.is_committing.wait, PATIENCE_SECONDS)

    async def wait_until_applying(self) -> None:
        """Wait until the engine is asked to take over an entry."""
        assert await asyncio.to_thread(self.engine.is_applying.wait, PATIENCE_SECONDS)
        assert self.writer._turn is Turn.APPLYING

    def hold(self) -> None:
        """Hold the next commits again."""
        self.engine.may_commit.clear()
        self.engine.is_committing.clear()

    def let_go(self, failure: Exception | None = None) -> None:
        """Let this commit and all later ones end, and how."""
        self.engine.failure = failure
        self.engine.may_commit.set()

    async def wait_for(self, *names: str) -> None:
        """Wait for answers."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not self.outcomes.keys() >= {*names}:
                self._answered.clear()
                await self._answered.wait()

    def stop(self) -> None:
        """Begin to stop the writer; who puts the bench away waits for it."""
        self.stopping = asyncio.ensure_future(self.writer.stop())

    def code(self, name: str) -> Code:
        """Return with which code something was refused."""
        outcome = self.outcomes[name]
        assert isinstance(outcome, RefusedError), outcome
        return outcome.code

    def details(self, name: str) -> dict[str, object]:
        """Return what was said about a refusal besides its code."""
        outcome = self.outcomes[name]
        assert isinstance(outcome, RefusedError), outcome
        return outcome.details

    def ids(self, name: str) -> list[int]:
        """Return the ids that a write was answered with, which are as the log has them."""
        outcome = self.outcomes[name]
        assert not isinstance(outcome, Exception), outcome
        stored = [event.hash for event in check_log(self.engine)]
        return [stored.index(event.hash) for event in outcome]

    @property
    def subjects(self) -> list[str]:
        """Return the subjects of the log, which is intact and was published as it is."""
        events = check_log(self.engine)
        shown = [event.hash for batch in self.published for event in batch.events]
        assert shown == [event.hash for event in events]
        return [event.subject for event in events]


def run_bench(
    work: Callable[[Bench], Awaitable[None]], *, closed: bool = True, make: type[Writer] = Writer
) -> None:
    """Give a test a bench, and put it away."""

    async def run_with_bench() -> None:
        bench = Bench(closed=closed, make=make)
        try:
            await work(bench)
        finally:
            bench.engine.may_commit.set()
            bench.engine.may_apply.set()
            async with asyncio.timeout(PATIENCE_SECONDS):
                await (bench.writer.stop() if bench.stopping is None else bench.stopping)
        assert bench.bugs == []

    asyncio.run(run_with_bench())


def a_rival(*batches: Sequence[str]) -> Rival:
    """Return somebody who writes batches with an event on each subject."""
    return rivals([[a_candidate(subject, OPEN_TYPE) for subject in batch] for batch in batches])


def rivals(batches: Sequence[Sequence[EventCandidate | StagedSchema]]) -> Rival:
    """Return somebody who writes batches."""
    return lambda head: entries_behind(head, *batches)


def a_compiled_schema(event_type: str, text: str) -> EventSchema:
    """Return a schema that can be registered."""
    return compile_event_schema(event_type, text.encode())


def check_log(engine: Engine) -> list[Event]:
    """Return the events of a log whose ids, times and hashes form a chain."""
    events = events_of(read(engine))
    previous_hash, previous_time = GENESIS_HASH, 0
    for position, event in enumerate(events):
        assert event.id == str(position)
        assert event.predecessorhash == previous_hash
        assert is_hash_valid(event)
        assert previous_time <= parse_time(event.time)
        previous_hash, previous_time = event.hash, parse_time(event.time)
    return events
