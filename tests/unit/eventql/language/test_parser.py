import inspect
import sys
from typing import assert_never

import pytest

from everlog.eventql.diagnostic import QueryMalformedError, Span, TokenPlace
from everlog.eventql.language.parser import parse, tokens_around
from everlog.eventql.language.syntax import (
    Array,
    Binary,
    Call,
    Conversion,
    Expression,
    Literal,
    Name,
    Path,
    Query,
    Record,
    Statement,
    Unary,
)
from everlog.eventql.limits import (
    NESTING_MAX,
    PATH_LENGTH_MAX,
    QUERY_DEPTH_MAX,
    QUERY_LENGTH_MAX,
    SOURCES_MAX,
    TREE_DEPTH_MAX,
)
from tests.support.sources import REPOSITORY

BEFORE = "FROM e IN events PROJECT INTO "


def parse_expression(text: str) -> Expression:
    return parse(BEFORE + text).query.projection


def show(expression: Expression) -> str:
    """Return an expression with all of its operators before their operands."""
    match expression:
        case Literal(value):
            return "null" if value is None else repr(value)
        case Path(alias, fields):
            return "/".join((alias.text, *(field.text for field in fields)))
        case Unary(operator, operand):
            return f"({operator} {show(operand)})"
        case Binary(operator, left, right):
            return f"({operator} {show(left)} {show(right)})"
        case Conversion(operand, target):
            return f"(AS {show(operand)} {target.text})"
        case Call(function, arguments):
            return f"{function.text}({' '.join(map(show, arguments))})"
        case Array(items):
            return f"[{' '.join(map(show, items))}]"
        case Record(entries):
            return f"{{{' '.join(f'{entry.key.text}:{show(entry.value)}' for entry in entries)}}}"
        case _:
            assert_never(expression)


def check_parses(text: str, expected: str) -> None:
    assert show(parse_expression(text)) == expected


@pytest.mark.parametrize(
    "text, expected",
    [
        ("NULL", "null"),
        ("true", "True"),
        ("False", "False"),
        ("0", "0"),
        ("007", "7"),
        ("0" * 5000, "0"),
        ("0" * 5000 + "7", "7"),
        ("9223372036854775807", "9223372036854775807"),
        ("1.0", "1.0"),
        ("1e3", "1000.0"),
        ("1e-999", "0.0"),
        ("1.7976931348623157e308", "1.7976931348623157e+308"),
        ("'a'", "'a'"),
        ('"it\'s"', '"it\'s"'),
        ("'\\n'", "'\\\\n'"),
        ("''", "''"),
        ("e", "e"),
        ("e.type", "e/type"),
        ("e.data.from.NULL.contains", "e/data/from/NULL/contains"),
        ("e.data.\"first-name\".'42'.x", "e/data/first-name/42/x"),
        ("e .\n data", "e/data"),
        ("explain", "explain"),
        ("if", "if"),
    ],
)
def test_parses_literals_and_paths(text: str, expected: str) -> None:
    check_parses(text, expected)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("COUNT()", "COUNT()"),
        ("count ( )", "count()"),
        ("If(a, b, c)", "If(a b c)"),
        ("f(g(1), [2])", "f(g(1) [2])"),
        ("[]", "[]"),
        ("[1, 'a', [b]]", "[1 'a' [b]]"),
        ("{}", "{}"),
        ("{ a: 1 }", "{a:1}"),
        ("{ page : e.subject }", "{page:e/subject}"),
        ("{ type: 1, order: 2, NULL: 3, 'x-y': 4, \"z\": 5 }", "{type:1 order:2 NULL:3 x-y:4 z:5}"),
        ("{ a: { b: [{}] } }", "{a:{b:[{}]}}"),
        ("{ a: 1, a: 2 }", "{a:1 a:2}"),
        ("((1))", "1"),
        ("e.id AS INT", "(AS e/id INT)"),
        ("e.id as int AS String", "(AS (AS e/id int) String)"),
        ("a AS events", "(AS a events)"),
    ],
)
def test_parses_calls_arrays_records_and_conversions(text: str, expected: str) -> None:
    check_parses(text, expected)


