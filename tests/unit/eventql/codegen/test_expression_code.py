"""Expressions, evaluated for one event; what they mean is held against the reference elsewhere."""

import pytest

from everlog.eventql.codegen.compiler import compile_plan
from everlog.eventql.planning.planner import prepare
from tests.support.eventql.executing import a_context, check_failure, rows_of, texts_of
from tests.support.eventql.logs import MemoryLog, a_line

DATA = (
    '{"int":7,"float":2.5,"text":"ab","yes":true,"no":false,"null":null,"list":["a",1,true],'
    '"record":{"x":1},"big":9223372036854775808,"max":9223372036854775807}'
)
LOG = MemoryLog([a_line(12, DATA)])
EVENT = "FROM e IN events PROJECT INTO "


def check_value(expression: str, expected: object) -> None:
    [value] = rows_of(EVENT + expression, LOG)

    assert (type(value), value) == (type(expected), expected)


@pytest.mark.parametrize(
    "expression, expected",
    [
        # Equality.
        ("e.data.int == 7", True),
        ("e.data.int == 7.0", True),
        ("7 == e.data.int", True),
        ("e.data.int != 8", True),
        ("e.data.yes == 1", False),
        ("e.data.yes == TRUE", True),
        ("e.data.no == 0", False),
        ("e.data.list == 1", False),
        ("e.data.text == 'ab'", True),
        ("e.data.text == e.type", False),
        ("e.data.null == NULL", True),
        ("e.data.missing == NULL", True),
        ("e.data.int == e.data.float", False),
        ("e.data.int == e.data.int", True),
        ("e.data.list == ['a', 1.0, TRUE]", True),
        ("e.data.list == ['a', TRUE, TRUE]", False),
        ("e.data.record == { x: 1 }", True),
        ("e.data == e.data", True),
        ("e == e", True),
        ("e.data.big == 9223372036854775808.0", True),
        ("(e.data.int == 7) == e.data.yes", True),
        ("e.traceparent == e.tracestate", True),
        # Order.
        ("e.data.int > 6", True),
        ("6 < e.data.int", True),
        ("e.data.int >= 7.5", False),
        ("e.data.float < e.data.int", True),
        ("e.data.text > 'aa'", True),
        ("'b' < e.data.text", False),
        ("e.data.null < 1", False),
        ("e.data.missing >= ''", False),
        ("e.data.no < e.data.yes", True),
        ("e.type < e.subject", False),
        # Times.
        ("e.time", "2023-11-14T22:13:32.000000013Z"),
        ("e.time == '2023-11-14T22:13:32.000000013Z' AS DATETIME", True),
        ("e.time > '2023-11-14T22:13:32Z' AS DATETIME", True),
        ("e.time < '2023-11-14T22:13:32.00000002Z' AS DATETIME", True),
        ("'2023-11-14T22:13:32.00000001Z' AS DATETIME >= e.time", False),
        ("e.time == e.time", True),
        ("e.time <= e.time", True),
        ("e.time == '2023-11-14T22:13:32.000000013Z'", False),
        ("['2023-11-14T22:13:32.000000013Z'] CONTAINS e.time", False),
        ("[e.time] CONTAINS e.time", True),
        ("e.time AS STRING", "2023-11-14T22:13:32.000000013Z"),
        ("e.time AS DATETIME", "2023-11-14T22:13:32.000000013Z"),
        ("e.time AS DATE", "2023-11-14"),
        ("YEAR(e.time) + HOUR(e.time)", 2045),
        ("NOW()", "2026-11-23T12:30:00.25Z"),
        ("e.time < NOW()", True),
        ("e.time != NOW()", True),
        ("e.time >= (NOW() AS DATE) AS DATETIME", False),
        ("YEAR(NOW()) > e.data.int", True),
        ("e.data.int == YEAR(NOW())", False),
        ("e.data.list CONTAINS NOW() AS STRING", False),
        ("STARTSWITH(e.data.text, NOW() AS STRING)", False),
        ("IF(NOW() > e.time, 'b', 1) > e.data.text", True),
        ("IF(YEAR(NOW()) > 1, 7, 'a') >= e.data.int", True),
        ("IF(TRUE, 7, 'a') >= e.data.int", True),
        # CONTAINS.
        ("['ab', 'c'] CONTAINS e.data.text", True),
        ("['7'] CONTAINS e.data.int", False),
        ("['a'] CONTAINS e.type", False),
        ("[7.0, 'x'] CONTAINS e.data.int", True),
        ("e.data.list CONTAINS 'a'", True),
        ("e.data.list CONTAINS 1.0", True),
        ("e.data.list CONTAINS e.data.yes", True),
        ("e.data.missing CONTAINS 'a'", False),
        ("NULL CONTAINS e.data.int", False),
        # Arithmetic.
        ("e.data.int + 1", 8),
        ("1 - e.data.int", -6),
        ("e.data.int * e.data.float", 17.5),
        ("e.data.int / 2", 3.5),
        ("e.data.null + 1", None),
        ("e.data.missing * e.data.int", None),
        ("-e.data.int", -7),
        ("+e.data.float", 2.5),
        ("e.id AS INT + 1", 13),
        ("e.data.max - 1", 2**63 - 2),
        ("e.data.max * 1.0", 2.0**63),
        ("LEN(e.id) * 2", 4),
        # Connectives.
        ("e.data.yes AND e.data.no", False),
        ("e.data.no AND e.data.int", False),
        ("e.data.yes OR e.data.int", True),
        ("e.data.yes XOR e.data.no", True),
        ("NOT e.data.no", True),
        # Calls.
        ("LOWER('A')", "a"),
        ("UPPER(e.data.text)", "AB"),
        ("UPPER(e.data.missing)", None),
        ("STARTSWITH(e.data.text, 'a')", True),
        ("ENDSWITH(e.data.text, 'a')", False),
        ("STARTSWITH(e.data.missing, 'a')", False),
        ("STARTSWITH(e.type, 'com')", True),
        ("STARTSWITH(e.data.text, e.type)", False),
        ("STARTSWITH(e.data.text, e.data.text)", True),
        ("STARTSWITH(e.data.missing, e.data.int)", False),
        ("ENDSWITH(e.time AS STRING, 'Z')", True),
        ("IF(e.data.yes, 1, 1 / 0)", 1),
        ("IF(e.data.int == 7, e.time, NULL)", "2023-11-14T22:13:32.000000013Z"),
        ("RAND()", 0.25),
        ("ROUND(PI())", 3),
        # Conversions.
        ("e.id AS INT", 12),
        ("e.data.int AS STRING", "7"),
        ("e.data.float AS INT", 2),
        ("e.data.missing AS DATE", None),
        # Records and arrays.
        (
            "{ a: e.data.int, b: [e.time, e.data.list] }",
            {"a": 7, "b": ["2023-11-14T22:13:32.000000013Z", ["a", 1, True]]},
        ),
        ("{}", {}),
        ("[]", []),
        ("[{}, [], 1 + 1]", [{}, [], 2]),
        ("e.data.record.x.y", None),
    ],
)
def test_expressions_have_values(expression: str, expected: object) -> None:
    check_value(expression, expected)


