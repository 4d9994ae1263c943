"""RFC 9110 and RFC 9112 as a table: what is sent, which statuses come back, and who stays."""

from collections.abc import Iterator

import pytest

from tests.support.serving import Client, Serving, serving

HOST = b"Host: a\r\n"
GET = b"GET /x HTTP/1.1\r\nHost: a\r\n"
POST = b"POST /x HTTP/1.1\r\nHost: a\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def running() -> Iterator[Serving]:
    with serving() as running:
        yield running


# Each row: what it shows, the bytes, the status. The connection stays open.
KEPT: tuple[tuple[str, bytes, int], ...] = (
    ("9112 3: a request", GET + b"\r\n", 200),
    ("9112 2.2: an empty line before a request", b"\r\n\r\n" + GET + b"\r\n", 200),
    ("9112 5.1: whitespace around a value", GET + b"X:   y \t\r\nZ:\r\n\r\n", 200),
    ("9110 5.5: obs-text and tabs in a value", GET + b"X: a\xff\tb\r\n\r\n", 200),
    ("9110 5.1: names in any case", b"GET / HTTP/1.1\r\nhOsT: a\r\n\r\n", 200),
    ("9112 6.2: a length", POST + b"Content-Length: 3\r\n\r\nabc", 200),
    ("9112 6.2: a length of nothing", POST + b"Content-Length: 0\r\n\r\n", 200),
    ("9112 6.2: whitespace around a length", POST + b"Content-Length:\t3\t\r\n\r\nabc", 200),
    ("9112 6.3: no length is no body", POST + b"\r\n", 200),
    ("9112 7.1: chunks", CHUNKED + b"3\r\nabc\r\n0a\r\n0123456789\r\n0\r\n\r\n", 200),
    ("9112 7.1.1: extensions are ignored", CHUNKED + b'3;a=b;c="d"\r\nabc\r\n0;e\r\n\r\n', 200),
    ("9112 7.1.2: trailers are ignored", CHUNKED + b"1\r\na\r\n0\r\nT: x\r\nHost: b\r\n\r\n", 200),
    ("9112 6.1: chunked in any case", POST + b"Transfer-Encoding: cHUNked\r\n\r\n0\r\n\r\n", 200),
    ("9112 3.2.2: absolute form", b"GET http://b/x?y HTTP/1.1\r\nHost: a\r\n\r\n", 200),
    ("9112 3.2.2: absolute form without a path", b"GET https://b HTTP/1.1\r\nHost: a\r\n\r\n", 200),
    ("9112 3.2.4: asterisk form", b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 200),
    ("9112 3.2: an empty Host", b"GET / HTTP/1.1\r\nHost:\r\n\r\n", 200),
    ("3986 3.2.2: an IPv6 host", b"GET / HTTP/1.1\r\nHost: [::1]:3000\r\n\r\n", 200),
    (
        "9112 9.3: HTTP/1.0 may ask to stay",
        b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n",
        200,
    ),
    (
        "9110 7.8: an upgrade is not followed",
        GET + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n",
        200,
    ),
    (
        "9110 7.8: not with a body either",
        POST + b"Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\nabc",
        200,
    ),
    (
        "9110 7.8: nor with chunks",
        POST + b"Connection: upgrade\r\nUpgrade: h2c\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        200,
    ),
    ("the method QUERY", b"QUERY /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab", 200),
    ("a method of the application", b"DELETE /x HTTP/1.1\r\nHost: a\r\n\r\n", 200),
    (
        "a small refused body is read",
        b"POST /refused HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
        401,
    ),
    (
        "a small body that is too large",
        b"POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n0123456789a",
        413,
    ),
    ("an answer without a body", b"GET /empty HTTP/1.1\r\nHost: a\r\n\r\n", 204),
    ("a bug of the application", b"GET /broken HTTP/1.1\r\nHost: a\r\n\r\n", 500),
    ("a bug in routing", b"GET /unroutable HTTP/1.1\r\nHost: a\r\n\r\n", 500),
)

