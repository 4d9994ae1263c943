"""The command: `python -m benchmarks`."""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.audits import measure_audits, measure_audits_beside_writes
from benchmarks.cluster import measure_cluster
from benchmarks.crowds import measure_idle_connections, measure_observers, measure_slow_readers
from benchmarks.fan_out import measure_peer_observers
from benchmarks.figures import Figure, render, take_medians
from benchmarks.following import measure_following
from benchmarks.growth import measure_growth
from benchmarks.library import measure_library
from benchmarks.machine import describe_machine
from benchmarks.neutral import measure_neutral
from benchmarks.opening import measure_opening
from benchmarks.peers.peer import Peer
from benchmarks.peers.table import OWN, PEERS
from benchmarks.proofs import measure_proofs
from benchmarks.queries import (
    measure_index_queries,
    measure_queries,
    measure_queries_beside_writes,
    measure_query_conditions,
)
from benchmarks.reads import measure_first_byte, measure_small_reads, measure_whole_log
from benchmarks.report.pages import write_report
from benchmarks.side_by_side import (
    measure_peer_arrivals,
    measure_peer_batches,
    measure_peer_conditions,
    measure_peer_reads,
    measure_peer_writes,
)
from benchmarks.starting import measure_starting
from benchmarks.workbench import FAILURES, LONG, NORMAL, QUICK, Scale, Workbench, prepare
from benchmarks.writes import measure_batch_writes, measure_small_writes, measure_write_latency
from tools.bench_environment import prepare as provide_environment
from tools.system_packages import main as provide_programs

# In this order: growth removes the logs that others filled.
BENCHMARKS: dict[str, Callable[[Workbench], Iterator[Figure]]] = {
    "peer-writes": measure_peer_writes,
    "peer-batches": measure_peer_batches,
    "peer-conditions": measure_peer_conditions,
    "peer-arrivals": measure_peer_arrivals,
    "peer-observers": measure_peer_observers,
    "peer-reads": measure_peer_reads,
    "neutral": measure_neutral,
    "small-writes": measure_small_writes,
    "write-latency": measure_write_latency,
    "batch-writes": measure_batch_writes,
    "whole-log": measure_whole_log,
    "small-reads": measure_small_reads,
    "first-byte": measure_first_byte,
    "observers": measure_observers,
    "idle-connections": measure_idle_connections,
    "slow-readers": measure_slow_readers,
    "starting": measure_starting,
    "opening": measure_opening,
    "queries": measure_queries,
    "index-queries": measure_index_queries,
    "query-conditions": measure_query_conditions,
    "queries-beside-writes": measure_queries_beside_writes,
    "proofs": measure_proofs,
    "audits": measure_audits,
    "audits-beside-writes": measure_audits_beside_writes,
    "following": measure_following,
    "library": measure_library,
    "cluster": measure_cluster,
    "growth": measure_growth,
}

# What is measured only where this peer is there, too.
PEERS_NEEDED = {"neutral": "umadb"}

_EPILOGUE = """benchmarks:
{list}

peers: {peers}

The first ones let Everlog and its peers do the same work; the others put Everlog beside what
nobody can be faster than, measured in the same run on the same machine, and the ratio of both
beside the bar that Everlog is to reach. A missed bar is shown and fails nothing: who knows what
else the machine does. Neither servers nor clients are pinned to cores.

examples:
  python -m benchmarks --report docs/benchmarks         all of them, about 20 minutes on two cores
  python -m benchmarks --only small-writes --repeat 3   one of them, medians of three runs
  python -m benchmarks --only peer-writes --peer nats   one of them, with one peer
  python -m benchmarks --long --only growth             with a log of 50 million events, 32 GB
  python -m benchmarks --quick                          only to see whether they work
"""