@pytest.mark.parametrize(
    "expression, blamed, message",
    [
        ("e.data.text > 1", None, "'>' cannot compare STRING with INT"),
        (
            "1 + (2 * e.data.text)",
            "(2 * e.data.text)",
            "'*' expects numbers, but found INT and STRING",
        ),
        ("e.data.int < IF(TRUE, 'a', 1)", None, "'<' cannot compare INT with STRING"),
        (
            "IF(YEAR(NOW()) > 1, 'a', 1) < e.data.int",
            None,
            "'<' cannot compare STRING with INT",
        ),
        ("e.data.int / 0", None, "division by zero"),
        ("1 / 0", None, "division by zero"),
        ("e.data.max + 1", None, "the result is beyond the range of INT"),
        ("e.data.int AND e.data.yes", "e.data.int", "AND expects a BOOLEAN, but found INT"),
        ("e.data.no OR e.data.null", "e.data.null", "OR expects a BOOLEAN, but found NULL"),
        ("NOT e.data.text", "e.data.text", "NOT expects a BOOLEAN, but found STRING"),
        ("IF(e.data.null, 1, 2)", "e.data.null", "IF expects a BOOLEAN, but found NULL"),
        (
            "e.data.text CONTAINS 'a'",
            None,
            "CONTAINS expects an array on its left, but found STRING",
        ),
        (
            "e.data.text AS BOOLEAN",
            None,
            "cannot convert \"ab\" to BOOLEAN: a BOOLEAN is 'true' or 'false'",
        ),
        (
            "{ a: [1, LEN(e.data.int)] }",
            "LEN(e.data.int)",
            "LEN expects STRING for 'text', but found INT",
        ),
        (
            "STARTSWITH(e.data.int, 'a')",
            None,
            "STARTSWITH expects STRING for 'text', but found INT",
        ),
        ("YEAR(e.data.text)", None, "YEAR expects DATE or DATETIME for 'day', but found STRING"),
        ("-e.data.text", None, "'-' expects a number, but found STRING"),
    ],
)
def test_an_error_says_which_expression_and_which_event(
    expression: str, blamed: str | None, message: str
) -> None:
    check_failure(
        EVENT + expression,
        LOG,
        message=message,
        blamed=blamed or expression,
        event_id="12",
    )


