"""The two versions of the API, as an application asks in them: paths, bodies, items, refusals.

Version 1 has no codes: a refusal is a status and a sentence, and its code is found by how the
sentence begins. Where it is not known, it is the nearest that the status says.
What is left to others: sending it (`client`), and when (`server`).
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, assert_never, cast

import msgspec

from everlog.domain.errors import BusyError, Code, RefusedError, StateConflictError
from everlog.library.values import (
    Bound,
    EventType,
    FromLatestEvent,
    IsEventQlQueryTrue,
    IsSubjectOnEventId,
    IsSubjectPopulated,
    IsSubjectPristine,
    Precondition,
    Selection,
)

# Said by whoever is asked something that it does not know, or whose body it cannot read.
MALFORMED: Final = "request-malformed"

_Json = dict[str, Any]


class Version(NamedTuple):
    """Where a version has what it offers, and what it calls things."""

    number: int
    # What asks without changing anything.
    method: str
    ping: str
    verify_token: str
    health: str
    # Before the names of the endpoints that read and write, and of those that look at everything.
    data: str
    management: str
    # The member of an item that holds what it is about.
    body: str

    @property
    def item_start(self) -> bytes:
        """How an item begins that is an event."""
        return b'{"type":"event","%b":' % self.body.encode()


V1: Final = Version(
    1,
    "POST",
    "/api/v1/ping",
    "/api/v1/verify-api-token",
    "/api/v1/health",
    "/api/v1/",
    "/api/v1/",
    "payload",
)
V2: Final = Version(
    2,
    "QUERY",
    "/api/v2/system/ping",
    "/api/v2/system/verify-token",
    "/api/v2/system/health",
    "/api/v2/data/",
    "/api/v2/management/",
    "data",
)


# What is asked.


def selection_body(selection: Selection) -> _Json:
    """Return which events are read, as a body."""
    options: _Json = {"recursive": selection.recursive}
    if selection.order != "chronological":
        options["order"] = selection.order
    for name, bound in (
        ("lowerBound", selection.lower_bound),
        ("upperBound", selection.upper_bound),
    ):
        if bound is not None:
            options[name] = bound_body(bound)
    if selection.from_latest_event is not None:
        options["fromLatestEvent"] = _latest_body(selection.from_latest_event)
    return {"subject": selection.subject, "options": options}


def bound_body(bound: Bound) -> _Json:
    """Return an end of a selection as a body has it."""
    return {"id": bound.id, "type": bound.type}


def _latest_body(latest: FromLatestEvent) -> _Json:
    return {
        "subject": latest.subject,
        "type": latest.type,
        "ifEventIsMissing": latest.if_event_is_missing,
    }


def precondition_bodies(version: Version, preconditions: Sequence[Precondition]) -> list[_Json]:
    """Return preconditions as a version has them.

    Raises:
        RefusedError: Version 1 has no such precondition.
    """
    return [_precondition_body(version, each, index) for index, each in enumerate(preconditions)]


def _precondition_body(version: Version, precondition: Precondition, index: int) -> _Json:
    if isinstance(precondition, IsEventQlQueryTrue):
        return {"type": "isEventQlQueryTrue", "payload": {"query": precondition.query}}
    payload: _Json = {"subject": precondition.subject}
    match precondition:
        case IsSubjectPristine():
            name = "isSubjectPristine"
        case IsSubjectPopulated():
            name = "isSubjectPopulated"
        case IsSubjectOnEventId(event_id=event_id):
            name = "isSubjectOnEventId"
            payload["eventId"] = event_id
        case _:
            assert_never(precondition)
    if precondition.recursive:
        if version is V1:
            raise RefusedError(
                Code.PRECONDITION_UNKNOWN,
                "the server speaks version 1 of the API, which has no recursive preconditions",
                field=f"preconditions[{index}].payload.options",
                preconditionIndex=index,
            )
        payload["options"] = {"recursive": True}
    return {"type": name, "payload": payload}


# What is answered.


class _Item(msgspec.Struct, gc=False):
    type: str
    payload: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Row(msgspec.Struct, gc=False):
    value: msgspec.Raw


class _Subject(msgspec.Struct, gc=False):
    subject: str


class _EventTypeV1(msgspec.Struct, rename="camel", gc=False):
    event_type: str
    is_phantom: bool = False
    schema: dict[str, Any] | None = None


class _EventTypeV2(msgspec.Struct, rename="camel", gc=False):
    type: str
    has_events: bool
    schema: dict[str, Any] | None = None


_decode_item: Final = msgspec.json.Decoder(_Item).decode
_decode_row: Final = msgspec.json.Decoder(_Row).decode
_decode_subject: Final = msgspec.json.Decoder(_Subject).decode
_decode_type_v1: Final = msgspec.json.Decoder(_EventTypeV1).decode
_decode_type_v2: Final = msgspec.json.Decoder(_EventTypeV2).decode


class Item(NamedTuple):
    """An item of an answer: its type, and the JSON of what it is about."""

    type: str
    body: bytes


def read_item(version: Version, line: bytes) -> Item:
    """Return the item of a line.

    Raises:
        NOT_JSON: It is none.
    """
    found = _decode_item(line)
    body = found.payload if version is V1 else found.data
    return Item(found.type, b"{}" if body is msgspec.UNSET else bytes(body))


def read_row(version: Version, body: bytes) -> bytes:
    """Return the JSON of a row's value."""
    return body if version is V1 else bytes(_decode_row(body).value)


