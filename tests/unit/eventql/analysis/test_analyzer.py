import pytest

from everlog.eventql.analysis.analyzed import AnalyzedQuery, FieldAccess, LogSource
from everlog.eventql.diagnostic import DIAGNOSTICS_MAX, Diagnostic, QueryMalformedError, locate
from everlog.eventql.language.parser import parse
from tests.support.eventql.analyzing import analyzed, check_error, check_valid, diagnose
from tests.support.eventql.cases import file_cases, fixture_cases


def places_and_messages(text: str) -> list[str]:
    """Return all that is wrong with a query, with the places."""
    return [
        "{}:{} {}".format(*locate(text, each.span.start), each.message) for each in diagnose(text)
    ]


@pytest.mark.parametrize(
    "source, expected",
    [
        ("events", LogSource.EVENTS),
        ("Events", LogSource.EVENTS),
        ("SUBJECTS", LogSource.SUBJECTS),
        ("eventTypes", LogSource.EVENT_TYPES),
    ],
)
def test_sources_have_any_casing(source: str, expected: LogSource) -> None:
    assert analyzed(f"FROM e IN {source} PROJECT INTO e").sources == (expected,)


@pytest.mark.parametrize(
    "source, hint",
    [
        ("event", "did you mean 'events'?"),
        ("event_types", "did you mean 'eventtypes'?"),
        ("books", "a source is events, subjects, eventtypes or a query between parentheses"),
    ],
)
def test_a_source_has_to_exist(source: str, hint: str) -> None:
    text = f"FROM e IN {source} PROJECT INTO e.foo"
    check_error(text, "1:11", source, f"unknown source '{source}'", hint)


def test_sources_have_names_of_their_own() -> None:
    check_error(
        "FROM e IN events\nFROM e IN subjects\nPROJECT INTO e.foo",
        "2:6",
        "e",
        "the name 'e' is already taken by another source",
        "give each source a name of its own",
    )
    check_valid("FROM e IN events FROM E IN subjects PROJECT INTO [e.id, E]")
    check_valid(
        "FROM e IN (FROM e IN (FROM e IN events PROJECT INTO e) PROJECT INTO e) PROJECT INTO e"
    )


def test_fields_know_their_source() -> None:
    query = analyzed("FROM e IN events FROM s IN subjects WHERE e.subject == s PROJECT INTO s")

    assert isinstance(query.projection, FieldAccess)
    assert (query.projection.source, query.projection.path) == (1, ())


def test_a_subquery_is_a_source() -> None:
    query = analyzed("FROM x IN (FROM e IN events PROJECT INTO { n: COUNT() }) PROJECT INTO x.n")

    (source,) = query.sources
    assert isinstance(source, AnalyzedQuery)
    assert (source.is_aggregated, query.is_aggregated) == (True, False)
    assert source.text == query.text


def test_clauses_that_are_not_there_are_none() -> None:
    query = analyzed("FROM e IN events PROJECT INTO e")

    absent = (query.where, query.group_key, query.having, query.ordering, query.skip, query.top)
    assert absent == (None,) * 6
    assert (query.is_aggregated, query.is_distinct, query.aggregates) == (False, False, ())


def test_clauses_are_analyzed_each() -> None:
    query = analyzed(
        "FROM e IN events WHERE TRUE GROUP BY e.type HAVING FALSE ORDER BY e.type DESC "
        "SKIP 1 TOP 2 PROJECT INTO DISTINCT 3"
    )

    assert None not in (query.where, query.group_key, query.having, query.skip, query.top)
    assert query.ordering is not None
    assert query.ordering.is_descending
    assert query.is_distinct


@pytest.mark.parametrize(
    "clauses, blamed, message, hint",
    [
        ("WHERE 42 PROJECT INTO 1", "42", "WHERE expects BOOLEAN, but '42' is INT", None),
        ("WHERE null PROJECT INTO 1", "null", "WHERE expects BOOLEAN, but 'null' is NULL", None),
        (
            "WHERE e.type PROJECT INTO 1",
            "e.type",
            "WHERE expects BOOLEAN, but 'e.type' is STRING",
            "compare it with something: e.type == x",
        ),
        (
            "GROUP BY e.type HAVING COUNT() PROJECT INTO 1",
            "COUNT()",
            "HAVING expects BOOLEAN, but 'COUNT()' is INT",
            "compare it with something: COUNT() == x",
        ),
    ],
)
def test_a_condition_has_to_be_boolean(
    clauses: str, blamed: str, message: str, hint: str | None
) -> None:
    text = f"FROM e IN events {clauses}"
    check_error(text, f"1:{text.index(blamed) + 1}", blamed, message, hint)


