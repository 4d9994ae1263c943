import pytest

from everlog.eventql.types import (
    BOOLEAN,
    DATETIME,
    FLOAT64,
    INT,
    JSON,
    NULL,
    NUMBER,
    ORDERED,
    STRING,
    Type,
)
from tests.support.eventql.analyzing import check_expression_error, check_type


@pytest.mark.parametrize(
    "expression, type_",
    [
        ("ABS(-1)", INT),
        ("abs(-1.5)", FLOAT64),
        ("ABS(e.data.x)", NUMBER | NULL),
        ("ABS(null)", NULL),
        ("SQRT(4)", FLOAT64),
        ("SQRT(e.data.x)", FLOAT64 | NULL),
        ("PI() + RAND()", FLOAT64),
        ("LEN(e.type)", INT),
        ("SUBSTRING(e.type, 1)", STRING),
        ("SUBSTRING(e.type, 1, 2)", STRING),
        ("SUBSTRING(e.type, e.data.x)", STRING | NULL),
        ("UPPER(e.traceparent)", STRING | NULL),
        ("STARTSWITH(e.traceparent, null)", BOOLEAN),
        ("STARTSWITH(e.type, 'a')", BOOLEAN),
        ("NOW()", DATETIME),
        ("YEAR(e.time)", INT),
        ("YEAR(e.time AS DATE)", INT),
        ("HOUR(NOW())", INT),
        ("YEAR(e.data.x)", INT | NULL),
        ("IF(TRUE, 1, 'a')", INT | STRING),
        ("IF(e.data.flag, 1, 2)", INT),
        ("IF(TRUE, null, 2)", INT | NULL),
        ("IF(TRUE, null, null)", NULL),
        ("IF(TRUE, e.data.x, NOW())", JSON | DATETIME),
    ],
)
def test_the_result_of_a_function_has_a_type(expression: str, type_: Type) -> None:
    check_type(expression, type_)


@pytest.mark.parametrize(
    "expression, type_",
    [
        ("COUNT()", INT),
        ("COUNT(e.data.flag)", INT),
        ("COUNT(null)", INT),
        ("SUM(e.data.x)", NUMBER),
        ("SUM(1)", INT),
        ("AVG(e.data.x)", FLOAT64 | NULL),
        ("MIN(e.time)", DATETIME | NULL),
        ("MAX(e.data.x)", (JSON & ORDERED) | NULL),
        ("UNIQUE(e.type)", STRING | NULL),
        ("UNIQUE(e.data.x)", JSON),
        ("median(1)", FLOAT64 | NULL),
    ],
)
def test_the_result_of_an_aggregate_has_a_type(expression: str, type_: Type) -> None:
    check_type(expression, type_)


def test_an_argument_that_is_wrong_in_itself_may_be_anything() -> None:
    check_expression_error(
        "LEN(UPPER(LEN()))", "LEN()", "LEN expects 1 argument, but found 0", "use LEN(text)"
    )


@pytest.mark.parametrize(
    "expression, message, hint",
    [
        ("ABS()", "ABS expects 1 argument, but found 0", "use ABS(x)"),
        ("NOW(1)", "NOW expects 0 arguments, but found 1", "use NOW()"),
        ("POW(1)", "POW expects 2 arguments, but found 1", "use POW(x, y)"),
        (
            "SUBSTRING('a')",
            "SUBSTRING expects 2 or 3 arguments, but found 1",
            "use SUBSTRING(text, start, length)",
        ),
        (
            "IF(TRUE, 1)",
            "IF expects 3 arguments, but found 2",
            "use IF(condition, then, else)",
        ),
        (
            "COUNT(TRUE, TRUE)",
            "COUNT expects 0 or 1 arguments, but found 2",
            "use COUNT(condition)",
        ),
        ("SUM()", "SUM expects 1 argument, but found 0", "use SUM(x)"),
    ],
)
def test_a_call_has_as_many_arguments_as_the_function_takes(
    expression: str, message: str, hint: str
) -> None:
    check_expression_error(expression, expression, message, hint)


