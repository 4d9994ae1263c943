"""A front: a process that speaks with clients, and leaves to its owner what is there once.

Started by the owner with two sockets (`service.fronts.owner`), and gone with it: when the owner's
end of either closes, for whatever reason, the process ends at once, since there is nobody who could
tell whether what it serves is still true.

It reads the owner's log, by the owner's index; reads, observers and queries cost the owner nothing.
Small writes are parsed here and handed on; whatever else would change the store, or is about all of
the server, is handed on as it came.
"""

import asyncio
import gc
import os
import pickle
import signal
import socket
import sys
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from ssl import SSLContext
from typing import Any, Final, cast

import msgspec
import uvloop

from everlog._version import COMPATIBLE_VERSION, __version__
from everlog.api.allowances import FailedAttempts, RateLimit
from everlog.api.answers import EventForm
from everlog.api.application import HEADERS_ALWAYS, ApiApplication
from everlog.api.forwarding import Forwarding
from everlog.api.routes import ROUTES, Answer, Handle, Route, name_of
from everlog.api.services import Services, Tasks
from everlog.credentials.certificate import CertificateSwitch, load_certificate
from everlog.credentials.signing_key import load_signing_key
from everlog.credentials.token import TokenCheck
from everlog.domain.errors import SettingsError
from everlog.domain.event import EventCandidate
from everlog.domain.precondition import Precondition
from everlog.exit_codes import EXIT_OK, EXIT_UNEXPECTED
from everlog.hosting import ENCRYPTED, FrontStart, documents_of, headers_kept
from everlog.http import Exchange, Limits, Request, Server
from everlog.monitoring.figures import encode_front, figures_of_front
from everlog.monitoring.loop_delay import LoopDelay
from everlog.monitoring.machine import read_process
from everlog.monitoring.tally import Tally
from everlog.reporting import server_events, store_events
from everlog.service.fronts.channel import SocketLane
from everlog.service.fronts.front import OwnerLink, Waking
from everlog.service.fronts.messages import Kind, LogLine, OwnerFailedError, Spent, encode
from everlog.service.observers import Observers
from everlog.service.querying.queries import Queries
from everlog.service.reader import Reader, ReadFailures
from everlog.service.served_store import ServedStore
from everlog.service.store import Store
from everlog.service.writing.changes import Answer as OnOutcome
from everlog.settings import Settings
from everlog.storage.log.shared_log import SharedLog
from everlog.telemetry import Level, Log, catch_errors_of_loop, catch_uncaught_errors
from everlog.threads import call_on_thread

_SERVER_HEADER: Final = f"EventSourcingDB/{COMPATIBLE_VERSION} Everlog/{__version__}".encode()

# As for one server.
_GRACE_SECONDS: Final = 10.0

# How often the owner is told how this process is, for when it cannot be asked any more.
_FIGURES_SECONDS: Final = 1.0

# A larger write takes the owner some time to read, wherever it came from.
_SMALL_WRITE_SIZE_MAX: Final = 64 * 1024
# Who has a query among its preconditions may be given up while it is evaluated.
_QUERY_PRECONDITION: Final = b"isEventQlQueryTrue"

# What is answered here. All else is about what is there once.
_OWN: Final = frozenset(
    {
        Answer.EVENT_STREAM,
        Answer.OBSERVATION,
        Answer.ROW_STREAM,
        Answer.SUBJECT_STREAM,
        Answer.EVENT_TYPE_STREAM,
        Answer.EVENT_TYPE,
    }
)
# What needs no store.
_STORELESS: Final = frozenset({Answer.API_EVENT})

# Of a temporary directory only the owner knows where it is.
_NOWHERE: Final = Path()


