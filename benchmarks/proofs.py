"""Proofs: what the Merkle tree costs, and how fast it answers."""

import http.client
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median, quantiles

from benchmarks.figures import Figure, at_least, at_most
from benchmarks.load import run_wrk
from benchmarks.processes import stored_size, tree_cpu_seconds
from benchmarks.servers import TOKEN, Addresses, serve_everlog
from benchmarks.workbench import Workbench
from benchmarks.writes import PATH, saved_bodies
from everlog.domain.checkpoint import CheckpointKey
from everlog.domain.merkle import HASH_SIZE, prove_consistency, prove_inclusion, root
from everlog.storage.log.disk import Folder, PosixDisk
from everlog.storage.log.tree_files import TreeFiles

_CONNECTIONS = 64
_BODIES = 10_000
_TURNS = 4

_LEAVES_PER_STEP = 64 * 1024

# The bars of the design: of a write, of a rebuild, of a proof, and of what lies on the disk.
_WRITE_RATIO_MIN = 0.95
_REBUILD_MICROSECONDS_MAX = 3.0
_PROOF_MILLISECONDS_MAX = 1.0
_EVENT_BYTES_MAX = 70.0


def measure_proofs(bench: Workbench) -> Iterator[Figure]:
    """Time the Merkle tree: making it, proving with it, and what it costs a write."""
    yield from _of_a_log(bench)
    yield from _of_a_large_tree(bench)
    yield from _of_writes(bench)


def proof_milliseconds(everlog: Addresses, event_count: int, *, samples: int) -> list[float]:
    """Return how long proofs take over one connection, of random events and sizes."""
    chances = random.Random(1)
    connection = http.client.HTTPConnection("127.0.0.1", everlog.port, timeout=60)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    times = []
    for _ in range(samples):
        later = chances.randrange(2, event_count + 1)
        earlier = chances.randrange(1, later)
        for path in (
            f"inclusion-proof?event={earlier - 1}&size={later}",
            f"consistency-proof?from={earlier}&to={later}",
        ):
            begin = time.perf_counter()
            connection.request("GET", f"/api/v2/log/{path}", headers=headers)
            content = connection.getresponse().read()
            times.append((time.perf_counter() - begin) * 1e3)
            if b'"proof"' not in content:
                raise RuntimeError(f"no proof: {content[:200]!r}")
    connection.close()
    return times


def seconds_to_tree(everlog: Addresses, event_count: int) -> float:
    """Return how long the first proof takes, for which the tree of a log is made."""
    begin = time.perf_counter()
    (first, *_) = proof_milliseconds(everlog, 2, samples=1)
    connection = http.client.HTTPConnection("127.0.0.1", everlog.port, timeout=600)
    path = f"/api/v2/log/consistency-proof?from=1&to={event_count}"
    connection.request("GET", path, headers={"Authorization": f"Bearer {TOKEN}"})
    connection.getresponse().read()
    connection.close()
    return time.perf_counter() - begin - first / 1e3


def _of_a_log(bench: Workbench) -> Iterator[Figure]:
    count = bench.scale.event_count
    directory = bench.filled_log(count)
    with serve_everlog(directory, bench.certificate) as everlog:
        cpu = tree_cpu_seconds(everlog.process_id)
        seconds = seconds_to_tree(everlog, count)
        cpu = tree_cpu_seconds(everlog.process_id) - cpu
        yield Figure(
            name=f"making the tree of {count:,} events, for each",
            value=seconds / count * 1e6,
            unit="us",
            bar=at_most(_REBUILD_MICROSECONDS_MAX),
            note=f"processor {cpu / count * 1e6:.2f} us",
        )
        times = proof_milliseconds(everlog, count, samples=bench.scale.samples)
    yield from _percentiles(f"proof over HTTP, of {count:,} events", times, is_p99_judged=False)


