"""Every case, by the reference interpreter and by the product.

Cases are data: `tests/eventql/cases/*.eql` by topic, and the collected queries of clients and
guides in `tests/fixtures/eventql-cases.ndjson`.
"""

import json
from collections.abc import Callable

import pytest

from everlog.eventql.query import execute, prepare
from tests.support.eventql.answers import (
    Answer,
    answer_by_product,
    answer_by_reference,
    context_of,
    find_differences,
    log_of,
)
from tests.support.eventql.cases import (
    CASE_DIRECTORY,
    EXPRESSION_PREFIX,
    FIXTURE,
    Case,
    file_cases,
    fixture_cases,
)
from tests.support.eventql.corpora import CORPORA, Corpus
from tests.support.eventql.differential import signature_of, without_decisions

CASES = [*fixture_cases(), *file_cases()]

# The reference does not judge queries, it only evaluates those that may be.
EVALUATED_CASES = [case for case in CASES if case.failure is None or not case.failure.is_static]


def check_case(case: Case, answer_of: Callable[[str, Corpus], Answer]) -> None:
    differences = find_differences(case, answer_of(case.query, case.corpus))

    if differences:
        pytest.fail("\n".join([case.query, *differences]), pytrace=False)


@pytest.mark.parametrize("case", EVALUATED_CASES, ids=lambda case: case.name)
def test_the_reference_interpreter_answers_as_the_case_says(case: Case) -> None:
    check_case(case, answer_by_reference)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_product_answers_as_the_case_says(case: Case) -> None:
    check_case(case, answer_by_product)


@pytest.mark.parametrize("case", EVALUATED_CASES, ids=lambda case: case.name)
def test_a_plan_without_decisions_gives_the_same_rows(case: Case) -> None:
    def answer_naively(text: str, corpus: Corpus) -> Answer:
        return answer_by_product(text, corpus, block_size=100, change_plan=without_decisions)

    check_case(case, answer_naively)


def test_no_file_of_cases_is_left_out() -> None:
    files = {case.name.partition(":")[0] for case in CASES}

    assert files == {FIXTURE.name, *(path.name for path in CASE_DIRECTORY.iterdir())}


def texts_of(query: str, corpus: Corpus, *, is_signed: bool = False) -> list[bytes]:
    context = context_of(corpus, signature_of if is_signed else None)
    chunks = execute(prepare(query), log_of(corpus, block_size=2), context)
    return [text for chunk in chunks for text in chunk]


@pytest.mark.parametrize("name", CORPORA)
@pytest.mark.parametrize(
    "query",
    [
        "FROM e IN events PROJECT INTO e",
        "FROM e IN events WHERE e.type != '' AND e.data != NULL PROJECT INTO e",
        "FROM e IN events ORDER BY 1 PROJECT INTO e",
        "FROM e IN (FROM f IN events PROJECT INTO f) PROJECT INTO e",
    ],
)
def test_whole_events_are_rows_byte_by_byte_as_they_are_served(name: str, query: str) -> None:
    corpus = CORPORA[name]

    rows = texts_of(query, corpus)

    assert rows == [payload_of(line) for line in corpus.lines]


def payload_of(line: bytes) -> bytes:
    return line.strip().removeprefix(b'{"type":"event","payload":')[:-1]


@pytest.mark.parametrize(
    "query",
    [
        "FROM e IN events PROJECT INTO e",
        "FROM e IN events PROJECT INTO DISTINCT e",
        "FROM e IN (FROM f IN events SKIP 0 PROJECT INTO f) PROJECT INTO e",
        "FROM e IN events FROM t IN eventtypes PROJECT INTO e",
    ],
)
def test_whole_events_are_signed_where_signatures_are_on(query: str) -> None:
    corpus = CORPORA["two values"]
    signatures = [signature_of(event["hash"]).encode() for event in corpus.events]

    rows = texts_of(query, corpus, is_signed=True)

    assert [row.rpartition(b'"signature":')[2] for row in rows] == [
        b'"%b"}' % signature for signature in signatures
    ]


def test_the_signature_is_a_field_like_others() -> None:
    corpus = CORPORA["two values"]
    query = "FROM e IN events WHERE e.signature != NULL PROJECT INTO SUBSTRING(e.signature, 0, 7)"

    assert texts_of(query, corpus, is_signed=True) == [b'"signed:"', b'"signed:"']
    assert texts_of(query, corpus) == []


@pytest.mark.parametrize(
    "expression, text",
    [
        ("4 / 2", b"2"),
        ("2.0", b"2"),
        ("-0.0", b"0"),
        ("e.data.whole", b"2"),
        ("e.data.exponent", b"100"),
        ("e.data.big", b"9223372036854775807"),
        ("e.data.small", b"-9223372036854775808"),
        ("0.1 + 0.2", b"0.30000000000000004"),
        ("1e15 * 10 / 10", b"1000000000000000"),
        ("[1.0, { a: 2.50 }]", b'[1,{"a":2.5}]'),
        ("COUNT() / 1", b"1"),
        ("TRUE", b"true"),
        ("NULL", b"null"),
        ("{ b: 1, a: 2 }", b'{"b":1,"a":2}'),
        ("e.data.record", b'{"a":{"b":{"c":1}}}'),
        ("'a\u00e9\U0001f600'", '"a\u00e9\U0001f600"'.encode()),
        ("e.time AS DATE", b'"2024-02-29"'),
    ],
)
def test_values_are_written_as_short_as_json_can(expression: str, text: bytes) -> None:
    assert texts_of(EXPRESSION_PREFIX + expression, CORPORA["one"]) == [text]


def test_every_query_can_be_explained_without_being_evaluated() -> None:
    for case in EVALUATED_CASES:
        (row,) = texts_of(f"EXPLAIN {case.query}", case.corpus)

        assert "sources" in json.loads(row), case.query
