"""The source itself: its version, its stream of events, and the questions that are asked besides.

Version 2 is asked first, since many events share a piece of its answers; who does not know it is
asked in version 1, and then always.
What is left to others: HTTP (`connection`), and verifying events (`writes`).
"""

import time
from collections.abc import Iterator
from typing import Final

import msgspec

from everlog.domain.errors import RefusedError
from everlog.domain.event_type import parse_event_type
from everlog.domain.json_text import NOT_JSON
from everlog.domain.known_event import KnownEvent
from everlog.domain.limits import BACKUP_LINE_SIZE_MAX
from everlog.domain.schema import read_event_schema
from everlog.following.connection import (
    LINE_SECONDS_MAX,
    SILENCE_SECONDS_MAX,
    Access,
    Answer,
    Incoming,
    UnknownRequestError,
    ask,
)
from everlog.following.versions import V1, V2, Version
from everlog.following.writes import WriteReader
from everlog.service.mirroring.source import SourceError, SourceType, UnfitSourceError, Writes

# What comes without marks within such a time came without a pause.
_PAUSE_SECONDS: Final = 0.05


class _Item(msgspec.Struct, gc=False):
    type: str
    payload: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_decode_item: Final = msgspec.json.Decoder(_Item).decode


class HttpSource:
    """A server at a URL, to be asked with what opens it."""

    def __init__(self, url: str, access: Access) -> None:
        """Ask nothing yet."""
        self._url: Final = url
        # Exchanged as a whole, by any thread.
        self.access = access
        # None until the source has shown which one it speaks.
        self._version: Version | None = None

    @property
    def address(self) -> str:
        """The URL, which has neither a user nor a password."""
        return self._url

    def observe(self, known: KnownEvent | None, *, time: int) -> "HttpStream":
        """Return what is behind an event, or everything."""
        options: dict[str, object] = {"recursive": True}
        if known is not None:
            options["lowerBound"] = {"id": str(known.position), "type": "inclusive"}
        version, answer = self._ask("observe_events", {"subject": "/", "options": options})
        reader = WriteReader(version, known, time=time, is_marked=answer.is_everlog)
        return HttpStream(version, answer, reader)

    def read_event_types(self) -> Iterator[SourceType]:
        """Yield all event types."""
        version, answer = self._ask("read_event_types", None)
        with answer:
            for kind, body in _items_of(answer, version):
                if kind == "eventType":
                    yield _read_event_type(body, version)
                elif kind == "error":
                    raise SourceError("it answers with an error")

    def find_latest(self, position: int) -> int | None:
        """Return the position of the latest event, None if there is none from a position on."""
        bound = {"id": str(position), "type": "inclusive"}
        options = {"recursive": True, "order": "antichronological", "lowerBound": bound}
        event = self._read_one({"subject": "/", "options": options})
        return None if event is None else _position_of(event)

    def find_hash(self, position: int) -> str | None:
        """Return the hash of one event, None if there is no such event."""
        bound = {"id": str(position), "type": "inclusive"}
        options = {"recursive": True, "lowerBound": bound, "upperBound": bound}
        event = self._read_one({"subject": "/", "options": options})
        return None if event is None or _position_of(event) != position else event.hash

    def _read_one(self, body: object) -> "_Brief | None":
        """Return the first event of an answer, and leave the others."""
        version, answer = self._ask("read_events", body)
        with answer:
            for kind, found in _items_of(answer, version):
                if kind == "event":
                    try:
                        return _decode_brief(found)
                    except NOT_JSON as error:
                        raise _no_item(error) from error
                if kind == "error":
                    # Of a bound behind the last event, in version 2.
                    return None
        return None

    def _ask(self, name: str, body: object) -> tuple[Version, Answer]:
        content = b"" if body is None else msgspec.json.encode(body)
        found = self._version
        for version in (V2, V1) if found is None else (found,):
            path = getattr(version, name)
            try:
                answer = ask(self._url, self.access, version.method, path, content)
            except UnknownRequestError:
                # The next time is the first one again: the source may have been exchanged.
                self._version = None
                if version is V2 and found is None:
                    continue
                raise
            self._version = version
            return version, answer
        raise AssertionError("the last version raises")


