"""What is in the log: ids, times, hashes and data, as clients see them."""

import json
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.api import Connection, an_event
from tests.support.chain import check_chain, data_text
from tests.support.server import RunningServer, running_server
from tests.support.threads import run_together

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def log_of(connection: Connection) -> list[bytes]:
    answer = connection.v1("read-events", {"subject": "/", "options": {"recursive": True}})
    assert answer.status == 200
    return answer.body.splitlines()


def test_ids_are_gapless_over_concurrent_writers() -> None:
    answered: list[list[dict[str, Any]]] = []

    def write(url: str, number: int) -> None:
        with Connection(url) as connection:
            for turn in range(30):
                count = 1 + (number + turn) % 4
                events = [an_event(f"/writer-{number}", data={"turn": turn})] * count
                if turn % 2:
                    answered.append(connection.v1("write-events", {"events": events}).events)
                else:
                    answered.append(connection.write(*events))

    with running_server() as server, Connection(server.url) as connection:
        run_together(*(partial(write, server.url, number) for number in range(8)))
        stored = check_chain(log_of(connection), event_count=sum(map(len, answered)))

    for events in answered:
        first = int(events[0]["id"])
        assert events == stored[first : first + len(events)]
    for number in range(8):
        turns = [
            event["data"]["turn"] for event in stored if event["subject"] == f"/writer-{number}"
        ]
        assert turns == sorted(turns)


SECOND = 1_000_000_000
NOON = 1_800_000_000 * SECOND

# Readings of a clock that stands still, jumps back by an hour and to 1970, and hits whole seconds.
READINGS = (
    NOON + 5,
    NOON + 5,
    NOON + SECOND,
    NOON + SECOND + 120,
    NOON - 3_600 * SECOND,
    0,
    NOON + 2 * SECOND + 100_000_000,
)


