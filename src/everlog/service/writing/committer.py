"""Brings batches to the disk, one after the other.

There are two ways. A batch of many writes is written into room that is there, which is a copy into
the system's memory, and a process syncs it (`sync_process`), while the event loop goes on with the
requests of many clients. Few writes are committed by a thread, and for these the loop waits, half a
millisecond at most: their clients have nothing else to ask for meanwhile, and two busy threads that
pass the interpreter's lock to and fro lose more than the sync of a fast disk takes. The thread also
does what takes more than writing, such as a new segment, and everything where there is no process.

Where the order is decided elsewhere (`order`), a batch is appended there first, and goes to the
disk here when it stands there for good.

Guarantees that the end of each batch is told once, on the loop's thread, and that the engine is
asked for one batch at a time.

On the committing thread run `_run`, `_commit` and `_apply`, and of the engine only `commit` and
`apply`; all else belongs to the loop's. They share two queues and one flag. While nothing is on its
way, it calls what else must not keep the loop waiting (`run`).
What is left to others: what is to be stored, and who is told (`writer`).
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from functools import partial
from queue import Empty, SimpleQueue
from time import perf_counter
from typing import Final, NamedTuple, TypeVar

from everlog.service.writing.figures import CommitFigures
from everlog.service.writing.order import Order
from everlog.service.writing.sync_process import SyncProcess, SyncProcessLostError
from everlog.storage.engine import Batch, Engine, JournalEntry

# As measured: with fewer clients at a time, the way to a process and back takes longer than what
# the loop could do meanwhile.
_MANY_WRITES: Final = 4

# A disk with a cache syncs a few writes in this time; much longer, and readers would notice.
_WAIT_SECONDS: Final = 0.0005
# More bytes than that take the disk longer than we would wait.
_WAIT_SIZE_MAX: Final = 128 * 1024

# More bytes than that are copied by the thread: the loop would take more than a few milliseconds.
_HAND_OVER_SIZE_MAX: Final = 4 * 1024 * 1024

_Result = TypeVar("_Result")


class Ended(NamedTuple):
    """How the commit of a batch ended, and how many seconds it took the disk."""

    batch: Batch
    failure: Exception | None
    seconds: float
    # Whether it had its place in the log for good when it failed, wherever that is decided.
    is_appended: bool = False


class Committer:
    """The way of sealed batches to the disk."""

    def __init__(
        self,
        engine: Engine,
        *,
        loop: asyncio.AbstractEventLoop,
        sync_process: SyncProcess | None,
        figures: CommitFigures,
        on_end: Callable[[Ended], None],
        order: Order | None = None,
    ) -> None:
        """Start the thread; without a process it does everything."""
        self._engine: Final = engine
        self._loop: Final = loop
        self._sync_process: Final = sync_process
        self._figures: Final = figures
        self._tell_end: Final = on_end
        # How a batch ended that was on its way to the disk.
        self._on_end: Final = on_end if order is None else self._note_appended
        self._order: Final = order
        # Appends and confirms; kept here, since nobody else holds it.
        self._asking: asyncio.Task[None] | None = None
        # What the thread is to do next, None for its end.
        self._work: Final[SimpleQueue[Callable[[], None] | None]] = SimpleQueue()
        # How to tell how that ended.
        self._ended: Final[SimpleQueue[Callable[[], None]]] = SimpleQueue()
        # Whether the loop's thread waits for the end, so that nobody has to wake it.
        self._is_waiting = False
        self._thread: Final = threading.Thread(
            # Whoever is done without it calls `stop`; whoever fails must not wait for it.
            target=self._run,
            name="commit",
            daemon=True,
        )
        self._thread.start()

    def is_handed_over(self, write_count: int) -> bool:
        """Tell whether the loop is free again at once when so many writes are to be committed."""
        syncs = self._sync_process
        return write_count >= _MANY_WRITES and syncs is not None and syncs.is_ready

    def begin(self, batch: Batch, *, write_count: int, size: int) -> None:
        """Commit a batch of so many writes and bytes; the one before must have ended.

        If the loop waits for it, its end may be told before this returns.
        """
        if self._order is None:
            self._store(batch, write_count, size)
        else:
            asking = self._append_and_store(self._order, batch, write_count, size)
            self._asking = self._loop.create_task(asking)

    def confirm(self, on_end: Callable[[Exception | None], None]) -> None:
        """Ask whether the head is what it is for others; tell why it is not, or is not known."""
        assert self._order is not None
        self._asking = self._loop.create_task(self._confirm(self._order, on_end))

    async def _append_and_store(
        self, order: Order, batch: Batch, write_count: int, size: int
    ) -> None:
        try:
            await order.append(batch)
        except Exception as error:  # noqa: BLE001 - whatever it is, the writer must learn of it
            self._tell_end(Ended(batch, error, 0.0))
            return
        self._store(batch, write_count, size)

    async def _confirm(self, order: Order, on_end: Callable[[Exception | None], None]) -> None:
        failure: Exception | None = None
        try:
            await order.confirm()
        except Exception as error:  # noqa: BLE001 - as above
            failure = error
        on_end(failure)

    def _note_appended(self, ended: Ended) -> None:
        """Tell how a batch ended whose place is known."""
        self._tell_end(ended._replace(is_appended=True))

    def _store(self, batch: Batch, write_count: int, size: int) -> None:
        self._figures.begun_at = self._loop.time()
        if (
            write_count >= _MANY_WRITES
            and size <= _HAND_OVER_SIZE_MAX
            and self.is_handed_over(write_count)
        ):
            self._hand_over(batch)
        else:
            self._do(partial(self._commit, batch), is_short=size <= _WAIT_SIZE_MAX)

    def apply(
        self,
        entries: Sequence[JournalEntry],
        on_end: Callable[[Sequence[Batch], Exception | None], None],
        *,
        is_urgent: bool,
    ) -> None:
        """Take over others' batches, while nothing is staged, and tell how far that went.

        Where it is urgent, the loop may wait for it: then that is told before this returns.
        """
        is_short = is_urgent and _size_of(entries) <= _WAIT_SIZE_MAX
        self._do(partial(self._apply, entries, on_end), is_short=is_short)

    async def run(self, function: Callable[[], _Result]) -> _Result:
        """Return what a function returns that the thread calls, while nothing is on its way."""
        done: asyncio.Future[_Result] = self._loop.create_future()
        self._work.put(partial(self._run_for, done, function))
        return await done

    def stop(self) -> None:
        """End thread and process, which have nothing to do."""
        self._work.put(None)
        # It takes no time; a thread that waits for it would take memory.
        self._thread.join()
        if self._sync_process is not None:
            self._sync_process.close()

    # By a process.

    def _hand_over(self, batch: Batch) -> None:
        assert self._sync_process is not None
        started = perf_counter()
        try:
            file = self._engine.begin_commit(batch)
        except Exception as error:  # noqa: BLE001 - whatever it is, the writer must learn of it
            self._on_end(Ended(batch, error, 0.0))
            return
        seconds = perf_counter() - started
        if file is None:
            self._do(partial(self._commit, batch), is_short=False)
        else:
            self._sync_process.sync(
                file, lambda error, more: self._end_sync(batch, error, seconds + more)
            )

    def _end_sync(
        self, batch: Batch, error: OSError | SyncProcessLostError | None, seconds: float
    ) -> None:
        if isinstance(error, SyncProcessLostError):
            # Nobody knows what is on the disk: all of the batch is written once more, and synced.
            self._do(partial(self._commit, batch), is_short=False)
            return
        failure: Exception | None = None
        try:
            self._engine.end_commit(batch, error)
        except Exception as caught:  # noqa: BLE001 - as above
            failure = caught
        self._on_end(Ended(batch, failure, seconds))

    # By the thread.

    def _do(self, work: Callable[[], Callable[[], None]], *, is_short: bool) -> None:
        """Let the thread work, and tell how that ended; wait for it a moment, if it is short."""
        if not is_short:
            self._work.put(partial(self._end_later, work))
            return
        self._is_waiting = True
        self._work.put(partial(self._end_later, work))
        try:
            tell = self._ended.get(timeout=_WAIT_SECONDS)
        except Empty:
            self._is_waiting = False
            self._take_ended()
        else:
            self._is_waiting = False
            tell()

    def _take_ended(self) -> None:
        # Empty where the loop stopped waiting just when the work ended, and took it then.
        if not self._ended.empty():
            self._ended.get()()

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            work()

    def _run_for(self, done: asyncio.Future[_Result], function: Callable[[], _Result]) -> None:
        try:
            end = partial(done.set_result, function())
        except Exception as error:  # noqa: BLE001 - as above
            end = partial(done.set_exception, error)
        self._loop.call_soon_threadsafe(lambda: done.done() or end())

    def _end_later(self, work: Callable[[], Callable[[], None]]) -> None:
        # In this order: whoever stops waiting says so first, and then looks once more.
        self._ended.put(work())
        if not self._is_waiting:
            self._loop.call_soon_threadsafe(self._take_ended)

    def _commit(self, batch: Batch) -> Callable[[], None]:
        failure: Exception | None = None
        started = perf_counter()
        try:
            self._engine.commit(batch)
        except Exception as error:  # noqa: BLE001 - as above
            failure = error
        return partial(self._on_end, Ended(batch, failure, perf_counter() - started))

    def _apply(
        self,
        entries: Sequence[JournalEntry],
        on_end: Callable[[Sequence[Batch], Exception | None], None],
    ) -> Callable[[], None]:
        batches: list[Batch] = []
        failure: Exception | None = None
        try:
            for entry in entries:
                # It has been through other hands, and a hash costs less than a wrong copy.
                batch = self._engine.apply(entry, is_verified=False)
                batches.append(batch)
        except Exception as error:  # noqa: BLE001 - as above
            failure = error
        return partial(on_end, batches, failure)


def _size_of(entries: Sequence[JournalEntry]) -> int:
    return sum([len(line) for entry in entries for line in entry.lines])
