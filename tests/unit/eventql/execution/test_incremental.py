import json
import pickle
from typing import Any

import pytest

from everlog.eventql.diagnostic import QueryUnevaluableError
from everlog.eventql.evaluation.conversion import render
from everlog.eventql.query import IncrementalAggregation, is_incremental, may_affect, prepare
from everlog.service.querying.log import needs_of
from tests.support.eventql.executing import NOW, a_context, rows_of
from tests.support.eventql.logs import MemoryLog, a_line

LINES = [
    a_line(
        number,
        {"n": number, "k": f"k{number}"},
        type=f"t.{'ab'[number % 2]}",
        subject=f"/{number}",
    )
    for number in range(6)
]


def aggregation_of(query: str) -> IncrementalAggregation:
    return IncrementalAggregation.start(prepare(query), a_context())


def value_of(aggregation: IncrementalAggregation) -> Any:
    """Return the value of an aggregation as decoded JSON."""
    return json.loads(render(aggregation.value()))


@pytest.mark.parametrize(
    "clauses",
    [
        "PROJECT INTO COUNT()",
        "PROJECT INTO COUNT() == 6",
        "WHERE e.type == 't.a' PROJECT INTO COUNT()",
        "WHERE e.type == 't.a' AND e.data.n > 1 PROJECT INTO [COUNT(), SUM(e.data.n)]",
        "WHERE e.id AS INT >= 2 AND e.id AS INT < 5 PROJECT INTO SUM(e.data.n)",
        "WHERE STARTSWITH(e.subject, '/3') AND e.data.n > 0 PROJECT INTO SUM(e.data.n)",
        "WHERE e.subject == '/4' PROJECT INTO SUM(e.data.n)",
        "WHERE e.time > '2023-11-14T22:13:22Z' AS DATETIME PROJECT INTO MIN(e.data.n)",
        "PROJECT INTO { a: AVG(e.data.n), m: MEDIAN(e.data.n), v: VARIANCE(e.data.n) }",
        "PROJECT INTO [MIN(e.data.k), MAX(e.time), UNIQUE(e.id), COUNT(e.data.n > 2)]",
        "PROJECT INTO [FIRST(e.id), LAST(e.id), LAST(e.time), LAST(e), LAST(e.data.none)]",
        "WHERE e.type == 't.a' PROJECT INTO LAST(e.data.k) == 'k4'",
        "PROJECT INTO CONCAT(FIRST(e.data.k), '-', LAST(e.data.k))",
        "PROJECT INTO MOD(SUM(e.data.n), 4)",
        "PROJECT INTO DISTINCT COUNT()",
        "PROJECT INTO [SUM(e.data.n), NOW()]",
        "ORDER BY e.data.n PROJECT INTO SUM(e.data.n)",
    ],
)
@pytest.mark.parametrize("split", [0, 1, 4, 6])
def test_an_aggregation_of_parts_is_what_the_query_answers_about_the_whole(
    clauses: str, split: int
) -> None:
    query = f"FROM e IN events {clauses}"
    assert is_incremental(prepare(query))
    aggregation = aggregation_of(query)

    if split:
        aggregation.add_any(b"".join(LINES[:split]))
    aggregation.value()
    # The bytes are our own.
    aggregation = pickle.loads(pickle.dumps(aggregation)).resume(a_context())
    for line in LINES[split:]:
        aggregation.add_any(line)

    assert [value_of(aggregation)] == rows_of(query, MemoryLog(LINES))


def test_selected_events_are_taken_as_they_are() -> None:
    aggregation = aggregation_of("FROM e IN events WHERE e.type == 't.a' PROJECT INTO COUNT()")

    aggregation.add(LINES[0] + LINES[2])

    assert aggregation.value() == 2


def test_what_the_index_counts_can_be_taken_in_unread() -> None:
    aggregation = aggregation_of("FROM e IN events WHERE e.type == 't.a' PROJECT INTO COUNT()")

    assert aggregation.is_count
    aggregation.begin_with(1_000_000)
    aggregation.add_any(b"".join(LINES))

    assert aggregation.value() == 1_000_003
    assert not aggregation_of("FROM e IN events WHERE e.data.n > 1 PROJECT INTO COUNT()").is_count


def test_the_time_of_the_query_stays_what_it_was() -> None:
    aggregation = aggregation_of("FROM e IN events PROJECT INTO [COUNT(), NOW()]")
    aggregation = pickle.loads(pickle.dumps(aggregation))

    later = a_context()
    later = type(later)(now=NOW + 1, random=later.random, sign=None, limits=later.limits)

    assert value_of(aggregation.resume(later)) == [0, "2026-11-23T12:30:00.25Z"]


