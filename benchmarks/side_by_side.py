"""The same work for Everlog and its peers, one after the other, by the same kind of client.

Each work goes through all stores before the next one begins, so that whatever else the machine
does hits them alike, and only one server runs at a time. Where a compiled client exists, wrk for
Everlog and pgbench for PostgreSQL, its figures stand beside.
"""

from collections.abc import Callable, Iterator

from benchmarks.compiled import COMPILED
from benchmarks.drive import Outcome, Target, drive
from benchmarks.figures import Figure
from benchmarks.peers.peer import Peer
from benchmarks.peers.table import OWN
from benchmarks.processes import stored_size, tree_resident_size
from benchmarks.syncs import count_syncs
from benchmarks.workbench import FAILURES, Workbench

TITLES = {
    "write": "write one event",
    "write_100": "write 100 events at once",
    "write_pristine": "write if the subject is pristine",
    "write_next": "write if the subject's latest event is known",
    "read_subject": "read a subject of 10 events",
    "read_everything": "read everything",
    "read_recursive": "read 1 % recursively",
    "mixed": "read a subject or write, each as often",
    "arrivals": "writes that arrive at a rate",
    "syncs": "syncs for each write",
    "stored": "stored bytes of an event",
    "memory": "memory after reading",
}

# Whole reads are long, so that a few say enough.
_WHOLE_READS = 2
_RECURSIVE_READS = 20

_CONNECTIONS = 64

# A store gets its threads and its files going before anything counts.
_WARMING_SHARE = 0.2


def measure_peer_writes(bench: Workbench) -> Iterator[Figure]:
    """Compare durable writes of one event, with few and with many connections."""

    def measure(peer: Peer) -> Iterator[Figure]:
        with peer.empty_store(bench.folder) as target:
            yield from _write_over_connections(bench, peer, target, "write")
            yield from _count_syncs(peer, target)

    return each_peer(bench, measure)


def measure_peer_batches(bench: Workbench) -> Iterator[Figure]:
    """Compare durable writes of 100 events at once."""

    def measure(peer: Peer) -> Iterator[Figure]:
        with peer.empty_store(bench.folder) as target:
            yield from _write_over_connections(bench, peer, target, "write_100")

    return each_peer(bench, measure)


def measure_peer_conditions(bench: Workbench) -> Iterator[Figure]:
    """Compare writes that hold only on a condition about their subject."""
    seconds = bench.scale.seconds

    def measure(peer: Peer) -> Iterator[Figure]:
        with peer.empty_store(bench.folder) as target:
            _warm(bench, target, "write_pristine")
            for work in ("write_pristine", "write_next"):
                outcome = drive(target, work, connections=_CONNECTIONS, seconds=seconds)
                yield _figure(peer, work, outcome, _CONNECTIONS)

    return each_peer(bench, measure)


def measure_peer_arrivals(bench: Workbench) -> Iterator[Figure]:
    """Compare latencies of writes that arrive whether or not the store keeps up."""
    seconds = bench.scale.arrival_seconds

    def measure(peer: Peer) -> Iterator[Figure]:
        with peer.empty_store(bench.folder) as target:
            _warm(bench, target, "write")
            for rate in bench.scale.arrival_rates:
                outcome = drive(
                    target, "write", connections=_CONNECTIONS, seconds=seconds, rate=rate
                )
                yield _arrivals_figure(peer, outcome, rate)

    return each_peer(bench, measure)


def measure_peer_reads(bench: Workbench) -> Iterator[Figure]:
    """Compare reading from a large store, and what it keeps for that."""
    event_count = bench.scale.event_count

    def measure(peer: Peer) -> Iterator[Figure]:
        directory = bench.filled_store(peer, event_count)
        yield Figure(
            name=f"{TITLES['stored']}: {peer.name}",
            value=stored_size(directory) / event_count,
            unit="B",
            work="stored",
            store=peer.key,
        )
        with peer.serve(directory) as target:
            yield from _read(bench, peer, target)
        if peer is not OWN:
            bench.remove_store(peer, event_count)

    return each_peer(bench, measure)


