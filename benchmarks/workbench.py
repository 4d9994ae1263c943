"""What benchmarks work with: how much to do, where, and stores that are filled once for all."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory

from benchmarks.peers.peer import Peer
from benchmarks.peers.table import OWN
from benchmarks.query_log import fill_query_log
from benchmarks.servers import Certificate, make_certificate

_FOLDER = Path(__file__).resolve().parents[1] / ".benchmarks"

_QUERY_LOG = "query-log"

# What may go wrong with a server or a client, and says nothing about the next one.
FAILURES = (RuntimeError, OSError, subprocess.SubprocessError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much is done; what only `--long` does is a count more of events."""

    seconds: float = 3.0
    samples: int = 1_000
    repetitions: int = 20
    log_event_counts: tuple[int, ...] = (1_000_000,)
    growth_event_counts: tuple[int, ...] = (1_000_000, 5_000_000, 10_000_000)
    connections: tuple[int, ...] = (1, 16, 64, 256)
    # Of writes that arrive whether or not the store keeps up, in a second.
    arrival_rates: tuple[int, ...] = (500, 2_000)
    arrival_seconds: float = 8.0
    observers: int = 1_000
    idle_connections: int = 10_000
    slow_readers: int = 100
    idle_seconds: float = 10.0

    @property
    def event_count(self) -> int:
        """The size of the usual log."""
        return self.log_event_counts[0]


NORMAL = Scale()
LONG = Scale(
    log_event_counts=(1_000_000, 10_000_000),
    growth_event_counts=(1_000_000, 5_000_000, 10_000_000, 50_000_000),
)
QUICK = Scale(
    seconds=0.1,
    samples=20,
    repetitions=2,
    log_event_counts=(2_000,),
    growth_event_counts=(2_000, 4_000),
    connections=(1, 8),
    arrival_rates=(50,),
    arrival_seconds=0.5,
    observers=20,
    idle_connections=50,
    slow_readers=10,
    idle_seconds=0.5,
)


@dataclass(frozen=True, slots=True)
class Workbench:
    """One run's folder and everything in it, deleted with it."""

    scale: Scale
    folder: Path
    certificate: Certificate
    # Those that are measured side by side; Everlog is the first.
    peers: tuple[Peer, ...] = (OWN,)
    # What went wrong: a run of half an hour goes on without it.
    failures: list[str] = field(default_factory=list)
    _stores: dict[tuple[str, int], Path] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=count)

    def note_failure(self, name: str, error: Exception) -> None:
        """Keep what went wrong for the report, and tell it now."""
        self.failures.append(f"{name}: {error}")
        print(f"  FAILED {self.failures[-1]}", flush=True)

    def filled_log(self, event_count: int) -> Path:
        """Return a data directory with so many events, filled when it is first asked for.

        Whoever writes to it leaves it larger for the others.
        """
        return self.filled_store(OWN, event_count) / "data"

    def filled_store(self, peer: Peer, event_count: int) -> Path:
        """Return the folder of a store with so many events, filled when it is first asked for."""
        return self._filled(peer.key, event_count, peer.fill)

    def query_log(self, event_count: int) -> Path:
        """Return a data directory to ask questions of, filled when it is first asked for."""
        return self._filled(_QUERY_LOG, event_count, fill_query_log)

    def remove_store(self, peer: Peer, event_count: int) -> None:
        """Make room: whoever asks for the store again gets a new one."""
        self._remove(peer.key, event_count)

    def remove_query_log(self, event_count: int) -> None:
        """Make room, in the same way."""
        self._remove(_QUERY_LOG, event_count)

    def _filled(self, name: str, event_count: int, fill: Callable[[Path, int], None]) -> Path:
        key = (name, event_count)
        if key not in self._stores:
            directory = self.new_directory(f"{name}-{event_count}")
            fill(directory, event_count)
            self._stores[key] = directory
        return self._stores[key]

    def _remove(self, name: str, event_count: int) -> None:
        directory = self._stores.pop((name, event_count), None)
        if directory is not None:
            rmtree(directory)

    def new_directory(self, name: str) -> Path:
        """Return a folder that did not exist before."""
        directory = self.folder / f"{next(self._numbers)}-{name}"
        directory.mkdir()
        return directory


@contextmanager
def prepare(scale: Scale, peers: tuple[Peer, ...] = (OWN,)) -> Iterator[Workbench]:
    """Make a workbench in a folder that git ignores, on the disk of the repository."""
    _FOLDER.mkdir(exist_ok=True)
    with TemporaryDirectory(prefix="run-", dir=_FOLDER) as name:
        folder = Path(name)
        # Servers may be another user than who starts them.
        folder.chmod(0o755)
        yield Workbench(scale, folder, make_certificate(folder), peers)