# Each row as above. The answer is the last one, and the connection ends in order.
CLOSED: tuple[tuple[str, bytes, int], ...] = (
    # How connections end.
    ("9112 9.6: Connection: close", GET + b"Connection: x, Close\r\n\r\n", 200),
    ("9112 9.6: nothing after it counts", GET + b"Connection: close\r\n\r\n" + GET + b"\r\n", 200),
    ("9112 9.6: not even nonsense", GET + b"Connection: close\r\n\r\n\0\0\0", 200),
    (
        "9112 9.6: also with an offer to upgrade",
        GET + b"Connection: Upgrade, close\r\nUpgrade: h2c\r\n\r\n" + GET + b"\r\n",
        200,
    ),
    ("9112 9.3: HTTP/1.0 ends by default", b"GET / HTTP/1.0\r\n\r\n", 200),
    ("9112 9.3: also with a body", b"POST / HTTP/1.0\r\nContent-Length: 1\r\n\r\na", 200),
    # The request line.
    ("9112 3: an unknown method", b"FOO / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("9110 9.1: methods are in upper case", b"get / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("9112 3: no version", b"GET /\r\n\r\n", 505),
    ("9110 15.6.6: version 0.9", b"GET / HTTP/0.9\r\n\r\n", 505),
    ("9110 15.6.6: version 1.2", b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505),
    ("9110 15.6.6: version 2.0", b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    ("9112 2.3: a version in lower case", b"GET / http/1.1\r\nHost: a\r\n\r\n", 400),
    ("9112 3: space after the version", b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400),
    ("9112 3: a tab as separator", b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("9112 3: space before the method", b" GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("9113 3.3: HTTP/2 by prior knowledge", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    ("a TLS handshake", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    # The target.
    ("9112 3.2: a relative target", b"GET x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("9112 3.2: a control character", b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("9112 3.2: a byte above 127", b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("9112 3.2: a fragment", b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("9112 3.2.2: another scheme", b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("9112 3.2.2: no authority", b"GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("9112 3.2.4: * is for OPTIONS", b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("9112 3.2.3: not a proxy", b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\nGET", 501),
    # Host.
    ("9112 3.2: no Host", b"GET / HTTP/1.1\r\n\r\n", 400),
    ("9112 3.2: two Hosts", GET + b"Host: a\r\n\r\n", 400),
    ("9112 3.2: two Hosts in HTTP/1.0", b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    ("9112 3.2: an invalid Host", b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
    ("9112 3.2: a list of Hosts", b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400),
    ("9112 3.2: userinfo in Host", b"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400),
    # The form of headers.
    ("9112 2.2: bare LF after the request line", b"GET / HTTP/1.1\nHost: a\r\n\r\n", 400),
    ("9112 2.2: bare LF after a header", b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", 400),
    ("9112 2.2: bare LF as the end", b"GET / HTTP/1.1\r\nHost: a\r\n\n", 400),
    ("9112 2.2: bare CR in a value", GET + b"X: a\rb\r\n\r\n", 400),
    ("9112 2.2: bare CR instead of a line end", GET + b"X: a\rY: b\r\n\r\n", 400),
    ("9112 2.2: CR CR LF", GET + b"X: a\r\r\n\r\n", 400),
    ("9112 5.2: obs-fold", GET + b"X: a\r\n b\r\n\r\n", 400),
    ("9112 5.2: obs-fold with a tab", GET + b"X: a\r\n\tb\r\n\r\n", 400),
    ("9112 2.2: space before the first header", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
    ("9112 5.1: space before the colon", GET + b"X : a\r\n\r\n", 400),
    ("9112 5.1: a tab before the colon", GET + b"X\t: a\r\n\r\n", 400),
    ("9112 5.1: space before a length's colon", POST + b"Content-Length : 3\r\n\r\nabc", 400),
    ("9110 5.1: no colon", GET + b"X\r\n\r\n", 400),
    ("9110 5.1: no name", GET + b": a\r\n\r\n", 400),
    ("9110 5.6.2: not a token", GET + b"X(y): a\r\n\r\n", 400),
    ("9110 5.5: NUL", GET + b"X: a\0b\r\n\r\n", 400),
    ("9110 5.5: a control character", GET + b"X: a\x01b\r\n\r\n", 400),
    ("9110 5.5: DEL", GET + b"X: a\x7fb\r\n\r\n", 400),
    ("a kept header twice", GET + b"Authorization: a\r\nauthorization: b\r\n\r\n", 400),
    # Framing: what smuggles requests.
    ("9112 6.3: two lengths", POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
    ("9112 6.3: a length twice", POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400),
    ("9112 6.3: a list of lengths", POST + b"Content-Length: 3, 3\r\n\r\nabc", 400),
    ("9110 8.6: a signed length", POST + b"Content-Length: +3\r\n\r\nabc", 400),
    ("9110 8.6: a negative length", POST + b"Content-Length: -3\r\n\r\nabc", 400),
    ("9110 8.6: a hexadecimal length", POST + b"Content-Length: 0x3\r\n\r\nabc", 400),
    ("9110 8.6: no length", POST + b"Content-Length:\r\n\r\n", 400),
    ("9110 8.6: two numbers", POST + b"Content-Length: 3 3\r\n\r\nabc", 400),
    ("9110 8.6: an endless length", POST + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n", 400),
    (
        "9112 6.1: length and coding",
        POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "9112 6.1: coding and length",
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        400,
    ),
    ("9112 6.1: another coding", POST + b"Transfer-Encoding: gzip\r\n\r\n", 501),
    (
        "9112 6.1: another coding first",
        POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        501,
    ),
    ("9112 6.1: chunked is not last", POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n", 400),
    (
        "9112 6.1: chunked twice",
        POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    ("9112 6.1: chunked with a parameter", POST + b"Transfer-Encoding: chunked;q=1\r\n\r\n", 501),
    ("9112 6.1: almost chunked", POST + b"Transfer-Encoding: xchunked\r\n\r\n", 501),
    ("9112 6.1: a vertical tab", POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n", 400),
    ("9112 6.1: no coding", POST + b"Transfer-Encoding:\r\n\r\n", 400),
    (
        "9112 6.1: coding in HTTP/1.0",
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    ("9112 7.1: bare LF after a chunk size", CHUNKED + b"3\nabc\r\n0\r\n\r\n", 400),
    ("9112 7.1: bare LF after a chunk", CHUNKED + b"3\r\nabc\n0\r\n\r\n", 400),
    ("9112 7.1: bare LF as the end", CHUNKED + b"3\r\nabc\r\n0\r\n\n", 400),
    ("9112 7.1: bare LF in an extension", CHUNKED + b"3;a\nabc\r\n0\r\n\r\n", 400),
    ("9112 7.1: bare CR in an extension", CHUNKED + b"3;a\rb\r\nabc\r\n0\r\n\r\n", 400),
    ("9112 7.1: NUL in an extension", CHUNKED + b"3;a\0b\r\nabc\r\n0\r\n\r\n", 400),
    ("9112 7.1: space after a chunk size", CHUNKED + b"3 \r\nabc\r\n0\r\n\r\n", 400),
    ("9112 7.1: space before a chunk size", CHUNKED + b" 3\r\nabc\r\n0\r\n\r\n", 400),
    ("9112 7.1: a prefixed chunk size", CHUNKED + b"0x3\r\nabc\r\n0\r\n\r\n", 400),
    ("9112 7.1: a negative chunk size", CHUNKED + b"-3\r\nabc\r\n0\r\n\r\n", 400),
    ("9112 7.1: an endless chunk size", CHUNKED + b"f" * 17 + b"\r\nabc", 400),
    ("9112 7.1: no chunk size", CHUNKED + b"\r\nabc\r\n0\r\n\r\n", 400),
    ("9112 7.1: more than the chunk size", CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n", 400),
    ("9112 7.1.2: a malformed trailer", CHUNKED + b"0\r\nT x\r\n\r\n", 400),
    ("9112 6.5: framing in a trailer", CHUNKED + b"0\r\nContent-Length: 5\r\n\r\n", 400),
    # Expectations, and bodies that nobody wants.
    ("9110 10.1.1: an unknown expectation", POST + b"Expect: tea\r\n\r\n", 417),
    (
        "a large refused body",
        b"POST /refused HTTP/1.1\r\nHost: a\r\nContent-Length: 65537\r\n\r\n",
        401,
    ),
    (
        "a refused body of unknown size",
        b"POST /refused HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        401,
    ),
    (
        "a body that is far too large",
        b"POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n",
        413,
    ),
    (
        "a chunked body that is too large",
        (
            b"POST /small HTTP/1.1\r\nHost: a\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n6\r\n012345\r\n5\r\nabcde\r\n"
        ),
        413,
    ),
)


def check_kept(running: Serving, data: bytes, status: int) -> None:
    with Client(running.port) as client:
        client.send(data)
        assert client.read_answer().status == status

        client.send(b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.read_answer().body == b"GET /next?\n"


def check_closed(running: Serving, data: bytes, status: int) -> None:
    with Client(running.port) as client:
        client.send(data)
        answer = client.read_answer()

        assert answer.status == status
        assert answer.headers[b"connection"] == b"close"
        assert client.receive_all() == b""


@pytest.mark.parametrize("data, status", [row[1:] for row in KEPT], ids=[row[0] for row in KEPT])
def test_is_answered_and_the_connection_stays(running: Serving, data: bytes, status: int) -> None:
    check_kept(running, data, status)


@pytest.mark.parametrize(
    "data, status", [row[1:] for row in CLOSED], ids=[row[0] for row in CLOSED]
)
def test_is_answered_and_the_connection_ends(running: Serving, data: bytes, status: int) -> None:
    check_closed(running, data, status)


@pytest.mark.parametrize("data", [row[1] for row in KEPT + CLOSED if row[2] == 200])
def test_one_byte_at_a_time_is_understood_the_same(running: Serving, data: bytes) -> None:
    with Client(running.port) as client:
        client.send(data)
        at_once = client.read_answer()
    with Client(running.port) as client:
        try:
            for byte in data:
                client.send(bytes([byte]))
        except ConnectionError:
            # It went on after its last request.
            assert at_once.headers[b"connection"] == b"close"
            return

        in_steps = client.read_answer()
    assert (in_steps.status, in_steps.body) == (at_once.status, at_once.body)


def test_requests_with_and_without_an_offer_to_upgrade_may_follow_each_other(
    running: Serving,
) -> None:
    offer = b"Connection: Upgrade\r\nUpgrade: h2c\r\n"
    requests = (
        POST + offer + b"Content-Length: 2\r\n\r\nab",
        POST + b"Content-Length: 2\r\n\r\ncd",
        GET + offer + b"\r\n",
        POST + offer + b"Transfer-Encoding: chunked\r\n\r\n2\r\nef\r\n0\r\n\r\n",
        b"HEAD / HTTP/1.1\r\nHost: a\r\n" + offer + b"\r\n",
        POST + b"Content-Length: 2\r\n\r\ngh",
    )
    with Client(running.port) as client:
        client.send(b"".join(requests * 20))
        for _ in range(20):
            bodies = []
            for request in requests:
                answer = client.read_answer(request.split()[0].decode())
                assert answer.status == 200
                bodies.append(answer.body)
            assert bodies[0] != bodies[1]
            assert [body[-2:] for body in (bodies[0], bodies[1], bodies[3], bodies[5])] == [
                b"ab",
                b"cd",
                b"ef",
                b"gh",
            ]
