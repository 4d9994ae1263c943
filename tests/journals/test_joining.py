"""Others' small batches: staged, judged behind, and stored with what was judged, by one sync."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from everlog.domain.errors import DiskFullError, JournalUnreachableError, RefusedError
from everlog.domain.precondition import IsEventQlQueryTrue, IsSubjectPopulated, IsSubjectPristine
from everlog.domain.schema import compile_event_schema
from everlog.service.mirroring.journal import Entry, decode_entry
from everlog.service.register_event_schema import register_event_schema
from everlog.service.writing.changes import Outcome
from everlog.service.writing.states import Condition
from everlog.storage.engine import Batch
from everlog.storage.line import Mark, parse_line
from everlog.storage.log import LogEngine
from tests.support.nodes import Node, open_node, until
from tests.support.shared_journal import SharedLog

DEADLINE_SECONDS = 60

# Before the second node's append of this number, from one on, something happens.
Meanwhile = dict[int, Callable[[], Awaitable[object]]]


def behind_another(
    tmp_path: Path, work: Callable[[Node, Node, Meanwhile], Awaitable[None]]
) -> SharedLog:
    """Let a second node write, which learns by losing that the first one did."""
    shared = SharedLog()

    async def work_with_both() -> None:
        async with (
            asyncio.timeout(DEADLINE_SECONDS),
            open_node(tmp_path / "a", shared, name="a") as first,
            open_node(tmp_path / "b", shared, name="b") as second,
        ):
            await first.until_ready()
            await second.until_ready()
            second.journal.is_silent = True
            append, meanwhile, count = second.journal.append, Meanwhile(), 0

            async def append_later(entry: Entry, *, after: int) -> int:
                nonlocal count
                count += 1
                await meanwhile.get(count, _nothing)()
                return await append(entry, after=after)

            setattr(second.journal, "append", append_later)  # noqa: B010 - not assigned to
            await work(first, second, meanwhile)
            assert await second.current_events() == await first.current_events()
            for node in (first, second):
                assert not [text for text in node.told if text.startswith(("bug", "failed"))]

    asyncio.run(work_with_both())
    return shared


async def _nothing() -> None:
    pass


def ids(outcome: Outcome) -> list[str]:
    assert not isinstance(outcome, Exception), outcome
    return [event.subject for event in outcome]


def stored(node: Node) -> list[tuple[str, Mark]]:
    """Return subject and mark of each event: those that were stored by one sync end in one mark."""
    return [(event.subject, mark) for event, mark in map(parse_line, node.lines())]


def subjects_in(shared: SharedLog) -> list[list[str]]:
    return [
        [
            parse_line(line)[0].subject
            for line in decode_entry(content).lines.splitlines(keepends=True)
        ]
        for _, content in shared.entries
    ]


def test_they_are_stored_with_it_and_are_appended_once(tmp_path: Path) -> None:
    async def work(first: Node, second: Node, meanwhile: Meanwhile) -> None:
        meanwhile[1] = lambda: first.write("/theirs", "/theirs")
        assert ids(await second.write("/ours")) == ["/ours"]
        assert stored(second) == [
            ("/theirs", Mark.EVENT),
            ("/theirs", Mark.WRITE),
            ("/ours", Mark.BATCH),
        ]
        assert second.mirror.figures.applied_events == 2
        assert second.store.writer.figures.events == 1
        assert second.store.writer.figures.bytes == len(second.lines()[-1])
        # Whoever goes on, does so behind both.
        assert ids(await second.write("/later")) == ["/later"]

    shared = behind_another(tmp_path, work)
    assert subjects_in(shared) == [["/theirs", "/theirs"], ["/ours"], ["/later"]]


def test_what_waits_is_judged_behind_them(tmp_path: Path) -> None:
    async def work(first: Node, second: Node, meanwhile: Meanwhile) -> None:
        meanwhile[1] = lambda: first.write("/theirs")
        pristine = (IsSubjectPristine(subject="/theirs", recursive=False),)
        populated = (IsSubjectPopulated(subject="/theirs", recursive=False),)
        refused, accepted = await asyncio.gather(
            # This one was accepted before they came, and the other one was not.
            second.write("/ours", preconditions=pristine),
            second.write("/ours", preconditions=populated),
        )
        assert isinstance(refused, RefusedError)
        assert ids(accepted) == ["/ours"]
        assert [mark for _, mark in stored(second)] == [Mark.WRITE, Mark.BATCH]

    behind_another(tmp_path, work)


def test_queries_are_asked_behind_them(tmp_path: Path) -> None:
    def at_most(count: int) -> tuple[IsEventQlQueryTrue]:
        query = f"FROM e IN events PROJECT INTO COUNT() <= {count}"
        return (IsEventQlQueryTrue(query=query),)

    async def work(first: Node, second: Node, meanwhile: Meanwhile) -> None:
        meanwhile.update({1: lambda: first.write("/theirs"), 3: lambda: first.write("/theirs")})
        assert ids(await second.write("/ours", preconditions=at_most(1))) == ["/ours"]
        assert [mark for _, mark in stored(second)] == [Mark.WRITE, Mark.BATCH]
        assert isinstance(await second.write("/ours", preconditions=at_most(2)), RefusedError)
        assert ids(await second.write("/ours", preconditions=at_most(3))) == ["/ours"]

    behind_another(tmp_path, work)


def test_where_nothing_is_appended_they_are_stored_alone(tmp_path: Path) -> None:
    async def work(first: Node, second: Node, meanwhile: Meanwhile) -> None:
        meanwhile[1] = lambda: first.write("/theirs")
        pristine = (IsSubjectPristine(subject="/theirs", recursive=False),)
        assert isinstance(await second.write("/ours", preconditions=pristine), RefusedError)
        assert stored(second) == [("/theirs", Mark.BATCH)]

    assert subjects_in(behind_another(tmp_path, work)) == [["/theirs"]]


def test_who_loses_again_is_judged_again_behind_all_of_them(tmp_path: Path) -> None:
    async def work(first: Node, second: Node, meanwhile: Meanwhile) -> None:
        for count in (1, 2, 3):
            meanwhile[count] = lambda: first.write("/theirs")
        populated = (IsSubjectPopulated(subject="/theirs", recursive=False),)
        one, two = await asyncio.gather(
            second.write("/one"), second.write("/two", preconditions=populated)
        )
        assert ids(one) + ids(two) == ["/one", "/two"]
        assert second.mirror.figures.lost_appends == 3
        assert [mark for _, mark in stored(second)] == [Mark.WRITE] * 4 + [Mark.BATCH]

    shared = behind_another(tmp_path, work)
    assert subjects_in(shared) == [["/theirs"]] * 3 + [["/one", "/two"]]


def test_an_unknown_outcome_is_resolved_behind_them(tmp_path: Path) -> None:
    async def work(first: Node, second: Node, meanwhile: Meanwhile) -> None:
        async def lose_the_answer() -> None:
            second.journal.faults.unknown_and_stored = 1.0

        async def lose_none() -> None:
            second.journal.faults.unknown_and_stored = 0.0

        meanwhile.update({1: lambda: first.write("/theirs"), 2: lose_the_answer, 3: lose_none})
        assert ids(await second.write("/ours")) == ["/ours"]
        assert stored(second) == [("/theirs", Mark.WRITE), ("/ours", Mark.BATCH)]
        assert second.mirror.figures.unknown_appends == 1
        await lose_none()

    assert subjects_in(behind_another(tmp_path, work)) == [["/theirs"], ["/ours"]]


def test_they_are_stored_where_ours_could_not_be_appended(tmp_path: Path) -> None:
    async def work(first: Node, second: Node, meanwhile: Meanwhile) -> None:
        async def go_away() -> None:
            second.journal.faults.is_away, second.journal.is_silent = True, False

        meanwhile.update({1: lambda: first.write("/theirs"), 2: go_away})
        assert isinstance(await second.write("/ours"), JournalUnreachableError)
        # Also while nobody answers.
        await until(lambda: stored(second) == [("/theirs", Mark.BATCH)])
        second.journal.faults.is_away = False
        await until(lambda: second.store.writer.condition is Condition.WRITABLE)

    assert subjects_in(behind_another(tmp_path, work)) == [["/theirs"]]


def test_all_is_stored_once_there_is_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit, failures = LogEngine.commit, [DiskFullError("no space left on the device")]

    def fail_once(engine: LogEngine, batch: Batch) -> None:
        if batch.others_count and failures:
            raise failures.pop()
        commit(engine, batch)

    async def work(first: Node, second: Node, meanwhile: Meanwhile) -> None:
        monkeypatch.setattr(LogEngine, "commit", fail_once)
        meanwhile[1] = lambda: first.write("/theirs")
        # It stands in the journal.
        assert ids(await second.write("/ours")) == ["/ours"]
        assert not failures
        second.journal.is_silent = False
        await until(lambda: len(second.lines()) == 2)
        assert ids(await second.write("/later")) == ["/later"]

    shared = behind_another(tmp_path, work)
    assert subjects_in(shared) == [["/theirs"], ["/ours"], ["/later"]]


def test_they_are_applied_first_where_event_schemas_follow_them(tmp_path: Path) -> None:
    schema = compile_event_schema(
        "io.everlog.test.other", b'{"type":"object","properties":{"n":{}}}'
    )

    async def work(first: Node, second: Node, meanwhile: Meanwhile) -> None:
        async def write_and_register() -> None:
            ids(await first.write("/theirs"))
            await register_event_schema(first.store, schema)

        meanwhile[1] = write_and_register
        assert ids(await second.write("/ours")) == ["/ours"]
        assert stored(second) == [("/theirs", Mark.BATCH), ("/ours", Mark.BATCH)]
        assert second.store.engine.head.event_type_count == 2
        assert second.mirror.figures.lost_appends == 1

    behind_another(tmp_path, work)


def test_what_is_large_is_applied_first(tmp_path: Path) -> None:
    async def work(first: Node, second: Node, meanwhile: Meanwhile) -> None:
        meanwhile[1] = lambda: first.write(*["/theirs"] * 1_000)
        assert ids(await second.write("/ours")) == ["/ours"]
        assert [mark for _, mark in stored(second)[-2:]] == [Mark.BATCH, Mark.BATCH]

    behind_another(tmp_path, work)
