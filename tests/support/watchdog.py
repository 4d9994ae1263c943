"""A watchdog: it notes where the event loop of a server was held up for too long.

Run as `python -m tests.support.watchdog run <flags>`, it is the command line with the watchdog in
it; whoever starts a server so reads the report at its end. The product measures its loop for
operators; here the same is measured more often, and the time in which the system let somebody else
compute is left out, so that a busy machine is not taken for a busy server.
"""

import asyncio
import faulthandler
import json
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Final

from everlog.monitoring.loop_delay import LoopDelay

# The rule is 50 milliseconds (docs/reliability.md); a machine may be four times slower.
HELD_SECONDS_MAX: Final = 0.2

_INTERVAL_SECONDS: Final = 0.02

REPORT_VARIABLE: Final = "WATCHDOG_REPORT"


class WatchedLoopDelay(LoopDelay):
    """Looks fifty times a second, and reports to the file that the environment names."""

    def __init__(self, loop: asyncio.AbstractEventLoop, report: Path | None = None) -> None:
        super().__init__(loop, interval_seconds=_INTERVAL_SECONDS)
        name = os.environ.get(REPORT_VARIABLE)
        self._report: Final = report or (Path(name) if name else None)
        self._stack: Final[Any] = TemporaryFile()  # noqa: SIM115 - it is closed by stop.
        self._noted_at = 0.0
        self._waited: dict[str, int] = {}

    def start(self) -> None:
        self._noted_at, self._waited = time.monotonic(), waited_nanoseconds()
        super().start()

    def _wait(self) -> None:
        # Whoever holds the loop up longer than that is caught in the act.
        with suppress(RuntimeError):
            faulthandler.dump_traceback_later(HELD_SECONDS_MAX, file=self._stack)
        super()._wait()

    def _note(self) -> None:
        now, waited = time.monotonic(), waited_nanoseconds()
        # Thread by thread: what has ended meanwhile takes back nothing of what it waited before.
        more = sum(count - self._waited.get(task, 0) for task, count in waited.items())
        held = now - self._noted_at - more / 1_000_000_000 - _INTERVAL_SECONDS
        self._noted_at, self._waited = now, waited
        if held > HELD_SECONDS_MAX:
            self._bark(held)
        super()._note()

    def stop(self) -> None:
        faulthandler.cancel_dump_traceback_later()
        super().stop()
        self._stack.close()

    def _bark(self, seconds: float) -> None:
        self._stack.seek(0)
        stack = self._stack.read().decode(errors="replace")
        self._stack.truncate(0)
        if self._report is not None:
            line = json.dumps({"seconds": round(seconds, 3), "stack": stack}).encode() + b"\n"
            with self._report.open("ab", buffering=0) as report:
                report.write(line)


def waited_nanoseconds() -> dict[str, int]:
    """Return for how long each thread of this process could have run and was not allowed to.

    Of all threads, since one that is not allowed to run may hold what the loop waits for. Where the
    system does not tell, nothing is left out.
    """
    waited: dict[str, int] = {}
    for task in Path("/proc/self/task").glob("*/schedstat"):
        # A thread may have ended meanwhile.
        with suppress(OSError):
            waited[task.parent.name] = int(task.read_text().split()[1])
    return waited


def check_report(report: Path) -> None:
    """Fail where a loop was held up."""
    lines = report.read_text().splitlines() if report.exists() else []
    told = [json.loads(line) for line in lines]
    text = "\n".join(f"{found['seconds']} s\n{found['stack']}" for found in told)
    assert not told, f"the event loop of the server was held up:\n{text}"


def install() -> None:
    """Let the server of this process be watched."""
    from everlog import bootstrap  # noqa: PLC0415 - as late as the command line does it

    vars(bootstrap)["LoopDelay"] = WatchedLoopDelay


def main() -> None:
    from everlog.__main__ import main as run_command_line  # noqa: PLC0415 - as late as it can be

    if "run" in sys.argv[1:2]:
        install()
    run_command_line()


if __name__ == "__main__":
    main()
