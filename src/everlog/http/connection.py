"""One client's connection: requests in, answers out, in the order of the requests.

The reader turns bytes into requests, and the application answers them whenever it likes. This is
what holds them together: when to read, whom to ask, whose answer may leave, when to give up, and
how to end; `states.py` says how far a connection can be, and what leads from there to where.
The first unanswered exchange holds back the answers behind it, which wait as values; a stream holds
them back until its end. No task runs for a request; a stream has one while it is being sent.

Guarantees: an exchange leaves once, answered or dropped; whatever happens to the client, its
exchanges are told once and its stream's task is cancelled at once; nothing that a client does
raises in another's call; what a client may make us hold is bounded by the limits, and so is what
it may make us do before others have their turn (`shared.py`). Deadlines are looked at by `sweep`,
so that a request costs no timer.
"""

import asyncio
from collections import deque
from typing import Final, cast

from everlog.http.arrival import Arrival
from everlog.http.exchange import (
    Endpoint,
    Exchange,
    Head,
    Output,
    Request,
    Stream,
    StreamAnswer,
)
from everlog.http.framing import CONTINUE, JOIN_SIZE_MAX, PLAIN, Form, Response
from everlog.http.places import Place
from everlog.http.reader import DISCARD, STREAM, Refusal, RequestReader, StopReading
from everlog.http.shared import NO_MEMORY_TEXT, ServerState
from everlog.http.sockets import find_address, is_gone
from everlog.http.states import TRANSITIONS, Happening, State

# What is read is fed to the parser at once if it is one request of a head that is known, or part of
# a body, or small while nobody waits for a turn. The rest is fed in steps of this size, one in each
# turn: what is in a step may be hundreds of requests, or thousands of chunks.
_DIRECT_SIZE: Final = 2 * 1024
_FEED_SIZE: Final = 16 * 1024
# So many requests are handed to their endpoints in one turn, and one at once.
_TURN_MAX: Final = 16

# After a half-close: when to look whether the client has gone, before the sweep does.
_PROBE_SECONDS: Final = (0.005, 0.05, 0.25)

# A name of the module is found faster than a member of an enum.
_READING: Final = State.READING
_PAUSED: Final = State.PAUSED

# Stands for one whose answer needs no endpoint.
_NO_REQUEST: Final = Request(Head("", "", "", {}, ""), b"")


