"""What takes long to judge: it is judged bit by bit, and is one write all the same."""

import asyncio
import json
import threading
from collections.abc import Callable
from math import inf
from typing import Final

import pytest

from everlog.domain.errors import Code, DiskFullError, RefusedError, StoreFailedError
from everlog.domain.precondition import IsSubjectPopulated, IsSubjectPristine
from everlog.service.judging import UnjudgedError
from everlog.service.querying.conditions import StaleQueryError, StandingQuery
from everlog.service.writing import precondition_checks as checks_module
from everlog.service.writing.states import Condition, Turn
from everlog.storage.engine import Head
from tests.support.events import a_candidate
from tests.support.memory_engine import MemoryEngine
from tests.support.writer_bench import CLOSED_TYPE, OPEN_TYPE, Bench, a_rival, run_bench

MANY: Final = 1_000
NEW_TYPE = "io.everlog.test.new"


def write_many(bench: Bench, name: str, subject: str = "/many", count: int = MANY) -> None:
    bench.write(name, *[subject] * count)


async def wait_for_turn(bench: Bench, turn: Turn) -> None:
    async with asyncio.timeout(20):
        while bench.writer._turn is not turn:  # noqa: ASYNC110 - a turn of the loop is an event
            await asyncio.sleep(0)


async def begin_to_judge(bench: Bench) -> None:
    """Write many events, and return when some of them are staged, and not all."""
    bench.engine.staged_sizes.clear()
    write_many(bench, "many")
    async with asyncio.timeout(20):
        while not bench.engine.staged_sizes:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0)
    assert bench.writer._turn is Turn.JUDGING
    assert 0 < bench.engine.tip.event_count - bench.engine.head.event_count < MANY


