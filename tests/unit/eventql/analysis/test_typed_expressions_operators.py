import pytest

from everlog.eventql.types import BOOLEAN, FLOAT64, INT, NULL, NUMBER, Type
from tests.support.eventql.analyzing import check_expression_error, check_type


@pytest.mark.parametrize(
    "expression, type_",
    [
        ("NOT TRUE", BOOLEAN),
        ("NOT e.data.flag", BOOLEAN),
        ("+1", INT),
        ("-1.5", FLOAT64),
        ("- -1", INT),
        ("-null", NULL),
        ("-e.data.x", NUMBER | NULL),
        ("TRUE AND e.data.flag", BOOLEAN),
        ("TRUE OR FALSE XOR TRUE", BOOLEAN),
        ("1 + 2", INT),
        ("1 - 2 * 3", INT),
        ("1 + 2.5", FLOAT64),
        ("2.5 * 1", FLOAT64),
        ("4 / 2", FLOAT64),
        ("4 / e.data.x", FLOAT64 | NULL),
        ("1 + null", NULL),
        ("null / null", NULL),
        ("1.5 + e.data.x", FLOAT64 | NULL),
        ("1 + e.data.x", NUMBER | NULL),
        ("e.data.x * e.data.y", NUMBER | NULL),
        ("e == 1", BOOLEAN),
        ("e.id == 1", BOOLEAN),
        ("null != null", BOOLEAN),
        ("1 == 1 == TRUE", BOOLEAN),
        ("1 < 2.5", BOOLEAN),
        ("TRUE > FALSE", BOOLEAN),
        ("'a' <= 'b'", BOOLEAN),
        ("e.time >= NOW()", BOOLEAN),
        ("NOW() AS DATE < e.time AS DATE", BOOLEAN),
        ("NOW() AS TIME < e.time AS TIME", BOOLEAN),
        ("null > 1", BOOLEAN),
        ("'a' < null", BOOLEAN),
        ("e.traceparent < 'x'", BOOLEAN),
        ("e.data.x < NOW()", BOOLEAN),
        ("e.time < e.data.x", BOOLEAN),
        ("[1, 'a'] CONTAINS e.id", BOOLEAN),
        ("e.data.tags CONTAINS [1]", BOOLEAN),
        ("null CONTAINS 1", BOOLEAN),
    ],
)
def test_the_result_of_an_operator_has_a_type(expression: str, type_: Type) -> None:
    check_type(expression, type_)


COMPARES = "compare it with something: {} == x"


@pytest.mark.parametrize(
    "expression, blamed, message, hint",
    [
        ("NOT 1", "1", "NOT expects BOOLEAN, but '1' is INT", None),
        ("NOT null", "null", "NOT expects BOOLEAN, but 'null' is NULL", None),
        ("NOT s", "s", "NOT expects BOOLEAN, but 's' is STRING", COMPARES.format("s")),
        ("null AND TRUE", "null", "AND expects BOOLEAN, but 'null' is NULL", None),
        ("TRUE OR 1.5", "1.5", "OR expects BOOLEAN, but '1.5' is FLOAT64", None),
        (
            "TRUE XOR e.traceparent",
            "e.traceparent",
            "XOR expects BOOLEAN, but 'e.traceparent' is NULL or STRING",
            COMPARES.format("e.traceparent"),
        ),
    ],
)
def test_conditions_have_to_be_boolean(
    expression: str, blamed: str, message: str, hint: str | None
) -> None:
    check_expression_error(expression, blamed, message, hint)


NO_DATES = "there is no arithmetic with dates and times"


@pytest.mark.parametrize(
    "expression, blamed, found, hint",
    [
        ("'a' + 'b'", "'a'", "STRING", "use CONCAT('a', 'b')"),
        ("1 + 'b'", "'b'", "STRING", "use CONCAT(1 AS STRING, 'b')"),
        ("e.subject + 'x'", "e.subject", "STRING", "use CONCAT(e.subject, 'x')"),
        ("'x' + e.subject", "'x'", "STRING", "use CONCAT('x', e.subject)"),
        ("e.subject + e.type", "e.subject", "STRING", "use CONCAT(e.subject, e.type)"),
        ("e.type + 1", "e.type", "STRING", "use CONCAT(e.type, 1 AS STRING)"),
        ("LOWER(e.type) + '!'", "LOWER(e.type)", "STRING", "use CONCAT(LOWER(e.type), '!')"),
        ("e.data.a + 'x'", "'x'", "STRING", "use CONCAT(e.data.a, 'x')"),
        ("1 + 2 + 'x'", "'x'", "STRING", "use CONCAT(1 AS STRING, 2 AS STRING, 'x')"),
        ("-1 * 2 + 'x'", "'x'", "STRING", "use CONCAT((-1 * 2) AS STRING, 'x')"),
        ("e.time + 'x'", "e.time", "DATETIME", "use CONCAT(e.time AS STRING, 'x')"),
        ("{} + 'x'", "{}", "a record", "use CONCAT({}, 'x')"),
        ("e.id + 1", "e.id", "STRING", "use e.id AS INT"),
        ("'5' + 1", "'5'", "STRING", "use '5' AS INT"),
        ("e.data.a + '5'", "'5'", "STRING", "use '5' AS INT"),
        ("TRUE + 1", "TRUE", "BOOLEAN", None),
        ("s + 1", "s", "STRING", "use s AS INT"),
        ("[1] + 1", "[1]", "an array", None),
        ("1 + {}", "{}", "a record", None),
        (
            "e.traceparent + 1",
            "e.traceparent",
            "NULL or STRING",
            "use CONCAT(e.traceparent, 1 AS STRING)",
        ),
        ("NOW() + 1", "NOW()", "DATETIME", NO_DATES),
        ("NOW() + r.when", "NOW()", "DATETIME", NO_DATES),
    ],
)
def test_arithmetic_is_for_numbers(
    expression: str, blamed: str, found: str, hint: str | None
) -> None:
    quoted = f'"{blamed}"' if "'" in blamed else f"'{blamed}'"
    message = f"'+' expects INT or FLOAT64, but {quoted} is {found}"
    check_expression_error(expression, blamed, message, hint)


