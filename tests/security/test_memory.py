"""Memory of the server, whatever clients send and do not take: it grows by what is documented."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import psutil
import pytest

from everlog.http import Limits
from tests.support.api import Connection, an_event
from tests.support.crowds import HEAD
from tests.support.server import DEADLINE_SECONDS, RunningServer, running_server, wait_until

MIB = 1024 * 1024
LIMITS = Limits()

WRITE = b"POST /api/v1/write-events " + HEAD


@pytest.fixture
def server() -> Iterator[RunningServer]:
    with running_server() as server:
        with Connection(server.url) as client:
            client.write(an_event())
        yield server


class Growth:
    """By how many bytes the memory of a server has grown at most."""

    def __init__(self) -> None:
        self.size = 0


@contextmanager
def watched(server: RunningServer) -> Iterator[Growth]:
    """Look at the memory of a server all the time."""
    process = psutil.Process(server.pid)
    before = process.memory_info().rss
    growth, is_over = Growth(), threading.Event()

    def look() -> None:
        while not is_over.wait(0.005):
            growth.size = max(growth.size, process.memory_info().rss - before)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield growth
    finally:
        is_over.set()
        thread.join()


def connect(server: RunningServer, *, receive_buffer_size: int = 0) -> socket.socket:
    client = socket.socket()
    if receive_buffer_size:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_size)
    client.settimeout(DEADLINE_SECONDS)
    client.connect(("127.0.0.1", server.port))
    return client


@pytest.mark.slow
def test_a_body_in_small_chunks_takes_as_much_as_it_has_content(server: RunningServer) -> None:
    # Whitespace in front of a request that is none.
    size = 8 * MIB
    with watched(server) as growth, connect(server) as client:
        client.sendall(WRITE + b"Transfer-Encoding: chunked\r\n\r\n")
        piece = b"2\r\n  \r\n" * (size // 2 // 64)
        for _ in range(64):
            client.sendall(piece)
        client.sendall(b"0\r\n\r\n")
        assert client.recv(4_096).startswith(b"HTTP/1.1 400 ")
    # The content, and a copy of it that is handed over.
    assert growth.size < 4 * size


@pytest.mark.slow
def test_many_large_bodies_take_no_more_than_the_memory_for_them(server: RunningServer) -> None:
    size = 60 * MIB
    with watched(server) as growth, ExitStack() as stack:
        clients = [stack.enter_context(connect(server)) for _ in range(30)]
        for client in clients:
            client.sendall(WRITE + b"Content-Length: %d\r\n\r\n" % size)
            client.settimeout(0.2)
        # All that is taken, which never is a whole body.
        for _ in range(3):
            for client in clients:
                with suppress(TimeoutError):
                    for _ in range(19):
                        client.sendall(b" " * MIB)
        # Meanwhile, what is small is written, and what is not very large, too.
        with Connection(server.url) as other:
            other.write(an_event())
            other.write(*[an_event(data={"text": "x" * 60_000}) for _ in range(20)])
    assert growth.size < LIMITS.bodies_size_max + 128 * MIB


def read_requests(count: int) -> bytes:
    body = b'{"subject":"/","options":{"recursive":true}}'
    head = b"POST /api/v1/read-events " + HEAD + b"Content-Length: %d\r\n\r\n" % len(body)
    return (head + body) * count


@pytest.mark.slow
@pytest.mark.parametrize(
    "requests",
    [
        pytest.param(b"GET /api/v1/ping HTTP/1.1\r\nHost: a\r\n\r\n" * 20_000, id="pings"),
        pytest.param(b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n" * 20_000, id="nothing"),
        pytest.param(
            b"GET /.well-known/openapi HTTP/1.1\r\nHost: a\r\n\r\n" * 5_000, id="documents"
        ),
        pytest.param(read_requests(2_000), id="reads"),
    ],
)
def test_answers_that_nobody_takes_are_not_made(server: RunningServer, requests: bytes) -> None:
    with Connection(server.url) as client:
        client.write(*[an_event(data={"text": "x" * 10_000}) for _ in range(100)])
    count = 150
    with watched(server) as growth, ExitStack() as stack:
        clients = [
            stack.enter_context(connect(server, receive_buffer_size=4_096)) for _ in range(count)
        ]
        for client in clients:
            client.settimeout(0.001)
            with suppress(TimeoutError):
                client.sendall(requests)
        time.sleep(1.0)
        with Connection(server.url) as other:
            other.write(an_event())
    assert growth.size < LIMITS.backlog_size_max + 128 * MIB


@pytest.mark.slow
@pytest.mark.parametrize("is_behind", [False, True], ids=["up to date", "behind"])
def test_observers_that_take_nothing_cost_little(server: RunningServer, *, is_behind: bool) -> None:
    events = [an_event(data={"text": "x" * 1_000}) for _ in range(1_000)]
    body = b'{"subject":"/","options":{"recursive":true}}'
    observe = b"POST /api/v1/observe-events " + HEAD + b"Content-Length: %d\r\n\r\n" % len(body)
    count = 1_000
    with Connection(server.url) as writer, watched(server) as growth, ExitStack() as stack:
        for _ in range(20 * is_behind):
            writer.write(*events)
        before = growth.size
        for _ in range(count):
            client = stack.enter_context(connect(server, receive_buffer_size=4_096))
            client.sendall(observe + body)
        wait_until(lambda: observer_count(writer) == count)
        for _ in range(20):
            writer.write(*events)
        time.sleep(2.0)
        assert observer_count(writer) == count
    # Less than a third of what each took before, and no more than this however many they are.
    assert growth.size - before < 512 * MIB


def observer_count(client: Connection) -> int:
    checks = client.ask("GET", "/api/v1/health").json["checks"]
    return int(checks["http:observers"][0]["observedValue"])
