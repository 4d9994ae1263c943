import pytest

from everlog.eventql.analysis.analyzed import AggregateValue, GroupKey, RecordOf, operands
from everlog.eventql.trees import walk
from everlog.eventql.types import STRING
from tests.support.eventql.analyzing import analyzed, check_error, check_valid

WHERE_HINT = "use HAVING after GROUP BY, or WHERE on a subquery"


@pytest.mark.parametrize(
    "clauses",
    [
        "PROJECT INTO COUNT()",
        "PROJECT INTO COUNT() == 0 AND MAX(e.time) > NOW()",
        "PROJECT INTO { n: COUNT(), label: 'total', r: RAND(), y: YEAR(NOW()) }",
        "PROJECT INTO [SUM(1), SUM(RAND()), AVG(e.data.x * e.data.y)]",
        "ORDER BY e.time DESC PROJECT INTO UNIQUE(e.id)",
        "GROUP BY e.type PROJECT INTO 1",
        "GROUP BY e.type PROJECT INTO e.type",
        "GROUP BY e.type HAVING e.type != 'a' ORDER BY LEN(e.type) PROJECT INTO UPPER(e.type)",
        "GROUP BY e.type ORDER BY COUNT() DESC PROJECT INTO { t: e.type, n: COUNT() }",
        "GROUP BY YEAR(e.time) PROJECT INTO year( e.time ) + 1",
        "GROUP BY e.id AS INT PROJECT INTO (e.id AS int) + 1",
        "GROUP BY { t: e.type, s: e.subject } PROJECT INTO { t: e.type, s: e.subject }",
        "GROUP BY [e.type, 1] PROJECT INTO [e.type, 1]",
        "GROUP BY e PROJECT INTO e",
        "GROUP BY 1 PROJECT INTO COUNT()",
    ],
)
def test_aggregates_and_keys_make_a_group(clauses: str) -> None:
    check_valid(f"FROM e IN events {clauses}")


@pytest.mark.parametrize(
    "before, field, after",
    [
        ("GROUP BY e.type PROJECT INTO ", "e.subject", ""),
        ("GROUP BY e.type PROJECT INTO { n: COUNT(), e: ", "e", " }"),
        ("GROUP BY e.type PROJECT INTO LEN(UPPER(", "e.id", "))"),
        ("GROUP BY e.type HAVING ", "e.data.x", " > 1 PROJECT INTO 1"),
        ("GROUP BY e.type ORDER BY ", "e.time", " PROJECT INTO 1"),
        ("ORDER BY ", "e.time", " GROUP BY e.type PROJECT INTO 1"),
        ("GROUP BY YEAR(e.time) PROJECT INTO YEAR(e.time) + MONTH(", "e.time", ")"),
        ("GROUP BY e.data PROJECT INTO ", "e.data.x", ""),
        ("GROUP BY e.data.x + 1 PROJECT INTO ", "e.data.x", " + 1.0"),
        ("GROUP BY e.data.x == 1 PROJECT INTO ", "e.data.x", " == TRUE"),
        ("GROUP BY [e.id, 1] PROJECT INTO [", "e.id", "]"),
    ],
)
def test_a_group_has_no_field_of_its_rows(before: str, field: str, after: str) -> None:
    before = f"FROM e IN events {before}"
    check_error(
        before + field + after,
        f"1:{len(before) + 1}",
        field,
        f"'{field}' has a value for each row, but not for each group",
        f"use the key of GROUP BY, or an aggregate such as UNIQUE({field})",
    )


def test_all_rows_have_no_field_of_one_row() -> None:
    check_error(
        "FROM e IN events PROJECT INTO { year: YEAR(e.time), sum: SUM(e.data.x) + COUNT() }",
        "1:44",
        "e.time",
        "'e.time' has a value for each row, but 'SUM(e.data.x)' makes one row of all of them",
        "use GROUP BY e.time, or an aggregate such as UNIQUE(e.time)",
    )


def test_the_key_of_groups_takes_the_place_of_equal_expressions() -> None:
    query = analyzed(
        "FROM e IN events GROUP BY e.type PROJECT INTO [e.type, LEN(e.type), 'e.type']"
    )

    keys = [node for node in walk(query.projection, operands) if isinstance(node, GroupKey)]
    assert [query.text[key.span.start : key.span.end] for key in keys] == ["e.type", "e.type"]
    assert all(key.type == STRING for key in keys)


def test_equal_aggregates_are_computed_once() -> None:
    query = analyzed(
        "FROM e IN events GROUP BY e.type HAVING AVG(e.data.x) > 1 ORDER BY count() "
        "PROJECT INTO { a: avg( e.data.x ), b: AVG(e.data.y), c: COUNT(), d: SUM(e.data.x) }"
    )

    assert [call.aggregate.name for call in query.aggregates] == ["AVG", "COUNT", "AVG", "SUM"]
    assert isinstance(query.projection, RecordOf)
    indexes = [
        value.index for value in query.projection.values if isinstance(value, AggregateValue)
    ]
    assert indexes == [0, 2, 1, 3]


def test_equal_aggregates_of_random_numbers_are_not_the_same() -> None:
    query = analyzed("FROM e IN events PROJECT INTO [SUM(RAND()), SUM(RAND()), SUM(1), SUM(1.0)]")

    assert len(query.aggregates) == 4


@pytest.mark.parametrize(
    "clauses, where, hint",
    [
        ("WHERE 3 > COUNT() PROJECT INTO 1", "WHERE", WHERE_HINT),
        ("WHERE COUNT() PROJECT INTO 1", "WHERE", WHERE_HINT),
        (
            "GROUP BY LEN(COUNT() AS STRING) PROJECT INTO 1",
            "the key of GROUP BY",
            "group the rows of a subquery that aggregates: FROM x IN (FROM ...)",
        ),
        (
            "ORDER BY COUNT() PROJECT INTO 1",
            "ORDER BY without GROUP BY",
            "rows have no aggregates before they are grouped: add GROUP BY",
        ),
    ],
)
def test_aggregates_stand_only_where_there_are_groups(clauses: str, where: str, hint: str) -> None:
    text = f"FROM e IN events {clauses}"
    message = f"an aggregate cannot stand in {where}, but found 'COUNT()'"
    check_error(text, f"1:{text.index('COUNT') + 1}", "COUNT()", message, hint)


@pytest.mark.parametrize(
    "expression, inner, outer",
    [
        ("COUNT(COUNT())", "COUNT()", "COUNT"),
        ("SUM(1 + LEN(MIN(e.id)))", "MIN(e.id)", "SUM"),
    ],
)
def test_aggregates_do_not_stand_inside_of_each_other(
    expression: str, inner: str, outer: str
) -> None:
    text = f"FROM e IN events PROJECT INTO {expression}"
    check_error(
        text,
        f"1:{text.rindex(inner) + 1}",
        inner,
        f"an aggregate cannot stand inside of another one, but '{inner}' is inside of {outer}",
        "aggregate the rows of a subquery: FROM x IN (FROM ...)",
    )
