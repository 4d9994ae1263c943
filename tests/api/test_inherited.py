"""What a server inherits: descriptors that are closed, broken, or that nobody reads."""

import fcntl
import json
import os
import pty
import resource
import select
import shlex
import signal
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from everlog.process import fill_standard_descriptors
from tests.support.api import Connection, an_event
from tests.support.server import (
    DEADLINE_SECONDS,
    EVERLOG,
    TOKEN,
    clean_environment,
    running_server,
    wait_until,
)

# What a server takes to end that has nothing to wait for, and a second for its log.
STOP_SECONDS_MAX = 10.0


def link_of(process_id: int, number: int) -> str:
    """Return what a descriptor of a process is."""
    return str(Path(f"/proc/{process_id}/fd/{number}").readlink())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def command(data: Path, port: int) -> list[str]:
    return [
        *EVERLOG,
        "run",
        f"--data-directory={data}",
        "--host=127.0.0.1",
        "--http-enabled",
        f"--http-port={port}",
        "--https-enabled=false",
    ]


@contextmanager
def silent_server(
    data: Path, *, redirection: str = "", stdout: int | IO[bytes] | None = None
) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    """Start a server whose log tells nothing, and yield it with its address once it answers."""
    port = free_port()
    words = shlex.join(command(data, port))
    with subprocess.Popen(
        ["sh", "-c", f"exec {words} {redirection}"],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        env={**clean_environment(), "EVERLOG_API_TOKEN": TOKEN},
    ) as process:
        try:
            wait_until(lambda: process.poll() is not None or is_answering(port))
            assert process.poll() is None
            yield process, f"http://127.0.0.1:{port}"
        finally:
            if process.poll() is None:
                process.kill()


def is_answering(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def check_works(url: str, *, count: int = 20) -> None:
    with Connection(url) as connection:
        before = len(connection.read_all())
        for _ in range(count):
            connection.write(an_event())
        assert len(connection.read_all()) == before + count


def check_ends(process: "subprocess.Popen[bytes]", number: signal.Signals = signal.SIGTERM) -> None:
    started = time.monotonic()
    process.send_signal(number)
    assert process.wait(DEADLINE_SECONDS) == 0
    assert time.monotonic() - started < STOP_SECONDS_MAX


@pytest.mark.parametrize("redirection", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", "<&- 2>&-"])
def test_a_descriptor_that_is_closed_is_not_given_to_anything_else(
    tmp_path: Path, redirection: str
) -> None:
    with silent_server(tmp_path / "data", redirection=redirection) as (process, url):
        check_works(url)
        for number in (0, 1, 2):
            assert link_of(process.pid, number) in {
                "/dev/null",
                link_of(os.getpid(), number),
            }
        check_ends(process)

    # No line of the log went into a file of the data directory.
    for path in (tmp_path / "data").rglob("*"):
        assert path.is_dir() or b"stopping" not in path.read_bytes()


@pytest.mark.parametrize("redirection", [">/dev/full", "1</dev/null", ">&- 2>/dev/full"])
def test_a_log_that_cannot_be_written_harms_nobody(tmp_path: Path, redirection: str) -> None:
    with silent_server(tmp_path / "data", redirection=redirection) as (process, url):
        check_works(url)
        check_ends(process)


def test_a_log_whose_reader_is_gone_harms_nobody(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    with theirs, silent_server(tmp_path / "data", stdout=theirs.fileno()) as (process, url):
        ours.close()
        check_works(url)
        check_ends(process)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_pipe_that_nobody_reads_stops_nobody(tmp_path: Path, number: signal.Signals) -> None:
    reading, writing = os.pipe()
    # Full before the server begins.
    fcntl.fcntl(writing, fcntl.F_SETFL, os.O_NONBLOCK)
    try:
        while True:
            os.write(writing, b"x" * 4_096)
    except BlockingIOError:
        fcntl.fcntl(writing, fcntl.F_SETFL, 0)
    with silent_server(tmp_path / "data", stdout=writing) as (process, url):
        check_works(url)
        # Each is told of in the log.
        for _ in range(50):
            process.send_signal(signal.SIGHUP)
        check_works(url)
        check_ends(process, number)
    os.close(writing)
    os.close(reading)


def test_a_pipe_that_is_read_late_gets_every_line_in_its_order(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4_096)
    with silent_server(tmp_path / "data", stdout=writing) as (process, url):
        os.close(writing)
        for _ in range(200):
            process.send_signal(signal.SIGHUP)
        check_works(url)
        process.send_signal(signal.SIGTERM)
        with os.fdopen(reading, "rb") as pipe:
            lines = [json.loads(line) for line in pipe]
        assert process.wait(DEADLINE_SECONDS) == 0
    assert [line["message"] for line in (lines[0], *lines[-2:])] == [
        "starting",
        "stopping",
        "stopped",
    ]
    times = [line["time"] for line in lines]
    assert times == sorted(times)


def test_a_terminal_that_is_stopped_stops_nobody(tmp_path: Path) -> None:
    """As with Ctrl+S."""
    master, slave = pty.openpty()
    with silent_server(tmp_path / "data", stdout=slave) as (process, url):
        termios.tcflow(slave, termios.TCOOFF)
        process.send_signal(signal.SIGHUP)
        check_works(url)
        process.send_signal(signal.SIGHUP)
        check_ends(process)
        termios.tcflow(slave, termios.TCOON)
    os.close(slave)
    os.close(master)


def test_whether_a_descriptor_blocks_is_left_to_those_who_share_it(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    for is_blocking in (True, False):
        os.set_blocking(writing, is_blocking)
        with silent_server(tmp_path / "data", stdout=writing) as (process, url):
            check_works(url, count=1)
            check_ends(process)
        assert os.get_blocking(writing) is is_blocking
        assert select.select([reading], [], [], 0)[0]
        assert os.read(reading, 65_536).rstrip().endswith(b'"stopped"}')
    os.close(writing)
    os.close(reading)


# Started with little of everything.
POOR = (
    "import os, resource, sys\n"
    "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n"
    "resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n"
    "resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))\n"
    "os.execv(sys.argv[1], sys.argv[1:])"
)


@pytest.mark.parametrize(
    "environment",
    [
        {"LC_ALL": "C"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "ascii:strict"},
        {"PYTHONWARNINGS": "error", "PYTHONUNBUFFERED": "1", "PYTHONDEVMODE": "1"},
    ],
    ids=" ".join,
)
def test_neither_language_nor_limits_matter(environment: dict[str, str]) -> None:
    entry_point = (sys.executable, "-c", POOR, *EVERLOG)
    with running_server(entry_point=entry_point, environment=environment) as server:
        check_works(server.url)
        assert server.stop() == 0
    assert server.errors == []


def test_descriptors_that_are_open_stay_what_they_are() -> None:
    before = [os.fstat(number) for number in (0, 1, 2)]

    fill_standard_descriptors()

    after = [os.fstat(number) for number in (0, 1, 2)]
    assert [found.st_ino for found in after] == [found.st_ino for found in before]
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 3
