"""The single writer: every change of the log goes through here, one after the other.

A write is judged, given its place and hashed as soon as it arrives, on the event loop's thread.
While one batch is on its way to the disk (`committer`), the next one gathers; so the number of
writes that share a sync follows the load.

An answer leaves only when everything it is based on is durable. That holds for refusals too: who
is told that a subject is not pristine learns of an event, which must not vanish in a crash.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from itertools import islice
from typing import Final

import msgspec

from everlog.domain.chain import HashVersion
from everlog.domain.errors import (
    Code,
    DiskFullError,
    RefusedError,
    StateConflictError,
    StoreFailedError,
)
from everlog.domain.event import AcceptedEvent, EventCandidate, accept_events
from everlog.domain.precondition import SubjectPrecondition, holds
from everlog.domain.schema import EventSchema, find_violation
from everlog.domain.time import format_time, next_event_time
from everlog.service.committer import Committer, Ended
from everlog.service.figures import CommitFigures
from everlog.service.standing_query import StaleQueryError, StandingQuery
from everlog.service.sync_process import SyncProcess
from everlog.storage.engine import Batch, Engine, Scan, StagedSchema
from everlog.storage.line import Mark, render_line

# Either the events as stored, in the order of the request, or why nothing was stored.
Outcome = Sequence[AcceptedEvent] | Exception
Answer = Callable[[Outcome], None]

_decode_data = msgspec.json.Decoder(dict[str, object]).decode


class Condition(StrEnum):
    """Whether anything can be written now, and if not, why."""

    WRITABLE = "writable"
    # Until there is room.
    DISK_FULL = "disk-full"
    # The following until a restart.
    READ_ONLY = "read-only"
    FAILED = "failed"


class WriterEvents(msgspec.Struct, frozen=True):
    """Whom the writer tells; each is called on the event loop's thread."""

    published: Callable[[Batch], None]
    disk_filled: Callable[[DiskFullError], None]
    failed: Callable[[StoreFailedError], None]
    # An answer could not be delivered: a bug, which must not harm the other answers of its batch.
    answer_failed: Callable[[Exception], None]
    became_read_only: Callable[[], None]


