"""A log whose lines a test can read: what a server would write to standard output."""

import json
import os
import tempfile
from collections.abc import Callable
from typing import Any, Final

from everlog.telemetry import Level, Log


class KeptLog:
    """A log that writes to a file without a name, and what it has written until now."""

    def __init__(
        self,
        *,
        level: Level = Level.INFO,
        form: str = "json",
        clock: Callable[[], int] | None = None,
    ) -> None:
        self._file: Final = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`.
        options: dict[str, Any] = {} if clock is None else {"clock": clock}
        self.log: Final = Log(level=level, form=form, file=self._file.fileno(), **options)

    @property
    def text(self) -> str:
        self.log.flush()
        return os.pread(self._file.fileno(), 1 << 24, 0).decode()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]

    def close(self) -> None:
        self.log.flush()
        self._file.close()
