"""The request bodies of version 1.

Every member may be left out or be null as far as JSON goes; what must be there is a question of
values, which the domain answers (null in the place of raw JSON is judged there too). What was left
out is UNSET, so that a struct has as many members as the body (`api.bodies`).
Names match in any case, see `api.bodies`.
"""

import msgspec
from msgspec import UNSET, UnsetType


class _Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", gc=False):
    """What all bodies have in common."""


class EventCandidate(_Body, frozen=True, rename=None):
    """An event to be written."""

    source: str | UnsetType | None = UNSET
    subject: str | UnsetType | None = UNSET
    type: str | UnsetType | None = UNSET
    data: msgspec.Raw | UnsetType = UNSET
    traceparent: str | UnsetType | None = UNSET
    tracestate: str | UnsetType | None = UNSET


class PreconditionPayload(_Body, frozen=True):
    """What a precondition is about."""

    subject: str | UnsetType | None = UNSET
    event_id: str | UnsetType | None = UNSET
    query: str | UnsetType | None = UNSET


class Precondition(_Body, frozen=True):
    """What must hold for the write to take place."""

    type: str | UnsetType | None = UNSET
    payload: PreconditionPayload | UnsetType | None = UNSET


class WriteEvents(_Body, frozen=True):
    """Events to be written together, or not at all."""

    events: list[EventCandidate] | UnsetType | None = UNSET
    preconditions: list[Precondition] | UnsetType | None = UNSET


class Bound(_Body, frozen=True):
    """An end of a range of event ids."""

    id: str | UnsetType | None = UNSET
    type: str | UnsetType | None = UNSET


class FromLatestEvent(_Body, frozen=True):
    """Start from the latest event of a type on a subject."""

    subject: str | UnsetType | None = UNSET
    type: str | UnsetType | None = UNSET
    if_event_is_missing: str | UnsetType | None = UNSET


class ReadOptions(_Body, frozen=True):
    """Which events to read, and in which order."""

    recursive: bool | UnsetType | None = UNSET
    order: str | UnsetType | None = UNSET
    lower_bound: Bound | UnsetType | None = UNSET
    upper_bound: Bound | UnsetType | None = UNSET
    from_latest_event: FromLatestEvent | UnsetType | None = UNSET


class ReadEvents(_Body, frozen=True):
    """Events of a subject."""

    subject: str | UnsetType | None = UNSET
    options: ReadOptions | UnsetType | None = UNSET


class ObserveOptions(_Body, frozen=True):
    """Which events to observe."""

    recursive: bool | UnsetType | None = UNSET
    lower_bound: Bound | UnsetType | None = UNSET
    from_latest_event: FromLatestEvent | UnsetType | None = UNSET


class ObserveEvents(_Body, frozen=True):
    """Events of a subject, stored and to come."""

    subject: str | UnsetType | None = UNSET
    options: ObserveOptions | UnsetType | None = UNSET


class ReadSubjects(_Body, frozen=True):
    """A subject and all below it."""

    base_subject: str | UnsetType | None = UNSET


class ReadEventType(_Body, frozen=True):
    """An event type by name."""

    event_type: str | UnsetType | None = UNSET


class RegisterEventSchema(_Body, frozen=True):
    """A schema for all events of a type."""

    event_type: str | UnsetType | None = UNSET
    schema: msgspec.Raw | UnsetType = UNSET


class RunEventQlQuery(_Body, frozen=True):
    """A query."""

    query: str | UnsetType | None = UNSET


class AuditHistory(_Body, frozen=True):
    """The last event of an earlier audit."""

    latest_event_id: str | UnsetType | None = UNSET
    latest_event_hash: str | UnsetType | None = UNSET


class Nothing(_Body, frozen=True):
    """A body without members, for endpoints that take none."""
