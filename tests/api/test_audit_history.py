"""audit-history: what it proves, from what was kept of the last audit, and what it refuses."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.api import Connection, an_event
from tests.support.running_audits import (
    ask,
    edit_file,
    first_segment,
    held_audit,
    items_of,
    rewritten,
)
from tests.support.server import RunningServer, running_server

COUNT = 12

HASH = "0" * 64


@pytest.fixture
def server() -> Iterator[RunningServer]:
    with running_server() as server:
        with Connection(server.url) as connection:
            for number in range(COUNT):
                connection.write(an_event(f"/a/{number}", data={"n": number}))
        yield server


def hash_at(server: RunningServer, event_id: int) -> str:
    with Connection(server.url) as connection:
        return str(connection.read_all()[event_id]["hash"])


def body_of(version: str, event_id: object, hash_: object) -> dict[str, Any]:
    if version == "v1":
        return {"latestEventId": event_id, "latestEventHash": hash_}
    return {"lastAuditedEvent": {"id": event_id, "hash": hash_}}


@pytest.mark.parametrize("hash_version", [1, 2])
def test_what_one_audit_answers_is_what_the_next_one_takes(hash_version: int) -> None:
    with running_server(hash_version=hash_version) as server, Connection(server.url) as connection:
        first = ask(server, "v1", "audit-history").json
        assert first == {"latestEventId": None, "latestEventHash": None}
        item, end = items_of(ask(server, "v2", "audit-history"))
        assert (item, end["type"]) == ({"type": "audit", "data": {}}, "end")
        second = item["data"]
        for number in range(4):
            [event] = connection.write(an_event(f"/a/{number}"))
            first = ask(server, "v1", "audit-history", first).json
            assert first == {"latestEventId": str(number), "latestEventHash": event["hash"]}
            second = items_of(ask(server, "v2", "audit-history", second))[0]["data"]
            expected = {"id": str(number), "hash": event["hash"]}
            assert second == {"lastAuditedEvent": expected}


@pytest.mark.parametrize("event_id", [0, 5, COUNT - 1])
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_any_event_may_be_the_last_one_and_the_answer_is_always_the_head(
    server: RunningServer, version: str, event_id: int
) -> None:
    body = body_of(version, str(event_id), hash_at(server, event_id))

    answer = ask(server, version, "audit-history", body)

    assert answer.status == 200
    last, hash_ = str(COUNT - 1), hash_at(server, COUNT - 1)
    found = answer.json if version == "v1" else items_of(answer)[0]["data"]
    assert found == body_of(version, last, hash_)


def test_another_hash_is_refused(server: RunningServer) -> None:
    hash_ = hash_at(server, 5)
    text = f"the last audited event 5 has another hash than the one given: {hash_}"

    first = ask(server, "v1", "audit-history", body_of("v1", "5", HASH))
    assert (first.status, first.text) == (409, f"state conflict: {text}\n")

    second = ask(server, "v2", "audit-history", body_of("v2", "5", HASH))
    assert second.code == "last-audited-event-mismatched"
    assert second.error["description"] == text
    assert second.error["details"] == {"eventId": "5", "value": HASH}


def test_an_event_that_is_not_there_is_refused_before_anything_is_read(
    server: RunningServer,
) -> None:
    text = f"the last audited event {COUNT} is unknown: the last event is {COUNT - 1}"
    # One that is running would refuse whatever has to be read.
    with held_audit(server, "v1", "verify-store"):
        first = ask(server, "v1", "audit-history", body_of("v1", str(COUNT), HASH))
        assert (first.status, first.text) == (409, f"state conflict: {text}\n")
        second = ask(server, "v2", "audit-history", body_of("v2", str(COUNT), HASH))
        assert second.code == "last-audited-event-unknown"
        assert second.error["details"] == {"value": str(COUNT)}


def test_in_an_empty_store_no_event_is_known() -> None:
    with running_server() as server:
        answer = ask(server, "v1", "audit-history", body_of("v1", "0", HASH))
    assert answer.status == 409
    assert answer.text == (
        "state conflict: the last audited event 0 is unknown: there are no events\n"
    )


# Each row: what is damaged, and what may be known of the log before.
@pytest.mark.parametrize("damaged", [3, COUNT - 1])
@pytest.mark.parametrize("event_id", [None, 5])
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_broken_chain_is_named_wherever_it_is(
    server: RunningServer, version: str, event_id: int | None, damaged: int
) -> None:
    body = None
    if event_id is not None:
        body = body_of(version, str(event_id), hash_at(server, event_id))
    old, new = b'"n":%d}' % damaged, b'"m":%d}' % damaged
    edit_file(first_segment(server), lambda text: text.replace(old, new))

    answer = ask(server, version, "audit-history", body)

    place = f"the event chain is broken: data: log/{0:020}.ndjson at byte "
    if version == "v1":
        assert answer.status == 409
        assert answer.text.startswith(f"state conflict: {place}")
        assert f"event {damaged}: its hash is not that of its content" in answer.text
    else:
        assert answer.code == "event-chain-broken"
        assert answer.error["details"] == {"eventId": str(damaged)}
        assert answer.error["description"].startswith(place)


def test_a_log_that_was_written_anew_with_hashes_that_fit_is_noticed_by_what_was_kept(
    server: RunningServer,
) -> None:
    kept = [(event_id, hash_at(server, event_id)) for event_id in (2, 3, COUNT - 1)]

    def rewrite(text: bytes) -> bytes:
        log = text.rstrip(b"\0")
        return rewritten(log, 3, b'"n":3', b'"n":4') + bytes(len(text) - len(log))

    edit_file(first_segment(server), rewrite)

    codes = [
        ask(server, "v2", "audit-history", body_of("v2", str(event_id), hash_)).code
        for event_id, hash_ in kept
    ]
    # The server knows another end of the chain; what was kept is another event.
    assert codes == ["event-chain-broken", *["last-audited-event-mismatched"] * 2]


FAULTS: tuple[tuple[dict[str, Any], dict[str, Any], str, str, dict[str, Any]], ...] = (
    (
        {"latestEventHash": HASH},
        {"lastAuditedEvent": {"hash": HASH}},
        "last-audited-event-missing",
        "the last audited event is incomplete: '{id}' is missing",
        {"field": "lastAuditedEvent.id"},
    ),
    (
        {"latestEventId": "1", "latestEventHash": ""},
        {"lastAuditedEvent": {"id": "1", "hash": ""}},
        "last-audited-event-missing",
        "the last audited event is incomplete: '{hash}' is missing",
        {"field": "lastAuditedEvent.hash"},
    ),
    (
        {"latestEventId": "-1", "latestEventHash": HASH},
        {"lastAuditedEvent": {"id": "-1", "hash": HASH}},
        "event-id-malformed",
        "malformed event ID '-1': event ID must contain an integer and must be 0 or greater",
        {"field": "lastAuditedEvent.id"},
    ),
    (
        {"latestEventId": "1", "latestEventHash": HASH.replace("0", "A")},
        {"lastAuditedEvent": {"id": "1", "hash": HASH.replace("0", "A")}},
        "event-hash-malformed",
        "malformed event hash",
        {"field": "lastAuditedEvent.hash", "value": HASH.replace("0", "A")},
    ),
    (
        {"latestEventId": "1", "latestEventHash": f"esdb:hash:v3:{HASH}"},
        {"lastAuditedEvent": {"id": "1", "hash": f"esdb:hash:v3:{HASH}"}},
        "event-hash-malformed",
        "malformed event hash",
        {"field": "lastAuditedEvent.hash", "value": f"esdb:hash:v3:{HASH}"},
    ),
)


@pytest.mark.parametrize("first, second, code, text, details", FAULTS)
def test_a_malformed_body_is_refused_with_what_is_wrong(
    server: RunningServer,
    first: dict[str, Any],
    second: dict[str, Any],
    code: str,
    text: str,
    details: dict[str, Any],
) -> None:
    answer = ask(server, "v1", "audit-history", first)
    assert answer.status == 400
    assert answer.text.startswith(text.format(id="latestEventId", hash="latestEventHash"))

    answer = ask(server, "v2", "audit-history", second)
    assert answer.code == code
    fields = {"id": "lastAuditedEvent.id", "hash": "lastAuditedEvent.hash"}
    assert answer.error["description"].startswith(text.format(**fields))
    assert answer.error["details"] == details


def test_what_is_no_body_of_the_endpoint_is_400_in_both_versions(server: RunningServer) -> None:
    for version, body in (
        ("v1", {"latestEventId": 1, "latestEventHash": HASH}),
        ("v1", {"lastAuditedEvent": {}}),
        ("v2", {"lastAuditedEvent": None}),
        ("v2", {"lastAuditedEvent": {"id": 1}}),
        ("v2", {"latestEventId": "1"}),
        ("v2", [1]),
    ):
        answer = ask(server, version, "audit-history", body)
        assert answer.status == 400
        assert answer.text.startswith("malformed request body: ")


def test_in_version_1_null_is_the_same_as_nothing(server: RunningServer) -> None:
    for body in (None, {}, {"latestEventId": None, "latestEventHash": None}, b"null"):
        answer = ask(server, "v1", "audit-history", body)
        assert answer.json["latestEventId"] == str(COUNT - 1)
