import pytest

from everlog.eventql.language.hints import FOREIGN_FUNCTIONS, FOREIGN_TYPES, nearest

KNOWN = ("LEN", "MEDIAN", "SUBSTRING", "time", "type")


@pytest.mark.parametrize(
    "name, found",
    [
        ("LEN", "LEN"),
        ("len", "LEN"),
        ("LENGTH", "LEN"),
        ("MEAN", "MEDIAN"),
        ("SUBSTR", "SUBSTRING"),
        ("TIMESTAMP", "time"),
        ("tpye", "type"),
        ("x", None),
        ("", None),
        ("data", None),
    ],
)
def test_finds_what_looks_alike(name: str, found: str | None) -> None:
    assert nearest(name, KNOWN) == found


def test_does_not_look_at_names_that_are_too_long() -> None:
    assert nearest("SUBSTRING" * 10_000, KNOWN) is None
    assert nearest("type", ["type" * 100]) is None


def test_knows_names_of_other_languages() -> None:
    assert nearest("Strpos", KNOWN, foreign=FOREIGN_FUNCTIONS) == "INSTR"
    assert nearest("VARCHAR", KNOWN, foreign=FOREIGN_TYPES) == "STRING"


def test_finds_nothing_where_there_is_nothing() -> None:
    assert nearest("a", []) is None
