"""API events: answers in the shape of an event that are not stored and have no place in the log.

Their fields are those of the original, word for word (compatibility specification, section 1.3).
"""

from typing import Final

import msgspec

from everlog.domain.event import DATACONTENTTYPE, SPECVERSION

_SOURCE: Final = "https://www.eventsourcingdb.io"

PING_RECEIVED: Final = "io.eventsourcingdb.api.ping-received"
EVENT_SCHEMA_REGISTERED: Final = "io.eventsourcingdb.api.event-schema-registered"
READ_ONLY_MODE_ENABLED: Final = "io.eventsourcingdb.api.read-only-mode-enabled"


class Message(msgspec.Struct, frozen=True):
    """Data that is a sentence."""

    message: str


class RegisteredSchema(msgspec.Struct, frozen=True, rename="camel"):
    """Data that repeats what was registered; the schema is its stored text."""

    event_type: str
    schema: msgspec.Raw


PING_MESSAGE: Final = Message("My God, it's full of stars.")
TOKEN_MESSAGE: Final = Message("The API token is valid.")
READ_ONLY_MESSAGE: Final = Message("The store is read-only until the server is restarted.")


def render_api_event(*, time: str, subject: str, event_type: str, data: msgspec.Struct) -> bytes:
    """Return an API event as JSON, its members in the documented order."""
    return msgspec.json.encode(
        {
            "specversion": SPECVERSION,
            "id": "0",
            "time": time,
            "source": _SOURCE,
            "subject": subject,
            "type": event_type,
            "datacontenttype": DATACONTENTTYPE,
            "data": data,
        }
    )
