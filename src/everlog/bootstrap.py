"""The composition root: settings become a store, an API and a server, which end in order.

Here is what belongs to a process and to nothing less: signals, limits of the system, its exit code,
and a log on standard output, which says what happens to the store.
Guarantees that whoever is owed an answer gets it, as far as the grace goes: first nothing new is
let in, then streams are ended, and the store is closed when nobody asks it any more. And that the
process ends when it was told to, whatever hangs: what is not done in time is named and left.
What is left to others: what a store consists of (`service.store`).
"""

import asyncio
import gc
import os
import resource
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from enum import Enum
from functools import partial
from pathlib import Path
from ssl import SSLContext
from typing import Final, NoReturn

import uvloop

from everlog._version import COMPATIBLE_VERSION, __version__
from everlog.api.allowances import FailedAttempts, RateLimit
from everlog.api.answers import EventForm
from everlog.api.application import (
    HEADERS_ALWAYS,
    ApiApplication,
    Documents,
)
from everlog.api.routes import ROUTES, name_of
from everlog.api.services import Services, Tasks
from everlog.credentials.checkpoint_key import load_checkpoint_key
from everlog.credentials.live import LiveCredentials
from everlog.credentials.signing_key import load_signing_key
from everlog.credentials.source_access import load_source_access
from everlog.credentials.token import TokenCheck
from everlog.domain.errors import (
    CorruptLogError,
    DataDirectoryError,
    EverlogError,
    SettingsError,
    StoreFailedError,
)
from everlog.exit_codes import (
    EXIT_CANNOT_LISTEN,
    EXIT_DAMAGED,
    EXIT_DATA_DIRECTORY,
    EXIT_OK,
    EXIT_SETTINGS,
    EXIT_UNEXPECTED,
)
from everlog.following.connection import Access
from everlog.following.source import HttpSource
from everlog.hosting import Hosting, documents_of, headers_kept
from everlog.http import BACKLOG, Limits, Server, open_listeners
from everlog.journals import JournalOptions, make_journal
from everlog.monitoring.diagnostics import RELEASE, describe_server
from everlog.monitoring.figures import DiskGauge, Monitor
from everlog.monitoring.loop_delay import LoopDelay
from everlog.monitoring.tally import Tally
from everlog.outgoing import post
from everlog.process import SIGNALS, fill_standard_descriptors
from everlog.reporting import (
    following_events,
    mirror_events,
    restore_events,
    server_events,
    store_events,
)
from everlog.service.breaks import Rests
from everlog.service.mirroring.following import FollowingOptions
from everlog.service.mirroring.options import MirrorOptions
from everlog.service.proving.checkpoints import CheckpointOptions
from everlog.service.proving.witnesses import ANSWER_SIZE_MAX, Answer
from everlog.service.restore import Restores
from everlog.service.served_store import ServedStore
from everlog.service.store import Store, StoreOptions, open_store
from everlog.settings import READS_CURRENT, Settings, check_settings, is_loopback, is_private
from everlog.storage.log.disk import Disk
from everlog.telemetry import Log, catch_errors_of_loop, catch_uncaught_errors
from everlog.threads import call_on_thread
from everlog.transfer.restoring import Restored, Restoring

SERVER_HEADER: Final = f"EventSourcingDB/{COMPATIBLE_VERSION} Everlog/{__version__}".encode()

# How long exchanges in flight may take once the server is asked to stop.
_GRACE_SECONDS: Final = 10.0
# What a front may take beyond that.
_FRONT_SECONDS: Final = 3.0
# How long all of it may take: after the grace, a healthy disk is left well in a second or two.
_STOP_SECONDS_MAX: Final = 20.0

# A temporary directory is removed within this many attempts and seconds between them.
_REMOVALS_MAX: Final = 20
_REMOVAL_SECONDS: Final = 0.01

# Files that no connection may take: the segments and columns of the log, and what snapshots need.
_FILES_RESERVED: Final = 256


