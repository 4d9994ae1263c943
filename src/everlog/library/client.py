"""HTTP with a server: connections that are kept, one request each at a time, answers in lines.

Guarantees that the token goes to the server and nowhere else, and into no error; that redirects are
not followed; that a line of an answer is bounded; and that it is known of each failure whether the
server can have got the whole request. A connection that the server may have closed is not used
again; whoever leaves an answer half-read closes its connection.
Any thread may ask. What is left to others: what is asked, and what the answers mean (`server`).
"""

import os
import select
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Final

from everlog._version import __version__
from everlog.library.errors import StoreClosedError, UnreachableError
from everlog.outgoing import Address, describe_failure, prepare_connection

# A row of a query may be as large as that (service/querying/messages.py), and nothing is larger.
LINE_SIZE_MAX: Final = 64 * 1024 * 1024

_PIECE_SIZE: Final = 256 * 1024

# More are closed when they come back.
_IDLE_MAX: Final = 32


class AnswerLostError(UnreachableError):
    """The server has got the request, and its answer does not come, or not to the end."""


class Answer:
    """An answer that is being read, once, by one thread; `release` lets go of it."""

    def __init__(
        self, client: "Client", connection: HTTPConnection, response: HTTPResponse
    ) -> None:
        """Take over a connection that has been answered."""
        self._client: Final = client
        self._connection: Final = connection
        self._response: Final = response
        self._is_released = False
        self.status: Final = response.status
        server = response.headers.get("Server", "")
        # Who stands in front of a server says something else.
        self.is_eventsourcingdb: Final = server.startswith("EventSourcingDB/")
        self.is_everlog: Final = " Everlog/" in server

    def pieces(self) -> Iterator[list[bytes]]:
        """Yield whole lines as they come, without their line feeds.

        Raises: as `blocks`.
        """
        for block in self.blocks():
            yield block.split(b"\n")

    def blocks(self) -> Iterator[bytes]:
        """Yield blocks of whole lines as they come, without the last line feed of each.

        Raises:
            AnswerLostError: It breaks off, or a line is too large.
        """
        rest: list[bytes] = []
        size = 0
        while piece := self._read():
            head, line_feed, tail = piece.rpartition(b"\n")
            if line_feed:
                yield b"".join((*rest, head))
                rest, size = [], 0
            rest.append(tail)
            size += len(tail)
            if size > LINE_SIZE_MAX:
                raise AnswerLostError(f"its answer has a line of more than {LINE_SIZE_MAX} bytes")
        last = b"".join(rest)
        if last:
            yield last

    def read(self, size_max: int) -> bytes:
        """Return all of it, and let go of it.

        Raises:
            AnswerLostError: It breaks off, or is larger.
        """
        try:
            content = bytearray()
            while piece := self._read():
                content += piece
                if len(content) > size_max:
                    raise AnswerLostError(f"its answer has more than {size_max} bytes")
            return bytes(content)
        finally:
            self.release()

    def release(self) -> None:
        """Keep the connection for others if all of the answer was read, else close it."""
        if not self._is_released:
            self._is_released = True
            # Some Pythons close it not where its last byte was read, but where more is asked.
            is_whole = self._response.isclosed() or self._response.length == 0
            self._response.close()
            self._client.take_back(self._connection, is_usable=is_whole)

    def interrupt(self) -> None:
        """Let whoever reads it on another thread see its end."""
        _shut_down(self._connection)

    def _read(self) -> bytes:
        try:
            return self._response.read1(_PIECE_SIZE)
        except (OSError, HTTPException, ValueError, AttributeError) as error:
            # The last two where it was closed meanwhile.
            self._client.check_is_open()
            raise AnswerLostError(f"its answer broke off: {describe_failure(error)}") from error


