"""The writer's two tables: what each says, and that the real writer goes by it."""

import asyncio
from collections.abc import Callable
from itertools import product

import pytest

from everlog.domain.errors import (
    BusyError,
    CatchingUpError,
    Code,
    DiskFullError,
    JournalUnreachableError,
    RefusedError,
    StateConflictError,
    StoreFailedError,
)
from everlog.service.writing.states import CONDITIONS, TURNS, Condition, Happening, Turn
from everlog.service.writing.writer import Writer
from everlog.storage.engine import StagedSchema
from tests.support.events import a_candidate
from tests.support.writer_bench import Bench, a_rival, run_bench

FULL = DiskFullError("no room")
BROKEN = StoreFailedError("the sync failed")

# A row for each condition, a column for each happening, in their order.
TABLE = """
    writable   disk-full   restoring  writable   unreachable writable  read-only stopping  failed
    writable   disk-full   restoring  disk-full  disk-full   disk-full read-only stopping  failed
    restoring  restoring   restoring  writable   restoring   restoring restoring restoring failed
    catching   catching    catching   catching   catching    writable  read-only stopping  failed
    unreachable disk-full unreachable unreachable unreachable writable read-only stopping  failed
    following  following   following  following  following   following following stopping  failed
    read-only  read-only   read-only  read-only  read-only   read-only read-only stopping  failed
    stopping   stopping    stopping   stopping   stopping    stopping  stopping  stopping  failed
    failed     failed      failed     failed     failed      failed    failed    failed    failed
"""
SHORT = {"unreachable": Condition.JOURNAL_UNREACHABLE, "catching": Condition.CATCHING_UP}

BECOMES = {
    (condition, happening): SHORT.get(cell) or Condition(cell)
    for condition, row in zip(Condition, TABLE.split("\n")[1:-1], strict=True)
    for happening, cell in zip(Happening, row.split(), strict=True)
}


def conditions_of(said: list[str]) -> list[str]:
    """Return what was said about conditions."""
    return [text for text in said if not text.startswith("published")]


@pytest.mark.parametrize("condition, happening", [*product(Condition, Happening)])
def test_what_a_condition_becomes(condition: Condition, happening: Happening) -> None:
    found = CONDITIONS[condition].get(happening, condition)

    assert found is BECOMES[condition, happening]


def test_no_row_says_that_a_condition_stays() -> None:
    # It would be said again each time.
    assert all(
        condition is not row[happening]
        for condition, row in CONDITIONS.items()
        for happening in row
    )


async def fill_the_disk(bench: Bench) -> None:
    bench.let_go(FULL)
    bench.write("full", "/a")
    await bench.wait_for("full")
    bench.hold()
    bench.engine.failure = None


async def bring_to(bench: Bench, condition: Condition) -> None:
    """Bring a writer into a condition, while a write is on its way that began before it."""
    if condition is Condition.DISK_FULL:
        await fill_the_disk(bench)
    bench.write("begun", "/a")
    await bench.wait_until_committing()
    match condition:
        case Condition.RESTORING:
            bench.writer.begin_restore(bench.keep("restore"))
        case Condition.READ_ONLY:
            bench.writer.become_read_only(bench.keep("read-only"))
        case Condition.STOPPING:
            bench.stop()
            await asyncio.sleep(0)
        case Condition.FAILED:
            bench.engine.staging_failure = BROKEN
            bench.write("broken", "/a")
            bench.engine.staging_failure = None
        case Condition.CATCHING_UP | Condition.JOURNAL_UNREACHABLE | Condition.FOLLOWING:
            # Begun in another one, as it cannot be: what follows does not depend on it.
            bench.writer.condition = condition
        case _:
            pass
    assert bench.writer.condition is condition