# Puts what was read again into force, and returns what tells of it.
PutIntoForce = Callable[[], Callable[[], None]]


class _CannotListenError(EverlogError):
    """An address is in use, or not ours."""


class _Phase(Enum):
    """What a signal to stop interrupts."""

    STARTING = "there is nothing yet that could end in order, so that it is given up"
    SERVING = "what was begun is brought to its end"
    ENDING = "that is being done already"


class _Ending:
    """The end of a server: asked for by a signal or by itself, and over at a deadline."""

    def __init__(self, log: Log, server: "asyncio.Task[None]") -> None:
        """Listen to signals from now on; the task runs the server on the present event loop."""
        self._log: Final = log
        self._server: Final = server
        self._loop: Final = asyncio.get_running_loop()
        self._phase = _Phase.STARTING
        # What is being done now, for whoever wants to know what did not come to its end.
        self.step = "starting"
        # The name of the signal that was the first to ask, once the server serves.
        self.asked: Final[asyncio.Future[str]] = self._loop.create_future()
        self.hung_up: Final = asyncio.Event()
        self._is_asked_for = False
        self._has_begun: Final = threading.Event()
        # Now: when it is needed, there may be no memory for a thread.
        threading.Thread(target=self._wait, name="deadline", daemon=True).start()
        SIGNALS.tell(on_stop=self._receive, on_hangup=lambda: self._call(self.hung_up.set))

    def note_serving(self) -> None:
        """Let the next signal to stop be told by `asked`, and interrupt nothing."""
        self._phase = _Phase.SERVING

    def begin(self, step: str) -> None:
        """Note that the end has begun, for whatever reason, and with what."""
        self._phase, self.step = _Phase.ENDING, step
        self._has_begun.set()

    def note(self, step: str) -> None:
        """Note what is being done now, if the end has begun."""
        if self._phase is _Phase.ENDING:
            self.step = step

    def _receive(self, number: signal.Signals) -> None:
        """Take a signal to stop, on a thread that hangs with no event loop."""
        if self._is_asked_for:
            # Nothing is lost: whatever was acknowledged is on the disk.
            os._exit(EXIT_UNEXPECTED)
        self._is_asked_for = True
        self._has_begun.set()
        self._call(partial(self._ask, number.name))

    def _call(self, function: Callable[[], object]) -> None:
        # A loop that is closed has nothing left to be told.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function)

    def _ask(self, reason: str) -> None:
        if self._phase is _Phase.STARTING:
            self._log.info("stopping", reason=reason)
            self._server.cancel()
        elif self._phase is _Phase.SERVING:
            self.asked.set_result(reason)

    def _wait(self) -> NoReturn:
        self._has_begun.wait()
        time.sleep(_STOP_SECONDS_MAX)
        try:
            self._log.fatal(
                "the server was ended before it was done: "
                "whether writes without an answer are stored is unknown",
                step=self.step,
                seconds=_STOP_SECONDS_MAX,
            )
            self._log.flush()
        finally:
            os._exit(EXIT_UNEXPECTED)


_EXIT_CODES: Final[tuple[tuple[type[Exception], int], ...]] = (
    (SettingsError, EXIT_SETTINGS),
    (CorruptLogError, EXIT_DAMAGED),
    (DataDirectoryError, EXIT_DATA_DIRECTORY),
    (OSError, EXIT_DATA_DIRECTORY),
    (_CannotListenError, EXIT_CANNOT_LISTEN),
    (StoreFailedError, EXIT_UNEXPECTED),
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
    fill_standard_descriptors()
    SIGNALS.take()
    catch_uncaught_errors(log)
    try:
        code = _run_to_end(settings, log, clock, disk)
        if code == EXIT_OK:
            log.info("stopped")
    finally:
        log.flush()
    return code


def _run_to_end(settings: Settings, log: Log, clock: Callable[[], int], disk: Disk | None) -> int:
    try:
        check_settings(settings)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run(settings, log, clock, disk))
    except asyncio.CancelledError:
        # A thread may still be busy with opening, which Python would not let run to its end.
        log.info("stopped")
        log.flush()
        os._exit(EXIT_OK)
    except (EverlogError, OSError) as error:
        log.fatal(_describe(error, settings))
        return next(code for kind, code in _EXIT_CODES if isinstance(error, kind))
    except Exception as error:  # noqa: BLE001 - Python would print it with all that it says.
        log.bug(error)
        log.fatal("the server ended because of an unexpected error")
        return EXIT_UNEXPECTED
    return EXIT_OK


