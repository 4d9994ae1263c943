"""What clients in other languages do with an answer before it is JSON to them.

They take bodies in pieces, as their HTTP library delivers them, and some of them take each piece
for a line. They verify hashes over data that they have decoded and encoded again, each with the
habits of its language. Here are those habits, after the sources of the official SDKs; what the
SDKs do with the events is left to others, as are those that hash the bytes that they received
(Go, Java, Rust, and Python 2.2).
"""

import json
import socket
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any, Final, NamedTuple, Self
from urllib.parse import urlsplit

from tests.support.server import DEADLINE_SECONDS, TOKEN

_RECEIVE_SIZE: Final = 65_536


class Piece(NamedTuple):
    """A part of a chunk, which is as much of it as has arrived; the last one ends it."""

    content: bytes
    ends_chunk: bool


class PiecewiseAnswer:
    """The answer to one request, read from a socket; it arrives in segments of a certain size.

    With a segment size of 1, the bytes arrive one by one.
    """

    def __init__(
        self,
        url: str,
        path: str,
        body: object = None,
        *,
        method: str = "POST",
        segment_size: int = _RECEIVE_SIZE,
    ) -> None:
        address = urlsplit(url)
        content = b"" if body is None else json.dumps(body).encode()
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: {address.netloc}\r\n"
            f"Authorization: Bearer {TOKEN}\r\nContent-Length: {len(content)}\r\n\r\n"
        )
        self._segment_size: Final = segment_size
        self._segments = self._receive()
        self._segment = b""
        self._socket: Final = socket.create_connection(
            (address.hostname, address.port), DEADLINE_SECONDS
        )
        self._socket.sendall(head.encode() + content)
        # The status line and the headers, in order; libcurl hands over the empty line too.
        self.head: Final = [*iter(self._line, ""), ""]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    @property
    def headers(self) -> dict[str, str]:
        """The headers, by their names in lower case."""
        lines = (line.partition(": ") for line in self.head[1:-1])
        return {name.lower(): text for name, _, text in lines}

    def pieces(self) -> Iterator[Piece]:
        """Yield the body as it arrives, until its end."""
        while size := int(self._line(), 16):
            while size > 0:
                content = self._take(size)
                size -= len(content)
                yield Piece(content, size == 0)
            assert self._line() == ""
        assert self._line() == ""

    def _receive(self) -> Iterator[bytes]:
        while received := self._socket.recv(_RECEIVE_SIZE):
            for start in range(0, len(received), self._segment_size):
                yield received[start : start + self._segment_size]

    def _take(self, size_max: int) -> bytes:
        """Return what has arrived, and wait for more only if that is nothing."""
        segment = self._segment or next(self._segments)
        self._segment = segment[size_max:]
        return segment[:size_max]

    def _line(self) -> str:
        line = b""
        while not line.endswith(b"\r\n"):
            line += self._take(1)
        return line[:-2].decode()


def chunks_of(pieces: Iterable[Piece]) -> Iterator[bytes]:
    """Put the chunks of a body together again."""
    chunk = b""
    for content, ends_chunk in pieces:
        chunk += content
        if ends_chunk:
            yield chunk
            chunk = b""


def php_items(pieces: Iterable[Piece]) -> Iterator[Any]:
    """PHP joins pieces until they end with a line feed; that is one line to it."""
    text = b""
    for content, _ in pieces:
        text += content
        if text.endswith(b"\n"):
            yield json.loads(text)
            text = b""
    assert not text


def elixir_items(pieces: Iterable[Piece]) -> Iterator[Any]:
    """Elixir's library delivers chunks; to the SDK 1.0.0, each is one line."""
    return map(json.loads, chunks_of(pieces))


def python_text(value: object) -> str:
    """Encode as the SDK for Python 1.9 does, with what Python escapes by default."""
    return json.dumps(value, separators=(",", ":"), indent=None)


def elixir_text(value: object) -> str:
    """Encode as Jason does: members in order, by the bytes of their names.

    Elixir has no order for more than 32 members of one object.
    """
    match value:
        case dict():
            names = sorted(value, key=str.encode)
            members = (f"{elixir_text(name)}:{elixir_text(value[name])}" for name in names)
            return f"{{{','.join(members)}}}"
        case list():
            return f"[{','.join(map(elixir_text, value))}]"
        case float():
            return _elixir_number(value)
    # Its hexadecimal digits are upper-case ones: tests use no control characters that have any.
    return json.dumps(value, ensure_ascii=False)


def javascript_value(text: str | bytes) -> Any:
    """Decode as `JSON.parse` does: numbers are doubles, and names that are indexes come first."""
    return json.loads(text, parse_int=float, object_pairs_hook=_javascript_object)


def javascript_text(value: object) -> str:
    """Encode as `JSON.stringify` does."""
    match value:
        case dict():
            members = (
                f"{javascript_text(name)}:{javascript_text(of)}" for name, of in value.items()
            )
            return f"{{{','.join(members)}}}"
        case list():
            return f"[{','.join(map(javascript_text, value))}]"
        case float() | int() if not isinstance(value, bool):
            return _javascript_number(value)
    return json.dumps(value, ensure_ascii=False)


def go_text(value: object) -> str:
    """Encode as `json.Marshal` does with a map: members in order, and safe within HTML."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def _javascript_object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    named = dict(members)
    indexes = sorted((name for name in named if _is_index(name)), key=int)
    return {name: named[name] for name in [*indexes, *named]}


def _is_index(name: str) -> bool:
    return name.isascii() and name.isdigit() and str(int(name)) == name and int(name) < 2**32 - 1


def _digits_of(number: float) -> tuple[str, str, int]:
    """Return a sign, the fewest digits that tell the number, and where its point is in them."""
    sign, digits, exponent = Decimal(repr(number)).as_tuple()
    assert isinstance(exponent, int)
    text = "".join(map(str, digits))
    significant = text.strip("0")
    point = len(text) + exponent - (len(text) - len(text.lstrip("0")))
    return "-" if sign else "", significant or "0", point if significant else 1


def _javascript_number(number: float) -> str:
    # ECMAScript, Number::toString.
    sign, digits, point = _digits_of(float(number))
    if digits == "0":
        return "0"
    if len(digits) <= point <= 21:
        return sign + digits.ljust(point, "0")
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    fraction = f".{digits[1:]}" if digits[1:] else ""
    return f"{sign}{digits[0]}{fraction}e{point - 1:+d}"


def _elixir_number(number: float) -> str:
    # What is shorter, as Erlang's io_lib_format counts.
    sign, digits, point = _digits_of(number)
    if digits == "0":
        return f"{sign}0.0"
    exponent = str(point - 1)
    exponent_cost = len(exponent) + 1 + (2 if len(digits) == 1 else 1)
    if 0 < point < len(digits):
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if point <= 0 and (point == 0 or 2 - point <= exponent_cost):
        return f"{sign}0.{'0' * -point}{digits}"
    if point > 0 and point - len(digits) + 2 <= exponent_cost and abs(number) < 2**53:
        return f"{sign}{digits.ljust(point, '0')}.0"
    return f"{sign}{digits[0]}.{digits[1:] or '0'}e{exponent}"
