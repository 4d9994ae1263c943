"""The store as an application has it, wherever it is: one interface, two distances.

`Store` says what there is, and keeps what both distances have in common: verifying, following, and
being closed once. Where the store is, its *transport* knows: `embedded` has it in this process,
`server` asks one over HTTP.

Guarantees that every method may be called by any thread, several at a time. What is iterated over
belongs to whoever iterates; leaving it in the middle leaves nothing behind.
"""

import random
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, Self

import msgspec

from everlog.domain.errors import BusyError, Code, EverlogError, RefusedError
from everlog.library.checking import ChainCheck, VerifySignature
from everlog.library.errors import StoreClosedError, UnreachableError, VerificationError
from everlog.library.values import (
    Bound,
    Event,
    EventType,
    FromLatestEvent,
    JsonObject,
    NewEvent,
    Precondition,
    Selection,
)

if TYPE_CHECKING:
    from everlog.library.frames import EventFrames, RowFrames

# Between two attempts to follow a server that cannot be reached: the first pause, and the longest.
_PAUSE_SECONDS_MIN: Final = 0.1
_PAUSE_SECONDS_MAX: Final = 10.0

# What a server says that will be able to answer again.
_PASSING: Final = frozenset(
    {Code.SERVER_SHUTTING_DOWN, Code.RESTORE_IN_PROGRESS, Code.READ_FAILED, Code.STORE_FAILED}
)

_decode: Final = msgspec.json.Decoder().decode


class Observation(Protocol):
    """Events of a store as they come, without end."""

    def take(self) -> Sequence[Event]:
        """Return the next events, perhaps none after a while; none too once it is closed."""

    def close(self) -> None:
        """End it; who waits in `take`, on another thread, is woken."""


class Transport(Protocol):
    """The way to a store; every method may be called by any thread."""

    def write(
        self, events: Sequence[NewEvent], preconditions: Sequence[Precondition]
    ) -> list[Event]:
        """As `Store.write`."""

    def read(self, selection: Selection) -> Iterator[Sequence[Event]]:
        """Yield the events of a selection, some at a time."""

    def observe(self, subject: str, *, recursive: bool, lower: Bound | None) -> Observation:
        """Return what is behind a bound, and what will come."""

    def query(self, text: str) -> Iterator[Sequence[bytes]]:
        """Yield the rows of a query as JSON, some at a time."""

    def subjects(self, subject: str) -> Iterator[Sequence[str]]:
        """Yield a subject and all below it that exist, some at a time."""

    def event_types(self) -> Iterator[Sequence[EventType]]:
        """Yield all event types, some at a time."""

    def event_type(self, name: str) -> EventType:
        """As `Store.event_type`."""

    def register_event_schema(self, event_type: str, schema: bytes) -> None:
        """As `Store.register_event_schema`, with the schema as JSON."""

    def health(self) -> Mapping[str, Any]:
        """As `Store.health`."""

    def ping(self) -> None:
        """As `Store.ping`."""

    def backup(self, after: tuple[str, str] | None) -> Iterator[bytes]:
        """As `Store.backup`."""

    def verify_store(self) -> "Verification":
        """As `Store.verify_store`."""

    def checkpoint(self) -> bytes:
        """As `Store.checkpoint`."""

    def inclusion_proof(self, event_id: str, size: int | None) -> Mapping[str, Any]:
        """As `Store.inclusion_proof`."""

    def consistency_proof(self, earlier: int, later: int | None) -> Mapping[str, Any]:
        """As `Store.consistency_proof`."""

    def close(self) -> None:
        """As `Store.close`."""


class Verification(msgspec.Struct, frozen=True):
    """What is not as it should be in a store: sentences, and none where everything is right.

    `warnings` are about what a crash may leave, and the next opening puts in order.
    """

    errors: list[str]
    warnings: list[str]


