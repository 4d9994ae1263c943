from typing import Any

import pytest

from everlog.eventql.planning.plan import EventScan, Plan
from everlog.eventql.planning.planner import prepare

# 2024-01-01T00:00:00Z in nanoseconds.
NEW_YEAR = 1_704_067_200_000_000_000
NEW_YEAR_TEXT = '"2024-01-01T00:00:00Z" AS DATETIME'


def scan_of(plan: Plan, source: int = 0) -> EventScan:
    scan = plan.sources[source].source
    assert isinstance(scan, EventScan)
    return scan


def check_pushdown(where: str, *left: str, **expected: Any) -> None:
    """Check which scan a condition becomes, and what is left of it."""
    plan = prepare(f"FROM e IN events WHERE {where} PROJECT INTO e")
    spans = [condition.span for condition in plan.conditions]

    scan = scan_of(plan)
    found = {name for name in scan.__slots__ if getattr(scan, name) != getattr(EventScan(), name)}
    assert {name: getattr(scan, name) for name in found} == expected
    assert [plan.query.text[span.start : span.end] for span in spans] == [*left]


def types(*names: str) -> dict[str, frozenset[str]]:
    return {"event_types": frozenset(names)}


def subjects(*names: str) -> dict[str, frozenset[str]]:
    return {"subjects": frozenset(names)}


@pytest.mark.parametrize(
    "where, scan",
    [
        ("e.type == 'a'", types("a")),
        ("'a' == e.type", types("a")),
        ("['a', 'b'] CONTAINS e.type", types("a", "b")),
        ("['a', 1, NULL] CONTAINS e.type", types("a")),
        ("[] CONTAINS e.type", types()),
        ("e.type == 'a' OR e.type == 'b' OR ['c'] CONTAINS e.type", types("a", "b", "c")),
        ("e.type == 'a' AND e.type == 'b'", types()),
        ("FALSE", types()),
        ("FALSE OR e.type == 'a'", types("a")),
        ("TRUE", {}),
        ("TRUE OR e.type == 'a'", {}),
        ("e.type == 'a' AND e.subject == '/x'", types("a") | subjects("/x")),
        (
            "(e.type == 'a' AND e.subject == '/x') OR (e.type == 'b' AND e.subject == '/x')",
            types("a", "b") | subjects("/x"),
        ),
        ("e.subject == '/a' OR e.subject == '/b'", subjects("/a", "/b")),
        ("STARTSWITH(e.subject, '/a/')", {"subject_prefix": "/a/"}),
        ("STARTSWITH(e.subject, LOWER('/A'))", {"subject_prefix": "/a"}),
        (
            "STARTSWITH(e.subject, '/a') AND STARTSWITH(e.subject, '/a/b')",
            {"subject_prefix": "/a/b"},
        ),
        ("STARTSWITH(e.subject, '/a') AND STARTSWITH(e.subject, '/b')", types()),
        ("STARTSWITH(e.subject, '/a') AND ['/b', '/a/c'] CONTAINS e.subject", subjects("/a/c")),
        ("e.id == '7'", {"id_start": 7, "id_stop": 8}),
        ("e.id == '07'", types()),
        ("e.id == '-7'", types()),
        ("e.id == ''", types()),
        (f"e.id == '{'9' * 5000}'", types()),
        ("e.id AS INT == 7", {"id_start": 7, "id_stop": 8}),
        ("e.id AS INT == 7.5", types()),
        ("e.id AS INT < 7", {"id_stop": 7}),
        ("e.id AS INT < 6.5", {"id_stop": 7}),
        ("e.id AS INT <= 7", {"id_stop": 8}),
        ("e.id AS INT <= 7.5", {"id_stop": 8}),
        ("e.id AS INT > 7", {"id_start": 8}),
        ("e.id AS INT > 7.5", {"id_start": 8}),
        ("e.id AS INT >= 7", {"id_start": 7}),
        ("e.id AS INT >= 6.5", {"id_start": 7}),
        ("7 < e.id AS INT", {"id_start": 8}),
        ("7 >= e.id AS INT", {"id_stop": 8}),
        ("e.id AS INT + 1 <= 5", {"id_stop": 5}),
        ("1 + e.id AS INT <= 5", {"id_stop": 5}),
        ("e.id AS INT - 1 > 5", {"id_start": 7}),
        ("e.id AS INT >= 3 AND e.id AS INT < 5", {"id_start": 3, "id_stop": 5}),
        ("e.id AS INT >= 5 AND e.id AS INT < 3", types()),
        ("e.id AS INT >= -5", {}),
        ("e.id AS INT < -5", types()),
        ("e.id AS INT < 1e300", {"id_stop": 2**63 - 1}),
        (f"e.time >= {NEW_YEAR_TEXT}", {"time_start": NEW_YEAR}),
        (f"e.time > {NEW_YEAR_TEXT}", {"time_start": NEW_YEAR + 1}),
        (f"e.time < {NEW_YEAR_TEXT}", {"time_stop": NEW_YEAR}),
        (f"{NEW_YEAR_TEXT} >= e.time", {"time_stop": NEW_YEAR + 1}),
        (f"e.time == {NEW_YEAR_TEXT}", {"time_start": NEW_YEAR, "time_stop": NEW_YEAR + 1}),
        ("e.time < '9999-01-01T00:00:00Z' AS DATETIME", {"time_stop": 2**63 - 1}),
        (f"e.time > {NEW_YEAR_TEXT} AND e.time < {NEW_YEAR_TEXT}", types()),
    ],
)
def test_what_a_scan_says_is_not_judged_again(where: str, scan: dict[str, Any]) -> None:
    check_pushdown(where, **scan)


