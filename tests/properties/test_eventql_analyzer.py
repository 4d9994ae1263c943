"""The analyzer judges every query that the parser accepts, and what it says of types is true.

`EVENTQL_QUERIES` says how many queries, `EVENTQL_SEED` which ones: `make test-all` asks for
100,000. Types are held against the values of the reference interpreter, which knows none.
"""

import os
import random

import pytest

from everlog.eventql.analysis.analyzed import AnalyzedQuery
from everlog.eventql.analysis.analyzer import analyze
from everlog.eventql.diagnostic import DIAGNOSTICS_MAX, QueryMalformedError, describe
from everlog.eventql.language.parser import parse
from everlog.eventql.language.syntax import Query, Statement
from tests.support.eventql.any_syntax import any_query
from tests.support.eventql.corpora import CORPORA
from tests.support.eventql.generator import Sort, Vocabulary, sensible_query
from tests.support.eventql.printer import print_query
from tests.support.eventql.reference import run_reference
from tests.support.eventql.reference_expressions import ReferenceUnevaluableError, World
from tests.support.eventql.reference_values import exact_kind_of

QUERIES = int(os.environ.get("EVENTQL_QUERIES", "3000"))
SEED = int(os.environ.get("EVENTQL_SEED", "1"))

CORPUS = CORPORA["library"]
# A few events, since products of four sources have all combinations.
WORLD = World(CORPUS.events[:4], CORPUS.subjects, CORPUS.event_types, CORPUS.now)
VOCABULARY = Vocabulary(
    event_types=CORPUS.event_types,
    subjects=CORPUS.subjects,
    times=(CORPUS.events[1]["time"], CORPUS.now),
    id_stop=len(CORPUS.events),
    fields={
        ("price",): Sort.NUMBER,
        ("title",): Sort.STRING,
        ("isOpen",): Sort.BOOLEAN,
        ("tags",): Sort.ARRAY,
        ("borrowedBy",): Sort.MIXED,
    },
    words=("book", "2001"),
    numbers=(0, 1, 2.5),
)


def judge(query: Query, text: str) -> AnalyzedQuery | None:
    """Return what a query means; None if it is wrong, after checking what is said about that."""
    try:
        return analyze(query, text)
    except QueryMalformedError as error:
        starts = [each.span.start for each in error.diagnostics]
        assert 1 <= len(starts) <= DIAGNOSTICS_MAX
        assert starts == sorted(starts)
        for diagnostic in error.diagnostics:
            start, end = diagnostic.span
            assert 0 <= start < end <= len(text)
            message = describe(text, diagnostic)
            assert message.isprintable()
            assert message.endswith("...") or not message.endswith(".")
            assert len(message) < 500
        return None


@pytest.mark.slow
def test_any_query_is_judged() -> None:
    rng = random.Random(f"{SEED} any")
    for _ in range(QUERIES):
        text = print_query(any_query(rng))
        judge(parse(text).query, text)


@pytest.mark.slow
def test_most_queries_that_mean_something_are_right() -> None:
    rng = random.Random(f"{SEED} most")
    right = 0
    for _ in range(QUERIES // 10):
        text = print_query(sensible_query(rng, VOCABULARY))
        right += judge(parse(text).query, text) is not None

    assert right > QUERIES // 10 * 0.8


@pytest.mark.slow
def test_values_are_of_the_types_that_were_told() -> None:
    rng = random.Random(f"{SEED} types")
    rows = 0
    for _ in range(QUERIES // 10):
        text = print_query(sensible_query(rng, VOCABULARY, has_now=True))
        statement = parse(text)
        analyzed = judge(statement.query, text)
        if analyzed is not None:
            rows += check_rows(statement, analyzed)

    assert rows > QUERIES // 10


def check_rows(statement: Statement, analyzed: AnalyzedQuery) -> int:
    """Check the kinds of a query's rows; return how many rows there are before it fails."""
    kinds = {kind.value for kind in analyzed.projection.type}
    count = 0
    try:
        for value in run_reference(statement, WORLD):
            assert exact_kind_of(value) in kinds, analyzed.text
            count += 1
    except ReferenceUnevaluableError:
        pass
    return count
