"""The page and the lines that show what operations take."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from benchmarks.calls.server import Calls, Counted
from benchmarks.report.markdown import table

# By operation, in the order in which they are shown.
Measured = Mapping[str, Counted]

_INTRODUCTION: Final = """# Calls

Made by `{command}`; do not change it by hand.
[How it is counted](README.md#the-calls) says what the figures mean.
"""

# The paths that most changes are about.
_SHOWN: Final = ("write of one event", "read of ten events", "recursive read of 30 events")

# What happens now and then beside each request makes it a little more than one.
_ONCE_MAX: Final = 1.5


def render_line(name: str, counted: Counted) -> str:
    """Return one operation in a line, under `HEADING`."""
    loop, threads, everything = counted.loop, counted.threads, counted.all
    return (
        f"{name:<40}{loop.count('own'):>7.1f}{len(loop.files):>7}"
        f"{threads.count('own'):>9.1f}{len(threads.files):>7}{len(everything.files):>10}"
        f"{everything.count('compiled'):>10.1f}{everything.count('library'):>9.1f}"
    )


HEADING: Final = (
    f"{'calls of one request':<40}{'loop':>7}{'files':>7}{'threads':>9}{'files':>7}"
    f"{'all files':>10}{'compiled':>10}{'library':>9}"
)


def render_calls(counted: Counted, *kinds: str) -> Iterator[str]:
    """Yield each function that was called, in order."""
    for thread, calls in (("loop", counted.loop), ("threads", counted.threads)):
        for row in calls.rows:
            if row.kind in kinds:
                called = f"    -> {row.called}" if row.called else row.function
                yield f"{thread:>8}{row.count:>8.2f}  {row.file}:{row.line}: {called}"


def render_files(counted: Counted) -> Iterator[str]:
    """Yield the files that were crossed, in order."""
    for thread, calls in (("loop", counted.loop), ("threads", counted.threads)):
        if calls.files:
            yield f"{thread:>8}  " + ", ".join(calls.files)


def render_page(
    machine: Mapping[str, str], now: Measured, before: Measured | None, *, command: str
) -> str:
    """Return the page: what there was before beside what there is, and the ways of the latter."""
    sections = [
        _INTRODUCTION.format(command=command),
        table(("what", "which"), machine.items()).replace("---:", "---"),
        *_summary("The event loop's thread", lambda counted: counted.loop, now, before),
        *_summary("All threads", lambda counted: counted.all, now, before),
    ]
    for name in _SHOWN:
        if name in now:
            sections += [
                f"## Way of a {name}\n",
                table(("file", "calls"), _way(now[name])).replace("---:", "---"),
            ]
    return "\n".join(sections)


def _summary(
    title: str, choose: Callable[[Counted], Calls], now: Measured, before: Measured | None
) -> Iterator[str]:
    sides = [side for side in (before, now) if side is not None]
    names = ("before, ", "now, ") if before is not None else ("",)
    columns: list[tuple[str, Callable[[Calls], float]]] = [
        ("calls", lambda calls: calls.count("own")),
        ("files", lambda calls: len(calls.files)),
        ("of compiled functions", lambda calls: calls.count("compiled")),
        ("of libraries in Python", lambda calls: calls.count("library")),
    ]
    head = [f"{name}{column}" for column, _ in columns for name in names]
    rows = []
    for operation in now:
        calls = [choose(side[operation]) for side in sides]
        rows.append((operation, *(_number(count(each)) for _, count in columns for each in calls)))
    yield f"## {title}\n"
    yield table(("operation", *head), rows)


def _way(counted: Counted) -> Iterator[tuple[str, str]]:
    """Yield the files that are crossed, each with what is called there, in order."""
    for thread, calls in (("", counted.loop), (", on a thread", counted.threads)):
        for file in calls.files:
            called = (
                f"`{row.function}`" + (f" x {row.count:.0f}" if row.count > _ONCE_MAX else "")
                for row in calls.often("own")
                if row.file == file
            )
            yield f"`{file}`{thread}", ", ".join(called)


def _number(value: float) -> str:
    return f"{value:,.1f}".removesuffix(".0")
