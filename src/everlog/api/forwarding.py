"""A request that a front hands on whole, and the owner answers as it does a client's.

The owner gets the same request over a connection that no other one uses, and with the same token;
what it answers is what the client is answered, piece by piece. When the client goes, so does that
connection.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Final

import httptools

from everlog.api.services import Services, answer_bug
from everlog.http import BodyStream, DisconnectedError, Exchange, Request, Response, Stream

_READ_SIZE: Final = 256 * 1024

# What the end of a process takes to be noticed by those whom it has started.
_END_SECONDS: Final = 1.0

# A longer answer is passed on as it comes.
_WHOLE_SIZE_MAX: Final = 8 * 1024 * 1024

# What each end of a connection says for itself.
_NOT_PASSED_ON: Final = frozenset(
    {
        *(b"connection", b"content-length", b"content-type", b"date", b"server"),
        *(b"transfer-encoding", b"x-content-type-options"),
    }
)
# Said in every answer, unless an answer says otherwise.
_CACHE_ALWAYS: Final = b"no-store, no-cache, must-revalidate, proxy-revalidate"


class Forwarding:
    """Hands requests on."""

    def __init__(self, connect: Callable[[], socket.socket]) -> None:
        """`connect` returns a connection to the owner, or raises an OSError."""
        self._connect: Final = connect

    def handle(self, services: Services, request: Request, exchange: Exchange) -> None:
        """Answer a request with what the owner answers."""
        services.tasks.start_for(exchange, self._forward(request, exchange))

    async def _forward(self, request: Request, exchange: Exchange) -> None:
        try:
            reader, writer = await asyncio.open_unix_connection(
                sock=self._connect(), limit=_READ_SIZE
            )
        except BaseException:
            answer_bug(exchange)
            raise
        answer = _Answer(reader)
        exchange.on_disconnect(writer.close)
        sending = asyncio.get_running_loop().create_task(_send(request, writer))
        try:
            await answer.read_head()
            body = await answer.read_whole()
        except (ConnectionError, httptools.HttpParserError):
            # If the owner is gone, so is this process in a moment: its clients get no answer, as
            # those of any server that dies.
            await asyncio.sleep(_END_SECONDS)
            answer_bug(exchange)
            raise
        finally:
            # Whoever has answered does not want the rest.
            sending.cancel()
            with suppress(asyncio.CancelledError, ConnectionError, DisconnectedError):
                await sending
        if body is not None:
            writer.close()
            exchange.respond(
                Response(answer.status, body, answer.content_type, tuple(answer.headers))
            )
            return

        async def produce(stream: Stream) -> None:
            try:
                async for piece in answer.pieces():
                    await stream.send(piece)
            finally:
                writer.close()

        exchange.stream(answer.status, answer.content_type, produce, tuple(answer.headers))


async def _send(request: Request, writer: asyncio.StreamWriter) -> None:
    head = request.head
    target = f"{head.path}?{head.query}" if head.query else head.path
    method = "GET" if head.method == "HEAD" else head.method
    lines = [f"{method} {target} HTTP/1.1".encode("latin-1"), b"Host: owner", b"Connection: close"]
    lines += [b"%b: %b" % header for header in head.headers.items()]
    if request.stream is not None:
        lines.append(b"Transfer-Encoding: chunked")
    elif request.body or method != "GET":
        lines.append(b"Content-Length: %d" % len(request.body))
    try:
        writer.write(b"\r\n".join(lines) + b"\r\n\r\n" + request.body)
        if request.stream is not None:
            await _send_stream(request.stream, writer)
        await writer.drain()
    except RuntimeError as error:
        # uvloop says so of a connection whose other end has closed.
        raise ConnectionResetError from error


async def _send_stream(body: BodyStream, writer: asyncio.StreamWriter) -> None:
    try:
        while piece := await body.read():
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
    except Exception:
        # The owner sees that it is not whole, and may still say so.
        writer.write_eof()
        raise


class _Answer:
    """What the owner answers, as far as it was read; the parser calls the methods of that name."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader: Final = reader
        self._parser: Final = httptools.HttpResponseParser(self)
        self._has_head = self._is_whole = False
        self._chunk: list[bytes] = []
        # Pieces of the body that were read and not given away: chunks, where there are such.
        self._pieces: list[bytes] = []
        self._is_chunked = False
        self._size: int | None = None
        self.status = 0
        self.content_type = b""
        self.headers: list[tuple[bytes, bytes]] = []

    async def read_head(self) -> None:
        """Read up to the end of the head."""
        while not self._has_head:
            await self._read()

    async def read_whole(self) -> bytes | None:
        """Return the body if its size is known, and not large; else None."""
        is_small = self._size is not None and self._size <= _WHOLE_SIZE_MAX
        # What has no body at all has no size either.
        if not is_small and (self._is_chunked or not self._is_whole):
            return None
        while not self._is_whole:
            await self._read()
        return b"".join(self._pieces)

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the body in the pieces in which it was sent."""
        while True:
            pieces, self._pieces = self._pieces, []
            for piece in pieces:
                yield piece
            if self._is_whole and not self._pieces:
                return
            if not self._pieces:
                try:
                    await self._read()
                except ConnectionError:
                    # The client sees it as we do: what it has is not whole.
                    raise DisconnectedError from None

    async def _read(self) -> None:
        data = await self._reader.read(_READ_SIZE)
        if not data:
            message = "the owner's answer ended before its end"
            raise ConnectionResetError(message)
        self._parser.feed_data(data)

    # For the parser.

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep what is not said anyway."""
        lower = name.lower()
        if lower == b"content-type":
            self.content_type = value
        elif lower == b"content-length":
            self._size = int(value)
        elif lower == b"transfer-encoding":
            self._is_chunked = True
        elif lower == b"cache-control" and value == _CACHE_ALWAYS:
            return
        elif lower not in _NOT_PASSED_ON:
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Note that the head is there."""
        self.status = self._parser.get_status_code()
        self._has_head = True

    def on_body(self, data: bytes) -> None:
        """Keep a part of the body."""
        (self._chunk if self._is_chunked else self._pieces).append(data)

    def on_chunk_complete(self) -> None:
        """Keep what belongs together together: for some clients a chunk is a line."""
        if self._chunk:
            self._pieces.append(b"".join(self._chunk))
            self._chunk = []

    def on_message_complete(self) -> None:
        """Note that this is all."""
        self._is_whole = True
