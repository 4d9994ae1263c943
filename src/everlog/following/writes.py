"""From the lines of a source to whole writes, every event of which is verified.

An event is taken if it may be stored here, if its id and its predecessor hash are those that
follow, and if its hash is that of its content. Its line is made anew, so that it has the form of
`storage.line` whoever it came from; the bytes of `data`, and all values, stay as they are.
Signatures are left out: they are made when an event leaves a server, by that server's key.

**Where a write ends,** an Everlog says by the mark of its line, in both versions of the API.
Another server says it nowhere. What came without a pause is taken for one write then, and while it
goes on without one, events of different times are taken for events of different writes.
What is left to others: where lines come from (`source`), and who stores them.
"""

import re
from collections.abc import Sequence
from time import monotonic
from typing import Final

import msgspec

from everlog.domain.chain import GENESIS_HASH, HashVersion, hash_v1, hash_v2, hash_version_of
from everlog.domain.data import check_data
from everlog.domain.errors import Code, RefusedError
from everlog.domain.event import AcceptedEvent, EventCandidate, to_event_json
from everlog.domain.json_text import NOT_JSON
from everlog.domain.known_event import KnownEvent
from everlog.following.versions import ItemV1, ItemV2, SourceEvent, Version
from everlog.service.mirroring.source import SourceError, UnfitSourceError, Writes
from everlog.storage.line import Mark, render_line
from everlog.transfer.chaining import check_size, check_values

# The largest write that is accepted anywhere, and what its lines have around its values.
_WRITE_SIZE_MAX: Final = 128 * 1024 * 1024

# How long events without marks may come without a pause before they are parted by their times.
_PAUSELESS_SECONDS_MAX: Final = 1.0
_PAUSELESS_SIZE_MAX: Final = 1024 * 1024

# Whose messages hold nothing of an event but numbers.
_SAID: Final = frozenset({Code.EVENT_TOO_LARGE, Code.EVENT_HASH_VERSION_UNKNOWN})

# Data of fewer characters makes no event too large: the other values have limits of their own.
_SMALL_LENGTH: Final = 16 * 1024

_match_code: Final = re.compile(r"(?:.*/)?([a-z][a-z-]{1,60})").fullmatch


class _Item(msgspec.Struct, gc=False):
    type: str
    payload: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _ErrorBody(msgspec.Struct):
    code: str = ""


_decode_item: Final = msgspec.json.Decoder(_Item).decode


