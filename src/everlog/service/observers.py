"""Observers wait here for what concerns them.

An observer is a position in the log, not a queue: it reads up to the head and then waits for the
next batch with an event of its selection. A slow one costs one block; it catches up from the log.
While there are observers, the latest batches are kept in memory, so that the many who are up to
date need no disk.

Guarantees that who looks at the head and waits at once misses nothing (`observe_events` says why);
that however many wait for the same, they are woken some at a time, and others are served in
between; and that what all of them are sent at once is bounded, also if none of them takes it.
Everything here happens on the event loop's thread.
What is left to others: which events those are, and reading what is not kept (`observe_events`).
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from time import perf_counter
from typing import Final, NamedTuple

from everlog.domain.errors import TooManyObserversError
from everlog.domain.limits import OBSERVERS_MAX
from everlog.domain.subject import ancestors, is_within
from everlog.service.permits import Permits
from everlog.storage.engine import Batch

# Each that is woken looks at so many events at most, and copies, perhaps signs, and sends up to a
# block. So many are woken at once that this takes some milliseconds, as the last ones showed.
_WOKEN_AT_ONCE_MAX: Final = 64
_WOKEN_SECONDS: Final = 0.01
_LOOKED_AT_ONCE: Final = 1_000

# What an observer is sent at once, one event at least: all of them together so many bytes, and each
# of them no more than what is worth it.
_BLOCKS_SIZE_MAX: Final = 64 * 1024 * 1024
_BLOCK_SIZE_MAX: Final = 64 * 1024
_BLOCK_SIZE_MIN: Final = 8 * 1024

# Enough for the batches that arrive while an observer is being woken; more is read from the log.
_RECENT_SIZE_MAX: Final = 4 * 1024 * 1024

# Each has up to 128 ancestors, who are looked up.
_SUBJECTS_PER_TURN: Final = 128

_Waiters = dict[str, set[asyncio.Future[bool]]]


class Interest(NamedTuple):
    """The subject that an observer looks at, with or without what lies below it."""

    subject: str
    recursive: bool


class Recent(NamedTuple):
    """What an observer is sent at once: lines, and the position in front of which there are all."""

    block: bytes
    stop: int


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
        # The latest question about recent lines (interest, start, stop), and its answer, the lines
        # and the position in front of which there are no others; and what was made of them.
        self._question: tuple[Interest, int, int] | None = None
        self._answer: tuple[Sequence[bytes], int] = ((), 0)
        self._blocks: Final[dict[Callable[[bytes], bytes], bytes]] = {}
        # Who is to be woken, and whether there is a batch or the time is over.
        self._woken: Final[deque[tuple[asyncio.Future[bool], bool]]] = deque()
        self._is_waking = False
        self._woken_at_once = 1
        self._woken_at = 0.0
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
            self.forget_recent()
            return
        if batch.lines:
            self._recent.append(batch)
            self._recent_size += sum(map(len, batch.lines))
            while self._recent_size > _RECENT_SIZE_MAX:
                self._recent_size -= sum(map(len, self._recent.popleft().lines))
        if not self._exact and not self._recursive:
            return
        self._wake_for(tuple(dict.fromkeys(event.subject for event in batch.events)), 0)

    def _wake_for(self, subjects: Sequence[str], start: int) -> None:
        """Wake whom subjects from a place on concern, some in each turn of the loop.

        Who is woken later is told no less: whatever is in the head by then is read.
        """
        stop = start + _SUBJECTS_PER_TURN
        for subject in subjects[start:stop]:
            self._wake(self._exact, (subject,))
            if self._recursive:
                self._wake(self._recursive, (subject, *ancestors(subject)))
        if stop < len(subjects):
            self._loop.call_soon(self._wake_for, subjects, stop)

    def recent(
        self, interest: Interest, *, start: int, stop: int, convert: Callable[[bytes], bytes]
    ) -> Recent | None:
        """Return the lines of an interest between two positions, None if they are not kept.

        Where they are more than is sent at once, or than can be found at once, it is the first of
        them, which may be none. They are converted once for all who ask for the same.
        """
        # Many who are woken by the same batch ask the same, one after the other.
        question = (interest, start, stop)
        if question != self._question:
            if not self._recent or self._recent[0].first_position > start:
                return None
            if _end(self._recent[-1]) < stop:
                # Others' batches are in the log before anybody here is told of them.
                return None
            self._question, self._answer = question, self._find(interest, start, stop)
            self._blocks.clear()
        lines, end = self._answer
        block = self._blocks.get(convert)
        if block is None:
            block = self._blocks[convert] = convert(b"".join(lines)) if lines else b""
        return Recent(block, end)

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
        timer = self._loop.call_later(seconds, self._expire, future)
        try:
            return await future
        finally:
            timer.cancel()
            group.discard(future)
            if not group and waiters.get(interest.subject) is group:
                del waiters[interest.subject]

    async def take_turn(self) -> None:
        """Wait until all who were woken before have gone on."""
        future: asyncio.Future[bool] = self._loop.create_future()
        self._wake_later(future, has_batch=True)
        await future

    def forget_recent(self) -> None:
        """Keep no batch: the next one does not follow the last."""
        self._recent.clear()
        self._recent_size = 0

    def close(self) -> None:
        """Wake everybody; who waits again returns at once."""
        self._is_closed = True
        self.wake_all()

    def wake_all(self) -> None:
        """Wake everybody, to look for themselves."""
        for waiters in (self._exact, self._recursive):
            self._wake(waiters, tuple(waiters))

    def _find(self, interest: Interest, start: int, stop: int) -> tuple[Sequence[bytes], int]:
        batches: list[Batch] = []
        for batch in reversed(self._recent):
            if _end(batch) <= start:
                break
            batches.append(batch)
        share = _BLOCKS_SIZE_MAX // max(self.permits.held_count, 1)
        size_left = min(max(share, _BLOCK_SIZE_MIN), _BLOCK_SIZE_MAX)
        stop = min(stop, start + _LOOKED_AT_ONCE)
        lines: list[bytes] = []
        for batch in reversed(batches):
            for position, line in _lines_of_interest(batch, interest, start, stop):
                size_left -= len(line)
                if size_left < 0 and lines:
                    return lines, position
                lines.append(line)
            if _end(batch) >= stop:
                break
        return lines, stop

    def _wake(self, waiters: _Waiters, subjects: Iterable[str]) -> None:
        for subject in subjects:
            for future in waiters.pop(subject, ()):
                self._woken.append((future, True))
        if self._woken and not self._is_waking:
            self._wake_some()

    def _expire(self, future: "asyncio.Future[bool]") -> None:
        # Those who began to wait together are woken together, too.
        self._wake_later(future, has_batch=False)

    def _wake_later(self, future: "asyncio.Future[bool]", *, has_batch: bool) -> None:
        self._woken.append((future, has_batch))
        if not self._is_waking:
            self._is_waking = True
            self._loop.call_soon(self._wake_some)

    def _wake_some(self) -> None:
        """Wake some of those who are to be woken, and the others when these have gone on."""
        now = perf_counter()
        if self._is_waking:
            is_slow = now - self._woken_at > _WOKEN_SECONDS
            size = self._woken_at_once // 2 if is_slow else self._woken_at_once * 2
            self._woken_at_once = min(max(size, 1), _WOKEN_AT_ONCE_MAX)
        self._woken_at = now
        for _ in range(min(len(self._woken), self._woken_at_once)):
            future, has_batch = self._woken.popleft()
            if not future.done():
                future.set_result(has_batch)
        self._is_waking = bool(self._woken)
        if self._is_waking:
            self._loop.call_soon(self._wake_some)


def _end(batch: Batch) -> int:
    """Return the position behind the last event of a batch."""
    return batch.first_position + len(batch.lines)


def _lines_of_interest(
    batch: Batch, interest: Interest, start: int, stop: int
) -> Iterator[tuple[int, bytes]]:
    first = max(start - batch.first_position, 0)
    wanted = slice(first, max(stop - batch.first_position, 0))
    events, lines = batch.events[wanted], batch.lines[wanted]
    for position, event in enumerate(events, batch.first_position + first):
        subject = event.subject
        if subject == interest.subject or (
            interest.recursive and is_within(subject, interest.subject)
        ):
            yield position, lines[position - batch.first_position - first]


def _too_many(count_max: int) -> TooManyObserversError:
    return TooManyObserversError(f"there are {count_max} observers already")
