"""The tree of a store grows when it is asked for, and is never that of another log."""

import asyncio
import errno
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack

import pytest

from everlog.domain.errors import DiskFullError, ReadFailedError
from everlog.domain.merkle import root
from everlog.service.proving import tree as module
from everlog.service.proving.tree import Tree, find_hash
from everlog.service.reader import Reader
from everlog.storage.engine import Head, Scan
from everlog.storage.line import parse_line
from everlog.storage.log.disk import PosixDisk
from everlog.storage.log.tree_files import TreeFiles
from tests.support import merkle as reference
from tests.support.engines import read
from tests.support.events import a_candidate, store
from tests.support.memory_engine import MemoryEngine


class RottenEngine(MemoryEngine):
    """An engine whose lines may be exchanged for others."""

    exchange: tuple[bytes, bytes] = (b"", b"")

    def scan(self, scan: Scan, head: Head) -> Iterator[bytes]:
        """Return blocks of whole lines, with something exchanged in them."""
        for block in super().scan(scan, head):
            yield block.replace(*self.exchange)


class Scene:
    """A log, its tree, and files that can be told to fail."""

    def __init__(self, resources: ExitStack) -> None:
        self.engine = RottenEngine()
        self.reader = Reader(asyncio.get_running_loop())
        resources.callback(self.reader.close)
        self.files = TreeFiles(None, PosixDisk(), resources)
        self.open_count = 0
        self.tree = Tree(self.engine, self.reader, self.open)

    def open(self) -> TreeFiles:
        self.open_count += 1
        return self.files

    def write(self, count: int, *, tree: Tree | None = None) -> None:
        """Write one event after the other, each in a batch of its own, and tell a tree of them."""
        for _ in range(count):
            batch = store(self.engine, a_candidate("/a"))
            if tree is not None:
                tree.note(batch)

    def watch(self, read_from: list[int]) -> None:
        """Note where the tree reads lines from; its threads do."""
        scan = self.engine.scan

        def noting(wanted: Scan, head: Head) -> Iterator[bytes]:
            if threading.current_thread() is not threading.main_thread():
                read_from.append(wanted.start)
            return scan(wanted, head)

        self.engine.scan = noting  # type: ignore[method-assign]  # To look on.

    @staticmethod
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    @property
    def leaves(self) -> list[bytes]:
        lines = read(self.engine).splitlines(keepends=True)
        return [parse_line(line)[0].hash.encode() for line in lines]

    def check(self, size: int) -> None:
        found = root(size, self.tree.nodes.hash_of)
        assert found == reference.tree_root(self.leaves[:size])


def run(act: Callable[[Scene], Awaitable[None]]) -> None:
    async def work() -> None:
        with ExitStack() as resources:
            await act(Scene(resources))

    asyncio.run(work())


def test_a_tree_grows_to_the_size_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_EVENTS_PER_ROUND", 40)
    monkeypatch.setattr(module, "_EVENTS_PER_STEP", 7)

    async def act(scene: Scene) -> None:
        scene.write(100)
        assert not scene.tree.is_wanted
        await scene.tree.reach(50)
        # By rounds, of which there are two; what ends one is not named yet.
        assert scene.tree.size == 78
        scene.check(78)
        scene.write(23)
        await scene.tree.reach(123)
        scene.check(123)
        await scene.tree.reach(5)
        assert (scene.tree.size, scene.open_count) == (123, 1)

    run(act)


def test_what_is_published_meanwhile_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_EVENTS_PER_ROUND", 40)
    read_from: list[int] = []

    async def act(scene: Scene) -> None:
        scene.watch(read_from)
        # Nobody wants the tree yet, so that nothing is noted.
        scene.write(10, tree=scene.tree)
        await scene.tree.reach(10)
        assert read_from == [0]
        scene.write(30, tree=scene.tree)
        await scene.tree.reach(25)
        assert (scene.tree.size, read_from) == (40, [0])
        scene.check(40)
        # More than is noted.
        scene.write(50, tree=scene.tree)
        await scene.tree.reach(90)
        assert read_from == [0, 80]
        # What is noted again, and what nobody noted.
        scene.write(7, tree=scene.tree)
        await scene.tree.reach(97)
        scene.write(1)
        scene.write(5, tree=scene.tree)
        await scene.tree.reach(103)
        assert read_from == [0, 80, 97]
        scene.write(2, tree=scene.tree)
        await scene.tree.reach(105)
        assert (scene.tree.size, read_from) == (105, [0, 80, 97])
        scene.check(105)

    run(act)


