"""Figures: what a benchmark says, with its reference and its bar, and how that is printed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import median
from typing import Literal


@dataclass(frozen=True, slots=True)
class Bar:
    """What is to be reached: by the ratio to the reference, or by the value where there is none."""

    kind: Literal["at least", "at most"]
    value: float

    def is_reached(self, value: float) -> bool:
        return value >= self.value if self.kind == "at least" else value <= self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measurement."""

    name: str
    value: float
    unit: str
    reference_name: str = ""
    reference: float | None = None
    bar: Bar | None = None
    # What a reader must know to judge the figure.
    note: str = ""
    # Where several stores do the same: which work, whose, over how many connections, and what
    # else was measured meanwhile.
    work: str = ""
    store: str = ""
    connections: int = 0
    details: Mapping[str, float] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        return None if self.reference is None else self.value / self.reference

    @property
    def is_reached(self) -> bool | None:
        """Whether the bar is reached, None without a bar."""
        if self.bar is None:
            return None
        return self.bar.is_reached(self.value if self.ratio is None else self.ratio)

    def as_json(self) -> dict[str, object]:
        return {**asdict(self), "ratio": self.ratio, "is_reached": self.is_reached}


def at_least(value: float) -> Bar:
    return Bar("at least", value)


def at_most(value: float) -> Bar:
    return Bar("at most", value)


def take_medians(runs: Sequence[Iterable[Figure]]) -> list[Figure]:
    """Return the figures of the first run, their values and references the medians of all runs.

    Bars are judged by the ratio of the medians.
    """
    by_name: dict[str, list[Figure]] = {}
    for run in runs:
        for figure in run:
            by_name.setdefault(figure.name, []).append(figure)
    return [_median(figures) for figures in by_name.values()]


def _median(figures: Sequence[Figure]) -> Figure:
    names = [name for name in figures[0].details if all(name in each.details for each in figures)]
    references = [figure.reference for figure in figures if figure.reference is not None]
    return replace(
        figures[0],
        value=median(figure.value for figure in figures),
        reference=median(references) if references else None,
        details={name: median(each.details[name] for each in figures) for name in names},
        # It tells of one run.
        note=figures[0].note if len(figures) == 1 else "",
    )


def render(figure: Figure) -> str:
    """Return the line of a figure."""
    parts = [f"{figure.name:<62}", f"{_number(figure.value):>11} {figure.unit:<9}"]
    if figure.reference is not None:
        reference = f"{figure.reference_name} {_number(figure.reference)}"
        parts.append(f"{reference:<30} ratio {figure.ratio:5.2f}")
    if figure.bar is not None:
        verdict = "reached" if figure.is_reached else "MISSED"
        parts.append(f"({figure.bar.kind} {_number(figure.bar.value)}: {verdict})")
    if figure.note:
        parts.append(f"[{figure.note}]")
    return " ".join(parts)


def _number(value: float) -> str:
    if value >= 1_000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 100 else f"{value:.2f}"
