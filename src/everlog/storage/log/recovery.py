"""Recovery: reading the log from a snapshot to its end, and deciding what its end is.

Every line from the snapshot on is read, its chain and hash are checked, and complete writes are
put into the index. That is all the same for a server that opens a log and for whoever opens it for
reading only. Nothing is changed here: only the engine then cuts what is torn. Where a line is not
as it should be, one of two things is true.

*A torn tail*: the process or the power went while the last batch was being written. Nothing of
it was acknowledged. It is left out, as are events of a write whose last event is missing.

*Damage*: what was acknowledged has changed. Nothing is cut; opening is refused with the event's
id. Damage is told from a torn tail by two facts. The durable bound was written after a sync, so
whatever lies before it was acknowledged. And a batch is written only after the one before it was
synced, so that only the very last batch can be torn: if anything follows the end of the
batch in which the bad line lies, that batch was durable.

The snapshot of the index is a second witness: all that it speaks of was durable before it was
saved, whatever became of log and bound since.

*A copy* that was made while a server wrote is another matter: its files are of different moments,
so that neither is a witness of the log's length. What is written to a log never changes, and was
zero before. So a copy has whole lines up to where its log ends, and that is where bytes are
missing: a line with zeros in it, or without an end, or one in front of a segment that begins with a
later event. What is behind was written while the copy was made. Any other line that is not right is
damage in a copy, too. A copy whose log and event schemas end just where its bound says, and its
snapshot as well, was made while nobody wrote, and there nothing may be missing.
"""

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from enum import Enum
from typing import Final, NamedTuple

from everlog.domain.errors import CorruptLogError
from everlog.domain.event import AcceptedEvent, Event
from everlog.domain.limits import EVENT_SIZE_MAX
from everlog.domain.time import parse_time
from everlog.storage.engine import Head
from everlog.storage.line import BATCH_END, Mark, parse_line, parse_next_line
from everlog.storage.log.copies import is_copy
from everlog.storage.log.directory import INDEX_FOLDER, DurableBound, read_bound
from everlog.storage.log.disk import Disk, Folder, open_folder
from everlog.storage.log.index import Index
from everlog.storage.log.reading import SegmentFiles
from everlog.storage.log.schemas import read_schemas
from everlog.storage.log.snapshot import read_snapshot

_BLOCK_SIZE: Final = 1024 * 1024

# What is not complete after so many bytes is not a line: the names of the members, the hashes, and
# the escapes of a tracestate take far less than an event may. Whoever lowers that limit has to keep
# this one: what was accepted once must be read for ever.
_LINE_SIZE_MAX: Final = 2 * EVENT_SIZE_MAX

# Putting many writes into the index at once costs little more than one.
_EVENTS_PER_STAGE: Final = 1_000


class Origin(Enum):
    """Where a data directory comes from, and so what its bound and its snapshot prove."""

    # It is where it was: both prove what was durable.
    HERE = "here"
    # A copy that nobody wrote to meanwhile: likewise.
    COPY_AT_REST = "copy at rest"
    # Any other copy: they may be of a later moment than the log, and prove nothing.
    COPY = "copy"


class Witnesses(NamedTuple):
    """What is known of a directory before its log is read."""

    origin: Origin
    # What its durable bound says, and what is proven to have been durable besides.
    noted: DurableBound
    bound: DurableBound
    # How long the file of event schemas of a copy is; None where it is none.
    copied_schemas_size: int | None


def find_witnesses(directory: Folder, disk: Disk) -> Witnesses:
    """Find out what is known of a directory; changes nothing.

    Raises:
        CorruptLogError: Its log ends before what its index proves to have been durable.
    """
    noted = read_bound(directory, disk)
    origin = find_origin(directory, disk, noted)
    if origin is Origin.HERE:
        return Witnesses(origin, noted, noted.at_least(find_proven(directory, disk)), None)
    return Witnesses(origin, noted, noted, len(read_schemas(directory, disk)))


def find_origin(directory: Folder, disk: Disk, noted: DurableBound) -> Origin:
    """Find out where a directory comes from whose bound is this; changes nothing."""
    if not is_copy(directory, disk):
        return Origin.HERE
    with ExitStack() as resources:
        try:
            folder = open_folder(disk, directory, INDEX_FOLDER, resources)
            saved_size = read_snapshot(folder, disk).log_size
        except (FileNotFoundError, ValueError):
            return Origin.COPY
        files = SegmentFiles()
        files.open_new(directory, disk, resources)
        schemas = read_schemas(directory, disk)
        is_at_rest = (saved_size, noted.log_size, noted.schemas_size) == (
            files.size,
            files.size,
            len(schemas),
        )
    return Origin.COPY_AT_REST if is_at_rest else Origin.COPY


