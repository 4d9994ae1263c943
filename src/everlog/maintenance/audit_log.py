"""The audit of the log: every line of every segment.

Each event is judged by what comes before it: its place, its predecessor's hash, its own hash, its
time, and where its write ends. Behind something broken the walk goes on with the next line that is
an event, so that one run tells all there is.

What lies behind both the durable bound and the last batch that is known to be whole was never
acknowledged. It may be torn, which is a notice; the next opening removes it.
"""

import struct
import zlib
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Final, NamedTuple

from everlog.domain.chain import GENESIS_HASH
from everlog.maintenance.event_time import parse_event_time
from everlog.maintenance.findings import Finding, Kind
from everlog.maintenance.segments import Lines, Segment, find_last_batch, read_lines
from everlog.maintenance.stored_event import StoredEvent, compute_hash, read_event

DURABLE_FILE: Final = "durable"

_BOUND: Final = struct.Struct("<QQQ")
_CHECKSUM: Final = struct.Struct("<I")

# As many digits as the name of a segment has.
_ID_LENGTH_MAX: Final = 20


class DurableBound(NamedTuple):
    """Up to where the log and the event schemas are known to have been on the disk."""

    event_count: int = 0
    log_size: int = 0
    schemas_size: int = 0
    # Where that is said, for findings.
    file: str = DURABLE_FILE


def parse_bound(content: bytes) -> DurableBound | None:
    """Return what the file of the durable bound says, None if its checksum is wrong."""
    body, checksum = content[: _BOUND.size], content[_BOUND.size :]
    if checksum == _CHECKSUM.pack(zlib.crc32(body)) and len(body) == _BOUND.size:
        return DurableBound(*_BOUND.unpack(body))
    return None


class Block(NamedTuple):
    """Events that follow each other without a flaw, for comparing them with the index."""

    first_position: int
    # Of each line, counted from the beginning of the log, and of what is behind the last one.
    offsets: list[int]
    end: int
    events: list[StoredEvent]
    # The one that they lie in.
    segment: Segment


class _Broken(NamedTuple):
    """Bytes that are no event: where they begin, and what is wrong with the first of them."""

    offset: int
    reason: str


