"""Every code of version 2 is produced, with a description and with details that locate the fault.

Beside each code stands what version 1 says in the same case: a status and a text.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import pytest

from everlog.domain.errors import Code
from tests.support.api import CODE_PREFIX, Connection, an_event, without

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
SCHEMA: dict[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}


class Case(NamedTuple):
    """A request that is refused, in the form of version 2."""

    code: Code
    endpoint: str
    body: dict[str, Any]
    # What the description must hold, and the details exactly.
    text: str
    details: Mapping[str, Any]
    v1_status: int = 400
    v1_text: str | None = None


def write_case(
    code: Code, event: dict[str, Any], text: str, field: str, v1_status: int = 400, **details: Any
) -> Case:
    """Return the case of a write whose second event is bad."""
    body = {"events": [an_event(), event]}
    location = {"field": f"events[1]{field}", "eventIndex": 1}
    return Case(code, "write-events", body, text, location | details, v1_status, text)


def precondition_case(
    code: Code, precondition: dict[str, Any], text: str, field: str, **details: Any
) -> Case:
    """Return the case of a write whose second precondition is bad."""
    good = {"type": "isSubjectPristine", "payload": {"subject": "/nobody"}}
    body = {"events": [an_event()], "preconditions": [good, precondition]}
    location = {"field": f"preconditions[1]{field}", "preconditionIndex": 1}
    return Case(code, "write-events", body, text, location | details, 400, text)


def read_case(
    code: Code,
    options: dict[str, Any],
    text: str,
    field: str,
    *,
    subject: str = "/",
    v1_status: int = 400,
    **details: Any,
) -> Case:
    body = {"subject": subject, "options": {"recursive": True, **options}}
    return Case(code, "read-events", body, text, {"field": field, **details}, v1_status)


def bound(id_: str | None, type_: str | None = "inclusive") -> dict[str, Any]:
    members = {"id": id_, "type": type_}
    return {name: value for name, value in members.items() if value is not None}


def latest(**members: Any) -> dict[str, Any]:
    complete = {"subject": "/", "type": "io.everlog.test.x", "ifEventIsMissing": "read-nothing"}
    found = {**complete, **members}
    kept = {name: value for name, value in found.items() if value is not None}
    return {"fromLatestEvent": kept}


MISSING_BODY = {"subject": "/", "options": {"recursive": True}}

WRITING = (
    Case(
        Code.EVENTS_MISSING,
        "write-events",
        {"events": []},
        "at least one event",
        {"field": "events"},
    ),
    Case(Code.EVENTS_MISSING, "write-events", {}, "at least one event", {"field": "events"}),
    Case(
        Code.EVENT_TOO_LARGE,
        "write-events",
        {"events": [an_event()] * 10_001},
        "10000 events",
        {"field": "events", "limit": 10_000},
        413,
    ),
    write_case(Code.SOURCE_MISSING, without(an_event(), "source"), "source is missing", ".source"),
    write_case(
        Code.SOURCE_MALFORMED, an_event(source="$%&/("), "malformed event source", ".source"
    ),
    write_case(
        Code.SUBJECT_MISSING, without(an_event(), "subject"), "subject is missing", ".subject"
    ),
    write_case(Code.SUBJECT_MALFORMED, an_event("barbaz"), "event subject 'barbaz'", ".subject"),
    write_case(Code.EVENT_TYPE_MISSING, without(an_event(), "type"), "type is missing", ".type"),
    write_case(Code.EVENT_TYPE_MALFORMED, an_event(type="a.b.c"), "event type 'a.b.c'", ".type"),
    write_case(Code.DATA_MISSING, without(an_event(), "data"), "data is missing", ".data"),
    write_case(Code.DATA_MALFORMED, an_event(data=[]), "malformed event data", ".data"),
    write_case(
        Code.TRACEPARENT_MALFORMED, an_event(traceparent="00-x"), "traceparent", ".traceparent"
    ),
    write_case(
        Code.TRACESTATE_MALFORMED,
        an_event(traceparent=TRACEPARENT, tracestate="A"),
        "malformed tracestate",
        ".tracestate",
    ),
    write_case(
        Code.TRACESTATE_WITHOUT_TRACEPARENT,
        an_event(tracestate="a=b"),
        "traceparent is required",
        ".tracestate",
    ),
    write_case(
        Code.EVENT_TOO_LARGE,
        an_event(data={"text": "x" * 131_036}),
        "131072",
        "",
        413,
        limit=131_072,
    ),
)

PRECONDITIONS = (
    precondition_case(
        Code.PRECONDITION_TYPE_MISSING, {"payload": {"subject": "/"}}, "type", ".type"
    ),
    precondition_case(
        Code.PRECONDITION_UNKNOWN, {"type": "isX", "payload": {"subject": "/"}}, "'isX'", ".type"
    ),
    precondition_case(
        Code.QUERY_MISSING,
        {"type": "isEventQlQueryTrue", "payload": {}},
        "query is missing",
        ".payload.query",
    ),
    precondition_case(
        Code.PAYLOAD_MISSING,
        {"type": "isSubjectPristine"},
        "payload of the precondition is missing",
        ".payload",
    ),
    precondition_case(
        Code.SUBJECT_MISSING,
        {"type": "isSubjectPopulated", "payload": {}},
        "subject is missing",
        ".payload.subject",
    ),
    precondition_case(
        Code.SUBJECT_MALFORMED,
        {"type": "isSubjectPristine", "payload": {"subject": "x"}},
        "event subject 'x'",
        ".payload.subject",
    ),
    precondition_case(
        Code.EVENT_ID_MISSING,
        {"type": "isSubjectOnEventId", "payload": {"subject": "/"}},
        "event ID is missing",
        ".payload.eventId",
    ),
    precondition_case(
        Code.EVENT_ID_MALFORMED,
        {"type": "isSubjectOnEventId", "payload": {"subject": "/", "eventId": "abc"}},
        "event ID must contain an integer",
        ".payload.eventId",
    ),
)

READING = (
    read_case(Code.SUBJECT_MISSING, {}, "subject is missing", "subject", subject=""),
    read_case(Code.SUBJECT_MALFORMED, {}, "event subject 'x'", "subject", subject="x"),
    read_case(Code.ORDER_UNKNOWN, {"order": "random"}, "'random'", "options.order"),
    read_case(
        Code.EVENT_ID_MISSING, {"lowerBound": bound(None)}, "missing", "options.lowerBound.id"
    ),
    read_case(
        Code.EVENT_ID_MALFORMED,
        {"upperBound": bound("-1")},
        "0 or greater",
        "options.upperBound.id",
    ),
    read_case(
        Code.EVENT_ID_MALFORMED,
        {"lowerBound": bound("9223372036854775807", "exclusive")},
        "9223372036854775807",
        "options.lowerBound.id",
        limit="9223372036854775807",
    ),
    read_case(
        Code.BOUND_TYPE_MISSING,
        {"lowerBound": bound("1", None)},
        "type of the bound is missing",
        "options.lowerBound.type",
    ),
    read_case(
        Code.BOUND_TYPE_UNKNOWN,
        {"upperBound": bound("1", "x")},
        "'x'",
        "options.upperBound.type",
    ),
    read_case(
        Code.RANGE_UNSATISFIABLE,
        {"upperBound": bound("0", "exclusive")},
        "no room",
        "options.upperBound",
    ),
    *(
        read_case(
            Code.FROM_LATEST_EVENT_INCOMPLETE,
            latest(**{name: None}),
            f"{name} is missing",
            f"options.fromLatestEvent.{name}",
        )
        for name in ("subject", "type", "ifEventIsMissing")
    ),
    read_case(
        Code.IF_EVENT_IS_MISSING_UNKNOWN,
        latest(ifEventIsMissing="wait-for-event"),
        "'wait-for-event'",
        "options.fromLatestEvent.ifEventIsMissing",
    ),
    read_case(
        Code.SUBJECT_MALFORMED, latest(subject="x"), "'x'", "options.fromLatestEvent.subject"
    ),
    read_case(Code.EVENT_TYPE_MALFORMED, latest(type="x"), "'x'", "options.fromLatestEvent.type"),
    read_case(
        Code.SELECTION_CONFLICTING,
        {"lowerBound": bound("0"), **latest()},
        "cannot be combined",
        "options.fromLatestEvent",
    ),
    read_case(
        Code.SELECTION_CONFLICTING,
        {"order": "antichronological", **latest()},
        "chronological order",
        "options.fromLatestEvent",
    ),
)

DISCOVERING = (
    Case(Code.EVENT_TYPE_MISSING, "read-event-type", {}, "type is missing", {"field": "type"}),
    Case(
        Code.EVENT_TYPE_MALFORMED,
        "read-event-type",
        {"type": "x"},
        "event type 'x'",
        {"field": "type"},
        400,
        "invalid event type: 'x'",
    ),
    Case(
        Code.EVENT_TYPE_UNKNOWN,
        "read-event-type",
        {"type": "non.existent.eventType"},
        "not found",
        {"eventType": "non.existent.eventType"},
        404,
        "event type 'non.existent.eventType' not found",
    ),
    Case(
        Code.EVENT_TYPE_MISSING,
        "register-event-schema",
        {"schema": SCHEMA},
        "type is missing",
        {"field": "type"},
    ),
    Case(
        Code.EVENT_SCHEMA_MISSING,
        "register-event-schema",
        {"type": "io.everlog.test.schema"},
        "schema is missing",
        {"field": "schema"},
    ),
    Case(
        Code.EVENT_SCHEMA_NOT_OBJECT,
        "register-event-schema",
        {"type": "io.everlog.test.schema", "schema": {"type": "object"}},
        "missing properties: 'properties'",
        {"field": "schema"},
    ),
    Case(
        Code.EVENT_SCHEMA_MALFORMED,
        "register-event-schema",
        {"type": "io.everlog.test.schema", "schema": {**SCHEMA, "required": 5}},
        "malformed event schema",
        {"field": "schema"},
    ),
)

QUERYING = (
    Case(Code.QUERY_MISSING, "run-eventql-query", {}, "query is missing", {"field": "query"}),
)

CASES = (*WRITING, *PRECONDITIONS, *READING, *DISCOVERING, *QUERYING)

# Those that need something to be stored have a test of their own below.
STATE_CODES = frozenset(
    {
        Code.PRECONDITION_VIOLATED,
        Code.EVENT_SCHEMA_VIOLATED,
        Code.EVENT_SCHEMA_ALREADY_REGISTERED,
    }
)

# Those that need a disk that fails, the server's end, or its read-only mode: see
# test_failing_disk, test_stopping, test_read_only_mode. Faults of queries have no status of their
# own in version 1: see test_queries, test_query_preconditions.
OTHERWISE_TESTED = frozenset(
    {
        Code.DISK_FULL,
        Code.STORE_FAILED,
        Code.READ_FAILED,
        Code.SERVER_SHUTTING_DOWN,
        Code.STORE_READ_ONLY,
        Code.READ_ONLY_MODE_ALREADY_ENABLED,
        Code.QUERY_MALFORMED,
        Code.QUERY_UNEVALUABLE,
        Code.QUERY_NOT_BOOLEAN,
        Code.LAST_AUDITED_EVENT_MISSING,
        Code.LAST_AUDITED_EVENT_UNKNOWN,
        Code.LAST_AUDITED_EVENT_MISMATCHED,
        Code.EVENT_HASH_MALFORMED,
        Code.EVENT_CHAIN_BROKEN,
        Code.AUDIT_FAILED,
    }
)

# Of backups and restores; `test_backup.py` and `test_restore.py` have them.
TRANSFER_CODES = frozenset(
    {
        Code.LAST_BACKED_UP_EVENT_MISSING,
        Code.LAST_BACKED_UP_EVENT_UNKNOWN,
        Code.LAST_BACKED_UP_EVENT_MISMATCHED,
        Code.BACKUP_FAILED,
        Code.BACKUP_UNREADABLE,
        Code.BACKUP_FORMAT_UNKNOWN,
        Code.BACKUP_MALFORMED,
        Code.BACKUP_INCOMPLETE,
        Code.FULL_BACKUP_MISSING,
        Code.BACKUP_INCREMENT_DISCONNECTED,
        Code.STORE_NOT_EMPTY,
        Code.EVENT_CHAIN_BROKEN,
        Code.EVENT_HASH_MISSING,
        Code.EVENT_HASH_MALFORMED,
        Code.EVENT_HASH_VERSION_UNKNOWN,
        Code.RESTORE_IN_PROGRESS,
    }
)

V1_NAMES = {
    "read-event-type": {"type": "eventType"},
    "register-event-schema": {"type": "eventType"},
}


def as_v1(case: Case) -> dict[str, Any]:
    names = V1_NAMES.get(case.endpoint, {})
    return {names.get(name, name): value for name, value in case.body.items()}


def name_of(case: Case) -> str:
    return f"{case.code.value}-{case.endpoint}"


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_version_2_says_the_code_and_where_the_fault_is(connection: Connection, case: Case) -> None:
    answer = connection.v2(case.endpoint, case.body)

    assert answer.status == 200
    assert len(answer.items) == 1
    assert answer.error["code"] == CODE_PREFIX + case.code.value
    assert case.text in answer.error["description"]
    assert answer.error["details"] == case.details


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_version_1_says_a_status_and_one_line_of_text(connection: Connection, case: Case) -> None:
    answer = connection.v1(case.endpoint, as_v1(case))

    assert answer.status == case.v1_status
    assert (case.text if case.v1_text is None else case.v1_text) in answer.text
    assert answer.text.endswith("\n")
    assert answer.text.count("\n") == 1


def test_nothing_refused_was_stored(connection: Connection) -> None:
    assert connection.read_all() == []
    assert connection.v2("read-event-types").items == [{"type": "end", "data": {}}]


def test_every_code_is_covered() -> None:
    covered = {case.code for case in CASES}

    assert covered | STATE_CODES | OTHERWISE_TESTED | TRANSFER_CODES == set(Code)


def test_the_violated_precondition_is_named_by_its_index(fresh: Connection) -> None:
    fresh.write(an_event("/a"))
    preconditions = [
        {"type": "isSubjectPristine", "payload": {"subject": "/b"}},
        {
            "type": "isSubjectPristine",
            "payload": {"subject": "/", "options": {"recursive": True}},
        },
    ]

    answer = fresh.v2("write-events", {"events": [an_event()], "preconditions": preconditions})

    assert answer.code == "precondition-violated"
    assert answer.error["details"] == {"precondition": 1, "preconditionIndex": 1}
    assert "isSubjectPristine on '/' recursively" in answer.error["description"]
    body = {
        "events": [an_event()],
        "preconditions": [{"type": "isSubjectPristine", "payload": {"subject": "/a"}}],
    }
    conflict = fresh.v1("write-events", body)
    assert (conflict.status, conflict.text) == (409, "state conflict: precondition failed\n")


def test_what_a_schema_refuses_is_named(fresh: Connection) -> None:
    type_ = "io.everlog.test.schema"
    fresh.write(an_event(), an_event(type_=type_, data={"oy": 1}))
    body = {"type": type_, "schema": SCHEMA}

    answer = fresh.v2("register-event-schema", body)

    assert answer.code == "event-schema-violated"
    assert answer.error["details"] == {"eventId": "1", "eventType": type_}
    conflict = fresh.v1("register-event-schema", {"eventType": type_, "schema": SCHEMA})
    assert (conflict.status, conflict.text) == (
        409,
        "schema conflict: event with ID 1: additionalProperties 'oy' not allowed\n",
    )

    other = "io.everlog.test.other"
    assert fresh.v2("register-event-schema", body | {"type": other}).items[-1]["type"] == "end"
    events = [an_event(), an_event(type_=other, data={"extra": 1})]
    answer = fresh.v2("write-events", {"events": events})
    assert answer.code == "event-schema-violated"
    assert answer.error["details"] == {"eventIndex": 1, "eventType": other}
    conflict = fresh.v1("write-events", {"events": events})
    assert (conflict.status, conflict.text) == (
        409,
        (
            "schema conflict: event candidate does not match schema: "
            "additionalProperties 'extra' not allowed\n"
        ),
    )

    answer = fresh.v2("register-event-schema", body | {"type": other})
    assert answer.code == "event-schema-already-registered"
    assert answer.error["details"] == {"eventType": other}
    conflict = fresh.v1("register-event-schema", {"eventType": other, "schema": SCHEMA})
    assert (conflict.status, conflict.text) == (409, "schema conflict: schema already exists\n")
