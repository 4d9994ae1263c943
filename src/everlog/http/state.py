"""What the connections of one server share.

One object owned by the server; connections count in it, and ask it for the application, the
limits, the time and whether the server is stopping.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from everlog.http.answers import Renderer, Response
from everlog.http.limits import Limits
from everlog.http.messages import Application
from everlog.http.reader import FRAMING_NAMES


class SweptConnection(Protocol):
    """A connection, as far as the server looks after it."""

    def sweep(self, now: float) -> None:
        """Act on deadlines that have passed."""
        ...

    def stop(self) -> None:
        """End as soon as nothing is in flight."""
        ...

    def abort(self) -> None:
        """End now."""
        ...


class ServerState:
    """The shared state of a server's connections."""

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
        self.connections: set[SweptConnection] = set()
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
