"""The store: everything that one data directory needs, opened and closed as a whole.

`open_store` needs neither HTTP nor a token, catches no signal and writes no log: the server is one
user of it, and whoever needs a store without a server is another. Whatever it has to tell it tells
`StoreEvents`.

Guarantees that what was opened is closed, in an order in which nobody loses what is owed to them:
who waits is told, what was begun gets its outcome, and only then the engine goes.
What is left to others: what a client may ask for (use cases, one file each), and when to stop.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from everlog.domain.chain import HashVersion
from everlog.domain.schema import restore_event_schema
from everlog.domain.signature import SigningKey
from everlog.service.index_snapshots import IndexSnapshots
from everlog.service.judging import Judge
from everlog.service.judging_processes import JudgingProcesses
from everlog.service.observers import Observers
from everlog.service.querying.queries import Queries
from everlog.service.reader import Reader
from everlog.service.writing.sync_process import SyncProcess
from everlog.service.writing.writer import Condition, Writer, WriterEvents
from everlog.storage.engine import Batch, Engine
from everlog.storage.log import LogEngine, OpeningReport
from everlog.storage.log.disk import Disk

# A query that computes longer than that is a mistake more often than patience.
QUERY_SECONDS_MAX: Final = 300.0


def _ignore(*_: object) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreEvents:
    """Whom a store tells what happens to it; each is called on the event loop's thread."""

    # The directory is open; what was found there, and how many seconds it took.
    opened: Callable[[OpeningReport, float], None] = _ignore
    # What new writes are told from now on, and the error that made it so, if one did.
    condition_changed: Callable[[Condition, Exception | None], None] = _ignore
    # A snapshot of the index up to so many events was saved, or could not be.
    snapshot_saved: Callable[[int], None] = _ignore
    snapshot_failed: Callable[[OSError], None] = _ignore
    # The process that syncs ended on its own, or could not be started: writing goes on without it.
    sync_process_lost: Callable[[OSError | None], None] = _ignore
    # Nobody expected this error, and nobody was harmed by it.
    bug: Callable[[Exception], None] = _ignore


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOptions:
    """How a store works; the clock returns nanoseconds since 1970."""

    hash_version: HashVersion = HashVersion.V1
    # What queries sign events with that they look at; they have no signature without.
    signing_key: SigningKey | None = None
    # Whether whatever would change the store is refused.
    is_read_only: bool = False
    query_seconds_max: float = QUERY_SECONDS_MAX
    clock: Callable[[], int] = time.time_ns
    events: StoreEvents = StoreEvents()


@dataclass(frozen=True, slots=True)
class Store:
    """An engine, its single writer, those who read it, wait for it, and ask it."""

    engine: Engine
    writer: Writer
    reader: Reader
    judge: Judge
    observers: Observers
    queries: Queries
    snapshots: IndexSnapshots

    def end_streams(self) -> None:
        """End what has no end of its own: observers, and queries; those to come end at once."""
        self.observers.close()
        self.queries.end()


@asynccontextmanager
async def open_store(
    directory: Path,
    options: StoreOptions = StoreOptions(),
    *,
    disk: Disk | None = None,
) -> AsyncGenerator[Store, None]:
    """Open the store in a data directory, creating or recovering it, and close it at the end.

    A `disk` stands in the place of the real one, and then no process syncs.

    Raises:
        DataDirectoryError: It is locked, of an unknown format, or damaged; see its subclasses.
        DiskFullError: There is no room to rebuild its index.
        OSError: The system refuses to read or write it.
    """
    started = time.monotonic()
    engine = LogEngine.open(directory, disk=disk)
    try:
        options.events.opened(engine.report, time.monotonic() - started)
        async with run_store(engine, options, has_sync_process=disk is None) as store:
            yield store
    finally:
        engine.close()


@asynccontextmanager
async def run_store(
    engine: Engine, options: StoreOptions, *, has_sync_process: bool
) -> AsyncGenerator[Store, None]:
    """Give an open engine its writer and its readers; the engine is left open at the end."""
    loop, events = asyncio.get_running_loop(), options.events
    reader = Reader(loop)
    observers = Observers(loop)
    snapshots = IndexSnapshots(
        engine, reader, on_success=events.snapshot_saved, on_failure=events.snapshot_failed
    )

    def publish(batch: Batch) -> None:
        observers.publish(batch)
        snapshots.save_if_due()

    writer = Writer(
        engine,
        clock=options.clock,
        hash_version=options.hash_version,
        schemas=[
            restore_event_schema(entry.name, entry.schema)
            for entry in engine.event_types(engine.head)
            if entry.schema is not None
        ],
        events=WriterEvents(publish, events.condition_changed, answer_failed=events.bug),
        loop=loop,
        sync_process=_start_sync_process(loop, events) if has_sync_process else None,
    )
    queries = Queries(
        engine,
        reader,
        clock=options.clock,
        signing_key=options.signing_key,
        seconds_max=options.query_seconds_max,
    )
    if options.is_read_only:
        writer.become_read_only(_ignore)
    judge = Judge(JudgingProcesses())
    store = Store(engine, writer, reader, judge, observers, queries, snapshots)
    try:
        yield store
    finally:
        store.end_streams()
        await queries.close()
        await judge.close()
        await writer.stop()
        await snapshots.wait()
        reader.close()


def _start_sync_process(loop: asyncio.AbstractEventLoop, events: StoreEvents) -> SyncProcess | None:
    try:
        return SyncProcess(loop, on_lost=lambda: events.sync_process_lost(None))
    except OSError as error:
        events.sync_process_lost(error)
        return None
