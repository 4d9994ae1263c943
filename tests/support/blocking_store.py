"""An asynchronous store that is used as a synchronous one, so that the same tests run over both."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final, Self, TypeVar

import everlog

_Result = TypeVar("_Result")


class BlockingStore:
    """Has the names of `everlog.Store`, and does everything on an event loop of its own."""

    def __init__(self, opening: Callable[[], Any]) -> None:
        self._loop: Final = asyncio.new_event_loop()
        self._thread: Final = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._store: Final[everlog.AsyncStore] = self._run(_opened(opening))

    def __repr__(self) -> str:
        return repr(self._store)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*values: Any, **named: Any) -> Any:
            found = getattr(self._store, name)(*values, **named)
            if asyncio.iscoroutine(found):
                return self._run(found)
            if isinstance(found, everlog.AsyncFollowing):
                return BlockingFollowing(self._run, found)
            return BlockingItems(self._run, found)

        return call

    def end(self) -> None:
        """Close the store, and end the loop."""
        self._run(self._store.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, coroutine: Coroutine[Any, Any, _Result]) -> _Result:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(120)


class BlockingItems:
    """What is iterated over by `async for`."""

    def __init__(self, run: Callable[[Coroutine[Any, Any, Any]], Any], items: Any) -> None:
        self._run: Final = run
        self._items: Final = items

    def __iter__(self) -> Iterator[Any]:
        iterator = aiter(self._items)
        while (found := self._run(_next_of(iterator))) is not None:
            yield found[0]

    def __next__(self) -> Any:
        return next(iter(self))

    def batches(self) -> Iterator[Sequence[Any]]:
        for item in self:
            yield [item]


class BlockingFollowing(BlockingItems):
    """The same, to be closed."""

    def __next__(self) -> Any:
        found = self._run(_next_of(self._items))
        if found is None:
            raise StopIteration
        return found[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._run(self._items.close())


async def _opened(opening: Callable[[], Any]) -> everlog.AsyncStore:
    store: everlog.AsyncStore = await opening()
    return store


async def _next_of(iterator: AsyncIterator[Any]) -> tuple[Any] | None:
    with suppress(StopAsyncIteration):
        return (await anext(iterator),)
    return None
