"""The composition root: settings become a store, an API and a server, which end in order.

Here is what belongs to a process and to nothing less: signals, limits of the system, its exit code,
and a log on standard output, which says what happens to the store.
Guarantees that whoever is owed an answer gets it, as far as the grace goes: first nothing new is
let in, then streams are ended, and the store is closed when nobody asks it any more.
What is left to others: what a store consists of (`service.store`).
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
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from ssl import SSLContext
from typing import Final, NoReturn

import uvloop

from everlog._version import COMPATIBLE_VERSION, __version__
from everlog.api.allowances import FailedAttempts, RateLimit
from everlog.api.answers import EventForm
from everlog.api.application import HEADERS_ALWAYS, HEADERS_KEPT, ApiApplication
from everlog.api.openapi import load_documents
from everlog.api.routes import ROUTES, name_of
from everlog.api.services import Services, Tasks
from everlog.credentials.live import LiveCredentials
from everlog.credentials.signing_key import load_signing_key
from everlog.domain.errors import (
    CorruptLogError,
    DataDirectoryError,
    EverlogError,
    SettingsError,
)
from everlog.exit_codes import (
    EXIT_CANNOT_LISTEN,
    EXIT_DAMAGED,
    EXIT_DATA_DIRECTORY,
    EXIT_OK,
    EXIT_SETTINGS,
    EXIT_UNEXPECTED,
)
from everlog.http import Crowding, Limits, Server, ServerEvents
from everlog.monitoring.diagnostics import RELEASE, describe_server
from everlog.monitoring.figures import Monitor
from everlog.monitoring.loop_delay import LoopDelay
from everlog.monitoring.tally import Tally
from everlog.service.store import Store, StoreEvents, StoreOptions, open_store
from everlog.service.writing.writer import Condition
from everlog.settings import Settings, check_settings, is_loopback
from everlog.storage.log import OpeningReport
from everlog.storage.log.disk import Disk
from everlog.telemetry import Log, catch_errors_of_loop, catch_uncaught_errors

SERVER_HEADER: Final = f"EventSourcingDB/{COMPATIBLE_VERSION} Everlog/{__version__}".encode()

# How long exchanges in flight may take once the server is asked to stop.
_GRACE_SECONDS: Final = 10.0

# Files that no connection may take: the segments and columns of the log, and what snapshots need.
_FILES_RESERVED: Final = 256


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
    credentials = LiveCredentials(
        log,
        clock=clock,
        token=settings.api_token,
        token_file=settings.api_token_file,
        certificate_files=settings.certificate_files,
    )
    limits = _limits_within(_raise_file_limit(), log)
    form = EventForm(load_signing_key(settings.signing_key_file))
    directory = settings.data_directory or Path(tempfile.mkdtemp(prefix="everlog-"))
    try:
        async with open_store(
            directory,
            StoreOptions(
                hash_version=settings.hash_version,
                signing_key=form.signing_key,
                is_read_only=settings.read_only,
                query_seconds_max=settings.query_time_limit,
                clock=clock,
                events=_store_events(log, directory),
            ),
            disk=disk,
        ) as store:
            await _serve(settings, log, clock, store, directory, form, credentials, limits)
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


async def _serve(
    settings: Settings,
    log: Log,
    clock: Callable[[], int],
    store: Store,
    directory: Path,
    form: EventForm,
    credentials: LiveCredentials,
    limits: Limits,
) -> None:
    loop = asyncio.get_running_loop()
    tasks, tally = Tasks(log.bug), Tally(map(name_of, ROUTES))
    loop_delay = LoopDelay(loop)
    monitor = Monitor(
        release=RELEASE,
        clock=clock,
        started_at=time.time(),
        store=store,
        tally=tally,
        loop_clock=loop.time,
        statistics=lambda: server.statistics(),  # noqa: PLW0108 - there is no server yet.
        connections_max=limits.connections_max,
        bug_count=lambda: log.bug_count,
        loop_delay=loop_delay,
        directory=directory,
        certificate_ends_at=lambda: _certificate_end(credentials),
    )
    describe = partial(describe_server, RELEASE, settings.redacted())
    services = Services(store, form, clock, tasks, tally, monitor, describe)
    application = _application(settings, log, credentials, services)
    server = _server(settings, log, application, limits)
    # What was made until now lives as long as the server: no need to look at it again and again.
    gc.freeze()

    # Before anybody can know that the server is there, and so ask it to stop.
    stopping = _catch_signals(loop, on_hangup=credentials.reload)
    try:
        await _listen(server, settings, credentials, log)
        loop_delay.start()
        log.info("stopping", reason=await stopping)
    finally:
        loop_delay.stop()
        # Refuse what comes, end what has no end, and let the rest come to its end.
        application.stop()
        store.end_streams()
        await server.stop(grace_seconds=_GRACE_SECONDS)
        await tasks.wait()


def _store_events(log: Log, directory: Path) -> StoreEvents:
    """Return what the log says of what happens to the store."""

    def opened(report: OpeningReport, seconds: float) -> None:
        if directory.stat().st_mode & stat.S_IWOTH:
            log.warning("every user of this machine may write to the data directory: close it")
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
            seconds=round(seconds, 3),
        )

    def condition_changed(condition: Condition, error: Exception | None) -> None:
        if error is not None and not isinstance(error.__cause__, OSError | None):
            assert isinstance(error.__cause__, Exception)
            log.bug(error.__cause__)
        if condition in _CONDITION_LINES:
            level, message = _CONDITION_LINES[condition]
            level(log, message, **({} if error is None else {"reason": str(error)}))

    def snapshot_failed(error: OSError) -> None:
        log.warning("a snapshot of the index failed", reason=error.strerror)

    def snapshot_saved(event_count: int) -> None:
        log.debug("a snapshot of the index was saved", eventCount=event_count)

    def sync_process_lost(error: OSError | None) -> None:
        if error is None:
            message = "the process that syncs the log ended: writing goes on, slower, without it"
            log.warning(message)
        else:
            message = "the process that syncs the log cannot be started"
            log.warning(message, reason=error.strerror)

    return StoreEvents(
        opened=opened,
        condition_changed=condition_changed,
        snapshot_saved=snapshot_saved,
        snapshot_failed=snapshot_failed,
        sync_process_lost=sync_process_lost,
        bug=log.bug,
    )


# Said once for each change: a log that grows with each refusal may lie on the same disk.
_CONDITION_LINES: Final[Mapping[Condition, tuple[Callable[..., None], str]]] = {
    Condition.WRITABLE: (Log.info, "there is room on the disk again: writes are accepted"),
    Condition.DISK_FULL: (Log.error, "the disk is full: writes are refused until there is room"),
    Condition.READ_ONLY: (
        Log.warning,
        "the store is read-only: writes are refused until a restart",
    ),
    Condition.FAILED: (
        Log.fatal,
        "the store has failed: no write is accepted until a restart",
    ),
}


def _application(
    settings: Settings, log: Log, credentials: LiveCredentials, services: Services
) -> ApiApplication:
    return ApiApplication(
        ROUTES,
        load_documents(),
        services=services,
        token=credentials.token_check,
        failed_attempts=FailedAttempts(lambda address: _warn_of_failures(log, address)),
        rate_limit=RateLimit(settings.rate_limit) if settings.rate_limit else None,
        monotonic_clock=time.monotonic,
        on_error=log.bug,
    )


def _server(settings: Settings, log: Log, application: ApiApplication, limits: Limits) -> Server:
    return Server(
        application,
        server_header=SERVER_HEADER,
        headers_kept=HEADERS_KEPT,
        headers_always=HEADERS_ALWAYS,
        limits=limits,
        is_shared=settings.is_shared,
        events=_server_events(log),
    )


def _server_events(log: Log) -> ServerEvents:
    """Return what the log says of what clients do to the server."""

    def crowded(crowding: Crowding) -> None:
        message = (
            "more clients want to be connected than may be: connections of strangers, or idle ones,"
            " are closed for those who come; where there are none, who comes is refused"
        )
        log.warning(
            message,
            connections=crowding.connections,
            address=crowding.address,
            addressConnections=crowding.address_connections,
            closed=crowding.closed,
            refused=crowding.refused,
        )

    def cut(address: str, size: int) -> None:
        message = "too much waits for clients that do not take it: those that wait longest are cut"
        log.warning(message, address=address, size=size)

    def mistaken(address: str, what: str) -> None:
        log.warning("a client speaks to the wrong port", address=address, what=what)

    return ServerEvents(crowded=crowded, cut=cut, mistaken=mistaken)


def _certificate_end(credentials: LiveCredentials) -> float | None:
    switch = credentials.certificate_switch
    return None if switch is None else switch.certificate.expires_at.timestamp()


def _warn_of_failures(log: Log, address: str) -> None:
    message = "an address keeps asking without the right token: it is told to wait"
    log.warning(message, address=address)


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
