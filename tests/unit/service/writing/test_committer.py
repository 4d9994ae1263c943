"""The committer: many writes by a process, few by a thread, and each batch ended once."""

import asyncio
import errno
import os
import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import cast

import pytest

from everlog.domain.errors import StoreFailedError
from everlog.service.writing import committer as committer_module
from everlog.service.writing.committer import Committer, Ended
from everlog.service.writing.figures import CommitFigures
from everlog.service.writing.sync_process import OnEnd, SyncProcess, SyncProcessLostError
from everlog.storage.engine import Batch, BatchLostError, UnchainedEntryError
from everlog.storage.log import LogEngine
from tests.support.engines import content_of, open_log, positions_of, read
from tests.support.events import a_candidate, a_schema, entries_behind, seal, stage, store

MANY = 100


class StubProcess:
    """A process that syncs when it is told how that ends."""

    def __init__(self) -> None:
        self.is_ready = True
        self.is_closed = False
        self.asked: list[tuple[int, OnEnd]] = []

    def sync(self, file: int, on_end: OnEnd) -> None:
        self.asked.append((file, on_end))

    def end(self, error: OSError | SyncProcessLostError | None = None) -> None:
        file, on_end = self.asked.pop()
        os.fstat(file)
        on_end(error, 0.5)

    def close(self) -> None:
        self.is_closed = True


class Bench:
    """A committer on a real log."""

    def __init__(self, directory: Path) -> None:
        self.engine: LogEngine = open_log(directory, segment_size_max=1_000_000)
        # There is room from now on.
        store(self.engine, a_candidate("/first"))
        self.process = StubProcess()
        self.ended: list[Ended] = []
        self._changed = asyncio.Event()
        self.committer = Committer(
            self.engine,
            loop=asyncio.get_running_loop(),
            sync_process=cast("SyncProcess", self.process),
            figures=CommitFigures(),
            on_end=self._end,
        )

    def _end(self, ended: Ended) -> None:
        self.ended.append(ended)
        if ended.failure is None:
            self.engine.publish(ended.batch)
        self._changed.set()

    def begin(self, *, write_count: int, schema: str | None = None) -> Batch:
        stage(self.engine, a_candidate("/a"), a_candidate("/b"))
        if schema is not None:
            self.engine.stage_schema(a_schema(schema))
        batch = seal(self.engine)
        size = sum(map(len, batch.lines))
        self.committer.begin(batch, write_count=write_count, size=size)
        return batch

    async def wait_for_end(self) -> Ended:
        async with asyncio.timeout(20):
            while not self.ended:
                self._changed.clear()
                await self._changed.wait()
        [ended] = self.ended
        return ended


def run(directory: Path, work: Callable[[Bench], Awaitable[None]]) -> None:
    async def run_with_bench() -> None:
        bench = Bench(directory)
        try:
            await work(bench)
        finally:
            bench.committer.stop()
        assert bench.process.is_closed
        content = content_of(bench.engine)
        bench.engine.close()
        if all(ended.failure is None for ended in bench.ended):
            reopened = open_log(directory)
            assert content_of(reopened) == content
            reopened.close()

    asyncio.run(run_with_bench())