class _FrontLog(Log):
    """The owner's log, as a front writes to it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop: Final = loop
        self._send: Callable[[Kind, bytes], None] | None = None
        self._level_min = Level.INFO

    def lead_to(self, send: Callable[[Kind, bytes], None], level: Level) -> None:
        """Write from now on."""
        self._send, self._level_min = send, level

    def flush(self) -> None:
        """Others write it."""

    def _write(self, level: Level, message: str, fields: dict[str, object]) -> None:
        if level < self._level_min or self._send is None:
            return
        content = msgspec.json.encode({**fields, "processId": os.getpid()}, enc_hook=str)
        line = encode(LogLine(level, message, content))
        # Whoever writes it may be any thread.
        self._loop.call_soon_threadsafe(self._send, Kind.LOG, line)


class _Front:
    """All of one front."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop: Final = loop
        self.log: Final = _FrontLog(loop)
        self.link: Final = OwnerLink(
            loop, on_frame=self._take, on_lost=_end_at_once, on_error=self._note_error
        )
        self.started: Final[asyncio.Future[FrontStart]] = loop.create_future()
        # Why it is to end, empty where the server stops.
        self.stopped: Final[asyncio.Future[bytes]] = loop.create_future()
        self._served: ServedStore | None = None
        self._is_locked = False
        self._token: TokenCheck | None = None
        self._waking: Waking | None = None
        self._read_figures: Callable[[], bytes] = bytes
        self._read_certificate: Callable[[], None] = _do_nothing
        self._adopt: Callable[[bytes, socket.socket], None] = lambda _, handed: handed.close()
        self._adopting: Final[set[asyncio.Task[None]]] = set()

    async def serve(self, start: FrontStart) -> None:
        """Serve until told to stop."""
        settings, log = start.settings, self.log
        log.lead_to(self.link.channel.send, start.log_level)
        form = EventForm(await call_on_thread(partial(load_signing_key, settings.signing_key_file)))
        token = self._token = TokenCheck(start.tokens)
        switch = await call_on_thread(partial(_load_switch, settings))
        self._read_certificate = partial(_read_certificate, settings, switch)
        async with ServedStore(partial(self._open_store, start, form)) as served:
            self._served = served
            if self._is_locked:
                served.current = None
            tasks, tally = Tasks(log.bug), Tally(map(name_of, ROUTES))
            loop_delay = LoopDelay(self._loop)
            services = Services(
                *(served, form, time.time_ns, tasks, tally),
                # Whoever asks for these is led to the owner.
                monitor=cast("Any", None),
                describe=cast("Any", None),
                restores=cast("Any", None),
                write=self._write,
            )
            application = self._application(settings, services, token)
            server = self._server(start, application)
            contexts = {} if switch is None else {ENCRYPTED: switch.context}
            self._adopt = partial(self._adopt_by, server, contexts)
            process = read_process()
            self._read_figures = lambda: encode_front(
                figures_of_front(
                    http=server.statistics(),
                    tally=tally,
                    bug_count=log.bug_count,
                    store=served.latest,
                    loop_delay=loop_delay,
                    process=process,
                )
            )
            gc.freeze()
            loop_delay.start()
            self.link.channel.send(Kind.READY)
            try:
                while not self.stopped.done():
                    await asyncio.wait({self.stopped}, timeout=_FIGURES_SECONDS)
                    process = await call_on_thread(read_process)
                    self.link.channel.send(Kind.FIGURES, self._read_figures())
            finally:
                if self.stopped.done() and self.stopped.result():
                    # It is another store that is served from now on.
                    served.current = None
                application.stop()
                served.latest.end_streams()
                await server.stop(grace_seconds=_GRACE_SECONDS)
                await tasks.wait()
                loop_delay.stop()
                self.link.channel.send(Kind.FIGURES, self._read_figures())
                # Once this has left.
                await asyncio.sleep(0.01)

    @asynccontextmanager
    async def _open_store(self, start: FrontStart, form: EventForm) -> AsyncGenerator[Store, None]:
        settings, log = start.settings, self.log
        shared = await call_on_thread(partial(SharedLog, start.files))
        events = store_events(log, settings.data_directory or _NOWHERE)
        reader, observers = Reader(self._loop), Observers(self._loop)
        # A log that is only read has all of an engine that readers ask for.
        engine = cast("Any", shared)
        queries = Queries(
            engine,
            reader,
            clock=time.time_ns,
            signing_key=form.signing_key,
            seconds_max=settings.query_time_limit,
            on_process_lost=events.query_process_lost,
            process_count_max=max(1, -(-(os.cpu_count() or 1) // start.front_count)),
        )
        waking = self._waking = Waking(shared, observers, self._loop)
        self.link.share_permits(observers.permits, queries.permits, on_first_observer=waking.begin)
        absent = cast("Any", None)
        writer = cast("Any", _WriterElsewhere(settings))
        store = _FrontStore(
            *(engine, writer, reader, absent, ReadFailures(events.read_failed), observers),
            *(queries, absent, absent, absent, absent),
        )
        try:
            yield store
        finally:
            store.end_streams()
            await queries.close()
            reader.close()
            shared.close()

    def _server(self, start: FrontStart, application: ApiApplication) -> Server:
        return Server(
            application,
            server_header=_SERVER_HEADER,
            headers_kept=headers_kept(start.settings),
            headers_always=HEADERS_ALWAYS,
            limits=_part_of(start),
            is_shared=start.settings.is_shared,
            events=server_events(self.log),
            on_connection_lost=self.link.note_connection_ended,
        )

    def _application(
        self, settings: Settings, services: Services, token: TokenCheck
    ) -> ApiApplication:
        failed = FailedAttempts(lambda address: _warn_of_failures(self.log, address))
        limit = RateLimit(settings.rate_limit) if settings.rate_limit else None
        link = self.link
        failed.on_spent = lambda client: link.spend(client, failures=1)
        if limit is not None:
            limit.on_spent = lambda client, units: link.spend(client, units=units)

        def spent_elsewhere(spent: Spent) -> None:
            now = time.monotonic()
            if spent.failures:
                failed.spend(spent.client, spent.failures, now=now)
            if spent.units and limit is not None:
                limit.spend(spent.client, spent.units, now=now)

        link.share_allowances(spent_elsewhere)
        return ApiApplication(
            _routes(self._forwarding()),
            documents_of(settings),
            services=services,
            token=token,
            failed_attempts=failed,
            rate_limit=limit,
            monotonic_clock=time.monotonic,
            on_error=self.log.bug,
        )

    def _forwarding(self) -> Forwarding:
        return Forwarding(self.link.forward)

    def _write(
        self,
        _: Store,
        candidates: Sequence[EventCandidate],
        preconditions: Sequence[Precondition],
        answer: OnOutcome,
    ) -> None:
        self.link.write(candidates, preconditions, answer)

    # What the owner says.

    def take_socket(self, word: bytes, handed: socket.socket) -> None:
        """Serve a connection that the owner has accepted."""
        self._adopt(word, handed)

    def _adopt_by(
        self, server: Server, contexts: dict[bytes, SSLContext], word: bytes, handed: socket.socket
    ) -> None:
        task = self._loop.create_task(server.adopt(handed, ssl=contexts.get(word)))
        self._adopting.add(task)
        task.add_done_callback(self._adopting.discard)

    def _take(self, kind: Kind, content: bytes) -> None:
        match kind:
            case Kind.MOVED:
                assert self._waking is not None
                self._waking.note_head()
            case Kind.ASK:
                self.link.channel.send(Kind.FIGURES, self._read_figures())
            case Kind.START:
                # From the process that has started us, and runs our code.
                self.started.set_result(pickle.loads(content))  # noqa: S301 - see above
            case Kind.RELOAD:
                self._start_reload(content)
            case Kind.LOCK | Kind.UNLOCK:
                self._lock(is_locked=kind is Kind.LOCK)
            case Kind.STOP if not self.stopped.done():
                self.stopped.set_result(content)

    def _lock(self, *, is_locked: bool) -> None:
        self._is_locked = is_locked
        if self._served is not None and not self.stopped.done():
            self._served.current = None if is_locked else self._served.latest
        if self._token is not None:
            # Heads that were admitted before are asked about again.
            self._token.begin_epoch()
        self.link.channel.send(Kind.DONE)

    def _start_reload(self, content: bytes) -> None:
        assert self._token is not None
        # As above.
        self._token.replace(pickle.loads(content))  # noqa: S301 - see above
        reading = call_on_thread(self._read_certificate)

        def done(_: object) -> None:
            if reading.exception() is not None:
                message = "a front cannot use the certificate: its old one stays"
                self.log.error(message, reason=str(reading.exception()))
            self.link.channel.send(Kind.DONE)

        reading.add_done_callback(done)

    def _note_error(self, error: Exception) -> None:
        # Of these the owner has told.
        if not isinstance(error, OwnerFailedError):
            self.log.bug(error)


class _WriterElsewhere:
    """What reading a write has to know of the writer."""

    def __init__(self, settings: Settings) -> None:
        self.hash_version: Final = settings.hash_version


class _FrontStore(Store):
    """A store of which only what reads is here."""

    def end_streams(self) -> None:
        """End what may go on for long."""
        self.observers.close()
        self.queries.end()


def _routes(forwarding: Forwarding) -> tuple[Route, ...]:
    return tuple(route._replace(handle=_handle_of(route, forwarding)) for route in ROUTES)


def _handle_of(route: Route, forwarding: Forwarding) -> Handle:
    """Return what handles a route's requests in a front."""
    handle, forward = route.handle, forwarding.handle
    if route.answer in _STORELESS:
        return handle
    if route.answer in _OWN:

        def read(services: Services, request: Request, exchange: Exchange) -> None:
            store = services.store
            # Whatever was acknowledged before, by whichever process, is shown.
            cast("SharedLog", store.engine).catch_up()
            handle(services, request, exchange)

        return read
    if route.answer is Answer.EVENTS:

        def write(services: Services, request: Request, exchange: Exchange) -> None:
            body = request.body
            if len(body) > _SMALL_WRITE_SIZE_MAX or _QUERY_PRECONDITION in body:
                forward(services, request, exchange)
            else:
                handle(services, request, exchange)

        return write
    return forward


def _part_of(start: FrontStart) -> Limits:
    """Return the limits of one front: connections are spread evenly, and memory is divided."""
    whole, count = Limits(), start.front_count
    return Limits(
        connections_max=max(1, start.connections_max // count),
        connections_refused_max=start.connections_refused_max // count,
        bodies_size_max=whole.bodies_size_max // count,
        backlog_size_max=whole.backlog_size_max // count,
    )


def _load_switch(settings: Settings) -> CertificateSwitch | None:
    files = settings.certificate_files
    return None if files is None else CertificateSwitch(load_certificate(files, now=_now()))


def _read_certificate(settings: Settings, switch: CertificateSwitch | None) -> None:
    files = settings.certificate_files
    if files is None or switch is None:
        return
    try:
        switch.replace(load_certificate(files, now=_now()))
    except SettingsError:
        # The owner has told, and keeps its own.
        return


def _now() -> datetime:
    return datetime.now(UTC)


def _warn_of_failures(log: Log, address: str) -> None:
    message = "an address keeps asking without the right token: it is told to wait"
    log.warning(message, address=address)


def _do_nothing() -> None:
    """There is nothing yet."""


def _end_at_once() -> None:
    """End with the owner: whatever was acknowledged is on its disk."""
    os._exit(EXIT_OK)


async def _run(channel: socket.socket, lane: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    front = _Front(loop)
    catch_uncaught_errors(front.log)
    catch_errors_of_loop(front.log, loop, on_step_lost=lambda: os._exit(EXIT_UNEXPECTED))
    front.link.take_lane(SocketLane(lane, loop, on_socket=front.take_socket))
    await loop.create_unix_connection(lambda: front.link.channel, sock=channel)
    await front.serve(await front.started)


def main() -> None:
    """Serve until the owner says otherwise, or is gone."""
    # They are meant for the owner, which tells us what to do.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.umask(0o077)
    channel = socket.socket(fileno=os.dup(sys.stdin.fileno()))
    lane = socket.socket(fileno=int(sys.argv[1]))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(channel, lane))
    os._exit(EXIT_OK)


if __name__ == "__main__":
    main()