def _describe(error: EverlogError | OSError, settings: Settings) -> str:
    """Return what keeps the server from starting; the system's errors are those of the disk."""
    if isinstance(error, EverlogError):
        return str(error)
    directory = settings.data_directory or "(temporary)"
    name = f" ({os.fsdecode(error.filename)})" if isinstance(error.filename, str | bytes) else ""
    return f"the data directory {directory} cannot be used: {error.strerror}{name}"


async def _run(settings: Settings, log: Log, clock: Callable[[], int], disk: Disk | None) -> None:
    task = asyncio.current_task()
    assert task is not None
    ending = _Ending(log, task)
    catch_errors_of_loop(log, asyncio.get_running_loop(), on_step_lost=partial(_give_up, log))
    log.info("starting", version=__version__, options=settings.redacted())
    if os.geteuid() == 0:
        log.warning("running as root: give the server a user of its own")
    # On a thread, as all that may wait for a disk or a pipe, so that a signal is heard meanwhile.
    credentials = await call_on_thread(partial(_load_credentials, settings, log, clock))
    form = EventForm(await call_on_thread(partial(load_signing_key, settings.signing_key_file)))
    limits = _limits_within(_raise_file_limit(), log)
    directory = settings.data_directory or Path(tempfile.mkdtemp(prefix="everlog-"))
    checkpoints = await call_on_thread(partial(_checkpoint_options, settings))
    source = await call_on_thread(partial(_open_source, settings, log))
    options = StoreOptions(
        checkpoints=checkpoints,
        hash_version=settings.hash_version,
        signing_key=form.signing_key,
        is_read_only=settings.read_only,
        query_seconds_max=settings.query_time_limit,
        mirroring=_mirror_options(
            settings,
            log,
            form,
            checkpoints,
            on_failed=lambda error: served.lose(error),  # noqa: PLW0108 - it is opened later.
        ),
        following=_following_options(source, log),
        clock=clock,
        events=store_events(log, directory, on_closing=ending.note),
    )
    hosting = _hosting(settings, log, credentials, limits)
    if hosting is not None:
        options = replace(options, events=replace(options.events, published=hosting.published))
    restores = _restores(settings, log, directory, disk, credentials.token_check)
    try:
        opening = partial(_open_store, directory, options, disk, hosting)
        async with ServedStore(opening) as served:
            reads = (
                credentials.read_tokens,
                credentials.read_certificate,
                _reading_access(settings, log, served, source),
            )
            reloading = asyncio.get_running_loop().create_task(
                _reload(reads, ending.hung_up, log, hosting)
            )
            try:
                await _serve(
                    *(settings, log, clock, served, restores, directory, form),
                    *(credentials, limits, ending, hosting),
                )
            finally:
                reloading.cancel()
    finally:
        if settings.data_directory_temporary:
            ending.begin("the temporary directory")
            _remove(directory)
        ending.begin("the event loop and its threads")


@asynccontextmanager
async def _open_store(
    directory: Path, options: StoreOptions, disk: Disk | None, hosting: Hosting | None
) -> AsyncGenerator[Store, None]:
    async with open_store(directory, options, disk=disk) as store:
        if hosting is not None:
            await hosting.share(store)
        yield store


