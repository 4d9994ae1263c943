"""The API pages: every example runs, every endpoint has its page, every error is listed."""

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from everlog.api.routes import ROUTES, Answer, Route
from everlog.domain.errors import Code
from everlog.domain.event import Event, is_hash_valid
from everlog.transfer.backup_lines import EventItem, parse_backup_lines
from tests.support.exchanges import (
    DOCUMENTED_TOKEN,
    Message,
    ask,
    check_answer,
    check_form,
    exchanges,
    messages,
)
from tests.support.openapi import check_against, document
from tests.support.pages import code_blocks, read_page
from tests.support.server import running_server
from tests.support.sources import REPOSITORY
from tools.openapi.document import ANSWERS, CODES

FOLDER = "docs/api"
NDJSON = "application/x-ndjson"
GIVEN_LINK = "README.md#the-events-of-the-examples"
GIVEN_HEADING = "## The events of the examples"

PAGES = sorted(path.name for path in (REPOSITORY / FOLDER).glob("*.md"))

V2_ROUTES = tuple(route for route in ROUTES if route.version.name == "v2")


def page_of(route: Route) -> str:
    """Return the page of a route; both versions share it, named after the path of version 1."""
    name = "verify-api-token" if route.handle.__name__ == "verify_token" else route.path
    return f"{name.partition('/{')[0].rpartition('/')[2]}.md"


def route_of(request: Message) -> Route | None:
    """Return the route of a request, whatever stands in its query and its path."""
    target = request.start.partition("?")[0]
    for route in ROUTES:
        pattern = re.sub(r"\\{\w+\\}", ".+", re.escape(f"{route.method} {route.path}"))
        if re.fullmatch(pattern, target):
            return route
    return None


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_every_example_of_a_page_is_answered_as_the_page_shows(name: str) -> None:
    page = read_page(f"{FOLDER}/{name}")
    with running_server(environment={"EVERLOG_API_TOKEN": DOCUMENTED_TOKEN}) as server:
        if GIVEN_LINK in page:
            ask(server.port, given_write(), lines=None)
        for request, shown in exchanges(page):
            answer = ask(server.port, request, lines=lines_to_read(request, shown))
            check = check_form if depends_on_the_machine(request, shown) else check_answer
            check(answer, shown)


def depends_on_the_machine(request: Message, shown: Message) -> bool:
    route = route_of(request)
    kinds = {
        Answer.HEALTH,
        Answer.DIAGNOSTICS,
        Answer.INCLUSION_PROOF,
        Answer.CONSISTENCY_PROOF,
    }
    is_json = "json" in shown.headers.get("Content-Type", "") and "error" not in shown.body
    return (
        route is not None and route.answer in kinds and shown.start.endswith("200 OK") and is_json
    )


def given_write() -> Message:
    page = read_page(f"{FOLDER}/README.md")
    request, _ = messages(page.partition(GIVEN_HEADING)[2])
    return request


def lines_to_read(request: Message, shown: Message) -> int | None:
    is_endless = "observe-events" in request.start and shown.start.endswith("200 OK")
    return len(shown.body.splitlines()) if is_endless else None


@pytest.mark.parametrize("name", PAGES)
def test_the_openapi_document_describes_every_request_and_answer_of_a_page(name: str) -> None:
    for request, answer in exchanges(read_page(f"{FOLDER}/{name}")):
        route = route_of(request)
        if route is not None and answer.start.endswith("200 OK"):
            check_answer_described(route, answer)
            if "error" not in answer.body:
                check_request_described(route, request)


def operation(route: Route) -> dict[str, Any]:
    found: dict[str, Any] = document()["paths"][route.path][route.method.lower()]
    return found


def check_request_described(route: Route, request: Message) -> None:
    if request.body:
        contents = operation(route)["requestBody"]["content"]
        check_described(contents.get(NDJSON) or contents["application/json"], request.body)


