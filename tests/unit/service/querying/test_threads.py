"""Queries that are tried on a thread: found as a whole, or given up in time and without a trace."""

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from everlog.domain.errors import Code, RefusedError
from everlog.eventql.query import EvaluationContext, QueryLimits
from everlog.service.querying import queries, threads
from everlog.service.querying.faults import QUERY_FAULTS, ToldFaultError, refusal_of
from everlog.service.querying.messages import RowForm
from everlog.service.querying.plans import PreparedQuery, prepare_query
from everlog.service.querying.threads import Trial
from everlog.service.store import Store, open_store
from everlog.storage.engine import Scan
from everlog.storage.log import LogEngine
from tests.support.events import a_candidate, store
from tests.support.memory_engine import MemoryEngine

COUNT = 50
FORM = RowForm(b"", b"\n")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LogEngine]:
    engine = LogEngine.open(tmp_path_factory.mktemp("log") / "data")
    for number in range(COUNT):
        store(engine, a_candidate(data=f'{{"n":{number},"text":"{"x" * 5_000}"}}'))
    yield engine
    engine.close()


def a_trial(engine: Any, sign: Callable[[str], str] = str.upper) -> Trial:
    def context() -> EvaluationContext:
        return EvaluationContext(now=0, random=lambda: 0.5, sign=sign, limits=QueryLimits())

    return Trial(engine, context)


def prepared(clauses: str) -> PreparedQuery:
    return prepare_query(f"FROM e IN events {clauses}", is_signed=True)


def test_all_rows_are_found_at_once(engine: LogEngine) -> None:
    found = a_trial(engine).rows(prepared("PROJECT INTO e.data.n"), engine.head)

    assert found is not None
    assert found.rows == [str(number).encode() for number in range(COUNT)]
    assert found.fault is None


def test_rows_before_a_fault_are_found_with_it_in_words(engine: LogEngine) -> None:
    found = a_trial(engine).rows(prepared("PROJECT INTO 6 / (2 - e.data.n)"), engine.head)

    assert found is not None
    assert found.rows == [b"3", b"6"]
    assert isinstance(found.fault, ToldFaultError)
    refusal = refusal_of(found.fault, preconditionIndex=3)
    assert refusal.code is Code.QUERY_UNEVALUABLE
    assert refusal.details["eventId"] == "2"
    assert refusal.details["startToken"]["text"] == "6"
    assert refusal.details["preconditionIndex"] == 3


def test_a_plan_is_told(engine: LogEngine) -> None:
    query = prepare_query("EXPLAIN FROM e IN events PROJECT INTO e", is_signed=True)
    found = a_trial(engine).rows(query, engine.head)

    assert found is not None
    assert b'"eventsInLog":50' in found.rows[0]


