"""One request and its answer, from the application's side.

An exchange outlives the call that hands it over: it may be answered at any later time on the
event loop's thread, exactly once, and in any order among the exchanges of a connection.
When the client has gone, answering is allowed and does nothing.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

from everlog.http.answers import Form, Headers, Response, StatusCounts, check_headers
from everlog.http.stream import Stream, StreamAnswer


class Carrier(Protocol):
    """The connection, as far as an exchange needs it."""

    def send_answer(self, exchange: "Exchange") -> None:
        """Send the answer of `exchange` when it is its turn."""
        ...


class Exchange:
    """The application's handle on the answer to one request."""

    __slots__ = (
        "_callbacks",
        "_carrier",
        "_counts",
        "_headers",
        "_is_disconnected",
        "answer",
        "form",
    )

    def __init__(self, carrier: Carrier, form: Form, counts: StatusCounts | None = None) -> None:
        # Where the answer is counted, by the first digit of its status.
        self._counts = counts
        # None once the answer is complete or the client is gone.
        self._carrier: Carrier | None = carrier
        self._callbacks: list[Callable[[], None]] | None = None
        # What the answer carries besides its own headers.
        self._headers: Headers = ()
        self._is_disconnected = False
        # For the connection only.
        self.answer: Response | StreamAnswer | None = None
        self.form = form

    @property
    def is_disconnected(self) -> bool:
        """Whether the client went away before it had its whole answer."""
        return self._is_disconnected

    def on_disconnect(self, callback: Callable[[], None]) -> None:
        """Call `callback` if the client goes away before it has its whole answer.

        Called at once if it has gone already.
        """
        if self._is_disconnected:
            callback()
        elif self._callbacks is None:
            self._callbacks = [callback]
        else:
            self._callbacks.append(callback)

    def add_headers(self, headers: Headers) -> None:
        """Let the answer carry these too, whatever it will be."""
        assert self.answer is None
        self._headers += headers

    def respond(self, response: Response) -> None:
        """Answer with a complete response."""
        assert self.answer is None
        if self._headers:
            response = response._replace(headers=response.headers + self._headers)
        if response.headers:
            check_headers(response.headers)
        if self._counts is not None:
            self._counts[response.status // 100] += 1
        self.answer = response
        if self._carrier is not None:
            self._carrier.send_answer(self)

    def stream(
        self,
        status: int,
        content_type: bytes,
        produce: Callable[[Stream], Awaitable[None]],
        headers: Headers = (),
    ) -> None:
        """Answer with what `produce` sends.

        `produce` is called when it is this answer's turn, runs in a task of the connection, and is
        cancelled when the client goes away. Its return is the end of the body.
        """
        assert self.answer is None
        headers += self._headers
        check_headers(headers)
        if self._counts is not None:
            self._counts[status // 100] += 1
        self.answer = StreamAnswer(
            status=status, content_type=content_type, headers=headers, produce=produce
        )
        if self._carrier is not None:
            self._carrier.send_answer(self)

    def finish(self) -> None:
        """Let go of the connection, the answer being complete; for the connection only."""
        self._carrier = None
        self._callbacks = None

    def disconnect(self) -> list[Callable[[], None]]:
        """Return whom to tell that the client is gone; for the connection only."""
        self._carrier = None
        self._is_disconnected = True
        callbacks, self._callbacks = self._callbacks, None
        return callbacks or []