async def let_happen(bench: Bench, happening: Happening) -> None:
    match happening:
        case Happening.BECAME_DURABLE:
            bench.let_go()
            await bench.wait_for("begun")
        case Happening.DISK_FILLED:
            bench.let_go(FULL)
            await bench.wait_for("begun")
        case Happening.BROKE:
            bench.let_go(BROKEN)
            await bench.wait_for("begun")
        case Happening.RESTORE_BEGAN:
            if bench.writer.condition in {Condition.WRITABLE, Condition.DISK_FULL}:
                bench.writer.begin_restore(bench.keep("restore"))
            else:
                with pytest.raises((RefusedError, BusyError)):
                    bench.writer.begin_restore(bench.keep("refused restore"))
        case Happening.RESTORE_ENDED:
            bench.writer.end_restore()
        case Happening.MADE_READ_ONLY:
            if bench.writer.condition is Condition.READ_ONLY:
                with pytest.raises(StateConflictError):
                    bench.writer.become_read_only(bench.keep("read-only again"))
            elif bench.writer.condition is Condition.FOLLOWING:
                with pytest.raises(RefusedError):
                    bench.writer.become_read_only(bench.keep("refused read-only mode"))
            else:
                bench.writer.become_read_only(bench.keep("read-only"))
        case Happening.JOURNAL_LOST:
            bench.writer.note_journal(error=JournalUnreachableError("no answer"))
        case Happening.JOURNAL_FOUND:
            bench.writer.note_journal(error=None)
        case Happening.STOPPED:
            bench.stop()
            await asyncio.sleep(0)


# Whoever stops twice has two stores.
DRIVEN = [*product(Condition, Happening)]
DRIVEN.remove((Condition.STOPPING, Happening.STOPPED))


@pytest.mark.parametrize("condition, happening", DRIVEN)
def test_the_writer_goes_by_the_table_and_says_each_change_once(
    condition: Condition, happening: Happening
) -> None:
    async def work(bench: Bench) -> None:
        await bring_to(bench, condition)
        bench.said.clear()

        await let_happen(bench, happening)

        expected = BECOMES[condition, happening]
        assert bench.writer.condition is expected
        assert conditions_of(bench.said) == ([] if expected is condition else [expected])

    run_bench(work)


REFUSALS = (
    (Condition.WRITABLE, None),
    (Condition.DISK_FULL, None),
    (Condition.RESTORING, Code.RESTORE_IN_PROGRESS),
    (Condition.CATCHING_UP, CatchingUpError),
    (Condition.JOURNAL_UNREACHABLE, JournalUnreachableError),
    (Condition.FOLLOWING, Code.STORE_READ_ONLY),
    (Condition.READ_ONLY, Code.STORE_READ_ONLY),
    (Condition.STOPPING, Code.SERVER_SHUTTING_DOWN),
    (Condition.FAILED, Code.STORE_FAILED),
)


@pytest.mark.parametrize("condition, code", REFUSALS)
def test_a_condition_has_its_refusal(
    condition: Condition, code: Code | type[BusyError] | None
) -> None:
    async def work(bench: Bench) -> None:
        await bring_to(bench, condition)
        bench.write("late", "/late")
        bench.register("late schema", "io.everlog.test.late")
        # Nobody is told before those who came earlier.
        assert not {"begun", "late", "late schema"} & bench.outcomes.keys()
        bench.let_go()
        await bench.wait_for("begun", "late", "late schema")

        assert bench.ids("begun") == [0]
        for name in ("late", "late schema"):
            if code is None:
                assert not isinstance(bench.outcomes[name], Exception)
            elif isinstance(code, Code):
                assert bench.code(name) is code
            else:
                assert isinstance(bench.outcomes[name], code)
        assert bench.subjects == (["/a", "/late"] if code is None else ["/a"])

    run_bench(work)


@pytest.mark.parametrize("failure", [FULL, BROKEN])
def test_who_is_refused_for_a_condition_is_told_so_whatever_becomes_of_others(
    failure: Exception,
) -> None:
    async def work(bench: Bench) -> None:
        await bring_to(bench, Condition.READ_ONLY)
        bench.write("late", "/late")
        bench.let_go(failure)
        await bench.wait_for("begun", "late", "read-only")
        assert bench.outcomes["begun"] is failure
        assert bench.code("late") is Code.STORE_READ_ONLY
        assert bench.outcomes["read-only"] == ()

    run_bench(work)


def test_a_restore_begins_when_all_that_had_begun_is_answered() -> None:
    async def work(bench: Bench) -> None:
        bench.write("begun", "/a")
        await bench.wait_until_committing()
        bench.write("gathered", "/b")
        bench.writer.begin_restore(bench.keep("restore"))
        assert bench.outcomes == {}
        bench.let_go()
        await bench.wait_for("begun", "gathered", "restore")
        assert list(bench.outcomes) == ["begun", "gathered", "restore"]

        bench.writer.end_restore()
        bench.write("later", "/c")
        await bench.wait_for("later")
        assert bench.subjects == ["/a", "/b", "/c"]

    run_bench(work)


