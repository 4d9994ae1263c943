"""Loading: taking all that a log holds into a journal that nodes share, before there are nodes.

Event schemas come first, in entries of their own, then the events, many writes to an entry. An
entry ends where a write ends, so that no node ever shows half of one. What was loaded is told from
anything else by the chain of hashes: an event with the same hash at the same position has the same
events before it. So a load that was interrupted is gone on with by doing it again.

Guarantees that nothing is appended behind what is not the beginning of the log, and that whatever
becomes of an answer, an entry stands in the journal once.
What is left to others: where the log comes from, and that nobody else appends meanwhile. If
somebody does, the load ends and says so.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import Final, NamedTuple, TypeVar
from uuid import uuid4

from everlog.domain.chain import GENESIS_HASH, HashVersion, hash_version_of
from everlog.domain.errors import CorruptLogError, EverlogError, JournalUnreachableError
from everlog.service.mirroring.journal import (
    BEGINNING,
    Entry,
    EntryLostError,
    OutcomeUnknownError,
    PlacedEntry,
    SharedJournal,
    encode_entry,
)
from everlog.storage.engine import LogReader, Scan, StagedSchema
from everlog.storage.line import (
    BATCH_END,
    Mark,
    hashes_of,
    parse_line,
    parse_next_line,
    to_last_of_batch,
)

# Who appends the entries, for people.
NODE: Final = "everlog journal load"

# Large enough for an append to be worth its way, small enough for nodes that take it over.
_ENTRY_SIZE: Final = 1024 * 1024

# What stands in front of an entry's lines: names, hashes and numbers, none of them long.
_HEADER_SIZE_MAX: Final = 4 * 1024

# A journal that does not answer is asked again: its leader may have died just now.
_PATIENCE_SECONDS: Final = 60.0
_PAUSE_SECONDS: Final = 0.5

_Answer = TypeVar("_Answer")


class OtherContentError(EverlogError):
    """The journal holds something else than the beginning of what is to be loaded."""


class EntryTooLargeError(EverlogError):
    """A write, or an event schema, is larger than an entry of the journal may be."""


class Standing(NamedTuple):
    """How much of a log a journal has: its event schemas, and so many events."""

    place: int
    event_count: int
    hash: str
    schemas: frozenset[StagedSchema]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing at all."""
        return self.place == BEGINNING


def verify_log(log: LogReader, *, entry_size_max: int, on_event: Callable[[int], None]) -> None:
    """Read all events of a log, check them, and that writes and schemas fit into entries.

    `on_event` is told the number of events that were read, after each.

    Raises:
        CorruptLogError: An event is not as it was written.
        EntryTooLargeError: A write does not fit.
        ReadFailedError: The disk does not give what is stored on it.
    """
    for _ in _parts_of_schemas(log, frozenset(), entry_size_max):
        pass
    head, position, hash_, first, size = log.head, 0, GENESIS_HASH, 0, 0
    for block in log.scan(Scan(start=0, stop=head.event_count), head):
        for line in _lines_of(block):
            try:
                event, mark = parse_next_line(line, position=position, predecessor_hash=hash_)
            except ValueError as error:
                message = (
                    f"event {position} is not as it was written: {error}; 'everlog audit' tells "
                    "all that is wrong"
                )
                raise CorruptLogError(message, position=position) from error
            position, hash_, size = position + 1, event.hash, size + len(line)
            if mark is not Mark.EVENT:
                _check_size(first, position, size, entry_size_max)
                first, size = position, 0
            on_event(position)
    assert position == head.event_count
    assert hash_ == head.hash


async def find_standing(journal: SharedJournal, log: LogReader) -> Standing:
    """Return how much of a log a journal has, which is the beginning of it or nothing.

    Raises:
        OtherContentError: It has something else.
        JournalUnreachableError: It does not answer for long.
    """
    place, schemas = await _read_first_schemas(journal)
    last = await find_last(journal)
    if last is None:
        standing = Standing(place, 0, GENESIS_HASH, schemas)
    else:
        entry = last.entry
        standing = Standing(last.place, entry.end, entry.hash, schemas)
    _check_is_beginning(standing, log)
    page = await _ask(lambda: journal.read(after=standing.place, size_max=1))
    if page.entries:
        raise OtherContentError("event schemas stand in it behind its last event")
    return standing


