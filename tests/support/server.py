"""A real server in a process of its own, started as an operator starts it.

It listens on a port that the system chooses; its log is kept line by line.
Whoever starts one ends it, and nothing but it.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from tests.support.sources import REPOSITORY
from tests.support.watchdog import REPORT_VARIABLE, check_report

TOKEN: Final = "the-token-of-the-tests"

EVERLOG: Final = (sys.executable, "-m", "everlog")

# The same, and whoever holds its event loop up is noted.
WATCHED: Final = (sys.executable, "-m", "tests.support.watchdog")

# In how many processes every server runs of whose number a test says nothing; in one where it is
# unset.
PROCESSES_VARIABLE: Final = "SERVER_PROCESSES"

# Far longer than anything takes here: whoever waits that long has found a bug.
DEADLINE_SECONDS: Final = 30.0

# Within which a server that was paused is itself again.
_AWAKE_SECONDS: Final = 1.0

LogLine = dict[str, Any]


class RunningServer:
    """A server, seen from outside; `data_directory` is where it was told to keep its data."""

    def __init__(self, process: "subprocess.Popen[bytes]", data_directory: Path) -> None:
        self.process: Final = process
        self.data_directory: Final = data_directory
        self.token: Final = TOKEN
        # Every line of standard output, as it was written.
        self.output: Final[list[bytes]] = []
        self.errors: Final[list[bytes]] = []
        # From when to when it was paused, by the monotonic clock that all processes share.
        self.pauses: Final[list[tuple[float, float]]] = []
        self._paused_at: float | None = None
        self._changed: Final = threading.Condition()
        self._readers: Final = [
            threading.Thread(target=self._read, args=(pipe, lines))
            for pipe, lines in ((process.stdout, self.output), (process.stderr, self.errors))
        ]
        for reader in self._readers:
            reader.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def log(self) -> list[LogLine]:
        return [json.loads(line) for line in tuple(self.output)]

    @property
    def urls(self) -> list[str]:
        return [line["url"] for line in self.log if line["message"] == "listening"]

    @property
    def url(self) -> str:
        return self.urls[0]

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def children(self) -> list[int]:
        """The processes that the server has started, by whichever thread, and that are there."""
        lists = Path(f"/proc/{self.pid}/task").glob("*/children")
        return [int(pid) for each in lists for pid in _text_of(each).split()]

    def wait_for_log(self, message: str) -> LogLine:
        """Return the first line whose message begins like this, once it is there."""

        def find() -> LogLine | None:
            return next((line for line in self.log if line["message"].startswith(message)), None)

        deadline = time.monotonic() + DEADLINE_SECONDS
        with self._changed:
            while (line := find()) is None:
                has_ended = not any(reader.is_alive() for reader in self._readers)
                remaining = deadline - time.monotonic()
                assert not has_ended, b"".join([*self.output, *self.errors]).decode()
                assert remaining > 0, b"".join(self.output).decode()
                self._changed.wait(min(remaining, 1.0))
        return line

    def ask_to_stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        """Return the exit code, once the process has ended and all its output is read."""
        code = self.process.wait(DEADLINE_SECONDS)
        for reader in self._readers:
            reader.join()
        return code

    def stop(self) -> int:
        """Ask it to stop, and return its exit code."""
        self.ask_to_stop()
        return self.wait()

    def kill(self) -> None:
        """End it as a power failure would, except that what the system was given stays."""
        self.process.kill()
        self.wait()

    def pause(self) -> None:
        """Let it do nothing until `resume`, as a machine does that hangs."""
        self._paused_at = time.monotonic()
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on, if it is paused."""
        self.process.send_signal(signal.SIGCONT)
        if self._paused_at is not None:
            # It takes a moment to notice how late it is.
            self.pauses.append((self._paused_at, time.monotonic() + _AWAKE_SECONDS))
            self._paused_at = None

    def _read(self, pipe: Any, lines: list[bytes]) -> None:
        with pipe:
            for line in pipe:
                with self._changed:
                    lines.append(line)
                    self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()


def _text_of(path: Path) -> str:
    # A thread may have ended meanwhile.
    with suppress(OSError):
        return path.read_text()
    return ""


