"""Bugs made for the purpose: each is something that the rack must notice.

They alter the server of the process that plants them, for good; `rack_server` does so.
"""

import asyncio
import fcntl
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from functools import wraps
from types import MappingProxyType
from typing import Any, Final
from uuid import uuid4

from msgspec.structs import replace

from everlog import bootstrap
from everlog.api.application import ApiApplication
from everlog.domain.errors import JournalUnreachableError
from everlog.domain.event import AcceptedEvent
from everlog.domain.selection import Selection
from everlog.domain.time import format_time
from everlog.http import Endpoint, Head, Response
from everlog.service import observe_events, read_events
from everlog.service.fronts import front
from everlog.service.fronts.front import Waking
from everlog.service.fronts.messages import Told
from everlog.service.mirroring.arrivals import Arrivals
from everlog.service.mirroring.journal import (
    Entry,
    EntryLostError,
    OutcomeUnknownError,
    PlacedEntry,
)
from everlog.service.mirroring.mirror import Mirror
from everlog.service.querying.conditions import StandingQuery
from everlog.service.store import Store
from everlog.service.writing import writer
from everlog.service.writing.changes import Answer, Settled, Write
from everlog.service.writing.committer import Committer
from everlog.service.writing.order import Order
from everlog.service.writing.states import Turn
from everlog.service.writing.writer import Writer
from everlog.storage.engine import Batch, JournalEntry, Scan
from everlog.storage.engine import Head as LogHead
from everlog.storage.line import Mark, parse_line, render_line
from everlog.storage.log import LogEngine, engine
from everlog.storage.log.shared_log import SharedLog
from everlog.storage.log.shared_memory import HeadBoard


class Bug(StrEnum):
    """What is wrong with the server."""

    ANSWERS_EARLY = "answers-early"
    TEARS_WRITES = "tears-writes"
    STORES_HALF = "stores-half"
    REUSES_IDS = "reuses-ids"
    JUDGES_TOO_EARLY = "judges-too-early"
    READS_THE_PAST = "reads-the-past"
    SKIPS_AT_HAND_OVER = "skips-at-hand-over"
    # When a batch is lost.
    TRUSTS_WHAT_HELD = "trusts-what-held"
    JUDGES_BACKWARDS = "judges-backwards"
    ANSWERS_WHEN_LOST = "answers-when-lost"
    KEEPS_LOST_SCHEMAS = "keeps-lost-schemas"
    KEEPS_LOST_ANSWERS = "keeps-lost-answers"
    FORGETS_WHO_CAME = "forgets-who-came"
    HIDES_THE_OTHERS = "hides-the-others"
    # Of a node.
    PUBLISHES_EARLY = "publishes-early"
    RENAMES_THE_UNKNOWN = "renames-the-unknown"
    PUTS_OFF_THE_UNKNOWN = "puts-off-the-unknown"
    READS_WITHOUT_BARRIER = "reads-without-barrier"
    REFUSES_WITHOUT_ASKING = "refuses-without-asking"
    APPLIES_OUT_OF_ORDER = "applies-out-of-order"
    MISCOUNTS_PLACES = "miscounts-places"
    # Of a server of several processes: of the owner, and of fronts.
    POSTS_LATE = "posts-late"
    SHOWS_WHAT_WAS = "shows-what-was"
    WAKES_WITH_A_GAP = "wakes-with-a-gap"
    SWAPS_ANSWERS = "swaps-answers"
    # Of the machine.
    TRUSTS_THE_CLOCK = "trusts-the-clock"
    SHARES_THE_DIRECTORY = "shares-the-directory"
    KEEPS_THE_FILE_LIMIT = "keeps-the-file-limit"
    HIDES_A_SHORTAGE = "hides-a-shortage"
    LEAKS_DESCRIPTORS = "leaks-descriptors"
    LEAKS_MEMORY = "leaks-memory"


# Those of the processes that speak with clients.
OF_FRONTS: Final = frozenset({Bug.SHOWS_WHAT_WAS, Bug.WAKES_WITH_A_GAP, Bug.SWAPS_ANSWERS})

