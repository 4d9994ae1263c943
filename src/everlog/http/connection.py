"""One client's connection: requests in, answers out in the same order.

The reader turns bytes into requests, the application answers them in any order, and the queue of
exchanges here puts the answers back into the order of the requests. No task runs for a request;
a stream has one while it is being sent.

Guarantees: whatever happens to the client, its exchanges are told once and its stream's task is
cancelled at once; nothing that a client does raises in another's call; what a client may make us
hold is bounded by the limits. Deadlines are looked at by `sweep`, so that a request costs no timer.
"""

import asyncio
from typing import Final, cast

from everlog.http.answers import CONTINUE, PLAIN, Form, Response, has_body
from everlog.http.exchange import Exchange
from everlog.http.messages import Endpoint, Head, Request
from everlog.http.output import DisconnectedError, Output
from everlog.http.peer import find_address, is_gone
from everlog.http.reader import DISCARD, Refusal, RequestReader
from everlog.http.state import ServerState
from everlog.http.stream import Stream, StreamAnswer

# Input is fed to the parser in steps of this size, so that many small pipelined requests in one
# packet do not all become exchanges before we look at how many there are.
_FEED_SIZE: Final = 16 * 1024

# Larger bodies are handed to the kernel as they are instead of being copied behind their head.
_JOIN_SIZE_MAX: Final = 64 * 1024

# Beyond `connections_max` this many more get an answer that says so.
_CONNECTIONS_REFUSED_MAX: Final = 256

# After a half-close: when to look whether the client has gone altogether.
_PROBE_SECONDS: Final = (0.005, 0.05, 0.25)


class StopReading(Exception):  # noqa: N818 - it is a decision, not an error
    """Raised through the parser when the rest of the input must not be looked at."""


