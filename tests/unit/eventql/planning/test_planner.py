import pytest

from everlog.eventql.planning.plan import EventScan, IndexAnswer, Plan
from everlog.eventql.planning.planner import prepare


def plan_of(clauses: str) -> Plan:
    return prepare(f"FROM e IN events {clauses}")


def check_sorting(clauses: str, *, is_sorted: bool, is_reversed: bool = False) -> None:
    plan = plan_of(clauses)
    scan = plan.sources[0].source

    assert isinstance(scan, EventScan)
    assert (plan.ordering is not None) is is_sorted
    assert scan.is_reversed is is_reversed


@pytest.mark.parametrize("key", ["e.time", "e.id AS INT"])
def test_the_order_of_the_log_is_not_sorted_for(key: str) -> None:
    check_sorting(f"ORDER BY {key} PROJECT INTO e", is_sorted=False)
    check_sorting(f"ORDER BY {key} DESC TOP 5 PROJECT INTO e", is_sorted=False, is_reversed=True)
    check_sorting(
        f"ORDER BY {key} DESC PROJECT INTO UNIQUE(e.id)", is_sorted=False, is_reversed=True
    )


@pytest.mark.parametrize(
    "clauses",
    [
        # Ids are texts: "10" comes before "9".
        "ORDER BY e.id PROJECT INTO e",
        "ORDER BY e.data.time PROJECT INTO e",
        "ORDER BY e.id AS FLOAT64 PROJECT INTO e",
        "FROM f IN events ORDER BY e.time PROJECT INTO e",
        "GROUP BY e.time ORDER BY e.time PROJECT INTO e.time",
        "ORDER BY e.data.x PROJECT INTO UNIQUE(e.id)",
        "ORDER BY 1 / e.data.x PROJECT INTO COUNT()",
    ],
)
def test_any_other_order_is_sorted_for(clauses: str) -> None:
    check_sorting(clauses, is_sorted=True)


def test_the_order_of_rows_means_nothing_to_most_aggregates() -> None:
    check_sorting("ORDER BY e.data.x PROJECT INTO [COUNT(), SUM(e.data.x)]", is_sorted=False)


@pytest.mark.parametrize(
    "clauses, answer",
    [
        ("PROJECT INTO COUNT()", IndexAnswer.COUNT),
        ("WHERE e.type == 'a' PROJECT INTO { n: COUNT(), twice: COUNT() * 2 }", IndexAnswer.COUNT),
        ("WHERE e.type == 'a' ORDER BY e.time DESC PROJECT INTO COUNT() > 3", IndexAnswer.COUNT),
        ("GROUP BY e.type PROJECT INTO e.type", IndexAnswer.COUNT_BY_EVENT_TYPE),
        (
            (
                "WHERE e.id AS INT > 3 GROUP BY e.type HAVING COUNT() > 1 "
                "ORDER BY COUNT() DESC TOP 3 "
                "PROJECT INTO { type: UNIQUE(e.type), n: COUNT() }"
            ),
            IndexAnswer.COUNT_BY_EVENT_TYPE,
        ),
        ("WHERE e.data.x == 1 PROJECT INTO COUNT()", None),
        ("PROJECT INTO COUNT(e.data.x == 1)", None),
        ("PROJECT INTO [COUNT(), MAX(e.data.x)]", None),
        ("GROUP BY e.subject PROJECT INTO COUNT()", None),
        ("GROUP BY e.type PROJECT INTO MAX(e.time)", None),
        ("GROUP BY e.type PROJECT INTO UNIQUE(e.source)", None),
        ("PROJECT INTO UNIQUE(e.type)", None),
        ("PROJECT INTO LAST(e.type)", None),
        ("GROUP BY e.type PROJECT INTO LAST(e.id)", None),
        ("ORDER BY 1 / e.data.x PROJECT INTO COUNT()", None),
        ("FROM f IN events PROJECT INTO COUNT()", None),
        ("PROJECT INTO e", None),
    ],
)
def test_the_index_answers_what_it_can_count(clauses: str, answer: IndexAnswer | None) -> None:
    assert plan_of(clauses).index_answer is answer


@pytest.mark.parametrize(
    "projection, enough",
    [
        ("COUNT() == 0", 1),
        ("COUNT() == 3", 4),
        ("COUNT() != 3", 4),
        ("COUNT() > 0", 1),
        ("COUNT() >= 3", 3),
        ("COUNT() < 3", 3),
        ("COUNT() <= 3", 4),
        ("0 < COUNT()", 1),
        ("3 <= COUNT()", 3),
        ("3 > COUNT()", 3),
        ("3 >= COUNT()", 4),
        ("COUNT() > 2.5", 3),
        ("COUNT() >= 2.5", 3),
        ("COUNT() >= 0", 0),
        ("COUNT() > 1 AND COUNT() < 7", 7),
        ("{ any: COUNT() > 0, many: COUNT() > 100 }", 101),
        ("COUNT()", None),
        ("COUNT() > 0 AND COUNT() / 2 == 1", None),
        ("COUNT() + 1 > 0", None),
        ("COUNT() == COUNT()", None),
        ("COUNT() == NULL", None),
        ("COUNT() > 1 + 1", 3),
        ("[COUNT() > 0, COUNT(e.data.x == 1) > 0]", None),
        ("COUNT(e.data.x == 1) > 0", None),
    ],
)
def test_counting_ends_when_each_comparison_is_certain(projection: str, enough: int | None) -> None:
    plan = plan_of(f"WHERE e.data.y == 1 PROJECT INTO {projection}")

    assert plan.count_enough == enough


def test_counting_by_group_does_not_end() -> None:
    assert plan_of("GROUP BY e.type PROJECT INTO COUNT() > 0").count_enough is None


def test_subqueries_are_planned_too() -> None:
    plan = prepare(
        "FROM x IN (FROM e IN events WHERE e.type == 'a' ORDER BY e.time DESC TOP 1 PROJECT INTO e)"
        " PROJECT INTO x.id"
    )
    inner = plan.sources[0].source

    assert isinstance(inner, Plan)
    assert inner.sources[0].source == EventScan(event_types=frozenset({"a"}), is_reversed=True)


def test_a_query_that_is_to_be_explained_says_so() -> None:
    assert prepare("EXPLAIN FROM e IN events PROJECT INTO e").is_explain
    assert not plan_of("PROJECT INTO e").is_explain