def find_proven(directory: Folder, disk: Disk) -> DurableBound:
    """Return what the index of a log proves to have been durable; changes nothing.

    Raises:
        CorruptLogError: The log ends before.
    """
    # In this order: whoever writes meanwhile only makes the log longer.
    with ExitStack() as resources:
        try:
            folder = open_folder(disk, directory, INDEX_FOLDER, resources)
            snapshot = read_snapshot(folder, disk)
        except (FileNotFoundError, ValueError):
            # The log alone says what there is.
            return DurableBound()
        head = snapshot.head
        files = SegmentFiles()
        files.open_new(directory, disk, resources)
        # What is allocated behind the end reads as zeros.
        if head.log_size > 0 and files.read(head.log_size - 1, 1) in {b"", b"\0"}:
            starts = files.starts
            end = _last_byte(files, starts[-1][1]) if starts else 0
            position = _count_events(files, end)
            # Where events are missing before the end, replaying finds the first of them.
            if position < head.event_count:
                reason = (
                    f"the log ends before it, after {end} bytes, but its index was saved with "
                    f"{head.event_count} events in {head.log_size} bytes (if the log was meant to "
                    "become an older one, remove the folder 'index': ids that clients know then "
                    "stand for other events)"
                )
                raise _damage(position, reason)
    return DurableBound(head.event_count, head.log_size, snapshot.schemas_size)


def _count_events(files: SegmentFiles, end: int) -> int:
    """Return how many events there are, going by the id of the last one."""
    first = max(0, end - _LINE_SIZE_MAX)
    for line in reversed(files.read(first, end - first).splitlines(keepends=True)):
        with suppress(ValueError):
            return int(parse_line(line)[0].id) + 1
    return 0


class Replay(NamedTuple):
    """What recovery found behind the snapshot."""

    head: Head
    event_count: int
    # Where the last batch begins of which anything was kept.
    batch_start: int
    # Bytes of the torn tail behind the head, zero where the log ended cleanly.
    torn_size: int


class _Tail:
    """What has been read behind a head that moves along: whole writes, and the last one's start."""

    def __init__(self, index: Index, start: Head) -> None:
        self._index = index
        self.head = start
        self._events: list[AcceptedEvent] = []
        self._lines: list[bytes] = []
        # How many of them belong to whole writes, and the time of the last one of those.
        self._whole_count = 0
        self._whole_time = ""
        # Where the last batch begins that has a whole write, and where the next one would.
        self.batch_start = self._next_batch_start = start.log_size
        self.size = start.log_size
        self.hash = start.hash

    @property
    def event_count(self) -> int:
        return self.head.event_count + len(self._events)

    def add(self, event: Event, line: bytes, mark: Mark) -> None:
        self._events.append(AcceptedEvent(event.subject, event.type, b"", event.hash))
        self._lines.append(line)
        self.hash = event.hash
        self.size += len(line)
        if mark is Mark.EVENT:
            return
        self._whole_count, self._whole_time = len(self._events), event.time
        self.batch_start = self._next_batch_start
        if mark is Mark.BATCH:
            self._next_batch_start = self.size
        if self._whole_count >= _EVENTS_PER_STAGE:
            self.stage()

    def stage(self) -> None:
        """Put all whole writes into the index and move the head behind them."""
        count, index = self._whole_count, self._index
        if count == 0:
            return
        events = self._events[:count]
        try:
            time = parse_time(self._whole_time)
        except ValueError as error:
            raise _damage(self.head.event_count + count - 1, str(error)) from error
        self.head = index.stage(events, self._lines[:count], self.head, time=time)
        del self._events[:count], self._lines[:count]
        self._whole_count = 0