class Connection(asyncio.Protocol):
    """The protocol of one accepted socket."""

    __slots__ = (
        "_ending_at",
        "_endpoint",
        "_exchanges",
        "_held",
        "_is_continue_due",
        "_is_half_closed",
        "_is_input_cut",
        "_is_input_ignored",
        "_is_reading_paused",
        "_is_tls",
        "_output",
        "_reader",
        "_since",
        "_state",
        "_stream",
        "_task",
        "_transport",
    )

    _transport: asyncio.Transport
    _output: Output
    _reader: RequestReader

    def __init__(self, state: ServerState) -> None:
        self._state = state
        # Unanswered, oldest first. A list, since it is short and an empty one is small.
        self._exchanges: list[Exchange] = []
        self._endpoint: Endpoint | None = None
        self._stream: Stream | None = None
        self._task: asyncio.Task[None] | None = None
        # Bytes that were read from the socket and have to wait for answers to leave.
        self._held: memoryview | None = None
        self._is_continue_due = False
        self._is_half_closed = False
        # Nothing that still arrives matters; and: something that should have been read was not.
        self._is_input_ignored = False
        self._is_input_cut = False
        self._is_reading_paused = False
        self._is_tls = False
        # Begin of the present wait: for a request, for its head, for its body.
        self._since = state.now
        # When the last answer was written, None before.
        self._ending_at: float | None = None

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        state = self._state
        self._transport = cast("asyncio.Transport", transport)
        limits = state.limits
        self._transport.set_write_buffer_limits(limits.write_buffer_high, limits.write_buffer_low)
        self._is_tls = transport.get_extra_info("sslcontext") is not None
        self._output = Output(self._transport, loop=state.loop)
        self._reader = RequestReader(
            self,
            limits=limits,
            headers_kept=state.headers_kept,
            headers_noticed=state.headers_noticed,
            peer=find_address(transport),
        )
        state.connections_accepted += 1
        state.connections.add(self)
        excess = len(state.connections) - limits.connections_max
        if excess > _CONNECTIONS_REFUSED_MAX:
            self.abort()
        elif excess > 0:
            reason = f"there are {limits.connections_max} connections already"
            self._refuse(Refusal(503, reason))

    def data_received(self, data: bytes) -> None:
        if self._is_input_ignored:
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
        if (self._exchanges or self._output.is_paused) and self._is_full():
            self._pause_reading()

    def eof_received(self) -> bool:
        self._is_half_closed = True
        if self._is_tls or self._ending_at is not None or not self._exchanges:
            # Nobody waits for an answer, or (TLS) there is no way to give one.
            return False
        # The client has said all it will say, and still gets its answers.
        self._is_input_ignored = True
        last = self._exchanges[-1]
        last.form = last.form._replace(is_last=True)
        if self._stream is not None:
            self._probe()
        return True

    def pause_writing(self) -> None:
        self._output.pause()

    def resume_writing(self) -> None:
        self._output.resume()
        if self._is_reading_paused:
            self._continue_reading_soon()

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - the protocol's
        state = self._state
        state.connections.discard(self)
        self._is_input_ignored = True
        self._held = None
        self._output.close()
        self._reader.close()
        if self._task is not None:
            self._task.cancel()
        self._drop_exchanges()
        state.on_connection_lost()

    # Called by the server.

    def sweep(self, now: float) -> None:
        """Act on deadlines that have passed."""
        limits = self._state.limits
        if not self._output.is_empty():
            if self._output.stalled_seconds(now) > limits.send_seconds_max:
                self.abort()
            return
        if self._ending_at is not None:
            if now - self._ending_at > limits.linger_seconds_max:
                self.abort()
            return
        if self._is_reading_paused:
            # It is us who make the client wait.
            self._since = now
        elif self._reader.is_mid_message:
            self._check_arrival(now)
        elif not self._exchanges and now - self._since > limits.idle_seconds_max:
            self._transport.close()
        if self._is_half_closed:
            self._abort_if_gone()

    def stop(self) -> None:
        """End as soon as nothing is in flight."""
        if self._ending_at is None and not self._exchanges and not self._reader.is_mid_message:
            self._end()

    def abort(self) -> None:
        """End now."""
        self._transport.abort()

    # Called by the reader.

    def begin_wait(self) -> None:
        """Note that the rest of a head or of a body is awaited from now on."""
        self._since = self._state.now

    def take_head(self, head: Head) -> int:
        """Let the application decide about a request before its body is read."""
        if self._is_input_ignored:
            raise StopReading
        application = self._state.application
        try:
            answer = application.route(head)
        except Exception as error:  # noqa: BLE001 - the application's bug is a 500
            application.on_error(error)
            answer = self._state.render_error(500, "the request could not be handled")
        if type(answer) is Response:
            return self._answer_before_body(answer)
        endpoint = cast("Endpoint", answer)
        size_max = endpoint.body_size_max
        if self._reader.content_length > size_max:
            reason = f"the body is larger than {size_max} bytes"
            return self._answer_before_body(self._state.render_error(413, reason))
        if self._reader.is_continue_expected:
            self._send_continue()
        self._endpoint = endpoint
        return size_max

    def take_request(self, head: Head, body: bytes) -> None:
        """Hand a complete request to its endpoint."""
        state = self._state
        form = self._reader.form
        if form.is_last:
            self._is_input_ignored = True
        endpoint = self._endpoint
        if endpoint is None:
            # Answered already; this was its body.
            if state.is_stopping:
                self.stop()
            return
        self._endpoint = None
        self._is_continue_due = False
        state.requests += 1
        exchange = Exchange(self, form)
        self._exchanges.append(exchange)
        try:
            endpoint.handle(Request(head, body), exchange)
        except Exception as error:  # noqa: BLE001 - the application's bug is a 500
            state.application.on_error(error)
            if exchange.answer is None:
                exchange.respond(state.render_error(500, "the request could not be handled"))

    # Called by exchanges.

    def send_answer(self, exchange: Exchange) -> None:
        """Send the answer of `exchange`, and those that waited for it, when it is their turn."""
        exchanges = self._exchanges
        if exchanges[0] is not exchange:
            return
        while True:
            exchange = exchanges[0]
            answer = exchange.answer
            if answer is None or self._stream is not None:
                return
            form = self._final_form(exchange)
            if type(answer) is Response:
                self._write_response(answer, form)
            elif self._start_stream(cast("StreamAnswer", answer), form):
                exchange.form = form
                return
            self._finish_first(form)
            if not exchanges:
                return

    # Below: reading.

    def _feed(self, data: bytes | memoryview) -> None:
        try:
            self._reader.feed(data)
        except Refusal as refusal:
            self._refuse(refusal)
        except StopReading:
            pass

    def _feed_held(self) -> None:
        held = self._held
        while held is not None and not self._is_input_ignored and not self._is_full():
            self._feed(held[:_FEED_SIZE])
            held = held[_FEED_SIZE:] or None
        self._held = held

    def _is_full(self) -> bool:
        """Whether more requests would be more than we want to hold for this client."""
        return self._output.is_paused or len(self._exchanges) >= self._state.limits.pipelined_max

    def _pause_reading(self) -> None:
        if not self._transport.is_closing():
            self._is_reading_paused = True
            self._transport.pause_reading()

    def _continue_reading_soon(self) -> None:
        # Not at once: we may be inside a call of the parser.
        self._state.loop.call_soon(self._continue_reading)

    def _continue_reading(self) -> None:
        if not self._is_reading_paused or self._transport.is_closing() or self._is_full():
            return
        self._feed_held()
        if self._is_full() or self._transport.is_closing():
            return
        self._is_reading_paused = False
        self._transport.resume_reading()

    def _answer_before_body(self, response: Response) -> int:
        """Answer at once, and get past the body if that is cheap."""
        reader = self._reader
        self._state.requests_refused += 1
        # A client that waits for consent may send the body or not: the next byte is ambiguous.
        is_cut = (
            reader.is_chunked
            or reader.content_length > self._state.limits.drain_size_max
            or (reader.is_continue_expected and reader.content_length > 0)
        )
        form = reader.form._replace(is_last=True) if is_cut else reader.form
        exchange = Exchange(self, form)
        self._exchanges.append(exchange)
        self._endpoint = None
        if is_cut:
            self._is_input_ignored = True
            self._is_input_cut = True
        exchange.respond(response)
        if is_cut:
            raise StopReading
        return DISCARD

    def _refuse(self, refusal: Refusal) -> None:
        """Answer a request that cannot be understood, and end the connection."""
        if self._is_input_ignored:
            # It came after the last request that counts.
            return
        self._is_input_ignored = True
        self._is_input_cut = True
        self._state.requests_refused += 1
        form = Form(is_http_10=False, is_head=self._reader.is_head_method, is_last=True)
        exchange = Exchange(self, form)
        self._exchanges.append(exchange)
        exchange.respond(self._state.render_error(refusal.status, refusal.reason))

    def _send_continue(self) -> None:
        # Behind the answers of earlier requests, like any other.
        if self._exchanges:
            self._is_continue_due = True
        else:
            self._output.write(CONTINUE)

    def _check_arrival(self, now: float) -> None:
        """Refuse a client that takes too long to send its request."""
        limits = self._state.limits
        if self._reader.is_mid_body:
            allowed = limits.body_seconds_max + self._reader.body_size / limits.body_rate_min
            what = "body"
        else:
            allowed = limits.head_seconds_max
            what = "head"
        # `_since` is up to one sweep too early.
        if now - self._since <= allowed + self._state.tick_seconds:
            return
        if self._reader.is_mid_body and self._endpoint is None:
            # It has its answer; only the end of the body was awaited.
            self._end()
        else:
            self._refuse(Refusal(408, f"the {what} of the request took too long to arrive"))

    # Below: answering.

    def _final_form(self, exchange: Exchange) -> Form:
        """Return the form of an answer whose turn it is."""
        form = exchange.form
        if (
            self._state.is_stopping
            and exchange is self._exchanges[-1]
            and not self._reader.is_mid_message
        ):
            return form._replace(is_last=True)
        return form

    def _write_response(self, response: Response, form: Form) -> None:
        renderer = self._state.renderer
        if len(response.body) > _JOIN_SIZE_MAX and has_body(response, form):
            head = renderer.render_head(response, form)
            size = len(head) + len(response.body)
            self._output.write_all((head, response.body), size=size)
        elif form is PLAIN:
            self._output.write(renderer.render(response))
        elif has_body(response, form):
            self._output.write(renderer.render_head(response, form) + response.body)
        else:
            self._output.write(renderer.render_head(response, form))

    def _finish_first(self, form: Form) -> None:
        """Go on after the first answer has been written."""
        exchange = self._exchanges.pop(0)
        exchange.finish()
        if form.is_last:
            self._end()
            return
        if not self._exchanges:
            self._since = self._state.now
            if self._is_continue_due:
                self._is_continue_due = False
                self._output.write(CONTINUE)
        if self._is_reading_paused:
            self._continue_reading_soon()

    def _start_stream(self, answer: StreamAnswer, form: Form) -> bool:
        """Send the head of a stream and begin to produce it; return False if it has no body."""
        state = self._state
        if form.is_http_10 and not form.is_head:
            # Only the end of the connection can tell an HTTP/1.0 client where the body ends.
            form = form._replace(is_last=True)
        self._output.write(
            state.renderer.render_stream_head(
                answer.status, answer.content_type, answer.headers, form
            )
        )
        if form.is_head:
            return False
        stream = Stream(self._output, is_chunked=not form.is_http_10, loop=state.loop)
        self._stream = stream
        task = state.loop.create_task(_produce(answer, stream))
        self._task = task
        state.tasks.add(task)
        task.add_done_callback(self._finish_stream)
        return True

    def _finish_stream(self, task: "asyncio.Task[None]") -> None:
        state = self._state
        state.tasks.discard(task)
        stream, self._stream, self._task = self._stream, None, None
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, DisconnectedError):
            state.application.on_error(error)
        if not self._exchanges:
            # The connection was lost, and with it the exchange.
            return
        if task.cancelled() or error is not None:
            # Without its final chunk the client sees that the answer is not whole.
            self._transport.close()
            return
        assert stream is not None
        stream.finish()
        exchange = self._exchanges[0]
        form = self._final_form(exchange)
        self._finish_first(form._replace(is_last=form.is_last or form.is_http_10))
        if self._exchanges:
            self.send_answer(self._exchanges[0])

    def _drop_exchanges(self) -> None:
        """Nobody will get these answers: tell those who work on them."""
        exchanges = self._exchanges[:]
        self._exchanges.clear()
        for exchange in exchanges:
            for callback in exchange.disconnect():
                try:
                    callback()
                except Exception as error:  # noqa: BLE001 - the others must be told too
                    self._state.application.on_error(error)

    def _end(self) -> None:
        """Everything is said: close in a way that lets the client read it."""
        self._is_input_ignored = True
        self._held = None
        self._ending_at = self._state.now
        self._drop_exchanges()
        if self._transport.is_closing():
            return
        if self._is_reading_paused:
            self._is_reading_paused = False
            self._transport.resume_reading()
        if self._is_half_closed:
            self._transport.close()
        elif not self._is_tls:
            self._transport.write_eof()
        elif not self._is_input_cut:
            self._transport.close()
        # Otherwise the client closes, or the sweep does.

    # Below: a client that has half-closed.

    def _probe(self) -> None:
        """Find out whether a client that sends no more still reads.

        The end of input is all that we see of both. A client that is gone answers the next byte
        with a reset, after which the kernel knows that there is no peer.
        """
        if self._stream is not None:
            self._stream.probe()
            for seconds in _PROBE_SECONDS:
                self._state.loop.call_later(seconds, self._abort_if_gone)

    def _abort_if_gone(self) -> None:
        if not self._transport.is_closing() and is_gone(self._transport):
            self.abort()


async def _produce(answer: StreamAnswer, stream: Stream) -> None:
    await answer.produce(stream)