async def find_last(journal: SharedJournal) -> PlacedEntry | None:
    """Return the entry with the last event, None if there is no event.

    Raises:
        JournalUnreachableError: The journal does not answer for long.
    """
    found: PlacedEntry | None = None
    # An entry ends at `low` or there is none, and none ends behind `high`, if that is known.
    low, high = 0, None
    while high is None or low < high:
        middle = 2 * low + 1 if high is None else (low + high + 1) // 2
        placed = await _find(journal, middle)
        if placed is None:
            high = middle - 1
        else:
            found, low = placed, placed.entry.end
    return found


async def append_log(
    journal: SharedJournal,
    log: LogReader,
    standing: Standing,
    *,
    on_appended: Callable[[int], None],
) -> None:
    """Append what of a verified log a journal lacks; `on_appended` is told how much it has then.

    Raises:
        OtherContentError: Somebody else has appended something meanwhile.
        JournalUnreachableError: It does not answer for long; doing it again goes on from there.
        CorruptLogError, ReadFailedError: The log cannot be read any more.
    """
    place, count, hash_ = standing.place, standing.event_count, standing.hash
    version = _hash_version_of(log.head.hash)
    for schemas in _parts_of_schemas(log, standing.schemas, journal.entry_size_max):
        entry = _entry(count, hash_, version, schemas=schemas)
        place = await _append(journal, entry, after=place)
    for lines in _parts_of_log(log, count, journal.entry_size_max):
        entry = _entry(count, hash_, version, lines=lines)
        place = await _append(journal, entry, after=place)
        count, hash_ = entry.end, entry.hash
        on_appended(count)


# What is there.


async def _read_first_schemas(journal: SharedJournal) -> tuple[int, frozenset[StagedSchema]]:
    """Return the event schemas in front of all events, and the place of the last of them."""
    place, schemas = BEGINNING, set[StagedSchema]()
    while True:
        page = await _ask(partial(journal.read, after=place, size_max=_ENTRY_SIZE))
        for placed in page.entries:
            if placed.entry.end > 0:
                return place, frozenset(schemas)
            place = placed.place
            schemas.update(placed.entry.schemas)
        if page.is_end:
            return place, frozenset(schemas)


async def _find(journal: SharedJournal, position: int) -> PlacedEntry | None:
    """Return the first entry that ends at a position or later."""
    place = await _ask(lambda: journal.find(position))
    page = await _ask(lambda: journal.read(after=place, size_max=1))
    found = next(iter(page.entries), None)
    return None if found is None or found.entry.end < position else found


def _check_is_beginning(standing: Standing, log: LogReader) -> None:
    count, schemas = standing.event_count, frozenset(_schemas_of(log))
    if count > log.head.event_count:
        message = f"it has {count:,} events, and what is to be loaded has {log.head.event_count:,}"
        raise OtherContentError(message)
    if count > 0 and _hash_at(log, count - 1) != standing.hash:
        raise OtherContentError(f"its event {count - 1} is another one")
    if not standing.schemas <= schemas:
        raise OtherContentError("it has event schemas that are not those to be loaded")
    if count > 0 and standing.schemas != schemas:
        raise OtherContentError("what is to be loaded has more event schemas than it begins with")


def _hash_at(log: LogReader, position: int) -> str:
    scan = Scan(start=position, stop=position + 1)
    return parse_line(b"".join(log.scan(scan, log.head)))[0].hash


# What is appended.


def _schemas_of(log: LogReader) -> Iterator[StagedSchema]:
    for chunk in log.event_types(log.head):
        for event_type in chunk:
            if event_type.schema is not None:
                yield StagedSchema(event_type.name, event_type.schema)


def _parts_of_schemas(
    log: LogReader, known: frozenset[StagedSchema], entry_size_max: int
) -> Iterator[Sequence[StagedSchema]]:
    """Yield the event schemas that are not known, as many at a time as fit into an entry."""
    part: list[StagedSchema] = []
    size, size_max = 0, _lines_size(entry_size_max)
    for schema in _schemas_of(log):
        if schema in known:
            continue
        # As a text in JSON, with an escape for each of its quotes.
        needed = len(encode_entry(_entry(0, GENESIS_HASH, HashVersion.V1, schemas=[schema])))
        if needed > entry_size_max:
            message = (
                f"the schema of the event type '{schema.event_type}' takes {needed:,} bytes, and "
                f"an entry of the journal may have {entry_size_max:,}"
            )
            raise EntryTooLargeError(message)
        if part and size + needed > size_max:
            yield part
            part, size = [], 0
        part.append(schema)
        size += needed
    if part:
        yield part


