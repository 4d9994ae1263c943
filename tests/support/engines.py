"""Engines under test: making them, killing them, and reading all that they show."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from everlog.domain.event import Event
from everlog.domain.subject import ROOT
from everlog.storage.engine import EventType, Head, LogReader, Scan
from everlog.storage.line import Mark, parse_line
from everlog.storage.log import LogEngine
from everlog.storage.log.disk import Disk
from tests.support.disks import QuickDisk

# Small enough for a few dozen events to fill several.
SEGMENT_SIZE = 2_048


class Content(NamedTuple):
    """All that readers of a head can see."""

    head: Head
    log: bytes
    subjects: list[str]
    event_types: list[EventType]


def open_log(
    directory: Path, *, disk: Disk | None = None, segment_size_max: int = SEGMENT_SIZE
) -> LogEngine:
    disk = QuickDisk() if disk is None else disk
    return LogEngine.open(directory, disk=disk, segment_size_max=segment_size_max)


def content_of(engine: LogReader) -> Content:
    head = engine.head
    return Content(
        head=head,
        log=read(engine, head=head),
        subjects=subjects_of(engine, head=head),
        event_types=event_types_of(engine, head=head),
    )


def event_types_of(engine: LogReader, *, head: Head | None = None) -> list[EventType]:
    chunks = list(engine.event_types(engine.head if head is None else head))
    assert all(chunks)
    return [entry for chunk in chunks for entry in chunk]


def read(
    engine: LogReader,
    subject: str = ROOT,
    *,
    recursive: bool = True,
    start: int = 0,
    stop: int | None = None,
    is_reversed: bool = False,
    event_type: str | None = None,
    head: Head | None = None,
) -> bytes:
    """Return the lines of a scan, which by default means everything."""
    head = engine.head if head is None else head
    scan = Scan(
        subject=subject,
        recursive=recursive,
        start=start,
        stop=head.event_count if stop is None else stop,
        is_reversed=is_reversed,
        event_types=None if event_type is None else frozenset({event_type}),
    )
    return b"".join(engine.scan(scan, head))


def subjects_of(
    engine: LogReader, base_subject: str = ROOT, *, head: Head | None = None
) -> list[str]:
    chunks = engine.subjects(base_subject, engine.head if head is None else head)
    return [subject for chunk in chunks for subject in chunk]


def split_lines(blocks: bytes | Iterable[bytes]) -> list[bytes]:
    log = blocks if isinstance(blocks, bytes) else b"".join(blocks)
    return log.splitlines(keepends=True)


def events_of(log: bytes) -> list[Event]:
    return [parse_line(line)[0] for line in split_lines(log)]


def positions_of(log: bytes) -> list[int]:
    return [int(event.id) for event in events_of(log)]


def marks_of(log: bytes) -> list[Mark]:
    return [parse_line(line)[1] for line in split_lines(log)]


def kill(engine: LogEngine) -> None:
    """End an engine as the death of its process does: nothing more is written."""
    engine._resources.close()


def few_lines(engine: LogReader, scan: Scan, head: Head) -> bytes | None:
    """Return what is read at once, having checked that each line begins where it says."""
    block = engine.read_few(scan, head)
    if block is None:
        return None
    lines = bytes(block.lines)
    starts = [0, *(place + 1 for place, byte in enumerate(lines) if byte == ord("\n"))]
    assert list(block.offsets) == starts[:-1]
    return lines
