"""The endpoints of version 2, each named like its path."""

from collections.abc import Sequence
from contextlib import aclosing
from typing import Final, NoReturn

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
from everlog.api.bodies import MalformedRequestError, read_strictly
from everlog.api.items import V2_LINE_PREFIX
from everlog.api.media import JSON, NDJSON
from everlog.api.requests import v2 as requests
from everlog.api.row_streams import RowLook, stream_rows
from everlog.api.services import Services
from everlog.api.v2.failures import error_item, refuse
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
from everlog.monitoring.diagnostics import Diagnostics
from everlog.service.observe_events import HEARTBEAT
from everlog.service.observe_events import observe_events as observe
from everlog.service.querying.messages import RowForm
from everlog.service.read_event_type import read_event_type as find_event_type
from everlog.service.read_event_types import read_event_types as list_event_types
from everlog.service.read_events import read_events as read
from everlog.service.read_events import read_few_events as read_few
from everlog.service.read_subjects import read_subjects as list_subjects
from everlog.service.read_subjects import subject_exists
from everlog.service.register_event_schema import register_event_schema as register
from everlog.service.writer import Outcome
from everlog.storage.engine import CachedBlock, EventType

TOKEN_VERIFIED: Final = "io.eventsourcingdb.api.token-verified"  # noqa: S105 - no secret

_HEARTBEAT_ITEM: Final = b'{"type":"heartbeat","data":{}}\n'
_END_ITEM: Final = b'{"type":"end","data":{}}\n'

_write_events_body = msgspec.json.Decoder(requests.WriteEvents)
_read_events_body = msgspec.json.Decoder(requests.ReadEvents)
_observe_events_body = msgspec.json.Decoder(requests.ObserveEvents)
_run_eventql_query_body = msgspec.json.Decoder(requests.RunEventQlQuery)
_read_subjects_body = msgspec.json.Decoder(requests.ReadSubjects)
_read_event_type_body = msgspec.json.Decoder(requests.ReadEventType)
_register_event_schema_body = msgspec.json.Decoder(requests.RegisterEventSchema)
_no_body = msgspec.json.Decoder(requests.Nothing)


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


def ping(services: Services, request: Request, exchange: Exchange) -> None:
    """Answer that the server is alive."""
    event = _api_event_item(services, request, event_type=PING_RECEIVED, data=PING_MESSAGE)
    exchange.respond(Response(200, event, JSON))


def verify_token(services: Services, request: Request, exchange: Exchange) -> None:
    """Answer that the token is valid; without a valid one nobody gets here."""
    _read_nothing(request)
    event = _api_event_item(services, request, event_type=TOKEN_VERIFIED, data=TOKEN_MESSAGE)
    exchange.respond(Response(200, event, JSON))


def write_events(services: Services, request: Request, exchange: Exchange) -> None:
    """Write events, all of them or none."""
    body = read_strictly(_write_events_body, request.body)
    try:
        candidates, preconditions = parse_write(
            body, hash_version=services.store.writer.hash_version
        )
    except RefusedError as error:
        if error.code is Code.DATA_MALFORMED:
            _refuse_null_data(body)
        raise

    def answer(outcome: Outcome) -> None:
        if isinstance(outcome, (RefusedError, BusyError, DiskFullError, StoreFailedError)):
            refuse(services, exchange, outcome)
        elif isinstance(outcome, Exception):
            raise outcome
        else:
            form = services.form
            events = "".join(
                [
                    f'{{"type":"event","data":{form.event(event.json, event.hash)}}}\n'
                    for event in outcome
                ]
            )
            exchange.respond(Response(200, events.encode() + _END_ITEM, NDJSON))

    services.write(exchange, candidates, preconditions, answer)


def read_events(services: Services, request: Request, exchange: Exchange) -> None:
    """Stream the events of a selection."""
    selection = parse_read(read_strictly(_read_events_body, request.body))
    few = read_few(services.store, selection, transform=services.form.v2)
    if few is not None:
        exchange.respond(Response(200, few + _END_ITEM, NDJSON))
        return
    services.tasks.start_for(exchange, _read_events(services, selection, exchange))


def observe_events(services: Services, request: Request, exchange: Exchange) -> None:
    """Stream the events of a selection, and those to come."""
    selection = parse_observe(read_strictly(_observe_events_body, request.body))
    permit = services.store.observers.permits.acquire()
    # It may be released before it is its answer's turn.
    exchange.on_disconnect(permit.release)

    async def produce(stream: Stream) -> None:
        form = services.form.v2
        events = observe(services.store, selection, permit=permit, transform=form)
        async with aclosing(events) as blocks:
            async for block in blocks:
                if block is HEARTBEAT:
                    stream.send_nowait(_HEARTBEAT_ITEM)
                else:
                    await stream.send(block)
        await stream.send(error_item(Code.SERVER_SHUTTING_DOWN, "the server is shutting down", {}))

    exchange.stream(200, NDJSON, produce)


def run_eventql_query(services: Services, request: Request, exchange: Exchange) -> None:
    """Stream the rows of a query."""
    body = read_strictly(_run_eventql_query_body, request.body)
    stream_rows(services, exchange, body.query or None, _ROW_LOOK)


