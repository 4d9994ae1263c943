"""What is wrong with a body as such is 400 with the path of the member, in both versions.

Version 2 is strict; version 1 is as lenient as its clients need.
"""

import json
from typing import Any

import pytest

from tests.support.api import GOOD_TYPE, Connection, an_event

OBJECT_PATHS = {
    "v1": (
        "/api/v1/write-events",
        "/api/v1/read-events",
        "/api/v1/observe-events",
        "/api/v1/read-subjects",
        "/api/v1/read-event-type",
        "/api/v1/register-event-schema",
    ),
    "v2": (
        "/api/v2/data/write-events",
        "/api/v2/data/read-events",
        "/api/v2/data/observe-events",
        "/api/v2/data/read-subjects",
        "/api/v2/data/read-event-type",
        "/api/v2/data/register-event-schema",
    ),
}
ALL_PATHS = (*OBJECT_PATHS["v1"], *OBJECT_PATHS["v2"])
BODILESS_PATHS = (
    "/api/v1/verify-api-token",
    "/api/v1/read-event-types",
    "/api/v2/system/verify-token",
    "/api/v2/data/read-event-types",
)


def method_of(path: str) -> str:
    is_query = path.startswith("/api/v2/data/") and "write" not in path and "register" not in path
    return "QUERY" if is_query else "POST"


def check_malformed(connection: Connection, path: str, body: object, *texts: str) -> None:
    answer = connection.ask(method_of(path), path, body)

    assert answer.status == 400, answer.text
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.text.startswith("malformed request body: ")
    assert answer.text.endswith("\n")
    assert answer.text.count("\n") == 1
    for text in texts:
        assert text in answer.text


# Each row: a body that is no JSON object of any kind, and a text of the answer.
NO_OBJECTS: tuple[tuple[bytes, str], ...] = (
    (b"", "empty"),
    (b" ", ""),
    (b"{", ""),
    (b'{"subject":"/"', ""),
    (b'{"subject":"/"} {}', ""),
    (b'{"subject":"/",}', ""),
    (b"{'subject':'/'}", ""),
    (b"[]", "got `array`"),
    (b'"text"', "got `str`"),
    (b"1", "got `int`"),
    (b"NaN", ""),
    (b"\xef\xbb\xbf{}", ""),
    (b'{"subject":"\xff"}', ""),
    (b'{"subject":"\xed\xa0\x80"}', ""),
    (b'{"subject":"\\ud800"}', ""),
    (b'{"subject":"\x00"}', ""),
    (b'{"\xff":1}', ""),
    (b"[" * 50_000, ""),
    (b'{"subject":' * 4_000, ""),
    (b"\x00" * 100, ""),
)


@pytest.mark.parametrize("path", ALL_PATHS)
@pytest.mark.parametrize("number", range(len(NO_OBJECTS)))
def test_refuses_what_is_no_object(connection: Connection, path: str, number: int) -> None:
    body, text = NO_OBJECTS[number]

    check_malformed(connection, path, body, text)


@pytest.mark.parametrize("path", BODILESS_PATHS)
def test_takes_an_empty_body_or_object_where_nothing_is_needed(
    connection: Connection, path: str
) -> None:
    for body in (None, b"", b"{}", b" {} \n"):
        assert connection.ask(method_of(path), path, body).status == 200
    for body in (b"{", b"[]", b'{"x":1}', b"nul"):
        assert connection.ask(method_of(path), path, body).status == 400


@pytest.mark.parametrize("path", [*ALL_PATHS, *BODILESS_PATHS])
def test_takes_null_for_an_object_without_members_in_version_1(
    connection: Connection, path: str
) -> None:
    answer = connection.ask(method_of(path), path, b" null\n")

    if path.startswith("/api/v1/"):
        bare = connection.ask(method_of(path), path, b"{}")
        assert answer.status == bare.status
        assert bare.status == 200 or answer.text == bare.text
    else:
        assert answer.status == 400
        assert "got `null`" in answer.text


READ, WRITE = "read-events", "write-events"