def _of_a_large_tree(bench: Workbench) -> Iterator[Figure]:
    """Time proofs of 10 million leaves without a server, whose share does not depend on them."""
    count = 10 * bench.scale.event_count
    directory = bench.new_directory("tree")
    with ExitStack() as resources:
        tree = _synthetic_tree(directory, count, resources)
        yield Figure(
            name=f"bytes of an event in a tree of {count:,}",
            value=stored_size(directory) / count,
            unit="B",
            bar=at_most(_EVENT_BYTES_MAX),
        )
        chances = random.Random(1)
        times = []
        for _ in range(bench.scale.samples):
            later = chances.randrange(2, count + 1)
            earlier = chances.randrange(1, later)
            times.append(_milliseconds(partial(_include, tree, earlier - 1, later)))
            times.append(_milliseconds(partial(_connect, tree, earlier, later)))
    yield from _percentiles(f"proof without HTTP, of {count:,} events, processor", times)


def _synthetic_tree(directory: Path, count: int, resources: ExitStack) -> TreeFiles:
    descriptor = os.open(directory, os.O_RDONLY)
    resources.callback(os.close, descriptor)
    tree = TreeFiles.open(Folder(descriptor, directory), PosixDisk(), resources)
    while tree.size < count:
        size = min(_LEAVES_PER_STEP, count - tree.size)
        content = os.urandom(size * HASH_SIZE)
        leaves = [content[start : start + HASH_SIZE] for start in range(0, len(content), HASH_SIZE)]
        tree.append(leaves, "")
    return tree


def _include(tree: TreeFiles, position: int, size: int) -> None:
    root(size, tree.hash_of)
    prove_inclusion(position, size, tree.hash_of)


def _connect(tree: TreeFiles, earlier: int, later: int) -> None:
    root(earlier, tree.hash_of)
    root(later, tree.hash_of)
    prove_consistency(earlier, later, tree.hash_of)


def _milliseconds(work: Callable[[], None]) -> float:
    # What else the machine does would be most of the slowest.
    begin = time.thread_time()
    work()
    return (time.thread_time() - begin) * 1e3


def _percentiles(
    name: str, milliseconds: list[float], *, is_p99_judged: bool = True
) -> Iterator[Figure]:
    bar = at_most(_PROOF_MILLISECONDS_MAX)
    yield Figure(name=f"{name}: median", value=median(milliseconds), unit="ms", bar=bar)
    p99 = quantiles(milliseconds, n=100)[98]
    yield Figure(
        name=f"{name}: 99 of 100", value=p99, unit="ms", bar=bar if is_p99_judged else None
    )


def _of_writes(bench: Workbench) -> Iterator[Figure]:
    """Compare writes of one event with and without checkpoints, in turns."""
    bodies = saved_bodies(bench, _BODIES, events_per_write=1)
    key = bench.new_directory("checkpoint-key") / "key.pem"
    key.write_bytes(CheckpointKey.generate().to_pem())
    flags = (f"--checkpoint-key-file={key}", "--checkpoint-origin=benchmark.example.com/log")
    seconds = bench.scale.seconds
    rates: dict[bool, list[float]] = {False: [], True: []}
    costs: dict[bool, list[float]] = {False: [], True: []}
    with (
        serve_everlog(bench.new_directory("without-key"), bench.certificate) as without,
        serve_everlog(bench.new_directory("with-key"), bench.certificate, flags=flags) as with_key,
    ):
        for turn in range(2 * _TURNS):
            has_key = turn % 4 in {1, 2}
            server = with_key if has_key else without
            cpu = tree_cpu_seconds(server.process_id)
            load = run_wrk(server.plain + PATH, bodies, connections=_CONNECTIONS, seconds=seconds)
            cpu = tree_cpu_seconds(server.process_id) - cpu
            rates[has_key].append(load.requests_per_second)
            costs[has_key].append(cpu / load.seconds / load.requests_per_second * 1e6)
    yield Figure(
        name=f"small writes with checkpoints, {_CONNECTIONS} connections",
        value=median(rates[True]),
        unit="writes/s",
        reference_name="without",
        reference=median(rates[False]),
        bar=at_least(_WRITE_RATIO_MIN),
        note=f"processor {median(costs[True]):.1f} us, without {median(costs[False]):.1f} us",
    )