@contextmanager
def started_process(
    command: Sequence[str], data_directory: Path, environment: Mapping[str, str]
) -> Iterator[RunningServer]:
    """Start a command that is a server, and end it if nobody did.

    It is watched: the test fails if its event loop was held up.
    """
    if tuple(command[: len(EVERLOG)]) == EVERLOG:
        command = (*WATCHED, *command[len(EVERLOG) :])
    with tempfile.TemporaryDirectory(prefix="everlog-test-") as temporary:
        report = Path(temporary, "report")
        with _started(
            command, data_directory, {REPORT_VARIABLE: str(report), **environment}
        ) as server:
            yield server
        check_report(report, server.pauses)


@contextmanager
def _started(
    command: Sequence[str], data_directory: Path, environment: Mapping[str, str]
) -> Iterator[RunningServer]:
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # Entry points of the tests are found from here.
        cwd=REPOSITORY,
        env={**clean_environment(), **environment},
    )
    server = RunningServer(process, data_directory)
    try:
        yield server
    finally:
        if process.poll() is None:
            server.kill()
        else:
            server.wait()


def clean_environment() -> dict[str, str]:
    """Return the environment without what would configure a server."""
    return {name: text for name, text in os.environ.items() if not name.startswith("EVERLOG_")}


@contextmanager
def starting_server(
    *flags: str,
    data_directory: Path | None = None,
    is_temporary: bool = False,
    hash_version: int | None = None,
    signing_key_file: Path | None = None,
    entry_point: Sequence[str] = WATCHED,
    environment: Mapping[str, str] | None = None,
) -> Iterator[RunningServer]:
    """Start a server without waiting for it, and end it at the end of the block."""
    with tempfile.TemporaryDirectory(prefix="everlog-test-") as temporary:
        directory = Path(temporary, "data") if data_directory is None else data_directory
        command = [
            *entry_point,
            "run",
            "--host=127.0.0.1",
            "--http-enabled",
            "--http-port=0",
            "--https-enabled=false",
            "--https-port=0",
            "--data-directory-temporary" if is_temporary else f"--data-directory={directory}",
            *([] if hash_version is None else [f"--hash-version={hash_version}"]),
            *([] if signing_key_file is None else [f"--signing-key-file={signing_key_file}"]),
            *_processes_flag(flags, environment or {}),
            # The last of several values counts, so that all of the above can be changed.
            *flags,
        ]
        variables = {"EVERLOG_API_TOKEN": TOKEN, **(environment or {})}
        with started_process(command, directory, variables) as server:
            yield server


def _processes_flag(flags: Sequence[str], environment: Mapping[str, str]) -> Sequence[str]:
    """Return how many processes a server is to have, where a run of the tests says so."""
    is_node = "EVERLOG_JOURNAL" in environment or any("--journal" in flag for flag in flags)
    count = os.environ.get(PROCESSES_VARIABLE)
    return [] if count is None or is_node else [f"--processes={count}"]


@contextmanager
def running_server(*flags: str, **options: Any) -> Iterator[RunningServer]:
    """Run a server, by default with plain HTTP and an empty log, until the end of the block.

    The options are those of `starting_server`.
    """
    with starting_server(*flags, **options) as server:
        server.wait_for_log("listening")
        yield server


def run_to_end(*arguments: str, environment: Mapping[str, str] | None = None) -> "Ended":
    """Run a command that is expected to end by itself."""
    done = subprocess.run(
        [*EVERLOG, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=DEADLINE_SECONDS,
        check=False,
        env={**clean_environment(), **(environment or {})},
    )
    return Ended(done.returncode, done.stdout, done.stderr)


class Ended:
    """What is left of a command that has ended."""

    def __init__(self, code: int, output: str, errors: str) -> None:
        self.code: Final = code
        self.output: Final = output
        self.errors: Final = errors

    @property
    def log(self) -> list[LogLine]:
        return [json.loads(line) for line in self.output.splitlines()]


def wait_until(condition: Callable[[], bool], *, seconds: float = DEADLINE_SECONDS) -> None:
    """Wait until a condition holds; fail when it takes too long."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)