ORDERED_KINDS = "BOOLEAN, INT, FLOAT64, STRING, DATE, TIME or DATETIME"
COUNT_HINT = "COUNT() counts rows, COUNT(condition) those where it is TRUE"


@pytest.mark.parametrize(
    "expression, blamed, message, hint",
    [
        ("ABS('a')", "'a'", "ABS expects INT or FLOAT64 as 'x', but \"'a'\" is STRING", None),
        ("ABS(s)", "s", "ABS expects INT or FLOAT64 as 'x', but 's' is STRING", "use s AS INT"),
        ("LEN([1])", "[1]", "LEN expects STRING as 'text', but '[1]' is an array", None),
        (
            "LEN(1 + 2)",
            "1 + 2",
            "LEN expects STRING as 'text', but '1 + 2' is INT",
            "use (1 + 2) AS STRING",
        ),
        (
            "LEN(-PI())",
            "-PI()",
            "LEN expects STRING as 'text', but '-PI()' is FLOAT64",
            "use (-PI()) AS STRING",
        ),
        (
            "LEN((-PI()))",
            "(-PI())",
            "LEN expects STRING as 'text', but '(-PI())' is FLOAT64",
            "use (-PI()) AS STRING",
        ),
        (
            "SUBSTRING(s, 1.5)",
            "1.5",
            "SUBSTRING expects INT as 'start', but '1.5' is FLOAT64",
            None,
        ),
        (
            "YEAR('2026-01-31')",
            "'2026-01-31'",
            "YEAR expects DATE or DATETIME as 'day', but \"'2026-01-31'\" is STRING",
            "use '2026-01-31' AS DATE",
        ),
        (
            "HOUR('12:30:00')",
            "'12:30:00'",
            "HOUR expects TIME or DATETIME as 'time', but \"'12:30:00'\" is STRING",
            "use '12:30:00' AS TIME",
        ),
        (
            "HOUR(NOW() AS DATE)",
            "NOW() AS DATE",
            "HOUR expects TIME or DATETIME as 'time', but 'NOW() AS DATE' is DATE",
            "use NOW() AS DATE AS DATETIME",
        ),
        ("IF(1, 2, 3)", "1", "IF expects BOOLEAN as 'condition', but '1' is INT", None),
        ("IF(null, 2, 3)", "null", "IF expects BOOLEAN as 'condition', but 'null' is NULL", None),
        ("COUNT(e.id)", "e.id", "COUNT expects BOOLEAN, but 'e.id' is STRING", COUNT_HINT),
        ("SUM(s)", "s", "SUM expects INT or FLOAT64, but 's' is STRING", "use s AS INT"),
        (
            "MIN([1])",
            "[1]",
            f"MIN expects {ORDERED_KINDS}, but '[1]' is an array",
            None,
        ),
    ],
)
def test_arguments_have_to_be_of_the_kinds_that_the_function_takes(
    expression: str, blamed: str, message: str, hint: str | None
) -> None:
    check_expression_error(expression, blamed, message, hint)


@pytest.mark.parametrize(
    "name, hint",
    [
        ("LENGTH", "did you mean 'LEN'?"),
        ("substr", "did you mean 'SUBSTRING'?"),
        ("STDEV", "did you mean 'STDDEV'?"),
        ("AVERAGE", "did you mean 'AVG'?"),
        ("starts_with", "did you mean 'STARTSWITH'?"),
        ("COALESCE", "use IF(x == null, y, x)"),
        ("first_value", "did you mean 'FIRST'?"),
        ("LATEST", "did you mean 'LAST'?"),
        ("remainder", "did you mean 'MOD'?"),
        ("MEAN", "did you mean 'MEDIAN'?"),
        ("CIEL", "did you mean 'CEIL'?"),
        ("SMU", "did you mean 'SUM'?"),
        ("FOO", None),
        ("frobnicate", None),
    ],
)
def test_a_function_has_to_exist(name: str, hint: str | None) -> None:
    check_expression_error(f"{name}(1)", name, f"unknown function '{name}'", hint)


def test_what_an_unknown_function_returns_may_be_anything() -> None:
    check_expression_error("LEN(WHAT(1)) + 1", "WHAT", "unknown function 'WHAT'")
