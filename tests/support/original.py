"""EventSourcingDB as far as moving from and to it goes: a server, and the tools that verify a file.

Made from the published rules alone (compatibility specification, sections 13 and 17), and sharing
no code with the product: `CustodyAuditor` and `validate_chain` read as strictly as the originals.
"""

import http.server
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

from tests.support.backups import (
    Event,
    an_event,
    chained,
    event_line,
    hash_of,
    lines_of,
    schema_line,
)
from tests.support.sources import REPOSITORY

VECTORS = (REPOSITORY / "tests" / "fixtures" / "hash-vectors.ndjson").read_bytes()

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{0,8}[1-9])?Z")
_DATA = re.compile(rb'"data":(\{.*\})(?:\},"hash":"[0-9a-f]{64}"\}\}$)')


def a_backup(count: int = 100) -> bytes:
    """Return a backup as the original makes it: its own test vectors, and what follows them.

    Hashes are of version 1, `data` has its members in order and `<` as an escape, times have
    trimmed fractions or none, and a schema comes behind the events.
    """
    last = json.loads(VECTORS.splitlines()[-1])["payload"]
    events = []
    for number in range(count):
        fraction = f".{number:09d}".rstrip("0").rstrip(".")
        data = f'{{"n":{number},"title":"\\u003cb\\u003e \u00fc","z":[1,2.5,{{"a":null}}]}}'
        events.append(
            an_event(
                data,
                subject=f"/books/{number % 7}",
                type_="io.thenativeweb.test.acquired",
                time=f"2023-01-02T13:37:{3 + number % 1:02d}{fraction}Z",
            )
        )
    chain = chained(events, position=int(last["event"]["id"]) + 1, hash_=last["hash"])
    schema = '{"type":"object","properties":{"n":{"type":"number"}},"required":["n"]}'
    return VECTORS + lines_of(chain) + schema_line("io.thenativeweb.test.acquired", schema)


class Original:
    """A server that has a backup, and takes one."""

    def __init__(self, backup: bytes) -> None:
        self.backup = backup
        self.is_read_only = False
        self.restored: bytes | None = None
        self.url = ""

    def answer(self, path: str, body: bytes) -> bytes | None:
        """Return the body of the answer, None where it is refused."""
        match path:
            case "/api/v1/put-into-read-only-mode":
                self.is_read_only = True
                return b"{}"
            case "/api/v1/backup":
                return self.backup
            case "/api/v1/restore" if self.restored is None:
                validate_chain(body)
                self.restored = body
                return b"{}"
            case _:
                return None


@contextmanager
def running_original(backup: bytes) -> Iterator[Original]:
    """Run the original on a port that the system chooses."""
    original = Original(backup)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            is_known = self.headers["Authorization"] == "Bearer secret"
            found = original.answer(self.path, body) if is_known else None
            self.send_response(401 if not is_known else 404 if found is None else 200)
            self.send_header("Server", "EventSourcingDB/1.2.0")
            self.end_headers()
            self.wfile.write(found or b"")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        original.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield original
        finally:
            server.shutdown()
            thread.join()


def events_of(backup: bytes) -> list[tuple[Event, str]]:
    """Return the events of a backup with the bytes of their data, and their hashes."""
    found = []
    for line in backup.split(b"\n"):
        if not line:
            continue
        item: dict[str, Any] = json.loads(line)
        assert item["type"] in {"event", "schema", "eventType"}, item["type"]
        if item["type"] == "event":
            payload = item["payload"]
            match = _DATA.search(line)
            assert match is not None, line
            found.append(({**payload["event"], "data": match[1].decode()}, payload["hash"]))
    return found


class CustodyAuditor:
    """Verifies a backup as the custody auditor does: version 1 only, trimmed times, no error."""

    def __init__(self) -> None:
        self.latest: tuple[int, str] | None = None

    def audit(self, backup: bytes) -> int:
        """Return how many events there are; raises an AssertionError where something is wrong."""
        predecessor, position = "0" * 64, 0
        for event, hash_ in events_of(backup):
            assert event["id"] == str(position)
            assert event["predecessorhash"] == predecessor
            assert _TIME.fullmatch(event["time"]), event["time"]
            # One of another version counts as manipulated.
            assert re.fullmatch("[0-9a-f]{64}", hash_), hash_
            assert hash_ == hash_of(event, 1)
            if self.latest is not None and self.latest[0] == position:
                assert self.latest[1] == hash_
            predecessor, position = hash_, position + 1
        if self.latest is not None:
            assert position > self.latest[0], "the latest event goes back"
        if position:
            self.latest = position - 1, predecessor
        return position


# The command-line tool for Merkle trees (npm eventsourcingdb-merkle).


def validate_chain(backup: bytes) -> str:
    """Return what the tool says of a whole chain."""
    events = events_of(backup)
    predecessor = "0" * 64
    for event, hash_ in events:
        assert event["predecessorhash"] == predecessor
        validate_event_hash(event, hash_)
        predecessor = hash_
    return f"\u2713 Chain is valid ({len(events)} events)"


def validate_event_hash(event: Event, hash_: str) -> None:
    assert hash_ == hash_of(event, 1)


def merkle_levels(backup: bytes) -> list[list[str]]:
    """Return the levels of the tool's tree, the leaves first: an odd one's last node is doubled."""
    levels = [[hash_ for _, hash_ in events_of(backup)]]
    while len(levels[-1]) > 1:
        nodes = levels[-1]
        if len(nodes) % 2:
            nodes = [*nodes, nodes[-1]]
        levels.append(
            [
                sha256((left + right).encode()).hexdigest()
                for left, right in zip(nodes[::2], nodes[1::2], strict=True)
            ]
        )
    return levels


def merkle_root(backup: bytes) -> str:
    return merkle_levels(backup)[-1][0]


def get_proof(backup: bytes, position: int) -> list[tuple[str, str]]:
    """Return the nodes beside the way from a leaf to the root, each with the side it stands on."""
    proof = []
    for nodes in merkle_levels(backup)[:-1]:
        beside = min(position ^ 1, len(nodes) - 1)
        proof.append(("left" if position % 2 else "right", nodes[beside]))
        position //= 2
    return proof


def verify_proof(hash_: str, proof: list[tuple[str, str]], root: str) -> bool:
    node = hash_
    for side, beside in proof:
        pair = beside + node if side == "left" else node + beside
        node = sha256(pair.encode()).hexdigest()
    return node == root


def without_event(backup: bytes, id_: str) -> bytes:
    """Return a backup from which somebody took an event away."""
    return b"".join(
        event_line(event, hash_) for event, hash_ in events_of(backup) if event["id"] != id_
    )
