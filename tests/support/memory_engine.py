"""The reference engine: the executable specification of the ports, kept in lists.

It is written to be obviously right, not fast, and forgets everything at the end. The embedded
engine is tested against it, command by command. Unlike that one, it can be told that others append
to its journal, so that its own batch is lost.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, chain
from typing import NamedTuple

import numpy as np

from everlog.domain.event import AcceptedEvent, is_hash_valid
from everlog.domain.precondition import SubjectState
from everlog.domain.subject import ROOT, ancestors, is_within, parent, sort_key
from everlog.domain.time import parse_time
from everlog.storage.engine import (
    Batch,
    BatchLostError,
    CachedBlock,
    ChildSubjects,
    EventType,
    Head,
    JournalEntry,
    LocatedScan,
    LogFiles,
    Scan,
    StagedSchema,
    StoreFiles,
    SubjectCounts,
    UnchainedEntryError,
)
from everlog.storage.line import LINE_PREFIX, Mark, parse_line, render_line

# What others append behind a head, in the very moment in which we want to: one entry at least.
Rival = Callable[[Head], Sequence[JournalEntry]]

_LINES_PER_BLOCK = 64
_SUBJECTS_PER_CHUNK = 64


class _StoredEvent(NamedTuple):
    event: AcceptedEvent
    line: bytes


class MemoryEngine:
    """An engine whose log is a list."""

    def __init__(self) -> None:
        """Start with an empty log."""
        self._log: list[_StoredEvent] = []
        self._schemas: list[StagedSchema] = []
        # In the order of their appearance, so that a head's are the first so many.
        self._type_names: list[str] = []
        self._heads = [Head()]
        self._published = Head()
        self._published_schema_count = 0
        self._sealed_event_count = 0
        self._sealed_schema_count = 0
        self._others_count = 0
        self._is_mid_write = False
        self._rivals: list[Rival] = []

    def lose_next(self, *rivals: Rival) -> None:
        """Let the next commits lose against these, one after the other."""
        self._rivals.extend(rivals)

    @property
    def head(self) -> Head:
        """The published head."""
        return self._published

    @property
    def tip(self) -> Head:
        """The head as it will be when all that is staged has been published."""
        return self._heads[-1]

    @property
    def state(self) -> SubjectState:
        """The subjects as of the tip."""
        return _TipState(self._log)

    def stage(self, events: Sequence[AcceptedEvent], *, time: int, is_end: bool = True) -> None:
        """Add one write's events at the tip, or some of them."""
        assert len(events) > 0
        self._is_mid_write = not is_end
        for event in events:
            mark = Mark.WRITE if is_end and event is events[-1] else Mark.EVENT
            self._log.append(_StoredEvent(event, render_line(event.json, mark)))
            self._note_type(event.type)
        self._heads.append(self._head_at_tip(hash_=events[-1].hash, time=time))

    def stage_schema(self, schema: StagedSchema) -> None:
        """Add an event schema."""
        assert all(schema.event_type != known.event_type for known in self._schemas)
        assert not self._is_mid_write
        self._schemas.append(schema)
        self._note_type(schema.event_type)
        self._heads.append(self._head_at_tip(hash_=self.tip.hash, time=self.tip.time))

    def stage_entry(self, entry: JournalEntry) -> None:
        """Add a batch from elsewhere, in front of what will be staged."""
        assert self.tip == self._published
        assert not entry.schemas
        assert self._sealed_event_count == len(self._log)
        self._check_is_next(entry, is_verified=False)
        for line in entry.lines:
            event, mark = parse_line(line)
            json = line[len(LINE_PREFIX) : -len("}\n") - mark]
            accepted = AcceptedEvent(event.subject, event.type, json, event.hash)
            stored = _StoredEvent(accepted, render_line(json, min(mark, Mark.WRITE)))
            self._log.append(stored)
            self._note_type(event.type)
            self._heads.append(self._head_at_tip(hash_=event.hash, time=parse_time(event.time)))
        self._others_count = len(entry.lines)

    def seal(self) -> Batch | None:
        """Take all that was staged since the last call as one batch."""
        assert not self._is_mid_write
        first, first_schema = self._sealed_event_count, self._sealed_schema_count
        if first == len(self._log) and first_schema == len(self._schemas):
            return None
        if first < len(self._log):
            last = self._log[-1].event
            self._log[-1] = _StoredEvent(last, render_line(last.json, Mark.BATCH))
            self._heads[-1] = self._head_at_tip(hash_=self.tip.hash, time=self.tip.time)
        self._sealed_event_count = len(self._log)
        self._sealed_schema_count = len(self._schemas)
        others_count, self._others_count = self._others_count, 0
        return Batch(
            others_count=others_count,
            first_position=first,
            events=[stored.event for stored in self._log[first:]],
            lines=[stored.line for stored in self._log[first:]],
            schemas=self._schemas[first_schema:],
            head=self.tip,
        )

    def commit(self, batch: Batch) -> None:
        """Do nothing, unless a rival is first: memory is as durable as it gets."""
        if self._rivals:
            # A rival stands behind what is published; so must the batch that loses against it.
            assert batch.first_position == self._published.event_count
            raise BatchLostError(self._rivals.pop(0)(self._published))

    def begin_commit(self, batch: Batch) -> int | None:  # noqa: ARG002 - the port's
        """Return None: there is no file."""
        return None

    def end_commit(self, batch: Batch, error: OSError | None) -> None:
        """Do nothing: nobody has anything to sync."""

    def publish(self, batch: Batch) -> None:
        """Let readers see a committed batch."""
        self._published = batch.head
        self._published_schema_count += len(batch.schemas)

    def roll_back(self) -> None:
        """Make the tip the head again."""
        self._is_mid_write = False
        self._others_count = 0
        del self._log[self._published.event_count :]
        del self._schemas[self._published_schema_count :]
        del self._type_names[self._published.event_type_count :]
        self._heads = [self._published]
        self._sealed_event_count = len(self._log)
        self._sealed_schema_count = len(self._schemas)

    def unpublished_events(self) -> Iterator[AcceptedEvent]:
        """Yield the events between head and tip."""
        for stored in self._log[self._published.event_count :]:
            yield stored.event

    def apply(self, entry: JournalEntry, *, is_verified: bool) -> Batch:
        """Take over a batch from elsewhere, published."""
        head = self._published
        assert self.tip == head
        self._check_is_next(entry, is_verified=is_verified)
        for line in entry.lines:
            event, mark = parse_line(line)
            json = line[len(LINE_PREFIX) : -len("}\n") - mark]
            accepted = AcceptedEvent(event.subject, event.type, json, event.hash)
            assert render_line(json, mark) == line
            self._log.append(_StoredEvent(accepted, line))
            self._note_type(event.type)
            self._heads.append(self._head_at_tip(hash_=event.hash, time=parse_time(event.time)))
        for schema in entry.schemas:
            self.stage_schema(schema)
        events = [stored.event for stored in self._log[head.event_count :]]
        batch = Batch(entry.first_position, events, entry.lines, entry.schemas, self.tip)
        self._sealed_event_count = len(self._log)
        self._sealed_schema_count = len(self._schemas)
        self.publish(batch)
        return batch

    def _check_is_next(self, entry: JournalEntry, *, is_verified: bool) -> None:
        position, hash_, time = self._published.event_count, self._published.hash, 0
        is_next = entry.first_position == position and entry.predecessor_hash == hash_
        is_next &= len(entry.lines) + len(entry.schemas) > 0
        names = [schema.event_type for schema in (*self._schemas, *entry.schemas)]
        is_next &= len(names) == len(set(names))
        for rest, line in reversed([*enumerate(reversed(entry.lines))]):
            try:
                event, mark = parse_line(line)
                following = parse_time(event.time)
            except ValueError:
                is_next = False
                break
            is_next &= line.count(b"\n") == 1
            is_next &= event.id == str(position) and event.predecessorhash == hash_
            is_next &= is_verified or is_hash_valid(event)
            is_next &= (mark is Mark.BATCH) == (rest == 0)
            is_next &= max(time, self._published.time) <= following
            position, hash_, time = position + 1, event.hash, following
        if not is_next:
            raise UnchainedEntryError("the entry does not continue the log", position=None)

    def scan(self, scan: Scan, head: Head) -> Iterator[bytes]:
        """Yield blocks of whole lines."""
        lines = [stored.line for stored in self._select(scan, head)]
        if scan.is_reversed:
            lines.reverse()
        for first in range(0, len(lines), _LINES_PER_BLOCK):
            yield b"".join(lines[first : first + _LINES_PER_BLOCK])

    def read_few(self, scan: Scan, head: Head) -> CachedBlock | None:
        """Return all lines of a scan if they make one block."""
        blocks = list(self.scan(scan, head))
        if len(blocks) > 1:
            return None
        content = b"".join(blocks)
        sizes = [len(line) + 1 for line in content.split(b"\n")[:-1]]
        return CachedBlock(content, [0, *accumulate(sizes)][:-1])

    def count(self, scan: Scan, head: Head) -> int:
        """Return how many events a scan means."""
        return len(self._select(scan, head))

    def size(self, scan: Scan, head: Head, *, count_max: int) -> int:
        """Return how many bytes the lines of the first events that a scan means take."""
        found = self._select(scan, head)
        first = (found[::-1] if scan.is_reversed else found)[:count_max]
        return sum(len(stored.line) for stored in first)

    def count_few(self, scan: Scan, head: Head) -> int | None:
        """Return how many events a scan means if it is as few as fit into one block."""
        count = self.count(scan, head)
        return count if count <= _LINES_PER_BLOCK else None

    def count_by_event_type(self, scan: Scan, head: Head) -> dict[str, int]:
        """Return the same by event type, in the order of each type's first event."""
        # A Counter keeps the order in which it first met its keys.
        return dict(Counter(stored.event.type for stored in self._select(scan, head)))

    def find_time(self, time: int, head: Head) -> int:
        """Return the position of the first event at or after a time."""
        events = self._log[: head.event_count]
        return sum(parse_time(parse_line(stored.line)[0].time) < time for stored in events)

    def files(self, head: Head) -> LogFiles | None:  # noqa: ARG002 - part of the port
        """There are none."""
        return None

    def store_files(self, head: Head) -> StoreFiles | None:  # noqa: ARG002 - part of the port
        """There are none."""
        return None

    def locate(self, scan: Scan, head: Head) -> LocatedScan:
        """Find the events of a scan."""
        selected = set(map(id, self._select(scan, head)))
        stop = min(scan.stop, head.event_count)
        bits = [id(stored) in selected for stored in self._log[scan.start : stop]]
        return LocatedScan(scan.start, stop, scan.is_reversed, _pack(bits), len(selected))

    def find_latest(self, subject: str, event_type: str, head: Head) -> int | None:
        """Return the position of the latest event of a type on exactly this subject."""
        for position in reversed(range(head.event_count)):
            event = self._log[position].event
            if event.subject == subject and event.type == event_type:
                return position
        return None

    def subject_exists(self, subject: str, head: Head) -> bool:
        """Tell whether the subject or one below it has events."""
        return subject in self._existing_subjects(head)

    def subjects(self, base_subject: str, head: Head) -> Iterator[Sequence[str]]:
        """Yield chunks of the base and all subjects below it that exist, depth first."""
        existing = self._existing_subjects(head)
        found = sorted((name for name in existing if is_within(name, base_subject)), key=sort_key)
        for first in range(0, len(found), _SUBJECTS_PER_CHUNK):
            yield found[first : first + _SUBJECTS_PER_CHUNK]

    def child_subjects(
        self, subject: str, head: Head, *, prefix: str, offset: int, limit: int
    ) -> ChildSubjects:
        """Return some of the children whose last segment begins so, and how much is on each."""
        existing = sorted(self._existing_subjects(head), key=sort_key)
        children = [name for name in existing if name != ROOT and parent(name) == subject]
        matching = [name for name in children if name.rpartition("/")[2].startswith(prefix)]
        return ChildSubjects(
            self._counts_of(subject, existing, head),
            len(matching),
            [self._counts_of(name, existing, head) for name in matching[offset : offset + limit]],
        )

    def _counts_of(self, subject: str, existing: Sequence[str], head: Head) -> SubjectCounts:
        own, below = (
            self.count(
                Scan(subject=subject, recursive=recursive, start=0, stop=head.event_count), head
            )
            for recursive in (False, True)
        )
        children = sum(name != ROOT and parent(name) == subject for name in existing)
        return SubjectCounts(subject, own, below, children)

    def event_types(self, head: Head) -> Iterator[Sequence[EventType]]:
        """Yield chunks of all event types, sorted by name."""
        used = {stored.event.type for stored in self._log[: head.event_count]}
        schemas = {
            schema.event_type: schema.text
            for schema in self._schemas[: self._published_schema_count]
        }
        found = [
            EventType(name, name in used, schemas.get(name))
            for name in sorted(self._type_names[: head.event_type_count])
            if name in used or name in schemas
        ]
        if found:
            yield found

    def event_type(self, name: str, head: Head) -> EventType | None:
        """Return one event type."""
        entries = chain.from_iterable(self.event_types(head))
        return next((entry for entry in entries if entry.name == name), None)

    def check_place(self) -> None:
        """Do nothing: memory stays where it is."""

    @property
    def is_snapshot_due(self) -> bool:
        """Never: there is nothing to save."""
        return False

    @property
    def unsaved_event_count(self) -> int:
        """Zero: there is nothing that opening could read."""
        return 0

    def save_snapshot(self) -> None:
        """Do nothing: there is nothing to save."""

    def close(self) -> None:
        """Do nothing: there is nothing to release."""

    def _note_type(self, name: str) -> None:
        if name not in self._type_names:
            self._type_names.append(name)

    def _select(self, scan: Scan, head: Head) -> list[_StoredEvent]:
        visible = self._log[scan.start : min(scan.stop, head.event_count)]
        return [stored for stored in visible if _is_selected(stored.event, scan)]

    def _existing_subjects(self, head: Head) -> set[str]:
        existing: set[str] = set()
        for stored in self._log[: head.event_count]:
            existing.update(ancestors(stored.event.subject), (stored.event.subject,))
        return existing

    def _head_at_tip(self, *, hash_: str, time: int) -> Head:
        everything = Head(event_count=len(self._log))
        return Head(
            event_count=len(self._log),
            log_size=sum(len(stored.line) for stored in self._log),
            subject_count=len(self._existing_subjects(everything)),
            event_type_count=len(self._type_names),
            hash=hash_,
            time=time,
        )


class _TipState:
    """The subjects of a whole list of events."""

    def __init__(self, log: Sequence[_StoredEvent]) -> None:
        self._log = log

    def has_events(self, subject: str, *, recursive: bool) -> bool:
        return self.latest_position(subject, recursive=recursive) is not None

    def latest_position(self, subject: str, *, recursive: bool) -> int | None:
        selected = Scan(subject=subject, recursive=recursive, start=0, stop=len(self._log))
        for position in reversed(range(len(self._log))):
            if _is_selected(self._log[position].event, selected):
                return position
        return None


def _pack(bits: list[bool]) -> bytes:
    return np.packbits(np.array(bits, np.bool_)).tobytes()


def _is_selected(event: AcceptedEvent, scan: Scan) -> bool:
    if scan.event_types is not None and event.type not in scan.event_types:
        return False
    if scan.subjects is not None:
        return event.subject in scan.subjects
    if scan.subject_prefix is not None:
        return event.subject.startswith(scan.subject_prefix)
    if scan.recursive:
        return is_within(event.subject, scan.subject)
    return event.subject == scan.subject
