"""Selecting: which of any stored lines a scan selects, without an index.

For lines that are not in the index yet, since they are about to be written.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from everlog.eventql.codegen.events import lines_of
from everlog.eventql.evaluation.datetimes import parse_event_time
from everlog.eventql.planning.plan import EventScan


class _Event(msgspec.Struct, gc=False):
    id: str
    time: str
    subject: str
    type: str


class _Line(msgspec.Struct, gc=False):
    payload: _Event


_decode_lines: Final[Callable[[bytes], list[_Line]]] = msgspec.json.Decoder(_Line).decode_lines


def selected_lines(block: bytes, scan: EventScan) -> bytes:
    """Return those lines of a block whose events a scan selects, in their order."""
    decoded = _decode_lines(block)
    chosen = [
        line
        for line, struct in zip(lines_of(block), decoded, strict=True)
        if _is_selected(struct.payload, scan)
    ]
    if len(chosen) == len(decoded):
        return block
    return b"".join(line + b"\n" for line in chosen)


def _is_selected(event: _Event, scan: EventScan) -> bool:
    is_named = (scan.event_types is None or event.type in scan.event_types) and (
        scan.subjects is None or event.subject in scan.subjects
    )
    if not is_named or not event.subject.startswith(scan.subject_prefix or ""):
        return False
    if not _is_between(int(event.id), scan.id_start, scan.id_stop):
        return False
    if scan.time_start is None and scan.time_stop is None:
        return True
    return _is_between(parse_event_time(event.time).nanoseconds, scan.time_start, scan.time_stop)


def _is_between(number: int, start: int | None, stop: int | None) -> bool:
    return (start is None or number >= start) and (stop is None or number < stop)
