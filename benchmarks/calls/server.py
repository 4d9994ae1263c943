"""Starting a server that counts, and asking it what an operation cost."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.calls.operations import Operation
from benchmarks.servers import TOKEN

_ROOT = Path(__file__).resolve().parents[2]

# The HTTP layer knows a head once it came twice; the disk has its say in the first ones.
_WARM_UP = 20

# The loop takes another way where the disk takes long to answer: what most rounds did counts.
_ROUNDS = 5


class Row(msgspec.Struct, frozen=True):
    """How often a function was called, or called another."""

    file: str
    line: int
    function: str
    kind: str
    called: str
    count: float


class Calls(msgspec.Struct, frozen=True):
    """What one operation took on some threads, in the order of the first calls."""

    rows: tuple[Row, ...]

    def often(self, *kinds: str) -> list[Row]:
        """Return what an operation does, without what happens only now and then."""
        return [row for row in self.rows if row.kind in kinds and row.count >= 1 / 2]

    def count(self, kind: str) -> float:
        """Return how many calls of a kind there were."""
        return sum(row.count for row in self.rows if row.kind == kind)

    @property
    def files(self) -> list[str]:
        """The files that were crossed."""
        return list(dict.fromkeys(row.file for row in self.often("own")))


class Counted(msgspec.Struct, frozen=True):
    """What one operation took."""

    loop: Calls
    threads: Calls

    @property
    def all(self) -> Calls:
        """The calls of all threads, the event loop's first."""
        return Calls(self.loop.rows + self.threads.rows)


class Server:
    """A server that counts."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        """Wait until it listens."""
        self._process = process
        self.port = int(self._read("listening")["url"].rpartition(":")[2])

    def count(self, operation: Operation, *, requests: int) -> Counted:
        """Do something so often in each round; return what it took in the median round."""
        with operation.open(self.port) as operate:
            numbers = iter(range(_WARM_UP + _ROUNDS * requests))
            for _ in range(_WARM_UP):
                operate(next(numbers))
            rounds = []
            for _ in range(_ROUNDS):
                self._tell("start")
                for _ in range(requests):
                    operate(next(numbers))
                calls = self._tell("stop")
                rounds.append(
                    Counted(_calls(calls["loop"], requests), _calls(calls["threads"], requests))
                )
        return sorted(rounds, key=lambda counted: counted.loop.count("own"))[_ROUNDS // 2]

    def _tell(self, word: str) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()
        return self._read("counted")["calls"]

    def _read(self, message: str) -> dict[str, Any]:
        assert self._process.stdout is not None
        while line := self._process.stdout.readline():
            entry: dict[str, Any] = json.loads(line)
            if entry["message"] == message:
                return entry
        raise RuntimeError(f"Everlog ended: exit code {self._process.wait()}")


def _calls(rows: Sequence[dict[str, Any]], requests: int) -> Calls:
    return Calls(tuple(Row(**{**row, "count": row["count"] / requests}) for row in rows))


@contextmanager
def serve_counting(checkout: Path, flags: Sequence[str] = ()) -> Iterator[Server]:
    """Run the sources of a checkout, with its Python if it has one, on an empty directory."""
    python = checkout / ".venv" / "bin" / "python"
    command = [
        *(str(python) if python.exists() else sys.executable, "-m", "benchmarks.calls.counting"),
        *("run", "--data-directory-temporary", "--host=127.0.0.1", "--http-enabled"),
        *("--http-port=0", "--https-enabled=false", *flags),
    ]
    environment = os.environ | {"EVERLOG_API_TOKEN": TOKEN, "PYTHONPATH": str(checkout / "src")}
    process = subprocess.Popen(
        command,
        env=environment,
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Server(process)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
