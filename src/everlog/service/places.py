"""Places: how many may be busy with the same thing at a time."""

from collections.abc import Callable
from typing import Final, Self

from everlog.domain.errors import BusyError


class Place:
    """What somebody has from when they ask until they have left, however they do so."""

    __slots__ = ("_places",)

    def __init__(self, places: "Places") -> None:
        """Take a place; `Places.enter` knows whether there is one."""
        self._places: Places | None = places

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def leave(self) -> None:
        """Make room for another one; more than once is the same as once."""
        places, self._places = self._places, None
        if places is not None:
            places.present_count -= 1


class Places:
    """A number of places, taken and left on the event loop's thread."""

    def __init__(self, count_max: int, refuse: Callable[[int], BusyError]) -> None:
        """Start empty; `refuse` makes the error for whoever finds all places taken."""
        self.present_count = 0
        self._count_max: Final = count_max
        self._refuse: Final = refuse

    def enter(self) -> Place:
        """Take a place.

        Raises:
            BusyError: There is none left.
        """
        if self.present_count >= self._count_max:
            raise self._refuse(self._count_max)
        self.present_count += 1
        return Place(self)