@pytest.mark.parametrize(
    "text, expected",
    [
        # From the tightest to the loosest, each beside its neighbour.
        ("-a.b", "(- a/b)"),
        ("-f(a)", "(- f(a))"),
        ("-a AS INT", "(- (AS a INT))"),
        ("(-a) AS INT", "(AS (- a) INT)"),
        ("-a * b", "(* (- a) b)"),
        ("a * -b", "(* a (- b))"),
        ("a * b AS INT", "(* a (AS b INT))"),
        ("a * b + c", "(+ (* a b) c)"),
        ("a + b * c", "(+ a (* b c))"),
        ("a - b / c", "(- a (/ b c))"),
        ("a + b CONTAINS c", "(CONTAINS (+ a b) c)"),
        ("a CONTAINS b + c", "(CONTAINS a (+ b c))"),
        ("a CONTAINS b == c", "(== (CONTAINS a b) c)"),
        ("a == b CONTAINS c", "(== a (CONTAINS b c))"),
        ("NOT a == b", "(NOT (== a b))"),
        ("NOT a CONTAINS b", "(NOT (CONTAINS a b))"),
        ("NOT a AND b", "(AND (NOT a) b)"),
        ("a AND NOT b", "(AND a (NOT b))"),
        ("NOT NOT NOT a", "(NOT (NOT (NOT a)))"),
        ("a AND b XOR c", "(XOR (AND a b) c)"),
        ("a XOR b AND c", "(XOR a (AND b c))"),
        ("a XOR b OR c", "(OR (XOR a b) c)"),
        ("a OR b XOR c", "(OR a (XOR b c))"),
        ("a OR b AND c", "(OR a (AND b c))"),
        ("a AND b OR c AND d", "(OR (AND a b) (AND c d))"),
        ("a AND c == d + e * -f AS INT", "(AND a (== c (+ d (* e (- (AS f INT))))))"),
        ("a AND b == c", "(AND a (== b c))"),
        ("a > 1 AND b < 2", "(AND (> a 1) (< b 2))"),
        ("e.id AS INT + 1 <= 5", "(<= (+ (AS e/id INT) 1) 5)"),
        ("COUNT() < 10", "(< COUNT() 10)"),
        ("(a OR b) AND c", "(AND (OR a b) c)"),
        # All group to the left.
        ("a - b - c", "(- (- a b) c)"),
        ("a - b + c", "(+ (- a b) c)"),
        ("a / b * c", "(* (/ a b) c)"),
        ("a CONTAINS b CONTAINS c", "(CONTAINS (CONTAINS a b) c)"),
        ("1 < a < 3", "(< (< 1 a) 3)"),
        ("a == b != c", "(!= (== a b) c)"),
        ("a - (b - c)", "(- a (- b c))"),
        ("--a", "(- (- a))"),
        ("+-a", "(+ (- a))"),
        ("a--b", "(- a (- b))"),
        # Where grouping has no meaning, trees are even.
        ("a AND b AND c", "(AND (AND a b) c)"),
        ("a OR b OR c OR d", "(OR (OR a b) (OR c d))"),
        ("a XOR b XOR c XOR d XOR e", "(XOR (XOR (XOR a b) c) (XOR d e))"),
        ("a AND (b AND c)", "(AND a (AND b c))"),
        ("a OR b AND c AND d OR e", "(OR (OR a (AND (AND b c) d)) e)"),
    ],
)
def test_operators_bind_as_the_grammar_says(text: str, expected: str) -> None:
    check_parses(text, expected)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("-9223372036854775808", "-9223372036854775808"),
        ("--9223372036854775808", "(- -9223372036854775808)"),
        ("- 9223372036854775808", "-9223372036854775808"),
        ("a--9223372036854775808", "(- a -9223372036854775808)"),
        ("(-9223372036854775808) AS STRING", "(AS -9223372036854775808 STRING)"),
        ("-9223372036854775807", "(- 9223372036854775807)"),
    ],
)
def test_the_least_integer_takes_its_sign(text: str, expected: str) -> None:
    check_parses(text, expected)


