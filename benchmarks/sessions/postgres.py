"""PostgreSQL as a plain table, with psycopg, whose protocol is compiled.

The table has what many event stores on PostgreSQL have: a position, a subject with a version that
is unique in it, a type, and data as jsonb. Positions of such a table have gaps and may become
visible out of order; nothing here pays for preventing that.
"""

from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any

from benchmarks.events import TYPE, data_of, subject_of
from benchmarks.sessions.session import NewEvent

_psycopg: Any = import_module("psycopg")

_TABLE = """
CREATE TABLE IF NOT EXISTS events (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subject text COLLATE "C" NOT NULL,
    version bigint,
    type text NOT NULL,
    time timestamptz NOT NULL DEFAULT now(),
    data jsonb NOT NULL,
    UNIQUE (subject, version)
)
"""
_NOTIFICATION = """
CREATE OR REPLACE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN PERFORM pg_notify('events', ''); RETURN NULL; END$$;
CREATE OR REPLACE TRIGGER tell AFTER INSERT ON events
    FOR EACH STATEMENT EXECUTE FUNCTION tell()
"""
_INSERT = "INSERT INTO events (subject, version, type, data) VALUES (%s, %s, %s, %s)"
_SELECT = "SELECT position, subject, type, time, data::text FROM events"
_FETCH_SIZE = 5_000
_ORDER = "ORDER BY position"


class PostgresSession:
    """A connection, in autocommit mode: each write is a transaction of its own."""

    def __init__(self, address: str) -> None:
        """Connect, and prepare every statement when it is first used."""
        self._connection = _psycopg.connect(address, autocommit=True, prepare_threshold=0)
        self._versions: dict[str, int] = {}

    def write(self, events: Sequence[NewEvent]) -> None:
        """Insert rows without a version; several of them in one transaction and one round trip."""
        rows = [(subject, None, TYPE, data) for subject, data in events]
        if len(rows) == 1:
            self._connection.execute(_INSERT, rows[0])
            return
        with self._connection.transaction(), self._connection.cursor() as cursor:
            cursor.executemany(_INSERT, rows)

    def write_pristine(self, event: NewEvent) -> None:
        """Insert a row with version 0."""
        self._connection.execute(_INSERT, (event.subject, 0, TYPE, event.data))

    def write_next(self, event: NewEvent) -> None:
        """Insert a row with the version after the one that this session inserted."""
        version = self._versions.get(event.subject, -1) + 1
        self._connection.execute(_INSERT, (event.subject, version, TYPE, event.data))
        self._versions[event.subject] = version

    def read_subject(self, subject: str) -> int:
        """Select the rows of a subject."""
        rows = self._connection.execute(f"{_SELECT} WHERE subject = %s {_ORDER}", (subject,))
        return len(rows.fetchall())

    def read_everything(self) -> int:
        """Select all rows with a cursor of the server."""
        return self._count(f"{_SELECT} {_ORDER}", ())

    def read_recursive(self, subject: str) -> int:
        """Select the rows of a range of subjects: those below one begin with it and a slash."""
        return self._count(
            f"{_SELECT} WHERE subject = %s OR (subject >= %s AND subject < %s) {_ORDER}",
            # A slash and the character after it.
            (subject, f"{subject}/", f"{subject}0"),
        )

    def prepare_observing(self) -> None:
        """Let the table notify: without observers nobody pays for that."""
        # Several statements at once cannot be prepared.
        self._connection.execute(_NOTIFICATION, prepare=False)

    def observe(self) -> Iterator[None]:
        """Listen, and select what is new whenever the table notifies."""
        latest = 0
        self._connection.execute("LISTEN events")
        yield
        statement = f"{_SELECT} WHERE position > %s {_ORDER}"
        while True:
            # While it waits it has the connection to itself, so that it must stop to be asked.
            list(self._connection.notifies(stop_after=1))
            for row in self._connection.execute(statement, (latest,)).fetchall():
                latest = row[0]
                yield

    def fill(self, event_count: int) -> None:
        """Copy the events of a filled log."""
        statement = "COPY events (subject, type, data) FROM STDIN"
        with self._connection.cursor() as cursor:
            with cursor.copy(statement) as copy:
                for position in range(event_count):
                    subject = subject_of(position, event_count=event_count)
                    copy.write_row((subject, TYPE, data_of(position)))
            cursor.execute("VACUUM ANALYZE events")

    def create(self) -> None:
        """Create the table."""
        self._connection.execute(_TABLE)

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()

    def _count(self, statement: str, parameters: tuple[str, ...]) -> int:
        count = 0
        with self._connection.transaction(), self._connection.cursor("reading") as cursor:
            cursor.execute(statement, parameters)
            while rows := cursor.fetchmany(_FETCH_SIZE):
                count += len(rows)
        return count
