"""A way between a client and a server that cuts connections, at bytes that chance chooses."""

import random
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

# Small, so that a cut is seldom where a packet ends.
_PIECE_SIZE = 700


class Cutter:
    """Where clients connect to, and how much they get before they are cut off, if they are."""

    def __init__(self, target: int, listener: socket.socket, rng: random.Random) -> None:
        self.port: int = listener.getsockname()[1]
        # The largest number of bytes that a connection may bring back; None cuts nothing.
        self.size_max: int | None = None
        self.connection_count = self.cut_count = 0
        self._target = target
        self._listener = listener
        self._rng = rng
        self._open: set[socket.socket] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def run(self) -> None:
        """Take connections until the listener is closed."""
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.connection_count += 1
                threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def cut_now(self) -> None:
        """Cut all connections that there are."""
        for connection in tuple(self._open):
            _shut(connection)

    def close(self) -> None:
        self._listener.close()
        self.cut_now()

    def _connect(self, client: socket.socket) -> None:
        target = ("127.0.0.1", self._target)
        with suppress(OSError), client, socket.create_connection(target) as server:
            self._open |= {client, server}
            there = threading.Thread(target=self._pass_on, args=(client, server), daemon=True)
            there.start()
            left = None if self.size_max is None else self._rng.randrange(self.size_max)
            self._pass_on(server, client, left)
            _shut(client)
            _shut(server)
            there.join()
            self._open -= {client, server}

    def _pass_on(
        self, source: socket.socket, target: socket.socket, left: int | None = None
    ) -> None:
        with suppress(OSError):
            while data := source.recv(_PIECE_SIZE):
                if left is not None:
                    if left <= len(data):
                        target.sendall(data[:left])
                        self.cut_count += 1
                        return
                    left -= len(data)
                target.sendall(data)
        _shut(target)


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def cutting(target: int, rng: random.Random) -> Iterator[Cutter]:
    """Lead to a port of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        cutter = Cutter(target, listener, rng)
        thread = threading.Thread(target=cutter.run, daemon=True)
        thread.start()
        try:
            yield cutter
        finally:
            _shut(listener)
            cutter.close()
            thread.join()