def replay(
    files: SegmentFiles,
    index: Index,
    start: Head,
    bound: DurableBound,
    *,
    stop: int | None = None,
    origin: Origin = Origin.HERE,
) -> Replay:
    """Bring the index from a head to the end of the log, and find that end.

    Where somebody is writing to the log it has no end that could be found: then it is read up to
    `stop`, which is where a batch ended that is durable.

    Raises:
        CorruptLogError: The durable part of the log is damaged.
    """
    # Whether it may end before the bound, and where something was written behind that.
    may_lack = origin is Origin.COPY
    tail = _Tail(index, start)
    for line in _read_lines(files, start.log_size, stop):
        position = tail.event_count
        event, mark, reason = _check_line(line, position, tail.hash)
        if event is None:
            if not (may_lack and _is_missing(files, tail.size, position, line)):
                _refuse_damage(files, tail.size, position, bound, reason, origin)
            break
        tail.add(event, line, mark)
    tail.stage()
    head = tail.head
    if head.log_size < max(bound.log_size, stop or 0) and not may_lack:
        raise _damage(head.event_count, "the log ends before it", origin)
    if stop is not None:
        torn_size = 0
    elif not may_lack and any(start > head.log_size for _, start in files.starts):
        raise _damage(head.event_count, "the log goes on without it", origin)
    else:
        torn_size = _last_byte(files, tail.size) - head.log_size
    return Replay(head, head.event_count - start.event_count, tail.batch_start, torn_size)


def _read_lines(files: SegmentFiles, offset: int, stop: int | None) -> Iterator[bytes]:
    """Yield what stands between line feeds; a last piece without one only if it is not zeros."""
    rest = b""
    while True:
        first = offset + len(rest)
        size = _BLOCK_SIZE if stop is None else min(_BLOCK_SIZE, stop - first)
        block = files.read(first, size)
        lines = (rest + block).splitlines(keepends=True)
        rest = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""
        yield from lines
        offset += sum(map(len, lines))
        if not block or len(rest) > _LINE_SIZE_MAX or rest.startswith(b"\0"):
            break
    # What is allocated behind the log's end reads as zeros: that is the end, not a line.
    if rest and (rest[0] != 0 or _last_byte(files, offset) > offset):
        yield rest


def _check_line(line: bytes, position: int, previous_hash: str) -> tuple[Event | None, Mark, str]:
    """Return the event, or None and what is wrong."""
    try:
        event, mark = parse_next_line(line, position=position, predecessor_hash=previous_hash)
    except ValueError as error:
        return None, Mark.EVENT, str(error)
    return event, mark, ""


def _is_missing(files: SegmentFiles, offset: int, position: int, line: bytes) -> bool:
    """Tell whether a line is not right since a copy lacks some of its bytes, or all of them."""
    if b"\0" in line or not line.endswith(b"\n"):
        return True
    # What a segment lacks at its end makes the lines of the next one follow; but not of the first
    # one, without which there is no log.
    stop = offset + len(line)
    return any(
        offset <= start < stop and 0 < position < first_position
        for first_position, start in files.starts
    )


def _refuse_damage(
    files: SegmentFiles,
    offset: int,
    position: int,
    bound: DurableBound,
    reason: str,
    origin: Origin,
) -> None:
    if offset < bound.log_size or _is_followed_by_a_batch(files, offset):
        raise _damage(position, reason, origin)


def _is_followed_by_a_batch(files: SegmentFiles, offset: int) -> bool:
    """Tell whether anything was written behind the batch in which an offset lies."""
    if any(start > offset for _, start in files.starts):
        # A segment is created for the next batch only.
        return True
    batch_end = _find(files, BATCH_END, offset)
    return batch_end is not None and _last_byte(files, batch_end) > batch_end


def _find(files: SegmentFiles, pattern: bytes, offset: int) -> int | None:
    """Return the offset behind the first occurrence of a pattern, at or after an offset."""
    while len(block := files.read(offset, _BLOCK_SIZE)) >= len(pattern):
        found = block.find(pattern)
        if found >= 0:
            return offset + found + len(pattern)
        offset += len(block) - len(pattern) + 1
    return None


def _last_byte(files: SegmentFiles, offset: int) -> int:
    """Return the offset behind the last byte that is not zero, at or after an offset."""
    last = offset
    while block := files.read(offset, _BLOCK_SIZE):
        used = len(block.rstrip(b"\0"))
        if used > 0:
            last = offset + used
        offset += len(block)
    return last


def _damage(position: int, reason: str, origin: Origin = Origin.HERE) -> CorruptLogError:
    if origin is not Origin.HERE:
        message = (
            f"the event with id {position} is damaged in this copy of a data directory: {reason}. "
            "Nothing was changed; 'everlog audit' tells all that is wrong. Make the copy again, or "
            "restore a backup"
        )
    else:
        message = (
            f"the event with id {position} is damaged in the durable part of the log: {reason}. "
            "Nothing was changed; 'everlog audit' tells all that is wrong. Restore the data "
            "directory from a backup, or keep a copy of it and ask for help; cutting the log there "
            "would lose acknowledged events. If a copy was put back into the directory that it was "
            "made of, put it into one that does not exist yet"
        )
    return CorruptLogError(message, position=position)