# Each row: an endpoint, a body with a member that is of the wrong type or unknown, and its path.
WRONG_MEMBERS: tuple[tuple[str, dict[str, Any], str], ...] = (
    (READ, {"subject": 1, "options": {"recursive": True}}, "$.subject"),
    (READ, {"subject": "/", "options": []}, "$.options"),
    (READ, {"subject": "/", "options": {"recursive": "true"}}, "$.options.recursive"),
    (READ, {"subject": "/", "options": {"recursive": 1}}, "$.options.recursive"),
    (READ, {"subject": "/", "options": {"recursive": True, "order": 1}}, "$.options.order"),
    (
        READ,
        {"subject": "/", "options": {"recursive": True, "lowerBound": {"id": 1}}},
        "$.options.lowerBound.id",
    ),
    (READ, {"subject": "/", "options": {"recursive": True, "limit": 1}}, "limit"),
    (READ, {"subject": "/", "options": {"recursive": True}, "extra": 1}, "extra"),
    (WRITE, {"events": {}}, "$.events"),
    (WRITE, {"events": [1]}, "$.events[0]"),
    (WRITE, {"events": [an_event(), an_event(source=1)]}, "$.events[1].source"),
    (WRITE, {"events": [an_event(), an_event(subject=[])]}, "$.events[1].subject"),
    (WRITE, {"events": [an_event(), an_event(id="1")]}, "$.events[1]"),
    (WRITE, {"events": [an_event(), an_event(traceparent=1)]}, "$.events[1].traceparent"),
    (WRITE, {"events": [an_event()], "preconditions": {}}, "$.preconditions"),
    (
        WRITE,
        {"events": [an_event()], "preconditions": [{"type": 1}]},
        "$.preconditions[0].type",
    ),
    (
        WRITE,
        {"events": [an_event()], "preconditions": [{"type": "x", "payload": {"eventId": 5}}]},
        "$.preconditions[0].payload.eventId",
    ),
    (
        WRITE,
        {"events": [an_event()], "preconditions": [{"type": "x", "payload": {"x": 5}}]},
        "$.preconditions[0].payload",
    ),
)


@pytest.mark.parametrize("endpoint, body, path", WRONG_MEMBERS)
@pytest.mark.parametrize("version", ["v1", "v2/data"])
def test_refuses_a_wrong_member_with_its_path(
    connection: Connection, version: str, endpoint: str, body: dict[str, Any], path: str
) -> None:
    check_malformed(connection, f"/api/{version}/{endpoint}", body, path)


# Members that version 2 has and version 1 refuses.
V2_ONLY: tuple[tuple[str, dict[str, Any]], ...] = (
    (
        WRITE,
        {
            "events": [an_event()],
            "preconditions": [
                {
                    "type": "isSubjectPristine",
                    "payload": {"subject": "/x", "options": {"recursive": False}},
                }
            ],
        },
    ),
    ("read-subjects", {"baseSubject": "/", "options": {"recursive": True}}),
)


@pytest.mark.parametrize("endpoint, body", V2_ONLY)
def test_version_1_refuses_options_that_only_version_2_has(
    connection: Connection, endpoint: str, body: dict[str, Any]
) -> None:
    check_malformed(connection, f"/api/v1/{endpoint}", body, "options")


# Each row: an endpoint, a body with a null, and the path of it.
NULLS: tuple[tuple[str, dict[str, Any], str], ...] = (
    (READ, {"subject": None, "options": {"recursive": True}}, "$.subject"),
    (READ, {"subject": "/", "options": None}, "$.options"),
    (READ, {"subject": "/", "options": {"recursive": None}}, "$.options.recursive"),
    (READ, {"subject": "/", "options": {"recursive": True, "order": None}}, "$.options.order"),
    (
        READ,
        {"subject": "/", "options": {"recursive": True, "upperBound": None}},
        "$.options.upperBound",
    ),
    (
        READ,
        {"subject": "/", "options": {"recursive": True, "fromLatestEvent": None}},
        "$.options.fromLatestEvent",
    ),
    ("read-subjects", {"subject": "/", "options": None}, "$.options"),
    ("read-event-type", {"type": None}, "$.type"),
    ("register-event-schema", {"type": GOOD_TYPE, "schema": None}, "$.schema"),
    (WRITE, {"events": None}, "$.events"),
    (WRITE, {"events": [None]}, "$.events[0]"),
    (WRITE, {"events": [an_event(), an_event(data=None)]}, "$.events[1].data"),
    (WRITE, {"events": [an_event(traceparent=None)]}, "$.events[0].traceparent"),
    (WRITE, {"events": [an_event()], "preconditions": None}, "$.preconditions"),
    (
        WRITE,
        {"events": [an_event()], "preconditions": [{"type": "isSubjectPristine", "payload": None}]},
        "$.preconditions[0].payload",
    ),
)


