"""The composition root: settings become an engine, a store, an API and a server, and end in order.

The only place that names every concrete class.
"""

import asyncio
import gc
import os
import resource
import shutil
import signal
import stat
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from ssl import SSLContext
from typing import Final, NoReturn

import msgspec
import uvloop

from everlog._version import __version__
from everlog.api.answers import EventForm
from everlog.api.application import HEADERS_ALWAYS, HEADERS_KEPT, ApiApplication
from everlog.api.failed_attempts import FailedAttempts
from everlog.api.openapi import render_documents
from everlog.api.rate_limit import RateLimit
from everlog.api.routes import ROUTES, name_of
from everlog.api.services import Services, Tasks
from everlog.credentials import LiveCredentials
from everlog.credentials.signing_key import load_signing_key
from everlog.domain.errors import (
    CorruptLogError,
    DataDirectoryError,
    DiskFullError,
    EverlogError,
    SettingsError,
    StoreFailedError,
)
from everlog.domain.schema import EventSchema, compile_event_schema
from everlog.http import Limits, Server
from everlog.monitoring.diagnostics import describe_server
from everlog.monitoring.figures import Monitor, Release
from everlog.monitoring.tally import Tally
from everlog.service.checkpoints import Checkpoints
from everlog.service.observers import Observers
from everlog.service.queries import Queries
from everlog.service.reader import Reader
from everlog.service.store import Store
from everlog.service.sync_process import SyncProcess
from everlog.service.writer import Writer, WriterEvents
from everlog.settings import Settings, check_settings, is_loopback
from everlog.storage.engine import Batch, Engine
from everlog.storage.log import LogEngine
from everlog.storage.log.disk import Disk
from everlog.telemetry import Log, catch_errors_of_loop, catch_uncaught_errors

# The version of EventSourcingDB whose API this is. SDKs insist on the name.
COMPATIBLE_VERSION: Final = "1.3.0"
RELEASE: Final = Release(version=__version__, compatible_version=COMPATIBLE_VERSION)
SERVER_HEADER: Final = f"EventSourcingDB/{COMPATIBLE_VERSION} Everlog/{__version__}".encode()

# How long exchanges in flight may take once the server is asked to stop.
_GRACE_SECONDS: Final = 10.0

# Files that no connection may take: the segments and columns of the log, and what checkpoints need.
_FILES_RESERVED: Final = 256

EXIT_OK: Final = 0
EXIT_UNEXPECTED: Final = 1
EXIT_SETTINGS: Final = 2
EXIT_DATA_DIRECTORY: Final = 3
EXIT_DAMAGED: Final = 4
EXIT_CANNOT_LISTEN: Final = 5


class _CannotListenError(EverlogError):
    """An address is in use, or not ours."""


class _StopRequested(BaseException):
    """A signal to stop came before there was anything that could end in order."""


class _Remembering:
    """A handler of a signal that nobody can act on yet."""

    has_come = False

    def __call__(self, *_: object) -> None:
        self.has_come = True


_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)

_EXIT_CODES: Final[tuple[tuple[type[Exception], int], ...]] = (
    (SettingsError, EXIT_SETTINGS),
    (CorruptLogError, EXIT_DAMAGED),
    (DataDirectoryError, EXIT_DATA_DIRECTORY),
    (OSError, EXIT_DATA_DIRECTORY),
    (_CannotListenError, EXIT_CANNOT_LISTEN),
)


def run_server(
    settings: Settings,
    log: Log,
    *,
    clock: Callable[[], int] = time.time_ns,
    disk: Disk | None = None,
) -> int:
    """Run a server until it is told to stop; return the exit code of the process.

    The clock returns nanoseconds since 1970; without a disk the real one is used.
    """
    # Whatever is created from now on is for this user only.
    os.umask(0o077)
    catch_uncaught_errors(log)
    _catch_early_signals()
    try:
        check_settings(settings)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run(settings, log, clock, disk))
    except _StopRequested as request:
        log.info("stopping", reason=str(request))
    except (EverlogError, OSError) as error:
        log.fatal(str(error))
        return next(code for kind, code in _EXIT_CODES if isinstance(error, kind))
    except Exception as error:  # noqa: BLE001 - Python would print it with all that it says.
        log.bug(error)
        log.fatal("the server ended because of an unexpected error")
        return EXIT_UNEXPECTED
    log.info("stopped")
    return EXIT_OK


async def _run(settings: Settings, log: Log, clock: Callable[[], int], disk: Disk | None) -> None:
    catch_errors_of_loop(log, asyncio.get_running_loop(), on_step_lost=partial(_give_up, log))
    log.info("starting", version=__version__, options=settings.redacted())
    if os.geteuid() == 0:
        log.warning("running as root: give the server a user of its own")
    credentials = LiveCredentials(settings, log, clock=clock)
    form = EventForm(load_signing_key(settings.signing_key_file))
    limits = _limits_within(_raise_file_limit(), log)
    directory = settings.data_directory or Path(tempfile.mkdtemp(prefix="everlog-"))
    try:
        engine = _open_engine(directory, log, disk)
        try:
            await _serve(settings, log, clock, engine, directory, form, credentials, limits, disk)
        finally:
            engine.close()
    finally:
        if settings.data_directory_temporary:
            shutil.rmtree(directory, ignore_errors=True)


