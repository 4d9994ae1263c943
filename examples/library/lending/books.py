"""The rules about a book: functions without a store, a clock or a network.

What has happened to a book is a list of events. `evolve` makes a `Book` of them, and each decision
takes a `Book` and returns the events that are to be written, or says why there are none.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

from everlog import Event, NewEvent

SOURCE = "https://library.example"

ACQUIRED = "com.example.book-acquired"
BORROWED = "com.example.book-borrowed"
RETURNED = "com.example.book-returned"
REMOVED = "com.example.book-removed"
# Everything that counts of what happened before, so that it need not be read again.
SNAPSHOT = "com.example.book-snapshot-taken"


class NotAllowedError(Exception):
    """The rules of the library forbid it."""


@dataclass(frozen=True)
class Book:
    """What the rules need to know about a book; its subject is `/books/42`, say."""

    subject: str
    title: str | None = None
    author: str | None = None
    reader: str | None = None
    is_removed: bool = False


def evolve(book: Book, event: NewEvent | Event) -> Book:
    """Return the book after the event."""
    data = event.data
    match event.type:
        case "com.example.book-acquired":
            # Books of the first year have no author.
            return replace(book, title=data["title"], author=data.get("author"))
        case "com.example.book-borrowed":
            return replace(book, reader=data["reader"])
        case "com.example.book-returned":
            return replace(book, reader=None)
        case "com.example.book-removed":
            return replace(book, is_removed=True)
        case "com.example.book-snapshot-taken":
            return Book(book.subject, **data["book"])
        case _:
            return book


def acquire(book: Book, *, title: str, author: str) -> list[NewEvent]:
    """Put a new book on the shelf."""
    if book.title is not None:
        raise NotAllowedError(f"{book.subject} is '{book.title}' already")
    return [_event(book, ACQUIRED, {"title": title, "author": author})]


def borrow(book: Book, *, reader: str) -> list[NewEvent]:
    """Lend the book to a reader, whose subject this is."""
    _check_is_there(book)
    if book.reader is not None:
        raise NotAllowedError(f"'{book.title}' is lent to {book.reader}")
    return [_event(book, BORROWED, {"reader": reader})]


def give_back(book: Book) -> list[NewEvent]:
    """Take the book back."""
    _check_is_there(book)
    if book.reader is None:
        raise NotAllowedError(f"'{book.title}' is not lent")
    return [_event(book, RETURNED, {"reader": book.reader})]


def remove(book: Book, *, reason: str) -> list[NewEvent]:
    """Strike the book off, wherever it is."""
    _check_is_there(book)
    return [_event(book, REMOVED, {"reason": reason})]


def take_snapshot(book: Book) -> NewEvent:
    """Return an event that stands for all before it."""
    values = asdict(book)
    del values["subject"]
    return _event(book, SNAPSHOT, {"book": values})


def _check_is_there(book: Book) -> None:
    if book.title is None:
        raise NotAllowedError(f"there is no {book.subject}")
    if book.is_removed:
        raise NotAllowedError(f"'{book.title}' was removed")


def _event(book: Book, type_: str, data: dict[str, Any]) -> NewEvent:
    return NewEvent(SOURCE, book.subject, type_, data)
