"""The writer: one place for each write, answers only when durable, and failures that fail all."""

import asyncio
import json

import pytest

from everlog.domain.errors import (
    Code,
    DiskBusyError,
    DiskFullError,
    StateConflictError,
    StoreFailedError,
)
from everlog.service.writing import writer as writer_module
from everlog.service.writing.changes import Outcome
from everlog.service.writing.states import Condition
from everlog.storage.engine import Batch
from tests.support.events import a_candidate
from tests.support.writer_bench import CLOSED_TYPE, Bench, run_bench


def test_no_answer_leaves_before_what_it_is_based_on_is_durable() -> None:
    async def work(bench: Bench) -> None:
        bench.write("first", "/a")
        await bench.wait_until_committing()
        bench.write("second", "/b")
        # It learns of an event that is not durable yet.
        bench.write("refused", "/c", pristine="/a")
        await asyncio.sleep(0)
        assert bench.outcomes == {}
        assert bench.engine.head.event_count == 0

        bench.let_go()
        await bench.wait_for("first", "second", "refused")
        assert bench.code("refused") is Code.PRECONDITION_VIOLATED
        assert bench.engine.head.event_count == 2

    run_bench(work)


def test_what_gathers_during_a_commit_shares_the_next_one() -> None:
    async def work(bench: Bench) -> None:
        bench.write("0", "/a")
        await bench.wait_until_committing()
        for number in range(1, 6):
            bench.write(str(number), "/a", "/b")
        bench.let_go()
        await bench.wait_for(*map(str, range(6)))
        assert [len(batch.events) for batch in bench.engine.batches] == [1, 10]

    run_bench(work)


def test_a_refused_write_takes_no_id_and_disturbs_nobody() -> None:
    async def work(bench: Bench) -> None:
        bench.let_go()
        bench.write("first", "/a")
        bench.write("conflict", "/b", pristine="/a")
        bench.write("violation", "/b", type_=CLOSED_TYPE)
        bench.write("second", "/b", pristine="/b")
        await bench.wait_for("first", "conflict", "violation", "second")
        assert bench.code("conflict") is Code.PRECONDITION_VIOLATED
        violation = bench.outcomes["violation"]
        assert isinstance(violation, StateConflictError)
        assert violation.code is Code.EVENT_SCHEMA_VIOLATED
        assert violation.details["eventIndex"] == 0
        assert bench.engine.head.event_count == 2

    run_bench(work)


def test_a_full_disk_fails_its_batch_and_what_is_chained_to_it_but_nothing_later() -> None:
    async def work(bench: Bench) -> None:
        bench.write("first", "/a")
        await bench.wait_until_committing()
        bench.write("chained", "/b")
        bench.let_go(DiskFullError("no room"))
        await bench.wait_for("first", "chained")
        assert all(isinstance(outcome, DiskFullError) for outcome in bench.outcomes.values())

        bench.engine.failure = None
        bench.write("later", "/a", pristine="/a")
        await bench.wait_for("later")
        assert bench.engine.head.event_count == 1
        assert bench.said == ["disk-full", "writable", "published 1"]

    run_bench(work)


@pytest.mark.parametrize("failure", [StoreFailedError("sync"), OSError("any"), ValueError("a bug")])
def test_any_other_failure_ends_writing(failure: Exception) -> None:
    async def work(bench: Bench) -> None:
        bench.write("first", "/a")
        await bench.wait_until_committing()
        bench.let_go(failure)
        await bench.wait_for("first")
        bench.write("later", "/a")
        await bench.wait_for("later")
        assert isinstance(bench.outcomes["first"], Exception)
        assert bench.code("later") is Code.STORE_FAILED
        assert bench.writer.condition is Condition.FAILED
        assert bench.said == ["failed"]
        assert bench.engine.tip == bench.engine.head

    run_bench(work)


def test_a_batch_for_which_there_is_no_memory_is_answered_too() -> None:
    async def work(bench: Bench) -> None:
        def seal() -> Batch | None:
            raise MemoryError

        bench.engine.seal = seal  # type: ignore[method-assign]  # As it is for want of memory.
        bench.write("first", "/a")
        bench.write("second", "/b")
        await bench.wait_for("first", "second")
        assert all(isinstance(outcome, StoreFailedError) for outcome in bench.outcomes.values())
        assert bench.said == ["failed"]
        assert bench.engine.tip == bench.engine.head

    run_bench(work)