def _give_up(log: Log) -> NoReturn:
    """End the process where it stands: nothing is lost, since what was acknowledged is on the disk.

    Going on without memory would mean clients that wait for ever, and a loop that only fails.
    """
    try:
        log.fatal("there is no memory left to go on: the server ended, and can be started again")
    finally:
        os._exit(EXIT_UNEXPECTED)


def _open_engine(directory: Path, log: Log, disk: Disk | None) -> LogEngine:
    started = time.monotonic()
    engine = LogEngine.open(directory, disk=disk)
    if directory.stat().st_mode & stat.S_IWOTH:
        log.warning("every user of this machine may write to the data directory: close it")
    report = engine.report
    if report.rebuild_reason is not None and report.event_count > 0:
        log.warning("the index was rebuilt from the log", reason=report.rebuild_reason)
    if report.torn_size > 0:
        log.warning(
            "an unfinished write at the end of the log was removed; it was never acknowledged",
            size=report.torn_size,
        )
    log.info(
        "the data directory is open",
        directory=str(directory),
        eventCount=report.event_count,
        replayedEventCount=report.replayed_event_count,
        tornSize=report.torn_size,
        seconds=round(time.monotonic() - started, 3),
    )
    return engine


async def _serve(
    settings: Settings,
    log: Log,
    clock: Callable[[], int],
    engine: Engine,
    directory: Path,
    form: EventForm,
    credentials: LiveCredentials,
    limits: Limits,
    disk: Disk | None,
) -> None:
    loop = asyncio.get_running_loop()
    reader = Reader(loop)
    observers = Observers(loop)
    checkpoints = _checkpoints(engine, reader, log)
    events = _writer_events(log, observers, checkpoints)
    hash_version, schemas = settings.hash_version, _load_schemas(engine)
    writer = Writer(
        engine,
        clock=clock,
        hash_version=hash_version,
        schemas=schemas,
        events=events,
        loop=loop,
        sync_process=_start_sync_process(loop, log) if disk is None else None,
    )
    tasks, tally = Tasks(log.bug), Tally(map(name_of, ROUTES))
    seconds_max, key = settings.query_time_limit, form.signing_key
    queries = Queries(engine, reader, clock=clock, signing_key=key, seconds_max=seconds_max)
    store = Store(engine, writer, reader, observers, queries)
    monitor = Monitor(
        release=RELEASE,
        clock=clock,
        started_at=time.time(),
        store=store,
        checkpoints=checkpoints,
        tally=tally,
        loop_clock=loop.time,
        statistics=lambda: server.statistics(),  # noqa: PLW0108 - there is no server yet.
        connections_max=limits.connections_max,
        bug_count=lambda: log.bug_count,
        directory=directory,
        certificate_ends_at=lambda: _certificate_end(credentials),
    )
    describe = partial(describe_server, RELEASE, settings.redacted())
    services = Services(store, form, clock, tasks, tally, monitor, describe)
    application = _application(settings, log, credentials, services)
    server = _server(application, limits)
    if settings.read_only:
        writer.become_read_only(lambda _: None)
    # What was made until now lives as long as the server: no need to look at it again and again.
    gc.freeze()

    # Before anybody can know that the server is there, and so ask it to stop.
    stopping = _catch_signals(loop, on_hangup=credentials.reload)
    try:
        await _listen(server, settings, credentials, log)
        log.info("stopping", reason=await stopping)
    finally:
        await _stop(application, server, store, tasks, checkpoints)


async def _stop(
    application: ApiApplication,
    server: Server,
    store: Store,
    tasks: Tasks,
    checkpoints: Checkpoints,
) -> None:
    """Refuse what comes, end what has no end, and let the rest come to its end."""
    application.stop()
    store.observers.close()
    store.queries.end()
    await server.stop(grace_seconds=_GRACE_SECONDS)
    await tasks.wait()
    await store.queries.close()
    await store.writer.stop()
    await checkpoints.wait()
    store.reader.close()


def _application(
    settings: Settings, log: Log, credentials: LiveCredentials, services: Services
) -> ApiApplication:
    return ApiApplication(
        ROUTES,
        render_documents(ROUTES),
        services=services,
        token=credentials.token_check,
        failed_attempts=FailedAttempts(lambda address: _warn_of_failures(log, address)),
        rate_limit=RateLimit(settings.rate_limit) if settings.rate_limit else None,
        monotonic_clock=time.monotonic,
        on_error=log.bug,
    )


def _server(application: ApiApplication, limits: Limits) -> Server:
    return Server(
        application,
        server_header=SERVER_HEADER,
        headers_kept=HEADERS_KEPT,
        headers_always=HEADERS_ALWAYS,
        limits=limits,
    )


def _checkpoints(engine: Engine, reader: Reader, log: Log) -> Checkpoints:
    def failed(error: OSError) -> None:
        log.warning("a checkpoint failed", reason=error.strerror)

    def saved() -> None:
        log.debug("a checkpoint was saved", eventCount=engine.head.event_count)

    return Checkpoints(engine, reader, on_success=saved, on_failure=failed)


