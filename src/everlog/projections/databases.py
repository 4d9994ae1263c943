"""The database of a read model, and what SQLite and PostgreSQL do differently.

**One runner.** A lock keeps two from starting: of a file beside a SQLite database, of the session
in PostgreSQL. Both are let go of when the process that holds them ends, however it does.
**Exactly once** does not depend on it: the position is moved by the transaction that the handlers
write in, and only from where the runner believes that it is.

What is left to others: what is applied, and when (`projection`).
"""

import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from everlog.domain.errors import EverlogError

if TYPE_CHECKING:
    import psycopg

Connection: TypeAlias = "sqlite3.Connection | psycopg.Connection[Any]"
ConnectionFactory: TypeAlias = Callable[[], "sqlite3.Connection | psycopg.Connection[Any]"]

# Between two looks whether another runner has ended.
_LOOK_SECONDS: Final = 0.05

_TABLE: Final = """\
CREATE TABLE IF NOT EXISTS everlog_projections (
    name TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    event_id BIGINT,
    event_hash TEXT
)"""

# `sqlite3.LEGACY_TRANSACTION_CONTROL`, which Python 3.11 does not have.
_LEGACY_CONTROL: Final = -1

# Any number that nobody else takes.
_LOCK_OF_THE_TABLE: Final = 7310577365311121043

# Why a handler is refused that has ended the transaction, or has tried to.
ENDS_TRANSACTIONS: Final = (
    "the transaction is the runner's, which commits it together with the position: "
    "use execute(), and not commit(), rollback(), executescript() or 'with connection:'"
)


class ProjectionError(EverlogError):
    """A read model cannot be run, or not any further; what is stored of it is whole."""


class AlreadyRunningError(ProjectionError):
    """Another runner applies events to this read model."""


class Database(Protocol):
    """A connection whose transactions are the runner's as long as it is `used`."""

    @property
    def connection(self) -> Any:
        """The user's connection, which is what handlers are given."""

    @property
    def has_table(self) -> bool:
        """Whether positions are kept here already."""

    def used(self) -> AbstractContextManager[object]:
        """Take the connection over, and leave it as it was.

        Raises:
            ProjectionError: It is in the middle of a transaction.
        """

    def execute(self, statement: str, values: Sequence[object] = ()) -> Any:
        """Execute a statement with `?` for each value, and return its cursor, of tuples."""

    def lock(
        self, name: str, seconds: float, stop: threading.Event
    ) -> AbstractContextManager[None]:
        """Be the only runner of that name; wait for another one that long, or until `stop` is set.

        Raises:
            AlreadyRunningError: It is still there then.
        """

    def transaction(self) -> AbstractContextManager[None]:
        """Commit what is written in the block as a whole, or nothing if it raises."""

    @property
    def was_ended(self) -> bool:
        """Whether a handler has ended the transaction, or has tried to."""


@contextmanager
def opened(database: "Connection | ConnectionFactory") -> Iterator[Database]:
    """Know a connection, or one of a factory's, which is closed at the end.

    Raises:
        TypeError: It is neither, or a connection to another kind of database.
    """
    # A connection of sqlite3 can be called, too.
    if isinstance(database, sqlite3.Connection) or not callable(database):
        yield _known(database)
        return
    with closing(database()) as connection:
        yield _known(connection)


def _known(connection: Connection) -> Database:
    if isinstance(connection, sqlite3.Connection):
        return SqliteDatabase(connection)
    if any(kind.__module__.startswith("psycopg") for kind in type(connection).__mro__):
        from psycopg import Connection as PsycopgConnection  # noqa: PLC0415 - its users have it.

        if isinstance(connection, PsycopgConnection):
            return PostgresqlDatabase(connection)
    raise TypeError(
        "a read model is kept by a connection of sqlite3 or of psycopg (3, not async), or by "
        f"a function that returns one, not by {type(connection).__name__}"
    )


