"""Analyzing: what the analyzer says about a query, or about an expression of one.

Expressions are projected from a product of `e` (events), `s` (subjects) and `r`, the rows of a
subquery.
"""

from everlog.eventql.analysis.analyzed import AnalyzedQuery
from everlog.eventql.analysis.analyzer import analyze
from everlog.eventql.diagnostic import Diagnostic, QueryMalformedError, locate
from everlog.eventql.language.parser import parse
from everlog.eventql.types import Type

SUBQUERY = "FROM e IN events PROJECT INTO { event: e, when: e.time, total: 1 + 2, one: 1 }"
AROUND = f"FROM e IN events FROM s IN subjects FROM r IN ({SUBQUERY}) PROJECT INTO "


def analyzed(text: str) -> AnalyzedQuery:
    """Return what a query means."""
    return analyze(parse(text).query, text)


def diagnose(text: str) -> tuple[Diagnostic, ...]:
    """Return all that is wrong with a query that the parser accepts."""
    query = parse(text).query
    try:
        analyze(query, text)
    except QueryMalformedError as error:
        return error.diagnostics
    return ()


def check_valid(text: str) -> None:
    """Check that nothing is wrong with a query."""
    assert diagnose(text) == ()


def check_error(text: str, place: str, blamed: str, message: str, hint: str | None = None) -> None:
    """Check that one thing is wrong with a query: where, what is blamed, and what is said."""
    (diagnostic,) = diagnose(text)
    line, column = locate(text, diagnostic.span.start)

    assert diagnostic.message == message
    assert diagnostic.hint == hint
    assert text[diagnostic.span.start : diagnostic.span.end] == blamed
    assert f"{line}:{column}" == place


def check_type(expression: str, type_: Type) -> None:
    """Check the type of an expression."""
    assert analyzed(AROUND + expression).projection.type == type_


def check_expression_error(
    expression: str, blamed: str, message: str, hint: str | None = None
) -> None:
    """Check that one thing is wrong with an expression; the blamed text is in it once."""
    column = len(AROUND) + expression.index(blamed) + 1
    check_error(AROUND + expression, f"1:{column}", blamed, message, hint)
