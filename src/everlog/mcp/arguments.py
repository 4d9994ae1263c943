"""What the tools take: the names and values of the HTTP API, and a limit.

Whatever a model makes up is refused by name: an argument that was passed over would look as if it
had been heard.
"""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from everlog.library.values import (
    Bound,
    FromLatestEvent,
    IsEventQlQueryTrue,
    IsSubjectOnEventId,
    IsSubjectPopulated,
    IsSubjectPristine,
    NewEvent,
    Precondition,
)

JsonSchema = dict[str, Any]

Subject = Annotated[str, Meta(description="A path such as `/books/42`; `/` is above all others.")]
TypeName = Annotated[
    str, Meta(description="A reverse domain name, such as `com.example.book-acquired`.")
]
EventId = Annotated[
    str, Meta(description="A decimal number as a string: the first event of the store has `0`.")
]
Limit = Annotated[int, Meta(ge=1, description="How many to return at most.")]


class Arguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """What all arguments have in common."""


class Nothing(Arguments, frozen=True):
    """Of a tool that takes none."""


class BoundArguments(Arguments, frozen=True):
    """An end of a range of event ids."""

    id: EventId
    type: Literal["inclusive", "exclusive"]


class FromLatestEventArguments(Arguments, frozen=True):
    """Begin with the latest event of a type on exactly one subject."""

    subject: Subject
    type: TypeName
    if_event_is_missing: Literal["read-nothing", "read-everything"]


class ReadEvents(Arguments, frozen=True):
    """Which events are read, in which order, and how many."""

    subject: Subject
    recursive: Annotated[
        bool, Meta(description="Whether those below the subject are read too.")
    ] = False
    order: Literal["chronological", "antichronological"] = "chronological"
    lower_bound: BoundArguments | UnsetType = UNSET
    upper_bound: BoundArguments | UnsetType = UNSET
    from_latest_event: FromLatestEventArguments | UnsetType = UNSET
    limit: Limit = 100


class RunEventQlQuery(Arguments, frozen=True):
    """A query."""

    query: Annotated[str, Meta(description="A query in EventQL.")]
    limit: Limit = 100


class ReadSubjects(Arguments, frozen=True):
    """Below which subject."""

    base_subject: Subject = "/"
    limit: Limit = 100


class ReadEventTypes(Arguments, frozen=True):
    """How many."""

    limit: Limit = 100


class ReadEventType(Arguments, frozen=True):
    """Which one."""

    event_type: TypeName


class EventCandidate(Arguments, frozen=True):
    """An event to be written."""

    source: Annotated[
        str, Meta(description="A URI that names who writes, such as `https://library.example`.")
    ]
    subject: Subject
    type: TypeName
    data: Annotated[dict[str, Any], Meta(description="What happened: a JSON object.")]
    traceparent: str | UnsetType = UNSET
    tracestate: str | UnsetType = UNSET


class PreconditionPayload(Arguments, frozen=True):
    """What a precondition is about: a query of the last kind, a subject of all others."""

    subject: Subject | UnsetType = UNSET
    event_id: EventId | UnsetType = UNSET
    query: str | UnsetType = UNSET


class PreconditionArguments(Arguments, frozen=True):
    """What must hold for the write to take place."""

    type: Literal[
        "isSubjectPristine", "isSubjectPopulated", "isSubjectOnEventId", "isEventQlQueryTrue"
    ]
    payload: PreconditionPayload


class WriteEvents(Arguments, frozen=True):
    """Events to be written together, or not at all."""

    events: Annotated[list[EventCandidate], Meta(min_length=1)]
    preconditions: list[PreconditionArguments] = msgspec.field(default_factory=list)


class RegisterEventSchema(Arguments, frozen=True):
    """A schema for all events of a type."""

    event_type: TypeName
    schema: Annotated[dict[str, Any], Meta(description="A JSON Schema of type `object`.")]


def as_bound(given: BoundArguments | UnsetType) -> Bound | None:
    """Return a bound as the library has it."""
    return None if given is UNSET else Bound(given.id, given.type)


def as_latest_event(given: FromLatestEventArguments | UnsetType) -> FromLatestEvent | None:
    """Return from which event reading begins, as the library has it."""
    if given is UNSET:
        return None
    return FromLatestEvent(given.subject, given.type, given.if_event_is_missing)


def as_new_event(given: EventCandidate) -> NewEvent:
    """Return an event as the library has it."""
    return NewEvent(
        given.source,
        given.subject,
        given.type,
        given.data,
        traceparent=None if given.traceparent is UNSET else given.traceparent,
        tracestate=None if given.tracestate is UNSET else given.tracestate,
    )


def as_precondition(given: PreconditionArguments) -> Precondition:
    """Return a precondition as the library has it.

    Raises:
        msgspec.ValidationError: Its payload lacks what its type needs, or has more than that.
    """
    make, names = _PRECONDITIONS[given.type]
    payload = given.payload
    found = {name: getattr(payload, name) for name in payload.__struct_fields__}
    present = [name for name, value in found.items() if value is not UNSET]
    if present != [*names]:
        wanted = " and ".join(_wire_name(name) for name in names)
        raise msgspec.ValidationError(f"the payload of {given.type} has to have {wanted} alone")
    precondition: Precondition = make(*(found[name] for name in names))
    return precondition


_PRECONDITIONS: Final[dict[str, tuple[Any, tuple[str, ...]]]] = {
    "isSubjectPristine": (IsSubjectPristine, ("subject",)),
    "isSubjectPopulated": (IsSubjectPopulated, ("subject",)),
    "isSubjectOnEventId": (IsSubjectOnEventId, ("subject", "event_id")),
    "isEventQlQueryTrue": (IsEventQlQueryTrue, ("query",)),
}


def _wire_name(name: str) -> str:
    return "eventId" if name == "event_id" else name


def schema_of(arguments: type[Arguments]) -> JsonSchema:
    """Return the JSON Schema of arguments, all in one: not every client follows references."""
    _, parts = msgspec.json.schema_components([arguments], ref_template="{name}")

    def inlined(value: Any) -> Any:
        if isinstance(value, list):
            return [inlined(member) for member in value]
        if not isinstance(value, dict):
            return value
        if "$ref" in value:
            return inlined(
                {**parts[value["$ref"]], **{k: v for k, v in value.items() if k != "$ref"}}
            )
        return {name: inlined(member) for name, member in value.items() if name != "title"}

    schema: JsonSchema = inlined(parts[arguments.__name__])
    return schema
