"""HTTP exchanges as pages show them: a request in one code block, its answer in the next.

An answer in a page names the headers that matter; it may lay out JSON as is best to read.
"""

import http.client
import json
from typing import Any, Final, NamedTuple

from tests.support.pages import code_blocks, with_placeholders
from tests.support.server import DEADLINE_SECONDS

DOCUMENTED_TOKEN: Final = "secret"

# Pages show examples of what is in these.
_OPEN_MEMBERS: Final = frozenset({"options", "optionOrigins", "packages"})


class Message(NamedTuple):
    """A request or an answer: its first line, its headers, and its body."""

    start: str
    headers: dict[str, str]
    body: str
    line: int

    @property
    def is_answer(self) -> bool:
        return self.start.startswith("HTTP/")


def messages(page: str) -> list[Message]:
    """Return the requests and answers of a page, in order."""
    return [
        _parse(block.text, block.line) for block in code_blocks(page) if block.language == "http"
    ]


def exchanges(page: str) -> list[tuple[Message, Message]]:
    """Return each request of a page with the answer that follows it."""
    found = messages(page)
    requests, answers = found[::2], found[1::2]
    assert all(answer.is_answer for answer in answers), "an answer follows each request"
    assert not any(request.is_answer for request in requests), "a request is before each answer"
    return list(zip(requests, answers, strict=True))


def ask(port: int, request: Message, *, lines: int | None) -> Message:
    """Send a request and return its answer, of a body without end only the first lines."""
    method, _, path = request.start.partition(" ")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_SECONDS)
    try:
        # Bytes: text would be sent as Latin-1.
        connection.request(method, path, request.body.encode() or None, request.headers)
        response = connection.getresponse()
        if lines is None:
            body = response.read()
        else:
            body = b"".join(response.readline() for _ in range(lines))
        start = f"HTTP/1.1 {response.status} {response.reason}"
        return Message(start, dict(response.getheaders()), body.decode(), request.line)
    finally:
        connection.close()


def check_answer(actual: Message, shown: Message) -> None:
    """Fail unless an answer is the one that the page shows."""
    where = f"the answer in line {shown.line}"
    assert actual.start == shown.start, (where, actual.body)
    for name, text in shown.headers.items():
        assert actual.headers[name] == text, where
    assert _comparable(actual) == _comparable(shown), where


def check_form(actual: Message, shown: Message) -> None:
    """Fail unless an answer has the members that the page shows, whatever their values are."""
    where = f"the answer in line {shown.line}"
    assert actual.start == shown.start, (where, actual.body)
    for name, text in shown.headers.items():
        assert actual.headers[name] == text, where
    assert _form(json.loads(actual.body)) == _form(json.loads(shown.body)), where


def _form(value: Any, *, name: str = "") -> Any:
    match value:
        case dict():
            if name in _OPEN_MEMBERS:
                return "object"
            # A check has an output where something is wrong with the machine of the tests.
            members = {member: found for member, found in value.items() if member != "output"}
            return {member: _form(found, name=member) for member, found in members.items()}
        case list():
            return [_form(found) for found in value]
        case bool() | None:
            return value
        case int() | float():
            return "number"
        case _:
            return "text"


def _parse(text: str, line: int) -> Message:
    head, _, body = text.partition("\n\n")
    start, *lines = head.splitlines()
    headers = {name: value for name, _, value in (header.partition(": ") for header in lines)}
    return Message(start, headers, body.rstrip("\n"), line)


def _comparable(message: Message) -> Any:
    body = with_placeholders(message.body)
    match message.headers.get("Content-Type"):
        case "application/json":
            return json.loads(body)
        case "application/x-ndjson":
            # How many heartbeats come before an answer says how busy the machine is.
            items = map(json.loads, body.splitlines())
            return [item for item in items if item["type"] != "heartbeat"]
        case _:
            return body.strip()
