"""Every limit of `docs/operating/limits.md` over a real server: below it, at it, and above it.

Those of heads, bodies, chunks, pipelines, time and sending are held to a server with small limits
in `tests/unit/http/test_limits.py`; here are those that need the store, and the real figures.
"""

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from everlog.domain import limits
from everlog.http import Limits
from tests.support.api import Connection, an_event
from tests.support.server import (
    DEADLINE_SECONDS,
    TOKEN,
    RunningServer,
    running_server,
    wait_until,
)

HEAD = f"Host: a\r\nAuthorization: Bearer {TOKEN}\r\n".encode()
HTTP = Limits()


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with running_server() as server:
        yield server


Make = Callable[[int], Any]


def writing(**members: Callable[[int], Any]) -> Make:
    """Return how to make a write of one event, some members of which have a size."""

    def make(size: int) -> Any:
        return {"events": [an_event(**{name: member(size) for name, member in members.items()})]}

    return make


def event_of_size(size: int) -> Any:
    event = an_event(data={"a": ""})
    counted = [*(event[name] for name in ("source", "subject", "type")), '{"a":""}']
    return {"events": [event | {"data": {"a": "x" * (size - len("".join(counted)))}}]}


def nested(depth: int) -> Any:
    value: Any = {}
    for _ in range(depth - 1):
        value = {"a": value}
    return value


def preconditions(count: int) -> Any:
    known = {"type": "isSubjectPristine", "payload": {"subject": "/never"}}
    return {"events": [an_event()], "preconditions": [known] * count}


# So that they are valid, names are different from one another.
def tracestate_of(count: int) -> str:
    return ",".join(f"{number:x}=a" for number in range(count))


def tracestate_of_length(length: int) -> str:
    # No value of a member may be longer than 256.
    start = f"a={'x' * 200},b={'x' * 200},c="
    return start + "x" * (length - len(start))


TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def traced(make: Callable[[int], str]) -> Make:
    return writing(traceparent=lambda _: TRACEPARENT, tracestate=make)


WRITES: tuple[tuple[str, Make, int], ...] = (
    ("event size", event_of_size, limits.EVENT_SIZE_MAX),
    ("events", lambda n: {"events": [an_event()] * n}, limits.EVENTS_PER_WRITE_MAX),
    ("preconditions", preconditions, limits.PRECONDITIONS_PER_WRITE_MAX),
    (
        "subject length",
        writing(subject=lambda n: "/" + "x" * (n - 1)),
        limits.SUBJECT_LENGTH_MAX,
    ),
    ("subject depth", writing(subject=lambda n: "/x" * n), limits.SUBJECT_DEPTH_MAX),
    (
        "source length",
        writing(source=lambda n: "https://a/".ljust(n, "x")),
        limits.SOURCE_LENGTH_MAX,
    ),
    (
        "type length",
        writing(type_=lambda n: "io.everlog.".ljust(n, "x")),
        limits.EVENT_TYPE_LENGTH_MAX,
    ),
    ("tracestate length", traced(tracestate_of_length), limits.TRACESTATE_LENGTH_MAX),
    ("tracestate members", traced(tracestate_of), limits.TRACESTATE_MEMBERS_MAX),
    ("JSON nesting", writing(data=nested), limits.JSON_NESTING_MAX),
)


@pytest.mark.parametrize("make, limit", [row[1:] for row in WRITES], ids=[row[0] for row in WRITES])
def test_a_write_may_reach_a_limit_but_not_exceed_it(
    server: RunningServer, make: Make, limit: int
) -> None:
    with Connection(server.url) as client:
        for size in (limit - 1, limit):
            client.write(*make(size)["events"], **without_events(make(size)))
        before = len(client.read_all())

        answer = client.v1("write-events", make(limit + 1))
        assert answer.status in {400, 413}
        assert str(limit) in answer.text
        error = client.v2("write-events", make(limit + 1)).error
        assert error["details"]["limit"] == limit
        assert str(limit) in error["description"]

        assert len(client.read_all()) == before


def without_events(body: dict[str, Any]) -> dict[str, Any]:
    return {name: member for name, member in body.items() if name != "events"}


def schema_of_size(size: int) -> bytes:
    start, end = '{"type":"object","properties":{},"title":"', '"}'
    return f"{start}{'x' * (size - len(start) - len(end))}{end}".encode()


def test_a_schema_may_reach_its_limit_but_not_exceed_it(server: RunningServer) -> None:
    limit = limits.SCHEMA_SIZE_MAX
    with Connection(server.url) as client:
        for size, version in ((limit - 1, "below"), (limit, "at"), (limit + 1, "above")):
            body = b'{"eventType":"io.everlog.%b","schema":%b}' % (
                version.encode(),
                schema_of_size(size),
            )
            answer = client.v1("register-event-schema", body)
            assert answer.status == (400 if version == "above" else 200), answer.text[:200]
            assert version != "above" or str(limit) in answer.text


