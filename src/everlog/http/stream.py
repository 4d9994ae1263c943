"""One chunked answer, while it is being produced.

A stream never holds data of its own: what is sent goes to the connection's output, and whoever
produces waits while the client does not read. Memory per stream is thus bounded by the write
buffer, however long the answer is.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from everlog.http.answers import Headers
from everlog.http.chunks import FINAL_CHUNK, Buffer, frame, frame_lines
from everlog.http.output import DisconnectedError, Output

# Up to this size copying costs less than another buffer to write (and, with TLS, another record).
_JOIN_SIZE_MAX = 16 * 1024

# A kernel that takes everything would never make us wait, and the others would never have a turn.
_YIELD_SIZE = 256 * 1024


class Stream:
    """The body of an answer, sent in parts."""

    __slots__ = ("_is_chunked", "_output", "_size_since_yield")

    def __init__(self, output: Output, *, is_chunked: bool) -> None:
        self._output = output
        self._is_chunked = is_chunked
        self._size_since_yield = 0

    async def send(self, data: Buffer) -> None:
        """Send bytes as one chunk, at the pace of the client.

        Raises DisconnectedError when the client is gone.
        """
        await self._send(frame(data) if self._is_chunked else (data,))

    async def send_lines(self, lines: Buffer, starts: Sequence[int] | None = None) -> None:
        """Send whole lines, each as a chunk of its own, at the pace of the client.

        `starts` says where each begins, counted from any offset, where that is known.
        Raises DisconnectedError when the client is gone.
        """
        await self._send(frame_lines(lines, starts) if self._is_chunked else (lines,))

    def send_nowait(self, data: bytes) -> bool:
        """Send one chunk if the client keeps up; otherwise send nothing and return False."""
        if self._output.is_paused or self._output.is_closed:
            return False
        self._write(frame(data) if self._is_chunked else (data,))
        return True

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

    async def _send(self, parts: tuple[Buffer, ...]) -> None:
        output = self._output
        if output.is_paused:
            await output.wait_writable()
        self._size_since_yield += self._write(parts)
        if output.is_paused:
            await output.wait_writable()
            self._size_since_yield = 0
        elif self._size_since_yield >= _YIELD_SIZE:
            self._size_since_yield = 0
            await asyncio.sleep(0)

    def _write(self, parts: tuple[Buffer, ...]) -> int:
        if self._output.is_closed:
            raise DisconnectedError
        size = sum(map(len, parts))
        if 0 < size <= _JOIN_SIZE_MAX:
            self._output.write(b"".join(parts))
        elif size > 0:
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