class Events:
    """The events of a selection, as of when it is iterated over; each iteration reads anew."""

    def __init__(self, read: Callable[[], Iterator[Sequence[Event]]]) -> None:
        """Read nothing yet."""
        self._read: Final = read

    def __iter__(self) -> Iterator[Event]:
        """Yield the events in their order; raises as `Store.read` says."""
        for events in self._read():
            yield from events

    def batches(self) -> Iterator[Sequence[Event]]:
        """Yield the same, as many at a time as come together."""
        return self._read()

    def frames(self) -> "EventFrames":
        """Return them in columns, for what writes files of Arrow and Parquet."""
        from everlog.library.frames import EventFrames  # noqa: PLC0415 - not everybody has Arrow.

        return EventFrames(self._read)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Return an Arrow stream, as the PyCapsule interface has it; each one reads anew."""
        from everlog.library.frames import stream  # noqa: PLC0415 - as above

        return stream(self.frames(), requested_schema)


class Rows:
    """The rows of a query, as of when it is iterated over; each iteration runs it anew."""

    def __init__(self, run: Callable[[], Iterator[Sequence[bytes]]]) -> None:
        """Run nothing yet."""
        self._run: Final = run
        self._frames: RowFrames | None = None

    def __iter__(self) -> Iterator[Any]:
        """Yield the rows, decoded from JSON; raises as `Store.query` says."""
        for rows in self.decoded_batches():
            yield from rows

    def batches(self) -> Iterator[Sequence[bytes]]:
        """Yield the rows as JSON, as many at a time as come together."""
        return self._run()

    def decoded_batches(self) -> Iterator[Sequence[Any]]:
        """Yield the rows as when iterated over, as many at a time as come together."""
        for rows in self._run():
            yield list(map(_decode, rows))

    def frames(self) -> "RowFrames":
        """Return them in columns, which stay the same however often the query is run."""
        from everlog.library.frames import RowFrames  # noqa: PLC0415 - not everybody has Arrow.

        if self._frames is None:
            self._frames = RowFrames(self._run)
        return self._frames

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Return an Arrow stream, as the PyCapsule interface has it; each one runs the query."""
        from everlog.library.frames import stream  # noqa: PLC0415 - as above

        return stream(self.frames(), requested_schema)


