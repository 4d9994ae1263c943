"""A server that is followed: EventSourcingDB as far as that goes, in either version of the API.

It says nowhere where a write ends, has members in an order of its own, and signs; with `is_everlog`
it says what an Everlog says, too. What it answers can be exchanged, to see what becomes of that.
"""

import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from tests.support.backups import Event, chained

TOKEN = "secret"

Placed = tuple[Event, str]

_MEMBERS = (
    *("source", "subject", "type", "traceparent", "tracestate", "time", "specversion", "id"),
    *("datacontenttype", "data", "predecessorhash"),
)

SIGNATURE = "esdb:signature:v1:" + "0" * 128


def event_text(event: Event, hash_: str) -> str:
    """Return an event as the API has it, its members in another order than ours."""
    texts = [
        f'"{name}":{event[name] if name == "data" else json.dumps(event[name])}'
        for name in _MEMBERS
        if name in event
    ]
    return f'{{"signature":"{SIGNATURE}","hash":"{hash_}",{",".join(texts)}}}'


# What asks whether the token opens the server, in either version.
_TOKEN_NAMES = frozenset({"verify-token", "verify-api-token"})


class Followed:
    """The state of the server, and how it behaves."""

    def __init__(self) -> None:
        self.events: list[Placed] = []
        # The positions of events that are the last ones of their writes.
        self.ends: set[int] = set()
        self.schemas: dict[str, str] = {}
        self.versions = {1, 2}
        self.is_everlog = False
        self.heartbeat_seconds = 0.05
        # What is done in the place of an answer, by the last part of its path.
        self.instead: dict[str, Callable[[Handler], None]] = {}
        self.asked: list[str] = []
        self.is_stopping = False
        self.changed = threading.Condition()
        self.url = ""

    def write(self, *events: Event, version: int = 1) -> None:
        """Add one write."""
        with self.changed:
            position, hash_ = len(self.events), self.events[-1][1] if self.events else "0" * 64
            self.events += chained(events, position=position, hash_=hash_, version=version)
            self.ends.add(len(self.events) - 1)
            self.changed.notify_all()

    def item(self, position: int, version: int) -> bytes:
        body = "payload" if version == 1 else "data"
        mark = " " if self.is_everlog and position in self.ends else ""
        text = event_text(*self.events[position])
        return f'{{"type":"event","{body}":{text}}}{mark}\n'.encode()


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers one request."""

    protocol_version = "HTTP/1.1"
    followed: Followed

    def handle_request(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        followed = self.followed
        version = 1 if "/v1/" in self.path else 2
        method = "POST" if version == 1 else "QUERY"
        name = self.path.rpartition("/")[2]
        if name in _TOKEN_NAMES:
            method = "POST"
        followed.asked.append(f"v{version} {name}")
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            self.refuse(401)
        elif version not in followed.versions or self.command != method:
            self.refuse(404)
        elif name in followed.instead:
            followed.instead[name](self)
        else:
            self.answer(name, version)

    def do_POST(self) -> None:
        self.handle_request()

    def do_QUERY(self) -> None:
        self.handle_request()

    def refuse(self, status: int, **headers: str) -> None:
        self.begin(status, **headers)
        self.end()

    def begin(
        self,
        status: int = 200,
        *,
        content_type: str = "application/x-ndjson",
        server: str | None = None,
        **headers: str,
    ) -> None:
        product = "EventSourcingDB/1.3.0" + (" Everlog/9" if self.followed.is_everlog else "")
        self.send_response_only(status)
        self.send_header("Server", product if server is None else server)
        self.send_header("Content-Type", content_type)
        self.send_header("Transfer-Encoding", "chunked")
        for header, value in headers.items():
            self.send_header(header, value)
        self.end_headers()

    def send(self, content: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(content), content))
        self.wfile.flush()

    def end(self) -> None:
        self.wfile.write(b"0\r\n\r\n")

    def answer(self, name: str, version: int) -> None:
        body = json.loads(self.body or b"{}")
        options = body.get("options", {})
        if name in _TOKEN_NAMES:
            self.refuse(200)
        elif name == "read-event-types":
            self.begin()
            for item in self.event_types(version):
                self.send(json.dumps(item).encode() + b"\n")
            self.end()
        elif name == "read-events":
            self.begin()
            for position in self.selected(options):
                self.send(self.followed.item(position, version))
            if version == 2:
                self.send(b'{"type":"end","data":{}}\n')
            self.end()
        else:
            self.observe(options, version)

    def selected(self, options: dict[str, Any]) -> Sequence[int]:
        lower = int(options.get("lowerBound", {"id": "0"})["id"])
        upper = int(options.get("upperBound", {"id": "999999999"})["id"])
        found = range(lower, min(upper + 1, len(self.followed.events)))
        return found[::-1] if options.get("order") == "antichronological" else found

    def event_types(self, version: int) -> Iterator[dict[str, Any]]:
        with_events = {event["type"] for event, _ in self.followed.events}
        for name in sorted({*with_events, *self.followed.schemas}):
            schema = self.followed.schemas.get(name)
            found = {} if schema is None else {"schema": json.loads(schema)}
            if version == 1:
                body = {"eventType": name, "isPhantom": name not in with_events, **found}
                yield {"type": "eventType", "payload": body}
            else:
                has_events = name in with_events
                data = {"type": name, "hasEvents": has_events, "schema": None, **found}
                yield {"type": "eventType", "data": data}
        if version == 2:
            yield {"type": "end", "data": {}}

    def observe(self, options: dict[str, Any], version: int) -> None:
        followed = self.followed
        position = int(options.get("lowerBound", {"id": "0"})["id"])
        body = "payload" if version == 1 else "data"
        self.begin()
        while not followed.is_stopping:
            with followed.changed:
                if position >= len(followed.events):
                    followed.changed.wait(followed.heartbeat_seconds)
                count = len(followed.events)
            if position >= count:
                self.send(f'{{"type":"heartbeat","{body}":{{}}}}\n'.encode())
            while position < count:
                self.send(followed.item(position, version))
                position += 1

    def log_message(self, *_: object) -> None:
        pass


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Let clients go away as they like."""


@contextmanager
def running_followed(followed: Followed | None = None, *, port: int = 0) -> Iterator[Followed]:
    """Run the server on a port that the system chooses, or on one that is known."""
    followed = followed or Followed()
    handler = type("BoundHandler", (Handler,), {"followed": followed})
    with _Server(("127.0.0.1", port), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        followed.url = f"http://127.0.0.1:{server.server_address[1]}"
        followed.is_stopping = False
        try:
            yield followed
        finally:
            with followed.changed:
                followed.is_stopping = True
                followed.changed.notify_all()
            server.shutdown()
            thread.join()


def answer_with(content: bytes, **how: Any) -> Callable[[Handler], None]:
    """Return what answers with some bytes, and ends."""

    def answer(handler: Handler) -> None:
        handler.begin(**how)
        if content:
            handler.send(content)
        handler.end()

    return answer


def refuse_with(status: int, **headers: str) -> Callable[[Handler], None]:
    """Return what answers with a status and nothing else."""
    return lambda handler: handler.refuse(status, **headers)


def pour(piece: bytes, *, pause: float = 0.0) -> Callable[[Handler], None]:
    """Return what sends the same again and again, without end."""

    def answer(handler: Handler) -> None:
        handler.begin()
        with suppress(OSError):
            while not handler.followed.is_stopping:
                handler.send(piece)
                time.sleep(pause)

    return answer
