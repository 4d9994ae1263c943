"""Checkpoints of a store: when they are made, kept, cosigned, and when not."""

import asyncio
import errno
import shutil
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from everlog.domain.checkpoint import CheckpointKey
from everlog.domain.note import VerifierKey, WitnessAddress
from everlog.service.proving import checkpoints as module
from everlog.service.proving.checkpoints import (
    CheckpointOptions,
    ProvingEvents,
    SignedCheckpoint,
    describe,
)
from everlog.service.proving.witnesses import Answer, WitnessState
from everlog.service.store import Store, StoreEvents, StoreOptions, open_store
from everlog.service.write import write
from everlog.service.writing.changes import Outcome
from everlog.storage.log.disk import PosixDisk
from tests.support.events import a_candidate
from tests.support.signed_notes import COSIGNATURE, NoteKey

ORIGIN = "log.example.com"
KEY = CheckpointKey.generate()
OTHER_KEY = CheckpointKey.generate()
WITNESS = NoteKey("w.example/1", COSIGNATURE)
DEADLINE_SECONDS = 60


class Post:
    """A witness that cosigns once it is let, and remembers what it was asked."""

    def __init__(self) -> None:
        self.may_answer = threading.Event()
        self.sizes: list[int] = []

    def __call__(self, _: str, body: bytes) -> Answer:
        text = body.decode().split("\n\n")[1] + "\n"
        self.sizes.append(int(text.split("\n")[1]))
        assert self.may_answer.wait(DEADLINE_SECONDS)
        return Answer(200, "", WITNESS.sign(text, time=5).encode())


class FailingDisk(PosixDisk):
    """A disk on which small files cannot be put into their places."""

    is_failing = False

    def rename(self, folder: object, source: str, target: str) -> None:
        if self.is_failing and source == "checkpoint.new":
            raise OSError(errno.EIO, "Input/output error")
        super().rename(folder, source, target)  # type: ignore[arg-type]  # A folder of ours.


def options(told: list[str], post: Post | None = None) -> StoreOptions:
    witnesses = []
    if post is not None:
        witnesses = [WitnessAddress("http://w", VerifierKey.parse(WITNESS.verifier_key))]
    proving = ProvingEvents(
        made=lambda size: told.append(f"made {size}"),
        failed=lambda error: told.append(f"failed: {describe(error)}"),
        recovered=lambda size: told.append(f"recovered {size}"),
        replaced=lambda: told.append("replaced"),
        contradicted=lambda reason: told.append(f"contradicted: {reason}"),
        witness_changed=lambda witness: told.append(witness.state.value),
        bug=lambda error: told.append(f"bug: {error}"),
    )
    return StoreOptions(
        checkpoints=CheckpointOptions(key=KEY, origin=ORIGIN, witnesses=witnesses, post=post),
        events=StoreEvents(proving=proving),
    )


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def run_in_time() -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await work()

    asyncio.run(run_in_time())