class Writer:
    """Owns the tip of the log while the server runs."""

    def __init__(
        self,
        engine: Engine,
        *,
        clock: Callable[[], int],
        hash_version: HashVersion,
        schemas: Iterable[EventSchema],
        events: WriterEvents,
        loop: asyncio.AbstractEventLoop,
        sync_process: SyncProcess | None = None,
    ) -> None:
        """Take over the process that syncs; the clock returns nanoseconds since 1970."""
        self._engine: Final = engine
        self._clock: Final = clock
        self.hash_version: Final = hash_version
        self._schemas: Final = {schema.event_type: schema for schema in schemas}
        self._events: Final = events
        self._loop: Final = loop
        # Answers to what is gathering, and to what is being committed.
        self._waiting: list[tuple[Answer, Outcome]] = []
        self._in_flight: list[tuple[Answer, Outcome]] = []
        self._is_committing = False
        self._is_scheduled = False
        self._has_failed = False
        self._is_disk_full = False
        self._is_read_only = False
        self._is_stopping = False
        self.figures: Final = CommitFigures()
        self._drained: asyncio.Future[None] = loop.create_future()
        self._committer: Final = Committer(
            engine, loop=loop, sync_process=sync_process, on_end=self._finish_commit
        )

    @property
    def has_failed(self) -> bool:
        """Whether the disk broke its promise, so that nothing is accepted until a restart."""
        return self._has_failed

    @property
    def condition(self) -> Condition:
        """Whether anything can be written now, and if not, why."""
        if self._has_failed:
            return Condition.FAILED
        if self._is_read_only:
            return Condition.READ_ONLY
        return Condition.DISK_FULL if self._is_disk_full else Condition.WRITABLE

    def write(
        self,
        candidates: Sequence[EventCandidate],
        preconditions: Sequence[SubjectPrecondition | StandingQuery],
        answer: Answer,
    ) -> None:
        """Judge and stage one write; the answer is called once its outcome is durable.

        The outcome is a `StaleQueryError` where the answer to a query is not known any more.
        """
        outcome: Outcome
        try:
            self._check_is_open()
            self._check_preconditions(preconditions)
            self._check_schemas(candidates)
            outcome = self._stage(candidates)
        except (RefusedError, StaleQueryError, DiskFullError) as error:
            outcome = error
        self._answer_when_durable(answer, outcome)

    def register(self, schema: EventSchema, *, checked_event_count: int, answer: Answer) -> None:
        """Stage an event schema against which so many first events have been checked already."""
        outcome: Outcome = ()
        try:
            self._check_is_open()
            self._check_is_unregistered(schema.event_type)
            self._check_unpublished_events(schema)
            assert checked_event_count == self._engine.head.event_count
            self._engine.stage_schema(StagedSchema(schema.event_type, schema.text))
            self._schemas[schema.event_type] = schema
        except (RefusedError, DiskFullError) as error:
            outcome = error
        self._answer_when_durable(answer, outcome)

    def become_read_only(self, answer: Answer) -> None:
        """Refuse every write and registration from now on, until the server is restarted.

        The answer is called once all that had begun has its answer, whatever that is.

        Raises:
            RefusedError: It is so already.
        """
        if self._is_read_only:
            raise StateConflictError(
                Code.READ_ONLY_MODE_ALREADY_ENABLED, "the read-only mode is enabled already"
            )
        self._is_read_only = True
        self._events.became_read_only()
        self._answer_when_durable(answer, ())

    async def stop(self) -> None:
        """Refuse new writes, finish those begun, and end who brought them to the disk."""
        self._is_stopping = True
        if self._is_committing or self._waiting:
            await self._drained
        self._committer.stop()

    # Judging.

    def _check_is_open(self) -> None:
        if self._has_failed:
            raise RefusedError(
                Code.STORE_FAILED,
                "the store has failed: no write is accepted until the server is restarted",
            )
        if self._is_stopping:
            raise RefusedError(Code.SERVER_SHUTTING_DOWN, "server is shutting down")
        if self._is_read_only:
            raise RefusedError(
                Code.STORE_READ_ONLY,
                "the store is read-only until the server is restarted without --read-only",
            )

    def _check_preconditions(
        self, preconditions: Sequence[SubjectPrecondition | StandingQuery]
    ) -> None:
        for index, precondition in enumerate(preconditions):
            if isinstance(precondition, StandingQuery):
                precondition.advance(self._lines_since(precondition.position), self._engine.tip)
                is_met = precondition.is_true()
            else:
                is_met = holds(precondition, self._engine.state)
            if not is_met:
                raise StateConflictError(
                    Code.PRECONDITION_VIOLATED,
                    f"precondition failed: {describe(precondition)}",
                    # The original's own framework reads the first of these names.
                    precondition=index,
                    preconditionIndex=index,
                )

    def _lines_since(self, position: int) -> bytes:
        """Return the lines from a position up to the tip, those that are only staged included."""
        head = self._engine.head
        published = self._engine.scan(Scan(start=position, stop=head.event_count), head)
        seen = max(position - head.event_count, 0)
        staged = islice(self._engine.unpublished_events(), seen, None)
        return b"".join([*published, *(render_line(event.json, Mark.EVENT) for event in staged)])

    def _check_schemas(self, candidates: Sequence[EventCandidate]) -> None:
        if not self._schemas:
            return
        for index, candidate in enumerate(candidates):
            schema = self._schemas.get(candidate.type)
            if schema is None:
                continue
            violation = find_violation(schema, _decode_data(candidate.data))
            if violation is not None:
                raise StateConflictError(
                    Code.EVENT_SCHEMA_VIOLATED,
                    f"event candidate does not match schema: {violation}",
                    eventIndex=index,
                    eventType=candidate.type,
                )

    def _check_is_unregistered(self, event_type: str) -> None:
        if event_type in self._schemas:
            raise StateConflictError(
                Code.EVENT_SCHEMA_ALREADY_REGISTERED,
                "schema already exists",
                eventType=event_type,
            )

    def _check_unpublished_events(self, schema: EventSchema) -> None:
        first = self._engine.head.event_count
        for position, event in enumerate(self._engine.unpublished_events(), start=first):
            if event.type == schema.event_type:
                check_stored_event(schema, event.json, position=position)

    # Staging.

    def _stage(self, candidates: Sequence[EventCandidate]) -> Sequence[AcceptedEvent]:
        assert len(candidates) > 0
        tip = self._engine.tip
        time = next_event_time(self._clock(), previous=tip.time)
        events = accept_events(
            candidates,
            position=tip.event_count,
            time=format_time(time),
            predecessor_hash=tip.hash,
            hash_version=self.hash_version,
        )
        self._engine.stage(events, time=time)
        return events

    def _answer_when_durable(self, answer: Answer, outcome: Outcome) -> None:
        self._waiting.append((answer, outcome))
        if not self._is_committing:
            self._schedule_commit()

    # Committing.

    def _schedule_commit(self) -> None:
        if not self._is_scheduled:
            # Not at once: what else arrives in this turn of the loop joins the batch.
            self._is_scheduled = True
            self._loop.call_soon(self._start_commit)

    def _start_commit(self) -> None:
        self._is_scheduled = False
        if self._is_committing:
            # Scheduled by an answer that brought the next write, and overtaken.
            return
        try:
            batch = self._engine.seal()
        except MemoryError as error:
            # Nobody may wait for an answer that never comes.
            self._fail(self._waiting, error)
            self._settle()
            return
        answers, self._waiting = self._waiting, []
        if batch is None:
            # Nothing but refusals, and all they are based on is durable by now.
            self._deliver(answers)
            self._settle()
            return
        self._in_flight = answers
        self._is_committing = True
        self.figures.begin(self._loop.time())
        size = batch.head.log_size - self._engine.head.log_size
        self._committer.begin(batch, write_count=len(answers), size=size)

    def _finish_commit(self, ended: Ended) -> None:
        batch, failure, seconds = ended
        self._is_committing = False
        answers, self._in_flight = self._in_flight, []
        if failure is None:
            self._count(batch, seconds)
            self._engine.publish(batch)
            if self._committer.is_handed_over(len(self._waiting)):
                # Before the answers leave, so that the disk has something to do meanwhile.
                self._start_commit()
            self._deliver(answers)
            self._events.published(batch)
        else:
            self._fail([*answers, *self._waiting], failure)
        if not self._is_committing:
            if self._waiting:
                self._schedule_commit()
            else:
                self._settle()

    def _fail(self, answers: list[tuple[Answer, Outcome]], failure: Exception) -> None:
        # What gathered meanwhile is chained to what failed, so it fails with it.
        self._waiting = []
        self.figures.fail()
        self._engine.roll_back()
        entries = self._engine.event_types(self._engine.head)
        published = {entry.name for entry in entries if entry.schema is not None}
        for event_type in self._schemas.keys() - published:
            del self._schemas[event_type]
        outcome: DiskFullError | StoreFailedError
        if isinstance(failure, DiskFullError):
            outcome = failure
            self._is_disk_full = True
            self._events.disk_filled(outcome)
        else:
            outcome = _as_store_failed(failure)
            self._has_failed = True
            self._events.failed(outcome)
        self._deliver([(answer, outcome) for answer, _ in answers])

    def _count(self, batch: Batch, seconds: float) -> None:
        self._is_disk_full = False
        self.figures.end(
            self._loop.time(),
            seconds,
            events=len(batch.events),
            size=batch.head.log_size - self._engine.head.log_size,
            schemas=len(batch.schemas),
        )

    def _deliver(self, answers: list[tuple[Answer, Outcome]]) -> None:
        for answer, outcome in answers:
            try:
                answer(outcome)
            except Exception as error:  # noqa: BLE001 - the answers of others must go out
                self._events.answer_failed(error)

    def _settle(self) -> None:
        if self._is_stopping and not self._drained.done():
            self._drained.set_result(None)


def check_stored_event(schema: EventSchema, event_json: str | bytes, *, position: int) -> None:
    """Refuse a schema that an event already stored does not match."""
    violation = find_violation(schema, _decode_stored(event_json).data)
    if violation is not None:
        raise StateConflictError(
            Code.EVENT_SCHEMA_VIOLATED,
            f"event with ID {position}: {violation}",
            eventId=str(position),
            eventType=schema.event_type,
        )


class _Data(msgspec.Struct, frozen=True):
    data: dict[str, object]


_decode_stored = msgspec.json.Decoder(_Data).decode


def describe(precondition: SubjectPrecondition | StandingQuery) -> str:
    """Return a precondition in a few words, for the one whose write it refused."""
    if isinstance(precondition, StandingQuery):
        return "the query's answer is FALSE"
    name = type(precondition).__name__
    scope = " recursively" if precondition.recursive else ""
    return f"{name[0].lower()}{name[1:]} on '{precondition.subject}'{scope}"


def _as_store_failed(failure: Exception) -> StoreFailedError:
    if isinstance(failure, StoreFailedError):
        return failure
    # Its kind only: what it says may quote an event.
    error = StoreFailedError(f"an unexpected error while committing: {type(failure).__name__}")
    error.__cause__ = failure
    return error
