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
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from everlog.domain.chain import HashVersion
from everlog.domain.errors import ReadFailedError, StoreFailedError
from everlog.domain.schema import EventSchema, restore_event_schema
from everlog.domain.signature import SigningKey
from everlog.service.auditing import AuditFailedError, AuditReport, Audits
from everlog.service.index_snapshots import IndexSnapshots
from everlog.service.judging import Judge
from everlog.service.judging_processes import JudgingProcesses
from everlog.service.mirroring.following import Follower, FollowingOptions
from everlog.service.mirroring.mirror import Mirror
from everlog.service.mirroring.options import MirrorOptions
from everlog.service.observers import Observers
from everlog.service.proving.checkpoints import CheckpointOptions, Checkpoints, ProvingEvents
from everlog.service.proving.tree import Tree
from everlog.service.querying.processes import QueryProcessLostError
from everlog.service.querying.queries import Queries
from everlog.service.reader import Reader, ReadFailures
from everlog.service.writing.changes import WriterEvents
from everlog.service.writing.commit_watch import CommitWatch
from everlog.service.writing.order import Order
from everlog.service.writing.states import Condition
from everlog.service.writing.sync_process import SyncProcess
from everlog.service.writing.writer import Writer
from everlog.storage.engine import Batch, Engine
from everlog.storage.log import LogEngine, OpeningReport, ReadOnlyEngine, may_write
from everlog.storage.log.disk import Disk, PosixDisk
from everlog.storage.log.tree_files import TreeFiles
from everlog.threads import call_on_thread

# A query that computes longer than that is a mistake more often than patience.
QUERY_SECONDS_MAX: Final = 300.0

# What nobody uses can wait that long for the news that its directory is gone.
_LOOK_SECONDS: Final = 1.0


def _ignore(*_: object) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreEvents:
    """Whom a store tells what happens to it; each is called on the event loop's thread."""

    # The directory is open; what was found there, and how many seconds it took.
    opened: Callable[[OpeningReport, float], None] = _ignore
    # Readers see a batch, and nobody has been told yet what became of its writes.
    published: Callable[[Batch], None] = _ignore
    # What new writes are told from now on, and the error that made it so, if one did.
    condition_changed: Callable[[Condition, Exception | None], None] = _ignore
    # A snapshot of the index up to so many events was saved, or could not be: from then on this is
    # not told again until one is saved.
    snapshot_saved: Callable[[int], None] = _ignore
    snapshot_failed: Callable[[Exception], None] = _ignore
    snapshots_recovered: Callable[[int], None] = _ignore
    # The process that syncs ended on its own, or could not be started: writing goes on without it.
    sync_process_lost: Callable[[OSError | None], None] = _ignore
    # A client could not be given something, since the disk does not give it.
    read_failed: Callable[[ReadFailedError], None] = _ignore
    # The process of a query ended on its own, said what makes no sense, or could not be started.
    query_process_lost: Callable[[QueryProcessLostError], None] = _ignore
    # An audit has come to its end, or has not.
    audit_ended: Callable[[AuditReport], None] = _ignore
    audit_failed: Callable[[AuditFailedError], None] = _ignore
    # A commit has been waiting for the disk for so many seconds: said once, and then each minute;
    # and it has ended after so many.
    commit_hangs: Callable[[float], None] = _ignore
    commit_resumed: Callable[[float], None] = _ignore
    # The store is being closed, and this is what is ended now.
    closing: Callable[[str], None] = _ignore
    # What happens to the tree, its checkpoints and their witnesses.
    proving: ProvingEvents = field(default_factory=ProvingEvents)
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
    # What the log's tree is signed with; there are no checkpoints without.
    checkpoints: CheckpointOptions | None = None
    # The journal that the log is shared by, if it is.
    mirroring: MirrorOptions | None = None
    # The server whose events the store takes over, if there is one.
    following: FollowingOptions | None = None
    # Whether a process of its own may sync, which is faster where many write at a time.
    has_sync_process: bool = True
    clock: Callable[[], int] = time.time_ns
    events: StoreEvents = StoreEvents()