@pytest.fixture(autouse=True)
def _short_periods(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PERIOD_SECONDS", 0.01)


async def store_events(store: Store, count: int = 1) -> None:
    answered: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    write(store, [a_candidate("/a")] * count, (), answered.set_result)
    assert not isinstance(await answered, Exception)


async def wait_until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - what is waited for tells nobody.
        await asyncio.sleep(0.001)


def size_of(store: Store) -> int:
    latest = store.checkpoints.latest
    return -1 if latest is None else latest.checkpoint.size


def is_size(store: Store, size: int) -> bool:
    return size_of(store) == size


def kept(directory: Path) -> str:
    return (directory / "tree" / "checkpoint").read_text()


def test_a_checkpoint_is_kept_before_it_is_shown_and_one_is_made_at_the_end(tmp_path: Path) -> None:
    told: list[str] = []

    async def work() -> None:
        async with open_store(tmp_path, options(told)) as store:
            await store.checkpoints.wait_for_first()
            assert size_of(store) == 0
            await store_events(store, 3)
            await wait_until(lambda: size_of(store) == 3)
            latest = store.checkpoints.latest
            assert latest is not None
            assert kept(tmp_path) == latest.note
            await store_events(store, 2)
        assert kept(tmp_path).startswith(f"{ORIGIN}\n5\n")

    run(work)
    assert told[:2] == ["made 0", "made 3"]


def test_nothing_is_signed_twice(tmp_path: Path) -> None:
    signed: list[str] = []

    async def work() -> None:
        for _ in range(2):
            async with open_store(tmp_path, options([])) as store:
                await store.checkpoints.wait_for_first()
                await asyncio.sleep(0.1)
                signed.append(kept(tmp_path))

    run(work)
    # ML-DSA-44 has another signature each time.
    assert signed[0] == signed[1]


def test_a_disk_that_does_not_take_it_is_told_of_once_and_nothing_shown(tmp_path: Path) -> None:
    told: list[str] = []
    disk = FailingDisk()

    async def work() -> None:
        async with open_store(tmp_path, options(told), disk=disk) as store:
            await wait_until(lambda: size_of(store) == 0)
            disk.is_failing = True
            await store_events(store)
            await wait_until(lambda: bool(store.checkpoints.figures().error))
            await asyncio.sleep(0.1)
            assert size_of(store) == 0
            assert store.checkpoints.figures().error == "Input/output error"
            disk.is_failing = False
            await wait_until(lambda: size_of(store) == 1)
            await wait_until(lambda: not store.checkpoints.figures().error)

    run(work)
    assert told == ["made 0", "failed: Input/output error", "made 1", "recovered 1"]


def test_who_waits_for_the_first_one_is_told_why_there_is_none(tmp_path: Path) -> None:
    told: list[str] = []
    disk = FailingDisk()
    disk.is_failing = True

    async def work() -> None:
        async with open_store(tmp_path, options(told), disk=disk) as store:
            await store.checkpoints.wait_for_first()
            assert store.checkpoints.latest is None
            assert store.checkpoints.figures().error == "Input/output error"

    run(work)
    assert told == ["failed: Input/output error"]


def test_a_slow_witness_holds_up_nothing_and_its_cosignature_is_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_COSIGNING_SECONDS", 0.01)
    told: list[str] = []
    post = Post()

    async def work() -> None:
        async with open_store(tmp_path, options(told, post)) as store:
            await store_events(store)
            await wait_until(lambda: size_of(store) == 1)
            shown = store.checkpoints.latest
            assert shown is not None
            assert shown.cosignatures == {}
            post.may_answer.set()
            await wait_until(lambda: bool(shown.cosignatures))
            assert store.checkpoints.latest is shown
            await wait_until(lambda: kept(tmp_path) == shown.note)
            assert WITNESS.sign(shown.checkpoint.text, time=5) in shown.note
        # It is asked for nothing that it has cosigned.
        assert post.sizes == [1]
        async with open_store(tmp_path, options(told, post)) as store:
            await store.checkpoints.wait_for_first()
            again = store.checkpoints.latest
            assert isinstance(again, SignedCheckpoint)
            assert again.note == shown.note
            (figures,) = store.checkpoints.figures().witnesses
            assert (figures.size, figures.state) == (1, WitnessState.UNASKED)
            await asyncio.sleep(0.1)
        assert post.sizes == [1]

    run(work)


def test_a_quick_witness_has_cosigned_what_is_shown(tmp_path: Path) -> None:
    post = Post()
    post.may_answer.set()

    async def work() -> None:
        async with open_store(tmp_path, options([], post)) as store:
            for size in range(1, 6):
                await store_events(store)
                await wait_until(partial(is_size, store, size))
                latest = store.checkpoints.latest
                assert latest is not None
                assert latest.cosignatures.keys() == {WITNESS.name}

    run(work)
    assert post.sizes == [1, 2, 3, 4, 5]


def test_an_empty_log_is_offered_to_nobody(tmp_path: Path) -> None:
    post = Post()

    async def work() -> None:
        async with open_store(tmp_path, options([], post)) as store:
            await store.checkpoints.wait_for_first()
            await asyncio.sleep(0.1)

    run(work)
    assert post.sizes == []


@pytest.mark.parametrize("content", [b"", b"rubbish", b"\xff\n\n\xe2\x80\x94 a b\n"])
def test_what_is_no_checkpoint_of_ours_is_replaced(tmp_path: Path, content: bytes) -> None:
    told: list[str] = []

    async def work() -> None:
        async with open_store(tmp_path, options(told)):
            pass
        (tmp_path / "tree" / "checkpoint").write_bytes(content)
        told.clear()
        async with open_store(tmp_path, options(told)) as store:
            await store.checkpoints.wait_for_first()

    run(work)
    assert told == ["replaced", "made 0"]
    assert kept(tmp_path).startswith(f"{ORIGIN}\n0\n")


def test_without_a_key_the_tree_grows_once_it_is_wanted(tmp_path: Path) -> None:
    async def work() -> None:
        async with open_store(tmp_path) as store:
            await store_events(store)
            await asyncio.sleep(0.1)
            assert store.checkpoints.figures().tree_size is None
            assert not (tmp_path / "tree").exists()
            await store.tree.reach(1)
            await store_events(store, 5)
            await wait_until(lambda: store.tree.size == 6)
            await store_events(store)
        async with open_store(tmp_path) as store:
            # It was saved at the end, with all that there was.
            await store.tree.reach(0)
            assert store.tree.size == 7
            assert store.checkpoints.latest is None

    run(work)


@pytest.mark.parametrize("is_cut", [False, True])
def test_another_key_keeps_what_the_one_before_promised(tmp_path: Path, *, is_cut: bool) -> None:
    told: list[str] = []
    others = CheckpointOptions(key=OTHER_KEY, origin=ORIGIN)

    async def work() -> None:
        async with open_store(tmp_path, options(told)) as store:
            await store_events(store, 3)
            await wait_until(partial(is_size, store, 3))
        if is_cut:
            for name in ("log", "index"):
                shutil.rmtree(tmp_path / name)
            (tmp_path / "durable").unlink()
        told.clear()
        async with open_store(tmp_path, replace(options(told), checkpoints=others)) as store:
            await store.checkpoints.wait_for_first()

    run(work)
    if is_cut:
        assert told == ["contradicted: 3 events were signed, and the log has 0"]
    else:
        assert told == ["replaced", "made 3"]
