"""What holds for every request: who may ask, what there is, and what each answer carries."""

import gzip
import re
import socket

import pytest

from everlog.api.routes import OPENAPI_PATH, ROUTES, Route
from tests.support.api import Connection, an_event
from tests.support.server import DEADLINE_SECONDS, RunningServer

OPEN_PATHS = (*(route.path for route in ROUTES if route.is_open), OPENAPI_PATH)
GUARDED = tuple(route for route in ROUTES if not route.is_open)


def name_of(route: Route) -> str:
    return f"{route.method} {route.path}"


def authorization(value: str) -> dict[str, str]:
    return {"Authorization": value}


def check_unauthorized(
    connection: Connection, method: str, path: str, headers: dict[str, str]
) -> None:
    answer = connection.ask(method, path, headers=headers)

    assert (answer.status, answer.text) == (401, "" if method == "HEAD" else "unauthorized\n")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def check_server_header(server_header: str | None) -> None:
    assert server_header is not None
    assert server_header.startswith("EventSourcingDB/1.3.0 Everlog/")


@pytest.mark.parametrize("path", OPEN_PATHS)
@pytest.mark.parametrize("headers", [{}, authorization("Bearer wrong")])
def test_the_open_endpoints_need_no_token(
    connection: Connection, path: str, headers: dict[str, str]
) -> None:
    assert connection.ask("GET", path, headers=headers).status == 200


@pytest.mark.parametrize("route", GUARDED, ids=name_of)
def test_every_other_endpoint_needs_the_token(connection: Connection, route: Route) -> None:
    check_unauthorized(connection, route.method, route.path, {})


BAD_AUTHORIZATIONS = (
    "",
    "Bearer",
    "Bearer ",
    "Bearer wrong",
    "Basic the-token-of-the-tests",
    "the-token-of-the-tests",
    "Bearer the-token-of-the-tests2",
    "Bearer the-token-of-the-test",
    "Bearer THE-TOKEN-OF-THE-TESTS",
    "Bearer the-token-of-the-tests, Bearer the-token-of-the-tests",
    "Bearer\tthe-token-of-the-tests",
)


@pytest.mark.parametrize("value", BAD_AUTHORIZATIONS)
def test_refuses_what_is_not_the_token(connection: Connection, value: str) -> None:
    check_unauthorized(connection, "POST", "/api/v1/verify-api-token", authorization(value))


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer  "])
def test_the_name_of_the_scheme_has_no_case(connection: Connection, scheme: str) -> None:
    headers = authorization(f"{scheme} {connection.token}")

    assert connection.ask("POST", "/api/v1/verify-api-token", headers=headers).status == 200


def test_the_token_counts_in_the_header_only(connection: Connection) -> None:
    path = f"/api/v1/verify-api-token?access_token={connection.token}"

    check_unauthorized(connection, "POST", path, {})


