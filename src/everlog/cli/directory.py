"""A data directory to read from, whether a server has it open or not: a way to a store.

What is read belongs to one head, the newest durable one when the reading begins. Nothing in the
directory is changed, and nobody is kept out of it.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final, NoReturn

import msgspec

from everlog.credentials.signing_key import load_signing_key
from everlog.domain.errors import (
    Code,
    CorruptLogError,
    DataDirectoryError,
    ReadFailedError,
    RefusedError,
)
from everlog.domain.selection import (
    BoundText,
    FromLatestEventText,
    parse_event_id,
    parse_read_selection,
)
from everlog.domain.signature import sign
from everlog.domain.subject import parse_subject
from everlog.eventql.planning.plan import EventScan
from everlog.eventql.query import EvaluationContext, QueryLimits, execute, prepare, scans_of
from everlog.library.store import Verification
from everlog.library.values import Bound, Event, EventType, Selection
from everlog.service.querying.log import HeadLog, to_storage_scan
from everlog.service.read_events import scan_of
from everlog.storage import engine as ports
from everlog.storage.engine import Head, Scan
from everlog.storage.line import parse_line
from everlog.storage.log import ReadOnlyLog
from everlog.storage.log.reading import positions_of
from everlog.transfer.backup_lines import schema_line, to_backup_lines

# How often somebody who waits for new events looks for them.
_LOOK_SECONDS: Final = 0.25


class _Id(msgspec.Struct, gc=False):
    id: str
    # Looked at so that an event without them is not taken for one.
    subject: str
    type: str


class _Line(msgspec.Struct, gc=False):
    payload: _Id


_decode_lines: Final[Callable[[bytes], list[_Line]]] = msgspec.json.Decoder(_Line).decode_lines


class DirectoryLog:
    """A durable head of a data directory: `eventql.planning.plan.Log`.

    Opening reads no event that the index knows. So what a query is given is looked at here: each
    event stands in its place, or is named. Whether it is what was written, an audit tells.
    """

    def __init__(self, reader: ReadOnlyLog, head: Head, on_read: Callable[[int], None]) -> None:
        """Look at nothing beyond a head; `on_read` is told of events as they are read."""
        self._reader: Final = reader
        self._head: Final = head
        self._on_read: Final = on_read
        # What the index alone answers.
        log = HeadLog(reader, head)
        self.count: Final = log.count
        self.count_by_event_type: Final = log.count_by_event_type
        self.subjects: Final = log.subjects
        self.event_types: Final = log.event_types

    def scan(self, scan: EventScan) -> Iterator[bytes]:
        """Yield blocks of whole stored lines, in the scan's order.

        Raises:
            CorruptLogError: An event does not stand in its place.
        """
        return self.read(to_storage_scan(scan, self._reader, self._head))

    def read(self, selected: Scan) -> Iterator[bytes]:
        """Yield the same for a scan of the storage."""
        found = positions_of(self._reader.locate(selected, self._head))
        positions = chain.from_iterable(array.tolist() for array in found)
        for block in self._reader.scan(selected, self._head):
            self._on_read(self._check(block, positions))
            yield block
        # A file that has become shorter since it was opened gives less, and no error.
        for position in positions:
            raise self._out_of_place(position)

    def _check(self, block: bytes, positions: Iterator[int]) -> int:
        """Check that lines are the next events of a scan, and return how many they are."""
        try:
            ids = [line.payload.id for line in _decode_lines(block)]
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            ids = []
        expected = [*islice(positions, len(ids) or block.count(b"\n") + 1)]
        if ids != [*map(str, expected)]:
            raise self._out_of_place(_first_wrong(block.split(b"\n"), expected))
        return len(ids)

    def _out_of_place(self, position: int) -> CorruptLogError:
        file = self._reader.path_of(position)
        message = (
            f"event {position} in {file.parent.name}/{file.name} is not as it was written; "
            "'everlog audit' tells all that is wrong"
        )
        return CorruptLogError(message, position=position)


def _first_wrong(lines: Sequence[bytes], positions: Sequence[int]) -> int:
    """Return the position of the first line that is not the event in this place."""
    for line, position in zip(lines, positions, strict=False):
        try:
            if msgspec.json.decode(line, type=_Line).payload.id != str(position):
                return position
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return position
    # Only the block as a whole is not what its lines are.
    return positions[0]


class DirectoryTransport:
    """The way to a store in a data directory that nobody writes to through it."""

    def __init__(
        self,
        directory: Path,
        *,
        signing_key_file: Path | None = None,
        on_read: Callable[[int, int], None] = lambda *_: None,
    ) -> None:
        """Open it at its newest durable head.

        `on_read` is told how many events were read so far, and how many there are to be read.

        Raises:
            SettingsError: The signing key cannot be used.
            DataDirectoryError: The directory cannot be read, or is damaged.
        """
        self._directory: Final = directory
        self._on_read: Final = on_read
        key = load_signing_key(signing_key_file)
        self._sign: Final = None if key is None else lambda hash_: sign(key, hash_)
        # The log can move to a newer head while somebody reads; only one may move it at a time.
        self._lock: Final = threading.Lock()
        with self._judged():
            self._log: Final = ReadOnlyLog.open(directory)

    def __str__(self) -> str:
        """Say which directory it is."""
        return f"{self._directory} (for reading)"

    def write(self, *_: object) -> NoReturn:
        """Refuse: it is for reading."""
        raise self._for_reading_only()

    def register_event_schema(self, *_: object) -> NoReturn:
        """Refuse: it is for reading."""
        raise self._for_reading_only()

    def read(self, selection: Selection) -> Iterator[Sequence[Event]]:
        """Yield the events of a selection, some at a time."""
        latest = selection.from_latest_event
        parsed = parse_read_selection(
            subject=selection.subject,
            recursive=selection.recursive,
            order=selection.order,
            lower_bound=_text_of(selection.lower_bound),
            upper_bound=_text_of(selection.upper_bound),
            from_latest_event=None
            if latest is None
            else FromLatestEventText(latest.subject, latest.type, latest.if_event_is_missing),
        )
        head = self._log.head
        with self._judged():
            scan = scan_of(self._log, parsed, head)
            if scan is not None:
                yield from self._events(scan, head)

    def _events(self, scan: Scan, head: Head) -> Iterator[Sequence[Event]]:
        total = self._log.count(scan, head)
        done = 0

        def count(events: int) -> None:
            nonlocal done
            done += events
            self._on_read(done, max(done, total))

        log = DirectoryLog(self._log, head, count)
        for block in log.read(scan):
            yield [self._signed(Event(line)) for line in block.splitlines()]

    def _signed(self, event: Event) -> Event:
        return event if self._sign is None else event.with_signature(self._sign(event.hash))

    def observe(
        self, subject: str, *, recursive: bool, lower: Bound | None
    ) -> "DirectoryObservation":
        """Return what is behind a bound, and what others will write."""
        start = 0
        if lower is not None:
            position = parse_event_id(lower.id, field="options.lowerBound.id")
            start = position + (lower.type == "exclusive")
        return DirectoryObservation(self, parse_subject(subject), start, recursive=recursive)

    def refresh(self) -> Head:
        """Move to the newest durable head, and return it."""
        with self._lock, self._judged():
            return self._log.refresh()

    def scan_events(self, scan: Scan, head: Head) -> Iterator[Sequence[Event]]:
        """Yield the events of a scan of one head, some at a time."""
        with self._judged():
            yield from self._events(scan, head)

    def query(self, text: str) -> Iterator[Sequence[bytes]]:
        """Yield the rows of a query as JSON, some at a time; no rows say that work goes on.

        Raises:
            QueryMalformedError, QueryUnevaluableError, QueryLimitError: It has no answer.
        """
        plan = prepare(text)
        context = EvaluationContext(
            now=time.time_ns(), random=random.random, sign=self._sign, limits=QueryLimits()
        )
        done = total = 0

        def count(events: int) -> None:
            nonlocal done
            done += events
            # A source that is joined may be read more than once.
            self._on_read(done, max(done, total))

        with self._judged():
            log = DirectoryLog(self._log, self._log.head, count)
            total = sum(map(log.count, scans_of(plan)))
            yield from execute(plan, log, context)

    def subjects(self, subject: str) -> Iterator[Sequence[str]]:
        """Yield a subject and all below it that exist, some at a time."""
        with self._judged():
            yield from self._log.subjects(parse_subject(subject), self._log.head)

    def event_types(self) -> Iterator[Sequence[EventType]]:
        """Yield all event types, some at a time."""
        with self._judged():
            for chunk in self._log.event_types(self._log.head):
                yield [_to_value(each) for each in chunk]

    def event_type(self, name: str) -> EventType:
        """As `Store.event_type`."""
        with self._judged():
            found = self._log.event_type(name, self._log.head)
        if found is None:
            message = f"event type '{name[:100]}' not found"
            raise RefusedError(Code.EVENT_TYPE_UNKNOWN, message)
        return _to_value(found)

    def health(self) -> Mapping[str, Any]:
        """Return what can be told of a directory: whether a server has it open, and its events."""
        head = self._log.head
        is_served = self._log.is_served()
        checks = {
            "store:writability": "by a server" if is_served else "by nobody",
            "log:events": head.event_count,
        }
        return {
            "status": "pass",
            "description": str(self._directory),
            "checks": {
                name: [{"observedValue": value, "status": "pass"}] for name, value in checks.items()
            },
        }

    def ping(self) -> None:
        """Do nothing: it is open."""

    def backup(self, after: tuple[str, str] | None) -> Iterator[bytes]:
        """Yield blocks of whole backup lines: all schemas, and the events behind a place."""
        head = self._log.head
        with self._judged():
            start = 0 if after is None else self._position_behind(*after, head)
            for chunk in self._log.event_types(head):
                # One at a time, since they may be large.
                for event_type in chunk:
                    if event_type.schema is not None:
                        yield schema_line(event_type.name, event_type.schema, 1)
            for block in self._log.scan(Scan(start=start, stop=head.event_count), head):
                yield to_backup_lines(block, 1)

    def verify_store(self) -> Verification:
        """Refuse: `everlog audit` does that for a directory."""
        raise DataDirectoryError("a data directory is verified by 'everlog audit'")

    def checkpoint(self) -> NoReturn:
        """Refuse, as the proofs do: who signs and proves is a server."""
        raise DataDirectoryError("proofs and checkpoints come from a server")

    def inclusion_proof(self, *_: object) -> NoReturn:
        """Refuse."""
        self.checkpoint()

    def consistency_proof(self, *_: object) -> NoReturn:
        """Refuse."""
        self.checkpoint()

    def close(self) -> None:
        """Let go of the directory."""
        self._log.close()

    def _position_behind(self, id_: str, hash_: str, head: Head) -> int:
        position = int(id_)
        if position >= head.event_count:
            raise DataDirectoryError(
                f"{self._directory} has no event {id_}, which the backup ends with: it holds "
                "another store, or an older copy of this one"
            )
        line = b"".join(self._log.scan(Scan(start=position, stop=position + 1), head))
        if parse_line(line)[0].hash != hash_:
            raise DataDirectoryError(
                f"event {id_} in {self._directory} has another hash than the backup: it holds "
                "another store"
            )
        return position + 1

    def _for_reading_only(self) -> DataDirectoryError:
        return DataDirectoryError(f"{self._directory} was opened for reading only")

    @contextmanager
    def _judged(self) -> Iterator[None]:
        """Say of what the system or the log refuses which directory it is in."""
        try:
            yield
        except ReadFailedError as error:
            message = f"{self._directory} cannot be read: {error.strerror}"
            raise DataDirectoryError(message) from error
        except (DataDirectoryError, RefusedError):
            raise
        except (msgspec.MsgspecError, ValueError) as error:
            # Reading does not look at every member of every event; a query did.
            raise CorruptLogError(
                f"an event is not as it was written ({error}); 'everlog audit' tells all that is "
                "wrong",
                position=None,
            ) from error
        except OSError as error:
            message = f"{self._directory} cannot be read: {error.strerror}"
            raise DataDirectoryError(message) from error


class DirectoryObservation:
    """Events of a data directory as a server writes them."""

    def __init__(
        self, transport: DirectoryTransport, subject: str, start: int, *, recursive: bool
    ) -> None:
        """Begin at a position."""
        self._transport: Final = transport
        self._subject: Final = subject
        self._recursive: Final = recursive
        self._position = start
        self._events: Iterator[Sequence[Event]] = iter(())
        self._closed: Final = threading.Event()

    def take(self) -> Sequence[Event]:
        """Return the next events, none after a while."""
        if self._closed.is_set():
            return ()
        for events in self._events:
            return events
        head = self._transport.refresh()
        if head.event_count <= self._position:
            self._closed.wait(_LOOK_SECONDS)
            return ()
        scan = Scan(
            subject=self._subject,
            recursive=self._recursive,
            start=self._position,
            stop=head.event_count,
        )
        self._position = head.event_count
        self._events = self._transport.scan_events(scan, head)
        return ()

    def close(self) -> None:
        """Wake whoever waits in `take`."""
        self._closed.set()


def _text_of(bound: Bound | None) -> BoundText | None:
    return None if bound is None else BoundText(bound.id, bound.type)


def _to_value(found: ports.EventType) -> EventType:
    schema = None if found.schema is None else msgspec.json.decode(found.schema)
    return EventType(found.name, found.has_events, schema)
