"""What the turns of both came to, and the line that says so."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Final

from benchmarks.before_after.works import Done, Work

BEFORE: Final = "before"
NOW: Final = "now"
# What serves the whole log as a file.
FILE: Final = "nginx"


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one side did in both its turns of four."""

    rate: float
    cpu_microseconds: float
    times_plain: float | None


def add_up(turns: Sequence[tuple[Done, float]]) -> Share:
    """Return what a side did, of what it did in each turn and the processor time that took."""
    operations = sum(done.operations for done, _ in turns)
    times = [done.times_plain for done, _ in turns if done.times_plain is not None]
    return Share(
        rate=operations / sum(done.seconds for done, _ in turns),
        cpu_microseconds=sum(cpu for _, cpu in turns) / operations * 1e6,
        times_plain=median(times) if times else None,
    )


@dataclass(frozen=True, slots=True)
class Comparison:
    """One work: what each side did in each four turns."""

    name: str
    work: Work
    fours: list[dict[str, Share]] = field(default_factory=list)

    def render(self) -> str:
        """Return the medians, those of the ratios with what the middle half of them is between."""
        parts = [
            f"{self.name:<22}",
            f"{self._median(BEFORE, _rate):>9,.0f} to {self._median(NOW, _rate):>9,.0f}",
            f"{self.work.unit + '/s':<13}",
            f"x {_spread([of[NOW].rate / of[BEFORE].rate for of in self.fours])};",
            f"processor {self._median(BEFORE, _cpu):,.1f} to {self._median(NOW, _cpu):,.1f} us",
            f"x {_spread([_cpu(of[NOW]) / _cpu(of[BEFORE]) for of in self.fours])}",
            *self._plain(),
            *self._file(),
        ]
        return " ".join(parts)

    def _plain(self) -> list[str]:
        """Say how much longer a write took with a condition than without one."""
        if self.work.times_plain_max is None:
            return []
        before, now = ([_times_plain(of[side]) for of in self.fours] for side in (BEFORE, NOW))
        bar = f"(at most {self.work.times_plain_max})"
        return [f"; latency of a plain write x {_spread(before)} to x {_spread(now)} {bar}"]

    def _file(self) -> list[str]:
        """Say how the rates compare with that of a file."""
        if self.work.version is None:
            return []
        before, now = (
            [of[side].rate / of[FILE].rate for of in self.fours] for side in (BEFORE, NOW)
        )
        bar = f"(at least {self.work.version.file_share_min})"
        return [f"; of nginx's rate {_spread(before)} to {_spread(now)} {bar}"]

    def _median(self, side: str, value: Callable[[Share], float]) -> float:
        return median(value(of[side]) for of in self.fours)


def _rate(share: Share) -> float:
    return share.rate


def _cpu(share: Share) -> float:
    return share.cpu_microseconds


def _times_plain(share: Share) -> float:
    assert share.times_plain is not None
    return share.times_plain


def _spread(values: Sequence[float]) -> str:
    # All that is lower or higher tells of the machine; of one value there is no half.
    known = values if len(values) > 1 else [*values, *values]
    low, middle, high = quantiles(known, n=4, method="inclusive")
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"
