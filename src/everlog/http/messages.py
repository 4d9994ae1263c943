"""What the HTTP layer and the application that it serves say to each other.

Values and a protocol only: what a client asks (`Head`, `Request`), and who decides about it
(`Application`, `Endpoint`). Nothing here knows about sockets or the parser.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

import msgspec

from everlog.http.answers import Response, StatusCounts
from everlog.http.exchange import Exchange


class Head(msgspec.Struct, gc=False, eq=False):
    """The first part of a request: everything that is known before its body.

    `path` and `query` are the raw target before and after the first "?", not decoded.
    `headers` holds the headers that the server was told to keep, their names in lower case.
    `peer` is the address of the client.
    Requests of a connection that repeat the head before them share one value. In `memory` the
    application keeps what it found out about it; nobody else looks at that.
    """

    method: str
    path: str
    query: str
    headers: Mapping[bytes, bytes]
    peer: str
    memory: object = None


class Request(msgspec.Struct, frozen=True, gc=False, eq=False):
    """A complete request."""

    head: Head
    body: bytes


class Endpoint(NamedTuple):
    """Who answers a request, and how large a body it may have.

    `counts` is where its answers are counted, by the first digit of their status; see `no_counts`.
    """

    handle: Callable[[Request, Exchange], None]
    body_size_max: int
    counts: StatusCounts | None = None


class Application(Protocol):
    """What a server serves. All calls come from the event loop's thread and must not block."""

    def route(self, head: Head) -> Endpoint | Response:
        """Decide by the head alone, before a body is read; a Response is the answer."""
        ...

    def render_error(self, status: int, reason: str) -> Response:
        """Build the answer to what the HTTP layer itself refuses."""
        ...

    def on_error(self, error: BaseException) -> None:
        """Log a bug: a handler, a stream or a callback of the application raised."""
        ...