BODIES = (
    ("POST", "/api/v1/write-events", limits.REQUEST_BODY_SIZE_MAX),
    ("POST", "/api/v2/data/write-events", limits.REQUEST_BODY_SIZE_MAX),
    ("POST", "/api/v1/register-event-schema", 2 * limits.SCHEMA_SIZE_MAX),
    ("POST", "/api/v1/read-events", limits.SMALL_REQUEST_BODY_SIZE_MAX),
    ("QUERY", "/api/v2/data/read-events", limits.SMALL_REQUEST_BODY_SIZE_MAX),
)


@pytest.mark.slow
@pytest.mark.parametrize("method, path, limit", BODIES)
def test_a_body_may_reach_its_limit_but_not_exceed_it(
    server: RunningServer, method: str, path: str, limit: int
) -> None:
    for size, statuses in ((limit - 1, {200, 400}), (limit, {200, 400}), (limit + 1, {413})):
        with Connection(server.url) as client:
            answer = client.ask(method, path, json.dumps({"subject": ["/"]}).encode().ljust(size))
            assert answer.status in statuses
            assert answer.status != 413 or f" {limit} bytes" in answer.text


def answer_to(server: RunningServer, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), DEADLINE_SECONDS) as client:
        client.sendall(request)
        client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(65_536), b""))


def head_of(size: int) -> bytes:
    start = b"GET /api/v1/ping HTTP/1.1\r\nHost: a\r\nX: "
    return start + b"x" * (size - len(start) - 4) + b"\r\n\r\n"


HEADS: tuple[tuple[Callable[[int], bytes], int, int], ...] = (
    (head_of, HTTP.head_size_max, 431),
    (
        lambda n: b"GET /api/v1/ping HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * (n - 1) + b"\r\n",
        HTTP.header_count_max,
        431,
    ),
    (
        lambda n: b"GET /api/v1/ping?".ljust(n + 4, b"x") + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        HTTP.target_length_max,
        414,
    ),
)


@pytest.mark.parametrize("make, limit, status", HEADS, ids=["size", "headers", "target"])
def test_a_head_may_reach_a_limit_but_not_exceed_it(
    server: RunningServer, make: Callable[[int], bytes], limit: int, status: int
) -> None:
    for size in (limit - 1, limit):
        assert answer_to(server, make(size)).startswith(b"HTTP/1.1 200 ")
    answer = answer_to(server, make(limit + 1))
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert b" %d " % limit in answer.partition(b"\r\n\r\n")[2]


V1_OBSERVING = (
    b'POST /api/v1/observe-events HTTP/1.1\r\n%bContent-Length: 15\r\n\r\n{"subject":"/"}'
)


def observers_of(client: Connection) -> int:
    checks = client.ask("GET", "/api/v1/health").json["checks"]
    return int(checks["http:observers"][0]["observedValue"])


@pytest.mark.slow
def test_there_may_be_as_many_observers_as_the_limit_says_and_no_more() -> None:
    """Those that wait behind another answer on their connection count: they are promised one."""
    per_connection = HTTP.pipelined_max
    limit = limits.OBSERVERS_MAX
    with running_server() as server, ExitStack() as stack, Connection(server.url) as client:

        def observe(count: int) -> socket.socket:
            address = ("127.0.0.1", server.port)
            observer = stack.enter_context(socket.create_connection(address, DEADLINE_SECONDS))
            observer.sendall((V1_OBSERVING % HEAD) * count)
            assert observer.recv(65_536).startswith(b"HTTP/1.1 200 ")
            return observer

        def check_refused(method: str, path: str) -> None:
            with Connection(server.url) as other:
                answer = other.send(method, path, {"subject": "/"})
                # Not read before it is known to have an end.
                assert answer.status == 503
                assert answer.read() == b"there are %d observers already\n" % limit

        whole, rest = divmod(limit - 1, per_connection)
        first, *_others = [observe(per_connection) for _ in range(whole)]
        observe(rest)
        wait_for_observers(client, limit - 1)
        observe(1)
        wait_for_observers(client, limit)

        check_refused("POST", "/api/v1/observe-events")
        check_refused("QUERY", "/api/v2/data/observe-events")
        # Everything else goes on, and whoever leaves makes room.
        client.write(an_event())
        first.close()
        wait_for_observers(client, limit - per_connection)
        observe(1)


def wait_for_observers(client: Connection, count: int) -> None:
    wait_until(lambda: observers_of(client) == count)


@pytest.mark.slow
def test_a_request_that_does_not_arrive_is_given_up_in_time(server: RunningServer) -> None:
    """Heads; bodies and idle connections have more time, and are tested with less of it."""
    with socket.create_connection(("127.0.0.1", server.port), DEADLINE_SECONDS) as client:
        started = time.monotonic()
        client.sendall(b"GET /api/v1/ping HTTP/1.1\r\n")
        answer = b"".join(iter(lambda: client.recv(65_536), b""))
        seconds = time.monotonic() - started

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert HTTP.head_seconds_max <= seconds < HTTP.head_seconds_max + 5
