"""The API over plain HTTP: requests as bytes, answers as they come, nothing hidden."""

import http.client
import json
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self
from urllib.parse import urlsplit

from tests.support.history import Reads
from tests.support.network import LOOPBACK, Host
from tests.support.server import DEADLINE_SECONDS, TOKEN

CODE_PREFIX: Final = "https://docs.eventsourcingdb.io/errors/"

GOOD_TYPE: Final = "io.everlog.test.happened"


def an_event(subject: str = "/test", type_: str = GOOD_TYPE, **members: Any) -> dict[str, Any]:
    event = {"source": "https://everlog.test", "subject": subject, "type": type_, "data": {}}
    return event | members


def without(members: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in members.items() if key != name}


@dataclass(frozen=True)
class Answer:
    """A complete answer."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def items(self) -> list[Any]:
        assert self.body.endswith(b"\n") or not self.body
        return [json.loads(line) for line in self.body.splitlines()]

    @property
    def events(self) -> list[dict[str, Any]]:
        """Return the events, of whatever version and endpoint the answer is, or a query's rows."""
        if self.body.startswith(b"["):
            return list(self.json)
        items = [item for item in self.items if item["type"] in {"event", "row"}]
        events = [item.get("payload") or item["data"] for item in items]
        return [event.get("value", event) for event in events]

    @property
    def error(self) -> dict[str, Any]:
        """Return the data of the error item that the answer ends with."""
        item = self.items[-1]
        assert item["type"] == "error"
        assert item["data"].keys() == {"code", "description", "details"}
        return dict(item["data"])

    @property
    def code(self) -> str:
        return str(self.error["code"]).removeprefix(CODE_PREFIX)


class _HostConnection(http.client.HTTPConnection):
    """A connection that is opened on a host of a network which a test has made."""

    def __init__(self, name: str, port: int | None, *, host: Host, timeout: float) -> None:
        super().__init__(name, port, timeout=timeout)
        self._host: Final = host

    def connect(self) -> None:
        with self._host.entered():
            super().connect()


class Connection:
    """One connection to a server; requests carry the token unless they say otherwise."""

    # Which of several nodes it leads to, and what that one promises to who reads.
    node: str = ""
    mode: Reads = Reads.CURRENT

    def __init__(
        self,
        url: str,
        *,
        context: ssl.SSLContext | None = None,
        host: Host = LOOPBACK,
        timeout: float = DEADLINE_SECONDS,
    ) -> None:
        self.token: Final = TOKEN
        parts = urlsplit(url)
        assert parts.hostname is not None
        address = (parts.hostname, parts.port)
        if parts.scheme == "https":
            self.http: http.client.HTTPConnection = http.client.HTTPSConnection(
                *address, timeout=timeout, context=context
            )
        else:
            self.http = _HostConnection(*address, host=host, timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def send(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> http.client.HTTPResponse:
        """Send a request, and return its answer as soon as the head is there."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        authorization = {"Authorization": f"Bearer {TOKEN}"}
        self.http.request(method, path, data, authorization if headers is None else headers)
        return self.http.getresponse()

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request, and return its complete answer."""
        response = self.send(method, path, body, headers=headers)
        return Answer(response.status, response.headers, response.read())

    def v1(self, name: str, body: object = None) -> Answer:
        return self.ask("POST", f"/api/v1/{name}", body)

    def v2(self, name: str, body: object = None) -> Answer:
        method = "POST" if name in {"write-events", "register-event-schema"} else "QUERY"
        return self.ask(method, f"/api/v2/data/{name}", body)

    def write(self, *events: dict[str, Any], **members: Any) -> list[dict[str, Any]]:
        """Write events with version 2, and return them as stored."""
        answer = self.v2("write-events", {"events": events, **members})
        assert answer.status == 200, answer.text
        assert answer.items[-1] == {"type": "end", "data": {}}, answer.text
        return answer.events

    def read_all(self) -> list[dict[str, Any]]:
        return self.v1("read-events", {"subject": "/", "options": {"recursive": True}}).events

    def observe(self, version: str = "v1", subject: str = "/", **options: Any) -> Iterator[Any]:
        """Yield the items of an observation, as they come."""
        body = {"subject": subject, "options": {"recursive": True, **options}}
        method, path = ("POST", "v1") if version == "v1" else ("QUERY", "v2/data")
        response = self.send(method, f"/api/{path}/observe-events", body)
        assert response.status == 200, response.read()
        return map(json.loads, iter(response.readline, b""))
