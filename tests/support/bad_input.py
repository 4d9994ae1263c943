"""Requests that nobody should send, and what a real server must be like after them.

Two sources: the server's own OpenAPI document (schemathesis, in and out of what it says), and
bytes (Hypothesis: valid requests changed, cut, mixed and joined, and noise).
"""

import copy
import os
import re
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import psutil  # type: ignore[import-untyped]  # it comes without types
import requests
import schemathesis
from hypothesis import strategies as st
from schemathesis import GenerationMode

from everlog.api.routes import OPENAPI_PATH, ROUTES, Answer
from tests.support.api import Connection, an_event
from tests.support.json_depth import check_readable
from tests.support.openapi import document
from tests.support.server import DEADLINE_SECONDS, TOKEN, RunningServer, wait_until

# How many requests are generated, and from what: `make test-all` asks for more.
REQUEST_COUNT: Final = int(os.environ.get("BAD_INPUT_REQUESTS", "4000"))
SEED: Final = int(os.environ.get("BAD_INPUT_SEED", "1"))

# What ever made a server fail, and what servers are known to fail at: each file holds the bytes
# of one connection.
NDJSON: Final = "application/x-ndjson"

CORPUS: Final = Path(__file__).parent.parent / "fixtures" / "corpus"

_STATUS: Final = re.compile(rb"^HTTP/1\.[01] (\d{3}) ", re.MULTILINE)
_OBSERVING: Final = b"observe-events"

# Memory that a server may take more than after its first batch: what was stored costs some of it.
_GROWTH_MAX: Final = 48 * 1024 * 1024
_GROWTH_PER_REQUEST_MAX: Final = 512


class Target:
    """A server under bad input, watched from outside."""

    def __init__(self, server: RunningServer) -> None:
        self.server: Final = server
        self.statuses: Final[dict[int, int]] = {}
        self._process: Final = psutil.Process(server.pid)
        self._rss = 0
        self._descriptor_count = 0

    def remember_size(self) -> None:
        """Take what the server holds now for what it may hold later."""
        self._rss = self._process.memory_info().rss
        self._descriptor_count = self._process.num_fds()

    def send(self, stream: bytes, *, cuts: tuple[int, ...] = (), is_rude: bool = False) -> None:
        """Send the bytes of one connection, and see to it that it ends, and how.

        Cuts are where one packet ends and the next begins; the rude leave without reading.
        """
        address = ("127.0.0.1", self.server.port)
        with socket.create_connection(address, DEADLINE_SECONDS) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                for start, end in zip((0, *cuts), (*cuts, len(stream)), strict=True):
                    client.sendall(stream[start:end])
                if is_rude:
                    # Closing resets the connection.
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    return
                client.shutdown(socket.SHUT_WR)
            except TimeoutError:
                raise AssertionError(f"the server does not read {stream!r}") from None
            except OSError:
                # It was closed while we were still sending; there may be an answer yet.
                pass
            received = self._receive(client, stream)
        self._check_answers(received, stream)

    def check_healthy(self) -> None:
        """Check that the server answers, writes, and holds nothing of what was before."""
        with Connection(self.server.url) as client:
            assert client.ask("GET", "/api/v1/ping").status == 200
            client.write(an_event("/healthy"))
        self.check_log()
        wait_until(lambda: not self._process.net_connections("tcp")[1:])

    def check_readable(self) -> None:
        """Check that the strictest reader can read all that was stored of what was sent."""
        with Connection(self.server.url) as client:
            body = {"subject": "/", "options": {"recursive": True}}
            rows = {"query": "FROM e IN events PROJECT INTO e"}
            for answer in (
                client.v1("read-events", body),
                client.v2("read-events", body),
                client.v2("run-eventql-query", rows),
                client.v2("read-event-types"),
            ):
                assert answer.status == 200
                for line in answer.body.decode().splitlines():
                    check_readable(line)

    def check_log(self) -> None:
        assert self.server.process.poll() is None
        assert self.server.errors == []
        odd = [line for line in self.server.log if line["level"] not in {"info", "warn", "debug"}]
        assert not odd, odd

    def check_size(self, request_count: int) -> None:
        """Check that the server has not grown by more than what it stores."""
        growth = self._process.memory_info().rss - self._rss
        assert growth < _GROWTH_MAX + _GROWTH_PER_REQUEST_MAX * request_count, growth
        # A segment may have been added, and the tree, which is opened when somebody asks for a
        # proof: its folder, and a file for each of four levels at most. And a connection that was
        # reset is known to the kernel as such before the server has looked at it.
        wait_until(lambda: self._process.num_fds() <= self._descriptor_count + 2 + 5)

    def figures(self) -> str:
        """Return what there is to report."""
        rss, count = self._process.memory_info().rss, self._process.num_fds()
        statuses = ", ".join(f"{status}: {n}" for status, n in sorted(self.statuses.items()))
        return (
            f"seed {SEED}; answers {statuses}; RSS {self._rss >> 10} KiB before, {rss >> 10} after;"
            f" descriptors {self._descriptor_count} before, {count} after"
        )

    @staticmethod
    def _receive(client: socket.socket, stream: bytes) -> bytes:
        received = []
        while True:
            try:
                part = client.recv(1 << 20)
            except TimeoutError:
                raise AssertionError(f"the connection is stuck after {stream!r}") from None
            except ConnectionError:
                part = b""
            received.append(part)
            # Observing has no end but that the client leaves.
            if not part or _OBSERVING in stream:
                return b"".join(received)

    def _check_answers(self, received: bytes, stream: bytes) -> None:
        for match in _STATUS.finditer(received):
            status = int(match[1])
            self.statuses[status] = self.statuses.get(status, 0) + 1
            assert status != 500, (stream, received)
        assert b"Traceback" not in received


