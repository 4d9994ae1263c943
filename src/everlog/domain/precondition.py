"""Preconditions: what must hold about the log for a write to take place.

A precondition is judged against the events before the write, never against those of the write.
What is left to others: judging it in the same step as the write, so that nothing can come
between (service), finding out about subjects (storage, as `SubjectState`), and queries (eventql).
"""

from typing import Final, Protocol, assert_never

import msgspec

from everlog.domain.errors import Code, RefusedError
from everlog.domain.selection import parse_event_id
from everlog.domain.subject import parse_subject


class IsSubjectPristine(msgspec.Struct, frozen=True, kw_only=True, tag=True, array_like=True):
    """The subject has no event."""

    subject: str
    recursive: bool


class IsSubjectPopulated(msgspec.Struct, frozen=True, kw_only=True, tag=True, array_like=True):
    """The subject has at least one event."""

    subject: str
    recursive: bool


class IsSubjectOnEventId(msgspec.Struct, frozen=True, kw_only=True, tag=True, array_like=True):
    """The latest event of the subject has this id."""

    subject: str
    event_id: int
    recursive: bool


class IsEventQlQueryTrue(msgspec.Struct, frozen=True, kw_only=True, tag=True, array_like=True):
    """The query has one row, and that is TRUE; whether it is a query at all is not known here."""

    query: str


_TYPES: Final = (
    "isSubjectPristine",
    "isSubjectPopulated",
    "isSubjectOnEventId",
    "isEventQlQueryTrue",
)
_QUOTED_LENGTH_MAX: Final = 100

# What can be judged by looking at subjects.
SubjectPrecondition = IsSubjectPristine | IsSubjectPopulated | IsSubjectOnEventId

Precondition = SubjectPrecondition | IsEventQlQueryTrue


class PreconditionPayloadText(msgspec.Struct, frozen=True):
    """The payload of a precondition as it was sent, of whatever type it may be."""

    subject: str | None
    event_id: str | None
    # None where there are no options at all.
    recursive: bool | None
    query: str | None


class PreconditionText(msgspec.Struct, frozen=True):
    """A precondition as it was sent."""

    type: str | None
    payload: PreconditionPayloadText | None


class SubjectState(Protocol):
    """What the log knows about subjects; recursive includes everything below."""

    def has_events(self, subject: str, *, recursive: bool) -> bool:
        """Tell whether there is at least one event."""
        ...

    def latest_position(self, subject: str, *, recursive: bool) -> int | None:
        """Return the position of the latest event, None if there is none."""
        ...


def parse_precondition(text: PreconditionText, *, index: int) -> Precondition:
    """Return the precondition; `index` is its place in the request."""
    try:
        return _parse(text, path=f"preconditions[{index}]")
    except RefusedError as error:
        raise RefusedError(
            error.code, error.message, **error.details, preconditionIndex=index
        ) from None


def holds(precondition: SubjectPrecondition, state: SubjectState) -> bool:
    """Tell whether a precondition about a subject is met."""
    match precondition:
        case IsSubjectPristine(subject=subject, recursive=recursive):
            return not state.has_events(subject, recursive=recursive)
        case IsSubjectPopulated(subject=subject, recursive=recursive):
            return state.has_events(subject, recursive=recursive)
        case IsSubjectOnEventId(subject=subject, event_id=event_id, recursive=recursive):
            return state.latest_position(subject, recursive=recursive) == event_id
        case _:
            assert_never(precondition)


def _parse(text: PreconditionText, *, path: str) -> Precondition:
    type_ = _check_type(text.type, field=f"{path}.type")
    payload = text.payload
    if payload is None:
        raise RefusedError(
            Code.PAYLOAD_MISSING,
            "the payload of the precondition is missing",
            field=f"{path}.payload",
        )
    if type_ == "isEventQlQueryTrue":
        return _parse_query(payload, path=path)
    subject = parse_subject(payload.subject, field=f"{path}.payload.subject")
    recursive = bool(payload.recursive)
    if type_ == "isSubjectOnEventId":
        event_id = parse_event_id(payload.event_id, field=f"{path}.payload.eventId")
        _check_absent("query", payload.query, type_, path=path)
        return IsSubjectOnEventId(subject=subject, event_id=event_id, recursive=recursive)
    _check_absent("eventId", payload.event_id, type_, path=path)
    _check_absent("query", payload.query, type_, path=path)
    if type_ == "isSubjectPristine":
        return IsSubjectPristine(subject=subject, recursive=recursive)
    return IsSubjectPopulated(subject=subject, recursive=recursive)


def _parse_query(payload: PreconditionPayloadText, *, path: str) -> IsEventQlQueryTrue:
    type_ = "isEventQlQueryTrue"
    _check_absent("subject", payload.subject, type_, path=path)
    _check_absent("eventId", payload.event_id, type_, path=path)
    _check_absent("options", payload.recursive, type_, path=path)
    if not payload.query:
        raise RefusedError(
            Code.QUERY_MISSING, "the query is missing", field=f"{path}.payload.query"
        )
    return IsEventQlQueryTrue(query=payload.query)


def _check_type(text: str | None, *, field: str) -> str:
    if not text:
        raise RefusedError(
            Code.PRECONDITION_TYPE_MISSING,
            "the type of the precondition is missing",
            field=field,
        )
    if text not in _TYPES:
        raise RefusedError(
            Code.PRECONDITION_UNKNOWN,
            f"unknown precondition type '{text[:_QUOTED_LENGTH_MAX]}': "
            f"type must be one of {', '.join(_TYPES)}",
            field=field,
        )
    return text


def _check_absent(name: str, value: object, type_: str, *, path: str) -> None:
    # Whoever sends it means something by it; to ignore it would check less than was asked for.
    if value is not None:
        raise RefusedError(
            Code.PRECONDITION_UNKNOWN,
            f"preconditions of type '{type_}' have no '{name}'",
            field=f"{path}.payload.{name}",
        )
