"""The endpoints of the API, each named like its path, in the look of either version.

An endpoint reads a body, calls a use case, and shows what came of it. What that looks like is its
look's (`look_v1`, `look_v2`); what it means is the service's.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import Final
from urllib.parse import parse_qsl

import msgspec

from everlog.api.answers import (
    API_TOKEN_VERIFIED,
    EVENT_SCHEMA_REGISTERED,
    HEALTH,
    JSON,
    NDJSON,
    PING_MESSAGE,
    PING_RECEIVED,
    READ_ONLY_MESSAGE,
    READ_ONLY_MODE_ENABLED,
    TOKEN_MESSAGE,
    TOKEN_VERIFIED,
    CheckedSchema,
    RegisteredSchema,
    render_api_event,
)
from everlog.api.bodies import (
    MalformedRequestError,
    parse_observe,
    parse_read,
    preconditions_of,
)
from everlog.api.large_bodies import read_in_parts
from everlog.api.look import Look
from everlog.api.services import Failure, Services, answer_bug
from everlog.domain.chain import HashVersion
from everlog.domain.errors import (
    BusyError,
    Code,
    DiskBusyError,
    DiskFullError,
    ReadFailedError,
    RefusedError,
    StoreFailedError,
)
from everlog.domain.event import EventCandidate
from everlog.domain.precondition import Precondition
from everlog.domain.selection import Selection
from everlog.http import Exchange, Request, Response, Stream
from everlog.monitoring.checks import Status
from everlog.monitoring.figures import Figures
from everlog.monitoring.health import describe_health
from everlog.monitoring.metrics import render_metrics
from everlog.monitoring.openmetrics import MEDIA_TYPE as OPENMETRICS
from everlog.service.breaks import Rests
from everlog.service.discovery import read_event_type as find_event_type
from everlog.service.discovery import read_event_types as list_event_types
from everlog.service.discovery import read_subjects as list_subjects
from everlog.service.discovery import subject_exists
from everlog.service.observe_events import HEARTBEAT
from everlog.service.observe_events import observe_events as observe
from everlog.service.read_events import read_events as read
from everlog.service.read_events import read_few_events as read_few
from everlog.service.read_events import scan_behind
from everlog.service.reader import AS_STORED
from everlog.service.register_event_schema import check_event_schema as check
from everlog.service.register_event_schema import register_event_schema as register
from everlog.service.run_eventql_query import run_eventql_query as run
from everlog.service.served_store import restore_in_progress
from everlog.service.write import CandidateText, parse_candidates
from everlog.service.writing.changes import Outcome
from everlog.storage.engine import Scan
from everlog.storage.line import LINE_PREFIX

# What most health checkers look at alone. A server that fails at something still answers.
_STATUSES: Final[Mapping[Status, int]] = {Status.PASS: 200, Status.WARN: 200, Status.FAIL: 503}


# A larger body of a write may take more than some ten milliseconds to read: a thread does that.
_SMALL_BODY_SIZE_MAX: Final = 64 * 1024

# Of a large body, events that are parsed between two looks at the time.
_EVENTS_PER_STEP: Final = 8

# A larger answer is read from the log, as far as its client takes it. Each event may have to be
# signed, which takes 50 microseconds.
_SMALL_ANSWER_EVENTS_MAX: Final = 256


class _Identified(msgspec.Struct):
    id: str


_decode_id = msgspec.json.Decoder(_Identified).decode


class Endpoints:
    """All endpoints, in one look."""

    def __init__(self, look: Look) -> None:
        self._look: Final = look

    def ping(self, services: Services, request: Request, exchange: Exchange) -> None:
        """Answer that the server is alive."""
        event = _api_event(services, request, PING_RECEIVED, PING_MESSAGE)
        exchange.respond(self._look.api_event.around(event))

    def verify_api_token(self, services: Services, request: Request, exchange: Exchange) -> None:
        """Answer that the token is valid; without a valid one nobody gets here."""
        self._verify(services, request, exchange, API_TOKEN_VERIFIED)

    def verify_token(self, services: Services, request: Request, exchange: Exchange) -> None:
        """Answer that the token is valid; without a valid one nobody gets here."""
        self._verify(services, request, exchange, TOKEN_VERIFIED)

    def write_events(self, services: Services, request: Request, exchange: Exchange) -> None:
        """Write events, all of them or none."""
        look = self._look
        if len(request.body) > _SMALL_BODY_SIZE_MAX:
            work = _write_large(look, services, request.body, exchange)
            services.tasks.start(exchange, work)
            return
        body = look.bodies.write_events(request.body)
        events: Sequence[CandidateText] = body.events or ()
        # As `_read_large`, with fewer calls: this runs for every write.
        store = services.served.current
        if store is None:
            raise restore_in_progress()
        try:
            candidates = parse_candidates(events, hash_version=store.writer.hash_version)
        except RefusedError as error:
            _check_raw_data(look, events, error)
            raise
        preconditions = preconditions_of(body) if body.preconditions else ()
        answer = partial(answer_write, look, services, exchange)
        task = services.write(store, candidates, preconditions, answer)
        if task is not None:
            services.tasks.tie(exchange, task)

    def read_events(self, services: Services, request: Request, exchange: Exchange) -> None:
        """Stream the events of a selection."""
        look = self._look
        selection = parse_read(look.bodies.read_events(request.body))
        # As `services.store`, with a call less.
        store = services.served.current
        if store is None:
            raise restore_in_progress()
        few = read_few(store, selection, transform=services.form.transform(look.events))
        if few is None:
            services.tasks.start_for(exchange, _read_many(look, services, selection, exchange))
        else:
            exchange.respond(look.lines(few))

    def observe_events(self, services: Services, request: Request, exchange: Exchange) -> None:
        """Stream the events of a selection, and those to come."""
        look = self._look
        selection = parse_observe(look.bodies.observe_events(request.body))
        store = services.store
        permit = store.observers.permits.acquire()
        # It may be released before it is its answer's turn.
        exchange.on_disconnect(permit.release)

        async def produce(stream: Stream) -> None:
            transform = services.form.transform(look.events)
            events = observe(store, selection, permit=permit, transform=transform)
            error = RefusedError(Code.SERVER_SHUTTING_DOWN, "the server is shutting down")
            try:
                async with aclosing(events) as blocks:
                    async for block in blocks:
                        if block is HEARTBEAT:
                            stream.send_nowait(look.heartbeat)
                        else:
                            sending = look.send(stream, block)
                            # While the client does not take it, it is kept once, in its last form.
                            del block
                            await sending
            except ReadFailedError as failure:
                services.count_refusal(failure)
                error = failure
            else:
                if store is not services.served.current:
                    # It was not the server that ended, but this store.
                    error = restore_in_progress()
            await stream.send(look.error(error))

        exchange.stream(200, NDJSON, produce)

    def run_eventql_query(self, services: Services, request: Request, exchange: Exchange) -> None:
        """Stream the rows of a query."""
        look = self._look
        text = look.bodies.run_eventql_query(request.body).query
        if not text:
            raise RefusedError(Code.QUERY_MISSING, "the query is missing", field="query")
        store = services.store
        permit = store.queries.permits.acquire()
        # It may be released before it is its answer's turn.
        exchange.on_disconnect(permit.release)

        async def produce(stream: Stream) -> None:
            rows = run(store, text, permit=permit, form=look.rows)
            try:
                async with aclosing(rows) as blocks:
                    async for block in blocks:
                        if block is None:
                            stream.send_nowait(look.heartbeat)
                        else:
                            await look.send(stream, block)
            except RefusedError as error:
                services.count_refusal(error)
                await stream.send(look.error(error))
            else:
                await stream.send(look.end)

        exchange.stream(200, NDJSON, produce)

    def read_subjects(self, services: Services, request: Request, exchange: Exchange) -> None:
        """Stream a subject, alone or with all below it."""
        look = self._look
        subject, is_recursive = look.bodies.read_subjects(request.body)
        if not is_recursive:
            found = [subject] if subject_exists(services.store, subject) else []
            exchange.respond(look.lines(look.subjects(found)))
            return

        async def produce(stream: Stream) -> None:
            try:
                async for subjects in list_subjects(services.store, subject):
                    await look.send(stream, look.subjects(subjects))
            except RefusedError as error:
                # It may be its answer's turn while a backup is restored.
                services.count_refusal(error)
                await stream.send(look.error(error))
            else:
                await stream.send(look.end)

        exchange.stream(200, NDJSON, produce)

    def read_event_types(self, services: Services, request: Request, exchange: Exchange) -> None:
        """List all event types."""
        look = self._look
        self._read_nothing(request)
        found = list_event_types(services.store)
        if isinstance(found, Sequence):
            exchange.respond(look.lines(look.event_types(found)))
            return

        async def produce(stream: Stream) -> None:
            async for event_types in found:
                await look.send(stream, look.event_types(event_types))
            await stream.send(look.end)

        exchange.stream(200, NDJSON, produce)

    def read_event_type(self, services: Services, request: Request, exchange: Exchange) -> None:
        """Describe one event type."""
        name = self._look.bodies.read_event_type(request.body)
        entry = find_event_type(services.store, name)
        exchange.respond(Response(200, self._look.event_type(entry), JSON))

    def register_event_schema(
        self, services: Services, request: Request, exchange: Exchange
    ) -> None:
        """Register a schema for an event type, for good."""
        look = self._look
        schema = look.bodies.register_event_schema(request.body)

        async def work() -> None:
            try:
                await register(services.store, schema)
            except (
                RefusedError,
                BusyError,
                DiskFullError,
                DiskBusyError,
                StoreFailedError,
            ) as error:
                look.refuse(services, exchange, error)
                return
            data = RegisteredSchema(schema.event_type, msgspec.Raw(schema.text.encode()))
            event = _api_event(services, request, EVENT_SCHEMA_REGISTERED, data)
            exchange.respond(look.registration.around(event))

        services.tasks.start(exchange, work())

    def check_event_schema(self, services: Services, request: Request, exchange: Exchange) -> None:
        """Tell whether a schema could be registered, and change nothing."""
        look = self._look
        schema = look.bodies.register_event_schema(request.body)

        async def work() -> None:
            try:
                count = await check(services.store, schema)
            except (RefusedError, BusyError) as error:
                look.refuse(services, exchange, error)
                return
            answer = CheckedSchema(schema.event_type, count)
            exchange.respond(Response(200, msgspec.json.encode(answer) + b"\n", JSON))

        services.tasks.start_for(exchange, work())

    def put_into_read_only_mode(
        self, services: Services, request: Request, exchange: Exchange
    ) -> None:
        """Refuse whatever would change the store, until the server is restarted."""
        self._read_nothing(request)

        def answer(_: Outcome) -> None:
            try:
                event = _api_event(services, request, READ_ONLY_MODE_ENABLED, READ_ONLY_MESSAGE)
                exchange.respond(self._look.api_event.around(event))
            except Exception:
                answer_bug(exchange)
                raise

        services.store.writer.become_read_only(answer)

    def diagnostics(self, services: Services, request: Request, exchange: Exchange) -> None:
        """Tell what the server is, what it runs on, and how it was told to run."""
        self._read_nothing(request)
        exchange.respond(Response(200, self._look.diagnostics(services.describe()), JSON))

    def _read_nothing(self, request: Request) -> None:
        if request.body.strip():
            self._look.bodies.nothing(request.body)

    def _verify(
        self, services: Services, request: Request, exchange: Exchange, event_type: str
    ) -> None:
        self._read_nothing(request)
        event = _api_event(services, request, event_type, TOKEN_MESSAGE)
        exchange.respond(self._look.api_event.around(event))


def answer_write(look: Look, services: Services, exchange: Exchange, outcome: Outcome) -> None:
    """Answer a write; if that meets a bug, the client is told before others hear of it."""
    try:
        if not isinstance(outcome, Exception):
            written = look.written
            events = written.separator.join(map(services.form.event, outcome))
            body = written.opening + events + written.closing
            exchange.respond(Response(200, body, written.content_type))
        elif isinstance(outcome, Failure):
            look.refuse(services, exchange, outcome)
        else:
            raise outcome  # noqa: TRY301 - a bug like any other that is met here.
    except Exception:
        answer_bug(exchange)
        raise


async def _write_large(look: Look, services: Services, body: bytes, exchange: Exchange) -> None:
    """Write what takes long to read, and answer with what the log holds then."""
    store = services.store
    try:
        # One after the other: what is made of a body takes several times its memory.
        async with services.large_bodies:
            if _is_gone(exchange):
                return
            read = partial(_read_large, look, body, store.writer.hash_version)
            candidates, preconditions = await store.reader.call(read)
    except (RefusedError, MalformedRequestError) as error:
        look.refuse(services, exchange, error)
        return
    del body, read
    if _is_gone(exchange):
        return
    answered: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    task = services.write(store, candidates, preconditions, answered.set_result)
    del candidates
    if task is not None:
        services.tasks.tie(exchange, task)
        await asyncio.wait({task})
        if task.cancelled():
            return
    outcome = await answered
    if isinstance(outcome, Exception) or len(outcome) <= _SMALL_ANSWER_EVENTS_MAX:
        answer_write(look, services, exchange, outcome)
        return
    first = int(_decode_id(outcome[0].json).id)
    if store.engine.head.event_count < first + len(outcome):
        # They stand in the journal, and the disk here could not take them.
        answer_write(look, services, exchange, outcome)
        return
    _answer_from_log(look, services, exchange, Scan(start=first, stop=first + len(outcome)))


def _is_gone(exchange: Exchange) -> bool:
    return exchange.is_disconnected


def _read_large(
    look: Look, body: bytes, hash_version: HashVersion
) -> tuple[list[EventCandidate], Sequence[Precondition]]:
    found = read_in_parts(look.bodies.write_events, body)
    events: Sequence[CandidateText] = found.events or ()
    candidates: list[EventCandidate] = []
    rests = Rests()
    try:
        for first in range(0, len(events) or 1, _EVENTS_PER_STEP):
            step = events[first : first + _EVENTS_PER_STEP]
            candidates += parse_candidates(step, hash_version=hash_version, first=first)
            rests.take_if_due()
    except RefusedError as error:
        _check_raw_data(look, events, error)
        raise
    return candidates, preconditions_of(found) if found.preconditions else ()


def _answer_from_log(look: Look, services: Services, exchange: Exchange, scan: Scan) -> None:
    """Answer with events as they were written, at the pace of the client."""
    store, written = services.store, look.written
    following = partial(scan_behind, store, scan, store.engine.head)

    async def produce(stream: Stream) -> None:
        before = written.opening
        transform = services.form.transform(AS_STORED)
        try:
            async for lines in store.reader.fetch_blocks(following, transform):
                events = [line[len(LINE_PREFIX) : line.rindex(b"}")] for line in lines.splitlines()]
                await stream.send(before + written.separator.join(events))
                before = written.separator
        except ReadFailedError as error:
            # All is stored, which no error could say: without its end, it is seen to be no answer.
            services.count_refusal(error)
        else:
            await stream.send(written.closing)

    exchange.stream(200, written.content_type, produce)


def health(services: Services, request: Request, exchange: Exchange) -> None:
    """Tell how well the server is, as a health document or as metrics."""
    render = _find_form(request.head.query)

    async def work() -> None:
        exchange.respond(render(await services.monitor.read()))

    services.tasks.start_for(exchange, work())


def _render_health(figures: Figures) -> Response:
    status, document = describe_health(figures)
    return Response(_STATUSES[status], msgspec.json.encode(document), HEALTH)


def _render_metrics(figures: Figures) -> Response:
    # A server that fails at something is still measured: the metrics say what it fails at.
    return Response(200, render_metrics(figures), OPENMETRICS)


# The forms of health by the value of `format`; the first one is the default.
FORMS: Final[Mapping[str, Callable[[Figures], Response]]] = {
    "rfc": _render_health,
    "openmetrics": _render_metrics,
}


def _find_form(query: str) -> Callable[[Figures], Response]:
    values = [value for name, value in parse_qsl(query, keep_blank_values=True) if name == "format"]
    if not values:
        return next(iter(FORMS.values()))
    form = FORMS.get(values[0]) if len(values) == 1 else None
    if form is None:
        known = " or ".join(FORMS)
        raise MalformedRequestError(f"format must be {known}, not '{', '.join(values)}'")
    return form


async def _read_many(
    look: Look, services: Services, selection: Selection, exchange: Exchange
) -> None:
    transform = services.form.transform(look.events)
    try:
        found = await read(services.store, selection, transform=transform)
    except RefusedError as error:
        look.refuse(services, exchange, error)
        return
    if isinstance(found, bytes):
        exchange.respond(look.lines(found))
        return
    blocks = found

    async def produce(stream: Stream) -> None:
        try:
            async for block in blocks:
                sending = look.send(stream, block)
                # While the client does not take it, it is kept once, in its last form.
                del block
                await sending
        except ReadFailedError as error:
            services.count_refusal(error)
            await stream.send(look.error(error))
        else:
            await stream.send(look.end)

    exchange.stream(200, NDJSON, produce)


def _check_raw_data(look: Look, events: Sequence[CandidateText], error: RefusedError) -> None:
    # The decoder leaves data as it is, so that what is no object in its place is seen here only.
    if error.code is not Code.DATA_MALFORMED:
        return
    for index, event in enumerate(events):
        if event.data:
            look.bodies.check_raw(event.data, f"$.events[{index}].data")


def _api_event(
    services: Services, request: Request, event_type: str, data: msgspec.Struct
) -> bytes:
    return render_api_event(
        time=services.now(), subject=request.head.path, event_type=event_type, data=data
    )
