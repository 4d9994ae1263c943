"""Version 1: plain JSON, refusals as a status and one line of text, streams that just end.

Clients compare some of the texts literally (compatibility specification, section 1.5). Every line
of an answer is an HTTP chunk of its own: some clients take each piece that they are given for a
line (compatibility specification, section 17).
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Final, TypeVar

import msgspec

from everlog.api.answers import JSON, NDJSON, RETRY_SOON, text_response
from everlog.api.bodies import MalformedRequestError, read_leniently
from everlog.api.look import AuditForm, BackupForm, Bodies, Envelope, Look, VerificationForm
from everlog.api.requests import v1 as requests
from everlog.api.services import Failure
from everlog.domain.errors import (
    BusyError,
    Code,
    DiskFullError,
    RefusedError,
    StateConflictError,
    StoreFailedError,
)
from everlog.domain.event_type import parse_event_type
from everlog.domain.known_event import KnownEvent, parse_known_event
from everlog.domain.schema import EventSchema, read_event_schema
from everlog.domain.subject import parse_subject
from everlog.http import Response, Stream
from everlog.service.auditing_messages import Audited
from everlog.service.querying.messages import RowForm
from everlog.service.reader import AS_STORED, Block
from everlog.service.verify_store import Verification
from everlog.storage.engine import CachedBlock, EventType
from everlog.transfer.backup_lines import error_line, schema_line, to_backup_lines

_Body = TypeVar("_Body", bound=msgspec.Struct)

SHUTTING_DOWN_TEXT: Final = "server is shutting down"
OPERATION_MODE_TEXT: Final = "the current operation mode conflicts with the given request"

# Where the status does not follow from the kind of error: a fault of the request is 400, a
# conflict with the log's state 409.
_STATUSES: Final[Mapping[Code, int]] = {
    Code.EVENT_TYPE_UNKNOWN: 404,
    Code.AUDIT_FAILED: 503,
    Code.EVENT_TOO_LARGE: 413,
    Code.STORE_FAILED: 503,
    Code.READ_FAILED: 503,
    Code.SERVER_SHUTTING_DOWN: 503,
    Code.RESTORE_IN_PROGRESS: 503,
    Code.STORE_READ_ONLY: 503,
    Code.READ_ONLY_MODE_ALREADY_ENABLED: 503,
}

_TEXTS: Final[Mapping[Code, str]] = {
    Code.PRECONDITION_VIOLATED: "state conflict: precondition failed",
    Code.EVENT_SCHEMA_VIOLATED: "schema conflict: {message}",
    Code.EVENT_SCHEMA_ALREADY_REGISTERED: "schema conflict: {message}",
    Code.LAST_AUDITED_EVENT_UNKNOWN: "state conflict: {message}",
    Code.LAST_AUDITED_EVENT_MISMATCHED: "state conflict: {message}",
    Code.EVENT_CHAIN_BROKEN: "state conflict: {message}",
    Code.SERVER_SHUTTING_DOWN: SHUTTING_DOWN_TEXT,
    Code.STORE_READ_ONLY: OPERATION_MODE_TEXT,
    Code.READ_ONLY_MODE_ALREADY_ENABLED: OPERATION_MODE_TEXT,
}


class Subject(msgspec.Struct, frozen=True):
    """A subject that exists."""

    subject: str


class SubjectItem(msgspec.Struct, frozen=True, tag="subject"):
    """An item of read-subjects."""

    payload: Subject


class EventTypeEntry(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """An event type; a phantom has a schema but no events."""

    event_type: str
    is_phantom: bool
    schema: msgspec.Raw | None = None


class EventTypeItem(msgspec.Struct, frozen=True, tag="eventType"):
    """An item of read-event-types."""

    payload: EventTypeEntry


class Token(msgspec.Struct, frozen=True):
    """A token of a query; line and column begin at 1."""

    line: int
    column: int
    text: str
    type: str


class StreamError(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Why a stream ended early; for a fault of a query, between which tokens it lies."""

    error: str
    start_token: Token | None = None
    end_token: Token | None = None


class StreamErrorItem(msgspec.Struct, frozen=True, tag="error"):
    """The last item of a stream that ended early."""

    payload: StreamError


class LatestEvent(msgspec.Struct, frozen=True, rename="camel"):
    """The answer to audit-history; null where there are no events."""

    latest_event_id: str | None
    latest_event_hash: str | None


# Bodies.


def _reading(body: type[_Body]) -> Callable[[bytes], _Body]:
    return partial(read_leniently, msgspec.json.Decoder(body))


_nothing = _reading(requests.Nothing)
_subjects_body = _reading(requests.ReadSubjects)
_event_type_body = _reading(requests.ReadEventType)
_event_schema_body = _reading(requests.RegisterEventSchema)
_audit_body = _reading(requests.AuditHistory)


def _read_subjects(body: bytes) -> tuple[str, bool]:
    return parse_subject(_subjects_body(body).base_subject or None, field="baseSubject"), True


def _read_event_type(body: bytes) -> str:
    text = _event_type_body(body).event_type or None
    try:
        return parse_event_type(text, field="eventType")
    except RefusedError as error:
        if error.code is not Code.EVENT_TYPE_MALFORMED:
            raise
        # Clients know this endpoint's text.
        message = f"invalid event type: '{text}'"
        raise RefusedError(error.code, message, **error.details) from None