# Staging.


def test_a_disk_that_is_full_while_staging_is_full_until_something_is_stored() -> None:
    async def work(bench: Bench) -> None:
        bench.let_go()
        bench.engine.staging_failure = FULL
        for number in range(3):
            bench.write(f"full {number}", "/a")
            await bench.wait_for(f"full {number}")
            assert bench.outcomes[f"full {number}"] is FULL
            assert bench.writer.condition is Condition.DISK_FULL
        assert bench.said == ["disk-full"]

        bench.engine.staging_failure = None
        bench.write("later", "/a", pristine="/a")
        await bench.wait_for("later")
        assert bench.ids("later") == [0]
        assert bench.said == ["disk-full", "writable", "published 1"]

    run_bench(work)


def test_a_batch_that_began_before_the_disk_was_full_says_nothing_about_room() -> None:
    async def work(bench: Bench) -> None:
        bench.write("begun", "/a")
        await bench.wait_until_committing()
        bench.write("gathered", "/b")
        bench.engine.staging_failure = FULL
        bench.write("full", "/c")
        bench.let_go()
        await bench.wait_for("begun", "gathered", "full")
        # Two batches have become durable, and the last write has found no room all the same.
        assert conditions_of(bench.said) == ["disk-full"]
        assert bench.outcomes["full"] is FULL

        bench.engine.staging_failure = None
        bench.write("later", "/c")
        await bench.wait_for("later")
        assert conditions_of(bench.said) == ["disk-full", "writable"]
        assert bench.subjects == ["/a", "/b", "/c"]

    run_bench(work)


@pytest.mark.parametrize("failure", [BROKEN, OSError("any")])
def test_a_disk_that_breaks_while_staging_ends_writing(failure: Exception) -> None:
    async def work(bench: Bench) -> None:
        bench.write("begun", "/a")
        await bench.wait_until_committing()
        bench.write("gathered", "/b")
        bench.engine.staging_failure = failure
        bench.write("broken", "/c")
        bench.engine.staging_failure = None
        bench.write("behind", "/d")
        assert bench.writer.condition is Condition.FAILED

        bench.engine.may_commit.set()
        await bench.wait_for("begun")
        # What an engine says once it has failed.
        bench.engine.failure = StoreFailedError("an earlier write to the disk failed")
        await bench.wait_for("gathered", "broken", "behind")
        bench.write("later", "/e")
        await bench.wait_for("later")

        assert bench.ids("begun") == [0]
        assert isinstance(bench.outcomes["broken"], StoreFailedError)
        assert isinstance(bench.outcomes["gathered"], StoreFailedError)
        assert bench.code("later") is Code.STORE_FAILED
        assert bench.said == ["failed", "published 1"]
        assert bench.engine.tip == bench.engine.head

    run_bench(work)


STAGING_FAILURES = ((FULL, Condition.DISK_FULL), (BROKEN, Condition.FAILED), (OSError("any"), None))


@pytest.mark.parametrize("failure, condition", STAGING_FAILURES)
def test_a_schema_that_cannot_be_staged_is_no_schema(
    failure: Exception, condition: Condition | None
) -> None:
    async def work(bench: Bench) -> None:
        def stage_schema(_: StagedSchema) -> None:
            raise failure

        bench.let_go()
        bench.engine.stage_schema = stage_schema  # type: ignore[method-assign]  # No room.
        bench.register("schema", "io.everlog.test.late")
        await bench.wait_for("schema")
        assert isinstance(bench.outcomes["schema"], DiskFullError | StoreFailedError)
        assert bench.said == [condition or Condition.FAILED]
        assert "io.everlog.test.late" not in bench.writer.schemas

    run_bench(work)


@pytest.mark.parametrize("failure", [MemoryError(), ValueError("a bug")])
def test_another_error_while_staging_is_that_of_the_one_who_asked(failure: Exception) -> None:
    async def work(bench: Bench) -> None:
        bench.let_go()
        bench.engine.staging_failure = failure
        with pytest.raises(type(failure)):
            bench.write("asked", "/a")
        bench.engine.staging_failure = None
        bench.write("next", "/a")
        await bench.wait_for("next")
        assert bench.writer.condition is Condition.WRITABLE
        assert bench.subjects == ["/a"]

    run_bench(work)


