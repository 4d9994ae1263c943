"""Selections: which events a reader or an observer asks for, and in which order.

A `Selection` is satisfiable as far as its own text goes: its bounds leave room for at least one
event, and its options do not contradict each other.
Bounds are made inclusive here once, so that nobody else needs to know about exclusive ones.
What is left to others: finding the latest event that `from_latest_event` names (service).
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final, NamedTuple

import msgspec

from everlog.domain.errors import Code, RefusedError
from everlog.domain.event_type import parse_event_type
from everlog.domain.subject import parse_subject

# Ids are counted in 64 bits with a sign.
EVENT_ID_MAX: Final = 2**63 - 1
_EVENT_ID_DIGITS_MAX: Final = len(str(EVENT_ID_MAX))
_QUOTED_LENGTH_MAX: Final = 100


class Order(StrEnum):
    """Oldest first or newest first."""

    CHRONOLOGICAL = "chronological"
    ANTICHRONOLOGICAL = "antichronological"


class IfEventIsMissing(StrEnum):
    """What to do where the event to start from does not exist."""

    READ_NOTHING = "read-nothing"
    READ_EVERYTHING = "read-everything"
    WAIT_FOR_EVENT = "wait-for-event"


_FOR_READING: Final = (IfEventIsMissing.READ_NOTHING, IfEventIsMissing.READ_EVERYTHING)
_FOR_OBSERVING: Final = (IfEventIsMissing.WAIT_FOR_EVENT, IfEventIsMissing.READ_EVERYTHING)


class FromLatestEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Start from the latest event of a type on exactly this subject."""

    subject: str
    type: str
    if_event_is_missing: IfEventIsMissing


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """The events between two inclusive bounds, on a subject or, recursively, below it too.

    An `upper` of None is no upper bound, and `event_types` of None means all.
    """

    subject: str
    recursive: bool
    order: Order
    lower: int
    upper: int | None
    from_latest_event: FromLatestEvent | None
    event_types: frozenset[str] | None = None


class BoundText(msgspec.Struct, frozen=True):
    """A bound as it was sent."""

    id: str | None
    type: str | None


class FromLatestEventText(NamedTuple):
    """The option `fromLatestEvent` as it was sent."""

    subject: str | None
    type: str | None
    if_event_is_missing: str | None


def parse_event_id(text: str | None, *, field: str) -> int:
    """Return the number that an event id stands for."""
    if not text:
        raise RefusedError(Code.EVENT_ID_MISSING, "the event ID is missing", field=field)
    if not (text.isascii() and text.isdigit()):
        raise RefusedError(
            Code.EVENT_ID_MALFORMED,
            f"malformed event ID '{text[:_QUOTED_LENGTH_MAX]}': "
            "event ID must contain an integer and must be 0 or greater",
            field=field,
        )
    # Python refuses to convert thousands of digits, and takes quadratic time for fewer.
    digits = text.lstrip("0") or "0"
    number = int(digits) if len(digits) <= _EVENT_ID_DIGITS_MAX else EVENT_ID_MAX + 1
    if number > EVENT_ID_MAX:
        raise RefusedError(
            Code.EVENT_ID_MALFORMED,
            f"malformed event ID: event ID must be {EVENT_ID_MAX} or less",
            field=field,
            limit=str(EVENT_ID_MAX),
        )
    return number


def parse_read_selection(
    *,
    subject: str | None,
    recursive: bool,
    order: str | None,
    lower_bound: BoundText | None,
    upper_bound: BoundText | None,
    from_latest_event: FromLatestEventText | None,
    types: Sequence[str] | None = None,
) -> Selection:
    """Return what a reader asks for."""
    selection = Selection(
        subject=parse_subject(subject),
        recursive=recursive,
        order=Order.CHRONOLOGICAL if order is None else _parse_order(order),
        lower=_parse_lower_bound(lower_bound) if lower_bound else 0,
        upper=_parse_upper_bound(upper_bound) if upper_bound else None,
        from_latest_event=_parse_from_latest_event(from_latest_event, allowed=_FOR_READING)
        if from_latest_event
        else None,
        event_types=_parse_types(types) if types is not None else None,
    )
    _check_consistency(selection, has_lower_bound=lower_bound is not None)
    return selection


