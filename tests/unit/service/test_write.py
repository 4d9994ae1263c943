"""Writes that depend on queries: decided at once or after waiting, with the same outcome."""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from everlog.domain.errors import Code, RefusedError, StateConflictError, TooManyQueriesError
from everlog.domain.event import EventCandidate
from everlog.domain.precondition import IsEventQlQueryTrue, IsSubjectPristine, Precondition
from everlog.service import write as write_module
from everlog.service.querying.conditions import StaleQueryError
from everlog.service.store import Store, StoreOptions, run_store
from everlog.service.write import write
from everlog.service.writing.changes import Outcome
from everlog.storage.engine import Head, JournalEntry
from tests.support.events import FIRST_TIME, a_candidate, an_entry
from tests.support.memory_engine import MemoryEngine

ATTEMPTS_MAX = 10
ONE, TWO = "io.everlog.one", "io.everlog.two"

NOBODY = "FROM e IN events WHERE e.subject == '/a' PROJECT INTO COUNT() == 0"
# The latest event of a subject, as one that no aggregate tells.
LATEST = "FROM e IN events WHERE e.subject == '/a' ORDER BY e.id DESC TOP 1 PROJECT INTO e.data.n"
OF_ONE = f"FROM e IN events WHERE e.type == '{ONE}'"


def is_true(query: str) -> IsEventQlQueryTrue:
    return IsEventQlQueryTrue(query=query)


@asynccontextmanager
async def a_store(engine: MemoryEngine | None = None) -> AsyncGenerator[Store, None]:
    options = StoreOptions(clock=lambda: FIRST_TIME)
    async with run_store(engine or MemoryEngine(), options, has_sync_process=False) as store:
        yield store


async def written(store: Store, candidate: EventCandidate, *preconditions: Precondition) -> Outcome:
    """Return the outcome of one write, which is answered once."""
    answers: list[Outcome] = []
    done = asyncio.Event()

    def answer(outcome: Outcome) -> None:
        answers.append(outcome)
        done.set()

    task = write(store, [candidate], preconditions, answer)
    await asyncio.wait_for(done.wait(), 60)
    if task is not None:
        await task
    [outcome] = answers
    return outcome


