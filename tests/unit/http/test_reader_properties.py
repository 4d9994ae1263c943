"""What holds for any bytes: the same requests however they are split, and the same as h11 says.

Where h11 and we both accept, method, target and body agree. Where h11 refuses, so do we, and the
other way round, except for what `is_known_difference` lists.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import h11
from hypothesis import example, given
from hypothesis import strategies as st

from everlog.http import Head, Limits
from everlog.http.reader import DISCARD, FRAMING_NAMES, Refusal, RequestReader

KEPT = frozenset({b"authorization"})


class Seen(NamedTuple):
    """What a reader made of some bytes."""

    requests: list[tuple[str, str, bytes]]
    status: int
    is_mid_message: bool


class Collector:
    """Takes every request whose body is wanted."""

    def __init__(self, *, body_size_max: int = 1_000_000) -> None:
        self.requests: list[tuple[str, str, bytes]] = []
        self.heads_taken = 0
        self.body_size_max = body_size_max

    def begin_wait(self) -> None:
        pass

    def take_head(self, head: Head) -> int:
        del head
        self.heads_taken += 1
        return self.body_size_max

    def take_request(self, head: Head, body: bytes) -> None:
        target = f"{head.path}?{head.query}" if head.query else head.path
        self.requests.append((head.method, target, body))
        assert len(self.requests) == self.heads_taken


def read(parts: Sequence[bytes], *, body_size_max: int = 1_000_000) -> Seen:
    """Feed `parts` to a reader, up to the last request of the connection or to a refusal."""
    collector = Collector(body_size_max=body_size_max)
    reader = RequestReader(
        collector,
        limits=Limits(),
        headers_kept=KEPT,
        headers_noticed=KEPT | FRAMING_NAMES,
        peer="",
    )
    for part in parts:
        try:
            reader.feed(part)
        except Refusal as refusal:
            return Seen(collector.requests, refusal.status, is_mid_message=False)
        if collector.requests and reader.form.is_last and not reader.is_mid_message:
            break
    return Seen(collector.requests, 0, reader.is_mid_message)


def read_with_h11(data: bytes) -> Seen:
    """Say what h11, as a server, makes of the same bytes."""
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=1_000_000)
    parser.receive_data(data)
    requests: list[tuple[str, str, bytes]] = []
    method, target, body = "", "", b""
    while True:
        try:
            event = parser.next_event()
        except h11.RemoteProtocolError as error:
            return Seen(requests, error.error_status_hint, is_mid_message=False)
        if isinstance(event, h11.Request):
            method, target, body = event.method.decode(), _target_of(event), b""
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            requests.append((method, target, body))
            parser.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
            parser.send(h11.EndOfMessage())
            if parser.our_state is not h11.DONE:
                return Seen(requests, 0, is_mid_message=False)
            parser.start_next_cycle()
        else:
            return Seen(requests, 0, parser.their_state is not h11.IDLE)


def _target_of(request: h11.Request) -> str:
    # A "?" with nothing behind it is no query; here as in `Head`.
    return request.target.decode().removesuffix("?")


# The parts of which requests are made: mostly right, sometimes wrong, always near a decision.
METHODS = st.sampled_from([b"GET", b"POST", b"PUT", b"QUERY", b"HEAD", b"OPTIONS", b"DELETE"])
TARGETS = st.sampled_from([b"/", b"/a/b?c=d", b"/%2F?", b"/api/v1/write-events", b"/a?b?c", b"//"])
BODIES = st.binary(max_size=40)
DIGITS = st.text("0123456789\r\n", max_size=30).map(str.encode)
ODD_HEADERS = st.sampled_from(
    [
        b"X-Empty:",
        b"X: a\tb",
        b"X:a",
        b"Connection: close",
        b"Connection: keep-alive",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: gzip",
        b"Transfer-Encoding: gzip, chunked",
        b"Content-Length: 3",
        b"Content-Length: +3",
        b"Content-Length: 3, 3",
        b"Content-Length : 3",
        b"Host: b",
        b"X : y",
        b" folded",
        b"X: a\rb",
        b"X: a\nY: b",
        b"X: a\0b",
        b"X",
        b"(: y",
        b"Authorization: Bearer t",
    ]
)


@st.composite
def chunked_bodies(draw: st.DrawFn, body: bytes) -> bytes:
    sizes = draw(st.lists(st.integers(1, 10), max_size=8))
    encoded, rest = b"", body
    for size in sizes:
        chunk, rest = rest[:size], rest[size:]
        if chunk:
            encoded += b"%x;x=y\r\n%b\r\n" % (len(chunk), chunk)
    if rest:
        encoded += b"%X\r\n%b\r\n" % (len(rest), rest)
    return encoded + b"0\r\n\r\n"


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Make one request, most often a correct one."""
    lines = [b"%b %b HTTP/1.1" % (draw(METHODS), draw(TARGETS)), b"Host: a"]
    body = draw(BODIES)
    match draw(st.sampled_from(["length", "chunked", "none"])):
        case "length":
            lines.append(b"Content-Length: %d" % len(body))
        case "chunked":
            lines.append(b"Transfer-Encoding: chunked")
            body = draw(chunked_bodies(body))
        case _:
            body = b""
    return b"\r\n".join([*lines, b"", b""]) + body


