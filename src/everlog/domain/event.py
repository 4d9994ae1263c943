"""Events: candidates before acceptance, and the one JSON text that an accepted event becomes.

The text is made once, when the event is accepted, and never re-encoded: the bytes hashed are the
bytes stored and the bytes served. Keys stand in the documented order (compatibility
specification, section 4); `signature` is last and `null`, since signatures are computed on the
way out (`domain.signature`) and never stored.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

import msgspec

from everlog.domain.chain import HASH_V2_PREFIX, HashVersion, hash_v1, hash_v2, hash_version_of

SPECVERSION: Final = "1.0"
DATACONTENTTYPE: Final = "application/json"

_HASHED_V1_START: Final = f"{SPECVERSION}|"
_HASHED_V1_END: Final = f"|{DATACONTENTTYPE}"
_HASHED_V2_START: Final = f"{HASH_V2_PREFIX}\n{SPECVERSION}\n"
_HASHED_V2_CONTENT_TYPE: Final = f"\n{DATACONTENTTYPE}\n"
_JSON_START: Final = f'{{"specversion":"{SPECVERSION}","id":"'
_JSON_CONTENT_TYPE: Final = f'","datacontenttype":"{DATACONTENTTYPE}",'


class EventCandidate(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """An event that a client wants to write; every field has passed its parser.

    `data` is the minified JSON text of an object.
    """

    source: str
    subject: str
    type: str
    data: str
    traceparent: str | None = None
    tracestate: str | None = None


class Event(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=False):
    """A stored event, read back; `data` holds the very bytes that were hashed."""

    specversion: str
    id: str
    time: str
    source: str
    subject: str
    type: str
    datacontenttype: str
    data: msgspec.Raw
    predecessorhash: str
    hash: str
    signature: str | None
    traceparent: str | None = None
    tracestate: str | None = None


class AcceptedEvent(msgspec.Struct, frozen=True, gc=False):
    """The JSON text (UTF-8) of an event that has its place in the log, and what an index needs."""

    subject: str
    type: str
    json: bytes
    hash: str


def accept_events(
    candidates: Sequence[EventCandidate],
    *,
    position: int,
    time: str,
    predecessor_hash: str,
    hash_version: HashVersion,
) -> list[AcceptedEvent]:
    """Give the candidates of one write their places: id, time, predecessor hash and hash each.

    `position` and `predecessor_hash` are those of the first; each of the others follows the one
    before it.
    """
    is_v2 = hash_version is HashVersion.V2
    events = []
    for candidate in candidates:
        source, subject, type_ = candidate.source, candidate.subject, candidate.type
        data = candidate.data
        id_ = str(position)
        tracing_lines, tracing_members = "-\n-", ""
        if candidate.traceparent is not None:
            tracing_lines, tracing_members = _tracing(candidate.traceparent, candidate.tracestate)
        # What `hash_v2` and `hash_v1` hash, with constant parts joined beforehand, and without a
        # call: this runs for every event written.
        if is_v2:
            content = (
                f"{_HASHED_V2_START}{id_}\n{predecessor_hash}\n{time}\n{source}\n{subject}\n{type_}"
                f"{_HASHED_V2_CONTENT_TYPE}{tracing_lines}\n{data}"
            )
            hash_ = HASH_V2_PREFIX + sha256(content.encode()).hexdigest()
        else:
            metadata = (
                f"{_HASHED_V1_START}{id_}|{predecessor_hash}|{time}|{source}|{subject}|{type_}"
                f"{_HASHED_V1_END}"
            )
            digests = sha256(metadata.encode()).hexdigest() + sha256(data.encode()).hexdigest()
            hash_ = sha256(digests.encode()).hexdigest()
        # As `to_event_json` makes it. No value but tracestate needs escaping: the grammars of the
        # others leave out quotes, backslashes and control characters.
        json = (
            f'{_JSON_START}{id_}","time":"{time}","source":"{source}","subject":"{subject}",'
            f'"type":"{type_}{_JSON_CONTENT_TYPE}{tracing_members}"data":{data},'
            f'"predecessorhash":"{predecessor_hash}","hash":"{hash_}","signature":null}}'
        )
        events.append(AcceptedEvent(subject, type_, json.encode(), hash_))
        predecessor_hash = hash_
        position += 1
    return events


def accept_event(
    candidate: EventCandidate,
    *,
    position: int,
    time: str,
    predecessor_hash: str,
    hash_version: HashVersion,
) -> AcceptedEvent:
    """Give the candidate of a write of one event its place."""
    [event] = accept_events(
        (candidate,),
        position=position,
        time=time,
        predecessor_hash=predecessor_hash,
        hash_version=hash_version,
    )
    return event


def to_event_json(
    values: EventCandidate,
    *,
    specversion: str,
    id_: str,
    time: str,
    predecessor_hash: str,
    hash_: str,
) -> bytes:
    """Return the one JSON text of an event that has been accepted before, perhaps elsewhere."""
    tracing = ""
    if values.traceparent is not None:
        _, tracing = _tracing(values.traceparent, values.tracestate)
    return (
        f'{{"specversion":"{specversion}","id":"{id_}","time":"{time}",'
        f'"source":"{values.source}","subject":"{values.subject}","type":"{values.type}'
        f'{_JSON_CONTENT_TYPE}{tracing}"data":{values.data},'
        f'"predecessorhash":"{predecessor_hash}","hash":"{hash_}","signature":null}}'
    ).encode()


def is_hash_valid(event: Event) -> bool:
    """Tell whether a stored event's hash is that of its own content."""
    data = bytes(event.data).decode()
    match hash_version_of(event.hash):
        case HashVersion.V2:
            return event.hash == hash_v2(
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
                data,
            )
        case HashVersion.V1:
            return event.hash == hash_v1(
                event.specversion,
                event.id,
                event.predecessorhash,
                event.time,
                event.source,
                event.subject,
                event.type,
                event.datacontenttype,
                data,
            )
        case _:
            return False


def candidate_size(candidate: EventCandidate) -> int:
    """Return the UTF-8 bytes of a candidate's values, which is what the limit is about."""
    size = (
        len(candidate.data.encode())
        + len(candidate.source.encode())
        + len(candidate.subject)
        + len(candidate.type)
    )
    if candidate.traceparent is not None:
        size += len(candidate.traceparent) + len(candidate.tracestate or "")
    return size


def _tracing(traceparent: str, tracestate: str | None) -> tuple[str, str]:
    """Return the tracing fields as lines to be hashed, and as members of the text."""
    lines = f"{traceparent}\n{tracestate or '-'}"
    members = f'"traceparent":"{traceparent}",'
    if tracestate is not None:
        members += f'"tracestate":{msgspec.json.encode(tracestate).decode()},'
    return lines, members
