"""A witness of others' making, in a process of its own: aics-witness, of the witness lock.

It remembers the latest tree of each log that it was told of, and cosigns only what continues it.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.support.server import DEADLINE_SECONDS, wait_until
from tests.support.sources import REPOSITORY

_DIRECTORY: Final = REPOSITORY / ".venv" / "witness"


class Witness:
    """The witness in a directory; it keeps what it saw while it is not running."""

    def __init__(self, directory: Path, name: str = "witness.example.com/w1") -> None:
        assert (_DIRECTORY / "aics_witness").is_dir(), "run `make setup`"
        self._directory: Final = directory
        self.name: Final = name
        directory.mkdir()
        self.verifier_key: Final = self._command("init", "--name", name).strip()

    def trust(self, origin: str, verifier_key: str) -> None:
        """Tell it of a log, before it is started."""
        self._command("add-log", "--origin", origin, "--vkey", verifier_key)

    @property
    def sizes(self) -> dict[str, int]:
        """How large the latest tree was that it cosigned, by the origin of each log."""
        logs = json.loads(self._command("status", "--json"))["logs"]
        return {log["origin"]: log["size"] for log in logs if log.get("size") is not None}

    @property
    def evidence(self) -> list[Any]:
        """What it was offered that did not continue what it had seen."""
        return list(json.loads(self._command("evidence")))

    @contextmanager
    def run(self, port: int = 0) -> Iterator[str]:
        """Run it until the end of the block, and return its URL."""
        process = subprocess.Popen(
            self._arguments("serve", "--listen", f"127.0.0.1:{port}"),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            cwd=self._directory,
            env=self._environment,
        )
        lines: list[str] = []
        # Line by line, so that its URL is known as soon as it is said.
        reader = threading.Thread(target=_read, args=(process, lines))
        reader.start()
        try:
            wait_until(lambda: process.poll() is not None or _url(lines) is not None)
            url = _url(lines)
            assert url is not None, "".join(lines)
            yield url
        finally:
            process.kill()
            process.wait()
            reader.join()

    def _command(self, *arguments: str) -> str:
        return subprocess.run(
            self._arguments(*arguments),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            check=True,
            timeout=DEADLINE_SECONDS,
            cwd=self._directory,
            env=self._environment,
        ).stdout

    def _arguments(self, command: str, *arguments: str) -> list[str]:
        config = str(self._directory / "witness.json")
        return [sys.executable, "-m", "aics_witness", command, "--config", config, *arguments]

    @property
    def _environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(_DIRECTORY)}


def _read(process: "subprocess.Popen[str]", lines: list[str]) -> None:
    assert process.stderr is not None
    with process.stderr:
        lines.extend(iter(process.stderr.readline, ""))


def _url(lines: list[str]) -> str | None:
    for line in tuple(lines):
        _, found, rest = line.partition("listening on ")
        if found:
            return rest.split()[0]
    return None