def read_subject(body: bytes) -> str:
    """Return the subject that an item is about."""
    return _decode_subject(body).subject


def read_event_type(version: Version, body: bytes) -> EventType:
    """Return the event type that an item is about."""
    if version is V1:
        v1 = _decode_type_v1(body)
        return EventType(v1.event_type, not v1.is_phantom, v1.schema)
    v2 = _decode_type_v2(body)
    return EventType(v2.type, v2.has_events, v2.schema)


# Refusals.


def to_error(code: str, message: str, details: Mapping[str, object]) -> RefusedError:
    """Return a refusal; a server may have codes that are not known here, which stay texts."""
    try:
        known = Code(code)
    except ValueError:
        known = cast("Code", code)
    kind = StateConflictError if known in _CONFLICTS else RefusedError
    return kind(known, message, **dict(details))


_CONFLICTS: Final = frozenset(
    {
        Code.PRECONDITION_VIOLATED,
        Code.EVENT_SCHEMA_VIOLATED,
        Code.EVENT_SCHEMA_ALREADY_REGISTERED,
        Code.LAST_BACKED_UP_EVENT_UNKNOWN,
        Code.LAST_BACKED_UP_EVENT_MISMATCHED,
    }
)


class _ErrorV2(msgspec.Struct):
    code: str
    description: str
    details: _Json = {}


def read_error(version: Version, body: bytes) -> RefusedError:
    """Return the refusal that an item of type error says.

    Raises:
        NOT_JSON: It says none.
    """
    if version is V2:
        v2 = msgspec.json.decode(body, type=_ErrorV2)
        return to_error(v2.code.rpartition("/")[2], v2.description, v2.details)
    found = msgspec.json.decode(body)
    if not isinstance(found, dict):
        return read_refusal(400, str(found))
    details = {str(name): value for name, value in found.items() if name != "error"}
    return read_refusal(400, str(found.get("error", "")), details)


