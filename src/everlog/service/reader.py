"""Reading off the event loop: blocks of lines, fetched by threads, one block ahead.

The next block is fetched while the client takes the current one, so that a reader holds at most
two. Everything a reader sees belongs to the head it began with.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple, TypeVar

from everlog.domain.errors import ReadFailedError
from everlog.storage.engine import CachedBlock, CachedBlocks

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

Block = bytes | CachedBlock


class Transform(NamedTuple):
    """From lines as they are stored to what a client gets."""

    # Called on a reading thread where there are many.
    convert: Callable[[bytes], bytes]
    # The same in the memory of a block, where what comes out is as long as what goes in.
    overwrite: Callable[[CachedBlock], None] | None


# As they are.
AS_STORED: Final = Transform(lambda lines: lines, lambda _: None)


# Reading waits for the disk now and then; more threads than that only compete for the interpreter.
_THREADS: Final = 4

# A small answer is fetched whole in one hand-over between threads.
_FETCH_SIZE: Final = 256 * 1024


class ReadFailures:
    """How often the disk did not give what is stored; on the event loop's thread only."""

    def __init__(self, on_failure: Callable[[ReadFailedError], None]) -> None:
        """Start with none; `on_failure` is told of each."""
        self._on_failure: Final = on_failure
        self.count = 0
        # By the system's clock that never goes back, in seconds; None before the first.
        self.last_at: float | None = None

    def note(self, error: ReadFailedError) -> None:
        """Note that a client could not be given something."""
        self.count += 1
        self.last_at = time.monotonic()
        self._on_failure(error)

    @property
    def seconds_since(self) -> float | None:
        """How long ago the last one was; None where there was none."""
        return None if self.last_at is None else time.monotonic() - self.last_at


class Reader:
    """A few threads that read for many clients."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start without threads; they come as needed."""
        self._loop: Final = loop
        self._threads: Final = ThreadPoolExecutor(_THREADS, thread_name_prefix="read")

    async def call(self, function: Callable[[], _Result]) -> _Result:
        """Return what a function returns, called on a thread."""
        return await self.start(function)

    def start(self, function: Callable[[], _Result]) -> asyncio.Future[_Result]:
        """Call a function on a thread and return the future of its result."""
        return self._loop.run_in_executor(self._threads, function)

    def fetch_blocks(self, blocks: Iterator[bytes]) -> AsyncIterator[bytes]:
        """Return the blocks of an iterator, which is advanced on a thread."""
        return _Fetch(self, blocks, size_of=len, join=_join)

    async def fetch_all_or_blocks(
        self, blocks: Iterator[bytes], transform: Transform = AS_STORED
    ) -> bytes | AsyncIterator[Block]:
        """Return everything if one hand-over was enough for it, otherwise as `fetch_blocks`.

        Blocks that are at hand are not handed over at all, if they are transformed in place.
        """
        if isinstance(blocks, CachedBlocks) and transform.overwrite is not None:
            return _FetchCached(self, blocks, transform.convert, transform.overwrite)
        fetch = _Fetch(self, map(transform.convert, blocks), size_of=len, join=_join)
        taken, is_end = await fetch.ahead
        return _join(taken) if is_end else fetch

    def fetch_chunks(self, chunks: Iterator[Sequence[_Item]]) -> AsyncIterator[Sequence[_Item]]:
        """Return the chunks of an iterator, which is advanced on a thread, one at a time."""
        return _Fetch(self, chunks, size_of=lambda _: _FETCH_SIZE, join=lambda taken: taken[0])

    def close(self) -> None:
        """End the threads once they have nothing to do."""
        self._threads.shutdown(wait=True, cancel_futures=True)


class _Fetch(AsyncIterator[_Item]):
    """What a thread takes from an iterator, always one piece ahead of whoever asks.

    No generator, so that it may be dropped at any moment without being closed.
    """

    def __init__(
        self,
        reader: Reader,
        items: Iterator[_Item],
        *,
        size_of: Callable[[_Item], int],
        join: Callable[[list[_Item]], _Item],
    ) -> None:
        self._reader = reader
        self._items = items
        self._size_of = size_of
        self._join = join
        self.ahead = self._start()
        self._is_end = False

    async def __anext__(self) -> _Item:
        if self._is_end:
            raise StopAsyncIteration
        taken, self._is_end = await self.ahead
        if not taken:
            raise StopAsyncIteration
        if not self._is_end:
            self.ahead = self._start()
        return self._join(taken)

    def _start(self) -> asyncio.Future[tuple[list[_Item], bool]]:
        ahead = self._reader.start(self._take)
        # Whoever went away does not ask for what was read ahead, nor why it could not be read.
        ahead.add_done_callback(lambda future: future.cancelled() or future.exception())
        return ahead

    def _take(self) -> tuple[list[_Item], bool]:
        taken: list[_Item] = []
        size = 0
        for item in self._items:
            taken.append(item)
            size += self._size_of(item)
            if size >= _FETCH_SIZE:
                return taken, False
        return taken, True


class _FetchCached(AsyncIterator[Block]):
    """Blocks taken on the event loop's thread as long as they are at hand, then on a thread."""

    def __init__(
        self,
        reader: Reader,
        blocks: CachedBlocks,
        convert: Callable[[bytes], bytes],
        overwrite: Callable[[CachedBlock], None],
    ) -> None:
        self._reader = reader
        self._blocks = blocks
        self._convert = convert
        self._overwrite = overwrite
        self._rest: AsyncIterator[bytes] | None = None

    async def __anext__(self) -> Block:
        if self._rest is None:
            if self._blocks.is_end:
                raise StopAsyncIteration
            block = self._blocks.take_cached()
            if block is not None:
                self._overwrite(block)
                return block
            # What is not in memory now is followed by more of it: from here on it is read ahead.
            self._rest = self._reader.fetch_blocks(map(self._convert, self._blocks))
        return await anext(self._rest)


def _join(blocks: list[bytes]) -> bytes:
    return blocks[0] if len(blocks) == 1 else b"".join(blocks)
