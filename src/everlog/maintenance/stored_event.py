"""One line of the log, read from the description of the format alone.

A line is accepted only if it is, byte for byte, what its members make: so an audit sees a space, a
repeated member or a changed order that no hash covers.
"""

from typing import Final

import msgspec

from everlog.domain.chain import HashVersion, hash_v1, hash_v2, hash_version_of


class StoredEvent(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """An event as it stands in the log; `data` holds the very bytes."""

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
    signature: None
    traceparent: str | None = None
    tracestate: str | None = None


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    type: str
    payload: StoredEvent


_DECODER: Final = msgspec.json.Decoder(_Line)

# The spaces behind an event that say what ends with it.
_MARK_SIZE_MAX: Final = 2


def read_event(line: bytes) -> tuple[StoredEvent, int]:
    """Return the event of a line without its line feed, and the number of spaces behind it.

    Raises:
        ValueError: The line is not an event as the format describes it; the message says why.
    """
    try:
        # The decoder does not look at the encoding of what it leaves as it is.
        text = line.decode()
        event = _DECODER.decode(line).payload
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        message = f"it is not an event: {error}"
        raise ValueError(message) from error
    rendered = _render(event)
    mark = len(text) - len(rendered)
    if not 0 <= mark <= _MARK_SIZE_MAX or text != rendered + " " * mark:
        message = "it says something besides its event, or says it in another form"
        raise ValueError(message)
    return event, mark


def compute_hash(event: StoredEvent) -> str | None:
    """Return the hash that the event's content has, None if its own is of an unknown version."""
    version = hash_version_of(event.hash)
    data = str(event.data, "utf-8")
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
            data,
        )
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
            data,
        )
    return None


def _render(event: StoredEvent) -> str:
    tracing = ""
    if event.traceparent is not None:
        tracing = f'"traceparent":"{event.traceparent}",'
    if event.tracestate is not None:
        tracing += f'"tracestate":{msgspec.json.encode(event.tracestate).decode()},'
    return (
        f'{{"type":"event","payload":{{"specversion":"{event.specversion}",'
        f'"id":"{event.id}","time":"{event.time}","source":"{event.source}",'
        f'"subject":"{event.subject}","type":"{event.type}",'
        f'"datacontenttype":"application/json",{tracing}"data":{str(event.data, "utf-8")},'
        f'"predecessorhash":"{event.predecessorhash}","hash":"{event.hash}","signature":null}}}}'
    )
