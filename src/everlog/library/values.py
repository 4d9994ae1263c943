"""What an application gives to a store and gets from it: small values that never change.

What most readers look at is decoded for many events at once, the rest of an event when it is looked
at, its data too, and each of them once.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import repeat
from operator import attrgetter
from typing import Any, Final, Generic, Literal, TypeVar

import msgspec

from everlog.domain.json_text import NOT_JSON
from everlog.library.errors import VerificationError

JsonObject = Mapping[str, Any]

_Part = TypeVar("_Part")

_decode_object: Final = msgspec.json.Decoder(dict[str, Any]).decode


class JsonText(Mapping[str, Any]):
    """Data that is JSON text already: written as it is, and decoded when it is looked at.

    Numbers keep their digits; only the space between members is not stored. Looking into what is no
    JSON object raises a ValueError; writing it is refused.
    """

    __slots__ = ("_members", "text")

    def __init__(self, text: bytes | str) -> None:
        """Keep the text, which is UTF-8 where it is bytes."""
        self.text: Final = text.encode() if isinstance(text, str) else bytes(text)
        self._members: dict[str, Any] | None = None

    def __getitem__(self, name: str) -> Any:
        """Return a member."""
        return self._read()[name]

    def __iter__(self) -> Iterator[str]:
        """Go through the names."""
        return iter(self._read())

    def __len__(self) -> int:
        """Return how many members there are."""
        return len(self._read())

    def __repr__(self) -> str:
        """Show the text."""
        return f"JsonText({self.text!r})"

    def _read(self) -> dict[str, Any]:
        if self._members is None:
            try:
                self._members = _decode_object(self.text)
            except NOT_JSON as error:
                message = f"the text is no JSON object: {error}"
                raise ValueError(message) from error
        return self._members


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to be written.

    `source` is a URI reference that names who writes, `subject` a path such as `/books/42`, `type`
    a reverse domain name such as `com.example.book-acquired`. `data` is a JSON object: strings,
    numbers, booleans, None, and mappings and sequences of those; dates, UUIDs, decimals, data
    classes and msgspec structs become what msgspec makes of them. What is JSON text already is
    given as `JsonText`. `traceparent` and `tracestate` are a W3C trace context.
    """

    source: str
    subject: str
    type: str
    data: JsonObject
    traceparent: str | None = None
    tracestate: str | None = None


class _Main(msgspec.Struct, frozen=True, gc=False):
    """What most readers look at; made for many events at once, without a part of their text."""

    id: str
    time: str
    source: str
    subject: str
    type: str


class _Rest(msgspec.Struct, frozen=True, gc=False):
    """The other members: to make texts of those would take as long again."""

    specversion: str
    datacontenttype: str
    data: msgspec.Raw
    predecessorhash: str
    hash: str
    signature: str | None = None
    traceparent: str | None = None
    tracestate: str | None = None


class _Data(msgspec.Struct, gc=False):
    """The data alone."""

    data: dict[str, Any]


class _MainAndData(_Main, frozen=True, gc=False):
    """For readers that look at data, too."""

    data: dict[str, Any]


# In the order that the API has them in.
_NAMES: Final = (
    *("specversion", "id", "time", "source", "subject", "type", "datacontenttype"),
    *("traceparent", "tracestate", "data", "predecessorhash", "hash", "signature"),
)

_get_payload: Final = attrgetter("payload")
_get_data: Final = attrgetter("data")
_get_main: Final = attrgetter(*_Main.__struct_fields__)

# How an item begins that is an event, by version of the API.
_V1_START: Final = b'{"type":"event","payload":'
_V2_START: Final = b'{"type":"event","data":'


class _Inside(Generic[_Part]):
    """Decodes a part of an event, whether its text is an item of either version, or the event."""

    def __init__(self, part: type[_Part]) -> None:
        self._of_event: Final = msgspec.json.Decoder(part).decode
        self._of_v1: Final = msgspec.json.Decoder(_item_of("payload", part)).decode
        self._of_v2: Final = msgspec.json.Decoder(_item_of("data", part)).decode

    def decode(self, text: bytes) -> _Part:
        """Return the part.

        Raises:
            VerificationError: The text is no event.
        """
        try:
            # The decoder looks at the encoding of what it decodes only, and leaves data as it is.
            if not text.isascii():
                text.decode()
            if text.startswith(_V1_START):
                found: _Part = self._of_v1(text).payload
            elif text.startswith(_V2_START):
                found = self._of_v2(text).data
            else:
                found = self._of_event(text)
        except NOT_JSON as error:
            raise VerificationError(f"what came is no event: {error}") from error
        return found


