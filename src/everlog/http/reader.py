"""The receiving side of one connection: bytes in, complete requests out.

The parser is llhttp (through httptools), in its strict mode. It refuses by itself: bare CR and
bare LF, obs-fold, whitespace around a header name, control characters, conflicting or repeated
Content-Length, Content-Length with Transfer-Encoding. What it lets pass and RFC 9110 or 9112
forbid is refused here; the tests hold the table of both.

Guarantees that every byte belongs to exactly one request or to a refusal, that a refusal is the
last thing it says, and that memory is bounded by the limits and the endpoint's bound for bodies; of
a body that is streamed nothing is kept here.
What is left to the connection: answering, time, and how many requests are read ahead.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Protocol

import httptools
import msgspec

from everlog.http.exchange import Head
from everlog.http.framing import PLAIN, Form
from everlog.http.limits import Limits

# The consumer's word for a body that has to be read only to get past it.
DISCARD: Final = -1
# The consumer's word for a body that it takes in parts, as they arrive.
STREAM: Final = -2

_NO_HEADERS: Final[Mapping[bytes, bytes]] = MappingProxyType({})

# Headers that make a request unusual: they decide about framing or about the connection.
_SPECIAL_NAMES: Final = frozenset(
    {b"connection", b"proxy-connection", b"expect", b"transfer-encoding", b"upgrade"}
)
FRAMING_NAMES: Final = _SPECIAL_NAMES | {b"host", b"content-length"}

# What a request line and a header hold besides the names and values that we are given.
_REQUEST_LINE_OVERHEAD: Final = len(b"  HTTP/1.1\r\n\r\n")
_HEADER_OVERHEAD: Final = len(b": \r\n")

# RFC 3986 section 3.2, loosely: a registered name, IPv4 or bracketed IPv6 address; and a port.
_HOST: Final = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+;=%-]*)(:[0-9]*)?")
# RFC 9112 section 3.2.2; the path may be empty.
_ABSOLUTE_FORM: Final = re.compile(r"https?://[^/?]+(/[^?]*)?(\?.*)?", re.IGNORECASE)

# llhttp says why in words only; everything else that it refuses is a 400.
_PARSER_STATUSES: Final = {"Invalid HTTP version": 505, "Pause on PRI/Upgrade": 505}

# Once in a head, since the parser has refused what could be taken for a second one.
_CONTENT_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]+)", re.IGNORECASE)
# More than any body has, and few enough that no head grows beyond its limit by them.
_LENGTH_DIGITS_MAX: Final = 12
# Remembered for each connection.
_KNOWN_SIZE_MAX: Final = 2 * 1024

# Content of a chunked body may come in chunks of a single byte, which cost five bytes more.
_CHUNK_OVERHEAD_FACTOR: Final = 8


class Refusal(Exception):  # noqa: N818 - it is an answer, not an error of ours
    """The client broke the rules; after the answer nothing more is read from it."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status: Final = status
        self.reason: Final = reason


class StopReading(Exception):  # noqa: N818 - it is a decision, not an error
    """Raised by a consumer when the rest of the input must not be looked at."""


class _KnownHead(msgspec.Struct, frozen=True, eq=False):
    """A head by its bytes, with a gap for the number that is its content's length."""

    head: Head
    before: bytes
    # None where the head says nothing of a length, so that there is no content.
    after: bytes | None
    # Where the number begins, and how far it and what is behind it may reach from there.
    start: int
    length_size_max: int


class Consumer(Protocol):
    """Whom a reader hands its requests to."""

    def begin_wait(self) -> None:
        """Note that the rest of a head or of a body is awaited from now on."""
        ...

    def take_head(self, head: Head) -> int:
        """Decide about a request; return the bound of its body, or DISCARD, or STREAM."""
        ...

    def take_part(self, data: bytes) -> None:
        """Take a part of a body that is streamed."""
        ...

    def extend_body(self) -> int:
        """Return a larger bound for a body that goes beyond its own, or raise a Refusal."""
        ...

    def take_request(self, head: Head, body: bytes) -> None:
        """Take a complete request whose head was taken before."""
        ...