@st.composite
def odd_requests(draw: st.DrawFn) -> bytes:
    """Make one request with a header that may be wrong in any place."""
    head, _, body = draw(requests()).partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    for header in draw(st.lists(ODD_HEADERS, max_size=2)):
        lines.insert(draw(st.integers(1, len(lines))), header)
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


@st.composite
def mutated(draw: st.DrawFn, data: bytes) -> bytes:
    """Change a few bytes anywhere."""
    changed = bytearray(data)
    for _ in range(draw(st.integers(1, 3))):
        position = draw(st.integers(0, len(changed) - 1))
        byte = draw(st.sampled_from(b"\r\n\0 \t:;,0123aXF\x7f\xff"))
        match draw(st.sampled_from(["replace", "insert", "delete"])):
            case "replace":
                changed[position] = byte
            case "insert":
                changed.insert(position, byte)
            case _:
                del changed[position]
        if not changed:
            break
    return bytes(changed)


@st.composite
def split(draw: st.DrawFn, data: bytes) -> list[bytes]:
    points = sorted(draw(st.lists(st.integers(0, len(data)), max_size=6)))
    edges = [0, *points, len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def is_known_difference(data: bytes) -> bool:
    """Say where we are stricter than h11, or more lenient, on purpose or by the parser."""
    upper = data.upper()
    return any(
        (
            # h11 accepts bare LF as a line end, and obs-fold; RFC 9112 2.2 and 5.2 forbid both.
            b"\n" in data.replace(b"\r\n", b""),
            b"\r\n " in data,
            b"\r\n\t" in data,
            # h11 folds equal lengths into one; RFC 9112 6.3 lets us refuse.
            upper.count(b"CONTENT-LENGTH") > 1,
            b"3, 3" in data,
            # h11 leaves this to the application, which sees one value only with us.
            upper.count(b"AUTHORIZATION") > 1,
            # h11 lets Transfer-Encoding win over Content-Length; RFC 9112 6.1 lets us refuse.
            b"CONTENT-LENGTH" in upper and b"TRANSFER-ENCODING" in upper,
        )
    )


@given(data=odd_requests())
def test_h11_and_we_understand_the_same(data: bytes) -> None:
    ours, theirs = read([data]), read_with_h11(data)

    if is_known_difference(data):
        # We may refuse what h11 takes, and never take what it reads differently.
        assert ours.status or ours.requests == theirs.requests
        return
    assert ours.requests[:1] == theirs.requests[:1]
    if not theirs.requests:
        assert bool(ours.status) == bool(theirs.status)


@given(data=st.lists(requests(), min_size=1, max_size=5))
def test_h11_and_we_find_the_same_requests_in_a_pipeline(data: list[bytes]) -> None:
    ours, theirs = read([b"".join(data)]), read_with_h11(b"".join(data))

    assert len(ours.requests) == len(data)
    assert ours == theirs


@given(data=odd_requests().flatmap(mutated))
def test_what_h11_refuses_about_framing_is_not_taken_by_us(data: bytes) -> None:
    ours, theirs = read([data]), read_with_h11(data)

    for mine, other in zip(ours.requests, theirs.requests, strict=False):
        if not is_known_difference(data):
            assert mine == other


@given(data=st.lists(requests() | odd_requests(), min_size=1, max_size=4), choice=st.data())
def test_requests_are_the_same_however_they_are_split(
    data: list[bytes], choice: st.DataObject
) -> None:
    whole = b"".join(data)

    assert read(choice.draw(split(whole))) == read([whole])


@given(data=st.lists(requests(), min_size=1, max_size=4), choice=st.data())
def test_broken_requests_are_the_same_however_they_are_split(
    data: list[bytes], choice: st.DataObject
) -> None:
    whole = choice.draw(mutated(b"".join(data)))

    assert read(choice.draw(split(whole))) == read([whole])


@given(data=st.binary(max_size=300), choice=st.data())
@example(data=b"", choice=None)
def test_any_bytes_are_requests_or_a_refusal(data: bytes, choice: st.DataObject | None) -> None:
    parts = [data] if choice is None else choice.draw(split(data))

    assert read(parts) == read([data])


@given(data=st.lists(requests(), min_size=1, max_size=4), repeats=st.integers(2, 4))
def test_requests_that_are_repeated_are_read_like_the_first(
    data: list[bytes], repeats: int
) -> None:
    # Each in a packet of its own: the way in which a head is recognised instead of parsed.
    parts = [request for request in data for _ in range(repeats)]

    seen = read(parts)

    assert seen.requests == [request for part in parts for request in read([part]).requests]
    assert seen.status == 0


@given(
    requests=st.lists(requests(), min_size=1, max_size=4),
    before=st.sampled_from([b"", b"\r\n"]),
    after=st.sampled_from([b"\r\n", b"\r\n\r\n"]),
)
@example(
    requests=[b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}"],
    before=b"",
    after=b"\r\n",
)
def test_line_breaks_around_repeated_requests_belong_to_none(
    requests: list[bytes], before: bytes, after: bytes
) -> None:
    # RFC 9112 section 2.2: old clients send one behind a body.
    parts = [before + request + after for request in requests for _ in range(4)]

    seen = read(parts)

    assert seen.requests == [found for part in parts for found in read([part]).requests]
    assert seen.status == 0


@given(head=odd_requests(), bodies=st.lists(BODIES | DIGITS, min_size=3, max_size=6))
def test_a_head_that_is_repeated_with_other_bodies_is_read_like_a_new_one(
    head: bytes, bodies: list[bytes]
) -> None:
    start, length, _ = head.partition(b"\r\n\r\n")[0].partition(b"\r\nContent-Length: ")
    parts = [b"%b%b%d\r\n\r\n%b" % (start, length, len(body), body) for body in bodies]
    if not length or any(read([part]).status for part in parts):
        return

    seen = read(parts)

    assert seen.requests == [request for part in parts for request in read([part]).requests]


@given(request=requests(), choice=st.data())
def test_what_only_resembles_a_repeated_request_is_read_like_a_new_one(
    request: bytes, choice: st.DataObject
) -> None:
    changed = choice.draw(mutated(request))
    known = read([request])

    seen = read([request, request, changed])

    fresh = read([changed])
    assert seen == Seen(known.requests * 2 + fresh.requests, fresh.status, fresh.is_mid_message)


@given(
    bodies=st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=4), choice=st.data()
)
def test_repeated_requests_may_be_split_or_joined_anywhere(
    bodies: list[bytes], choice: st.DataObject
) -> None:
    repeated = b"POST / HTTP/1.1\r\nContent-Length: %d\r\nHost: a\r\n\r\n%b"
    known = [repeated % (1, b"x")] * 2
    others = [repeated % (len(body), body) for body in bodies]

    seen = read([*known, *choice.draw(split(b"".join(others)))])

    assert seen.requests == [("POST", "/", body) for body in [b"x", b"x", *bodies]]
    assert not seen.is_mid_message


@given(data=st.lists(requests(), min_size=1, max_size=4), repeats=st.integers(1, 3))
def test_bodies_that_nobody_wants_are_passed_over(data: list[bytes], repeats: int) -> None:
    parts = [request for request in data for _ in range(repeats)]

    seen = read(parts, body_size_max=DISCARD)

    wanted = read(parts).requests
    assert seen.requests == [(method, target, b"") for method, target, _ in wanted]
    assert seen.status == 0
