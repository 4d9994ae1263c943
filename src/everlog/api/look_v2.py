"""Version 2: everything in items, refusals as an item with a code, streams with an end item.

Refusals have status 200 and say a code, a sentence and details. Only what is wrong with the request
as such (not JSON, not of the right shape) and what the server cannot vouch for has another status
and one line of text (compatibility specification, section 1.2).
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import UNSET, UnsetType

from everlog.api.answers import JSON, NDJSON, RETRY_SOON, text_response
from everlog.api.bodies import MalformedRequestError, read_strictly
from everlog.api.look import AuditForm, BackupForm, Bodies, Envelope, Look, VerificationForm
from everlog.api.requests import v2 as requests
from everlog.api.services import Failure
from everlog.domain.errors import (
    BusyError,
    Code,
    DiskFullError,
    RefusedError,
    StoreFailedError,
)
from everlog.domain.event_type import parse_event_type
from everlog.domain.known_event import KnownEvent, parse_known_event
from everlog.domain.schema import EventSchema, read_event_schema
from everlog.domain.subject import parse_subject
from everlog.http import Response, Stream
from everlog.monitoring.diagnostics import Diagnostics
from everlog.service.auditing_messages import Audited
from everlog.service.querying.messages import RowForm
from everlog.service.reader import Block, Transform
from everlog.service.verify_store import Verification
from everlog.storage.engine import CachedBlock, EventType
from everlog.storage.line import LINE_PREFIX
from everlog.transfer.backup_lines import schema_line, to_backup_lines

_Body = TypeVar("_Body", bound=msgspec.Struct)

CODE_PREFIX: Final = "https://docs.eventsourcingdb.io/errors/"

_EVENT_START: Final = b'{"type":"event","data":'
_HEARTBEAT_ITEM: Final = b'{"type":"heartbeat","data":{}}\n'
_END_ITEM: Final = b'{"type":"end","data":{}}\n'

# With spaces that JSON ignores it is as long as what it stands in the place of, and differs from
# it only in the last ten bytes: two words of eight that overlap.
_TAIL: Final = _EVENT_START.ljust(len(LINE_PREFIX))[-10:]
_WORD: Final = np.dtype("<u8")
_WORDS: Final = tuple(
    (
        len(LINE_PREFIX) - 10 + place,
        np.frombuffer(_TAIL, _WORD, count=1, offset=place)[0],
    )
    for place in (0, 2)
)


class Subject(msgspec.Struct, frozen=True):
    """A subject that exists."""

    subject: str


class SubjectItem(msgspec.Struct, frozen=True, tag="subject"):
    """An item of read-subjects."""

    data: Subject


class EventTypeEntry(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """An event type."""

    type: str
    has_events: bool
    schema: msgspec.Raw | None = None


class EventTypeItem(msgspec.Struct, frozen=True, tag="eventType"):
    """An item of read-event-types, or the answer of read-event-type."""

    data: EventTypeEntry


class DiagnosticsItem(msgspec.Struct, frozen=True, tag="diagnostics"):
    """The answer of diagnostics."""

    data: Diagnostics


class VerificationItem(msgspec.Struct, frozen=True, tag="verification"):
    """The answer of verify-store."""

    data: Verification


class LastAuditedEvent(msgspec.Struct, frozen=True):
    """An event up to which the chain is whole, and its hash."""

    id: str
    hash: str


class Audit(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What is to be kept for the next audit; nothing where there are no events."""

    last_audited_event: LastAuditedEvent | UnsetType = UNSET


class AuditItem(msgspec.Struct, frozen=True, tag="audit"):
    """The answer of audit-history."""

    data: Audit


class ErrorData(msgspec.Struct, frozen=True):
    """Why a request was refused; `details` locate the fault."""

    code: str
    description: str
    details: dict[str, object]


class ErrorItem(msgspec.Struct, frozen=True, tag="error"):
    """An error, alone or as the last item of a stream."""

    data: ErrorData


# Bodies.


def _reading(body: type[_Body]) -> Callable[[bytes], _Body]:
    return partial(read_strictly, msgspec.json.Decoder(body))


_subjects_body = _reading(requests.ReadSubjects)
_event_type_body = _reading(requests.ReadEventType)
_event_schema_body = _reading(requests.RegisterEventSchema)
_backup_body = _reading(requests.Backup)
_audit_body = _reading(requests.AuditHistory)


def _read_subjects(body: bytes) -> tuple[str, bool]:
    read = _subjects_body(body)
    return parse_subject(read.subject or None), read.options.recursive


def _read_event_type(body: bytes) -> str:
    return parse_event_type(_event_type_body(body).type or None)


def _register_event_schema(body: bytes) -> EventSchema:
    read = _event_schema_body(body)
    if read.schema:
        _check_raw(read.schema, "$.schema")
    return read_event_schema(parse_event_type(read.type or None), read.schema or None)


def _read_backup(body: bytes) -> KnownEvent | None:
    last = _backup_body(body).last_backed_up_event
    return _known_event(last, "lastBackedUpEvent", Code.LAST_BACKED_UP_EVENT_MISSING)


def _audit_history(body: bytes) -> KnownEvent | None:
    last = _audit_body(body).last_audited_event
    return _known_event(last, "lastAuditedEvent", Code.LAST_AUDITED_EVENT_MISSING)


