"""Write events: from what a client sent to candidates; the rest is the writer's."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final, Protocol

import msgspec
from msgspec import UnsetType

from everlog.domain.chain import HashVersion
from everlog.domain.data import parse_data, sort_members
from everlog.domain.errors import Code, RefusedError
from everlog.domain.event import EventCandidate, candidate_size
from everlog.domain.event_type import parse_event_type
from everlog.domain.limits import EVENT_SIZE_MAX, EVENTS_PER_WRITE_MAX, PRECONDITIONS_PER_WRITE_MAX
from everlog.domain.precondition import Precondition, PreconditionText, parse_precondition
from everlog.domain.source import parse_source
from everlog.domain.subject import parse_subject
from everlog.domain.tracing import parse_traceparent, parse_tracestate

# An application has few sources and types, and checking one takes as long as hashing an event.
_CACHE_SIZE: Final = 4_096

# Whose data has no more characters than this is within the bound, whatever its other values are:
# a character is four bytes at most, and each of the others is bounded by itself.
_DATA_LENGTH_SMALL: Final = 8 * 1024

_source: Callable[[str | None], str] = lru_cache(_CACHE_SIZE)(parse_source)
_event_type: Callable[[str | None], str] = lru_cache(_CACHE_SIZE)(parse_event_type)


class CandidateText(Protocol):
    """An event candidate as it was sent; None or UNSET is what was not sent."""

    @property
    def source(self) -> str | UnsetType | None: ...
    @property
    def subject(self) -> str | UnsetType | None: ...
    @property
    def type(self) -> str | UnsetType | None: ...
    @property
    def data(self) -> msgspec.Raw | UnsetType | None: ...
    @property
    def traceparent(self) -> str | UnsetType | None: ...
    @property
    def tracestate(self) -> str | UnsetType | None: ...


def parse_candidates(
    texts: Sequence[CandidateText], *, hash_version: HashVersion
) -> list[EventCandidate]:
    """Return the candidates of one write, their data as events of a hash version have it.

    With version 1 the members of all objects in data are in order, with version 2 as they were
    sent (docs/hashes.md).

    Raises:
        RefusedError: The first fault, with the index and the field of its event.
    """
    if not texts:
        raise RefusedError(Code.EVENTS_MISSING, "a write needs at least one event", field="events")
    if len(texts) > EVENTS_PER_WRITE_MAX:
        raise RefusedError(
            Code.EVENT_TOO_LARGE,
            f"a write may hold {EVENTS_PER_WRITE_MAX} events, this one holds {len(texts)}",
            field="events",
            limit=EVENTS_PER_WRITE_MAX,
        )
    is_sorted = hash_version is HashVersion.V1
    candidates: list[EventCandidate] = []
    try:
        # All of it in one function: a write of one event is what most are.
        for text in texts:
            # UNSET is falsy, as are None and the empty string, which some clients send for nothing.
            data_text, data = parse_data(text.data or None)
            traceparent = text.traceparent or None
            candidate = EventCandidate(
                _source(text.source or None),
                parse_subject(text.subject or None),
                _event_type(text.type or None),
                sort_members(data_text, data) if is_sorted else data_text,
                parse_traceparent(traceparent) if traceparent else None,
                parse_tracestate(text.tracestate, traceparent=traceparent)
                if text.tracestate
                else None,
            )
            if len(candidate.data) > _DATA_LENGTH_SMALL:
                _check_size(candidate)
            candidates.append(candidate)
    except RefusedError as error:
        raise _located(error, index=len(candidates)) from None
    return candidates


def parse_preconditions(texts: Sequence[PreconditionText]) -> list[Precondition]:
    """Return the preconditions of one write.

    Raises:
        RefusedError: The first fault, with the index of its precondition.
    """
    if len(texts) > PRECONDITIONS_PER_WRITE_MAX:
        raise RefusedError(
            Code.PRECONDITION_UNKNOWN,
            f"a write may have {PRECONDITIONS_PER_WRITE_MAX} preconditions, "
            f"this one has {len(texts)}",
            field="preconditions",
            limit=PRECONDITIONS_PER_WRITE_MAX,
        )
    return [parse_precondition(text, index=index) for index, text in enumerate(texts)]


def _check_size(candidate: EventCandidate) -> None:
    size = candidate_size(candidate)
    if size > EVENT_SIZE_MAX:
        raise RefusedError(
            Code.EVENT_TOO_LARGE,
            f"the event is too large: an event may hold {EVENT_SIZE_MAX} bytes, "
            f"this one holds {size}",
            limit=EVENT_SIZE_MAX,
        )


def _located(error: RefusedError, *, index: int) -> RefusedError:
    details = {**error.details, "eventIndex": index}
    field = details.get("field")
    details["field"] = f"events[{index}]" if field is None else f"events[{index}].{field}"
    return RefusedError(error.code, error.message, **details)
