"""The store that is served, and the one way in which another one takes its place.

Whoever serves a store for long reaches it here each time, and keeps it no longer than a request. So
it can be closed and opened again while the server goes on: what came into its place on the disk
meanwhile is served from then on.

Guarantees that a store which is locked is reached by nobody who comes, and that what takes its
place is what the lock ends with. A store that cannot be opened again is told of by `lost`: then
there is nothing to serve.
What is left to others: why it is locked (`restore`), and what a store is (`store`).
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Final, Self

from everlog.domain.errors import Code, RefusedError
from everlog.service.store import Store


class ServedStore:
    """One store at a time; to be entered, and used on the event loop's thread only."""

    def __init__(self, open_: Callable[[], AbstractAsyncContextManager[Store]]) -> None:
        """Open nothing yet."""
        self._open: Final = open_
        self._opened: AbstractAsyncContextManager[Store] | None = None
        # The store, None while it is locked.
        self.current: Store | None = None
        # The error for which there is no store any more.
        self.lost: Final[asyncio.Future[Exception]] = asyncio.get_running_loop().create_future()
        self._is_ending = False
        # Told when the store that was locked is there again.
        self.on_unlocked: Callable[[], None] = _tell_nobody
        # Tells whoever has locked the store that it is to give up.
        self._give_up: Callable[[Exception], None] | None = None

    async def __aenter__(self) -> Self:
        """Open the store; raises what opening it does."""
        self.current = await self._enter()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it."""
        await self._close()

    @property
    def latest(self) -> Store:
        """The store, locked or not, for those who only look at its figures."""
        return self._latest

    @contextmanager
    def locked(self, give_up: Callable[[Exception], None]) -> Iterator[Store]:
        """Let nobody else reach the store; at the end it is there again, or the one in its place.

        `give_up` is called with the reason if the server stops meanwhile.

        Raises:
            RefusedError: It is locked already, or the server stops.
        """
        if self._is_ending:
            raise _shutting_down()
        if self.current is None:
            raise restore_in_progress("writing")
        store, self.current = self.current, None
        self._give_up = give_up
        try:
            yield store
        finally:
            self._give_up = None
            if not self.lost.done():
                self.current = self._latest
                self.on_unlocked()

    async def open_again(self) -> None:
        """Close the store, whose lock this belongs to, and open what is in its place.

        Raises what opening does; then the store is lost.
        """
        assert self.current is None
        try:
            await self._close()
            await self._enter()
        except Exception as error:
            self.lost.set_result(error)
            raise

    def lose(self, error: Exception) -> None:
        """Let the server end for an error for which the store must not be served any more."""
        if not self.lost.done():
            self.lost.set_result(error)

    def check_serves(self, store: Store) -> None:
        """Raise a RefusedError if this store is not served any more, or not now."""
        if self._is_ending:
            raise _shutting_down()
        if store is not self.current:
            raise restore_in_progress()

    def end_streams(self) -> None:
        """End what has no end of its own, and whatever keeps the store locked: the server stops."""
        self._is_ending = True
        self._latest.end_streams()
        if self._give_up is not None:
            self._give_up(_shutting_down())

    async def _enter(self) -> Store:
        opened = self._open()
        self._latest = await opened.__aenter__()
        self._opened = opened
        return self._latest

    async def _close(self) -> None:
        opened, self._opened = self._opened, None
        if opened is not None:
            await opened.__aexit__(None, None, None)


def _tell_nobody() -> None:
    """Nobody else serves the store."""


def restore_in_progress(what: str = "reading") -> RefusedError:
    """Return the refusal of what comes while the store is locked: of reading, or of writing.

    Clients compare the text (compatibility specification, section 17).
    """
    message = f"a backup is being restored: {what} is not permitted"
    return RefusedError(Code.RESTORE_IN_PROGRESS, message)


def _shutting_down() -> RefusedError:
    return RefusedError(Code.SERVER_SHUTTING_DOWN, "server is shutting down")
