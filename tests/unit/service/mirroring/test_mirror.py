"""A node and the journal that it shares: what it appends, applies, shows and refuses."""

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec.structs import replace as replace_members

from everlog.domain.chain import HashVersion
from everlog.domain.errors import (
    CatchingUpError,
    Code,
    JournalUnreachableError,
    RefusedError,
    StoreFailedError,
)
from everlog.domain.precondition import IsEventQlQueryTrue, IsSubjectPopulated, IsSubjectPristine
from everlog.domain.schema import compile_event_schema
from everlog.service.mirroring import mirror as mirror_module
from everlog.service.mirroring.journal import UnfitJournalError, decode_entry, encode_entry
from everlog.service.register_event_schema import register_event_schema
from everlog.service.store import StoreOptions, open_store
from everlog.service.writing.changes import Outcome
from everlog.service.writing.states import Condition, Turn
from everlog.storage.engine import JournalEntry
from everlog.storage.log import LogEngine
from tests.support.nodes import Node, open_node, until
from tests.support.shared_journal import Faults, SharedLog

DEADLINE_SECONDS = 60
TYPE = "io.everlog.test.happened"


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def run_in_time() -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await work()

    asyncio.run(run_in_time())


def ids(outcome: Outcome) -> list[str]:
    assert not isinstance(outcome, Exception), outcome
    return [event.subject for event in outcome]


def code(outcome: Outcome) -> Code:
    assert isinstance(outcome, RefusedError)
    return outcome.code


def two_nodes(
    tmp_path: Path,
    work: Callable[[Node, Node], Awaitable[None]],
    *,
    faults: Callable[[], Faults] = Faults,
    step: int = 1,
) -> SharedLog:
    shared = SharedLog(step=step)

    async def work_with_both() -> None:
        async with (
            open_node(tmp_path / "a", shared, name="a", faults=faults(), seed=1) as first,
            open_node(tmp_path / "b", shared, name="b", faults=faults(), seed=2) as second,
        ):
            await first.until_ready()
            await second.until_ready()
            await work(first, second)
            for node in (first, second):
                assert not [text for text in node.told if text.startswith(("bug", "failed"))]

    run(work_with_both)
    return shared


# Reading.


def test_what_one_node_acknowledged_every_node_shows_to_who_asks_for_what_is_current(
    tmp_path: Path,
) -> None:
    async def work(first: Node, second: Node) -> None:
        for number in range(20):
            node, other = (first, second) if number % 2 else (second, first)
            ids(await node.write(f"/{number}"))
            assert [subject for subject, _ in await other.current_events()][-1] == f"/{number}"
        assert first.events() == second.events()

    two_nodes(tmp_path, work, step=3)


def test_a_barrier_is_shared_by_all_who_wait_for_one(tmp_path: Path) -> None:
    async def work(first: Node, second: Node) -> None:
        second.journal.faults.seconds = 0.02
        before = second.mirror.figures.barriers
        await asyncio.gather(*[second.mirror.wait_current() for _ in range(100)])
        assert second.mirror.figures.barriers - before <= 2
        ids(await first.write("/late"))
        waiting = [asyncio.ensure_future(second.current_events()) for _ in range(10)]
        for events in await asyncio.gather(*waiting):
            assert [subject for subject, _ in events] == ["/late"]

    two_nodes(tmp_path, work)


def test_many_who_waited_for_a_barrier_go_on_in_turns(tmp_path: Path) -> None:
    async def work(first: Node, second: Node) -> None:
        del second
        gone_on: list[Exception | None] = []
        others: list[int] = []

        def go_on(error: Exception | None) -> None:
            # As a read takes its time.
            time.sleep(0.005)
            gone_on.append(error)

        def look() -> None:
            others.append(len(gone_on))
            if len(gone_on) < 40:
                loop.call_later(0.001, look)

        loop = asyncio.get_running_loop()
        for _ in range(40):
            first.mirror.when_current(go_on)
        look()
        await until(lambda: len(gone_on) == 40)
        assert gone_on == [None] * 40
        # Others had their turns in between.
        assert len({count for count in others if 0 < count < 40}) > 3

    two_nodes(tmp_path, work)


def test_an_observer_on_another_node_sees_what_is_appended_without_asking(tmp_path: Path) -> None:
    async def work(first: Node, second: Node) -> None:
        ids(await first.write("/seen"))
        await until(second.events)
        assert second.mirror.figures.barriers == 0

    two_nodes(tmp_path, work)


# Writing.