@pytest.fixture(autouse=True)
def short_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let others have a turn after each bit, so that there is always something in between."""
    monkeypatch.setattr("everlog.service.breaks._SECONDS", -1.0)


def test_a_large_write_is_stored_whole_and_in_its_place() -> None:
    async def work(bench: Bench) -> None:
        bench.let_go()
        bench.write("before", "/a")
        await bench.wait_for("before")
        write_many(bench, "many")
        bench.write("behind", "/b")
        await bench.wait_for("many", "behind")

        assert bench.ids("before") == [0]
        assert bench.ids("many") == [*range(1, MANY + 1)]
        assert bench.ids("behind") == [MANY + 1]
        assert len({json.loads(event.json)["time"] for event in bench.published[1].events}) == 1
        assert bench.subjects == ["/a", *["/many"] * MANY, "/b"]

    run_bench(work)


@pytest.mark.parametrize("size", [600_000, 60])
def test_a_write_is_large_by_its_events_or_by_their_data(size: int) -> None:
    async def work(bench: Bench) -> None:
        bench.let_go()
        candidates = [a_candidate(data=f'{{"text":"{"x" * size}"}}')] * 2
        bench.writer.write(candidates, [], bench.keep("write"))
        assert bench.writer._turn is (Turn.JUDGING if size == 600_000 else Turn.SCHEDULED)
        await bench.wait_for("write")
        assert bench.ids("write") == [0, 1]

    run_bench(work)


def test_the_loop_goes_on_meanwhile() -> None:
    async def work(bench: Bench) -> None:
        bench.let_go()
        turns = 0
        write_many(bench, "many")
        while "many" not in bench.outcomes:
            await asyncio.sleep(0)
            turns += 1
        assert turns > MANY / 100
        assert max(bench.engine.staged_sizes) < 100

    run_bench(work)


def test_who_comes_meanwhile_is_judged_behind_all_of_it() -> None:
    async def work(bench: Bench) -> None:
        bench.let_go()
        await begin_to_judge(bench)
        bench.write("refused", "/b", pristine="/many")
        bench.write("on the last", "/c")
        bench.register("schema", OPEN_TYPE)
        bench.register("its schema", NEW_TYPE)
        bench.writer.become_read_only(bench.keep("read-only"))
        bench.write("late", "/d")
        assert bench.outcomes == {}
        assert bench.engine.head.event_count == 0

        names = ("many", "refused", "on the last", "schema", "its schema", "read-only", "late")
        await bench.wait_for(*names)
        assert tuple(bench.outcomes) == names
        assert bench.code("refused") is Code.PRECONDITION_VIOLATED
        assert bench.ids("on the last") == [MANY]
        # So many events are not judged in the writer's turn.
        assert isinstance(bench.outcomes["schema"], UnjudgedError)
        assert isinstance(bench.outcomes["its schema"], UnjudgedError)
        assert bench.code("late") is Code.STORE_READ_ONLY

    run_bench(work)


def test_it_waits_for_a_batch_that_is_on_its_way() -> None:
    async def work(bench: Bench) -> None:
        bench.write("begun", "/a")
        await bench.wait_until_committing()
        bench.write("gathered", "/b")
        write_many(bench, "many")
        bench.write("behind", "/c")
        for _ in range(100):
            await asyncio.sleep(0)
        # What had gathered before it becomes a batch of its own.
        assert bench.engine.tip.event_count == 2
        assert bench.writer._turn is Turn.COMMITTING
        bench.let_go()
        await bench.wait_for("begun", "gathered", "many", "behind")
        assert [len(batch.events) for batch in bench.engine.batches] == [1, 1, MANY + 1]

    run_bench(work)


def test_those_that_waited_for_it_are_judged_some_at_a_time() -> None:
    async def work(bench: Bench) -> None:
        bench.let_go()
        await begin_to_judge(bench)
        for number in range(20):
            bench.write(f"{number}", "/b")
        await bench.wait_for("many", *map(str, range(20)))
        assert [bench.ids(str(number)) for number in range(20)] == [
            [MANY + number] for number in range(20)
        ]
        # With no time at all, one after the other has a batch.
        assert len(bench.engine.batches) > 10

    run_bench(work)


# Refused, failed, lost.


@pytest.mark.parametrize("is_met", [True, False])
def test_its_preconditions_are_checked_before_anything_is_staged(*, is_met: bool) -> None:
    async def work(bench: Bench) -> None:
        bench.let_go()
        bench.write("before", "/a")
        conditions = [
            IsSubjectPopulated(subject="/a", recursive=False),
            IsSubjectPristine(subject="/many" if is_met else "/a", recursive=False),
        ]
        bench.write_if(conditions, "many", *["/many"] * MANY)
        await bench.wait_for("before", "many")
        if is_met:
            assert bench.ids("many") == [*range(1, MANY + 1)]
        else:
            assert bench.details("many") == {"precondition": 1, "preconditionIndex": 1}
            assert bench.engine.staged_sizes == [1]

    run_bench(work)


def test_a_violation_in_its_last_event_refuses_all_of_it() -> None:
    async def work(bench: Bench) -> None:
        bench.let_go()
        candidates = [*[a_candidate("/many", OPEN_TYPE)] * MANY, a_candidate("/x", CLOSED_TYPE)]
        bench.writer.write(candidates, [], bench.keep("many"))
        bench.write("behind", "/b", pristine="/many")
        await bench.wait_for("many", "behind")
        assert bench.details("many") == {"eventIndex": MANY, "eventType": CLOSED_TYPE}
        assert bench.ids("behind") == [0]

    run_bench(work)


STAGING_FAILURES = (
    (DiskFullError("no room"), DiskFullError, Condition.DISK_FULL),
    (StoreFailedError("the index"), StoreFailedError, Condition.FAILED),
    (OSError("any"), StoreFailedError, Condition.FAILED),
    (MemoryError(), MemoryError, Condition.WRITABLE),
    (ValueError("a bug"), ValueError, Condition.WRITABLE),
)


@pytest.mark.parametrize("failure, expected, condition", STAGING_FAILURES)
def test_what_was_staged_of_it_is_taken_back_where_the_rest_fails(
    failure: Exception, expected: type[Exception], condition: Condition
) -> None:
    async def work(bench: Bench) -> None:
        bench.let_go()
        bench.write("before", "/a")
        await bench.wait_for("before")
        await begin_to_judge(bench)
        bench.engine.staging_failure = failure
        bench.write("behind", "/b", pristine="/many")
        await wait_for_turn(bench, Turn.IDLE if condition is Condition.FAILED else Turn.SCHEDULED)
        bench.engine.staging_failure = None
        await bench.wait_for("many", "behind")

        assert type(bench.outcomes["many"]) is expected
        assert bench.writer.condition in {condition, Condition.WRITABLE}
        if condition is Condition.FAILED:
            assert bench.code("behind") is Code.STORE_FAILED
            assert bench.subjects == ["/a"]
        bench.write("next", "/c", pristine="/many")
        await bench.wait_for("next")
        assert bench.engine.tip == bench.engine.head
        assert "/many" not in bench.subjects

    run_bench(work)


@pytest.mark.parametrize("failure", [DiskFullError("no room"), StoreFailedError("sync")])
def test_a_commit_that_fails_fails_it_and_those_behind_it_are_judged_then(
    failure: Exception,
) -> None:
    async def work(bench: Bench) -> None:
        bench.write("begun", "/a")
        await bench.wait_until_committing()
        write_many(bench, "many")
        bench.let_go(failure)
        await bench.wait_for("begun")
        bench.engine.failure = None
        await bench.wait_for("many")
        assert bench.outcomes["begun"] is failure
        if isinstance(failure, DiskFullError):
            # It had not been judged when the disk was full.
            assert bench.ids("many") == [*range(MANY)]
        else:
            assert bench.code("many") is Code.STORE_FAILED

    run_bench(work)


def test_it_is_judged_again_where_it_is_lost() -> None:
    async def work(bench: Bench) -> None:
        bench.write("begun", "/a")
        await bench.wait_until_committing()
        bench.write_if([IsSubjectPristine(subject="/r", recursive=False)], "pristine", "/b")
        write_many(bench, "many")
        bench.write("behind", "/c", pristine="/many")
        bench.engine.lose_next(a_rival(["/r"]), a_rival(["/s"]), a_rival(["/t"]))
        bench.let_go()
        await bench.wait_for("begun", "pristine", "many", "behind")
        assert bench.code("pristine") is Code.PRECONDITION_VIOLATED
        assert bench.code("behind") is Code.PRECONDITION_VIOLATED
        assert bench.subjects == ["/r", "/s", "/t", "/a", *["/many"] * MANY]
        assert list(bench.outcomes) == ["begun", "pristine", "many", "behind"]

    run_bench(work)


def test_stopping_finishes_it_and_those_behind_it() -> None:
    async def work(bench: Bench) -> None:
        bench.let_go()
        await begin_to_judge(bench)
        bench.write("behind", "/b")
        bench.stop()
        await asyncio.sleep(0)
        bench.write("late", "/c")
        assert bench.writer._turn is Turn.JUDGING
        assert bench.stopping is not None
        await bench.stopping
        assert bench.ids("many") == [*range(MANY)]
        assert bench.ids("behind") == [MANY]
        assert bench.code("late") is Code.SERVER_SHUTTING_DOWN

    run_bench(work)


# Queries.


class Tally:
    """A query that counts events, and is TRUE where there are so many."""

    def __init__(self, wanted: int, *, weight: int | None) -> None:
        self.taken: Final[list[bytes]] = []
        # Where it was asked.
        self.places: Final[set[str]] = set()
        self._wanted = wanted
        self.standing: Final = StandingQuery(
            head=MemoryEngine().head,
            take=self._take,
            answer=self._answer,
            sees_event_types=False,
            is_quick=True,
            weight=weight,
        )

    def _take(self, lines: bytes) -> bool:
        self._note_place()
        self.taken.append(lines)
        return True

    def _answer(self) -> bool:
        self._note_place()
        return sum(lines.count(b"\n") for lines in self.taken) == self._wanted

    def _note_place(self) -> None:
        is_main = threading.current_thread() is threading.main_thread()
        self.places.add("loop" if is_main else "thread")


@pytest.mark.parametrize("weight", [1, None])
@pytest.mark.parametrize("wanted", [3, 4])
def test_a_query_takes_in_what_is_staged_and_a_heavy_one_never_on_the_loop(
    wanted: int, weight: int | None
) -> None:
    async def work(bench: Bench) -> None:
        tally = Tally(wanted, weight=weight)
        bench.write("first", "/a", "/b")
        bench.write("second", "/c")
        bench.write_if([tally.standing], "query", "/d")
        bench.write("behind", "/e")
        assert (bench.engine.tip.event_count == 3) is (weight is None)
        bench.let_go()
        await bench.wait_for("first", "second", "query", "behind")
        if wanted == 3:
            assert bench.ids("query") == [3]
        else:
            assert bench.details("query") == {"precondition": 0, "preconditionIndex": 0}
        assert tally.places == {"thread" if weight is None else "loop"}
        assert bench.subjects[-1] == "/e"

    run_bench(work)


def test_a_light_query_that_missed_much_takes_it_in_elsewhere() -> None:
    async def work(bench: Bench) -> None:
        tally = Tally(1, weight=100_000)
        bench.let_go()
        bench.write("first", "/a")
        bench.write_if([tally.standing], "query", "/b")
        await bench.wait_for("first", "query")
        assert bench.ids("query") == [1]
        assert "thread" in tally.places

    run_bench(work)


def test_what_all_queries_of_a_batch_take_in_is_bounded() -> None:
    async def work(bench: Bench) -> None:
        bench.let_go()
        bench.write("first", "/a")
        # Each could be judged at once, but not all of them.
        weight = checks_module._AT_ONCE_WORK_MAX // (2 * bench.engine.tip.log_size)
        for number in range(6):
            tally = Tally(1 + number, weight=weight // (1 + number))
            bench.write_if([tally.standing], f"{number}", "/b")
        assert bench.engine.tip.event_count < 5
        await bench.wait_for("first", *map(str, range(6)))
        assert [bench.ids(str(number)) for number in range(6)] == [[1 + n] for n in range(6)]

    run_bench(work)


def test_all_queries_of_a_write_are_asked_in_their_order() -> None:
    async def work(bench: Bench) -> None:
        fault = RefusedError(Code.QUERY_UNEVALUABLE, "not a number")

        def fail(_: bytes) -> bool:
            raise fault

        bench.let_go()
        bench.write("first", "/a")
        head = MemoryEngine().head
        failing = a_query(head, fail)
        bench.write_if([failing, IsSubjectPristine(subject="/a", recursive=False)], "fails", "/b")
        failing = a_query(head, fail)
        bench.write_if([IsSubjectPristine(subject="/a", recursive=False), failing], "other", "/b")
        stale = a_query(head, lambda _: False)
        bench.write_if([stale, IsSubjectPristine(subject="/a", recursive=False)], "stale", "/b")
        stale = a_query(head, lambda _: False)
        bench.write_if([IsSubjectPristine(subject="/a", recursive=False), stale], "fresh", "/b")
        await bench.wait_for("first", "fails", "other", "stale", "fresh")
        assert bench.outcomes["fails"] is fault
        assert bench.code("other") is Code.PRECONDITION_VIOLATED
        assert isinstance(bench.outcomes["stale"], StaleQueryError)
        assert bench.code("fresh") is Code.PRECONDITION_VIOLATED

    run_bench(work)


def a_query(head: Head, take: Callable[[bytes], bool]) -> StandingQuery:
    return StandingQuery(
        head=head,
        take=take,
        answer=lambda: True,
        sees_event_types=False,
        is_quick=True,
        weight=1,
    )


def test_who_cannot_take_it_in_while_the_writer_pauses_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checks_module, "PAUSE_SECONDS_MAX", -inf)

    async def work(bench: Bench) -> None:
        bench.let_go()
        bench.write("first", "/a")
        bench.write_if([Tally(1, weight=None).standing], "query", "/b")
        bench.write("behind", "/c")
        await bench.wait_for("first", "query", "behind")
        assert bench.code("query") is Code.QUERY_UNEVALUABLE
        assert bench.ids("behind") == [1]

    run_bench(work)


def test_a_bug_in_a_query_is_its_own_on_the_thread_too() -> None:
    async def work(bench: Bench) -> None:
        def fail() -> bool:
            raise ValueError("a bug")

        bench.let_go()
        query = StandingQuery(
            head=bench.engine.head,
            take=lambda _: True,
            answer=fail,
            sees_event_types=False,
            is_quick=True,
            weight=None,
        )
        bench.write_if([query], "query", "/a")
        bench.write("behind", "/b")
        await bench.wait_for("query", "behind")
        assert isinstance(bench.outcomes["query"], ValueError)
        assert bench.subjects == ["/b"]

    run_bench(work)


def test_a_heavy_query_that_took_in_what_is_lost_is_stale() -> None:
    async def work(bench: Bench) -> None:
        bench.write("first", "/a")
        bench.write_if([Tally(1, weight=None).standing], "query", "/b")
        await bench.wait_until_committing()
        bench.let_go()
        await bench.wait_for("first")
        bench.hold()
        await bench.wait_until_committing()
        # It is known as of the first event, behind which the rival stands.
        bench.engine.lose_next(a_rival(["/r"]))
        bench.let_go()
        await bench.wait_for("query")
        assert bench.details("query") == {"precondition": 0, "preconditionIndex": 0}
        assert bench.subjects == ["/a", "/r"]

    run_bench(work)
