"""A data directory as queries see it: everything that a server would serve, and nothing changed.

There is no index here: whatever a query asks for, the log is read from one end to the other, block
by block, and each scan's conditions are judged for every event within its ids. What was torn when
the process or the power went is left out, as the next opening of a server removes it.
Reading sees that events stand in their places; whether they are what was written, an audit tells.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from everlog.domain.chain import GENESIS_HASH
from everlog.domain.errors import CorruptLogError, DataDirectoryError
from everlog.eventql.execution.readers import selected_lines
from everlog.eventql.planning.plan import EventScan
from everlog.maintenance.audit import check_format
from everlog.maintenance.audit_log import DURABLE_FILE, DurableBound, parse_bound
from everlog.maintenance.audit_schemas import SCHEMAS_FILE, read_schema_line
from everlog.maintenance.files import opened, read_whole, servers_locked_out
from everlog.maintenance.findings import Finding
from everlog.maintenance.segments import (
    Lines,
    Segment,
    find_last_batch,
    find_segments,
    read_lines,
    read_lines_backwards,
)
from everlog.maintenance.stored_event import StoredEvent, compute_hash, read_event

_ALL: Final = EventScan()


class _Names(msgspec.Struct, gc=False):
    id: str
    subject: str
    type: str


class _Line(msgspec.Struct, gc=False):
    payload: _Names


_decode_lines: Final[Callable[[bytes], list[_Line]]] = msgspec.json.Decoder(_Line).decode_lines


class _Run(NamedTuple):
    """Lines of events that follow each other, in the order of the log."""

    first_position: int
    lines: list[bytes]


@contextmanager
def opened_query_log(directory: Path, *, on_read: Callable[[int], None]) -> Iterator["QueryLog"]:
    """Hold a directory open for queries; `on_read` is told of events as they are read.

    Raises:
        DirectoryLockedError: A server has the directory open.
        UnknownFormatError: It is no data directory, or of another version.
        CorruptLogError: It is damaged.
        DataDirectoryError: It cannot be read.
    """
    if not directory.is_dir():
        raise DataDirectoryError(f"{directory} is not a directory")
    with servers_locked_out(directory):
        for finding in check_format(directory):
            raise _damaged(finding)
        bound = parse_bound(_read(directory / DURABLE_FILE)) or DurableBound()
        segments, strangers = find_segments(directory)
        for finding in strangers:
            raise _damaged(finding)
        whole, event_count = _find_end(segments, bound)
        schemas = _read(directory / SCHEMAS_FILE)
        yield QueryLog(whole, event_count, _schema_types(schemas, bound), on_read)


class QueryLog:
    """All events of a directory: `eventql.plan.Log`, by reading everything."""

    def __init__(
        self,
        segments: Sequence[Segment],
        event_count: int,
        schema_types: frozenset[str],
        on_read: Callable[[int], None],
    ) -> None:
        """Read no segment yet; the last one ends with the last event."""
        self._segments: Final = segments
        # Where each segment ends, as a position.
        self._stops: Final = [
            *(segment.first_position for segment in segments[1:]),
            *([event_count] if segments else []),
        ]
        self._schema_types: Final = schema_types
        self._on_read: Final = on_read
        self.event_count: Final = event_count

    def scan(self, scan: EventScan) -> Iterator[bytes]:
        """Yield blocks of whole stored lines, in the scan's order.

        Raises:
            CorruptLogError: An event does not stand in its place.
            DataDirectoryError: A file cannot be read.
        """
        start, stop = self._range(scan)
        conditions = replace(scan, id_start=0, id_stop=None, is_reversed=False)
        runs = self._runs_backwards if scan.is_reversed else self._runs_forwards
        for run in runs(start, stop):
            first, last = (max(0, bound - run.first_position) for bound in (start, stop))
            lines = run.lines[first:last]
            if scan.is_reversed:
                lines.reverse()
            block = b"".join(line + b"\n" for line in lines)
            if block and conditions != _ALL:
                block = selected_lines(block, conditions)
            if block:
                yield block

    def count(self, scan: EventScan) -> int:
        """Return how many events a scan selects; reads them unless ids alone say it."""
        if replace(scan, id_start=0, id_stop=None, is_reversed=False) == _ALL:
            return self.count_within_ids(scan)
        return sum(block.count(b"\n") for block in self.scan(replace(scan, is_reversed=False)))

    def count_by_event_type(self, scan: EventScan) -> dict[str, int]:
        """Return the same by type, in the order of each type's first event."""
        counts: Counter[str] = Counter()
        for block in self.scan(replace(scan, is_reversed=False)):
            counts.update(line.payload.type for line in _decode_lines(block))
        return dict(counts)

    def subjects(self) -> Iterator[Sequence[str]]:
        """Yield all subjects, the root and all intermediate ones included, in one chunk."""
        found: set[str] = set()
        for block in self.scan(_ALL):
            for line in _decode_lines(block):
                subject = line.payload.subject
                while subject not in found:
                    found.add(subject)
                    subject = subject[: subject.rindex("/")] or "/"
        yield [*found]

    def event_types(self) -> Sequence[str]:
        """Return all event types, those that have but a schema included."""
        return [*self._schema_types.union(self.count_by_event_type(_ALL))]

    def count_within_ids(self, scan: EventScan) -> int:
        """Return how many events are read for a scan, whatever its other conditions are."""
        start, stop = self._range(scan)
        return max(0, stop - start)

    def _range(self, scan: EventScan) -> tuple[int, int]:
        stop = self.event_count if scan.id_stop is None else min(scan.id_stop, self.event_count)
        return scan.id_start, stop

    def _runs_forwards(self, start: int, stop: int) -> Iterator[_Run]:
        """Yield the events from a position up to another one, and some around them."""
        for segment, segment_stop in zip(self._segments, self._stops, strict=True):
            if segment_stop <= start or segment.first_position >= stop:
                continue
            position = segment.first_position
            for found in read_lines(segment, lambda _: None):
                lines = _lines_of(found, segment)
                if position >= stop:
                    break
                yield self._checked(_Run(position, lines), segment, is_reversed=False)
                position += len(lines)
            else:
                if position != segment_stop:
                    raise _out_of_place(position, segment)

    def _runs_backwards(self, start: int, stop: int) -> Iterator[_Run]:
        """Yield the same from the last one on; each run has the order of the log."""
        pairs = [*zip(self._segments, self._stops, strict=True)]
        for segment, segment_stop in reversed(pairs):
            if segment_stop <= start or segment.first_position >= stop:
                continue
            position = segment_stop
            for found in read_lines_backwards(segment):
                lines = _lines_of(found, segment)
                if position <= start:
                    break
                position -= len(lines)
                yield self._checked(_Run(position, lines), segment, is_reversed=True)
            else:
                if position != segment.first_position:
                    raise _out_of_place(position, segment)

    def _checked(self, run: _Run, segment: Segment, *, is_reversed: bool) -> _Run:
        """Return a run whose events stand in their places."""
        expected = range(run.first_position, run.first_position + len(run.lines))
        try:
            found = [line.payload.id for line in _decode_lines(b"\n".join(run.lines))]
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            found = []
        if found != [*map(str, expected)]:
            raise _out_of_place(_first_wrong(run, is_reversed=is_reversed), segment)
        self._on_read(len(run.lines))
        return run


