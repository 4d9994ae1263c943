"""The line: one event as it stands in the log and as a v1 reader gets it.

    {"type":"event","payload":{...}}<mark><LF>

The mark is insignificant JSON whitespace, so that a stored line is served as it is:
none inside a write, one space at the end of a write, two spaces at the end of a batch (the
writes that share one sync). It makes a write of several events atomic without a second sync,
and tells recovery which bytes belong to the one batch that may be torn.
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import Final

import msgspec

from everlog.domain.event import AcceptedEvent, Event, is_hash_valid

LINE_PREFIX: Final = b'{"type":"event","payload":'


class Mark(IntEnum):
    """What ends with this line; the value is the number of spaces that say so."""

    EVENT = 0
    WRITE = 1
    BATCH = 2


BATCH_END: Final = b"}}  \n"
_WRITE_END: Final = b"}} \n"

_ENDS: Final = ((Mark.WRITE, _WRITE_END), (Mark.BATCH, BATCH_END), (Mark.EVENT, b"}}\n"))

# What stands behind an event's own text, by its mark.
_LINE_ENDS: Final = (b"}\n", b"} \n", b"}  \n")
_WRITE_LINE_END: Final = _LINE_ENDS[Mark.WRITE]


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    type: str
    payload: Event


_DECODER: Final = msgspec.json.Decoder(_Line)


def render_line(event_json: bytes, mark: Mark) -> bytes:
    """Return the line of one event, with its line feed."""
    return LINE_PREFIX + event_json + _LINE_ENDS[mark]


def render_write(events: Sequence[AcceptedEvent], *, is_end: bool = True) -> list[bytes]:
    """Return the lines of one write, the last one with its mark, or of its beginning."""
    if not is_end:
        return [LINE_PREFIX + event.json + b"}\n" for event in events]
    last = LINE_PREFIX + events[-1].json + _WRITE_LINE_END
    # Most writes are of one event.
    if len(events) == 1:
        return [last]
    return [*[LINE_PREFIX + event.json + b"}\n" for event in events[:-1]], last]


def to_last_of_batch(line: bytes) -> bytes:
    """Return the last line of a write as the last line of a batch, which is one byte longer."""
    assert line.endswith(_WRITE_LINE_END)
    return line[:-1] + b" \n"


def to_last_of_write(line: bytes) -> bytes:
    """Return the last line of a batch as the last line of a write, which is one byte shorter."""
    assert line.endswith(BATCH_END)
    return line[: -len(BATCH_END)] + _WRITE_END


def merge_batches(batches: Sequence[bytes]) -> list[bytes]:
    """Return the lines of batches that follow each other as those of one batch.

    All but the last one end like a write then: what shares a sync differs from place to place, and
    the events and where their writes end do not.
    """
    lines: list[bytes] = []
    for batch in batches:
        if lines:
            lines[-1] = to_last_of_write(lines[-1])
        lines += batch.splitlines(keepends=True)
    return lines


def parse_line(line: bytes) -> tuple[Event, Mark]:
    """Return the event of a line (with its line feed) and the mark at its end.

    Raises:
        ValueError: The bytes are not a line as `render_line` makes it.
    """
    if not line.startswith(LINE_PREFIX):
        message = "the line does not begin as an event's line does"
        raise ValueError(message)
    mark = next((mark for mark, end in _ENDS if line.endswith(end)), None)
    if mark is None:
        message = "the line does not end as an event's line does"
        raise ValueError(message)
    try:
        # The decoder looks at the encoding of what it decodes only, and leaves `data` as it is.
        if not line.isascii():
            line.decode()
        return _DECODER.decode(line).payload, mark
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        message = f"the line is not an event: {error}"
        raise ValueError(message) from error


def parse_next_line(
    line: bytes, *, position: int, predecessor_hash: str, is_verified: bool = False
) -> tuple[Event, Mark]:
    """Return the event of a line that continues a log, and its mark.

    Where somebody has verified the hash, it is not computed again.

    Raises:
        ValueError: It is no line, or not that of the next event.
    """
    event, mark = parse_line(line)
    if event.id != str(position):
        message = f"its id is {event.id!r}"
        raise ValueError(message)
    if event.predecessorhash != predecessor_hash:
        message = "it does not name the hash of the event before it"
        raise ValueError(message)
    if not (is_verified or is_hash_valid(event)):
        message = "its hash is not that of its content"
        raise ValueError(message)
    return event, mark


def hashes_of(lines: bytes, *, predecessor_hash: bytes) -> list[bytes]:
    """Return the hashes of the events of whole lines, which have to follow each other.

    Only the end of each line is looked at: its hash, and that it names that of the line before.

    Raises:
        ValueError: A line does not; its argument is the number of those before it.
    """
    found: list[bytes] = []
    before = predecessor_hash
    for line in lines.split(b"\n")[:-1]:
        # It ends with eight quotes: "...","hash":"...","signature":null, behind "predecessorhash":
        parts = line.rsplit(b'"', 8)
        if len(parts) < 9 or parts[1] != before or parts[3] != b"hash" or parts[7] != b"signature":
            raise ValueError(len(found))
        before = parts[5]
        found.append(before)
    return found


def accepted_event(event: Event, line: bytes, mark: Mark) -> AcceptedEvent:
    """Return the event of a line as the one who accepted it had it."""
    json = line[len(LINE_PREFIX) : len(line) - len(_LINE_ENDS[mark])]
    return AcceptedEvent(event.subject, event.type, json, event.hash)
