"""What the connections of one server share: counts, time, and the memory that they may take.

**Turns.** Work that was begun by what a client sent and may wait (the rest of a large packet, many
requests in one, a TLS handshake) is done in turns, a few milliseconds at a time, so that those who
send little are served in between.

**The body budget.** A body that is larger than small has room set aside for all of it before it is
read, until its request is answered. Nobody may have more than half of what is left, so that there
is room for others; where there is not enough, the client waits in its socket. A body of unknown
length counts as the largest that it may become. As nobody holds a part while waiting for the rest,
somebody can always go on. Small bodies are always read.

**The backlog.** What clients do not take, and what they asked for beyond that, is bounded over all
connections. Beyond the bound, those who have waited longest are cut, strangers first.

What is left to others: who may be connected (`places`), and what happens on one connection.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Final, Protocol, Self
from weakref import finalize

import msgspec

from everlog.http.exchange import Application, DisconnectedError, Endpoint, Exchange, Head
from everlog.http.framing import Renderer, Response
from everlog.http.limits import Limits
from everlog.http.places import Crowding, Guest, Places, Seldom
from everlog.http.reader import FRAMING_NAMES, Refusal

# How long turns may take before the event loop looks at what else there is to do.
TURN_SECONDS: Final = 0.005

# Whoever finds no place, or no memory, may find some soon.
_UNAVAILABLE: Final = 503
_RETRY: Final = (b"Retry-After", b"1")

# By its first byte, what arrives turns out to be TLS; no line of HTTP begins with it.
_TLS_HANDSHAKE: Final = 0x16

NO_MEMORY_TEXT: Final = "the bodies of other requests take all the memory for them: try again"
_PLAIN_TEXT: Final = "this port speaks HTTPS, and the request came as plain HTTP: use https://"
_TLS_TEXT: Final = "this port speaks plain HTTP, and the request came as TLS: use http://"
_BUG_TEXT: Final = "the request could not be handled"


class Turns:
    """What may wait for its turn, first come, first served."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop: Final = loop
        self._waiting: Final[deque[Callable[[], None]]] = deque()
        # Whether anything waits.
        self.is_due = False

    def add(self, work: Callable[[], None]) -> None:
        """Have work done soon; it should take a millisecond or two, and may add itself again."""
        self._waiting.append(work)
        if not self.is_due:
            self.is_due = True
            self._loop.call_soon(self._take)

    def _take(self) -> None:
        waiting, end = self._waiting, perf_counter() + TURN_SECONDS
        try:
            while waiting:
                waiting.popleft()()
                if perf_counter() > end:
                    break
        finally:
            self.is_due = bool(waiting)
            if self.is_due:
                self._loop.call_soon(self._take)


class Sharer(Guest, Protocol):
    """A connection, as far as what is shared concerns it."""

    # That of the client, empty where it has none.
    address: str

    def sweep(self, now: float) -> None:
        """Act on deadlines that have passed."""
        ...

    def stop(self) -> None:
        """End as soon as nothing is in flight."""
        ...


class Room:
    """The memory for one body: set aside, or due, in which case reading has to wait for it."""

    def __init__(self, budget: "BodyBudget", size: int, on_granted: Callable[[], None]) -> None:
        self._budget: Final = budget
        self._on_granted: Final = on_granted
        self.size = size
        self.is_due = False

    def shrink(self, size: int) -> None:
        """Give back what is more than a body takes."""
        assert not self.is_due
        surplus, self.size = self.size - size, size
        self._budget.release(surplus)

    def give_back(self) -> None:
        """Give all of it back, or wait no longer; more than once is the same as once."""
        size, self.size = self.size, 0
        if self.is_due:
            self.is_due = False
            self._budget.forget(self)
        elif size:
            self._budget.release(size)

    def grant(self) -> None:
        """Let its owner go on; for the budget only."""
        self.is_due = False
        self._on_granted()


class LargeExchange(Exchange, weakref=True):
    """An exchange with room for its body, until it is answered, or nobody can answer it any more.

    Such an exchange is forgotten, as is what was made of its body.
    """

    room: Room | None = None

    def with_room(self, room: Room) -> Self:
        """Take over the room."""
        self.room = room
        finalize(self, room.give_back).atexit = False
        return self

    def respond(self, response: Response) -> None:
        """Answer, for which the body is of no use any more."""
        super().respond(response)
        if self.room is not None:
            self.room.give_back()


