"""The sending side of one connection: writing, waiting for the client, noticing its absence.

Guarantees that writing never raises because of the client, whatever it did: after the connection
is gone, writes vanish and whoever waits is told.
"""

import asyncio
from collections.abc import Sequence

from everlog.http.chunks import Buffer


class DisconnectedError(ConnectionError):
    """The client is gone, and nobody will read what is sent."""


class Output:
    """Everything that is written to one transport."""

    __slots__ = (
        "_loop",
        "_progress_at",
        "_sent_size",
        "_transport",
        "_waiters",
        "_written_size",
        "is_closed",
        "is_paused",
    )

    def __init__(self, transport: asyncio.Transport, *, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._waiters: list[asyncio.Future[None]] = []
        self._written_size = 0
        self._sent_size = -1
        self._progress_at = 0.0
        self.is_paused = False
        self.is_closed = False

    def write(self, data: bytes) -> None:
        """Send `data`, or forget it when the connection is gone."""
        self._written_size += len(data)
        try:
            self._transport.write(data)
        except RuntimeError:
            # uvloop has closed the transport and will say so in `connection_lost`.
            self.is_closed = True

    def write_all(self, parts: Sequence[Buffer], *, size: int) -> None:
        """Send several buffers, about `size` bytes in total, without copying them."""
        self._written_size += size
        try:
            self._transport.writelines(parts)
        except RuntimeError:
            self.is_closed = True

    def pause(self) -> None:
        """Note that the write buffer is full."""
        self.is_paused = True

    def resume(self) -> None:
        """Note that the write buffer has room again."""
        self.is_paused = False
        self._wake()

    def close(self) -> None:
        """Note that the connection is gone; whoever waits gets a DisconnectedError."""
        self.is_closed = True
        self.is_paused = False
        self._wake()

    async def wait_writable(self) -> None:
        """Wait until the client has read enough for more to be sent."""
        while self.is_paused and not self.is_closed:
            waiter: asyncio.Future[None] = self._loop.create_future()
            self._waiters.append(waiter)
            await waiter
        if self.is_closed:
            raise DisconnectedError

    def is_empty(self) -> bool:
        """Whether the kernel has taken everything that was written."""
        return self._transport.get_write_buffer_size() == 0

    def stalled_seconds(self, now: float) -> float:
        """How long the client has not taken a byte of what is waiting for it.

        Progress is noticed at the calls only, which therefore should be frequent.
        """
        buffered_size = self._transport.get_write_buffer_size()
        sent_size = self._written_size - buffered_size
        if buffered_size == 0 or sent_size != self._sent_size:
            self._sent_size = sent_size
            self._progress_at = now
        return now - self._progress_at

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