class HttpStream:
    """The events of a source, as they come."""

    def __init__(self, version: Version, answer: Answer, reader: WriteReader) -> None:
        """Begin to read."""
        self.version: Final = version.name
        self._reader: Final = reader
        self._incoming: Final = Incoming(answer)
        # Bytes behind the last line feed.
        self._rest: list[bytes] = []
        self._rest_size = 0
        self._heard_at = self._line_at = time.monotonic()

    @property
    def is_marked(self) -> bool:
        """Whether the source says where its writes end."""
        return self._reader.is_marked

    @property
    def count(self) -> int:
        """How many events the source has, as far as the stream has shown."""
        return self._reader.count

    @property
    def is_proven(self) -> bool:
        """Whether the source was seen to have the event behind which the stream begins."""
        return self._reader.is_proven

    @property
    def is_current(self) -> bool:
        """Whether the source has said that there is nothing behind what was taken."""
        return self._reader.is_current

    def take(self, *, seconds: float) -> Writes | None:
        """Return the whole writes that have come, or None if there are none within the time."""
        reader = self._reader
        if reader.is_pending and not reader.is_marked:
            seconds = min(seconds, _PAUSE_SECONDS)
        piece = self._incoming.take(seconds=seconds)
        self._check_time(has_heard=bool(piece))
        if piece:
            self._feed(piece)
        return reader.take(is_silent=not piece)

    def close(self) -> None:
        """Let go of the connection."""
        self._incoming.close()

    def _feed(self, piece: bytes) -> None:
        lines, line_feed, rest = piece.rpartition(b"\n")
        if line_feed:
            block = b"".join((*self._rest, lines, line_feed))
            self._rest, self._rest_size = [], 0
            self._line_at = time.monotonic()
            self._reader.feed(block)
        if rest:
            self._rest.append(rest)
            self._rest_size += len(rest)
            if self._rest_size > BACKUP_LINE_SIZE_MAX:
                raise SourceError(f"it sends a line of more than {BACKUP_LINE_SIZE_MAX} bytes")

    def _check_time(self, *, has_heard: bool) -> None:
        now = time.monotonic()
        if has_heard:
            self._heard_at = now
        elif now - self._heard_at > SILENCE_SECONDS_MAX:
            raise SourceError("it says nothing any more")
        if self._rest and now - self._line_at > LINE_SECONDS_MAX:
            raise SourceError("it does not bring a line to its end")


class _Brief(msgspec.Struct):
    id: str
    hash: str


_decode_brief: Final = msgspec.json.Decoder(_Brief).decode


def _position_of(event: _Brief) -> int:
    if not (event.id.isascii() and event.id.isdigit() and len(event.id) < 20):
        raise SourceError("it sends an event whose id is none")
    return int(event.id)


def _items_of(answer: Answer, version: Version) -> Iterator[tuple[str, msgspec.Raw]]:
    """Yield the items of an answer: their types, and what they hold."""
    for line in answer.read_lines():
        try:
            item = _decode_item(line)
        except NOT_JSON as error:
            raise _no_item(error) from error
        body = item.payload if version is V1 else item.data
        if body is not msgspec.UNSET:
            yield item.type, body


def _read_event_type(body: msgspec.Raw, version: Version) -> SourceType:
    try:
        found = version.name_of(body)
    except NOT_JSON as error:
        raise _no_item(error) from error
    if found.schema is msgspec.UNSET or bytes(found.schema) == b"null":
        return SourceType(found.type, None)
    try:
        name = parse_event_type(found.type, field="eventType")
        return SourceType(name, read_event_schema(name, found.schema).text)
    except RefusedError as error:
        message = f"one of its event schemas cannot be kept here ({error.code})"
        raise UnfitSourceError(message, position=None) from error


def _no_item(error: Exception) -> SourceError:
    return SourceError(f"its answer has a line that is no item ({type(error).__name__})")
