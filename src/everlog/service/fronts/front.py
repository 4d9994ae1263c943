"""A front's end: hands on what only the owner can do, and wakes observers of what is new.

Guarantees that each write is answered once, in whatever order the owner tells; and that what a
front is told of a new head, it sees before it tells anybody.
What is left to others: reading (`storage`), HTTP, and how a front is put together
(`front_worker`).
"""

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from everlog.domain.errors import ReadFailedError
from everlog.domain.event import AcceptedEvent, EventCandidate
from everlog.domain.precondition import Precondition
from everlog.service.breaks import Breaks
from everlog.service.fronts.channel import Channel, SocketLane
from everlog.service.fronts.messages import (
    Counts,
    Intent,
    Kind,
    Spent,
    decode_counts,
    decode_spent,
    decode_told,
    encode,
    outcome_of,
)
from everlog.service.fronts.owner import FORWARDED
from everlog.service.observers import Observers
from everlog.service.permits import Permits
from everlog.service.writing.changes import Answer
from everlog.storage.engine import Batch, Head

# What observers are told of at once: about a millisecond.
_EVENTS_AT_ONCE: Final = 128


class FollowedLog(Protocol):
    """A log that another process writes."""

    head: Head

    def catch_up(self) -> bool:
        """Move to the newest head; return whether there was a newer one.

        Raises:
            ReadFailedError: The system refuses to open what is new.
        """

    def events_between(self, start: int, stop: int) -> tuple[list[AcceptedEvent], list[bytes]]:
        """Return events of the head, with their subjects, and their lines; the first of them.

        Raises:
            ReadFailedError: The disk does not give them.
        """


class OwnerLink:
    """The owner, as a front sees it; on the event loop's thread."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        on_frame: Callable[[Kind, bytes], None],
        on_lost: Callable[[], None],
        on_error: Callable[[Exception], None],
    ) -> None:
        """Say nothing yet; `on_frame` is given what is not about writes and allowances."""
        self.channel: Final = Channel(
            loop, on_frame=self._take, on_lost=on_lost, before_send=self._say_more
        )
        self._on_frame: Final = on_frame
        self._on_error: Final = on_error
        self._lane: SocketLane | None = None
        self._number = 0
        self._answers: Final[dict[int, Answer]] = {}
        self._intents: list[Intent] = []
        self._spent: dict[str, tuple[int, int]] = {}
        self._connections_ended = 0
        self._permits: tuple[Permits, Permits] | None = None
        self._counts = Counts(0, 0, 0)
        self._on_spent: Callable[[Spent], None] = lambda _: None

    def take_lane(self, lane: SocketLane) -> None:
        """Take over the way for sockets."""
        self._lane = lane

    def share_permits(
        self, observers: Permits, queries: Permits, *, on_first_observer: Callable[[], None]
    ) -> None:
        """Share with all others how many observers and queries there may be."""
        self._permits = (observers, queries)
        is_observing = False

        def changed() -> None:
            nonlocal is_observing
            if bool(observers.held_count) is not is_observing:
                is_observing = not is_observing
                if is_observing:
                    on_first_observer()
                self.channel.send(Kind.OBSERVING, b"1" if is_observing else b"")
            self.channel.have_turn()

        observers.on_change = changed
        queries.on_change = self.channel.have_turn

    def share_allowances(self, on_spent: Callable[[Spent], None]) -> None:
        """Call this with what clients used up elsewhere."""
        self._on_spent = on_spent

    def write(
        self,
        candidates: Sequence[EventCandidate],
        preconditions: Sequence[Precondition],
        answer: Answer,
    ) -> None:
        """Hand a write on; the answer is called with its outcome, unless the owner goes."""
        if not self._intents:
            self.channel.have_turn()
        self._number += 1
        self._answers[self._number] = answer
        self._intents.append(Intent(self._number, [*candidates], [*preconditions]))

    def spend(self, client: str, *, failures: int = 0, units: int = 0) -> None:
        """Tell all others what a client used up here."""
        before = self._spent.get(client, (0, 0))
        self._spent[client] = (before[0] + failures, before[1] + units)
        self.channel.have_turn()

    def forward(self) -> socket.socket:
        """Return a connection over which the owner answers as it does clients.

        Raises:
            OSError: There are too many open files.
        """
        assert self._lane is not None
        ours, theirs = socket.socketpair()
        self._lane.send(FORWARDED, theirs)
        return ours

    def note_connection_ended(self) -> None:
        """Let the owner know that there is room for another connection."""
        self._connections_ended += 1
        self.channel.have_turn()

    def _say_more(self) -> None:
        channel = self.channel
        if self._intents:
            intents, self._intents = self._intents, []
            channel.send(Kind.INTENTS, encode(intents))
        if self._spent:
            spent = [Spent(client, *counts) for client, counts in self._spent.items()]
            self._spent = {}
            channel.send(Kind.SPENT, encode(spent))
        observers, queries = (
            (0, 0) if self._permits is None else (each.held_count for each in self._permits)
        )
        counts = Counts(self._connections_ended, observers, queries)
        self._connections_ended = 0
        if counts != self._counts:
            self._counts = Counts(0, observers, queries)
            channel.send(Kind.COUNTS, encode(counts))

    def _take(self, kind: Kind, content: bytes) -> None:
        try:
            self._take_frame(kind, content)
        except Exception as error:  # noqa: BLE001 - what comes next is heard all the same.
            self._on_error(error)

    def _take_frame(self, kind: Kind, content: bytes) -> None:
        if kind is Kind.OUTCOMES:
            for told in decode_told(content):
                answer = self._answers.pop(told.number)
                try:
                    answer(outcome_of(told))
                except Exception as error:  # noqa: BLE001 - the others get their answers.
                    self._on_error(error)
        elif kind is Kind.OTHERS:
            counts = decode_counts(content)
            if self._permits is not None:
                observers, queries = self._permits
                observers.others_count, queries.others_count = counts.observers, counts.queries
        elif kind is Kind.SPENT:
            for spent in decode_spent(content):
                self._on_spent(spent)
        else:
            self._on_frame(kind, content)


class Waking:
    """Wakes observers of what another process has written."""

    def __init__(
        self, log: FollowedLog, observers: Observers, loop: asyncio.AbstractEventLoop
    ) -> None:
        """Tell of what comes behind the present head."""
        self._log: Final = log
        self._observers: Final = observers
        self._loop: Final = loop
        # Up to where observers were told.
        self._position = log.head.event_count
        self._is_due = False

    def begin(self) -> None:
        """Tell of what comes from now on: nobody observed until now."""
        self._log.catch_up()
        self._position = self._log.head.event_count
        self._observers.forget_recent()

    def note_head(self) -> None:
        """Take note that there may be a new head."""
        self._log.catch_up()
        if not self._is_due:
            self._tell()

    def _tell(self) -> None:
        self._is_due = False
        stop = self._log.head.event_count
        if not self._observers.permits.held_count:
            # Who comes later begins anew.
            return
        breaks = Breaks()
        while self._position < stop:
            self._publish(self._position, min(self._position + _EVENTS_AT_ONCE, stop))
            if breaks.is_due and self._position < stop:
                self._is_due = True
                self._loop.call_soon(self._tell)
                return

    def _publish(self, start: int, stop: int) -> None:
        try:
            events, lines = self._log.events_between(start, stop)
        except ReadFailedError:
            # Whoever is woken meets it, too, and tells.
            self._observers.forget_recent()
            self._observers.wake_all()
            self._position = stop
            return
        self._observers.publish(Batch(start, events, lines, (), self._log.head))
        self._position = start + len(events)