class RequestReader:
    """Turns the bytes of one connection into requests."""

    __slots__ = (
        "_body",
        "_body_size_max",
        "_consumer",
        "_head",
        "_head_size",
        "_header_count",
        "_headers_kept",
        "_headers_noticed",
        "_host",
        "_host_valid",
        "_is_head_repeated",
        "_kept",
        "_known",
        "_last_content_length",
        "_last_head",
        "_last_target",
        "_limits",
        "_parser",
        "_peer",
        "_repeated_head",
        "_special",
        "_target",
        "_upgrade_head",
        "_wire_size",
        "body_size",
        "content_length",
        "form",
        "is_chunked",
        "is_continue_expected",
        "is_mid_message",
        "message_count",
    )

    # The message at hand; see `_reset`.
    # The first piece as it is; as soon as there are two, all are put behind each other at once: a
    # body may come in pieces of a byte, and each would take fifty as an object of its own.
    _body: bytes | bytearray
    _head: Head | None
    _host: bytes | None
    _kept: dict[bytes, bytes] | None
    _special: dict[bytes, bytes] | None
    _target: bytes
    _wire_size: int
    body_size: int
    content_length: int
    # Whether the client waits for our consent before it sends the body.
    is_continue_expected: bool
    is_mid_message: bool

    def __init__(
        self,
        consumer: Consumer,
        *,
        limits: Limits,
        headers_kept: frozenset[bytes],
        headers_noticed: frozenset[bytes],
        peer: str,
    ) -> None:
        assert headers_noticed >= FRAMING_NAMES
        self._consumer = consumer
        self._limits = limits
        self._headers_kept = headers_kept
        self._headers_noticed = headers_noticed
        self._peer = peer
        self._host_valid = b""
        self._upgrade_head: Head | None = None
        # Whether the parser is told a head that we know already, see `_decline_upgrade`.
        self._is_head_repeated = False
        self.form = PLAIN
        self._body_size_max = DISCARD
        self._parser = httptools.HttpRequestParser(self)
        # The last request: clients repeat themselves, and the same bytes give the same value.
        self._last_head = Head("", "", "", _NO_HEADERS, peer)
        self._last_target = b""
        self._last_content_length = 0
        # The head of the last request that came alone, and what need not be parsed again.
        self._repeated_head: Head | None = None
        self._known: _KnownHead | None = None
        # How many messages were completed in what the parser is being fed.
        self.message_count = 0
        self._special = None
        self.is_chunked = False
        self.is_continue_expected = False
        self._reset()

    @property
    def is_mid_body(self) -> bool:
        """Whether a head is complete and its body is not."""
        return self._head is not None

    @property
    def body_rest(self) -> int:
        """How much of a body is still to come, 0 where that is not known."""
        is_known = self._head is not None and not self.is_chunked
        return self.content_length - self.body_size if is_known else 0

    @property
    def is_head_method(self) -> bool:
        """Whether the request at hand is known to be HEAD."""
        return bool(self._target) and self._parser.get_method() == b"HEAD"

    def feed(self, data: bytes | memoryview) -> None:
        """Read `data`; raises Refusal when it breaks the rules."""
        if not self.take_known(data):
            self._feed_parser(data)

    def take_known(self, data: bytes | memoryview) -> bool:
        """Read `data` if it is one whole request with a head that is known; else return False.

        Clients repeat their heads, and the parser is between two messages: it would say again what
        it said about the same bytes. So such a packet, whatever its body, is taken without it.
        """
        known = self._known
        if known is None or self.is_mid_message:
            return False
        data = bytes(data)
        start, size = known.start, len(data)
        is_whole = data.startswith(known.before)
        if is_whole and known.after is not None:
            end = data.find(known.after, start, start + known.length_size_max)
            digits = data[start:end]
            start = end + len(known.after)
            is_whole = end >= 0 and digits.isdigit() and int(digits) == size - start
        elif is_whole:
            is_whole = start == size
        if is_whole:
            self.form = PLAIN
            self.content_length = size - start
            size_max = self._consumer.take_head(known.head)
            self.content_length = 0
            if size_max == STREAM:
                self._consumer.take_part(data[start:])
            body = data[start:] if size_max >= 0 else b""
            self._consumer.take_request(known.head, body)
        return is_whole

    def _feed_parser(self, data: bytes | memoryview) -> None:
        is_at_boundary = not self.is_mid_message
        self.message_count = 0
        try:
            self._parse(data)
        except httptools.HttpParserCallbackError as error:
            # A refusal of ours, or what the consumer raised to stop us.
            raise error.__context__ or error from None
        except httptools.HttpParserError as error:
            reason = str(error)
            raise Refusal(_PARSER_STATUSES.get(reason, 400), reason) from None
        if self.is_mid_message:
            self._check_unfinished(len(data))
        elif is_at_boundary and self.message_count == 1:
            self._learn(bytes(data))
        # A request that is taken without the parser is the only one of its packet.
        self.message_count = 0

    def _parse(self, data: bytes | memoryview) -> None:
        rest = data
        while True:
            try:
                self._parser.feed_data(rest)
            except httptools.HttpParserUpgrade as upgrade:
                rest = memoryview(rest)[upgrade.args[0] :]
                self._decline_upgrade()
            else:
                return

    def forget_body(self) -> None:
        """Read the body that is arriving only to get past it."""
        self._body = b""
        self._body_size_max = DISCARD

    def close(self) -> None:
        """Forget the parser, which refers to us: memory is freed now, not by a collector."""
        del self._parser

    # Called by the parser.

    def on_message_begin(self) -> None:
        self.is_mid_message = True

    def on_url(self, data: bytes) -> None:
        if not self._is_head_repeated:
            self._target += data

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_head_repeated:
            return
        self._header_count += 1
        self._head_size += len(name) + len(value) + _HEADER_OVERHEAD
        name = name.lower()
        if name in self._headers_noticed:
            self._notice(name, value)

    def on_headers_complete(self) -> None:
        if self._is_head_repeated:
            return
        method = str(self._parser.get_method(), "ascii")
        self._check_head_limits(len(method))
        # Without a header that says so, only HTTP/1.1 keeps the connection.
        if self._special is None and method != "HEAD" and self._parser.should_keep_alive():
            self.form = PLAIN
        else:
            self._judge_form(method)
        if self._host is None and not self.form.is_http_10:
            raise Refusal(400, "the Host header is missing")
        head = self._last_head
        if (
            self._target != self._last_target
            or method != head.method
            or (self._kept or _NO_HEADERS) != head.headers
        ):
            path, query = _split_target(method, self._target)
            head = Head(method, path, query, self._kept or _NO_HEADERS, self._peer)
            self._last_head = head
            self._last_target = self._target
        self._wire_size = -1
        self._body_size_max = self._consumer.take_head(head)
        if self._special is not None and self._parser.should_upgrade():
            # The parser takes the body for the other protocol's; see `_decline_upgrade`.
            self._upgrade_head = head
        else:
            self._head = head

    def on_body(self, data: bytes) -> None:
        self.body_size += len(data)
        if self.body_size > self._body_size_max:
            if self._body_size_max == DISCARD:
                return
            if self._body_size_max == STREAM:
                self._consumer.take_part(data)
                return
            self._body_size_max = self._consumer.extend_body()
        if not self._body:
            self._body = data
        elif type(self._body) is bytes:
            self._body = bytearray(self._body)
            self._body += data
        else:
            self._body += data

    def on_message_complete(self) -> None:
        head = self._head
        if head is None:
            return
        body = bytes(self._body)
        self.message_count += 1
        self._last_content_length = DISCARD if self._special else self.content_length
        self._reset()
        self._consumer.take_request(head, body)

    # Below: the rules.

    def _reset(self) -> None:
        self.is_mid_message = False
        self._head = None
        self._target = b""
        self._header_count = 0
        self._head_size = _REQUEST_LINE_OVERHEAD
        self._wire_size = -1
        self._host = None
        self._kept = None
        self.content_length = 0
        self.body_size = 0
        self._body = b""
        if self._special is not None:
            self._special = None
            self.is_chunked = False
            self.is_continue_expected = False

    def _learn(self, data: bytes) -> None:
        """Remember the head of `data`, which was one complete request and nothing else."""
        # Possible only for the usual form, and worth it only for a client that repeats itself.
        if self._last_content_length == DISCARD or self.form is not PLAIN:
            return
        head = self._last_head
        if head is self._repeated_head:
            self._known = _know(head, data[: len(data) - self._last_content_length])
        self._repeated_head = head

    def _notice(self, name: bytes, value: bytes) -> None:
        if self._head is not None:
            # A trailer: RFC 9110 section 6.5.1 lets us ignore it, and never merge it.
            return
        if name == b"content-length":
            # The parser has made sure that it is one number.
            self.content_length = int(value)
        elif name == b"host":
            if self._host is not None:
                raise Refusal(400, "the Host header is repeated")
            if value != self._host_valid:
                self._check_host(value)
            self._host = value
        elif name in _SPECIAL_NAMES:
            self._special = self._special or {}
            # Connection and Upgrade are lists: the parser reads them, their presence is enough.
            self._special.setdefault(name, value)
        if name in self._headers_kept:
            if self._kept is None:
                self._kept = {name: value}
            elif name in self._kept:
                raise Refusal(400, f"the header {name.decode('ascii')} is repeated")
            else:
                self._kept[name] = value

    def _check_host(self, value: bytes) -> None:
        if _HOST.fullmatch(value) is None:
            raise Refusal(400, "the Host header is invalid")
        self._host_valid = value

    def _judge_form(self, method: str) -> None:
        """Decide about framing and the connection of a request that is not the usual one."""
        version = self._parser.get_http_version()
        if version not in {"1.0", "1.1"}:
            raise Refusal(505, f"HTTP/{version} is not supported, HTTP/1.1 is")
        is_http_10 = version == "1.0"
        special = self._special or {}
        coding = special.get(b"transfer-encoding")
        if coding is not None:
            if is_http_10:
                # RFC 9112 section 6.1: treat it as faulty, whatever its value.
                raise Refusal(400, "HTTP/1.0 knows no Transfer-Encoding")
            if coding.lower() != b"chunked":
                raise Refusal(501, "the only Transfer-Encoding supported is chunked")
            self.is_chunked = True
        # RFC 9110 section 10.1.1: an HTTP/1.0 client's expectation is ignored.
        if b"expect" in special and not is_http_10:
            if special[b"expect"].lower() != b"100-continue":
                raise Refusal(417, "the only expectation supported is 100-continue")
            self.is_continue_expected = True
        does_end = not self._parser.should_keep_alive()
        self.form = Form(is_http_10=is_http_10, is_head=method == "HEAD", is_last=does_end)

    def _check_head_limits(self, method_length: int) -> None:
        limits = self._limits
        if len(self._target) > limits.target_length_max:
            raise Refusal(414, f"the target is longer than {limits.target_length_max} bytes")
        if self._header_count > limits.header_count_max:
            raise Refusal(431, f"there are more than {limits.header_count_max} headers")
        head_size = self._head_size + method_length + len(self._target)
        if head_size > limits.head_size_max:
            raise Refusal(431, f"the head is larger than {limits.head_size_max} bytes")

    def _check_unfinished(self, size: int) -> None:
        """Bound what is not content: heads without end, and chunked bodies that are all framing.

        The first `size` of a message is not counted, since it may be other messages' bytes too.
        """
        if self._wire_size < 0:
            self._wire_size = 0
            self._consumer.begin_wait()
        else:
            self._wire_size += size
        if self._head is None:
            self._check_head_limits(0)
            if self._wire_size > self._limits.head_size_max:
                raise Refusal(431, f"the head is larger than {self._limits.head_size_max} bytes")
        elif self.is_chunked:
            allowed_size = self.body_size * _CHUNK_OVERHEAD_FACTOR + self._limits.chunk_overhead_max
            if self._wire_size > allowed_size:
                raise Refusal(400, "the chunks hold far more framing than content")

    def _decline_upgrade(self) -> None:
        """Go on in HTTP/1.1, as RFC 9110 section 7.8 allows: some clients offer more each time.

        The parser has taken what follows the head for the other protocol. So a new one goes on
        behind a head that says nothing but how long the body is.
        """
        head, self._upgrade_head = self._upgrade_head, None
        assert head is not None
        self._head = head
        framing = b"Content-Length: %d" % self.content_length
        if self.is_chunked:
            framing = b"Transfer-Encoding: chunked"
        self._parser = httptools.HttpRequestParser(self)
        self._is_head_repeated = True
        try:
            self._parser.feed_data(
                b"%b / HTTP/1.1\r\n%b\r\n\r\n" % (head.method.encode("ascii"), framing)
            )
        finally:
            self._is_head_repeated = False


