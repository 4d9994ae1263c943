"""One client's connection: requests in, answers out.

The reader turns bytes into requests, the application answers them in any order, and the answer
queue sends the answers in the order of the requests. This is what holds them together: when to
read, whom to ask, when to give up, and how to end. No task runs for a request; a stream has one
while it is being sent.

Guarantees: whatever happens to the client, its exchanges are told once and its stream's task is
cancelled at once; nothing that a client does raises in another's call; what a client may make us
hold is bounded by the limits. Deadlines are looked at by `sweep`, so that a request costs no timer.
"""

import asyncio
from typing import Final, cast

from everlog.http.answer_queue import AnswerQueue
from everlog.http.answers import Form, Response
from everlog.http.messages import Endpoint, Head, Request
from everlog.http.output import Output
from everlog.http.peer import find_address, is_gone
from everlog.http.reader import DISCARD, Refusal, RequestReader
from everlog.http.state import ServerState

# Input is fed to the parser in steps of this size, so that many small pipelined requests in one
# packet do not all become exchanges before we look at how many there are.
_FEED_SIZE: Final = 16 * 1024

# After a half-close: when to look whether the client has gone, before the sweep does.
_PROBE_SECONDS: Final = (0.005, 0.05, 0.25)


class StopReading(Exception):  # noqa: N818 - it is a decision, not an error
    """Raised through the parser when the rest of the input must not be looked at."""


class Connection(asyncio.Protocol):
    """The protocol of one accepted socket."""

    __slots__ = (
        "_answers",
        "_ending_at",
        "_endpoint",
        "_held",
        "_is_half_closed",
        "_is_input_cut",
        "_is_input_ignored",
        "_is_probed",
        "_is_reading_paused",
        "_is_tls",
        "_output",
        "_reader",
        "_since",
        "_state",
        "_transport",
    )

    _transport: asyncio.Transport
    _answers: AnswerQueue
    _output: Output
    _reader: RequestReader

    def __init__(self, state: ServerState) -> None:
        self._state = state
        self._endpoint: Endpoint | None = None
        # Bytes that were read from the socket and have to wait for answers to leave.
        self._held: memoryview | None = None
        self._is_half_closed = False
        self._is_probed = False
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
        self._answers = AnswerQueue(self, output=self._output, state=state)
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
        if excess > limits.connections_refused_max:
            self.abort()
        elif excess > 0:
            reason = f"there are {limits.connections_max} connections already"
            self._refuse(Refusal(503, reason))

    def data_received(self, data: bytes) -> None:
        if self._is_input_ignored:
            return
        if len(data) <= _FEED_SIZE:
            self._feed(data)
        else:
            self._held = memoryview(data)
            self._feed_held()
        if (self._answers.exchanges or self._output.is_paused) and self._is_full():
            self._pause_reading()

    def eof_received(self) -> bool:
        self._is_half_closed = True
        if self._is_tls or self._ending_at is not None or not self._answers.exchanges:
            # Nobody waits for an answer, or (TLS) there is no way to give one.
            return False
        # The client has said all it will say, and still gets its answers.
        self._is_input_ignored = True
        self._answers.mark_last()
        self._is_probed = self._answers.probe()
        for seconds in _PROBE_SECONDS:
            self._state.loop.call_later(seconds, self._look_for_client)
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
        self._answers.drop()
        state.on_connection_lost()

    # Called by the server.

    def sweep(self, now: float) -> None:
        """Act on deadlines that have passed."""
        limits = self._state.limits
        is_waiting = not self._answers.exchanges and not self._reader.is_mid_message
        if is_waiting and self._ending_at is None and now - self._since <= limits.idle_seconds_max:
            # Most connections are in this state most of the time: nothing else to look at.
            return
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
        elif is_waiting:
            self._transport.close()
        if self._is_half_closed:
            self._look_for_client()

    def stop(self) -> None:
        """End as soon as nothing is in flight."""
        if (
            self._ending_at is None
            and not self._answers.exchanges
            and not self._reader.is_mid_message
        ):
            self._transport.close()

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
            self._answers.add_continue()
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
        state.requests += 1
        exchange = self._answers.add(form, endpoint.counts)
        try:
            endpoint.handle(Request(head, body), exchange)
        except Exception as error:  # noqa: BLE001 - the application's bug is a 500
            state.application.on_error(error)
            if exchange.answer is None:
                exchange.respond(state.render_error(500, "the request could not be handled"))

    # Called by the answers.

    def is_mid_message(self) -> bool:
        """Whether a request has begun to arrive and is not complete."""
        return self._reader.is_mid_message

    def go_on(self) -> None:
        """Wait for the next request, and go on reading if answers had to leave first."""
        self._since = self._state.now
        if self._is_reading_paused:
            self._continue_reading_soon()

    def end(self) -> None:
        """Close in a way that lets the client read what was said."""
        self._is_input_ignored = True
        self._held = None
        self._ending_at = self._state.now
        self._answers.drop()
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

    def cut(self) -> None:
        """Close after what was written, in the middle of an answer."""
        self._transport.close()

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
        return (
            self._output.is_paused
            or len(self._answers.exchanges) >= self._state.limits.pipelined_max
        )

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
        self._state.count_early_answer(response.status)
        # A client that waits for consent may send the body or not: the next byte is ambiguous.
        is_cut = (
            reader.is_chunked
            or reader.content_length > self._state.limits.drain_size_max
            or (reader.is_continue_expected and reader.content_length > 0)
        )
        form = reader.form._replace(is_last=True) if is_cut else reader.form
        exchange = self._answers.add(form)
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
        self._state.count_early_answer(refusal.status)
        form = Form(is_http_10=False, is_head=self._reader.is_head_method, is_last=True)
        exchange = self._answers.add(form)
        exchange.respond(self._state.render_error(refusal.status, refusal.reason))

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
            self.end()
        else:
            self._refuse(Refusal(408, f"the {what} of the request took too long to arrive"))

    # Below: the end.

    def _look_for_client(self) -> None:
        """Find out whether a client that sends no more still reads.

        The end of input is all that we see of both. A client that is gone answers the next byte
        with a reset, after which the kernel knows that there is no peer.
        """
        if self._transport.is_closing():
            return
        if is_gone(self._transport):
            self.abort()
        elif not self._is_probed:
            self._is_probed = self._answers.probe()