def test_what_was_noted_and_not_kept_is_read_again() -> None:
    read_from: list[int] = []

    async def act(scene: Scene) -> None:
        scene.watch(read_from)
        await scene.tree.reach(0)
        scene.write(20, tree=scene.tree)
        scene.files.append = scene.fail  # type: ignore[method-assign]  # A disk that fails.
        with pytest.raises(ReadFailedError):
            await scene.tree.reach(20)
        del scene.files.append
        scene.write(3, tree=scene.tree)
        await scene.tree.reach(23)
        scene.check(23)
        assert read_from == [0]

    run(act)


def test_all_who_wait_wait_for_the_same_work() -> None:
    async def act(scene: Scene) -> None:
        scene.write(30)
        await asyncio.gather(*(scene.tree.reach(size) for size in (0, 1, 30, 30)))
        scene.check(30)
        assert scene.open_count == 1

    run(act)


def test_who_gives_up_waiting_ends_nothing() -> None:
    async def act(scene: Scene) -> None:
        scene.write(30)
        waiting = asyncio.ensure_future(scene.tree.reach(30))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting})
        await scene.tree.wait()
        await scene.tree.reach(30)
        scene.check(30)

    run(act)


@pytest.mark.parametrize("position", [0, 3, 9])
def test_a_line_that_has_rotted_becomes_no_leaf(position: int) -> None:
    async def act(scene: Scene) -> None:
        scene.write(10)
        hash_ = scene.leaves[position]
        # Its own hash, and not where the next line names it.
        rotten = hash_[:-1] + (b"0" if hash_[-1:] != b"0" else b"1")
        scene.engine.exchange = (b'"hash":"' + hash_, b'"hash":"' + rotten)
        with pytest.raises(ReadFailedError, match=f"id {position + 1} does not follow"):
            await scene.tree.reach(scene.engine.head.event_count)
        assert scene.tree.size == 0
        # It goes on once the disk is right again.
        scene.engine.exchange = (b"", b"")
        await scene.tree.reach(10)
        scene.check(10)

    run(act)


def test_a_full_disk_is_told_and_the_tree_goes_on_later() -> None:
    async def act(scene: Scene) -> None:
        scene.write(20)
        await scene.tree.reach(20)
        scene.write(20)
        append = scene.files.append

        def fail(*_: object) -> None:
            raise DiskFullError("no room")

        scene.files.append = fail  # type: ignore[method-assign]  # A disk that is full.
        with pytest.raises(DiskFullError):
            await scene.tree.reach(40)
        assert scene.tree.size == 20
        scene.files.append = append  # type: ignore[method-assign]  # And is not any more.
        await scene.tree.reach(40)
        scene.check(40)

    run(act)


def test_files_that_cannot_be_opened_are_told_and_tried_again() -> None:
    async def act(scene: Scene) -> None:
        scene.write(1)
        open_files = scene.open
        failing = True

        def open_or_fail() -> TreeFiles:
            if failing:
                raise PermissionError(errno.EACCES, "Permission denied")
            return open_files()

        scene.tree = Tree(scene.engine, scene.reader, open_or_fail)
        with pytest.raises(ReadFailedError, match="Permission denied"):
            await scene.tree.reach(1)
        failing = False
        await scene.tree.reach(1)
        scene.check(1)

    run(act)


def test_the_hash_of_an_event_is_found_in_its_line() -> None:
    async def act(scene: Scene) -> None:
        scene.write(3)
        assert [find_hash(scene.engine, position).encode() for position in range(3)] == scene.leaves
        scene.engine.exchange = (b'"', b"")
        with pytest.raises(ReadFailedError, match="id 1 is damaged"):
            find_hash(scene.engine, 1)

    run(act)