# How sentences of version 1 begin, for whatever says no with 4xx or 503.
_BEGINNINGS: Final[tuple[tuple[str, str], ...]] = (
    (r"state conflict: precondition failed", Code.PRECONDITION_VIOLATED),
    (r"state conflict: fromLatestEvent", Code.RANGE_UNSATISFIABLE),
    (r"state conflict: ", Code.PRECONDITION_VIOLATED),
    (r"schema conflict: .*(already|exists)", Code.EVENT_SCHEMA_ALREADY_REGISTERED),
    (r"schema conflict: ", Code.EVENT_SCHEMA_VIOLATED),
    (r"the current operation mode .*restore", Code.RESTORE_IN_PROGRESS),
    (r"the current operation mode ", Code.STORE_READ_ONLY),
    (r"(the )?server is shutting down", Code.SERVER_SHUTTING_DOWN),
    (r"the store has failed", Code.STORE_FAILED),
    (r"reading the data directory failed", Code.READ_FAILED),
    (r"no space left on the device|too many files are open", Code.DISK_FULL),
    (r"event type '.*' not found", Code.EVENT_TYPE_UNKNOWN),
    (r"(invalid|malformed) event type", Code.EVENT_TYPE_MALFORMED),
    (r"the event type is missing", Code.EVENT_TYPE_MISSING),
    (r"malformed event subject", Code.SUBJECT_MALFORMED),
    (r"the event subject is missing", Code.SUBJECT_MISSING),
    (r"malformed event source", Code.SOURCE_MALFORMED),
    (r"the event source is missing", Code.SOURCE_MISSING),
    (r"malformed event data", Code.DATA_MALFORMED),
    (r"the event data is missing", Code.DATA_MISSING),
    (r"malformed traceparent", Code.TRACEPARENT_MALFORMED),
    (r"malformed tracestate", Code.TRACESTATE_MALFORMED),
    (r"traceparent is required", Code.TRACESTATE_WITHOUT_TRACEPARENT),
    (r"a write needs at least one event", Code.EVENTS_MISSING),
    (r"a write may have .* events|the event is too large", Code.EVENT_TOO_LARGE),
    (r"malformed event ID", Code.EVENT_ID_MALFORMED),
    (r"the event ID is missing", Code.EVENT_ID_MISSING),
    (r"unknown order", Code.ORDER_UNKNOWN),
    (r"unknown bound type", Code.BOUND_TYPE_UNKNOWN),
    (r"the type of the bound is missing", Code.BOUND_TYPE_MISSING),
    (r"the bounds leave no room", Code.RANGE_UNSATISFIABLE),
    (r"fromLatestEvent is incomplete", Code.FROM_LATEST_EVENT_INCOMPLETE),
    (r".* and fromLatestEvent cannot|fromLatestEvent can only", Code.SELECTION_CONFLICTING),
    (r"unknown value '.*': ifEventIsMissing", Code.IF_EVENT_IS_MISSING_UNKNOWN),
    (r"a write may have .* preconditions|unknown precondition", Code.PRECONDITION_UNKNOWN),
    (r"preconditions of type", Code.PRECONDITION_UNKNOWN),
    (r"the event schema is missing", Code.EVENT_SCHEMA_MISSING),
    (r"the event schema is not an object", Code.EVENT_SCHEMA_NOT_OBJECT),
    (r"malformed event schema|invalid schema", Code.EVENT_SCHEMA_MALFORMED),
    (r"the query is missing", Code.QUERY_MISSING),
    (r"(the query of )?a precondition must", Code.QUERY_NOT_BOOLEAN),
    (r"(in \d+ attempts, events|events came faster|the quer(y|ies) )", Code.QUERY_UNEVALUABLE),
    (r"malformed request body", MALFORMED),
)
_CODES: Final = tuple((re.compile(beginning), code) for beginning, code in _BEGINNINGS)

# What a status says where nothing is known of the sentence.
_BY_STATUS: Final[Mapping[int, str]] = {
    404: Code.EVENT_TYPE_UNKNOWN,
    409: Code.PRECONDITION_VIOLATED,
    413: Code.EVENT_TOO_LARGE,
}


def read_refusal(
    status: int, text: str, details: Mapping[str, object] | None = None
) -> RefusedError:
    """Return the refusal that a status and a sentence say."""
    found = _find_code(text) or _BY_STATUS.get(status, MALFORMED)
    message = text.removeprefix("state conflict: ").removeprefix("schema conflict: ")
    return to_error(found, message or f"the server answers with status {status}", details or {})


def _find_code(text: str) -> str | None:
    return next((code for pattern, code in _CODES if pattern.match(text)), None)


def read_unavailability(version: Version, text: str) -> RefusedError | BusyError:
    """Return what the status 503 and a sentence say: nothing was stored."""
    code = _find_code(text) if version is V1 else None
    return (
        to_error(code, text, {})
        if code is not None
        else BusyError(text or "the server is not ready to answer")
    )
