"""What the library does: ask the store what happened, decide, and write what follows.

Two that decide about the same book at once cannot both be right: a write says which event it was
decided upon, and is refused if there is a later one. Then it is decided again.

Every change has a *request*, a text that is different for each, and stands in the data of its
events. Who does not know what became of a change makes the same request again, and nothing happens
twice.
"""

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace

from everlog import (
    Event,
    FromLatestEvent,
    IsSubjectOnEventId,
    IsSubjectPristine,
    NewEvent,
    OutcomeUnknownError,
    RefusedError,
    Store,
)
from lending import books
from lending.books import SNAPSHOT, SOURCE, Book, NotAllowedError

READER_REGISTERED = "com.example.reader-registered"

# So many events are read at most to know what a book is like.
SNAPSHOT_EVENTS = 50

ATTEMPTS_MAX = 5
PAUSE_SECONDS = 0.1

Decide = Callable[[Book], list[NewEvent]]


class Library:
    """The library, over a store: a directory, or a server."""

    def __init__(self, store: Store) -> None:
        """Use a store, which whoever opened it closes."""
        self._store = store

    def register(self, reader: str, *, name: str) -> list[Event]:
        """Register a reader, whose number nobody has yet."""
        subject = f"/readers/{reader}"
        event = NewEvent(SOURCE, subject, READER_REGISTERED, {"name": name})
        try:
            return self._store.write([event], [IsSubjectPristine(subject)])
        except RefusedError as error:
            if error.code != "precondition-violated":
                raise
            raise NotAllowedError(f"there is a reader {reader} already") from error

    def acquire(
        self, book: str, *, title: str, author: str, request: str | None = None
    ) -> list[Event]:
        """Put a new book on the shelf."""
        return self._change(
            book, request, lambda is_: books.acquire(is_, title=title, author=author)
        )

    def borrow(self, book: str, *, reader: str, request: str | None = None) -> list[Event]:
        """Lend a book to a reader."""
        subject = f"/readers/{reader}"
        # Readers stay registered, so that this needs no precondition.
        if next(iter(self._store.read(subject)), None) is None:
            raise NotAllowedError(f"there is no reader {reader}")
        return self._change(book, request, lambda is_: books.borrow(is_, reader=subject))

    def give_back(self, book: str, *, request: str | None = None) -> list[Event]:
        """Take a book back."""
        return self._change(book, request, books.give_back)

    def remove(self, book: str, *, reason: str, request: str | None = None) -> list[Event]:
        """Strike a book off, because it was lost, say."""
        return self._change(book, request, lambda is_: books.remove(is_, reason=reason))

    def _change(self, book: str, request: str | None, decide: Decide) -> list[Event]:
        """Decide upon what happened to a book, and write that; return the events of the request."""
        subject = f"/books/{book}"
        request = request or str(uuid.uuid4())
        unknown: OutcomeUnknownError | None = None
        for attempt in range(ATTEMPTS_MAX):
            history = self._read(subject)
            done = [event for event in history if event.data.get("request") == request]
            if done:
                return done
            events = self._decide(subject, history, request, decide)
            try:
                return self._store.write(events, [_nothing_came_behind(subject, history)])
            except RefusedError as error:
                # Somebody was faster: look again, and decide again.
                if error.code != "precondition-violated":
                    raise
            except OutcomeUnknownError as error:
                # Whether it was stored, the next look at the book says.
                unknown = error
                time.sleep(PAUSE_SECONDS * 2**attempt)
        raise unknown or NotAllowedError(f"too many want {subject} at once: try again")

    def _read(self, subject: str) -> list[Event]:
        latest = FromLatestEvent(subject, SNAPSHOT, "read-everything")
        return list(self._store.read(subject, from_latest_event=latest))

    def _decide(
        self, subject: str, history: Sequence[Event], request: str, decide: Decide
    ) -> list[NewEvent]:
        book = Book(subject)
        for event in history:
            book = books.evolve(book, event)
        events = decide(book)
        if len(history) + len(events) > SNAPSHOT_EVENTS:
            for new in events:
                book = books.evolve(book, new)
            events = [*events, books.take_snapshot(book)]
        return [_of_request(new, request) for new in events]


def _of_request(event: NewEvent, request: str) -> NewEvent:
    data = event.data
    return replace(event, data={**data, "request": request})


def _nothing_came_behind(
    subject: str, history: Sequence[Event]
) -> IsSubjectPristine | IsSubjectOnEventId:
    return IsSubjectOnEventId(subject, history[-1].id) if history else IsSubjectPristine(subject)