class WriteReader:
    """Takes whole lines, and gives away whole writes."""

    def __init__(
        self, version: Version, known: KnownEvent | None, *, time: int, is_marked: bool
    ) -> None:
        """Begin with an event that is known, which the first line must be, or with the first one.

        The time is that of the known event, in nanoseconds since 1970.
        """
        self._version: Final = version
        # None once it has been seen.
        self._known = known
        # What has come, and the hash and the time of the last event.
        self.count = 0 if known is None else known.position + 1
        self._hash: str = GENESIS_HASH if known is None else known.hash
        self._time = time
        self.is_marked = is_marked
        # Whether the source has said that there is nothing behind the last line.
        self.is_current = False
        # What is not given away, how many of its first events are whole writes, and the time of the
        # last of those.
        self._lines: list[bytes] = []
        self._events: list[AcceptedEvent] = []
        self._size = 0
        self._whole = 0
        self._whole_time = time
        # Where there are no marks: how many of the events are older than the last one.
        self._older = 0
        self._older_time = time
        self._began_at = 0.0
        # What was given away, which the next writes follow.
        self._given = self.count
        self._given_hash = self._hash

    @property
    def is_proven(self) -> bool:
        """Whether the known event has been seen."""
        return self._known is None

    @property
    def is_pending(self) -> bool:
        """Whether something has come that is not given away."""
        return bool(self._lines)

    def feed(self, block: bytes) -> None:
        """Take whole lines.

        Raises:
            SourceError: They are no items, or say that the stream ends.
            UnfitSourceError: An event is not what follows.
        """
        lines = block.split(b"\n")
        # Behind the last line feed.
        lines.pop()
        if not self._lines:
            self._began_at = monotonic()
        items: Sequence[ItemV1 | ItemV2]
        try:
            # The decoder looks at the encoding of what it decodes only, and leaves `data` as it is.
            if not block.isascii():
                block.decode()
            items = self._version.decode_events(block)
        except NOT_JSON:
            items = ()
        if len(items) != len(lines):
            for line in lines:
                self._take_line(line)
            return
        self.is_current = False
        if items:
            self._take_all(list(map(self._version.event_of, items)), lines)

    def take(self, *, is_silent: bool) -> Writes | None:
        """Return the writes that are known to be whole.

        Where there are no marks, all that has come is, if nothing came behind it for a moment.

        Raises:
            SourceError: A write does not come to its end.
        """
        if not self.is_marked and self._lines:
            self._part(is_silent=is_silent)
        whole = self._whole
        if whole == 0:
            if self._size > _WRITE_SIZE_MAX:
                raise SourceError(f"it sends a write of more than {_WRITE_SIZE_MAX} bytes")
            return None
        lines, events = self._lines[:whole], self._events[:whole]
        del self._lines[:whole], self._events[:whole]
        size = sum(map(len, lines))
        writes = Writes(self._given, self._given_hash, lines, events, self._whole_time, size)
        self._given += whole
        self._given_hash = events[-1].hash
        self._size -= size
        self._whole = self._older = 0
        self._began_at = monotonic()
        return writes

    def _part(self, *, is_silent: bool) -> None:
        """Say where writes end whose source does not."""
        if is_silent:
            self._lines[-1] = _as_last(self._lines[-1])
            self._whole, self._whole_time = len(self._lines), self._time
        elif self._older and (
            self._size >= _PAUSELESS_SIZE_MAX
            or monotonic() - self._began_at >= _PAUSELESS_SECONDS_MAX
        ):
            self._whole, self._whole_time = self._older, self._older_time

    def _take_line(self, line: bytes) -> None:
        """Take a line that may be any item."""
        try:
            item = _decode_item(line)
            body = item.payload if self._version.body == "payload" else item.data
            if item.type == "heartbeat":
                self.is_current = True
                return
            if item.type == "error":
                raise SourceError(f"it ends the stream with an error{_code_of(body)}")
            if item.type != "event":
                raise SourceError("it sends an item of a type that is not known")
            [found] = self._version.decode_events(line)
        except NOT_JSON as error:
            raise _malformed(error, self.count) from error
        self.is_current = False
        self._take_all([self._version.event_of(found)], [line])

    def _take_all(self, events: Sequence[SourceEvent], lines: Sequence[bytes]) -> None:
        """Take the next events, each of which stands on a line."""
        if self._known is not None:
            self._check_known(events[0], self._known)
            self._known = None
            events, lines = events[1:], lines[1:]
        kept, is_marked = self._lines, self.is_marked
        for event, line in zip(events, lines, strict=True):
            time, text = self._check(event)
            json = to_event_json(
                _candidate(event, text),
                specversion=event.specversion,
                id_=event.id,
                time=event.time,
                predecessor_hash=event.predecessorhash,
                hash_=event.hash,
            )
            is_end = line[-1:] == b" "
            if not is_marked:
                # A mark is that of an Everlog behind somebody who exchanges the header.
                is_marked = self.is_marked = is_end
                if kept and time > self._time:
                    kept[-1] = _as_last(kept[-1])
                    self._older, self._older_time = len(kept), self._time
            stored = render_line(json, Mark.WRITE if is_end else Mark.EVENT)
            kept.append(stored)
            self._events.append(AcceptedEvent(event.subject, event.type, json, event.hash))
            self._size += len(stored)
            self.count += 1
            self._hash, self._time = event.hash, time
            if is_end:
                self._whole, self._whole_time = len(kept), time

    def _check(self, event: SourceEvent) -> tuple[int, str]:
        """Check that an event is the next one, and right; return its time and its data."""
        position = self.count
        if event.id != str(position):
            raise SourceError(f"it sends an event with another id where {position} would be next")
        if event.predecessorhash != self._hash:
            message = f"its event {position} does not name the hash of the event before it"
            raise UnfitSourceError(message, position=position)
        try:
            time = check_values(event)
            text = check_data(event.data)
            hash_ = _hash_of(event, text)
            if len(text) > _SMALL_LENGTH:
                check_size(_candidate(event, text))
        except RefusedError as error:
            message = f"its event {position} cannot be stored here: {_reason_of(error)}"
            raise UnfitSourceError(message, position=position) from error
        if event.hash != hash_:
            message = f"the hash of its event {position} is not that of its content"
            raise UnfitSourceError(message, position=position)
        if time < self._time and position > 0:
            message = f"its event {position} is older than the event before it"
            raise UnfitSourceError(message, position=position)
        if "\r" in text:
            # A line of the log ends where somebody sees the end of a line.
            message = f"its event {position} cannot be stored here: its data has a carriage return"
            raise UnfitSourceError(message, position=position)
        return time, text

    def _check_known(self, event: SourceEvent, known: KnownEvent) -> None:
        if event.id != str(known.position):
            message = f"it begins with another event than {known.position}, which was asked for"
            raise SourceError(message)
        if event.hash != known.hash:
            message = f"its event {known.position} has another hash than the one here"
            raise UnfitSourceError(message, position=known.position)


def _candidate(event: SourceEvent, text: str) -> EventCandidate:
    return EventCandidate(
        event.source, event.subject, event.type, text, event.traceparent, event.tracestate
    )


def _hash_of(event: SourceEvent, text: str) -> str:
    """Return the hash that the content has in the version that the event names."""
    version = hash_version_of(event.hash)
    if version is HashVersion.V1:
        return hash_v1(
            event.specversion,
            event.id,
            event.predecessorhash,
            event.time,
            event.source,
            event.subject,
            event.type,
            event.datacontenttype,
            text,
        )
    if version is HashVersion.V2:
        return hash_v2(
            event.specversion,
            event.id,
            event.predecessorhash,
            event.time,
            event.source,
            event.subject,
            event.type,
            event.datacontenttype,
            event.traceparent,
            event.tracestate,
            text,
        )
    message = "its hash is of a version that is not known"
    raise RefusedError(Code.EVENT_HASH_VERSION_UNKNOWN, message)


def _reason_of(error: RefusedError) -> str:
    """Return what is wrong with an event, without quoting it."""
    if error.code in _SAID:
        return error.message
    field = error.details.get("field")
    return "a value is not what it may be" if field is None else f"its {field} is not allowed"


def _as_last(line: bytes) -> bytes:
    """Return a line as the last one of its write."""
    return line if line.endswith(b" \n") else line[:-1] + b" \n"


def _code_of(body: msgspec.Raw | msgspec.UnsetType) -> str:
    """Return the code of an error of version 2, if there is one and it is nothing else."""
    try:
        found = "" if body is msgspec.UNSET else msgspec.json.decode(body, type=_ErrorBody).code
    except NOT_JSON:
        return ""
    match = _match_code(found)
    return "" if match is None else f" ({match[1]})"


def _malformed(error: Exception, position: int) -> SourceError:
    reason = type(error).__name__
    return SourceError(f"what it sends where event {position} would be next is no item ({reason})")
