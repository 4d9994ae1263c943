"""A real HTTP server in a thread, an application to serve, and a client that speaks raw bytes.

Answers are read with h11, so that every test also checks that what we send is HTTP. Where the order
of what happens matters, a connection can be had without a server, on a transport that remembers.
"""

import asyncio
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from ssl import SSLContext
from typing import Any, Self, TypeVar

import h11
import uvloop

from everlog.http import (
    BodyStream,
    Endpoint,
    Exchange,
    Head,
    Limits,
    Request,
    Response,
    Server,
    ServerEvents,
    Statistics,
    Stream,
)
from everlog.http.connection import Connection
from everlog.http.framing import Renderer
from everlog.http.shared import ServerState
from everlog.http.states import Happening, State
from tests.support.watchdog import WatchedLoopDelay, check_report

_Result = TypeVar("_Result")

# Far longer than anything takes here: whoever waits that long has found a bug.
DEADLINE_SECONDS = 20.0

SMALL_BODY_SIZE_MAX = 10
BODY_SIZE_MAX = 1024 * 1024


class RecordingApplication:
    """Answers by path, and remembers what it saw; paths stand in `_ROUTES`."""

    def __init__(self) -> None:
        self.heads: list[Head] = []
        self.requests: list[Request] = []
        self.errors: list[BaseException] = []
        self.refusals: list[tuple[int, str]] = []
        # Exchanges that wait for the test to answer them.
        self.waiting: list[Exchange] = []
        self.disconnected: list[Exchange] = []
        self.streams: list[Stream] = []
        self.streams_cancelled = 0
        self.stream_size = 0
        # Bodies that the test reads, with their exchanges; and how reading ended where we did.
        self.bodies: list[tuple[BodyStream, Exchange]] = []
        self.body_errors: list[Exception] = []
        self.tasks: list[asyncio.Task[None]] = []

    def route(self, head: Head) -> Endpoint | Response:
        self.heads.append(head)
        match head.path:
            case "/refused":
                return Response(401, b"who are you?", b"text/plain")
            case "/unroutable":
                raise LookupError("no route")
            case "/small":
                return Endpoint(self.echo, SMALL_BODY_SIZE_MAX)
            case "/later":
                return Endpoint(self.answer_later, BODY_SIZE_MAX)
            case "/broken":
                return Endpoint(self.fail, BODY_SIZE_MAX)
            case "/empty":
                return Endpoint(self.answer_nothing, BODY_SIZE_MAX)
            case "/numbers":
                return Endpoint(self.stream_numbers, BODY_SIZE_MAX)
            case "/waiting":
                return Endpoint(self.stream_and_wait, BODY_SIZE_MAX)
            case "/endless":
                return Endpoint(self.stream_endlessly, BODY_SIZE_MAX)
            case "/swallowed":
                return Endpoint(self.swallow, None)
            case "/untouched":
                return Endpoint(self.leave_untouched, None)
            case "/unwanted":
                return Endpoint(self.refuse_body, None)
            case "/mishandled":
                return Endpoint(self.fail, None)
            case "/torn":
                return Endpoint(self.stream_and_fail, BODY_SIZE_MAX)
            case _:
                return Endpoint(self.echo, BODY_SIZE_MAX)

    def render_error(self, status: int, reason: str) -> Response:
        self.refusals.append((status, reason))
        return Response(status, reason.encode(), b"text/plain")

    def on_error(self, error: BaseException) -> None:
        self.errors.append(error)

    def echo(self, request: Request, exchange: Exchange) -> None:
        self.requests.append(request)
        exchange.respond(Response(200, echo_of(request), b"text/plain", ((b"X-Echo", b"1"),)))

    def answer_later(self, request: Request, exchange: Exchange) -> None:
        self.requests.append(request)
        self.waiting.append(exchange)
        exchange.on_disconnect(lambda: self.disconnected.append(exchange))

    def swallow(self, request: Request, exchange: Exchange) -> None:
        """Read a body to its end, and say how large it was, and what its bytes are."""
        body = request.stream
        assert body is not None

        async def read() -> None:
            size, digest = 0, sha256()
            try:
                while part := await body.read():
                    size += len(part)
                    digest.update(part)
            except Exception as error:  # noqa: BLE001 - the test looks at what it was
                self.body_errors.append(error)
                exchange.respond(Response(400, b"the body ended early", b"text/plain"))
                return
            text = b"%d %b" % (size, digest.hexdigest().encode())
            exchange.respond(Response(200, text, b"text/plain"))

        exchange.on_disconnect(lambda: self.disconnected.append(exchange))
        self.tasks.append(asyncio.get_running_loop().create_task(read()))

    def leave_untouched(self, request: Request, exchange: Exchange) -> None:
        """Leave a body to the test."""
        assert request.stream is not None
        exchange.on_disconnect(lambda: self.disconnected.append(exchange))
        self.bodies.append((request.stream, exchange))

    def refuse_body(self, request: Request, exchange: Exchange) -> None:
        del request
        exchange.respond(Response(409, b"not wanted", b"text/plain"))

    def answer_nothing(self, request: Request, exchange: Exchange) -> None:
        self.requests.append(request)
        exchange.respond(Response(204, b"", b""))

    def fail(self, request: Request, exchange: Exchange) -> None:
        del request, exchange
        raise ValueError("a bug")

    def stream_numbers(self, request: Request, exchange: Exchange) -> None:
        async def produce(stream: Stream) -> None:
            for number in range(int(request.head.query or "3")):
                await stream.send(memoryview(b"number %d\n" % number))
                await stream.send(b"")

        exchange.stream(200, b"text/plain", produce, ((b"X-Stream", b"1"),))

    def stream_and_wait(self, request: Request, exchange: Exchange) -> None:
        del request

        async def produce(stream: Stream) -> None:
            self.streams.append(stream)
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.streams_cancelled += 1
                raise

        exchange.on_disconnect(lambda: self.disconnected.append(exchange))
        exchange.stream(200, b"text/plain", produce)

    def stream_endlessly(self, request: Request, exchange: Exchange) -> None:
        del request
        data = b"x" * 65_536

        async def produce(stream: Stream) -> None:
            self.streams.append(stream)
            while True:
                await stream.send(data)
                self.stream_size += len(data)

        exchange.stream(200, b"text/plain", produce)

    def stream_and_fail(self, request: Request, exchange: Exchange) -> None:
        del request

        async def produce(stream: Stream) -> None:
            await stream.send(b"half a sen")
            raise ValueError("a bug in a stream")

        exchange.stream(200, b"text/plain", produce)