def _know(head: Head, block: bytes) -> _KnownHead | None:
    """Return what to remember of a head and its bytes, None if it takes more than it saves."""
    if len(block) > _KNOWN_SIZE_MAX:
        return None
    if block.find(b"\r\n\r\n") + 4 != len(block):
        # The parser passes over a line break behind the body (RFC 9112 section 2.2).
        return None
    found = _CONTENT_LENGTH.search(block)
    if found is None:
        return _KnownHead(head, block, None, len(block), 0)
    before, after = block[: found.start(1)], block[found.end(1) :]
    return _KnownHead(head, before, after, len(before), _LENGTH_DIGITS_MAX + len(after))


def _split_target(method: str, target: bytes) -> tuple[str, str]:
    """Return path and query of a request target (RFC 9112 section 3.2)."""
    text = str(target, "latin-1")
    if "#" in text:
        raise Refusal(400, "the target holds a fragment")
    if text[0] != "/":
        text = _to_origin_form(method, text)
    path, _, query = text.partition("?")
    return path, query


def _to_origin_form(method: str, target: str) -> str:
    if method == "CONNECT":
        raise Refusal(501, "this is not a proxy: CONNECT is not supported")
    if target == "*":
        if method != "OPTIONS":
            raise Refusal(400, "the target * belongs to OPTIONS")
        return target
    match = _ABSOLUTE_FORM.fullmatch(target)
    if match is None:
        raise Refusal(400, "the target is neither a path nor an http URL")
    return (match[1] or "/") + (match[2] or "")