def _item_of(name: str, part: type[object], tag: str | None = None) -> Any:
    return msgspec.defstruct("_Item", [(name, part)], gc=False, tag=tag)


def _decoder_of_lines(name: str, part: type[object]) -> Callable[[bytes], list[Any]]:
    """Return what decodes lines that are nothing but items of events."""
    return msgspec.json.Decoder(_item_of(name, part, "event")).decode_lines


_main: Final = _Inside(_Main)
_rest: Final = _Inside(_Rest)
_data: Final = _Inside(_Data)
_set: Final = msgspec.structs.force_setattr


class Event(msgspec.Struct, frozen=True, eq=False, gc=False):
    """An event as it is stored; made by a store, or by `from_json`.

    Every member has the type and the text that it has in the API. Looking at one raises a
    `VerificationError` if what the store sent is no event.
    """

    # An item of the API that is an event, or the event alone.
    _text: bytes
    _main: _Main | None = None
    _rest: _Rest | None = None
    _data: dict[str, Any] | None = None

    @classmethod
    def from_json(cls, text: bytes) -> "Event":
        """Return the event in a JSON text, which is the event alone.

        Raises:
            VerificationError: It is none.
        """
        event = cls(b" " + text)
        event._read_main()
        event._read_rest()
        return event

    @property
    def specversion(self) -> str:
        """The version of CloudEvents: `1.0`."""
        return (self._rest or self._read_rest()).specversion

    @property
    def id(self) -> str:
        """The place in the log: a number, counted from 0, as a string."""
        return (self._main or self._read_main()).id

    @property
    def time(self) -> str:
        """When it was written: RFC 3339 in UTC, with up to nine digits behind the second."""
        return (self._main or self._read_main()).time

    @property
    def source(self) -> str:
        """Who wrote it: a URI reference."""
        return (self._main or self._read_main()).source

    @property
    def subject(self) -> str:
        """What it is about: a path."""
        return (self._main or self._read_main()).subject

    @property
    def type(self) -> str:
        """What happened: a reverse domain name."""
        return (self._main or self._read_main()).type

    @property
    def datacontenttype(self) -> str:
        """The media type of its data: `application/json`."""
        return (self._rest or self._read_rest()).datacontenttype

    @property
    def traceparent(self) -> str | None:
        """The trace that it was written in (W3C Trace Context), if there was one."""
        return (self._rest or self._read_rest()).traceparent

    @property
    def tracestate(self) -> str | None:
        """What belongs to that trace, if there is something."""
        return (self._rest or self._read_rest()).tracestate

    @property
    def data(self) -> dict[str, Any]:
        """Its data, decoded once: whoever changes it changes it for all who hold the event."""
        if self._data is None:
            rest = self._rest
            text = self._text
            found = _decode_object(rest.data) if rest is not None else _data.decode(text).data
            _set(self, "_data", found)
        assert self._data is not None
        return self._data

    @property
    def data_json(self) -> bytes:
        """The very bytes of its data that were hashed."""
        return bytes((self._rest or self._read_rest()).data)

    @property
    def predecessorhash(self) -> str:
        """The hash of the event before it in the log."""
        return (self._rest or self._read_rest()).predecessorhash

    @property
    def hash(self) -> str:
        """What its content and its predecessor hash have become."""
        return (self._rest or self._read_rest()).hash

    @property
    def signature(self) -> str | None:
        """The server's signature of its hash, if the server signs."""
        return (self._rest or self._read_rest()).signature

    def to_json(self) -> bytes:
        """Return the event as JSON in one line, with the bytes of its data as they are."""
        members = {name: getattr(self, name) for name in _NAMES if name != "data"}
        for name in ("traceparent", "tracestate"):
            if members[name] is None:
                del members[name]
        members["data"] = (self._rest or self._read_rest()).data
        return msgspec.json.encode({name: members[name] for name in _NAMES if name in members})

    def with_signature(self, signature: str) -> "Event":
        """Return the event with a signature, as it leaves a store that signs."""
        signed = Event(b"", self._main or self._read_main())
        rest = self._rest or self._read_rest()
        _set(signed, "_rest", msgspec.structs.replace(rest, signature=signature))
        return signed

    def __eq__(self, other: object) -> bool:
        """Tell whether all members are the same."""
        if not isinstance(other, Event):
            return NotImplemented
        mains = (self._main or self._read_main(), other._main or other._read_main())
        if _get_main(mains[0]) != _get_main(mains[1]):
            return False
        return (self._rest or self._read_rest()) == (other._rest or other._read_rest())

    def __ne__(self, other: object) -> bool:
        """Tell whether one is not the same: the struct's own would look whether it is the object.

        It would be found before that of all objects, which asks `__eq__`.
        """
        return not self == other

    def __hash__(self) -> int:
        """Return that of the event's own hash."""
        return hash(self.hash)

    def __repr__(self) -> str:
        """Show all members."""
        return f"Event({', '.join(f'{name}={getattr(self, name)!r}' for name in _NAMES)})"

    def _read_main(self) -> _Main:
        found = _main.decode(self._text)
        _set(self, "_main", found)
        return found

    def _read_rest(self) -> _Rest:
        found = _rest.decode(self._text)
        _set(self, "_rest", found)
        return found