def _load_credentials(settings: Settings, log: Log, clock: Callable[[], int]) -> LiveCredentials:
    return LiveCredentials(
        log,
        clock=clock,
        token=settings.api_token,
        token_file=settings.api_token_file,
        certificate_files=settings.certificate_files,
    )


def _hosting(
    settings: Settings, log: Log, credentials: LiveCredentials, limits: Limits
) -> Hosting | None:
    """Return what has fronts serve the store, None where this process does."""
    if settings.processes == 1:
        return None
    return Hosting(
        settings,
        log,
        tokens=lambda: credentials.tokens,
        connections_max=limits.connections_max,
        connections_refused_max=limits.connections_refused_max,
    )


def _mirror_options(
    settings: Settings,
    log: Log,
    form: EventForm,
    checkpoints: CheckpointOptions | None,
    *,
    on_failed: Callable[[Exception], None],
) -> MirrorOptions | None:
    """Return how this node takes part, None where there is no journal."""
    if settings.journal is None:
        return None
    options = JournalOptions(
        url=settings.journal.secret,
        password_file=settings.journal_password_file,
        ca_file=settings.journal_ca_file,
        credentials_file=settings.journal_credentials_file,
        replicas=settings.journal_replicas,
    )
    return MirrorOptions(
        journal=make_journal(options),
        node=settings.node,
        version=__version__,
        signing_key="" if form.signing_key is None else form.signing_key.fingerprint(),
        checkpoint_key="" if checkpoints is None else checkpoints.key.fingerprint(),
        reads_are_current=settings.reads == READS_CURRENT,
        events=mirror_events(log, on_failed=on_failed),
    )


def _open_source(settings: Settings, log: Log) -> HttpSource | None:
    """Return the server that is followed, None if there is none."""
    if settings.follow is None:
        return None
    if not is_private(settings.follow):
        message = "the source is followed over plain HTTP: the token and all events can be read"
        log.warning(message, source=settings.follow)
    return HttpSource(settings.follow, _load_access(settings))


def _load_access(settings: Settings) -> Access:
    assert settings.follow_token_file is not None
    return Access(*load_source_access(settings.follow_token_file, settings.follow_ca_file))


def _following_options(source: HttpSource | None, log: Log) -> FollowingOptions | None:
    if source is None:
        return None
    return FollowingOptions(source=source, events=following_events(log, source.address))


def _reading_access(
    settings: Settings, log: Log, served: ServedStore, source: HttpSource | None
) -> Callable[[], PutIntoForce]:
    """Return what reads anew how the source lets in, and returns what puts that into force."""

    def read() -> PutIntoForce:
        if source is None:
            return _nothing
        try:
            access = _load_access(settings)
        except SettingsError as error:
            message = "the files for the source cannot be used: its token stays as it is"
            log.error(message, reason=str(error))  # noqa: TRY400 - that is all there is to say.
            return _nothing

        def put_into_force() -> Callable[[], None]:
            source.access = access
            follower = served.latest.follower
            assert follower is not None
            follower.wake()
            return partial(log.info, "the token file of the source was read again")

        return put_into_force

    return read


def _nothing() -> Callable[[], None]:
    """Put nothing into force, and have nothing to tell."""
    return lambda: None


def _checkpoint_options(settings: Settings) -> CheckpointOptions | None:
    """Return with what checkpoints are made, None without a key file."""
    if settings.checkpoint_key_file is None:
        return None
    assert settings.checkpoint_origin is not None
    return CheckpointOptions(
        key=load_checkpoint_key(settings.checkpoint_key_file),
        origin=settings.checkpoint_origin,
        witnesses=settings.witness,
        post=_post_to_witness,
    )


def _post_to_witness(url: str, body: bytes) -> Answer:
    headers = {"User-Agent": f"Everlog/{__version__}", "Content-Type": "text/plain; charset=utf-8"}
    return Answer(*post(url, body, headers, size_max=ANSWER_SIZE_MAX))


