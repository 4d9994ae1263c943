"""The endpoints of version 1, each named like its path.

Every line of an answer is an HTTP chunk of its own: some clients take each piece that they are
given for a line (compatibility specification, section 17).
"""

from collections.abc import Sequence
from contextlib import aclosing
from typing import Final

import msgspec

from everlog.api.api_events import (
    EVENT_SCHEMA_REGISTERED,
    PING_MESSAGE,
    PING_RECEIVED,
    READ_ONLY_MESSAGE,
    READ_ONLY_MODE_ENABLED,
    TOKEN_MESSAGE,
    RegisteredSchema,
    render_api_event,
)
from everlog.api.bodies import read_leniently
from everlog.api.media import JSON, NDJSON
from everlog.api.requests import v1 as requests
from everlog.api.row_streams import RowLook, stream_rows
from everlog.api.services import Services
from everlog.api.v1.failures import SHUTTING_DOWN_TEXT, failure_text, refuse
from everlog.api.values import parse_observe, parse_read, parse_write
from everlog.domain.errors import (
    BusyError,
    Code,
    DiskFullError,
    RefusedError,
    StoreFailedError,
)
from everlog.domain.event_type import parse_event_type
from everlog.domain.schema import compile_event_schema
from everlog.domain.selection import Selection
from everlog.domain.subject import parse_subject
from everlog.http import Exchange, Request, Response, Stream
from everlog.service.observe_events import HEARTBEAT
from everlog.service.observe_events import observe_events as observe
from everlog.service.querying.messages import RowForm
from everlog.service.read_event_type import read_event_type as find_event_type
from everlog.service.read_event_types import read_event_types as list_event_types
from everlog.service.read_events import read_events as read
from everlog.service.read_events import read_few_events as read_few
from everlog.service.read_subjects import read_subjects as list_subjects
from everlog.service.register_event_schema import register_event_schema as register
from everlog.service.writer import Outcome
from everlog.storage.engine import CachedBlock, EventType

API_TOKEN_VERIFIED: Final = "io.eventsourcingdb.api.api-token-verified"  # noqa: S105 - no secret

_HEARTBEAT_ITEM: Final = b'{"type":"heartbeat","payload":{}}\n'

_write_events_body = msgspec.json.Decoder(requests.WriteEvents)
_read_events_body = msgspec.json.Decoder(requests.ReadEvents)
_observe_events_body = msgspec.json.Decoder(requests.ObserveEvents)
_run_eventql_query_body = msgspec.json.Decoder(requests.RunEventQlQuery)
_read_subjects_body = msgspec.json.Decoder(requests.ReadSubjects)
_read_event_type_body = msgspec.json.Decoder(requests.ReadEventType)
_register_event_schema_body = msgspec.json.Decoder(requests.RegisterEventSchema)


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


def ping(services: Services, request: Request, exchange: Exchange) -> None:
    """Answer that the server is alive."""
    exchange.respond(
        _api_event_response(services, request, event_type=PING_RECEIVED, data=PING_MESSAGE)
    )


def verify_api_token(services: Services, request: Request, exchange: Exchange) -> None:
    """Answer that the token is valid; without a valid one nobody gets here."""
    _read_nothing(request)
    exchange.respond(
        _api_event_response(services, request, event_type=API_TOKEN_VERIFIED, data=TOKEN_MESSAGE)
    )


def write_events(services: Services, request: Request, exchange: Exchange) -> None:
    """Write events, all of them or none."""
    body = read_leniently(_write_events_body, request.body)
    candidates, preconditions = parse_write(body, hash_version=services.store.writer.hash_version)

    def answer(outcome: Outcome) -> None:
        if isinstance(outcome, (RefusedError, BusyError, DiskFullError, StoreFailedError)):
            refuse(services, exchange, outcome)
        elif isinstance(outcome, Exception):
            raise outcome
        else:
            events = ",".join([services.form.event(event.json, event.hash) for event in outcome])
            exchange.respond(Response(200, f"[{events}]".encode(), JSON))

    services.write(exchange, candidates, preconditions, answer)


def read_events(services: Services, request: Request, exchange: Exchange) -> None:
    """Stream the events of a selection."""
    body = read_leniently(_read_events_body, request.body)
    selection = parse_read(body)
    few = read_few(services.store, selection, transform=services.form.v1)
    if few is not None:
        exchange.respond(_ndjson(few))
        return
    services.tasks.start_for(exchange, _read_events(services, selection, exchange))


def observe_events(services: Services, request: Request, exchange: Exchange) -> None:
    """Stream the events of a selection, and those to come."""
    body = read_leniently(_observe_events_body, request.body)
    selection = parse_observe(body)
    permit = services.store.observers.permits.acquire()
    # It may be released before it is its answer's turn.
    exchange.on_disconnect(permit.release)

    async def produce(stream: Stream) -> None:
        form = services.form.v1
        events = observe(services.store, selection, permit=permit, transform=form)
        async with aclosing(events) as blocks:
            async for block in blocks:
                if block is HEARTBEAT:
                    stream.send_nowait(_HEARTBEAT_ITEM)
                else:
                    await stream.send_lines(block)
        await stream.send(_line(StreamErrorItem(StreamError(SHUTTING_DOWN_TEXT))))

    exchange.stream(200, NDJSON, produce)


