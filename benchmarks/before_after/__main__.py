"""The command: `python -m benchmarks.before_after --base REVISION`."""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from shutil import copytree, rmtree

from benchmarks.before_after.comparison import BEFORE, FILE, NOW, Comparison, Turn
from benchmarks.before_after.works import Run, Work, download_file, works
from benchmarks.load import download
from benchmarks.machine import describe_machine
from benchmarks.processes import tree_cpu_seconds
from benchmarks.reads import EVERYTHING, Version
from benchmarks.revisions import ROOT, checked_out, name_of
from benchmarks.servers import Addresses, serve_everlog, serve_nginx
from benchmarks.workbench import NORMAL, Workbench, prepare
from tools.system_packages import main as provide_programs

_EPILOGUE = """Each round starts both revisions anew, on copies of the same log, and gives each work
to one of them at a time: base, now, now, base; in the next round the other way round.
Turns are short, so that what the machine does meanwhile meets both. Printed are the medians of all
fours, with what the middle half of the ratios is between, and the ratio of the best quarters of
each side's turns, which others who use the machine spoil the least.
`.venv` serves both: a base that needs other libraries cannot be measured.

examples:
  python -m benchmarks.before_after --base REVISION
  python -m benchmarks.before_after --base REVISION --works write-64 write-256 --rounds 10
  python -m benchmarks.before_after --base REVISION --flags="--hash-version=2"
"""


def main() -> None:
    """Measure what is asked for, and print each work after each of its rounds."""
    options = _parser().parse_args()
    provide_programs()
    scale = replace(NORMAL, seconds=options.seconds, log_event_counts=(options.events,))
    with ExitStack() as resources:
        bench = resources.enter_context(prepare(scale))
        pair = _Pair(
            bench,
            sources={
                BEFORE: resources.enter_context(checked_out(options.base)) / "src",
                NOW: options.checkout.resolve() / "src",
            },
            flags={BEFORE: options.base_flags.split(), NOW: options.flags.split()},
        )
        machine = describe_machine(bench.folder) | {"before": name_of(options.base)}
        print(", ".join(f"{name}: {value}" for name, value in machine.items()), flush=True)
        comparisons = _chosen(works(bench), options.works)
        files = bench.new_directory("files")
        nginx = resources.enter_context(serve_nginx(files, bench.certificate, answer_size=1))
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds}:", flush=True)
            with pair.serve() as servers:
                for comparison in comparisons:
                    version = comparison.work.version
                    if version is not None:
                        _save_file(files, version, servers[NOW])
                    turns = _turns(servers, nginx if version is not None else None, number)
                    _warm_up(comparison.work, turns, options.seconds)
                    for _ in range(options.fours):
                        comparison.fours.append(_measure(comparison.work, turns, options.seconds))
                    print(f"  {comparison.render()}", flush=True)


def _chosen(all_works: dict[str, Work], names: Sequence[str]) -> list[Comparison]:
    unknown = set(names) - all_works.keys()
    if unknown:
        raise SystemExit(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(all_works)}")
    return [
        Comparison(name, work)
        for name, work in all_works.items()
        if (name in names if names else work.is_usual)
    ]


class _Pair:
    """Both revisions."""

    def __init__(
        self, bench: Workbench, *, sources: dict[str, Path], flags: dict[str, list[str]]
    ) -> None:
        """Take the sources and the flags of each side."""
        self._bench = bench
        self._sources = sources
        self._flags = flags

    @contextmanager
    def serve(self) -> Iterator[dict[str, Addresses]]:
        """Run both, each on a copy of the log that is its own."""
        log = self._bench.filled_log(self._bench.scale.event_count)
        with ExitStack() as resources:
            servers = {}
            for side, sources in self._sources.items():
                folder = self._bench.new_directory(side)
                resources.callback(partial(rmtree, folder))
                servers[side] = resources.enter_context(
                    serve_everlog(
                        copytree(log, folder / "data"),
                        self._bench.certificate,
                        sources=sources,
                        flags=self._flags[side],
                    )
                )
            yield servers


def _save_file(files: Path, version: Version, server: Addresses) -> None:
    """Let nginx serve what a server answers."""
    url = server.plain + version.path
    download(url, method=version.method, body=EVERYTHING, target=files / version.name)


def _turns(
    servers: dict[str, Addresses], nginx: Addresses | None, number: int
) -> list[tuple[str, Addresses]]:
    """Return who has its turn after whom: there and back, and each first in every second round."""
    turns = list(servers.items())
    if number % 2:
        turns.reverse()
    if nginx is not None:
        turns.append((FILE, nginx))
    return [*turns, *reversed(turns)]


def _warm_up(work: Work, turns: Sequence[tuple[str, Addresses]], seconds: float) -> None:
    for side, server in dict(turns).items():
        _run_of(work, side)(server, seconds)


def _measure(
    work: Work, turns: Sequence[tuple[str, Addresses]], seconds: float
) -> dict[str, list[Turn]]:
    done: dict[str, list[Turn]] = {side: [] for side, _ in turns}
    for side, server in turns:
        before = tree_cpu_seconds(server.process_id)
        did = _run_of(work, side)(server, seconds)
        done[side].append(Turn(did, tree_cpu_seconds(server.process_id) - before))
    return done


def _run_of(work: Work, side: str) -> Run:
    if side == FILE and work.version is not None:
        return partial(download_file, work.version)
    return work.run


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.before_after",
        description="Measure the sources beside those of another revision.",
        epilog=_EPILOGUE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--base", required=True, metavar="REVISION", help="what was before")
    parser.add_argument(
        "--checkout", type=Path, default=ROOT, metavar="FOLDER", help="whose sources are now"
    )
    parser.add_argument(
        "--works",
        nargs="+",
        default=[],
        metavar="NAME",
        help="only these; an unknown one lists all",
    )
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="new processes so often")
    parser.add_argument(
        "--fours", type=int, default=4, metavar="N", help="four turns so often in each round"
    )
    parser.add_argument("--seconds", type=float, default=0.3, metavar="S", help="of each turn")
    parser.add_argument(
        "--events", type=int, default=100_000, metavar="N", help="in the log to begin with"
    )
    parser.add_argument("--base-flags", default="", metavar="FLAGS", help="more flags of the base")
    parser.add_argument("--flags", default="", metavar="FLAGS", help="more flags of what is now")
    return parser


if __name__ == "__main__":
    main()
