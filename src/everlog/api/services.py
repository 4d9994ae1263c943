"""What every endpoint works with, and what it may fail with on purpose."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from everlog.api.answers import EventForm, text_response
from everlog.api.bodies import MalformedRequestError
from everlog.domain.errors import (
    BusyError,
    CatchingUpError,
    Code,
    DiskBusyError,
    DiskFullError,
    JournalUnreachableError,
    ReadFailedError,
    RefusedError,
    StoreFailedError,
    TooManyAuditsError,
    TooManyObserversError,
    TooManyQueriesError,
)
from everlog.domain.event import EventCandidate
from everlog.domain.precondition import Precondition
from everlog.domain.time import next_event_time
from everlog.http import Exchange
from everlog.monitoring.diagnostics import Diagnostics
from everlog.monitoring.figures import Monitor
from everlog.monitoring.tally import Tally
from everlog.service.restore import Restores
from everlog.service.served_store import ServedStore, restore_in_progress
from everlog.service.store import Store
from everlog.service.write import write as write_here
from everlog.service.writing.changes import Answer
from everlog.transfer.restoring import Restored

# From candidates and preconditions to an outcome, which the answer is called with; a task where
# something has to be waited for that is of no use once the client is gone.
WriteEvents = Callable[
    [Store, Sequence[EventCandidate], Sequence[Precondition], Answer],
    asyncio.Task[None] | None,
]

Failure = RefusedError | MalformedRequestError | DiskFullError | StoreFailedError | BusyError


# No codes of the API: version 2 has statuses and texts for these.
MALFORMED: Final = "malformed-request"
TOO_MANY_OBSERVERS: Final = "too-many-observers"
TOO_MANY_QUERIES: Final = "too-many-queries"
TOO_MANY_AUDITS: Final = "too-many-audits"
TOO_MUCH_TO_JUDGE: Final = "too-much-to-judge"
DISK_BUSY: Final = "disk-busy"
JOURNAL_UNREACHABLE: Final = "journal-unreachable"
CATCHING_UP: Final = "catching-up"
CHECKPOINT_MISSING: Final = "checkpoint-missing"


class Tasks:
    """Owns the work that an endpoint has to wait for before it knows its answer."""

    def __init__(self, on_error: Callable[[BaseException], None]) -> None:
        """Report to `on_error` what no endpoint handles."""
        self._on_error: Final = on_error
        self._running: Final[set[asyncio.Task[None]]] = set()

    def start(self, exchange: Exchange, work: Coroutine[Any, Any, None]) -> None:
        """Run work to its end, whether or not the client is still there."""
        self._watch(exchange, asyncio.get_running_loop().create_task(work))

    def start_for(self, exchange: Exchange, work: Coroutine[Any, Any, None]) -> None:
        """Run work that is of no use once the client is gone."""
        self.tie(exchange, asyncio.get_running_loop().create_task(work))

    def tie(self, exchange: Exchange, task: asyncio.Task[None]) -> None:
        """Take over a task that is of no use once the client is gone."""
        self._watch(exchange, task)

        def cancel() -> None:
            task.cancel()

        exchange.on_disconnect(cancel)

    async def wait(self) -> None:
        """Return when nothing is running."""
        while self._running:
            await asyncio.wait(self._running)

    async def wait_for_others(self) -> None:
        """Return when all is done that is running now, besides the task that waits."""
        others = self._running - {asyncio.current_task()}
        if others:
            await asyncio.wait(others)

    def _watch(self, exchange: Exchange, task: asyncio.Task[None]) -> None:
        self._running.add(task)

        def finish(done: asyncio.Task[None]) -> None:
            self._running.discard(done)
            if not done.cancelled() and (error := done.exception()) is not None:
                self._on_error(error)
                answer_bug(exchange)

        task.add_done_callback(finish)


def answer_bug(exchange: Exchange) -> None:
    """Answer a request that met a bug on the way, so that its client does not wait for ever."""
    if exchange.answer is None:
        exchange.respond(text_response(500, "the request could not be handled"))


@dataclass(frozen=True, slots=True)
class Services:
    """The store and what the API adds to it; `clock` returns nanoseconds since 1970."""

    served: ServedStore
    form: EventForm
    clock: Callable[[], int]
    tasks: Tasks
    tally: Tally
    monitor: Monitor
    describe: Callable[[], Diagnostics]
    restores: Restores[Restored]
    # Where a write becomes an outcome: here, or in the process that has the writer.
    write: WriteEvents = write_here
    # Returns when those who reached the store before have left it, wherever they are.
    settle: Callable[[], Awaitable[None]] | None = None
    # Whose it is has a large body read.
    large_bodies: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def is_locked(self) -> bool:
        """Whether a backup is being restored."""
        return self.served.current is None

    @property
    def store(self) -> Store:
        """The store that is served.

        Raises:
            RefusedError: A backup is being restored into it.
        """
        store = self.served.current
        if store is None:
            raise restore_in_progress()
        return store

    def count_refusal(self, error: Failure) -> None:
        """Count a failure by its code."""
        self.tally.refusals[_code(error)] += 1
        if isinstance(error, ReadFailedError):
            self.served.latest.read_failures.note(error)

    def now(self) -> str:
        """Return the time as events state it."""
        return next_event_time(self.clock(), previous=0)[1]


def _code(error: Failure) -> str:
    match error:
        case RefusedError():
            return error.code.value
        case MalformedRequestError():
            return MALFORMED
        case DiskFullError():
            return Code.DISK_FULL.value
        case TooManyObserversError():
            return TOO_MANY_OBSERVERS
        case DiskBusyError():
            return DISK_BUSY
        case JournalUnreachableError():
            return JOURNAL_UNREACHABLE
        case CatchingUpError():
            return CATCHING_UP
        case TooManyQueriesError():
            return TOO_MANY_QUERIES
        case TooManyAuditsError():
            return TOO_MANY_AUDITS
        case BusyError():
            return TOO_MUCH_TO_JUDGE
        case StoreFailedError():
            return Code.STORE_FAILED.value
