"""The answers of one connection, put into the order of its requests.

Exchanges are answered whenever the application likes. The first unanswered one holds back those
behind it, which wait here as values; a stream holds them back until its end.

Guarantees that an exchange leaves the queue once, answered or dropped, and that nobody who works on
an answer is left untold when the client is gone.
What is left to the connection: when to read, and how to end.
"""

import asyncio
from typing import Final, Protocol, cast

from everlog.http.answers import CONTINUE, PLAIN, Form, Response, StatusCounts, body_parts
from everlog.http.exchange import Exchange
from everlog.http.output import DisconnectedError, Output
from everlog.http.state import ServerState
from everlog.http.stream import Stream, StreamAnswer

# Larger bodies are handed to the kernel as they are instead of being copied behind their head.
_JOIN_SIZE_MAX: Final = 64 * 1024


class Owner(Protocol):
    """The connection, as far as its answers need it."""

    def is_mid_message(self) -> bool:
        """Whether a request has begun to arrive and is not complete."""
        ...

    def go_on(self) -> None:
        """Note that an answer has left, and that the connection stays."""
        ...

    def end(self) -> None:
        """Note that the last answer has left."""
        ...

    def cut(self) -> None:
        """End the connection in the middle of an answer."""
        ...


class AnswerQueue:
    """The unanswered exchanges of one connection, oldest first."""

    __slots__ = (
        "_is_continue_due",
        "_output",
        "_owner",
        "_state",
        "_stream",
        "_task",
        "exchanges",
    )

    def __init__(self, owner: Owner, *, output: Output, state: ServerState) -> None:
        self._owner = owner
        self._output = output
        self._state = state
        # A list, since it is short, and an empty one is small.
        self.exchanges: list[Exchange] = []
        # Consent to send a body, given when the answers before it have left.
        self._is_continue_due = False
        self._stream: Stream | None = None
        self._task: asyncio.Task[None] | None = None

    def add(self, form: Form, counts: StatusCounts | None = None) -> Exchange:
        """Make the exchange of the request that came last."""
        exchange = Exchange(self, form, counts)
        self.exchanges.append(exchange)
        self._is_continue_due = False
        return exchange

    def add_continue(self) -> None:
        """Give consent to send a body, behind the answers to earlier requests."""
        if self.exchanges:
            self._is_continue_due = True
        else:
            self._output.write(CONTINUE)

    def mark_last(self) -> None:
        """Let the connection end with the answer that is last by now."""
        last = self.exchanges[-1]
        last.form = last.form._replace(is_last=True)

    def probe(self) -> bool:
        """Make a client that is gone betray itself; return whether that was possible."""
        return self._stream is not None and self._stream.probe()

    def send_answer(self, exchange: Exchange) -> None:
        """Send the answer of `exchange`, and those that waited for it, when it is their turn."""
        if self.exchanges[0] is exchange:
            try:
                self._send_answers()
            except Exception:
                # Not even for want of memory may a client wait for an answer that never comes.
                self._owner.cut()
                raise

    def _send_answers(self) -> None:
        exchanges = self.exchanges
        while exchanges:
            exchange = exchanges[0]
            answer = exchange.answer
            if answer is None:
                return
            form = self._final_form(exchange)
            if type(answer) is Response:
                self._write_response(answer, form)
            elif self._start_stream(cast("StreamAnswer", answer), form):
                return
            self._finish_first(form)

    def drop(self) -> None:
        """Give up what is unanswered, and tell those who work on it."""
        if self._task is not None:
            self._task.cancel()
        exchanges = self.exchanges[:]
        self.exchanges.clear()
        for exchange in exchanges:
            for callback in exchange.disconnect():
                try:
                    callback()
                except Exception as error:  # noqa: BLE001 - the others must be told too
                    self._state.application.on_error(error)

    def _final_form(self, exchange: Exchange) -> Form:
        """Return the form of an answer whose turn it is."""
        if (
            self._state.is_stopping
            and len(self.exchanges) == 1
            and not self._owner.is_mid_message()
        ):
            return exchange.form._replace(is_last=True)
        return exchange.form

    def _write_response(self, response: Response, form: Form) -> None:
        renderer = self._state.renderer
        if form is PLAIN and len(response.body) <= _JOIN_SIZE_MAX:
            self._output.write(renderer.render(response))
            return
        parts = (renderer.render_head(response, form), *body_parts(response, form))
        if len(response.body) <= _JOIN_SIZE_MAX:
            self._output.write(b"".join(parts))
        else:
            self._output.write_all(parts, size=sum(map(len, parts)))

    def _finish_first(self, form: Form) -> None:
        self.exchanges.pop(0).finish()
        if form.is_last:
            self._owner.end()
            return
        if self._is_continue_due and not self.exchanges:
            self._is_continue_due = False
            self._output.write(CONTINUE)
        self._owner.go_on()

    def _start_stream(self, answer: StreamAnswer, form: Form) -> bool:
        """Send the head of a stream and begin to produce it; return False if it has no body."""
        state = self._state
        if form.is_http_10 and not form.is_head:
            # Only the end of the connection can tell an HTTP/1.0 client where the body ends.
            form = form._replace(is_last=True)
        # What the head says about the connection is kept, whatever happens until the end.
        self.exchanges[0].form = form
        status, content_type, headers = answer.status, answer.content_type, answer.headers
        self._output.write(state.renderer.render_stream_head(status, content_type, headers, form))
        if form.is_head:
            return False
        stream = Stream(self._output, is_chunked=not form.is_http_10)
        self._stream = stream
        self._task = state.loop.create_task(_produce(answer, stream))
        state.tasks.add(self._task)
        self._task.add_done_callback(self._finish_stream)
        return True

    def _finish_stream(self, task: "asyncio.Task[None]") -> None:
        self._state.tasks.discard(task)
        stream, self._stream, self._task = self._stream, None, None
        assert stream is not None
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, DisconnectedError):
            self._state.application.on_error(error)
        if not self.exchanges:
            # The connection was lost, and the exchange with it.
            return
        if task.cancelled() or error is not None:
            self._state.streams_cut += 1
            # Without its final chunk the client sees that the answer is not whole.
            self._owner.cut()
            return
        stream.finish()
        self._finish_first(self._final_form(self.exchanges[0]))
        if self.exchanges:
            self.send_answer(self.exchanges[0])


async def _produce(answer: StreamAnswer, stream: Stream) -> None:
    await answer.produce(stream)
