"""Scans as sets of events: what is in both of two, and what is in one of them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from everlog.eventql.planning.plan import EventScan

ALL: Final = EventScan()
NOTHING: Final = EventScan(event_types=frozenset())


def is_nothing(scan: EventScan) -> bool:
    """Tell whether no event can be selected."""
    return (
        scan.event_types == frozenset()
        or scan.subjects == frozenset()
        or (scan.id_stop is not None and scan.id_stop <= scan.id_start)
        or (
            scan.time_start is not None
            and scan.time_stop is not None
            and scan.time_stop <= scan.time_start
        )
    )


def intersect(first: EventScan, second: EventScan) -> EventScan:
    """Return the scan of the events that both select; at most one condition is on subjects."""
    prefixes = {scan.subject_prefix for scan in (first, second)} - {None}
    subjects = _intersection(first.subjects, second.subjects)
    longest = max((prefix or "" for prefix in prefixes), key=len, default="")
    if not all(longest.startswith(prefix or "") for prefix in prefixes):
        return NOTHING
    if subjects is not None:
        subjects = frozenset(subject for subject in subjects if subject.startswith(longest))
    scan = EventScan(
        event_types=_intersection(first.event_types, second.event_types),
        subjects=subjects,
        subject_prefix=longest if prefixes and subjects is None else None,
        id_start=max(first.id_start, second.id_start),
        id_stop=_least(first.id_stop, second.id_stop),
        time_start=_greatest(first.time_start, second.time_start),
        time_stop=_least(first.time_stop, second.time_stop),
    )
    return NOTHING if is_nothing(scan) else scan


def unite(first: EventScan, second: EventScan) -> tuple[EventScan, bool]:
    """Return a scan of the events that either selects, and whether it selects no others."""
    if is_nothing(first):
        return second, True
    if is_nothing(second):
        return first, True
    subjects, prefix = _united_subjects(first, second)
    scan = EventScan(
        event_types=_union(first.event_types, second.event_types),
        subjects=subjects,
        subject_prefix=prefix,
        id_start=min(first.id_start, second.id_start),
        id_stop=_loosest(first.id_stop, second.id_stop, max),
        time_start=_loosest(first.time_start, second.time_start, min),
        time_stop=_loosest(first.time_stop, second.time_stop, max),
    )
    # Exact where they differ in one set only, or not at all: then nothing comes in between.
    sides = (first, second, scan)
    is_exact = (
        len({replace(side, event_types=None) for side in sides}) == 1
        or len({replace(side, subjects=None) for side in sides}) == 1
    )
    return scan, is_exact


def _united_subjects(
    first: EventScan, second: EventScan
) -> tuple[frozenset[str] | None, str | None]:
    if first.subjects is not None and second.subjects is not None:
        return first.subjects | second.subjects, None
    for one, other in ((first, second), (second, first)):
        prefix = one.subject_prefix
        if prefix is None:
            continue
        others = other.subjects or (() if other.subject_prefix is None else (other.subject_prefix,))
        if others and all(subject.startswith(prefix) for subject in others):
            return None, prefix
    return None, None


def _intersection(
    first: frozenset[str] | None, second: frozenset[str] | None
) -> frozenset[str] | None:
    if first is None or second is None:
        return first if second is None else second
    return first & second


def _union(first: frozenset[str] | None, second: frozenset[str] | None) -> frozenset[str] | None:
    return None if first is None or second is None else first | second


def _least(first: int | None, second: int | None) -> int | None:
    return min((bound for bound in (first, second) if bound is not None), default=None)


def _greatest(first: int | None, second: int | None) -> int | None:
    return max((bound for bound in (first, second) if bound is not None), default=None)


def _loosest(
    first: int | None, second: int | None, choose: Callable[[int, int], int]
) -> int | None:
    return None if first is None or second is None else choose(first, second)