# Turns.

ALLOWED = {
    (Turn.IDLE, Turn.SCHEDULED),
    (Turn.IDLE, Turn.JUDGING),
    (Turn.IDLE, Turn.COMMITTING),
    (Turn.IDLE, Turn.APPLYING),
    (Turn.IDLE, Turn.YIELDING),
    (Turn.YIELDING, Turn.IDLE),
    (Turn.SCHEDULED, Turn.IDLE),
    (Turn.JUDGING, Turn.IDLE),
    (Turn.COMMITTING, Turn.IDLE),
    (Turn.COMMITTING, Turn.APPLYING),
    (Turn.APPLYING, Turn.IDLE),
}


@pytest.mark.parametrize("turn, following", [*product(Turn, Turn)])
def test_a_turn_follows_another_or_nothing_works_any_more(turn: Turn, following: Turn) -> None:
    async def work(bench: Bench) -> None:
        bench.writer._turn = turn
        if (turn, following) in ALLOWED:
            bench.writer._enter(following)
            assert bench.writer._turn is following
        else:
            with pytest.raises(AssertionError):
                bench.writer._enter(following)
        bench.writer._turn = Turn.IDLE

    assert ((turn, following) in ALLOWED) == (following in TURNS[turn])
    run_bench(work)


TAKEN: list[tuple[Turn, Turn]] = []


class NotingWriter(Writer):
    """A writer whose turns are noted."""

    def _enter(self, turn: Turn) -> None:
        TAKEN.append((self._turn, turn))
        super()._enter(turn)


def test_the_writer_takes_every_turn() -> None:
    TAKEN.clear()

    async def work(bench: Bench) -> None:
        bench.engine.lose_next(a_rival(["/rival"]))
        bench.let_go()
        bench.write("lost", "/a")
        await bench.wait_for("lost")
        bench.write("large", *["/a"] * 300)
        await bench.wait_for("large")

    run_bench(work, make=NotingWriter)

    # The others need nodes that share a journal, and are taken by theirs.
    shared = {(Turn.IDLE, Turn.APPLYING), (Turn.IDLE, Turn.YIELDING), (Turn.YIELDING, Turn.IDLE)}
    assert set(TAKEN) == ALLOWED - shared
    assert TAKEN[:5] == [
        (Turn.IDLE, Turn.SCHEDULED),
        (Turn.SCHEDULED, Turn.IDLE),
        (Turn.IDLE, Turn.COMMITTING),
        (Turn.COMMITTING, Turn.APPLYING),
        (Turn.APPLYING, Turn.IDLE),
    ]
    assert TAKEN[-5:] == [
        (Turn.JUDGING, Turn.IDLE),
        (Turn.IDLE, Turn.SCHEDULED),
        (Turn.SCHEDULED, Turn.IDLE),
        (Turn.IDLE, Turn.COMMITTING),
        (Turn.COMMITTING, Turn.IDLE),
    ]


Begin = Callable[[Bench], None]

CHANGES: dict[str, Begin] = {
    "a write": lambda bench: bench.write("change", "/a"),
    "a large write": lambda bench: bench.write("change", *["/a"] * 300),
    "a registration": lambda bench: bench.register("change", "io.everlog.test.late"),
    "the read-only mode": lambda bench: bench.writer.become_read_only(bench.keep("change")),
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_idle_writer_answers_every_change_and_is_idle_again(change: str) -> None:
    async def work(bench: Bench) -> None:
        bench.let_go()
        CHANGES[change](bench)
        is_large = change == "a large write"
        assert bench.writer._turn is (Turn.JUDGING if is_large else Turn.SCHEDULED)
        await bench.wait_for("change")
        assert not isinstance(bench.outcomes["change"], Exception)
        assert bench.writer._turn is Turn.IDLE

    run_bench(work)


def test_who_asks_with_a_bug_stops_nobody_else() -> None:
    async def work(bench: Bench) -> None:
        bench.let_go()
        with pytest.raises(AssertionError):
            bench.writer.write([], [], bench.keep("nothing"))
        bench.writer.write([a_candidate()], [], bench.keep("something"))
        await bench.wait_for("something")
        assert not isinstance(bench.outcomes["something"], RefusedError)

    run_bench(work)