@dataclass(frozen=True, slots=True)
class Store:
    """An engine, its single writer, those who read it, wait for it, and ask it."""

    engine: Engine
    writer: Writer
    reader: Reader
    judge: Judge
    read_failures: ReadFailures
    observers: Observers
    queries: Queries
    audits: Audits
    snapshots: IndexSnapshots
    tree: Tree
    checkpoints: Checkpoints
    # None where this is the only store of its log.
    mirror: Mirror | None = None
    # None where no other server is followed.
    follower: Follower | None = None

    def end_streams(self) -> None:
        """End what may go on for long: observers, queries, audits; those to come end at once."""
        self.observers.close()
        self.queries.end()
        self.audits.end()


@asynccontextmanager
async def open_store(
    directory: Path,
    options: StoreOptions = StoreOptions(),
    *,
    disk: Disk | None = None,
) -> AsyncGenerator[Store, None]:
    """Open the store in a data directory, creating or recovering it, and close it at the end.

    A `disk` stands in the place of the real one, and then no process syncs. A directory that cannot
    be written to is opened for reading, if the store is to be read-only.

    Raises:
        DataDirectoryError: It is locked, of an unknown format, or damaged; see its subclasses.
        DiskFullError: There is no room to rebuild its index.
        OSError: The system refuses to read or write it.
    """
    started = time.monotonic()
    # A node writes what others append, whatever its own clients are told.
    is_read_only = options.is_read_only and options.mirroring is None
    engine = await _open_engine(directory, disk, is_read_only=is_read_only)
    try:
        options.events.opened(engine.report, time.monotonic() - started)
        has_sync_process = options.has_sync_process and disk is None and engine.report.is_writable
        async with run_store(
            engine, options, has_sync_process=has_sync_process, disk=disk
        ) as store:
            yield store
    finally:
        options.events.closing("the files of the log")
        # On a thread, since the server may go on without this store.
        await call_on_thread(engine.close)


_LogEngine = LogEngine | ReadOnlyEngine


async def _open_engine(directory: Path, disk: Disk | None, *, is_read_only: bool) -> _LogEngine:
    """Open the engine on a thread, so that whoever waits for it can be told to stop."""

    def open_engine() -> _LogEngine:
        # Where it can be written to, it is left as well as any server leaves it.
        if is_read_only and not may_write(directory):
            return ReadOnlyEngine.open(directory, disk=disk)
        return LogEngine.open(directory, disk=disk)

    opening = call_on_thread(open_engine)
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        # It is opened all the same, as far as it comes.
        opening.add_done_callback(_close_if_open)
        raise


