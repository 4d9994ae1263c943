"""Projections: what becomes of events in a read model, and the runs that let it become so.

**Exactly once.** A transaction moves the position first, from where the runner believes that it is,
and then holds what the handlers write. A runner that is killed has written both or neither, and of
two that do not know of each other only one comes through.
**The same log.** With the position stands the hash of the last event that was applied: a store
that has another one there, or none, is refused before anything is written.

What is left to others: locks and transactions (`databases`), and reading ahead (`feed`).
"""

import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import click

from everlog.domain.errors import EverlogError
from everlog.library.values import Bound, Event
from everlog.projections.databases import (
    ENDS_TRANSACTIONS,
    AlreadyRunningError,
    Connection,
    ConnectionFactory,
    Database,
    ProjectionError,
    opened,
)
from everlog.projections.feed import Feed, batches_of

if TYPE_CHECKING:
    from everlog.library.store import Store

Handler = Callable[[Any, Event], object]
OnProgress = Callable[[int, int], object]

_HandlerType = TypeVar("_HandlerType", bound=Callable[..., object])

# It becomes part of a file's name, and of PostgreSQL's.
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?")

# How long the death of a session may take to get about.
_WAIT_SECONDS: Final = 5.0


class OutdatedModelError(ProjectionError):
    """The read model was made by another version of its projection: it has to be rebuilt."""


class ForeignLogError(ProjectionError):
    """The store is not the one that the read model was made of."""


class HandlerFailedError(ProjectionError):
    """A handler raised: its `__cause__`. Nothing of the event's batch is stored.

    `event_id` and `event_type` say which event it was.
    """

    def __init__(self, name: str, event: Event, reason: str) -> None:
        """Name the event, and nothing of its data."""
        super().__init__(
            f"the projection '{name}' failed at event {event.id} ({event.type}): {reason}"
        )
        self.event_id: Final = event.id
        self.event_type: Final = event.type


class _Position(NamedTuple):
    """The last event that was applied: its id, -1 before the first one, and its hash."""

    id: int
    hash: str | None


_NOTHING: Final = _Position(-1, None)


