"""Clients of our own, where wrk and curl cannot look: first bytes, and many streams at once."""

import resource
import selectors
import socket
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from benchmarks.servers import TOKEN

_RECEIVE_SIZE = 256 * 1024
_SECONDS_MAX = 60.0


def render_request(method: str, path: str, body: bytes) -> bytes:
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def connect(port: int) -> socket.socket:
    connected = socket.create_connection(("127.0.0.1", port), timeout=_SECONDS_MAX)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connected


def seconds_to_first_byte(port: int, request: bytes) -> float:
    """Return how long the first event of an answer takes on a fresh connection."""
    with connect(port) as connected:
        begin = time.perf_counter()
        connected.sendall(request)
        received = b""
        # The head is followed by the first event, with the size of a chunk in front of it or not.
        while b"{" not in received.partition(b"\r\n\r\n")[2]:
            data = connected.recv(_RECEIVE_SIZE)
            if not data:
                raise RuntimeError("the server ended an answer before its first event")
            received += data
        return time.perf_counter() - begin


def allow_connections(count: int) -> None:
    """Raise the limit of open files of this process, if need be and as far as it may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + 256
    if soft >= wanted:
        return
    if hard not in {resource.RLIM_INFINITY, -1} and hard < wanted:
        raise RuntimeError(f"{wanted} open files are needed, {hard} are allowed: see `ulimit -n`")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class Crowd:
    """Many connections that each sent the same request, or none."""

    def __init__(self, port: int, *, size: int, request: bytes = b"") -> None:
        """Connect all of them."""
        allow_connections(size)
        self._selector = selectors.DefaultSelector()
        self._sockets: list[socket.socket] = []
        for _ in range(size):
            connected = connect(port)
            connected.sendall(request)
            connected.settimeout(0)
            self._selector.register(connected, selectors.EVENT_READ)
            self._sockets.append(connected)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._selector.close()
        for connected in self._sockets:
            connected.close()

    def count(self, text: bytes, *, until: Callable[[int], bool], seconds: float) -> int:
        """Receive until there were enough of a text or the time is over; return how many.

        A text is counted where it arrives in one piece, which short items on loopback do.
        """
        deadline = time.monotonic() + seconds
        found = 0
        while not until(found) and (left := deadline - time.monotonic()) > 0:
            for key, _ in self._selector.select(left):
                connected = key.fileobj
                assert isinstance(connected, socket.socket)
                data = connected.recv(_RECEIVE_SIZE)
                if not data:
                    raise RuntimeError("the server ended a connection")
                found += data.count(text)
        return found
