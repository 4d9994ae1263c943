"""Standing queries: a precondition's answer, kept up to date while events come.

A query may take seconds, and the writer must not wait for it. So it is evaluated on a head, off
the writer's thread; what came since is taken in step by step, and the last few events at the
write's own place in the log, by the writer. An aggregated query counts them in. Any other is told
by its plan whether they matter; where they do, it is stale and has to be evaluated anew.
"""

from collections.abc import Callable
from typing import Final

from everlog.domain.errors import EverlogError
from everlog.storage.engine import Head


class StaleQueryError(EverlogError):
    """Events came that may change the answer of a query: it has to be evaluated anew.

    `is_quick` tells whether that takes a few milliseconds only.
    """

    def __init__(self, *, is_quick: bool) -> None:
        super().__init__("events have come that may change the answer of the query")
        self.is_quick: Final = is_quick


class StandingQuery:
    """The answer to a query as of a position in the log."""

    def __init__(
        self,
        *,
        head: Head,
        take: Callable[[bytes], bool],
        answer: Callable[[], bool],
        sees_event_types: bool,
        is_quick: bool,
    ) -> None:
        """Begin at a head.

        `take` takes in stored lines and tells whether the answer is still known; `answer` tells
        whether it is TRUE. Both may raise a `RefusedError`, whose details locate the precondition.
        """
        self._take: Final = take
        self._answer: Final = answer
        self._sees_event_types: Final = sees_event_types
        self._is_quick: Final = is_quick
        self._event_type_count: Final = head.event_type_count
        self._is_lost = False
        # Up to before which position events have been taken in.
        self.position = head.event_count

    def advance(self, lines: bytes, tip: Head) -> None:
        """Take in the stored lines from `position` up to the end of a head.

        Raises:
            StaleQueryError: They may change the answer, nobody knows how.
            RefusedError: The query cannot be evaluated with them.
        """
        if self._is_lost:
            raise StaleQueryError(is_quick=self._is_quick)
        # A schema makes an event type known without an event.
        has_new_type = self._sees_event_types and tip.event_type_count != self._event_type_count
        # Until all of them are taken in: who fails halfway has counted some, nobody knows which.
        self._is_lost = True
        if has_new_type or (lines and not self._take(lines)):
            raise StaleQueryError(is_quick=self._is_quick)
        self._is_lost = False
        self.position = tip.event_count

    def forget(self, head: Head) -> None:
        """Do without what was taken in from behind a head, where others' events stand now."""
        if self.position > head.event_count:
            # It cannot be taken out again.
            self._is_lost = True

    def is_true(self) -> bool:
        """Tell whether the answer is TRUE.

        Raises:
            RefusedError: It is neither TRUE nor FALSE.
        """
        return self._answer()