def _start_sync_process(loop: asyncio.AbstractEventLoop, log: Log) -> SyncProcess | None:
    def lost() -> None:
        log.warning("the process that syncs the log ended: writing goes on, slower, without it")

    try:
        return SyncProcess(loop, on_lost=lost)
    except OSError as error:
        log.warning("the process that syncs the log cannot be started", reason=error.strerror)
        return None


def _certificate_end(credentials: LiveCredentials) -> float | None:
    switch = credentials.certificate_switch
    return None if switch is None else switch.certificate.expires_at.timestamp()


def _writer_events(log: Log, observers: Observers, checkpoints: Checkpoints) -> WriterEvents:
    # Said once: a log that grows with each refusal may lie on the same disk.
    is_full = False

    def published(batch: Batch) -> None:
        nonlocal is_full
        observers.publish(batch)
        checkpoints.save_if_due()
        if is_full:
            is_full = False
            log.info("there is room on the disk again: writes are accepted")

    def disk_filled(error: DiskFullError) -> None:
        nonlocal is_full
        if not is_full:
            is_full = True
            message = "the disk is full: writes are refused until there is room"
            log.error(message, reason=str(error))

    def failed(error: StoreFailedError) -> None:
        if isinstance(error.__cause__, Exception) and not isinstance(error.__cause__, OSError):
            log.bug(error.__cause__)
        log.fatal("the store has failed: no write is accepted until a restart", reason=str(error))

    def became_read_only() -> None:
        log.warning("the store is read-only: writes are refused until a restart")

    return WriterEvents(
        published,
        disk_filled,
        failed,
        answer_failed=log.bug,
        became_read_only=became_read_only,
    )


def _warn_of_failures(log: Log, address: str) -> None:
    message = "an address keeps asking without the right token: it is told to wait"
    log.warning(message, address=address)


def _load_schemas(engine: Engine) -> list[EventSchema]:
    return [
        compile_event_schema(entry.name, msgspec.Raw(entry.schema.encode()))
        for entry in engine.event_types(engine.head)
        if entry.schema is not None
    ]


async def _listen(
    server: Server, settings: Settings, credentials: LiveCredentials, log: Log
) -> None:
    listeners: list[tuple[str, int, SSLContext | None]] = []
    if credentials.certificate_switch is not None:
        listeners.append(("https", settings.https_port, credentials.certificate_switch.context))
    if settings.http_enabled:
        listeners.append(("http", settings.http_port, None))
        if not is_loopback(settings.host):
            message = "plain HTTP is open to other machines: the token and all events can be read"
            log.warning(message, host=settings.host)
    for scheme, port, context in listeners:
        try:
            bound_port = await server.start(settings.host, port, ssl=context)
        except OSError as error:
            message = f"cannot listen on {settings.host}:{port}: {error.strerror}"
            raise _CannotListenError(message) from error
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        log.info("listening", url=f"{scheme}://{host}:{bound_port}", processId=os.getpid())


def _catch_early_signals() -> None:
    """Stop at once if asked to while there is no server yet; the next signal ends the process.

    A log may take long to open. SIGHUP is remembered for `_catch_signals`.
    """

    def stop(number: int, _: object) -> NoReturn:
        for each in _STOP_SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        raise _StopRequested(signal.Signals(number).name)

    for number in _STOP_SIGNALS:
        signal.signal(number, stop)
    signal.signal(signal.SIGHUP, _Remembering())


def _catch_signals(
    loop: asyncio.AbstractEventLoop, *, on_hangup: Callable[[], None]
) -> "asyncio.Future[str]":
    """Promise the name of the first signal to stop; the next one ends the process at once."""
    received: asyncio.Future[str] = loop.create_future()

    def receive(name: str) -> None:
        if received.done():
            # Nothing is lost: whatever was acknowledged is on the disk.
            os._exit(EXIT_UNEXPECTED)
        received.set_result(name)

    early = signal.getsignal(signal.SIGHUP)
    loop.add_signal_handler(signal.SIGHUP, on_hangup)
    if isinstance(early, _Remembering) and early.has_come:
        on_hangup()
    for number in _STOP_SIGNALS:
        loop.add_signal_handler(number, receive, number.name)
    return received


def _raise_file_limit() -> int:
    """Allow as many open files as the system lets us, one for each connection; return how many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


def _limits_within(file_limit: int, log: Log) -> Limits:
    """Return limits that leave to the store the files it needs, however many clients there are."""
    wanted = Limits()
    available = file_limit - min(_FILES_RESERVED, file_limit // 2)
    refused_max = min(wanted.connections_refused_max, available // 8)
    connections_max = max(1, min(wanted.connections_max, available - refused_max))
    if connections_max < wanted.connections_max:
        log.warning(
            "the system allows few open files, so fewer connections than usual are accepted",
            openFilesMax=file_limit,
            connectionsMax=connections_max,
        )
    return Limits(connections_max=connections_max, connections_refused_max=refused_max)
