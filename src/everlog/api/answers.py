"""What answers are made of, whatever their version: media types, texts, and events as JSON.

API events are answers in the shape of an event that are not stored and have no place in the log;
their fields are those of the original, word for word (compatibility specification, section 1.3).
Stored events leave as they are, or signed: with a signing key the `null` at their end gives way to
a signature, which is computed here and never stored.
What is left to others: what stands around them (`look_v1`, `look_v2`).
"""

from collections.abc import Callable
from functools import lru_cache
from operator import attrgetter
from typing import Final

import msgspec

from everlog.domain.event import DATACONTENTTYPE, SPECVERSION, AcceptedEvent
from everlog.domain.signature import SigningKey, sign
from everlog.http import Response
from everlog.service.reader import Transform

JSON: Final = b"application/json"
NDJSON: Final = b"application/x-ndjson"
HEALTH: Final = b"application/health+json"
TEXT: Final = b"text/plain; charset=utf-8"
OCTETS: Final = b"application/octet-stream"

PING_RECEIVED: Final = "io.eventsourcingdb.api.ping-received"
API_TOKEN_VERIFIED: Final = "io.eventsourcingdb.api.api-token-verified"  # noqa: S105 - no secret
TOKEN_VERIFIED: Final = "io.eventsourcingdb.api.token-verified"  # noqa: S105 - no secret
EVENT_SCHEMA_REGISTERED: Final = "io.eventsourcingdb.api.event-schema-registered"
READ_ONLY_MODE_ENABLED: Final = "io.eventsourcingdb.api.read-only-mode-enabled"
STORE_RESTORED: Final = "io.eventsourcingdb.api.store-restored"

_SOURCE: Final = "https://www.eventsourcingdb.io"

# Whoever was refused since there was too much of something may ask again in a second.
RETRY_SOON: Final = ((b"Retry-After", b"1"),)

# Enough for the events that many observers get at the same time; a signature takes 50 times as
# long to compute as to look up.
_SIGNATURES_KEPT: Final = 4_096

# More than there are versions.
_LOOKS_MAX: Final = 4

_UNSIGNED: Final = b'"signature":null}'
_HASH_KEY: Final = b'"hash":"'


def text_response(
    status: int, text: str, headers: tuple[tuple[bytes, bytes], ...] = ()
) -> Response:
    """Return one line of plain text, which is the form of everything that is not 200.

    A text may quote what a client sent: what is not printable in it is escaped.
    """
    line = text if text.isprintable() else "".join(map(_escape, text))
    return Response(status, f"{line}\n".encode(), TEXT, headers)


def _escape(character: str) -> str:
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode()


class Message(msgspec.Struct, frozen=True):
    """Data that is a sentence."""

    message: str


class RegisteredSchema(msgspec.Struct, frozen=True, rename="camel"):
    """Data that repeats what was registered; the schema is its stored text."""

    event_type: str
    schema: msgspec.Raw


class CheckedSchema(msgspec.Struct, frozen=True, rename="camel"):
    """The answer of check-event-schema: how many stored events of a type match a schema."""

    event_type: str = msgspec.field(name="type")
    event_count: int


PING_MESSAGE: Final = Message("My God, it's full of stars.")
TOKEN_MESSAGE: Final = Message("The API token is valid.")
READ_ONLY_MESSAGE: Final = Message("The store is read-only until the server is restarted.")


def render_api_event(*, time: str, subject: str, event_type: str, data: msgspec.Struct) -> bytes:
    """Return an API event as JSON, its members in the documented order."""
    event = {
        "specversion": SPECVERSION,
        "id": "0",
        "time": time,
        "source": _SOURCE,
        "subject": subject,
        "type": event_type,
        "datacontenttype": DATACONTENTTYPE,
        "data": data,
    }
    return msgspec.json.encode(event)


class EventForm:
    """How stored events leave the server: with which signature."""

    def __init__(self, signing_key: SigningKey | None) -> None:
        """Leave signatures `null` without a key."""
        self.signing_key: Final = signing_key
        self._signature: Callable[[str], str] | None = None
        # The JSON text of an event that has just been written. Where nothing is signed, a write's
        # answer costs no call of ours for its events.
        self.event: Callable[[AcceptedEvent], bytes] = attrgetter("json")
        if signing_key is not None:
            key = signing_key
            self._signature = lru_cache(_SIGNATURES_KEPT)(lambda hash_: sign(key, hash_))
            self.event = self._sign_event
        # A way from stored lines to items with signatures in them, if there is a key; asked for by
        # each read, and found once.
        self.transform: Callable[[Transform], Transform] = lru_cache(_LOOKS_MAX)(self._transform)

    def _transform(self, unsigned: Transform) -> Transform:
        if self._signature is None:
            return unsigned
        return Transform(lambda lines: unsigned.convert(self._sign_lines(lines)), None)

    def _sign_event(self, event: AcceptedEvent) -> bytes:
        assert self._signature is not None
        assert event.json.endswith(_UNSIGNED)
        return b'%b"%b"}' % (event.json[: -len(b"null}")], self._signature(event.hash).encode())

    def _sign_lines(self, lines: bytes) -> bytes:
        return b"".join(map(self._sign_line, lines.splitlines(keepends=True)))

    def _sign_line(self, line: bytes) -> bytes:
        assert self._signature is not None
        # Searched from the end: data may hold anything, what follows it may not.
        end = line.rindex(_UNSIGNED)
        hash_ = line[line.rindex(_HASH_KEY, 0, end) + len(_HASH_KEY) : end - len('",')].decode()
        value = end + len('"signature":')
        return b'%b"%b"%b' % (
            line[:value],
            self._signature(hash_).encode(),
            line[value + len("null") :],
        )