class LogAudit:
    """A walk through the log, and how far it has come."""

    def __init__(
        self,
        segments: Sequence[Segment],
        bound: DurableBound,
        on_read: Callable[[int], None],
        *,
        proven: DurableBound | None = None,
    ) -> None:
        """Begin before the first event; `on_read` is told of every byte read.

        What is `proven` is the bound, or more where something else says so.
        """
        self._segments = segments
        self._bound = bound
        self._proven = bound if proven is None else proven
        self._on_read = on_read
        # What the next event is judged by. The hash is unknown behind something broken.
        self._position = 0
        self._hash: str | None = GENESIS_HASH
        # What the predecessor's hash of an event should be, where that is not what it is.
        self._computed: dict[int, str | None] = {}
        self._time_text = ""
        self._time: tuple[str, str] = ("", "")
        self._broken: _Broken | None = None
        # Behind the last event whose write is whole, as a position and as an offset of the log.
        self.event_count = 0
        self.log_size = 0
        self.head_hash = GENESIS_HASH
        # Whether nothing was found wrong so far, and whether the rest of the log is a torn tail.
        self.is_intact = True
        self._is_torn = False
        # Of the first event behind the durable bound, once the walk has come there.
        self._bound_position = 0 if bound.log_size == 0 else None

    def walk(self) -> Iterator[Finding | Block]:
        """Yield whatever is wrong, and the events before the first flaw."""
        for segment in self._segments:
            torn_from = self._find_tear(segment)
            yield from self._enter(segment)
            for found in read_lines(segment, self._on_read):
                if isinstance(found, Finding):
                    self.is_intact = False
                    yield found
                    continue
                yield from self._walk_lines(segment, found, torn_from)
                if self._is_torn:
                    break
            else:
                yield from self._leave(segment)
        yield from self._compare_with_bound()

    def _find_tear(self, segment: Segment) -> int:
        """Return from where on, in a file, nothing was acknowledged if it is not whole."""
        if not segment.is_last:
            return segment.size + 1
        return max(self._proven.log_size - segment.offset, find_last_batch(segment))

    def _enter(self, segment: Segment) -> Iterator[Finding]:
        expected, named = self._position, segment.first_position
        if named > expected:
            meaning = f"{_events(expected, named)} missing in front of this segment"
            yield self._flaw(Kind.EVENTS_MISSING, segment, None, meaning)
            self._position, self._hash = named, None
        elif named < expected:
            meaning = f"it is named after event {named}, but begins with event {expected}"
            yield self._flaw(Kind.SEGMENT, segment, None, meaning)

    def _walk_lines(
        self, segment: Segment, lines: Lines, torn_from: int
    ) -> Iterator[Finding | Block]:
        offset, bound = lines.offset, self._bound.log_size - segment.offset
        first, offsets, events = self._position, list[int](), list[StoredEvent]()
        end = 0
        for line in lines.lines:
            start, offset = offset, offset + len(line) + 1
            try:
                event, mark = read_event(line)
            except ValueError as error:
                yield from self._break(segment, start, str(error), torn_from)
                if self._is_torn:
                    break
                continue
            if not self._follows(event):
                is_in_place = yield from self._examine(segment, event, start, torn_from)
                if self._is_torn:
                    break
                if not is_in_place:
                    continue
            elif self.is_intact:
                offsets.append(start + segment.offset)
                events.append(event)
                end = offset + segment.offset
            self._position += 1
            self._hash = event.hash
            if mark > 0:
                self.event_count, self.head_hash = self._position, event.hash
                self.log_size = offset + segment.offset
            if offset == bound:
                self._bound_position = self._position
        if lines.rest and not self._is_torn:
            yield from self._break(segment, offset, "it has no end", torn_from)
        if events:
            yield Block(first, offsets, end, events, segment)

    def _follows(self, event: StoredEvent) -> bool:
        """Tell whether an event is without a flaw in its place."""
        return (
            event.predecessorhash == self._hash
            and event.id == str(self._position)
            and event.hash == compute_hash(event)
            and self._broken is None
            and self._is_on_time(event.time)
        )

    def _is_on_time(self, text: str) -> bool:
        if text == self._time_text:
            return True
        time = parse_event_time(text)
        if time is None or time < self._time:
            return False
        self._time_text, self._time = text, time
        return True

    def _break(
        self, segment: Segment, start: int, reason: str, torn_from: int
    ) -> Iterator[Finding]:
        """Take note of a line that is no event; how many are lost, the next event tells."""
        if start >= torn_from and self._position >= self._proven.event_count:
            yield self._tear(segment, reason)
        elif self._broken is None:
            self.is_intact = False
            self._broken = _Broken(start, reason)

    def _examine(
        self, segment: Segment, event: StoredEvent, start: int, torn_from: int
    ) -> Generator[Finding, None, bool]:
        """Yield the flaws of an event, and return whether it has a place in the log."""
        computed = compute_hash(event)
        if start >= torn_from and self._position >= self._proven.event_count:
            yield self._tear(segment, f"event {self._position} is not as it was written")
            return False
        place = _position_of(event)
        if self._broken is not None:
            yield from self._mend(segment, start, place)
        computed_before = self._computed.get(self._position)
        is_chained = event.predecessorhash in {self._hash, computed_before}
        if place != self._position and is_chained:
            yield self._flaw(Kind.ID, segment, start, f"it has the id {event.id!r}")
        elif place > self._position:
            meaning = f"{_events(self._position, place)} missing"
            yield self._flaw(Kind.EVENTS_MISSING, segment, start, meaning)
            self._position, self._hash = place, None
        elif place < self._position:
            meaning = f"an event with the id {event.id!r} stands where it should be"
            yield self._flaw(Kind.ID, segment, start, meaning)
            return False
        if self._hash is not None and not is_chained:
            meaning = f"it does not name the hash of event {self._position - 1}, but another one"
            yield self._flaw(Kind.PREDECESSOR_HASH, segment, start, meaning)
        if computed != event.hash:
            meaning = "its hash is of an unknown version"
            if computed is not None:
                meaning = "its hash is not that of its content"
            yield self._flaw(Kind.HASH, segment, start, meaning)
        if not self._is_on_time(event.time):
            meaning = f"its time, {event.time!r}, is none, or before that of an earlier event"
            yield self._flaw(Kind.TIME, segment, start, meaning)
        self._computed = {self._position + 1: computed}
        return True

    def _mend(self, segment: Segment, stop: int, place: int) -> Iterator[Finding]:
        """Tell what was lost in broken bytes, now that an event stands behind them."""
        assert self._broken is not None
        start, reason = self._broken
        first = self._position
        if place > first:
            meaning = f"{_events(first, place)} not readable in {stop - start} bytes: {reason}"
            self._position, self._hash = place, None
        else:
            meaning = f"{stop - start} bytes in front of it are not an event: {reason}"
        yield self._flaw(Kind.BROKEN_LINE, segment, start, meaning, position=first)
        self._broken = None

    def _leave(self, segment: Segment) -> Iterator[Finding]:
        if self._broken is not None:
            start, reason = self._broken
            size = segment.used_size - start
            meaning = f"the last {size} bytes of the segment are not readable: {reason}"
            yield self._flaw(Kind.BROKEN_LINE, segment, start, meaning)
            self._broken, self._hash = None, None
        if self.event_count < self._position:
            if segment.is_last and self.event_count >= self._proven.event_count:
                yield self._tear(segment, "its last write has no end")
            else:
                meaning = "the write that it belongs to has no end"
                position, self.event_count = self.event_count, self._position
                yield self._flaw(Kind.UNFINISHED_WRITE, segment, None, meaning, position=position)
        if not segment.is_last and segment.used_size < segment.size:
            meaning = "zeros stand between this segment and the next one"
            yield self._flaw(Kind.BROKEN_LINE, segment, segment.used_size, meaning)

    def _compare_with_bound(self) -> Iterator[Finding]:
        bound, proven = self._bound, self._proven
        file = bound.file
        event_id = min(self.event_count, bound.event_count)
        is_short = self.is_intact and self.log_size < proven.log_size
        if is_short or self.event_count < proven.event_count:
            event_id = min(self.event_count, proven.event_count)
            kind, file = Kind.LOG_TOO_SHORT, self._segments[-1].name if self._segments else "log"
            meaning = (
                f"the log ends in front of it, after {self.log_size} bytes, but {proven.log_size} "
                f"bytes with {proven.event_count} events were on the disk, says {proven.file}"
            )
        elif self.is_intact and self._bound_position != bound.event_count:
            kind = Kind.DURABLE_BOUND
            meaning = (
                f"it says that the first {bound.log_size} bytes of the log hold "
                f"{bound.event_count} events, which is not so"
            )
        elif self.event_count > bound.event_count:
            kind = Kind.UNCONFIRMED
            meaning = (
                f"{_events(bound.event_count, self.event_count)} whole, but behind the durable "
                "bound: nobody may have been told of them; the next opening confirms them"
            )
        else:
            return
        yield Finding(kind=kind, event_id=event_id, file=file, offset=None, meaning=meaning)

    def _flaw(
        self,
        kind: Kind,
        segment: Segment,
        offset: int | None,
        meaning: str,
        *,
        position: int | None = None,
    ) -> Finding:
        self.is_intact = False
        event_id = self._position if position is None else position
        return Finding(
            kind=kind, event_id=event_id, file=segment.name, offset=offset, meaning=meaning
        )

    def _tear(self, segment: Segment, reason: str) -> Finding:
        self._is_torn = True
        start = self.log_size - segment.offset
        return Finding(
            kind=Kind.TORN_TAIL,
            event_id=self.event_count,
            file=segment.name,
            offset=start,
            meaning=(
                f"the last {segment.used_size - start} bytes are an unfinished write: {reason}; "
                "nobody was told that it succeeded, and the next opening removes it"
            ),
        )


def _position_of(event: StoredEvent) -> int:
    """Return the place that an event's id names, -1 if it names none."""
    is_number = len(event.id) <= _ID_LENGTH_MAX and event.id.isascii() and event.id.isdecimal()
    return int(event.id) if is_number else -1


def _events(first: int, stop: int) -> str:
    """Name some events, as the subject of a sentence."""
    return f"event {first} is" if stop == first + 1 else f"events {first} to {stop - 1} are"
