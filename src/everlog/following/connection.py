"""HTTP with the source: one request a connection, and answers that may have no end.

An answer without end is read by a thread of its own, a few megabytes ahead: so whoever takes them
is told of silence, and a source that sends more than is taken has to wait.
Redirects are not followed. What the source says in an error is not repeated: it may be anything.
What is left to others: what is asked, and what the answers mean (`source`, `writes`).
"""

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Final, Self

from everlog._version import __version__
from everlog.domain.limits import BACKUP_LINE_SIZE_MAX
from everlog.outgoing import describe_failure, parse_address, prepare_connection
from everlog.service.mirroring.source import SourceError

# For connecting, and for each piece of an answer: a server says something each second.
SILENCE_SECONDS_MAX: Final = 15.0
# For a whole line: who sends a byte now and then says nothing either.
LINE_SECONDS_MAX: Final = 60.0

_PIECE_SIZE: Final = 256 * 1024
_AHEAD_SIZE_MAX: Final = 2 * 1024 * 1024

# What is not in a stream comes to an end.
_ANSWER_SECONDS_MAX: Final = 300.0

_NDJSON: Final = "application/x-ndjson"
_PRODUCT: Final = "EventSourcingDB/"

# What a server answers to a path or a method that it does not know, or who stands in front of it.
_UNKNOWN: Final = frozenset({400, 404, 405, 501})

_REASONS: Final = {
    401: "it refuses the token (status 401)",
    403: "it refuses the token (status 403)",
    404: "it does not know the path (status 404): is the URL that of an EventSourcingDB?",
    429: "it is asked too often (status 429)",
    503: "it is not ready to answer (status 503)",
}


class UnknownRequestError(SourceError):
    """The source seems not to know this method or path: perhaps it speaks another version."""


@dataclass(frozen=True, slots=True)
class Access:
    """How the source lets in, and whom to trust; its text form does not show the token."""

    token: str = field(repr=False)
    context: ssl.SSLContext


class Answer:
    """An answer that is being read; a `with` block lets go of it."""

    def __init__(self, connection: HTTPConnection, response: HTTPResponse) -> None:
        """Take over a connection that has been answered with status 200."""
        self._connection: Final = connection
        self._response: Final = response
        self._socket: Final = connection.sock
        server = response.headers.get("Server", "")
        # Other servers of this kind say nowhere where a write ends.
        self.is_everlog: Final = " Everlog/" in server

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def read_piece(self) -> bytes:
        """Return what has come, empty at the end.

        Raises:
            SourceError: Nothing comes any more.
        """
        try:
            return self._response.read1(_PIECE_SIZE)
        except (OSError, HTTPException, ValueError, AttributeError) as error:
            # The last two where it was closed meanwhile.
            raise SourceError(f"its answer broke off: {describe_failure(error)}") from error

    def read_lines(self) -> Iterator[bytes]:
        """Yield the lines of an answer that comes to an end.

        Raises:
            SourceError: It does not, or a line is too large.
        """
        deadline = time.monotonic() + _ANSWER_SECONDS_MAX
        rest = b""
        while piece := self.read_piece():
            *lines, rest = (rest + piece).split(b"\n")
            yield from lines
            if len(rest) > BACKUP_LINE_SIZE_MAX:
                raise SourceError(f"it sends a line of more than {BACKUP_LINE_SIZE_MAX} bytes")
            if time.monotonic() > deadline:
                raise SourceError("its answer does not come to an end")
        if rest:
            yield rest

    def close(self) -> None:
        """Let go of the connection; who reads from it meanwhile is told that it has ended."""
        with suppress(OSError):
            # Not the method of a TLS socket, which takes away what its reader is using.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
        # The response has the socket's file, and may be read just now: its reader lets go of it.
        self._connection.close()

    def end(self) -> None:
        """Let go of everything; nobody reads from it."""
        self._response.close()
        self._connection.close()


def ask(url: str, access: Access, method: str, path: str, body: bytes) -> Answer:
    """Ask, and return the answer if it is one of lines.

    Raises:
        UnknownRequestError: The source seems not to know what it is asked.
        SourceError: There is no such answer.
    """
    address = parse_address(url)
    connection = prepare_connection(address, access.context, seconds_max=SILENCE_SECONDS_MAX)
    headers = {
        "Authorization": f"Bearer {access.token}",
        "Content-Type": "application/json",
        "User-Agent": f"Everlog/{__version__}",
    }
    try:
        connection.request(method, address.path + path, body, headers)
        response = connection.getresponse()
        _check(response)
        return Answer(connection, response)
    except (OSError, HTTPException) as error:
        connection.close()
        raise SourceError(describe_failure(error)) from error
    except BaseException:
        connection.close()
        raise


def _check(response: HTTPResponse) -> None:
    status = response.status
    reason = _REASONS.get(status, f"it answers with status {status}")
    if status in _UNKNOWN:
        raise UnknownRequestError(reason)
    if 300 <= status < 400:
        message = f"it redirects (status {status}), which is not followed: name the address itself"
        raise SourceError(message)
    if status != 200:
        raise SourceError(reason)
    if not response.headers.get("Server", "").startswith(_PRODUCT):
        message = (
            f"it is no EventSourcingDB: its answer has no header Server that begins with {_PRODUCT}"
        )
        raise SourceError(message)
    if response.headers.get_content_type() != _NDJSON:
        raise SourceError(f"its answer is no {_NDJSON}")


class Incoming:
    """What comes of an answer without end, read by a thread, a few megabytes ahead."""

    def __init__(self, answer: Answer) -> None:
        """Begin to read."""
        self._answer: Final = answer
        self._changed: Final = threading.Condition()
        self._pieces: list[bytes] = []
        self._size = 0
        # Why nothing comes behind the pieces.
        self._end: SourceError | None = None
        self._is_closed = False
        threading.Thread(target=self._run, name="follow-read", daemon=True).start()

    def take(self, *, seconds: float) -> bytes:
        """Return all that has come, nothing if nothing does within the time.

        Raises:
            SourceError: It has ended.
        """
        with self._changed:
            if not self._pieces and self._end is None:
                self._changed.wait(seconds)
            if not self._pieces and self._end is not None:
                raise self._end
            pieces, self._pieces, self._size = self._pieces, [], 0
            self._changed.notify_all()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def close(self) -> None:
        """End it; the thread ends soon after."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._answer.close()

    def _run(self) -> None:
        try:
            while piece := self._answer.read_piece():
                self._put(piece)
            end = SourceError("it ended the stream")
        except SourceError as error:
            end = error
        finally:
            self._answer.end()
        with self._changed:
            self._end = end
            self._changed.notify_all()

    def _put(self, piece: bytes) -> None:
        with self._changed:
            while self._size > _AHEAD_SIZE_MAX and not self._is_closed:
                self._changed.wait()
            if self._is_closed:
                raise SourceError("it was let go of")
            self._pieces.append(piece)
            self._size += len(piece)
            self._changed.notify_all()
