"""Rows are no deeper than clients can read, whatever a query puts around an event."""

import json

import pytest

from everlog.domain.limits import JSON_NESTING_MAX
from everlog.eventql.limits import QUERY_DEPTH_MAX, ROW_DEPTH_MAX
from tests.support.eventql.executing import check_failure, texts_of
from tests.support.eventql.logs import a_log
from tests.support.json_depth import depth_of

MESSAGE = f"the row has more than {ROW_DEPTH_MAX} levels of nesting"

# What surrounds a row in version 2: `{"type":"row","data":{"value":...}}`.
FRAMES = 2
LEVELS_OF_READERS = 64


def nested(levels: int) -> str:
    """Return a JSON object that is so deep."""
    return '{"a":' * (levels - 1) + '{"a":2.0}' + "}" * (levels - 1)


@pytest.mark.parametrize(
    "projection",
    ["e", "e.data", "{ data: e.data }", "{ id: e.id, data: e.data, n: [1] }", "[[e.data.a.a]]"],
)
@pytest.mark.parametrize("clauses", ["", "ORDER BY e.id", "WHERE e.data == e.data"])
def test_the_deepest_event_is_a_row(projection: str, clauses: str) -> None:
    log = a_log(nested(JSON_NESTING_MAX), {"a": 1})

    rows = texts_of(f"FROM e IN events {clauses} PROJECT INTO {projection}", log)

    assert max(map(depth_of, rows)) + FRAMES <= LEVELS_OF_READERS
    assert len(rows) == 2


@pytest.mark.parametrize(
    "query, blamed",
    [
        ("FROM e IN events PROJECT INTO [e]", "[e]"),
        ("FROM e IN events ORDER BY e.id PROJECT INTO [e]", "[e]"),
        ("FROM e IN events PROJECT INTO { a: { b: e.data } }", "{ a: { b: e.data } }"),
        ("FROM e IN events PROJECT INTO DISTINCT [e]", "[e]"),
        ("FROM x IN (FROM e IN events PROJECT INTO [e]) PROJECT INTO x", "x"),
        ("FROM e IN events GROUP BY e.id ORDER BY e.id PROJECT INTO [UNIQUE(e)]", "[UNIQUE(e)]"),
    ],
)
def test_a_row_that_is_deeper_ends_the_query_behind_those_before_it(
    query: str, blamed: str
) -> None:
    log = a_log({"a": 1}, nested(JSON_NESTING_MAX), {"a": 3})
    [first, *_] = texts_of(query, a_log({"a": 1}))

    check_failure(query, log, json.loads(first), message=MESSAGE, blamed=blamed, event_id=None)


def test_brackets_of_a_query_count_alone() -> None:
    def text(levels: int) -> str:
        return f"FROM e IN events PROJECT INTO {'[' * levels}e.id{']' * levels}"

    [row] = texts_of(text(ROW_DEPTH_MAX), a_log({}))
    assert depth_of(row) == ROW_DEPTH_MAX
    check_failure(
        text(ROW_DEPTH_MAX + 1),
        a_log({}),
        message=MESSAGE,
        blamed=text(ROW_DEPTH_MAX + 1).partition("INTO ")[2],
        event_id=None,
    )


@pytest.mark.parametrize("projection", ["e", "e.data", "{ data: e.data }", "e.data.a.a.a"])
def test_events_of_earlier_versions_can_be_queried(projection: str) -> None:
    log = a_log(nested(128), {"a": 1})

    rows = texts_of(f"FROM e IN events WHERE e.data.a != 1 PROJECT INTO {projection}", log)

    assert len(rows) == 1
    assert depth_of(rows[0]) > 120


def test_a_plan_is_no_deeper() -> None:
    query = "FROM e IN events WHERE e.data.a == 1 PROJECT INTO e"
    for _ in range(QUERY_DEPTH_MAX - 1):
        query = f"FROM x IN ({query}) ORDER BY x TOP 3 PROJECT INTO x"

    [plan] = texts_of(f"EXPLAIN {query}", a_log({}))

    assert depth_of(plan) <= ROW_DEPTH_MAX
