"""How an owner and a front speak: frames over one socket, and open sockets over another.

What is said in one turn of the event loop leaves in one send. What is received is handed on frame
by frame, on the event loop's thread.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final, cast

from everlog.service.fronts.messages import HEADER, Kind

# What one end has not taken of what the other said: then it hangs, and is not worth its memory.
_WAITING_SIZE_MAX: Final = 256 * 1024 * 1024

# What one turn of the event loop takes of sockets that wait.
_SOCKETS_PER_TURN: Final = 32

OnFrame = Callable[[Kind, bytes], None]


class Channel(asyncio.Protocol):
    """One end of the socket for frames."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        on_frame: OnFrame,
        on_lost: Callable[[], None],
        before_send: Callable[[], None] = lambda: None,
    ) -> None:
        """Speak once connected; `before_send` may say more in the turn in which it is called."""
        self._loop: Final = loop
        self._on_frame: Final = on_frame
        self._on_lost: Final = on_lost
        self._before_send: Final = before_send
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._frames: list[bytes] = []
        self._is_due = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to speak."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Hand on whole frames, and keep the rest."""
        received: bytes | bytearray = data
        if self._received:
            self._received += data
            received = self._received
        start, size = 0, len(received)
        while size - start >= HEADER.size:
            length, kind = HEADER.unpack_from(received, start)
            stop = start + HEADER.size + length
            if stop > size:
                break
            self._on_frame(Kind(kind), bytes(received[start + HEADER.size : stop]))
            start = stop
        if received is self._received:
            del self._received[:start]
        elif start < size:
            self._received += data[start:]

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's
        """Tell that the other end is gone."""
        self._transport = None
        self._on_lost()

    def send(self, kind: Kind, content: bytes = b"") -> None:
        """Say something at the end of this turn of the event loop."""
        self._frames.append(HEADER.pack(len(content), kind) + content)
        self.have_turn()

    def have_turn(self) -> None:
        """Have `before_send` called at the end of this turn."""
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._flush)

    def close(self) -> None:
        """Say nothing any more."""
        if self._transport is not None:
            self._transport.abort()

    def _flush(self) -> None:
        self._before_send()
        self._is_due = False
        frames, self._frames = self._frames, []
        transport = self._transport
        if transport is None or not frames:
            return
        with suppress(RuntimeError):
            transport.write(frames[0] if len(frames) == 1 else b"".join(frames))
        if transport.get_write_buffer_size() > _WAITING_SIZE_MAX:
            transport.abort()


class SocketLane:
    """One end of the socket that sockets are handed over, each with a word."""

    def __init__(
        self,
        lane: socket.socket,
        loop: asyncio.AbstractEventLoop,
        *,
        on_socket: Callable[[bytes, socket.socket], None],
    ) -> None:
        """Take over a socket pair's end of the kind SEQPACKET."""
        self._lane: Final = lane
        self._loop: Final = loop
        self._on_socket: Final = on_socket
        self._waiting: Final[deque[tuple[bytes, socket.socket]]] = deque()
        lane.setblocking(False)  # noqa: FBT003 - it takes no keyword.
        loop.add_reader(lane, self._receive)

    def send(self, word: bytes, handed: socket.socket) -> None:
        """Hand a socket over, which is the other's from then on."""
        self._waiting.append((word, handed))
        if len(self._waiting) == 1:
            self._send()

    def close(self) -> None:
        """Hand nothing over any more; what waits is closed."""
        if self._lane.fileno() < 0:
            return
        self._loop.remove_reader(self._lane)
        self._loop.remove_writer(self._lane)
        self._lane.close()
        for _, handed in self._waiting:
            handed.close()
        self._waiting.clear()

    def _send(self) -> None:
        while self._waiting:
            word, handed = self._waiting[0]
            try:
                socket.send_fds(self._lane, [word], [handed.fileno()])
            except BlockingIOError:
                self._loop.add_writer(self._lane, self._send)
                return
            except OSError:
                # The other is gone, and who speaks with it finds out.
                self.close()
                return
            self._waiting.popleft()
            handed.close()
        self._loop.remove_writer(self._lane)

    def _receive(self) -> None:
        for _ in range(_SOCKETS_PER_TURN):
            try:
                word, files, _, _ = socket.recv_fds(self._lane, 16, 1)
            except BlockingIOError:
                return
            except OSError:
                word, files = b"", []
            if not files:
                if self._lane.fileno() >= 0 and not word:
                    self._loop.remove_reader(self._lane)
                return
            self._on_socket(word, socket.socket(fileno=files[0]))
