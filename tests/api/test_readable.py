"""What is stored can be read by everybody, with the limits that parsers of other languages have.

Answers are read as .NET counts levels: each array and each object that is open is one.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from everlog.domain.chain import HashVersion
from everlog.domain.limits import JSON_NESTING_MAX
from tests.support.api import GOOD_TYPE, Connection, an_event
from tests.support.audits import check_audit_is_clean
from tests.support.engines import open_log
from tests.support.events import a_candidate, a_schema, stage, store, store_staged
from tests.support.json_depth import depth_of
from tests.support.server import running_server

LEVELS_MAX = 64
WRITE = "write-events"


def nested(levels: int, inner: str = "1") -> str:
    return '{"a":' * levels + inner + "}" * levels


def a_body(data: str) -> bytes:
    """Return the body of a write with data as it is written here."""
    return json.dumps({"events": [an_event("/data", data="?")]}).replace('"?"', data).encode()


def check_lines(answer: bytes) -> None:
    """Check that no line of an answer, nor the answer as a whole, has too many levels."""
    for line in answer.splitlines():
        assert depth_of(line) <= LEVELS_MAX


def test_no_answer_about_the_deepest_event_has_too_many_levels(fresh: Connection) -> None:
    body = a_body(nested(JSON_NESTING_MAX))
    reading: dict[str, Any] = {"subject": "/", "options": {"recursive": True}}
    answers = [fresh.v1(WRITE, body), fresh.v2(WRITE, body)]
    answers += [fresh.v1("read-events", reading), fresh.v2("read-events", reading)]
    for projection in ("e", "e.data", "{ data: e.data }"):
        query = {"query": f"FROM e IN events PROJECT INTO {projection}"}
        answers += [fresh.v1("run-eventql-query", query), fresh.v2("run-eventql-query", query)]

    for answer in answers:
        assert answer.status == 200, answer.text
        assert b'"a":1}' in answer.body
        check_lines(answer.body)
    # Deepest of all is a row of version 2.
    assert max(depth_of(line) for line in answers[-1].body.splitlines()) == LEVELS_MAX


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_an_observer_gets_no_more_levels(connection: Connection, version: str) -> None:
    assert connection.v1(WRITE, a_body(nested(JSON_NESTING_MAX))).status == 200

    item = next(connection.observe(version, subject="/data"))

    assert depth_of(json.dumps(item)) == LEVELS_MAX - 1


def test_no_answer_about_the_deepest_schema_has_too_many_levels(fresh: Connection) -> None:
    def schema(number: int) -> dict[str, Any]:
        inner = nested(JSON_NESTING_MAX - 3)
        text = f'{{"type":"object","properties":{{"a":{{"const":{inner}}}}}}}'
        assert depth_of(text) == JSON_NESTING_MAX
        return {"schema": json.loads(text), "number": number}

    body = schema(1)["schema"]
    answers = [
        fresh.v1("register-event-schema", {"eventType": "io.everlog.one", "schema": body}),
        fresh.v2("register-event-schema", {"type": "io.everlog.two", "schema": body}),
        fresh.v1("read-event-type", {"eventType": "io.everlog.one"}),
        fresh.v2("read-event-type", {"type": "io.everlog.two"}),
        fresh.v1("read-event-types"),
        fresh.v2("read-event-types"),
    ]

    for answer in answers:
        assert answer.status == 200, answer.text
        assert b'"a":1}' in answer.body
        check_lines(answer.body)


def test_deeper_events_and_schemas_are_refused_with_the_limit(connection: Connection) -> None:
    body = a_body(nested(JSON_NESTING_MAX + 1))
    schema = {"type": "object", "properties": {"a": json.loads(nested(JSON_NESTING_MAX))}}

    for answer in (connection.v1(WRITE, body), connection.v1(WRITE, a_body(nested(128)))):
        assert answer.status == 400
        assert answer.text == "malformed event data: it is nested deeper than 61 levels\n"
    refused = connection.v2(WRITE, body)
    assert refused.code == "data-malformed"
    assert refused.error["details"] == {"field": "events[0].data", "eventIndex": 0, "limit": 61}
    refused = connection.v2("register-event-schema", {"type": "io.everlog.x", "schema": schema})
    assert refused.code == "event-schema-malformed"
    assert refused.error["details"] == {"field": "schema", "limit": 61}


@pytest.mark.parametrize(
    "number", ["1" + "0" * 309, "-1" + "0" * 309, "9" * 4_000, "9" * 5_000, "1e309", "0.1e311"]
)
def test_a_number_beyond_a_double_is_refused_and_named(connection: Connection, number: str) -> None:
    for text in (nested(3, number), f'{{"a":[{number}]}}'):
        answer = connection.v1(WRITE, a_body(text))
        assert answer.status == 400
        assert answer.text.startswith(f"malformed event data: the number {number[:40]}")
        refused = connection.v2(WRITE, a_body(text))
        assert refused.code == "data-malformed"
        assert refused.error["details"]["field"] == "events[0].data"
        schema = f'{{"type":"object","properties":{{"a":{{"maximum":{number}}}}}}}'
        body = f'{{"type":"io.everlog.numbers","schema":{schema}}}'.encode()
        refused = connection.v2("register-event-schema", body)
        assert refused.code == "event-schema-malformed"
        assert number[:40] in refused.error["description"]


@pytest.mark.parametrize(
    "number", ["1" + "0" * 308, "12345678901234567890", "-0", "1e-400", "0." + "3" * 998]
)
def test_a_number_within_it_is_kept_as_it_is_written(connection: Connection, number: str) -> None:
    answer = connection.v1(WRITE, a_body(f'{{"a":{number}}}'))

    assert answer.status == 200
    assert f'{{"a":{number}}}'.encode() in answer.body


@pytest.mark.parametrize(
    "data, reason",
    [
        (b'"\xfc"', "it is not valid UTF-8 - at `$.a`"),
        (b'{"b":["\xe4"]}', "it is not valid UTF-8 - at `$.a.b[0]`"),
    ],
)
def test_latin_1_in_data_is_told_with_its_field(
    connection: Connection, data: bytes, reason: str
) -> None:
    body = a_body('{"a":@}').replace(b"@", data)

    assert connection.v1(WRITE, body).text == f"malformed event data: {reason}\n"
    refused = connection.v2(WRITE, body)
    assert refused.code == "data-malformed"
    assert refused.error["description"] == f"malformed event data: {reason}"
    assert refused.error["details"] == {"field": "events[0].data", "eventIndex": 0}


TWICE = {
    "preconditions": b'{"preconditions":[{"type":"isSubjectPopulated","payload":{"subject":"/no"}}]'
    b',"events":[%b],"preconditions":[]}',
    "events": b'{"events":[%b],"events":[]}',
}


@pytest.mark.parametrize("name", [*TWICE])
def test_a_member_that_comes_twice_in_a_request_is_refused(
    connection: Connection, name: str
) -> None:
    body = TWICE[name] % json.dumps(an_event("/twice")).encode()

    for path in ("/api/v1/write-events", "/api/v2/data/write-events"):
        answer = connection.ask("POST", path, body)
        assert answer.status == 400
        assert answer.text == f"malformed request body: the member '{name}' comes twice - at `$`\n"
    assert not [event for event in connection.read_all() if event["subject"] == "/twice"]


@pytest.mark.parametrize(
    "endpoint, body",
    [
        ("read-events", b'{"subject":"/","subject":"/"}'),
        ("observe-events", b'{"subject":"/","subject":"/"}'),
        ("run-eventql-query", b'{"query":"a","query":"b"}'),
        ("read-subjects", b'{"%b":"/","%b":"/","options":{"recursive":true}}'),
        ("read-event-type", b'{"%b":"a","%b":"b"}'),
        ("register-event-schema", b'{"schema":{},"schema":{}}'),
    ],
)
def test_so_it_is_by_every_endpoint(connection: Connection, endpoint: str, body: bytes) -> None:
    names = {
        "read-subjects": (b"baseSubject", b"subject"),
        "read-event-type": (b"eventType", b"type"),
    }
    for name, ask in zip(
        names.get(endpoint, (b"", b"")), (connection.v1, connection.v2), strict=True
    ):
        sent = body.replace(b"%b", name)
        if ask == connection.v1:
            sent = sent.replace(b',"options":{"recursive":true}', b"")
        answer = ask(endpoint, sent)
        assert answer.status == 400
        assert "comes twice - at `$`" in answer.text


@pytest.mark.parametrize("version", [1, 2])
def test_a_member_that_comes_twice_in_data_is_refused(version: int) -> None:
    with (
        running_server("--hash-version", str(version)) as server,
        Connection(server.url) as connection,
    ):
        for data in ('{"a":1,"a":2}', '{"b":{"a":[1.50],"a":2},"a":{}}', '{"\\u0061":1,"a":2}'):
            answer = connection.v1(WRITE, a_body(data))
            assert answer.status == 400
            assert answer.text == (
                "malformed event data: the member 'a' comes twice in an object\n"
            )
            refused = connection.v2(WRITE, a_body(data))
            assert refused.code == "data-malformed"
            assert refused.error["details"] == {"field": "events[0].data", "eventIndex": 0}
        for data in ('{"a":{"a":{"a":1}}}', '{"a":"\\"a\\":1,\\"a\\":2","b":"\\u0022:"}'):
            assert connection.v1(WRITE, a_body(data)).status == 200


def test_a_member_that_comes_twice_in_a_schema_is_refused(connection: Connection) -> None:
    schema = b'{"type":"object","properties":{"a":{"type":"string","type":"number"}}}'

    refused = connection.v2(
        "register-event-schema", b'{"type":"io.everlog.twice","schema":%b}' % schema
    )

    assert refused.code == "event-schema-malformed"
    assert "the member 'type' comes twice in an object" in refused.error["description"]


def test_what_earlier_versions_took_stays_readable(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    data = [nested(128), nested(2, "9" * 309), '{"a":1,"a":2}', '{"n":0}']
    engine = open_log(directory)
    for number, text in enumerate(data):
        version = HashVersion.V1 if number % 2 else HashVersion.V2
        store(engine, a_candidate(f"/old/{number}", data=text), hash_version=version)
    schema = '{"type":"object","properties":{"a":{"const":%s}},"title":"","title":""}'
    engine.stage_schema(a_schema("io.everlog.old", schema % nested(120, "1" * 400)))
    stage(engine, a_candidate("/old/last", data=nested(120)))
    store_staged(engine)
    engine.close()
    check_audit_is_clean(directory)

    with (
        running_server(data_directory=directory) as server,
        Connection(server.url) as connection,
    ):
        reading = {"subject": "/", "options": {"recursive": True}}
        for answer in (
            connection.v1("read-events", reading),
            connection.v2("read-events", reading),
        ):
            assert answer.status == 200
            for text in data:
                assert f'"data":{text},'.encode() in answer.body
        for clause, count in (("", 5), ("WHERE e.data.n == 0", 1), ("WHERE e.data.a != 1", 5)):
            query = {"query": f"FROM e IN events {clause} PROJECT INTO e"}
            answer = connection.v2("run-eventql-query", query)
            assert [item["type"] for item in answer.items] == ["row"] * count + ["end"], answer.text
        types = connection.v1("read-event-types")
        assert types.status == 200
        assert b"1" * 400 in types.body
        # And the log goes on behind it, with data that the schema judges.
        connection.write(an_event("/new"))
        refused = connection.v2(
            WRITE, {"events": [an_event("/new", "io.everlog.old", data={"a": 1})]}
        )
        assert refused.code == "event-schema-violated"
        connection.write(an_event("/new", "io.everlog.old", data={"b": 1}))
    check_audit_is_clean(directory)


@pytest.mark.parametrize("source", ["http://host:65536/", "http://host:/", "//[v1.a]", "a%20b"])
def test_whatever_the_standard_calls_a_uri_reference_is_a_source(
    connection: Connection, source: str
) -> None:
    [event] = connection.write(an_event("/sources", GOOD_TYPE, source=source))

    assert event["source"] == source
