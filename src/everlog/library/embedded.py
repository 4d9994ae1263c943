"""A store in this process: an event loop on a thread of its own has it, and readers read.

Writes, queries and schemas are handed to the loop (`service.store`). What only reads goes to the
engine at once, on the thread of whoever asks: everything in a log only grows, so that nobody has to
be asked (`storage.engine`).

Guarantees that files are closed only when nobody reads them any more, that no signal is caught and
nothing is logged, and that a process that was forked from this one neither uses the store nor keeps
others from its directory.
"""

import asyncio
import os
import threading
import time
from base64 import b64encode
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar
from weakref import WeakSet

import msgspec

from everlog._version import __version__
from everlog.domain.errors import Code, DiskFullError, RefusedError, StoreFailedError
from everlog.domain.event import AcceptedEvent
from everlog.domain.event_type import parse_event_type
from everlog.domain.known_event import parse_known_event
from everlog.domain.precondition import PreconditionPayloadText, PreconditionText
from everlog.domain.schema import read_event_schema
from everlog.domain.selection import (
    BoundText,
    FromLatestEventText,
    parse_event_id,
    parse_observe_selection,
    parse_read_selection,
)
from everlog.domain.signature import SigningKey, sign
from everlog.domain.subject import parse_subject
from everlog.domain.time import format_time
from everlog.library.encoding import encode_events
from everlog.library.errors import StoreClosedError
from everlog.library.outcome import OutcomeUnknownError
from everlog.library.store import Verification
from everlog.library.values import (
    Bound,
    Event,
    EventDecoder,
    EventType,
    IsEventQlQueryTrue,
    IsSubjectOnEventId,
    IsSubjectPopulated,
    NewEvent,
    Precondition,
    Selection,
)
from everlog.service.backup import begin_backup, list_schemas
from everlog.service.discovery import read_event_type
from everlog.service.observers import Interest
from everlog.service.proofs import (
    latest_checkpoint,
    read_consistency_proof,
    read_inclusion_proof,
)
from everlog.service.querying.messages import RowForm
from everlog.service.read_events import scan_of
from everlog.service.register_event_schema import register_event_schema
from everlog.service.run_eventql_query import run_eventql_query
from everlog.service.store import Store, StoreOptions, open_store
from everlog.service.verify_store import Verification as Found
from everlog.service.verify_store import verify_store
from everlog.service.write import parse_candidates, parse_preconditions, write
from everlog.service.writing.changes import Outcome
from everlog.service.writing.states import Condition
from everlog.storage import engine as ports
from everlog.storage.engine import Scan
from everlog.storage.log import LogEngine
from everlog.transfer.backup_lines import schema_line, to_backup_lines

_Result = TypeVar("_Result")

# Who waits for an event is woken by it, and else looks once a minute.
_WAIT_SECONDS: Final = 60.0

_ROWS: Final = RowForm(b"", b"\n")