def test_time_never_goes_back_and_never_is_a_whole_second(tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    clock.write_text(str(NOON))
    data = tmp_path / "data"
    entry_point = (sys.executable, "-m", "tests.support.clock_server", str(clock))
    times = []

    for readings in (READINGS[:5], READINGS[5:]):
        # After a restart, time goes on from the latest event.
        with running_server(entry_point=entry_point, data_directory=data) as server:
            with Connection(server.url) as connection:
                for reading in readings:
                    clock.write_text(str(reading))
                    events = connection.write(an_event(), an_event())
                    assert events[0]["time"] == events[1]["time"]
                    times.append(events[0]["time"])
                check_chain(log_of(connection))
            server.stop()

    assert times == [
        "2027-01-15T08:00:00.000000005Z",
        "2027-01-15T08:00:00.000000005Z",
        "2027-01-15T08:00:01.000000001Z",
        "2027-01-15T08:00:01.00000012Z",
        "2027-01-15T08:00:01.00000012Z",
        "2027-01-15T08:00:01.00000012Z",
        "2027-01-15T08:00:02.1Z",
    ]


def test_a_chain_may_change_its_hash_version_at_every_restart(tmp_path: Path) -> None:
    data = tmp_path / "data"
    versions = (1, 2, 1, 2)
    for hash_version in versions:
        with running_server(data_directory=data, hash_version=hash_version) as server:
            with Connection(server.url) as connection:
                connection.write(an_event(traceparent=TRACEPARENT), an_event())
                events = check_chain(log_of(connection))
            assert server.stop() == 0

    found = [event["hash"].startswith("esdb:hash:v2:") for event in events]
    assert found == [version == 2 for version in versions for _ in range(2)]


# Each row: data as sent, and as it comes back, byte by byte, where members are not ordered.
DATA: tuple[tuple[str, str], ...] = (
    ("{}", "{}"),
    ('{ "b" : 1 ,\n\t"a" : [ ] }', '{"b":1,"a":[]}'),
    ('{"n":1.10,"m":1E+2,"z":-0,"e":1e-7}', '{"n":1.10,"m":1E+2,"z":-0,"e":1e-7}'),
    ('{"n":12345678901234567890123456789}', '{"n":12345678901234567890123456789}'),
    (r'{"e":"\u003cb\u003e \/ \u00e9 \ud83d\ude00"}',) * 2,
    (r'{"e":"\b\f\n\r\t\"\\ \u0000 \u2028"}',) * 2,
    ('{"\u00fc":"\u00e9 \u2028 \U0001f600 <&>"}',) * 2,
    ('{"":{"":[null,true,false,"",[[{}]]]}}',) * 2,
    ('{"hash":"x","data":{"predecessorhash":"y"},"signature":null}',) * 2,
    (r'{"t":"\"hash\":\"x\",\"signature\":null}\n{\"type\":\"event\",\"payload\":"}',) * 2,
)


# What of it comes back otherwise, in order, where the hash has version 1.
ORDERED: dict[str, str] = {
    '{"b":1,"a":[]}': '{"a":[],"b":1}',
    '{"n":1.10,"m":1E+2,"z":-0,"e":1e-7}': '{"e":1e-7,"m":1E+2,"n":1.10,"z":-0}',
    '{"hash":"x","data":{"predecessorhash":"y"},"signature":null}': (
        '{"data":{"predecessorhash":"y"},"hash":"x","signature":null}'
    ),
}


@pytest.fixture(scope="module")
def server_of_version_2() -> Iterator[RunningServer]:
    with running_server(hash_version=2) as server:
        yield server


@pytest.mark.parametrize("sent, kept", DATA)
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_data_is_kept_byte_by_byte_with_hashes_of_version_2(
    server_of_version_2: RunningServer, version: str, sent: str, kept: str
) -> None:
    with Connection(server_of_version_2.url) as connection:
        check_data(connection, version, sent, kept)


@pytest.mark.parametrize("sent, kept", DATA)
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_members_of_data_are_ordered_with_hashes_of_version_1_and_the_rest_is_kept(
    connection: Connection, version: str, sent: str, kept: str
) -> None:
    check_data(connection, version, sent, ORDERED.get(kept, kept))


def check_data(connection: Connection, version: str, sent: str, kept: str) -> None:
    event = json.dumps(an_event("/data", data="?")).replace('"?"', sent)
    body = f'{{"events":[{event}]}}'.encode()

    written = (connection.v1 if version == "v1" else connection.v2)("write-events", body)
    read = connection.v1("read-events", {"subject": "/data", "options": {"recursive": False}})
    body_v2 = {"subject": "/data", "options": {"recursive": False}}
    read_v2 = connection.v2("read-events", body_v2)

    expected = kept.encode()
    assert data_text(written.body) == expected
    assert data_text(read.body.splitlines()[-1]) == expected
    # The last line of version 2 is the end.
    assert data_text(read_v2.body.splitlines()[-2]) == expected
    check_chain(log_of(connection))


def test_traces_are_kept_or_absent(connection: Connection) -> None:
    traced = an_event("/traces", traceparent=TRACEPARENT, tracestate='k="quoted" \\ value')
    (plain, half, whole) = connection.write(
        an_event("/traces"), an_event("/traces", traceparent=TRACEPARENT), traced
    )

    assert not {"traceparent", "tracestate"} & plain.keys()
    assert half["traceparent"] == TRACEPARENT
    assert "tracestate" not in half
    assert whole["tracestate"] == traced["tracestate"]
    check_chain(log_of(connection))


def test_an_event_has_the_documented_members_in_the_documented_order(
    connection: Connection,
) -> None:
    (event,) = connection.write(an_event("/form/"))

    names = "specversion id time source subject type datacontenttype data predecessorhash hash"
    assert list(event) == [*names.split(), "signature"]
    assert event["subject"] == "/form"
    assert event["signature"] is None


def test_all_endpoints_serve_the_same_bytes(server: RunningServer, connection: Connection) -> None:
    (event,) = connection.write(an_event("/same", data={"b": 1.5, "a": "\u00fc"}))
    (read,) = connection.v1("read-events", {"subject": "/same"}).events
    with Connection(server.url) as second, Connection(server.url) as third:
        observed = next(second.observe("v1", "/same"))["payload"]
        observed_v2 = next(third.observe("v2", "/same"))["data"]

    texts = {json.dumps(form) for form in (event, read, observed, observed_v2)}
    assert len(texts) == 1
