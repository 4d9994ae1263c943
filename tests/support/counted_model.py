"""A read model that shows every event that was applied twice, left out, or taken out of turn.

As a program it runs its projection until somebody kills it. With `apart` it has the bug that
exactly-once is about: what the handlers write is committed before the position, and it dies
between the two.
"""

import os
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterable
from contextlib import closing
from hashlib import sha256
from typing import Any, Final

import psycopg

import everlog
from everlog.projections import Projection, feed, projection
from tests.support.server import TOKEN

MOVED: Final = "com.example.thing-moved"

Connect = Callable[[], Any]

# How many events, a digest of all of them in their order, and a sum for each subject.
Model = tuple[int, str, dict[str, int]]

counted = Projection("counted")


@counted.reset
def reset(connection: Any) -> None:
    """Make a model of no event."""
    connection.execute("DROP TABLE IF EXISTS everything")
    connection.execute("DROP TABLE IF EXISTS thing")
    connection.execute("CREATE TABLE everything (events BIGINT, digest TEXT)")
    connection.execute("INSERT INTO everything VALUES (0, '')")
    connection.execute("CREATE TABLE thing (subject TEXT PRIMARY KEY, place BIGINT)")


@counted.on(MOVED)
def moved(connection: Any, event: everlog.Event) -> None:
    """Count an event: none of these statements may be executed twice."""
    [digest] = connection.execute("SELECT digest FROM everything").fetchone()
    connection.execute(
        f"UPDATE everything SET events = events + 1, digest = '{_add(digest, event)}'"
    )
    # Subjects and hashes have no quotes.
    connection.execute(
        f"INSERT INTO thing VALUES ('{event.subject}', {int(event.data['by'])})"
        " ON CONFLICT (subject) DO UPDATE SET place = thing.place + excluded.place"
    )


def _add(digest: str, event: everlog.Event) -> str:
    return sha256(f"{digest}{event.hash}".encode()).hexdigest()


def fold(events: Iterable[everlog.Event]) -> Model:
    """Return what the model has to be."""
    count, digest, places = 0, "", dict[str, int]()
    for event in events:
        count += 1
        digest = _add(digest, event)
        places[event.subject] = places.get(event.subject, 0) + event.data["by"]
    return count, digest, places


def read_model(connect: Connect) -> Model:
    """Return what the model is."""
    with closing(connect()) as connection:
        [count, digest] = connection.execute("SELECT * FROM everything").fetchone()
        return count, digest, dict(connection.execute("SELECT * FROM thing").fetchall())


def connector(database: str) -> Connect:
    """Return what connects to a database: a file of SQLite, or a URL of PostgreSQL."""
    if database.startswith("postgresql://"):
        return lambda: psycopg.connect(database)

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(database)
        connection.execute("PRAGMA journal_mode = WAL")
        return connection

    return connect


def _commit_apart() -> None:
    """Plant the bug: the position is left behind when what the handlers wrote is committed."""
    apply = projection._Run._apply

    def apply_apart(run: Any, batch: Any) -> None:
        apply(run, batch)
        os.kill(os.getpid(), signal.SIGKILL)

    projection._Run._move = lambda *_: None  # type: ignore[method-assign] # a bug is planted
    projection._Run._apply = apply_apart  # type: ignore[assignment, method-assign] # as above


if __name__ == "__main__":
    url, database, *bugs = sys.argv[1:]
    # Many transactions, and so many moments that matter.
    feed._EVENTS_MAX = 50  # type: ignore[misc] # a constant, but for this
    if "apart" in bugs:
        _commit_apart()
    with everlog.connect(url, token=TOKEN) as store:
        sys.stdout.write("running\n")
        sys.stdout.flush()
        counted.run(store, connector(database))
