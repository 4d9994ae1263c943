"""A server for tests, as a process of this machine: a container that needs no Docker.

Guarantees that a server listens on the loopback interface only, on a port that the system chose,
with a token of its own, and that nothing of it is left when it has been stopped.
"""

import json
import secrets
import subprocess
import sys
import threading
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Final, Self

# Far longer than a start, or an end, takes.
_SECONDS_MAX: Final = 60.0
_LINES_SHOWN: Final = 20


class EverlogServer:
    """A server with plain HTTP, started by `start` or a `with` block.

    `url` and `token` are what `everlog.connect` takes. It may be started again after it was
    stopped, and then has its events if it was given a directory for them, and none without.
    """

    def __init__(
        self,
        data_directory: Path | None = None,
        *,
        token: str | None = None,
        options: tuple[str, ...] = (),
    ) -> None:
        """Start nothing yet; `options` are further flags of `everlog run`."""
        self._data_directory: Final = data_directory
        self._options: Final = options
        self.token: Final = token or secrets.token_urlsafe(16)
        self._folder: TemporaryDirectory[str] | None = None
        self._process: subprocess.Popen[str] | None = None
        self._log: _Log | None = None
        self._url = ""

    def __repr__(self) -> str:
        """Show where it is, and not its token."""
        return f"EverlogServer({self._url or 'not running'})"

    @property
    def url(self) -> str:
        """Where it listens.

        Raises:
            RuntimeError: It is not running.
        """
        if not self._url:
            raise RuntimeError("the server is not running: call start(), or use it in a with block")
        return self._url

    @property
    def log(self) -> str:
        """The end of what it said, a JSON object a line; it holds no secret."""
        return "" if self._log is None else self._log.tail()

    def is_running(self) -> bool:
        """Tell whether it was started, and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        """Start it, if it is not running, and return it when it takes requests.

        Raises:
            RuntimeError: It did not start; what it said is in the text.
        """
        if self.is_running():
            return self
        # Nobody else may read the token, and no command line shows it.
        self._folder = TemporaryDirectory(prefix="everlog-")
        folder = Path(self._folder.name)
        token_file = folder / "token"
        token_file.touch(0o600)
        token_file.write_text(self.token)
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "everlog", "run", f"--api-token-file={token_file}"),
                *("--host=127.0.0.1", "--http-enabled", "--http-port=0", "--https-enabled=false"),
                f"--data-directory={self._data_directory or folder / 'data'}",
                *self._options,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
        )
        self._log = _Log(self._process)
        self._url = self._log.wait_for_url()
        if not self._url:
            self.stop()
            raise RuntimeError(f"the server of the test did not start:\n{self.log}")
        return self

    def stop(self) -> None:
        """End it, if it is running."""
        process, self._process, self._url = self._process, None, ""
        if process is not None:
            process.terminate()
            try:
                process.wait(_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            assert self._log is not None
            self._log.wait_for_end()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def __enter__(self) -> Self:
        """Start it."""
        return self.start()

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop it."""
        self.stop()


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
        """Return where it listens, nothing if it does not."""
        self._settled.wait(_SECONDS_MAX)
        return self._url

    def wait_for_end(self) -> None:
        """Return when it has said everything; its process has ended."""
        self._thread.join(_SECONDS_MAX)

    def tail(self) -> str:
        """Return its last lines."""
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