def test_a_query_has_its_clauses() -> None:
    text = (
        "FROM e IN events FROM s IN subjects WHERE 1 GROUP BY 2 HAVING 3 ORDER BY 4 DESC "
        "SKIP 5 TOP 6 PROJECT INTO DISTINCT 7"
    )

    query = parse(text).query

    aliases = [source.alias.text for source in query.sources]
    assert aliases == ["e", "s"]
    assert query.group is not None
    assert query.group.having is not None
    assert query.order is not None
    clauses = (query.where, query.group.key, query.group.having, query.order.key)
    rest = (query.skip, query.top, query.projection)
    assert [show(part) for part in (*clauses, *rest) if part is not None] == list("1234567")
    assert query.order.is_descending
    assert query.is_distinct
    assert query.span == (0, len(text))


def test_a_query_needs_no_clause_but_from_and_project_into() -> None:
    query = parse("FROM e IN events PROJECT INTO e").query

    clauses = (query.where, query.group, query.order, query.skip, query.top)
    assert clauses == (None,) * 5
    assert not query.is_distinct


@pytest.mark.parametrize(
    "text, other",
    [
        ("ORDER BY 1 GROUP BY 2", "GROUP BY 2 ORDER BY 1"),
        ("GROUP BY 2 HAVING 3 ORDER BY 1", "ORDER BY 1 GROUP BY 2 HAVING 3"),
        ("SKIP 1 TOP 2", "TOP 2 SKIP 1"),
        ("ORDER BY 1 TOP 2", "TOP 2 ORDER BY 1"),
        ("SKIP 1 GROUP BY 2 TOP 3 ORDER BY 4", "ORDER BY 4 GROUP BY 2 SKIP 1 TOP 3"),
        ("ORDER BY 1 ASC", "ORDER BY 1"),
        ("order By 1 dEsC", "ORDER BY 1 DESC"),
        ("", "/* nothing */"),
    ],
)
def test_clauses_may_stand_in_any_order(text: str, other: str) -> None:
    def parse_clauses(clauses: str) -> Statement:
        return parse(f"FROM e IN events WHERE TRUE {clauses} PROJECT INTO e")

    assert parse_clauses(text) == parse_clauses(other)


def test_names_stand_as_they_were_written() -> None:
    text = "FROM Ev IN EVENTS PROJECT INTO Abs(Ev.Data) AS Int"

    query = parse(text).query

    assert query.sources[0].alias.text == "Ev"
    assert query.sources[0].source == Name("EVENTS", Span(0, 0))
    assert show(query.projection) == "(AS Abs(Ev/Data) Int)"


def test_a_source_may_be_a_query_of_its_own() -> None:
    text = "FROM e IN (FROM e IN events TOP 1 PROJECT INTO e.data) PROJECT INTO e.x"

    inner = parse(text).query.sources[0].source

    assert isinstance(inner, Query)
    assert show(inner.projection) == "e/data"
    assert text[inner.span.start : inner.span.end] == text[11:53]


@pytest.mark.parametrize("word", ["EXPLAIN", "explain", "Explain"])
def test_explain_asks_for_the_plan(word: str) -> None:
    text = "FROM explain IN events PROJECT INTO explain.explain"

    assert not parse(text).is_explain
    assert parse(f"{word} {text}") == Statement(parse(text).query, is_explain=True)


@pytest.mark.parametrize(
    "text, part",
    [
        ("a + b * c", "a + b * c"),
        ("  (a + b)  ", "(a + b)"),
        ("(a) + (b)", "(a) + (b)"),
        ("((a))", "((a))"),
        ("NOT a", "NOT a"),
        ("-a AS INT", "-a AS INT"),
        ("- 9223372036854775808", "- 9223372036854775808"),
        ("f( a )", "f( a )"),
        ("[ a ] // b", "[ a ]"),
        ("{ 'a': b }", "{ 'a': b }"),
        ("e . 'x y'", "e . 'x y'"),
        ("a AND b AND c AND d", "a AND b AND c AND d"),
    ],
)
def test_places_are_those_of_the_text(text: str, part: str) -> None:
    start, end = parse_expression(text).span

    assert (BEFORE + text)[start:end] == part


def test_places_of_operands_include_their_parentheses() -> None:
    text = BEFORE + "(a + b) * (c)"
    product = parse(text).query.projection

    assert isinstance(product, Binary)
    places = (product.left.span, product.right.span)
    assert [text[start:end] for start, end in places] == ["(a + b)", "(c)"]


