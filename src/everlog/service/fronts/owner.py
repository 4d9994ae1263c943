"""The owner's end: starts fronts, gives them connections, and does what they hand on.

Connections are accepted here, each for the front that has fewest, so that those who wait to be
accepted lose nothing when a front dies, and clients that stay for long are spread as evenly as the
others. What a front hands on is done as if its client had come here.

Guarantees that a front which dies is replaced, and that all end with this process: a front that
has nobody to speak with ends at once. That what is told of an outcome is what became durable, and
posted before: so whoever is told and asks another front is shown it.
What is left to others: what a write is (`write`), HTTP, and which sockets are listened on.
"""

import asyncio
import socket
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from everlog.environment import environment_without_secrets
from everlog.service.fronts.channel import Channel, SocketLane
from everlog.service.fronts.messages import (
    ANSWER_SECONDS_MAX,
    Counts,
    Intent,
    Kind,
    LogLine,
    Spent,
    Told,
    decode_counts,
    decode_intents,
    decode_line,
    decode_spent,
    encode,
    tell,
)
from everlog.service.writing.changes import Outcome
from everlog.storage.engine import SharedFiles
from everlog.threads import call_on_thread

_COMMAND: Final = (sys.executable, "-m", "everlog.front_worker")

# What starting one may take on a machine that does a lot else.
_START_SECONDS_MAX: Final = 60.0

# Between attempts to replace a front, twice as long each time.
_PAUSE_SECONDS_MIN: Final = 0.1
_PAUSE_SECONDS_MAX: Final = 5.0
# Who served for so long did not die of how it was started.
_PROVEN_SECONDS: Final = 10.0

# Connections that one turn of the event loop accepts.
_ACCEPTED_PER_TURN: Final = 64
# Without files, or memory, for another connection, nobody is accepted for so long.
_ACCEPT_AGAIN_SECONDS: Final = 0.1

# The word with a socket over which a front asks as a client would.
FORWARDED: Final = b"forwarded"


class FrontUnstartableError(Exception):
    """A front did not get as far as serving."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontEvents:
    """Whom the owner of fronts tells, and asks; on the event loop's thread."""

    # Hands on a write, and calls with what became of it.
    write: Callable[[Intent, Callable[[Outcome], None]], None]
    # A front asks by this socket as a client would.
    forwarded: Callable[[socket.socket], None]
    # A front says something for the log.
    said: Callable[[LogLine], None]
    # A front ended that should not have, with what; another one takes its place.
    died: Callable[[int, int], None]
    # One could not be started; it is tried again.
    unstartable: Callable[[str], None]
    # A front is gone, and this is the last that it said of itself.
    ended: Callable[[bytes], None]
    # How many observers and queries all fronts have.
    counted: Callable[[int, int], None]
    bug: Callable[[Exception], None]


