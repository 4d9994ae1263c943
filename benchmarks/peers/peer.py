"""What a peer is."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.drive import Target, run_task

# Runs the store on a folder, which is empty the first time.
Serve = Callable[[Path], AbstractContextManager[Target]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A store that does the same work."""

    key: str
    name: str
    serve: Serve
    version: Callable[[], str]
    # How it is configured to be durable before it answers, or why it is not.
    durability: str
    client: str
    # What it does differently from what the title of a work says; None of it where it cannot.
    remarks: Mapping[str, str] = field(default_factory=dict)
    cannot: Mapping[str, str] = field(default_factory=dict)
    # Makes the table or the stream, where there is such a thing.
    is_created: bool = False
    # Where filling is done with other settings than serving.
    serve_filling: Serve | None = None
    # Fills a folder without a server, where there is a way.
    fill_directly: Callable[[Path, int], None] | None = None

    @contextmanager
    def empty_store(self, folder: Path) -> Iterator[Target]:
        """Run a new, empty store, and remove it afterwards."""
        with TemporaryDirectory(dir=folder, prefix=f"{self.key}-") as name:
            directory = Path(name).resolve()
            # Servers may be another user than who starts them.
            directory.chmod(0o755)
            with self.serve(directory) as target:
                self._create(target)
                yield target

    def fill(self, directory: Path, event_count: int) -> None:
        """Make a store with so many events in an empty folder."""
        directory.chmod(0o755)
        if self.fill_directly is not None:
            self.fill_directly(directory, event_count)
            return
        with (self.serve_filling or self.serve)(directory) as target:
            self._create(target)
            run_task(target, "fill", event_count=event_count)

    def _create(self, target: Target) -> None:
        if self.is_created:
            run_task(target, "create")
