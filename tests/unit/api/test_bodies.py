"""Bodies: names in any case for version 1, exact for version 2, and faults with their path."""

from collections.abc import Callable

import msgspec
import pytest

from everlog.api.bodies import MalformedRequestError, read_leniently, read_strictly
from everlog.api.requests import v1, v2

V1_WRITE = msgspec.json.Decoder(v1.WriteEvents)
V1_READ = msgspec.json.Decoder(v1.ReadEvents)
V2_READ = msgspec.json.Decoder(v2.ReadEvents)
V2_WRITE = msgspec.json.Decoder(v2.WriteEvents)


def check_lenient(body: bytes, expected: bytes) -> None:
    """Check that two bodies are read as the same."""
    assert read_leniently(V1_WRITE, body) == read_strictly(V1_WRITE, expected)


@pytest.mark.parametrize(
    "body, expected",
    [
        (b"{}", b"{}"),
        (b" null\n", b"{}"),
        (b'{"EVENTS":[]}', b'{"events":[]}'),
        (b'{"Events":null}', b'{"events":null}'),
        (b'{"events":[{"traceParent":"a"}]}', b'{"events":[{"traceparent":"a"}]}'),
        (b'{"Preconditions":[{"Type":"a"}]}', b'{"preconditions":[{"type":"a"}]}'),
        (
            b'{"preconditions":[{"Payload":{"EVENTID":"1"}}]}',
            b'{"preconditions":[{"payload":{"eventId":"1"}}]}',
        ),
    ],
)
def test_names_match_in_any_case(body: bytes, expected: bytes) -> None:
    check_lenient(body, expected)


def test_names_inside_of_data_stay_as_they_are() -> None:
    data = b'{"Subject":1,"EVENTS":[{"Type":2}]}'

    body = read_leniently(V1_WRITE, b'{"Events":[{"Data":%b}]}' % data)

    assert body.events is not None
    assert isinstance(body.events[0].data, msgspec.Raw)
    assert bytes(body.events[0].data) == data


@pytest.mark.parametrize(
    "body, path",
    [
        (b'{"Subject":1}', "$.subject"),
        (b'{"OPTIONS":{"Recursive":"x"}}', "$.options.recursive"),
        (b'{"Options":{"LowerBound":{"Id":1}}}', "$.options.lowerBound.id"),
        (b'{"Options":{"Other":1}}', "$.options"),
    ],
)
def test_a_fault_has_its_path_also_where_names_differ(body: bytes, path: str) -> None:
    with pytest.raises(MalformedRequestError) as raised:
        read_leniently(V1_READ, body)

    assert f"`{path}`" in str(raised.value)


@pytest.mark.parametrize("body", [b"", b"{", b'{"X":', b'{"X":1', b"[", b"\xff", b'{"\xff":1}'])
def test_what_is_no_json_is_malformed_whoever_reads_it(body: bytes) -> None:
    with pytest.raises(MalformedRequestError, match="malformed request body"):
        read_leniently(V1_WRITE, body)
    with pytest.raises(MalformedRequestError, match="malformed request body"):
        read_strictly(V2_WRITE, body)


def test_version_2_takes_exact_names_only() -> None:
    with pytest.raises(MalformedRequestError, match="Events"):
        read_strictly(V2_WRITE, b'{"Events":[]}')


REPEATED = (
    (b'{"subject":"/a","subject":"/b"}', "subject", "$"),
    (b'{"subject" : "/a", "subject"\n:"/b"}', "subject", "$"),
    (b'{"subject":"/a","\\u0073ubject":"/b"}', "subject", "$"),
    (b'{"options":{"order":"x"},"subject":"/","options":{}}', "options", "$"),
    (b'{"options":{"recursive":true,"recursive":false}}', "recursive", "$.options"),
    (b'{"options":{"lowerBound":{"id":"1","id":"0"}}}', "id", "$.options.lowerBound"),
    # Quotes as numbers, so that there seem to be as many as there should be.
    (b'{"subject":"\\u0022\\u0022\\u0022\\u0022","subject":"/b"}', "subject", "$"),
    (b'{"subject":"/b","subject":"\\u0022\\u0022\\u0022\\u0022"}', "subject", "$"),
)
REPEATED_IN_WRITES = (
    (b'{"preconditions":[{"type":"x"}],"events":[],"preconditions":[]}', "preconditions", "$"),
    (b'{"events":[{}],"events":[]}', "events", "$"),
    (b'{"events":[{},{"source":"a","source":"a"}]}', "source", "$.events[1]"),
    (b'{"events":[{"data":{"a":1},"data":{}}]}', "data", "$.events[0]"),
    (b'{"preconditions":[{"type":"a","type":"b"}]}', "type", "$.preconditions[0]"),
    (b'{"preconditions":[{"payload":{},"payload":{}}]}', "payload", "$.preconditions[0]"),
    (
        b'{"preconditions":[{},{"payload":{"query":"a","query":"b"}}]}',
        "query",
        "$.preconditions[1].payload",
    ),
)


