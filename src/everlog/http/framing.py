"""Answers as bytes: status lines, headers, and bodies by length or in chunks.

Every answer carries `Date`, `Server` and what the owner wants in all of them; and either
`Content-Length` or `Transfer-Encoding: chunked`, or it is delimited by the end of the connection
(HTTP/1.0 streams, RFC 9112 section 6.3). HTTP/1.0 knows no chunks, whatever an answer asks for.
What is the same for all answers of a second is built once in it.

The chunked coding (RFC 9112 section 7.1) is there for bodies that consist of lines, too: some
clients take every piece that HTTP delivers for a line of its own, so that such a body can be sent
with one chunk for each. The chunks of a block leave in one send, and nothing waits.
A chunk size may begin with zeros: where there are many lines, all sizes have as many digits, so
that room for them is made in one go, and they are written into it in another.
"""

from collections.abc import Sequence
from email.utils import formatdate
from http import HTTPStatus
from itertools import pairwise
from typing import Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

Headers = tuple[tuple[bytes, bytes], ...]

# How many answers there were, by the first digit of their status.
StatusCounts = list[int]


def no_counts() -> StatusCounts:
    """Return a place to count answers in."""
    return [0] * 6


class Response(msgspec.Struct, frozen=True):
    """A complete answer; length, date, server and connection headers are added when it is sent.

    An empty `content_type` leaves the header out. With `is_chunked_by_line`, the body consists of
    lines, and is sent with one chunk for each instead of with its length; `line_starts` says where
    each of them begins, counted from any offset, where that is known.
    """

    status: int
    body: bytes
    content_type: bytes
    headers: Headers = ()
    is_chunked_by_line: bool = False
    line_starts: Sequence[int] | None = None


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

FINAL_CHUNK: Final = b"0\r\n\r\n"

# In so few bytes, a step of the interpreter for each line costs less than calling numpy.
_SMALL_SIZE: Final = 16 * 1024

# Larger bodies are handed to the kernel as they are instead of being copied behind their head.
JOIN_SIZE_MAX: Final = 64 * 1024

# Digits of a size, and the words of as many bytes; nearly all lines need no more than four.
_WORDS: Final = ((4, np.dtype(np.uint32)), (8, np.dtype(np.uint64)))
_DIGITS: Final = np.frombuffer(b"0123456789abcdef", np.uint8)

_END: Final = b"\r\n"

# Items of memoryviews are bytes here.
Buffer = bytes | bytearray | memoryview

_REASONS = {status.value: status.phrase.encode("ascii") for status in HTTPStatus}


class Renderer:
    """Builds the bytes of answers; the owner tells it the time once a second."""

    def __init__(self, *, server_header: bytes, headers_always: Headers = (), now: float) -> None:
        check_headers(headers_always)
        self._headers_always = ((b"Server", server_header), *headers_always)
        self._names_always = frozenset(name for name, _ in headers_always)
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
        status, body, content_type = response.status, response.body, response.content_type
        if response.headers or status in _BODILESS:
            return b"".join((self.render_head(response, PLAIN), *body_parts(response, PLAIN)))
        start = self._starts.get((status, content_type)) or self._start(status, content_type)
        if response.is_chunked_by_line:
            chunks = frame_lines(body, response.line_starts)
            return b"".join((start, _CHUNKED, _END, *chunks, FINAL_CHUNK))
        return b"%bContent-Length: %d\r\n\r\n%b" % (start, len(body), body)

    def render_parts(self, response: Response, form: Form) -> tuple[Buffer, ...]:
        """Build any complete answer, in parts; a large body is not copied."""
        parts = (self.render_head(response, form), *body_parts(response, form))
        return parts if len(response.body) > JOIN_SIZE_MAX else (b"".join(parts),)

    def render_head(self, response: Response, form: Form) -> bytes:
        """Build the head of a complete answer, up to and including the empty line."""
        status = response.status
        # What an answer says itself counts more than what all of them say.
        replaced = self._names_always.intersection(name for name, _ in response.headers)
        parts = [self._start(status, response.content_type, replaced), *_lines(response.headers)]
        if response.is_chunked_by_line and not form.is_http_10:
            parts.append(_CHUNKED)
        elif status not in _BODILESS:
            parts.append(b"Content-Length: %d\r\n" % len(response.body))
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

    def _start(
        self, status: int, content_type: bytes, without: frozenset[bytes] = frozenset()
    ) -> bytes:
        start = None if without else self._starts.get((status, content_type))
        if start is None:
            assert b"\n" not in content_type
            of_content = ((b"Content-Type", content_type),) if content_type else ()
            # By their names, and the date behind them, as servers written in Go do: a client's own
            # tests look at the second line and the third.
            always = (header for header in self._headers_always if header[0] not in without)
            headers = sorted((*always, *of_content))
            start = b"HTTP/1.1 %d %b\r\n%bDate: %b\r\n" % (
                status,
                _REASONS.get(status, b""),
                b"".join(_lines(tuple(headers))),
                self._date,
            )
            if not without:
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
        return (*frame_lines(response.body, response.line_starts), FINAL_CHUNK)
    return (response.body,)