def test_of_two_nodes_that_claim_the_same_one_wins(tmp_path: Path) -> None:
    async def work(first: Node, second: Node) -> None:
        for number in range(30):
            subject = f"/seat/{number}"
            claim = (IsSubjectPristine(subject=subject, recursive=False),)
            outcomes = await asyncio.gather(
                first.write(subject, preconditions=claim),
                second.write(subject, preconditions=claim),
            )
            refused = [outcome for outcome in outcomes if isinstance(outcome, RefusedError)]
            assert [error.code for error in refused] == [Code.PRECONDITION_VIOLATED]

    two_nodes(tmp_path, work)


def test_a_refusal_is_about_what_is_so_for_everybody(tmp_path: Path) -> None:
    async def work(first: Node, second: Node) -> None:
        second.journal.is_silent = True
        await asyncio.sleep(1.1)
        ids(await first.write("/a"))
        populated = (IsSubjectPopulated(subject="/a", recursive=False),)
        # Refused by what it knew, and accepted by what is so.
        assert second.events() == []
        assert ids(await second.write("/b", preconditions=populated)) == ["/b"]
        query = (IsEventQlQueryTrue(query="FROM e IN events PROJECT INTO COUNT() == 3"),)
        assert code(await second.write("/c", preconditions=query)) is Code.PRECONDITION_VIOLATED
        ids(await first.write("/c"))
        assert ids(await second.write("/d", preconditions=query)) == ["/d"]

    two_nodes(tmp_path, work)


def test_a_refusal_needs_no_more_than_one_question(tmp_path: Path) -> None:
    async def work(first: Node, second: Node) -> None:
        ids(await first.write("/a"))
        await second.mirror.wait_current()
        before = len(second.journal.reads)
        pristine = (IsSubjectPristine(subject="/a", recursive=False),)
        outcomes = await asyncio.gather(
            *[second.write("/a", preconditions=pristine) for _ in range(20)]
        )
        assert {code(outcome) for outcome in outcomes} == {Code.PRECONDITION_VIOLATED}
        # Besides those of following, which come once a second.
        assert len(second.journal.reads) - before <= 3

    two_nodes(tmp_path, work)


def test_schemas_are_in_force_on_every_node(tmp_path: Path) -> None:
    async def work(first: Node, second: Node) -> None:
        text = b'{"type":"object","properties":{"n":{"type":"number"}},"required":["n"]}'
        await register_event_schema(first.store, compile_event_schema(TYPE, text))
        outcome = await second.write("/a")
        assert code(outcome) is Code.EVENT_SCHEMA_VIOLATED
        with pytest.raises(RefusedError, match="already exists"):
            await register_event_schema(second.store, compile_event_schema(TYPE, text))
        assert second.store.engine.head.event_type_count == 1

    shared = two_nodes(tmp_path, work)
    [(_, content)] = shared.entries
    assert [schema.event_type for schema in decode_entry(content).schemas] == [TYPE]


@pytest.mark.parametrize("step", [1, 4])
def test_many_clients_of_two_nodes_with_a_journal_that_loses_answers(
    tmp_path: Path, step: int
) -> None:
    def faults() -> Faults:
        return Faults(
            unknown_and_stored=0.1,
            unknown_and_not_stored=0.1,
            unknown_and_stored_later=0.1,
            unreachable=0.02,
            seconds=0.003,
        )

    written: list[str] = []

    async def work(first: Node, second: Node) -> None:
        async def client(node: Node, other: Node, number: int) -> None:
            for index in range(12):
                outcome = await node.write(f"/{number}/{index}", f"/{number}/{index}")
                if isinstance(outcome, Exception):
                    assert isinstance(outcome, JournalUnreachableError), outcome
                    continue
                written.extend(event.hash for event in outcome)
                try:
                    seen = await other.current_events()
                except JournalUnreachableError:
                    continue
                assert f"/{number}/{index}" in [subject for subject, _ in seen]

        nodes = [(first, second), (second, first)]
        await asyncio.gather(*[client(*nodes[number % 2], number) for number in range(10)])
        for node in (first, second):
            node.journal.faults.unreachable = 0
            await until(lambda node=node: node.mirror.figures.unreachable_since is None)
        hashes = [hash_ for _, hash_ in await first.current_events()]
        # What was acknowledged is there once, and what was refused is not.
        assert sorted(hashes) == sorted(written)
        assert await first.current_events() == await second.current_events()
        figures = [node.mirror.figures for node in (first, second)]
        assert sum(found.unknown_appends for found in figures) > 0
        assert sum(found.lost_appends for found in figures) > 0

    two_nodes(tmp_path, work, faults=faults, step=step)