def count_hand_overs(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Return a list that grows whenever something is handed to a reading thread."""
    calls: list[object] = []
    start = store.reader.start

    def counted(function: Callable[[], Any]) -> asyncio.Future[Any]:
        calls.append(function)
        return start(function)

    monkeypatch.setattr(type(store.reader), "start", lambda _, function: counted(function))
    return calls


async def called_once(owner: type, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Return when a method has been called."""
    called, method = asyncio.Event(), getattr(owner, name)

    def watched(*arguments: Any) -> Any:
        called.set()
        return method(*arguments)

    monkeypatch.setattr(owner, name, watched)
    await asyncio.wait_for(called.wait(), 60)


def run(work: Callable[[Store], Awaitable[None]], engine: MemoryEngine | None = None) -> None:
    async def main() -> None:
        async with a_store(engine) as store:
            await work(store)

    asyncio.run(main())


def what_was_said(outcome: Outcome) -> object:
    """Return an outcome as something that can be compared."""
    if isinstance(outcome, RefusedError):
        return outcome.code, str(outcome), outcome.details
    assert not isinstance(outcome, Exception), outcome
    return [event.json for event in outcome]


# At once.


@pytest.mark.parametrize(
    "query", [NOBODY, f"{LATEST} != 1", f"{OF_ONE} ORDER BY e.subject PROJECT INTO e.data.n > 7"]
)
def test_a_condition_that_is_known_and_at_hand_is_decided_here_and_now(
    query: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(store: Store) -> None:
        await written(store, a_candidate("/a", ONE, data='{"n":1}'))
        condition = is_true(query)
        first = await written(store, a_candidate("/b"), condition)
        hand_overs = count_hand_overs(store, monkeypatch)
        answers: list[Outcome] = []

        # No task, and the writer has it before the call returns.
        assert write(store, [a_candidate("/b")], [condition], answers.append) is None
        later = await written(store, a_candidate("/c"), condition)

        assert hand_overs == []
        assert what_was_said(answers[0]) == what_was_said(first) == what_was_said(later)
        assert isinstance(later, StateConflictError)

    run(work)


def test_what_a_query_is_refused_for_is_answered_without_the_writer() -> None:
    async def work(store: Store) -> None:
        await written(store, a_candidate("/a", data='{"n":"none"}'))
        query = "FROM e IN events WHERE e.subject == '/a' PROJECT INTO SUM(e.data.n AS INT) > 1"
        conditions = [IsSubjectPristine(subject="/a", recursive=False), is_true(query)]
        first = await written(store, a_candidate("/b"), *conditions)
        answers: list[Outcome] = []

        assert write(store, [a_candidate("/b")], conditions, answers.append) is None

        assert what_was_said(answers[0]) == what_was_said(first)
        assert isinstance(first, RefusedError)
        assert first.code is Code.QUERY_UNEVALUABLE
        assert first.details["preconditionIndex"] == 1

    run(work)


def test_what_is_staged_counts() -> None:
    async def work(store: Store) -> None:
        await written(store, a_candidate("/b"), is_true(NOBODY))
        answers: list[Outcome] = []
        candidate = a_candidate("/a")

        # Both are judged before anything is durable.
        for _ in range(2):
            assert write(store, [candidate], [is_true(NOBODY)], answers.append) is None
        assert store.engine.head.event_count == 1
        await written(store, a_candidate("/c"))

        assert [isinstance(answer, StateConflictError) for answer in answers] == [False, True]

    run(work)


def test_more_conditions_than_a_few_wait() -> None:
    async def work(store: Store) -> None:
        await written(store, a_candidate("/b"), is_true(NOBODY))
        for count, waits in ((2, False), (3, True)):
            answers: list[Outcome] = []
            task = write(store, [a_candidate("/b")], [is_true(NOBODY)] * count, answers.append)
            assert (task is not None) is waits
            if task is not None:
                await task

    run(work)


@pytest.mark.parametrize(
    "staged, waits",
    [
        ([a_candidate("/x")] * 256, False),
        ([a_candidate("/x")] * 257, True),
        ([a_candidate("/x", data=f'{{"text":"{"x" * 100_000}"}}')] * 2, False),
        ([a_candidate("/x", data=f'{{"text":"{"x" * 100_000}"}}')] * 3, True),
    ],
)
def test_the_writer_takes_in_so_much_and_no_more(
    staged: Sequence[EventCandidate], *, waits: bool
) -> None:
    async def work(store: Store) -> None:
        await written(store, a_candidate("/b"), is_true(NOBODY))
        answers: list[Outcome] = []

        for candidate in staged:
            write(store, [candidate], [], lambda _: None)
        task = write(store, [a_candidate("/b")], [is_true(NOBODY)], answers.append)

        assert (task is not None) is waits
        await written(store, a_candidate("/c"))
        if task is not None:
            await task
        assert len(answers) == 1

    run(work)


# Going stale.


def test_a_write_whose_query_went_stale_in_the_writer_is_decided_all_the_same() -> None:
    async def work(store: Store) -> None:
        query = f"{LATEST} == 1"
        await written(store, a_candidate("/a", data='{"n":1}'))
        await written(store, a_candidate("/b"), is_true(query))
        answers: list[Outcome] = []
        turned = a_candidate("/a", data='{"n":2}')

        for _ in range(3):
            assert write(store, [turned], [is_true(query)], answers.append) is None
        while len(answers) < 3:
            await written(store, a_candidate("/c"))

        assert [isinstance(answer, StateConflictError) for answer in answers] == [False, True, True]

    run(work)


def test_those_who_were_overtaken_go_first() -> None:
    async def work(store: Store) -> None:
        query = is_true(f"{LATEST} == 1")
        await written(store, a_candidate("/a", data='{"n":1}'))
        await written(store, a_candidate("/b"), query)
        answers: list[Outcome] = []

        async with store.queries.turn_again():
            task = write(store, [a_candidate("/b")], [query], answers.append)
            assert task is not None
            # Aggregates never go stale, so that nobody has to go first.
            await written(store, a_candidate("/c"), is_true(NOBODY.replace("== 0", "> 0")))
            assert not task.done()
        await task

        assert [isinstance(answer, Exception) for answer in answers] == [False]

    run(work)


@pytest.mark.parametrize("is_tried_again", [True, False])
def test_whoever_tries_again_while_the_store_closes_is_told(
    monkeypatch: pytest.MonkeyPatch, *, is_tried_again: bool
) -> None:
    answers: list[Outcome] = []

    async def work(store: Store) -> None:
        query = f"{LATEST} == 1"
        await written(store, a_candidate("/a", data='{"n":1}'))
        await written(store, a_candidate("/b"), is_true(query))
        for _ in range(3):
            write(store, [a_candidate("/a")], [is_true(query)], answers.append)
        if is_tried_again:
            await called_once(type(store.queries), "own", monkeypatch)

    run(work)

    # Of those who try again, the first may still find its condition fulfilled.
    assert len(answers) == 3
    refused = [answer.code for answer in answers if isinstance(answer, RefusedError)]
    assert refused == [Code.SERVER_SHUTTING_DOWN] * len(refused)
    assert len(refused) == 2 or is_tried_again


def test_a_write_that_lost_its_place_is_judged_by_what_took_it() -> None:
    def rival(head: Head) -> list[JournalEntry]:
        return [an_entry(head, [a_candidate("/a", data='{"n":7}')])]

    engine = MemoryEngine()

    async def work(store: Store) -> None:
        for query in (NOBODY, "FROM e IN events WHERE e.data.n == 7 PROJECT INTO COUNT() == 0"):
            assert not isinstance(
                await written(store, a_candidate("/b"), is_true(query)), Exception
            )
        answers: list[Outcome] = []
        engine.lose_next(rival)
        for query in (NOBODY, "FROM e IN events WHERE e.data.n == 7 PROJECT INTO COUNT() == 0"):
            assert write(store, [a_candidate("/b")], [is_true(query)], answers.append) is None
        while len(answers) < 2:
            await written(store, a_candidate("/c"))

        assert all(isinstance(answer, StateConflictError) for answer in answers)

    run(work, engine)


def outcome_after(stale_count: int, monkeypatch: pytest.MonkeyPatch, *, is_quick: bool) -> Outcome:
    """Return what a write is answered with whose queries go stale so often."""
    stale: Iterator[StaleQueryError | None] = iter(
        [*[StaleQueryError(is_quick=is_quick)] * stale_count, None]
    )
    answers: list[Outcome] = []

    async def attempt(conditional: Any, **_: object) -> StaleQueryError | None:
        found = next(stale)
        if found is None:
            conditional._answer(())
        return found

    async def work(store: Store) -> None:
        task = write(store, [a_candidate()], [is_true(NOBODY)], answers.append)
        assert task is not None
        await task

    monkeypatch.setattr(write_module._ConditionalWrite, "_attempt", attempt)
    run(work)
    [answer] = answers
    return answer


@pytest.mark.parametrize("stale_count", [0, 1, ATTEMPTS_MAX - 1])
def test_the_first_attempt_that_decides_is_answered(
    stale_count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for is_quick in (True, False):
        assert outcome_after(stale_count, monkeypatch, is_quick=is_quick) == ()


def test_attempts_come_to_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    for is_quick in (True, False):
        answer = outcome_after(ATTEMPTS_MAX, monkeypatch, is_quick=is_quick)

        assert isinstance(answer, RefusedError)
        assert "in 10 attempts" in str(answer)
        assert answer.code is Code.QUERY_UNEVALUABLE


# Waiting.


def test_too_many_queries_are_an_outcome() -> None:
    async def work(store: Store) -> None:
        permits = [store.queries.permits.acquire() for _ in range(64)]

        outcome = await written(store, a_candidate("/a"), is_true(NOBODY))

        assert isinstance(outcome, TooManyQueriesError)
        for permit in permits:
            permit.release()
        assert not isinstance(await written(store, a_candidate("/a"), is_true(NOBODY)), Exception)

    run(work)


def test_whoever_goes_away_while_a_query_runs_has_written_nothing() -> None:
    async def work(store: Store) -> None:
        answers: list[Outcome] = []
        task = write(store, [a_candidate("/a")], [is_true(NOBODY)], answers.append)
        assert task is not None
        await asyncio.sleep(0)

        task.cancel()
        await asyncio.wait({task})

        assert answers == []
        assert store.queries.permits.held_count == 0
        assert not isinstance(await written(store, a_candidate("/b"), is_true(NOBODY)), Exception)

    run(work)


def test_whoever_goes_away_after_that_is_answered_for_what_was_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def work(store: Store) -> None:
        answers: list[Outcome] = []
        task = write(store, [a_candidate("/a")], [is_true(NOBODY)], answers.append)
        assert task is not None
        await called_once(type(store.writer), "write", monkeypatch)

        task.cancel()
        await asyncio.wait({task})
        await written(store, a_candidate("/b"))

        [outcome] = answers
        assert not isinstance(outcome, Exception)

    run(work)


@pytest.mark.parametrize("name", ["evaluate_at_once", "evaluate"])
def test_a_bug_is_an_outcome(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    async def work(store: Store) -> None:
        monkeypatch.setattr(write_module, name, fail)
        outcome = await written(store, a_candidate("/a"), is_true(NOBODY))
        assert isinstance(outcome, ZeroDivisionError)

    run(work)


# Either way.

QUERIES = (
    NOBODY,
    "FROM e IN events PROJECT INTO COUNT() < 20",
    f"FROM e IN events WHERE e.type == '{ONE}' PROJECT INTO COUNT() < 4",
    f"FROM e IN events WHERE e.type == '{TWO}' AND e.subject == '/b' PROJECT INTO COUNT() != 1",
    "FROM e IN events WHERE e.data.n > 2 AND ['/a'] CONTAINS e.subject PROJECT INTO COUNT() < 3",
    "FROM e IN events WHERE e.subject == '/a' PROJECT INTO SUM(e.data.n) < 5",
    "FROM e IN events WHERE e.subject == '/b' PROJECT INTO 6 / MAX(e.data.n) > 1",
    "FROM e IN events WHERE e.subject == '/c' PROJECT INTO MAX(e.data.n)",
    f"{LATEST} == 1",
    f"{LATEST} != 1",
    f"{OF_ONE} ORDER BY e.data.n PROJECT INTO e.data.n < 3",
    f"{OF_ONE} ORDER BY e.subject DESC TOP 1 PROJECT INTO e.data.n < 3",
    "FROM e IN events WHERE STARTSWITH(e.subject, '/a') PROJECT INTO COUNT() < 3",
    "FROM e IN events WHERE e.subject == '/c' GROUP BY e.type PROJECT INTO COUNT() < 3",
    "FROM s IN subjects WHERE s == '/c' PROJECT INTO COUNT() == 0",
    f"FROM t IN eventtypes WHERE t == '{TWO}' PROJECT INTO COUNT() == 0",
)


async def outcomes_of(seed: int, *, is_at_once: bool) -> list[object]:
    """Return what random writes are answered with, one after the other."""
    chance = random.Random(seed)
    said: list[object] = []
    async with a_store() as store:
        for _ in range(60):
            candidate = a_candidate(
                chance.choice(("/a", "/b", "/c")),
                chance.choice((ONE, TWO)),
                data=f'{{"n":{chance.randrange(4)}}}',
            )
            queries = chance.sample(QUERIES, chance.choice((0, 1, 1, 1, 2)))
            if is_at_once:
                # As if each had been asked before.
                for query in queries:
                    await warm(store, query)
            said.append(what_was_said(await written(store, candidate, *map(is_true, queries))))
    return said


async def warm(store: Store, query: str) -> None:
    """Have a query evaluated in a write that another condition refuses in any case."""
    never = is_true("FROM e IN events WHERE e.id == 'none' PROJECT INTO COUNT() > 0")
    assert isinstance(await written(store, a_candidate(), is_true(query), never), RefusedError)


@pytest.mark.parametrize("seed", range(8))
def test_at_once_and_after_waiting_the_outcome_is_the_same(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged_at_once = []
    evaluate_at_once = write_module.evaluate_at_once

    def watched(*arguments: Any) -> Any:
        found = evaluate_at_once(*arguments)
        judged_at_once.append(found is not None)
        return found

    monkeypatch.setattr(write_module, "evaluate_at_once", watched)
    at_once = asyncio.run(outcomes_of(seed, is_at_once=True))
    assert judged_at_once.count(True) > len(judged_at_once) / 4

    monkeypatch.setattr(write_module, "evaluate_at_once", lambda *_: None)
    monkeypatch.setattr("everlog.service.querying.queries.find_at_hand", lambda *_: None)
    after_waiting = asyncio.run(outcomes_of(seed, is_at_once=False))

    assert at_once == after_waiting


# Whose value the events that are only staged can be added to.
AGGREGATES = QUERIES[:8]


async def outcomes_of_a_batch(seed: int, *, is_at_once: bool) -> list[object]:
    """Return what random writes are answered with, all of them before any is durable or none."""
    chance = random.Random(seed)
    answers: dict[int, Outcome] = {}
    async with a_store() as store:
        for query in AGGREGATES:
            await warm(store, query)
        for number in range(100):
            subject, type_ = chance.choice(("/a", "/b", "/c")), chance.choice((ONE, TWO))
            candidate = a_candidate(subject, type_, data=f'{{"n":{chance.randrange(4)}}}')
            conditions = map(is_true, chance.sample(AGGREGATES, chance.choice((0, 1, 1, 2))))
            if is_at_once:
                answer = partial(answers.__setitem__, number)
                assert write(store, [candidate], [*conditions], answer) is None
            else:
                answers[number] = await written(store, candidate, *conditions)
        assert (store.engine.head.event_count == 0) is is_at_once
        await written(store, a_candidate())
    return [what_was_said(answers[number]) for number in range(100)]


@pytest.mark.parametrize("seed", range(8))
def test_what_is_judged_in_one_batch_is_judged_as_one_after_the_other(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_one_batch = asyncio.run(outcomes_of_a_batch(seed, is_at_once=True))

    monkeypatch.setattr(write_module, "evaluate_at_once", lambda *_: None)
    monkeypatch.setattr("everlog.service.querying.queries.find_at_hand", lambda *_: None)
    one_by_one = asyncio.run(outcomes_of_a_batch(seed, is_at_once=False))

    assert in_one_batch == one_by_one
    assert len({type(said) for said in in_one_batch}) > 1
