import pytest

from everlog.eventql.planning.fallible import can_fail, is_condition_safe
from everlog.eventql.planning.planner import prepare

TRIVIAL = (
    "FROM e IN events FROM s IN subjects "
    "FROM x IN (FROM y IN subjects TOP 1 PROJECT INTO { id: y })"
)


def check_can_fail(expression: str, *, expected: bool) -> None:
    query = prepare(f"{TRIVIAL} PROJECT INTO {expression}").query

    assert can_fail(query.projection, query.sources) is expected


@pytest.mark.parametrize(
    "expression",
    [
        "e",
        "e.data.x.y == 1",
        "e.data != e.time",
        "NOT e.id == '1' AND s == 'x' OR TRUE XOR FALSE",
        "e.id < 'x'",
        "e.time >= NOW()",
        "e.traceparent < 'x'",
        "1 < 2.5",
        "[1, 2] CONTAINS e.data.x",
        "+LEN(s)",
        "-PI()",
        "e.id AS INT",
        "e.time AS STRING",
        "e.time AS DATE",
        "LEN(s) AS FLOAT64",
        "s AS STRING",
        "'12' AS INT",
        "SUBSTRING('abc', 1)",
        "1 + 2 * 3",
        "STARTSWITH(e.subject, 'x')",
        "LEN(TRIM(s))",
        "YEAR(e.time) == MONTH(e.time AS DATE)",
        "RAND() < 0.5",
        "IF(s == 'a', e.data, NULL)",
        "{ a: e, b: [s] }",
    ],
)
def test_what_types_prove_cannot_fail(expression: str) -> None:
    check_can_fail(expression, expected=False)


@pytest.mark.parametrize(
    "expression",
    [
        "NOT e.data.x",
        "s == 'x' AND e.data.x",
        "e.data.x < 1",
        "e.data.x CONTAINS 1",
        "1 / e.data.x",
        "LEN(s) + 1",
        "-LEN(s)",
        "+e.data.x",
        "e.data.x AS STRING",
        "e.data.id AS INT",
        "x.id AS INT",
        "s AS INT",
        "'a' AS INT",
        "1 / 0",
        "LEN(e.data.x)",
        "SUBSTRING(s, 1)",
        "REPLACE(s, 'a', 'b')",
        "IF(e.data.x, 1, 2)",
        "IF(s == 'a', 1 / 0, 2)",
        "[{ a: 1 / e.data.x }]",
    ],
)
def test_what_depends_on_values_may_fail(expression: str) -> None:
    check_can_fail(expression, expected=True)


def test_a_condition_is_safe_if_it_is_boolean_and_always_the_same() -> None:
    query = prepare(f"{TRIVIAL} PROJECT INTO [s == 'a', e.data.x, RAND() < 0.5]").query
    projection = query.projection
    [equality, field, dice] = projection.items

    assert is_condition_safe(equality, query.sources)
    assert not is_condition_safe(field, query.sources)
    assert not is_condition_safe(dice, query.sources)