class _Gate:
    """Lets calls in until it is closed, and whoever closes it wait for those that are inside."""

    def __init__(self) -> None:
        self._process_id: Final = os.getpid()
        self._changed: Final = threading.Condition()
        self._inside_count = 0
        self._is_closed = False

    @contextmanager
    def passed(self) -> Iterator[None]:
        """Be inside for a block."""
        self.enter()
        try:
            yield
        finally:
            self.leave()

    def enter(self) -> None:
        """Go in.

        Raises:
            StoreClosedError: It is closed, or belongs to another process.
        """
        if os.getpid() != self._process_id:
            raise StoreClosedError(
                "the store belongs to the process that this one was forked from, which has its "
                "directory open: open stores after forking"
            )
        with self._changed:
            if self._is_closed:
                raise StoreClosedError("the store is closed")
            self._inside_count += 1

    def leave(self) -> None:
        """Go out."""
        with self._changed:
            self._inside_count -= 1
            if self._is_closed:
                self._changed.notify_all()

    def close(self) -> bool:
        """Let nobody in any more; return False if that was done before, or is not ours to do."""
        if os.getpid() != self._process_id:
            return False
        with self._changed:
            was_closed, self._is_closed = self._is_closed, True
        return not was_closed

    def wait(self) -> None:
        """Wait until nobody is inside."""
        with self._changed:
            self._changed.wait_for(lambda: self._inside_count == 0)


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A new event as the service takes it."""

    event: NewEvent
    data: msgspec.Raw

    @property
    def source(self) -> str:
        return self.event.source

    @property
    def subject(self) -> str:
        return self.event.subject

    @property
    def type(self) -> str:
        return self.event.type

    @property
    def traceparent(self) -> str | None:
        return self.event.traceparent

    @property
    def tracestate(self) -> str | None:
        return self.event.tracestate


class _LoopThread:
    """An event loop on a thread of its own, with an open store as long as that is wanted."""

    def __init__(self, directory: Path, options: StoreOptions) -> None:
        """Open the store, and wait for that; raises what opening raises."""
        self.loop: Final = asyncio.new_event_loop()
        self._closing: Final = asyncio.Event()
        self._opened: Final[Future[Store]] = Future()
        self._closed: Final[Future[None]] = Future()
        self._thread: Final = threading.Thread(
            target=self._run, args=(directory, options), name="everlog-store", daemon=True
        )
        self._thread.start()
        try:
            self.store: Final = self._opened.result()
        except BaseException:
            # Whoever is interrupted while it opens leaves nothing open.
            self.close()
            raise

    @property
    def is_current(self) -> bool:
        """Whether the caller runs on this thread."""
        return threading.current_thread() is self._thread

    def call(self, coroutine: Coroutine[Any, Any, _Result]) -> _Result:
        """Return what a coroutine returns on the loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()

    def close(self) -> None:
        """Close the store, and wait until its thread has ended."""
        with suppress(RuntimeError):
            # The loop is closed where the store could not be opened.
            self.loop.call_soon_threadsafe(self._closing.set)
        self._thread.join()
        if self._closed.done():
            self._closed.result()

    def _run(self, directory: Path, options: StoreOptions) -> None:
        with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
            try:
                runner.run(self._serve(directory, options))
            except BaseException as error:  # noqa: BLE001 - whoever waits is told
                (self._closed if self._opened.done() else self._opened).set_exception(error)

    async def _serve(self, directory: Path, options: StoreOptions) -> None:
        async with open_store(directory, options) as store:
            self._opened.set_result(store)
            await self._closing.wait()