def test_clients_that_come_again_at_once_share_their_appends(tmp_path: Path) -> None:
    async def work(first: Node, second: Node) -> None:
        async def client(number: int) -> None:
            # One half of them comes while an append of the other half is on its way.
            await until(lambda: number < 4 or appending())
            for index in range(40):
                ids(await first.write(f"/{number}/{index}"))
                # An answer takes its way, and so does what is asked next.
                for _ in range(5):
                    await asyncio.sleep(0)

        def appending() -> bool:
            return first.mirror._appending is not None

        first.journal.faults.seconds = 0.02
        await asyncio.gather(*[client(number) for number in range(8)])
        # Without a pause, one half of them waits while the other half's append is on its way.
        assert 320 / first.mirror.figures.appends > 6
        del second

    two_nodes(tmp_path, work)


def test_who_waits_behind_hundreds_of_entries_is_judged_behind_all_of_them(tmp_path: Path) -> None:
    count = 400

    async def work(first: Node, second: Node) -> None:
        text = b'{"type":"object","properties":{"n":{"type":"number"}}}'
        # It reads nothing until it writes.
        second.journal.is_silent = True
        await asyncio.sleep(0.05)
        for number in range(count):
            # No two of these are applied as one.
            schema = compile_event_schema(f"{TYPE}.n{number}", text)
            await register_event_schema(first.store, schema)
        pristine = IsSubjectPristine(subject="/a", recursive=False)
        outcomes = await asyncio.gather(
            *[second.write("/a", preconditions=(pristine,)) for _ in range(3)]
        )
        assert [isinstance(outcome, RefusedError) for outcome in outcomes] == [False, True, True]
        assert second.store.engine.head.event_type_count == count + 1

    two_nodes(tmp_path, work)


def test_a_batch_is_cut_to_what_an_entry_may_have(tmp_path: Path) -> None:
    shared = SharedLog()

    async def work() -> None:
        async with open_node(tmp_path, shared, entry_size_max=64 * 1024) as node:
            await node.until_ready()
            outcomes = await asyncio.gather(*[node.write("/a", key="x" * 2_000) for _ in range(99)])
            assert all(ids(outcome) for outcome in outcomes)
            too_large = await node.write(*["/a"] * 64)
            assert code(too_large) is Code.EVENT_TOO_LARGE
            assert len(shared.entries) > 3
            assert max(len(content) for _, content in shared.entries) <= 64 * 1024
            assert node.store.engine.head.event_count == 99

    run(work)


# A journal that cannot be reached.


def test_a_journal_that_is_gone_and_comes_back(tmp_path: Path) -> None:
    async def work(first: Node, second: Node) -> None:
        ids(await first.write("/before"))
        first.journal.faults.is_away = True
        assert isinstance(await first.write("/lost"), JournalUnreachableError)
        assert first.store.writer.condition is Condition.JOURNAL_UNREACHABLE
        assert isinstance(await first.write("/refused at once"), JournalUnreachableError)
        with pytest.raises(JournalUnreachableError):
            await first.mirror.wait_current()
        # What is here is shown to who does without.
        first.mirror.check_ready()
        assert [subject for subject, _ in first.events()] == ["/before"]
        assert first.mirror.figures.unreachable_since is not None
        ids(await second.write("/meanwhile"))
        first.journal.faults.is_away = False
        await until(lambda: first.store.writer.condition is Condition.WRITABLE)
        assert [subject for subject, _ in await first.current_events()] == [
            "/before",
            "/meanwhile",
        ]
        ids(await first.write("/after"))
        assert first.told == ["opened", "caught up", "lost", "found"]
        assert first.mirror.figures.unreachable_since is None

    two_nodes(tmp_path, work)


def test_who_waits_behind_an_unknown_outcome_is_told_that_nothing_was_stored(
    tmp_path: Path,
) -> None:
    async def work(first: Node, second: Node) -> None:
        del second
        faults = first.journal.faults
        faults.unknown_and_stored, faults.is_away_after_unknown, faults.seconds = 1.0, True, 0.1
        begun = asyncio.ensure_future(first.write("/begun"))
        await until(lambda: first.store.writer._turn is Turn.COMMITTING)
        behind = asyncio.ensure_future(first.write("/behind"))
        assert isinstance(await behind, JournalUnreachableError)
        assert not begun.done()
        faults.is_away, faults.unknown_and_stored = False, 0.0
        assert ids(await begun) == ["/begun"]
        assert ids(await first.write("/after")) == ["/after"]
        assert [subject for subject, _ in await first.current_events()] == ["/begun", "/after"]

    two_nodes(tmp_path, work)