def each_peer(bench: Workbench, measure: Callable[[Peer], Iterator[Figure]]) -> Iterator[Figure]:
    """Measure one after the other; who fails is noted, and does not end the run."""
    for peer in bench.peers:
        try:
            yield from measure(peer)
        except FAILURES as error:
            bench.note_failure(peer.name, error)


def _read(bench: Workbench, peer: Peer, target: Target) -> Iterator[Figure]:
    seconds, event_count = bench.scale.seconds, bench.scale.event_count
    _warm(bench, target, "read_subject")
    for connections in bench.scale.connections:
        for work in ("read_subject", *(("mixed",) if connections == _CONNECTIONS else ())):
            outcome = drive(
                target, work, connections=connections, seconds=seconds, event_count=event_count
            )
            yield _figure(peer, work, outcome, connections)
            yield from _compiled(bench, peer, target, work, connections)
    for work, operations in (
        ("read_everything", _WHOLE_READS),
        ("read_recursive", _RECURSIVE_READS),
    ):
        if work not in peer.cannot:
            outcome = drive(
                target,
                work,
                connections=1,
                seconds=seconds,
                event_count=event_count,
                operations=operations,
                is_warmed=work == "read_recursive",
            )
            yield _figure(peer, work, outcome, 1)
    if target.process_id is not None:
        yield Figure(
            name=f"{TITLES['memory']}: {peer.name}",
            value=tree_resident_size(target.process_id) / 1e6,
            unit="MB",
            work="memory",
            store=peer.key,
        )


def _write_over_connections(
    bench: Workbench, peer: Peer, target: Target, work: str
) -> Iterator[Figure]:
    _warm(bench, target, work)
    for connections in bench.scale.connections:
        outcome = drive(target, work, connections=connections, seconds=bench.scale.seconds)
        yield _figure(peer, work, outcome, connections)
        yield from _compiled(bench, peer, target, work, connections)


def _count_syncs(peer: Peer, target: Target) -> Iterator[Figure]:
    """Count what a store asks of the disk: who promises durability asks once a write."""
    counted = count_syncs(target)
    if counted is not None:
        yield Figure(
            name=f"{TITLES['syncs']}: {peer.name}",
            value=counted,
            unit="syncs",
            work="syncs",
            store=peer.key,
            connections=1,
        )


def _warm(bench: Workbench, target: Target, work: str) -> None:
    drive(
        target,
        work,
        connections=min(16, max(bench.scale.connections)),
        seconds=bench.scale.seconds * _WARMING_SHARE,
        event_count=bench.scale.event_count,
    )


def _compiled(
    bench: Workbench, peer: Peer, target: Target, work: str, connections: int
) -> Iterator[Figure]:
    client = COMPILED.get((peer.key, work))
    if client is not None:
        outcome = client.run(bench, target, connections)
        yield _figure(peer, work, outcome, connections, client=client.name)


def _arrivals_figure(peer: Peer, outcome: Outcome, rate: int) -> Figure:
    details = outcome.details() | {"rate": rate}
    return Figure(
        name=f"{rate:,} writes a second, 99 % within: {peer.name}",
        value=details["p99_ms"],
        unit="ms",
        work="arrivals",
        store=peer.key,
        connections=_CONNECTIONS,
        details=details,
        note=f"median {details['p50_ms']:.2f} ms, 99.9 % {details['p99.9_ms']:.1f} ms",
    )


def _figure(
    peer: Peer, work: str, outcome: Outcome, connections: int, *, client: str = ""
) -> Figure:
    details = outcome.details()
    plural = "connection" if connections == 1 else "connections"
    name = f"{peer.name}, {client}" if client else peer.name
    return Figure(
        name=f"{TITLES[work]}, {connections} {plural}: {name}",
        value=outcome.events_per_second,
        unit="events/s",
        work=work,
        store=f"{peer.key}-{client}" if client else peer.key,
        connections=connections,
        details=details,
        note=f"processors: clients {details['client_cores']:.2f}"
        f", server {details['server_cores']:.2f}; 99 % {details['p99_ms']:.2f} ms",
    )
