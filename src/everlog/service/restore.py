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
from typing import Generic, NamedTuple, Protocol, TypeVar

from everlog.domain.errors import (
    Code,
    EverlogError,
    RefusedError,
    StateConflictError,
)
from everlog.service.served_store import ServedStore
from everlog.service.store import Store
from everlog.service.writing.changes import Outcome
from everlog.service.writing.states import Condition
from everlog.threads import call_on_thread

_Restored = TypeVar("_Restored")
_Restored_co = TypeVar("_Restored_co", covariant=True)


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

    def __enter__(self) -> object:
        """Begin with nothing."""
        ...

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


class NewDraft(Protocol[_Restored_co]):
    """Makes a draft, which is to be entered."""

    def __call__(self, *, rechain: bool) -> Draft[_Restored_co]:
        """Return one for a backup that is to be chained anew, or not."""
        ...


class Restores(NamedTuple, Generic[_Restored]):
    """What restores need: drafts, and somebody to tell of them."""

    new_draft: NewDraft[_Restored]
    events: RestoreEvents


async def restore(
    served: ServedStore,
    body: Body,
    restores: Restores[_Restored],
    *,
    rechain: bool,
    settle: Callable[[], Awaitable[None]],
) -> _Restored:
    """Fill the store with a backup, which is chained anew with `rechain`.

    `settle` returns when those who had reached the store before have left it.

    Raises:
        RefusedError: The store is not empty, or takes no writes, or is being restored; or what the
            body or the draft has to say.
        Exception: What the body or the draft raises; nothing was restored. Or what opening the
            store again does: then it is lost.
    """
    with served.locked(body.cut) as store:
        store.writer.check_restorable()
        _check_empty(store)
        quiet: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        store.writer.begin_restore(quiet.set_result)
        try:
            await settle()
            await quiet
            # What had begun may have been a write.
            _check_empty(store)
            started = time.monotonic()
            draft = restores.new_draft(rechain=rechain)
            outcome = await _fill_and_tell(store, body, draft, restores.events)
        except BaseException:
            store.writer.end_restore()
            raise
        await served.open_again()
    count = served.latest.engine.head.event_count
    if isinstance(outcome, Exception) and count == 0:
        restores.events.failed(outcome)
        raise outcome
    restores.events.ended(count, time.monotonic() - started)
    if isinstance(outcome, Exception):
        message = "the disk failed at the last step; all of the backup is there nevertheless"
        raise RefusedError(Code.STORE_FAILED, message)
    return outcome


def _check_empty(store: Store) -> None:
    head = store.engine.head
    if head.event_count > 0 or head.event_type_count > 0:
        message = (
            f"the store is not empty: it has {head.event_count} events, or event schemas; restore "
            "into an empty one"
        )
        raise StateConflictError(Code.STORE_NOT_EMPTY, message, eventCount=head.event_count)


async def _fill_and_tell(
    store: Store, body: Body, draft: Draft[_Restored], events: RestoreEvents
) -> _Restored | Exception:
    events.began()
    try:
        return await _fill(store, body, draft)
    except Exception as error:
        events.failed(error)
        raise


async def _fill(store: Store, body: Body, draft: Draft[_Restored]) -> _Restored | Exception:
    """Fill a draft and accept it; return an error where only the disk knows whether it is."""
    await call_on_thread(draft.__enter__)
    try:
        while chunk := await body.read():
            await call_on_thread(partial(draft.feed, chunk))
        _check_goes_on(store)
        return await call_on_thread(partial(_finish, draft))
    except BaseException:
        # What cannot be removed now is removed by whoever opens the store next.
        with suppress(OSError, EverlogError):
            await call_on_thread(draft.abandon)
        raise


def _check_goes_on(store: Store) -> None:
    if store.writer.condition is not Condition.RESTORING:
        raise RefusedError(Code.STORE_FAILED, store.writer.reason or "the store has failed")


def _finish(draft: Draft[_Restored]) -> _Restored | Exception:
    try:
        return draft.finish()
    except RefusedError:
        # That is said before anything is accepted.
        raise
    except (EverlogError, OSError) as error:
        return error
