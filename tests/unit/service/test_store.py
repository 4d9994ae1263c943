"""A store opens and closes by itself: without HTTP, a token, signals or a log."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path

import pytest

from everlog.domain.chain import HashVersion
from everlog.domain.errors import Code, DirectoryLockedError, RefusedError
from everlog.domain.precondition import IsEventQlQueryTrue, IsSubjectPristine, Precondition
from everlog.domain.schema import compile_event_schema
from everlog.domain.selection import parse_observe_selection, parse_read_selection
from everlog.service.discovery import read_event_types, read_subjects
from everlog.service.observe_events import HEARTBEAT, observe_events
from everlog.service.querying.messages import RowForm
from everlog.service.read_events import read_events
from everlog.service.reader import AS_STORED
from everlog.service.register_event_schema import register_event_schema
from everlog.service.run_eventql_query import run_eventql_query
from everlog.service.store import Store, StoreEvents, StoreOptions, open_store
from everlog.service.write import write
from everlog.service.writing.changes import Outcome
from everlog.service.writing.states import Condition
from everlog.storage.line import parse_line
from tests.support.events import a_candidate

DEADLINE_SECONDS = 60


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def run_in_time() -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await work()

    asyncio.run(run_in_time())


async def ask(store: Store, subject: str, *preconditions: Precondition) -> Outcome:
    answered: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    # A second answer would be an error.
    write(store, [a_candidate(subject)], preconditions, answered.set_result)
    return await answered


async def read_all(store: Store) -> list[str]:
    """Return the subjects of all events, in their order."""
    selection = parse_read_selection(
        subject="/",
        recursive=True,
        order=None,
        lower_bound=None,
        upper_bound=None,
        from_latest_event=None,
    )
    found = await read_events(store, selection, transform=AS_STORED)
    if isinstance(found, bytes):
        return subjects_of(found)
    return [
        subject
        async for block in found
        for subject in subjects_of(block if isinstance(block, bytes) else bytes(block.lines))
    ]


def subjects_of(lines: bytes) -> list[str]:
    return [parse_line(line)[0].subject for line in lines.splitlines(keepends=True)]


def test_everything_works_without_a_server(tmp_path: Path) -> None:
    async def work() -> None:
        async with open_store(tmp_path) as store:
            assert not isinstance(await ask(store, "/a"), Exception)
            refused = await ask(store, "/a", IsSubjectPristine(subject="/a", recursive=False))
            assert isinstance(refused, RefusedError)
            assert refused.code is Code.PRECONDITION_VIOLATED
            only_one = "FROM e IN events PROJECT INTO COUNT() == 1"
            for _ in range(2):
                # The second time, the query is known.
                outcome = await ask(store, "/b/c", IsEventQlQueryTrue(query=only_one))
            assert isinstance(outcome, RefusedError)
            schema = compile_event_schema(
                "io.everlog.test.late", b'{"type":"object","properties":{}}'
            )
            await register_event_schema(store, schema)

            assert await read_all(store) == ["/a", "/b/c"]
            names = [name async for chunk in read_subjects(store, "/") for name in chunk]
            assert names == ["/", "/a", "/b", "/b/c"]
            assert "io.everlog.test.late" in [entry.name for entry in read_event_types(store)]
            rows = run_eventql_query(
                store,
                "FROM e IN events ORDER BY e.id DESC PROJECT INTO e.subject",
                permit=store.queries.permits.acquire(),
                form=RowForm(b"", b"\n"),
            )
            assert b"".join([row async for row in rows if row]) == b'"/b/c"\n"/a"\n'

    run(work)


def test_what_was_written_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    async def work() -> None:
        reports = []
        options = StoreOptions(
            hash_version=HashVersion.V2,
            events=StoreEvents(opened=lambda report, _: reports.append(report.event_count)),
        )
        for number in range(3):
            async with open_store(tmp_path, options) as store:
                await ask(store, f"/{number}")
                assert await read_all(store) == [f"/{before}" for before in range(number + 1)]
        assert reports == [0, 1, 2]

    run(work)


def test_closing_answers_what_had_begun_and_ends_what_has_no_end(tmp_path: Path) -> None:
    async def observe(store: Store) -> list[str]:
        selection = parse_observe_selection(
            subject="/", recursive=True, lower_bound=None, from_latest_event=None
        )
        permit = store.observers.permits.acquire()
        events: AsyncIterator[bytes] = observe_events(
            store, selection, permit=permit, transform=AS_STORED
        )
        seen: list[str] = []
        async with aclosing(events) as blocks:  # type: ignore[type-var]  # It is a generator.
            async for block in blocks:
                if block is not HEARTBEAT:
                    seen += subjects_of(block)
        return seen

    async def work() -> None:
        async with open_store(tmp_path) as store:
            await ask(store, "/first")
            observing = asyncio.create_task(observe(store))
            begun = asyncio.create_task(ask(store, "/begun"))
            await asyncio.sleep(0)
        assert not isinstance(await begun, Exception)
        assert (await observing)[:1] == ["/first"]
        late = await ask(store, "/late")
        assert isinstance(late, RefusedError)
        assert late.code is Code.SERVER_SHUTTING_DOWN
        async with open_store(tmp_path) as store:
            assert await read_all(store) == ["/first", "/begun"]

    run(work)


def test_a_directory_has_one_store_at_a_time_and_is_free_after_an_error(tmp_path: Path) -> None:
    async def fail_within() -> None:
        async with open_store(tmp_path):
            with pytest.raises(DirectoryLockedError):
                await open_store(tmp_path).__aenter__()
            raise ZeroDivisionError

    async def work() -> None:
        with pytest.raises(ZeroDivisionError):
            await fail_within()
        async with open_store(tmp_path) as store:
            assert await read_all(store) == []

    run(work)


def test_a_read_only_store_refuses_and_says_so_once(tmp_path: Path) -> None:
    async def work() -> None:
        conditions: list[Condition] = []
        options = StoreOptions(
            is_read_only=True,
            events=StoreEvents(condition_changed=lambda condition, _: conditions.append(condition)),
        )
        async with open_store(tmp_path, options) as store:
            outcome = await ask(store, "/a")
            assert isinstance(outcome, RefusedError)
            assert outcome.code is Code.STORE_READ_ONLY
            assert conditions == [Condition.READ_ONLY]
        assert conditions == [Condition.READ_ONLY, Condition.STOPPING]

    run(work)


def test_nothing_is_said_to_anybody_else(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        async with open_store(tmp_path) as store:
            await ask(store, "/a")

    with caplog.at_level(logging.DEBUG, logger="everlog"):
        run(work)

    assert capfd.readouterr() == ("", "")
    assert [record for record in caplog.records if record.name.startswith("everlog")] == []