def test_a_stranger_is_refused_before_the_body_is_read(server: RunningServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        client.sendall(
            b"POST /api/v1/write-events HTTP/1.1\r\nHost: a\r\nContent-Length: 60000000\r\n\r\n"
        )
        answer = client.recv(65_536)

    assert answer.startswith(b"HTTP/1.1 401 ")


def test_a_stranger_is_not_asked_for_a_body_that_it_announced(server: RunningServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        client.sendall(
            b"POST /api/v1/write-events HTTP/1.1\r\nHost: a\r\n"
            b"Expect: 100-continue\r\nContent-Length: 10\r\n\r\n"
        )
        answer = client.recv(65_536)

    assert answer.startswith(b"HTTP/1.1 401 ")


def test_a_stranger_learns_nothing_about_methods_and_paths_of_the_api(
    connection: Connection,
) -> None:
    for method in ("GET", "POST", "QUERY", "DELETE", "OPTIONS", "HEAD"):
        for path in ("/api/v1/write-events", "/api/v1/nothing-here", "/api/"):
            check_unauthorized(connection, method, path, {})


UNKNOWN_PATHS = (
    "/api",
    "/api/",
    "/api/v1",
    "/api/v1/",
    "/api/v1/ping/",
    "/api/v1/Ping",
    "/api/v1//ping",
    "/api/v1/./ping",
    "/api/v1/%70ing",
    "/api/v3/ping",
    "/api/v2/system/verify-store",
    "/favicon.ico",
)


def test_the_root_says_where_to_go(connection: Connection) -> None:
    for headers in (None, {}):
        answer = connection.ask("GET", "/", headers=headers)

        assert answer.status == 404
        assert answer.text.startswith("not found: this is Everlog")
        paths = re.findall(r"GET (/\S+)", answer.text)
        assert len(paths) == 2
        for path in paths:
            assert connection.ask("GET", path, headers={}).status == 200


@pytest.mark.parametrize("path", UNKNOWN_PATHS)
@pytest.mark.parametrize("method", ["GET", "POST", "QUERY", "OPTIONS"])
def test_what_is_not_there_is_not_found(connection: Connection, method: str, path: str) -> None:
    answer = connection.ask(method, path)

    assert (answer.status, answer.text) == (404, "not found\n")


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_another_method_is_answered_with_those_allowed(
    connection: Connection, route: Route
) -> None:
    allowed = [route.method, *(["HEAD"] if route.method == "GET" else []), "OPTIONS"]
    for method in {"GET", "POST", "QUERY", "PUT", "DELETE", "PATCH"} - {*allowed}:
        answer = connection.ask(method, route.path)
        assert (answer.status, answer.text) == (405, "method not allowed\n")
        assert answer.headers["Allow"] == ", ".join(allowed)

    answer = connection.ask("OPTIONS", route.path)
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["Allow"] == ", ".join(allowed)


def test_the_methods_of_the_whole_server_are_told_to_everybody(server: RunningServer) -> None:
    question = b"OPTIONS * HTTP/1.1\r\nHost: a\r\n%bConnection: close\r\n\r\n"
    for header in (b"", b"Authorization: Bearer %b\r\n" % server.token.encode()):
        with socket.create_connection(("127.0.0.1", server.port), DEADLINE_SECONDS) as client:
            client.sendall(question % header)
            answer = b"".join(iter(lambda: client.recv(4_096), b""))
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 204 ")
        assert b"\r\nAllow: GET, HEAD, OPTIONS, POST, QUERY\r\n" in head
        assert body == b""


@pytest.mark.parametrize("path", OPEN_PATHS)
def test_head_is_get_without_the_body(connection: Connection, path: str) -> None:
    whole, head = connection.ask("GET", path), connection.ask("HEAD", path)

    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Type"] == whole.headers["Content-Type"]
    assert int(head.headers["Content-Length"]) > 0


def test_a_query_string_is_ignored(connection: Connection) -> None:
    assert connection.ask("GET", "/api/v1/ping?x=1").status == 200


BAD_REQUESTS: tuple[tuple[bytes, int], ...] = (
    (b"nonsense\r\n\r\n", 400),
    (b"GET /api/v1/ping HTTP/1.1\r\n\r\n", 400),
    (b"GET /api/v1/ping HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    (b"GET /api/v1/ping HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", 431),
    (b"GET /" + b"x" * 9_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    (
        (
            b"POST /api/v1/ping HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        ),
        400,
    ),
)


@pytest.mark.parametrize("request_bytes, status", BAD_REQUESTS)
def test_what_the_http_layer_refuses_says_who_refuses_it(
    server: RunningServer, request_bytes: bytes, status: int
) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        client.sendall(request_bytes)
        answer = b""
        while data := client.recv(65_536):
            answer += data

    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    assert lines[0].startswith(f"HTTP/1.1 {status} ")
    check_server_header(headers.get("server"))
    assert headers["content-type"] == "text/plain; charset=utf-8"
    assert body.endswith(b"\n")


@pytest.mark.parametrize(
    "method, path, body",
    [
        ("GET", "/api/v1/ping", None),
        ("HEAD", "/api/v1/ping", None),
        ("GET", "/nothing", None),
        ("DELETE", "/api/v1/ping", None),
        ("OPTIONS", "/api/v1/ping", None),
        ("POST", "/api/v1/write-events", b"{"),
        ("POST", "/api/v1/read-events", {"subject": "/"}),
        ("QUERY", "/api/v2/data/read-events", {"subject": "/"}),
        ("QUERY", "/api/v2/data/read-events", {"subject": "x"}),
        ("POST", "/api/v1/read-event-type", {"eventType": "io.everlog.unknown"}),
    ],
)
def test_every_answer_says_who_answers(
    connection: Connection, method: str, path: str, body: object
) -> None:
    check_server_header(connection.ask(method, path, body).headers["Server"])


# Each row: a request and the media type of its answer.
MEDIA_TYPES: tuple[tuple[str, str, object, str], ...] = (
    ("GET", "/api/v1/ping", None, "application/json"),
    ("GET", "/api/v2/system/ping", None, "application/json"),
    ("GET", OPENAPI_PATH, None, "application/json"),
    ("POST", "/api/v1/read-events", {"subject": "/"}, "application/x-ndjson"),
    ("POST", "/api/v1/read-subjects", {"baseSubject": "/"}, "application/x-ndjson"),
    ("POST", "/api/v1/read-event-types", None, "application/x-ndjson"),
    ("QUERY", "/api/v2/data/read-events", {"subject": "/"}, "application/x-ndjson"),
    ("QUERY", "/api/v2/data/read-event-types", None, "application/x-ndjson"),
    ("QUERY", "/api/v2/data/read-events", {"subject": "x"}, "application/x-ndjson"),
    ("POST", "/api/v1/read-events", {"subject": "x"}, "text/plain; charset=utf-8"),
)


@pytest.mark.parametrize("method, path, body, media_type", MEDIA_TYPES)
def test_answers_have_the_right_media_type(
    connection: Connection, method: str, path: str, body: object, media_type: str
) -> None:
    assert connection.ask(method, path, body).headers["Content-Type"] == media_type


def test_the_events_of_the_api_have_the_documented_form(connection: Connection) -> None:
    ping = connection.ask("GET", "/api/v1/ping").json
    schema = {"type": "object", "properties": {"b": {}, "a": {}}}
    body = {"eventType": "io.everlog.test.registered", "schema": schema}
    registered = connection.v1("register-event-schema", body).json

    names = ["specversion", "id", "time", "source", "subject", "type", "datacontenttype", "data"]
    assert list(ping) == list(registered) == names
    assert ping["data"] == {"message": "My God, it's full of stars."}
    assert ping["type"] == "io.eventsourcingdb.api.ping-received"
    assert ping["subject"] == "/api/v1/ping"
    assert registered["source"] == "https://www.eventsourcingdb.io"
    assert registered["subject"] == "/api/v1/register-event-schema"
    assert registered["type"] == "io.eventsourcingdb.api.event-schema-registered"
    assert registered["data"] == body
    verified = connection.v1("verify-api-token").json
    assert verified["type"] == "io.eventsourcingdb.api.api-token-verified"


def test_version_2_puts_everything_into_envelopes(connection: Connection) -> None:
    (ping,) = connection.ask("GET", "/api/v2/system/ping").items
    (verified,) = connection.ask("POST", "/api/v2/system/verify-token").items
    body = {
        "type": "io.everlog.test.registered-too",
        "schema": {"type": "object", "properties": {}},
    }
    registered, end = connection.v2("register-event-schema", body).items

    assert [item["type"] for item in (ping, verified, registered)] == ["event"] * 3
    assert ping["data"]["type"] == "io.eventsourcingdb.api.ping-received"
    assert verified["data"]["type"] == "io.eventsourcingdb.api.token-verified"
    assert registered["data"]["type"] == "io.eventsourcingdb.api.event-schema-registered"
    assert end == {"type": "end", "data": {}}
    (type_item,) = connection.v2("read-event-type", {"type": body["type"]}).items
    assert type_item == {"type": "eventType", "data": {**body, "hasEvents": False}}


def test_pipelined_requests_of_both_versions_are_answered_in_order(server: RunningServer) -> None:
    head = "POST {} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n\r\n{}"
    event = '{"source":"a","subject":"/pipe","type":"io.everlog.pipe","data":{}}'
    body = f'{{"events":[{event}]}}'
    paths = ["/api/v1/write-events", "/api/v2/data/write-events"] * 10
    requests = "".join(head.format(path, server.token, len(body), body) for path in paths)
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        client.sendall(requests.encode() + b"GET /last HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = b""
        while b"not found" not in answer:
            answer += client.recv(65_536)

    assert answer.count(b"HTTP/1.1 200 ") == len(paths)
    assert answer.count(b'{"type":"end"') == len(paths) // 2


# Each row: method and path, and the answer to reading nothing.
READS = (
    ("POST", "/api/v1/read-events", b""),
    ("QUERY", "/api/v2/data/read-events", b'{"type":"end","data":{}}\n'),
)


@pytest.mark.parametrize("method, path, nothing", READS)
def test_few_events_of_version_2_come_with_their_length_and_all_others_in_chunks(
    connection: Connection, method: str, path: str, nothing: bytes
) -> None:
    subject = path.replace(".", "")
    body = {"subject": subject, "options": {"recursive": False, "order": "chronological"}}
    large = {"text": "x" * 60_000}
    for count, data, is_stream in (
        (0, {}, False),
        (1, {}, False),
        (70, {}, False),
        (9, large, True),
    ):
        events = [an_event(subject, data=data)] * count
        if events:
            connection.v1("write-events", {"events": events})
        answer = connection.ask(method, path, body)
        is_chunked = is_stream or "/v1/" in path
        assert (answer.headers["Content-Length"] is None) == is_chunked
        assert (answer.headers["Transfer-Encoding"] == "chunked") == is_chunked
        assert answer.body.endswith(nothing)
        if not events:
            assert answer.body == nothing
    assert len(answer.events) == 80


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_a_body_that_is_encoded_is_refused_by_the_header(
    connection: Connection, route: Route
) -> None:
    for coding in ("gzip", "GZIP", "deflate", "br", "zstd", "x-gzip", "identity, gzip", "utf-8"):
        headers = {**authorization(f"Bearer {connection.token}"), "Content-Encoding": coding}
        answer = connection.ask(route.method, route.path, gzip.compress(b"{}"), headers=headers)

        assert answer.status == 415
        assert answer.text == f"the body has the Content-Encoding '{coding}': send it as it is\n"
        # RFC 9110, section 15.5.16.
        assert answer.headers["Accept-Encoding"] == "identity"


def test_identity_is_no_coding(connection: Connection) -> None:
    for coding in ("identity", "Identity", "", " identity , identity"):
        headers = {**authorization(f"Bearer {connection.token}"), "Content-Encoding": coding}
        answer = connection.ask("POST", "/api/v1/read-event-types", b"{}", headers=headers)

        assert answer.status == 200


def test_strangers_are_told_nothing_about_codings(connection: Connection) -> None:
    headers = {"Content-Encoding": "gzip"}

    assert connection.ask("POST", "/api/v1/write-events", b"x", headers=headers).status == 401
    headers |= authorization(f"Bearer {connection.token}")
    assert connection.ask("POST", "/api/v1/unknown", b"x", headers=headers).status == 404


def test_a_coding_is_seen_behind_a_head_that_is_known(connection: Connection) -> None:
    plain = authorization(f"Bearer {connection.token}")
    statuses = [
        connection.ask("POST", "/api/v1/read-event-types", b"{}", headers=headers).status
        for headers in [plain] * 4 + [{**plain, "Content-Encoding": "gzip"}] * 4 + [plain]
    ]

    assert statuses == [200] * 4 + [415] * 4 + [200]


@pytest.mark.parametrize(
    "body, reason",
    [
        (gzip.compress(b"{}", mtime=0), "it is compressed with gzip, and has to be sent as it is"),
        (b"\xef\xbb\xbf{}", "it begins with a byte order mark (U+FEFF), which JSON does not have"),
        ("{}".encode("utf-16"), "it is UTF-16 or UTF-32, and JSON is UTF-8"),
        (b'{"subject":"/\0"}', "it has a NUL byte (byte 13)"),
        (b'{"subject":"/\xfc"}', "it is not valid UTF-8 - at `$.subject`"),
    ],
)
def test_a_body_in_another_encoding_is_told_as_what_it_is(
    connection: Connection, body: bytes, reason: str
) -> None:
    for answer in (connection.v1("read-events", body), connection.v2("read-events", body)):
        assert answer.status == 400
        assert answer.text == f"malformed request body: {reason}\n"