@pytest.mark.parametrize("endpoint, body, path", NULLS)
def test_version_2_refuses_null_with_its_path(
    connection: Connection, endpoint: str, body: dict[str, Any], path: str
) -> None:
    check_malformed(connection, f"/api/v2/data/{endpoint}", body, path, "null")


def test_version_2_needs_to_be_told_whether_subjects_are_listed_recursively(
    connection: Connection,
) -> None:
    path = "/api/v2/data/read-subjects"

    check_malformed(connection, path, {"subject": "/"}, "options")
    check_malformed(connection, path, {"subject": "/", "options": {}}, "recursive")


def test_version_2_matches_names_exactly(connection: Connection) -> None:
    body = {"events": [{**an_event(), "traceParent": "x"}]}

    check_malformed(connection, "/api/v2/data/write-events", body, "traceParent", "$.events[0]")


# Bodies that version 1 takes, for the event `/lenient` of the type that the test writes.
LENIENT: tuple[tuple[str, dict[str, Any]], ...] = (
    ("read-events", {"Subject": "/lenient", "OPTIONS": {"Recursive": True}}),
    ("read-events", {"subject": "/lenient", "options": None}),
    ("read-events", {"subject": "/lenient"}),
    ("read-events", {"subject": "/lenient", "options": {"recursive": None, "order": None}}),
    (
        "read-events",
        {"subject": "/lenient", "options": {"lowerBound": None, "fromLatestEvent": None}},
    ),
    (
        "read-events",
        {"subject": "/lenient", "options": {"LOWERBOUND": {"ID": "0", "Type": "inclusive"}}},
    ),
    (
        "read-events",
        {
            "subject": "/lenient",
            "options": {
                "FromLatestEvent": {
                    "SUBJECT": "/lenient",
                    "TYPE": GOOD_TYPE,
                    "IFEVENTISMISSING": "read-nothing",
                }
            },
        },
    ),
    ("read-subjects", {"BASESUBJECT": "/lenient"}),
    ("read-event-type", {"EventType": GOOD_TYPE}),
)


@pytest.mark.parametrize("endpoint, body", LENIENT)
def test_version_1_takes_names_in_any_case_and_null_for_nothing(
    connection: Connection, endpoint: str, body: dict[str, Any]
) -> None:
    connection.write(an_event("/lenient"))

    answer = connection.v1(endpoint, body)

    assert answer.status == 200, answer.text
    assert answer.body


def test_version_1_takes_the_names_of_the_go_sdk(connection: Connection) -> None:
    traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    event = {
        "Source": "https://everlog.test",
        "SUBJECT": "/go",
        "tYpE": GOOD_TYPE,
        "data": {"Subject": "kept", "nested": [{"Type": "kept too"}]},
        "traceParent": traceparent,
        "traceState": "foo=bar",
    }
    preconditions = [{"TYPE": "isSubjectPristine", "Payload": {"Subject": "/go"}}]

    answer = connection.v1(WRITE, {"Events": [event], "preConditions": preconditions})

    assert answer.status == 200, answer.text
    stored = answer.events[0]
    assert (stored["traceparent"], stored["tracestate"]) == (traceparent, "foo=bar")
    assert stored["data"] == event["data"]


def test_version_1_takes_null_for_nothing_in_a_write(connection: Connection) -> None:
    event = an_event("/null", traceparent=None, tracestate=None)

    answer = connection.v1(WRITE, {"events": [event], "preconditions": None})

    assert answer.status == 200
    assert "traceparent" not in answer.events[0]