class Client:
    """Connections to one server, and the token that opens it."""

    def __init__(
        self,
        address: Address,
        token: str,
        context: ssl.SSLContext | None,
        *,
        connect_seconds_max: float,
        silence_seconds_max: float,
    ) -> None:
        """Connect to nothing yet; the seconds are those of connecting, and of each piece."""
        self._address: Final = address
        self._context: Final = context
        self._connect_seconds_max: Final = connect_seconds_max
        self._silence_seconds_max: Final = silence_seconds_max
        self._headers: Final = {
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
            "User-Agent": f"Everlog/{__version__}",
        }
        self._lock: Final = threading.Lock()
        self._idle: list[HTTPConnection] = []
        self._busy: set[HTTPConnection] = set()
        self._process_id = os.getpid()
        self._is_closed = False

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | Iterator[bytes] = b"",
        *,
        is_repeatable: bool = True,
    ) -> Answer:
        """Send a request, and return the answer, whatever its status.

        What is repeatable is sent once more if a connection that was kept breaks; a body that is an
        iterator never is: it is sent as it comes.

        Raises:
            AnswerLostError: The server may have got all of the request.
            UnreachableError: It has not.
            StoreClosedError: The client was closed.
        """
        connection = self._take_idle()
        if connection is not None:
            try:
                return self._send(connection, method, path, body)
            except AnswerLostError:
                if not is_repeatable:
                    raise
            except UnreachableError:
                # Nobody has got the whole request.
                pass
        return self._send(self._connect(), method, path, body)

    def take_back(self, connection: HTTPConnection, *, is_usable: bool) -> None:
        """Keep a connection for the next request, or close it."""
        with self._lock:
            self._busy.discard(connection)
            is_kept = (
                is_usable
                and connection.sock is not None
                and not self._is_closed
                and self._process_id == os.getpid()
                and len(self._idle) < _IDLE_MAX
            )
            if is_kept:
                self._idle.append(connection)
        if not is_kept:
            connection.close()

    def check_is_open(self) -> None:
        """Raise if the client was closed.

        Raises:
            StoreClosedError: It was.
        """
        if self._is_closed:
            raise StoreClosedError("the store is closed")

    def close(self) -> None:
        """Close all connections; whoever waits for an answer is told."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
            busy = tuple(self._busy)
        for connection in idle:
            connection.close()
        for connection in busy:
            _shut_down(connection)

    def _take_idle(self) -> HTTPConnection | None:
        """Return a connection that the server has not closed, as far as is known here."""
        with self._lock:
            self.check_is_open()
            if self._process_id != os.getpid():
                # They belong to the process that this one was forked from.
                for connection in (*self._idle, *self._busy):
                    connection.close()
                self._idle, self._busy = [], set()
                self._process_id = os.getpid()
            while self._idle:
                connection = self._idle.pop()
                if not _has_something(connection.sock):
                    self._busy.add(connection)
                    return connection
                connection.close()
        return None

    def _connect(self) -> HTTPConnection:
        connection = prepare_connection(
            self._address, self._context, seconds_max=self._connect_seconds_max
        )
        try:
            connection.connect()
            connection.sock.settimeout(self._silence_seconds_max)
        except (OSError, HTTPException) as error:
            connection.close()
            raise UnreachableError(self._reason_of(error)) from error
        except BaseException:
            connection.close()
            raise
        with self._lock:
            if not self._is_closed:
                self._busy.add(connection)
                return connection
        connection.close()
        raise StoreClosedError("the store is closed")

    def _send(
        self, connection: HTTPConnection, method: str, path: str, body: bytes | Iterator[bytes]
    ) -> Answer:
        is_sent = False
        try:
            try:
                connection.request(method, self._address.path + path, body, self._headers)
            except (BrokenPipeError, ConnectionResetError):
                # Who refuses a body that streams answers before all of it has come.
                if isinstance(body, bytes):
                    raise
            is_sent = True
            response = connection.getresponse()
        except (OSError, HTTPException, ValueError, AttributeError) as error:
            # The last two where it was closed meanwhile.
            self.take_back(connection, is_usable=False)
            self.check_is_open()
            if is_sent:
                raise AnswerLostError(self._reason_of(error)) from error
            raise UnreachableError(self._reason_of(error)) from error
        except BaseException:
            self.take_back(connection, is_usable=False)
            raise
        return Answer(self, connection, response)

    def _reason_of(self, error: Exception) -> str:
        """Return what went wrong, and what helps where that is known."""
        host, port = self._address.host, self._address.port
        place = f"[{host}]" if ":" in host else host
        name = f"{self._address.scheme}://{place}" + ("" if port is None else f":{port}")
        reason = describe_failure(error)
        if isinstance(error, ssl.SSLCertVerificationError):
            reason = _explain_distrust(error, self._address.host)
        elif isinstance(error, ssl.SSLError) and error.reason == "WRONG_VERSION_NUMBER":
            reason = "it does not speak TLS there: does its URL begin with http://?"
        elif isinstance(error, socket.gaierror):
            reason = "its name is not known"
        elif isinstance(error, HTTPException) and self._address.scheme == "http":
            reason += ": does its URL begin with https://?"
        return f"{name} cannot be asked: {reason}"


def _explain_distrust(error: ssl.SSLCertVerificationError, host: str) -> str:
    """Return why a certificate is not trusted, and which argument helps.

    The numbers are OpenSSL's (X509_V_ERR_...).
    """
    match error.verify_code:
        case 18 | 19 | 20 | 21:
            return (
                "its certificate is signed by nobody who is trusted here: if it is the right one, "
                "name it, or that of who signed it, by ca_file (in commands --ca-file)"
            )
        case 10:
            return "its certificate has expired"
        case 9:
            return "its certificate is not valid yet: is the clock right?"
        case 62 | 64:
            return f"its certificate is not one for {host}: use a name that it has"
        case _:
            return f"its certificate is not trusted: {error.verify_message}"


def _has_something(sock: socket.socket | None) -> bool:
    """Tell whether there is something to be read, which is the end where nothing was asked."""
    if sock is None:
        return True
    poll = select.poll()
    try:
        poll.register(sock, select.POLLIN)
        return bool(poll.poll(0))
    except (OSError, ValueError):
        return True


def _shut_down(connection: HTTPConnection) -> None:
    sock = connection.sock
    if sock is not None:
        with suppress(OSError):
            # Not the method of a TLS socket, which takes away what its reader is using.
            socket.socket.shutdown(sock, socket.SHUT_RDWR)
