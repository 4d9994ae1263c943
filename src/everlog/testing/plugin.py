"""The plug-in for pytest: a store, and a server, for each test that asks for one.

pytest loads it by its entry point. It loads nothing of Everlog until a test asks.
"""

import json
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from everlog.library.store import Store

# Far longer than a start takes.
_START_SECONDS: Final = 60.0
_LINES_SHOWN: Final = 20


@dataclass(frozen=True)
class EverlogServer:
    """A server on the loopback interface; `url` and `token` are what `everlog.connect` takes."""

    url: str
    token: str = field(repr=False)


@pytest.fixture
def everlog_store(tmp_path: Path) -> "Iterator[Store]":
    """Return a new, empty store in a temporary folder, closed at the end of the test."""
    import everlog  # noqa: PLC0415 - most tests need no store.

    with everlog.open(tmp_path / "everlog-store") as store:
        yield store


@pytest.fixture
def everlog_server(tmp_path: Path) -> Iterator[EverlogServer]:
    """Return a new server without events, ended at the end of the test.

    What it logs is on standard output, which pytest shows where a test fails.
    """
    token = secrets.token_urlsafe(16)
    token_file = tmp_path / "everlog-token"
    token_file.write_text(token)
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "everlog", "run", f"--api-token-file={token_file}"),
            *("--host=127.0.0.1", "--http-enabled", "--http-port=0", "--https-enabled=false"),
            f"--data-directory={tmp_path / 'everlog-server'}",
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )
    log = _Log(process)
    try:
        yield EverlogServer(log.wait_for_url(), token)
    finally:
        process.terminate()
        try:
            process.wait(_START_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.show()


class _Log:
    """What a server says; a thread reads it, so that it never has to wait."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process: Final = process
        self._lines: Final[list[str]] = []
        self._url = ""
        self._settled: Final = threading.Event()
        self._thread: Final = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def wait_for_url(self) -> str:
        """Return where it listens.

        Raises:
            RuntimeError: It did not start; what it said is in the text.
        """
        self._settled.wait(_START_SECONDS)
        if not self._url:
            raise RuntimeError(f"the server of the test did not start:\n{self._tail()}")
        return self._url

    def show(self) -> None:
        """Print the end of what it said, once it has ended."""
        self._thread.join()
        sys.stdout.write(self._tail())

    def _tail(self) -> str:
        return "".join(self._lines[-_LINES_SHOWN:])

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output:
            for line in output:
                self._lines.append(line)
                if not self._url and '"listening"' in line:
                    self._url = json.loads(line)["url"]
                    self._settled.set()
        self._settled.set()
