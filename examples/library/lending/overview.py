"""The read model: which books there are, and who has them, in a SQLite database."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from everlog import Event, Store
from everlog.projections import Projection
from lending import books
from lending.library import READER_REGISTERED

overview = Projection("overview", version=1)


@overview.reset
def reset(connection: sqlite3.Connection) -> None:
    """Make empty tables, whatever was there."""
    connection.execute("DROP TABLE IF EXISTS book")
    connection.execute("DROP TABLE IF EXISTS reader")
    connection.execute("CREATE TABLE reader (subject TEXT PRIMARY KEY, name TEXT NOT NULL)")
    connection.execute(
        "CREATE TABLE book (subject TEXT PRIMARY KEY, title TEXT NOT NULL, author TEXT,"
        " loans INTEGER NOT NULL DEFAULT 0, reader TEXT, since TEXT)"
    )


@overview.on(READER_REGISTERED)
def registered(connection: sqlite3.Connection, event: Event) -> None:
    """Note a reader."""
    connection.execute("INSERT INTO reader VALUES (?, ?)", (event.subject, event.data["name"]))


@overview.on(books.ACQUIRED)
def acquired(connection: sqlite3.Connection, event: Event) -> None:
    """Note a book."""
    connection.execute(
        "INSERT INTO book (subject, title, author) VALUES (?, ?, ?)",
        (event.subject, event.data["title"], event.data.get("author")),
    )


@overview.on(books.BORROWED)
def borrowed(connection: sqlite3.Connection, event: Event) -> None:
    """Note who has it."""
    connection.execute(
        "UPDATE book SET reader = ?, since = ?, loans = loans + 1 WHERE subject = ?",
        (event.data["reader"], event.time, event.subject),
    )


@overview.on(books.RETURNED)
def returned(connection: sqlite3.Connection, event: Event) -> None:
    """Note that nobody has it."""
    connection.execute(
        "UPDATE book SET reader = NULL, since = NULL WHERE subject = ?", (event.subject,)
    )


@overview.on(books.REMOVED)
def removed(connection: sqlite3.Connection, event: Event) -> None:
    """Forget the book."""
    connection.execute("DELETE FROM book WHERE subject = ?", (event.subject,))


class Line(NamedTuple):
    """A book as the overview shows it; `reader` is a name, None if it is on the shelf."""

    number: str
    title: str
    author: str | None
    loans: int
    reader: str | None


class Overview:
    """The read model in a file, which it is the only one to write."""

    def __init__(self, store: Store, file: Path) -> None:
        """Keep the overview of a store in a file."""
        self._store = store
        self._file = file

    def connect(self) -> sqlite3.Connection:
        """Return a connection of one's own: readers and the runner do not wait for each other."""
        connection = sqlite3.connect(self._file)
        connection.execute("PRAGMA journal_mode = WAL")
        return connection

    def update(self) -> None:
        """Take in what has been written until now."""
        overview.catch_up(self._store, self.connect)

    def follow(self) -> None:
        """Take in what is written, for ever."""
        overview.run(self._store, self.connect)

    def lines(self) -> list[Line]:
        """Return all books by their titles."""
        with closing(self.connect()) as connection:
            rows = connection.execute(
                "SELECT substr(book.subject, 8), title, author, loans, reader.name"
                " FROM book LEFT JOIN reader ON reader.subject = book.reader"
                " ORDER BY title, book.subject"
            )
            return [Line(*row) for row in rows]
