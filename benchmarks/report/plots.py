"""The plots: `python -m benchmarks.report.plots record.json`, in the benchmarks' environment.

They are written beside the record. A store has the same colour and mark in all of them.
"""

import json
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.report.record import (
    Record,
    connections_of,
    figures_of,
    find,
    growth_costs,
    key_of,
    name_of,
    stores_of,
)

# Known in the benchmarks' environment only.
_pyplot: Any = None

_COLOURS = {
    "everlog": "#d62728",
    "umadb": "#1f77b4",
    "postgres": "#2ca02c",
    "postgres-recorder": "#8c564b",
    "sqlite-recorder": "#9467bd",
    "nats": "#ff7f0e",
}
_MARKS = {
    "everlog": "o",
    "umadb": "s",
    "postgres": "^",
    "postgres-recorder": "v",
    "sqlite-recorder": "D",
    "nats": "P",
}
_THROUGHPUTS = (
    ("write", "Writes of 1 event"),
    ("write_100", "Writes of 100 events"),
    ("read_subject", "Reads of a subject of 10 events"),
)
_SHARES = ("p50", "p90", "p95", "p99", "p99.9")
# Each panel: its title, the unit of its axis, and how the names of its costs end.
_GROWTH_PLOTS = (
    ("Time for each, 64 connections", "us", "(us)"),
    ("Processor time of the server for each", "us", "processor (us)"),
    ("Opening after a clean stop", "s", "(s)"),
    ("Memory of the server", "MB", "(MB)"),
)
# Above the highest point, so that the legend covers nothing.
_HEADROOM = 1.45

_DOTS_PER_INCH = 110


def main() -> None:
    """Draw all plots that the record has figures for."""
    global _pyplot  # noqa: PLW0603 - imported once, and only where plots are drawn.
    path = Path(sys.argv[1])
    record = json.loads(path.read_text(encoding="utf-8"))
    matplotlib: Any = import_module("matplotlib")
    matplotlib.use("Agg")
    _pyplot = import_module("matplotlib.pyplot")
    draw_throughput(record, path.with_name("throughput.png"))
    draw_latency(record, path.with_name("latency.png"))
    draw_growth(record, path.with_name("growth.png"))


def draw_throughput(record: Record, path: Path) -> None:
    """Draw throughput over connections, a panel for each work."""
    works = [(work, title) for work, title in _THROUGHPUTS if figures_of(record, work)]
    if not works:
        return
    figure, axes = _pyplot.subplots(1, len(works), figsize=(4.6 * len(works), 5.2), squeeze=False)
    for axis, (work, title) in zip(axes[0], works, strict=True):
        all_connections = connections_of(record, work)
        for store in stores_of(record, work):
            found = [find(record, work, store, connections=each) for each in all_connections]
            points = [(each["connections"], each["value"]) for each in found if each is not None]
            _draw_line(axis, record, store, points)
        axis.set_title(title)
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.set_xticks(all_connections, [str(each) for each in all_connections])
        axis.set_xlabel("connections")
        axis.grid(visible=True, which="both", alpha=0.25)
        _label_thousands(axis)
    axes[0][0].set_ylabel("events per second")
    _finish(figure, axes[0], path)


def draw_latency(record: Record, path: Path) -> None:
    """Draw latency by percentile, a panel for each rate of arrivals."""
    figures = figures_of(record, "arrivals")
    rates = sorted({figure["details"]["rate"] for figure in figures})
    if not rates:
        return
    figure, axes = _pyplot.subplots(1, len(rates), figsize=(6.2 * len(rates), 5.2), squeeze=False)
    for axis, rate in zip(axes[0], rates, strict=True):
        for measured in figures:
            if measured["details"]["rate"] == rate:
                values = [measured["details"][f"{share}_ms"] for share in _SHARES]
                points = list(enumerate(values))
                _draw_line(axis, record, measured["store"], points)
        axis.set_title(f"{rate:,.0f} writes of 1 event arrive a second")
        axis.set_yscale("log")
        axis.set_xticks(range(len(_SHARES)), [f"{share[1:]} %" for share in _SHARES])
        axis.set_xlabel("share of the writes that are answered by then")
        axis.grid(visible=True, which="both", alpha=0.25)
        _label_thousands(axis)
    axes[0][0].set_ylabel("latency from the intended start, ms")
    _finish(figure, axes[0], path)


def draw_growth(record: Record, path: Path) -> None:
    """Draw what things cost over the size of the log, a panel for each kind of cost."""
    costs = growth_costs(record)
    if not costs:
        return
    figure, axes = _pyplot.subplots(2, 2, figsize=(11, 8))
    for axis, (title, unit, ending) in zip(axes.flat, _GROWTH_PLOTS, strict=True):
        highest = 0.0
        for name, values in costs.items():
            is_of_cpu = name.endswith("processor (us)")
            if not name.endswith(ending) or (ending == "(us)" and is_of_cpu):
                continue
            label = name.removesuffix(f" {ending}").removesuffix(":")
            counts = sorted(values)
            axis.plot(counts, [values[count] for count in counts], marker="o", label=label)
            axis.set_xticks(counts, [_short(count) for count in counts])
            highest = max(highest, *values.values())
        axis.set_title(title)
        axis.set_xlabel("events in the log")
        axis.set_ylabel(unit)
        axis.set_ylim(0, highest * _HEADROOM)
        axis.grid(visible=True, alpha=0.25)
        axis.legend(loc="upper left", fontsize="small", frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=_DOTS_PER_INCH)


def _draw_line(
    axis: Any, record: Record, store: str, points: Sequence[tuple[float, float]]
) -> None:
    key = key_of(record, store)
    is_compiled = store != key
    axis.plot(
        [x for x, _ in points],
        [y for _, y in points],
        label=name_of(record, store),
        color=_COLOURS.get(key),
        marker=_MARKS.get(key),
        linestyle="--" if is_compiled else "-",
        markerfacecolor="white" if is_compiled else None,
        linewidth=2.4 if key == "everlog" else 1.5,
    )


def _finish(figure: Any, axes: Sequence[Any], path: Path) -> None:
    """Put one legend for all panels below them, and write the file."""
    entries: dict[str, Any] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    columns = min(len(entries), 4)
    rows = -(-len(entries) // columns)
    room = 0.045 * rows + 0.02
    figure.tight_layout(rect=(0, room, 1, 1))
    figure.legend(
        entries.values(), entries.keys(), loc="lower center", ncols=columns, frameon=False
    )
    figure.savefig(path, dpi=_DOTS_PER_INCH)


def _label_thousands(axis: Any) -> None:
    """Label 1, 2 and 5 of each power of ten: one power alone may have a single label."""
    ticker: Any = import_module("matplotlib.ticker")
    axis.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.yaxis.set_minor_formatter(ticker.NullFormatter())


def _short(count: int) -> str:
    return f"{count / 1e6:g} M" if count >= 1_000_000 else f"{count:,}"


if __name__ == "__main__":
    main()