class EmbeddedTransport:
    """A data directory of which this process is the writer."""

    def __init__(self, directory: Path, options: StoreOptions) -> None:
        """Open it; raises as `everlog.open` says."""
        self._directory: Final = directory
        self._gate: Final = _Gate()
        self._thread: Final = _LoopThread(directory, options)
        self._store: Final = self._thread.store
        self._signing_key: Final[SigningKey | None] = options.signing_key
        # What is being pulled from the loop, by whoever iterates.
        self._running: Final[set[AsyncGenerator[Any, None]]] = set()
        _open_transports.add(self)

    def __str__(self) -> str:
        """Say which directory it is."""
        return str(self._directory)

    # Writing.

    def write(
        self, events: Sequence[NewEvent], preconditions: Sequence[Precondition]
    ) -> list[Event]:
        """As `Store.write`."""
        texts = [_Candidate(event, data) for event, data in encode_events(events)]
        store = self._store
        with self._gate.passed():
            candidates = parse_candidates(texts, hash_version=store.writer.hash_version)
            conditions = parse_preconditions([_precondition_text(each) for each in preconditions])
            after = store.engine.head.event_count - 1
            done: Future[Outcome] = Future()
            self._thread.loop.call_soon_threadsafe(
                write, store, candidates, conditions, done.set_result
            )
            outcome = done.result()
        if isinstance(outcome, StoreFailedError):
            raise OutcomeUnknownError(
                f"whether the events were stored is not known: {outcome}",
                events=events,
                preconditions=preconditions,
                after=str(after) if after >= 0 else None,
            ) from outcome
        if isinstance(outcome, Exception):
            raise _told(outcome)
        return [self._event(each) for each in outcome]

    def register_event_schema(self, event_type: str, schema: bytes) -> None:
        """As `Store.register_event_schema`."""
        found = read_event_schema(parse_event_type(event_type), msgspec.Raw(schema))
        with self._gate.passed():
            try:
                self._thread.call(register_event_schema(self._store, found))
            except StoreFailedError as error:
                raise OutcomeUnknownError(
                    f"whether the schema was registered is not known: {error}"
                ) from error
            except DiskFullError as error:
                raise _told(error) from error

    # Reading.

    def read(self, selection: Selection) -> Iterator[Sequence[Event]]:
        """Yield the events of a selection, some at a time."""
        lower, upper = selection.lower_bound, selection.upper_bound
        latest = selection.from_latest_event
        parsed = parse_read_selection(
            subject=selection.subject,
            recursive=selection.recursive,
            order=selection.order,
            lower_bound=None if lower is None else BoundText(lower.id, lower.type),
            upper_bound=None if upper is None else BoundText(upper.id, upper.type),
            from_latest_event=None
            if latest is None
            else FromLatestEventText(latest.subject, latest.type, latest.if_event_is_missing),
        )
        engine = self._store.engine
        with self._gate.passed():
            head = engine.head
            scan = scan_of(engine, parsed, head)
            if scan is None:
                return
            few = engine.read_few(scan, head)
            blocks = iter(()) if few is not None else engine.scan(scan, head)
        decoder = EventDecoder(1)
        if few is not None:
            if few.lines:
                yield self._events(decoder, bytes(few.lines))
            return
        while (block := self._next(blocks)) is not None:
            yield self._events(decoder, block)

    def observe(
        self, subject: str, *, recursive: bool, lower: Bound | None
    ) -> "EmbeddedObservation":
        """Return what is behind a bound, and what will come."""
        self.ping()
        selection = parse_observe_selection(
            subject=subject,
            recursive=recursive,
            lower_bound=None if lower is None else BoundText(lower.id, lower.type),
            from_latest_event=None,
        )
        return EmbeddedObservation(self, Interest(selection.subject, recursive), selection.lower)

    def query(self, text: str) -> Iterator[Sequence[bytes]]:
        """Yield the rows of a query as JSON, some at a time."""
        if not text:
            raise RefusedError(Code.QUERY_MISSING, "the query is missing", field="query")
        for block in self._pull(lambda: self._rows(text)):
            # None: it is still computing, and whoever waits may look at the clock.
            yield block[:-1].split(b"\n") if block else ()

    def subjects(self, subject: str) -> Iterator[Sequence[str]]:
        """Yield a subject and all below it that exist, some at a time."""
        engine, top = self._store.engine, parse_subject(subject)
        chunks: Iterator[Sequence[str]] | None = None
        while True:
            with self._gate.passed():
                chunks = chunks or engine.subjects(top, engine.head)
                chunk = next(chunks, None)
            if chunk is None:
                return
            yield chunk

    def event_types(self) -> Iterator[Sequence[EventType]]:
        """Yield all event types, some at a time."""
        engine = self._store.engine
        chunks: Iterator[Sequence[ports.EventType]] | None = None
        while True:
            with self._gate.passed():
                chunks = chunks or engine.event_types(engine.head)
                chunk = next(chunks, None)
            if chunk is None:
                return
            yield [_event_type(each) for each in chunk]

    def event_type(self, name: str) -> EventType:
        """As `Store.event_type`."""
        with self._gate.passed():
            return _event_type(read_event_type(self._store, parse_event_type(name)))

    # The store itself.

    def health(self) -> Mapping[str, Any]:
        """As `Store.health`."""
        with self._gate.passed():
            condition = self._store.writer.condition
            count = self._store.engine.head.event_count
        is_failed = condition is Condition.FAILED
        status = "fail" if is_failed else "pass"
        time_text = _now()
        return {
            "status": status,
            "version": __version__,
            "description": "Everlog, an event store",
            "checks": {
                "store:writability": [
                    {
                        "componentType": "datastore",
                        "observedValue": condition.name.lower(),
                        "status": status,
                        "time": time_text,
                    }
                ],
                "log:events": [
                    {
                        "componentType": "datastore",
                        "observedValue": count,
                        "observedUnit": "events",
                        "status": "pass",
                        "time": time_text,
                    }
                ],
            },
        }

    def ping(self) -> None:
        """As `Store.ping`."""
        with self._gate.passed():
            pass

    def backup(self, after: tuple[str, str] | None) -> Iterator[bytes]:
        """As `Store.backup`."""
        store = self._store
        last = None
        if after is not None:
            last = parse_known_event(
                *after,
                missing=Code.LAST_BACKED_UP_EVENT_MISSING,
                id_field="lastBackedUpEvent.id",
                hash_field="lastBackedUpEvent.hash",
            )
        with self._gate.passed():
            head = store.engine.head
            following = self._thread.call(begin_backup(store, last, head))
            schemas = list_schemas(store, head)
        while (chunk := self._next(schemas)) is not None:
            if chunk:
                yield b"".join(schema_line(name, text, 1) for name, text in chunk)
        blocks = following(None)
        while (block := self._next(blocks)) is not None:
            yield to_backup_lines(block, 1)

    def verify_store(self) -> Verification:
        """As `Store.verify_store`."""
        found = Found([], [])
        for _ in self._pull(lambda: self._verify(found)):
            pass
        return Verification(found.errors, found.warnings)

    def checkpoint(self) -> bytes:
        """As `Store.checkpoint`."""
        with self._gate.passed():
            return self._thread.call(latest_checkpoint(self._store)).note.encode()

    def inclusion_proof(self, event_id: str, size: int | None) -> Mapping[str, Any]:
        """As `Store.inclusion_proof`."""
        position = parse_event_id(event_id, field="event")
        with self._gate.passed():
            found = self._thread.call(read_inclusion_proof(self._store, position, size))
        return {
            "event": str(found.position),
            "hash": found.hash,
            "size": found.size,
            "root": _render_hash(found.root),
            "proof": list(map(_render_hash, found.proof)),
        }

    def consistency_proof(self, earlier: int, later: int | None) -> Mapping[str, Any]:
        """As `Store.consistency_proof`."""
        with self._gate.passed():
            found = self._thread.call(read_consistency_proof(self._store, earlier, later))
        return {
            "from": found.earlier,
            "to": found.later,
            "fromRoot": _render_hash(found.earlier_root),
            "toRoot": _render_hash(found.later_root),
            "proof": list(map(_render_hash, found.proof)),
        }

    def close(self) -> None:
        """As `Store.close`."""
        if self._thread.is_current:
            # The collector has found a forgotten store here, and the thread cannot wait for itself.
            threading.Thread(target=self.close, name="everlog-close").start()
            return
        if not self._gate.close():
            return
        # Whoever waits for events, rows or an audit is told; the others come to their end.
        with suppress(RuntimeError):
            self._thread.loop.call_soon_threadsafe(self._store.end_streams)
        self._gate.wait()
        try:
            # Nobody goes on with what was left half-read.
            for generator in tuple(self._running):
                self._thread.call(generator.aclose())
            self._thread.close()
        finally:
            if isinstance(self._store.engine, LogEngine):
                self._store.engine.release_index()

    # What is common.

    def take(self, interest: Interest, position: int) -> tuple[Iterator[bytes], int]:
        """Wait for events from a position on; return blocks of lines, and where they end."""
        store = self._store
        with self._gate.passed():
            head = store.engine.head
            if head.event_count <= position:
                return iter(()), position
            scan = Scan(
                subject=interest.subject,
                recursive=interest.recursive,
                start=position,
                stop=head.event_count,
            )
            return store.engine.scan(scan, head), head.event_count

    def wait(self, interest: Interest, position: int) -> "Future[bool]":
        """Return the future of there being something behind a position that may be of interest.

        Its result is False where the store is being closed.
        """
        return asyncio.run_coroutine_threadsafe(self._wait(interest, position), self._thread.loop)

    def passed(self) -> Any:
        """Be counted as using the store, for a block."""
        return self._gate.passed()

    def next_events(self, decoder: EventDecoder, blocks: Iterator[bytes]) -> list[Event] | None:
        """Return the events of the next block, None without one."""
        block = self._next(blocks)
        return None if block is None else self._events(decoder, block)

    async def _wait(self, interest: Interest, position: int) -> bool:
        store = self._store
        with store.observers.permits.acquire():
            # Nothing is awaited between looking at the head and waiting (`observe_events`).
            while not store.observers.is_closed:
                if store.engine.head.event_count > position:
                    return True
                await store.observers.wait(interest, seconds=_WAIT_SECONDS)
        return False

    async def _rows(self, text: str) -> AsyncGenerator[bytes | None, None]:
        permit = self._store.queries.permits.acquire()
        async for block in run_eventql_query(self._store, text, permit=permit, form=_ROWS):
            yield block

    async def _verify(self, found: Found) -> AsyncGenerator[None, None]:
        permit = self._store.audits.permits.acquire()
        async for _ in verify_store(self._store, found, permit=permit):
            yield None

    def _pull(self, begin: Callable[[], AsyncGenerator[_Result, None]]) -> Iterator[_Result]:
        """Yield what an asynchronous generator does on the loop, as it is asked for."""
        generator = begin()
        self._running.add(generator)
        try:
            while True:
                with self._gate.passed():
                    found = self._thread.call(_next_of(generator))
                if found is None:
                    return
                yield found[0]
        finally:
            self._running.discard(generator)
            # Where the store is closed, all of it is over.
            with suppress(StoreClosedError), self._gate.passed():
                self._thread.call(generator.aclose())

    def _next(self, chunks: Iterator[_Result]) -> _Result | None:
        with self._gate.passed():
            return next(chunks, None)

    def _event(self, accepted: AcceptedEvent) -> Event:
        if self._signing_key is None:
            return Event(accepted.json)
        return self._signed(Event(accepted.json))

    def _events(self, decoder: EventDecoder, block: bytes) -> list[Event]:
        # One that is damaged says so itself, when it is looked at.
        events = decoder.decode(block) or list(map(Event, block.splitlines()))
        return events if self._signing_key is None else list(map(self._signed, events))

    def _signed(self, event: Event) -> Event:
        assert self._signing_key is not None
        return event.with_signature(sign(self._signing_key, event.hash))

    def let_go_of_the_lock(self) -> None:
        """Close, in a process that was forked, what keeps others from the directory."""
        if isinstance(self._store.engine, LogEngine):
            for descriptor in self._store.engine.locked_descriptors:
                with suppress(OSError):
                    os.close(descriptor)


