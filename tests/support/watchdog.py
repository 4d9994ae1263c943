"""A watchdog: it notes where the event loop of a server was held up for too long.

Run as `python -m tests.support.watchdog run <flags>`, it is the command line with the watchdog in
it; whoever starts a server so reads the report at its end. The product measures its loop for
operators; here the same is measured more often, and the time in which the system let somebody else
compute is left out, so that a busy machine is not taken for a busy server.
"""

import asyncio
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from everlog.monitoring.loop_delay import LoopDelay

# The rule is 50 milliseconds (docs/reliability.md); a machine may be four times slower.
HELD_SECONDS_MAX: Final = 0.2

_INTERVAL_SECONDS: Final = 0.02

# How often somebody else looks what the loop's thread is doing, where it has not come back.
_LOOK_SECONDS: Final = 0.05

_TASKS: Final = "/proc/self/task"

_SCHEDSTAT_SIZE_MAX: Final = 128

REPORT_VARIABLE: Final = "WATCHDOG_REPORT"


class WatchedLoopDelay(LoopDelay):
    """Looks fifty times a second, and reports to the file that the environment names."""

    def __init__(self, loop: asyncio.AbstractEventLoop, report: Path | None = None) -> None:
        super().__init__(loop, interval_seconds=_INTERVAL_SECONDS)
        name = os.environ.get(REPORT_VARIABLE)
        self._report: Final = report or (Path(name) if name else None)
        self._has_stopped: Final = threading.Event()
        # What it was doing when it was caught in the act, as far as Python knows.
        self._stack = ""
        self._noted_at = 0.0
        self._waited: dict[str, int] = {}

    def start(self) -> None:
        self._noted_at, self._waited = time.monotonic(), waited_nanoseconds()
        # Without memory for it, nobody is caught in the act.
        with suppress(RuntimeError):
            look = threading.Thread(target=self._look, args=(threading.get_ident(),), daemon=True)
            look.start()
        super().start()

    def _look(self, thread: int) -> None:
        while not self._has_stopped.wait(_LOOK_SECONDS):
            frame = sys._current_frames().get(thread)
            if time.monotonic() - self._noted_at > HELD_SECONDS_MAX and frame is not None:
                self._stack = "".join(traceback.format_stack(frame))

    def _note(self) -> None:
        now, waited = time.monotonic(), waited_nanoseconds()
        # Thread by thread: what has ended meanwhile takes back nothing of what it waited before.
        more = sum(count - self._waited.get(task, 0) for task, count in waited.items())
        held = now - self._noted_at - more / 1_000_000_000 - _INTERVAL_SECONDS
        # What it waited in between is in what was subtracted just now, and not in what comes.
        self._noted_at, self._waited = time.monotonic(), waited
        if held > HELD_SECONDS_MAX:
            self._bark(held)
        super()._note()

    def stop(self) -> None:
        self._has_stopped.set()
        super().stop()

    def _bark(self, seconds: float) -> None:
        stack, self._stack = self._stack, ""
        if self._report is not None:
            found = {"until": time.monotonic(), "seconds": round(seconds, 3), "stack": stack}
            line = json.dumps(found).encode() + b"\n"
            with self._report.open("ab", buffering=0) as report:
                report.write(line)


def waited_nanoseconds() -> dict[str, int]:
    """Return for how long each thread of this process could have run and was not allowed to.

    Of all threads, since one that is not allowed to run may hold what the loop waits for. Where the
    system does not tell, nothing is left out.
    """
    waited: dict[str, int] = {}
    # Asked for fifty times a second by every server of the tests: in as few steps as it takes.
    with suppress(OSError), os.scandir(_TASKS) as tasks:
        for task in tasks:
            # A thread may have ended meanwhile.
            with suppress(OSError):
                waited[task.name] = int(_read(f"{task.path}/schedstat").split()[1])
    return waited


def _read(name: str) -> bytes:
    file = os.open(name, os.O_RDONLY)
    try:
        return os.read(file, _SCHEDSTAT_SIZE_MAX)
    finally:
        os.close(file)


def check_report(report: Path, pauses: Sequence[tuple[float, float]] = ()) -> None:
    """Fail where a loop was held up, other than by being paused from one moment to another."""

    def was_paused(until: float, seconds: float) -> bool:
        return any(begin < until and until - seconds < end for begin, end in pauses)

    lines = report.read_text().splitlines() if report.exists() else []
    told = [json.loads(line) for line in lines]
    told = [found for found in told if not was_paused(found["until"], found["seconds"])]
    text = "\n".join(f"{found['seconds']} s\n{found['stack']}" for found in told)
    assert not told, f"the event loop of the server was held up:\n{text}"


def install() -> None:
    """Let the server of this process be watched."""
    from everlog.cli import run  # noqa: PLC0415 - as late as the command line does it

    # As quickly as the command line does it, too.
    run._import_server()
    vars(sys.modules["everlog.bootstrap"])["LoopDelay"] = WatchedLoopDelay


def main() -> None:
    from everlog.__main__ import main as run_command_line  # noqa: PLC0415 - as late as it can be

    if "run" in sys.argv[1:2]:
        install()
    run_command_line()


if __name__ == "__main__":
    main()
