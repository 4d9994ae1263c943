"""Restoring: making a data directory of a backup that comes in pieces.

All of it is checked: that events are what they may be, that they follow each other, their hashes,
and that they match their schemas. What is checked is written to a draft with the log engine, batch
by batch, so that memory is bounded whatever comes. Nobody sees anything of it until `finish` gives
the draft its name; whoever opens the directory for writing then puts it into its place
(`storage.log.restored`).

Whoever restores keeps others from opening the directory for writing meanwhile, and has found that
the store in it is empty: a server by its own engine, everybody else by `empty_store`.
What is left to others: compression, and what the pieces come from.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final, NoReturn, Self

import msgspec

from everlog.domain.chain import HashVersion
from everlog.domain.errors import Code, DiskFullError, RefusedError
from everlog.domain.event_type import parse_event_type
from everlog.domain.json_text import find_foreign_encoding
from everlog.domain.limits import BACKUP_LINE_SIZE_MAX
from everlog.domain.schema import EventSchema, read_event_schema
from everlog.storage.engine import JournalEntry, Scan, StagedSchema
from everlog.storage.line import Mark, render_line, to_last_of_batch
from everlog.storage.log import LogEngine
from everlog.storage.log.directory import open_directory
from everlog.storage.log.disk import Disk, PosixDisk, describe_shortage, is_full
from everlog.storage.log.restored import DRAFT_FOLDER, accept_draft, remove_draft
from everlog.storage.log.segments import SEGMENT_SIZE_MAX
from everlog.transfer.backup_lines import (
    EndItem,
    EventItem,
    Line,
    SchemaItem,
    parse_backup_lines,
)
from everlog.transfer.chaining import Chain, Rechained, TakenEvent
from everlog.transfer.judging import SchemaJudge

# What is read, and what is written and synced, at once.
_BLOCK_SIZE: Final = 1024 * 1024

# What chaining a backup anew helps against, and how to ask for it.
_NOT_WHOLE: Final = frozenset(
    {Code.EVENT_CHAIN_BROKEN, Code.EVENT_HASH_MISSING, Code.FULL_BACKUP_MISSING}
)
_HINT: Final = (
    "a backup that was filtered or changed on purpose can be chained anew, with --rechain or "
    "?rechain=true"
)


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    """What was restored; ids and hashes are None where there is no event."""

    event_count: int
    schema_count: int
    first_id: str | None
    first_hash: str | None
    last_id: str | None
    last_hash: str | None
    # What chaining anew changed; None where nobody asked for it.
    rechained: Rechained | None


class _Stored(msgspec.Struct, gc=False):
    id: str
    data: msgspec.Raw


class _StoredLine(msgspec.Struct, gc=False):
    payload: _Stored


_decode_stored_lines = msgspec.json.Decoder(_StoredLine).decode_lines


class Restoring:
    """A restore; a `with` block abandons it unless it was finished."""

    def __init__(
        self,
        directory: Path,
        *,
        disk: Disk | None = None,
        rechain: bool = False,
        hash_version: HashVersion = HashVersion.V1,
        segment_size_max: int = SEGMENT_SIZE_MAX,
        on_step: Callable[[], None] = lambda: None,
    ) -> None:
        """Do nothing yet.

        With `rechain` a chain that is not whole is made whole; the version is for events that have
        no hash then. `on_step` is called after each event, for those who let others have a turn.
        """
        self._on_step: Final = on_step
        self._path: Final = directory
        self._disk: Final = disk or PosixDisk()
        self._segment_size_max: Final = segment_size_max
        self._chain: Final = Chain(rechain=rechain, hash_version=hash_version)
        self._judge: Final = SchemaJudge()
        self._schemas: Final[dict[str, EventSchema]] = {}
        self._first: tuple[str, str] | None = None
        # Bytes behind the last whole line, and how many came since lines were taken.
        self._rest: list[bytes] = []
        self._rest_size = self._unread_size = 0
        # Of the file that is being fed.
        self._line_number = 1
        self._needs_end = self._has_ended = False
        self._is_file_begun = False
        # The next batch.
        self._lines: list[bytes] = []
        self._new_schemas: list[StagedSchema] = []
        self._batch_size = 0
        # What was not judged at once, by event type: line numbers, ids and data.
        self._unjudged: dict[str, list[tuple[int, str, str]]] = {}

    def __enter__(self) -> Self:
        """Begin the draft; one that was left is removed.

        Raises:
            DataDirectoryError, DiskFullError, OSError: The draft cannot be made.
        """
        with ExitStack() as resources:
            self._directory = open_directory(self._path, self._disk, resources)
            remove_draft(self._directory, self._disk)
            draft, size_max = self._path / DRAFT_FOLDER, self._segment_size_max
            try:
                self._engine = LogEngine.open(draft, disk=self._disk, segment_size_max=size_max)
            except BaseException as error:
                with suppress(OSError):
                    remove_draft(self._directory, self._disk)
                if isinstance(error, OSError) and is_full(error):
                    raise DiskFullError(describe_shortage(error)) from error
                raise
            self._is_open = True
            resources.callback(self._judge.close)
            self._resources = resources.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Abandon what is not finished."""
        self.abandon()

    @property
    def event_count(self) -> int:
        """How many events have been checked so far."""
        return self._chain.count

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of a file, whatever they begin and end with.

        Raises:
            RefusedError: There is something wrong with a line, which `details` names; abandon it.
            DiskFullError, StoreFailedError, OSError: The draft cannot be written; abandon it.
        """
        for start in range(0, len(chunk), _BLOCK_SIZE):
            piece = chunk[start : start + _BLOCK_SIZE]
            self._rest.append(piece)
            self._rest_size += len(piece)
            self._unread_size += len(piece)
            if self._unread_size >= _BLOCK_SIZE:
                self._take_block()

    def end_file(self) -> None:
        """Check that the file is whole; what is fed next is an increment to it.

        Raises what `feed` does.
        """
        self._take_block()
        rest = b"".join(self._rest)
        self._rest, self._rest_size = [], 0
        if rest.strip():
            self._take_last_line(rest)
        if self._needs_end and not self._has_ended:
            message = "the backup is incomplete: it has no 'end' as its last line"
            raise RefusedError(Code.BACKUP_INCOMPLETE, message, line=self._line_number)
        self._flush()
        self._line_number = 1
        self._needs_end = self._has_ended = self._is_file_begun = False

    def finish(self) -> Restored:
        """Let the store be restored, as soon as somebody opens the directory for writing.

        Raises what `feed` does. After a RefusedError nothing is restored; where the disk fails, the
        next opening finds either the empty store or the whole one.
        """
        self.end_file()
        chain = self._chain
        first_id, first_hash = self._first or (None, None)
        self._is_open = False
        self._engine.close()
        accept_draft(self._directory, self._disk)
        self._resources.close()
        return Restored(
            event_count=chain.count,
            schema_count=len(self._schemas),
            first_id=first_id,
            first_hash=first_hash,
            last_id=str(chain.count - 1) if chain.count else None,
            last_hash=chain.hash if chain.count else None,
            rechained=chain.rechained,
        )

    def abandon(self) -> None:
        """Remove the draft; what was finished stays."""
        with self._resources:
            if self._is_open:
                self._is_open = False
                self._engine.close()
                remove_draft(self._directory, self._disk)

    # Lines.

    def _take_block(self) -> None:
        """Take all whole lines that have come."""
        block = b"".join(self._rest)
        if self._line_number == 1:
            _check_encoding(block)
        size = block.rfind(b"\n") + 1
        self._rest, self._rest_size, self._unread_size = [block[size:]], len(block) - size, 0
        if self._rest_size > BACKUP_LINE_SIZE_MAX:
            number = self._line_number + block.count(b"\n")
            message = f"line {number} is longer than {BACKUP_LINE_SIZE_MAX} bytes"
            raise RefusedError(
                Code.BACKUP_MALFORMED, message, line=number, limit=BACKUP_LINE_SIZE_MAX
            )
        if size:
            self._take_lines(block[:size])

    def _take_last_line(self, line: bytes) -> None:
        """Take a line without its line feed: it is whole, or the file was cut there."""
        try:
            msgspec.json.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            message = f"the backup is incomplete: it ends in the middle of line {self._line_number}"
            raise RefusedError(Code.BACKUP_INCOMPLETE, message, line=self._line_number) from error
        self._take_lines(line + b"\n")

    def _take_lines(self, lines: bytes) -> None:
        for line in parse_backup_lines(lines, self._line_number):
            self._on_step()
            item = line.item
            if isinstance(item, EndItem):
                self._has_ended = True
                self._is_file_begun = False
                continue
            if line.version == 2:
                self._needs_end, self._has_ended = True, False
            try:
                if isinstance(item, EventItem):
                    self._take_event(line, item)
                else:
                    self._take_schema(line, item)
            except RefusedError as error:
                if "line" in error.details:
                    raise
                _refuse(error, line)
            if self._batch_size >= _BLOCK_SIZE:
                self._flush()
        self._line_number += lines.count(b"\n")

    def _take_event(self, line: Line, item: EventItem) -> None:
        taken = self._chain.take(item, is_first_of_file=not self._is_file_begun)
        self._is_file_begun = True
        if self._first is None:
            self._first = taken.id, taken.hash
        schema = self._schemas.get(item.event.type)
        if schema is not None:
            self._judge_event(line, item, schema, taken)
        stored = render_line(taken.json, Mark.WRITE)
        self._lines.append(stored)
        self._batch_size += len(stored)

    def _judge_event(
        self, line: Line, item: EventItem, schema: EventSchema, taken: TakenEvent
    ) -> None:
        """Judge an event at once, if that certainly takes a moment, or else later."""
        text, event_type = taken.data_text, schema.event_type
        if not self._judge.may_judge_at_once(schema, text):
            judged_later = self._unjudged.setdefault(event_type, [])
            judged_later.append((line.number, item.event.id, text))
            return
        reason = self._judge.find_violation_at_once(schema, taken.data)
        if reason is not None:
            raise _violation(reason, event_type)

    # Schemas.

    def _take_schema(self, line: Line, item: SchemaItem) -> None:
        event_type = parse_event_type(item.event_type, field="eventType")
        schema = read_event_schema(event_type, item.schema)
        known = self._schemas.get(event_type)
        if known is not None:
            # Every increment has all of them.
            if known.text != schema.text:
                message = f"the event type '{event_type}' has another schema already"
                raise RefusedError(Code.BACKUP_MALFORMED, message, eventType=event_type)
            return
        self._judge.check(schema)
        self._check_stored(line, schema)
        self._schemas[event_type] = schema
        self._new_schemas.append(StagedSchema(event_type, schema.text))
        self._batch_size += len(schema.text)

    def _check_stored(self, line: Line, schema: EventSchema) -> None:
        """Check that the events of a type match a schema that comes behind them."""
        self._flush()
        head = self._engine.head
        if self._engine.event_type(schema.event_type, head) is None:
            return
        event_types = frozenset({schema.event_type})
        scan = Scan(start=0, stop=head.event_count, event_types=event_types)
        for block in self._engine.scan(scan, head):
            events = [stored.payload for stored in _decode_stored_lines(block)]
            texts = [bytes(event.data).decode() for event in events]
            violation = self._judge.find_violation(schema, texts)
            if violation is not None:
                index, reason = violation
                _refuse(_violation(reason, schema.event_type), line, event_id=events[index].id)

    def _judge_later_ones(self) -> None:
        """Judge what was not judged at once."""
        unjudged, self._unjudged = self._unjudged, {}
        for event_type, events in unjudged.items():
            texts = [text for _, _, text in events]
            violation = self._judge.find_violation(self._schemas[event_type], texts)
            if violation is not None:
                index, reason = violation
                number, event_id, _ = events[index]
                line = Line(number, 1, EndItem())
                _refuse(_violation(reason, event_type), line, event_id=event_id)

    def _flush(self) -> None:
        """Write what has been checked."""
        self._judge_later_ones()
        if not self._lines and not self._new_schemas:
            return
        head = self._engine.head
        lines, schemas = self._lines, self._new_schemas
        self._lines, self._new_schemas, self._batch_size = [], [], 0
        if lines:
            lines[-1] = to_last_of_batch(lines[-1])
        entry = JournalEntry(head.event_count, head.hash, lines, schemas)
        self._engine.apply(entry, is_verified=True)
        assert self._engine.head.event_count == self._chain.count


@contextmanager
def empty_store(directory: Path, *, disk: Disk | None = None) -> Iterator[None]:
    """Hold a data directory whose store is empty, and at the end put into its place what came.

    The directory is created where it does not exist.

    Raises:
        RefusedError: The store is not empty.
        DataDirectoryError, DiskFullError, OSError: It cannot be opened.
    """
    engine = LogEngine.open(directory, disk=disk)
    try:
        if engine.head.event_count > 0 or engine.head.event_type_count > 0:
            raise store_not_empty(engine.head.event_count, str(directory))
        yield
    finally:
        engine.close()
    LogEngine.open(directory, disk=disk).close()


def store_not_empty(event_count: int, place: str) -> RefusedError:
    """Return the refusal of a restore into a store that has events or schemas already."""
    message = (
        f"{place} is not empty: it has {event_count} events, or event schemas; restore into an "
        "empty one"
    )
    return RefusedError(Code.STORE_NOT_EMPTY, message, eventCount=event_count)


def _check_encoding(block: bytes) -> None:
    fault = find_foreign_encoding(block)
    if fault is not None:
        raise RefusedError(
            Code.BACKUP_UNREADABLE, f"the backup cannot be read: {fault.reason}", line=1
        )


def _violation(reason: str, event_type: str) -> RefusedError:
    message = f"it does not match the schema of its type '{event_type}': {reason}"
    return RefusedError(Code.EVENT_SCHEMA_VIOLATED, message, eventType=event_type)


def _refuse(error: RefusedError, line: Line, *, event_id: str | None = None) -> NoReturn:
    """Raise a refusal that says where it is about."""
    if isinstance(line.item, EventItem):
        event_id = line.item.event.id
    where = f"line {line.number}"
    details = dict(error.details)
    if event_id is not None:
        where = f"{where}, event {event_id[:100]}"
        details["eventId"] = event_id[:100]
    message = f"{where}: {error.message}"
    if error.code in _NOT_WHOLE:
        message = f"{message}; {_HINT}"
    raise RefusedError(error.code, message, line=line.number, **details) from error