class EmbeddedObservation:
    """Events of a store in this process, as they come."""

    def __init__(self, transport: EmbeddedTransport, interest: Interest, position: int) -> None:
        """Begin at a position."""
        self._transport: Final = transport
        self._interest: Final = interest
        self._position = position
        self._blocks: Iterator[bytes] = iter(())
        self._decoder: Final = EventDecoder(1)
        self._lock: Final = threading.Lock()
        self._waiting: Future[bool] | None = None
        self._is_closed = False

    def take(self) -> Sequence[Event]:
        """Return the next events, once there are some."""
        transport = self._transport
        while not self._is_closed:
            events = transport.next_events(self._decoder, self._blocks)
            if events:
                return events
            self._blocks, stop = transport.take(self._interest, self._position)
            if stop > self._position:
                self._position = stop
                continue
            if not self._wait():
                break
        return ()

    def close(self) -> None:
        """Wake whoever waits in `take`."""
        with self._lock:
            self._is_closed = True
            waiting = self._waiting
        if waiting is not None:
            waiting.cancel()

    def _wait(self) -> bool:
        with self._transport.passed():
            with self._lock:
                if self._is_closed:
                    return False
                self._waiting = self._transport.wait(self._interest, self._position)
            try:
                return self._waiting.result()
            except CancelledError:
                return False
            finally:
                self._waiting = None


