import pytest

from everlog.eventql.analysis.analyzed import LogSource
from everlog.eventql.planning.preparation import prepare


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