# Between an answer and the commit that it should have waited for.
_EARLY_SECONDS: Final = 0.02

# What each request leaves behind.
_LEAK_SIZE: Final = 64 * 1024

# Every so many reads, one gets the state of so many reads ago.
_READS_AGO: Final = 5


def _answer_early() -> None:
    """Answer as soon as a write is staged; the commit comes a little later."""

    def write_and_answer(
        self: Writer, candidates: Any, preconditions: Any, answer: Answer, verdict: Any = None
    ) -> None:
        outcome = self.judge_write(candidates, preconditions, verdict)
        assert outcome is not None
        answer(outcome)
        self._waiting.append(Settled(lambda _: None))
        if self._turn is Turn.IDLE:
            self._schedule()

    def schedule_late(self: Writer) -> None:
        self._enter(Turn.SCHEDULED)
        self._loop.call_later(_EARLY_SECONDS, self._start_commit)

    _replace(Writer, "write", write_and_answer)
    _replace(Writer, "_schedule", schedule_late)


def _tear_writes() -> None:
    """Mark every event as the end of a batch, so that recovery keeps a part of a write."""

    def render(events: Sequence[AcceptedEvent], *, is_end: bool) -> list[bytes]:
        del is_end
        lines = [render_line(event.json, Mark.BATCH) for event in events[:-1]]
        return [*lines, render_line(events[-1].json, Mark.WRITE)]

    _replace(engine, "render_write", render)