@pytest.mark.parametrize("clause", ["SKIP", "TOP"])
@pytest.mark.parametrize(
    "count, message, hint",
    [
        ("-1", "{} expects 0 or more, but found '-1'", None),
        ("-9223372036854775808", "{} expects 0 or more, but found '-9223372036854775808'", None),
        ("(-1)", "{} expects 0 or more, but found '(-1)'", None),
        ("1.5", "{} expects INT, but '1.5' is FLOAT64", None),
        ("'a'", "{} expects INT, but \"'a'\" is STRING", None),
        ("'1'", "{} expects INT, but \"'1'\" is STRING", "use '1' AS INT"),
        ("null", "{} expects INT, but 'null' is NULL", None),
        ("4 / 2", "{} expects INT, but '4 / 2' is FLOAT64", "use (4 / 2) AS INT"),
        ("e.data.x", "{} is the same for all rows, but 'e.data.x' depends on them", None),
        ("e.type", "{} is the same for all rows, but 'e.type' depends on them", None),
        ("COUNT()", "{} is the same for all rows, but 'COUNT()' depends on them", None),
    ],
)
def test_skip_and_top_take_a_count(clause: str, count: str, message: str, hint: str | None) -> None:
    text = f"FROM e IN events {clause} {count} PROJECT INTO e"
    place = f"1:{text.index(count) + 1}"
    check_error(text, place, count, message.format(clause), hint)


@pytest.mark.parametrize("count", ["0", "-0", "+1", "- -1", "1 - 2", "LEN('abc')", "'x' AS INT"])
def test_what_a_count_is_calculated_to_is_left_to_the_executor(count: str) -> None:
    check_valid(f"FROM e IN events SKIP {count} TOP {count} PROJECT INTO e")


def test_faults_are_told_together_in_the_order_of_the_text() -> None:
    text = (
        "FROM e IN events\n"
        "FROM x IN (FROM e IN nothing PROJECT INTO e)\n"
        "WHERE e.price\n"
        "ORDER BY x.y + 'a'\n"
        "GROUP BY f\n"
        "SKIP -1\n"
        "PROJECT INTO WHAT(e.id)"
    )

    assert places_and_messages(text) == [
        "2:22 unknown source 'nothing'",
        "3:9 events have no field 'price'",
        "4:10 'x.y' has a value for each row, but not for each group",
        "4:16 '+' expects INT or FLOAT64, but \"'a'\" is STRING",
        "5:10 unknown name 'f'",
        "6:6 SKIP expects 0 or more, but found '-1'",
        "7:14 unknown function 'WHAT'",
        "7:19 'e.id' has a value for each row, but not for each group",
    ]


def test_no_more_is_told_than_somebody_reads() -> None:
    text = f"FROM e IN events PROJECT INTO [{', '.join(f'x{number}' for number in range(99))}]"

    diagnostics = diagnose(text)

    assert len(diagnostics) == DIAGNOSTICS_MAX
    assert [each.message for each in diagnostics[:2]] == ["unknown name 'x0'", "unknown name 'x1'"]


@pytest.mark.slow
def test_the_shared_cases_are_refused_where_they_say_so() -> None:
    for case in (*file_cases(), *fixture_cases()):
        found = first_fault(case.query)
        expected = case.failure if case.failure is not None and case.failure.is_static else None
        assert (found is None) == (expected is None), (case, found)
        if found is not None and expected is not None:
            line, column = locate(case.query, found.span.start)
            assert expected.line_and_column in {None, f"{line}:{column}"}, (case, found)
            assert expected.blamed in {None, case.query[slice(*found.span)]}, (case, found)


def first_fault(text: str) -> Diagnostic | None:
    """Return the first thing that is wrong with a query, be it for the parser."""
    try:
        analyzed(text)
    except QueryMalformedError as error:
        return error.diagnostics[0]
    return None


def test_the_error_tells_the_first_fault_with_its_place() -> None:
    text = "FROM e IN events\nWHERE 42\nPROJECT INTO f"

    with pytest.raises(QueryMalformedError) as raised:
        analyzed(text)

    assert str(raised.value) == "2:7: WHERE expects BOOLEAN, but '42' is INT"
    assert raised.value.text == text
    assert len(raised.value.diagnostics) == 2


def test_the_deepest_query_is_analyzed() -> None:
    query = "FROM e IN events PROJECT INTO e"
    for _ in range(16):
        query = f"FROM e IN ({query}) PROJECT INTO e"
    deep = "(" * 98 + "e.data.x" + ")" * 98
    chain = "e.data.x" + " + 1" * 120
    text = query.removesuffix("e") + f"[{deep}, {chain}]"

    assert parse(text).query.projection
    check_valid(text)


@pytest.mark.slow
@pytest.mark.parametrize(
    "query",
    [
        "x," * 16_000 + "x",
        "e.x," * 8_000 + "e.x",
        "'a'+1," * 5_000 + "1",
        "SUM(e.data.x)," * 3_000 + "e.id",
        "AB(1)," * 6_000 + "1",
    ],
)
def test_a_hostile_text_takes_no_long_time(query: str) -> None:
    assert len(diagnose(f"FROM e IN events PROJECT INTO [{query}]")) in {1, DIAGNOSTICS_MAX}
