"""Everlog beside UmaDB, each through its vendor's own compiled client, as a neutral suite does it.

In Python a client costs more than a store, and those of two stores not the same: what such clients
show is a part client. Here one program drives both, with a connection for each writer or reader,
and gives a server as much of the machine as a compiled client leaves.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.drive import Outcome, Target
from benchmarks.events import EVENTS_PER_SUBJECT
from benchmarks.figures import Figure, at_least
from benchmarks.load import children_cpu_seconds
from benchmarks.peers.table import OWN, PEERS
from benchmarks.processes import tree_cpu_seconds
from benchmarks.servers import TOKEN
from benchmarks.sessions.histogram import Histogram
from benchmarks.workbench import Workbench
from tools.system_packages import provide

_SOURCES = Path(__file__).with_name("rust")
_BUILT = _SOURCES.parents[1] / ".benchmarks" / "rust"

# As many as the neutral suite has; at 64 it is to be a lead that noise does not take away.
_WRITERS = (1, 4, 16, 64, 256)
_READERS = (1, 4, 16, 64)
_LEADS = {64: 1.2}

# Each store has its turn so often, one after the other.
_TURNS = 3


def measure_neutral(bench: Workbench) -> Iterator[Figure]:
    """Compare writing one event and reading a subject of ten, by compiled clients of the vendors."""
    program = _build()
    peers = (OWN, PEERS["umadb"])
    most = max(bench.scale.connections)
    for writers in (count for count in _WRITERS if count <= most):
        outcomes: list[list[Outcome]] = [[], []]
        for _ in range(_TURNS):
            for peer, kept in zip(peers, outcomes, strict=True):
                with peer.empty_store(bench.folder) as target:
                    kept.append(_run(bench, program, target, "write", writers, subjects=0))
        yield _figure("write one event", "writers", writers, *outcomes)
    event_count = bench.scale.event_count
    subjects = (event_count - event_count // 20) // EVENTS_PER_SUBJECT
    directories = [bench.filled_store(peer, event_count) for peer in peers]
    for readers in (count for count in _READERS if count <= most):
        outcomes = [[], []]
        for _ in range(_TURNS):
            for peer, directory, kept in zip(peers, directories, outcomes, strict=True):
                with peer.serve(directory) as target:
                    kept.append(_run(bench, program, target, "read", readers, subjects=subjects))
        yield _figure("read a subject of 10 events", "readers", readers, *outcomes)


def _build() -> Path:
    """Compile the clients, which takes two minutes the first time.

    Raises:
        RuntimeError: There is no cargo, or it failed.
    """
    provide({"protoc": "protobuf-compiler"})
    if shutil.which("cargo") is None:
        raise RuntimeError("the clients of the vendors are written in Rust, and there is no cargo")
    command = ["cargo", "build", "--release", "--quiet", f"--target-dir={_BUILT}"]
    # What it locks changes with time; the clients' own versions are named in their manifest.
    subprocess.run(command, cwd=_SOURCES, check=True)
    return _BUILT / "release" / "neutral"


def _run(
    bench: Workbench, program: Path, target: Target, work: str, connections: int, *, subjects: int
) -> Outcome:
    """Let so many connections work, after a fifth of the time that does not count."""
    assert target.process_id is not None
    url = target.address
    if target.session == "everlog":
        url = f"http://127.0.0.1:{url.split()[0]}/"
    _load(program, target, [url, work, str(connections)], bench.scale.seconds / 5, subjects)
    before = tree_cpu_seconds(target.process_id), children_cpu_seconds()
    told = _load(program, target, [url, work, str(connections)], bench.scale.seconds, subjects)
    after = tree_cpu_seconds(target.process_id), children_cpu_seconds()
    times = Histogram()
    for microseconds, often in told["times"]:
        for _ in range(often):
            times.add(microseconds / 1e6)
    return Outcome(
        operations=told["operations"],
        events=told["events"],
        seconds=told["seconds"],
        times=times,
        client_cores=(after[1] - before[1]) / told["seconds"],
        server_cores=(after[0] - before[0]) / told["seconds"],
    )


def _load(
    program: Path, target: Target, words: list[str], seconds: float, subjects: int
) -> dict[str, Any]:
    done = subprocess.run(
        [str(program), target.session, *words, str(seconds), str(subjects)],
        env=os.environ | {"TOKEN": TOKEN},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{target.session}, {words[-1]} connections: {done.stderr}")
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def _figure(
    title: str, who: str, connections: int, own: list[Outcome], other: list[Outcome]
) -> Figure:
    """Return the figure of the turn in the middle."""
    own.sort(key=lambda outcome: outcome.events_per_second)
    other.sort(key=lambda outcome: outcome.events_per_second)
    middle, reference = own[len(own) // 2], other[len(other) // 2]
    details = middle.details()
    shown = ", ".join(
        f"{name} {1e3 * each.times.percentiles([1])[0]:.0f} ms"
        for name, each in ((OWN.name, middle), ("UmaDB", reference))
    )
    return Figure(
        name=f"{title}, {connections} {who if connections > 1 else who.rstrip('s')}, Rust clients",
        value=middle.events_per_second,
        unit="events/s",
        reference_name="UmaDB",
        reference=reference.events_per_second,
        bar=at_least(_LEADS.get(connections, 1.0)),
        work=f"neutral_{title.split(maxsplit=1)[0]}",
        store=OWN.key,
        connections=connections,
        details=details,
        note=f"processors: clients {details['client_cores']:.2f}, server "
        f"{details['server_cores']:.2f}; longest: {shown}",
    )
