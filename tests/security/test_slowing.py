"""Clients that ask too often, without the token or with it, are told to wait; nobody else is."""

import re
import time

import pytest

from everlog.api.allowances import FAILURES_MAX
from everlog.domain.limits import WRITE_COST
from tests.support.api import Answer, Connection, an_event
from tests.support.server import run_to_end, running_server

WRONG = {"Authorization": "Bearer a-wrong-token"}
VERIFY = ("POST", "/api/v1/verify-api-token")

# Far more than is asked for here within a second.
LIMIT = 1_000


def fail(client: Connection) -> Answer:
    return client.ask(*VERIFY, headers=WRONG)


def test_who_fails_again_and_again_is_told_to_wait_and_nobody_else() -> None:
    with running_server() as server, Connection(server.url) as client:
        statuses = [fail(client).status for _ in range(FAILURES_MAX + 5)]
        assert set(statuses[:FAILURES_MAX]) == {401}
        assert 429 in statuses[FAILURES_MAX:]

        answers = (fail(client) for _ in range(FAILURES_MAX))
        slowed = next(answer for answer in answers if answer.status == 429)
        assert slowed.text == "too many requests without the right token from this address\n"
        assert slowed.headers["Retry-After"] == "1"

        # The right token passes, from the same address and connection, and open endpoints do.
        assert client.ask(*VERIFY).status == 200
        assert client.ask("GET", "/api/v1/ping", headers=WRONG).status == 200
        with Connection(server.url) as other:
            assert other.ask(*VERIFY).status == 200

        warning = server.wait_for_log("an address keeps asking without the right token")
        assert (warning["level"], warning["address"]) == ("warn", "127.0.0.1")
        server.stop()
        assert b"a-wrong-token" not in b"".join(server.output)
        assert len([line for line in server.log if line["message"] == warning["message"]]) == 1


def test_who_waits_as_told_gets_the_usual_answer() -> None:
    with running_server() as server, Connection(server.url) as client:
        answers = (fail(client) for _ in range(20 * FAILURES_MAX))
        answer = next(answer for answer in answers if answer.status == 429)
        asked_at = time.monotonic()
        while fail(client).status == 429:
            assert time.monotonic() - asked_at < int(answer.headers["Retry-After"]) + 1


def remaining(answer: Answer) -> int:
    match = re.fullmatch(r'"default";r=(\d+);t=1', answer.headers["RateLimit"])
    assert match is not None
    assert answer.headers["RateLimit-Policy"] == f'"default";q={LIMIT};w=1'
    return int(match[1])


REQUESTS: tuple[tuple[str, str, object, int], ...] = (
    ("POST", "/api/v1/verify-api-token", None, 200),
    ("POST", "/api/v1/read-events", {"subject": "/", "options": {"recursive": True}}, 200),
    ("QUERY", "/api/v2/data/read-events", {"subject": "/", "options": {"recursive": True}}, 200),
    ("POST", "/api/v1/write-events", {"events": [an_event()]}, 200),
    ("POST", "/api/v1/write-events", b"no JSON", 400),
    ("POST", "/api/v2/data/write-events", {"events": [an_event()]}, 200),
    ("POST", "/api/v2/data/write-events", {"events": []}, 200),
    ("GET", "/api/v1/write-events", None, 405),
    ("GET", "/api/v1/nothing", None, 404),
)


def test_every_answer_that_counts_says_what_is_left() -> None:
    with running_server(f"--rate-limit={LIMIT}") as server, Connection(server.url) as client:
        for method, path, body, status in REQUESTS:
            answer = client.ask(method, path, body)
            assert answer.status == status, path
            assert remaining(answer) < LIMIT, path

        open_answers = [
            client.ask("GET", "/api/v1/ping"),
            client.ask("GET", "/.well-known/openapi"),
            client.ask(*VERIFY, headers=WRONG),
        ]
        for answer in open_answers:
            assert "RateLimit" not in answer.headers


@pytest.mark.parametrize("path", ["/api/v1/write-events", "/api/v2/data/write-events"])
def test_beyond_the_limit_nothing_is_stored_until_the_wait_is_over(path: str) -> None:
    body = {"events": [an_event()]}
    with running_server(f"--rate-limit={WRITE_COST}") as server, Connection(server.url) as client:
        stored = 0
        while (refused := client.ask("POST", path, body)).status == 200:
            stored += 1
            assert stored < 1_000

        assert refused.status == 429
        assert refused.text == "too many requests: the rate limit of this address is used up\n"
        assert refused.headers["Retry-After"] == "1"
        assert refused.headers["RateLimit-Policy"] == f'"default";q={WRITE_COST};w=1'
        deadline = time.monotonic() + 10
        while (answer := client.ask("POST", path, body)).status == 429:
            assert time.monotonic() < deadline
        stored += answer.status == 200
        while (answer := client.v1("read-events", {"subject": "/test"})).status == 429:
            assert time.monotonic() < deadline
        assert len(answer.events) == stored


def test_strangers_use_up_nothing_of_the_limit() -> None:
    with running_server(f"--rate-limit={WRITE_COST}") as server, Connection(server.url) as client:
        for _ in range(50):
            assert fail(client).status == 401

        assert client.v1("write-events", {"events": [an_event()]}).status == 200


def test_without_the_flag_there_is_no_limit_and_no_header() -> None:
    with running_server() as server, Connection(server.url) as client:
        answers = [client.ask(*VERIFY) for _ in range(300)]

    assert {answer.status for answer in answers} == {200}
    assert not [name for name in answers[0].headers if name.lower().startswith("ratelimit")]


@pytest.mark.parametrize("limit", ["1", str(WRITE_COST - 1), "-1", "many"])
def test_a_limit_that_no_write_could_pass_is_refused(limit: str) -> None:
    ended = run_to_end(
        "run", "--data-directory-temporary", "--http-enabled", "--https-enabled=false",
        f"--rate-limit={limit}", environment={"EVERLOG_API_TOKEN": "x"},
    )  # fmt: skip

    assert ended.code == 2
    assert "--rate-limit" in ended.errors