def _store_half() -> None:
    """Store the first half of a write, and acknowledge all of it."""
    stage = LogEngine.stage

    def stage_half(self: LogEngine, events: Sequence[AcceptedEvent], **options: Any) -> None:
        stage(self, events[: (len(events) + 1) // 2], **options)

    _replace(LogEngine, "stage", stage_half)


def _reuse_ids() -> None:
    """Begin with the last id again after a restart."""
    accept_events = vars(writer)["accept_events"]
    initialize = Writer.__init__
    reused = 0

    def remember(self: Writer, *arguments: Any, **options: Any) -> None:
        nonlocal reused
        initialize(self, *arguments, **options)
        reused = min(1, self._engine.head.event_count)

    def accept(candidates: Any, *, position: int, **options: Any) -> list[AcceptedEvent]:
        events: list[AcceptedEvent] = accept_events(
            candidates, position=position - reused, **options
        )
        return events

    _replace(Writer, "__init__", remember)
    _replace(writer, "accept_events", accept)


class _PublishedState:
    """The subjects as readers know them, which is not how a write that comes behind others does."""

    def __init__(self, owner: LogEngine) -> None:
        self._engine: Final = owner

    def has_events(self, subject: str, *, recursive: bool) -> bool:
        return self.latest_position(subject, recursive=recursive) is not None

    def latest_position(self, subject: str, *, recursive: bool) -> int | None:
        head = self._engine.head
        stop = head.event_count
        scan = Scan(subject=subject, recursive=recursive, start=0, stop=stop, is_reversed=True)
        for block in self._engine.scan(scan, head):
            event, _ = parse_line(block[: block.index(b"\n") + 1])
            return int(event.id)
        return None


def _judge_too_early() -> None:
    """Judge preconditions by what is published, not by what is before the write."""
    _replace(LogEngine, "state", property(_PublishedState))


def _read_the_past() -> None:
    """Answer some reads from a state that has passed."""
    scan_of = vars(read_events)["_scan"]
    heads: deque[LogHead] = deque(maxlen=_READS_AGO)

    def scan(selection: Selection, start: int, head: LogHead) -> Scan:
        heads.append(head)
        if len(heads) == _READS_AGO:
            head = heads[0]
            heads.clear()
        found: Scan = scan_of(selection, start, head)
        return found

    _replace(read_events, "_scan", scan)


def _skip_at_hand_over() -> None:
    """Leave out the last event between what an observer replays and what comes live."""
    scan_behind = vars(observe_events)["scan_behind"]

    def scan(store: Store, whole: Scan, head: LogHead, *behind: Any) -> Any:
        return scan_behind(store, replace(whole, stop=whole.stop - 1), head, *behind)

    _replace(observe_events, "scan_behind", scan)


def _trust_what_held() -> None:
    """Judge again without the preconditions."""
    judge_again = Writer._judge_again

    def judge(self: Writer, batches: Sequence[Batch], failure: Exception | None) -> None:
        for change in self._unjudged:
            if isinstance(change, Write):
                change.preconditions = ()
        judge_again(self, batches, failure)

    _replace(Writer, "_judge_again", judge)


def _judge_backwards() -> None:
    """Judge again who came last before who came first."""
    judge_again = Writer._judge_again

    def judge(self: Writer, batches: Sequence[Batch], failure: Exception | None) -> None:
        self._unjudged.reverse()
        judge_again(self, batches, failure)

    _replace(Writer, "_judge_again", judge)


def _answer_when_lost() -> None:
    """Answer what was judged on a tip that is none, and store it wherever it belongs then."""
    begin_again = Writer._begin_again

    def begin(self: Writer, entries: Sequence[JournalEntry]) -> None:
        in_flight: list[Any] = [*self._in_flight]
        for change in in_flight:
            change.answer(change.outcome)
            change.answer = lambda _: None
        begin_again(self, entries)

    _replace(Writer, "_begin_again", begin)


def _keep_lost_schemas() -> None:
    """Take the schemas of a lost batch for registered."""
    begin_again = Writer._begin_again

    def begin(self: Writer, entries: Sequence[JournalEntry]) -> None:
        known = dict(self.schemas)
        begin_again(self, entries)
        self.schemas.update(known)

    _replace(Writer, "_begin_again", begin)


def _keep_lost_answers() -> None:
    """Let queries go on from events that are lost."""

    def forget(self: StandingQuery, head: LogHead) -> None:
        self.head = min(self.head, head, key=lambda each: each.event_count)

    _replace(StandingQuery, "forget", forget)


def _forget_who_came() -> None:
    """Leave out those who came while the others' batches were applied."""
    begin_again, judge_again = Writer._begin_again, Writer._judge_again
    count = 0

    def begin(self: Writer, entries: Sequence[JournalEntry]) -> None:
        nonlocal count
        begin_again(self, entries)
        count = len(self._unjudged)

    def judge(self: Writer, batches: Sequence[Batch], failure: Exception | None) -> None:
        while len(self._unjudged) > count:
            self._unjudged.pop()
        judge_again(self, batches, failure)

    _replace(Writer, "_begin_again", begin)
    _replace(Writer, "_judge_again", judge)


def _hide_the_others() -> None:
    """Tell observers of our own batches only."""
    judge_again = Writer._judge_again

    def judge(self: Writer, batches: Sequence[Batch], failure: Exception | None) -> None:
        events = self._events
        vars(self)["_events"] = replace(events, published=lambda _: None)
        try:
            judge_again(self, batches, failure)
        finally:
            vars(self)["_events"] = events

    _replace(Writer, "_judge_again", judge)


def _publish_early() -> None:
    """Store, publish and answer while the append is on its way."""
    note_stored = Mirror.note_stored

    async def store_at_once(
        self: Committer, order: Order, batch: Batch, write_count: int, size: int
    ) -> None:
        self._asking = self._loop.create_task(order.append(batch))
        await asyncio.sleep(0)
        self._store(batch, write_count, size)

    def note(self: Mirror, failure: Exception | None) -> None:
        if self._appended is not None:
            note_stored(self, failure)

    _replace(Committer, "_append_and_store", store_at_once)
    _replace(Mirror, "note_stored", note)


def _rename_the_unknown() -> None:
    """Give each attempt to append another id, so that an earlier one is taken for another's."""
    append = Mirror._append

    async def append_renamed(self: Mirror, entry: Entry) -> int:
        journal = self._journal
        ask = journal.append

        async def append_again(entry: Entry, *, after: int) -> int:
            return await ask(replace(entry, batch_id=uuid4().hex), after=after)

        vars(journal)["append"] = append_again
        try:
            return await append(self, entry)
        finally:
            vars(journal)["append"] = ask

    _replace(Mirror, "_append", append_renamed)


def _put_off_the_unknown() -> None:
    """Say that nothing was stored where nobody knows."""

    async def append_once(self: Mirror, entry: Entry) -> int:
        try:
            return await self._journal.append(entry, after=self._arrivals.place)
        except OutcomeUnknownError as error:
            raise JournalUnreachableError(str(error)) from error
        except EntryLostError:
            await self._fetch()
            self._raise_if_lost()
            raise

    _replace(Mirror, "_append", append_once)


def _read_without_barrier() -> None:
    """Show what is here for what is current."""

    def call_back(self: Mirror, callback: Callable[[Exception | None], None]) -> None:
        del self
        callback(None)

    _replace(Mirror, "when_current", call_back)


def _refuse_without_asking() -> None:
    """Refuse by what is here, whatever is there."""

    async def believe(self: Mirror) -> None:
        del self

    _replace(Mirror, "confirm", believe)


def _apply_out_of_order() -> None:
    """Take the second one of two entries that came together for the first."""
    arrive = Arrivals.arrive

    def arrive_before(self: Arrivals, placed: PlacedEntry) -> bool:
        is_new = arrive(self, placed)
        if len(self) > 1:
            self._entries[-1], self._entries[-2] = self._entries[-2], self._entries[-1]
        return is_new

    _replace(Arrivals, "arrive", arrive_before)


def _miscount_places() -> None:
    """Think after a reconnection that the next entry is here."""
    note_found, arrive = Mirror._note_found, Arrivals.arrive
    was_lost = False

    def note(self: Mirror) -> None:
        nonlocal was_lost
        was_lost = was_lost or self._lost_at is not None
        note_found(self)

    def arrive_or_skip(self: Arrivals, placed: PlacedEntry) -> bool:
        nonlocal was_lost
        is_new = arrive(self, placed)
        if was_lost and is_new:
            was_lost = False
            self.advance(placed.place)
        return is_new

    _replace(Mirror, "_note_found", note)
    _replace(Arrivals, "arrive", arrive_or_skip)


def _post_late() -> None:
    """Answer before other processes can see what was written."""
    post = LogEngine._post

    def post_later(self: LogEngine, board: HeadBoard) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            # It is being opened.
            post(self, board)
        else:
            loop.call_later(_EARLY_SECONDS, post, self, board)

    _replace(LogEngine, "_post", post_later)


def _show_what_was() -> None:
    """Look for a newer head now and then only."""
    catch_up = SharedLog.catch_up
    looked_at = 0.0

    def catch_up_seldom(self: SharedLog) -> bool:
        nonlocal looked_at
        if time.monotonic() - looked_at < _EARLY_SECONDS:
            return False
        looked_at = time.monotonic()
        return catch_up(self)

    _replace(SharedLog, "catch_up", catch_up_seldom)


def _wake_with_a_gap() -> None:
    """Leave out the first event of what observers are told of, every so often."""
    publish = Waking._publish
    count = 0

    def publish_less(self: Waking, start: int, stop: int) -> None:
        nonlocal count
        count += 1
        if count % _READS_AGO:
            publish(self, start, stop)
            return
        # As if it had been told.
        events, lines = self._log.events_between(start, stop)
        blanks = [event_like(event) for event in events]
        self._observers.publish(Batch(start, blanks, lines, (), self._log.head))
        self._position = start + len(events)

    def event_like(event: AcceptedEvent) -> AcceptedEvent:
        return replace(event, subject="/elsewhere")

    _replace(Waking, "_publish", publish_less)


def _swap_answers() -> None:
    """Give two who are told at once each the answer of the other."""
    decode = vars(front)["decode_told"]

    def decode_swapped(content: bytes) -> list[Told]:
        told: list[Told] = decode(content)
        numbers = [each.number for each in told]
        return [replace(each, number=n) for each, n in zip(told, numbers[::-1], strict=True)]

    _replace(front, "decode_told", decode_swapped)


def _trust_the_clock() -> None:
    """Give events the time that the clock says, whatever the time before was."""
    _replace(
        writer,
        "next_event_time",
        lambda now, *, previous: (now | 1, format_time((now | 1) + 0 * previous)),
    )


def _share_the_directory() -> None:
    """Take the lock without asking whether another process has it."""
    _replace(fcntl, "flock", lambda *_: None)


def _keep_the_file_limit() -> None:
    """Be content with the open files that the system allows at first, and think there are many."""
    _replace(bootstrap, "_raise_file_limit", lambda: sys.maxsize)


def _hide_a_shortage() -> None:
    """Go on as if a write had been staged that there was no memory for."""
    stage = LogEngine.stage

    def stage_or_not(self: LogEngine, events: Sequence[AcceptedEvent], **options: Any) -> None:
        try:
            stage(self, events, **options)
        except MemoryError:
            sys.stdout.write('{"message":"a MemoryError is hidden"}\n')

    _replace(LogEngine, "stage", stage_or_not)


def _leak_descriptors() -> None:
    """Forget to close a file for each request."""
    _with_each_request(lambda: os.dup(0))


def _leak_memory() -> None:
    """Keep something of each request for ever."""
    kept: list[bytes] = []
    _with_each_request(lambda: kept.append(b"x" * _LEAK_SIZE))


def _with_each_request(act: Callable[[], object]) -> None:
    route = ApiApplication.route

    @wraps(route)
    def route_and_act(self: ApiApplication, head: Head) -> Endpoint | Response:
        act()
        answer = route(self, head)
        # So that it is asked about the next request with this head, too.
        head.admission = None
        return answer

    _replace(ApiApplication, "route", route_and_act)


def _replace(owner: Any, name: str, replacement: object) -> None:
    assert hasattr(owner, name)
    setattr(owner, name, replacement)


PLANTED: Final[Mapping[Bug, Callable[[], None]]] = MappingProxyType(
    {
        Bug.ANSWERS_EARLY: _answer_early,
        Bug.TEARS_WRITES: _tear_writes,
        Bug.STORES_HALF: _store_half,
        Bug.REUSES_IDS: _reuse_ids,
        Bug.JUDGES_TOO_EARLY: _judge_too_early,
        Bug.READS_THE_PAST: _read_the_past,
        Bug.SKIPS_AT_HAND_OVER: _skip_at_hand_over,
        Bug.TRUSTS_WHAT_HELD: _trust_what_held,
        Bug.JUDGES_BACKWARDS: _judge_backwards,
        Bug.ANSWERS_WHEN_LOST: _answer_when_lost,
        Bug.KEEPS_LOST_SCHEMAS: _keep_lost_schemas,
        Bug.KEEPS_LOST_ANSWERS: _keep_lost_answers,
        Bug.FORGETS_WHO_CAME: _forget_who_came,
        Bug.HIDES_THE_OTHERS: _hide_the_others,
        Bug.PUBLISHES_EARLY: _publish_early,
        Bug.RENAMES_THE_UNKNOWN: _rename_the_unknown,
        Bug.PUTS_OFF_THE_UNKNOWN: _put_off_the_unknown,
        Bug.READS_WITHOUT_BARRIER: _read_without_barrier,
        Bug.REFUSES_WITHOUT_ASKING: _refuse_without_asking,
        Bug.APPLIES_OUT_OF_ORDER: _apply_out_of_order,
        Bug.MISCOUNTS_PLACES: _miscount_places,
        Bug.POSTS_LATE: _post_late,
        Bug.SHOWS_WHAT_WAS: _show_what_was,
        Bug.WAKES_WITH_A_GAP: _wake_with_a_gap,
        Bug.SWAPS_ANSWERS: _swap_answers,
        Bug.TRUSTS_THE_CLOCK: _trust_the_clock,
        Bug.SHARES_THE_DIRECTORY: _share_the_directory,
        Bug.KEEPS_THE_FILE_LIMIT: _keep_the_file_limit,
        Bug.HIDES_A_SHORTAGE: _hide_a_shortage,
        Bug.LEAKS_DESCRIPTORS: _leak_descriptors,
        Bug.LEAKS_MEMORY: _leak_memory,
    }
)
