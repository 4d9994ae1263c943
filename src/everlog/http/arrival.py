"""The body that is arriving on one connection, where it is not small: in room, or streamed.

What it has to tell is whether the client has to wait, whether it takes too long, and what is left
of it when nobody wants it any more.
What is left to others: reading (`reader`), and what the connection does about all that.
"""

from collections.abc import Callable
from typing import Protocol

from everlog.http.exchange import (
    BodySource,
    BodyStream,
    Carrier,
    DisconnectedError,
    Endpoint,
    Exchange,
    Head,
    Request,
    StreamedExchange,
)
from everlog.http.framing import Form
from everlog.http.reader import Refusal, RequestReader
from everlog.http.shared import LargeExchange, Room, ServerState


class _Owner(Carrier, BodySource, Protocol):
    """The connection."""


class Arrival:
    """What a connection knows of a body besides what its reader does."""

    __slots__ = ("_reader", "_server", "_window_size", "body", "room")

    def __init__(self, server: ServerState, reader: RequestReader) -> None:
        self._server = server
        self._reader = reader
        # For a body that is not small; and one that is streamed.
        self.room: Room | None = None
        self.body: BodyStream | None = None
        # How much of that had come at the begin of the present wait for it.
        self._window_size = 0

    def is_room_due(self) -> bool:
        """Whether a body has to wait for room."""
        return self.room is not None and self.room.is_due

    def has_to_wait(self) -> bool:
        """Whether no more of the body is to be read now."""
        return self.is_room_due() or (self.body is not None and self.body.is_full)

    def is_ours_to_go_on(self) -> bool:
        """Whether the client waits for whoever reads its body."""
        return self.body is not None and self.body.is_idle

    # Bodies that are collected.

    def reserve(self, size: int, on_room: Callable[[], None]) -> bool:
        """Set room aside; return whether the client has to wait for it, until `on_room`."""
        self.room = self._server.bodies.reserve(size, on_room)
        return self.room.is_due

    def may_become(self, endpoint: Endpoint) -> int:
        """Return how large a body of unknown length may become for which no room is set aside.

        Raises:
            Refusal: No larger than it is.
        """
        size_max = endpoint.body_size_max
        assert size_max is not None
        if self.room is not None or size_max <= self._server.limits.body_small_size_max:
            raise Refusal(413, f"the body is larger than {size_max} bytes")
        return size_max

    def take_over(self, carrier: Carrier, form: Form, endpoint: Endpoint, size: int) -> Exchange:
        """Return the exchange for a body that has room, or is complete before there is any."""
        room, self.room = self.room, None
        assert room is not None
        if room.is_due:
            # It came at once, and is hardly larger than a small one.
            room.give_back()
            return Exchange(carrier, form, endpoint.counts)
        room.shrink(size)
        return LargeExchange(carrier, form, endpoint.counts).with_room(room)

    # Bodies that are streamed.

    def begin(self, owner: _Owner, endpoint: Endpoint, head: Head) -> tuple[Request, Exchange]:
        """Return the request whose body is to be read as it arrives."""
        server, self._window_size = self._server, 0
        size_max = server.limits.body_ahead_size_max
        body = self.body = BodyStream(owner, size_max=size_max, loop=server.loop)
        exchange = StreamedExchange(owner, self._reader.form, endpoint.counts, body=body)
        return Request(head, b"", body), exchange

    def put(self, data: bytes) -> bool:
        """Give a part to whoever reads the body; return whether more has to wait for that."""
        assert self.body is not None
        self.body.put(data)
        return self.body.is_full

    def finish(self) -> bool:
        """Note that all of it is there; return False if no body was streamed."""
        body, self.body = self.body, None
        if body is None:
            return False
        body.finish()
        return True

    # Either.

    def forget(self) -> None:
        """Read the rest of the body only to get past it, and tell whoever reads it."""
        room, self.room = self.room, None
        body, self.body = self.body, None
        if room is not None or body is not None:
            self._reader.forget_body()
        if room is not None:
            room.give_back()
        if body is not None:
            body.cut(DisconnectedError())

    def is_cut(self) -> bool:
        """Whether what is left of a body that nobody wants is too much to get past it."""
        reader = self._reader
        rest = reader.content_length - reader.body_size
        # A client that waits for consent may send the body or not: the next byte is ambiguous.
        return (
            reader.is_chunked
            or rest > self._server.limits.drain_size_max
            or (reader.is_continue_expected and rest > 0)
        )

    def end(self) -> bool:
        """Let nobody have the rest of the body; return whether it is too much to get past it."""
        is_cut = self.is_cut()
        self.forget()
        return is_cut

    def is_late(self, seconds: float) -> bool:
        """Whether the body should have come, for which the client had so many seconds."""
        is_hurried = self.room is not None and self._server.bodies.is_short
        size = self._reader.body_size - (self._window_size if self.body is not None else 0)
        return seconds > self._server.limits.body_seconds(size, is_hurried=is_hurried)

    def begins_anew(self) -> bool:
        """Whether so much was streamed since the wait began that another one begins.

        However much has come, it does not allow for a long pause.
        """
        size = self._reader.body_size
        if self.body is None or size - self._window_size < self._server.limits.body_window_size:
            return False
        self._window_size = size
        return True