def _close_if_open(opening: asyncio.Future[_LogEngine]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


@asynccontextmanager
async def run_store(
    engine: Engine, options: StoreOptions, *, has_sync_process: bool, disk: Disk | None = None
) -> AsyncGenerator[Store, None]:
    """Give an open engine its writer and its readers; the engine is left open at the end."""
    loop, events = asyncio.get_running_loop(), options.events
    reader = Reader(loop)
    observers = Observers(loop)
    snapshots = _start_snapshots(engine, reader, events)
    tree_files = ExitStack()
    tree = Tree(engine, reader, partial(_open_nodes, engine, disk, tree_files))

    def publish(batch: Batch) -> None:
        observers.publish(batch)
        events.published(batch)
        tree.note(batch)
        snapshots.save_if_due()

    mirror, follower = _mirror(engine, options, loop), _follower(engine, options, loop)
    schemas = await call_on_thread(partial(_restore_schemas, engine))
    sync_process = _start_sync_process(loop, events) if has_sync_process else None
    writer = _start_writer(
        engine, options, publish, schemas, loop, sync_process, order=mirror or follower
    )
    queries = _start_queries(engine, reader, options)
    audits = Audits(engine, on_ended=events.audit_ended, on_failed=events.audit_failed)
    judge = Judge(JudgingProcesses())
    watch = CommitWatch(
        writer.figures, loop=loop, on_hanging=events.commit_hangs, on_resumed=events.commit_resumed
    )
    failures = ReadFailures(events.read_failed)
    checkpoints = Checkpoints(
        engine, reader, tree, options.checkpoints, clock=options.clock, events=events.proving
    )
    store = Store(
        *(engine, writer, reader, judge, failures, observers, queries, audits),
        *(snapshots, tree, checkpoints, mirror, follower),
    )
    for order in (mirror, follower):
        if order is not None:
            order.start(writer)
    look = loop.create_task(_look_after(store))
    with tree_files:
        try:
            yield store
        finally:
            look.cancel()
            await _close(store, watch, events.closing)


async def _close(store: Store, watch: CommitWatch, closing: Callable[[str], None]) -> None:
    """End all that works with the engine, in an order in which nobody loses what is owed."""
    store.end_streams()
    closing("audits")
    await store.audits.close()
    closing("queries")
    await store.queries.close()
    closing("judging")
    await store.judge.close()
    if store.mirror is not None:
        closing("what is read of the journal")
        await store.mirror.stop()
    if store.follower is not None:
        store.follower.stop()
    closing("the commit on its way to the disk")
    await store.writer.stop()
    if store.mirror is not None:
        closing("the journal")
        await store.mirror.close()
    watch.stop()
    closing("a snapshot of the index")
    await store.snapshots.wait()
    closing("the last checkpoint of the tree")
    await store.checkpoints.stop()
    closing("reading threads")
    store.reader.close()


def _first_condition(options: StoreOptions) -> Condition:
    if options.following is not None:
        return Condition.FOLLOWING
    return Condition.WRITABLE if options.mirroring is None else Condition.CATCHING_UP


def _follower(
    engine: Engine, options: StoreOptions, loop: asyncio.AbstractEventLoop
) -> Follower | None:
    return None if options.following is None else Follower(engine, options.following, loop=loop)


def _mirror(
    engine: Engine, options: StoreOptions, loop: asyncio.AbstractEventLoop
) -> Mirror | None:
    if options.mirroring is None:
        return None
    return Mirror(
        engine,
        options.mirroring,
        clock=options.clock,
        hash_version=options.hash_version,
        loop=loop,
    )


def _start_writer(
    engine: Engine,
    options: StoreOptions,
    publish: Callable[[Batch], None],
    schemas: Iterable[EventSchema],
    loop: asyncio.AbstractEventLoop,
    sync_process: SyncProcess | None,
    *,
    order: Order | None,
) -> Writer:
    events = options.events
    writer = Writer(
        engine,
        clock=options.clock,
        hash_version=options.hash_version,
        schemas=schemas,
        events=WriterEvents(publish, events.condition_changed, answer_failed=events.bug),
        loop=loop,
        sync_process=sync_process,
        order=order,
        condition=_first_condition(options),
        source="" if options.following is None else options.following.source.address,
    )
    if options.is_read_only:
        writer.become_read_only(_ignore)
    return writer


def _start_queries(engine: Engine, reader: Reader, options: StoreOptions) -> Queries:
    return Queries(
        engine,
        reader,
        clock=options.clock,
        signing_key=options.signing_key,
        seconds_max=options.query_seconds_max,
        on_process_lost=options.events.query_process_lost,
    )


def _start_snapshots(engine: Engine, reader: Reader, events: StoreEvents) -> IndexSnapshots:
    return IndexSnapshots(
        engine,
        reader,
        on_success=events.snapshot_saved,
        on_failure=events.snapshot_failed,
        on_recovery=events.snapshots_recovered,
    )


def _open_nodes(engine: Engine, disk: Disk | None, resources: ExitStack) -> TreeFiles:
    """Open the tree beside the log, or where nothing can be written there, beside nothing."""
    is_writable = isinstance(engine, LogEngine)
    directory = engine.directory if isinstance(engine, _LogEngine) else None
    return TreeFiles.open(directory, disk or PosixDisk(), resources, is_writable=is_writable)


def _restore_schemas(engine: Engine) -> list[EventSchema]:
    return [
        restore_event_schema(entry.name, entry.schema)
        for chunk in engine.event_types(engine.head)
        for entry in chunk
        if entry.schema is not None
    ]


async def _look_after(store: Store) -> None:
    """Let the store fail when its files are moved or deleted, also while nobody writes."""
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        try:
            await store.reader.call(store.engine.check_place)
        except StoreFailedError as error:
            store.writer.fail(error)
            return


def _start_sync_process(loop: asyncio.AbstractEventLoop, events: StoreEvents) -> SyncProcess | None:
    try:
        return SyncProcess(loop, on_lost=lambda: events.sync_process_lost(None))
    except OSError as error:
        events.sync_process_lost(error)
        return None
