"""Backups for tests, made by the public rules alone: shares no code with what makes and reads them.

Events are dictionaries as in a backup, with data as the text that is hashed.
"""

import json
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Any

from everlog.domain.event import EventCandidate

GENESIS = "0" * 64
V2_PREFIX = "esdb:hash:v2:"

FIRST_TIME = "2023-11-14T22:13:20.000000001Z"

Event = dict[str, Any]


def an_event(
    data: str = '{"n":1}',
    *,
    subject: str = "/books/42",
    type_: str = "io.everlog.test.happened",
    time: str = FIRST_TIME,
    **more: str,
) -> Event:
    """Return an event without its place."""
    return {
        "source": "https://everlog.test",
        "subject": subject,
        "type": type_,
        "specversion": "1.0",
        "time": time,
        "datacontenttype": "application/json",
        "data": data,
        **more,
    }


def hash_of(event: Event, version: int) -> str:
    """Return the hash of an event that has its place."""
    names = ("specversion", "id", "predecessorhash", "time", "source", "subject", "type")
    fields = [*(event[name] for name in names), event["datacontenttype"]]
    data = event["data"].encode()
    if version == 1:
        digests = sha256("|".join(fields).encode()).hexdigest() + sha256(data).hexdigest()
        return sha256(digests.encode()).hexdigest()
    traces = [event.get("traceparent") or "-", event.get("tracestate") or "-"]
    content = "\n".join([V2_PREFIX, *fields, *traces]).encode() + b"\n" + data
    return V2_PREFIX + sha256(content).hexdigest()


def chained(
    events: Iterable[Event], *, version: int = 1, position: int = 0, hash_: str = GENESIS
) -> list[tuple[Event, str]]:
    """Give events their places, and return each with its hash."""
    found = []
    for number, event in enumerate(events, position):
        placed = {**event, "id": str(number), "predecessorhash": hash_}
        hash_ = hash_of(placed, version)
        found.append((placed, hash_))
    return found


MEMBERS = (
    "source",
    "subject",
    "type",
    "traceparent",
    "tracestate",
    "specversion",
    "id",
    "time",
    "datacontenttype",
    "predecessorhash",
    "data",
)


def event_line(
    event: Event, hash_: str, *, look: int = 1, members: Sequence[str] = MEMBERS
) -> bytes:
    """Return the line of an event, in the look of a version of the API."""
    texts = [
        f'"{name}":{event[name] if name == "data" else json.dumps(event[name])}'
        for name in members
        if name in event
    ]
    body = "payload" if look == 1 else "data"
    joined = ",".join(texts)
    return f'{{"type":"event","{body}":{{"event":{{{joined}}},"hash":"{hash_}"}}}}\n'.encode()


def lines_of(chain: Iterable[tuple[Event, str]], *, look: int = 1) -> bytes:
    """Return the lines of events that have their places."""
    return b"".join(event_line(event, hash_, look=look) for event, hash_ in chain)


def schema_line(event_type: str, schema: str, *, word: str = "schema", look: int = 1) -> bytes:
    """Return the line of an event schema."""
    body = "payload" if look == 1 else "data"
    return (
        f'{{"type":"{word}","{body}":{{"eventType":"{event_type}","schema":{schema}}}}}\n'.encode()
    )


END_LINE = b'{"type":"end","data":{}}\n'


def backup_of(candidates: Iterable[EventCandidate], *, version: int = 2) -> bytes:
    """Return a backup of what candidates became."""
    events = [
        an_event(candidate.data, subject=candidate.subject, type_=candidate.type)
        for candidate in candidates
    ]
    return lines_of(chained(events, version=version))
