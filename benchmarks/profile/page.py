"""The page of a profile."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.profile.layers import Hit, Stacks, by_library
from benchmarks.report.markdown import number, table

_PLACES_SHOWN = 12
_SYMBOLS_SHOWN = 12
_SHARE_SHOWN_MIN = 0.005

_INTRODUCTION = """# Profile of the hot paths

Made by `make profile`; do not change it by hand.
[How it is measured](README.md#the-profile) says what the shares mean.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class HotPath:
    """What was seen of a hot path."""

    name: str
    unit: str
    rate: float
    rate_while_sampled: float
    cpu_microseconds: float
    # The share of the samples in which a thread held the interpreter.
    busy: float
    stacks: Stacks
    hits: Sequence[Hit]


def render_page(machine: Mapping[str, str], paths: Sequence[HotPath]) -> str:
    """Return the text of the page."""
    rows = [(name, value) for name, value in machine.items()]
    sections = (
        _INTRODUCTION,
        table(("what", "which"), rows).replace("---:", "---"),
        "## Layers\n",
        _layers(paths),
        *(_libraries(paths)),
        *(section for path in paths for section in _path(path)),
    )
    return "\n".join(sections)


def _layers(paths: Sequence[HotPath]) -> str:
    names = sorted({name for path in paths for name in path.stacks.layers})
    names.sort(
        key=lambda name: -sum(path.stacks.layers[name] / path.stacks.total for path in paths)
    )
    rows = [
        (name, *(_share(path.stacks.layers[name] / path.stacks.total) for path in paths))
        for name in names
    ]
    rows.append(("*processor time*", *(_cost(path) for path in paths)))
    return table(("layer", *(path.name for path in paths)), rows)


def _libraries(paths: Sequence[HotPath]) -> Iterator[str]:
    """Yield nothing where there is no perf."""
    shares = [by_library(path.hits) for path in paths]
    names = sorted({name for of in shares for name in of})
    names.sort(key=lambda name: -sum(of.get(name, 0.0) for of in shares))
    rows = [
        (name, *(_share(of.get(name, 0.0)) for of in shares))
        for name in names
        if any(of.get(name, 0.0) >= _SHARE_SHOWN_MIN for of in shares)
    ]
    if rows:
        yield "## Libraries\n"
        yield table(("library", *(path.name for path in paths)), rows)


def _path(path: HotPath) -> Iterator[str]:
    stacks = path.stacks
    yield f"## {path.name}\n"
    yield (
        f"{path.rate:,.0f} {path.unit}s a second, {_cost(path)}; "
        f"some thread held the interpreter in {path.busy:.0%} of the samples; "
        f"while py-spy looked, the rate was {path.rate_while_sampled / path.rate:.0%} as high.\n"
    )
    rows = [
        (f"`{place.path}.py` {place.function}", _share(count / stacks.total))
        for place, count in stacks.places.most_common(_PLACES_SHOWN)
    ]
    yield table(("function", "share"), rows)
    rows = [
        (f"{hit.library}: `{hit.symbol}`", _share(hit.share))
        for hit in sorted(path.hits, key=lambda hit: -hit.share)[:_SYMBOLS_SHOWN]
    ]
    if rows:
        yield table(("compiled function", "share"), rows)


def _cost(path: HotPath) -> str:
    return f"{number(path.cpu_microseconds)} us for each {path.unit}"


def _share(value: float) -> str:
    return f"{value:.1%}".replace("%", " %")