class _Front:
    """One front, as its owner sees it."""

    def __init__(
        self, owner: "Fronts", loop: asyncio.AbstractEventLoop, lane: socket.socket
    ) -> None:
        self._owner: Final = owner
        self.channel: Final = Channel(
            loop, on_frame=self._take, on_lost=self._note_lost, before_send=self._tell_outcomes
        )
        self.lane: Final = SocketLane(lane, loop, on_socket=self._take_socket)
        self.process: subprocess.Popen[bytes] | None = None
        self.ready: Final[asyncio.Future[None]] = loop.create_future()
        self.lost: Final[asyncio.Future[None]] = loop.create_future()
        self.begun_at: Final = loop.time()
        # Whether it is given connections, and whether it was told to end.
        self.is_serving = False
        self.is_retired = False
        self.connections = 0
        self.observers = self.queries = 0
        # The last that it said of itself, and who waits for it to say so again, or to have done
        # something.
        self.figures = b""
        self.asked: Final[list[asyncio.Future[None]]] = []
        self.doing: Final[list[asyncio.Future[None]]] = []
        self._told: list[Told] = []
        self.is_observing = False
        self._has_moved = False

    def note_head(self) -> None:
        """Tell it of a new head, behind the answers that this turn has for it."""
        if not self._has_moved:
            self._has_moved = True
            self.channel.have_turn()

    def _tell_outcomes(self) -> None:
        if self._told:
            told, self._told = self._told, []
            self.channel.send(Kind.OUTCOMES, encode(told))
        if self._has_moved:
            self._has_moved = False
            self.channel.send(Kind.MOVED)

    def _answer(self, number: int, outcome: Outcome) -> None:
        if not self._told:
            self.channel.have_turn()
        self._told.append(tell(number, outcome))

    def _take(self, kind: Kind, content: bytes) -> None:
        try:
            self._take_frame(kind, content)
        except Exception as error:  # noqa: BLE001 - what it says next is heard all the same.
            self._owner.events.bug(error)

    def _take_frame(self, kind: Kind, content: bytes) -> None:
        match kind:
            case Kind.INTENTS:
                write = self._owner.events.write
                for intent in decode_intents(content):
                    write(intent, partial(self._answer, intent.number))
            case Kind.COUNTS:
                counts = decode_counts(content)
                self.connections -= counts.connections_ended
                self.observers, self.queries = counts.observers, counts.queries
                self._owner.note_counts(self)
            case Kind.SPENT:
                self._owner.note_spent(self, decode_spent(content))
            case Kind.OBSERVING:
                self.is_observing = bool(content)
                # What came before this was heard wakes it, too.
                self.note_head()
            case Kind.FIGURES:
                self.figures = content
                _settle(self.asked)
            case Kind.DONE:
                _settle(self.doing[:1])
                del self.doing[:1]
            case Kind.LOG:
                self._owner.events.said(decode_line(content))
            case Kind.READY if not self.ready.done():
                self.ready.set_result(None)
            case _:
                message = f"a front said {kind.name}"
                raise ValueError(message)

    def _take_socket(self, word: bytes, handed: socket.socket) -> None:
        assert word == FORWARDED
        self._owner.events.forwarded(handed)

    def _note_lost(self) -> None:
        self.is_serving = False
        self.lane.close()
        for waiting in (self.asked, self.doing):
            _settle(waiting)
        if not self.ready.done():
            self.ready.set_exception(FrontUnstartableError())
        if not self.lost.done():
            self.lost.set_result(None)

    def end(self) -> None:
        """End it now."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                self.process.kill()
        self.channel.close()
        self.lane.close()


class Fronts:
    """All fronts of one owner; on the event loop's thread."""

    def __init__(
        self,
        *,
        count: int,
        loop: asyncio.AbstractEventLoop,
        events: FrontEvents,
    ) -> None:
        """Start none yet."""
        self.events: Final = events
        self._count: Final = count
        self._loop: Final = loop
        self._fronts: Final[list[_Front]] = []
        # Those that were told to end.
        self._retired: Final[list[_Front]] = []
        self._tasks: Final[set[asyncio.Task[None]]] = set()
        self._listeners: Final[dict[socket.socket, bytes]] = {}
        self._accepting: Final[set[socket.socket]] = set()
        # Counts what a front that is being started may have missed.
        self._generation = 0
        self._is_locked = False
        self._is_stopping = False
        self._own_queries: Callable[[], int] = lambda: 0
        # What a front is told first, and the files that it inherits.
        self._start_content: Callable[[], bytes] = bytes
        self._files: SharedFiles | None = None

    # Begin and end.

    async def start(self, files: SharedFiles, content: Callable[[], bytes]) -> None:
        """Start all, which read by these files; `content` makes what each is told first.

        Raises:
            FrontUnstartableError: One did not get as far as serving.
        """
        self._files, self._start_content = files, content
        fronts = await asyncio.gather(*(self._start_front() for _ in range(self._count)))
        for front in fronts:
            self._take_in(front)

    async def renew(self, files: SharedFiles) -> None:
        """Let new fronts serve what these files show, and the others end in order."""
        self._generation += 1
        # Whoever begins now begins with what is there.
        self._files, self._is_locked = files, False
        before = [*self._fronts]
        fronts = await asyncio.gather(*(self._start_front() for _ in range(self._count)))
        for front in before:
            self._retire(front, b"renewed")
        for front in fronts:
            self._take_in(front)

    def listen(self, listener: socket.socket, word: bytes) -> None:
        """Accept connections for the fronts, which are given this word with each."""
        listener.setblocking(False)  # noqa: FBT003 - it takes no keyword.
        self._listeners[listener] = word
        self._look_for_places()

    async def stop(self, *, seconds_max: float) -> None:
        """Let all end in order, and end those that take longer than that."""
        self._is_stopping = True
        self._look_for_places()
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        for front in [*self._fronts]:
            self._retire(front, b"")
        lost = [front.lost for front in self._retired]
        if lost:
            await asyncio.wait(lost, timeout=seconds_max)
        for front in [*self._retired]:
            front.end()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    # For whoever does what fronts hand on.

    def note_head(self) -> None:
        """Tell those who have observers that there is a new head, which was posted."""
        for front in self._fronts:
            if front.is_observing:
                front.note_head()
        for front in self._retired:
            if front.is_observing:
                front.note_head()

    def note_own_queries(self, count: Callable[[], int]) -> Callable[[], None]:
        """Count the owner's queries, too; return what is to be called when they have changed."""
        self._own_queries = count
        return self._tell_others

    async def do(self, kind: Kind, content: bytes = b"") -> None:
        """Return when all have done something; whoever does not in time is ended."""
        self._generation += 1
        waiting: dict[asyncio.Future[None], _Front] = {}
        # Who was told to end before a store was exchanged never serves it again.
        retired = [] if kind is Kind.UNLOCK else self._retired
        for front in (*self._fronts, *retired):
            done: asyncio.Future[None] = self._loop.create_future()
            front.doing.append(done)
            front.channel.send(kind, content)
            waiting[done] = front
        if waiting:
            _, late = await asyncio.wait(waiting, timeout=ANSWER_SECONDS_MAX)
            for done in late:
                waiting[done].end()

    def lock(self, *, is_locked: bool) -> None:
        """Let a front that is started from now on begin with the store locked, or not."""
        self._is_locked = is_locked

    async def figures(self, *, seconds_max: float) -> list[bytes]:
        """Return what each says of itself; of who is late, or gone, what it said last."""
        fronts = [*self._fronts, *self._retired]
        waiting: list[asyncio.Future[None]] = []
        for front in fronts:
            asked: asyncio.Future[None] = self._loop.create_future()
            front.asked.append(asked)
            front.channel.send(Kind.ASK)
            waiting.append(asked)
        if waiting:
            await asyncio.wait(waiting, timeout=seconds_max)
        return [front.figures for front in fronts if front.figures]

    @property
    def processes(self) -> Sequence[int]:
        """The numbers of the processes that serve."""
        found = (front.process for front in self._fronts)
        return [process.pid for process in found if process is not None]

    # For the fronts.

    def note_counts(self, changed: _Front) -> None:
        """Take note that one has other counts."""
        self._tell_others(changed)
        everybody = (*self._fronts, *self._retired)
        self.events.counted(
            sum(front.observers for front in everybody), sum(front.queries for front in everybody)
        )
        self._look_for_places()

    def note_spent(self, spender: _Front, spent: Sequence[Spent]) -> None:
        """Tell all others what clients have used up of what they may."""
        content = encode(spent)
        for front in self._fronts:
            if front is not spender:
                front.channel.send(Kind.SPENT, content)

    def _tell_others(self, changed: _Front | None = None) -> None:
        everybody = (*self._fronts, *self._retired)
        observers = sum(front.observers for front in everybody)
        queries = sum(front.queries for front in everybody) + self._own_queries()
        for front in self._fronts:
            if front is not changed:
                others = Counts(0, observers - front.observers, queries - front.queries)
                front.channel.send(Kind.OTHERS, encode(others))

    # One front.

    async def _start_front(self) -> _Front:
        """Start one that knows all that the others do.

        Raises:
            FrontUnstartableError: It did not get as far as serving.
        """
        while True:
            generation = self._generation
            front = await self._start_one()
            if generation == self._generation:
                return front
            # It may have read what does not count any more.
            front.end()
            self._watch_end(front)

    async def _start_one(self) -> _Front:
        assert self._files is not None
        ours, theirs = socket.socketpair()
        our_lane, their_lane = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        front = _Front(self, self._loop, our_lane)
        with theirs, their_lane:
            await self._loop.create_unix_connection(lambda: front.channel, sock=ours)
            command = (*_COMMAND, str(their_lane.fileno()))
            inherited = (their_lane.fileno(), *self._files.inherited)
            try:
                front.process = await asyncio.shield(
                    call_on_thread(partial(_spawn, command, theirs.fileno(), inherited))
                )
            except OSError as error:
                front.end()
                raise FrontUnstartableError(error.strerror or type(error).__name__) from error
        try:
            front.channel.send(Kind.START, self._start_content())
            if self._is_locked:
                front.doing.append(self._loop.create_future())
                front.channel.send(Kind.LOCK)
            async with asyncio.timeout(_START_SECONDS_MAX):
                await front.ready
        except (FrontUnstartableError, TimeoutError) as error:
            front.end()
            self._watch_end(front)
            message = "it ended, or did not come to serve"
            raise FrontUnstartableError(message) from error
        except BaseException:
            front.end()
            raise
        return front

    def _take_in(self, front: _Front) -> None:
        """Give it connections, until it is gone."""
        front.is_serving = True
        self._fronts.append(front)
        self._start_task(self._watch(front))
        self._tell_others()
        self._look_for_places()

    async def _watch(self, front: _Front) -> None:
        await asyncio.shield(front.lost)
        process = front.process
        assert process is not None
        front.end()
        code = await call_on_thread(process.wait)
        was_serving = front in self._fronts
        for fronts in (self._fronts, self._retired):
            if front in fronts:
                fronts.remove(front)
        if front.figures:
            self.events.ended(front.figures)
        self.note_counts(front)
        if was_serving and not self._is_stopping:
            self.events.died(process.pid, code)
            await self._replace(self._loop.time() - front.begun_at)

    async def _replace(self, seconds: float) -> None:
        pause = 0.0 if seconds > _PROVEN_SECONDS else _PAUSE_SECONDS_MIN
        while not self._is_stopping and len(self._fronts) < self._count:
            await asyncio.sleep(pause)
            try:
                front = await self._start_front()
            except FrontUnstartableError as error:
                self.events.unstartable(str(error))
                pause = min(max(2 * pause, _PAUSE_SECONDS_MIN), _PAUSE_SECONDS_MAX)
                continue
            if len(self._fronts) >= self._count:
                # The others were renewed meanwhile.
                front.end()
                self._watch_end(front)
                return
            self._take_in(front)

    def _retire(self, front: _Front, reason: bytes) -> None:
        front.is_serving, front.is_retired = False, True
        if front in self._fronts:
            self._fronts.remove(front)
            self._retired.append(front)
        front.channel.send(Kind.STOP, reason)

    def _watch_end(self, front: _Front) -> None:
        if front.process is not None:
            call_on_thread(front.process.wait)

    def _start_task(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._note_task)

    def _note_task(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            assert isinstance(error, Exception)
            self.events.bug(error)

    # Connections.

    def _look_for_places(self) -> None:
        """Accept as long as there is somebody to give connections to."""
        is_possible = not self._is_stopping and any(front.is_serving for front in self._fronts)
        for listener in self._listeners:
            if is_possible and listener not in self._accepting:
                self._accepting.add(listener)
                self._loop.add_reader(listener, self._accept, listener)
            elif not is_possible and listener in self._accepting:
                self._pause(listener)

    def _pause(self, listener: socket.socket) -> None:
        self._accepting.discard(listener)
        self._loop.remove_reader(listener)

    def _accept(self, listener: socket.socket) -> None:
        word = self._listeners[listener]
        for _ in range(_ACCEPTED_PER_TURN):
            try:
                accepted, _address = listener.accept()
            except (BlockingIOError, ConnectionError):
                return
            except OSError:
                self._pause(listener)
                self._loop.call_later(_ACCEPT_AGAIN_SECONDS, self._look_for_places)
                return
            # There is one: else nobody would be accepted.
            serving = [front for front in self._fronts if front.is_serving]
            front = min(serving, key=lambda each: each.connections)
            front.connections += 1
            front.lane.send(word, accepted)


def _settle(waiting: Iterable[asyncio.Future[None]]) -> None:
    for future in tuple(waiting):
        if not future.done():
            future.set_result(None)
    if isinstance(waiting, list):
        waiting.clear()


def _spawn(
    command: Sequence[str], channel: int, inherited: Sequence[int]
) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(  # noqa: S603 - the command is ours
        command,
        stdin=channel,
        stdout=subprocess.DEVNULL,
        env=environment_without_secrets(),
        pass_fds=inherited,
    )