def _restores(
    settings: Settings, log: Log, directory: Path, disk: Disk | None, token: TokenCheck
) -> Restores[Restored]:
    new_draft = partial(
        Restoring,
        directory,
        disk=disk,
        hash_version=settings.hash_version,
        # Clients that ask for the health have their turns meanwhile.
        on_step=Rests().take_if_due,
    )
    return Restores(new_draft, restore_events(log, on_begin=token.begin_epoch))


def _remove(directory: Path) -> None:
    """Remove a directory, into which a thread that was given up may still put something."""
    for _ in range(_REMOVALS_MAX):
        shutil.rmtree(directory, ignore_errors=True)
        if not directory.exists():
            return
        time.sleep(_REMOVAL_SECONDS)


def _give_up(log: Log) -> NoReturn:
    """End the process where it stands: nothing is lost, since what was acknowledged is on the disk.

    Going on without memory would mean clients that wait for ever, and a loop that only fails.
    """
    try:
        log.fatal("there is no memory left to go on: the server ended, and can be started again")
        log.flush()
    finally:
        os._exit(EXIT_UNEXPECTED)


async def _serve(
    settings: Settings,
    log: Log,
    clock: Callable[[], int],
    served: ServedStore,
    restores: Restores[Restored],
    directory: Path,
    form: EventForm,
    credentials: LiveCredentials,
    limits: Limits,
    ending: _Ending,
    hosting: Hosting | None,
) -> None:
    loop = asyncio.get_running_loop()
    tasks, tally = Tasks(log.bug), Tally(map(name_of, ROUTES))
    loop_delay = LoopDelay(loop)
    monitor = Monitor(
        release=RELEASE,
        clock=clock,
        started_at=time.time(),
        served=served,
        tally=tally,
        loop_clock=loop.time,
        statistics=lambda: server.statistics(),  # noqa: PLW0108 - there is no server yet.
        connections_max=limits.connections_max,
        bug_count=lambda: log.bug_count,
        disk=DiskGauge(directory),
        loop_delay=loop_delay,
        certificate_ends_at=lambda: _certificate_end(credentials),
        fronts=hosting,
    )
    describe = partial(describe_server, RELEASE, settings.redacted(), settings.origins)
    settle = None if hosting is None else hosting.settling(tasks.wait_for_others)
    services = Services(
        *(served, form, clock, tasks, tally, monitor, describe, restores), settle=settle
    )
    documents = await call_on_thread(partial(_load_documents, settings, log))
    application = _application(settings, log, credentials, services, documents)
    server = _server(settings, log, application, limits)
    # What was made until now lives as long as the server: no need to look at it again and again.
    gc.freeze()

    try:
        await _listen(server, settings, credentials, log, served, hosting)
        loop_delay.start()
        ending.note_serving()
        log.info("stopping", reason=await _wait_for_end(ending, served))
    finally:
        loop_delay.stop()
        # Refuse what comes, end what has no end, and let the rest come to its end.
        ending.begin("requests in flight")
        if hosting is not None:
            served.end_streams()
            # What they have begun may need an answer from here.
            await hosting.stop(seconds_max=_GRACE_SECONDS + _FRONT_SECONDS)
        application.stop()
        served.end_streams()
        await server.stop(grace_seconds=_GRACE_SECONDS)
        ending.begin("what endpoints wait for")
        await tasks.wait()


async def _wait_for_end(ending: _Ending, served: ServedStore) -> str:
    """Return who asked for the end; raise the error for which there is no store any more."""
    await asyncio.wait((ending.asked, served.lost), return_when=asyncio.FIRST_COMPLETED)
    if served.lost.done():
        raise served.lost.result()
    return ending.asked.result()


