"""One client's connection: requests in, answers out, in the order of the requests.

The reader turns bytes into requests, and the application answers them whenever it likes. This is
what holds them together: when to read, whom to ask, whose answer may leave, when to give up, and
how to end; `states.py` says how far a connection can be, and what leads from there to where.
The first unanswered exchange holds back the answers behind it, which wait as values; a stream holds
them back until its end. No task runs for a request; a stream has one while it is being sent.

Guarantees: an exchange leaves once, answered or dropped; whatever happens to the client, its
exchanges are told once and its stream's task is cancelled at once; nothing that a client does
raises in another's call; what a client may make us hold is bounded by the limits. Deadlines are
looked at by `sweep`, so that a request costs no timer.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Final, cast

from everlog.http.exchange import (
    Application,
    DisconnectedError,
    Endpoint,
    Exchange,
    Head,
    Output,
    Request,
    Stream,
    StreamAnswer,
)
from everlog.http.framing import CONTINUE, PLAIN, Form, Renderer, Response, body_parts
from everlog.http.limits import Limits
from everlog.http.reader import DISCARD, FRAMING_NAMES, Refusal, RequestReader
from everlog.http.states import TRANSITIONS, Happening, State

# Input is fed to the parser in steps of this size, so that many small pipelined requests in one
# packet do not all become exchanges before we look at how many there are.
_FEED_SIZE: Final = 16 * 1024

# Larger bodies are handed to the kernel as they are instead of being copied behind their head.
_JOIN_SIZE_MAX: Final = 64 * 1024

# After a half-close: when to look whether the client has gone, before the sweep does.
_PROBE_SECONDS: Final = (0.005, 0.05, 0.25)

# The first byte of Linux's `struct tcp_info` is the state; this one means that there is no peer.
_TCP_CLOSE: Final = 7

# A name of the module is found faster than a member of an enum.
_READING: Final = State.READING
_PAUSED: Final = State.PAUSED

_BUG_TEXT: Final = "the request could not be handled"


class StopReading(Exception):  # noqa: N818 - it is a decision, not an error
    """Raised through the parser when the rest of the input must not be looked at."""


class ServerState:
    """What the connections of one server share; the server owns it, and they count in it."""

    __slots__ = (
        "application",
        "connections",
        "connections_accepted",
        "early_answers",
        "headers_kept",
        "headers_noticed",
        "is_stopping",
        "limits",
        "loop",
        "now",
        "on_connection_lost",
        "renderer",
        "requests",
        "streams_cut",
        "tasks",
        "tick_seconds",
    )

    def __init__(
        self,
        application: Application,
        *,
        renderer: Renderer,
        headers_kept: frozenset[bytes],
        limits: Limits,
        loop: asyncio.AbstractEventLoop,
        tick_seconds: float,
        on_connection_lost: Callable[[], None],
    ) -> None:
        self.application = application
        self.renderer = renderer
        self.headers_kept = headers_kept
        self.headers_noticed = headers_kept | FRAMING_NAMES
        self.limits = limits
        self.loop = loop
        self.tick_seconds = tick_seconds
        self.on_connection_lost = on_connection_lost
        # The time of the last sweep: asking the clock for every request would cost more than a
        # deadline that is one sweep late.
        self.now = loop.time()
        self.is_stopping = False
        self.connections: set[Connection] = set()
        self.tasks: set[asyncio.Future[None]] = set()
        self.connections_accepted = 0
        self.requests = 0
        # By status: answers that no endpoint was asked for.
        self.early_answers: dict[int, int] = {}
        self.streams_cut = 0

    def count_early_answer(self, status: int) -> None:
        """Count an answer that no endpoint was asked for."""
        self.early_answers[status] = self.early_answers.get(status, 0) + 1

    def render_error(self, status: int, reason: str) -> Response:
        """Ask the application for the words of a refusal, and do without if it fails."""
        try:
            return self.application.render_error(status, reason)
        except Exception as error:  # noqa: BLE001 - the application's bug must not cost the answer
            self.application.on_error(error)
            return Response(status, b"", b"")


class Connection(asyncio.Protocol):
    """The protocol of one accepted socket."""

    __slots__ = (
        "_endpoint",
        "_exchanges",
        "_held",
        "_is_continue_due",
        "_is_tls",
        "_output",
        "_reader",
        "_server",
        "_since",
        "_state",
        "_stream",
        "_task",
        "_transport",
    )

    _transport: asyncio.Transport
    _output: Output
    _reader: RequestReader

    def __init__(self, server: ServerState) -> None:
        self._server = server
        self._state = _READING
        # Begin of the present wait: for a request, for its head, for its body, for the end.
        self._since = server.now
        self._is_tls = False
        # Who takes the request that is arriving; None where it has its answer already.
        self._endpoint: Endpoint | None = None
        # Bytes that were read from the socket and have to wait for answers to leave.
        self._held: memoryview | None = None
        # What is unanswered, oldest first; a list, since it is short, and an empty one is small.
        self._exchanges: list[Exchange] = []
        # Consent to send a body, given when the answers before it have left.
        self._is_continue_due = False
        self._stream: Stream | None = None
        self._task: asyncio.Task[None] | None = None

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        server = self._server
        self._transport = cast("asyncio.Transport", transport)
        limits = server.limits
        self._transport.set_write_buffer_limits(limits.write_buffer_high, limits.write_buffer_low)
        self._is_tls = transport.get_extra_info("sslcontext") is not None
        self._output = Output(self._transport, loop=server.loop)
        self._reader = RequestReader(
            self,
            limits=limits,
            headers_kept=server.headers_kept,
            headers_noticed=server.headers_noticed,
            peer=find_address(transport),
        )
        server.connections_accepted += 1
        server.connections.add(self)
        excess = len(server.connections) - limits.connections_max
        if excess > limits.connections_refused_max:
            self.abort()
        elif excess > 0:
            reason = f"there are {limits.connections_max} connections already"
            self._refuse(Refusal(503, reason))

    def data_received(self, data: bytes) -> None:
        if self._state is not _READING:
            # What comes while reading is paused would overtake what is held.
            assert self._state is not _PAUSED
            return
        if len(data) <= _FEED_SIZE:
            try:
                self._reader.feed(data)
            except Refusal as refusal:
                self._refuse(refusal)
            except StopReading:
                pass
        else:
            self._held = memoryview(data)
            self._feed_held()
        if (
            len(self._exchanges) >= self._server.limits.pipelined_max or self._output.is_paused
        ) and self._state is _READING:
            self._pause_reading()

    def eof_received(self) -> bool:
        if self._is_tls or self._state is State.CLOSING or not self._exchanges:
            # Nobody waits for an answer, or (TLS) there is no way to give one.
            self._begin_end(Happening.CLOSE)
            return False
        # The client has said all it will say, and still gets its answers.
        self._move(Happening.HALF_CLOSE)
        self._held = None
        last = self._exchanges[-1]
        last.form = last.form._replace(is_last=True)
        self._probe()
        for seconds in _PROBE_SECONDS:
            self._server.loop.call_later(seconds, self._look_for_client)
        return True

    def pause_writing(self) -> None:
        self._output.pause()

    def resume_writing(self) -> None:
        self._output.resume()
        if self._state is _PAUSED:
            self._continue_reading_soon()

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - the protocol's
        server = self._server
        server.connections.discard(self)
        self._move(Happening.LOST)
        self._held = None
        self._output.close()
        self._reader.close()
        self._drop_exchanges()
        server.on_connection_lost()

    # Called by the server.

    def sweep(self, now: float) -> None:
        """Act on deadlines that have passed."""
        limits = self._server.limits
        state = self._state
        is_ending = state is State.LINGERING or state is State.CLOSING
        is_waiting = not self._exchanges and not self._reader.is_mid_message
        if is_waiting and not is_ending and now - self._since <= limits.idle_seconds_max:
            # Most connections are in this state most of the time: nothing else to look at.
            return
        if not self._output.is_empty():
            if self._output.stalled_seconds(now) > limits.send_seconds_max:
                self.abort()
            return
        if is_ending:
            if now - self._since > limits.linger_seconds_max:
                self.abort()
            return
        if state is _PAUSED:
            # It is us who make the client wait.
            self._since = now
        elif self._reader.is_mid_message:
            self._check_arrival(now)
        elif is_waiting:
            self._close()
        if self._state is State.HALF_CLOSED or self._state is State.PROBED:
            self._look_for_client()

    def stop(self) -> None:
        """End as soon as nothing is in flight."""
        is_idle = not self._exchanges and not self._reader.is_mid_message
        if is_idle and self._state is not State.LINGERING:
            self._close()

    def abort(self) -> None:
        """End now."""
        self._begin_end(Happening.CLOSE)
        self._transport.abort()

    # Called by the reader.

    def begin_wait(self) -> None:
        """Note that the rest of a head or of a body is awaited from now on."""
        self._since = self._server.now

    def take_head(self, head: Head) -> int:
        """Let the application decide about a request before its body is read."""
        if self._state is not _READING:
            raise StopReading
        admission = head.admission
        if admission is not None and admission.epoch is admission.authority.epoch:
            endpoint = admission.endpoint
        else:
            answer = self._route(head)
            if type(answer) is Response:
                return self._answer_before_body(answer)
            endpoint = cast("Endpoint", answer)
        size_max = endpoint.body_size_max
        reader = self._reader
        if reader.content_length > size_max:
            reason = f"the body is larger than {size_max} bytes"
            return self._answer_before_body(self._server.render_error(413, reason))
        if reader.is_continue_expected:
            self._give_consent()
        self._endpoint = endpoint
        return size_max

    def take_request(self, head: Head, body: bytes) -> None:
        """Hand a complete request to its endpoint."""
        server = self._server
        form = self._reader.form
        if form.is_last and self._state is _READING:
            self._move(Happening.LAST_REQUEST)
        endpoint = self._endpoint
        if endpoint is None:
            # Answered already; this was its body.
            if server.is_stopping:
                self.stop()
            return
        self._endpoint = None
        server.requests += 1
        exchange = Exchange(self, form, endpoint.counts)
        self._exchanges.append(exchange)
        self._is_continue_due = False
        try:
            endpoint.handle(Request(head, body), exchange)
        except Exception as error:  # noqa: BLE001 - a refusal, or a bug, which is a 500
            self._answer_failure(endpoint, exchange, error)

    # Called by exchanges.

    def send_answer(self, exchange: Exchange) -> None:
        """Send the answer of `exchange`, and those that waited for it, when it is their turn."""
        exchanges = self._exchanges
        if exchanges[0] is not exchange:
            return
        server = self._server
        try:
            while exchanges:
                exchange = exchanges[0]
                answer = exchange.answer
                if answer is None:
                    return
                form = exchange.form
                if server.is_stopping and len(exchanges) == 1 and not self._reader.is_mid_message:
                    form = form._replace(is_last=True)
                if type(answer) is not Response:
                    stream = cast("StreamAnswer", answer)
                    if not stream.is_sent and self._start_stream(exchange, stream, form):
                        return
                elif form is PLAIN and len(answer.body) <= _JOIN_SIZE_MAX:
                    self._output.write(server.renderer.render(answer))
                else:
                    self._write_response(answer, form)
                del exchanges[0]
                exchange.carrier = None
                exchange.callbacks = None
                if form.is_last:
                    self._end()
                    return
                self._since = server.now
                if self._is_continue_due or self._state is _PAUSED:
                    self._go_on()
        except Exception:
            # Not even for want of memory may a client wait for an answer that never comes.
            self._close()
            raise

    # Below: where a connection is.

    def _move(self, happening: Happening) -> None:
        state = TRANSITIONS.get((self._state, happening))
        assert state is not None, (self._state, happening)
        self._state = state

    def _begin_end(self, happening: Happening) -> None:
        self._move(happening)
        self._since = self._server.now
        self._held = None

    # Below: reading.

    def _feed_held(self) -> None:
        while self._held is not None and self._state is _READING and not self._is_full():
            data = self._held[:_FEED_SIZE]
            self._held = self._held[_FEED_SIZE:] or None
            try:
                self._reader.feed(data)
            except Refusal as refusal:
                self._refuse(refusal)
            except StopReading:
                pass
        if self._state is not _READING:
            self._held = None

    def _is_full(self) -> bool:
        """Whether more requests would be more than we want to hold for this client."""
        return self._output.is_paused or len(self._exchanges) >= self._server.limits.pipelined_max

    def _pause_reading(self) -> None:
        if not self._transport.is_closing():
            self._move(Happening.FULL)
            self._transport.pause_reading()

    def _continue_reading_soon(self) -> None:
        # Not at once: we may be inside a call of the parser.
        self._server.loop.call_soon(self._continue_reading)

    def _continue_reading(self) -> None:
        state = self._state
        if state is not _PAUSED or self._transport.is_closing() or self._is_full():
            return
        self._move(Happening.ROOM)
        self._feed_held()
        if self._state is _READING and self._is_full():
            self._move(Happening.FULL)
        elif not self._transport.is_closing():
            self._transport.resume_reading()

    def _route(self, head: Head) -> Endpoint | Response:
        server = self._server
        try:
            return server.application.route(head)
        except Exception as error:  # noqa: BLE001 - the application's bug is a 500
            server.application.on_error(error)
            return server.render_error(500, _BUG_TEXT)

    def _answer_failure(self, endpoint: Endpoint, exchange: Exchange, error: Exception) -> None:
        """Answer a request whose endpoint raised."""
        server = self._server
        try:
            if endpoint.refuse is not None and endpoint.refuse(exchange, error):
                return
        except Exception as bug:  # noqa: BLE001 - the application's bug is a 500
            error = bug
        server.application.on_error(error)
        if exchange.answer is None:
            exchange.respond(server.render_error(500, _BUG_TEXT))

    def _answer_before_body(self, response: Response) -> int:
        """Answer at once, and get past the body if that is cheap."""
        reader = self._reader
        # A client that waits for consent may send the body or not: the next byte is ambiguous.
        is_cut = (
            reader.is_chunked
            or reader.content_length > self._server.limits.drain_size_max
            or (reader.is_continue_expected and reader.content_length > 0)
        )
        self._endpoint = None
        if is_cut:
            self._move(Happening.REFUSAL)
            self._answer_early(response, reader.form._replace(is_last=True))
            raise StopReading
        self._answer_early(response, reader.form)
        return DISCARD

    def _refuse(self, refusal: Refusal) -> None:
        """Answer a request that cannot be understood, and end the connection."""
        if self._state is not _READING:
            # It came after the last request that counts.
            return
        self._move(Happening.REFUSAL)
        form = Form(is_http_10=False, is_head=self._reader.is_head_method, is_last=True)
        self._answer_early(self._server.render_error(refusal.status, refusal.reason), form)

    def _answer_early(self, response: Response, form: Form) -> None:
        """Answer a request that no endpoint is asked for."""
        self._server.count_early_answer(response.status)
        exchange = Exchange(self, form)
        self._exchanges.append(exchange)
        self._is_continue_due = False
        exchange.respond(response)

    def _check_arrival(self, now: float) -> None:
        """Refuse a client that takes too long to send its request."""
        limits = self._server.limits
        if self._reader.is_mid_body:
            allowed = limits.body_seconds_max + self._reader.body_size / limits.body_rate_min
            what = "body"
        else:
            allowed = limits.head_seconds_max
            what = "head"
        # `_since` is up to one sweep too early.
        if now - self._since <= allowed + self._server.tick_seconds:
            return
        if self._reader.is_mid_body and self._endpoint is None:
            # It has its answer; only the end of the body was awaited.
            self._end()
        else:
            self._refuse(Refusal(408, f"the {what} of the request took too long to arrive"))

    # Below: answering.

    def _give_consent(self) -> None:
        """Consent to a body being sent, behind the answers to earlier requests."""
        if self._exchanges:
            self._is_continue_due = True
        else:
            self._output.write(CONTINUE)

    def _go_on(self) -> None:
        """Do what had to wait until an answer has left."""
        if self._is_continue_due and not self._exchanges:
            self._is_continue_due = False
            self._output.write(CONTINUE)
        if self._state is _PAUSED:
            self._continue_reading_soon()

    def _write_response(self, response: Response, form: Form) -> None:
        parts = (self._server.renderer.render_head(response, form), *body_parts(response, form))
        if len(response.body) <= _JOIN_SIZE_MAX:
            self._output.write(b"".join(parts))
        else:
            self._output.write_all(parts, size=sum(map(len, parts)))

    def _start_stream(self, exchange: Exchange, answer: StreamAnswer, form: Form) -> bool:
        """Send the head of a stream and begin to produce it; return False if it has no body."""
        server = self._server
        if form.is_http_10 and not form.is_head:
            # Only the end of the connection can tell an HTTP/1.0 client where the body ends.
            form = form._replace(is_last=True)
        # What the head says about the connection is kept, whatever happens until the end.
        exchange.form = form
        status, content_type, headers = answer.status, answer.content_type, answer.headers
        self._output.write(server.renderer.render_stream_head(status, content_type, headers, form))
        if form.is_head:
            return False
        self._stream = Stream(self._output, is_chunked=not form.is_http_10)
        self._task = server.loop.create_task(_produce(answer, self._stream))
        server.tasks.add(self._task)
        self._task.add_done_callback(self._finish_stream)
        return True

    def _finish_stream(self, task: "asyncio.Task[None]") -> None:
        self._server.tasks.discard(task)
        stream, self._stream, self._task = self._stream, None, None
        assert stream is not None
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, DisconnectedError):
            self._server.application.on_error(error)
        if not self._exchanges:
            # The connection was lost, and the exchange with it.
            return
        if task.cancelled() or error is not None:
            self._server.streams_cut += 1
            # Without its final chunk the client sees that the answer is not whole.
            self._close()
            return
        stream.finish()
        exchange = self._exchanges[0]
        cast("StreamAnswer", exchange.answer).is_sent = True
        self.send_answer(exchange)

    def _drop_exchanges(self) -> None:
        """Give up what is unanswered, and tell those who work on it."""
        if self._task is not None:
            self._task.cancel()
        exchanges = self._exchanges[:]
        self._exchanges.clear()
        # All are let go before anybody is told, who might answer another one.
        told = [callback for exchange in exchanges for callback in exchange.disconnect()]
        for callback in told:
            try:
                callback()
            except Exception as error:  # noqa: BLE001 - the others must be told too
                self._server.application.on_error(error)

    # Below: the end.

    def _end(self) -> None:
        """Close in a way that lets the client read what was said."""
        before = self._state
        self._begin_end(Happening.LAST_ANSWER)
        self._drop_exchanges()
        transport = self._transport
        if transport.is_closing():
            return
        if before is _PAUSED:
            transport.resume_reading()
        if self._state is State.CLOSING:
            transport.close()
        elif not self._is_tls:
            transport.write_eof()
        elif before is not State.REFUSING:
            self._close()
        # Otherwise the client closes, or the sweep does.

    def _close(self) -> None:
        """Close after what was written, be it in the middle of an answer."""
        self._begin_end(Happening.CLOSE)
        self._transport.close()

    def _probe(self) -> None:
        """Make a client that is gone betray itself, once and if there is a way to."""
        if self._state is State.HALF_CLOSED and self._stream is not None and self._stream.probe():
            self._move(Happening.PROBE)

    def _look_for_client(self) -> None:
        """Find out whether a client that sends no more still reads.

        The end of input is all that we see of both. A client that is gone answers the next byte
        with a reset, after which the kernel knows that there is no peer.
        """
        if self._transport.is_closing():
            return
        if is_gone(self._transport):
            self.abort()
        else:
            self._probe()


async def _produce(answer: StreamAnswer, stream: Stream) -> None:
    await answer.produce(stream)


def find_address(transport: asyncio.BaseTransport) -> str:
    """Return the address of the client, or nothing where it has none."""
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, tuple) else ""


def is_gone(transport: asyncio.BaseTransport) -> bool:
    """Tell whether the client has reset the connection; False where nobody can tell.

    A transport that has seen the end of input does not look for resets on its own.
    """
    endpoint: socket.socket | None = transport.get_extra_info("socket")
    if endpoint is None or endpoint.family not in {socket.AF_INET, socket.AF_INET6}:
        return False
    if not hasattr(socket, "TCP_INFO"):
        return False
    return endpoint.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _TCP_CLOSE