def check_answer_described(route: Route, answer: Message) -> None:
    contents = operation(route)["responses"]["200"]["content"]
    check_described(contents[answer.headers["Content-Type"]], answer.body)


def check_described(content: dict[str, Any], body: str) -> None:
    """Check a body, or each line of one that is a stream, against what describes it."""
    if "itemSchema" in content:
        for line in body.splitlines():
            check_against(content["itemSchema"], msgspec.json.decode(line))
    else:
        check_against(content["schema"], msgspec.json.decode(body))


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_every_route_has_an_example_on_its_page_and_a_place_in_the_index(route: Route) -> None:
    requests = [request for request, _ in exchanges(read_page(f"{FOLDER}/{page_of(route)}"))]
    row = next(
        line
        for line in read_page(f"{FOLDER}/README.md").splitlines()
        if f"`{route.method} {route.path}`" in line
    )

    assert route in map(route_of, requests)
    assert f"({page_of(route)})" in row


@pytest.mark.parametrize("route", V2_ROUTES, ids=lambda route: route.path)
def test_every_error_of_an_endpoint_is_listed_on_its_page_and_no_other(route: Route) -> None:
    # What is in version 2 only has no column for version 1.
    page = read_page(f"{FOLDER}/{page_of(route)}")
    table = "".join(re.split(r"\| version 2 (?:\| version 1 )?\| when \|", page)[1:])
    first_cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("|")]
    slugs = set(re.findall(r"`([a-z-]+)`", " ".join(first_cells)))

    assert slugs == {code.value for code in CODES[route.handle.__name__]}


def test_every_page_says_what_each_kind_of_answer_is() -> None:
    # A new kind of answer must not be forgotten in either version.
    assert {(route.version.name, route.answer) for route in ROUTES} == ANSWERS.keys()


def test_every_code_that_a_page_names_exists() -> None:
    slugs = {code.value for code in Code}
    for name in PAGES:
        for code in re.findall(r"errors/([a-z-]+)\"", read_page(f"{FOLDER}/{name}")):
            assert code in slugs


def pages_with_events() -> list[str]:
    paths = [*(REPOSITORY / "docs").rglob("*.md"), REPOSITORY / "README.md"]
    return sorted(
        path.relative_to(REPOSITORY).as_posix()
        for path in paths
        # Where it is empty, an event is shown that has no place in a log yet.
        if re.search(r'"predecessorhash": ?"[^"]', path.read_text(encoding="utf-8"))
    )


class _Holder(msgspec.Struct):
    """An item of a stream, of either version."""

    payload: Event | None = None
    data: Event | None = None


@pytest.mark.parametrize("path", pages_with_events())
def test_every_event_that_a_page_shows_carries_its_true_hash(path: str) -> None:
    found = 0
    for event in shown_events(read_page(path)):
        assert is_hash_valid(event), event.id
        found += 1
    assert found > 0


def backed_up_events(line: str) -> Iterator[Event]:
    """Yield the event of a line of a backup, if it has its hash already."""
    for found in parse_backup_lines(f"{line}\n".encode(), 1):
        assert isinstance(found.item, EventItem)
        if not found.item.hash:
            continue
        members = {**msgspec.structs.asdict(found.item.event), "hash": found.item.hash}
        yield Event(**members)


def shown_events(page: str) -> list[Event]:
    events: list[Event] = []
    for block in code_blocks(page):
        body = block.text.partition("\n\n")[2] if block.language == "http" else block.text
        if '"predecessorhash"' not in body:
            continue
        if body.startswith("["):
            compact = msgspec.json.format(body.encode(), indent=-1)
            events += msgspec.json.decode(compact, type=list[Event])
        else:
            for line in body.splitlines():
                if '"event":{' in line:
                    events += backed_up_events(line)
                elif '"predecessorhash"' in line:
                    holder = msgspec.json.decode(line, type=_Holder)
                    events += [event for event in (holder.payload, holder.data) if event]
    return events