def run_eventql_query(services: Services, request: Request, exchange: Exchange) -> None:
    """Stream the rows of a query."""
    body = read_leniently(_run_eventql_query_body, request.body)
    stream_rows(services, exchange, body.query, _ROW_LOOK)


def read_subjects(services: Services, request: Request, exchange: Exchange) -> None:
    """Stream a subject and all below it."""
    body = read_leniently(_read_subjects_body, request.body)
    base_subject = parse_subject(body.base_subject, field="baseSubject")

    async def produce(stream: Stream) -> None:
        async for subjects in list_subjects(services.store, base_subject):
            await stream.send_lines(_lines([SubjectItem(Subject(subject)) for subject in subjects]))

    exchange.stream(200, NDJSON, produce)


def read_event_types(services: Services, request: Request, exchange: Exchange) -> None:
    """List all event types."""
    _read_nothing(request)
    entries = list_event_types(services.store)
    items = [EventTypeItem(_event_type_entry(entry)) for entry in entries]
    exchange.respond(_ndjson(_lines(items)))


def read_event_type(services: Services, request: Request, exchange: Exchange) -> None:
    """Describe one event type."""
    body = read_leniently(_read_event_type_body, request.body)
    name = _parse_event_type(body.event_type)
    entry = _event_type_entry(find_event_type(services.store, name))
    exchange.respond(Response(200, msgspec.json.encode(entry), JSON))


def register_event_schema(services: Services, request: Request, exchange: Exchange) -> None:
    """Register a schema for an event type, for good."""
    body = read_leniently(_register_event_schema_body, request.body)
    event_type = parse_event_type(body.event_type, field="eventType")
    schema = compile_event_schema(event_type, body.schema or None)

    async def work() -> None:
        try:
            await register(services.store, schema)
        except (RefusedError, DiskFullError, StoreFailedError) as error:
            refuse(services, exchange, error)
            return
        data = RegisteredSchema(event_type, msgspec.Raw(schema.text.encode()))
        exchange.respond(
            _api_event_response(services, request, event_type=EVENT_SCHEMA_REGISTERED, data=data)
        )

    services.tasks.start(exchange, work())


def put_into_read_only_mode(services: Services, request: Request, exchange: Exchange) -> None:
    """Refuse whatever would change the store, until the server is restarted."""
    _read_nothing(request)

    def answer(_: Outcome) -> None:
        exchange.respond(
            _api_event_response(
                services, request, event_type=READ_ONLY_MODE_ENABLED, data=READ_ONLY_MESSAGE
            )
        )

    services.store.writer.become_read_only(services.guard(exchange, answer))


def diagnostics(services: Services, request: Request, exchange: Exchange) -> None:
    """Tell what the server is, what it runs on, and how it was told to run."""
    _read_nothing(request)
    exchange.respond(Response(200, msgspec.json.encode(services.describe()), JSON))


async def _read_events(services: Services, selection: Selection, exchange: Exchange) -> None:
    try:
        found = await read(services.store, selection, transform=services.form.v1)
    except RefusedError as error:
        refuse(services, exchange, error)
        return
    if isinstance(found, bytes):
        exchange.respond(_ndjson(found))
        return
    blocks = found

    async def produce(stream: Stream) -> None:
        async for block in blocks:
            if isinstance(block, CachedBlock):
                await stream.send_lines(block.lines, block.offsets)
            else:
                await stream.send_lines(block)

    exchange.stream(200, NDJSON, produce)


def _read_nothing(request: Request) -> None:
    if request.body.strip():
        read_leniently(msgspec.json.Decoder(requests.Nothing), request.body)


def _parse_event_type(text: str | None) -> str:
    try:
        return parse_event_type(text, field="eventType")
    except RefusedError as error:
        if error.code is not Code.EVENT_TYPE_MALFORMED:
            raise
        # Clients know this endpoint's text.
        message = f"invalid event type: '{text}'"
        raise RefusedError(error.code, message, **error.details) from None


def _event_type_entry(entry: EventType) -> EventTypeEntry:
    schema = None if entry.schema is None else msgspec.Raw(entry.schema.encode())
    return EventTypeEntry(entry.name, is_phantom=not entry.has_events, schema=schema)


def _api_event_response(
    services: Services, request: Request, *, event_type: str, data: msgspec.Struct
) -> Response:
    event = render_api_event(
        time=services.now(), subject=request.head.path, event_type=event_type, data=data
    )
    return Response(200, event, JSON)


def _query_error_item(error: RefusedError) -> bytes:
    details = {**error.details, "error": failure_text(error)}
    return _line(StreamErrorItem(msgspec.convert(details, StreamError)))


_ROW_LOOK: Final = RowLook(
    form=RowForm(b'{"type":"row","payload":', b"}\n"),
    heartbeat=_HEARTBEAT_ITEM,
    error=_query_error_item,
    end=b"",
    send=Stream.send_lines,
)


def _ndjson(lines: bytes) -> Response:
    """Return an answer of lines, each a chunk: some clients take every piece of it for a line."""
    return Response(200, lines, NDJSON, is_chunked_by_line=True)


def _line(item: msgspec.Struct) -> bytes:
    return msgspec.json.encode(item) + b"\n"


def _lines(items: Sequence[msgspec.Struct]) -> bytes:
    return msgspec.json.Encoder().encode_lines(items)