class SqliteDatabase:
    """A SQLite database. Its one writer is the one who has begun: a transaction begins at once."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Know the connection; `used` takes it over."""
        self.connection: Final = connection
        self._is_guarded = False
        self._was_ended = False

    @property
    def has_table(self) -> bool:
        """As in `Database`."""
        found = self.execute("SELECT 1 FROM sqlite_master WHERE name = 'everlog_projections'")
        return found.fetchone() is not None

    @contextmanager
    def used(self) -> Iterator[None]:
        """As in `Database`."""
        connection: Any = self.connection
        # Python 3.11 has only what later versions call the legacy way.
        autocommit = getattr(connection, "autocommit", None)
        if autocommit is not None:
            # Without autocommit there is always a transaction: this commits it, as Python says.
            if autocommit is False:
                connection.autocommit = True
            connection.autocommit = _LEGACY_CONTROL
        _check_idle(is_idle=not connection.in_transaction)
        isolation_level, connection.isolation_level = connection.isolation_level, None
        connection.set_authorizer(self._judge)
        try:
            self.execute(_TABLE)
            yield
        finally:
            connection.set_authorizer(None)
            connection.isolation_level = isolation_level
            if autocommit is not None:
                connection.autocommit = autocommit

    def execute(self, statement: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        """As in `Database`."""
        cursor = self.connection.cursor()
        cursor.row_factory = None
        return cursor.execute(statement, values)

    @contextmanager
    def lock(self, name: str, seconds: float, stop: threading.Event) -> Iterator[None]:
        """As in `Database`; a database in memory is this connection's alone."""
        path = next(row[2] for row in self.execute("PRAGMA database_list") if row[1] == "main")
        if not path:
            yield
            return
        # It stays when the runner ends: who deleted it could delete another one's.
        descriptor = os.open(f"{path}-{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            _wait_for(lambda: _take(descriptor), seconds, stop, name, lambda: _holder(descriptor))
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            yield
        finally:
            os.close(descriptor)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """As in `Database`."""
        self.execute("BEGIN IMMEDIATE")
        self._is_guarded, self._was_ended = True, False
        try:
            yield
            self._is_guarded = False
            # A reader can keep it from being committed; it is then still there.
            self.connection.commit()
        except BaseException:
            self._is_guarded = False
            self.connection.rollback()
            raise

    @property
    def was_ended(self) -> bool:
        """As in `Database`."""
        return self._was_ended or not self.connection.in_transaction

    def _judge(self, action: int, *_: object) -> int:
        """Refuse what would end a transaction; SQLite asks for each statement that it compiles."""
        if self._is_guarded and action == sqlite3.SQLITE_TRANSACTION:
            self._was_ended = True
            return sqlite3.SQLITE_DENY
        return sqlite3.SQLITE_OK


def _take(descriptor: int) -> bool:
    with suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def _holder(descriptor: int) -> str:
    text = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
    return f"process {text or 'unknown'}"


class PostgresqlDatabase:
    """A PostgreSQL database; the tables are where the connection's search path leads to."""

    def __init__(self, connection: "psycopg.Connection[Any]") -> None:
        """Know the connection; `used` takes it over."""
        from psycopg.rows import tuple_row  # noqa: PLC0415 - only its users have it.

        self.connection: Final = connection
        self._row_factory: Final = tuple_row

    @property
    def has_table(self) -> bool:
        """As in `Database`."""
        found = self.execute("SELECT to_regclass('everlog_projections') IS NOT NULL")
        return bool(found.fetchone()[0])

    @contextmanager
    def used(self) -> Iterator[None]:
        """As in `Database`."""
        connection = self.connection
        _check_idle(is_idle=connection.info.transaction_status.name == "IDLE")
        autocommit = connection.autocommit
        # A transaction is then one that somebody has begun.
        connection.autocommit = True
        try:
            # A role that may not create tables can have it created beforehand.
            if not self.has_table:
                with self.transaction():
                    # Two that create it at once would fail.
                    self.execute("SELECT pg_advisory_xact_lock(?)", [_LOCK_OF_THE_TABLE])
                    self.execute(_TABLE)
            yield
        finally:
            if not connection.closed:
                connection.autocommit = autocommit

    def execute(self, statement: str, values: Sequence[object] = ()) -> Any:
        """As in `Database`."""
        cursor = self.connection.cursor(row_factory=self._row_factory)
        return cursor.execute(statement.replace("?", "%s").encode(), values)

    @contextmanager
    def lock(self, name: str, seconds: float, stop: threading.Event) -> Iterator[None]:
        """As in `Database`: the session has the lock, and the server takes it when that ends."""
        key = "hashtextextended('everlog_projections/' || current_schema() || '/' || ?, 0)"

        def take() -> bool:
            statement = f"SELECT pg_try_advisory_lock({key})"
            return bool(self.execute(statement, [name]).fetchone()[0])

        _wait_for(take, seconds, stop, name, lambda: "another session of the database")
        try:
            yield
        finally:
            # A connection that is broken has no lock any more.
            if not self.connection.closed:
                self.execute(f"SELECT pg_advisory_unlock({key})", [name])

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """As in `Database`; psycopg lets nobody commit or roll back within it."""
        with self.connection.transaction():
            yield

    @property
    def was_ended(self) -> bool:
        """As in `Database`."""
        return self.connection.info.transaction_status.name == "IDLE"


def _check_idle(*, is_idle: bool) -> None:
    if not is_idle:
        raise ProjectionError(
            "the connection is in the middle of a transaction: commit it or roll it back before"
        )


def _wait_for(
    take: Callable[[], bool],
    seconds: float,
    stop: threading.Event,
    name: str,
    holder: Callable[[], str],
) -> None:
    deadline = time.monotonic() + seconds
    while not take():
        if time.monotonic() >= deadline or stop.wait(_LOOK_SECONDS):
            raise AlreadyRunningError(
                f"another runner applies events to the read model '{name}' ({holder()}): there is "
                "one at a time; end that one first, or wait longer for it by `wait_seconds`"
            )
