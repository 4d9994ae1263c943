"""Backup lines: the form in which a store leaves and comes back, one JSON object a line.

    {"type":"schema","payload":{"eventType":"...","schema":{...}}}
    {"type":"event","payload":{"event":{...,"data":{...}},"hash":"..."}}
    {"type":"error","payload":"..."}

That is version 1, which the tools of EventSourcingDB read; version 2 says `data` instead of
`payload`, and has `{"type":"end","data":{}}` as its last line. An event has the members that its
hash covers, in the order that the original has them in, and `data` is the very bytes that were
hashed. A line with an error says that the backup is not complete.
Source: compatibility specification, section 13.

Read is whatever has this meaning: either version, members in any order, `eventType` as another
word for `schema`, empty lines.
What is left to others: whether events follow each other, and are what they may be (`restoring`).
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final, Literal, NamedTuple

import msgspec

from everlog.domain.errors import Code, RefusedError
from everlog.domain.json_text import NOT_JSON

END_LINE: Final = b'{"type":"end","data":{}}\n'

# How the item of an event begins, by version.
EVENT_STARTS: Final = {
    1: b'{"type":"event","payload":{"event":{',
    2: b'{"type":"event","data":{"event":{',
}

_BODIES: Final = {1: b"payload", 2: b"data"}

# The parts of a stored line: what stands before its event's members, and how some of them begin.
_STORED_START_SIZE: Final = len(b'{"type":"event","payload":{')
_SOURCE: Final = b',"source":'
_CONTENT_TYPE: Final = b',"datacontenttype":'
_CONTENT_TYPE_SIZE: Final = len(b',"datacontenttype":"application/json"')
_PREDECESSOR_HASH: Final = b',"predecessorhash":"'
_HASH: Final = b',"hash":"'
_match_tracing = re.compile(
    rb'"traceparent":"[^"]*",(?:"tracestate":"(?:[^"\\]|\\.)*",)?',
).match


def to_backup_lines(lines: bytes, version: int) -> bytes:
    """Return whole stored lines (`storage.line`) as backup lines of a version.

    Nothing is decoded: no value before `data` but tracestate can hold a quote, and what stands
    behind it has a fixed form.
    """
    start = EVENT_STARTS[version] + _SOURCE[1:]
    found = []
    for line in lines[:-1].split(b"\n"):
        source = line.index(_SOURCE, _STORED_START_SIZE)
        content_type = line.index(_CONTENT_TYPE, source)
        tracing = data = content_type + _CONTENT_TYPE_SIZE
        data += len(b",")
        if line.startswith(b'"t', data):
            match = _match_tracing(line, data)
            assert match is not None
            data = match.end()
        predecessor_hash = line.rindex(_PREDECESSOR_HASH)
        hash_ = line.index(_HASH, predecessor_hash)
        parts = (
            start,
            line[source + len(_SOURCE) : content_type],
            line[tracing:data],
            line[_STORED_START_SIZE:source],
            line[content_type:tracing],
            line[predecessor_hash:hash_],
            b",",
            line[data:predecessor_hash],
            b"}",
            line[hash_ : line.index(b'"', hash_ + len(_HASH))],
            b'"}}\n',
        )
        found.append(b"".join(parts))
    return b"".join(found)


def schema_line(event_type: str, schema: str, version: int) -> bytes:
    """Return the line of an event schema, whose text is minified JSON."""
    body = f'{{"eventType":"{event_type}","schema":{schema}}}'.encode()
    return b'{"type":"schema","%b":%b}\n' % (_BODIES[version], body)


def to_version_1(lines: bytes) -> bytes:
    """Return whole lines of events and schemas of version 2 as lines of version 1."""
    # No line feed stands within a line, and what begins a line stands there only.
    lines = b"\n" + lines
    for start in (b'\n{"type":"event","', b'\n{"type":"schema","'):
        lines = lines.replace(start + b'data":', start + b'payload":')
    return lines[1:]


def error_line(text: str) -> bytes:
    """Return the line of version 1 that says that a backup could not be completed, and why."""
    return b'{"type":"error","payload":%b}\n' % msgspec.json.encode(text)


class BackedUpEvent(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """An event as a backup has it; `data` holds the very bytes, and no value has been judged."""

    specversion: str
    time: str
    source: str
    subject: str
    type: str
    datacontenttype: str
    data: msgspec.Raw
    # Empty where they are still to be given.
    id: str = ""
    predecessorhash: str = ""
    traceparent: str | None = None
    tracestate: str | None = None
    # Computed when an event leaves a server, and so never restored.
    signature: str | None = None


class EventItem(msgspec.Struct, gc=False):
    """An event and its hash, which is empty where there is none."""

    event: BackedUpEvent
    hash: str = ""


class SchemaItem(msgspec.Struct, rename="camel", gc=False):
    """An event schema."""

    event_type: str
    schema: msgspec.Raw


class EndItem(msgspec.Struct, gc=False):
    """The end of a backup of version 2."""


Item = EventItem | SchemaItem | EndItem


class Line(NamedTuple):
    """An item, its version, and the number of its line, counted from 1."""

    number: int
    version: int
    item: Item


class _EventLine(msgspec.Struct, gc=False):
    type: Literal["event"]
    payload: EventItem | None = None
    data: EventItem | None = None


class _AnyLine(msgspec.Struct, gc=False):
    type: str
    payload: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_decode_event_lines = msgspec.json.Decoder(_EventLine).decode_lines
_decode_any_line = msgspec.json.Decoder(_AnyLine).decode

# What items are made of, by the words for their types.
_ITEMS: Final[dict[str, msgspec.json.Decoder[Item]]] = {
    "event": msgspec.json.Decoder(EventItem),
    "schema": msgspec.json.Decoder(SchemaItem),
    "eventType": msgspec.json.Decoder(SchemaItem),
    "end": msgspec.json.Decoder(EndItem),
}

_REASON_LENGTH_MAX: Final = 500


def parse_backup_lines(lines: bytes, first_number: int) -> Iterator[Line]:
    """Yield the items of whole lines, of which the first one has a number.

    Raises:
        RefusedError: A line is no item of a backup, or says that it is incomplete.
    """
    events = _parse_events(lines)
    if events is not None:
        for number, (version, event) in enumerate(events, first_number):
            yield Line(number, version, event)
        return
    for number, text in enumerate(lines.split(b"\n"), first_number):
        if not text.isspace() and text:
            found = _parse_line(text, number)
            if found is not None:
                yield found


def _parse_events(lines: bytes) -> Sequence[tuple[int, EventItem]] | None:
    """Return the versions and events of lines, all in one go; None where not all are events."""
    try:
        decoded = _decode_event_lines(lines)
    except NOT_JSON:
        return None
    # Empty lines are skipped, and lines would have other numbers then.
    if len(decoded) != lines.count(b"\n"):
        return None
    events: list[tuple[int, EventItem]] = []
    for line in decoded:
        if line.payload is not None:
            events.append((1, line.payload))
        elif line.data is not None:
            events.append((2, line.data))
        else:
            return None
    return events


def _parse_line(text: bytes, number: int) -> Line | None:
    """Return the item of a line, None where it says nothing."""
    try:
        line = _decode_any_line(text)
    except NOT_JSON as error:
        raise _malformed(number, str(error)) from error
    version = 2 if line.payload is msgspec.UNSET else 1
    body = line.data if line.payload is msgspec.UNSET else line.payload
    if line.type == "heartbeat":
        return None
    if line.type == "error":
        reason = _reason_of(body)
        message = f"the backup is incomplete: whoever made it says so in line {number}: {reason}"
        raise RefusedError(Code.BACKUP_INCOMPLETE, message, line=number)
    if line.type not in _ITEMS:
        message = (
            f"line {number} is no line of a backup: its type is '{line.type[:100]}', "
            "and not 'event' or 'schema'"
        )
        raise RefusedError(Code.BACKUP_FORMAT_UNKNOWN, message, line=number)
    if body is msgspec.UNSET:
        raise _malformed(number, "it has neither 'payload' nor 'data'")
    try:
        return Line(number, version, _ITEMS[line.type].decode(body))
    except NOT_JSON as error:
        raise _malformed(number, str(error)) from error


def _reason_of(body: msgspec.Raw | msgspec.UnsetType) -> str:
    """Return what an error says: a text, or an object that has one."""
    if body is msgspec.UNSET:
        return "no reason is given"
    try:
        value = msgspec.json.decode(body)
    except NOT_JSON:
        return bytes(body)[:_REASON_LENGTH_MAX].decode(errors="replace")
    if isinstance(value, dict):
        value = value.get("error", value.get("description", value))
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text[:_REASON_LENGTH_MAX]


def _malformed(number: int, reason: str) -> RefusedError:
    message = f"line {number} is no line of a backup: {reason}"
    return RefusedError(Code.BACKUP_MALFORMED, message, line=number)