class Connection(asyncio.Protocol):
    """The protocol of one accepted socket."""

    __slots__ = (
        "_arrival",
        "_backlog",
        "_endpoint",
        "_exchanges",
        "_held",
        "_is_continue_due",
        "_is_held_back",
        "_is_noted",
        "_is_tls",
        "_is_turn_due",
        "_output",
        "_reader",
        "_request_max",
        "_server",
        "_since",
        "_state",
        "_stream",
        "_task",
        "_transport",
        "address",
        "is_known",
        "place",
    )

    _transport: asyncio.Transport
    _arrival: Arrival
    _output: Output
    _reader: RequestReader

    def __init__(self, server: ServerState, *, is_tls: bool = False) -> None:
        self._server = server
        self._state = State.GREETING if is_tls else _READING
        # Begin of the present wait: for a request, for its head, for its body, for the end.
        self._since = server.now
        self._is_tls = is_tls
        self.address = ""
        self.place: Place | None = None
        self.is_known = False
        # Who takes the request that is arriving; None if it is answered, or its body is streamed.
        self._endpoint: Endpoint | None = None
        # What was read and has to wait for its turn, for answers to leave, or for room for a body;
        # the backlog has requests that no endpoint was asked to handle yet.
        self._held: memoryview | None = None
        self._backlog: deque[tuple[Endpoint, Request, Exchange]] = deque()
        # Whether there is any of that, a turn was asked for, and it is counted (`Backlog`).
        self._is_held_back = self._is_turn_due = self._is_noted = False
        self._request_max = 1
        # What is unanswered, oldest first; a list, which is small when it is empty.
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
        self._output = Output(self._transport, loop=server.loop)
        self.address = find_address(transport)
        self._reader = RequestReader(
            self,
            limits=limits,
            headers_kept=server.headers_kept,
            headers_noticed=server.headers_noticed,
            peer=self.address,
        )
        self._arrival = Arrival(server, self._reader)
        server.connections_accepted += 1
        server.connections.add(self)
        if server.places.enter(self, self.address):
            return
        if len(server.connections) - server.places.count > limits.connections_refused_max:
            self.abort()
        else:
            self._refuse(server.refuse_another())

    def hands_shaken(self) -> None:
        """Note that the TLS handshake is done, and requests can come."""
        if self._state is State.GREETING:
            self._move(Happening.GREETED)
            self._since = self._server.now

    def refuse_plain(self) -> None:
        """Answer a client that speaks HTTP without TLS; from here on nothing is encrypted."""
        self._is_tls = False
        self._refuse(self._server.refuse_plain(self.address))

    def data_received(self, data: bytes) -> None:
        if self._state is not _READING:
            # What comes while reading is paused would overtake what is held.
            assert self._state is not _PAUSED
            return
        reader, turns, size = self._reader, self._server.turns, len(data)
        try:
            if size <= _FEED_SIZE and reader.take_known(data):
                pass
            elif (size <= _DIRECT_SIZE and not turns.is_due) or size <= reader.body_rest:
                reader.feed(data)
            else:
                self._held = memoryview(data)
                self._is_held_back = True
        except Refusal as refusal:
            self._refuse(self._server.explain(refusal, data, self.address))
        except StopReading:
            pass
        if (
            self._is_held_back
            or len(self._exchanges) >= self._server.limits.pipelined_max
            or self._output.is_paused
        ):
            self._pause_reading()

    def eof_received(self) -> bool:
        if self._is_tls or self._state is State.CLOSING or not self._exchanges:
            # Nobody waits for an answer, or (TLS) there is no way to give one.
            self._begin_end(Happening.CLOSE)
            return False
        # The client has said all it will say, and still gets its answers.
        self._move(Happening.HALF_CLOSE)
        self._held = None
        self._arrival.forget()
        last = self._exchanges[-1]
        last.form = last.form._replace(is_last=True)
        self._probe()
        for seconds in _PROBE_SECONDS:
            self._server.loop.call_later(seconds, self._look_for_client)
        return True

    def pause_writing(self) -> None:
        self._output.pause()
        self._note_backlog()

    def resume_writing(self) -> None:
        self._output.resume()
        self._note_backlog()
        if self._is_held_back or self._state is _PAUSED:
            self._ask_for_turn()

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - the protocol's
        server = self._server
        server.connections.discard(self)
        server.places.leave(self)
        self._move(Happening.LOST)
        self._held = None
        self._arrival.forget()
        self._output.close()
        self._reader.close()
        self._drop_exchanges()
        server.backlog.note(self, 0)
        server.on_connection_lost()

    # Called by the server.

    def sweep(self, now: float) -> None:
        """Act on deadlines that have passed."""
        limits = self._server.limits
        state = self._state
        if state is State.GREETING:
            if now - self._since > limits.head_seconds_max + self._server.tick_seconds:
                self.abort()
            return
        is_ending = state is State.LINGERING or state is State.CLOSING
        is_waiting = not self._exchanges and not self._reader.is_mid_message
        if is_waiting and not is_ending and now - self._since <= limits.idle_seconds_max:
            # Most connections are in this state most of the time: nothing else to look at.
            return
        if not self._output.is_empty():
            self._note_backlog()
            if self._output.stalled_seconds(now) > limits.send_seconds_max:
                self.abort()
            return
        if is_ending:
            if now - self._since > limits.linger_seconds_max:
                self.abort()
            return
        if self._arrival.is_room_due():
            if now - self._since > limits.body_wait_seconds_max:
                self._refuse(Refusal(503, NO_MEMORY_TEXT))
        elif state is _PAUSED or self._arrival.is_ours_to_go_on():
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
        if self.idle_since() is not None and self._state is not State.LINGERING:
            self._close()

    def abort(self) -> None:
        """End now."""
        self._begin_end(Happening.CLOSE)
        self._transport.abort()

    def idle_since(self) -> float | None:
        """Return since when nothing is asked of the server, None while something is."""
        return None if self._exchanges or self._reader.is_mid_message else self._since

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
            answer = self._server.route(head)
            if type(answer) is Response:
                self._server.places.judge(self, is_known=False)
                return self._answer_before_body(answer)
            endpoint = cast("Endpoint", answer)
        if endpoint.is_open or not self.is_known:
            self._server.places.judge(self, is_known=not endpoint.is_open)
        reader, size_max = self._reader, endpoint.body_size_max
        size = reader.content_length
        if size_max is None:
            return self._begin_stream(endpoint, head)
        if size > size_max:
            reason = f"the body is larger than {size_max} bytes"
            return self._answer_before_body(self._server.render_error(413, reason))
        self._endpoint = endpoint
        small_max = self._server.limits.body_small_size_max
        if size > small_max:
            self._reserve(size)
        if reader.is_continue_expected and not self._arrival.is_room_due():
            self._give_consent()
        # How large a chunked body becomes nobody knows: see `extend_body`.
        return min(size_max, small_max) if reader.is_chunked else size_max

    def extend_body(self) -> int:
        """Let a body of unknown length become large; return its new bound, or raise a Refusal."""
        assert self._endpoint is not None
        size_max = self._arrival.may_become(self._endpoint)
        self._reserve(size_max)
        return size_max

    def take_part(self, data: bytes) -> None:
        """Give a part of a body to whoever reads it; beyond a bound, reading waits for that."""
        self._is_held_back |= self._arrival.put(data)

    def take_request(self, head: Head, body: bytes) -> None:
        """Hand a complete request to its endpoint, or let it wait for its turn."""
        server = self._server
        form = self._reader.form
        if form.is_last and self._state is _READING:
            self._move(Happening.LAST_REQUEST)
        endpoint = self._endpoint
        if endpoint is None:
            # Answered already, or handed over; this was its body.
            if not self._arrival.finish() and server.is_stopping:
                self.stop()
            return
        self._endpoint = None
        server.requests += 1
        exchanges = self._exchanges
        if self._arrival.room is None:
            exchange = Exchange(self, form, endpoint.counts)
        else:
            exchange = self._arrival.take_over(self, form, endpoint, len(body))
        exchanges.append(exchange)
        self._is_continue_due = False
        if (
            self._is_held_back
            or self._output.is_paused
            or self._reader.message_count > self._request_max
        ):
            self._hold_back(endpoint, Request(head, body), exchange)
            return
        try:
            endpoint.handle(Request(head, body), exchange)
        except Exception as error:  # noqa: BLE001 - a refusal, or a bug, which is a 500
            server.answer_failure(endpoint, exchange, error)

    # Called by bodies and exchanges.

    def resume_body(self) -> None:
        """Read on: whoever reads the body wants more of it."""
        if self._reader.is_continue_expected:
            self._give_consent()
        if self._state is _PAUSED:
            self._ask_for_turn()

    def end_body(self) -> None:
        """Get past the rest of the body if that is cheap; otherwise the answer is the last."""
        if not self._arrival.end():
            self._ask_for_turn()
        elif (self._state, Happening.REFUSAL) in TRANSITIONS:
            self._stop_reading()
            last = self._exchanges[-1]
            last.form = last.form._replace(is_last=True)

    def send_answer(self, exchange: Exchange) -> None:
        """Send the answer of `exchange`, and those that waited for it, when it is their turn."""
        exchanges = self._exchanges
        if exchanges[0] is not exchange:
            self._note_backlog()
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
                elif form is PLAIN and len(answer.body) <= JOIN_SIZE_MAX:
                    self._output.write(server.renderer.render(answer))
                else:
                    parts = server.renderer.render_parts(answer, form)
                    self._output.write_all(parts, size=sum(map(len, parts)))
                del exchanges[0]
                exchange.carrier = None
                exchange.callbacks = None
                if form.is_last:
                    self._end()
                    return
                self._since = server.now
                if self._is_continue_due or self._is_noted or self._state is not _READING:
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
        """Feed the next part of what is held to the parser, and let the rest wait."""
        held = self._held
        if held is None:
            return
        # Of a body that is one piece any part is the same work.
        size = max(_FEED_SIZE, self._reader.body_rest)
        self._held = held[size:] or None
        self._is_held_back = self._held is not None or self._is_held_back
        try:
            self._reader.feed(held[:size])
        except Refusal as refusal:
            self._refuse(self._server.explain(refusal, held, self.address))
        except StopReading:
            pass
        if self._state is not _READING:
            self._held = None

    def _is_full(self) -> bool:
        """Whether more requests would be more than we want to hold for this client."""
        has_many = len(self._exchanges) >= self._server.limits.pipelined_max
        return has_many or self._output.is_paused or self._arrival.has_to_wait()

    def _pause_reading(self) -> None:
        if self._transport.is_closing():
            return
        if self._state is _READING:
            self._move(Happening.FULL)
            self._transport.pause_reading()
        self._note_backlog()
        self._ask_for_turn()

    def _ask_for_turn(self) -> None:
        # Never at once: we may be inside a call of the parser, and others may have waited longer.
        if not self._is_turn_due:
            self._is_turn_due = True
            self._server.turns.add(self._take_turn)

    def _has_to_wait(self) -> bool:
        """Whether a request is not handled at once."""
        is_another = self._reader.message_count > self._request_max
        return is_another or self._is_held_back or self._output.is_paused

    def _handle(self, endpoint: Endpoint, request: Request, exchange: Exchange) -> None:
        try:
            endpoint.handle(request, exchange)
        except Exception as error:  # noqa: BLE001 - a refusal, or a bug, which is a 500
            self._server.answer_failure(endpoint, exchange, error)

    def _hold_back(self, endpoint: Endpoint, request: Request, exchange: Exchange) -> None:
        """Let a request wait for its turn."""
        self._is_held_back = True
        self._backlog.append((endpoint, request, exchange))
        self._ask_for_turn()

    def _take_turn(self) -> None:
        """Go on with what waited: with requests, and then with what is read behind them."""
        self._is_turn_due = False
        self._begin_waiting()
        state = self._state
        if self._backlog or state is not _PAUSED or self._is_full() or self._transport.is_closing():
            return
        self._is_held_back = False
        self._move(Happening.ROOM)
        self._request_max = _TURN_MAX
        self._feed_held()
        self._request_max = 1
        if self._state is _READING and (self._is_held_back or self._is_full()):
            self._move(Happening.FULL)
            self._ask_for_turn()
        elif not self._transport.is_closing():
            self._transport.resume_reading()
        self._note_backlog()

    def _begin_waiting(self) -> None:
        """Hand as many requests to their endpoints as may be in one turn, and ask for the next."""
        backlog, in_flight_max = self._backlog, self._server.limits.pipelined_max
        for _ in range(_TURN_MAX):
            if not backlog or self._output.is_paused or self._arrival.is_room_due():
                return
            # Those in front of it; behind it may be some that had their answer at once.
            if self._exchanges.index(backlog[0][2]) >= in_flight_max:
                return
            self._handle(*backlog.popleft())
        if backlog:
            self._ask_for_turn()

    def _reserve(self, size: int) -> None:
        """Set room aside for a body, or let the client wait for it."""
        self._is_held_back |= self._arrival.reserve(size, self._go_on_with_room)

    def _go_on_with_room(self) -> None:
        self._since = self._server.now
        if self._reader.is_continue_expected:
            self._give_consent()
        self._ask_for_turn()

    def _begin_stream(self, endpoint: Endpoint, head: Head) -> int:
        """Hand a request to its endpoint, which reads the body as it arrives."""
        self._server.requests += 1
        request, exchange = self._arrival.begin(self, endpoint, head)
        self._exchanges.append(exchange)
        if self._has_to_wait():
            self._hold_back(endpoint, request, exchange)
        else:
            self._handle(endpoint, request, exchange)
        if self._state is not _READING:
            raise StopReading
        return DISCARD if self._arrival.body is None else STREAM

    def _note_backlog(self) -> None:
        """Tell how much waits for this client: what it does not take, and what it asked beyond."""
        size = self._transport.get_write_buffer_size() if self._output.is_paused else 0
        size += len(self._held or b"")
        size += sum(len(request.body) for _, request, _ in self._backlog)
        answers = (each.answer for each in self._exchanges[1:])
        size += sum(len(answer.body) for answer in answers if type(answer) is Response)
        self._is_noted = size > 0
        self._server.backlog.note(self, size)

    def _answer_before_body(self, response: Response) -> int:
        """Answer at once, and get past the body if that is cheap."""
        form = self._reader.form
        self._endpoint = None
        if self._arrival.is_cut():
            self._move(Happening.REFUSAL)
            self._answer_early(response, form._replace(is_last=True))
            raise StopReading
        self._answer_early(response, form)
        return DISCARD

    def _stop_reading(self) -> None:
        """Let what comes from now on be ignored."""
        if self._state is _PAUSED:
            self._transport.resume_reading()
        self._move(Happening.REFUSAL)
        self._held = None

    def _refuse(self, refusal: Refusal) -> None:
        """Answer a request that cannot be understood, and end the connection."""
        if (self._state, Happening.REFUSAL) not in TRANSITIONS:
            # It came after the last request that counts.
            return
        self._stop_reading()
        if self._arrival.body is not None:
            # Its request is given up: the client is told something else.
            exchange = self._exchanges.pop()
            if self._backlog and self._backlog[-1][2] is exchange:
                self._backlog.pop()
            self._server.tell(exchange.disconnect())
        self._arrival.forget()
        form = Form(is_http_10=False, is_head=self._reader.is_head_method, is_last=True)
        self._answer_early(self._server.render_error(refusal.status, refusal.reason), form)

    def _answer_early(self, response: Response, form: Form) -> None:
        """Answer a request that no endpoint is asked for."""
        self._server.count_early_answer(response.status)
        exchange = Exchange(self, form)
        self._exchanges.append(exchange)
        self._is_continue_due = False
        if self._has_to_wait():
            endpoint = Endpoint(lambda _, exchange: exchange.respond(response), 0)
            self._hold_back(endpoint, _NO_REQUEST, exchange)
        else:
            exchange.respond(response)

    def _check_arrival(self, now: float) -> None:
        """Refuse a client that takes too long to send its request."""
        arrival, is_body = self._arrival, self._reader.is_mid_body
        # `_since` is up to one sweep too early.
        seconds = now - self._since - self._server.tick_seconds
        if is_body and not arrival.is_late(seconds):
            if arrival.begins_anew():
                self._since = now
        elif not is_body and seconds <= self._server.limits.head_seconds_max:
            return
        elif is_body and self._endpoint is None and arrival.body is None:
            # It has its answer; only the end of the body was awaited.
            self._end()
        else:
            what = "body" if is_body else "head"
            self._refuse(Refusal(408, f"the {what} of the request took too long to arrive"))

    # Below: answering.

    def _give_consent(self) -> None:
        """Consent to a body being sent, behind the answers to earlier requests."""
        self._is_continue_due = len(self._exchanges) > (self._arrival.body is not None)
        if not self._is_continue_due:
            self._reader.is_continue_expected = False
            self._output.write(CONTINUE)

    def _go_on(self) -> None:
        """Do what had to wait until an answer has left."""
        if self._is_continue_due:
            self._give_consent()
        if self._is_held_back or self._state is _PAUSED:
            self._ask_for_turn()
        if self._output.is_paused or self._is_noted:
            self._note_backlog()

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
        self._task = server.run_stream(answer.produce(self._stream), self._finish_stream)
        return True

    def _finish_stream(self, task: "asyncio.Task[None]") -> None:
        stream, self._stream, self._task = self._stream, None, None
        assert stream is not None
        if not self._exchanges:
            # The connection was lost, and the exchange with it.
            return
        if task.cancelled() or task.exception() is not None:
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
        self._backlog.clear()
        # All are let go before anybody is told, who might answer another one.
        told = [callback for exchange in exchanges for callback in exchange.disconnect()]
        self._server.tell(told)

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
        """Make a client that is gone betray itself: it answers the next byte with a reset."""
        if self._state is State.HALF_CLOSED and self._stream is not None and self._stream.probe():
            self._move(Happening.PROBE)

    def _look_for_client(self) -> None:
        """Find out whether a client that sends no more still reads: see `_probe`."""
        if self._transport.is_closing():
            return
        if is_gone(self._transport):
            self.abort()
        else:
            self._probe()
