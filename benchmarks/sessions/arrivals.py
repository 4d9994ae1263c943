"""Load at a given rate, whether or not the store keeps up: an open loop.

Each operation has a time at which it ought to begin, chosen beforehand. What it took is counted
from that time and not from when a session was free to begin it, so that waiting in line is part
of it, and a store that stalls is not asked less because it stalls.
"""

import time
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate, count
from random import Random

from benchmarks.sessions.works import Operation

# A number for each operation.
Numbers = Iterator[int]
# For each operation, how many seconds it took, and how many events it wrote or read.
Times = Iterator[tuple[float, int]]

# A store that cannot keep up is given this much longer, as a share of the time it had.
_OVERTIME = 1.0


class Arrivals:
    """The times of a run, shared by the sessions of a process, each taking the next."""

    def __init__(self, rate: float, *, seconds: float, seed: int) -> None:
        """Choose times by chance, as independent clients do, the same ones for the same seed."""
        random = Random(seed)
        gaps = (random.expovariate(rate) for _ in range(int(rate * seconds * 2) + 100))
        times = list(accumulate(gaps))
        self._times = times[: bisect_right(times, seconds)]
        self._next = count()
        self.overtime_end = seconds * (1 + _OVERTIME)

    def take(self) -> float | None:
        """Return when the next operation ought to begin; None after the last."""
        # Taking a number is one step of the interpreter: no lock is needed.
        index = next(self._next)
        return self._times[index] if index < len(self._times) else None


def arrive(arrivals: Arrivals, operate: Operation, numbers: Numbers, *, begin: float) -> Times:
    """Yield how long each operation took since it ought to have begun, and its events.

    After the overtime, those that are left have taken at least as long as they waited.
    """
    while (intended := arrivals.take()) is not None:
        now = time.perf_counter() - begin
        if now >= arrivals.overtime_end:
            yield now - intended, 0
            continue
        if now < intended:
            time.sleep(intended - now)
        events = operate(next(numbers))
        yield time.perf_counter() - begin - intended, events
