"""Text for a terminal: harmless, and as wide as is said."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everlog.cli.forms import shorten, width_of
from everlog.texts import to_printable


@pytest.mark.parametrize(
    "text, width",
    [("", 0), ("abc", 3), ("caf\u00e9", 4), ("cafe\u0301", 4), ("\u65e5\u672c", 4), ("\uff21b", 3)],
)
def test_letters_are_as_wide_as_a_terminal_shows_them(text: str, width: int) -> None:
    assert width_of(text) == width


@pytest.mark.parametrize(
    "text, width, expected",
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "ab\u2026"),
        ("abcd", 1, "\u2026"),
        ("\u65e5\u672c\u8a9e", 5, "\u65e5\u672c\u2026"),
        ("\u65e5\u672c\u8a9e", 4, "\u65e5\u2026"),
        ("a" * 1_000_000, 2, "a\u2026"),
    ],
)
def test_what_is_too_wide_ends_with_an_ellipsis(text: str, width: int, expected: str) -> None:
    assert shorten(text, width) == expected


@given(st.text(), st.integers(1, 20))
def test_any_text_becomes_printable_and_fits(text: str, width: int) -> None:
    shown = to_printable(text)

    assert width_of(shorten(shown, width)) <= width
    assert (shorten(shown, width) == shown) == (width_of(shown) <= width)