def _first_wrong(run: _Run, *, is_reversed: bool) -> int:
    """Return the position of the line, the first one met, that is not the event in this place."""
    pairs = [*enumerate(run.lines, start=run.first_position)]
    for position, line in reversed(pairs) if is_reversed else pairs:
        try:
            if msgspec.json.decode(line, type=_Line).payload.id != str(position):
                return position
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return position
    # Only the block as a whole is not what its lines are.
    return run.first_position


def _find_end(segments: list[Segment], bound: DurableBound) -> tuple[list[Segment], int]:
    """Return the segments without a torn tail, and the number of their events.

    Behind the durable bound and the last batch but one, only whole writes count whose events are
    chained to what comes before them.
    """
    if not segments:
        event_count = 0
    else:
        *before, last = segments
        start = max(bound.log_size - last.offset, find_last_batch(last))
        if start > last.used_size:
            raise _too_short(bound)
        event = _event_before(segments, start)
        position, hash_ = (0, GENESIS_HASH) if event is None else (int(event.id) + 1, event.hash)
        size, event_count = _whole_writes(last, start, position, hash_)
        segments = [*before, last._replace(used_size=size)]
    if event_count < bound.event_count:
        raise _too_short(bound)
    return segments, event_count


def _event_before(segments: Sequence[Segment], stop: int) -> StoredEvent | None:
    """Return the event that ends in front of an offset in the last segment."""
    *before, last = segments
    for segment in (last._replace(used_size=stop), *reversed(before)):
        for found in read_lines_backwards(segment):
            lines = _lines_of(found, segment)
            try:
                return read_event(lines[-1])[0]
            except ValueError as error:
                meaning = f"the end of {segment.name} is not as it was written: {error}"
                raise _corrupt(meaning) from error
    return None


def _whole_writes(
    segment: Segment, start: int, position: int, predecessor_hash: str
) -> tuple[int, int]:
    """Return where the last whole write ends that is chained: as a size, and as a position."""
    with opened(segment.path) as file:
        tail = os.pread(file, segment.used_size - start, start)
    end, event_count, offset = start, position, start
    for line in tail.split(b"\n")[:-1]:
        try:
            event, mark = read_event(line)
        except ValueError:
            break
        is_chained = event.id == str(position) and event.predecessorhash == predecessor_hash
        if not is_chained or event.hash != compute_hash(event):
            break
        position, predecessor_hash = position + 1, event.hash
        offset += len(line) + 1
        if mark > 0:
            end, event_count = offset, position
    return end, event_count


def _schema_types(content: bytes, bound: DurableBound) -> frozenset[str]:
    """Return the event types that have a schema."""
    names: set[str] = set()
    offset = 0
    for line in content.splitlines(keepends=True):
        try:
            names.add(read_schema_line(line, names))
        except ValueError as error:
            if offset >= bound.schemas_size:
                break
            raise _corrupt(f"{SCHEMAS_FILE} is not as it was written: {error}") from error
        offset += len(line)
    return frozenset(names)


def _lines_of(found: Lines | Finding, segment: Segment) -> list[bytes]:
    if isinstance(found, Finding):
        raise DataDirectoryError(f"{found.file}: {found.meaning}")
    if found.rest:
        raise _corrupt(f"the last line of {segment.name} has no end")
    return found.lines


def _read(path: Path) -> bytes:
    try:
        return read_whole(path)
    except FileNotFoundError:
        return b""


def _out_of_place(position: int, segment: Segment) -> CorruptLogError:
    return _corrupt(f"event {position} in {segment.name} is not as it was written", position)


def _too_short(bound: DurableBound) -> CorruptLogError:
    return _corrupt(f"the log ends before event {bound.event_count - 1}, which was on the disk")


def _damaged(finding: Finding) -> CorruptLogError:
    return _corrupt(f"{finding.file}: {finding.meaning}")


def _corrupt(meaning: str, position: int | None = None) -> CorruptLogError:
    return CorruptLogError(f"{meaning}; 'everlog audit' tells all that is wrong", position=position)