class BodyBudget:
    """The memory for bodies that are not small; sizes are in bytes."""

    def __init__(self, size_max: int) -> None:
        self._size_max: Final = size_max
        # In the order in which they came.
        self._due: Final[dict[Room, None]] = {}
        self.size = 0

    @property
    def is_short(self) -> bool:
        """Whether somebody waits for room."""
        return bool(self._due)

    def reserve(self, size: int, on_granted: Callable[[], None]) -> Room:
        """Return room for a body; if it is due, `on_granted` is called when it is there."""
        room = Room(self, size, on_granted)
        if self._has_room(size):
            self.size += size
        else:
            room.is_due = True
            self._due[room] = None
        return room

    def forget(self, room: Room) -> None:
        """Let nobody wait for it any longer."""
        del self._due[room]

    def release(self, size: int) -> None:
        """Take room back, and let those go on who have waited for as much."""
        assert 0 <= size <= self.size
        self.size -= size
        for room in list(self._due):
            if self._has_room(room.size):
                del self._due[room]
                self.size += room.size
                room.grant()

    def _has_room(self, size: int) -> bool:
        # Whoever is alone may have everything, so that nothing is too large for ever.
        return self.size == 0 or size * 2 <= self._size_max - self.size


class Backlog:
    """How much waits for each client that does not take it; sizes are in bytes."""

    def __init__(self, size_max: int, *, on_cut: Callable[[Sharer, int], None]) -> None:
        """Call `on_cut` with whoever is cut, and how much waited for it."""
        self._size_max: Final = size_max
        self._on_cut: Final = on_cut
        self._strangers: Final[dict[Sharer, int]] = {}
        self._known: Final[dict[Sharer, int]] = {}
        self.size = 0
        self.cut_count = 0

    def note(self, sharer: Sharer, size: int) -> None:
        """Note how much waits for a client now."""
        sizes = self._known if sharer.is_known else self._strangers
        others = self._strangers if sharer.is_known else self._known
        before = sizes.get(sharer, 0) + others.pop(sharer, 0)
        if size > 0:
            sizes[sharer] = size
        elif before == 0:
            return
        else:
            sizes.pop(sharer, None)
        self.size += size - before
        while self.size > self._size_max:
            self._cut()

    def _cut(self) -> None:
        sizes = self._strangers or self._known
        sharer = next(iter(sizes))
        size = sizes.pop(sharer)
        self.size -= size
        self.cut_count += 1
        sharer.abort()
        self._on_cut(sharer, size)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerEvents:
    """What a server tells of what happens to it, each at most once a minute."""

    # There are more clients than may be connected.
    crowded: Callable[[Crowding], None] = lambda _: None
    # Too much waits for clients that do not take it: one was cut, at this address, for which so
    # many bytes waited.
    cut: Callable[[str, int], None] = lambda _address, _size: None
    # A client at this address speaks HTTP where HTTPS is spoken, or the other way round.
    mistaken: Callable[[str, str], None] = lambda _address, _what: None


