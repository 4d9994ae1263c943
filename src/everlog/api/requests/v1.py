"""The request bodies of version 1.

Every member may be left out or be null as far as JSON goes; what must be there is a question of
values, which the domain answers (null in the place of raw JSON is judged there too).
Names match in any case, see `api.bodies`.
"""

import msgspec
from msgspec import UNSET, UnsetType


class _Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", gc=False):
    """What all bodies have in common."""


class EventCandidate(_Body, frozen=True, rename=None):
    """An event to be written."""

    source: str | None = None
    subject: str | None = None
    type: str | None = None
    data: msgspec.Raw | UnsetType = UNSET
    traceparent: str | None = None
    tracestate: str | None = None


class PreconditionPayload(_Body, frozen=True):
    """What a precondition is about."""

    subject: str | None = None
    event_id: str | None = None
    query: str | None = None


class Precondition(_Body, frozen=True):
    """What must hold for the write to take place."""

    type: str | None = None
    payload: PreconditionPayload | None = None


class WriteEvents(_Body, frozen=True):
    """Events to be written together, or not at all."""

    events: list[EventCandidate] | None = None
    preconditions: list[Precondition] | None = None


class Bound(_Body, frozen=True):
    """An end of a range of event ids."""

    id: str | None = None
    type: str | None = None


class FromLatestEvent(_Body, frozen=True):
    """Start from the latest event of a type on a subject."""

    subject: str | None = None
    type: str | None = None
    if_event_is_missing: str | None = None


class ReadOptions(_Body, frozen=True):
    """Which events to read, and in which order."""

    recursive: bool | None = None
    order: str | None = None
    lower_bound: Bound | None = None
    upper_bound: Bound | None = None
    from_latest_event: FromLatestEvent | None = None


class ReadEvents(_Body, frozen=True):
    """Events of a subject."""

    subject: str | None = None
    options: ReadOptions | None = None


class ObserveOptions(_Body, frozen=True):
    """Which events to observe."""

    recursive: bool | None = None
    lower_bound: Bound | None = None
    from_latest_event: FromLatestEvent | None = None


class ObserveEvents(_Body, frozen=True):
    """Events of a subject, stored and to come."""

    subject: str | None = None
    options: ObserveOptions | None = None


class ReadSubjects(_Body, frozen=True):
    """A subject and all below it."""

    base_subject: str | None = None


class ReadEventType(_Body, frozen=True):
    """An event type by name."""

    event_type: str | None = None


class RegisterEventSchema(_Body, frozen=True):
    """A schema for all events of a type."""

    event_type: str | None = None
    schema: msgspec.Raw | UnsetType = UNSET


class RunEventQlQuery(_Body, frozen=True):
    """A query."""

    query: str | None = None


class Nothing(_Body, frozen=True):
    """A body without members, for endpoints that take none."""