def _connection_line(form: Form) -> bytes:
    if form.is_last:
        return b"Connection: close\r\n"
    # RFC 9112 section 9.3: an HTTP/1.0 client keeps the connection only if it is told to.
    return b"Connection: keep-alive\r\n" if form.is_http_10 else b""


def _lines(headers: Headers) -> list[bytes]:
    return [b"%b: %b\r\n" % header for header in headers]


def frame(data: Buffer) -> tuple[Buffer, ...]:
    """Return one chunk that holds all of the bytes, in parts; none for none, which would end it."""
    return (b"%x\r\n" % len(data), data, _END) if data else ()


def frame_lines(lines: Buffer, starts: Sequence[int] | None = None) -> tuple[Buffer, ...]:
    """Return whole lines, each with its line feed, as one chunk a line, in parts.

    `starts` says where each line begins, counted from any offset; without it they are looked for.
    """
    assert not lines or lines[-1] == ord("\n")
    if len(lines) <= _SMALL_SIZE and starts is not None:
        first = starts[0] if starts else 0
        parts: list[Buffer] = []
        append = parts.append
        for start, stop in pairwise((*starts, first + len(lines))):
            append(b"%x" % (stop - start))
            append(lines[start - first : stop - first])
        append(b"")
        return (_END.join(parts),)
    if len(lines) <= _SMALL_SIZE:
        found = bytes(lines).split(b"\n")[:-1]
        return (b"".join([b"%x\r\n%b\n\r\n" % (len(line) + 1, line) for line in found]),)
    if isinstance(lines, bytes) and lines.find(b"\n") == len(lines) - 1:
        # However long it is, it is not copied.
        return frame(lines)
    sizes = _sizes_between(starts, len(lines)) if starts is not None else _sizes(lines)
    digits, word = next(entry for entry in _WORDS if int(sizes.max()) < 16 ** entry[0])
    overhead = len(_END) + digits + len(_END)
    # The first size stands before, and the last gap holds one line break and nothing else.
    framed = bytearray(lines).replace(b"\n", b"\n" + _END + b"0" * digits + _END)
    ends = np.cumsum(sizes + overhead) - len(_END) - digits
    words: npt.NDArray[np.unsignedinteger] = np.ndarray(
        len(framed) - word.itemsize + 1, word, framed, strides=(1,)
    )
    words[ends[:-1]] = _hexadecimal(sizes[1:], digits).view(word)[:, 0]
    return b"%x\r\n" % int(sizes[0]), memoryview(framed)[: -digits - len(_END)]


def _sizes_between(starts: Sequence[int], size: int) -> npt.NDArray[np.intp]:
    """Return the size of each line by where they begin and how large all of them are."""
    begins = np.asarray(starts, np.uint64).astype(np.intp)
    return np.diff(begins, append=begins[0] + size)


def _sizes(lines: Buffer) -> npt.NDArray[np.intp]:
    """Return the size of each line."""
    found = np.flatnonzero(np.frombuffer(lines, np.uint8) == ord("\n"))
    return np.diff(found, prepend=-1)


def _hexadecimal(numbers: npt.NDArray[np.intp], digits: int) -> npt.NDArray[np.uint8]:
    """Return a row of so many digits for each number, as ASCII."""
    nibbles: npt.NDArray[np.intp] = (numbers[:, None] >> np.arange(4 * (digits - 1), -1, -4)) & 0xF
    return _DIGITS[nibbles]
