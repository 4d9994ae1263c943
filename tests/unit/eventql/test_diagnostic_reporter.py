import pytest

from everlog.eventql.diagnostic import (
    DIAGNOSTICS_MAX,
    EXCERPT_LENGTH_MAX,
    Diagnostic,
    QueryMalformedError,
    Reporter,
    Span,
    enumerate_kinds,
    join_alternatives,
)
from everlog.eventql.types import ARRAY, DATE, INT, NULL, NUMBER, RECORD, STRING, Type


def reported(reporter: Reporter) -> tuple[Diagnostic, ...]:
    with pytest.raises(QueryMalformedError) as raised:
        reporter.raise_if_wrong()
    return raised.value.diagnostics


def test_what_is_right_raises_nothing() -> None:
    reporter = Reporter("text")

    reporter.raise_if_wrong()

    assert reporter.count == 0


def test_faults_are_in_the_order_of_the_text() -> None:
    reporter = Reporter("text")
    for message, start in [("c", 2), ("a", 0), ("d", 2), ("b", 1)]:
        reporter.report(message, Span(start, 4))

    assert [each.message for each in reported(reporter)] == ["a", "b", "c", "d"]
    assert reporter.count == 4


def test_hints_are_looked_for_only_where_they_are_told() -> None:
    asked = []
    reporter = Reporter("text")
    for number in range(100, 0, -1):
        reporter.report("x", Span(number, number), hint=lambda number=number: asked.append(number))

    assert len(reported(reporter)) == DIAGNOSTICS_MAX
    assert asked == list(range(1, DIAGNOSTICS_MAX + 1))


def test_an_excerpt_is_nothing_but_text() -> None:
    text = "'\x1b[31m\0\u202e'"

    assert Reporter(text).excerpt(Span(0, len(text))) == "'\ufffd[31m\ufffd\ufffd'"


@pytest.mark.parametrize(
    "text, quoted", [("e.id", "'e.id'"), ('"a"', "'\"a\"'"), ("'a'", "\"'a'\"")]
)
def test_a_quoted_piece_stands_between_quotes_of_the_other_kind(text: str, quoted: str) -> None:
    assert Reporter(text).quote(Span(0, len(text))) == quoted


def test_code_is_whole_or_not_there() -> None:
    reporter = Reporter("e.id" + "x" * EXCERPT_LENGTH_MAX)

    assert reporter.code(Span(0, 4)) == "e.id"
    assert reporter.code(Span(0, len(reporter.text))) == "..."


@pytest.mark.parametrize(
    "text, excerpt",
    [
        ("", ""),
        ("e.id", "e.id"),
        ("a +\n\t  b", "a + b"),
        ("x" * EXCERPT_LENGTH_MAX, "x" * EXCERPT_LENGTH_MAX),
        ("x" * (EXCERPT_LENGTH_MAX + 1), "x" * (EXCERPT_LENGTH_MAX - 3) + "..."),
        ("a" + " " * 10_000 + "b", "a..."),
    ],
)
def test_an_excerpt_fits_on_a_line(text: str, excerpt: str) -> None:
    assert Reporter(f"({text})").excerpt(Span(1, len(text) + 1)) == excerpt


@pytest.mark.parametrize(
    "type_, words",
    [
        (STRING, "STRING"),
        (NUMBER, "INT or FLOAT64"),
        (DATE | INT | NULL, "NULL, INT or DATE"),
        (ARRAY | RECORD, "an array or a record"),
    ],
)
def test_kinds_are_told_in_words(type_: Type, words: str) -> None:
    assert enumerate_kinds(type_) == words


def test_alternatives_are_joined() -> None:
    assert join_alternatives(["a"]) == "a"
    assert join_alternatives(["a", "b", "c"]) == "a, b or c"
