import pytest

from tests.support.eventql.analyzing import (
    check_error,
    check_expression_error,
    check_valid,
    diagnose,
)


@pytest.mark.parametrize(
    "path, blamed, hint",
    [
        ("e.price", "price", "did you mean 'e.data.price'?"),
        ("e.title", "title", "did you mean 'e.data.title'?"),
        ("e.price.net", "price", "did you mean 'e.data.price.net'?"),
        ('e."first-name".x', '"first-name"', "did you mean 'e.data.\"first-name\".x'?"),
        ("e.tpye", "tpye", "did you mean 'e.type'?"),
        ("e.Type", "Type", "did you mean 'e.type'?"),
        ("e.timestamp", "timestamp", "did you mean 'e.time'?"),
        ("e.payload.price", "payload", "did you mean 'e.data.price'?"),
        ("e.dta.price", "dta", "did you mean 'e.data.price'?"),
        ("e.predecessorHash", "predecessorHash", "did you mean 'e.predecessorhash'?"),
    ],
)
def test_an_event_has_no_other_fields_than_its_own(path: str, blamed: str, hint: str) -> None:
    check_expression_error(path, blamed, f"events have no field '{blamed}'", hint)


def test_names_of_the_log_have_no_fields() -> None:
    check_expression_error(
        "s.name", "name", "'s' is STRING, and only records have fields", "use s alone"
    )
    check_error(
        "FROM t IN eventtypes PROJECT INTO t.name",
        "1:37",
        "name",
        "'t' is STRING, and only records have fields",
        "use t alone",
    )


@pytest.mark.parametrize(
    "path, hint",
    [
        ("x.id", "the sources here are 'e', 's', 'r'"),
        ("E.id", "did you mean 'e.id'?"),
        ("type", "did you mean 'e.type'?"),
        ("data.price", "did you mean 'e.data.price'?"),
        ("now", "did you mean 'NOW()'?"),
    ],
)
def test_a_path_begins_with_the_name_of_a_source(path: str, hint: str) -> None:
    alias = path.partition(".")[0]
    check_expression_error(path, alias, f"unknown name '{alias}'", hint)


def test_a_name_that_looks_like_one_of_a_source_is_guessed() -> None:
    check_error(
        "FROM event IN events PROJECT INTO evnt.data.x",
        "1:35",
        "evnt",
        "unknown name 'evnt'",
        "did you mean 'event.data.x'?",
    )


def test_fields_are_looked_for_in_events_only() -> None:
    check_error(
        "FROM s IN subjects FROM x IN events PROJECT INTO type",
        "1:50",
        "type",
        "unknown name 'type'",
        "did you mean 'x.type'?",
    )
    check_error(
        "FROM s IN subjects PROJECT INTO type",
        "1:33",
        "type",
        "unknown name 'type'",
        "the only source here is 's'",
    )


def test_the_only_source_is_named() -> None:
    check_error(
        "FROM e IN events PROJECT INTO x",
        "1:31",
        "x",
        "unknown name 'x'",
        "the only source here is 'e'",
    )


def test_a_subquery_does_not_see_the_sources_around_it() -> None:
    check_error(
        "FROM e IN events FROM x IN (FROM f IN events WHERE f.id == e.id PROJECT INTO f) "
        "PROJECT INTO x",
        "1:60",
        "e",
        "unknown name 'e'",
        "a subquery sees its own sources only",
    )


def test_a_query_does_not_see_the_sources_within_a_subquery() -> None:
    check_error(
        "FROM x IN (FROM f IN events PROJECT INTO f) PROJECT INTO f.id",
        "1:58",
        "f",
        "unknown name 'f'",
        "the only source here is 'x'",
    )


def test_fields_of_a_source_that_is_wrong_in_itself_are_not_judged() -> None:
    check_error(
        "FROM x IN event PROJECT INTO { a: x.foo + 1, b: NOT x, c: LEN(x.y) }",
        "1:11",
        "event",
        "unknown source 'event'",
        "did you mean 'events'?",
    )
    check_error(
        "FROM x IN (FROM e IN events PROJECT INTO e.foo) WHERE x PROJECT INTO x.y > 1",
        "1:44",
        "foo",
        "events have no field 'foo'",
        "did you mean 'e.data.foo'?",
    )


def test_what_is_below_a_field_of_an_event_is_not_judged() -> None:
    check_valid("FROM e IN events PROJECT INTO { a: e.data.a.b.c, b: e.type.foo }")


def test_every_use_of_an_unknown_name_is_told() -> None:
    assert len(diagnose("FROM e IN events WHERE a.x == b.x PROJECT INTO a")) == 3