def parse_observe_selection(
    *,
    subject: str | None,
    recursive: bool,
    lower_bound: BoundText | None,
    from_latest_event: FromLatestEventText | None,
) -> Selection:
    """Return what an observer asks for."""
    selection = Selection(
        subject=parse_subject(subject),
        recursive=recursive,
        order=Order.CHRONOLOGICAL,
        lower=_parse_lower_bound(lower_bound) if lower_bound else 0,
        upper=None,
        from_latest_event=_parse_from_latest_event(from_latest_event, allowed=_FOR_OBSERVING)
        if from_latest_event
        else None,
    )
    _check_consistency(selection, has_lower_bound=lower_bound is not None)
    return selection


def _parse_types(types: Sequence[str]) -> frozenset[str]:
    return frozenset(
        parse_event_type(name, field=f"options.types[{index}]") for index, name in enumerate(types)
    )


def _parse_order(text: str) -> Order:
    try:
        return Order(text)
    except ValueError:
        raise RefusedError(
            Code.ORDER_UNKNOWN,
            f"unknown order '{text[:_QUOTED_LENGTH_MAX]}': "
            "order must be 'chronological' or 'antichronological'",
            field="options.order",
        ) from None


def _parse_lower_bound(bound: BoundText) -> int:
    field = "options.lowerBound"
    event_id = parse_event_id(bound.id, field=f"{field}.id")
    if not _parse_is_exclusive(bound.type, field=f"{field}.type"):
        return event_id
    if event_id == EVENT_ID_MAX:
        raise RefusedError(
            Code.EVENT_ID_MALFORMED,
            f"malformed event ID: no event ID is greater than {EVENT_ID_MAX}",
            field=f"{field}.id",
            limit=str(EVENT_ID_MAX),
        )
    return event_id + 1


def _parse_upper_bound(bound: BoundText) -> int:
    field = "options.upperBound"
    event_id = parse_event_id(bound.id, field=f"{field}.id")
    # Below the exclusive bound "0" lies -1, which no lower bound can meet.
    return event_id - 1 if _parse_is_exclusive(bound.type, field=f"{field}.type") else event_id


def _parse_is_exclusive(text: str | None, *, field: str) -> bool:
    if not text:
        raise RefusedError(Code.BOUND_TYPE_MISSING, "the type of the bound is missing", field=field)
    if text not in {"inclusive", "exclusive"}:
        raise RefusedError(
            Code.BOUND_TYPE_UNKNOWN,
            f"unknown bound type '{text[:_QUOTED_LENGTH_MAX]}': "
            "type must be 'inclusive' or 'exclusive'",
            field=field,
        )
    return text == "exclusive"


def _parse_from_latest_event(
    text: FromLatestEventText, *, allowed: tuple[IfEventIsMissing, ...]
) -> FromLatestEvent:
    path = "options.fromLatestEvent"
    for name, value in zip(("subject", "type", "ifEventIsMissing"), text, strict=True):
        if not value:
            raise RefusedError(
                Code.FROM_LATEST_EVENT_INCOMPLETE,
                f"fromLatestEvent is incomplete: {name} is missing",
                field=f"{path}.{name}",
            )
    return FromLatestEvent(
        subject=parse_subject(text.subject, field=f"{path}.subject"),
        type=parse_event_type(text.type, field=f"{path}.type"),
        if_event_is_missing=_parse_if_event_is_missing(
            text.if_event_is_missing or "", allowed=allowed, field=f"{path}.ifEventIsMissing"
        ),
    )


def _parse_if_event_is_missing(
    text: str, *, allowed: tuple[IfEventIsMissing, ...], field: str
) -> IfEventIsMissing:
    for choice in allowed:
        if text == choice.value:
            return choice
    raise RefusedError(
        Code.IF_EVENT_IS_MISSING_UNKNOWN,
        f"unknown value '{text[:_QUOTED_LENGTH_MAX]}': "
        f"ifEventIsMissing must be {' or '.join(repr(choice.value) for choice in allowed)} here",
        field=field,
    )


def _check_consistency(selection: Selection, *, has_lower_bound: bool) -> None:
    if selection.from_latest_event is not None:
        if has_lower_bound:
            raise RefusedError(
                Code.SELECTION_CONFLICTING,
                "lowerBound and fromLatestEvent cannot be combined",
                field="options.fromLatestEvent",
            )
        if selection.order is not Order.CHRONOLOGICAL:
            raise RefusedError(
                Code.SELECTION_CONFLICTING,
                "fromLatestEvent can only be read in chronological order",
                field="options.fromLatestEvent",
            )
    if selection.upper is not None and selection.lower > selection.upper:
        raise RefusedError(
            Code.RANGE_UNSATISFIABLE,
            "the bounds leave no room: no event ID can lie between them",
            field="options.upperBound",
        )
