"""Snapshots that cannot be saved: tried again ever more seldom, and told of once."""

import asyncio
import errno
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

import pytest

from everlog.service.index_snapshots import IndexSnapshots
from everlog.service.reader import Reader
from tests.support.memory_engine import MemoryEngine


class DueEngine(MemoryEngine):
    """An engine that always wants a snapshot, and may not get one."""

    error: Exception | None = None
    try_count = 0

    @property
    def is_snapshot_due(self) -> bool:
        """Always."""
        return True

    def save_snapshot(self) -> None:
        """Fail, or do nothing."""
        self.try_count += 1
        if self.error is not None:
            raise self.error


@dataclass
class Scene:
    """Snapshots of an engine, and what is told of them."""

    engine: DueEngine
    snapshots: IndexSnapshots
    told: list[str] = field(default_factory=list)


class SteppedLoop(asyncio.SelectorEventLoop):
    """A loop whose time is what a test says."""

    now = 1_000.0

    def time(self) -> float:
        """Return that."""
        return self.now


def run(act: Callable[[Scene, SteppedLoop], Coroutine[None, None, None]]) -> Scene:
    """Let a function act on snapshots; return the scene."""
    with asyncio.Runner(loop_factory=SteppedLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, SteppedLoop)
        reader = Reader(loop)
        told: list[str] = []
        engine = DueEngine()
        snapshots = IndexSnapshots(
            engine,
            reader,
            on_success=lambda count: told.append(f"saved {count}"),
            on_failure=lambda error: told.append(f"failed: {error}"),
            on_recovery=lambda count: told.append(f"again {count}"),
        )
        scene = Scene(engine, snapshots, told)
        runner.run(act(scene, loop))
        reader.close()
    return scene


async def write_for(scene: Scene, loop: SteppedLoop, *, seconds: int) -> None:
    """Let batches end ten times a second."""
    for _ in range(10 * seconds):
        scene.snapshots.save_if_due()
        await scene.snapshots.wait()
        loop.now += 0.1


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), MemoryError("no memory")])
def test_a_snapshot_that_fails_is_tried_ever_more_seldom_and_told_of_once(error: Exception) -> None:
    async def act(scene: Scene, loop: SteppedLoop) -> None:
        scene.engine.error = error
        await write_for(scene, loop, seconds=40)
        # After 1, 2, 4, 8, 16 seconds.
        assert scene.engine.try_count == 6
        await write_for(scene, loop, seconds=3_600)
        # Some minutes are the most.
        assert 12 <= scene.engine.try_count - 6 <= 20
        assert scene.snapshots.has_failed
        assert scene.snapshots.failure_count == scene.engine.try_count

        scene.engine.error = None
        await write_for(scene, loop, seconds=400)
        assert not scene.snapshots.has_failed
        scene.engine.error = error
        before = scene.engine.try_count
        await write_for(scene, loop, seconds=5)
        assert scene.engine.try_count - before == 3

    told = run(act).told

    assert told[:2] == [f"failed: {error}", "again 0"]
    assert set(told[2:-1]) == {"saved 0"}
    assert told[-1] == f"failed: {error}"


def test_one_that_succeeds_is_followed_by_the_next_at_once() -> None:
    async def act(scene: Scene, loop: SteppedLoop) -> None:
        await write_for(scene, loop, seconds=1)
        assert scene.snapshots.saved_count == 10

    assert run(act).told == ["saved 0"] * 10
