"""10,000 clients at once: all of them are answered, and those who work are not held up.

The process begins with the soft limit of open files that systems give by default, and has to raise
it itself. Where the hard limit is too low, there are as many clients as it allows, which is said.
"""

import resource
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from time import monotonic

import psutil
import pytest

from everlog.http import Limits
from tests.support.api import Connection, an_event
from tests.support.planted_bugs import Bug
from tests.support.rack_server import Plan, entry_point
from tests.support.server import RunningServer, running_server, wait_until

CLIENTS = 10_000
WORKING = 64
SOFT_LIMIT = 1_024

# What the server needs besides one file for each client, and what this process does.
FILES_BESIDES = 1_000

# Python objects of a connection, and the buffers of a socket that the kernel counts elsewhere.
SIZE_PER_CLIENT_MAX = 16 * 1024

PING = b"GET /api/v1/ping HTTP/1.1\r\nHost: a\r\n\r\n"


def hard_limit() -> int:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if hard == resource.RLIM_INFINITY else hard


@contextmanager
def many_files() -> Iterator[None]:
    """Let this process have as many files open as the system allows."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def connect(server: RunningServer, count: int, stack: ExitStack) -> Sequence[socket.socket]:
    """Connect so many clients, fewer only where one is turned away."""
    clients = []
    for _ in range(count):
        client = stack.enter_context(socket.socket())
        client.settimeout(30)
        try:
            client.connect(("127.0.0.1", server.port))
        except OSError:
            break
        clients.append(client)
    return clients


def count_answered(clients: Sequence[socket.socket]) -> int:
    """Ask with all clients at once, and return how many get a good answer."""
    answered = 0
    for client in clients:
        try:
            client.sendall(PING)
        except OSError:
            continue
    for client in clients:
        try:
            answered += client.recv(4_096).startswith(b"HTTP/1.1 200 ")
        except OSError:
            continue
    return answered


def write_with_many(server: RunningServer, stack: ExitStack) -> int:
    """Write with some clients, and return how many writes were acknowledged."""
    working = [stack.enter_context(Connection(server.url)) for _ in range(WORKING)]
    return sum(len(connection.write(an_event())) for connection in working)


@pytest.mark.slow
def test_ten_thousand_clients_are_answered(capsys: pytest.CaptureFixture[str]) -> None:
    count = min(CLIENTS, hard_limit() - FILES_BESIDES)
    plan = Plan(file_limits=(SOFT_LIMIT, min(hard_limit(), 1 << 20)))
    with (
        many_files(),
        running_server(entry_point=entry_point(plan)) as server,
        ExitStack() as stack,
    ):
        process = psutil.Process(server.pid)
        size = process.memory_info().rss
        started = monotonic()
        clients = connect(server, count, stack)
        assert count_answered(clients) == count
        assert process.num_fds() >= count
        assert write_with_many(server, stack) == WORKING
        # Idle ones are still there.
        assert count_answered(clients) == count
        seconds = monotonic() - started
        growth = process.memory_info().rss - size
        assert growth < SIZE_PER_CLIENT_MAX * count
        with capsys.disabled():
            figures = f"{count} connections in {seconds:.1f} s; RSS grew by {growth >> 20} MiB"
            sys.stdout.write(f"\n{figures}\n")
        stack.close()
        wait_until(lambda: process.num_fds() < WORKING)
        assert server.stop() == 0


@pytest.mark.slow
def test_a_server_that_does_not_raise_its_limit_is_noticed() -> None:
    plan = Plan(file_limits=(SOFT_LIMIT, SOFT_LIMIT * 2), bug=Bug.KEEPS_THE_FILE_LIMIT)
    count = SOFT_LIMIT + 100
    with (
        many_files(),
        running_server(entry_point=entry_point(plan)) as server,
        ExitStack() as stack,
    ):
        assert count_answered(connect(server, count, stack)) < count


def test_as_many_clients_are_allowed() -> None:
    assert Limits().connections_max >= CLIENTS + WORKING
