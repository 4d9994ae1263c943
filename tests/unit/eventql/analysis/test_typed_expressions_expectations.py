import pytest

from everlog.eventql.analysis.analyzed import Constant
from everlog.eventql.analysis.typed_expressions import expect, is_possible, suggest
from everlog.eventql.diagnostic import QueryMalformedError, Reporter, Span
from everlog.eventql.types import (
    ANY,
    BOOLEAN,
    DATE,
    DATETIME,
    FLOAT64,
    INT,
    JSON,
    NULL,
    NUMBER,
    STRING,
    TIME,
    Type,
)


@pytest.mark.parametrize(
    "type_, accepted, expected",
    [
        (INT, INT, True),
        (INT, NUMBER, True),
        (NUMBER, INT, True),
        (STRING, NUMBER, False),
        (STRING | NULL, NUMBER | NULL, False),
        (INT | NULL, INT, True),
        (NULL, INT, False),
        (NULL, INT | NULL, True),
        (JSON, DATE, True),
        (JSON, BOOLEAN, True),
        (ANY, DATE, True),
        (JSON - STRING, DATE, False),
    ],
)
def test_only_the_impossible_is_impossible(type_: Type, accepted: Type, *, expected: bool) -> None:
    assert is_possible(type_, accepted) is expected


def test_what_is_unexpected_is_told() -> None:
    reporter = Reporter("e.id")
    expression = Constant(None, STRING, Span(0, 4))

    assert not expect(
        INT | NULL, expression, what="X", role=" as 'y'", hint="no", reporter=reporter
    )
    assert expect(STRING, expression, what="X", reporter=reporter)
    with pytest.raises(
        QueryMalformedError, match=r"^1:1: X expects INT as 'y', but 'e\.id' is STRING; no$"
    ):
        reporter.raise_if_wrong()


@pytest.mark.parametrize(
    "literal, accepted, hint",
    [
        ("1", INT, "use '1' AS INT"),
        ("-1", NUMBER, "use '-1' AS INT"),
        ("1.5", NUMBER, "use '1.5' AS FLOAT64"),
        ("1.5", INT, None),
        ("abc", NUMBER, None),
        ("2026-01-31", DATE | DATETIME, "use '2026-01-31' AS DATE"),
        ("2026-01-31", DATETIME, "use '2026-01-31T00:00:00Z' AS DATETIME"),
        ("2026-01-31", TIME, None),
        ("2026-01-31T12:00:00+02:00", DATETIME, "use '2026-01-31T12:00:00+02:00' AS DATETIME"),
        ("12:00:00.5", TIME | DATETIME, "use '12:00:00.5' AS TIME"),
        ("true", BOOLEAN, None),
    ],
)
def test_a_string_is_converted_to_what_it_looks_like(
    literal: str, accepted: Type, hint: str | None
) -> None:
    text = f"'{literal}'"
    constant = Constant(literal, STRING, Span(0, len(text)))

    assert suggest(accepted, constant, Reporter(text)) == hint


def test_numbers_as_literals_are_not_converted() -> None:
    assert suggest(STRING, Constant(5, INT, Span(0, 1)), Reporter("5")) is None
    assert suggest(INT, Constant(5.5, FLOAT64, Span(0, 3)), Reporter("5.5")) is None
