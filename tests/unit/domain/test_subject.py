from collections.abc import Callable

import pytest

from everlog.domain.errors import Code
from everlog.domain.limits import SUBJECT_DEPTH_MAX, SUBJECT_LENGTH_MAX
from everlog.domain.subject import ROOT, ancestors, is_within, parent, parse_subject, sort_key
from tests.support.refusals import check_refused


@pytest.mark.parametrize(
    "text, subject",
    [
        ("/", "/"),
        ("/books", "/books"),
        ("/books/", "/books"),
        ("/books/42", "/books/42"),
        ("/books/42/", "/books/42"),
        ("/Books", "/Books"),
        ("/a-b_c/0", "/a-b_c/0"),
        ("/-/_", "/-/_"),
    ],
)
def test_parses_a_subject_into_its_canonical_form(text: str, subject: str) -> None:
    assert parse_subject(text) == subject


@pytest.mark.parametrize(
    "text",
    [
        "barbaz",
        "//",
        "/a//b",
        "/a//",
        " /a",
        "/a ",
        "/a\n",
        "/a.b",
        "/a%20b",
        "/b\u00fccher",
        "/\u0661",
        "/a?b",
        "\0",
    ],
)
def test_refuses_what_is_no_path(text: str) -> None:
    check_refused(
        lambda: parse_subject(text),
        Code.SUBJECT_MALFORMED,
        message=f"malformed event subject '{text}': subject must be an absolute, slash-separated",
        field="subject",
    )


@pytest.mark.parametrize("text", [None, ""])
def test_refuses_a_missing_subject(text: str | None) -> None:
    check_refused(lambda: parse_subject(text), Code.SUBJECT_MISSING, field="subject")


def test_names_the_field_that_it_was_told() -> None:
    check_refused(lambda: parse_subject("x", field="a.b"), Code.SUBJECT_MALFORMED, field="a.b")


def check_limit(make: Callable[[int], str], limit: int) -> None:
    assert parse_subject(make(limit - 1))
    assert parse_subject(make(limit))
    check_refused(
        lambda: parse_subject(make(limit + 1)),
        Code.SUBJECT_MALFORMED,
        message=str(limit),
        field="subject",
        limit=limit,
    )


def test_limits_the_length() -> None:
    check_limit(lambda length: "/" + "a" * (length - 1), SUBJECT_LENGTH_MAX)


def test_limits_the_depth() -> None:
    check_limit(lambda depth: "/a" * depth, SUBJECT_DEPTH_MAX)


def test_a_trailing_slash_adds_no_depth() -> None:
    assert parse_subject("/a" * SUBJECT_DEPTH_MAX + "/") == "/a" * SUBJECT_DEPTH_MAX


@pytest.mark.parametrize(
    "subject, above",
    [("/", []), ("/a", ["/"]), ("/a/b", ["/", "/a"]), ("/a/b/c", ["/", "/a", "/a/b"])],
)
def test_knows_what_lies_above(subject: str, above: list[str]) -> None:
    assert list(ancestors(subject)) == above
    assert parent(subject) == (above[-1] if above else None)


@pytest.mark.parametrize(
    "subject, top, expected",
    [
        ("/", "/", True),
        ("/a", "/", True),
        ("/", "/a", False),
        ("/a", "/a", True),
        ("/a/b", "/a", True),
        ("/a/b/c", "/a", True),
        ("/ab", "/a", False),
        ("/a-b", "/a", False),
        ("/a", "/a/b", False),
        ("/b", "/a", False),
    ],
)
def test_tells_what_lies_within(subject: str, top: str, *, expected: bool) -> None:
    assert is_within(subject, top) is expected


def test_sorts_depth_first() -> None:
    expected = [ROOT, "/a", "/a/b", "/a/b/c", "/a/z", "/a-b", "/a0", "/aa", "/b"]

    assert sorted(sorted(expected), key=sort_key) == expected