def test_version_1_refuses_null_where_something_is_needed(connection: Connection) -> None:
    for body in (
        {"events": None},
        {"events": [an_event(data=None)]},
        {"events": [an_event(source=None)]},
        {
            "events": [an_event()],
            "preconditions": [{"type": "isSubjectPristine", "payload": None}],
        },
    ):
        assert connection.v1(WRITE, body).status == 400


def test_an_unknown_member_in_any_case_is_refused_with_its_path(connection: Connection) -> None:
    body = {"Events": [{**an_event(), "Id": "1"}]}

    check_malformed(connection, "/api/v1/write-events", body, "Id", "$.events[0]")


# Numbers that some parsers stumble over, whatever their value is.
HUGE_NUMBERS = (b"9" * 30_000, b"1e999", b"-1e999", b"0." + b"1" * 30_000)


@pytest.mark.parametrize("number", HUGE_NUMBERS)
def test_a_huge_number_is_refused(connection: Connection, number: bytes) -> None:
    event = (
        json.dumps(an_event("/numbers", data="?")).encode().replace(b'"?"', b'{"n":%b}' % number)
    )

    answer = connection.v1(WRITE, b'{"events":[%b]}' % event)

    assert answer.status == 400
    assert answer.text.startswith(f"malformed event data: the number {number[:40].decode()}")


@pytest.mark.parametrize("depth, status", [(60, 200), (61, 400), (10_000, 400), (30_000, 400)])
def test_data_may_be_nested_so_deep_and_no_deeper(
    connection: Connection, depth: int, status: int
) -> None:
    data = b'{"a":' + b"[" * depth + b"]" * depth + b"}"
    event = json.dumps(an_event("/deep", data="?")).encode().replace(b'"?"', data)

    assert connection.v1(WRITE, b'{"events":[%b]}' % event).status == status


def size_of(event: dict[str, Any]) -> int:
    fields = [event["source"], event["subject"], event["type"]]
    return sum(map(len, fields)) + len(json.dumps(event["data"], separators=(",", ":")))


@pytest.mark.parametrize("excess, is_stored", [(-1, True), (0, True), (1, False)])
def test_an_event_may_have_exactly_128_kib(
    connection: Connection, excess: int, *, is_stored: bool
) -> None:
    event = an_event("/large", data={"text": ""})
    event["data"]["text"] = "x" * (131_072 + excess - size_of(event))

    assert connection.v1(WRITE, {"events": [event]}).status == (200 if is_stored else 413)
    assert (connection.v2(WRITE, {"events": [event]}).items[-1]["type"] == "end") == is_stored


def test_ten_thousand_events_are_one_write(connection: Connection) -> None:
    answer = connection.v1(WRITE, {"events": [an_event("/many")] * 10_000})

    assert answer.status == 200
    assert len(answer.events) == 10_000


@pytest.mark.parametrize(
    "path, size_max",
    [
        ("/api/v1/read-events", 64 * 1024),
        ("/api/v2/data/read-events", 64 * 1024),
        ("/api/v1/register-event-schema", 2 * 1024 * 1024),
        ("/api/v1/write-events", 64 * 1024 * 1024),
    ],
)
def test_a_body_that_is_too_large_is_refused_by_its_announced_size(
    connection: Connection, path: str, size_max: int
) -> None:
    headers = {"Authorization": f"Bearer {connection.token}", "Content-Length": str(size_max + 1)}
    connection.http.putrequest(method_of(path), path)
    for name, value in headers.items():
        connection.http.putheader(name, value)
    connection.http.endheaders()

    response = connection.http.getresponse()

    assert response.status == 413
    assert response.headers["Server"].startswith("EventSourcingDB/")
    assert str(size_max) in response.read().decode()


@pytest.mark.parametrize("path", ["/api/v1/read-events", "/api/v2/data/read-events"])
def test_a_body_may_be_as_large_as_said(connection: Connection, path: str) -> None:
    body = b'{"subject":"/nobody","options":{"recursive":true}}'.ljust(64 * 1024)

    assert connection.ask(method_of(path), path, body).status == 200
    assert connection.ask(method_of(path), path, body + b" ").status == 413
