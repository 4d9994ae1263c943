"""From the members of request bodies, of either version, to what the domain parses.

None, UNSET and the empty string are the same here: nothing was said. Which of them a body may hold
is a question of its version (`requests`).
"""

from everlog.api.requests import v1, v2
from everlog.domain.chain import HashVersion
from everlog.domain.event import EventCandidate
from everlog.domain.precondition import Precondition, PreconditionPayloadText, PreconditionText
from everlog.domain.selection import (
    BoundText,
    FromLatestEventText,
    Selection,
    parse_observe_selection,
    parse_read_selection,
)
from everlog.service.write_events import parse_candidates, parse_preconditions


def parse_write(
    body: v1.WriteEvents | v2.WriteEvents, *, hash_version: HashVersion
) -> tuple[list[EventCandidate], list[Precondition]]:
    """Return what is to be written, with hashes of this version, and under which conditions."""
    candidates = parse_candidates(body.events or (), hash_version=hash_version)
    texts = [_precondition_text(text) for text in body.preconditions or ()]
    return candidates, parse_preconditions(texts)


def parse_read(body: v1.ReadEvents | v2.ReadEvents) -> Selection:
    """Return which events are to be read."""
    options = body.options or v2.ReadOptions()
    return parse_read_selection(
        subject=body.subject or None,
        recursive=bool(options.recursive),
        order=options.order or None,
        lower_bound=_bound_text(options.lower_bound or None),
        upper_bound=_bound_text(options.upper_bound or None),
        from_latest_event=_from_latest_event_text(options.from_latest_event or None),
    )


def parse_observe(body: v1.ObserveEvents | v2.ObserveEvents) -> Selection:
    """Return which events are to be observed."""
    options = body.options or v2.ObserveOptions()
    return parse_observe_selection(
        subject=body.subject or None,
        recursive=bool(options.recursive),
        lower_bound=_bound_text(options.lower_bound or None),
        from_latest_event=_from_latest_event_text(options.from_latest_event or None),
    )


def _precondition_text(text: v1.Precondition | v2.Precondition) -> PreconditionText:
    payload = text.payload or None
    if payload is None:
        return PreconditionText(text.type or None, None)
    recursive = None
    # Only version 2 has options here.
    if isinstance(payload, v2.PreconditionPayload) and payload.options:
        recursive = payload.options.recursive
    return PreconditionText(
        text.type or None,
        PreconditionPayloadText(
            payload.subject or None,
            payload.event_id or None,
            recursive=recursive,
            query=payload.query or None,
        ),
    )


def _bound_text(bound: v1.Bound | v2.Bound | None) -> BoundText | None:
    return None if bound is None else BoundText(bound.id or None, bound.type or None)


def _from_latest_event_text(
    latest: v1.FromLatestEvent | v2.FromLatestEvent | None,
) -> FromLatestEventText | None:
    if latest is None:
        return None
    return FromLatestEventText(
        latest.subject or None, latest.type or None, latest.if_event_is_missing or None
    )
