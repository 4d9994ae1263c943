"""Preconditions hold at the very moment of the write, whoever else writes."""

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.support.api import Answer, Connection, an_event
from tests.support.server import RunningServer
from tests.support.threads import run_together

ROUNDS = 200

# Makes a write for a round and a writer out of the id of the latest event.
Contradiction = Callable[[int, int, str], dict[str, Any]]


def precondition(kind: str, subject: str, **members: Any) -> dict[str, Any]:
    return {"type": kind, "payload": {"subject": subject, **members}}


def both_want_to_be_first(turn: int, writer: int, _: str) -> dict[str, Any]:
    subject = f"/first/{turn}"
    return {
        "events": [an_event(subject, data={"writer": writer})] * (writer + 1),
        "preconditions": [precondition("isSubjectPristine", subject)],
    }


def both_follow_the_same_event(_: int, writer: int, latest_id: str) -> dict[str, Any]:
    return {
        "events": [an_event("/counter", data={"writer": writer})],
        "preconditions": [precondition("isSubjectOnEventId", "/counter", eventId=latest_id)],
    }


def each_wants_the_other_to_be_missing(turn: int, writer: int, _: str) -> dict[str, Any]:
    return {
        "events": [an_event(f"/pair/{turn}/{writer}")],
        "preconditions": [
            precondition("isSubjectPristine", f"/pair/{turn}/{writer}"),
            precondition("isSubjectPristine", f"/pair/{turn}/{1 - writer}"),
        ],
    }


def each_wants_the_whole_branch(turn: int, writer: int, _: str) -> dict[str, Any]:
    # Version 2 only: the other one writes below another part of the branch.
    return {
        "events": [an_event(f"/branch/{turn}/{writer}/leaf")],
        "preconditions": [
            precondition("isSubjectPristine", f"/branch/{turn}", options={"recursive": True})
        ],
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    "contradiction, versions",
    [
        (both_want_to_be_first, ("v1", "v2")),
        (both_follow_the_same_event, ("v1", "v2")),
        (each_wants_the_other_to_be_missing, ("v1", "v2")),
        (each_wants_the_whole_branch, ("v2", "v2")),
    ],
)
def test_of_two_contradictory_writers_exactly_one_succeeds(
    server: RunningServer, contradiction: Contradiction, versions: tuple[str, str]
) -> None:
    barrier = threading.Barrier(2, timeout=30)
    latest = [""]

    def write(writer: int) -> list[Answer]:
        answers = []
        with Connection(server.url) as connection:
            if writer == 0:
                latest[0] = connection.write(an_event("/counter"))[0]["id"]
            send = connection.v1 if versions[writer] == "v1" else connection.v2
            for turn in range(ROUNDS):
                barrier.wait()
                body = contradiction(turn, writer, latest[0])
                barrier.wait()
                answer = send("write-events", body)
                if answer.status == 200 and answer.events:
                    latest[0] = answer.events[-1]["id"]
                answers.append(answer)
        return answers

    first, second = run_together(partial(write, 0), partial(write, 1))

    for pair in zip(first, second, strict=True):
        assert sorted(map(is_success, pair)) == [False, True]


def is_success(answer: Answer) -> bool:
    if answer.status == 409:
        assert answer.text == "state conflict: precondition failed\n"
        return False
    assert answer.status == 200
    if answer.events:
        return True
    assert answer.code == "precondition-violated"
    return False


def test_a_precondition_is_judged_against_the_log_before_the_write(
    connection: Connection,
) -> None:
    events = [an_event("/self"), an_event("/self")]
    populated = precondition("isSubjectPopulated", "/self")
    pristine = precondition("isSubjectPristine", "/self")

    refused = connection.v2("write-events", {"events": events, "preconditions": [populated]})
    written = connection.v2("write-events", {"events": events, "preconditions": [pristine]})

    assert refused.code == "precondition-violated"
    assert len(written.events) == 2


def test_pipelined_writes_see_each_other(server: RunningServer) -> None:
    """Both arrive in one packet, so that they are judged for the same group commit."""
    body = (
        '{"events":[{"source":"a","subject":"/pipe","type":"io.everlog.a","data":{}}],'
        '"preconditions":[{"type":"isSubjectPristine","payload":{"subject":"/pipe"}}]}'
    )
    request = (
        f"POST /api/v1/write-events HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {server.token}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    )
    with Connection(server.url) as connection:
        connection.http.connect()
        connection.http.sock.sendall(request.encode() * 5 + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        received = b""
        while b"not found" not in received:
            received += connection.http.sock.recv(65_536)

    assert received.count(b"HTTP/1.1 200 ") == 1
    assert received.count(b"HTTP/1.1 409 ") == 4


def test_options_mean_something_or_are_refused(connection: Connection) -> None:
    events = [an_event("/options")]
    query = {"query": "FROM e IN events PROJECT INTO COUNT() >= 0", "options": {"recursive": False}}
    refused = {"type": "isEventQlQueryTrue", "payload": query}
    ignored = precondition("isSubjectPristine", "/options", options={})

    answer = connection.v2("write-events", {"events": events, "preconditions": [refused]})
    assert answer.code == "precondition-unknown"
    assert answer.error["details"]["field"] == "preconditions[0].payload.options"
    # Without a word about it, a subject stands for itself.
    answer = connection.v2("write-events", {"events": events, "preconditions": [ignored]})
    assert len(answer.events) == 1
