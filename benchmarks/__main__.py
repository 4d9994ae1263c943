"""The command: `python -m benchmarks`."""

import argparse
import json
import os
import platform
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.crowds import measure_idle_connections, measure_observers, measure_slow_readers
from benchmarks.figures import Figure, render, take_medians
from benchmarks.opening import measure_opening
from benchmarks.reads import measure_first_byte, measure_small_reads, measure_whole_log
from benchmarks.workbench import LONG, NORMAL, QUICK, Scale, Workbench, prepare
from benchmarks.writes import (
    measure_batch_writes,
    measure_growth,
    measure_small_writes,
    measure_write_latency,
)
from tools.system_packages import main as provide_programs

# In this order: growth leaves its logs larger than it found them.
BENCHMARKS: dict[str, Callable[[Workbench], Iterator[Figure]]] = {
    "small-writes": measure_small_writes,
    "write-latency": measure_write_latency,
    "batch-writes": measure_batch_writes,
    "whole-log": measure_whole_log,
    "small-reads": measure_small_reads,
    "first-byte": measure_first_byte,
    "observers": measure_observers,
    "idle-connections": measure_idle_connections,
    "slow-readers": measure_slow_readers,
    "opening": measure_opening,
    "growth": measure_growth,
}

_EPILOGUE = """benchmarks:
{list}

Each figure stands beside a reference that is measured in the same run on the same machine, and the
ratio of both beside the bar that Everlog is to reach. A missed bar is shown and fails nothing:
who knows what else the machine does. Neither servers nor clients are pinned to cores.

examples:
  python -m benchmarks                                  all of them, about five minutes
  python -m benchmarks --only small-writes --repeat 3   one of them, medians of three runs
  python -m benchmarks --long --only opening            with a log of 10 million events, 6 GB
  python -m benchmarks --quick                          only to see whether they work
"""


def main() -> None:
    """Measure what is asked for, and print each figure as soon as it is known."""
    options = _parser().parse_args()
    provide_programs()
    scale = _scale(quick=options.quick, long=options.long)
    print(
        f"Python {platform.python_version()}, {os.cpu_count()} processors, nothing pinned, "
        f"load {os.getloadavg()[0]:.1f}",
        flush=True,
    )
    figures: dict[str, list[Figure]] = {}
    with prepare(scale) as bench:
        for name in options.only or BENCHMARKS:
            runs = [_run(name, bench) for _ in range(options.repeat)]
            medians = take_medians(runs)
            if options.repeat > 1:
                print(f"medians of {options.repeat}:")
                for figure in medians:
                    print(f"  {render(figure)}", flush=True)
            figures[name] = medians
    if options.json is not None:
        content = {name: [figure.as_json() for figure in of] for name, of in figures.items()}
        options.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _run(name: str, bench: Workbench) -> list[Figure]:
    figures = []
    for figure in BENCHMARKS[name](bench):
        print(render(figure), flush=True)
        figures.append(figure)
    return figures


def _parser() -> argparse.ArgumentParser:
    listed = "\n".join(f"  {name:<18}{kind.__doc__}" for name, kind in BENCHMARKS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure Everlog against references of the same machine.",
        epilog=_EPILOGUE.format(list=listed),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=tuple(BENCHMARKS),
        metavar="NAME",
        help="only this benchmark; may be repeated",
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="tiny sizes; the figures mean nothing")
    size.add_argument("--long", action="store_true", help="logs of 10 million events too")
    parser.add_argument(
        "--repeat", type=int, default=1, metavar="N", help="run each N times, print the medians"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file too")
    return parser


def _scale(*, quick: bool, long: bool) -> Scale:
    if quick:
        return QUICK
    return LONG if long else NORMAL


if __name__ == "__main__":
    main()
