"""One request and its answer, from the application's side.

An `Application` decides about a `Head`, and its `Endpoint` takes the `Request` and answers it
through an `Exchange`: with a whole `Response`, or with a `Stream`, which goes to the connection's
`Output`. A body that may be large without bound is a `BodyStream`, which the endpoint reads.
An exchange outlives the call that hands it over: it may be answered at any later time on
the event loop's thread, exactly once, and in any order among the exchanges of a connection.
When the client has gone, answering is allowed and does nothing.
Nothing here knows about sockets or the parser.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec

from everlog.http.framing import (
    FINAL_CHUNK,
    Buffer,
    Form,
    Headers,
    Response,
    StatusCounts,
    check_headers,
    frame,
    frame_lines,
)

# Up to this size copying costs less than another buffer to write (and, with TLS, another record).
_JOIN_SIZE_MAX: Final = 16 * 1024

# A kernel that takes everything would never make us wait, and the others would never have a turn.
_YIELD_SIZE: Final = 256 * 1024


class Head(msgspec.Struct, gc=False, eq=False):
    """The first part of a request: everything that is known before its body.

    `path` and `query` are the raw target before and after the first "?", not decoded.
    `headers` holds the headers that the server was told to keep, their names in lower case.
    `peer` is the address of the client.
    Requests of a connection that repeat the head before them share one value. In `admission` the
    application says what all of them may be told without asking it again.
    """

    method: str
    path: str
    query: str
    headers: Mapping[bytes, bytes]
    peer: str
    admission: "Admission | None" = None


class Request(msgspec.Struct, frozen=True, gc=False, eq=False):
    """A complete request, or one whose body is still to come: then `stream` is that body."""

    head: Head
    body: bytes
    stream: "BodyStream | None" = None


class Endpoint(msgspec.Struct, frozen=True, eq=False):
    """Who answers a request, and how large a body it may have.

    Where `body_size_max` is None, any body is taken, and the request is handed over without it: the
    endpoint reads it from `Request.stream` as it arrives.
    `counts` is where its answers are counted, by the first digit of their status; see `no_counts`.
    Whoever gets to an endpoint has shown that it may, except where it is `is_open` to everybody.
    What `handle` raises is given to `refuse`, which answers it and returns True, or returns False
    if it is a bug.
    """

    handle: Callable[[Request, "Exchange"], None]
    body_size_max: int | None
    counts: StatusCounts | None = None
    refuse: Callable[["Exchange", Exception], bool] | None = None
    is_open: bool = False


class Authority(Protocol):
    """Who can take back what it admitted: by having another object for its epoch."""

    epoch: object


class Admission:
    """That a head leads to an endpoint for as long as the epoch of an authority lasts."""

    __slots__ = ("authority", "endpoint", "epoch")

    def __init__(self, endpoint: Endpoint, authority: Authority) -> None:
        self.endpoint: Final = endpoint
        self.authority: Final = authority
        self.epoch: Final = authority.epoch


class Application(Protocol):
    """What a server serves. All calls come from the event loop's thread and must not block."""

    def route(self, head: Head) -> Endpoint | Response:
        """Decide by the head alone, before a body is read; a Response is the answer.

        May give the head an `Admission`, and is not asked about it again while that counts.
        """
        ...

    def render_error(self, status: int, reason: str) -> Response:
        """Build the answer to what the HTTP layer itself refuses."""
        ...

    def on_error(self, error: BaseException) -> None:
        """Log a bug: a handler, a stream or a callback of the application raised."""
        ...


class Carrier(Protocol):
    """The connection, as far as an exchange needs it."""

    def send_answer(self, exchange: "Exchange") -> None:
        """Send the answer of `exchange` when it is its turn."""
        ...


class StreamAnswer(msgspec.Struct, eq=False):
    """The wish to stream, kept until it is this answer's turn, and until its end."""

    status: int
    content_type: bytes
    headers: Headers
    produce: Callable[["Stream"], Coroutine[Any, Any, None]]
    # Whether all of it has been sent; for the connection only.
    is_sent: bool = False


