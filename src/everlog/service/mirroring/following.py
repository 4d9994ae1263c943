"""A follower: it mirrors another server, its source, as far as that has got.

One thread follows. It asks the source for what is behind the last event here, verifies it, and
hands whole writes to the writer, which takes them over between its own steps (`take`). What was
handed over and is not stored yet is bounded, so that a source which is far ahead is read no faster
than the disk takes it.

**The first event that is asked for is the last one that is here.** So a source whose chain does not
continue this one is seen before anything is taken from it: the thread looks for the first event
that differs, says which one it is, and ends. What is here is served all the same.

**Schemas come first.** A schema was satisfied by all events before it, so that it may be here
before them, but not behind an event that had to satisfy it. So event types are asked for before the
first events are taken over, before the first event of a type is, and before events whenever the
last answer is old.

What is left to others: asking and verifying (`source`), and storing (`writing.writer`).
"""

import asyncio
import math
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import msgspec

from everlog.domain.errors import DiskFullError, EverlogError, JournalUnreachableError
from everlog.domain.event import AcceptedEvent
from everlog.domain.known_event import KnownEvent
from everlog.service.mirroring.source import (
    Source,
    SourceError,
    SourceStream,
    UnfitSourceError,
    Writes,
)
from everlog.service.writing.writer import Writer
from everlog.storage.engine import (
    Batch,
    Engine,
    Head,
    JournalEntry,
    ReadLines,
    Scan,
    StagedSchema,
)
from everlog.storage.line import parse_line, to_last_of_batch

# What waits to be stored, and what of it becomes one batch; a write may be larger than either.
_WAITING_SIZE_MAX: Final = 16 * 1024 * 1024
_BATCH_SIZE_MAX: Final = 4 * 1024 * 1024
# Each is compiled on the event loop's thread, which takes some milliseconds at worst.
_BATCH_SCHEMAS_MAX: Final = 8

# How long is waited for the source to say something before it is looked what else there is to do.
_STEP_SECONDS: Final = 0.5

# Between attempts: twice as long each time, a part of it by chance, so that those who follow the
# same source do not all come at once.
_PAUSE_SECONDS_MIN: Final = 0.1
_PAUSE_SECONDS_MAX: Final = 10.0

# How old an answer about event types may be when events are taken over, and how old it gets while
# there are none; an answer that takes long is asked for less often.
_SCHEMAS_SECONDS: Final = 1.0
_SCHEMAS_IDLE_SECONDS: Final = 5.0
_SCHEMAS_SHARE: Final = 20

# Their names are kept in memory: a few hundred megabytes of them are no application's.
_EVENT_TYPES_MAX: Final = 1_000_000

# How often the source is asked how far it is, while it has more than is here.
_HEAD_SECONDS: Final = 5.0

# How long the source may take to send its first event before it is asked whether it has one.
_PROOF_SECONDS: Final = 2.0

# Who was not current for so long catches up, and says how far it is.
_CATCHING_UP_SECONDS: Final = 5.0
_PROGRESS_SECONDS: Final = 10.0

# Between two attempts to store what there was no room for.
_RETRY_SECONDS: Final = 1.0


class FollowingState(StrEnum):
    """How a follower stands to its source."""

    CONNECTING = "connecting"
    # The source has had events for long that are not here.
    CATCHING_UP = "catching-up"
    FOLLOWING = "following"
    # It is asked again and again.
    UNREACHABLE = "unreachable"
    # It has fewer events than are here: it is asked again, until it has the last one of them.
    BEHIND = "behind"
    # Its events are not those that follow here: it is not followed any more.
    REFUSED = "refused"


class FollowingFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Where a follower is, for those who watch it."""

    source: str
    state: FollowingState
    # Why it is so, empty where nobody has to be told.
    reason: str
    # Which version of the API the source speaks, empty before it was reached, and whether it says
    # where its writes end.
    version: str
    is_marked: bool
    # How many events the source is known to have more than are here.
    lag_events: int
    # For how long it has been known to have more, or not been heard of.
    lag_seconds: float
    # Why what has come cannot be stored, empty where it can.
    storing_failure: str
    # Since the start.
    event_count: int
    size: int
    connection_count: int
    failure_count: int


def _ignore(*_: object) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowingEvents:
    """Whom a follower tells what happens; each is called on the event loop's thread."""

    # The source was reached: which version it speaks, and whether it says where its writes end.
    connected: Callable[[str, bool], None] = _ignore
    # It cannot be read for now.
    lost: Callable[[str], None] = _ignore
    # It has fewer events than are here.
    behind: Callable[[str], None] = _ignore
    # It is not followed any more: why, and the position of the first event that differs.
    refused: Callable[[str, int | None], None] = _ignore
    # So many events are here, of so many that the source has.
    progressed: Callable[[int, int], None] = _ignore
    # All is here, after so many events.
    caught_up: Callable[[int], None] = _ignore
    bug: Callable[[Exception], None] = _ignore


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowingOptions:
    """Whom to follow, and whom to tell."""

    source: Source
    events: FollowingEvents = field(default_factory=FollowingEvents)


