"""Likeness: which of some words somebody probably meant.

Used for hints only: whether a word exists is not decided here.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

# The comparison takes time that grows with the product of the lengths, and words come from
# hostile texts. No word of ours is half as long.
_LENGTH_MAX: Final = 40


def most_alike(word: str, known: Iterable[str], *, likeness_min: float) -> str | None:
    """Return the known word that looks most like a word, if there is one; casing is no matter.

    Likeness is from 0 to 1. Two neighbours that are exchanged are alike in any case: they make
    much of a short word.
    """
    if len(word) > _LENGTH_MAX:
        return None
    folded = word.lower()
    by_folded = {each.lower(): each for each in known if len(each) <= _LENGTH_MAX}
    found = get_close_matches(folded, by_folded, n=1, cutoff=likeness_min)
    found = found or [each for each in by_folded if _is_exchanged(folded, each)]
    return by_folded[found[0]] if found else None


def _is_exchanged(word: str, other: str) -> bool:
    """Tell whether two words differ by two neighbours in the other order."""
    if len(word) != len(other):
        return False
    different = [index for index in range(len(word)) if word[index] != other[index]]
    if len(different) != 2 or different[1] != different[0] + 1:
        return False
    first, second = different
    return word[first] == other[second] and word[second] == other[first]
