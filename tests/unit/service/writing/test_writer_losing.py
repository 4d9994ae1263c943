"""The writer whose batch is lost: all that waits is judged again, where it stands in the end."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import aclosing
from itertools import chain
from typing import Final

import pytest

from everlog.domain.chain import HashVersion
from everlog.domain.errors import (
    Code,
    DiskFullError,
    RefusedError,
    StateConflictError,
    StoreFailedError,
)
from everlog.domain.precondition import (
    IsEventQlQueryTrue,
    IsSubjectOnEventId,
    IsSubjectPopulated,
    IsSubjectPristine,
    Precondition,
)
from everlog.domain.selection import Order, Selection
from everlog.domain.time import parse_time
from everlog.service.judging import UnjudgedError
from everlog.service.observe_events import observe_events
from everlog.service.querying.conditions import StaleQueryError, StandingQuery
from everlog.service.reader import AS_STORED
from everlog.service.store import Store, StoreOptions, run_store
from everlog.service.write import write
from everlog.service.writing.changes import Outcome
from everlog.service.writing.states import Condition
from everlog.storage.engine import Batch, JournalEntry, UnchainedEntryError
from tests.support.engines import events_of, split_lines
from tests.support.events import FIRST_TIME, a_candidate, a_schema
from tests.support.memory_engine import MemoryEngine, Rival
from tests.support.writer_bench import (
    CLOSED_TEXT,
    OPEN_TEXT,
    OPEN_TYPE,
    Bench,
    HeldEngine,
    a_rival,
    check_log,
    rivals,
    run_bench,
)

NEW_TYPE = "io.everlog.test.new"


async def lose(bench: Bench, rival: Rival, *names: str) -> None:
    """Let a commit that is held be lost, and wait for answers."""
    bench.engine.lose_next(rival)
    bench.let_go()
    await bench.wait_for(*names)


# Order, places, answers.


@pytest.mark.parametrize("batches", [(["/r"],), (["/r"], ["/r", "/s"], ["/t"])])
def test_what_waited_stands_in_its_order_behind_the_others(batches: Sequence[list[str]]) -> None:
    async def work(bench: Bench) -> None:
        bench.write("first", "/a", "/b")
        bench.write("second", "/c")
        await bench.wait_until_committing()
        bench.write("third", "/d")
        bench.write("fourth", "/e", "/f")
        await lose(bench, a_rival(*batches), "first", "second", "third", "fourth")

        theirs = [subject for batch in batches for subject in batch]
        assert bench.subjects == [*theirs, "/a", "/b", "/c", "/d", "/e", "/f"]
        ids = [bench.ids(name) for name in ("first", "second", "third", "fourth")]
        assert [*chain(*ids)] == [*range(len(theirs), len(theirs) + 6)]
        # All of them share a batch, behind those of the others.
        assert [len(batch.events) for batch in bench.published] == [*map(len, batches), 6]
        assert bench.engine.tip == bench.engine.head

    run_bench(work)


def test_times_follow_those_of_the_others() -> None:
    async def work(bench: Bench) -> None:
        assert bench.now < FIRST_TIME
        bench.write("lost", "/a")
        await bench.wait_until_committing()
        await lose(bench, a_rival(["/r"]), "lost")
        theirs, ours = (parse_time(event.time) for event in check_log(bench.engine))
        assert theirs == ours == FIRST_TIME

    run_bench(work)


def test_losing_again_and_again_comes_to_an_end() -> None:
    async def work(bench: Bench) -> None:
        bench.write("first", "/a", pristine="/a")
        await bench.wait_until_committing()
        bench.write("second", "/b", pristine="/a")
        bench.engine.lose_next(a_rival(["/r"]), a_rival(["/s"], ["/t"]))
        await lose(bench, a_rival(["/u"]), "first", "second")
        assert bench.subjects == ["/r", "/s", "/t", "/u", "/a"]
        assert bench.ids("first") == [4]
        assert bench.code("second") is Code.PRECONDITION_VIOLATED
        # Two of ours were lost after the first one, and one was stored.
        assert [batch.first_position for batch in bench.engine.batches] == [0, 1, 3, 4]
        assert bench.writer.figures.begun_at is None

    run_bench(work)


def test_those_who_came_while_the_others_were_applied_stand_behind_the_rest() -> None:
    async def work(bench: Bench) -> None:
        bench.engine.may_apply.clear()
        bench.engine.lose_next(a_rival(["/r"], ["/s"]))
        bench.let_go()
        bench.write("first", "/a")
        await bench.wait_until_applying()
        # On the tip of now, each of these would be judged wrongly.
        bench.write("refused", "/b", pristine="/s")
        bench.write("held", "/c", pristine="/c")
        bench.write("contradicting", "/d", pristine="/a")
        bench.register("schema", NEW_TYPE)
        bench.write("under it", "/e", type_=NEW_TYPE)
        assert bench.outcomes == {}
        assert bench.engine.tip == bench.engine.head

        bench.engine.may_apply.set()
        await bench.wait_for("first", "refused", "held", "contradicting", "schema", "under it")
        assert list(bench.outcomes) == [
            "first",
            "refused",
            "held",
            "contradicting",
            "schema",
            "under it",
        ]
        assert bench.subjects == ["/r", "/s", "/a", "/c"]
        assert bench.code("refused") is Code.PRECONDITION_VIOLATED
        assert bench.code("contradicting") is Code.PRECONDITION_VIOLATED
        assert bench.outcomes["schema"] == ()
        assert bench.code("under it") is Code.EVENT_SCHEMA_VIOLATED

    run_bench(work)


def test_a_bug_in_one_of_them_is_its_own() -> None:
    async def work(bench: Bench) -> None:
        def fail() -> bool:
            raise ValueError("a bug")

        healthy = True
        standing = a_standing_query(lambda _: True, lambda: healthy or fail())
        bench.write_if([standing], "first", "/a")
        bench.write("second", "/b")
        await bench.wait_until_committing()
        healthy = False
        await lose(bench, a_rival(["/r"]), "first", "second")
        assert isinstance(bench.outcomes["first"], ValueError)
        assert bench.subjects == ["/r", "/b"]

    run_bench(work)


# Preconditions.


def test_what_a_rival_violated_is_refused_now() -> None:
    async def work(bench: Bench) -> None:
        bench.write("first", "/x")
        bench.write_if([IsSubjectPristine(subject="/a", recursive=False)], "pristine", "/a")
        bench.write_if(
            [
                IsSubjectPopulated(subject="/x", recursive=False),
                IsSubjectOnEventId(subject="/", event_id=1, recursive=True),
            ],
            "on id",
            "/b",
        )
        await bench.wait_until_committing()
        await lose(bench, a_rival(["/a"]), "first", "pristine", "on id")
        assert bench.code("pristine") is Code.PRECONDITION_VIOLATED
        assert bench.details("pristine") == {"precondition": 0, "preconditionIndex": 0}
        # Its id is that of another event now, which is the last one all the same.
        assert bench.ids("on id") == [2]
        assert bench.subjects == ["/a", "/x", "/b"]

    run_bench(work)


def test_the_first_precondition_that_does_not_hold_any_more_is_named() -> None:
    async def work(bench: Bench) -> None:
        bench.write("first", "/x")
        bench.write_if(
            [
                IsSubjectPopulated(subject="/x", recursive=False),
                IsSubjectOnEventId(subject="/x", event_id=0, recursive=False),
            ],
            "second",
            "/b",
        )
        await bench.wait_until_committing()
        await lose(bench, a_rival(["/r"]), "first", "second")
        assert bench.details("second")["preconditionIndex"] == 1

    run_bench(work)


def test_what_a_lost_write_violated_holds_now() -> None:
    async def work(bench: Bench) -> None:
        bench.write("first", "/a", pristine="/r")
        bench.write("second", "/b", pristine="/a")
        await bench.wait_until_committing()
        bench.write("third", "/a", pristine="/a")
        bench.write("fourth", "/c", pristine="/a")
        await lose(bench, a_rival(["/r"]), "first", "second", "third", "fourth")
        # The second one had been refused because of the first one.
        assert bench.code("first") is Code.PRECONDITION_VIOLATED
        assert bench.ids("second") == [1]
        assert bench.ids("third") == [2]
        assert bench.code("fourth") is Code.PRECONDITION_VIOLATED
        assert bench.subjects == ["/r", "/b", "/a"]

    run_bench(work)


def test_when_nothing_is_left_to_be_stored_everybody_is_answered() -> None:
    async def work(bench: Bench) -> None:
        bench.write("first", "/a", pristine="/r")
        bench.write("second", "/b", pristine="/a")
        await bench.wait_until_committing()
        await lose(bench, a_rival(["/r", "/a"]), "first", "second")
        assert bench.code("first") is bench.code("second") is Code.PRECONDITION_VIOLATED
        assert bench.subjects == ["/r", "/a"]
        bench.write("later", "/b")
        await bench.wait_for("later")
        assert bench.ids("later") == [2]

    run_bench(work)


# Event schemas.


def test_a_schema_that_was_lost_is_registered_again_in_its_turn() -> None:
    async def work(bench: Bench) -> None:
        bench.write("before", "/a", type_=NEW_TYPE)
        await bench.wait_until_committing()
        bench.hold()
        bench.let_go()
        await bench.wait_for("before")
        bench.hold()
        bench.register("schema", OPEN_TYPE)
        bench.write("under it", "/b")
        await bench.wait_until_committing()
        await lose(bench, rivals([[a_candidate("/r", NEW_TYPE)]]), "schema", "under it")
        assert bench.outcomes["schema"] == ()
        assert bench.code("under it") is Code.EVENT_SCHEMA_VIOLATED
        found = bench.engine.event_type(OPEN_TYPE, bench.engine.head)
        assert found is not None
        assert found.schema == CLOSED_TEXT
        assert bench.subjects == ["/a", "/r"]

    run_bench(work)


def test_a_schema_that_a_rival_registered_is_in_force_and_refuses_ours() -> None:
    async def work(bench: Bench) -> None:
        bench.register("schema", NEW_TYPE, CLOSED_TEXT)
        bench.write("new", "/a", type_=NEW_TYPE)
        bench.write("other", "/b", type_=OPEN_TYPE)
        await bench.wait_until_committing()
        rival = rivals([[a_schema(NEW_TYPE, OPEN_TEXT)], [a_schema(OPEN_TYPE, CLOSED_TEXT)]])
        await lose(bench, rival, "schema", "new", "other")
        assert bench.code("schema") is Code.EVENT_SCHEMA_ALREADY_REGISTERED
        assert bench.details("schema") == {"eventType": NEW_TYPE}
        # Its schema, not ours.
        assert bench.ids("new") == [0]
        assert bench.code("other") is Code.EVENT_SCHEMA_VIOLATED
        assert bench.details("other") == {"eventIndex": 0, "eventType": OPEN_TYPE}
        assert bench.subjects == ["/a"]

        bench.write("later", "/b", type_=OPEN_TYPE)
        await bench.wait_for("later")
        assert bench.code("later") is Code.EVENT_SCHEMA_VIOLATED

    run_bench(work)


def test_a_schema_that_an_event_of_a_rival_does_not_match_is_refused() -> None:
    async def work(bench: Bench) -> None:
        bench.register("schema", NEW_TYPE)
        await bench.wait_until_committing()
        bench.write("new", "/a", type_=NEW_TYPE)
        rival = rivals(
            [[a_candidate("/r")], [a_candidate("/s", NEW_TYPE), a_schema("io.everlog.test.their")]]
        )
        await lose(bench, rival, "schema", "new")
        assert bench.code("schema") is Code.EVENT_SCHEMA_VIOLATED
        assert bench.details("schema") == {"eventId": "1", "eventType": NEW_TYPE}
        assert bench.ids("new") == [2]
        assert NEW_TYPE not in bench.writer.schemas

    run_bench(work)


def test_a_schema_of_a_rival_that_is_none_holds_up_its_own_type_only() -> None:
    async def work(bench: Bench) -> None:
        bench.write("first", "/a")
        await bench.wait_until_committing()
        bench.write("of its type", "/b", type_=NEW_TYPE)
        rival = rivals([[a_schema(NEW_TYPE, '{"type":1}')], [a_candidate()]])
        await lose(bench, rival, "first", "of its type")
        assert bench.ids("first") == [1]
        # It is judged elsewhere, where it is found to be none.
        assert isinstance(bench.outcomes["of its type"], UnjudgedError)

    run_bench(work)


# The read-only mode, and stopping.


def test_what_had_begun_before_the_read_only_mode_is_finished_though_it_is_lost() -> None:
    async def work(bench: Bench) -> None:
        bench.engine.may_apply.clear()
        bench.write("begun", "/a")
        await bench.wait_until_committing()
        bench.writer.become_read_only(bench.keep("read-only"))
        bench.write("late", "/b")
        bench.engine.lose_next(a_rival(["/r"]))
        bench.let_go()
        await bench.wait_until_applying()
        bench.write("later", "/c")
        bench.register("schema", NEW_TYPE)
        assert bench.outcomes == {}

        bench.engine.may_apply.set()
        await bench.wait_for("begun", "read-only", "late", "later", "schema")
        assert list(bench.outcomes) == ["begun", "read-only", "late", "later", "schema"]
        assert bench.ids("begun") == [1]
        assert bench.outcomes["read-only"] == ()
        for name in ("late", "later", "schema"):
            assert bench.code(name) is Code.STORE_READ_ONLY
        assert bench.subjects == ["/r", "/a"]

    run_bench(work)


def test_the_read_only_mode_may_be_asked_for_while_the_others_are_applied() -> None:
    async def work(bench: Bench) -> None:
        bench.engine.may_apply.clear()
        bench.engine.lose_next(a_rival(["/r"]))
        bench.let_go()
        bench.write("begun", "/a")
        await bench.wait_until_applying()
        bench.write("gathered", "/b")
        bench.writer.become_read_only(bench.keep("read-only"))
        bench.write("late", "/c")
        bench.engine.may_apply.set()
        await bench.wait_for("begun", "gathered", "read-only", "late")
        assert bench.code("late") is Code.STORE_READ_ONLY
        assert bench.subjects == ["/r", "/a", "/b"]

    run_bench(work)


@pytest.mark.parametrize("is_applying", [False, True])
def test_stopping_finishes_what_had_begun_though_it_is_lost(*, is_applying: bool) -> None:
    async def work(bench: Bench) -> None:
        bench.engine.may_apply.clear()
        bench.write("begun", "/a")
        await bench.wait_until_committing()
        bench.write("gathered", "/b")
        bench.engine.lose_next(a_rival(["/r"]), a_rival(["/s"]))
        if is_applying:
            bench.let_go()
            await bench.wait_until_applying()
        bench.stop()
        await asyncio.sleep(0)
        bench.write("late", "/c")
        bench.let_go()
        bench.engine.may_apply.set()
        assert bench.stopping is not None
        await bench.stopping
        assert bench.code("late") is Code.SERVER_SHUTTING_DOWN
        assert bench.subjects == ["/r", "/s", "/a", "/b"]
        assert list(bench.outcomes) == ["begun", "gathered", "late"]

    run_bench(work)


# Applying that fails.

APPLYING_FAILURES = (
    (DiskFullError("no room"), DiskFullError, Condition.DISK_FULL),
    (StoreFailedError("sync"), StoreFailedError, Condition.FAILED),
    (UnchainedEntryError("another log", position=None), StoreFailedError, Condition.FAILED),
    (MemoryError(), StoreFailedError, Condition.FAILED),
)


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("failure, expected, condition", APPLYING_FAILURES)
def test_what_cannot_be_applied_fails_all_that_waits(
    failure: Exception, expected: type[Exception], condition: Condition, number: int
) -> None:
    async def work(bench: Bench) -> None:
        bench.engine.applying_failure = number, failure
        bench.engine.may_apply.clear()
        bench.write("first", "/a")
        bench.register("schema", NEW_TYPE)
        await bench.wait_until_committing()
        bench.write("refused", "/b", pristine="/a")
        bench.engine.lose_next(a_rival(["/r"], ["/s"]))
        bench.let_go()
        await bench.wait_until_applying()
        bench.write("late", "/c")
        bench.engine.may_apply.set()
        names = ("first", "schema", "refused", "late")
        await bench.wait_for(*names)
        assert all(type(bench.outcomes[name]) is expected for name in names)
        assert bench.writer.condition is condition
        assert [text for text in bench.said if "published" not in text] == [condition]
        # What had been applied stays, and was shown.
        assert bench.subjects == ["/r"][:number]
        assert bench.engine.tip == bench.engine.head
        assert NEW_TYPE not in bench.writer.schemas

        bench.engine.applying_failure = None
        bench.write("next", "/d")
        await bench.wait_for("next")
        if condition is Condition.FAILED:
            assert bench.code("next") is Code.STORE_FAILED
        else:
            assert bench.ids("next") == [number]
            assert bench.writer.condition is Condition.WRITABLE

    run_bench(work)


def test_a_disk_that_is_full_when_they_are_judged_again_refuses_those_that_find_none() -> None:
    async def work(bench: Bench) -> None:
        bench.write("first", "/a")
        await bench.wait_until_committing()
        bench.engine.staging_failure = DiskFullError("no room")
        bench.write("gathered", "/b")
        bench.engine.staging_failure = None
        assert bench.said == ["disk-full"]
        await lose(bench, a_rival(["/r"]), "first", "gathered")
        # There is room behind the others' batch.
        assert bench.subjects == ["/r", "/a", "/b"]
        assert bench.said == ["disk-full", "published 1", "writable", "published 2"]

    run_bench(work)


def test_a_disk_that_breaks_when_they_are_judged_again_fails_all_of_them() -> None:
    async def work(bench: Bench) -> None:
        bench.engine.may_apply.clear()
        bench.write("first", "/a")
        bench.write("second", "/b", pristine="/r")
        await bench.wait_until_committing()
        bench.engine.lose_next(a_rival(["/r"]))
        bench.let_go()
        await bench.wait_until_applying()
        bench.writer.become_read_only(bench.keep("read-only"))
        bench.engine.staging_failure = StoreFailedError("the index")
        bench.engine.may_apply.set()
        await bench.wait_for("first", "second", "read-only")
        assert isinstance(bench.outcomes["first"], StoreFailedError)
        # Nothing of it is stored, and nobody claims to know more about the log.
        assert bench.code("second") is Code.STORE_FAILED
        assert bench.outcomes["read-only"] == ()
        assert bench.subjects == ["/r"]
        assert bench.said == ["read-only", "published 1", "failed"]

    run_bench(work)


# Observers.


class HaltingEngine(HeldEngine):
    """An engine that has taken over one entry, and waits before the next one."""

    def __init__(self) -> None:
        super().__init__()
        self.may_commit.set()
        self.has_halted: Final = threading.Event()

    def apply(self, entry: JournalEntry, *, is_verified: bool) -> Batch:
        batch = super().apply(entry, is_verified=is_verified)
        self.may_apply.clear()
        self.has_halted.set()
        return batch


EVERYTHING = Selection(
    subject="/",
    recursive=True,
    order=Order.CHRONOLOGICAL,
    lower=0,
    upper=None,
    from_latest_event=None,
)


async def observe(store: Store, count: int) -> list[str]:
    """Return the subjects of so many events, as somebody sees them who observes everything."""
    lines: list[bytes] = []
    permit = store.observers.permits.acquire()
    events = observe_events(store, EVERYTHING, permit=permit, transform=AS_STORED)
    async with asyncio.timeout(20), aclosing(events) as blocks:
        async for block in blocks:
            lines += split_lines(block)
            if len(lines) >= count:
                break
    return [event.subject for event in events_of(b"".join(lines))]


def test_observers_see_what_the_others_wrote_once_and_in_order() -> None:
    async def work() -> None:
        engine = HaltingEngine()
        options = StoreOptions(hash_version=HashVersion.V2)
        async with run_store(engine, options, has_sync_process=False) as store:
            store.writer.write([a_candidate("/a")], [], lambda _: None)
            early = asyncio.ensure_future(observe(store, 4))
            await observe(store, 1)
            engine.lose_next(a_rival(["/r"], ["/s"]))
            store.writer.write([a_candidate("/b")], [], lambda _: None)
            await asyncio.to_thread(engine.has_halted.wait, 20)
            # One of two entries is in the log, and nobody was told of it.
            assert await observe(store, 2) == ["/a", "/r"]
            late = asyncio.ensure_future(observe(store, 4))
            await asyncio.sleep(0)
            engine.may_apply.set()
            assert await asyncio.gather(early, late) == [["/a", "/r", "/s", "/b"]] * 2

    asyncio.run(work())


# Queries.


def a_standing_query(
    take: Callable[[bytes], bool], answer: Callable[[], bool] = lambda: True
) -> StandingQuery:
    """Return one that was evaluated on the empty log."""
    return StandingQuery(
        head=MemoryEngine().head,
        take=take,
        answer=answer,
        sees_event_types=False,
        is_quick=True,
        weight=1,
    )


def test_a_query_that_took_in_what_is_lost_is_stale() -> None:
    async def work(bench: Bench) -> None:
        bench.write("first", "/a")
        bench.write_if([a_standing_query(lambda _: True)], "query", "/b")
        await bench.wait_until_committing()
        await lose(bench, a_rival(["/r"]), "first", "query")
        assert isinstance(bench.outcomes["query"], StaleQueryError)
        assert bench.subjects == ["/r", "/a"]

    run_bench(work)


def test_a_query_that_took_in_nothing_yet_takes_in_what_stands_there() -> None:
    async def work(bench: Bench) -> None:
        taken: list[bytes] = []

        def take(lines: bytes) -> bool:
            taken.append(lines)
            return True

        bench.write_if([a_standing_query(take)], "query", "/a")
        await bench.wait_until_committing()
        assert taken == []
        bench.write("second", "/b")
        await lose(bench, a_rival(["/r"], ["/s"]), "query", "second")
        [lines] = taken
        assert [part in lines for part in (b'"/r"', b'"/s"', b'"/a"')] == [True, True, False]
        assert bench.subjects == ["/r", "/s", "/a", "/b"]

    run_bench(work)


def test_a_query_that_failed_among_lost_events_is_not_asked_about_them_again() -> None:
    async def work(bench: Bench) -> None:
        count = 0

        def take(lines: bytes) -> bool:
            # As a tally does, which meets its fault behind events that it has counted.
            nonlocal count
            count += lines.count(b"\n")
            if b'"/a"' in lines:
                raise RefusedError(Code.QUERY_UNEVALUABLE, "not a number")
            return True

        bench.write("first", "/x", "/a", pristine="/r")
        bench.write_if([a_standing_query(take, lambda: count == 1)], "query", "/b")
        await bench.wait_until_committing()
        await lose(bench, a_rival(["/r"]), "first", "query")
        # It would hold, had it not counted what was lost.
        assert isinstance(bench.outcomes["query"], StaleQueryError)
        assert bench.subjects == ["/r"]

    run_bench(work)


COUNT_IS = "FROM e IN events PROJECT INTO COUNT() == {count}"
LATEST_IS = "FROM e IN events ORDER BY e.time DESC TOP 1 PROJECT INTO e.subject == '{subject}'"


def outcomes_of_store(rival: Rival, *writes: tuple[str, list[Precondition]]) -> list[Outcome]:
    """Write at the same time on a store whose first commit is lost, and return the outcomes."""

    async def ask(store: Store, subject: str, preconditions: list[Precondition]) -> Outcome:
        answered: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        # A second answer is an error.
        write(store, [a_candidate(subject)], preconditions, answered.set_result)
        return await answered

    async def work() -> list[Outcome]:
        engine = MemoryEngine()
        engine.lose_next(rival)
        options = StoreOptions(hash_version=HashVersion.V2)
        async with run_store(engine, options, has_sync_process=False) as store, asyncio.timeout(20):
            found = await asyncio.gather(*(ask(store, *write) for write in writes))
        check_log(engine)
        return found

    return asyncio.run(work())


def test_a_query_that_a_rival_made_false_refuses_its_write() -> None:
    query = IsEventQlQueryTrue(query=COUNT_IS.format(count=0))

    [outcome] = outcomes_of_store(a_rival(["/r"]), ("/a", [query]))

    assert isinstance(outcome, StateConflictError)
    assert outcome.code is Code.PRECONDITION_VIOLATED
    assert outcome.details["preconditionIndex"] == 0


@pytest.mark.parametrize("query", [COUNT_IS.format(count=2), LATEST_IS.format(subject="/a")])
def test_a_query_that_had_looked_at_lost_events_is_evaluated_anew(query: str) -> None:
    first: tuple[str, list[Precondition]] = ("/a", [])
    second: tuple[str, list[Precondition]] = ("/b", [IsEventQlQueryTrue(query=query)])

    outcomes = outcomes_of_store(a_rival(["/r"]), first, second)

    # Behind the rival's event and the first write.
    assert [isinstance(outcome, Exception) for outcome in outcomes] == [False, False]
