"""What every answer says about itself, whatever it is: no sniffing, no keeping, one banner."""

import json
import socket
from collections.abc import Iterator

import pytest

from everlog.api.routes import OPENAPI_PATH, ROUTES, Answer, Route, name_of
from everlog.domain.checkpoint import CheckpointKey
from everlog.domain.limits import SMALL_REQUEST_BODY_SIZE_MAX
from everlog.http import Limits
from tests.support.api import Connection, an_event
from tests.support.server import DEADLINE_SECONDS, TOKEN, RunningServer, running_server

AUTHORIZATION = b"Authorization: Bearer " + TOKEN.encode()

CACHE_CONTROL = b"no-store, no-cache, must-revalidate, proxy-revalidate"

KNOWN_NAMES = {
    b"allow",
    b"cache-control",
    b"connection",
    b"content-length",
    b"content-type",
    b"date",
    b"ratelimit",
    b"ratelimit-policy",
    b"retry-after",
    b"server",
    b"transfer-encoding",
    b"www-authenticate",
    b"x-content-type-options",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    key_file = tmp_path_factory.mktemp("key") / "checkpoint-key.pem"
    key_file.write_bytes(CheckpointKey.generate().to_pem())
    flags = [f"--checkpoint-key-file={key_file}", "--checkpoint-origin=log.example.com"]
    with running_server(*flags) as server:
        yield server


def head_of_answer(server: RunningServer, request: bytes) -> bytes:
    """Return the head of the answer to a request, and leave."""
    received = b""
    with socket.create_connection(("127.0.0.1", server.port), DEADLINE_SECONDS) as client:
        client.sendall(request)
        while b"\r\n\r\n" not in received:
            part = client.recv(65_536)
            assert part, received
            received += part
    return received.partition(b"\r\n\r\n")[0]


def check_head(head: bytes, status: int, *, cache_control: bytes = CACHE_CONTROL) -> None:
    line, *lines = head.split(b"\r\n")
    assert line.startswith(b"HTTP/1.1 %d " % status), head
    headers = [tuple(line.split(b": ", 1)) for line in lines]
    names = [name.lower() for name, _ in headers]
    assert len(names) == len(set(names)), head
    assert set(names) <= KNOWN_NAMES, head
    assert (b"X-Content-Type-Options", b"nosniff") in headers, head
    assert (b"Cache-Control", cache_control) in headers, head
    # Clients insist on the first name; nothing says what the server is made of.
    banner = dict(headers)[b"Server"].split(b" ")
    assert [part.partition(b"/")[0] for part in banner] == [b"EventSourcingDB", b"Everlog"]


def request_of(route: Route, *, header: bytes = AUTHORIZATION, body: bytes = b"") -> bytes:
    return (
        f"{route.method} {target_of(route)} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n"
    ).encode() + b"%b\r\n\r\n%b" % (header, body)


# What paths and queries say, where they say something.
GOOD_TARGETS = {
    Answer.INCLUSION_PROOF: "?event=0",
    Answer.CONSISTENCY_PROOF: "?from=1",
    Answer.TILE: "0/000.p/1",
}


def target_of(route: Route) -> str:
    return route.path.partition("{")[0] + GOOD_TARGETS.get(route.answer, "")


# A body that every endpoint with one of its members takes.
GOOD_BODIES = {
    "WriteEvents": json.dumps({"events": [an_event()]}).encode(),
    "ReadEvents": b'{"subject":"/","options":{"recursive":true}}',
    "ObserveEvents": b'{"subject":"/","options":{"recursive":true}}',
    "RunEventQlQuery": b'{"query":"FROM e IN events PROJECT INTO e"}',
    "ReadChildSubjects": b'{"subject":"/"}',
    "Nothing": b"",
    "AuditHistory": b"{}",
    "Backup": b"{}",
}


def good_body(route: Route) -> bytes:
    if route.handle.__name__ in {"register_event_schema", "check_event_schema"}:
        member = b"eventType" if route.version.name == "v1" else b"type"
        version = route.version.name.encode()
        return b'{"%b":"io.everlog.schema.%b","schema":{"type":"object","properties":{}}}' % (
            member,
            version,
        )
    if route.handle.__name__ == "read_event_type":
        member = b"eventType" if route.version.name == "v1" else b"type"
        return b'{"%b":"io.everlog.a"}' % member
    if route.handle.__name__ == "read_subjects":
        if route.version.name == "v1":
            return b'{"baseSubject":"/"}'
        return b'{"subject":"/","options":{"recursive":true}}'
    return GOOD_BODIES[route.body.__name__]


# What changes a server so that it cannot be asked again.
ONCE = {Answer.READ_ONLY_MODE, Answer.RESTORATION}
REPEATABLE = [route for route in ROUTES if route.answer not in ONCE]


@pytest.mark.parametrize("route", REPEATABLE, ids=lambda route: " ".join(name_of(route)))
def test_every_endpoint_says_it_when_all_is_well_and_when_not(
    server: RunningServer, route: Route
) -> None:
    with Connection(server.url) as client:
        client.write(an_event(type_="io.everlog.a"))

    # What never changes may be kept by whoever asked, and by nobody else.
    keeping = b"private, max-age=31536000, immutable"
    cache_control = keeping if route.answer is Answer.TILE else CACHE_CONTROL
    head = head_of_answer(server, request_of(route, body=good_body(route)))
    while route.answer in {Answer.AUDIT, Answer.VERIFICATION} and b" 503 " in head.splitlines()[0]:
        # There is one at a time, and that of the test before may not have ended.
        head = head_of_answer(server, request_of(route, body=good_body(route)))
    check_head(head, 200, cache_control=cache_control)
    if route.method != "GET":
        check_head(head_of_answer(server, request_of(route, body=b"{")), 400)
        assert route.body_size_max is not None
        for status, size in ((413, route.body_size_max + 1), (401, 0)):
            header = AUTHORIZATION if status == 413 else b"X: y"
            length = b"Content-Length: %d" % size
            start = f"{route.method} {route.path} HTTP/1.1\r\nHost: a\r\n".encode()
            head = head_of_answer(server, b"%b%b\r\n%b\r\n\r\n" % (start, header, length))
            check_head(head, status)


def test_switching_to_the_read_only_mode_says_it_and_what_is_refused_then() -> None:
    routes = [route for route in ROUTES if route.answer is Answer.READ_ONLY_MODE]
    statuses = {"v1": (200, 503), "v2": (200, 200)}
    for route in routes:
        with running_server() as server:
            for status in statuses[route.version.name]:
                check_head(head_of_answer(server, request_of(route)), status)


def test_restoring_says_it_and_what_is_refused() -> None:
    routes = [route for route in ROUTES if route.answer is Answer.RESTORATION]
    statuses = {"v1": 409, "v2": 200}
    for route in routes:
        with running_server() as server:
            check_head(head_of_answer(server, request_of(route, body=b"\n")), 200)
            with Connection(server.url) as client:
                client.write(an_event())
            refused = statuses[route.version.name]
            check_head(head_of_answer(server, request_of(route, body=b"\n")), refused)
            check_head(head_of_answer(server, request_of(route, header=b"X: y")), 401)


# Each row: a request that the layer below the API, or the dispatcher, answers; and the status.
REFUSED: tuple[tuple[bytes, int], ...] = (
    (b"nonsense\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\n\r\n", 400),
    (b"GET /api/v1/ping?<b> HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
    (b"POST /api/v1/write-events HTTP/1.1\r\nHost: a\r\n\r\n", 401),
    (b"GET /other HTTP/1.1\r\nHost: a\r\n\r\n", 404),
    (b"GET /other HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % AUTHORIZATION, 404),
    (b"PUT /api/v1/ping HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % AUTHORIZATION, 405),
    (b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n" % (b"x" * Limits().target_length_max), 414),
    (b"GET / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n", 417),
    (b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n" % (b"X: y\r\n" * Limits().header_count_max), 431),
    (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 501),
    (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    (b"OPTIONS /api/v1/ping HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % AUTHORIZATION, 204),
    (b"HEAD /api/v1/ping HTTP/1.1\r\nHost: a\r\n\r\n", 200),
    (b"GET /api/v1/ping HTTP/1.0\r\n\r\n", 200),
    (b"GET /api/v1/ping HTTP/1.1\r\nHost: a\r\n\r\n", 200),
    (b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % OPENAPI_PATH.encode(), 200),
)


@pytest.mark.parametrize("request_, status", REFUSED)
def test_every_other_answer_says_it_too(
    server: RunningServer, request_: bytes, status: int
) -> None:
    check_head(head_of_answer(server, request_), status)


def test_who_asks_too_often_is_told_it_too() -> None:
    with running_server("--rate-limit=5") as server:
        request = request_of(next(route for route in ROUTES if route.answer is Answer.EVENTS))
        heads = [head_of_answer(server, request) for _ in range(50)]
        limited = [head for head in heads if head.startswith(b"HTTP/1.1 429 ")]
        assert limited
        check_head(limited[0], 429)


SPITEFUL = "<script>alert(1)</script>\x07\x1b[31m\u202e\u2028\r\nSet-Cookie: a=b"


@pytest.mark.parametrize(
    "path, body",
    [
        ("/api/v1/write-events", {"events": [an_event(subject=SPITEFUL)]}),
        ("/api/v1/write-events", {"events": [an_event(type_=SPITEFUL)]}),
        ("/api/v1/read-events", {"subject": SPITEFUL}),
        ("/api/v1/read-events", {"subject": "/", "options": {"order": SPITEFUL}}),
        ("/api/v1/read-event-type", {"eventType": SPITEFUL}),
        ("/api/v1/write-events", {SPITEFUL: 1}),
        ("/api/v2/data/write-events", {SPITEFUL: 1}),
    ],
)
def test_what_an_error_quotes_cannot_be_taken_for_anything_else(
    server: RunningServer, path: str, body: object
) -> None:
    with Connection(server.url) as client:
        answer = client.ask("POST", path, body)

    assert answer.status == 400
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Set-Cookie"] is None
    assert answer.text.endswith("\n")
    assert answer.text[:-1].isprintable()


def test_a_body_is_refused_at_a_size_that_the_error_names(server: RunningServer) -> None:
    with Connection(server.url) as client:
        size = SMALL_REQUEST_BODY_SIZE_MAX + 1
        answer = client.ask("POST", "/api/v1/read-events", b" " * size)

    assert answer.status == 413
    assert str(SMALL_REQUEST_BODY_SIZE_MAX) in answer.text
