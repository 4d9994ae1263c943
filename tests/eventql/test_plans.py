"""A plan is executed again and again, by several threads at once, and compiled once."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import zip_longest
from threading import Barrier
from typing import Any

import pytest

from everlog.eventql.codegen import generated
from everlog.eventql.diagnostic import QueryMalformedError, QueryUnevaluableError
from everlog.eventql.query import EvaluationContext, IncrementalAggregation, Plan, execute, prepare
from tests.support.eventql.answers import context_of, log_of
from tests.support.eventql.cases import file_cases
from tests.support.eventql.corpora import Corpus
from tests.support.eventql.differential import make_trial, make_wild_trial
from tests.support.eventql.executing import NOW, a_context
from tests.support.eventql.logs import MemoryLog, a_line

CASES = [case for case in file_cases() if case.failure is None or not case.failure.is_static]

LINES = [a_line(number, {"n": number}, type=f"t.{'ab'[number % 2]}") for number in range(20)]
LOG = MemoryLog(LINES, block_size=3)

QUERIES = (
    "FROM e IN events WHERE e.data.n > 3 + 4 PROJECT INTO { id: e.id, data: e.data }",
    "FROM e IN events WHERE e.time < NOW() PROJECT INTO [e.id, NOW(), RAND()]",
    "FROM e IN events GROUP BY e.type ORDER BY COUNT() PROJECT INTO [e.type, SUM(e.data.n)]",
    "FROM e IN events FROM f IN events WHERE e.id == f.id PROJECT INTO [e.id, f.hash]",
    "FROM e IN events ORDER BY e.data.n DESC PROJECT INTO DISTINCT [e.data.n > 3, [1, { a: 2 }]]",
    "FROM x IN (FROM e IN events TOP 9 PROJECT INTO [e, 1 + 1]) PROJECT INTO x",
    "FROM e IN events SKIP 1 + 1 TOP 1 + 2 PROJECT INTO e.signature",
    "FROM e IN events PROJECT INTO 10 / (5 - e.data.n)",
)


def texts_of(plan: Plan, context: EvaluationContext) -> Iterator[bytes]:
    """Yield the rows of a query, and its error as one more."""
    try:
        for chunk in execute(plan, LOG, context):
            yield from chunk
    except QueryUnevaluableError as error:
        yield str(error).encode()


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the sources that are compiled, as they are."""
    sources: list[str] = []

    def compile_and_note(source: str, *arguments: Any, **options: Any) -> Any:
        sources.append(source)
        return compile(source, *arguments, **options)

    monkeypatch.setattr(generated, "compile", compile_and_note, raising=False)
    return sources


@pytest.mark.parametrize("query", QUERIES)
def test_a_plan_that_is_executed_twice_is_compiled_once(query: str, compiled: list[str]) -> None:
    plan = prepare(query)
    assert compiled == []

    first = [*texts_of(plan, a_context())]
    count = len(compiled)
    second = [*texts_of(plan, a_context())]

    # A subquery is a plan of its own.
    assert count == query.count("PROJECT INTO") == len(compiled)
    assert first == second != []


def test_only_what_a_query_is_asked_for_is_compiled(compiled: list[str]) -> None:
    plan = prepare("FROM e IN events PROJECT INTO COUNT()")

    for _ in range(3):
        for sign in (None, str.upper):
            assert [*texts_of(plan, a_context(sign=sign))] == [b"20"]
            aggregation = IncrementalAggregation.start(plan, a_context(sign=sign))
            assert aggregation.value() == 0

    # Rows or values, signed or not.
    assert len(compiled) == len(plan.compiled) == 4


def test_nothing_of_one_execution_is_left_for_the_next() -> None:
    query = (
        "FROM e IN events WHERE e.time < NOW() AND e.time < (NOW() AS DATE) AS DATETIME TOP 1 "
        "PROJECT INTO [NOW(), YEAR(NOW()), RAND(), e.signature]"
    )
    plan = prepare(query)
    year = 365 * 24 * 60 * 60 * 1_000_000_000
    contexts = [
        a_context(),
        replace(a_context(), now=NOW + year),
        a_context(random=lambda: 0.75),
        a_context(sign=lambda _: "one"),
        a_context(sign=lambda _: "two"),
        replace(a_context(), now=0),
        a_context(),
    ]

    answers = [[*texts_of(plan, context)] for context in contexts]

    now = b'"2026-11-23T12:30:00.25Z",2026'
    assert answers == [
        [b"[%b,0.25,null]" % now],
        [b'["2027-11-23T12:30:00.25Z",2027,0.25,null]'],
        [b"[%b,0.75,null]" % now],
        [b'[%b,0.25,"one"]' % now],
        [b'[%b,0.25,"two"]' % now],
        [],
        [b"[%b,0.25,null]" % now],
    ]


def test_executing_does_not_change_a_plan() -> None:
    for query in QUERIES:
        plan = prepare(query)
        for _ in texts_of(plan, a_context()):
            pass

        assert plan == prepare(query)


@pytest.mark.parametrize("query", QUERIES)
def test_executions_that_take_turns_do_not_meet(query: str) -> None:
    plan = prepare(query)
    expected = [*texts_of(plan, a_context())]

    turns = [*zip_longest(texts_of(plan, a_context()), texts_of(plan, a_context()))]

    assert turns == [(text, text) for text in expected]


def test_aggregations_of_one_plan_do_not_meet() -> None:
    plan = prepare("FROM e IN events PROJECT INTO [COUNT(), SUM(e.data.n), UNIQUE(e.id)]")
    first, second = (IncrementalAggregation.start(plan, a_context()) for _ in range(2))

    first.add(LINES[1])
    second.add(LINES[2])
    first.add(LINES[3])

    assert first.value() == [2, 4, "1"]
    assert second.value() == [1, 2, "2"]


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Let threads take turns as often as Python can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def answer(plan: Plan, corpus: Corpus) -> list[bytes]:
    rows: list[bytes] = []
    try:
        for chunk in execute(plan, log_of(corpus, 2), context_of(corpus, None)):
            rows += chunk
    except QueryUnevaluableError as error:
        rows.append(str(error).encode())
    return rows


@pytest.mark.slow
@pytest.mark.usefixtures("hasty_threads")
def test_two_threads_get_the_same_answers_of_one_plan() -> None:
    trials = [make(seed) for make in (make_trial, make_wild_trial) for seed in range(200)]
    asked = [(case.query, case.corpus) for case in CASES[::2]]
    asked += [(trial.text, trial.corpus) for trial in trials]
    both = Barrier(2)

    def answer_together(plan: Plan, corpus: Corpus) -> list[bytes]:
        # Neither has compiled the plan.
        both.wait()
        return answer(plan, corpus)

    with ThreadPoolExecutor(2) as threads:
        for text, corpus in asked:
            try:
                plan, expected = prepare(text), answer(prepare(text), corpus)
            except QueryMalformedError:
                continue
            answers = threads.map(answer_together, (plan, plan), (corpus, corpus))

            assert [*answers] == [expected, expected], text
            assert answer(plan, corpus) == expected, text
