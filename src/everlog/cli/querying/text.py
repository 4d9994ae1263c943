"""Text for a terminal: made harmless, measured, and cut to a width.

What a client stored may hold anything: codes that a terminal obeys, or letters that turn what
follows around. Nothing of that reaches the terminal.
"""

import unicodedata
from typing import Final

_ELLIPSIS: Final = "\u2026"

# They stand on the letter before them.
_WITHOUT_WIDTH: Final = frozenset({"Mn", "Me"})


def to_printable(text: str) -> str:
    """Return a text on one line, with everything that is not printed shown as an escape."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
        for letter in text
    )


def width_of(text: str) -> int:
    """Return how many columns of a terminal a printable text takes."""
    return len(text) if text.isascii() else sum(map(_width_of_letter, text))


def shorten(text: str, width: int) -> str:
    """Return a text that is not wider than this; an ellipsis says that something is missing."""
    # No letter is worth looking at that is that far behind.
    if len(text) <= 4 * width and width_of(text) <= width:
        return text
    taken = 0
    for index, letter in enumerate(text):
        taken += _width_of_letter(letter)
        if taken >= width:
            return text[:index] + _ELLIPSIS
    return text


def _width_of_letter(letter: str) -> int:
    if letter.isascii():
        return 1
    if unicodedata.category(letter) in _WITHOUT_WIDTH:
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1
