"""Reading off the event loop: blocks of lines, fetched by threads, one block ahead.

The next block is fetched while the client takes the current one. Everything a reader sees belongs
to the head it began with.

Guarantees that those who read, and do not take what they asked for, cost no more than a bound,
however many they are: blocks become smaller where there are many, and only some keep what they have
read ahead; the others read it again, from the position up to which they were sent everything.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, NamedTuple, TypeVar
from weakref import WeakKeyDictionary, WeakSet

from everlog.domain.errors import ReadFailedError
from everlog.storage.engine import CachedBlock, CachedBlocks
from everlog.storage.line import parse_line

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

Block = bytes | CachedBlock

# Begins a scan anew behind the event at a position, or at its beginning, and returns its blocks.
Following = Callable[[int | None], Iterator[bytes]]


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

# What clients are sent at once, one line at least: all of them together so many bytes, and each of
# them no more than what is worth it. What a client does not take is kept for it.
_BLOCKS_SIZE_MAX: Final = 64 * 1024 * 1024
_BLOCK_SIZE_MAX: Final = 512 * 1024
_BLOCK_SIZE_MIN: Final = 16 * 1024

# So many keep what they have read and not sent, and where they are in the index: a few MB each.
# The others look for it again when their clients want more.
_KEPT_MAX: Final = 32

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
        # Whatever is being read for clients, and what of it keeps blocks, the idlest first.
        self.fetches: Final[WeakSet[object]] = WeakSet()
        self._kept: Final[WeakKeyDictionary[_FetchBlocks, None]] = WeakKeyDictionary()

    async def call(self, function: Callable[[], _Result]) -> _Result:
        """Return what a function returns, called on a thread."""
        return await self.start(function)

    def start(self, function: Callable[[], _Result]) -> asyncio.Future[_Result]:
        """Call a function on a thread and return the future of its result."""
        return self._loop.run_in_executor(self._threads, function)

    def fetch_blocks(self, following: Following, transform: Transform) -> AsyncIterator[bytes]:
        """Return the blocks of a scan, which is advanced on a thread."""
        return _FetchBlocks(self, following, transform.convert)

    async def fetch_all_or_blocks(
        self, following: Following, transform: Transform = AS_STORED
    ) -> bytes | AsyncIterator[Block]:
        """Return everything if one hand-over was enough for it, otherwise as `fetch_blocks`.

        Blocks that are at hand are not handed over at all, if they are transformed in place.
        """
        blocks = following(None)
        if isinstance(blocks, CachedBlocks) and transform.overwrite is not None:
            return _FetchCached(self, blocks, following, transform)
        fetch = _FetchBlocks(self, following, transform.convert)
        everything = await fetch.take_all()
        return fetch if everything is None else everything

    def fetch_chunks(self, chunks: Iterator[Sequence[_Item]]) -> AsyncIterator[Sequence[_Item]]:
        """Return the chunks of an iterator, which is advanced on a thread, one at a time."""
        return _FetchChunks(self, chunks)

    def block_size(self) -> int:
        """Return how many bytes a client is sent at once, less where there are many."""
        share = _BLOCKS_SIZE_MAX // max(len(self.fetches), 1)
        return min(max(share, _BLOCK_SIZE_MIN), _BLOCK_SIZE_MAX)

    def keep(self, fetch: "_FetchBlocks") -> None:
        """Let one that goes on keep what it has read, and the one that did so longest ago not."""
        self._kept.pop(fetch, None)
        self._kept[fetch] = None
        if len(self._kept) > _KEPT_MAX:
            idle = next(iter(self._kept))
            del self._kept[idle]
            idle.forget()

    def close(self) -> None:
        """End the threads once they have nothing to do."""
        self._threads.shutdown(wait=True, cancel_futures=True)


class _Part(NamedTuple):
    """What a thread has read in one go, the position of the last event, whether that is all."""

    lines: bytes
    position: int | None
    is_end: bool


class _FetchBlocks(AsyncIterator[bytes]):
    """What a thread takes from a scan, always one part ahead of whoever asks.

    No generator, so that it may be dropped at any moment without being closed.
    """

    def __init__(
        self,
        reader: Reader,
        following: Following,
        convert: Callable[[bytes], bytes],
        *,
        position: int | None = None,
    ) -> None:
        """Begin behind the event at a position, or at the beginning."""
        self._reader = reader
        self._following = following
        self._convert = convert
        # The last event that was given away, and how much of the lines behind it was, too: those of
        # the part at hand, and those of the next one where that had to be forgotten.
        self._position = position
        self._part = _Part(b"", position, is_end=False)
        self._given_size = 0
        self._skipped_size = 0
        self._blocks: Iterator[bytes] | None = None
        self._ahead: asyncio.Future[_Part] | None = None
        reader.fetches.add(self)

    async def __anext__(self) -> bytes:
        self._reader.keep(self)
        while not self._part.lines:
            if self._part.is_end:
                raise StopAsyncIteration
            await self._take_part()
        return self._cut()

    async def take_all(self) -> bytes | None:
        """Return everything if it is the first part, else nothing yet; to be called first."""
        self._reader.keep(self)
        await self._take_part()
        return self._part.lines if self._part.is_end else None

    def forget(self) -> None:
        """Keep nothing that can be read again."""
        self._blocks = self._ahead = None
        if self._part.lines:
            self._skipped_size += self._given_size
            self._given_size = 0
            self._part = _Part(b"", self._position, is_end=False)

    async def _take_part(self) -> None:
        if self._ahead is None:
            self._read_ahead()
        assert self._ahead is not None
        part = await self._ahead
        # It may have been forgotten meanwhile.
        self._reader.keep(self)
        self._ahead = None
        skipped = min(self._skipped_size, len(part.lines))
        self._skipped_size -= skipped
        self._part, self._given_size = part, skipped
        if skipped == len(part.lines):
            self._give_all()
        if not part.is_end:
            self._read_ahead()

    def _give_all(self) -> None:
        """Note that the part at hand was given away."""
        self._position = self._part.position
        self._part = self._part._replace(lines=b"")
        self._given_size = 0

    def _read_ahead(self) -> None:
        if self._blocks is None:
            self._blocks = self._following(self._part.position)
            if isinstance(self._blocks, CachedBlocks):
                self._blocks.block_size = self._reader.block_size()
        self._ahead = self._reader.start(partial(_take, self._blocks, self._convert))
        # Whoever went away does not ask for what was read ahead, nor why it could not be read.
        self._ahead.add_done_callback(lambda future: future.cancelled() or future.exception())

    def _cut(self) -> bytes:
        """Give away as many lines as are sent at once."""
        lines, start = self._part.lines, self._given_size
        size = self._reader.block_size()
        if len(lines) - start <= size:
            self._give_all()
            return lines[start:]
        stop = lines.rfind(b"\n", start, start + size) + 1 or lines.index(b"\n", start) + 1
        self._given_size = stop
        return lines[start:stop]


def _take(blocks: Iterator[bytes], convert: Callable[[bytes], bytes]) -> _Part:
    taken: list[bytes] = []
    size = 0
    block = b""
    for block in blocks:
        taken.append(convert(block))
        size += len(block)
        if size >= _FETCH_SIZE:
            return _Part(_join(taken), _last_position(blocks, block), is_end=False)
    return _Part(_join(taken), None, is_end=True)


def _last_position(blocks: Iterator[bytes], block: bytes) -> int:
    """Return the position of the last event that was taken, which a block ends with."""
    if isinstance(blocks, CachedBlocks):
        return blocks.start - 1
    event, _ = parse_line(block[block.rfind(b"\n", 0, -1) + 1 :])
    return int(event.id)


class _FetchChunks(AsyncIterator[Sequence[_Item]]):
    """Chunks that a thread takes from an iterator, always one ahead of whoever asks."""

    def __init__(self, reader: Reader, chunks: Iterator[Sequence[_Item]]) -> None:
        self._reader = reader
        self._chunks = chunks
        self._ahead = self._read_ahead()

    async def __anext__(self) -> Sequence[_Item]:
        chunk = await self._ahead
        if chunk is None:
            raise StopAsyncIteration
        self._ahead = self._read_ahead()
        return chunk

    def _read_ahead(self) -> "asyncio.Future[Sequence[_Item] | None]":
        ahead = self._reader.start(lambda: next(self._chunks, None))
        ahead.add_done_callback(lambda future: future.cancelled() or future.exception())
        return ahead


class _FetchCached(AsyncIterator[Block]):
    """Blocks taken on the event loop's thread as long as they are at hand, then on a thread."""

    def __init__(
        self, reader: Reader, blocks: CachedBlocks, following: Following, transform: Transform
    ) -> None:
        assert transform.overwrite is not None
        self._reader = reader
        self._blocks = blocks
        self._following = following
        self._convert = transform.convert
        self._overwrite = transform.overwrite
        self._rest: AsyncIterator[bytes] | None = None
        reader.fetches.add(self)

    async def __anext__(self) -> Block:
        if self._rest is None:
            if self._blocks.is_end:
                raise StopAsyncIteration
            self._blocks.block_size = self._reader.block_size()
            block = self._blocks.take_cached()
            if block is not None:
                self._overwrite(block)
                return block
            # What is not in memory now is followed by more of it: from here on it is read ahead.
            self._reader.fetches.discard(self)
            position = self._blocks.start - 1
            self._rest = _FetchBlocks(
                self._reader, self._following, self._convert, position=position
            )
        return await anext(self._rest)


def _join(blocks: list[bytes]) -> bytes:
    return blocks[0] if len(blocks) == 1 else b"".join(blocks)
