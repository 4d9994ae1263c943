"""Events as clients get them, and the hash that their content has.

A hash covers the very bytes of `data`, so those are taken from the text as they stand there. What
is read is one event alone, an item of either version of the API, or a line of a backup:

    {"specversion":"1.0","id":"0",...,"data":{...},"predecessorhash":"...","hash":"..."}
    {"type":"event","payload":<event>}                   {"type":"event","data":<event>}
    {"type":"event","payload":{"event":<event without a hash>,"hash":"..."}}

What is left to others: whether the event is in a log.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import BinaryIO, Final, NamedTuple

from everlog.verifying.errors import VerificationError

# Far more than any event that a server takes.
EVENT_SIZE_MAX: Final = 4 * 1024 * 1024

# What files begin with that were compressed, by the program that undoes it.
_COMPRESSED: Final = {b"\x28\xb5\x2f\xfd": "zstd", b"\x1f\x8b": "gzip"}

_V2_PREFIX: Final = "esdb:hash:v2:"

# Both versions cover these, in this order.
_METADATA: Final = (
    *("specversion", "id", "predecessorhash", "time", "source", "subject", "type"),
    "datacontenttype",
)
_TRACING: Final = ("traceparent", "tracestate")
_MEMBERS: Final = frozenset({*_METADATA, *_TRACING, "data", "hash", "signature"})

_match_id = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII).fullmatch
_find_control = re.compile(r"[\x00-\x1f]").search
_match_space = re.compile(r"[ \t\n\r]*").match
# A string stays as it is; between tokens, space means nothing.
_SPACE: Final = re.compile(r'("(?:[^"\\]|\\.)*")|[ \t\n\r]+')


class _Member(NamedTuple):
    """A member of an object: its value, and the text of it."""

    value: object
    text: str


def _refuse_constant(name: str) -> object:
    message = f"{name} is no JSON"
    raise ValueError(message)


# Numbers stay texts: nobody calculates with them, and they may be long.
_DECODER: Final = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=_refuse_constant)


@dataclass(frozen=True)
class Event:
    """An event whose content has the hash that it says."""

    id: str
    # Counted from 0.
    position: int
    hash: str
    hash_version: int
    time: str
    subject: str
    type: str
    # Members that are there and that its hash does not cover.
    uncovered: tuple[str, ...]


def find_event(file: BinaryIO, event_id: str) -> Event:
    """Return the event with an ID from a file of one event or item, or of a line for each.

    One line is in memory at a time.

    Raises:
        VerificationError: There is no such event, or its content has another hash than it says.
        OSError: The file cannot be read.
    """
    first = file.readline(EVENT_SIZE_MAX + 1)
    for magic, program in _COMPRESSED.items():
        if first.startswith(magic):
            message = f"it is compressed: hand it over by standard input, from {program} -dc"
            raise VerificationError(message)
    if not _is_document(first):
        # One event, perhaps, laid out over many lines.
        document = first + file.read(EVENT_SIZE_MAX + 1 - len(first))
        return _verified(_read_event(_decode(document)), event_id)
    needle = f'"{event_id}"'.encode()
    line, number, first_id = first, 1, None
    while line:
        if number == 1 or needle in line:
            try:
                members = _read_item(_decode(line))
                found = None if members is None else _text(members, "id")
                if members is not None and found == event_id:
                    return _verified(members, event_id)
            except VerificationError as error:
                raise VerificationError(f"line {number}: {error}") from error
            first_id = found if number == 1 else first_id
        line, number = file.readline(EVENT_SIZE_MAX + 1), number + 1
    seen = "" if first_id is None else f", but one with the ID {first_id!r}"
    raise VerificationError(f"it has no event with the ID {event_id!r}{seen}")


def _is_document(line: bytes) -> bool:
    try:
        _DECODER.decode(_decode(line))
    except (ValueError, RecursionError, VerificationError):
        return False
    return True


def _decode(content: bytes) -> str:
    if len(content) > EVENT_SIZE_MAX:
        raise VerificationError(f"it is larger than {EVENT_SIZE_MAX} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise VerificationError(f"it is not UTF-8 at byte {error.start}") from error


def _read_event(text: str) -> Mapping[str, _Member]:
    members = _read_item(text)
    if members is None:
        raise VerificationError("it is no event, nor an item with one")
    return members


def _read_item(text: str) -> Mapping[str, _Member] | None:
    """Return the members of the event in a text, None where it is an item of another kind."""
    outer = _read_object(text)
    names, type_ = {*outer}, outer["type"].value if "type" in outer else None
    if names not in ({"type", "payload"}, {"type", "data"}):
        # An event alone: it has members of its own beside these.
        return outer if "specversion" in outer else None
    if type_ != "event":
        return None
    inner = _read_object(outer["payload" if "payload" in outer else "data"].text)
    if {*inner} != {"event", "hash"}:
        return inner
    event = _read_object(inner["event"].text)
    if "hash" in event:
        raise VerificationError("the event of a backup has a hash inside, and one beside it")
    return {**event, "hash": inner["hash"]}


def _read_object(text: str) -> dict[str, _Member]:
    """Return the members of a JSON object, each with its text."""
    members: dict[str, _Member] = {}
    at = _skip_space(text, 0)
    try:
        _expect(text, at, "{")
        at = _skip_space(text, at + 1)
        is_end = text[at : at + 1] == "}"
        while not is_end:
            _expect(text, at, '"')
            name, at = _DECODER.raw_decode(text, at)
            at = _skip_space(text, at)
            _expect(text, at, ":")
            start = _skip_space(text, at + 1)
            value, stop = _DECODER.raw_decode(text, start)
            if name in members:
                raise VerificationError(f"the member {name!r} is there twice")
            members[name] = _Member(value, text[start:stop])
            at = _skip_space(text, stop)
            is_end = text[at : at + 1] == "}"
            if not is_end:
                _expect(text, at, ",")
                at = _skip_space(text, at + 1)
    except (ValueError, RecursionError) as error:
        raise VerificationError(f"it is no JSON object: {error}") from error
    if _skip_space(text, at + 1) != len(text):
        raise VerificationError("something stands behind its JSON object")
    return members


def _skip_space(text: str, at: int) -> int:
    match = _match_space(text, at)
    assert match is not None
    return match.end()


def _expect(text: str, at: int, letter: str) -> None:
    if text[at : at + 1] != letter:
        message = f"{letter} is missing at character {at}"
        raise ValueError(message)


def _verified(members: Mapping[str, _Member], event_id: str) -> Event:
    """Return the event if its content has its hash, and it is the one that is asked for."""
    unknown = sorted({*members} - _MEMBERS)
    if unknown:
        raise VerificationError(f"the event has the member {unknown[0]!r}, which no hash covers")
    fields = [_text(members, name) for name in _METADATA]
    hash_ = _text(members, "hash")
    id_ = fields[_METADATA.index("id")]
    if id_ != event_id:
        raise VerificationError(f"it is the event with the ID {id_!r}, and not {event_id!r}")
    if _match_id(id_) is None:
        raise VerificationError(f"the ID {id_!r} is none: decimal, without leading zeros")
    version, separator = (2, "\n") if hash_.startswith(_V2_PREFIX) else (1, "|")
    for name, field in zip(_METADATA, fields, strict=True):
        # With one of these, another event would have the same hash.
        if separator in field or _find_control(field) is not None:
            raise VerificationError(f"the member {name!r} has a character that no event has there")
    data = _member(members, "data").text
    hash_of = _hash_v2 if version == 2 else _hash_v1
    # Servers send no space between tokens; whoever laid the event out anew put it there.
    texts = (data, _SPACE.sub(r"\1", data))
    if hash_ not in {hash_of(fields, members, text) for text in texts}:
        raise VerificationError(
            f"the content of the event with the ID {id_!r} does not have the hash that it says: "
            "either was changed, or the data was written anew in another form"
        )
    names = ("signature",) if version == 2 else (*_TRACING, "signature")
    return Event(
        id=id_,
        position=int(id_),
        hash=hash_,
        hash_version=version,
        time=_text(members, "time"),
        subject=_text(members, "subject"),
        type=_text(members, "type"),
        uncovered=tuple(name for name in names if _trace(members, name) != "-"),
    )


def _hash_v1(fields: list[str], _: Mapping[str, _Member], data: str) -> str:
    """Return the hash of version 1, which does not cover the tracing."""
    return _digest(_digest("|".join(fields)) + _digest(data))


def _hash_v2(fields: list[str], members: Mapping[str, _Member], data: str) -> str:
    traces = [_trace(members, name) for name in _TRACING]
    return _V2_PREFIX + _digest("\n".join([_V2_PREFIX, *fields, *traces, data]))


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def _trace(members: Mapping[str, _Member], name: str) -> str:
    """Return a member that may be missing as a hash has it."""
    if name not in members or members[name].value is None:
        return "-"
    text = _text(members, name)
    if text in {"", "-"} or _find_control(text) is not None:
        raise VerificationError(f"the member {name!r} is what no event has there")
    return text


def _text(members: Mapping[str, _Member], name: str) -> str:
    value = _member(members, name).value
    # Numbers are texts here too, but their text has no quotes.
    if not isinstance(value, str) or not members[name].text.startswith('"'):
        raise VerificationError(f"the member {name!r} of the event is no string")
    if not value.isprintable() and any("\ud800" <= letter <= "\udfff" for letter in value):
        raise VerificationError(f"the member {name!r} of the event is no Unicode text")
    return value


def _member(members: Mapping[str, _Member], name: str) -> _Member:
    if name not in members:
        raise VerificationError(f"the event has no member {name!r}")
    return members[name]
