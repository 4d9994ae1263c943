"""Breaks: moments in which others have a turn while the event loop does something that takes long.

Whoever does it asks between its steps, each of which takes less than a few milliseconds.
"""

import asyncio
from time import perf_counter
from typing import Final

# So long nobody else has a turn.
_SECONDS: Final = 0.004


class Breaks:
    """When the next break is due, for one piece of work."""

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
