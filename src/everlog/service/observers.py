"""Observers wait here for what concerns them.

An observer is a position in the log, not a queue: it reads up to the head and then waits for the
next batch with an event of its selection. A slow one costs no memory; it catches up from the log.
While there are observers, the latest batches are kept in memory, so that the many who are up to
date need no disk.

Guarantees that who looks at the head and waits at once misses nothing (`observe_events` says why).
Everything here happens on the event loop's thread.
What is left to others: which events those are, and reading what is not kept (`observe_events`).
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from everlog.domain.errors import TooManyObserversError
from everlog.domain.event import AcceptedEvent
from everlog.domain.limits import OBSERVERS_MAX
from everlog.domain.subject import ancestors, is_within
from everlog.service.permits import Permits
from everlog.storage.engine import Batch

# Enough for the batches that arrive while an observer is being woken; more is read from the log.
_RECENT_SIZE_MAX: Final = 4 * 1024 * 1024

# Each is gone through for each observer that is up to date; in more, the index finds what concerns
# one, on a thread.
_RECENT_EVENTS_MAX: Final = 256

# Each has up to 128 ancestors, who are looked up.
_EVENTS_PER_TURN: Final = 128

_Waiters = dict[str, set[asyncio.Future[bool]]]


class Interest(NamedTuple):
    """The subject that an observer looks at, with or without what lies below it."""

    subject: str
    recursive: bool


class Observers:
    """All who wait, by what they wait for, and the latest batches.

    `permits` knows how many observers there are, whether they wait, catch up, or are behind another
    answer on their connection.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, count_max: int = OBSERVERS_MAX) -> None:
        """Start with nobody waiting."""
        self.permits: Final = Permits(count_max, _too_many)
        self._loop: Final = loop
        self._exact: Final[_Waiters] = {}
        self._recursive: Final[_Waiters] = {}
        self._recent: Final[deque[Batch]] = deque()
        self._recent_size = 0
        # The latest question about recent lines (interest, start, stop), and its answer.
        self._question: tuple[Interest, int, int] | None = None
        self._answer: Sequence[bytes] = ()
        self._is_closed = False

    @property
    def is_closed(self) -> bool:
        """Whether the server is going down, so that nobody may wait any longer."""
        return self._is_closed

    def publish(self, batch: Batch) -> None:
        """Wake those whom a batch concerns; its events are in the head by now."""
        if not self.permits.held_count:
            # What is kept for nobody would only take the memory that the next batch can have, which
            # the processor has at hand still.
            self._recent.clear()
            self._recent_size = 0
            return
        if batch.lines:
            self._recent.append(batch)
            self._recent_size += sum(map(len, batch.lines))
            while self._recent_size > _RECENT_SIZE_MAX:
                self._recent_size -= sum(map(len, self._recent.popleft().lines))
        if not self._exact and not self._recursive:
            return
        self._wake_for(batch.events, 0)

    def _wake_for(self, events: Sequence[AcceptedEvent], start: int) -> None:
        """Wake whom events from a place on concern, some in each turn of the loop.

        Who is woken later is told no less: whatever is in the head by then is read.
        """
        stop = start + _EVENTS_PER_TURN
        for event in events[start:stop]:
            self._wake(self._exact, (event.subject,))
            if self._recursive:
                self._wake(self._recursive, (event.subject, *ancestors(event.subject)))
        if stop < len(events):
            self._loop.call_soon(self._wake_for, events, stop)

    def recent_lines(self, interest: Interest, *, start: int, stop: int) -> Sequence[bytes] | None:
        """Return the lines of an interest between two positions, None if they are not kept."""
        # Many who are woken by the same batch ask the same, one after the other.
        question = (interest, start, stop)
        if question != self._question:
            if stop - start > _RECENT_EVENTS_MAX:
                return None
            if not self._recent or self._recent[0].first_position > start:
                return None
            if _end(self._recent[-1]) < stop:
                # Others' batches are in the log before anybody here is told of them.
                return None
            lines: list[bytes] = []
            for batch in reversed(self._recent):
                if _end(batch) <= start:
                    break
                lines[:0] = _lines_of_interest(batch, interest, start, stop)
            self._question, self._answer = question, lines
        return self._answer

    async def wait(self, interest: Interest, *, seconds: float) -> bool:
        """Wait for the next batch that concerns an interest; False after so many seconds.

        Also returns True once the server goes down.
        """
        if self._is_closed:
            return True
        # Nothing is awaited before the future is in its group: a batch that the caller's head does
        # not show yet would be missed.
        waiters = self._recursive if interest.recursive else self._exact
        # Its result says whether there is a batch. Not an exception where the time is over: its
        # traceback refers to this call, which refers to the future, and only a collector ends that.
        future: asyncio.Future[bool] = self._loop.create_future()
        group = waiters.setdefault(interest.subject, set())
        group.add(future)
        timer = self._loop.call_later(seconds, _expire, future)
        try:
            return await future
        finally:
            timer.cancel()
            group.discard(future)
            if not group and waiters.get(interest.subject) is group:
                del waiters[interest.subject]

    def close(self) -> None:
        """Wake everybody; who waits again returns at once."""
        self._is_closed = True
        for waiters in (self._exact, self._recursive):
            self._wake(waiters, tuple(waiters))

    @staticmethod
    def _wake(waiters: _Waiters, subjects: Iterable[str]) -> None:
        for subject in subjects:
            for future in waiters.pop(subject, ()):
                if not future.done():
                    future.set_result(True)


def _end(batch: Batch) -> int:
    """Return the position behind the last event of a batch."""
    return batch.first_position + len(batch.lines)


def _lines_of_interest(batch: Batch, interest: Interest, start: int, stop: int) -> list[bytes]:
    wanted = slice(max(start - batch.first_position, 0), max(stop - batch.first_position, 0))
    pairs = zip(batch.events[wanted], batch.lines[wanted], strict=True)
    if interest.recursive:
        return [line for event, line in pairs if is_within(event.subject, interest.subject)]
    return [line for event, line in pairs if event.subject == interest.subject]


def _expire(future: "asyncio.Future[bool]") -> None:
    if not future.done():
        future.set_result(False)


def _too_many(count_max: int) -> TooManyObserversError:
    return TooManyObserversError(f"there are {count_max} observers already")
