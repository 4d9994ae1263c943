import pytest

from everlog.eventql.language.likeness import most_alike

WORDS = ("FROM", "PROJECT", "Where")


@pytest.mark.parametrize(
    "word, found",
    [
        ("from", "FROM"),
        ("PROJEKT", "PROJECT"),
        ("FORM", "FROM"),
        ("hwere", "Where"),
        ("FORK", None),
        ("MORF", None),
        ("FR", None),
        ("", None),
        ("FROM" * 11, None),
    ],
)
def test_finds_what_looks_alike(word: str, found: str | None) -> None:
    assert most_alike(word, WORDS, likeness_min=0.8) == found


def test_finds_the_most_alike_first() -> None:
    assert most_alike("where", ["there", "WHERE", "hwere"], likeness_min=0.6) == "WHERE"
    assert most_alike("where", [], likeness_min=0.1) is None
