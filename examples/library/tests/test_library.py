"""The library over a real store: who is too late is told, and nothing happens twice."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from everlog import Event, NewEvent, OutcomeUnknownError, Precondition, Store
from lending import books
from lending.books import NotAllowedError
from lending.library import SNAPSHOT_EVENTS, Library


@pytest.fixture
def library(everlog_store: Store) -> Library:
    library = Library(everlog_store)
    library.register("23", name="Jane Roe")
    library.register("7", name="John Doe")
    library.acquire("42", title="Dune", author="Frank Herbert")
    return library


def types(store: Store, subject: str = "/books/42") -> list[str]:
    return [event.type.rpartition("-")[2] for event in store.read(subject)]


def test_a_book_goes_out_and_comes_back(library: Library, everlog_store: Store) -> None:
    library.borrow("42", reader="23")
    library.give_back("42")
    library.borrow("42", reader="7")
    library.remove("42", reason="lost")

    assert types(everlog_store) == ["acquired", "borrowed", "returned", "borrowed", "removed"]


def test_a_reader_has_to_be_registered_and_is_once(library: Library) -> None:
    with pytest.raises(NotAllowedError, match="no reader 99"):
        library.borrow("42", reader="99")
    with pytest.raises(NotAllowedError, match="a reader 23 already"):
        library.register("23", name="Somebody Else")


def test_of_many_who_want_a_book_one_gets_it(library: Library, everlog_store: Store) -> None:
    def try_to_borrow(number: int) -> int:
        try:
            return len(library.borrow("42", reader="23" if number % 2 else "7"))
        except NotAllowedError:
            return 0

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(try_to_borrow, range(8))) == 1

    assert types(everlog_store) == ["acquired", "borrowed"]


def test_the_same_request_happens_once(library: Library, everlog_store: Store) -> None:
    first = library.borrow("42", reader="23", request="a")

    assert library.borrow("42", reader="23", request="a") == first
    with pytest.raises(NotAllowedError, match="is lent to"):
        library.borrow("42", reader="23", request="b")

    assert types(everlog_store) == ["acquired", "borrowed"]


class LosingStore:
    """A store whose next answer to a write is lost, before or after it was stored."""

    def __init__(self, store: Store, *, is_stored: bool) -> None:
        self._store = store
        self._is_stored = is_stored
        self._is_lost = True

    def write(
        self, events: Iterable[NewEvent], preconditions: Iterable[Precondition] = ()
    ) -> list[Event]:
        if not self._is_lost:
            return self._store.write(events, preconditions)
        self._is_lost = False
        if self._is_stored:
            self._store.write(events, preconditions)
        raise OutcomeUnknownError("the connection broke")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


@pytest.mark.parametrize("is_stored", [True, False])
@pytest.mark.usefixtures("library")
def test_an_answer_that_is_lost_changes_nothing(everlog_store: Store, *, is_stored: bool) -> None:
    losing: Any = LosingStore(everlog_store, is_stored=is_stored)

    [event] = Library(losing).borrow("42", reader="23")

    assert event.data["reader"] == "/readers/23"
    assert types(everlog_store) == ["acquired", "borrowed"]


def test_a_book_with_a_long_history_has_snapshots(library: Library, everlog_store: Store) -> None:
    for _ in range(SNAPSHOT_EVENTS):
        library.borrow("42", reader="23")
        library.give_back("42")

    snapshots = [event for event in everlog_store.read("/books/42") if event.type == books.SNAPSHOT]
    assert len(snapshots) == 2
    assert snapshots[0].data["book"]["title"] == "Dune"