# By version of the API: how an item is opened, and what decodes lines, without data and with it.
_DECODERS: Final = {
    1: (
        _get_payload,
        _decoder_of_lines("payload", _Main),
        _decoder_of_lines("payload", _MainAndData),
    ),
    2: (_get_data, _decoder_of_lines("data", _Main), _decoder_of_lines("data", _MainAndData)),
}


class EventDecoder:
    """Makes events of the blocks in which one reader gets them.

    What most readers look at is decoded for all events of a block at once, which takes half as long
    as one by one. Data is, too, if the last event of the block before was asked for its data: who
    looked at that one will look at the next ones. No event keeps more in memory than its own.
    """

    def __init__(self, version: int) -> None:
        """Expect no data to be looked at."""
        self._open, self._decode_main, self._decode_with_data = _DECODERS[version]
        # The last event of a block is never given its data, so that it tells.
        self._last: Event | None = None

    def decode(self, block: bytes) -> list[Event] | None:
        """Return the events of whole lines, None if there is a line that is no event."""
        lines = block.split(b"\n")
        if not lines[-1]:
            lines.pop()
        try:
            if not block.isascii():
                block.decode()
            events = self._decode_lines(block, lines)
        except NOT_JSON:
            return None
        if events:
            self._last = events[-1]
        return events

    def _decode_lines(self, block: bytes, lines: list[bytes]) -> list[Event] | None:
        if self._last is None or self._last._data is None:  # noqa: SLF001 - it is of this file.
            items = self._decode_main(block)
            return (
                list(map(Event, lines, map(self._open, items)))
                if len(items) == len(lines)
                else None
            )
        try:
            mains = list(map(self._open, self._decode_with_data(block)))
        except NOT_JSON:
            # There may be data that nobody can decode; whoever looks at it is told.
            self._last = None
            return self._decode_lines(block, lines)
        if len(mains) != len(lines):
            return None
        events = list(map(Event, lines, mains, repeat(None), map(_get_data, mains)))
        events[-1] = Event(lines[-1], mains[-1])
        return events


@dataclass(frozen=True, slots=True)
class Bound:
    """An end of a selection: an event id, and whether that event belongs to it."""

    id: str
    type: Literal["inclusive", "exclusive"] = "inclusive"


@dataclass(frozen=True, slots=True)
class FromLatestEvent:
    """Begin with the latest event of a type on exactly one subject.

    `if_event_is_missing` says what to do where there is none.
    """

    subject: str
    type: str
    if_event_is_missing: Literal["read-nothing", "read-everything"] = "read-everything"


@dataclass(frozen=True, slots=True)
class IsSubjectPristine:
    """The subject has no event; `recursive` (not in version 1): nor has any below it."""

    subject: str
    recursive: bool = False


@dataclass(frozen=True, slots=True)
class IsSubjectPopulated:
    """The subject has an event; `recursive` (not in version 1): or one below it has."""

    subject: str
    recursive: bool = False


@dataclass(frozen=True, slots=True)
class IsSubjectOnEventId:
    """The latest event of the subject has this id; `recursive` as in `IsSubjectPopulated`."""

    subject: str
    event_id: str
    recursive: bool = False


@dataclass(frozen=True, slots=True)
class IsEventQlQueryTrue:
    """The EventQL query has one row, and that is true."""

    query: str


Precondition = IsSubjectPristine | IsSubjectPopulated | IsSubjectOnEventId | IsEventQlQueryTrue


@dataclass(frozen=True, slots=True)
class EventType:
    """An event type: its name, whether it has events, and its JSON schema if it has one."""

    name: str
    has_events: bool
    schema: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """Which events are read, and in which order; what `Store.read` was told."""

    subject: str
    recursive: bool = False
    order: str = "chronological"
    lower_bound: Bound | None = None
    upper_bound: Bound | None = None
    from_latest_event: FromLatestEvent | None = None
