"""The tools: what each does with a store, and what it gives back.

Their names are those of EventSourcingDB's MCP server. Guarantees that no answer has more items or
bytes than the limits say, that reading ends when its time is over, and that an answer which was cut
says so, and how to go on. Nothing that a tool returns or raises holds a token.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from everlog.domain.errors import BusyError, EverlogError, RefusedError
from everlog.library.errors import UnauthorizedError, UnreachableError
from everlog.library.outcome import OutcomeUnknownError
from everlog.library.store import Store
from everlog.library.values import EventType
from everlog.mcp.arguments import (
    Arguments,
    Nothing,
    ReadEvents,
    ReadEventType,
    ReadEventTypes,
    ReadSubjects,
    RegisterEventSchema,
    RunEventQlQuery,
    WriteEvents,
    as_bound,
    as_latest_event,
    as_new_event,
    as_precondition,
)

Json = dict[str, Any]

_T = TypeVar("_T")

_encode: Final = msgspec.json.encode


class Limits(NamedTuple):
    """How much one call reads at most."""

    # Events, rows, subjects or event types.
    items_max: int = 1_000
    # As JSON.
    bytes_max: int = 256 * 1024
    seconds_max: float = 30.0


class Call(NamedTuple):
    """What a tool works with: the store, and how much it may read."""

    store: Store
    limits: Limits
    # Whether there is a server that a token was given to.
    has_token: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Tool:
    """A tool: what a client is told of it, and what it does."""

    name: str
    title: str
    description: str
    arguments: type[Arguments]
    run: Callable[[Call, Any], Json]
    is_writing: bool = False


class Page(NamedTuple):
    """The beginning of what there is, as JSON; why it was cut, or None if that is all."""

    items: list[msgspec.Raw]
    cut: str | None


def _take(batches: Iterable[Sequence[bytes]], limit: int, limits: Limits) -> Page:
    """Return as many items as there may be, and read no further than to see whether there is more.

    The batches are given up then; while they come without end, or with nothing in them, it is still
    noticed that the time is over.
    """
    deadline = time.monotonic() + limits.seconds_max
    count_max = min(limit, limits.items_max)
    items: list[msgspec.Raw] = []
    size = 0
    for batch in batches:
        for item in batch:
            if len(items) == count_max:
                return Page(items, f"there are more than {count_max}, which is the limit")
            size += len(item)
            if size > limits.bytes_max:
                return Page(items, _too_large(item, items, limits))
            items.append(msgspec.Raw(item))
        if time.monotonic() > deadline:
            return Page(items, f"it took longer than {limits.seconds_max:g} seconds")
    return Page(items, None)


def _too_large(item: bytes, items: list[msgspec.Raw], limits: Limits) -> str:
    if items:
        return f"more than these have over {limits.bytes_max} bytes, which is the limit"
    return f"the first alone has {len(item)} bytes, and the limit is {limits.bytes_max}"


def _answer(name: str, page: Page, how_to_go_on: str) -> Json:
    """Return what a client is given: what was cut is said before what is there."""
    cut = {} if page.cut is None else {"notice": f"Cut: {page.cut}. {how_to_go_on}"}
    return {"isComplete": page.cut is None, **cut, "count": len(page.items), name: page.items}


def _one_by_one(values: Iterator[_T], encode: Callable[[_T], bytes]) -> Iterator[Sequence[bytes]]:
    for value in values:
        yield (encode(value),)


# What they do.


def _ping(call: Call, _: Nothing) -> Json:
    call.store.ping()
    return {"message": "The store can be asked."}


def _verify_api_token(call: Call, _: Nothing) -> Json:
    if not call.has_token:
        return {"message": "There is no token: a data directory is read, without a server."}
    # Whatever asks for it tells; this reads no events.
    call.store.health()
    return {"message": "The server takes the token."}


def _read_events(call: Call, given: ReadEvents) -> Json:
    events = call.store.read(
        given.subject,
        recursive=given.recursive,
        order=given.order,
        lower_bound=as_bound(given.lower_bound),
        upper_bound=as_bound(given.upper_bound),
        from_latest_event=as_latest_event(given.from_latest_event),
    )
    batches = ([event.to_json() for event in batch] for batch in events.batches())
    page = _take(batches, given.limit, call.limits)
    return _answer("events", page, _behind_the_last(given, page.items))


class _Identified(msgspec.Struct):
    id: str


def _behind_the_last(given: ReadEvents, items: list[msgspec.Raw]) -> str:
    if not items:
        return "Name a subject further down, or other bounds."
    last = msgspec.json.decode(items[-1], type=_Identified)
    name = "lowerBound" if given.order == "chronological" else "upperBound"
    place = " in place of fromLatestEvent" if given.from_latest_event else ""
    return f'To go on, ask the same with {name} {{"id":"{last.id}","type":"exclusive"}}{place}.'


def _run_eventql_query(call: Call, given: RunEventQlQuery) -> Json:
    page = _take(call.store.query(given.query).batches(), given.limit, call.limits)
    on = (
        "Let the query do more: WHERE, GROUP BY and COUNT(), TOP and SKIP, or a smaller projection."
    )
    return _answer("rows", page, on)


def _read_subjects(call: Call, given: ReadSubjects) -> Json:
    batches = _one_by_one(call.store.subjects(given.base_subject), _encode)
    page = _take(batches, given.limit, call.limits)
    return _answer("subjects", page, "Name a baseSubject further down, or a larger limit.")


def _read_event_types(call: Call, given: ReadEventTypes) -> Json:
    batches = _one_by_one(call.store.event_types(), _encode_event_type)
    page = _take(batches, given.limit, call.limits)
    return _answer("eventTypes", page, "A larger limit shows more; read the others by their names.")


def _read_event_type(call: Call, given: ReadEventType) -> Json:
    found = _encode_event_type(call.store.event_type(given.event_type))
    return {"eventType": msgspec.Raw(found)}


def _encode_event_type(found: EventType) -> bytes:
    schema = {} if found.schema is None else {"schema": found.schema}
    return _encode({"type": found.name, "hasEvents": found.has_events, **schema})


def _write_events(call: Call, given: WriteEvents) -> Json:
    written = call.store.write(
        [as_new_event(event) for event in given.events],
        [as_precondition(precondition) for precondition in given.preconditions],
    )
    return {
        "count": len(written),
        # The caller knows what it sent.
        "events": [
            {"id": event.id, "time": event.time, "subject": event.subject, "hash": event.hash}
            for event in written
        ],
    }


def _register_event_schema(call: Call, given: RegisterEventSchema) -> Json:
    call.store.register_event_schema(given.event_type, given.schema)
    return {
        "message": f"Events of the type {given.event_type} have to match the schema from now on."
    }


_EVENTQL: Final = """\
Returns the rows of a query in EventQL, which reads events and changes nothing. Examples:
FROM e IN events WHERE e.type == 'com.example.book-borrowed' PROJECT INTO COUNT()
FROM e IN events GROUP BY e.type PROJECT INTO { type: e.type, count: COUNT() }
FROM e IN events WHERE e.subject == '/books/42' ORDER BY e.time DESC TOP 10 \
PROJECT INTO { id: e.id, title: e.data.title }
Clauses come in this order: FROM, WHERE, GROUP BY, HAVING, ORDER BY, SKIP, TOP, PROJECT INTO. An \
event has id, time, source, subject, type and data. Counting in the query is better than reading \
many events."""

TOOLS: Final[Mapping[str, Tool]] = {
    tool.name: tool
    for tool in (
        Tool(
            name="esdb_ping",
            title="Ping",
            description="Tells whether the event store can be asked.",
            arguments=Nothing,
            run=_ping,
        ),
        Tool(
            name="esdb_verify_api_token",
            title="Verify the API token",
            description="Tells whether the event store takes the token that this server was given.",
            arguments=Nothing,
            run=_verify_api_token,
        ),
        Tool(
            name="esdb_read_events",
            title="Read events",
            description=(
                "Returns the events of a subject, or of it and all below it with recursive, from "
                "the oldest on, or from the newest with order antichronological. Use "
                "esdb_run_eventql_query to filter, count or group."
            ),
            arguments=ReadEvents,
            run=_read_events,
        ),
        Tool(
            name="esdb_run_eventql_query",
            title="Run an EventQL query",
            description=_EVENTQL,
            arguments=RunEventQlQuery,
            run=_run_eventql_query,
        ),
        Tool(
            name="esdb_read_subjects",
            title="Read subjects",
            description=(
                "Returns a subject and all below it, as paths: what things the store knows of."
            ),
            arguments=ReadSubjects,
            run=_read_subjects,
        ),
        Tool(
            name="esdb_read_event_types",
            title="Read event types",
            description=(
                "Returns the types of all events, and their JSON schemas: what can have happened."
            ),
            arguments=ReadEventTypes,
            run=_read_event_types,
        ),
        Tool(
            name="esdb_read_event_type",
            title="Read an event type",
            description="Returns one event type, and its JSON schema if it has one.",
            arguments=ReadEventType,
            run=_read_event_type,
        ),
        Tool(
            name="esdb_write_events",
            title="Write events",
            description=(
                "Writes events, all or none, for good: nothing that was written can be changed or "
                "removed. Each precondition has to hold, or nothing is written: isSubjectPristine "
                "and isSubjectPopulated take a subject, isSubjectOnEventId a subject and the "
                "eventId of its latest event, isEventQlQueryTrue a query whose one row is true."
            ),
            arguments=WriteEvents,
            run=_write_events,
            is_writing=True,
        ),
        Tool(
            name="esdb_register_event_schema",
            title="Register an event schema",
            description=(
                "Registers the JSON schema that all events of a type have to match, for good. "
                "Those that are stored already have to match it too."
            ),
            arguments=RegisterEventSchema,
            run=_register_event_schema,
            is_writing=True,
        ),
    )
}


class ToolFailedError(Exception):
    """What a client is told instead of an answer."""

    def __init__(self, code: str, message: str, **details: object) -> None:
        super().__init__(message)
        self.answer: Final[Json] = {
            "error": {"code": code, "message": message, **({"details": details} if details else {})}
        }


def run_tool(name: str, arguments: Mapping[str, Any], call: Call, *, may_write: bool) -> Json:
    """Return what a tool gives back, with items as JSON text; it may be called by any thread.

    Raises:
        ToolFailedError: There is none, it may not be called, its arguments are wrong, or the store
            refuses.
    """
    tool = TOOLS.get(name)
    if tool is None:
        raise ToolFailedError("tool-unknown", f"there is no tool {name!r}")
    if tool.is_writing and not may_write:
        raise ToolFailedError(
            "writing-not-allowed", "this server only reads: it was started without --allow-writes"
        )
    try:
        return tool.run(call, msgspec.convert(arguments, tool.arguments))
    except msgspec.ValidationError as error:
        raise ToolFailedError("arguments-malformed", str(error)) from error
    except EverlogError as error:
        raise _failure_of(error) from error


def _failure_of(error: EverlogError) -> ToolFailedError:
    if isinstance(error, RefusedError):
        return ToolFailedError(error.code.value, error.message, **error.details)
    code = next((code for kind, code in _CODES if isinstance(error, kind)), "failed")
    return ToolFailedError(code, str(error))


_CODES: Final = (
    (BusyError, "busy"),
    (UnauthorizedError, "unauthorized"),
    (UnreachableError, "unreachable"),
    (OutcomeUnknownError, "outcome-unknown"),
)
