"""The two versions of the API, as one asks in them: methods, paths, and the words of items.

What is left to others: sending it (`connection`), and what an event may be (`writes`).
"""

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Final, Literal, NamedTuple

import msgspec

from everlog.transfer.backup_lines import BackedUpEvent


class SourceEvent(BackedUpEvent, forbid_unknown_fields=True, gc=False):
    """An event as the API serves it; no value has been judged."""

    hash: str = ""


class Name(msgspec.Struct, gc=False):
    """An event type, perhaps with its schema."""

    type: str
    schema: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class ItemV1(msgspec.Struct, gc=False):
    """An item that is an event, in version 1."""

    type: Literal["event"]
    payload: SourceEvent


class ItemV2(msgspec.Struct, gc=False):
    """The same in version 2."""

    type: Literal["event"]
    data: SourceEvent


class _NameV1(msgspec.Struct, rename="camel", gc=False):
    event_type: str
    schema: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


def _name_v1(body: bytes | msgspec.Raw) -> Name:
    found = msgspec.json.decode(body, type=_NameV1)
    return Name(found.event_type, found.schema)


def _name_v2(body: bytes | msgspec.Raw) -> Name:
    return msgspec.json.decode(body, type=Name)


class Version(NamedTuple):
    """How a version of the API is asked, and what its items are called."""

    name: str
    # What asks without changing anything.
    method: str
    observe_events: str
    read_events: str
    read_event_types: str
    # The member of an item that holds what it is about.
    body: str
    # What decodes whole lines that are nothing but events.
    decode_events: Callable[[bytes], Sequence[ItemV1 | ItemV2]]
    event_of: Callable[[ItemV1 | ItemV2], SourceEvent]
    name_of: Callable[[bytes | msgspec.Raw], Name]


V1: Final = Version(
    "v1",
    "POST",
    "/api/v1/observe-events",
    "/api/v1/read-events",
    "/api/v1/read-event-types",
    "payload",
    msgspec.json.Decoder(ItemV1).decode_lines,
    attrgetter("payload"),
    _name_v1,
)

V2: Final = Version(
    "v2",
    "QUERY",
    "/api/v2/data/observe-events",
    "/api/v2/data/read-events",
    "/api/v2/data/read-event-types",
    "data",
    msgspec.json.Decoder(ItemV2).decode_lines,
    attrgetter("data"),
    _name_v2,
)
