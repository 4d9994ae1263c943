"""What the turns of both came to, and the line that says so.

Two ways of looking at the same turns: each four by itself, of which the median holds where the
machine is now slow and now fast; and the best quarter of each side's turns, which holds where
others take the machine away most of the time, since they can only make a turn worse.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Final

from benchmarks.before_after.works import Done, Work

BEFORE: Final = "before"
NOW: Final = "now"
# What serves the whole log as a file.
FILE: Final = "nginx"


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side did in one turn."""

    done: Done
    cpu_seconds: float


_Value = Callable[[Turn], float]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One work: the two turns of each side, of each four."""

    name: str
    work: Work
    fours: list[dict[str, list[Turn]]] = field(default_factory=list)

    def render(self) -> str:
        """Return the rates and the processor time of both, and their ratios."""
        before, now = (self._middle(side, _pace) for side in (BEFORE, NOW))
        cpu_before, cpu_now = (self._middle(side, _cpu) * 1e6 for side in (BEFORE, NOW))
        parts = [
            f"{self.name:<22}{1 / before:>9,.0f} to {1 / now:>9,.0f} {self.work.unit + '/s':<13}",
            f"x {self._ratio(BEFORE, _pace, NOW, _pace)};",
            f"processor {cpu_before:,.1f} to {cpu_now:,.1f} us",
            f"x {self._ratio(NOW, _cpu, BEFORE, _cpu)}",
        ]
        if self.work.times_plain_max is not None:
            parts += [
                "; latency of a plain write",
                f"x {self._ratio(BEFORE, _latency, BEFORE, _plain_latency)}",
                f"to x {self._ratio(NOW, _latency, NOW, _plain_latency)}",
                f"(at most {self.work.times_plain_max})",
            ]
        if self.work.version is not None:
            parts += [
                f"; of nginx's rate {self._ratio(FILE, _pace, BEFORE, _pace)}",
                f"to {self._ratio(FILE, _pace, NOW, _pace)}",
                f"(at least {self.work.version.file_share_min})",
            ]
        return " ".join(parts)

    def _middle(self, side: str, value: _Value) -> float:
        return median(_sum(four[side], value) for four in self.fours)

    def _best(self, side: str, value: _Value) -> float:
        """Return the median of the lowest quarter of all turns."""
        values = sorted(value(turn) for four in self.fours for turn in four[side])
        return median(values[: max(len(values) // 4, 1)])

    def _ratio(self, over: str, value: _Value, under: str, other: _Value) -> str:
        ratios = [_sum(four[over], value) / _sum(four[under], other) for four in self.fours]
        # Of one value there is no half.
        known = ratios if len(ratios) > 1 else [*ratios, *ratios]
        low, middle, high = quantiles(known, n=4, method="inclusive")
        best = self._best(over, value) / self._best(under, other)
        return f"{middle:.2f} ({low:.2f} to {high:.2f}, best {best:.2f})"


def _sum(turns: Sequence[Turn], value: _Value) -> float:
    """Return a value of both turns together."""
    operations = sum(turn.done.operations for turn in turns)
    return sum(value(turn) * turn.done.operations for turn in turns) / operations


def _pace(turn: Turn) -> float:
    """Return how many seconds an operation took."""
    return turn.done.seconds / turn.done.operations


def _cpu(turn: Turn) -> float:
    """Return how many seconds of processor time an operation took."""
    return turn.cpu_seconds / turn.done.operations


def _latency(turn: Turn) -> float:
    """Return how many seconds a write took with a condition."""
    return turn.done.median_seconds


def _plain_latency(turn: Turn) -> float:
    """Return how many seconds a write took without one."""
    return turn.done.plain_median_seconds