async def _reload(
    reads: Sequence[Callable[[], PutIntoForce]],
    hung_up: asyncio.Event,
    log: Log,
    hosting: Hosting | None,
) -> None:
    """Read the credentials again whenever a SIGHUP has come, also before there was a server."""
    while True:
        await hung_up.wait()
        hung_up.clear()
        for read in reads:
            try:
                put_into_force = await call_on_thread(read)
                tell = put_into_force()
                if hosting is not None:
                    await hosting.reload()
                tell()
            except Exception as error:  # noqa: BLE001 - the next signal is heard all the same.
                log.bug(error)


def _load_documents(settings: Settings, log: Log) -> Documents:
    """Return what is open to everybody, and say so where pages are among it."""
    documents = documents_of(settings)
    if settings.with_ui:
        log.info("the management UI is on: whoever has the token can look with a browser")
    return documents


def _application(
    settings: Settings,
    log: Log,
    credentials: LiveCredentials,
    services: Services,
    documents: Documents,
) -> ApiApplication:
    return ApiApplication(
        ROUTES,
        documents,
        services=services,
        token=credentials.token_check,
        failed_attempts=FailedAttempts(lambda address: _warn_of_failures(log, address)),
        # Fronts have charged what they hand on.
        rate_limit=RateLimit(settings.rate_limit)
        if settings.rate_limit and settings.processes == 1
        else None,
        monotonic_clock=time.monotonic,
        on_error=log.bug,
    )


def _server(settings: Settings, log: Log, application: ApiApplication, limits: Limits) -> Server:
    return Server(
        application,
        server_header=SERVER_HEADER,
        headers_kept=headers_kept(settings),
        headers_always=HEADERS_ALWAYS,
        limits=limits,
        # Fronts have no address, and know how many may be connected.
        is_shared=settings.is_shared if settings.processes == 1 else lambda _: True,
        events=server_events(log),
    )


def _certificate_end(credentials: LiveCredentials) -> float | None:
    switch = credentials.certificate_switch
    return None if switch is None else switch.certificate.expires_at.timestamp()


def _warn_of_failures(log: Log, address: str) -> None:
    message = "an address keeps asking without the right token: it is told to wait"
    log.warning(message, address=address)


async def _listen(
    server: Server,
    settings: Settings,
    credentials: LiveCredentials,
    log: Log,
    served: ServedStore,
    hosting: Hosting | None,
) -> None:
    wanted: list[tuple[str, int, SSLContext | None]] = []
    if credentials.certificate_switch is not None:
        wanted.append(("https", settings.https_port, credentials.certificate_switch.context))
    if settings.http_enabled:
        wanted.append(("http", settings.http_port, None))
        if not is_loopback(settings.host):
            message = "plain HTTP is open to other machines: the token and all events can be read"
            log.warning(message, host=settings.host)
    told: list[str] = []
    listeners: list[tuple[Sequence[socket.socket], bool]] = []
    for scheme, port, context in wanted:
        try:
            if hosting is None:
                bound_port = await server.start(settings.host, port, ssl=context)
            else:
                found = await call_on_thread(partial(_open_listeners, settings.host, port))
                listeners.append((found, context is not None))
                bound_port = found[0].getsockname()[1]
        except (OSError, UnicodeError) as error:
            # What no name of a host can be does not get as far as the system.
            reason = error.strerror if isinstance(error, OSError) else "there is no such host"
            message = f"cannot listen on {settings.host}:{port}: {reason}"
            raise _CannotListenError(message) from error
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        told.append(f"{scheme}://{host}:{bound_port}")
    if hosting is not None:
        await hosting.start(served, server)
        for each, is_encrypted in listeners:
            hosting.listen(each, is_encrypted=is_encrypted)
    for url in told:
        log.info("listening", url=url, processId=os.getpid())


def _open_listeners(host: str, port: int) -> Sequence[socket.socket]:
    return open_listeners(host, port, backlog=BACKLOG, seconds_max=Limits().send_seconds_max)


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
