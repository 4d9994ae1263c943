"""Restoring: in which order things happen, and what is left whatever goes wrong."""

import asyncio
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Self

import pytest

from everlog.domain.errors import Code, RefusedError
from everlog.http import DisconnectedError
from everlog.service.restore import RestoreEvents, Restores, restore
from everlog.service.served_store import ServedStore
from everlog.service.store import open_store
from everlog.service.write import write
from everlog.service.writing.changes import Outcome
from everlog.storage.log import LogEngine
from everlog.transfer.restoring import Restored, Restoring
from tests.support.backups import an_event, chained, lines_of
from tests.support.events import a_candidate

CHAIN = chained([an_event() for _ in range(10)])
BACKUP = lines_of(CHAIN)


class Body:
    """A body of parts that are all there, or raise."""

    def __init__(self, *parts: bytes | Exception) -> None:
        self._parts = deque(parts)

    async def read(self) -> bytes:
        await asyncio.sleep(0)
        part = self._parts.popleft() if self._parts else b""
        if isinstance(part, Exception):
            raise part
        return part

    def cut(self, error: Exception) -> None:
        self._parts = deque([error])


class Bench:
    """A store in a directory, and what is said of restores."""

    def __init__(self, directory: Path, served: ServedStore) -> None:
        self.directory = directory
        self.served = served
        self.said: list[str] = []
        self.new_draft: Callable[..., Restoring] = partial(Restoring, directory)

    async def restore(
        self, *parts: bytes | Exception, settle: Callable[[], Awaitable[None]] | None = None
    ) -> Restored:
        async def settle_at_once() -> None:
            """Wait for nobody."""

        events = RestoreEvents(
            began=lambda: self.said.append("began"),
            ended=lambda count, _: self.said.append(f"ended {count}"),
            failed=lambda error: self.said.append(f"failed {type(error).__name__}"),
        )
        return await restore(
            self.served,
            Body(*parts),
            Restores(self.new_draft, events),
            rechain=False,
            settle=settle or settle_at_once,
        )

    async def write(self, subject: str) -> Outcome:
        answered: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        write(self.served.latest, [a_candidate(subject)], (), answered.set_result)
        return await answered

    @property
    def count(self) -> int:
        current = self.served.current
        assert current is not None
        return current.engine.head.event_count

    @property
    def leftovers(self) -> Sequence[str]:
        return [path.name for path in self.directory.glob("restore*")]


def run_bench(directory: Path, work: Callable[[Bench], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(60), ServedStore(partial(open_store, directory)) as served:
            await work(Bench(directory, served))

    asyncio.run(run())


def test_what_is_restored_is_there_at_once_and_afterwards(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        restored = await bench.restore(BACKUP[:100], BACKUP[100:])

        assert (restored.event_count, restored.last_hash) == (10, CHAIN[-1][1])
        assert bench.count == 10
        assert bench.said == ["began", "ended 10"]
        assert not isinstance(await bench.write("/after"), Exception)

    run_bench(tmp_path, work)
    engine = LogEngine.open(tmp_path)
    assert engine.head.event_count == 11
    engine.close()


@pytest.mark.parametrize(
    "error", [DisconnectedError(), RefusedError(Code.SERVER_SHUTTING_DOWN, "stopping"), OSError(5)]
)
def test_whatever_ends_the_body_leaves_an_empty_store(tmp_path: Path, error: Exception) -> None:
    async def work(bench: Bench) -> None:
        with pytest.raises(type(error)) as raised:
            await bench.restore(BACKUP[:1_000], error)

        assert raised.value is error
        assert (bench.count, bench.leftovers) == (0, [])
        assert bench.said == ["began", f"failed {type(error).__name__}"]
        assert not isinstance(await bench.write("/after"), Exception)

    run_bench(tmp_path, work)


def test_a_store_that_is_not_empty_is_not_locked(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        await bench.write("/before")
        with pytest.raises(RefusedError) as raised:
            await bench.restore(BACKUP)

        assert raised.value.code is Code.STORE_NOT_EMPTY
        assert bench.said == []
        assert not isinstance(await bench.write("/after"), Exception)

    run_bench(tmp_path, work)


def test_a_write_that_had_begun_has_its_outcome_and_the_restore_is_refused(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        writing = asyncio.create_task(bench.write("/begun"))
        await asyncio.sleep(0)
        with pytest.raises(RefusedError) as raised:
            await bench.restore(BACKUP)

        assert raised.value.code is Code.STORE_NOT_EMPTY
        assert not isinstance(await writing, Exception)
        assert bench.count == 1
        assert bench.said == []
        assert not isinstance(await bench.write("/after"), Exception)

    run_bench(tmp_path, work)


def test_a_write_of_somebody_who_had_reached_the_store_before_is_refused(tmp_path: Path) -> None:
    outcomes: list[Outcome] = []

    async def work(bench: Bench) -> None:
        async def settle() -> None:
            outcomes.append(await bench.write("/late"))

        await bench.restore(BACKUP, settle=settle)
        assert bench.count == 10

    run_bench(tmp_path, work)
    (outcome,) = outcomes
    assert isinstance(outcome, RefusedError)
    assert outcome.code is Code.RESTORE_IN_PROGRESS


class FailingDraft(Restoring):
    """A draft that cannot be offered, or is although that is said to have failed."""

    is_accepted = False

    def finish(self) -> Restored:
        if self.is_accepted:
            super().finish()
        raise OSError(5, "Input/output error")


class AcceptedDraft(FailingDraft):
    is_accepted = True


def test_a_draft_that_cannot_be_offered_is_not_there(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        bench.new_draft = partial(FailingDraft, tmp_path)
        with pytest.raises(OSError, match="Input/output error"):
            await bench.restore(BACKUP)

        assert bench.count == 0
        assert bench.said == ["began", "failed OSError"]
        assert not isinstance(await bench.write("/after"), Exception)

    run_bench(tmp_path, work)
    engine = LogEngine.open(tmp_path)
    assert engine.head.event_count == 1
    engine.close()


def test_a_draft_that_was_accepted_is_served_although_the_disk_said_otherwise(
    tmp_path: Path,
) -> None:
    async def work(bench: Bench) -> None:
        bench.new_draft = partial(AcceptedDraft, tmp_path)
        with pytest.raises(RefusedError) as raised:
            await bench.restore(BACKUP)

        assert raised.value.code is Code.STORE_FAILED
        assert "all of the backup is there" in raised.value.message
        assert bench.count == 10
        assert bench.said == ["began", "ended 10"]
        # What is acknowledged now stays.
        assert not isinstance(await bench.write("/after"), Exception)

    run_bench(tmp_path, work)
    engine = LogEngine.open(tmp_path)
    assert engine.head.event_count == 11
    engine.close()


class WatchedDraft(Restoring):
    """Checks that the event loop's thread does not use it."""

    def __enter__(self) -> Self:
        assert threading.current_thread() is not threading.main_thread()
        return super().__enter__()

    def feed(self, chunk: bytes) -> None:
        assert threading.current_thread() is not threading.main_thread()
        super().feed(chunk)

    def finish(self) -> Restored:
        assert threading.current_thread() is not threading.main_thread()
        return super().finish()


def test_a_draft_is_never_used_on_the_thread_that_serves(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        bench.new_draft = partial(WatchedDraft, tmp_path)
        restored = await bench.restore(BACKUP[:10], BACKUP[10:])

        assert restored.event_count == 10

    run_bench(tmp_path, work)