def _register_event_schema(body: bytes) -> EventSchema:
    read = _event_schema_body(body)
    event_type = parse_event_type(read.event_type or None, field="eventType")
    return read_event_schema(event_type, read.schema or None)


def _read_backup(body: bytes) -> None:
    _nothing(body)


def _audit_history(body: bytes) -> KnownEvent | None:
    read = _audit_body(body)
    event_id, hash_ = read.latest_event_id or None, read.latest_event_hash or None
    if event_id is None and hash_ is None:
        # What the audit of an empty store was answered with, too.
        return None
    return parse_known_event(
        event_id,
        hash_,
        missing=Code.LAST_AUDITED_EVENT_MISSING,
        id_field="latestEventId",
        hash_field="latestEventHash",
    )


def _check_raw(_raw: msgspec.Raw, _path: str) -> None:
    """Leave null to be judged as a value, like everything else that is no object."""


# What is shown.


def _event_type_entry(entry: EventType) -> EventTypeEntry:
    schema = None if entry.schema is None else msgspec.Raw(entry.schema.encode())
    return EventTypeEntry(entry.name, is_phantom=not entry.has_events, schema=schema)


def _event_type(entry: EventType) -> bytes:
    return msgspec.json.encode(_event_type_entry(entry))


def _event_types(entries: Sequence[EventType]) -> bytes:
    items = [EventTypeItem(_event_type_entry(entry)) for entry in entries]
    return msgspec.json.Encoder().encode_lines(items)


def _subjects(subjects: Sequence[str]) -> bytes:
    items = [SubjectItem(Subject(subject)) for subject in subjects]
    return msgspec.json.Encoder().encode_lines(items)


def _verification(found: Verification, failure: RefusedError | None) -> bytes:
    if failure is not None:
        found = Verification([*found.errors, _failure_text(failure)], found.warnings)
    return msgspec.json.encode(found)


def _audit(audited: Audited) -> bytes:
    event_id, hash_ = audited.last or (None, None)
    text = None if event_id is None else str(event_id)
    return msgspec.json.encode(LatestEvent(text, hash_))


def _error(error: RefusedError) -> bytes:
    details = {**error.details, "error": _failure_text(error)}
    item = StreamErrorItem(msgspec.convert(details, StreamError))
    return msgspec.json.encode(item) + b"\n"


def _send(stream: Stream, block: Block) -> Awaitable[None]:
    if isinstance(block, CachedBlock):
        return stream.send_lines(block.lines, block.offsets)
    return stream.send_lines(block)


def _all_lines(block: Block) -> Response:
    if isinstance(block, bytes):
        return Response(200, block, NDJSON, is_chunked_by_line=True)
    return Response(
        200, bytes(block.lines), NDJSON, is_chunked_by_line=True, line_starts=block.offsets
    )


# Refusals.


def _failure(error: Failure) -> Response:
    match error:
        case RefusedError():
            return text_response(_status(error), _failure_text(error))
        case MalformedRequestError():
            return text_response(400, str(error))
        case DiskFullError():
            return text_response(503, str(error))
        case BusyError():
            return text_response(503, str(error), RETRY_SOON)
        case StoreFailedError():
            # Whether the events are there after a restart is not known.
            return text_response(500, "storing failed: whether anything was stored is unknown")


def _status(error: RefusedError) -> int:
    default = 409 if isinstance(error, StateConflictError) else 400
    return _STATUSES.get(error.code, default)


def _failure_text(error: RefusedError) -> str:
    if error.code is Code.RANGE_UNSATISFIABLE and isinstance(error, StateConflictError):
        return f"state conflict: {error.message}"
    if error.code is Code.RESTORE_IN_PROGRESS:
        return f"{OPERATION_MODE_TEXT}: {error.message.rpartition(': ')[2]}"
    if error.code is Code.STORE_READ_ONLY and "source" in error.details:
        # Clients know the beginning, people need the end: where to write instead.
        return f"{OPERATION_MODE_TEXT}: {error.message}"
    return _TEXTS.get(error.code, "{message}").replace("{message}", error.message)


LOOK: Final = Look(
    name="v1",
    bodies=Bodies(
        nothing=_nothing,
        write_events=_reading(requests.WriteEvents),
        read_events=_reading(requests.ReadEvents),
        observe_events=_reading(requests.ObserveEvents),
        run_eventql_query=_reading(requests.RunEventQlQuery),
        read_subjects=_read_subjects,
        read_event_type=_read_event_type,
        register_event_schema=_register_event_schema,
        backup=_read_backup,
        audit_history=_audit_history,
        check_raw=_check_raw,
    ),
    api_event=Envelope(b"", b"", b"", JSON),
    registration=Envelope(b"", b"", b"", JSON),
    written=Envelope(b"[", b",", b"]", JSON),
    event_type=_event_type,
    diagnostics=msgspec.json.encode,
    # Space in front of a document means nothing, and keeps the connection from looking idle.
    verification=VerificationForm(JSON, b" ", _verification),
    audit=AuditForm(JSON, b"", _audit),
    events=AS_STORED,
    rows=RowForm(b'{"type":"row","payload":', b"}\n"),
    subjects=_subjects,
    event_types=_event_types,
    backup=BackupForm(
        events=partial(to_backup_lines, version=1),
        schema=partial(schema_line, version=1),
        error=lambda error: error_line(_failure_text(error)),
    ),
    heartbeat=b'{"type":"heartbeat","payload":{}}\n',
    error=_error,
    end=b"",
    send=_send,
    lines=_all_lines,
    failure=_failure,
)