def test_stopping_finishes_what_has_begun_and_refuses_the_rest() -> None:
    async def work() -> None:
        bench = Bench()
        bench.write("begun", "/a")
        await bench.wait_until_committing()
        bench.write("gathered", "/b")
        stopping = asyncio.ensure_future(bench.writer.stop())
        await asyncio.sleep(0)
        bench.write("late", "/c")
        bench.let_go()
        await stopping
        assert bench.code("late") is Code.SERVER_SHUTTING_DOWN
        assert bench.engine.head.event_count == 2

    asyncio.run(work())


def test_time_never_goes_back_and_is_never_a_whole_second() -> None:
    async def work(bench: Bench) -> None:
        bench.let_go()
        for number, now in enumerate((5_000_000_001, 7, 6_000_000_000)):
            bench.now = now
            bench.write(str(number), "/a")
        await bench.wait_for("0", "1", "2")
        events = [event for batch in bench.engine.batches for event in batch.events]
        assert [json.loads(event.json)["time"] for event in events] == [
            "1970-01-01T00:00:05.000000001Z",
            "1970-01-01T00:00:05.000000001Z",
            "1970-01-01T00:00:06.000000001Z",
        ]

    run_bench(work)


def test_an_answer_that_fails_harms_no_other() -> None:
    async def work(bench: Bench) -> None:
        def fail(_: Outcome) -> None:
            raise ValueError("a bug")

        bench.let_go()
        bench.writer.write([a_candidate("/a")], [], fail)
        bench.write("second", "/b")
        await bench.wait_for("second")
        assert [str(error) for error in bench.bugs] == ["a bug"]
        bench.bugs.clear()

    run_bench(work)


@pytest.mark.parametrize("failure", [None, DiskFullError("full")])
@pytest.mark.parametrize("commit_seconds", [0.0, 0.0004, 0.0005, 0.0006, 0.002])
def test_a_commit_is_answered_once_however_long_it_takes(
    commit_seconds: float, failure: Exception | None
) -> None:
    # Around half a millisecond the loop stops waiting for the commit at the moment when it ends.
    async def work(bench: Bench) -> None:
        bench.engine.commit_seconds = commit_seconds
        bench.let_go(failure)
        for number in range(50):
            bench.write(f"{number}", f"/{number}")
            await bench.wait_for(f"{number}")
        assert [outcome is failure for outcome in bench.outcomes.values()] == 50 * [
            failure is not None
        ]

    run_bench(work)


def test_a_slow_commit_does_not_hold_the_loop_up() -> None:
    async def work(bench: Bench) -> None:
        bench.write("slow", "/a")
        # The loop itself lets the commit go on, which it can do only if it does not wait for it.
        await bench.wait_until_committing()
        bench.let_go()
        await bench.wait_for("slow")

    run_bench(work)


def test_what_waits_for_the_disk_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "UNSYNCED_SIZE_MAX", 2_000)

    async def work(bench: Bench) -> None:
        bench.write("first", "/a")
        await bench.wait_until_committing()
        names = [f"more {number}" for number in range(50)]
        for name in names:
            bench.write(name, "/a")
        refused = [name for name in names if isinstance(bench.outcomes.get(name), DiskBusyError)]
        # At once, and before all that waits is answered.
        assert bench.outcomes.keys() == {*refused}
        assert 0 < len(refused) < len(names)

        bench.let_go()
        await bench.wait_for("first", *names)
        bench.write("later", "/b")
        await bench.wait_for("later")

        assert bench.ids("later") == [1 + len(names) - len(refused)]

    run_bench(work)


def test_nobody_waits_for_a_disk_that_hangs_but_those_who_do_already() -> None:
    async def work(bench: Bench) -> None:
        bench.write("first", "/a")
        await bench.wait_until_committing()
        bench.write("second", "/b")
        bench.writer.figures.is_hanging = True

        bench.write("third", "/c")
        bench.register("schema", CLOSED_TYPE + ".other")

        assert bench.outcomes.keys() == {"third", "schema"}
        for outcome in bench.outcomes.values():
            assert isinstance(outcome, DiskBusyError)
        bench.let_go()
        await bench.wait_for("first", "second")
        bench.write("fourth", "/d")
        await bench.wait_for("fourth")
        assert bench.subjects == ["/a", "/b", "/d"]

    run_bench(work)