MALFORMED = (REPOSITORY / "tests/fixtures/eventql/malformed.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("case", MALFORMED.strip("\n").split("\n\n"))
def test_tells_what_is_wrong_and_what_was_meant(case: str) -> None:
    text, marker, message, *hints = case.split("\n")

    with pytest.raises(QueryMalformedError) as caught:
        parse(text)

    (diagnostic,) = caught.value.diagnostics
    start, end = diagnostic.span
    told = [" " * start + "^" * max(end - start, 1), diagnostic.message]
    assert told == [marker, message]
    assert hints == ([] if diagnostic.hint is None else [f"hint: {diagnostic.hint}"])


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("", "1:1: expected FROM, but found the end of the query; a query begins"),
        (" \n", "2:1: expected FROM, but found the end of the query"),
        ("// nothing", "1:11: expected FROM, but found the end of the query"),
        ("FROM e IN events\n", "2:1: expected PROJECT INTO, but found the end of the query"),
        ("FROM e IN events\r\n  LIMIT 1", "2:3: expected a clause or PROJECT INTO, but found 'L"),
        ("FROM e IN events\nWHERE (\n1\nPROJECT", "4:1: expected ')', but found 'PROJECT'; the '"),
        ("FROM e IN events /*\n\n*/ ORDER", "3:9: expected BY after ORDER, but found the end of"),
        ("FROM e IN events PROJECT INTO '\n'", "1:31: the string is not closed"),
        (BEFORE + "e 'x" + "y" * 70 + "'", "1:33: expected the end of the query, but found the "),
    ],
)
def test_tells_where_it_is(text: str, sentence: str) -> None:
    with pytest.raises(QueryMalformedError) as caught:
        parse(text)

    assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize(
    "text, told",
    [("x" * 60, "x" * 60), ("x" * 61, "x" * 57 + "..."), ("x" * 1000, "x" * 57 + "...")],
)
def test_long_texts_are_told_by_their_beginning(text: str, told: str) -> None:
    with pytest.raises(QueryMalformedError) as caught:
        parse(f"{BEFORE} e {text}")

    assert caught.value.diagnostics[0].message.endswith(f"but found '{told}'")


DEPTH = f"the expression has more than {TREE_DEPTH_MAX} levels"
NESTING = f"more than {NESTING_MAX} levels of nesting"


