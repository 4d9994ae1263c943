"""The server: listeners, the sweep over connections, and the end.

Stopping is graceful within a bound: idle connections are closed, exchanges in flight are answered,
and what is left when the grace is over is cut.
"""

import asyncio
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ssl import SSLContext
from typing import Final

from everlog.http.connection import Connection
from everlog.http.exchange import Application
from everlog.http.framing import Headers, Renderer
from everlog.http.limits import Limits
from everlog.http.shared import ServerEvents, ServerState
from everlog.http.sockets import set_options
from everlog.http.tls import TlsTransport

# Room for all clients reconnecting at once after a restart; the kernel caps it at `somaxconn`.
BACKLOG: Final = 4_096

# Deadlines are looked at this often, or more often where a limit is very short.
_TICK_SECONDS_MAX: Final = 1.0

# After connections were cut, their streams' tasks have this long to clean up.
_CANCEL_SECONDS_MAX: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Counts since the server was made; `connections` and `streams` are those open now."""

    connections: int = 0
    connections_accepted: int = 0
    # Closed so that another one could have the place; refused since there was none; and cut, since
    # too much waited for clients that did not take it.
    connections_closed: int = 0
    connections_refused: int = 0
    connections_cut: int = 0
    # Requests that an endpoint was asked to answer.
    requests: int = 0
    # By status: requests that were answered without an endpoint, most of them refused.
    early_answers: Mapping[int, int] = field(default_factory=dict)
    streams: int = 0
    # Streams that ended in the middle, for a reason other than that the client went away.
    streams_cut: int = 0


class Server:
    """Serves one application on any number of addresses."""

    def __init__(
        self,
        application: Application,
        *,
        server_header: bytes,
        headers_kept: frozenset[bytes],
        headers_always: Headers = (),
        limits: Limits = Limits(),  # noqa: B008 - a frozen value
        is_shared: Callable[[str], bool] = lambda _: False,
        events: ServerEvents = ServerEvents(),  # noqa: B008 - a frozen value
        on_connection_lost: Callable[[], None] = lambda: None,
    ) -> None:
        """Let the application see `headers_kept`; every answer carries `headers_always`.

        `is_shared` tells of an address whether many clients share it, so that it may have as many
        connections as there are places.
        """
        assert all(name == name.lower() for name in headers_kept)
        self._application = application
        self._headers_kept = headers_kept
        self._limits = limits
        self._is_shared = is_shared
        self._events = events
        self._on_connection_lost = on_connection_lost
        self._renderer = Renderer(
            server_header=server_header, headers_always=headers_always, now=time.time()
        )
        self._listeners: list[asyncio.Server] = []
        self._state: ServerState | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._all_lost: asyncio.Event = asyncio.Event()

    async def start(self, host: str, port: int, *, ssl: SSLContext | None) -> int:
        """Listen on one more address; return the port, which the system chooses if `port` is 0."""
        state = self._prepare()
        assert not state.is_stopping
        accept = self._protocol(state, ssl)
        listener = await state.loop.create_server(accept, host, port, backlog=BACKLOG)
        set_options(listener.sockets, seconds_max=self._limits.send_seconds_max)
        self._listeners.append(listener)
        bound_port: int = listener.sockets[0].getsockname()[1]
        return bound_port

    async def adopt(self, accepted: socket.socket, *, ssl: SSLContext | None) -> None:
        """Serve a connection that somebody else has accepted, and that is ours from now on."""
        state = self._prepare()
        try:
            if state.is_stopping:
                raise ConnectionAbortedError
            await state.loop.connect_accepted_socket(self._protocol(state, ssl), accepted)
        except OSError:
            # Nobody is served any more, or the client is gone already.
            accepted.close()
            self._on_connection_lost()

    async def stop(self, *, grace_seconds: float) -> None:
        """Stop accepting, finish what is in flight, and cut what is not done in time."""
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        state = self._state
        if state is None:
            return
        state.is_stopping = True
        for connection in list(state.connections):
            connection.stop()
        await self._wait_all_lost(grace_seconds)
        for connection in list(state.connections):
            connection.abort()
        await self._wait_all_lost(_CANCEL_SECONDS_MAX)
        if state.tasks:
            await asyncio.wait(state.tasks, timeout=_CANCEL_SECONDS_MAX)
        if self._timer is not None:
            self._timer.cancel()

    def statistics(self) -> Statistics:
        """Count what the server has done and holds."""
        state = self._state
        if state is None:
            return Statistics()
        return Statistics(
            connections=len(state.connections),
            connections_accepted=state.connections_accepted,
            connections_closed=state.places.closed_count,
            connections_refused=state.places.refused_count,
            connections_cut=state.backlog.cut_count,
            requests=state.requests,
            early_answers=dict(state.early_answers),
            streams=len(state.tasks),
            streams_cut=state.streams_cut,
        )

    def _protocol(
        self, state: ServerState, ssl: SSLContext | None
    ) -> Callable[[], asyncio.Protocol]:
        def accept() -> asyncio.Protocol:
            if ssl is None:
                return Connection(state)
            return TlsTransport(Connection(state, is_tls=True), ssl, state.turns)

        return accept

    def _prepare(self) -> ServerState:
        """Bind to the running event loop, on the first listener."""
        if self._state is None:
            self._state = ServerState(
                self._application,
                renderer=self._renderer,
                headers_kept=self._headers_kept,
                limits=self._limits,
                loop=asyncio.get_running_loop(),
                tick_seconds=min(_TICK_SECONDS_MAX, self._limits.shortest_seconds() / 4),
                on_connection_lost=self._note_connection_lost,
                is_shared=self._is_shared,
                events=self._events,
            )
            self._tick()
        return self._state

    def _tick(self) -> None:
        state = self._state
        assert state is not None
        self._timer = state.loop.call_later(state.tick_seconds, self._tick)
        state.renderer.set_time(time.time())
        now = state.loop.time()
        state.now = now
        for connection in list(state.connections):
            connection.sweep(now)

    def _note_connection_lost(self) -> None:
        self._on_connection_lost()
        if self._state is not None and not self._state.connections:
            self._all_lost.set()

    async def _wait_all_lost(self, seconds: float) -> None:
        assert self._state is not None
        if not self._state.connections:
            return
        self._all_lost.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._all_lost.wait()
        except TimeoutError:
            # What is left will be cut.
            return
