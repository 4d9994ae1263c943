"""The request bodies of version 2.

Unknown members and null are faults of the body; a member that is left out is a question of
values, which the domain answers with a code. What was left out is UNSET, so that a struct has as
many members as the body (`api.bodies`).
"""

from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType

from everlog.domain.limits import CHILD_SUBJECTS_MAX

# More than there can be: nodes are numbered in 32 bits.
SUBJECT_COUNT_MAX: Final = 2**32


class _Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", gc=False):
    """What all bodies have in common."""


class EventCandidate(_Body, frozen=True, rename=None):
    """An event to be written."""

    source: str | UnsetType = UNSET
    subject: str | UnsetType = UNSET
    type: str | UnsetType = UNSET
    data: msgspec.Raw | UnsetType = UNSET
    traceparent: str | UnsetType = UNSET
    tracestate: str | UnsetType = UNSET


class RecursiveOptions(_Body, frozen=True):
    """Whether a subject stands for itself or for all below it too."""

    recursive: bool


class PreconditionOptions(_Body, frozen=True):
    """Whether a precondition is about a subject alone or about all below it too."""

    recursive: bool | UnsetType = UNSET


class PreconditionPayload(_Body, frozen=True):
    """What a precondition is about."""

    subject: str | UnsetType = UNSET
    event_id: str | UnsetType = UNSET
    query: str | UnsetType = UNSET
    options: PreconditionOptions | UnsetType = UNSET


class Precondition(_Body, frozen=True):
    """What must hold for the write to take place."""

    type: str | UnsetType = UNSET
    payload: PreconditionPayload | UnsetType = UNSET


class WriteEvents(_Body, frozen=True):
    """Events to be written together, or not at all."""

    events: list[EventCandidate] | UnsetType = UNSET
    preconditions: list[Precondition] | UnsetType = UNSET


class Bound(_Body, frozen=True):
    """An end of a range of event ids."""

    id: str | UnsetType = UNSET
    type: str | UnsetType = UNSET


class FromLatestEvent(_Body, frozen=True):
    """Start from the latest event of a type on a subject."""

    subject: str | UnsetType = UNSET
    type: str | UnsetType = UNSET
    if_event_is_missing: str | UnsetType = UNSET


class ReadOptions(_Body, frozen=True):
    """Which events to read, and in which order."""

    recursive: bool | UnsetType = UNSET
    order: str | UnsetType = UNSET
    lower_bound: Bound | UnsetType = UNSET
    upper_bound: Bound | UnsetType = UNSET
    from_latest_event: FromLatestEvent | UnsetType = UNSET
    types: list[str] | UnsetType = UNSET


class ReadEvents(_Body, frozen=True):
    """Events of a subject."""

    subject: str | UnsetType = UNSET
    options: ReadOptions | UnsetType = UNSET


class ObserveOptions(_Body, frozen=True):
    """Which events to observe."""

    recursive: bool | UnsetType = UNSET
    lower_bound: Bound | UnsetType = UNSET
    from_latest_event: FromLatestEvent | UnsetType = UNSET


class ObserveEvents(_Body, frozen=True):
    """Events of a subject, stored and to come."""

    subject: str | UnsetType = UNSET
    options: ObserveOptions | UnsetType = UNSET


class ReadSubjects(_Body, frozen=True):
    """A subject, or it and all below it."""

    options: RecursiveOptions
    subject: str | UnsetType = UNSET


class ChildOptions(_Body, frozen=True):
    """Which children, and how many of them."""

    prefix: str | UnsetType = UNSET
    offset: Annotated[int, Meta(ge=0, le=SUBJECT_COUNT_MAX)] | UnsetType = UNSET
    limit: Annotated[int, Meta(ge=0, le=CHILD_SUBJECTS_MAX)] | UnsetType = UNSET


class ReadChildSubjects(_Body, frozen=True):
    """The subjects directly below one."""

    subject: str | UnsetType = UNSET
    options: ChildOptions | UnsetType = UNSET


class ReadEventType(_Body, frozen=True):
    """An event type by name."""

    type: str | UnsetType = UNSET


class RegisterEventSchema(_Body, frozen=True):
    """A schema for all events of a type."""

    type: str | UnsetType = UNSET
    schema: msgspec.Raw | UnsetType = UNSET


class RunEventQlQuery(_Body, frozen=True):
    """A query."""

    query: str | UnsetType = UNSET


class KnownEvent(_Body, frozen=True):
    """An event, and the hash that it had."""

    id: str | UnsetType = UNSET
    hash: str | UnsetType = UNSET


class AuditHistory(_Body, frozen=True):
    """The last event of an earlier audit."""

    last_audited_event: KnownEvent | UnsetType = UNSET


class Nothing(_Body, frozen=True):
    """A body without members, for endpoints that take none."""


class Backup(_Body, frozen=True):
    """What is to be backed up: everything, or what is behind an event."""

    last_backed_up_event: KnownEvent | UnsetType = UNSET
