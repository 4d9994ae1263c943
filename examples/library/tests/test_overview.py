"""The read model says what the log says, however it came to be."""

from pathlib import Path

import pytest

from everlog import Store
from lending.library import Library
from lending.overview import Line, Overview, overview


@pytest.fixture
def shown(everlog_store: Store, tmp_path: Path) -> Overview:
    library = Library(everlog_store)
    library.register("23", name="Jane Roe")
    library.acquire("42", title="Dune", author="Frank Herbert")
    library.acquire("43", title="Emma", author="Jane Austen")
    library.borrow("42", reader="23")
    library.acquire("44", title="Ulysses", author="James Joyce")
    library.remove("44", reason="never read")
    return Overview(everlog_store, tmp_path / "overview.db")


EXPECTED = [
    Line("42", "Dune", "Frank Herbert", loans=1, reader="Jane Roe"),
    Line("43", "Emma", "Jane Austen", loans=0, reader=None),
]


def test_it_shows_which_books_there_are_and_who_has_them(shown: Overview) -> None:
    shown.update()

    assert shown.lines() == EXPECTED


def test_it_goes_on_where_it_was(shown: Overview, everlog_store: Store) -> None:
    shown.update()
    Library(everlog_store).give_back("42")
    shown.update()
    shown.update()

    assert [(line.reader, line.loans) for line in shown.lines()] == [(None, 1), (None, 0)]


def test_it_can_be_made_anew(shown: Overview, everlog_store: Store) -> None:
    shown.update()
    overview.rebuild(everlog_store, shown.connect)

    assert shown.lines() == EXPECTED
