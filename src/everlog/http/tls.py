"""TLS between a connection and its socket: a protocol below, a transport above.

A connection is told of its client as soon as it is there, so that it counts from then on, and that
hands were shaken once they are. What it writes before that is sent afterwards.

Guarantees that a handshake computes only when it is its turn, since it takes a hundred times as
long as a small request; that what is written is encrypted at the pace at which the client takes it,
and no more than the write buffer holds; that a client which speaks plain HTTP is told so; and that
the end of a connection is said in TLS before it is said in TCP.
What is left to others: time, which the connection watches.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final, Protocol, cast

from everlog.http.framing import Buffer
from everlog.http.shared import Turns

# The largest record of TLS. OpenSSL's buffers never shrink: so they are given no more at a time.
_RECORD_SIZE: Final = 16 * 1024
# So much is encrypted before the socket is asked whether it takes it.
_WRITE_SIZE: Final = 64 * 1024

# A client's part of a handshake has a few hundred bytes, and a few KB with certificates.
_HANDSHAKE_SIZE_MAX: Final = 64 * 1024

# What TLS itself may have to answer a client that sends no data; new keys, for example.
_CHATTER_SIZE_MAX: Final = 64 * 1024

# A request begins with a letter of its method, and TLS with the type of a handshake record (22).
_LETTERS: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ")

_AGAIN: Final = (ssl.SSLWantReadError, ssl.SSLSyscallError)


class Encrypted(Protocol):
    """The connection, as far as TLS needs it: an `asyncio.Protocol` that is told of the handshake.

    It is told that it is lost only if it was told that it is made.
    """

    def connection_made(self, transport: asyncio.BaseTransport) -> None: ...

    def data_received(self, data: bytes) -> None: ...

    def eof_received(self) -> bool: ...

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...

    def connection_lost(self, error: Exception | None) -> None: ...

    def hands_shaken(self) -> None:
        """Note that the handshake is done, and requests can come."""
        ...

    def refuse_plain(self) -> None:
        """Answer a client that speaks HTTP without TLS; from here on nothing is encrypted."""
        ...


class TlsTransport(asyncio.Transport, asyncio.Protocol):
    """The TLS of one connection."""

    __slots__ = (
        "_backlog",
        "_backlog_size",
        "_chatter_size",
        "_connection",
        "_early",
        "_handshake_size",
        "_incoming",
        "_is_end_said",
        "_is_ending",
        "_is_plain",
        "_is_reading_paused",
        "_is_shaken",
        "_is_writing_paused",
        "_outgoing",
        "_ssl",
        "_transport",
        "_turns",
    )

    _transport: asyncio.Transport

    def __init__(self, connection: Encrypted, context: ssl.SSLContext, turns: Turns) -> None:
        super().__init__()
        self._connection = connection
        self._turns = turns
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._ssl = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        # What was written and is not encrypted yet; see `_encrypt`.
        self._backlog: deque[Buffer] = deque()
        self._backlog_size = 0
        # What waits for the turn of the handshake, and how much of it there was before.
        self._early = b""
        self._handshake_size = 0
        self._chatter_size = 0
        self._is_shaken = False
        # Whether the client turned out to speak no TLS.
        self._is_plain = False
        self._is_reading_paused = False
        self._is_writing_paused = False
        # Whether the end is to be said once everything is sent.
        self._is_ending = False
        self._is_end_said = False

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._connection.connection_made(self)

    def data_received(self, data: bytes) -> None:
        if self._is_shaken:
            self._read(data)
        elif self._is_plain:
            self._connection.data_received(data)
        elif not self._transport.is_closing():
            self._shake(data)

    def eof_received(self) -> bool:
        if self._is_plain:
            return self._connection.eof_received()
        # Without the end that TLS has, nobody may believe that the client meant it. It is gone.
        return False

    def pause_writing(self) -> None:
        self._is_writing_paused = True
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        self._is_writing_paused = False
        self._encrypt()
        if not self._is_writing_paused:
            self._connection.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_ending = True
        self._backlog.clear()
        self._backlog_size = 0
        self._connection.connection_lost(exc)

    # Called by the connection.

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what is known of the client; its `ssl_object` is the TLS of the connection."""
        return self._ssl if name == "ssl_object" else self._transport.get_extra_info(name, default)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Bound what waits for the client; what is encrypted counts."""
        self._transport.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        """Return how much waits for the client, encrypted or not."""
        return self._backlog_size + self._transport.get_write_buffer_size()

    def write(self, data: Buffer) -> None:
        """Send bytes, as soon as hands are shaken."""
        if self._backlog_size or self._is_writing_paused or len(data) > _RECORD_SIZE:
            self.writelines((data,))
        elif data and self._is_shaken and not self._is_ending:
            try:
                self._ssl.write(data)
            except ssl.SSLError:
                self.abort()
            else:
                self._transport.write(self._outgoing.read())
        else:
            self.writelines((data,))

    def writelines(self, list_of_data: Iterable[Buffer]) -> None:
        """Send bytes, in parts."""
        if self._is_plain:
            self._transport.writelines(list_of_data)
            return
        for data in list_of_data:
            if data:
                self._backlog.append(data)
                self._backlog_size += len(data)
        self._encrypt()

    def can_write_eof(self) -> bool:
        """Whether one side can end before the other: not in TLS, as most of its clients use it."""
        return self._is_plain

    def write_eof(self) -> None:
        """Say the end of what is sent; without TLS only."""
        assert self._is_plain
        self._transport.write_eof()

    def pause_reading(self) -> None:
        """Let the client wait in its socket."""
        self._is_reading_paused = True
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on, and soon what was read before and not passed on."""
        self._is_reading_paused = False
        self._transport.resume_reading()
        if self._incoming.pending or self._ssl.pending():
            self._turns.add(self._read)

    def is_reading(self) -> bool:
        """Whether what the client sends is read."""
        return not self._is_reading_paused

    def is_closing(self) -> bool:
        """Whether nothing more can be written."""
        return self._is_ending or self._transport.is_closing()

    def close(self) -> None:
        """End once all is sent; the client is given the time to see it."""
        if self._is_plain or not self._is_shaken:
            self._is_ending = True
            self._transport.close()
        elif not self._is_ending:
            self._is_ending = True
            self.resume_reading()
            self._encrypt()

    def abort(self) -> None:
        """End now."""
        self._is_ending = True
        self._transport.abort()

    # Below: the handshake.

    def _shake(self, data: bytes) -> None:
        if self._handshake_size == 0 and data[0] in _LETTERS:
            self._is_plain = True
            self._connection.refuse_plain()
            return
        self._early = data
        # The client waits until it is its turn, and so does what it sends behind its handshake.
        self._transport.pause_reading()
        self._turns.add(self._take_turn)

    def _take_turn(self) -> None:
        data, self._early = self._early, b""
        if self._transport.is_closing():
            return
        try:
            rest = self._go_on(data)
        except ssl.SSLError:
            # The client is told why in words of TLS.
            self._flush()
            self._is_ending = True
            self._transport.close()
            return
        self._flush()
        self._transport.resume_reading()
        if rest is None:
            self._handshake_size += len(data)
            if self._handshake_size > _HANDSHAKE_SIZE_MAX:
                self.abort()
            return
        self._is_shaken = True
        self._encrypt()
        self._connection.hands_shaken()
        # The first request may have come with the end of the handshake.
        self._read(rest)

    def _go_on(self, data: bytes) -> bytes | None:
        """Go on with the handshake; return what came behind it, None if it is not done."""
        for start in range(0, len(data), _RECORD_SIZE):
            self._incoming.write(memoryview(data)[start : start + _RECORD_SIZE])
            try:
                self._ssl.do_handshake()
            except _AGAIN:
                continue
            return data[start + _RECORD_SIZE :]
        return None

    # Below: what is received and sent.

    def _read(self, data: bytes = b"") -> None:
        """Pass on what was received, unless that has to wait."""
        if self._is_reading_paused:
            assert not data
            return
        parts: list[bytes] = []
        try:
            is_end = not self._decrypt(data, parts)
        except ssl.SSLError:
            self._flush()
            self.abort()
            return
        if self._outgoing.pending:
            # What TLS itself had to say.
            self._chatter_size = 0 if parts else self._chatter_size + self._outgoing.pending
            self._flush()
            if self._chatter_size > _CHATTER_SIZE_MAX:
                self.abort()
        if self._is_ending:
            # What comes now is read to see the end of it only.
            if is_end:
                self._transport.close()
            return
        if parts:
            self._connection.data_received(parts[0] if len(parts) == 1 else b"".join(parts))
        if is_end and not self._connection.eof_received():
            self.close()

    def _decrypt(self, data: bytes, parts: list[bytes]) -> bool:
        """Add what was received to `parts`; return False if that was the last."""
        incoming, read, pending = self._incoming, self._ssl.read, self._ssl.pending
        start = 0
        while True:
            if start < len(data):
                incoming.write(memoryview(data)[start : start + _RECORD_SIZE])
                start += _RECORD_SIZE
            try:
                while incoming.pending or pending():
                    part = read(_RECORD_SIZE)
                    if not part:
                        return False
                    parts.append(part)
            except _AGAIN:
                # The rest of a record is still to come.
                pass
            except ssl.SSLZeroReturnError:
                return False
            if start >= len(data):
                return True

    def _encrypt(self) -> None:
        """Encrypt what was written, as far as the client takes it."""
        if not self._is_shaken:
            return
        try:
            while self._backlog and not self._is_writing_paused:
                parts: list[bytes] = []
                size = 0
                while self._backlog and size < _WRITE_SIZE:
                    size += self._ssl.write(self._take_record())
                    parts.append(self._outgoing.read())
                self._backlog_size -= size
                self._transport.writelines(parts)
        except ssl.SSLError:
            self.abort()
            return
        if self._is_ending and not self._backlog:
            self._say_end()

    def _take_record(self) -> Buffer:
        data = self._backlog[0]
        if len(data) <= _RECORD_SIZE:
            return self._backlog.popleft()
        self._backlog[0] = memoryview(data)[_RECORD_SIZE:]
        return memoryview(data)[:_RECORD_SIZE]

    def _say_end(self) -> None:
        if self._is_end_said or self._transport.is_closing():
            return
        # Raised since the client has not said the same yet, or wrongly.
        with suppress(ssl.SSLError):
            self._ssl.unwrap()
        self._flush()
        self._is_end_said = True
        self._transport.write_eof()

    def _flush(self) -> None:
        if self._outgoing.pending:
            data = self._outgoing.read()
            if not self._is_end_said and not self._transport.is_closing():
                self._transport.write(data)