def echo_of(request: Request) -> bytes:
    """Say back what was understood."""
    head = request.head
    return f"{head.method} {head.path}?{head.query}\n".encode() + request.body


@dataclass
class Serving:
    """A running server, seen from the test's thread."""

    application: RecordingApplication
    server: Server
    port: int
    loop: asyncio.AbstractEventLoop

    def call(self, function: Callable[[], _Result]) -> _Result:
        """Run `function` on the server's thread."""
        return asyncio.run_coroutine_threadsafe(_call(function), self.loop).result(DEADLINE_SECONDS)

    def statistics(self) -> Statistics:
        return self.call(self.server.statistics)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition` holds on the server's thread."""
        wait_until(lambda: self.call(condition))

    def stop(self, *, grace_seconds: float) -> None:
        future = asyncio.run_coroutine_threadsafe(
            self.server.stop(grace_seconds=grace_seconds), self.loop
        )
        future.result(DEADLINE_SECONDS)


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until `condition` holds; fail when it takes too long."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


async def _call(function: Callable[[], _Result]) -> _Result:
    return function()


@contextmanager
def serving(
    application: RecordingApplication | None = None,
    *,
    limits: Limits | None = None,
    ssl: SSLContext | None = None,
    is_shared: Callable[[str], bool] = lambda _: True,
    events: ServerEvents | None = None,
) -> Iterator[Serving]:
    """Run a server in a thread of its own, and stop it at the end.

    All clients of a test have one address, which may have any number of connections by default.
    The test fails if its event loop was held up.
    """
    with tempfile.TemporaryDirectory(prefix="everlog-test-") as temporary:
        report = Path(temporary, "report")
        application = application or RecordingApplication()
        server = Server(
            application,
            server_header=b"Everlog/test",
            headers_kept=frozenset({b"authorization", b"content-type"}),
            headers_always=((b"X-Always", b"yes"),),
            limits=limits or Limits(),
            is_shared=is_shared,
            events=events or ServerEvents(),
        )
        with _serving(application, server, ssl, report) as running:
            yield running
        check_report(report)


@contextmanager
def _serving(
    application: RecordingApplication, server: Server, ssl: SSLContext | None, report: Path
) -> Iterator[Serving]:
    loop = uvloop.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        started = asyncio.run_coroutine_threadsafe(server.start("127.0.0.1", 0, ssl=ssl), loop)
        port = started.result(DEADLINE_SECONDS)
        running = Serving(application, server, port, loop)
        watchdog = WatchedLoopDelay(loop, report)
        running.call(watchdog.start)
        try:
            yield running
        finally:
            running.call(watchdog.stop)
            running.stop(grace_seconds=0.0)
        assert running.statistics().connections == 0
        assert running.statistics().streams == 0
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(DEADLINE_SECONDS)
        loop.close()


class RecordingTransport(asyncio.Transport):
    """Remembers what is written, and may be closed under its user, as uvloop's are."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[bytes] = []
        self.is_closed = False
        self.is_closed_under_us = False
        self.is_reading_paused = False
        self.is_eof_written = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.is_closed_under_us:
            raise RuntimeError("the handle is closed")
        self.parts.append(bytes(data))

    def writelines(self, list_of_data: object) -> None:
        assert isinstance(list_of_data, tuple)
        for data in list_of_data:
            self.write(data)

    def write_eof(self) -> None:
        assert not self.is_eof_written
        self.is_eof_written = True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert (high or 0) > (low or 0)

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        assert not self.is_reading_paused
        self.is_reading_paused = True

    def resume_reading(self) -> None:
        assert self.is_reading_paused
        self.is_reading_paused = False

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed


class RecordingConnection(Connection):
    """Remembers how it went from state to state."""

    __slots__ = ("moves",)

    def __init__(self, server: ServerState, *, is_tls: bool = False) -> None:
        super().__init__(server, is_tls=is_tls)
        self.moves: list[tuple[State, Happening]] = []

    def _move(self, happening: Happening) -> None:
        self.moves.append((self._state, happening))
        super()._move(happening)


class Wired:
    """A connection whose events a test makes itself; to be made within an event loop."""

    def __init__(
        self,
        application: RecordingApplication | None = None,
        *,
        limits: Limits | None = None,
        is_tls: bool = False,
    ) -> None:
        self.application = application or RecordingApplication()
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._note_error)
        self.server = ServerState(
            self.application,
            renderer=Renderer(server_header=b"Everlog/test", now=0.0),
            headers_kept=frozenset(),
            limits=limits or Limits(),
            loop=loop,
            tick_seconds=1.0,
            on_connection_lost=lambda: None,
        )
        self.transport = RecordingTransport()
        self.connection = RecordingConnection(self.server, is_tls=is_tls)
        self.connection.connection_made(self.transport)

    @property
    def state(self) -> State:
        return self.connection._state

    @property
    def output(self) -> bytes:
        return b"".join(self.transport.parts)

    def send(self, data: bytes) -> None:
        self.connection.data_received(data)

    def answer(self, number: int) -> None:
        """Answer the request of that number among those that wait."""
        self.application.waiting[number].respond(Response(200, b"%d" % number, b"text/plain"))

    def _note_error(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.application.errors.append(context.get("exception") or RuntimeError(str(context)))

    async def settle(self) -> None:
        """Let everything happen that is due."""
        for _ in range(10):
            await asyncio.sleep(0)
            while self.server.turns.is_due:  # noqa: ASYNC110 - each step is one of the event loop
                await asyncio.sleep(0)


@dataclass
class Answer:
    """One answer as a client sees it."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes
    # False if the connection ended before the answer did.
    is_whole: bool
    statuses_before: list[int] = field(default_factory=list)


class Client:
    """A client that sends what it is told and reads answers with h11."""

    def __init__(
        self,
        port: int,
        *,
        socket_wrapper: Callable[[socket.socket], socket.socket] = (lambda plain: plain),
        receive_buffer_size: int = 0,
    ) -> None:
        plain = socket.socket()
        if receive_buffer_size:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_size)
        plain.settimeout(DEADLINE_SECONDS)
        plain.connect(("127.0.0.1", port))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = socket_wrapper(plain)
        self._rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def half_close(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def receive(self) -> bytes:
        """Return what arrives next, b"" at the end."""
        try:
            return self.socket.recv(262_144)
        except ConnectionResetError:
            return b""

    def receive_all(self) -> bytes:
        """Read until the server closes; a reset fails the test."""
        parts = [self._rest]
        while data := self.socket.recv(262_144):
            parts.append(data)
        self._rest = b""
        return b"".join(parts)

    def read_until(self, ending: bytes) -> bytes:
        """Read raw bytes up to and including `ending`."""
        while ending not in self._rest:
            data = self.receive()
            assert data, self._rest
            self._rest += data
        end = self._rest.index(ending) + len(ending)
        taken, self._rest = self._rest[:end], self._rest[end:]
        return taken

    def read_answer(self, method: str = "GET") -> Answer:
        """Read one complete answer to a request of `method`."""
        parser = h11.Connection(h11.CLIENT)
        parser.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
        parser.send(h11.EndOfMessage())
        if self._rest:
            # h11 takes nothing for the end of the connection.
            parser.receive_data(self._rest)
        answer = Answer(0, {}, b"", is_whole=False)
        while True:
            try:
                event = parser.next_event()
            except h11.RemoteProtocolError:
                return answer
            if event is h11.NEED_DATA:
                parser.receive_data(self.receive())
            elif isinstance(event, h11.InformationalResponse):
                answer.statuses_before.append(event.status_code)
            elif isinstance(event, h11.Response):
                answer.status = event.status_code
                answer.headers = dict(event.headers)
                # Whatever the answer is, refusals included.
                assert answer.headers[b"x-always"] == b"yes"
            elif isinstance(event, h11.Data):
                answer.body += event.data
            elif isinstance(event, h11.EndOfMessage):
                answer.is_whole = True
                self._rest = parser.trailing_data[0]
                return answer
            else:
                return answer

    def is_closed_by_server(self) -> bool:
        """Whether the server has nothing more to say; waits for that."""
        return self._rest == b"" and self.receive() == b""