def test_who_waits_behind_refusals_is_told_that_nothing_was_stored_and_nothing_is(
    tmp_path: Path,
) -> None:
    async def work(first: Node, second: Node) -> None:
        del second
        ids(await first.write("/a"))
        pristine = (IsSubjectPristine(subject="/a", recursive=False),)
        first.journal.faults.seconds = 0.2
        refused = asyncio.ensure_future(first.write("/a", preconditions=pristine))
        await until(lambda: first.store.writer._turn is Turn.COMMITTING)
        behind = asyncio.ensure_future(first.write("/behind"))
        await asyncio.sleep(0)
        # Whoever else asks the journal finds out first, and the answer to who asked before comes.
        first.mirror._note_lost(JournalUnreachableError("no answer"))
        assert isinstance(await behind, JournalUnreachableError)
        assert code(await refused) is Code.PRECONDITION_VIOLATED
        first.journal.faults.seconds = 0.0
        await until(lambda: first.store.writer.condition is Condition.WRITABLE)
        assert ids(await first.write("/after")) == ["/after"]
        assert [subject for subject, _ in await first.current_events()] == ["/a", "/after"]

    two_nodes(tmp_path, work)


def test_a_node_starts_while_its_journal_is_gone(tmp_path: Path) -> None:
    async def work() -> None:
        async with open_node(tmp_path, SharedLog(), faults=Faults(is_away=True)) as node:
            assert isinstance(await node.write("/a"), CatchingUpError)
            with pytest.raises(CatchingUpError):
                node.mirror.check_ready()
            with pytest.raises(CatchingUpError):
                await node.mirror.wait_current()
            node.journal.faults.is_away = False
            await node.until_ready()
            ids(await node.write("/a"))

    run(work)


def test_a_server_that_stops_gives_up_what_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror_module, "_GIVE_UP_SECONDS", 0.2)
    outcomes: list[Outcome] = []

    async def work() -> None:
        async with open_node(tmp_path, SharedLog()) as node:
            await node.until_ready()
            node.journal.faults.unknown_and_not_stored = 1.0
            begun = asyncio.ensure_future(node.write("/begun"))
            begun.add_done_callback(lambda done: outcomes.append(done.result()))
            await asyncio.sleep(0.05)
            node.journal.faults.is_away = True
            assert not begun.done()

    run(work)
    [outcome] = outcomes
    assert isinstance(outcome, StoreFailedError)


def test_a_server_that_stops_waits_for_no_attempt_that_takes_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror_module, "_GIVE_UP_SECONDS", 0.2)
    outcomes: list[Outcome] = []

    async def work() -> None:
        async with open_node(tmp_path, SharedLog()) as node:
            await node.until_ready()

            async def append_for_ever(*_: object, **__: object) -> int:
                await asyncio.Event().wait()
                raise AssertionError

            monkeypatch.setattr(node.journal, "append", append_for_ever)
            begun = asyncio.ensure_future(node.write("/begun"))
            begun.add_done_callback(lambda done: outcomes.append(done.result()))
            await asyncio.sleep(0.05)
            assert not begun.done()

    run(work)
    [outcome] = outcomes
    assert isinstance(outcome, StoreFailedError)


# Where a log meets its journal.


def test_a_node_that_was_away_catches_up_and_one_that_lost_its_disk_does_too(
    tmp_path: Path,
) -> None:
    shared = SharedLog(step=2)
    text = b'{"type":"object","properties":{}}'

    async def work() -> None:
        async with open_node(tmp_path / "a", shared) as first:
            await first.until_ready()
            for number in range(50):
                ids(await first.write(*[f"/{number}"] * (1 + number % 3)))
                if number == 25:
                    other = compile_event_schema("io.everlog.test.other", text)
                    await register_event_schema(first.store, other)
                    shutil.copytree(tmp_path / "a", tmp_path / "b")
            schema = compile_event_schema("io.everlog.test.another", text)
            await register_event_schema(first.store, schema)
            expected = first.events()
        for name in ("a", "b", "c"):
            async with open_node(tmp_path / name, shared) as node:
                await node.until_ready()
                assert node.events() == expected
                assert node.store.engine.head.event_type_count == 3
                assert len(node.store.writer.schemas) == 2
                applied = node.mirror.figures.applied_events
                assert applied == (0 if name == "a" else applied)
                ids(await node.write(f"/from {name}".replace(" ", "-")))
                expected = node.events()

    run(work)


