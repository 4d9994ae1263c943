"""Restore a backup into the store, which is empty, while nobody else reaches it.

What comes is put into a draft beside the store, by whoever knows what a backup is. When it is whole
it is accepted, and the store opened again, which puts it in the store's place: until then nothing
of it can be seen, and whatever goes wrong leaves an empty store, which goes on.

Guarantees that nothing else is written meanwhile: whoever had begun has the outcome before the
store is looked at, and whoever comes is refused.
What is left to others: what a backup is, and that accepting it is one step (`transfer`).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol, TypeVar

from everlog.domain.errors import Code, EverlogError, RefusedError, StateConflictError
from everlog.service.breaks import Rests
from everlog.service.served_store import ServedStore
from everlog.service.store import Store
from everlog.service.writing.states import Condition
from everlog.service.writing.writer import Outcome
from everlog.threads import call_on_thread

_Restored = TypeVar("_Restored")
_Restored_co = TypeVar("_Restored_co", covariant=True)

# What is looked at between two rests of the thread: some milliseconds.
_PIECE_SIZE: Final = 16 * 1024


class Body(Protocol):
    """A backup as it arrives."""

    async def read(self) -> bytes:
        """Return what has arrived since the last call, empty at the end."""
        ...

    def cut(self, error: Exception) -> None:
        """Let `read` raise this in the place of what is still to come."""
        ...


class Draft(Protocol[_Restored_co]):
    """What is made of a backup; each method may take long, and is called on a thread."""

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        ...

    def finish(self) -> _Restored_co:
        """Accept the draft: whoever opens the store next opens that."""
        ...

    def abandon(self) -> None:
        """Remove the draft."""
        ...


def _ignore(*_: object) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreEvents:
    """Whom a restore tells, on the event loop's thread."""

    began: Callable[[], None] = _ignore
    # The store is there again; how many events it has, and how many seconds it took.
    ended: Callable[[int, float], None] = _ignore
    # The store is as before, for this reason.
    failed: Callable[[Exception], None] = _ignore


async def restore(
    served: ServedStore,
    body: Body,
    *,
    begin: Callable[[], Draft[_Restored]],
    settle: Callable[[], Awaitable[None]],
    events: RestoreEvents,
) -> _Restored:
    """Fill the store with a backup; `settle` returns when those who had reached it before have left.

    Raises:
        RefusedError: The store is not empty, or takes no writes, or is being restored; or what the
            body or the draft has to say.
        Exception: What the body or the draft raises; nothing was restored. Or what opening the
            store again does: then it is lost.
    """
    with served.locked(body.cut) as store:
        _check_empty(store)
        quiet: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        store.writer.begin_restore(quiet.set_result)
        try:
            await settle()
            await quiet
            # What had begun may have been a write.
            _check_empty(store)
            started = time.monotonic()
            restored = await _fill_and_tell(store, body, begin, events)
        except BaseException:
            store.writer.end_restore()
            raise
        await served.open_again()
    count = served.latest.engine.head.event_count
    events.ended(count, time.monotonic() - started)
    return restored


def _check_empty(store: Store) -> None:
    head = store.engine.head
    if head.event_count > 0 or head.event_type_count > 0:
        message = (
            f"the store is not empty: it has {head.event_count} events, or event schemas; restore "
            "into an empty one"
        )
        raise StateConflictError(Code.STORE_NOT_EMPTY, message, eventCount=head.event_count)


async def _fill_and_tell(
    store: Store, body: Body, begin: Callable[[], Draft[_Restored]], events: RestoreEvents
) -> _Restored:
    events.began()
    try:
        return await _fill(store, body, begin)
    except Exception as error:
        events.failed(error)
        raise


async def _fill(store: Store, body: Body, begin: Callable[[], Draft[_Restored]]) -> _Restored:
    draft = await call_on_thread(begin)
    try:
        while chunk := await body.read():
            await call_on_thread(partial(_feed, draft, chunk))
        _check_goes_on(store)
        return await call_on_thread(draft.finish)
    except BaseException:
        # What cannot be removed now is removed by whoever opens the store next.
        with suppress(OSError, EverlogError):
            await call_on_thread(draft.abandon)
        raise


def _check_goes_on(store: Store) -> None:
    if store.writer.condition is not Condition.RESTORING:
        raise RefusedError(Code.STORE_FAILED, store.writer.reason or "the store has failed")


def _feed(draft: Draft[object], chunk: bytes) -> None:
    rests = Rests()
    for start in range(0, len(chunk), _PIECE_SIZE):
        draft.feed(chunk[start : start + _PIECE_SIZE])
        rests.take_if_due()
