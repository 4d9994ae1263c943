"""The same for event loops: every method of a store, awaited, and every iteration, asynchronous.

It is made from `store`: what waits there waits on a thread here, one for each call that is going
on, and what comes meanwhile is taken together. Signatures, values, errors and meanings are those of
`Store`; nothing is told twice.
"""

import asyncio
import functools
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Generator,
    Iterable,
    Iterator,
    Sequence,
)
from time import monotonic
from typing import Any, Concatenate, Final, ParamSpec, Self, TypeVar

from everlog.library import opening
from everlog.library.store import Events, Following, Rows, Store
from everlog.library.values import Event
from everlog.threads import call_on_thread

_P = ParamSpec("_P")
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

# What a thread takes of an iteration at once: so many items, and none after so many seconds.
_TAKEN_MAX: Final = 1_000
_TAKEN_SECONDS: Final = 0.005


class _Iteration(AsyncIterator[_Item]):
    """Items that a thread takes from a store, some at a time.

    Whoever stops waiting for one may ask again, and misses nothing.
    """

    def __init__(self, take: Callable[[], Sequence[_Item] | None]) -> None:
        """Take nothing yet; `take` is called on a thread, and returns None at the end."""
        self._take: Final = take
        self._ready: Iterator[_Item] = iter(())
        self._taking: asyncio.Future[Sequence[_Item] | None] | None = None

    async def __anext__(self) -> _Item:
        """Return the next item."""
        while True:
            for item in self._ready:
                return item
            if self._taking is None:
                self._taking = call_on_thread(self._take)
            # A thread cannot be cancelled: what it takes is for whoever asks next.
            taken = await asyncio.shield(self._taking)
            self._taking = None
            if taken is None:
                raise StopAsyncIteration
            self._ready = iter(taken)


def _taking(items: Iterable[Sequence[_Item]]) -> Callable[[], Sequence[_Item] | None]:
    iterator = iter(items)
    return lambda: next(iterator, None)


def _together(items: Iterable[_Item]) -> Iterator[Sequence[_Item]]:
    """Yield items that come at once together."""
    taken: list[_Item] = []
    until = monotonic() + _TAKEN_SECONDS
    for item in items:
        taken.append(item)
        if len(taken) >= _TAKEN_MAX or monotonic() > until:
            yield taken
            taken, until = [], monotonic() + _TAKEN_SECONDS
    yield taken


class AsyncEvents:
    """As `Events`, with `async for`."""

    def __init__(self, events: Events) -> None:
        """Read nothing yet."""
        self._events: Final = events

    def __aiter__(self) -> AsyncIterator[Event]:
        """Yield the events in their order."""
        return _Iteration(_taking(self._events.batches()))


class AsyncRows:
    """As `Rows`, with `async for`."""

    def __init__(self, rows: Rows) -> None:
        """Run nothing yet."""
        self._rows: Final = rows

    def __aiter__(self) -> AsyncIterator[Any]:
        """Yield the rows, decoded from JSON."""
        return _Iteration(_taking(self._rows.decoded_batches()))


class AsyncFollowing(_Iteration[Event]):
    """As `Following`, with `async for` and `async with`."""

    def __init__(self, following: Following) -> None:
        """Ask nothing yet."""
        super().__init__(lambda: following.take() or None)
        self._following: Final = following

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it."""
        await self.close()

    async def close(self) -> None:
        """End the iteration, whoever waits in it; more than once is the same as once."""
        await call_on_thread(self._following.close)


def _awaited(
    method: Callable[Concatenate[Store, _P], _Result],
) -> "Callable[Concatenate[AsyncStore, _P], Coroutine[Any, Any, _Result]]":
    @functools.wraps(method)
    async def call(self: "AsyncStore", /, *values: _P.args, **named: _P.kwargs) -> _Result:
        return await call_on_thread(functools.partial(method, self.store, *values, **named))

    return call


def _iterated(
    method: Callable[Concatenate[Store, _P], Iterator[_Item]],
) -> "Callable[Concatenate[AsyncStore, _P], AsyncIterator[_Item]]":
    @functools.wraps(method)
    def call(self: "AsyncStore", /, *values: _P.args, **named: _P.kwargs) -> AsyncIterator[_Item]:
        return _Iteration(_taking(_together(method(self.store, *values, **named))))

    return call


def _converted(
    method: Callable[Concatenate[Store, _P], _Item], convert: Callable[[_Item], _Result]
) -> "Callable[Concatenate[AsyncStore, _P], _Result]":
    @functools.wraps(method)
    def call(self: "AsyncStore", /, *values: _P.args, **named: _P.kwargs) -> _Result:
        return convert(method(self.store, *values, **named))

    return call


class AsyncStore:
    """As `Store`: opened by `everlog.aopen`, or reached by `everlog.aconnect`.

    It belongs to no event loop: several may use it. `store` is what it is made from, for whoever
    needs both.
    """

    def __init__(self, store: Store) -> None:
        """Take over a store, which is closed with this one."""
        self.store: Final = store

    async def __aenter__(self) -> Self:
        """Return the store."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the store."""
        await self.close()

    def __repr__(self) -> str:
        """Say which store it is."""
        return f"<everlog.AsyncStore of {self.store!r}>"

    write = _awaited(Store.write)
    read = _converted(Store.read, AsyncEvents)
    follow = _converted(Store.follow, AsyncFollowing)
    query = _converted(Store.query, AsyncRows)
    subjects = _iterated(Store.subjects)
    event_types = _iterated(Store.event_types)
    event_type = _awaited(Store.event_type)
    register_event_schema = _awaited(Store.register_event_schema)
    health = _awaited(Store.health)
    ping = _awaited(Store.ping)
    backup = _iterated(Store.backup)
    verify_store = _awaited(Store.verify_store)
    checkpoint = _awaited(Store.checkpoint)
    inclusion_proof = _awaited(Store.inclusion_proof)
    consistency_proof = _awaited(Store.consistency_proof)
    close = _awaited(Store.close)


class Opening(Awaitable[AsyncStore]):
    """A store that is being opened: to be awaited, or entered by `async with`."""

    def __init__(self, open_store: Callable[[], Store]) -> None:
        """Open nothing yet."""
        self._open_store: Final = open_store
        self._opened: AsyncStore | None = None

    def __await__(self) -> Generator[Any, None, AsyncStore]:
        """Open it on a thread."""
        return self._open().__await__()

    async def __aenter__(self) -> AsyncStore:
        """Open it."""
        self._opened = await self._open()
        return self._opened

    async def __aexit__(self, *_: object) -> None:
        """Close it."""
        if self._opened is not None:
            await self._opened.close()

    async def _open(self) -> AsyncStore:
        return AsyncStore(await call_on_thread(self._open_store))


def _opened(open_store: Callable[_P, Store]) -> Callable[_P, Opening]:
    @functools.wraps(open_store)
    def begin(*values: _P.args, **named: _P.kwargs) -> Opening:
        return Opening(functools.partial(open_store, *values, **named))

    return begin


aopen = _opened(opening.open)
aconnect = _opened(opening.connect)
