"""The rules: given what happened, when somebody decides, then these events, or a refusal."""

from typing import Any

import pytest

from everlog import NewEvent
from everlog.testing import Specification
from lending import books
from lending.books import Book, NotAllowedError

BOOK = "/books/42"

book = Specification(books.evolve, initial_state=Book(BOOK))


def event(type_: str, **data: Any) -> NewEvent:
    return NewEvent(books.SOURCE, BOOK, type_, data)


acquired = event(books.ACQUIRED, title="Dune", author="Frank Herbert")
borrowed = event(books.BORROWED, reader="/readers/23")
returned = event(books.RETURNED, reader="/readers/23")
removed = event(books.REMOVED, reason="lost")


def test_a_new_book_is_acquired() -> None:
    book.given().when(books.acquire, title="Dune", author="Frank Herbert").then(acquired)


def test_a_book_is_acquired_once() -> None:
    book.given(acquired).when(books.acquire, title="Emma", author="Jane Austen").then_raises(
        NotAllowedError, match="is 'Dune' already"
    )


def test_a_book_on_the_shelf_is_lent() -> None:
    book.given(acquired).when(books.borrow, reader="/readers/23").then(borrowed)


def test_a_book_that_was_returned_is_lent_again() -> None:
    book.given(acquired, borrowed, returned).when(books.borrow, reader="/readers/23").then(borrowed)


def test_a_book_that_is_lent_is_not_lent_again() -> None:
    book.given(acquired, borrowed).when(books.borrow, reader="/readers/7").then_raises(
        NotAllowedError, match="lent to /readers/23"
    )


def test_a_book_is_returned_by_who_has_it() -> None:
    book.given(acquired, borrowed).when(books.give_back).then(returned)


def test_a_book_on_the_shelf_is_not_returned() -> None:
    book.given(acquired).when(books.give_back).then_raises(NotAllowedError, match="is not lent")


def test_a_lost_book_is_removed_wherever_it_is() -> None:
    book.given(acquired, borrowed).when(books.remove, reason="lost").then(removed)


@pytest.mark.parametrize("decide", [books.give_back, lambda is_: books.borrow(is_, reader="/r/7")])
def test_nothing_is_done_with_a_book_that_is_not_there(decide: Any) -> None:
    book.given().when(decide).then_raises(NotAllowedError, match="there is no /books/42")
    book.given(acquired, removed).when(decide).then_raises(NotAllowedError, match="was removed")


def test_a_book_of_the_first_year_has_no_author() -> None:
    book.given(event(books.ACQUIRED, title="Emma")).when(books.take_snapshot).then(
        event(
            books.SNAPSHOT,
            book={"title": "Emma", "author": None, "reader": None, "is_removed": False},
        )
    )


def test_a_snapshot_stands_for_all_before_it() -> None:
    [snapshot] = book.given(acquired, borrowed).when(books.take_snapshot).events

    book.given(snapshot).when(books.give_back).then(returned)
    book.given(acquired, snapshot).when(books.take_snapshot).then(snapshot)