class Exchange(msgspec.Struct, eq=False):
    """The application's handle on the answer to one request.

    Applications call the methods, and read `answer` and `is_disconnected`; the rest is the
    connection's. A Struct, since one is made for each request.
    """

    # None once the answer is complete or the client is gone.
    carrier: Carrier | None
    form: Form
    # Where the answer is counted, by the first digit of its status.
    counts: StatusCounts | None = None
    answer: Response | StreamAnswer | None = None
    # Whether the client went away before it had its whole answer.
    is_disconnected: bool = False
    callbacks: list[Callable[[], None]] | None = None
    # What the answer carries besides its own headers.
    headers: Headers = ()

    def on_disconnect(self, callback: Callable[[], None]) -> None:
        """Call `callback` if the client goes away before it has its whole answer.

        Called at once if it has gone already.
        """
        if self.is_disconnected:
            callback()
        elif self.callbacks is None:
            self.callbacks = [callback]
        else:
            self.callbacks.append(callback)

    def add_headers(self, headers: Headers) -> None:
        """Let the answer carry these too, whatever it will be."""
        assert self.answer is None
        self.headers += headers

    def respond(self, response: Response) -> None:
        """Answer with a complete response."""
        assert self.answer is None
        if self.headers:
            headers = response.headers + self.headers
            response = msgspec.structs.replace(response, headers=headers)
        if response.headers:
            check_headers(response.headers)
        if self.counts is not None:
            self.counts[response.status // 100] += 1
        self.answer = response
        if self.carrier is not None:
            self.carrier.send_answer(self)

    def stream(
        self,
        status: int,
        content_type: bytes,
        produce: Callable[["Stream"], Coroutine[Any, Any, None]],
        headers: Headers = (),
    ) -> None:
        """Answer with what `produce` sends.

        `produce` is called when it is this answer's turn, runs in a task of the connection, and is
        cancelled when the client goes away. Its return is the end of the body.
        """
        assert self.answer is None
        headers += self.headers
        check_headers(headers)
        if self.counts is not None:
            self.counts[status // 100] += 1
        self.answer = StreamAnswer(status, content_type, headers, produce)
        if self.carrier is not None:
            self.carrier.send_answer(self)

    def disconnect(self) -> list[Callable[[], None]]:
        """Return whom to tell that the client is gone; for the connection only."""
        self.carrier = None
        self.is_disconnected = True
        callbacks, self.callbacks = self.callbacks, None
        return callbacks or []


class DisconnectedError(ConnectionError):
    """The client is gone: nobody will read what is sent, and no more of a body will come."""


class BodySource(Protocol):
    """The connection, as far as a body that is streamed needs it."""

    def resume_body(self) -> None:
        """Read on: whoever reads the body wants more of it."""
        ...

    def end_body(self) -> None:
        """Read no more of the body than what it takes to get past it: nobody wants it."""
        ...


class BodyStream:
    """The body of a request as it arrives, for one reader on the event loop's thread.

    Of what the reader has not taken, so much is held and what comes in one go; then the client
    waits in its socket. The time that the reader takes is not the client's.
    """

    __slots__ = ("_error", "_is_whole", "_loop", "_size_max", "_source", "_waiter", "_waiting")

    def __init__(
        self, source: BodySource, *, size_max: int, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._source = source
        self._size_max = size_max
        self._loop = loop
        # As in `RequestReader`: pieces may be of a byte, and no object is kept for each.
        self._waiting: bytes | bytearray = b""
        self._is_whole = False
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def is_full(self) -> bool:
        """Whether the client has to wait for the reader."""
        return len(self._waiting) >= self._size_max

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits for more of it just now."""
        return self._waiter is None

    async def read(self) -> bytes:
        """Return what has arrived since the last call, empty at the end of the body.

        Raises:
            DisconnectedError: The client went away, or ended its input, in the midst of the body.
            Exception: What `cut` was given.
        """
        while self._error is None and not self._waiting and not self._is_whole:
            self._source.resume_body()
            self._waiter = self._loop.create_future()
            await self._waiter
        if self._error is not None:
            raise self._error
        data, self._waiting = bytes(self._waiting), b""
        if not self._is_whole:
            self._source.resume_body()
        return data

    def cut(self, error: Exception) -> None:
        """Let the reader have this error in the place of the rest, unless all of it is there."""
        if not self._is_whole and self._error is None:
            self._error, self._waiting = error, b""
            self._wake()

    def end(self) -> None:
        """Note that nobody wants the rest, since the request is answered."""
        if not self._is_whole and self._error is None:
            self.cut(DisconnectedError())
            self._source.end_body()

    def put(self, data: bytes) -> None:
        """Take a part that has arrived; for the connection only."""
        if self._error is not None:
            return
        if not self._waiting:
            self._waiting = data
        elif type(self._waiting) is bytes:
            self._waiting = bytearray(self._waiting)
            self._waiting += data
        else:
            self._waiting += data
        self._wake()

    def finish(self) -> None:
        """Note that all of it has arrived; for the connection only."""
        if self._error is None:
            self._is_whole = True
            self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


class StreamedExchange(Exchange):
    """An exchange whose request's body is streamed: with the answer, nobody wants the rest."""

    body: BodyStream | None = None

    def respond(self, response: Response) -> None:
        """Answer with a complete response, and read no more of the body."""
        if self.body is not None:
            self.body.end()
        super().respond(response)

    def stream(
        self,
        status: int,
        content_type: bytes,
        produce: Callable[["Stream"], Coroutine[Any, Any, None]],
        headers: Headers = (),
    ) -> None:
        """Answer with what `produce` sends, and read no more of the body."""
        if self.body is not None:
            self.body.end()
        super().stream(status, content_type, produce, headers)


class Output:
    """Everything that is written to one transport.

    Writing never raises because of the client, whatever it did: after the connection is gone,
    writes vanish and whoever waits is told.
    """

    __slots__ = (
        "_loop",
        "_progress_at",
        "_sent_size",
        "_transport",
        "_waiters",
        "_written_size",
        "is_closed",
        "is_paused",
    )

    def __init__(self, transport: asyncio.Transport, *, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._waiters: list[asyncio.Future[None]] = []
        self._written_size = 0
        self._sent_size = -1
        self._progress_at = 0.0
        self.is_paused = False
        self.is_closed = False

    def write(self, data: bytes) -> None:
        """Send `data`, or forget it when the connection is gone."""
        self._written_size += len(data)
        try:
            self._transport.write(data)
        except RuntimeError:
            # uvloop has closed the transport and will say so in `connection_lost`.
            self.is_closed = True

    def write_all(self, parts: Sequence[Buffer], *, size: int) -> None:
        """Send several buffers, about `size` bytes in total, without copying them."""
        self._written_size += size
        try:
            self._transport.writelines(parts)
        except RuntimeError:
            self.is_closed = True

    def pause(self) -> None:
        """Note that the write buffer is full."""
        self.is_paused = True

    def resume(self) -> None:
        """Note that the write buffer has room again."""
        self.is_paused = False
        self._wake()

    def close(self) -> None:
        """Note that the connection is gone; whoever waits gets a DisconnectedError."""
        self.is_closed = True
        self.is_paused = False
        self._wake()

    async def wait_writable(self) -> None:
        """Wait until the client has read enough for more to be sent."""
        while self.is_paused and not self.is_closed:
            waiter: asyncio.Future[None] = self._loop.create_future()
            self._waiters.append(waiter)
            await waiter
        if self.is_closed:
            raise DisconnectedError

    def is_empty(self) -> bool:
        """Whether the kernel has taken everything that was written."""
        return self._transport.get_write_buffer_size() == 0

    def stalled_seconds(self, now: float) -> float:
        """How long the client has not taken a byte of what is waiting for it.

        Progress is noticed at the calls only, which therefore should be frequent.
        """
        buffered_size = self._transport.get_write_buffer_size()
        sent_size = self._written_size - buffered_size
        if buffered_size == 0 or sent_size != self._sent_size:
            self._sent_size = sent_size
            self._progress_at = now
        return now - self._progress_at

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


class Stream:
    """The body of an answer, sent in parts.

    A stream never holds data of its own: what is sent goes to the connection's output, and whoever
    produces waits while the client does not read. Memory per stream is thus bounded by the write
    buffer, however long the answer is.
    """

    __slots__ = ("_is_chunked", "_output", "_size_since_yield")

    def __init__(self, output: Output, *, is_chunked: bool) -> None:
        self._output = output
        self._is_chunked = is_chunked
        self._size_since_yield = 0

    async def send(self, data: Buffer) -> None:
        """Send bytes as one chunk, at the pace of the client.

        Raises DisconnectedError when the client is gone.
        """
        if self._output.is_paused:
            await self._output.wait_writable()
        self._write(frame(data) if self._is_chunked else (data,))
        del data
        await self._keep_pace()

    async def send_lines(self, lines: Buffer, starts: Sequence[int] | None = None) -> None:
        """Send whole lines, each as a chunk of its own, at the pace of the client.

        `starts` says where each begins, counted from any offset, where that is known.
        Raises DisconnectedError when the client is gone.
        """
        if self._output.is_paused:
            await self._output.wait_writable()
        self._write(frame_lines(lines, starts) if self._is_chunked else (lines,))
        # Whoever does not take the chunks must not keep the lines, too.
        del lines, starts
        await self._keep_pace()

    def send_nowait(self, data: bytes) -> bool:
        """Send one chunk if the client keeps up; otherwise send nothing and return False."""
        if self._output.is_paused or self._output.is_closed:
            return False
        self._write(frame(data) if self._is_chunked else (data,))
        return True

    def finish(self) -> None:
        """Mark the end of the body; for the connection only."""
        if self._is_chunked:
            self._output.write(FINAL_CHUNK)

    def probe(self) -> bool:
        """Send a byte without meaning, so that a client which is gone resets the connection.

        A chunk size may begin with zeros (RFC 9112 section 7.1), and so may the last chunk's:
        whatever is sent next continues the number.
        """
        if not self._is_chunked or self._output.is_paused:
            return False
        self._output.write(b"0")
        return True

    async def _keep_pace(self) -> None:
        """Wait until the client has taken what was sent, and let others have their turn."""
        output = self._output
        if output.is_paused:
            await output.wait_writable()
            self._size_since_yield = 0
        elif self._size_since_yield >= _YIELD_SIZE:
            self._size_since_yield = 0
            await asyncio.sleep(0)

    def _write(self, parts: tuple[Buffer, ...]) -> None:
        if self._output.is_closed:
            raise DisconnectedError
        size = sum(map(len, parts))
        if 0 < size <= _JOIN_SIZE_MAX:
            self._output.write(b"".join(parts))
        elif size > 0:
            self._output.write_all(parts, size=size)
        self._size_since_yield += size
