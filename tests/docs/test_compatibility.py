"""The page about compatibility: what is absent is absent, and the choices that it alone tells."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from everlog._version import COMPATIBLE_VERSION
from everlog.domain.limits import PRECONDITIONS_PER_WRITE_MAX
from tests.support.exchanges import Message, ask
from tests.support.pages import read_page
from tests.support.server import TOKEN, RunningServer, running_server

WRITE_V1 = "POST /api/v1/write-events"
WRITE_V2 = "POST /api/v2/data/write-events"
READ_V2 = "QUERY /api/v2/data/read-events"

EVENT = {
    "source": "https://library.example",
    "subject": "/books/42",
    "type": "com.example.book-acquired",
    "data": {"title": "2001"},
}
PRISTINE = {"type": "isSubjectPristine", "payload": {"subject": "/nobody"}}


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with running_server() as server:
        yield server


def asked(server: RunningServer, start: str, body: object = None) -> Message:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    text = "" if body is None else json.dumps(body)
    return ask(server.port, Message(start, headers, text, 0), lines=None)


def check_refused(answer: Message, *, code: str) -> dict[str, Any]:
    [line] = answer.body.splitlines()
    data = json.loads(line)["data"]
    assert data["code"].endswith(f"/errors/{code}")
    return data


ABSENT = ("GET /",)


@pytest.mark.parametrize("start", ABSENT)
def test_what_is_not_there_is_not_found(server: RunningServer, start: str) -> None:
    assert asked(server, start).start == "HTTP/1.1 404 Not Found"


def test_nothing_is_limited_by_rate_and_other_origins_are_kept_out(server: RunningServer) -> None:
    answer = asked(server, READ_V2, {"subject": "/"})

    names = {name.lower() for name in answer.headers}
    assert not {name for name in names if name.startswith(("ratelimit", "access-control"))}


def test_the_page_names_the_version_that_the_server_names(server: RunningServer) -> None:
    header = asked(server, "GET /api/v1/ping").headers["Server"]

    assert header.startswith(f"EventSourcingDB/{COMPATIBLE_VERSION} Everlog/")
    assert f"`Server: EventSourcingDB/{COMPATIBLE_VERSION} Everlog/<version>`" in read_page(
        "docs/compatibility.md"
    )


@pytest.mark.parametrize(
    "member, code",
    [
        ("source", "source-missing"),
        ("subject", "subject-missing"),
        ("type", "event-type-missing"),
    ],
)
def test_an_empty_string_counts_as_missing(server: RunningServer, member: str, code: str) -> None:
    answer = asked(server, WRITE_V2, {"events": [{**EVENT, member: ""}]})

    check_refused(answer, code=code)


def test_an_empty_trace_is_none(server: RunningServer) -> None:
    event = {**EVENT, "subject": "/empty", "traceparent": "", "tracestate": ""}

    stored = json.loads(asked(server, WRITE_V2, {"events": [event]}).body.splitlines()[0])["data"]

    assert not {"traceparent", "tracestate"} & stored.keys()


def test_a_write_may_have_so_many_preconditions_and_no_more(server: RunningServer) -> None:
    preconditions = [PRISTINE] * PRECONDITIONS_PER_WRITE_MAX

    written = asked(server, WRITE_V2, {"events": [EVENT], "preconditions": preconditions})
    refused = asked(
        server, WRITE_V2, {"events": [EVENT], "preconditions": [*preconditions, PRISTINE]}
    )

    assert written.body.endswith('{"type":"end","data":{}}\n')
    details = check_refused(refused, code="precondition-unknown")["details"]
    assert details == {"field": "preconditions", "limit": PRECONDITIONS_PER_WRITE_MAX}


def test_version_2_reads_without_options_what_is_on_the_subject_alone(
    server: RunningServer,
) -> None:
    for subject in ("/alone", "/alone/below"):
        asked(server, WRITE_V2, {"events": [{**EVENT, "subject": subject}]})

    items = [
        json.loads(line) for line in asked(server, READ_V2, {"subject": "/alone"}).body.splitlines()
    ]

    assert [item["data"].get("subject") for item in items] == ["/alone", None]