def test_signs_are_for_numbers() -> None:
    check_expression_error(
        "-(s == 1)", "(s == 1)", "'-' expects INT or FLOAT64, but '(s == 1)' is BOOLEAN"
    )


@pytest.mark.parametrize(
    "expression, left, right, hint",
    [
        ("s > 5", "'s' (STRING)", "'5' (INT)", "use s AS INT"),
        ("5 > s", "'5' (INT)", "'s' (STRING)", "use s AS INT"),
        ("1 < 'a'", "'1' (INT)", "\"'a'\" (STRING)", None),
        ("1 < '2.5'", "'1' (INT)", "\"'2.5'\" (STRING)", "use '2.5' AS FLOAT64"),
        ("TRUE < 1", "'TRUE' (BOOLEAN)", "'1' (INT)", None),
        (
            "e.time < '2026-01-31T12:00:00Z'",
            "'e.time' (DATETIME)",
            "\"'2026-01-31T12:00:00Z'\" (STRING)",
            "use '2026-01-31T12:00:00Z' AS DATETIME",
        ),
        (
            "'2026-01-31' < e.time",
            "\"'2026-01-31'\" (STRING)",
            "'e.time' (DATETIME)",
            "use '2026-01-31T00:00:00Z' AS DATETIME",
        ),
        (
            "NOW() AS DATE < e.time",
            "'NOW() AS DATE' (DATE)",
            "'e.time' (DATETIME)",
            "use e.time AS DATE",
        ),
        (
            "NOW() AS TIME < NOW() AS DATE",
            "'NOW() AS TIME' (TIME)",
            "'NOW() AS DATE' (DATE)",
            None,
        ),
        ("1 < 2 < 3", "'1 < 2' (BOOLEAN)", "'3' (INT)", "use 1 < 2 AND 2 < 3"),
        ("(1 + 2) > s", "'(1 + 2)' (INT)", "'s' (STRING)", "use s AS INT"),
    ],
)
def test_only_values_of_one_kind_can_be_compared(
    expression: str, left: str, right: str, hint: str | None
) -> None:
    operator = ">" if ">" in expression else "<"
    message = f"'{operator}' cannot compare {left} with {right}"
    check_expression_error(expression, expression, message, hint)


@pytest.mark.parametrize(
    "expression, blamed, found",
    [
        ("[1] < 2", "[1]", "an array"),
        ("2 < {}", "{}", "a record"),
        ("e.data < null", "e.data", "a record"),
        ("null < [1]", "[1]", "an array"),
        ("[1] < {}", "[1]", "an array"),
    ],
)
def test_arrays_and_records_have_no_order(expression: str, blamed: str, found: str) -> None:
    message = f"'<' expects values that have an order, but '{blamed}' is {found}"
    check_expression_error(expression, blamed, message)


@pytest.mark.parametrize(
    "expression, blamed, found, hint",
    [
        ("e.type CONTAINS 'a'", "e.type", "STRING", "use INSTR(e.type, 'a') > 0"),
        (
            "e.type CONTAINS ['a']",
            "e.type",
            "STRING",
            "the array stands on the left: ['a'] CONTAINS e.type",
        ),
        ("1 CONTAINS 1.5", "1", "INT", None),
    ],
)
def test_an_array_stands_left_of_contains(
    expression: str, blamed: str, found: str, hint: str | None
) -> None:
    message = f"CONTAINS expects an array on its left, but '{blamed}' is {found}"
    check_expression_error(expression, blamed, message, hint)


@pytest.mark.parametrize(
    "expression, blamed, operator, hint",
    [
        ("1 + 2 AS STRING", "2 AS STRING", "+", "use (1 + 2) AS STRING"),
        ("1 + 2 * 3 AS STRING", "3 AS STRING", "*", "use (2 * 3) AS STRING"),
        ("-0.0 AS STRING", "0.0 AS STRING", "-", "use (-0.0) AS STRING"),
        (
            "1 + e.data.n AS DATE",
            "e.data.n AS DATE",
            "+",
            "there is no arithmetic with dates and times",
        ),
        # What is in parentheses was meant so, and what is no number is none without AS either.
        ("1 + (2 AS STRING)", "(2 AS STRING)", "+", "use (2 AS STRING) AS INT"),
        ("1 + e.id AS STRING", "e.id AS STRING", "+", "use e.id AS STRING AS INT"),
        ("2 AS STRING * 3", "2 AS STRING", "*", "use 2 AS STRING AS INT"),
    ],
)
def test_a_conversion_of_the_last_operand_only_was_probably_meant_for_all(
    expression: str, blamed: str, operator: str, hint: str
) -> None:
    found = "NULL or DATE" if "DATE" in blamed else "STRING"
    message = f"'{operator}' expects INT or FLOAT64, but '{blamed}' is {found}"
    check_expression_error(expression, blamed, message, hint)