# Those that this process has open, for processes that are forked from it.
_open_transports: Final[WeakSet[EmbeddedTransport]] = WeakSet()


def _let_go() -> None:
    for transport in tuple(_open_transports):
        transport.let_go_of_the_lock()
    _open_transports.clear()


os.register_at_fork(after_in_child=_let_go)


async def _next_of(generator: AsyncGenerator[_Result, None]) -> tuple[_Result] | None:
    async for found in generator:
        return (found,)
    return None


def _told(error: Exception) -> Exception:
    """Return a failure as an application is told of it, like by a server."""
    return RefusedError(Code.DISK_FULL, str(error)) if isinstance(error, DiskFullError) else error


def _precondition_text(precondition: Precondition) -> PreconditionText:
    match precondition:
        case IsEventQlQueryTrue(query=query):
            payload = PreconditionPayloadText(None, None, recursive=None, query=query)
            return PreconditionText("isEventQlQueryTrue", payload)
        case IsSubjectOnEventId(subject=subject, event_id=event_id):
            name, id_ = "isSubjectOnEventId", event_id or None
        case IsSubjectPopulated(subject=subject):
            name, id_ = "isSubjectPopulated", None
        case _:
            name, id_ = "isSubjectPristine", None
            subject = precondition.subject
    recursive = True if precondition.recursive else None
    return PreconditionText(
        name, PreconditionPayloadText(subject or None, id_, recursive=recursive, query=None)
    )


def _event_type(entry: ports.EventType) -> EventType:
    schema = None if entry.schema is None else msgspec.json.decode(entry.schema)
    return EventType(entry.name, entry.has_events, schema)


def _render_hash(hash_: bytes) -> str:
    return b64encode(hash_).decode()


def _now() -> str:
    return format_time(time.time_ns())