# From the OpenAPI document.


def operations() -> tuple[list[Any], list[Any]]:
    """Return every operation: the irrevocable ones, and the others."""
    known = copy.deepcopy(document())
    known["security"] = []
    # In words that the tool knows.
    known["openapi"] = "3.1.0"
    for item in known["paths"].values():
        if "query" in item:
            # `to_bytes` uses the right method.
            item["post"] = item.pop("query")
        body = item.get("post", {}).get("requestBody", {})
        if NDJSON in body.get("content", {}):
            # It knows no lines, and makes one.
            line = body["content"][NDJSON]["itemSchema"]
            body["content"] = {"application/json": {"schema": line}}
    schema = schemathesis.openapi.from_dict(known)
    results: list[Any] = list(schema.get_all_operations())
    found = [result.ok() for result in results]
    irrevocable = [operation for operation in found if "read-only" in operation.path]
    return irrevocable, [operation for operation in found if operation not in irrevocable]


MODES: Final = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)

_METHODS: Final = {route.path: route.method for route in ROUTES} | {OPENAPI_PATH: "GET"}


def to_bytes(case: Any) -> bytes:
    """Return a generated case as it goes over the wire."""
    arguments = case.as_transport_kwargs(base_url="http://127.0.0.1")
    names = ("method", "url", "headers", "params", "json", "data", "cookies")
    known = {name: arguments[name] for name in names if name in arguments}
    prepared: Any = requests.Request(**known).prepare()
    headers = {
        **prepared.headers,
        "Host": "127.0.0.1",
        "Connection": "close",
        "Authorization": f"Bearer {TOKEN}",
    }
    path = prepared.path_url
    method = _METHODS.get(path.partition("?")[0], prepared.method)
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {text}" for name, text in headers.items())]
    body = prepared.body or b""
    data = body.encode() if isinstance(body, str) else body
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + data


# From bytes.


_BODIES: Final = (
    b"",
    b"{}",
    b'{"subject":"/none"}',
    b'{"subject":"/","options":{"recursive":true,"upperBound":{"id":"9","type":"inclusive"}}}',
    b'{"events":[{"source":"https://a","subject":"/a","type":"io.everlog.a","data":{"a":1}}]}',
    b'{"events":[{"source":"/b","subject":"/b","type":"io.a.b","data":{"b":[1.5,{"b":-0}]}}]}',
    b'{"preconditions":[{"type":"isSubjectPristine","payload":{"subject":"/\\u0022"}}]}',
    b'{"eventType":"io.everlog.a"}',
    b'{"baseSubject":"/a"}',
)

_SHARED_LINES: Final = f"Host: a\r\nAuthorization: Bearer {TOKEN}\r\n"

# After the others nothing could be written any more.
_ROUTES: Final = [route for route in ROUTES if route.answer is not Answer.READ_ONLY_MODE]


