"""Answers as bytes: status lines, headers and the framing of bodies.

Every answer carries `Date`, `Server` and what the owner wants in all of them; and either
`Content-Length` or `Transfer-Encoding: chunked`, or it is delimited by the end of the connection
(HTTP/1.0 streams, RFC 9112 section 6.3). HTTP/1.0 knows no chunks, whatever an answer asks for.
What is the same for all answers of a second is built once in it.
"""

from email.utils import formatdate
from http import HTTPStatus
from typing import NamedTuple

from everlog.http.chunks import FINAL_CHUNK, Buffer, frame_lines

Headers = tuple[tuple[bytes, bytes], ...]

# How many answers there were, by the first digit of their status.
StatusCounts = list[int]


def no_counts() -> StatusCounts:
    """Return a place to count answers in."""
    return [0] * 6


class Response(NamedTuple):
    """A complete answer; length, date, server and connection headers are added when it is sent.

    An empty `content_type` leaves the header out. With `is_chunked_by_line`, the body consists of
    lines, and is sent with one chunk for each instead of with its length.
    """

    status: int
    body: bytes
    content_type: bytes
    headers: Headers = ()
    is_chunked_by_line: bool = False


class Form(NamedTuple):
    """What the request says about the form of its answer, whatever the answer is."""

    is_http_10: bool
    # The answer to HEAD has the headers of the answer to GET, and no body.
    is_head: bool
    # The connection ends with this answer.
    is_last: bool


PLAIN = Form(is_http_10=False, is_head=False, is_last=False)

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_CHUNKED = b"Transfer-Encoding: chunked\r\n"

# RFC 9110 sections 15.3.5 and 15.4.5: these end with their head.
_BODILESS = frozenset({204, 304})

_REASONS = {status.value: status.phrase.encode("ascii") for status in HTTPStatus}


class Renderer:
    """Builds the bytes of answers; the owner tells it the time once a second."""

    def __init__(self, *, server_header: bytes, headers_always: Headers = (), now: float) -> None:
        check_headers(headers_always)
        self._headers_always = ((b"Server", server_header), *headers_always)
        self._starts: dict[tuple[int, bytes], bytes] = {}
        self._date = b""
        self.set_time(now)

    def set_time(self, now: float) -> None:
        """Make `now` (seconds since 1970) the date of the answers that follow."""
        date = formatdate(now, usegmt=True).encode("ascii")
        if date != self._date:
            self._date = date
            self._starts.clear()

    def render(self, response: Response) -> bytes:
        """Build the usual answer: HTTP/1.1, the connection stays open, body included."""
        status, body, content_type, headers, is_chunked_by_line = response
        if headers or is_chunked_by_line or status in _BODILESS:
            return b"".join((self.render_head(response, PLAIN), *body_parts(response, PLAIN)))
        start = self._starts.get((status, content_type)) or self._start(status, content_type)
        return b"%bContent-Length: %d\r\n\r\n%b" % (start, len(body), body)

    def render_head(self, response: Response, form: Form) -> bytes:
        """Build the head of a complete answer, up to and including the empty line."""
        status, body, content_type, headers, is_chunked_by_line = response
        parts = [self._start(status, content_type), *_lines(headers)]
        if is_chunked_by_line and not form.is_http_10:
            parts.append(_CHUNKED)
        elif status not in _BODILESS:
            parts.append(b"Content-Length: %d\r\n" % len(body))
        parts.append(_connection_line(form))
        parts.append(b"\r\n")
        return b"".join(parts)

    def render_stream_head(
        self, status: int, content_type: bytes, headers: Headers, form: Form
    ) -> bytes:
        """Build the head of an answer whose length is not known yet."""
        parts = [self._start(status, content_type), *_lines(headers)]
        if not form.is_http_10:
            parts.append(_CHUNKED)
        parts.append(_connection_line(form))
        parts.append(b"\r\n")
        return b"".join(parts)

    def _start(self, status: int, content_type: bytes) -> bytes:
        start = self._starts.get((status, content_type))
        if start is None:
            assert b"\n" not in content_type
            of_content = ((b"Content-Type", content_type),) if content_type else ()
            # By their names, and the date behind them, as servers written in Go do: a client's own
            # tests look at the second line and the third.
            headers = sorted((*self._headers_always, *of_content))
            start = b"HTTP/1.1 %d %b\r\n%bDate: %b\r\n" % (
                status,
                _REASONS.get(status, b""),
                b"".join(_lines(tuple(headers))),
                self._date,
            )
            self._starts[(status, content_type)] = start
        return start


def check_headers(headers: Headers) -> None:
    """Raise ValueError for what would let data become a header of its own (response splitting)."""
    for name, value in headers:
        if b"\r" in value or b"\n" in value or b"\0" in value:
            raise ValueError(f"the header {name.decode('latin-1')} holds a line break or NUL")


def body_parts(response: Response, form: Form) -> tuple[Buffer, ...]:
    """Return what follows the head of an answer, nothing where it ends with its head."""
    if form.is_head or response.status in _BODILESS:
        return ()
    if response.is_chunked_by_line and not form.is_http_10:
        return (*frame_lines(response.body), FINAL_CHUNK)
    return (response.body,)


def _connection_line(form: Form) -> bytes:
    if form.is_last:
        return b"Connection: close\r\n"
    # RFC 9112 section 9.3: an HTTP/1.0 client keeps the connection only if it is told to.
    return b"Connection: keep-alive\r\n" if form.is_http_10 else b""


def _lines(headers: Headers) -> list[bytes]:
    return [b"%b: %b\r\n" % header for header in headers]
