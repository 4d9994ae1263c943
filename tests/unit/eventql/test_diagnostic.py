import pytest

from everlog.eventql.diagnostic import (
    Diagnostic,
    QueryMalformedError,
    QueryUnevaluableError,
    Span,
    describe,
    locate,
)


@pytest.mark.parametrize(
    "text, offset, place",
    [
        ("", 0, (1, 1)),
        ("abc", 0, (1, 1)),
        ("abc", 2, (1, 3)),
        ("abc", 3, (1, 4)),
        ("a\nb", 1, (1, 2)),
        ("a\nb", 2, (2, 1)),
        ("a\n", 2, (2, 1)),
        ("a\r\nb", 2, (1, 3)),
        ("a\r\nb", 3, (2, 1)),
        ("\n\n\n", 2, (3, 1)),
        ("\u00fc\U0001f600a", 2, (1, 3)),
        ("a\rb", 2, (1, 3)),
        ("a\u2028b", 2, (1, 3)),
    ],
)
def test_lines_and_columns_are_counted_from_one(
    text: str, offset: int, place: tuple[int, int]
) -> None:
    assert locate(text, offset) == place


@pytest.mark.parametrize(
    "diagnostic, event_id, sentence",
    [
        (Diagnostic("it is wrong", Span(2, 3)), None, "2:1: it is wrong"),
        (
            Diagnostic("it is wrong", Span(0, 3), "did you mean 'b'?"),
            None,
            "1:1: it is wrong; did you mean 'b'?",
        ),
        (Diagnostic("it is wrong", Span(2, 3)), "42", "2:1: event '42': it is wrong"),
    ],
)
def test_a_diagnostic_is_one_sentence_with_its_place(
    diagnostic: Diagnostic, event_id: str | None, sentence: str
) -> None:
    assert describe("a\nb", diagnostic, event_id=event_id) == sentence


def test_a_malformed_query_tells_its_first_fault() -> None:
    diagnostics = (Diagnostic("one", Span(0, 1)), Diagnostic("two", Span(2, 3)))

    error = QueryMalformedError("a b", diagnostics)

    assert (str(error), error.text, error.diagnostics) == ("1:1: one", "a b", diagnostics)


def test_an_unevaluable_query_tells_the_event() -> None:
    diagnostic = Diagnostic("one", Span(2, 3))

    error = QueryUnevaluableError("a b", diagnostic, event_id="7")

    assert str(error) == "1:3: event '7': one"
    assert (error.text, error.diagnostic, error.event_id) == ("a b", diagnostic, "7")