@pytest.mark.parametrize(
    "where, left, scan",
    [
        ("e.type == 'a' AND e.data.x == 1", ["e.data.x == 1"], types("a")),
        ("e.data.x == 1 AND e.type == 'a'", ["e.data.x == 1"], types("a")),
        # The types of both sides are known, but not that both are of one.
        (
            "(e.type == 'a' AND e.data.x == 1) OR e.type == 'b'",
            ["(e.type == 'a' AND e.data.x == 1) OR e.type == 'b'"],
            types("a", "b"),
        ),
        (
            "(e.type == 'a' AND e.subject == '/x') OR (e.type == 'b' AND e.subject == '/y')",
            ["(e.type == 'a' AND e.subject == '/x') OR (e.type == 'b' AND e.subject == '/y')"],
            types("a", "b") | subjects("/x", "/y"),
        ),
        (
            "e.id AS INT < 3 OR e.id AS INT > 5",
            ["e.id AS INT < 3 OR e.id AS INT > 5"],
            {},
        ),
        (
            "e.id AS INT == 1 OR e.id AS INT == 4",
            ["e.id AS INT == 1 OR e.id AS INT == 4"],
            {"id_start": 1, "id_stop": 5},
        ),
        ("e.type == 'a' OR e.data.x == 1", ["e.type == 'a' OR e.data.x == 1"], {}),
        ("e.type != 'a'", ["e.type != 'a'"], {}),
        ("NOT e.type == 'a'", ["NOT e.type == 'a'"], {}),
        ("e.type == 'a' XOR e.type == 'b'", ["e.type == 'a' XOR e.type == 'b'"], {}),
        ("e.source == 'a'", ["e.source == 'a'"], {}),
        ("['a', e.source] CONTAINS e.type", ["['a', e.source] CONTAINS e.type"], {}),
        ("STARTSWITH(e.type, 'a')", ["STARTSWITH(e.type, 'a')"], {}),
        ("STARTSWITH(e.subject, e.type)", ["STARTSWITH(e.subject, e.type)"], {}),
        ("e.time < NOW()", ["e.time < NOW()"], {}),
        ("e.id AS INT + 0.5 < 3", ["e.id AS INT + 0.5 < 3"], {}),
        ("e.id AS INT + 1 < 2.5", ["e.id AS INT + 1 < 2.5"], {}),
        ("e.id AS INT + 9223372036854775807 > 1", ["e.id AS INT + 9223372036854775807 > 1"], {}),
        ("e.id AS FLOAT64 < 3", ["e.id AS FLOAT64 < 3"], {}),
    ],
)
def test_what_no_scan_says_is_left(where: str, left: list[str], scan: dict[str, Any]) -> None:
    check_pushdown(where, *left, **scan)


@pytest.mark.parametrize(
    "where",
    [
        # Any of these first conditions may be an error for an event that is not of the type.
        "e.data.x > 1 AND e.type == 'a'",
        "e.data.x AND e.type == 'a'",
        "1 / 0 == 1 AND e.type == 'a'",
        "'x' AS INT == 1 AND e.type == 'a'",
        "(e.data.x > 1 AND e.type == 'b') OR e.type == 'a'",
        "RAND() < 0.5 AND e.type == 'a'",
    ],
)
def test_an_error_is_not_hidden_by_an_index(where: str) -> None:
    plan = prepare(f"FROM e IN events WHERE {where} PROJECT INTO e")

    assert scan_of(plan) == EventScan()


def test_conditions_before_one_that_may_fail_are_pushed_down_wherever_they_are_nested() -> None:
    check_pushdown(
        "(e.type == 'a' AND e.data.x > 1) OR (e.type == 'b' AND e.data.x > 2)",
        "(e.type == 'a' AND e.data.x > 1) OR (e.type == 'b' AND e.data.x > 2)",
        **types("a", "b"),
    )


def test_each_source_has_its_own_bounds() -> None:
    plan = prepare(
        "FROM a IN events FROM b IN events WHERE a.type == 'x' AND b.type == 'y' AND a.id == b.id "
        "PROJECT INTO 1"
    )

    assert scan_of(plan, 0) == EventScan(event_types=frozenset({"x"}))
    assert scan_of(plan, 1) == EventScan(event_types=frozenset({"y"}))
    assert len(plan.conditions) == 1


def test_fields_of_other_sources_say_nothing_about_events() -> None:
    plan = prepare(
        "FROM x IN (FROM e IN events TOP 1 PROJECT INTO { type: 'a', id: 'b' }) FROM e IN events "
        "WHERE x.type == 'a' AND x.id != 'c' PROJECT INTO e"
    )

    assert scan_of(plan, 1) == EventScan()
    assert len(plan.conditions) == 2