def _known_event(
    event: requests.KnownEvent | UnsetType, field: str, missing: Code
) -> KnownEvent | None:
    if event is UNSET:
        return None
    return parse_known_event(
        event.id or None,
        event.hash or None,
        missing=missing,
        id_field=f"{field}.id",
        hash_field=f"{field}.hash",
    )


def _check_raw(raw: msgspec.Raw, path: str) -> None:
    if bytes(raw).strip() == b"null":
        message = f"malformed request body: Expected `object`, got `null` - at `{path}`"
        raise MalformedRequestError(message)


# What is shown.


def _to_items(lines: bytes) -> bytes:
    # Line feeds occur at line ends only: inside JSON they are escaped. Splitting and joining takes
    # two thirds of the time of replacing, which looks for each prefix twice.
    parts = lines.split(b"\n" + LINE_PREFIX)
    parts[0] = _EVENT_START + parts[0][len(LINE_PREFIX) :]
    return (b"\n" + _EVENT_START).join(parts)


def _overwrite_with_items(block: CachedBlock) -> None:
    starts = np.asarray(block.offsets, np.uint64)
    starts = (starts - starts[0]).astype(np.intp)
    # A word at each byte, so that those of all lines are written by one call of numpy.
    count = len(block.lines) - _WORD.itemsize + 1
    words: npt.NDArray[np.uint64] = np.ndarray(count, _WORD, block.lines, strides=(1,))
    for place, word in _WORDS:
        words[starts + place] = word


def _event_type(entry: EventType) -> bytes:
    return _event_types([entry])


def _event_types(entries: Sequence[EventType]) -> bytes:
    return _lines([_event_type_item(entry) for entry in entries])


def _event_type_item(entry: EventType) -> EventTypeItem:
    schema = None if entry.schema is None else msgspec.Raw(entry.schema.encode())
    return EventTypeItem(EventTypeEntry(entry.name, has_events=entry.has_events, schema=schema))


def _subjects(subjects: Sequence[str]) -> bytes:
    return _lines([SubjectItem(Subject(subject)) for subject in subjects])


def _diagnostics(diagnostics: Diagnostics) -> bytes:
    return _lines([DiagnosticsItem(diagnostics)])


def _verification(found: Verification, failure: RefusedError | None) -> bytes:
    return _lines([VerificationItem(found)]) + (_END_ITEM if failure is None else _error(failure))


def _audit(audited: Audited) -> bytes:
    event: LastAuditedEvent | UnsetType = UNSET
    if audited.last is not None:
        event_id, hash_ = audited.last
        event = LastAuditedEvent(str(event_id), hash_)
    return _lines([AuditItem(Audit(event))]) + _END_ITEM


def _lines(items: Sequence[msgspec.Struct]) -> bytes:
    return msgspec.json.Encoder().encode_lines(items)


def _send(stream: Stream, block: Block) -> Awaitable[None]:
    return stream.send(block.lines if isinstance(block, CachedBlock) else block)


def _all_lines(block: Block) -> Response:
    lines = block.lines if isinstance(block, CachedBlock) else block
    return Response(200, bytes(lines) + _END_ITEM, NDJSON)


# Refusals.


def _failure(error: Failure) -> Response:
    match error:
        case RefusedError():
            return Response(200, _error(error), NDJSON)
        case MalformedRequestError():
            return text_response(400, str(error))
        case DiskFullError():
            return Response(200, _error_item(Code.DISK_FULL, str(error), {}), NDJSON)
        case BusyError():
            return text_response(503, str(error), RETRY_SOON)
        case StoreFailedError():
            # An error item would say that nothing was stored, which nobody knows.
            return text_response(500, "storing failed: whether anything was stored is unknown")


def _error(error: RefusedError) -> bytes:
    return _error_item(error.code, error.message, error.details)


def _error_item(code: Code, description: str, details: dict[str, object]) -> bytes:
    return _lines([ErrorItem(ErrorData(CODE_PREFIX + code.value, description, details))])


LOOK: Final = Look(
    name="v2",
    bodies=Bodies(
        nothing=_reading(requests.Nothing),
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
    api_event=Envelope(_EVENT_START, b"", b"}\n", JSON),
    registration=Envelope(_EVENT_START, b"", b"}\n" + _END_ITEM, NDJSON),
    written=Envelope(_EVENT_START, b"}\n" + _EVENT_START, b"}\n" + _END_ITEM, NDJSON),
    event_type=_event_type,
    diagnostics=_diagnostics,
    verification=VerificationForm(NDJSON, _HEARTBEAT_ITEM, _verification),
    audit=AuditForm(NDJSON, _HEARTBEAT_ITEM, _audit),
    events=Transform(_to_items, _overwrite_with_items),
    rows=RowForm(b'{"type":"row","data":{"value":', b"}}\n"),
    subjects=_subjects,
    event_types=_event_types,
    backup=BackupForm(
        events=partial(to_backup_lines, version=2),
        schema=partial(schema_line, version=2),
        error=_error,
    ),
    heartbeat=_HEARTBEAT_ITEM,
    error=_error,
    end=_END_ITEM,
    send=_send,
    lines=_all_lines,
    failure=_failure,
)
