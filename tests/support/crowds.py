"""Strangers who take all connections there are, and each that is closed at once again.

A machine is a loopback address here, which Linux lets every client choose.
"""

import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Self

from tests.support.server import DEADLINE_SECONDS, TOKEN

# What a stranger says, to hold a connection.
WORDS = {
    "nothing": b"",
    "half a head": b"GET /api/v1/ping HTTP/1.1\r\nHo",
    "a ping": b"GET /api/v1/ping HTTP/1.1\r\nHost: a\r\n\r\n",
    "a wrong token": (
        b"POST /api/v1/verify-api-token HTTP/1.1\r\nHost: a\r\n"
        b"Authorization: Bearer wrong\r\nContent-Length: 0\r\n\r\n"
    ),
    "half a handshake": b"\x16\3\1\2\0\1\0\1\xfc\3\3",
}

HEAD = f"HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {TOKEN}\r\n".encode()
VERIFY = b"POST /api/v1/verify-api-token " + HEAD + b"Content-Length: 0\r\n\r\n"
OBSERVE = (
    b"POST /api/v1/observe-events " + HEAD + b"Content-Length: 15\r\n\r\n" + b'{"subject":"/"}'
)


def connect_from(machine: str, port: int) -> socket.socket:
    """Connect to a server on this machine from one of its addresses."""
    client = socket.socket()
    client.settimeout(DEADLINE_SECONDS)
    client.bind((machine, 0))
    client.connect(("127.0.0.1", port))
    return client


class Crowd:
    """So many connections from some machines; `go_on` makes each anew until the block ends."""

    def __init__(self, port: int, words: bytes, machines: Sequence[str], count: int) -> None:
        self._port = port
        self._words = words
        self._machines = machines
        self._is_over = threading.Event()
        self._clients = [self._connect(number) for number in range(count)]
        self._thread = threading.Thread(target=self._make_anew)
        self.round_count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        if self._thread.is_alive():
            self._thread.join()
        for client in self._clients:
            client.close()

    def go_on(self) -> None:
        """Begin to make each connection anew, one after the other."""
        self._thread.start()

    def _connect(self, number: int) -> socket.socket:
        client = connect_from(self._machines[number % len(self._machines)], self._port)
        # It may be closed already, for another one.
        with suppress(OSError):
            client.sendall(self._words)
        return client

    def _make_anew(self) -> None:
        while not self._is_over.is_set():
            for number, client in enumerate(self._clients):
                client.close()
                self._clients[number] = self._connect(number)
                if self._is_over.is_set():
                    return
            self.round_count += 1