def _seeds() -> Iterator[bytes]:
    for number, route in enumerate(_ROUTES):
        start = f"{route.method} {route.path} HTTP/1.1\r\n{_SHARED_LINES}".encode()
        for body in _BODIES:
            yield b"%bContent-Length: %d\r\n\r\n%b" % (start, len(body), body)
        chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(_BODIES[4]), _BODIES[4])
        yield b"%bTransfer-Encoding: chunked\r\n\r\n%b" % (start, chunks)
        if number % 4 == 0:
            yield b"%bExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}" % start
            yield b"%bConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\n{}" % start
            yield start.replace(b"HTTP/1.1", b"HTTP/1.0") + b"\r\n"
    yield b"HEAD /api/v1/ping HTTP/1.1\r\nHost: a\r\n\r\n"
    yield b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"
    yield b"GET http://a/api/v1/ping?a=b HTTP/1.1\r\nHost: a\r\n\r\n"
    yield b"POST /api/v1/write-events HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer no\r\n\r\n"


SEEDS: Final = tuple(_seeds())

# What parsers of HTTP and JSON stumble over.
_STUMBLING: Final = (
    *(b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\0", b" ", b"\t", b":", b",", b"\x7f", b"\xff"),
    *(b"0", b"-1", b"1e999", b"99999999999999999999", b"0x10", b"+1", b"\xc3\xa9", b"\xed\xa0\x80"),
    *(b'"', b"\\", b"\\u0000", b"\\ud800", b"{", b"}", b"[", b"]", b"null", b"[" * 2_000),
    # What is JSON, and more than some readers take.
    *(b"1" * 310, b"-" + b"9" * 309, b"1e308", b"[" * 61, b"]" * 61, b'{"a":' * 61, b"}" * 61),
    *(b'"a":1,', b'"b":{},', b'"subject":"/",', b'"events":[],', b'"preconditions":[],'),
    *(b'"data":{},', b"\\u0022", b"\xef\xbb\xbf", b"\x1f\x8b", b"Content-Encoding: gzip\r\n"),
    *(b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: b\r\n"),
    *(b"HTTP/1.0", b"HTTP/9.9", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"%00", b"%2e%2e/", b"/../"),
)

_edits: Final = st.lists(
    st.tuples(
        st.integers(0, 1_000),
        st.integers(0, 8),
        st.sampled_from(_STUMBLING) | st.binary(max_size=6),
    ),
    min_size=1,
    max_size=4,
)


def _edited(seed: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    for position, count, replacement in edits:
        start = position % (len(seed) + 1)
        seed = seed[:start] + replacement + seed[start + count :]
    return seed


# Framed as it should be, so that it gets as far as the endpoint.
def _framed(path: str, body: bytes) -> bytes:
    start = (
        f"{_METHODS[path]} {path} HTTP/1.1\r\n{_SHARED_LINES}Content-Length: {len(body)}\r\n\r\n"
    )
    return start.encode() + body


_with_a_broken_body: Final = st.builds(
    _framed,
    st.sampled_from([route.path for route in _ROUTES if route.method != "GET"]),
    st.builds(_edited, st.sampled_from(_BODIES), _edits),
)

_intact: Final = st.sampled_from(SEEDS)

_broken: Final = st.one_of(
    st.builds(_edited, _intact, _edits),
    st.builds(_edited, _intact, _edits),
    st.builds(lambda seed, size: seed[:size], _intact, st.integers(0, 200)),
    st.binary(max_size=64),
)

# The requests of one connection, which most often ends at the first broken one; where its packets
# end; and whether it leaves without a word.
connections: Final = st.tuples(
    st.builds(
        lambda first, then: [*first, *then],
        st.lists(_intact | _with_a_broken_body | _with_a_broken_body, max_size=8),
        st.lists(_broken, min_size=1, max_size=2),
    ),
    st.lists(st.integers(0, 2_000), max_size=4),
    st.sampled_from([False] * 7 + [True]),
)


def joined(parts: list[bytes], ends: list[int]) -> tuple[bytes, tuple[int, ...]]:
    """Return the bytes of a connection, and where they are cut."""
    stream = b"".join(parts)
    return stream, tuple(sorted({end for end in ends if end < len(stream)}))
