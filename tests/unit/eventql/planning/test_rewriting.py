import pytest

from everlog.eventql.analysis.analyzed import (
    ArrayOf,
    BinaryOperation,
    Constant,
    LogSource,
    ScalarCall,
    TypedExpression,
    operands,
)
from everlog.eventql.diagnostic import Span
from everlog.eventql.evaluation.values import Date
from everlog.eventql.planning.planner import prepare
from everlog.eventql.trees import walk
from everlog.eventql.types import ARRAY, BOOLEAN, DATE, FLOAT64, INT, NULL, RECORD, STRING, Type
from tests.support.eventql.executing import rows_of
from tests.support.eventql.logs import a_log


def check_same_plan(nested: str, flat: str) -> None:
    """Check that a query is planned as if it had no subquery."""
    inlined, expected = prepare(nested), prepare(flat)

    assert inlined.sources == expected.sources
    assert inlined.conditions == expected.conditions
    assert inlined.query.projection == expected.query.projection
    assert inlined.query.aggregates == expected.query.aggregates
    assert inlined.query.group_key == expected.query.group_key
    assert inlined.query.having == expected.query.having
    assert inlined.ordering == expected.ordering


EVENTS = "FROM x IN (FROM e IN events PROJECT INTO e)"
RECORDS = (
    "FROM x IN (FROM e IN events WHERE e.type == 'a' PROJECT INTO "
    "{ n: e.data.n, in: { s: e.subject, d: e.data }, one: 1 })"
)


@pytest.mark.parametrize(
    "nested, flat",
    [
        (f"{EVENTS} PROJECT INTO x", "FROM e IN events PROJECT INTO e"),
        (
            f"{EVENTS} WHERE x.type == 'a' AND x.data.n > 1 PROJECT INTO x.data",
            "FROM e IN events WHERE e.type == 'a' AND e.data.n > 1 PROJECT INTO e.data",
        ),
        (
            f"{RECORDS} WHERE x.in.s == '/b' PROJECT INTO [x.n, x.in.d.m, x.one]",
            (
                "FROM e IN events WHERE e.type == 'a' AND e.subject == '/b' "
                "PROJECT INTO [e.data.n, e.data.m, 1]"
            ),
        ),
        (
            f"{RECORDS} PROJECT INTO x.in",
            "FROM e IN events WHERE e.type == 'a' PROJECT INTO { s: e.subject, d: e.data }",
        ),
        (
            f"{RECORDS} GROUP BY x.in.s HAVING MAX(x.n) > 1 ORDER BY SUM(x.n) PROJECT INTO COUNT()",
            (
                "FROM e IN events WHERE e.type == 'a' GROUP BY e.subject HAVING MAX(e.data.n) > 1 "
                "ORDER BY SUM(e.data.n) PROJECT INTO COUNT()"
            ),
        ),
        # What is not there, or not a record, is NULL.
        (f"{EVENTS} PROJECT INTO x.other", "FROM e IN events PROJECT INTO NULL"),
        (f"{RECORDS} PROJECT INTO x.m", "FROM e IN events WHERE e.type == 'a' PROJECT INTO NULL"),
        (
            f"{RECORDS} PROJECT INTO x.one.two",
            "FROM e IN events WHERE e.type == 'a' PROJECT INTO NULL",
        ),
        (
            f"{RECORDS} WHERE NOT x.n == 1 ORDER BY -x.n PROJECT INTO LOWER(x.n AS STRING)",
            (
                "FROM e IN events WHERE e.type == 'a' AND NOT e.data.n == 1 ORDER BY -e.data.n "
                "PROJECT INTO LOWER(e.data.n AS STRING)"
            ),
        ),
        (
            (
                "FROM y IN (FROM x IN (FROM e IN events PROJECT INTO { a: e }) "
                "PROJECT INTO x.a.data) "
                "ORDER BY y.n PROJECT INTO y"
            ),
            "FROM e IN events ORDER BY e.data.n PROJECT INTO e.data",
        ),
        (
            "FROM x IN (FROM s IN subjects PROJECT INTO { s: s }) WHERE x.s != '/' PROJECT INTO x",
            "FROM s IN subjects WHERE s != '/' PROJECT INTO { s: s }",
        ),
        (
            "FROM x IN (FROM s IN subjects PROJECT INTO s) PROJECT INTO { a: x }",
            "FROM s IN subjects PROJECT INTO { a: s }",
        ),
        (
            (
                "FROM x IN (FROM a IN events FROM b IN events PROJECT INTO { a: a, b: b }) "
                "WHERE x.b.type == 'b' PROJECT INTO x.a.id"
            ),
            "FROM a IN events FROM b IN events WHERE b.type == 'b' PROJECT INTO a.id",
        ),
    ],
)
def test_simple_subqueries_become_part_of_the_query(nested: str, flat: str) -> None:
    check_same_plan(nested, flat)