def check_repeated(reading: Callable[[], object], name: str, path: str) -> None:
    """Check that a body is refused since a name comes twice."""
    with pytest.raises(MalformedRequestError) as raised:
        reading()

    assert str(raised.value) == (
        f"malformed request body: the member '{name}' comes twice - at `{path}`"
    )


@pytest.mark.parametrize("body, name, path", REPEATED)
def test_a_member_that_comes_twice_is_refused(body: bytes, name: str, path: str) -> None:
    check_repeated(lambda: read_strictly(V2_READ, body), name, path)
    check_repeated(lambda: read_leniently(V1_READ, body), name, path)


@pytest.mark.parametrize("body, name, path", REPEATED_IN_WRITES)
def test_a_member_of_a_write_that_comes_twice_is_refused(body: bytes, name: str, path: str) -> None:
    check_repeated(lambda: read_strictly(V2_WRITE, body), name, path)
    check_repeated(lambda: read_leniently(V1_WRITE, body), name, path)


@pytest.mark.parametrize(
    "body, name, path",
    [
        (b'{"Subject":"/a","subject":"/b"}', "subject", "$"),
        (b'{"subject":"/a","SUBJECT":null}', "subject", "$"),
        (b'{"options":{"Recursive":true,"RECURSIVE":false}}', "recursive", "$.options"),
        (b'{"subject":null,"subject":null}', "subject", "$"),
    ],
)
def test_names_in_any_case_are_one_name(body: bytes, name: str, path: str) -> None:
    check_repeated(lambda: read_leniently(V1_READ, body), name, path)


def test_options_of_a_precondition_come_once() -> None:
    body = b'{"preconditions":[{"payload":{"options":{"recursive":true,"recursive":false}}}]}'

    path = "$.preconditions[0].payload.options"
    check_repeated(lambda: read_strictly(V2_WRITE, body), "recursive", path)


@pytest.mark.parametrize(
    "body",
    [
        b'{"events":[{"data":{"a":1,"a":{"b":2,"b":3}}}]}',
        b'{"events":[{"data":"\\u0022:\\u0022"}],"preconditions":[]}',
        b'{"events":[{"source":"\\u0022","data":{"events":1,"source":2,"source":3}}]}',
        b'{"preconditions":[{"payload":{"query":"\\"a\\":\\u0022b"}}]}',
        b'{"events":[{"traceparent":"","source":"\\u0061"}]}',
    ],
)
def test_whatever_strings_and_data_hold_is_no_member_of_the_body(body: bytes) -> None:
    assert read_strictly(V2_WRITE, body) == V2_WRITE.decode(body)
    assert read_leniently(V1_WRITE, body) == V1_WRITE.decode(body)


@pytest.mark.parametrize("body", [b'{"events":null}', b'{"events":[{"source":null,"data":null}]}'])
def test_null_in_version_1_is_a_member_like_any_other(body: bytes) -> None:
    assert read_leniently(V1_WRITE, body) == V1_WRITE.decode(body)


@pytest.mark.parametrize(
    "body, reason",
    [
        (b'{"subject":"/a', "it ends too early"),
        (b'{"subject":"\\ud800"}', "it has half of a surrogate pair - at `$.subject`"),
        (b'{"subject":"\xfc"}', "it is not valid UTF-8 - at `$.subject`"),
        (b'{"options":{"order":"\xfc"}}', "it is not valid UTF-8 - at `$.options.order`"),
        (b'\xef\xbb\xbf{"subject":"/"}', "it begins with a byte order mark"),
        (b'{"subject":"/"}\0', "it has a NUL byte (byte 15)"),
        (b"\x1f\x8b\x08", "it is compressed with gzip"),
        (b" \n", "it is empty, and a JSON object is expected"),
        (b'{"options":' * 100, "it is nested deeper than 61 levels"),
        (b'{"options":' * 5_000, "it is nested deeper than 61 levels"),
        (b'{"options":' * 61, "it ends too early"),
    ],
)
def test_the_cause_is_told(body: bytes, reason: str) -> None:
    with pytest.raises(MalformedRequestError) as raised:
        read_leniently(V1_READ, body)

    assert str(raised.value).startswith(f"malformed request body: {reason}")