def main() -> None:
    """Measure what is asked for, and print each figure as soon as it is known."""
    options = _parser().parse_args()
    if options.from_json is not None:
        write_report(options.report, json.loads(options.from_json.read_text(encoding="utf-8")))
        return
    provide_programs()
    peers = _peers(options.peer, is_quick=options.quick)
    if peers != (OWN,) or options.report is not None:
        provide_environment()
    scale = _scale(quick=options.quick, long=options.long)
    begin = time.monotonic()
    figures: dict[str, Sequence[Figure]] = {}
    with prepare(scale, peers) as bench:
        machine = describe_machine(bench.folder)
        print(", ".join(f"{name}: {value}" for name, value in machine.items()), flush=True)
        for name in options.only or _names(peers):
            figures[name] = _run_repeatedly(name, bench, often=options.repeat)
    machine["duration"] = f"{(time.monotonic() - begin) / 60:.0f} minutes"
    record = _record(machine, bench, figures)
    if options.json is not None:
        options.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    if options.report is not None:
        write_report(options.report, record)
    if bench.failures:
        sys.exit("failed: " + "; ".join(bench.failures))


def _names(peers: Sequence[Peer]) -> list[str]:
    keys = {peer.key for peer in peers}
    return [name for name in BENCHMARKS if PEERS_NEEDED.get(name, OWN.key) in keys]


def _run_repeatedly(name: str, bench: Workbench, *, often: int) -> list[Figure]:
    print(f"{name}:", flush=True)
    medians = take_medians([_run(name, bench) for _ in range(often)])
    if often > 1:
        print(f"medians of {often}:")
        for figure in medians:
            print(f"  {render(figure)}", flush=True)
    return medians


def _run(name: str, bench: Workbench) -> list[Figure]:
    figures = []
    try:
        for figure in BENCHMARKS[name](bench):
            print(f"  {render(figure)}", flush=True)
            figures.append(figure)
    except FAILURES as error:
        bench.note_failure(name, error)
    return figures


def _record(
    machine: Mapping[str, str],
    bench: Workbench,
    figures: Mapping[str, Sequence[Figure]],
) -> dict[str, object]:
    """Return everything that a report is made from, as JSON."""
    return {
        "machine": dict(machine),
        "scale": asdict(bench.scale),
        "stores": {
            peer.key: {
                "name": peer.name,
                "version": peer.version(),
                "durability": peer.durability,
                "client": peer.client,
                "remarks": dict(peer.remarks),
                "cannot": dict(peer.cannot),
            }
            for peer in bench.peers
        },
        "failures": list(bench.failures),
        "figures": {name: [figure.as_json() for figure in of] for name, of in figures.items()},
    }


def _parser() -> argparse.ArgumentParser:
    listed = "\n".join(f"  {name:<22}{kind.__doc__}" for name, kind in BENCHMARKS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure Everlog beside its peers, and beside what the machine allows.",
        epilog=_EPILOGUE.format(list=listed, peers=", ".join(PEERS)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=tuple(BENCHMARKS),
        metavar="NAME",
        help="only this benchmark; may be repeated",
    )
    parser.add_argument(
        "--peer",
        action="append",
        choices=tuple(PEERS),
        metavar="NAME",
        help="beside Everlog only this peer; may be repeated; by default all, with --quick none",
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="tiny sizes; the figures mean nothing")
    size.add_argument("--long", action="store_true", help="logs of up to 50 million events too")
    parser.add_argument(
        "--repeat", type=int, default=1, metavar="N", help="run each N times, print the medians"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file too")
    parser.add_argument(
        "--report", type=Path, metavar="FOLDER", help="write a page with plots to a folder too"
    )
    parser.add_argument(
        "--from-json", type=Path, metavar="FILE", help="measure nothing: report what a file says"
    )
    return parser


def _peers(names: Sequence[str] | None, *, is_quick: bool) -> tuple[Peer, ...]:
    if names is None:
        return (OWN,) if is_quick else tuple(PEERS.values())
    return tuple(peer for peer in PEERS.values() if peer is OWN or peer.key in names)


def _scale(*, quick: bool, long: bool) -> Scale:
    if quick:
        return QUICK
    return LONG if long else NORMAL


if __name__ == "__main__":
    main()
