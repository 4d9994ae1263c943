"""Reading for clients: what is at hand comes at once, the rest from threads, nothing twice."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest

from everlog.service.reader import Block, Reader, Transform
from everlog.storage.engine import CachedBlock


class FakeBlocks:
    """Blocks, the first so many of which are at hand."""

    def __init__(self, blocks: list[bytes], *, cached_count: int) -> None:
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
        found = await reader.fetch_all_or_blocks(blocks)
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
        found = await reader.fetch_all_or_blocks(blocks, Transform(bytes.upper, shout))
        assert b"".join(await read_all(found)) == b"A\nB\nC\n"

    run(test)


def test_blocks_at_hand_that_cannot_be_overwritten_are_converted_on_a_thread() -> None:
    async def test(reader: Reader) -> None:
        blocks = FakeBlocks([b"a\n", b"b\n"], cached_count=2)
        found = await reader.fetch_all_or_blocks(blocks, Transform(lambda block: block * 2, None))
        assert await read_all(found) == [b"a\na\nb\nb\n"]
        assert threading.get_ident() not in blocks.threads

    run(test)


@pytest.mark.parametrize(
    "blocks, expected",
    [
        ([], [b""]),
        ([b"a\n", b"b\n"], [b"a\nb\n"]),
        ([b"x" * 300_000], [b"x" * 300_000]),
        ([b"x" * 300_000, b"y" * 300_000], [b"x" * 300_000, b"y" * 300_000]),
    ],
    ids=["nothing", "little", "one block", "two blocks"],
)
def test_blocks_come_joined_only_if_they_are_small(
    blocks: list[bytes], expected: list[bytes]
) -> None:
    async def test(reader: Reader) -> None:
        found = await reader.fetch_all_or_blocks(iter(blocks))
        assert await read_all(found) == expected

    run(test)


def test_what_fails_on_a_thread_fails_for_who_asked() -> None:
    def fail() -> Iterator[bytes]:
        yield b"x" * 300_000
        raise OSError("the disk is gone")

    async def test(reader: Reader) -> None:
        found = await reader.fetch_all_or_blocks(fail())
        assert not isinstance(found, bytes)
        assert await anext(found) == b"x" * 300_000
        with pytest.raises(OSError, match="the disk is gone"):
            await anext(found)

    run(test)
