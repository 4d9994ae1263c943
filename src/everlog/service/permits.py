"""Permits: how many may be busy with the same thing at a time."""

from collections.abc import Callable
from typing import Final, Self

from everlog.domain.errors import BusyError


class Permit:
    """What somebody holds from when they ask until they are done, however that comes."""

    __slots__ = ("_permits",)

    def __init__(self, permits: "Permits") -> None:
        """Hold a permit; `Permits.acquire` knows whether there is one."""
        self._permits: Permits | None = permits

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Give it back; more than once is the same as once."""
        permits, self._permits = self._permits, None
        if permits is not None:
            permits.held_count -= 1
            permits.on_change()


class Permits:
    """A number of permits, acquired and released on the event loop's thread.

    A semaphore that refuses instead of letting wait.
    """

    def __init__(self, count_max: int, refuse: Callable[[int], BusyError]) -> None:
        """Start with all to be had; `refuse` makes the error for whoever finds none left."""
        self.held_count = 0
        # How many are held in other processes that share the number, as far as was heard.
        self.others_count = 0
        self.on_change: Callable[[], None] = _tell_nobody
        self._count_max: Final = count_max
        self._refuse: Final = refuse

    def acquire(self) -> Permit:
        """Acquire a permit.

        Raises:
            BusyError: There is none left.
        """
        if self.held_count + self.others_count >= self._count_max:
            raise self._refuse(self._count_max)
        self.held_count += 1
        self.on_change()
        return Permit(self)


def _tell_nobody() -> None:
    """Nobody shares the number."""
