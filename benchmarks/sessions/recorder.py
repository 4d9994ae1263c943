"""The recorders of the `eventsourcing` library, with PostgreSQL and with SQLite.

A subject is an aggregate, its id derived from the subject. The library knows no write without a
condition: each event has a version that is unique in its aggregate, so that an event about a
subject that others write too is the first one of an aggregate of its own here.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

from benchmarks.events import TYPE, data_of, subject_of
from benchmarks.sessions.session import NewEvent

_persistence: Any = import_module("eventsourcing.persistence")

_FILL_SIZE = 5_000
_READ_SIZE = 5_000

# SQLite's numbers for `synchronous`: from here on, a commit waits for the disk in WAL mode.
_SYNCHRONOUS_FULL = 2


class RecorderSession:
    """An application recorder; several sessions may share one."""

    def __init__(self, recorder: Any) -> None:
        """Use a recorder."""
        self._recorder = recorder
        self._versions: dict[UUID, int] = {}

    def write(self, events: Sequence[NewEvent]) -> None:
        """Store all of them or none, each as the first event of an aggregate."""
        self._recorder.insert_events([_stored(uuid4(), 1, event.data) for event in events])

    def write_pristine(self, event: NewEvent) -> None:
        """Store the first event of an aggregate."""
        self._recorder.insert_events([_stored(_id_of(event.subject), 1, event.data)])

    def write_next(self, event: NewEvent) -> None:
        """Store the event of an aggregate with the next version."""
        aggregate = _id_of(event.subject)
        version = self._versions.get(aggregate, 0) + 1
        self._recorder.insert_events([_stored(aggregate, version, event.data)])
        self._versions[aggregate] = version

    def read_subject(self, subject: str) -> int:
        """Select the events of an aggregate."""
        return len(self._recorder.select_events(_id_of(subject)))

    def read_everything(self) -> int:
        """Select notifications, page by page."""
        count, start = 0, 1
        while found := self._recorder.select_notifications(start, _READ_SIZE):
            count += len(found)
            start = found[-1].id + 1
        return count

    def read_recursive(self, subject: str) -> int:
        """Fail: aggregates are in no tree."""
        raise AssertionError(f"the table of peers says that it cannot read {subject} recursively")

    def prepare_observing(self) -> None:
        """Do nothing: nobody observes."""

    def observe(self) -> Iterator[None]:
        """Fail: see the remarks of the peers."""
        raise AssertionError("the table of peers says that it cannot observe")

    def fill(self, event_count: int) -> None:
        """Insert the events of a filled log."""
        versions: dict[str, int] = {}
        for first in range(0, event_count, _FILL_SIZE):
            events = []
            for position in range(first, min(first + _FILL_SIZE, event_count)):
                subject = subject_of(position, event_count=event_count)
                versions[subject] = versions.get(subject, 0) + 1
                events.append(_stored(_id_of(subject), versions[subject], data_of(position)))
            self._recorder.insert_events(events)

    def create(self) -> None:
        """Create the table."""
        self._recorder.create_table()

    def close(self) -> None:
        """Close the recorder's pool, which other sessions of this process may share."""
        self._recorder.datastore.close()


def open_postgres(address: str) -> RecorderSession:
    """Open a recorder with one connection of its own."""
    module: Any = import_module("eventsourcing.postgres")
    settings = dict(part.split("=") for part in address.split())
    datastore = module.PostgresDatastore(
        settings["dbname"],
        settings["host"],
        settings["port"],
        settings["user"],
        "",
    )
    return RecorderSession(module.PostgresApplicationRecorder(datastore))


_sqlite_recorders: dict[str, Any] = {}


def open_sqlite(address: str) -> RecorderSession:
    """Open the one recorder of this process, which all its threads share, as the library means."""
    recorder = _sqlite_recorders.get(address)
    if recorder is None:
        module: Any = import_module("eventsourcing.sqlite")
        with sqlite3.connect(address) as connection:
            (synchronous,) = connection.execute("PRAGMA synchronous").fetchone()
        connection.close()
        if synchronous < _SYNCHRONOUS_FULL:
            raise RuntimeError("this SQLite answers before an event is durable")
        datastore = module.SQLiteDatastore(address, pool_size=16, max_overflow=256, pool_timeout=60)
        recorder = module.SQLiteApplicationRecorder(datastore)
        _sqlite_recorders[address] = recorder
    return RecorderSession(recorder)


def _stored(aggregate: UUID, version: int, data: str) -> Any:
    return _persistence.StoredEvent(aggregate, version, TYPE, data.encode())


def _id_of(subject: str) -> UUID:
    return uuid5(NAMESPACE_URL, subject)
