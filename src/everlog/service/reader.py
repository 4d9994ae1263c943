"""Reading off the event loop: blocks of lines, fetched by threads, one block ahead.

The next block is fetched while the client takes the current one, so that a reader holds at most
two. Everything a reader sees belongs to the head it began with.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

# From blocks of lines as they are stored to what a client gets; called on a reading thread.
Transform = Callable[[bytes], bytes]

# Reading waits for the disk now and then; more threads than that only compete for the interpreter.
_THREADS: Final = 4

# A small answer is fetched whole in one hand-over between threads.
_FETCH_SIZE: Final = 256 * 1024


class Reader:
    """A few threads that read for many clients."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start without threads; they come as needed."""
        self._loop: Final = loop
        self._threads: Final = ThreadPoolExecutor(_THREADS, thread_name_prefix="read")

    async def call(self, function: Callable[[], _Result]) -> _Result:
        """Return what a function returns, called on a thread."""
        return await self._loop.run_in_executor(self._threads, function)

    async def fetch_blocks(self, blocks: Iterator[bytes]) -> AsyncIterator[bytes]:
        """Yield the blocks of an iterator that is advanced on a thread."""
        async for taken in self._fetch(blocks, len):
            yield taken[0] if len(taken) == 1 else b"".join(taken)

    async def fetch_chunks(
        self, chunks: Iterator[Sequence[_Item]]
    ) -> AsyncIterator[Sequence[_Item]]:
        """Yield the chunks of an iterator that is advanced on a thread, one at a time."""
        async for taken in self._fetch(chunks, lambda _: _FETCH_SIZE):
            yield taken[0]

    def close(self) -> None:
        """End the threads once they have nothing to do."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def _fetch(
        self, items: Iterator[_Item], size_of: Callable[[_Item], int]
    ) -> AsyncIterator[list[_Item]]:
        def take() -> tuple[list[_Item], bool]:
            taken: list[_Item] = []
            size = 0
            for item in items:
                taken.append(item)
                size += size_of(item)
                if size >= _FETCH_SIZE:
                    return taken, False
            return taken, True

        taken, is_end = await self.call(take)
        while not is_end:
            ahead = self._loop.run_in_executor(self._threads, take)
            try:
                yield taken
            except GeneratorExit:
                # The thread may still be reading; its block is thrown away.
                ahead.add_done_callback(lambda future: future.cancelled() or future.exception())
                raise
            taken, is_end = await ahead
        if taken:
            yield taken
