"""The command: `python -m benchmarks.loop_time [--base REVISION]`."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.revisions import ROOT, checked_out

# Of all times, sorted, the one that is better than nearly all: the very best is luck.
_BEST_SHARE = 0.05

# By name and connections, the seconds of the loop's thread and of all threads for each request.
_Times = dict[tuple[str, int], list[tuple[float, float]]]


def main() -> None:
    """Measure one or two revisions, in turns, and print each work."""
    options = _parser().parse_args()
    with ExitStack() as resources:
        sources = {}
        if options.base is not None:
            sources["before"] = resources.enter_context(checked_out(options.base)) / "src"
        sources["now"] = options.checkout.resolve() / "src"
        times: dict[str, _Times] = {side: {} for side in sources}
        for _ in range(options.rounds):
            for side, folder in sources.items():
                _run(folder, times[side], options)
    columns = [*times, *(["ratio"] if len(times) > 1 else [])]
    head = "".join(f"{column:>9}" for column in columns)
    print(f"{'us for each request':<32}{'loop:':>7}{head}{'all:':>7}{head}")
    for name, connections in times["now"]:
        line = f"{name + f' x {connections}':<32}"
        for threads in (0, 1):
            of_sides = [
                [seconds[threads] for seconds in of[(name, connections)]] for of in times.values()
            ]
            line += f"{'':7}{_columns(of_sides)}"
        print(line)


def _columns(of_sides: Sequence[Sequence[float]]) -> str:
    best = [sorted(seconds)[int(len(seconds) * _BEST_SHARE)] for seconds in of_sides]
    ratio = f"{best[0] / best[1]:9.2f}" if len(best) > 1 else ""
    return "".join(f"{seconds * 1e6:9.2f}" for seconds in best) + ratio


def _run(sources: Path, times: _Times, options: argparse.Namespace) -> None:
    command = [sys.executable, "-m", "benchmarks.loop_time.server", str(options.times)]
    done = subprocess.run(
        [*command, *options.flags.split()],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(sources)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    for line in done.stdout.splitlines():
        entry = json.loads(line)
        if entry["message"] == "measured":
            key = (entry["name"], entry["connections"])
            times.setdefault(key, []).extend(map(tuple, entry["seconds"]))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.loop_time",
        description="Measure how long the event loop's thread works for a request; ratios above "
        "one say how many times as fast it is now.",
    )
    parser.add_argument("--base", metavar="REVISION", help="measure its sources, too, in turns")
    parser.add_argument(
        "--checkout", type=Path, default=ROOT, metavar="FOLDER", help="whose sources are now"
    )
    parser.add_argument("--rounds", type=int, default=4, metavar="N", help="new processes so often")
    parser.add_argument("--times", type=int, default=100, metavar="N", help="requests of a client")
    parser.add_argument("--flags", default="", metavar="FLAGS", help="more flags of the server")
    return parser


if __name__ == "__main__":
    main()