def _parts_of_log(log: LogReader, start: int, entry_size_max: int) -> Iterator[list[bytes]]:
    """Yield the lines of whole writes, as many at a time as an entry is to have.

    The last one of each has the mark of a batch, and no other.
    """
    size_max = _lines_size(entry_size_max)
    part: list[bytes] = []
    write: list[bytes] = []
    part_size = write_size = 0
    for block in log.scan(Scan(start=start, stop=log.head.event_count), log.head):
        for line in _lines_of(block):
            is_batch_end = line.endswith(BATCH_END)
            # For now it is the end of a write.
            write.append(line[:-2] + b"\n" if is_batch_end else line)
            write_size += len(line)
            if not line.endswith(b" \n"):
                continue
            if part and part_size + write_size > size_max:
                yield _ended(part)
                part, part_size = [], 0
            part += write
            part_size += write_size
            write, write_size = [], 0
    assert not write
    if part:
        yield _ended(part)


def _ended(lines: list[bytes]) -> list[bytes]:
    return [*lines[:-1], to_last_of_batch(lines[-1])]


def _lines_size(entry_size_max: int) -> int:
    return min(_ENTRY_SIZE, entry_size_max - _HEADER_SIZE_MAX)


def _check_size(first: int, end: int, size: int, entry_size_max: int) -> None:
    if size <= entry_size_max - _HEADER_SIZE_MAX:
        return
    events = f"event {first}" if end == first + 1 else f"events {first} to {end - 1}"
    message = (
        f"{events}, which were written at once, take {size:,} bytes, and an entry of the journal "
        f"may have {entry_size_max - _HEADER_SIZE_MAX:,}; no write is ever divided"
    )
    raise EntryTooLargeError(message)


def _lines_of(block: bytes) -> list[bytes]:
    return [line + b"\n" for line in block[:-1].split(b"\n")]


def _entry(
    first: int,
    predecessor_hash: str,
    version: HashVersion,
    *,
    lines: Sequence[bytes] = (),
    schemas: Sequence[StagedSchema] = (),
) -> Entry:
    content, hash_ = b"".join(lines), predecessor_hash
    if lines:
        try:
            hash_ = hashes_of(content, predecessor_hash=predecessor_hash.encode())[-1].decode()
        except ValueError as error:
            position = first + int(error.args[0])
            message = f"event {position} is not as it was when it was verified"
            raise CorruptLogError(message, position=position) from error
    return Entry(
        batch_id=uuid4().hex,
        node=NODE,
        first=first,
        end=first + len(lines),
        predecessor_hash=predecessor_hash,
        hash=hash_,
        hash_version=version,
        schemas=schemas,
        lines=content,
    )


def _hash_version_of(hash_: str) -> HashVersion:
    """Return how the last event is hashed, which is how its server would hash the next one."""
    version = hash_version_of(hash_)
    assert version is not None
    return version


# Asking a journal that may be away for a moment.


async def _append(journal: SharedJournal, entry: Entry, *, after: int) -> int:
    """Append an entry, and return its place; whatever becomes of an answer, it is there once."""

    async def attempt() -> int:
        try:
            return await journal.append(entry, after=after)
        except (EntryLostError, OutcomeUnknownError) as error:
            page = await journal.read(after=after, size_max=1)
            if not page.entries:
                raise JournalUnreachableError(str(error) or "no answer came") from error
            found = page.entries[0]
            if found.entry.batch_id != entry.batch_id:
                message = f"'{found.entry.node}' has appended something meanwhile"
                raise OtherContentError(message) from error
            return found.place

    return await _ask(attempt)


async def _ask(attempt: Callable[[], Awaitable[_Answer]]) -> _Answer:
    """Try until there is an answer, or patience ends."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return await attempt()
        except JournalUnreachableError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(_PAUSE_SECONDS)
