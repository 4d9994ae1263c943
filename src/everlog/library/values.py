"""What an application gives to a store and gets from it: small values that never change.

An event is decoded when it is looked at, its data when that is looked at, and each of them once:
who reads a million events to find ten pays for ten.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from everlog.domain.json_text import NOT_JSON
from everlog.library.errors import VerificationError

JsonObject = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to be written.

    `source` is a URI reference that names who writes, `subject` a path such as `/books/42`, `type`
    a reverse domain name such as `com.example.book-acquired`. `data` is a JSON object: strings,
    numbers, booleans, None, and mappings and sequences of those; dates, UUIDs, decimals, data
    classes and msgspec structs become what msgspec makes of them. A `msgspec.Raw` is taken for
    JSON text. `traceparent` and `tracestate` are a W3C trace context.
    """

    source: str
    subject: str
    type: str
    data: JsonObject | msgspec.Raw
    traceparent: str | None = None
    tracestate: str | None = None


class _Fields(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The members of an event in their order, its data as it stands in the text."""

    specversion: str
    id: str
    time: str
    source: str
    subject: str
    type: str
    datacontenttype: str
    traceparent: str | None = None
    tracestate: str | None = None
    data: msgspec.Raw
    predecessorhash: str
    hash: str
    signature: str | None = None


class _Item(msgspec.Struct, gc=False):
    payload: _Fields | None = None
    data: _Fields | None = None


_ITEM_START: Final = b'{"type":"event",'

# No value that stands before the id has a quote in it.
_search_id: Final = re.compile(rb'"id":"([0-9]{1,19})"').search
_ID_WITHIN: Final = 256

_decode_fields: Final = msgspec.json.Decoder(_Fields).decode
_decode_item: Final = msgspec.json.Decoder(_Item).decode
_decode_object: Final = msgspec.json.Decoder(dict[str, Any]).decode
_set: Final = msgspec.structs.force_setattr


class Event(msgspec.Struct, frozen=True, eq=False, gc=False, repr_omit_defaults=True):
    """An event as it is stored; made by a store, or by `from_json`.

    Every member has the type and the text that it has in the API. Looking at one raises a
    `VerificationError` if what the store sent is no event.
    """

    # An item of the API that is an event, or the event alone.
    _text: bytes
    _found: _Fields | None = None
    _data: dict[str, Any] | None = None

    @classmethod
    def from_json(cls, text: bytes) -> "Event":
        """Return the event in a JSON text, which is the event alone.

        Raises:
            VerificationError: It is none.
        """
        event = cls(b" " + text)
        event._decode()
        return event

    @property
    def specversion(self) -> str:
        """The version of CloudEvents: `1.0`."""
        return (self._found or self._decode()).specversion

    @property
    def id(self) -> str:
        """The place in the log: a number, counted from 0, as a string."""
        return (self._found or self._decode()).id

    @property
    def time(self) -> str:
        """When it was written: RFC 3339 in UTC, with nanoseconds."""
        return (self._found or self._decode()).time

    @property
    def source(self) -> str:
        """Who wrote it: a URI reference."""
        return (self._found or self._decode()).source

    @property
    def subject(self) -> str:
        """What it is about: a path."""
        return (self._found or self._decode()).subject

    @property
    def type(self) -> str:
        """What happened: a reverse domain name."""
        return (self._found or self._decode()).type

    @property
    def datacontenttype(self) -> str:
        """The media type of its data: `application/json`."""
        return (self._found or self._decode()).datacontenttype

    @property
    def traceparent(self) -> str | None:
        """The trace that it was written in (W3C Trace Context), if there was one."""
        return (self._found or self._decode()).traceparent

    @property
    def tracestate(self) -> str | None:
        """What belongs to that trace, if there is something."""
        return (self._found or self._decode()).tracestate

    @property
    def data(self) -> dict[str, Any]:
        """Its data, decoded once: whoever changes it changes it for all who hold the event."""
        if self._data is None:
            try:
                _set(self, "_data", _decode_object((self._found or self._decode()).data))
            except NOT_JSON as error:
                raise VerificationError(
                    f"the data of the event {self.id} is no JSON object", event_id=self.id
                ) from error
        assert self._data is not None
        return self._data

    @property
    def data_json(self) -> bytes:
        """The very bytes of its data that were hashed."""
        return bytes((self._found or self._decode()).data)

    @property
    def predecessorhash(self) -> str:
        """The hash of the event before it in the log."""
        return (self._found or self._decode()).predecessorhash

    @property
    def hash(self) -> str:
        """What its content and its predecessor hash have become."""
        return (self._found or self._decode()).hash

    @property
    def signature(self) -> str | None:
        """The server's signature of its hash, if the server signs."""
        return (self._found or self._decode()).signature

    def to_json(self) -> bytes:
        """Return the event as JSON in one line, with the bytes of its data as they are."""
        found = self._found or self._decode()
        members = {name: getattr(found, name) for name in found.__struct_fields__}
        for name in ("traceparent", "tracestate"):
            if members[name] is None:
                del members[name]
        return msgspec.json.encode(members)

    def with_signature(self, signature: str) -> "Event":
        """Return the event with a signature, as it leaves a store that signs."""
        found = self._found or self._decode()
        signed = Event(b"")
        _set(signed, "_found", msgspec.structs.replace(found, signature=signature))
        return signed

    def find_position(self) -> int | None:
        """Return its id as a number, found without decoding it; None if that fails."""
        match = _search_id(self._text, 0, _ID_WITHIN)
        return None if match is None else int(match[1])

    def __eq__(self, other: object) -> bool:
        """Tell whether all members are the same."""
        if not isinstance(other, Event):
            return NotImplemented
        return (self._found or self._decode()) == (other._found or other._decode())

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
        found = self._found or self._decode()
        members = ", ".join(f"{name}={getattr(self, name)!r}" for name in found.__struct_fields__)
        return f"Event({members})"

    def _decode(self) -> _Fields:
        text = self._text
        try:
            # The decoder looks at the encoding of what it decodes only, and leaves data as it is.
            if not text.isascii():
                text.decode()
            if text.startswith(_ITEM_START):
                item = _decode_item(text)
                found = item.payload or item.data
            else:
                found = _decode_fields(text)
        except NOT_JSON as error:
            raise VerificationError(f"what came is no event: {error}") from error
        if found is None:
            raise VerificationError("what came is no event: it is an item without one")
        _set(self, "_found", found)
        return found


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
