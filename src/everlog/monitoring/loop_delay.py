"""How late the event loop is: what every client waits for, whoever holds the loop up.

One thread serves all clients, so that whatever runs there for long makes all of them wait. A timer
tells how long: it is due at regular times, and comes when the loop gets to it.
"""

import asyncio
import time
from typing import Final

from everlog.service.writing.figures import Histogram

# Half of this is missed of each delay on average; ten timers a second cost nothing to speak of.
_INTERVAL_SECONDS: Final = 0.1

# Timers have a resolution of a millisecond. From 50 milliseconds on something is wrong.
_SECONDS_BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)

# For as long at least, and twice as long at most, the longest delay is remembered.
_RECENT_SECONDS: Final = 60.0


class LoopDelay:
    """Measures a loop from `start` to `stop`; on the loop's thread only."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, *, interval_seconds: float = _INTERVAL_SECONDS
    ) -> None:
        """Measure nothing yet."""
        self._loop: Final = loop
        self._interval_seconds: Final = interval_seconds
        # Each delay, in seconds.
        self.seconds: Final = Histogram(_SECONDS_BOUNDS)
        self._timer: asyncio.TimerHandle | None = None
        self._due_at = 0.0
        # The longest one since a moment, and the longest one of the minute before that.
        self._longest = self._longest_before = 0.0
        self._since = time.monotonic()

    @property
    def longest_recent_seconds(self) -> float:
        """The longest delay of the last minute, in seconds."""
        return max(self._longest, self._longest_before)

    def start(self) -> None:
        """Measure from now on."""
        self._since = time.monotonic()
        self._wait()

    def stop(self) -> None:
        """Measure no longer."""
        if self._timer is not None:
            self._timer.cancel()

    def _wait(self) -> None:
        # Not the loop's own time, which stands still while it is held up.
        self._due_at = time.monotonic() + self._interval_seconds
        self._timer = self._loop.call_later(self._interval_seconds, self._note)

    def _note(self) -> None:
        now = time.monotonic()
        seconds = max(now - self._due_at, 0.0)
        self.seconds.add(seconds)
        if now - self._since >= _RECENT_SECONDS:
            self._longest, self._longest_before, self._since = 0.0, self._longest, now
        self._longest = max(self._longest, seconds)
        self._wait()