class Follower:
    """The order of a log whose events are those of a source."""

    def __init__(
        self, engine: Engine, options: FollowingOptions, *, loop: asyncio.AbstractEventLoop
    ) -> None:
        """Ask nothing yet."""
        self._engine: Final = engine
        self._source: Final = options.source
        self._events: Final = options.events
        self._loop: Final = loop
        self._take_over: Callable[[], None] = _ignore
        self._thread: Final = threading.Thread(target=self._run, name="follow", daemon=True)
        # What waits, and its size; what was taken by the writer last, until it is stored.
        self._changed: Final = threading.Condition()
        self._waiting: Final[deque[Writes | StagedSchema]] = deque()
        self._waiting_size = 0
        self._taken: JournalEntry | None = None
        # Why that failed, and when it is tried again.
        self._storing_failure = ""
        self._retry_at = -math.inf
        self._is_stopped = False
        self._woken: Final = threading.Event()
        self._stream: SourceStream | None = None
        # What the next writes follow, as far as was handed over.
        self._tip = engine.head
        # The event types that are here, or on their way, and their schemas.
        self._types: Final[dict[str, str | None]] = {}
        # Those that the source had when it was asked last.
        self._listed: set[str] = set()
        self._types_at = -math.inf
        self._types_seconds = 0.0
        self._head_at = 0.0
        self._progress_at = 0.0
        self._is_caught_up = False
        # Figures. How many events the source is known to have, and how many it had at which time,
        # as far as those are not stored.
        self._source_count = 0
        self._heard: Final[deque[tuple[float, int]]] = deque()
        self._state = FollowingState.CONNECTING
        self._reason = ""
        self._version = ""
        self._is_marked = False
        self._current_at = time.monotonic()
        self._event_count = self._size = self._connection_count = self._failure_count = 0

    # On the event loop's thread: the order of a writer (`writing.order`).

    def start(self, writer: Writer) -> None:
        """Begin to follow; the writer is one that this is the order of."""
        self._take_over = writer.take_over
        self._thread.start()

    def take(self) -> Sequence[JournalEntry]:
        """Return what follows the head, a few megabytes of it."""
        if self._taken is None and self._waiting:
            with self._changed:
                self._taken = self._merge(self._engine.head)
                self._changed.notify_all()
        if self._is_stopped or self._taken is None or time.monotonic() < self._retry_at:
            return ()
        return (self._taken,)

    def note_applied(self, count: int, failure: Exception | None) -> None:
        """Take note that what was taken is stored, or why it is not: then it is tried again."""
        self._storing_failure = ""
        if count:
            self._taken = None
            self._note_stored(self._engine.head.event_count)
        if failure is not None:
            self._storing_failure = (
                str(failure) if isinstance(failure, DiskFullError) else type(failure).__name__
            )
            self._retry_at = time.monotonic() + _RETRY_SECONDS

    @property
    def batch_size_max(self) -> int:
        """Nothing is appended."""
        return 0

    async def append(self, _: Batch) -> None:
        """Refuse: nothing that is written here gets as far as this."""
        raise JournalUnreachableError("nothing is written to a follower")

    def note_stored(self, _: Exception | None) -> None:
        """Nothing is appended."""

    def is_current(self, _: float) -> bool:
        """Tell that refusals may leave: they are based on nothing but that this is a follower."""
        return True

    async def confirm(self) -> None:
        """There is nothing to be confirmed."""

    @property
    def has_more(self) -> bool:
        """Say so: nothing is judged here, and so nothing is to be stored with what was taken."""
        return True

    @property
    def is_contended(self) -> bool:
        """Nothing is judged here."""
        return False

    def pause(self) -> float:
        """Nobody waits for a turn."""
        return 0.0

    # For whoever watches it, and whoever ends it.

    def figures(self) -> FollowingFigures:
        """Return where it is."""
        now = time.monotonic()
        stored = self._engine.head.event_count
        lag_events = max(self._source_count - stored, 0)
        self._note_stored(stored)
        lag_seconds = now - self._current_at
        state = self._state
        if state is FollowingState.FOLLOWING:
            if lag_seconds > _CATCHING_UP_SECONDS:
                state = FollowingState.CATCHING_UP
            elif not lag_events:
                # It says something each second.
                lag_seconds = 0.0
        return FollowingFigures(
            source=self._source.address,
            state=state,
            reason=self._reason,
            version=self._version,
            is_marked=self._is_marked,
            lag_events=lag_events,
            lag_seconds=lag_seconds,
            storing_failure=self._storing_failure,
            event_count=self._event_count,
            size=self._size,
            connection_count=self._connection_count,
            failure_count=self._failure_count,
        )

    def wake(self) -> None:
        """Try again now, if it waits to do so: something may be better."""
        self._woken.set()

    def stop(self) -> None:
        """Hand over nothing any more; the thread ends soon after, and nobody waits for it."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()
        self._woken.set()
        stream = self._stream
        if stream is not None:
            stream.close()

    def _merge(self, head: Head) -> JournalEntry | None:
        """Make one entry of what waits, as much of it as one batch may be."""
        lines: list[bytes] = []
        events: list[AcceptedEvent] = []
        time_ = head.time
        schemas: list[StagedSchema] = []
        size = 0
        while self._waiting and size < _BATCH_SIZE_MAX:
            following = self._waiting[0]
            if isinstance(following, StagedSchema):
                if lines or len(schemas) == _BATCH_SCHEMAS_MAX:
                    # What comes behind a schema is not here before it.
                    break
                schemas.append(following)
                size += len(following.text)
            else:
                lines += following.lines
                events += following.events
                time_ = following.time
                size += following.size
            self._waiting.popleft()
        if not size:
            return None
        self._waiting_size -= size
        if lines:
            lines[-1] = to_last_of_batch(lines[-1])
        read = ReadLines(events, time_)
        return JournalEntry(head.event_count, head.hash, lines, schemas, read)

    def _note_stored(self, stored: int) -> None:
        """Note up to when all is here that the source was known to have."""
        with self._changed:
            while self._heard and self._heard[0][1] <= stored:
                self._current_at, _ = self._heard.popleft()

    # On the thread.

    def _run(self) -> None:
        pause = _PAUSE_SECONDS_MIN
        while not self._is_stopped:
            connections = self._connection_count
            try:
                self._follow()
            except UnfitSourceError as error:
                self._refuse(error)
                return
            except SourceError as error:
                self._note_lost(error)
            except Exception as error:  # noqa: BLE001 - it is followed all the same.
                self._note_bug(error)
            finally:
                stream, self._stream = self._stream, None
                if stream is not None:
                    stream.close()
            if self._connection_count > connections:
                pause = _PAUSE_SECONDS_MIN
            self._woken.wait(pause * random.uniform(0.5, 1.0))  # noqa: S311 - only to spread them.
            self._woken.clear()
            pause = min(2 * pause, _PAUSE_SECONDS_MAX)
            self._tell(self._take_over)

    def _follow(self) -> None:
        """Follow over one connection, until it ends."""
        tip = self._tip
        known = KnownEvent(tip.event_count - 1, tip.hash) if tip.event_count else None
        self._load_known_types()
        stream = self._stream = self._source.observe(known, time=tip.time)
        self._version, self._is_marked = stream.version, stream.is_marked
        self._types_at = self._head_at = -math.inf
        asked_at = time.monotonic()
        is_connected = False
        while not self._is_stopped:
            writes = stream.take(seconds=_STEP_SECONDS)
            if not stream.is_proven:
                if time.monotonic() - asked_at > _PROOF_SECONDS:
                    self._look_for_known(tip)
                    asked_at = time.monotonic()
                continue
            if not is_connected:
                is_connected = True
                self._note_connected(stream)
            if writes is not None:
                self._hand_over(writes)
            self._ask_besides(stream)
            self._note_heard(stream)
            if self._storing_failure:
                # What could not be stored is tried again.
                self._tell(self._take_over)

    def _hand_over(self, writes: Writes) -> None:
        """Let the writer have whole writes, and before them the schemas that they may need."""
        names = {event.type for event in writes.events}
        unknown = names - self._types.keys() - self._listed
        if unknown or self._is_due(_SCHEMAS_SECONDS):
            self._ask_for_types()
        for name in names:
            self._types.setdefault(name, None)
        self._put(writes, writes.size)
        self._tip = msgspec.structs.replace(
            self._tip,
            event_count=writes.first_position + len(writes.events),
            hash=writes.events[-1].hash,
            time=writes.time,
        )
        self._event_count += len(writes.events)
        self._size += writes.size

    def _put(self, following: Writes | StagedSchema, size: int) -> None:
        with self._changed:
            while self._waiting_size > _WAITING_SIZE_MAX and not self._is_stopped:
                if not self._changed.wait(_STEP_SECONDS):
                    # What could not be stored is tried again.
                    self._tell(self._take_over)
            self._waiting.append(following)
            self._waiting_size += size
        self._tell(self._take_over)

    # Event types.

    def _load_known_types(self) -> None:
        """Remember the event types that are here, besides those that wait."""
        for chunk in self._engine.event_types(self._engine.head):
            for entry in chunk:
                if self._types.get(entry.name) is None:
                    self._types[entry.name] = entry.schema

    def _is_due(self, seconds: float) -> bool:
        """Tell whether the last answer about event types is older than that."""
        age = time.monotonic() - self._types_at
        return age > max(seconds, _SCHEMAS_SHARE * self._types_seconds)

    def _ask_for_types(self) -> None:
        """Take over the schemas that the source has, and that are not here."""
        begun_at = time.monotonic()
        lacking = {name for name, schema in self._types.items() if schema is not None}
        self._listed = set()
        for name, schema in self._source.read_event_types():
            self._listed.add(name)
            if len(self._listed) > _EVENT_TYPES_MAX:
                raise SourceError(f"it has more than {_EVENT_TYPES_MAX} event types")
            if schema is None:
                continue
            known = self._types.get(name)
            if known is None:
                self._types[name] = schema
                self._put(StagedSchema(name, schema), len(schema))
            elif known != schema:
                message = f"its event type {name} has another schema than the one here"
                raise UnfitSourceError(message, position=None)
            lacking.discard(name)
        if lacking:
            # Of several servers behind one address, one may not be as far as another one.
            message = f"its event type {min(lacking)} lacks the schema that it has here"
            raise SourceError(message)
        # As of when it was asked.
        self._types_at = begun_at
        self._types_seconds = time.monotonic() - begun_at

    # Whether the source is the right one, and how far it is.

    def _ask_besides(self, stream: SourceStream) -> None:
        if self._is_due(_SCHEMAS_IDLE_SECONDS):
            self._ask_for_types()
        now = time.monotonic()
        if not stream.is_current and now - self._head_at > _HEAD_SECONDS:
            self._head_at = now
            latest = self._source.find_latest(self._tip.event_count)
            if latest is not None:
                self._source_count = max(self._source_count, latest + 1)

    def _look_for_known(self, tip: Head) -> None:
        """Find out why the source does not send the last event that is here."""
        position = tip.event_count - 1
        if tip.event_count == 0 or self._source.find_latest(position) is not None:
            # It has one there, and takes its time.
            return
        latest = self._source.find_latest(0)
        stored = self._engine.head.event_count
        if latest is not None and stored > 0:
            shared = min(latest, stored - 1)
            if self._differs_at(shared):
                message = "its last event is another one than the one here"
                raise UnfitSourceError(message, position=shared)
        count = 0 if latest is None else latest + 1
        self._reason = f"it has {count} events, and here are {tip.event_count}"
        self._state = FollowingState.BEHIND
        self._tell(self._events.behind, self._reason)

    def _differs_at(self, position: int) -> bool:
        """Tell whether an event of the source is another one than the one here."""
        return self._source.find_hash(position) != self._hash_at(position)

    def _hash_at(self, position: int) -> str | None:
        scan = Scan(start=position, stop=position + 1)
        line = b"".join(self._engine.scan(scan, self._engine.head))
        return parse_line(line)[0].hash

    def _refuse(self, error: UnfitSourceError) -> None:
        """Follow no more, and say at which event the source differs first."""
        reason, position = str(error), error.position
        stored = self._engine.head.event_count
        if position is not None and stored > 0:
            last = min(position, stored - 1)
            try:
                if self._differs_at(last):
                    position = self._find_first_difference(last)
                    reason = f"{reason}: the first event that differs is {position}"
            except EverlogError:
                reason = f"{reason}: there may be others before it"
        self._state, self._reason = FollowingState.REFUSED, reason
        self._tell(self._events.refused, reason, position)

    def _find_first_difference(self, position: int) -> int:
        """Return the first position that differs, where a later one is known to."""
        # Each hash is about all events before it.
        first = 0
        while first < position:
            middle = (first + position) // 2
            if self._differs_at(middle):
                position = middle
            else:
                first = middle + 1
        return position

    # Telling.

    def _note_connected(self, stream: SourceStream) -> None:
        self._connection_count += 1
        self._state, self._reason = FollowingState.FOLLOWING, ""
        self._is_caught_up = False
        self._progress_at = time.monotonic()
        self._tell(self._events.connected, stream.version, stream.is_marked)

    def _note_lost(self, error: SourceError) -> None:
        if self._is_stopped:
            return
        self._failure_count += 1
        self._state, self._reason = FollowingState.UNREACHABLE, str(error)
        self._tell(self._events.lost, str(error))

    def _note_heard(self, stream: SourceStream) -> None:
        """Note how many events the source has by now, and say how far it is followed."""
        now = time.monotonic()
        self._is_marked = stream.is_marked
        self._source_count = count = max(self._source_count, stream.count)
        with self._changed:
            if self._heard and self._heard[-1][1] == count:
                self._heard.pop()
            self._heard.append((now, count))
        stored = self._engine.head.event_count
        self._note_stored(stored)
        if stored >= count and not self._is_caught_up:
            self._is_caught_up = True
            self._tell(self._events.caught_up, stored)
        elif not self._is_caught_up and now - self._progress_at > _PROGRESS_SECONDS:
            self._progress_at = now
            self._tell(self._events.progressed, stored, count)

    def _note_bug(self, error: Exception) -> None:
        # Whoever stops takes away what the thread may be reading.
        if not self._is_stopped:
            self._note_lost(SourceError("an unexpected error"))
            self._tell(self._events.bug, error)

    def _tell(self, function: Callable[..., None], *arguments: object) -> None:
        # The loop may have been closed meanwhile.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *arguments)
