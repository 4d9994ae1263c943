"""Looks now and then whether the batch that is on its way to the disk gets there.

A disk that fails says so, and one that is full, too. One that hangs, such as that of a machine in
the network which is gone, says nothing for as long as it likes, and whoever waits for it waits in
the system. So it is said here that a commit hangs, while it does, and when it has ended.
What is left to others: what new writes are told meanwhile (`writer`).
"""

import asyncio
from collections.abc import Callable
from typing import Final

from everlog.service.writing.figures import CommitFigures

# A disk that works ends a sync in less, however busy it is; and many clients give up soon after.
HANGS_AFTER_SECONDS: Final = 10.0
_SAID_AGAIN_SECONDS: Final = 60.0

_LOOK_SECONDS: Final = 1.0


class CommitWatch:
    """Watches the commits of one writer by its figures, from the event loop's thread."""

    def __init__(
        self,
        figures: CommitFigures,
        *,
        loop: asyncio.AbstractEventLoop,
        on_hanging: Callable[[float], None],
        on_resumed: Callable[[float], None],
    ) -> None:
        """Begin to look; tell for how many seconds a commit has hung: once, and each minute."""
        self._figures: Final = figures
        self._loop: Final = loop
        self._on_hanging: Final = on_hanging
        self._on_resumed: Final = on_resumed
        # When the commit set out that hangs, None while none does; and when to say so again.
        self._hangs_since: float | None = None
        self._due_at = 0.0
        self._timer = loop.call_later(_LOOK_SECONDS, self._look)

    def stop(self) -> None:
        """Look no more."""
        self._timer.cancel()

    def _look(self) -> None:
        self._timer = self._loop.call_later(_LOOK_SECONDS, self._look)
        now, begun_at = self._loop.time(), self._figures.begun_at
        since = self._hangs_since
        if since is not None and begun_at != since:
            self._hangs_since = None
            self._on_resumed(now - since)
        elif since is None and begun_at is not None and now - begun_at >= HANGS_AFTER_SECONDS:
            self._hangs_since = begun_at
            self._figures.is_hanging = True
            self._say(now - begun_at, now)
        elif since is not None and now >= self._due_at:
            self._say(now - since, now)

    def _say(self, seconds: float, now: float) -> None:
        self._due_at = now + _SAID_AGAIN_SECONDS
        self._on_hanging(seconds)