def test_a_comparison_is_certain_some_time() -> None:
    aggregation = aggregation_of("FROM e IN events WHERE e.data.n >= 0 PROJECT INTO COUNT() > 1")
    found = []

    for line in LINES[:3]:
        found.append((aggregation.is_certain, aggregation.value()))
        aggregation.add_any(line)

    assert found == [(False, False), (False, False), (True, True)]
    # Nothing is read any more.
    aggregation.add_any(b"no line")
    assert not aggregation_of("FROM e IN events PROJECT INTO SUM(e.data.n)").is_certain


def test_an_event_without_a_value_is_an_error() -> None:
    aggregation = aggregation_of("FROM e IN events PROJECT INTO SUM(e.data.k)")

    with pytest.raises(QueryUnevaluableError) as caught:
        aggregation.add(LINES[3])

    assert caught.value.event_id == "3"


def test_a_result_without_a_value_is_an_error_of_the_value_only() -> None:
    aggregation = aggregation_of("FROM e IN events PROJECT INTO 1 / COUNT()")

    with pytest.raises(QueryUnevaluableError):
        aggregation.value()
    aggregation.add(LINES[0])
    assert aggregation.value() == 1.0


@pytest.mark.parametrize(
    "query",
    [
        "FROM e IN events PROJECT INTO e",
        "FROM e IN events GROUP BY e.type PROJECT INTO COUNT()",
        "FROM e IN events ORDER BY e.data.n PROJECT INTO UNIQUE(e.id)",
        "FROM e IN events ORDER BY e.time DESC PROJECT INTO UNIQUE(e.id)",
        "FROM e IN events ORDER BY e.data.n PROJECT INTO LAST(e.id)",
        "FROM e IN events TOP 1 PROJECT INTO COUNT()",
        "FROM e IN events SKIP 1 PROJECT INTO COUNT()",
        "FROM e IN events FROM f IN events PROJECT INTO COUNT()",
        "FROM s IN subjects PROJECT INTO COUNT()",
        "FROM x IN (FROM e IN events TOP 3 PROJECT INTO e) PROJECT INTO COUNT()",
        "EXPLAIN FROM e IN events PROJECT INTO COUNT()",
    ],
)
def test_other_queries_have_no_incremental_aggregation(query: str) -> None:
    assert not is_incremental(prepare(query))


@pytest.mark.parametrize(
    "query, expected",
    [
        ("FROM e IN events PROJECT INTO e", True),
        ("FROM e IN events WHERE e.type == 't.a' PROJECT INTO e", False),
        ("FROM e IN events WHERE e.type == 't.b' PROJECT INTO e", True),
        ("FROM e IN events WHERE e.type == 't.b' AND e.data.n == 0 PROJECT INTO e", True),
        ("FROM e IN events WHERE e.subject == '/2' PROJECT INTO e", False),
        ("FROM s IN subjects PROJECT INTO s", True),
        ("FROM s IN eventtypes PROJECT INTO s", True),
        (
            (
                "FROM a IN events FROM b IN events WHERE a.type == 't.a' AND b.type == 't.c' "
                "PROJECT INTO 1"
            ),
            False,
        ),
        (
            (
                "FROM x IN (FROM e IN events WHERE e.type == 't.b' TOP 1 PROJECT INTO e) "
                "PROJECT INTO x"
            ),
            True,
        ),
    ],
)
def test_only_events_that_are_selected_may_change_an_answer(query: str, *, expected: bool) -> None:
    scans = needs_of(prepare(query)).deciding_scans

    assert may_affect(scans)(LINES[1] + LINES[3]) is expected


def test_a_number_beyond_float64_is_an_error_of_an_aggregation_that_reads_it() -> None:
    lines = a_line(6, f'{{"n":{"9" * 400},"k":"k6"}}') + a_line(7, {"n": 7, "k": "k7"})
    reading = aggregation_of("FROM e IN events PROJECT INTO SUM(e.data.n) > 0")
    other = aggregation_of("FROM e IN events PROJECT INTO COUNT(e.data.k == 'k7')")

    other.add_any(lines)
    with pytest.raises(QueryUnevaluableError) as caught:
        reading.add_any(lines)

    assert value_of(other) == 1
    assert caught.value.event_id == "6"
    assert str(caught.value.diagnostic.message) == "a number is beyond the range of FLOAT64"
