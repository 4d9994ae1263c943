"""Events: candidates before acceptance, and the one JSON text that an accepted event becomes.

The text is made once, when the event is accepted, and never re-encoded: the bytes hashed are the
bytes stored and the bytes served. Keys stand in the documented order (compatibility
specification, section 4); `signature` is last and `null`, since signatures are computed on the
way out (`domain.signature`) and never stored.
"""

from typing import Final

import msgspec

from everlog.domain.chain import HashVersion, hash_v1, hash_v2, hash_version_of

SPECVERSION: Final = "1.0"
DATACONTENTTYPE: Final = "application/json"


class EventCandidate(msgspec.Struct, frozen=True, gc=False):
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
    """The JSON text of an event that has its place in the log, with what an index needs."""

    subject: str
    type: str
    json: str
    hash: str


def accept_event(
    candidate: EventCandidate,
    *,
    position: int,
    time: str,
    predecessor_hash: str,
    hash_version: HashVersion,
) -> AcceptedEvent:
    """Give a candidate its place: id, time, predecessor hash and hash."""
    source, subject, type_ = candidate.source, candidate.subject, candidate.type
    traceparent, tracestate = candidate.traceparent, candidate.tracestate
    data = candidate.data
    id_ = str(position)
    if hash_version is HashVersion.V2:
        hash_ = hash_v2(
            SPECVERSION,
            id_,
            predecessor_hash,
            time,
            source,
            subject,
            type_,
            DATACONTENTTYPE,
            traceparent,
            tracestate,
            data,
        )
    else:
        hash_ = hash_v1(
            SPECVERSION, id_, predecessor_hash, time, source, subject, type_, DATACONTENTTYPE, data
        )
    tracing = "" if traceparent is None else _tracing_members(traceparent, tracestate)
    # No value but tracestate needs escaping: the grammars of the others leave out quotes,
    # backslashes and control characters.
    json = (
        f'{{"specversion":"{SPECVERSION}","id":"{id_}","time":"{time}","source":"{source}",'
        f'"subject":"{subject}","type":"{type_}","datacontenttype":"{DATACONTENTTYPE}",{tracing}'
        f'"data":{data},"predecessorhash":"{predecessor_hash}","hash":"{hash_}","signature":null}}'
    )
    return AcceptedEvent(subject, type_, json, hash_)


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


def _tracing_members(traceparent: str, tracestate: str | None) -> str:
    if tracestate is None:
        return f'"traceparent":"{traceparent}",'
    return f'"traceparent":"{traceparent}","tracestate":{msgspec.json.encode(tracestate).decode()},'
