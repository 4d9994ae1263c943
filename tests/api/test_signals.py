"""Signals are heard from the first moment, whatever the process does, and interrupt nothing."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.server import (
    DEADLINE_SECONDS,
    RunningServer,
    clean_environment,
    starting_server,
    wait_until,
)

# With a flag that changes nothing, so that it is started as it is.
MODULE = (sys.executable, "-s", "-m", "everlog")
SCRIPT = (str(Path(sys.executable).with_name("everlog")),)
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

# How many moments of a start, each with a server of its own.
MOMENTS = int(os.environ.get("EVERLOG_START_MOMENTS", "4"))

# Far longer than it takes until a server listens, however busy the machine is.
STARTING_SECONDS = 0.8


def is_listening_to_signals(process_id: int) -> bool:
    """Tell whether the process has begun to do so; nobody can before the interpreter runs."""
    lines = Path(f"/proc/{process_id}/status").read_text().splitlines()
    masks = [int(line.split()[1], 16) for line in lines if line.startswith(("SigBlk", "SigCgt"))]
    return any(mask >> (signal.SIGINT - 1) & 1 for mask in masks) and any(
        mask >> (signal.SIGHUP - 1) & 1 for mask in masks
    )


def check_ended_in_order(server: RunningServer) -> None:
    assert server.wait() == 0
    assert server.errors == []
    messages = [line["message"] for line in server.log]
    assert "unexpected error" not in messages
    # Before there is a log there is nothing to say.
    assert ("stopping" in messages) == (messages[-1:] == ["stopped"])


@pytest.mark.slow
@pytest.mark.parametrize("entry_point", [MODULE, SCRIPT], ids=["module", "script"])
@pytest.mark.parametrize("number", SIGNALS)
def test_a_server_hears_a_signal_at_any_moment_of_its_start(
    tmp_path: Path, number: signal.Signals, entry_point: Sequence[str]
) -> None:
    moments = random.Random(number)
    for _ in range(MOMENTS):
        with starting_server(
            is_temporary=True, entry_point=entry_point, environment={"TMPDIR": str(tmp_path)}
        ) as server:
            wait_until(lambda: is_listening_to_signals(server.pid))
            time.sleep(moments.uniform(0, STARTING_SECONDS))
            server.process.send_signal(number)
            if number is signal.SIGHUP:
                # It goes on, and does what it is asked.
                server.wait_for_log("listening")
                server.wait_for_log("there is no token file to read again")
                server.ask_to_stop()
            check_ended_in_order(server)
        assert not any(tmp_path.iterdir())


# Sends a signal to itself when a module is about to be imported, and then goes on.
IMPORTING = """
import os, runpy, sys
module, number = sys.argv[1], int(sys.argv[2])
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == module and number in pending:
            pending.remove(number)
            os.kill(os.getpid(), number)
pending = [number]
sys.meta_path.insert(0, Finder())
del sys.argv[1:3]
runpy.run_module("everlog", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize("module", ["click", "msgspec", "asyncio", "uvloop", "numpy", "httptools"])
@pytest.mark.parametrize("number", SIGNALS)
def test_a_server_hears_a_signal_while_it_imports(number: signal.Signals, module: str) -> None:
    entry_point = (sys.executable, "-c", IMPORTING, module, str(number.value))
    with starting_server(is_temporary=True, entry_point=entry_point) as server:
        if number is signal.SIGHUP:
            server.wait_for_log("there is no token file to read again")
            server.ask_to_stop()
        check_ended_in_order(server)


# How a signal is given to a server that inherits it ignored, or blocked.
IGNORING = (
    "import os, signal, sys\n"
    "for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):\n"
    "    signal.signal(each, signal.SIG_IGN)\n"
    "os.execv(sys.argv[1], sys.argv[1:])"
)
BLOCKING = (
    "import os, signal, sys\n"
    "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\n"
    "os.execv(sys.argv[1], sys.argv[1:])"
)


@pytest.mark.parametrize("program", [IGNORING, BLOCKING], ids=["ignored", "blocked"])
@pytest.mark.parametrize("number", SIGNALS[:2])
def test_what_whoever_started_it_did_not_want_to_hear_is_heard(
    program: str, number: signal.Signals
) -> None:
    entry_point = (sys.executable, "-c", program, *MODULE)
    with starting_server(is_temporary=True, entry_point=entry_point) as server:
        server.wait_for_log("listening")
        server.process.send_signal(signal.SIGHUP)
        server.wait_for_log("there is no token file to read again")
        server.process.send_signal(number)
        check_ended_in_order(server)


# The same as `python -m everlog`, which says when it has got so far.
TELLING = """
import os, sys
from everlog import process
begin = process.begin
def tell(**options):
    begin(**options)
    os.write(2, b"begun\\n")
process.begin = tell
from everlog.__main__ import main
main()
"""

# Each row: a command that ends by itself, and the codes with which it does.
COMMANDS: tuple[tuple[tuple[str, ...], set[int]], ...] = (
    (("version",), {0}),
    (("--help",), {0}),
    (("diagnostics",), {0}),
    (("audit", "--data-directory=/missing"), {3}),
    (("query", "--data-directory=/missing", "FROM e IN events PROJECT INTO e"), {3}),
    (("generate", "signing-key", "--file=/missing/key"), {2}),
    (("query", "--data-directory=/missing"), {6}),
)


@pytest.mark.slow
@pytest.mark.parametrize("arguments, codes", COMMANDS, ids=lambda value: str(value)[:40])
def test_a_command_that_is_interrupted_ends_without_a_traceback(
    arguments: tuple[str, ...], codes: set[int]
) -> None:
    moments = random.Random(len(arguments))
    for _ in range(8):
        process = subprocess.Popen(
            [sys.executable, "-c", TELLING, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=clean_environment(),
        )
        with process:
            assert process.stderr is not None
            assert process.stderr.readline() == b"begun\n"
            time.sleep(moments.uniform(0, STARTING_SECONDS / 2))
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=DEADLINE_SECONDS)
        assert b"Traceback" not in errors
        # When all is done, the system ends it as it ends everybody.
        assert process.returncode in codes | {130, -signal.SIGINT}
