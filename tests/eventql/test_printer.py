import pytest

from everlog.eventql.language.parser import parse
from tests.support.eventql.printer import print_expression, print_query


def check_prints(text: str, expected: str | None = None) -> None:
    """Check what an expression is printed as (itself, if nothing else is said)."""
    projection = parse(f"FROM e IN events PROJECT INTO {text}").query.projection
    printed = print_expression(projection)
    assert printed == (text if expected is None else expected)
    assert parse(f"FROM e IN events PROJECT INTO {printed}").query.projection == projection


@pytest.mark.parametrize(
    "text",
    [
        *("NULL", "TRUE", "FALSE", "0", "42", "1.5", "1e+22", "5e-324", "0.1", "100.0"),
        *('"a"', "'say \"so\"'", '"it\'s"', '""', '"\\"', '"\t"'),
        *("-9223372036854775808", "9223372036854775807", "-1"),
        *("e", "e.data.x", 'e.data."first-name"', 'e.""', "e.from.NULL", "e.'a\"b'", 'e."\u00fc"'),
        *("[]", "[1]", "[1, [2, 3]]", "{}", "{ a: 1 }", '{ "a b": 1, order: { c: [] } }'),
        *("COUNT()", "count()", "If(a, b, c)", "_f(1, 2)"),
        *("a AS INT", "a AS int AS String", "-a AS INT", "(-a) AS INT", "(a + b) AS INT"),
        *("(-9223372036854775808) AS INT", "--1", "+-a", "a - -1", "-(a + b)", "-a * b"),
        *("a + b - c", "a - (b - c)", "a + (b + c)", "a * b + c", "(a + b) * c", "a / (b * c)"),
        *("[a, b] CONTAINS e.type", "a CONTAINS b == c", "a CONTAINS (b == c)", "a + b CONTAINS c"),
        *("a < b < c", "a < (b < c)", "a == b != c", "(a AND b) == c"),
        *("NOT a", "NOT NOT a", "NOT a == b", "(NOT a) == b", "NOT (a AND b)", "NOT a AND NOT b"),
        *("a AND b OR c", "a AND (b OR c)", "a OR b AND c", "(a OR b) XOR c", "a OR b XOR c"),
        *("(NOT a) AS STRING", "-(NOT a)", "-COUNT()", "f(a OR b)", "[NOT a, b AND c]"),
        *("a AND b AND c", "a AND (b AND c)", "a OR b OR c OR d OR e", "(a AND b AND c) AND d"),
    ],
)
def test_prints_no_parentheses_but_the_needed_ones(text: str) -> None:
    check_prints(text)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("null", "NULL"),
        ("True", "TRUE"),
        ("'a'", '"a"'),
        ("007", "7"),
        ("1.50", "1.5"),
        ("1e2", "100.0"),
        ("1E-7", "1e-07"),
        ("((a))", "a"),
        ("(a+b)*c", "(a + b) * c"),
        ("(a*b)+c", "a * b + c"),
        ("(a AND b) AND (c AND d)", "a AND b AND c AND d"),
        ("(a and b) or (c and d)", "a AND b OR c AND d"),
        ("not(a)", "NOT a"),
        ("(e.data.x)", "e.data.x"),
        ('e."x"', "e.x"),
        ("e . x", "e.x"),
        ("{'a':1,\"b-c\":2}", '{ a: 1, "b-c": 2 }'),
        ("f( a , b )", "f(a, b)"),
        ("a as int", "a AS int"),
        ("a contains b", "a CONTAINS b"),
        ("a // comment\n", "a"),
        ("(-9223372036854775808)", "-9223372036854775808"),
    ],
)
def test_prints_what_was_written_otherwise_in_one_way(text: str, expected: str) -> None:
    check_prints(text, expected)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("from e in events project into e", "FROM e IN events PROJECT INTO e"),
        (
            "FROM e IN events\nTOP 1\nSKIP 2\nPROJECT INTO DISTINCT e",
            "FROM e IN events SKIP 2 TOP 1 PROJECT INTO DISTINCT e",
        ),
        (
            "FROM e IN events ORDER BY e.id ASC GROUP BY e.type HAVING TRUE PROJECT INTO COUNT()",
            "FROM e IN events GROUP BY e.type HAVING TRUE ORDER BY e.id PROJECT INTO COUNT()",
        ),
        (
            "FROM a IN Events FROM b IN (FROM c IN subjects PROJECT INTO c) WHERE a PROJECT INTO b",
            None,
        ),
        ("FROM e IN events GROUP BY e.type ORDER BY e.type DESC PROJECT INTO UNIQUE(e.type)", None),
        ("EXPLAIN FROM e IN events PROJECT INTO e", "FROM e IN events PROJECT INTO e"),
    ],
)
def test_prints_the_clauses_in_the_order_of_their_evaluation(
    text: str, expected: str | None
) -> None:
    query = parse(text).query
    printed = print_query(query)

    assert printed == (text if expected is None else expected)
    assert parse(printed).query == query