class Following:
    """Events as they are written, without end; made by `Store.follow`.

    Iterate over it on one thread; `close` may be called on any, and ends the iteration. So does
    closing the store, and leaving a `with` block.
    """

    def __init__(
        self,
        transport: Transport,
        subject: str,
        *,
        recursive: bool,
        after: str | None,
        check: ChainCheck | None,
        on_interruption: Callable[[EverlogError], None] | None,
    ) -> None:
        """Ask nothing yet."""
        self._after: Final = after
        self._transport: Final = transport
        self._subject: Final = subject
        self._recursive: Final = recursive
        self._check: Final = check
        self._on_interruption: Final = on_interruption
        self._lock: Final = threading.Lock()
        self._closed: Final = threading.Event()
        self._observation: Observation | None = None
        self._ready: Iterator[Event] = iter(())
        self._last: Event | None = None
        # Whether the next event has to be the last one that was given: to be seen, not given.
        self._is_rejoining = False
        self._has_begun = False
        self._pause = _PAUSE_SECONDS_MIN

    def __iter__(self) -> Self:
        """Return itself."""
        return self

    def __next__(self) -> Event:
        """Return the next event, once there is one.

        Raises:
            StopIteration: It was closed.
            RefusedError: What is asked is wrong.
            UnauthorizedError: The server does not take the token any more.
            VerificationError: An event is not what was written.
        """
        for event in self._ready:
            return event
        self._ready = iter(self.take())
        for event in self._ready:
            return event
        raise StopIteration

    def take(self) -> Sequence[Event]:
        """Return the events that come next, one at least; none once it was closed.

        Raises: as iterating over it.
        """
        while not self._closed.is_set():
            events = self._fetch()
            if events:
                self._last = events[-1]
                return events
        return ()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """End the iteration, whoever waits in it; more than once is the same as once."""
        with self._lock:
            self._closed.set()
            observation, self._observation = self._observation, None
        if observation is not None:
            observation.close()

    def _fetch(self) -> Sequence[Event]:
        try:
            observation = self._observation or self._begin()
            events = observation.take() if observation is not None else ()
        except (UnreachableError, BusyError) as error:
            self._interrupted(error)
            return ()
        except RefusedError as error:
            if error.code not in _PASSING:
                self.close()
                raise
            self._interrupted(error)
            return ()
        except StoreClosedError:
            self.close()
            if not self._has_begun:
                raise
            return ()
        except BaseException:
            self.close()
            raise
        self._pause = _PAUSE_SECONDS_MIN
        try:
            return self._checked(events)
        except VerificationError:
            self.close()
            raise

    def _begin(self) -> Observation | None:
        self._is_rejoining = self._check is not None and self._last is not None
        after = self._after if self._last is None else self._last.id
        lower = None
        if after is not None:
            lower = Bound(after, "inclusive" if self._is_rejoining else "exclusive")
        observation = self._transport.observe(self._subject, recursive=self._recursive, lower=lower)
        self._has_begun = True
        with self._lock:
            if not self._closed.is_set():
                self._observation = observation
                return observation
        observation.close()
        return None

    def _checked(self, events: Sequence[Event]) -> Sequence[Event]:
        if self._check is None or not events:
            return events
        if self._is_rejoining:
            first, *events = events
            self._is_rejoining = False
            assert self._last is not None
            if first != self._last:
                raise VerificationError(
                    f"the store does not have event {self._last.id} as it was read before: it has "
                    "become another one, or an older one",
                    event_id=self._last.id,
                )
        self._check.check(events)
        return events

    def _interrupted(self, error: EverlogError) -> None:
        """Wait before the next attempt, longer each time, and not as long as others do."""
        with self._lock:
            observation, self._observation = self._observation, None
        if observation is not None:
            observation.close()
        if self._closed.is_set():
            return
        if self._on_interruption is not None:
            self._on_interruption(error)
        self._closed.wait(self._pause * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
        self._pause = min(2 * self._pause, _PAUSE_SECONDS_MAX)


class Store:
    """An event store: opened by `everlog.open`, or reached by `everlog.connect`.

    Whatever is asked raises, besides what a method says:

    - `RefusedError`: the rules forbid it; `code`, `message` and `details` say what. Nothing was
      stored.
    - `BusyError`: there is too much of something just now; nothing was stored, try again later.
    - `UnreachableError`: the server cannot be asked, or does not answer to the end.
    - `UnauthorizedError`: the server does not take the token.
    - `StoreClosedError`: the store was closed.
    """

    def __init__(
        self, transport: Transport, *, verify_signature: VerifySignature | None = None
    ) -> None:
        """Take over a transport, which is closed with the store."""
        self._transport: Final = transport
        self._verify_signature: Final = verify_signature
        self._is_closed = False

    def __enter__(self) -> Self:
        """Return the store."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the store."""
        self.close()

    def __repr__(self) -> str:
        """Say which store it is."""
        return f"<everlog.Store {self._transport}{', closed' if self._is_closed else ''}>"

    def __del__(self, warn: Callable[..., None] = warnings.warn) -> None:
        """Close a store that was forgotten, and say so."""
        if getattr(self, "_is_closed", True) or sys.is_finalizing():
            return
        warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)
        self.close()

    def write(
        self, events: Iterable[NewEvent], preconditions: Iterable[Precondition] = ()
    ) -> list[Event]:
        """Write events, all of them or none, and return them as they are stored.

        They follow each other in the log. At most 10,000 events, of at most 131,072 bytes each, and
        67,108,864 bytes together.
        Preconditions are about what is stored before, and hold at the moment of the write.

        Raises:
            RefusedError: An event or a precondition is not as it must be, or a precondition does
                not hold (`precondition-violated`); nothing was stored.
            UnreachableError: Nothing was stored.
            OutcomeUnknownError: The events may have been stored, or not; see there.
        """
        return self._transport.write(tuple(events), tuple(preconditions))

    def read(
        self,
        subject: str = "/",
        *,
        recursive: bool = False,
        order: Literal["chronological", "antichronological"] = "chronological",
        lower_bound: Bound | None = None,
        upper_bound: Bound | None = None,
        from_latest_event: FromLatestEvent | None = None,
        verify: bool = False,
    ) -> Events:
        """Return the events of a subject, and with `recursive` of all below it too.

        They are read when they are iterated over, some at a time, as of the moment in which that
        begins. Bounds need not be ids of events that there are. `from_latest_event` begins with the
        latest event of a type; it excludes `lower_bound` and the antichronological order. With
        `verify`, hashes are computed again, and the chain is followed as far as it is selected.

        Raises (when iterated over):
            RefusedError: What is asked is not as it must be.
            VerificationError: An event is not what was written.
        """
        selection = Selection(
            subject, recursive, order, lower_bound, upper_bound, from_latest_event
        )
        if not verify:
            return Events(lambda: self._transport.read(selection))
        return Events(lambda: self._read_verified(selection))

    def follow(
        self,
        subject: str = "/",
        *,
        recursive: bool = True,
        after: str | None = None,
        verify: bool = False,
        on_interruption: Callable[[EverlogError], None] | None = None,
    ) -> Following:
        """Return the events behind the one with the id `after`, all for None, and those to come.

        It ends only when it or the store is closed. A server that cannot be reached is asked again,
        after a tenth of a second at first and ten seconds at last, for ever; `on_interruption` is
        told why each time. Nothing is given twice, and nothing left out: it goes on behind the last
        event that was given. With `verify` hashes and chain are checked as in `read`, also between
        what came before an interruption and after it.
        """
        check = self._new_check(subject, recursive=recursive) if verify else None
        return Following(
            self._transport,
            subject,
            recursive=recursive,
            after=after,
            check=check,
            on_interruption=on_interruption,
        )

    def query(self, text: str) -> Rows:
        """Return the rows of an EventQL query, which runs when they are iterated over.

        Raises (when iterated over):
            RefusedError: It is no query (`query-malformed`), or a row cannot be computed
                (`query-unevaluable`); `details` say between which tokens the fault is. The rows
                before have been yielded.
        """
        return Rows(lambda: self._transport.query(text))

    def subjects(self, subject: str = "/") -> Iterator[str]:
        """Yield a subject and all below it that have events, or subjects with events below them."""
        for chunk in self._transport.subjects(subject):
            yield from chunk

    def event_types(self) -> Iterator[EventType]:
        """Yield all event types that have events or a schema, sorted by name."""
        for chunk in self._transport.event_types():
            yield from chunk

    def event_type(self, name: str) -> EventType:
        """Return one event type.

        Raises:
            RefusedError: It has neither events nor a schema (`event-type-unknown`).
        """
        return self._transport.event_type(name)

    def register_event_schema(self, event_type: str, schema: JsonObject) -> None:
        """Register the JSON schema that all events of a type must match, for good.

        Raises:
            RefusedError: It is none, the type has one, or a stored event does not match it.
            OutcomeUnknownError: It may have been registered, or not: `event_type` tells.
        """
        self._transport.register_event_schema(event_type, msgspec.json.encode(schema))

    def health(self) -> Mapping[str, Any]:
        """Return how well the store is: the health document of the API.

        `status` is `pass`, `warn` or `fail`; `checks` has the observations by name.
        """
        return self._transport.health()

    def ping(self) -> None:
        """Return if the store can be asked."""
        self._transport.ping()

    def backup(self, *, after: tuple[str, str] | None = None) -> Iterator[bytes]:
        """Yield all event schemas and events as lines of a backup, some at a time.

        Only the events behind one are wanted where `after` has its id and its hash. A backup is
        whole only if the iteration comes to its end.

        Raises:
            RefusedError: The store has no such event, or it has another hash.
        """
        return self._transport.backup(after)

    def verify_store(self) -> Verification:
        """Read all that is stored, and return what is not as it should be; that may take long."""
        return self._transport.verify_store()

    def checkpoint(self) -> bytes:
        """Return the latest checkpoint of the log's Merkle tree, a signed note (docs/proofs.md).

        Raises:
            NoCheckpointError: There is none, as where the store has no key for them.
            UnreachableError: The server has no such proofs.
        """
        return self._transport.checkpoint()

    def inclusion_proof(self, event_id: str, *, size: int | None = None) -> Mapping[str, Any]:
        """Return the proof that an event is in the log's tree of a size: the API's document.

        `size` is a number of events, by default that of the latest checkpoint, or of the log.

        Raises:
            RefusedError: There is no such event, or no tree of that size.
            UnreachableError: The server has no such proofs.
        """
        return self._transport.inclusion_proof(event_id, size)

    def consistency_proof(self, earlier: int, later: int | None = None) -> Mapping[str, Any]:
        """Return the proof that the tree of one size is the beginning of that of a later one.

        Sizes are numbers of events; `later` is by default as in `inclusion_proof`.

        Raises:
            RefusedError: There is no tree of such a size.
            UnreachableError: The server has no such proofs.
        """
        return self._transport.consistency_proof(earlier, later)

    def close(self) -> None:
        """Close the store; more than once is the same as once.

        What was begun by other threads comes to its end first, what they follow ends, and what they
        ask after that raises a `StoreClosedError`.
        """
        self._is_closed = True
        self._transport.close()

    def _read_verified(self, selection: Selection) -> Iterator[Sequence[Event]]:
        check = self._new_check(
            selection.subject,
            recursive=selection.recursive,
            is_reversed=selection.order == "antichronological",
        )
        for events in self._transport.read(selection):
            check.check(events)
            yield events

    def _new_check(self, subject: str, *, recursive: bool, is_reversed: bool = False) -> ChainCheck:
        return ChainCheck(
            is_whole=recursive and subject == "/",
            is_reversed=is_reversed,
            verify_signature=self._verify_signature,
        )