class ServerState:
    """What the connections of one server share; the server owns it, and they count in it."""

    __slots__ = (
        "_may_tell_of_cuts",
        "_may_tell_of_mistakes",
        "application",
        "backlog",
        "bodies",
        "connections",
        "connections_accepted",
        "early_answers",
        "events",
        "headers_kept",
        "headers_noticed",
        "is_stopping",
        "limits",
        "loop",
        "now",
        "on_connection_lost",
        "places",
        "renderer",
        "requests",
        "streams_cut",
        "tasks",
        "tick_seconds",
        "turns",
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
        is_shared: Callable[[str], bool] = lambda _: False,
        events: ServerEvents = ServerEvents(),
    ) -> None:
        self.application = application
        self.renderer = renderer
        self.headers_kept = headers_kept
        self.headers_noticed = headers_kept | FRAMING_NAMES
        self.limits = limits
        self.loop = loop
        self.tick_seconds = tick_seconds
        self.on_connection_lost = on_connection_lost
        self.events = events
        # The time of the last sweep: asking the clock for every request would cost more than a
        # deadline that is one sweep late.
        self.now = loop.time()
        self.is_stopping = False
        # All that are open, with a place or without.
        self.connections: set[Sharer] = set()
        self.places = Places(
            limits, is_shared=is_shared, clock=loop.time, on_crowded=events.crowded
        )
        self.turns = Turns(loop)
        self.bodies = BodyBudget(limits.bodies_size_max)
        self.backlog = Backlog(limits.backlog_size_max, on_cut=self._note_cut)
        self.tasks: set[asyncio.Future[None]] = set()
        self.connections_accepted = 0
        self.requests = 0
        # By status: answers that no endpoint was asked for.
        self.early_answers: dict[int, int] = {}
        self.streams_cut = 0
        self._may_tell_of_cuts = Seldom(loop.time)
        self._may_tell_of_mistakes = Seldom(loop.time)

    def count_early_answer(self, status: int) -> None:
        """Count an answer that no endpoint was asked for."""
        self.early_answers[status] = self.early_answers.get(status, 0) + 1

    def route(self, head: Head) -> Endpoint | Response:
        """Ask the application about a request."""
        try:
            return self.application.route(head)
        except Exception as error:  # noqa: BLE001 - the application's bug is a 500
            self.application.on_error(error)
            return self.render_error(500, _BUG_TEXT)

    def answer_failure(self, endpoint: Endpoint, exchange: Exchange, error: Exception) -> None:
        """Answer a request whose endpoint raised."""
        try:
            if endpoint.refuse is not None and endpoint.refuse(exchange, error):
                return
        except Exception as bug:  # noqa: BLE001 - the application's bug is a 500
            error = bug
        self.application.on_error(error)
        if exchange.answer is None:
            exchange.respond(self.render_error(500, _BUG_TEXT))

    def run_stream(
        self, work: Coroutine[Any, Any, None], on_end: Callable[[asyncio.Task[None]], None]
    ) -> asyncio.Task[None]:
        """Run what produces the body of an answer, and call `on_end` at its end."""
        task = self.loop.create_task(work)
        self.tasks.add(task)

        def finish(done: asyncio.Task[None]) -> None:
            self.tasks.discard(done)
            error = None if done.cancelled() else done.exception()
            if error is not None and not isinstance(error, DisconnectedError):
                self.application.on_error(error)
            on_end(done)

        task.add_done_callback(finish)
        return task

    def tell(self, callbacks: Iterable[Callable[[], None]]) -> None:
        """Call back those who wanted to know of a client that is gone."""
        for callback in callbacks:
            try:
                callback()
            except Exception as error:  # noqa: BLE001 - the others must be told too
                self.application.on_error(error)

    def render_error(self, status: int, reason: str) -> Response:
        """Ask the application for the words of a refusal, and do without if it fails."""
        try:
            response = self.application.render_error(status, reason)
            if status != _UNAVAILABLE:
                return response
            return msgspec.structs.replace(response, headers=(*response.headers, _RETRY))
        except Exception as error:  # noqa: BLE001 - the application's bug must not cost the answer
            self.application.on_error(error)
            return Response(status, b"", b"")

    def refuse_another(self) -> Refusal:
        """Return why there is no place for one more connection."""
        if self.places.count < self.limits.connections_max:
            return Refusal(_UNAVAILABLE, "this address has its share of the connections already")
        return Refusal(_UNAVAILABLE, f"there are {self.limits.connections_max} connections already")

    def refuse_plain(self, address: str) -> Refusal:
        """Return what a client is told that speaks HTTP without TLS, and tell of it."""
        self._tell_of_mistake(address, "plain HTTP on the port for HTTPS")
        return Refusal(400, _PLAIN_TEXT)

    def explain(self, refusal: Refusal, data: bytes | memoryview, address: str) -> Refusal:
        """Return why `data` is no request, in better words if it is TLS, and tell of that."""
        if data[0] != _TLS_HANDSHAKE:
            return refusal
        self._tell_of_mistake(address, "TLS on the port for plain HTTP")
        return Refusal(refusal.status, _TLS_TEXT)

    def _tell_of_mistake(self, address: str, what: str) -> None:
        if self._may_tell_of_mistakes():
            self.events.mistaken(address, what)

    def _note_cut(self, sharer: Sharer, size: int) -> None:
        if self._may_tell_of_cuts():
            self.events.cut(sharer.address, size)