def read_subjects(services: Services, request: Request, exchange: Exchange) -> None:
    """Stream a subject, alone or with all below it."""
    body = read_strictly(_read_subjects_body, request.body)
    subject = parse_subject(body.subject or None)
    if not body.options.recursive:
        found = [subject] if subject_exists(services.store, subject) else []
        exchange.respond(Response(200, _subject_lines(found) + _END_ITEM, NDJSON))
        return

    async def produce(stream: Stream) -> None:
        async for subjects in list_subjects(services.store, subject):
            await stream.send(_subject_lines(subjects))
        await stream.send(_END_ITEM)

    exchange.stream(200, NDJSON, produce)


def read_event_types(services: Services, request: Request, exchange: Exchange) -> None:
    """List all event types."""
    _read_nothing(request)
    items = [_event_type_item(entry) for entry in list_event_types(services.store)]
    exchange.respond(Response(200, _lines(items) + _END_ITEM, NDJSON))


def read_event_type(services: Services, request: Request, exchange: Exchange) -> None:
    """Describe one event type."""
    body = read_strictly(_read_event_type_body, request.body)
    name = parse_event_type(body.type or None)
    item = _event_type_item(find_event_type(services.store, name))
    exchange.respond(Response(200, _lines([item]), JSON))


def register_event_schema(services: Services, request: Request, exchange: Exchange) -> None:
    """Register a schema for an event type, for good."""
    body = read_strictly(_register_event_schema_body, request.body)
    if body.schema and _is_null(body.schema):
        _refuse_null("$.schema")
    event_type = parse_event_type(body.type or None)
    schema = compile_event_schema(event_type, body.schema or None)

    async def work() -> None:
        try:
            await register(services.store, schema)
        except (RefusedError, DiskFullError, StoreFailedError) as error:
            refuse(services, exchange, error)
            return
        data = RegisteredSchema(event_type, msgspec.Raw(schema.text.encode()))
        item = _api_event_item(services, request, event_type=EVENT_SCHEMA_REGISTERED, data=data)
        exchange.respond(Response(200, item + _END_ITEM, NDJSON))

    services.tasks.start(exchange, work())


def put_into_read_only_mode(services: Services, request: Request, exchange: Exchange) -> None:
    """Refuse whatever would change the store, until the server is restarted."""
    _read_nothing(request)

    def answer(_: Outcome) -> None:
        item = _api_event_item(
            services, request, event_type=READ_ONLY_MODE_ENABLED, data=READ_ONLY_MESSAGE
        )
        exchange.respond(Response(200, item, JSON))

    services.store.writer.become_read_only(services.guard(exchange, answer))


def diagnostics(services: Services, request: Request, exchange: Exchange) -> None:
    """Tell what the server is, what it runs on, and how it was told to run."""
    _read_nothing(request)
    exchange.respond(Response(200, _lines([DiagnosticsItem(services.describe())]), JSON))


async def _read_events(services: Services, selection: Selection, exchange: Exchange) -> None:
    try:
        found = await read(services.store, selection, transform=services.form.v2)
    except RefusedError as error:
        refuse(services, exchange, error)
        return
    if isinstance(found, bytes):
        exchange.respond(Response(200, found + _END_ITEM, NDJSON))
        return
    blocks = found

    async def produce(stream: Stream) -> None:
        async for block in blocks:
            await stream.send(block.lines if isinstance(block, CachedBlock) else block)
        await stream.send(_END_ITEM)

    exchange.stream(200, NDJSON, produce)


def _read_nothing(request: Request) -> None:
    if request.body.strip():
        read_strictly(_no_body, request.body)


def _refuse_null_data(body: requests.WriteEvents) -> None:
    # The decoder leaves the data as it is, so that null in its place is seen here only.
    for index, event in enumerate(body.events or ()):
        if event.data and _is_null(event.data):
            _refuse_null(f"$.events[{index}].data")


def _is_null(raw: msgspec.Raw) -> bool:
    return bytes(raw).strip() == b"null"


def _refuse_null(path: str) -> NoReturn:
    message = f"malformed request body: Expected `object`, got `null` - at `{path}`"
    raise MalformedRequestError(message)


def _event_type_item(entry: EventType) -> EventTypeItem:
    schema = None if entry.schema is None else msgspec.Raw(entry.schema.encode())
    return EventTypeItem(EventTypeEntry(entry.name, has_events=entry.has_events, schema=schema))


def _api_event_item(
    services: Services, request: Request, *, event_type: str, data: msgspec.Struct
) -> bytes:
    event = render_api_event(
        time=services.now(), subject=request.head.path, event_type=event_type, data=data
    )
    return V2_LINE_PREFIX + event + b"}\n"


def _query_error_item(error: RefusedError) -> bytes:
    return error_item(error.code, error.message, error.details)


_ROW_LOOK: Final = RowLook(
    form=RowForm(b'{"type":"row","data":{"value":', b"}}\n"),
    heartbeat=_HEARTBEAT_ITEM,
    error=_query_error_item,
    end=_END_ITEM,
    send=Stream.send,
)


def _subject_lines(subjects: Sequence[str]) -> bytes:
    return _lines([SubjectItem(Subject(subject)) for subject in subjects])


def _lines(items: Sequence[msgspec.Struct]) -> bytes:
    return msgspec.json.Encoder().encode_lines(items)
