"""Reading for clients: what is at hand comes at once, the rest from threads, nothing twice."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest

from everlog.service.reader import AS_STORED, Block, Reader, Transform
from everlog.storage.engine import CachedBlock
from tests.support.events import a_candidate, store
from tests.support.memory_engine import MemoryEngine


class FakeBlocks:
    """Blocks of one event each, the first so many of which are at hand."""

    def __init__(self, blocks: list[bytes], *, cached_count: int) -> None:
        self.block_size = 0
        self.start = 0
        self._blocks = blocks
        self._cached_count = cached_count
        self.threads: list[int] = []

    @property
    def is_end(self) -> bool:
        return not self._blocks

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if not self._blocks:
            raise StopIteration
        self.threads.append(threading.get_ident())
        self.start += 1
        return self._blocks.pop(0)

    def take_cached(self) -> CachedBlock | None:
        assert self._blocks
        if self._cached_count == 0:
            return None
        self._cached_count -= 1
        return CachedBlock(memoryview(bytearray(next(self))), (0,))


def run(test: Callable[[Reader], Awaitable[None]]) -> None:
    async def run_test() -> None:
        reader = Reader(asyncio.get_running_loop())
        try:
            await test(reader)
        finally:
            reader.close()

    asyncio.run(run_test())


async def read_all(found: bytes | AsyncIterator[Block]) -> list[bytes]:
    if isinstance(found, bytes):
        return [found]
    return [
        bytes(block.lines) if isinstance(block, CachedBlock) else block async for block in found
    ]


@pytest.mark.parametrize("cached_count", [0, 1, 2, 3])
def test_only_what_is_not_at_hand_is_handed_over(cached_count: int) -> None:
    async def test(reader: Reader) -> None:
        blocks = FakeBlocks([b"a\n", b"b\n", b"c\n"], cached_count=cached_count)
        found = await reader.fetch_all_or_blocks(lambda _: blocks)
        assert b"".join(await read_all(found)) == b"a\nb\nc\n"
        own = threading.get_ident()
        assert [thread == own for thread in blocks.threads] == [
            number < cached_count for number in range(3)
        ]

    run(test)


@pytest.mark.parametrize("cached_count", [0, 1, 2, 3])
def test_blocks_at_hand_and_others_become_the_same(cached_count: int) -> None:
    def shout(block: CachedBlock) -> None:
        block.lines[:] = bytes(block.lines).upper()

    async def test(reader: Reader) -> None:
        blocks = FakeBlocks([b"a\n", b"b\n", b"c\n"], cached_count=cached_count)
        found = await reader.fetch_all_or_blocks(lambda _: blocks, Transform(bytes.upper, shout))
        assert b"".join(await read_all(found)) == b"A\nB\nC\n"

    run(test)


def test_blocks_at_hand_that_cannot_be_overwritten_are_converted_on_a_thread() -> None:
    async def test(reader: Reader) -> None:
        blocks = FakeBlocks([b"a\n", b"b\n"], cached_count=2)
        found = await reader.fetch_all_or_blocks(
            lambda _: blocks, Transform(lambda block: block * 2, None)
        )
        assert await read_all(found) == [b"a\na\nb\nb\n"]
        assert threading.get_ident() not in blocks.threads

    run(test)


def lines_of(*sizes: int) -> list[bytes]:
    """Return the lines of events that are a little larger than these sizes."""
    candidates = [a_candidate(data=f'{{"text":"{"x" * size}"}}') for size in sizes]
    return list(store(MemoryEngine(), *candidates).lines)


@pytest.mark.parametrize(
    "sizes, counts",
    [([], [0]), ([1, 1], [2]), ([300_000], [1]), ([300_000, 300_000], [1, 1])],
    ids=["nothing", "little", "one block", "two blocks"],
)
def test_blocks_come_joined_only_if_they_are_small(sizes: list[int], counts: list[int]) -> None:
    async def test(reader: Reader) -> None:
        lines = lines_of(*sizes) if sizes else []
        found = await reader.fetch_all_or_blocks(lambda _: iter(lines))
        blocks = await read_all(found)
        assert [block.count(b"\n") for block in blocks] == counts
        assert b"".join(blocks) == b"".join(lines)

    run(test)


def test_what_fails_on_a_thread_fails_for_who_asked() -> None:
    [line] = lines_of(300_000)

    def fail() -> Iterator[bytes]:
        yield line
        raise OSError("the disk is gone")

    async def test(reader: Reader) -> None:
        found = await reader.fetch_all_or_blocks(lambda _: fail())
        assert not isinstance(found, bytes)
        assert await anext(found) == line
        with pytest.raises(OSError, match="the disk is gone"):
            await anext(found)

    run(test)


def test_many_who_read_slowly_keep_little_and_get_everything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = lines_of(*[20_000] * 20, 110_000, *[100] * 200, *[20_000] * 20)
    everything = b"".join(lines)

    def following(position: int | None) -> Iterator[bytes]:
        # In blocks of several lines, which are others whenever one begins anew.
        first = 0 if position is None else position + 1
        for start in range(first, len(lines), 7):
            yield b"".join(lines[start : start + 7])

    async def test(reader: Reader) -> None:
        monkeypatch.setattr(reader, "block_size", lambda: 50_000)
        fetches = [reader.fetch_blocks(following, AS_STORED) for _ in range(90)]
        received = [b""] * len(fetches)
        while True:
            blocks = await asyncio.gather(*[anext(fetch, b"") for fetch in fetches])
            received = [before + block for before, block in zip(received, blocks, strict=True)]
            assert all(block.endswith(b"\n") or not block for block in blocks)
            assert sum(fetch._blocks is not None for fetch in fetches) <= 64
            assert sum(len(fetch._part.lines) > 0 for fetch in fetches) <= 64
            if not any(blocks):
                break
        assert all(part == everything for part in received)

    run(test)


def test_where_many_read_they_are_sent_less_at_once() -> None:
    lines = lines_of(*[1_000] * 2_000)

    async def test(reader: Reader) -> None:
        first = reader.fetch_blocks(lambda _: iter([b"".join(lines)]), AS_STORED)
        assert len(await anext(first)) > 500_000
        others = [reader.fetch_blocks(lambda _: iter(()), AS_STORED) for _ in range(3_000)]
        assert len(await anext(first)) <= 128 * 1024 * 1024 // 3_000
        others.clear()
        assert len(await anext(first)) > 500_000

    run(test)
