"""One chunked answer, while it is being produced.

A stream never holds data of its own: what is sent goes to the connection's output, and whoever
produces waits while the client does not read. Memory per stream is thus bounded by the write
buffer, however long the answer is.
"""

import asyncio
from collections.abc import Awaitable, Callable

from everlog.http.answers import FINAL_CHUNK, Headers
from everlog.http.output import DisconnectedError, Output

# Up to this size copying costs less than another buffer to write (and, with TLS, another record).
_JOIN_SIZE_MAX = 16 * 1024

# A kernel that takes everything would never make us wait, and the others would never have a turn.
_YIELD_SIZE = 256 * 1024


class Stream:
    """The body of an answer, sent in parts."""

    __slots__ = ("_is_chunked", "_loop", "_output", "_size_since_yield", "last_sent")

    def __init__(
        self, output: Output, *, is_chunked: bool, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._output = output
        self._is_chunked = is_chunked
        self._loop = loop
        self._size_since_yield = 0
        # When something was sent last, in the event loop's time.
        self.last_sent = loop.time()

    async def send(self, *chunks: bytes | memoryview) -> None:
        """Send the concatenation of the buffers as one chunk, at the pace of the client.

        Raises DisconnectedError when the client is gone.
        """
        output = self._output
        if output.is_paused:
            await output.wait_writable()
        size = self._write(chunks)
        if output.is_paused:
            await output.wait_writable()
            self._size_since_yield = 0
            return
        self._size_since_yield += size
        if self._size_since_yield >= _YIELD_SIZE:
            self._size_since_yield = 0
            await asyncio.sleep(0)

    def send_nowait(self, data: bytes) -> bool:
        """Send one chunk if the client keeps up; otherwise send nothing and return False."""
        if self._output.is_paused or self._output.is_closed:
            return False
        self._write((data,))
        return True

    def idle_seconds(self, now: float) -> float:
        """How long nothing has been sent, `now` being the event loop's time."""
        return now - self.last_sent

    def finish(self) -> None:
        """Mark the end of the body; for the connection only."""
        if self._is_chunked:
            self._output.write(FINAL_CHUNK)

    def probe(self) -> bool:
        """Send a byte without meaning, so that a client which is gone resets the connection.

        A chunk size may begin with zeros (RFC 9112 section 7.1), and so may the last chunk's:
        whatever is sent next continues the number.
        """
        if not self._is_chunked or self._output.is_paused:
            return False
        self._output.write(b"0")
        return True

    def _write(self, chunks: tuple[bytes | memoryview, ...]) -> int:
        if self._output.is_closed:
            raise DisconnectedError
        # A memoryview's length counts items, which need not be bytes.
        size = sum(memoryview(chunk).nbytes for chunk in chunks)
        if size == 0:
            # An empty chunk would be the end of the body.
            return 0
        self.last_sent = self._loop.time()
        parts: tuple[bytes | memoryview, ...] = chunks
        if self._is_chunked:
            parts = (b"%x\r\n" % size, *chunks, b"\r\n")
        if size <= _JOIN_SIZE_MAX:
            self._output.write(b"".join(parts))
        else:
            self._output.write_all(parts, size=size)
        return size


class StreamAnswer:
    """The wish to stream, kept until it is this answer's turn."""

    __slots__ = ("content_type", "headers", "produce", "status")

    def __init__(
        self,
        *,
        status: int,
        content_type: bytes,
        headers: Headers,
        produce: Callable[[Stream], Awaitable[None]],
    ) -> None:
        self.status = status
        self.content_type = content_type
        self.headers = headers
        self.produce = produce
