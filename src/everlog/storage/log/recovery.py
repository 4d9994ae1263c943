"""Recovery: reading the log from a checkpoint to its end, and deciding what its end is.

Every line from the checkpoint on is read, its chain and hash are checked, and complete writes are
put into the index. Where a line is not as it should be, one of two things is true.

*A torn tail*: the process or the power went while the last batch was being written. Nothing of
it was acknowledged. It is cut, as are events of a write whose last event is missing.

*Damage*: what was acknowledged has changed. Nothing is cut; opening is refused with the event's
id. Damage is told from a torn tail by two facts. The durable bound was written after a sync, so
whatever lies before it was acknowledged. And a batch is written only after the one before it was
synced, so that only the very last batch can be torn: if anything follows the end of the
batch in which the bad line lies, that batch was durable.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from everlog.domain.errors import CorruptLogError
from everlog.domain.event import AcceptedEvent, Event, is_hash_valid
from everlog.domain.time import parse_time
from everlog.storage.engine import Head
from everlog.storage.line import BATCH_END, Mark, parse_line
from everlog.storage.log.durable import DurableBound
from everlog.storage.log.index import Index
from everlog.storage.log.segments import Segments

_BLOCK_SIZE: Final = 1024 * 1024

# A line that is not complete after so many bytes is not a line: events are at most 64 KiB,
# and escaping a tracestate cannot double that.
_LINE_SIZE_MAX: Final = 256 * 1024


class Replay(NamedTuple):
    """What recovery found behind the checkpoint."""

    head: Head
    event_count: int
    # Where the last batch begins of which anything was kept.
    batch_start: int
    # Bytes of the torn tail that were cut, zero where the log ended cleanly.
    torn_size: int


class _ReadLine(NamedTuple):
    offset: int
    content: bytes


def replay(segments: Segments, index: Index, start: Head, bound: DurableBound) -> Replay:
    """Bring the index from a checkpoint's head to the end of the log, and find that end.

    Raises:
        CorruptLogError: The durable part of the log is damaged.
    """
    head = start
    # The lines of the write that is being read, up to its mark.
    write: list[tuple[AcceptedEvent, bytes, int]] = []
    previous_hash, end = start.hash, start.log_size
    batch_start = next_batch_start = start.log_size
    for line in _read_lines(segments, start.log_size):
        position = head.event_count + len(write)
        event, mark, reason = _check_line(line.content, position, previous_hash)
        if event is None:
            _refuse_damage(segments, line.offset, position, bound, reason)
            break
        write.append((_accepted(event), line.content, parse_time(event.time)))
        previous_hash, end = event.hash, line.offset + len(line.content)
        if mark is not Mark.EVENT:
            head = _index_write(index, head, write)
            write, batch_start = [], next_batch_start
        if mark is Mark.BATCH:
            next_batch_start = end
    if head.log_size < bound.log_size:
        raise _damage(head.event_count, "the log ends before it")
    if any(segment_start > head.log_size for _, segment_start in segments.starts):
        raise _damage(head.event_count, "the log goes on without it")
    torn_size = _last_byte(segments, end) - head.log_size
    return Replay(head, head.event_count - start.event_count, batch_start, torn_size)


def _read_lines(segments: Segments, offset: int) -> Iterator[_ReadLine]:
    """Yield what stands between line feeds; a last piece without one only if it is not zeros."""
    rest = b""
    while True:
        block = segments.read(offset + len(rest), _BLOCK_SIZE)
        pieces = (rest + block).split(b"\n")
        for piece in pieces[:-1]:
            yield _ReadLine(offset, piece + b"\n")
            offset += len(piece) + 1
        rest = pieces[-1]
        if not block or len(rest) > _LINE_SIZE_MAX or (rest and rest[0] == 0):
            break
    # What is allocated behind the log's end reads as zeros: that is the end, not a line.
    if rest and (rest[0] != 0 or _last_byte(segments, offset) > offset):
        yield _ReadLine(offset, rest)


def _check_line(line: bytes, position: int, previous_hash: str) -> tuple[Event | None, Mark, str]:
    """Return the event, or None and what is wrong."""
    try:
        event, mark = parse_line(line)
        parse_time(event.time)
    except ValueError as error:
        return None, Mark.EVENT, str(error)
    if event.id != str(position):
        return None, mark, f"its id is {event.id!r}"
    if event.predecessorhash != previous_hash:
        return None, mark, "it does not name the hash of the event before it"
    if not is_hash_valid(event):
        return None, mark, "its hash is not that of its content"
    return event, mark, ""


def _accepted(event: Event) -> AcceptedEvent:
    return AcceptedEvent(event.subject, event.type, "", event.hash)


def _index_write(index: Index, head: Head, write: list[tuple[AcceptedEvent, bytes, int]]) -> Head:
    events = [event for event, _, _ in write]
    log_size = index.stage(events, [line for _, line, _ in write], head)
    return Head(
        event_count=head.event_count + len(write),
        log_size=log_size,
        subject_count=len(index.subjects.names),
        event_type_count=len(index.event_types.names),
        hash=events[-1].hash,
        time=write[-1][2],
    )


def _refuse_damage(
    segments: Segments, offset: int, position: int, bound: DurableBound, reason: str
) -> None:
    if offset < bound.log_size or _is_followed_by_a_batch(segments, offset):
        raise _damage(position, reason)


def _is_followed_by_a_batch(segments: Segments, offset: int) -> bool:
    """Tell whether anything was written behind the batch in which an offset lies."""
    if any(start > offset for _, start in segments.starts):
        # A segment is created for the next batch only.
        return True
    batch_end = _find(segments, BATCH_END, offset)
    return batch_end is not None and _last_byte(segments, batch_end) > batch_end


def _find(segments: Segments, pattern: bytes, offset: int) -> int | None:
    """Return the offset behind the first occurrence of a pattern, at or after an offset."""
    while block := segments.read(offset, _BLOCK_SIZE):
        found = block.find(pattern)
        if found >= 0:
            return offset + found + len(pattern)
        if len(block) < len(pattern):
            break
        offset += len(block) - len(pattern) + 1
    return None


def _last_byte(segments: Segments, offset: int) -> int:
    """Return the offset behind the last byte that is not zero, at or after an offset."""
    last = offset
    while block := segments.read(offset, _BLOCK_SIZE):
        used = len(block.rstrip(b"\0"))
        if used > 0:
            last = offset + used
        offset += len(block)
    return last


def _damage(position: int, reason: str) -> CorruptLogError:
    message = (
        f"the event with id {position} is damaged in the durable part of the log: {reason}. "
        "Nothing was changed. Restore the data directory from a backup, or keep a copy of it and "
        "ask for help; cutting the log there would lose acknowledged events"
    )
    return CorruptLogError(message, position=position)
