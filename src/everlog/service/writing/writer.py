"""The single writer: every change of the log goes through here, one after the other.

A change is judged, given its place and hashed as soon as it arrives, on the event loop's thread.
While one batch is on its way to the disk (`committer`), the next one gathers; so the number of
changes that share a sync follows the load.

What takes long is not judged as soon as it arrives: a write of many events, and one whose queries
have missed much. It waits until nothing is staged or on its way, and then is judged *bit by bit*,
while the loop goes on with whatever else there is. Who comes meanwhile is not judged either, and
waits behind it; so nobody sees a part of it, and rolling back takes all of it back.

**A change is kept whole until it is durable.** Where another batch stood in the place of ours (the
journal says *lost*), nothing that was judged counts any more: the others' batches are applied, and
every change that waits is judged again in its order, at the place where it stands in the end.
Others' small batches are only staged for that, and stored with what was judged behind them.

**An answer leaves only when everything it is based on is durable.** That holds for refusals too:
who is told that a subject is not pristine learns of an event, which must not vanish in a crash. So
every change waits with those that came while it was judged, refused or not: what it is based on was
staged before it, and is in their batch or in one before.

**Others may write, too.** Where the order is decided elsewhere (`order`), a batch has its place
only when it stands there. Refusals among accepted writes are proven by that; where there is nothing
but refusals, the head is confirmed before they leave. While others write, nothing is judged ahead
of a commit, since it would be judged again.

State is told by two words, each with a table of transitions (`states`): `Condition` is what a new
change is told, `Turn` what is done with those that wait. All of it happens on the event loop's
thread. What is left to others: single values, queries (`querying`), the disk (`committer`).
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from everlog.domain.chain import HashVersion
from everlog.domain.errors import (
    BusyError,
    Code,
    DiskFullError,
    JournalUnreachableError,
    RefusedError,
    StateConflictError,
    StoreFailedError,
)
from everlog.domain.event import AcceptedEvent, EventCandidate, accept_events
from everlog.domain.limits import UNSYNCED_SIZE_MAX
from everlog.domain.schema import EventSchema, restore_event_schema
from everlog.domain.time import next_event_time
from everlog.service.breaks import Breaks
from everlog.service.judging import (
    UnjudgedError,
    Verdict,
    already_registered,
    check_by_schemas,
    check_last_events,
    forget_unpublished,
)
from everlog.service.querying.conditions import StaleQueryError
from everlog.service.writing.changes import (
    REFUSING,
    Answer,
    Change,
    Outcome,
    Preconditions,
    Registration,
    Settled,
    Write,
    WriterEvents,
    as_store_failed,
    busy,
    forget_behind,
    is_large,
    refusal_of,
    shared_refusal,
    split_current,
    too_large,
)
from everlog.service.writing.committer import Committer, Ended
from everlog.service.writing.figures import CommitFigures
from everlog.service.writing.order import (
    BATCH_SIZE_WANTED,
    Order,
    OrderGivenUpError,
    is_joinable,
    size_of,
    size_of_schema,
)
from everlog.service.writing.precondition_checks import PreconditionChecks
from everlog.service.writing.states import CONDITIONS, TURNS, Condition, Happening, Turn
from everlog.service.writing.sync_process import SyncProcess
from everlog.storage.engine import (
    Batch,
    BatchLostError,
    Engine,
    JournalEntry,
    StagedSchema,
    UnchainedEntryError,
)

# What is judged bit by bit between two looks at the time; the largest events take a millisecond.
_BIT_EVENTS: Final = 16


class Writer:
    """Owns the tip of the log while the store is open."""

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
        order: Order | None = None,
        condition: Condition = Condition.WRITABLE,
        source: str = "",
    ) -> None:
        """Take over the process that syncs; the clock returns nanoseconds since 1970.

        `source` is the address of the server that is followed, if the condition says so.
        """
        self._engine: Final = engine
        self._order: Final = order
        self._source: Final = source
        self._clock: Final = clock
        self.hash_version: Final = hash_version
        # By event type; those that are staged are in force for whatever comes behind them.
        self.schemas: Final = {schema.event_type: schema for schema in schemas}
        self._events: Final = events
        self._loop: Final = loop
        self.condition = condition
        # Why it is so, empty where nobody has to be told.
        self.reason = ""
        self._turn = Turn.IDLE
        # What is being committed, what has been judged and belongs to the next batch, and what is
        # not judged yet, each in the order in which it came.
        self._in_flight: list[Change] = []
        self._waiting: list[Change] = []
        self._unjudged: Final[deque[Change]] = deque()
        self._checks: Final = PreconditionChecks(engine)
        # How many bytes of the next batch are taken, where the order is decided elsewhere.
        self._batch_size = 0
        # Whether what was staged behind the batch on its way is not wanted any more.
        self._is_staged_in_vain = False
        self._yielding: asyncio.TimerHandle | None = None
        # How many changes may be in the next batch, if all come again who had an answer.
        self._gathered_max = 0
        self._judging: asyncio.Task[None] | None = None
        # Whether others' batches have just been applied, and the loop's thread is still at that.
        self._is_judging_again = False
        self.figures: Final = CommitFigures()
        # Done when nothing waits any more; none while nobody wants to know.
        self._drained: asyncio.Future[None] | None = None
        self._committer: Final = Committer(
            engine,
            loop=loop,
            sync_process=sync_process,
            figures=self.figures,
            on_end=self._finish_commit,
            order=order,
        )

    def write(
        self,
        candidates: Sequence[EventCandidate],
        preconditions: Preconditions,
        answer: Answer,
        verdict: Verdict | None = None,
    ) -> None:
        """Judge and stage one write; the answer is called once its outcome is durable.

        Without a verdict by the schemas in force, the events are judged if that can be done at
        once. The outcome is a `StaleQueryError` where the answer to a query is not known any more,
        an `UnjudgedError` where the events have to be judged before, and a `DiskBusyError`, at
        once, where the disk hangs or too much waits for it.
        """
        # Asked once: what had begun is finished, even if it is lost and has to be judged again.
        if self.condition in REFUSING:
            self._take(Settled(answer, self._refusal()))
            return
        if self.figures.is_hanging or (
            self._engine.tip.log_size - self._engine.head.log_size > UNSYNCED_SIZE_MAX
        ):
            answer(busy())
            return
        if self._order is not None:
            write = Write(candidates, preconditions, answer, verdict)
            self._take_in_order(write, size_of(candidates), self._order)
            return
        # As `_take`, with fewer calls: this runs for every write.
        write = Write(candidates, preconditions, answer, verdict)
        outcome = None if self._unjudged else self.judge_write(candidates, preconditions, verdict)
        if outcome is None:
            self._put_off(write)
            return
        write.outcome = outcome
        self._waiting.append(write)
        if self._turn is Turn.IDLE:
            self._schedule()

    def register(self, schema: EventSchema, *, checked_event_count: int, answer: Answer) -> None:
        """Stage an event schema against which so many first events have been checked already."""
        if self.condition in REFUSING:
            self._take(Settled(answer, self._refusal()))
        elif self.figures.is_hanging:
            answer(busy())
        else:
            registration = Registration(schema, checked_event_count, answer)
            if self._order is None:
                self._take(registration)
            else:
                self._take_in_order(registration, size_of_schema(schema), self._order)

    def become_read_only(self, answer: Answer) -> None:
        """Refuse every write and registration from now on, until the server is restarted.

        The answer is called once all that had begun has its answer, whatever that is.

        Raises:
            RefusedError: It is so already.
        """
        if self.condition is Condition.FOLLOWING:
            raise self._refusal()
        if self.condition is Condition.READ_ONLY:
            raise StateConflictError(
                Code.READ_ONLY_MODE_ALREADY_ENABLED, "the read-only mode is enabled already"
            )
        self._note(Happening.MADE_READ_ONLY)
        self._take(Settled(answer))

    def check_restorable(self) -> None:
        """Raise a RefusedError if no backup can be restored, whatever the store holds."""
        if self.condition in REFUSING:
            raise self._refusal()
        if self._order is not None:
            raise shared_refusal()

    def begin_restore(self, answer: Answer) -> None:
        """Refuse every write and registration until `end_restore`, or for good.

        The answer is as that of `become_read_only`; raises what `check_restorable` does.
        """
        self.check_restorable()
        self._note(Happening.RESTORE_BEGAN)
        self._take(Settled(answer))

    def end_restore(self) -> None:
        """Take writes and registrations again: nothing was restored."""
        self._note(Happening.RESTORE_ENDED)

    def fail(self, error: StoreFailedError) -> None:
        """Refuse every change from now on: somebody else found out that the store has failed."""
        self._note(Happening.BROKE, error)

    def note_journal(self, *, error: JournalUnreachableError | None) -> None:
        """Take note that the journal answers and the log has what stands there, or why not.

        Who waits, and is not on the way to the journal, is told that nothing was stored.
        """
        if error is None:
            self._note(Happening.JOURNAL_FOUND)
            return
        self._note(Happening.JOURNAL_LOST, error)
        if self._turn is Turn.COMMITTING:
            changes = [*self._waiting, *self._unjudged]
            self._waiting = [change for change in changes if isinstance(change, Settled)]
            self._is_staged_in_vain = True
            self._unjudged.clear()
            given_up = [change for change in changes if not isinstance(change, Settled)]
            for change in given_up:
                change.outcome = error
            self._deliver(given_up)

    def take_over(self) -> None:
        """Apply what others have appended, as soon as nothing is on its way."""
        assert self._order is not None
        if self._yielding is not None:
            self._end_yielding()
        elif self._turn is Turn.IDLE:
            self._apply_others()

    async def stop(self) -> None:
        """Refuse new writes, finish those begun, and end who brought them to the disk."""
        self._note(Happening.STOPPED)
        if self._turn is not Turn.IDLE:
            # Whoever else waits for the end waits for the same one.
            self._drained = self._drained or self._loop.create_future()
            await asyncio.shield(self._drained)
        self._committer.stop()

    def _take(self, change: Change) -> None:
        outcome = None if self._unjudged else change.judge(self)
        if outcome is None:
            self._put_off(change)
            return
        change.outcome = outcome
        self._waiting.append(change)
        if self._turn is Turn.IDLE:
            self._schedule()

    def _take_in_order(self, change: Write | Registration, size: int, order: Order) -> None:
        """Take a change of so many bytes whose place is decided elsewhere."""
        change.came_at, change.size = self._loop.time(), size
        if change.size > order.batch_size_max:
            change.answer(too_large(change.size, order.batch_size_max))
        elif (
            self._unjudged
            or order.is_contended
            or self._is_staged_in_vain
            or self._turn is Turn.APPLYING
            or not self._has_room(change)
        ):
            self._put_off(change)
        else:
            self._take(change)
        if (
            self._yielding is not None
            and not order.is_contended
            and len(self._waiting) + len(self._unjudged) >= self._gathered_max
        ):
            self._end_yielding()

    def _has_room(self, change: Change) -> bool:
        """Tell whether a change can be part of the next batch, and if so, let it be."""
        if self._order is None:
            return True
        size = self._batch_size + change.size
        if self._batch_size > 0 and size > min(self._order.batch_size_max, BATCH_SIZE_WANTED):
            return False
        self._batch_size = size
        return True

    def _put_off(self, change: Change) -> None:
        self._unjudged.append(change)
        self._settle()

    def _refusal(self) -> RefusedError | BusyError:
        return refusal_of(self.condition, reason=self.reason, source=self._source)

    def _note(self, happening: Happening, error: Exception | None = None) -> None:
        """Let something happen to the condition, and say so where that makes it another one."""
        condition = CONDITIONS[self.condition].get(happening)
        if condition is not None:
            self.condition = condition
            self.reason = "" if error is None else str(error)
            self._events.condition_changed(condition, error)

    def _note_failure(
        self, failure: Exception
    ) -> DiskFullError | StoreFailedError | JournalUnreachableError:
        """Let a failure happen, and return what those who wait are told."""
        if isinstance(failure, JournalUnreachableError | OrderGivenUpError):
            return failure
        if isinstance(failure, DiskFullError):
            self._note(Happening.DISK_FILLED, failure)
            return failure
        error = as_store_failed(failure)
        self._note(Happening.BROKE, error)
        return error

    # Judging, for the changes.

    def judge_write(
        self,
        candidates: Sequence[EventCandidate],
        preconditions: Preconditions,
        verdict: Verdict | None = None,
    ) -> Outcome | None:
        """Judge a write at the tip, and stage it unless it is refused; None if that takes long."""
        count = len(candidates)
        assert count > 0
        engine = self._engine
        if self.condition is Condition.FAILED:
            return self._refusal()
        if count > 1 and is_large(candidates):
            return None
        try:
            if preconditions and not self._checks.check(preconditions):
                return None
            if self.schemas:
                check_by_schemas(self.schemas, candidates, verdict)
            tip = engine.tip
            time, time_text = next_event_time(self._clock(), previous=tip.time)
            events = accept_events(
                candidates,
                position=tip.event_count,
                time=time_text,
                predecessor_hash=tip.hash,
                hash_version=self.hash_version,
            )
        except (RefusedError, StaleQueryError) as error:
            return error
        try:
            engine.stage(events, time=time)
        except (DiskFullError, StoreFailedError, OSError) as error:
            return self._note_failure(error)
        return events

    def judge_registration(self, schema: EventSchema, checked_event_count: int) -> Outcome:
        """Judge the registration of a schema at the tip, and stage it unless it is refused."""
        if self.condition is Condition.FAILED:
            return self._refusal()
        try:
            if schema.event_type in self.schemas:
                raise already_registered(schema)
            check_last_events(self._engine, schema, checked_event_count)
        except (RefusedError, UnjudgedError) as error:
            return error
        try:
            self._engine.stage_schema(StagedSchema(schema.event_type, schema.text))
        except (DiskFullError, StoreFailedError, OSError) as error:
            return self._note_failure(error)
        self.schemas[schema.event_type] = schema
        return ()

    # Judging what was put off.

    def _judge_unjudged(self) -> None:
        """Judge those that wait for it, for a moment, so that they become a batch.

        What takes long begins when nothing is staged.
        """
        self._judge_what_is_short()
        if self._waiting:
            self._schedule()
        else:
            self._enter(Turn.JUDGING)
            self._judging = self._loop.create_task(self._judge_first())

    def _judge_what_is_short(self) -> None:
        breaks = Breaks()
        while self._unjudged:
            self._checks.work = 0
            change = self._unjudged[0]
            if not self._has_room(change):
                break
            try:
                outcome = change.judge(self)
            except Exception as error:  # noqa: BLE001 - the others are judged all the same
                outcome = error
            if outcome is None:
                break
            self._settle_first(outcome)
            if breaks.is_due:
                break

    def _settle_first(self, outcome: Outcome) -> None:
        change = self._unjudged.popleft()
        change.outcome = outcome
        self._waiting.append(change)

    async def _judge_first(self) -> None:
        """Judge the write that is the first in the line, bit by bit."""
        write = self._unjudged[0]
        assert isinstance(write, Write)
        outcome: Outcome
        try:
            outcome = await self._judge_bit_by_bit(write)
        except (RefusedError, StaleQueryError) as error:
            outcome = error
        except (DiskFullError, StoreFailedError, OSError) as error:
            self._roll_back()
            outcome = self._note_failure(error)
        except Exception as error:  # noqa: BLE001 - nobody may wait for ever
            self._roll_back()
            outcome = error
        self._enter(Turn.IDLE)
        self._settle_first(outcome)
        self._settle()

    async def _judge_bit_by_bit(self, write: Write) -> Outcome:
        """Do what `judge_write` does; who calls takes back what was staged before an error."""
        engine, candidates, preconditions = self._engine, write.candidates, write.preconditions
        # All that is staged from here on belongs to this write.
        assert engine.tip == engine.head
        if (catch_up := self._checks.catching_up(preconditions)) is not None:
            # By the committing thread, which has nothing to commit now, and nobody to wait for.
            await self._committer.run(catch_up)
        is_judged = self._checks.check(preconditions)
        assert is_judged
        if self.schemas:
            check_by_schemas(self.schemas, candidates, write.verdict)
        breaks = Breaks()
        time, time_text = next_event_time(self._clock(), previous=engine.tip.time)
        events: list[AcceptedEvent] = []
        while len(events) < len(candidates):
            tip = engine.tip
            bit = accept_events(
                candidates[len(events) : len(events) + _BIT_EVENTS],
                position=tip.event_count,
                time=time_text,
                predecessor_hash=tip.hash,
                hash_version=self.hash_version,
            )
            events += bit
            engine.stage(bit, time=time, is_end=len(events) == len(candidates))
            await breaks.take_if_due()
        return events

    # Committing.

    def _enter(self, turn: Turn) -> None:
        assert turn in TURNS[self._turn]
        self._turn = turn

    def _schedule(self) -> None:
        # Not at once: what else arrives in this turn of the loop joins the batch.
        self._enter(Turn.SCHEDULED)
        self._loop.call_soon(self._start_commit)

    def _start_commit(self) -> None:
        if self._turn is Turn.SCHEDULED:
            self._enter(Turn.IDLE)
        # What waits is based on nothing but itself and what is durable.
        assert not self._in_flight
        self._checks.work = self._batch_size = 0
        if self._order is not None and self._apply_others():
            return
        try:
            batch = self._engine.seal()
        except MemoryError as error:
            # Nobody may wait for an answer that never comes.
            changes, self._waiting = self._waiting, []
            self._fail(changes, error)
            self._settle()
            return
        if batch is None:
            # Nothing but refusals, and all they are based on is durable by now.
            changes, self._waiting = self._waiting, []
            if self._order is not None:
                changes, self._in_flight = split_current(changes, self._order.is_current)
            if self._in_flight:
                self._enter(Turn.COMMITTING)
                self._committer.confirm(self._finish_confirming)
            self._deliver(changes)
            self._settle()
            return
        self._begin_commit(batch)

    def _begin_commit(self, batch: Batch) -> None:
        self._in_flight, self._waiting = self._waiting, []
        self._enter(Turn.COMMITTING)
        size = batch.head.log_size - self._engine.head.log_size
        self._committer.begin(batch, write_count=len(self._in_flight), size=size)

    def _finish_commit(self, ended: Ended) -> None:
        batch, failure, seconds, _ = ended
        if isinstance(failure, BatchLostError):
            self._begin_again(failure.entries)
            return
        changes, self._in_flight = self._in_flight, []
        self._enter(Turn.IDLE)
        if ended.is_appended and failure is not None:
            assert self._order is not None
            self._order.note_stored(failure)
            # They are stored for good, though not here.
            self._deliver(changes)
            changes = []
        if failure is None:
            if self.condition is Condition.DISK_FULL:
                self._note_room(changes)
            self.figures.end(
                self._loop.time(),
                seconds,
                events=len(batch.events) - batch.others_count,
                size=batch.head.log_size - self._engine.head.log_size - batch.others_size,
                schemas=len(batch.schemas),
            )
            self._engine.publish(batch)
            if self._order is not None:
                self._order.note_stored(None)
                self._forget_what_is_in_vain()
            # Before whatever may apply others' batches at once: those come behind it.
            self._events.published(batch)
            # With those who are answered now, all may join the next batch who were there.
            self._gathered_max = len(changes) + len(self._waiting) + len(self._unjudged)
            if (
                self._waiting
                and self._order is None
                and self._committer.is_handed_over(len(self._waiting))
            ):
                # Before the answers leave, so that the disk has something to do meanwhile.
                self._start_commit()
            self._deliver(changes)
        else:
            # What gathered meanwhile is chained to what failed, so it fails with it.
            changes += self._waiting
            self._waiting = []
            self._fail(changes, failure)
        # Others' batches that were to be stored with this one may still be to be applied.
        if self._waiting or self._unjudged or self._drained is not None or batch.others_count:
            self._settle()

    def _finish_confirming(self, failure: Exception | None) -> None:
        if isinstance(failure, BatchLostError):
            self._begin_again(failure.entries)
            return
        changes, self._in_flight = self._in_flight, []
        self._enter(Turn.IDLE)
        if failure is None:
            self._forget_what_is_in_vain()
            self._deliver(changes)
        else:
            waiting, self._waiting = self._waiting, []
            self._fail(changes + waiting, failure)
        self._settle()

    def _forget_what_is_in_vain(self) -> None:
        if self._is_staged_in_vain:
            self._is_staged_in_vain = False
            self._roll_back()

    def _settle(self) -> None:
        """Go on with what gathered, or let whoever waits for the end know that it is there."""
        if self._turn is not Turn.IDLE:
            return
        if self._order is not None and self._let_others(self._order):
            return
        if self._unjudged:
            self._judge_unjudged()
        elif self._waiting:
            self._schedule()
        elif self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def _fail(self, changes: list[Change], failure: Exception) -> None:
        self.figures.fail()
        self._is_staged_in_vain = False
        self._roll_back()
        outcome = self._note_failure(failure)
        for change in changes:
            if not isinstance(change, Settled):
                change.outcome = outcome
        self._deliver(changes)

    def _roll_back(self) -> None:
        self._engine.roll_back()
        forget_unpublished(self.schemas, self._engine)

    def _note_room(self, changes: list[Change]) -> None:
        """Let what became durable say that there is room, unless somebody found none meanwhile."""
        judged = (*changes, *self._waiting)
        if not any(isinstance(change.outcome, DiskFullError) for change in judged):
            self._note(Happening.BECAME_DURABLE)

    def _deliver(self, changes: list[Change]) -> None:
        for change in changes:
            try:
                change.answer(change.outcome)
            except Exception as error:  # noqa: BLE001 - the answers of others must go out
                self._events.answer_failed(error)

    # Others' batches.

    def _let_others(self, order: Order) -> bool:
        """Apply what others have appended, or put the next batch off for whoever comes first."""
        if self._apply_others():
            return True
        seconds = order.pause() if self._unjudged or self._waiting else 0.0
        if seconds <= 0.0:
            return False
        self._enter(Turn.YIELDING)
        self._yielding = self._loop.call_later(seconds, self._end_yielding)
        return True

    def _end_yielding(self) -> None:
        assert self._yielding is not None
        self._yielding.cancel()
        self._yielding = None
        self._enter(Turn.IDLE)
        self._settle()

    def _apply_others(self) -> bool:
        """Begin to apply what others have appended; return False if there is nothing."""
        assert self._order is not None
        if self.condition is Condition.FAILED:
            return False
        entries = self._order.take()
        if not entries:
            return False
        self._begin_again(entries)
        return True

    def _begin_again(self, entries: Sequence[JournalEntry]) -> None:
        """Forget what was judged on a tip that is none, and take over what stands in its place."""
        self._enter(Turn.APPLYING)
        if self._in_flight:
            self.figures.fail()
        self._unjudged.extendleft(reversed([*self._in_flight, *self._waiting]))
        self._in_flight, self._waiting = [], []
        self._batch_size, self._is_staged_in_vain = 0, False
        self._roll_back()
        forget_behind(self._engine.head, self._unjudged)
        if self._unjudged and self._is_joined(entries):
            return
        is_urgent = bool(self._unjudged) and not self._is_judging_again
        self._committer.apply(entries, self._judge_again, is_urgent=is_urgent)

    def _is_joined(self, entries: Sequence[JournalEntry]) -> bool:
        """Judge what waits behind others' batches, and append it, if it can be stored with them."""
        if self._order is None or self._order.has_more or not is_joinable(entries):
            return False
        try:
            self._engine.stage_entry(entries[0])
            self._judge_what_is_short()
            batch = self._engine.seal()
        except (UnchainedEntryError, DiskFullError, MemoryError, OSError):
            # Whoever applies it finds out what to say of it.
            batch = None
        if batch is None or (len(batch.events) == batch.others_count and not batch.schemas):
            self._unjudged.extendleft(reversed(self._waiting))
            self._waiting, self._batch_size = [], 0
            self._roll_back()
            forget_behind(self._engine.head, self._unjudged)
            return False
        self._checks.work = self._batch_size = 0
        self._enter(Turn.IDLE)
        self._begin_commit(batch)
        return True

    def _judge_again(self, batches: Sequence[Batch], failure: Exception | None) -> None:
        """Judge all that waits in its order, behind the others' batches."""
        self._enter(Turn.IDLE)
        if self._order is not None:
            self._order.note_applied(len(batches), failure)
            if batches and self.condition is Condition.DISK_FULL:
                self._note(Happening.BECAME_DURABLE)
        for batch in batches:
            for schema in batch.schemas:
                known = restore_event_schema(schema.event_type, schema.text)
                self.schemas[schema.event_type] = known
            self._events.published(batch)
        if failure is not None:
            changes = [*self._unjudged]
            self._unjudged.clear()
            self._fail(changes, failure)
        # What follows may bring us here again: then nobody waits for it.
        self._is_judging_again = True
        try:
            self._settle()
        finally:
            self._is_judging_again = False
