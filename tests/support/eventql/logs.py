"""A log in memory, as a query sees one: lines in a list, and no index but Python's."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from everlog.domain.chain import GENESIS_HASH, HashVersion
from everlog.domain.event import EventCandidate, accept_event
from everlog.domain.time import format_time, parse_time
from everlog.eventql.planning.plan import EventScan

# The moment of the first event; each next one comes a second and a nanosecond later.
FIRST_TIME = 1_700_000_000_000_000_001
_INTERVAL = 1_000_000_001


@dataclass
class MemoryLog:
    """A log of stored lines; blocks are small, so that there are several of them."""

    lines: list[bytes] = field(default_factory=list)
    block_size: int = 3
    # Types that have an event schema and no event.
    other_types: tuple[str, ...] = ()
    # How many events were read, to see what was not.
    read_count: int = 0

    def scan(self, scan: EventScan) -> Iterator[bytes]:
        lines = self._selected(scan)
        if scan.is_reversed:
            lines.reverse()
        for start in range(0, len(lines), self.block_size):
            block = lines[start : start + self.block_size]
            self.read_count += len(block)
            yield b"".join(block)

    def count(self, scan: EventScan) -> int:
        return len(self._selected(scan))

    def count_by_event_type(self, scan: EventScan) -> dict[str, int]:
        counts: dict[str, int] = {}
        for line in self._selected(scan):
            event_type = event_of(line)["type"]
            counts[event_type] = counts.get(event_type, 0) + 1
        return counts

    def subjects(self) -> Iterator[Sequence[str]]:
        subjects = {"/"} if self.lines else set()
        for line in self.lines:
            parts = event_of(line)["subject"].split("/")
            subjects |= {"/".join(parts[:end]) or "/" for end in range(1, len(parts) + 1)}
        # Some order that is not the one of a query.
        yield sorted(subjects, key=lambda subject: subject[::-1])

    def event_types(self) -> Sequence[str]:
        types = {event_of(line)["type"] for line in self.lines} | {*self.other_types}
        return sorted(types, key=lambda name: name[::-1])

    def _selected(self, scan: EventScan) -> list[bytes]:
        return [line for line in self.lines if is_selected(event_of(line), scan)]


def event_of(line: bytes) -> dict[str, Any]:
    """Return the event of a stored line."""
    event: dict[str, Any] = msgspec.json.decode(line)["payload"]
    return event


def is_selected(event: Mapping[str, Any], scan: EventScan) -> bool:
    """Tell whether a scan selects an event, by each of its conditions."""
    number = int(event["id"])
    time = parse_time(event["time"])
    return all(
        (
            scan.event_types is None or event["type"] in scan.event_types,
            scan.subjects is None or event["subject"] in scan.subjects,
            event["subject"].startswith(scan.subject_prefix or ""),
            number >= scan.id_start,
            scan.id_stop is None or number < scan.id_stop,
            scan.time_start is None or time >= scan.time_start,
            scan.time_stop is None or time < scan.time_stop,
        )
    )


def a_line(
    position: int,
    data: object,
    *,
    type: str = "com.example.written",  # noqa: A002 - the name of the event's field.
    subject: str = "/notes/1",
    time: int | None = None,
    **candidate: str,
) -> bytes:
    """Return the stored line of an event; data that is a text is taken as JSON as it is."""
    event = accept_event(
        EventCandidate(
            source="https://example.com",
            subject=subject,
            type=type,
            data=data if isinstance(data, str) else msgspec.json.encode(data).decode(),
            **candidate,
        ),
        position=position,
        time=format_time(FIRST_TIME + position * _INTERVAL if time is None else time),
        predecessor_hash=GENESIS_HASH,
        hash_version=HashVersion.V1,
    )
    return b'{"type":"event","payload":%b}%b\n' % (event.json, b" " * (position % 3))


def a_log(*data: object, block_size: int = 3) -> MemoryLog:
    """Return a log of events that differ in their data only."""
    lines = [a_line(position, each) for position, each in enumerate(data)]
    return MemoryLog(lines, block_size=block_size)
