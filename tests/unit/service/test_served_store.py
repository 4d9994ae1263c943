"""The store that is served: who reaches it while it is locked, and what is there afterwards."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from everlog.domain.errors import Code, RefusedError
from everlog.service.served_store import ServedStore
from everlog.service.store import Store, open_store
from everlog.service.write import write
from everlog.service.writing.changes import Outcome
from tests.support.events import a_candidate


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def run_in_time() -> None:
        async with asyncio.timeout(60):
            await work()

    asyncio.run(run_in_time())


async def ask(store: Store, subject: str) -> Outcome:
    answered: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    write(store, [a_candidate(subject)], (), answered.set_result)
    return await answered


def ignore(_: Exception) -> None:
    """Do not give up."""


def test_nobody_reaches_a_store_that_is_locked(tmp_path: Path) -> None:
    async def work() -> None:
        async with ServedStore(partial(open_store, tmp_path)) as served:
            before = served.current
            assert before is not None
            with served.locked(ignore) as store:
                assert store is before
                assert served.current is None
                assert served.latest is before
                with pytest.raises(RefusedError) as refused, served.locked(ignore):
                    pass
                assert refused.value.code is Code.RESTORE_IN_PROGRESS
                assert served.current is None
            assert served.current is before

    run(work)


def test_a_store_that_is_opened_again_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    async def work() -> None:
        async with ServedStore(partial(open_store, tmp_path)) as served:
            before = served.latest
            await ask(before, "/before")
            with served.locked(ignore):
                await served.open_again()
                assert served.current is None
            after = served.current
            assert after is not None
            assert after is not before
            with pytest.raises(RefusedError):
                served.check_serves(before)
            assert after.engine.head.event_count == 1
            assert not isinstance(await ask(after, "/after"), Exception)
            # Nothing more is written to what was closed.
            refused = before.writer.condition
            assert refused.value == "stopping"
        assert not served.lost.done()

    run(work)


def test_a_store_that_cannot_be_opened_again_is_lost(tmp_path: Path) -> None:
    openings = 0

    @asynccontextmanager
    async def open_once() -> AsyncIterator[Store]:
        nonlocal openings
        openings += 1
        if openings > 1:
            raise OSError(5, "Input/output error")
        async with open_store(tmp_path) as store:
            yield store

    async def work() -> None:
        async with ServedStore(open_once) as served:
            with pytest.raises(OSError, match="Input/output error"), served.locked(ignore):
                await served.open_again()
            # What was closed is not there again.
            assert served.current is None
            assert isinstance(served.lost.result(), OSError)

    run(work)


def test_whoever_has_locked_the_store_is_told_that_the_server_stops(tmp_path: Path) -> None:
    async def work() -> None:
        told: list[Exception] = []
        async with ServedStore(partial(open_store, tmp_path)) as served:
            served.check_serves(served.latest)
            with served.locked(told.append):
                with pytest.raises(RefusedError) as refused:
                    served.check_serves(served.latest)
                assert refused.value.code is Code.RESTORE_IN_PROGRESS
                served.end_streams()
            (error,) = told
            assert isinstance(error, RefusedError)
            assert error.code is Code.SERVER_SHUTTING_DOWN
            with pytest.raises(RefusedError) as refused, served.locked(told.append):
                pass
            assert refused.value.code is Code.SERVER_SHUTTING_DOWN
            with pytest.raises(RefusedError) as refused:
                served.check_serves(served.latest)
            assert refused.value.code is Code.SERVER_SHUTTING_DOWN

    run(work)
