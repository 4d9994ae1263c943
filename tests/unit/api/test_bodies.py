"""Bodies: names in any case for version 1, exact for version 2, and faults with their path."""

import msgspec
import pytest

from everlog.api.bodies import MalformedRequestError, read_leniently, read_strictly
from everlog.api.requests import v1, v2

V1_WRITE = msgspec.json.Decoder(v1.WriteEvents)
V1_READ = msgspec.json.Decoder(v1.ReadEvents)
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
        # Of two spellings of one name, the last counts.
        (b'{"events":[],"EVENTS":null}', b'{"events":null}'),
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


@pytest.mark.parametrize("body", [b'{"subject":"/a', b'{"subject":"\\ud800"}'])
def test_a_body_that_ends_too_early_and_half_a_surrogate_pair_are_told_alike(body: bytes) -> None:
    with pytest.raises(MalformedRequestError, match=r"ends too early, or half of a surrogate"):
        read_leniently(V1_READ, body)
