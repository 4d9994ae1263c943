import pytest

from everlog.eventql.types import (
    ARRAY,
    BOOLEAN,
    DATE,
    DATETIME,
    FLOAT64,
    INT,
    JSON,
    NULL,
    RECORD,
    STRING,
    TIME,
    Type,
)
from tests.support.eventql.analyzing import (
    analyzed,
    check_error,
    check_expression_error,
    check_type,
    check_valid,
)


@pytest.mark.parametrize(
    "expression, type_",
    [
        ("null", NULL),
        ("true", BOOLEAN),
        ("1", INT),
        ("1.0", FLOAT64),
        ("1e2", FLOAT64),
        ("'a'", STRING),
        ("[]", ARRAY),
        ("[1, 'a', [null]]", ARRAY),
        ("{}", RECORD),
        ("{ a: 1, b: { a: 2 } }", RECORD),
    ],
)
def test_a_literal_has_a_type(expression: str, type_: Type) -> None:
    check_type(expression, type_)


@pytest.mark.parametrize(
    "expression, type_",
    [
        ("e.id AS INT", INT),
        ("'abc' AS int", INT),
        ("1 AS Float64", FLOAT64),
        ("1 AS STRING AS BOOLEAN", BOOLEAN),
        ("NOW() AS DATE AS DATETIME", DATETIME),
        ("e.time AS TIME", TIME),
        ("e.traceparent AS DATE", DATE | NULL),
        ("e.data.x AS INT", INT | NULL),
        ("null AS DATE", NULL),
    ],
)
def test_a_conversion_has_the_type_it_names(expression: str, type_: Type) -> None:
    check_type(expression, type_)


@pytest.mark.parametrize(
    "expression, operand, found, target",
    [
        ("1 AS DATE", "1", "INT", "DATE"),
        ("2.5 AS BOOLEAN", "2.5", "FLOAT64", "BOOLEAN"),
        ("TRUE AS INT", "TRUE", "BOOLEAN", "INT"),
        ("NOW() AS FLOAT64", "NOW()", "DATETIME", "FLOAT64"),
        ("(NOW() AS DATE) AS TIME", "(NOW() AS DATE)", "DATE", "TIME"),
        ("(NOW() AS TIME) AS DATETIME", "(NOW() AS TIME)", "TIME", "DATETIME"),
        ("[1] AS STRING", "[1]", "an array", "STRING"),
        ("e.data AS STRING", "e.data", "a record", "STRING"),
    ],
)
def test_what_can_never_be_converted_is_wrong(
    expression: str, operand: str, found: str, target: str
) -> None:
    message = f"'{operand}' is {found}, which cannot be converted to {target}"
    check_expression_error(expression, expression, message)


@pytest.mark.parametrize(
    "name, hint",
    [
        ("integer", "did you mean 'INT'?"),
        ("BOOL", "did you mean 'BOOLEAN'?"),
        ("TIMESTAMP", "did you mean 'DATETIME'?"),
        ("DATETME", "did you mean 'DATETIME'?"),
        ("xyz", "the types are STRING, INT, FLOAT64, BOOLEAN, DATE, TIME or DATETIME"),
    ],
)
def test_a_type_has_to_exist(name: str, hint: str) -> None:
    check_expression_error(f"1 AS {name}", name, f"unknown type '{name}'", hint)


def test_an_unknown_type_is_no_reason_for_further_complaints() -> None:
    check_expression_error(
        "NOT (1 AS DUNNO)",
        "DUNNO",
        "unknown type 'DUNNO'",
        "the types are STRING, INT, FLOAT64, BOOLEAN, DATE, TIME or DATETIME",
    )


def test_a_key_stands_once_in_a_record() -> None:
    check_error(
        "FROM e IN events\nPROJECT INTO { a: 1, b: 2,\n  'a': 3 }",
        "3:3",
        "'a'",
        "the key \"'a'\" is already used in this record",
        "its first use is at 2:16",
    )
    check_valid("FROM e IN events PROJECT INTO { a: { a: 1 }, A: 2 }")


def test_the_keys_of_a_record_keep_their_order() -> None:
    projection = analyzed("FROM e IN events PROJECT INTO { b: 1, 'a b': 2, a: e.data }").projection

    assert getattr(projection, "keys", None) == ("b", "a b", "a")


def test_names_of_functions_types_and_sources_have_any_casing() -> None:
    text = "from e in Events group by Year(e.time) project into { y: year(e.time), n: Count() }"

    check_valid(text)


def test_a_long_chain_has_a_type() -> None:
    check_type(" AND ".join(["TRUE"] * 5000), BOOLEAN)
    check_type("e.data.x" + " == 1 OR e.data.x" * 3000 + " == 2", BOOLEAN)


def test_fields_of_data_are_json() -> None:
    check_type("[e.data.x]", ARRAY)
    check_type("e.data.x", JSON)