def test_a_log_that_was_stored_in_other_batches_meets_its_journal_in_the_middle_of_an_entry(
    tmp_path: Path,
) -> None:
    shared = SharedLog()

    async def work() -> None:
        async with open_node(tmp_path / "a", shared) as node:
            await node.until_ready()
            await asyncio.gather(*[node.write(f"/{number}") for number in range(10)])
            expected = node.events()
            lines = [
                line
                for _, content in shared.entries
                for line in decode_entry(content).lines.splitlines(keepends=True)
            ]
        engine = LogEngine.open(tmp_path / "b")
        for count in (1, 3):
            start = engine.head.event_count
            some = [line.replace(b"}}  \n", b"}} \n") for line in lines[start : start + count]]
            some[-1] = some[-1].replace(b"}} \n", b"}}  \n")
            engine.apply(
                JournalEntry(start, engine.head.hash, some),
                is_verified=False,
            )
        engine.close()
        async with open_node(tmp_path / "b", shared) as node:
            await node.until_ready()
            assert node.events() == expected

    run(work)


def test_a_directory_of_another_log_is_not_taken_for_a_mirror(tmp_path: Path) -> None:
    shared = SharedLog()

    async def write_some(directory: Path, count: int, *, shared: SharedLog | None) -> None:
        if shared is None:
            shared = SharedLog()
        async with open_node(directory, shared) as node:
            await node.until_ready()
            for number in range(count):
                ids(await node.write(f"/{number}"))

    async def work() -> None:
        await write_some(tmp_path / "a", 5, shared=shared)
        for name, count in (("fewer", 3), ("as many", 5), ("more", 7)):
            await write_some(tmp_path / name, count, shared=None)
            async with open_node(tmp_path / name, shared) as node:
                await until(lambda: bool(node.told) and node.told[-1].startswith("failed"))
                assert node.told[-1].startswith("failed: DivergedError: the data directory has ")
                assert isinstance(await node.write("/a"), RefusedError)
                assert len(node.events()) == count
                with pytest.raises(StoreFailedError):
                    node.mirror.check_ready()

    run(work)


def test_a_journal_that_was_put_back_is_noticed_while_the_node_runs(tmp_path: Path) -> None:
    async def work(first: Node, second: Node) -> None:
        shared = first.journal.shared
        for number in range(3):
            ids(await first.write(f"/{number}"))
        place, content = shared.entries[-1]
        other = replace_entry(content, first=3, end=4, predecessor_hash="0" * 64)
        shared.entries.append((place + 1, other))
        for node in (first, second):
            await until(lambda node=node: node.told[-1].startswith("failed"))
            assert "DivergedError" in node.told[-1]
            node.told.clear()

    two_nodes(tmp_path, work)


def replace_entry(content: bytes, **changes: object) -> bytes:
    return encode_entry(replace_members(decode_entry(content), **changes))


def test_a_mirror_is_an_ordinary_data_directory(tmp_path: Path) -> None:
    shared = SharedLog()

    async def work() -> None:
        async with open_node(tmp_path, shared) as node:
            await node.until_ready()
            ids(await node.write("/a"))
        async with open_store(tmp_path) as store:
            assert store.mirror is None
            assert store.engine.head.event_count == 1
            assert store.writer.condition is Condition.WRITABLE

    run(work)


def test_a_journal_that_is_not_what_it_was_takes_nothing_and_ends_the_node(
    tmp_path: Path,
) -> None:
    async def work() -> None:
        async with open_node(tmp_path, SharedLog()) as node:
            await node.until_ready()
            ids(await node.write("/a"))

            async def refuse(*_: object, **__: object) -> int:
                raise UnfitJournalError("it was put back to an earlier state")

            node.journal.append = refuse  # type: ignore[method-assign]  # As a real one may.
            assert isinstance(await node.write("/b"), JournalUnreachableError)
            assert node.told[-1] == (
                "failed: UnfitJournalError: it was put back to an earlier state"
            )
            assert code(await node.write("/c")) is Code.STORE_FAILED

    run(work)


# Nodes that do not fit together.


def test_nodes_with_other_keys_clocks_and_hashes_are_found_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror_module, "_ANNOUNCE_SECONDS", 0.02)
    shared = SharedLog()

    async def work() -> None:
        other = replace(StoreOptions(), hash_version=HashVersion.V2, clock=lambda: 10**18)
        async with (
            open_node(tmp_path / "a", shared, name="one") as first,
            open_node(tmp_path / "b", shared, name="other", options=other) as second,
        ):
            await first.until_ready()
            await second.until_ready()
            await until(lambda: len(first.mirror.figures.mismatches) == 2)
            await asyncio.sleep(0.1)
            said = [text for text in first.told if text.startswith("mismatched")]
            assert said == [
                "mismatched: the node other has another hash version",
                "mismatched: the clock of the node other is behind the one here",
            ]
            assert first.mirror.figures.nodes == 2

    run(work)
