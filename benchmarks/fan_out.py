"""One writer and many observers, each a connection: how long until all have an event."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from statistics import median
from typing import Any

from benchmarks.drive import WORKERS_MAX, Target, Worker, shares
from benchmarks.figures import Figure
from benchmarks.peers.peer import Peer
from benchmarks.processes import tree_cpu_seconds
from benchmarks.side_by_side import each_peer
from benchmarks.workbench import Workbench

# Between two events, so that the slowest has its rest.
_PAUSE_SECONDS = 1.0
_GIVE_UP_SECONDS = 30.0


def measure_peer_observers(bench: Workbench) -> Iterator[Figure]:
    """Compare how soon all observers have an event that one client writes."""
    count = bench.scale.observers
    events = min(bench.scale.repetitions, 8)

    def measure(peer: Peer) -> Iterator[Figure]:
        if "observe" not in peer.cannot:
            with peer.empty_store(bench.folder) as target:
                delays, cpu = _fan_out(target, observers=count, events=events)
                yield _figure(peer, count, delays, cpu / events)

    return each_peer(bench, measure)


def _figure(peer: Peer, count: int, delays: Sequence[Sequence[float]], cpu: float) -> Figure:
    last = median(max(of_event) for of_event in delays)
    half = median(median(of_event) for of_event in delays)
    return Figure(
        name=f"{count:,} observers have an event after: {peer.name}",
        value=last * 1e3,
        unit="ms",
        work="observe",
        store=peer.key,
        connections=count,
        details={"half_ms": half * 1e3, "server_cpu_ms": cpu * 1e3},
        note=f"half of them after {half * 1e3:.1f} ms; server {cpu * 1e3:.0f} ms of processor",
    )


def _fan_out(target: Target, *, observers: int, events: int) -> tuple[list[list[float]], float]:
    """Return the delays of each event, and the server's processor time for all of them."""
    shared = {"session": target.session, "address": target.address, "event_count": events}
    seconds = events * _PAUSE_SECONDS + _GIVE_UP_SECONDS
    with ExitStack() as stack:
        writer = _start(stack, {**shared, "do": "announce", "pause": _PAUSE_SECONDS})
        crowds = [
            _start(stack, {**shared, "do": "observe", "sessions": own, "seconds": seconds})
            for own in shares(observers, min(WORKERS_MAX, observers))
        ]
        assert target.process_id is not None
        before = tree_cpu_seconds(target.process_id)
        for worker in (*crowds, writer):
            worker.tell("go")
        written = [begin for begin, _ in writer.wait_result()["times"]]
        results = [crowd.wait_result() for crowd in crowds]
        cpu = tree_cpu_seconds(target.process_id) - before
    arrivals = [each for result in results for each in result["arrivals"]]
    if any(len(each) != events for each in arrivals):
        raise RuntimeError(f"an observer of {target.session} did not get its events")
    return [
        [each[number] - begin for each in arrivals] for number, begin in enumerate(written)
    ], cpu


def _start(stack: ExitStack, task: dict[str, Any]) -> Worker:
    worker = Worker(task)
    stack.callback(worker.close)
    worker.wait_ready()
    return worker
