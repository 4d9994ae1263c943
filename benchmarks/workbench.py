"""What benchmarks work with: how much to do, where, and logs that are filled once for all."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.fill import fill_log
from benchmarks.servers import Certificate, make_certificate

_FOLDER = Path(__file__).resolve().parents[1] / ".benchmarks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much is done; what only `--long` does is a count more in `log_event_counts`."""

    seconds: float = 5.0
    samples: int = 1_000
    repetitions: int = 20
    log_event_counts: tuple[int, ...] = (1_000_000,)
    connections: tuple[int, ...] = (1, 16, 64, 256)
    observers: int = 1_000
    idle_connections: int = 10_000
    slow_readers: int = 100
    idle_seconds: float = 10.0

    @property
    def event_count(self) -> int:
        """The size of the usual log."""
        return self.log_event_counts[0]


NORMAL = Scale()
LONG = Scale(log_event_counts=(1_000_000, 10_000_000))
QUICK = Scale(
    seconds=0.1,
    samples=20,
    repetitions=2,
    log_event_counts=(2_000,),
    connections=(64,),
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
    _logs: dict[int, Path] = field(default_factory=dict)

    def filled_log(self, event_count: int) -> Path:
        """Return a data directory with so many events, filled when it is first asked for.

        Whoever writes to it leaves it larger for the others.
        """
        directory = self._logs.get(event_count)
        if directory is None:
            directory = self.new_directory(f"log-{event_count}")
            fill_log(directory, event_count)
            self._logs[event_count] = directory
        return directory

    def new_directory(self, name: str) -> Path:
        """Return a folder that did not exist before."""
        number = sum(1 for _ in self.folder.iterdir())
        directory = self.folder / f"{number}-{name}"
        directory.mkdir()
        return directory


@contextmanager
def prepare(scale: Scale) -> Iterator[Workbench]:
    """Make a workbench in a folder that git ignores, on the disk of the repository."""
    _FOLDER.mkdir(exist_ok=True)
    with TemporaryDirectory(prefix="run-", dir=_FOLDER) as name:
        folder = Path(name)
        yield Workbench(scale, folder, make_certificate(folder))