@pytest.mark.parametrize("limit", ["_SECONDS_MAX", "_ROWS_SIZE_MAX"])
def test_what_takes_too_much_is_given_up(
    engine: LogEngine, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    query = prepared("PROJECT INTO e.data.n")
    monkeypatch.setattr(threads, limit, 0)
    trial = a_trial(engine)

    assert trial.rows(query, engine.head) is None
    assert trial.was_too_long


@pytest.mark.parametrize(
    "clauses",
    [
        "ORDER BY e.data.text PROJECT INTO e.data.text",
        "PROJECT INTO DISTINCT e.data.text",
        "GROUP BY e.data.text PROJECT INTO COUNT()",
    ],
)
def test_what_holds_too_much_is_given_up(
    engine: LogEngine, monkeypatch: pytest.MonkeyPatch, clauses: str
) -> None:
    query = prepared(clauses.replace("e.data.text", "[e.data.text, e.data.n]"))
    assert a_trial(engine).rows(query, engine.head) is not None

    monkeypatch.setattr(threads, "_LIMITS", QueryLimits(held_size_max=50_000))
    trial = a_trial(engine)

    assert trial.rows(query, engine.head) is None
    assert trial.was_too_long


def test_what_does_not_look_short_is_not_tried(engine: LogEngine) -> None:
    trial = a_trial(engine)

    assert trial.rows(prepared("PROJECT INTO REPLACE(e.id, '1', '22')"), engine.head) is None
    assert not trial.was_too_long


@pytest.mark.parametrize("count", range(1, COUNT, 7))
def test_whether_somebody_waits_is_asked_at_each_row(engine: LogEngine, count: int) -> None:
    judged = 0

    def sign(hash_: str) -> str:
        nonlocal judged
        judged += 1
        if judged == count:
            trial.is_wanted = False
        return hash_

    trial = a_trial(engine, sign)

    assert trial.rows(prepared("WHERE e.signature == '' PROJECT INTO e"), engine.head) is None
    assert judged == count


def test_aggregates_have_all_the_time_for_what_comes_later(
    engine: LogEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = a_trial(engine).aggregation(prepared("PROJECT INTO SUM(e.data.n)"), engine.head)
    monkeypatch.setattr(threads, "_SECONDS_MAX", -1)

    assert found is not None
    everything = Scan(start=0, stop=engine.head.event_count)
    found.add(b"".join(engine.scan(everything, engine.head)))
    assert found.value() == COUNT * (COUNT - 1)


def test_without_processes_a_query_has_all_the_time_there_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = MemoryEngine()
    store(engine, *[a_candidate(data='{"n":1}')] * 10)
    monkeypatch.setattr(threads, "_SECONDS_MAX", 0)
    monkeypatch.setattr(threads, "_ROWS_SIZE_MAX", 0)

    found = a_trial(engine).rows(prepared("PROJECT INTO REPLACE(e.id, '1', '22')"), engine.head)

    assert found is not None
    assert len(found.rows) == 10
    assert found.fault is None


# In a store: on a thread and then in a process.


def in_a_store(directory: Path, work: Callable[[Store], Any]) -> Any:
    async def run() -> Any:
        async with open_store(directory) as opened:
            for number in range(COUNT):
                store(opened.engine, a_candidate(data=f'{{"n":{number}}}'))
            return await work(opened)

    return asyncio.run(run())


async def rows_of(opened: Store, text: str) -> list[bytes]:
    blocks = [block async for block in opened.queries.run(text, form=FORM)]
    return b"".join(block or b"" for block in blocks).splitlines()


TEXTS = (
    ("FROM e IN events PROJECT INTO e.data.n", COUNT),
    ("FROM e IN events ORDER BY e.data.n DESC PROJECT INTO [e.id, e.data.n]", COUNT),
    ("FROM e IN events GROUP BY e.type PROJECT INTO SUM(e.data.n)", 1),
    ("FROM s IN subjects FROM t IN eventtypes PROJECT INTO [s, t]", None),
    ("FROM a IN events FROM b IN events WHERE a.data.n == b.data.n + 1 PROJECT INTO a.id", 49),
    ("EXPLAIN FROM e IN events WHERE e.data.n > 3 PROJECT INTO e", 1),
)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.0, 0.002])
def test_what_was_begun_in_vain_is_found_anew_and_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    async def all_rows(opened: Store) -> list[list[bytes]]:
        return [await rows_of(opened, text) for text, _ in TEXTS]

    expected = in_a_store(tmp_path / "one", all_rows)
    assert [len(rows) for rows, (_, count) in zip(expected, TEXTS, strict=True) if count] == [
        count for _, count in TEXTS if count
    ]

    async def all_rows_twice(opened: Store) -> list[list[list[bytes]]]:
        return [await all_rows(opened), await all_rows(opened)]

    # A thread gives up at once, or somewhere.
    monkeypatch.setattr(threads, "_SECONDS_MAX", seconds)
    assert in_a_store(tmp_path / "two", all_rows_twice) == [expected, expected]


@pytest.mark.slow
def test_a_long_text_is_prepared_in_a_process_and_has_the_same_answer(tmp_path: Path) -> None:
    async def work(opened: Store) -> None:
        for text, _ in TEXTS:
            short = await rows_of(opened, text)
            long = await rows_of(opened, text + " " * 5_000)
            assert long == short
            known = opened.queries.known(text + " " * 5_000)
            assert known is not None
            assert known.plan is None
            assert await rows_of(opened, text + " " * 5_000) == short

    in_a_store(tmp_path, work)


@pytest.mark.slow
@pytest.mark.parametrize(
    "text, code",
    [
        ("FROM e IN events PROJECT INTO [e.wrong, e.missing]", Code.QUERY_MALFORMED),
        ("FROM e IN events PROJECT INTO 1 / (e.data.n - 7)", Code.QUERY_UNEVALUABLE),
        ("FROM e IN events TOP DAY(NOW()) - 99 PROJECT INTO e", Code.QUERY_UNEVALUABLE),
    ],
)
def test_a_fault_is_the_same_wherever_it_is_met(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, code: Code
) -> None:
    async def refusal(opened: Store, text: str) -> RefusedError:
        with pytest.raises(QUERY_FAULTS) as raised:
            await rows_of(opened, text)
        return refusal_of(raised.value)

    async def work(opened: Store) -> None:
        on_thread = await refusal(opened, text)
        monkeypatch.setattr(threads, "_SECONDS_MAX", 0)
        begun_on_thread = await refusal(opened, text)
        long = await refusal(opened, text + " " * 5_000)

        assert on_thread.code is code
        assert on_thread.details["startToken"]
        for other in (begun_on_thread, long):
            assert (other.code, other.message) == (code, on_thread.message)
            assert {**other.details} == {**on_thread.details}

    in_a_store(tmp_path, work)


@pytest.mark.slow
def test_no_more_queries_than_two_compute_on_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = most = 0

    def rows(self: Trial, *arguments: Any) -> Any:
        nonlocal running, most
        running += 1
        most = max(most, running)
        time.sleep(0.02)
        running -= 1
        return original(self, *arguments)

    original = Trial.rows
    monkeypatch.setattr(Trial, "rows", rows)

    async def work(opened: Store) -> None:
        texts = [f"FROM e IN events PROJECT INTO [e.data.n, {number}]" for number in range(12)]
        found = await asyncio.gather(*(rows_of(opened, text) for text in texts))
        assert [len(each) for each in found] == [COUNT] * 12

    in_a_store(tmp_path, work)
    assert most == queries._TRIALS_MAX