def test_few_writes_are_left_to_the_thread(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        batch = bench.begin(write_count=1)
        ended = await bench.wait_for_end()
        assert ended.batch is batch
        assert ended.failure is None
        assert bench.process.asked == []

    run(tmp_path, work)


def test_many_writes_are_durable_when_the_process_says_so(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        bench.begin(write_count=MANY)
        await asyncio.sleep(0.01)
        assert bench.ended == []
        assert positions_of(read(bench.engine)) == [0]

        bench.process.end()
        [ended] = bench.ended
        assert ended.failure is None
        assert ended.seconds >= 0.5
        assert positions_of(read(bench.engine)) == [0, 1, 2]

    run(tmp_path, work)


def test_what_takes_more_than_a_sync_is_left_to_the_thread(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        bench.begin(write_count=MANY, schema="io.everlog.schema")
        assert (await bench.wait_for_end()).failure is None
        assert bench.process.asked == []

    run(tmp_path, work)


def test_a_process_that_is_not_ready_is_not_asked(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        bench.process.is_ready = False
        assert not bench.committer.is_handed_over(MANY)
        bench.begin(write_count=MANY)
        assert (await bench.wait_for_end()).failure is None
        assert bench.process.asked == []

    run(tmp_path, work)


def test_what_a_lost_process_was_asked_for_is_done_by_the_thread(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        batch = bench.begin(write_count=MANY)
        bench.process.is_ready = False
        bench.process.end(SyncProcessLostError())
        ended = await bench.wait_for_end()
        assert ended.batch is batch
        assert ended.failure is None
        assert positions_of(read(bench.engine)) == [0, 1, 2]

    run(tmp_path, work)


def test_a_batch_that_is_lost_before_it_is_written_has_ended(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        lost = BatchLostError(entries_behind(bench.engine.head, [a_candidate("/rival")]))

        def lose(_: Batch) -> None:
            raise lost

        for name, write_count in (("begin_commit", MANY), ("commit", 1)):
            setattr(bench.engine, name, lose)
            bench.begin(write_count=write_count)
            assert (await bench.wait_for_end()).failure is lost
            bench.engine.roll_back()
            delattr(bench.engine, name)
            bench.ended.clear()
        assert bench.process.asked == []

    run(tmp_path, work)


@pytest.mark.parametrize("is_urgent", [False, True])
@pytest.mark.parametrize("good_count", [1, 2])
def test_others_batches_are_taken_over_as_far_as_they_continue_the_log(
    tmp_path: Path, good_count: int, *, is_urgent: bool
) -> None:
    async def work(bench: Bench) -> None:
        entries = entries_behind(bench.engine.head, [a_candidate("/r")], [a_candidate("/s")])
        ended: asyncio.Future[tuple[Sequence[Batch], Exception | None]]
        ended = asyncio.get_running_loop().create_future()
        repeated = entries[:good_count] + entries[:1] * (2 - good_count)

        bench.committer.apply(repeated, lambda *told: ended.set_result(told), is_urgent=is_urgent)

        async with asyncio.timeout(20):
            batches, failure = await ended
        assert [batch.lines for batch in batches] == [entry.lines for entry in entries[:good_count]]
        assert isinstance(failure, UnchainedEntryError) == (good_count == 1)
        assert positions_of(read(bench.engine)) == [*range(1 + good_count)]

    run(tmp_path, work)


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_a_failed_sync_fails_the_store_whatever_the_reason(tmp_path: Path, number: int) -> None:
    async def work(bench: Bench) -> None:
        bench.begin(write_count=MANY)
        bench.process.end(OSError(number, os.strerror(number)))
        [ended] = bench.ended
        assert isinstance(ended.failure, StoreFailedError)
        bench.engine.roll_back()

        bench.ended.clear()
        for write_count in (MANY, 1):
            bench.begin(write_count=write_count)
            assert isinstance((await bench.wait_for_end()).failure, StoreFailedError)
            bench.engine.roll_back()
            bench.ended.clear()
        assert bench.process.asked == []
        assert positions_of(read(bench.engine)) == [0]
        bench.ended.append(ended)

    run(tmp_path, work)


def test_many_bytes_are_copied_by_the_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(bench: Bench) -> None:
        for size_max, is_asked in ((1_000_000, True), (100, False)):
            monkeypatch.setattr(committer_module, "_HAND_OVER_SIZE_MAX", size_max)
            bench.begin(write_count=MANY)
            assert bool(bench.process.asked) is is_asked
            if is_asked:
                bench.process.end()
            ended = await bench.wait_for_end()
            assert ended.failure is None
            bench.ended.clear()

    run(tmp_path, work)


def test_the_thread_calls_what_it_is_given(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        name = await bench.committer.run(lambda: threading.current_thread().name)
        assert name == "commit"
        with pytest.raises(ZeroDivisionError):
            await bench.committer.run(lambda: 1 // 0)
        # Whoever does not wait any more is not told, and disturbs nobody.
        waiting = asyncio.ensure_future(bench.committer.run(lambda: None))
        await asyncio.sleep(0)
        waiting.cancel()
        await bench.committer.run(lambda: None)

    run(tmp_path, work)