def test_an_error_of_constants_is_none_unless_it_is_evaluated() -> None:
    check_value("IF(e.data.no, 1 / 0, 2)", 2)
    assert rows_of("FROM e IN events WHERE FALSE PROJECT INTO 1 / 0", LOG) == []


def test_random_numbers_are_others_each_time() -> None:
    numbers = iter([0.5, 0.75])
    context = a_context(random=lambda: next(numbers))

    assert rows_of("FROM e IN events PROJECT INTO [RAND(), RAND()]", LOG, context) == [
        [0.5, 0.75],
    ]


@pytest.mark.parametrize(
    "expression",
    [
        "(" * 99 + "e.data.int" + ")" * 99,
        "[" * 99 + "e.data.int" + "]" * 99 + " == 1",
        "{a:" * 99 + "e.data.int" + "}" * 99 + " == 1",
        "IF(e.data.int == 7, " * 99 + "1" + ", 2)" * 99,
        "LOWER(" * 99 + "e.data.text" + ")" * 99,
        "NOT " * 100 + "e.data.int == 1",
        "- " * 100 + "e.data.int",
        " + ".join(["e.data.int"] * 128),
        " == ".join(["e.data.int"] * 128),
        " OR ".join(["e.data.int == 1"] * 2_000),
        " XOR ".join(["e.data.int > 1"] * 2_000),
        "{a:" * 50 + "(e.data.int < 1) == " * 70 + "(e.data.int < 1)" + "}" * 50,
    ],
)
def test_whatever_the_parser_accepts_can_be_evaluated(expression: str) -> None:
    [row] = texts_of(EVENT + expression, LOG)

    assert row


def test_a_value_that_could_be_endless_is_refused() -> None:
    text = "FROM e IN events TOP 1 PROJECT INTO e"
    for _ in range(14):
        text = f"FROM x IN ({text}) TOP 1 PROJECT INTO [x, x, x, x]"

    check_failure(
        text,
        LOG,
        message="the value is too large: it has more than 16777216 items and characters",
        blamed="[x, x, x, x]",
        event_id=None,
    )


def test_a_wide_record_of_whole_events_is_made_as_a_value() -> None:
    fields = ", ".join(f"a{number}: e.data" for number in range(300))
    [row] = rows_of(f"{EVENT} {{ {fields} }}", LOG)

    assert len(row) == 300
    assert row["a7"]["text"] == "ab"


def test_deep_expressions_are_functions_of_their_own() -> None:
    plan = prepare(EVENT + " + ".join(["e.data.int"] * 20))
    compiled = compile_plan(plan, is_signed=False, as_json=True)

    assert compiled.program.source.count("def ") > 1
