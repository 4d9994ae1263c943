"""Figures about the writer's work, counted while it works, for whoever watches the server.

Plain numbers that belong to the event loop's thread: counting happens once per batch, not once per
event, so that it costs nothing that could be measured.
What is left to others: which figures are worrying, and what they are called (monitoring).
"""

from bisect import bisect_left
from typing import Final

# From what a battery-backed disk takes for a sync to what only a broken one does.
_SECONDS_BOUNDS: Final = (
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    10.0,
)

# A write may hold 10,000 events; a batch holds what arrived during one sync.
_EVENTS_BOUNDS: Final = (1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 1_000.0, 10_000.0)

# The weight of the newest batch in the average: the last ten or so decide.
_AVERAGE_WEIGHT: Final = 0.1


class Histogram:
    """How many values were at most so large, for some bounds."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        """Start with no value."""
        assert tuple(sorted(set(bounds))) == bounds
        self.bounds: Final = bounds
        # One more than there are bounds: for the values that are above all of them.
        self.counts: Final = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class CommitFigures:
    """What the writer has brought to the disk since the server was started."""

    def __init__(self) -> None:
        """Start with nothing written."""
        self.events = 0
        self.bytes = 0
        self.schemas = 0
        self.failures = 0
        self.batch_events: Final = Histogram(_EVENTS_BOUNDS)
        # How long it took to write and sync a batch.
        self.seconds: Final = Histogram(_SECONDS_BOUNDS)
        self.average_seconds: float | None = None
        # In the event loop's time: when the last batch became durable, and when the one that is on
        # its way set out, noted by whoever sends it; None where there is none.
        self.ended_at: float | None = None
        self.begun_at: float | None = None
        # Whether that was so long ago that nobody should wait for it, noted by whoever looks.
        self.is_hanging = False

    def fail(self) -> None:
        """Note that it did not get there."""
        self.begun_at, self.is_hanging = None, False
        self.failures += 1

    def end(self, now: float, seconds: float, *, events: int, size: int, schemas: int) -> None:
        """Note that a batch is durable, and how long that took."""
        self.begun_at, self.ended_at, self.is_hanging = None, now, False
        self.events += events
        self.bytes += size
        self.schemas += schemas
        self.batch_events.add(events)
        self.seconds.add(seconds)
        average = self.average_seconds
        self.average_seconds = (
            seconds if average is None else average + _AVERAGE_WEIGHT * (seconds - average)
        )
