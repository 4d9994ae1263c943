"""Breaks: moments in which others have a turn while somebody does something that takes long.

Whoever does it asks between its steps, each of which takes some milliseconds at most. On a thread
it matters too: one that computes keeps the interpreter's lock for five milliseconds whenever the
event loop has let go of it, which the loop does several times for each request.
"""

import asyncio
import time
from time import perf_counter
from typing import Final

# So long nobody else has a turn: on the event loop, and on a thread.
_SECONDS: Final = 0.004
_THREAD_SECONDS: Final = 0.001

# Enough for the event loop to get the lock, if it waits for it.
_REST_SECONDS: Final = 0.0002


class Breaks:
    """When the next break is due, for one piece of work on the event loop."""

    def __init__(self) -> None:
        """Begin to work."""
        self._due_at = perf_counter() + _SECONDS

    @property
    def is_due(self) -> bool:
        """Whether others have waited for long enough."""
        return perf_counter() >= self._due_at

    async def take_if_due(self) -> None:
        """Let others have their turn, if they have waited for long enough."""
        if self.is_due:
            await asyncio.sleep(0)
            self._due_at = perf_counter() + _SECONDS


class Rests:
    """The same for work on a thread."""

    def __init__(self) -> None:
        """Begin to work."""
        self._due_at = perf_counter() + _THREAD_SECONDS

    def take_if_due(self) -> None:
        """Let go of the interpreter's lock for a moment, if it was held for long enough."""
        if perf_counter() >= self._due_at:
            time.sleep(_REST_SECONDS)
            self._due_at = perf_counter() + _THREAD_SECONDS