class Projection:
    """What becomes of events in one read model.

    `name` says which one, in its database; `version` is counted up whenever handlers or tables
    change, so that what older ones made is not gone on with. Events are those of a `subject` and
    all below it.

        loans = Projection("loans", version=1)

        @loans.reset
        def reset(connection):
            connection.execute("DROP TABLE IF EXISTS loan")
            connection.execute("CREATE TABLE loan (book TEXT PRIMARY KEY, reader TEXT)")

        @loans.on("com.example.book-borrowed")
        def borrowed(connection, event):
            values = (event.subject, event.data["reader"])
            connection.execute("INSERT INTO loan VALUES (?, ?)", values)

    Handlers write through the connection that they are given, and leave its transaction alone; what
    they do elsewhere is done again if a runner is killed. Events without a handler are passed over.
    """

    def __init__(self, name: str, *, version: int = 1, subject: str = "/") -> None:
        """Begin without handlers.

        Raises:
            ValueError: The name is not 1 to 63 lower-case letters, digits, hyphens and underscores,
                or the version not from 1 to 2147483647.
        """
        if _NAME.fullmatch(name) is None:
            raise ValueError(
                f"'{name}' cannot name a read model: names have 1 to 63 lower-case letters, "
                "digits, hyphens and underscores, and begin and end with a letter or a digit"
            )
        if not 1 <= version < 2**31:
            raise ValueError(f"the version of a projection is from 1 to 2147483647, not {version}")
        self.name: Final = name
        self.version: Final = version
        self.subject: Final = subject
        self._handlers: Final[dict[str, Handler]] = {}
        self._reset: Callable[[Any], object] | None = None

    def reset(self, function: _HandlerType) -> _HandlerType:
        """Decorate the function that makes the empty read model, whatever was there before.

        It is given the connection, before the first event and whenever the model is rebuilt.
        """
        if self._reset is not None:
            raise ValueError(f"the projection '{self.name}' has a reset already")
        self._reset = function
        return function

    def on(self, *event_types: str) -> Callable[[_HandlerType], _HandlerType]:
        """Decorate the function that applies events of these types.

        It is given the connection and the event, one by one, in the order of the log.

        Raises:
            ValueError: No type is named, or one of them has a handler already.
        """
        taken = sorted(self._handlers.keys() & set(event_types))
        if taken or not event_types:
            what = f"has a handler for {', '.join(taken)} already" if taken else "is told no type"
            raise ValueError(f"the projection '{self.name}' {what}")

        def register(function: _HandlerType) -> _HandlerType:
            self._handlers.update(dict.fromkeys(event_types, function))
            return function

        return register

    def catch_up(
        self,
        store: "Store",
        database: "Connection | ConnectionFactory",
        *,
        progress: OnProgress | None = None,
        wait_seconds: float = _WAIT_SECONDS,
    ) -> int:
        """Apply what is stored by now, and return how many events that were.

        The database is a connection of `sqlite3` or `psycopg`, or a function that returns one.
        After each transaction `progress` is told the id of the last event that was applied, and of
        the last one that was there at the beginning. A runner that is still there is waited for, at
        most `wait_seconds`.

        Raises:
            OutdatedModelError: The model was made by another version of this projection.
            ForeignLogError: The model was made of another log.
            AlreadyRunningError: Another runner applies events to the model.
            HandlerFailedError: A handler raised.
            EverlogError: The store cannot be read.
        """
        with self._running(store, database, wait_seconds) as run:
            return run.catch_up(progress)

    def run(
        self,
        store: "Store",
        database: "Connection | ConnectionFactory",
        *,
        stop: threading.Event | None = None,
        progress: OnProgress | None = None,
        wait_seconds: float = _WAIT_SECONDS,
        on_interruption: Callable[[EverlogError], None] | None = None,
    ) -> None:
        """Catch up, and then apply events as they come, until `stop` is set, or for ever.

        A server that is followed and cannot be reached is asked again, as by `Store.follow`, which
        also says what `on_interruption` is told. The other arguments and the errors are those of
        `catch_up`.
        """
        stop = stop or threading.Event()
        try:
            with self._running(store, database, wait_seconds, stop) as run:
                run.catch_up(progress)
                run.follow(on_interruption)
        except AlreadyRunningError:
            if not stop.is_set():
                raise

    def rebuild(
        self,
        store: "Store",
        database: "Connection | ConnectionFactory",
        *,
        progress: OnProgress | None = None,
        wait_seconds: float = _WAIT_SECONDS,
    ) -> int:
        """Empty the read model, and then catch up; if it is interrupted, `catch_up` goes on.

        Arguments, result and errors are those of `catch_up`.
        """
        with self._running(store, database, wait_seconds, is_rebuild=True) as run:
            return run.catch_up(progress)

    def position(self, database: "Connection | ConnectionFactory") -> str | None:
        """Return the id of the last event that was applied, or None if there is none yet."""
        with opened(database) as model:
            row = self._row(model) if model.has_table else None
            return None if row is None or row[1] is None else str(row[1])

    @contextmanager
    def _running(
        self,
        store: "Store",
        database: "Connection | ConnectionFactory",
        wait_seconds: float,
        stop: threading.Event | None = None,
        *,
        is_rebuild: bool = False,
    ) -> "Iterator[_Run]":
        if self._reset is None:
            raise ProjectionError(
                f"the projection '{self.name}' has no reset, which makes the empty read model"
            )
        stop = stop or threading.Event()
        with opened(database) as model, model.used(), model.lock(self.name, wait_seconds, stop):
            if is_rebuild or self._row(model) is None:
                self._begin(model, self._reset, is_rebuild=is_rebuild)
            run = _Run(self, self._handlers, store, model, self._position(model), stop)
            run.check_log()
            yield run

    def _begin(self, model: Database, reset: Callable[[Any], object], *, is_rebuild: bool) -> None:
        statement = "INSERT INTO everlog_projections (name, version) VALUES (?, ?)"
        if is_rebuild:
            statement += (
                " ON CONFLICT (name) DO UPDATE"
                " SET version = excluded.version, event_id = NULL, event_hash = NULL"
            )
        with model.transaction():
            # First: somebody who did the same meanwhile keeps the model from being emptied again.
            model.execute(statement, [self.name, self.version])
            try:
                reset(model.connection)
            finally:
                if model.was_ended:
                    raise ProjectionError(f"the reset of '{self.name}': {ENDS_TRANSACTIONS}")

    def _position(self, model: Database) -> _Position:
        row = self._row(model)
        assert row is not None
        version, event_id, event_hash = row
        if version != self.version:
            raise OutdatedModelError(
                f"the read model '{self.name}' was made by version {version} of its projection, "
                f"and this is version {self.version}: rebuild it"
            )
        return _NOTHING if event_id is None else _Position(event_id, event_hash)

    def _row(self, model: Database) -> tuple[int, int | None, str | None] | None:
        statement = "SELECT version, event_id, event_hash FROM everlog_projections WHERE name = ?"
        row: tuple[int, int | None, str | None] | None = model.execute(
            statement, [self.name]
        ).fetchone()
        return row