@pytest.mark.parametrize(
    "start, middle, end, count, message",
    [
        ("(", "1", ")", NESTING_MAX, NESTING),
        ("[", "1", "]", NESTING_MAX, NESTING),
        ("[", "", "]", NESTING_MAX, NESTING),
        ("{a:", "1", "}", NESTING_MAX, NESTING),
        ("f(", "1", ")", NESTING_MAX, NESTING),
        ("f(1,", "1", ")", NESTING_MAX, NESTING),
        ("[(f({a:", "1", "}))]", NESTING_MAX // 4, NESTING),
        ("NOT ", "1", "", TREE_DEPTH_MAX - 1, DEPTH),
        ("-", "1", "", TREE_DEPTH_MAX - 1, DEPTH),
        ("", "1", " AS INT", TREE_DEPTH_MAX - 1, DEPTH),
        ("1 + ", "1", "", TREE_DEPTH_MAX - 1, DEPTH),
        ("1 == ", "1", "", TREE_DEPTH_MAX - 1, DEPTH),
        ("a AND b == c + d * (", "1", ")", (TREE_DEPTH_MAX - 1) // 4, DEPTH),
        ("", "e", ".a", PATH_LENGTH_MAX, f"more than {PATH_LENGTH_MAX} fields in one path"),
    ],
)
def test_expressions_are_only_so_deep(
    start: str, middle: str, end: str, count: int, message: str
) -> None:
    def deep(levels: int) -> str:
        return start * levels + middle + end * levels

    parse_expression(deep(count))
    for too_many in (count + 1, count + 2):
        with pytest.raises(QueryMalformedError, match=message):
            parse_expression(deep(too_many))


@pytest.mark.parametrize("connective", ["AND", "OR", "XOR"])
def test_conditions_may_be_joined_in_any_number(connective: str) -> None:
    operands = (QUERY_LENGTH_MAX - 100) // len(f" {connective} a")
    text = "a" + f" {connective} a" * operands

    condition = parse_expression(text)

    assert show(condition).count("a") == operands + 1
    assert hash(condition) == hash(parse_expression(text))


def test_subqueries_are_only_so_deep() -> None:
    def deep(levels: int) -> str:
        return "FROM e IN (" * levels + BEFORE + "e" + ") PROJECT INTO e" * levels

    parse(deep(QUERY_DEPTH_MAX))
    with pytest.raises(QueryMalformedError, match="more than 16 subqueries inside each other"):
        parse(deep(QUERY_DEPTH_MAX + 1))


def test_a_query_has_only_so_many_sources() -> None:
    def wide(count: int) -> str:
        return " ".join(f"FROM e{n} IN events" for n in range(count)) + " PROJECT INTO 1"

    parse(wide(SOURCES_MAX))
    with pytest.raises(QueryMalformedError, match="more than 16 sources in one query"):
        parse(wide(SOURCES_MAX + 1))


@pytest.mark.parametrize(
    "text",
    [
        *("(", "((1+", "[{a:f(", "FROM e IN (", "NOT ", "-", "1+", "1==", "a.", "/*", "'"),
        *("a AS b.", "NOT (", "1 AND NOT ("),
    ],
)
def test_no_text_exhausts_the_stack(text: str) -> None:
    for prefix in ("", BEFORE):
        for suffix in ("", "1", " "):
            whole = prefix + text * (60_000 // len(text)) + suffix
            with pytest.raises(QueryMalformedError):
                parse(whole)


def test_the_deepest_text_takes_six_frames_for_a_level() -> None:
    text = BEFORE + "f(a == -[" * 10 + "f(" * 80 + "1" + ")" * 80 + "])" * 10
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 6 * NESTING_MAX + 30)
    try:
        query = parse(text).query
    finally:
        sys.setrecursionlimit(limit)

    assert show(query.projection).startswith("f((== a (- [f(")


@pytest.mark.parametrize(
    "text, span, first, last",
    [
        ("ab == 'c'", (0, 2), (1, 1, "ab", "identifier"), None),
        ("ab == 'c'", (1, 2), (1, 1, "ab", "identifier"), None),
        ("ab == 'c'", (0, 9), (1, 1, "ab", "identifier"), (1, 7, "'c'", "string")),
        ("ab == 'c'", (2, 3), (1, 4, "==", "=="), None),
        ("ab == 'c'", (2, 2), (1, 4, "==", "=="), None),
        ("ab == 'c'", (0, 4), (1, 1, "ab", "identifier"), (1, 4, "==", "==")),
        ("ab\n from", (4, 8), (2, 2, "from", "FROM"), None),
        ("ab // c", (3, 5), (1, 8, "", "end"), None),
        ("ab", (2, 2), (1, 3, "", "end"), None),
        ("ab\n", (3, 3), (2, 1, "", "end"), None),
        ("", (0, 0), (1, 1, "", "end"), None),
        ("1 1.5", (0, 5), (1, 1, "1", "integer"), (1, 3, "1.5", "float")),
        ("a % b", (2, 3), (1, 3, "%", "invalid"), None),
        ("a % b", (4, 5), (1, 3, "%", "invalid"), None),
        ("a 'b", (2, 4), (1, 3, "'b", "invalid"), None),
        ("a /* b", (2, 4), (1, 3, "/*", "invalid"), None),
        ("a % b", (0, 3), (1, 1, "a", "identifier"), (1, 3, "%", "invalid")),
    ],
)
def test_places_have_tokens_around_them(
    text: str,
    span: tuple[int, int],
    first: tuple[int, int, str, str],
    last: tuple[int, int, str, str] | None,
) -> None:
    expected = (TokenPlace(*first), TokenPlace(*(last or first)))

    assert tokens_around(text, Span(*span)) == expected


def test_a_text_that_is_too_long_has_a_token_too() -> None:
    with pytest.raises(QueryMalformedError) as caught:
        parse(" " * 1_000_000)

    first, last = tokens_around(caught.value.text, caught.value.diagnostics[0].span)
    assert first == last == TokenPlace(1, QUERY_LENGTH_MAX + 1, " ", "invalid")


def test_equal_numbers_of_other_kinds_make_other_trees() -> None:
    trees = [parse_expression(text) for text in ("1", "1.0", "TRUE", "'1'")]

    assert [[tree == other for other in trees].count(True) for tree in trees] == [1, 1, 1, 1]
    assert len({*trees, parse_expression("01")}) == len(trees)
