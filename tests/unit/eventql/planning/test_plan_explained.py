import pytest

from everlog.eventql.query import explain, prepare
from tests.support.eventql.executing import rows_of
from tests.support.eventql.logs import MemoryLog, a_line

LOG = MemoryLog([a_line(number, {}, type=f"t.{number % 2}") for number in range(5)])


def check_explanation(query: str, **expected: object) -> None:
    """Check members of a plan that is explained."""
    explanation = explain(prepare(query), LOG)
    [row] = rows_of(f"EXPLAIN {query}", LOG)

    assert row == explanation
    assert {name: explanation.get(name) for name in expected} == expected


def events(selected: dict[str, object], count: int, *, order: str = "oldest first") -> object:
    return {
        "source": "events",
        "selectedByIndex": selected,
        "order": order,
        "eventsInLog": 5,
        "eventsToReadAtMost": count,
    }


def test_what_the_index_selects_is_told() -> None:
    check_explanation(
        "FROM e IN events WHERE e.type == 't.1' AND e.data.x > 1 AND STARTSWITH(e.subject, '/n') "
        "ORDER BY e.time DESC PROJECT INTO e",
        sources=[events({"eventTypes": ["t.1"]}, 2, order="latest first")],
        judgesEachRow=["e.data.x > 1", "STARTSWITH(e.subject, '/n')"],
        sortsBy=None,
        holds=[],
    )
    check_explanation(
        "FROM e IN events WHERE ['/b', '/a'] CONTAINS e.subject AND e.id AS INT >= 1 AND "
        "e.id AS INT < 4 AND e.time >= '2024-01-01T00:00:00Z' AS DATETIME PROJECT INTO e",
        sources=[
            events(
                {
                    "subjects": ["/a", "/b"],
                    "idFrom": 1,
                    "idBefore": 4,
                    "timeFrom": "2024-01-01T00:00:00Z",
                },
                0,
            )
        ],
        judgesEachRow=None,
    )


def test_only_the_first_of_many_names_are_shown() -> None:
    names = ", ".join(f"'t.{number:02}'" for number in range(30))
    [source] = explain(
        prepare(f"FROM e IN events WHERE [{names}] CONTAINS e.type PROJECT INTO e"), LOG
    )["sources"]

    assert source["selectedByIndex"]["eventTypes"][18:] == ["t.18", "t.19", "... and 10 more"]


def test_what_the_index_answers_is_not_read() -> None:
    check_explanation(
        "FROM e IN events PROJECT INTO COUNT() > 1",
        sources=[events({}, 0)],
        answeredByIndex="the number of events",
        endsAfterRows=None,
    )
    check_explanation(
        "FROM e IN events GROUP BY e.type PROJECT INTO COUNT()",
        answeredByIndex="the number of events of each type",
        groupsBy="e.type",
        holds=["all groups"],
    )
    check_explanation(
        "FROM e IN events WHERE e.data.x == 1 PROJECT INTO COUNT() > 1",
        sources=[events({}, 5)],
        endsAfterRows=2,
    )


@pytest.mark.parametrize(
    "clauses, holds",
    [
        ("ORDER BY e.data.x PROJECT INTO e", ["all rows, to sort them"]),
        ("ORDER BY e.data.x TOP 5 PROJECT INTO e", ["the first rows"]),
        (
            "ORDER BY e.data.x TOP 5 PROJECT INTO DISTINCT e",
            ["all rows, to sort them", "all different rows"],
        ),
        ("FROM f IN events PROJECT INTO 1", ["all rows of each source but the first"]),
        ("PROJECT INTO MEDIAN(e.data.x)", ["all numbers whose median is asked for"]),
        ("PROJECT INTO SUM(e.data.x)", []),
    ],
)
def test_what_is_held_is_told(clauses: str, holds: list[str]) -> None:
    check_explanation(f"FROM e IN events {clauses}", holds=holds)


def test_sources_of_all_kinds_are_told() -> None:
    check_explanation(
        "FROM s IN subjects FROM t IN eventtypes FROM x IN (FROM e IN events TOP 1 PROJECT INTO e) "
        "ORDER BY t DESC PROJECT INTO 1",
        sources=[
            {"source": "subjects"},
            {"source": "eventtypes"},
            {"source": "subquery", "sources": [events({}, 5)], "holds": []},
        ],
        sortsBy="t DESC",
    )


@pytest.mark.parametrize(
    "clauses, noted",
    [
        ("ORDER BY e.id PROJECT INTO e", ["e.id"]),
        ("ORDER BY [e.type, e.id] PROJECT INTO e", ["e.id"]),
        ("GROUP BY e.id ORDER BY e.id PROJECT INTO COUNT()", ["e.id"]),
        ("WHERE e.id > '3' AND e.id <= '9' PROJECT INTO e", ["e.id"]),
        ("PROJECT INTO [MIN(e.id), MAX(e.id)]", ["e.id"]),
        ("PROJECT INTO COUNT('3' < e.id)", ["e.id"]),
        ("FROM f IN events WHERE e.id < f.id PROJECT INTO e", ["e.id", "f.id"]),
        ("ORDER BY e.id AS INT PROJECT INTO e.id", []),
        ("WHERE e.id == '3' PROJECT INTO [FIRST(e.id), LAST(e.id), MAX(e.id AS INT)]", []),
        ("ORDER BY e.data.id PROJECT INTO MAX(e.subject)", []),
        ("ORDER BY LEN(e.id) PROJECT INTO e", []),
        ("GROUP BY e.type ORDER BY e.type PROJECT INTO e.type", []),
    ],
)
def test_an_order_of_ids_as_texts_is_noted(clauses: str, noted: list[str]) -> None:
    notes = [
        f"{field} is ordered as a text, '10' before '9'; {field} AS INT is the number"
        for field in noted
    ]

    check_explanation(f"FROM e IN events {clauses}", notes=notes or None)