class _Run:
    """One run of a projection: it has the lock, and knows the position."""

    def __init__(
        self,
        projection: Projection,
        handlers: dict[str, Handler],
        store: "Store",
        model: Database,
        position: _Position,
        stop: threading.Event,
    ) -> None:
        self._projection: Final = projection
        self._handlers: Final = handlers
        self._store: Final = store
        self._model: Final = model
        self._position = position
        self._stop: Final = stop

    def check_log(self) -> None:
        """Refuse a store that has not the last event that was applied."""
        id_, hash_ = self._position
        if self._position == _NOTHING:
            return
        found = next(iter(self._read(from_id=id_, to_id=id_)), None)
        if found is None or found.hash != hash_:
            there = "no such event" if found is None else "another one"
            raise ForeignLogError(
                f"the read model '{self._projection.name}' ends with event {id_} "
                f"({hash_}), and the store has {there}: it was made of another log. Connect to "
                "the right one, or rebuild the model"
            )

    def catch_up(self, progress: OnProgress | None) -> int:
        """Apply what is stored, and return how many events that were."""
        last = -1 if progress is None else self._last_id()
        count = 0
        for batch in batches_of(self._read(from_id=self._position.id + 1)):
            if self._stop.is_set():
                break
            self._apply(batch)
            count += len(batch)
            if progress is not None:
                progress(self._position.id, max(last, self._position.id))
        return count

    def follow(self, on_interruption: Callable[[EverlogError], None] | None) -> None:
        """Apply what comes, until somebody stops it."""
        id_ = self._position.id
        events = self._store.follow(
            self._projection.subject,
            recursive=True,
            after=None if id_ < 0 else str(id_),
            on_interruption=on_interruption,
        )
        with closing(Feed(events)) as feed:
            for batch in feed.batches(self._stop):
                self._apply(batch)

    def _apply(self, batch: Sequence[Event]) -> None:
        """Apply events, and move the position to the last of them, in one transaction."""
        position = _Position(int(batch[-1].id), batch[-1].hash)
        with self._model.transaction():
            self._move(position)
            predecessor = self._position.hash
            for event in batch:
                if self._projection.subject == "/" and predecessor is not None:
                    self._check_chain(event, predecessor)
                predecessor = event.hash
                handler = self._handlers.get(event.type)
                if handler is not None:
                    self._handle(handler, event)
        self._position = position

    def _move(self, position: _Position) -> None:
        moved = self._model.execute(
            "UPDATE everlog_projections SET event_id = ?, event_hash = ?"
            " WHERE name = ? AND version = ? AND coalesce(event_id, -1) = ?",
            [*position, self._projection.name, self._projection.version, self._position.id],
        )
        if moved.rowcount != 1:
            raise ProjectionError(
                f"the read model '{self._projection.name}' is not where this runner left it, at "
                f"event {self._position.id}: somebody else has applied events, or rebuilt it"
            )

    def _check_chain(self, event: Event, predecessor: str) -> None:
        if event.predecessorhash != predecessor:
            raise ForeignLogError(
                f"event {event.id} does not follow the last one that the read model "
                f"'{self._projection.name}' has: the store shows another log than before"
            )

    def _handle(self, handler: Handler, event: Event) -> None:
        name, model = self._projection.name, self._model
        try:
            handler(model.connection, event)
        except Exception as error:
            # Its own text may quote data.
            reason = ENDS_TRANSACTIONS if model.was_ended else type(error).__name__
            raise HandlerFailedError(name, event, reason) from error
        if model.was_ended:
            raise HandlerFailedError(name, event, ENDS_TRANSACTIONS)

    def _last_id(self) -> int:
        events = self._store.read(
            self._projection.subject, recursive=True, order="antichronological"
        )
        return next((int(event.id) for event in events), -1)

    def _read(self, *, from_id: int, to_id: int | None = None) -> Iterable[Event]:
        return self._store.read(
            self._projection.subject,
            recursive=True,
            lower_bound=Bound(str(from_id), "inclusive"),
            upper_bound=None if to_id is None else Bound(str(to_id), "inclusive"),
        )


@contextmanager
def progress_bar(label: str = "events") -> Iterator[OnProgress]:
    """Show on standard error how far a read model is, where that is a terminal.

    with progress_bar() as progress:
        loans.rebuild(store, connect, progress=progress)
    """
    if sys.stderr is None or not sys.stderr.isatty():
        yield _show_nothing
        return
    with click.progressbar(length=1, label=label, file=sys.stderr, show_pos=True) as bar:

        def show(id_: int, last_id: int) -> None:
            bar.length = last_id + 1
            bar.update(id_ + 1 - bar.pos)

        yield show


def _show_nothing(id_: int, last_id: int) -> None:
    """Do without."""