@pytest.mark.parametrize(
    "subquery",
    [
        # An error in what nobody asks for is an error.
        "FROM e IN events PROJECT INTO { a: 1 / e.data.n, b: 2 }",
        "FROM e IN events PROJECT INTO { a: RAND() }",
        "FROM e IN events PROJECT INTO DISTINCT e",
        "FROM e IN events TOP 1 PROJECT INTO e",
        "FROM e IN events SKIP 1 PROJECT INTO e",
        "FROM e IN events ORDER BY e.id PROJECT INTO e",
        "FROM e IN events GROUP BY e.id PROJECT INTO e.id",
        "FROM e IN events PROJECT INTO COUNT()",
    ],
)
def test_other_subqueries_stay(subquery: str) -> None:
    query = prepare(f"FROM x IN ({subquery}) PROJECT INTO [x, x]").query

    assert query.sources != (LogSource.EVENTS,)


def test_one_of_several_sources_stays() -> None:
    query = prepare(f"{EVENTS} FROM f IN events PROJECT INTO x").query

    assert len(query.sources) == 2
    assert query.sources[0] is not LogSource.EVENTS


def test_what_would_grow_without_end_is_not_inlined() -> None:
    text = "FROM e IN events PROJECT INTO e"
    for _ in range(15):
        text = f"FROM x IN ({text}) PROJECT INTO {{ a: x, b: x }}"

    assert prepare(text).query.sources != (LogSource.EVENTS,)


def projection_of(expression: str) -> TypedExpression:
    return prepare(f"FROM e IN events PROJECT INTO {expression}").query.projection


@pytest.mark.parametrize(
    "expression, value, type_",
    [
        ("1 + 1", 2, INT),
        ("1 / 2", 0.5, FLOAT64),
        ("-(2 * 3)", -6, INT),
        ("NULL", None, NULL),
        ("NOT FALSE XOR 1 > 2", True, BOOLEAN),
        ("FALSE AND TRUE OR TRUE", True, BOOLEAN),
        ("1 != 1.0", False, BOOLEAN),
        ("LOWER('A') == 'a'", True, BOOLEAN),
        ("LOWER(NULL)", None, NULL),
        ("ENDSWITH(NULL, 'a')", False, BOOLEAN),
        ("PI() < 4", True, BOOLEAN),
        ("IF(1 < 2, 'a', 1)", "a", STRING),
        ("'12' AS INT", 12, INT),
        ("'1970-01-02' AS DATE", Date(1), DATE),
        ("[1, { a: 2 + 1 }, []]", [1, {"a": 3}, []], ARRAY),
        ("['a', 'b'] CONTAINS UPPER('a')", False, BOOLEAN),
        ("{ a: [] }", {"a": []}, RECORD),
    ],
)
def test_operations_on_constants_are_folded(expression: str, value: object, type_: Type) -> None:
    folded = projection_of(expression)

    assert isinstance(folded, Constant)
    assert (type(folded.value), folded.value, folded.type) == (type(value), value, type_)
    assert folded.span == Span(30, 30 + len(expression))


@pytest.mark.parametrize(
    "expression",
    ["1 / 0", "'x' AS INT", "9223372036854775807 + 1", "e.id", "RAND()", "NOW()", "YEAR(NOW())"],
)
def test_what_fails_or_is_different_each_time_is_not_folded(expression: str) -> None:
    assert not isinstance(projection_of(expression), Constant)


def test_only_constant_parts_are_folded() -> None:
    folded = projection_of("[1 + 1, e.data.x + (2 + 3), IF(TRUE, 1 / 0, 2 * 2)]")

    assert isinstance(folded, ArrayOf)
    two, addition, choice = folded.items
    assert isinstance(two, Constant)
    assert isinstance(addition, BinaryOperation)
    assert isinstance(addition.right, Constant)
    assert addition.right.value == 5
    assert isinstance(choice, ScalarCall)
    assert [type(each) for each in choice.arguments] == [Constant, BinaryOperation, Constant]


def test_all_clauses_are_folded() -> None:
    query = prepare(
        "FROM e IN events WHERE e.data.x == 1 + 1 GROUP BY e.data.x HAVING COUNT() > 1 + 1 "
        "ORDER BY COUNT() + (1 + 1) SKIP 1 + 1 TOP 1 + 1 "
        "PROJECT INTO [SUM(e.data.y + (1 + 1)), 1 + 1]"
    ).query
    expressions = [
        query.where,
        query.having,
        None if query.ordering is None else query.ordering.key,
        query.aggregates[-1].argument,
        query.projection,
        query.skip,
        query.top,
    ]

    for expression in expressions:
        assert expression is not None
        values = [node.value for node in walk(expression, operands) if isinstance(node, Constant)]
        assert values == [2]


def test_constants_take_no_more_memory_than_a_text_does() -> None:
    long = "REPLACE('{}', 'a', '{}')".format("a" * 300, "b" * 300)
    text = f"FROM e IN events PROJECT INTO [LEN({long}), [{long}] == [], UPPER('a')]"
    query = prepare(text).query

    assert isinstance(query.projection, ArrayOf)
    assert [type(each) for each in query.projection.items] == [
        ScalarCall,
        BinaryOperation,
        Constant,
    ]
    assert rows_of(text, a_log({})) == [[90_000, False, "A"]]
