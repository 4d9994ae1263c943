"""Clients in other languages read every stream of version 1, and verify what they read.

What their languages make of an answer is in `tests/support/other_clients.py`; servers here hash
with version 1, which is what these clients know. Whoever hashes the bytes as received (Go, Java,
Rust, Python 2.2) verifies all of it; the others verify what they would have written so.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, Final, NamedTuple

import pytest

from everlog.domain.limits import EVENT_SIZE_MAX
from tests.support.api import GOOD_TYPE, Connection, an_event
from tests.support.chain import data_text, hash_of
from tests.support.keys import write_signing_key
from tests.support.other_clients import (
    Piece,
    PiecewiseAnswer,
    chunks_of,
    elixir_items,
    elixir_text,
    go_text,
    javascript_text,
    javascript_value,
    php_items,
    python_text,
)
from tests.support.server import RunningServer, running_server

# Everything in one go, in parts that end anywhere, and byte by byte.
SEGMENT_SIZES: Final = (65_536, 1_000, 1)

EVENT_COUNT: Final = 1_000

# The largest that the original's own tests write: 65,548 bytes, of which one string takes 65,536.
LARGEST_DATA: Final = {"value": "x" * 65_536}

ALL: Final = {"subject": "/", "options": {"recursive": True}}

NDJSON: Final = "application/x-ndjson"

HEARTBEAT: Final = {"type": "heartbeat", "payload": {}}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Run a server with a thousand events, whose answers are signed."""
    key_file = tmp_path_factory.mktemp("keys") / "key.pem"
    write_signing_key(key_file)
    with (
        running_server(hash_version=1, signing_key_file=key_file) as server,
        Connection(server.url) as connection,
    ):
        events = [an_event(f"/books/{n}", data={"n": n, "a": ""}) for n in range(EVENT_COUNT)]
        connection.write(*events, an_event("/few", data=LARGEST_DATA), an_event("/few"))
        connection.v1("register-event-schema", {"eventType": "a.b.c", "schema": {"type": "object"}})
        yield server


class Stream(NamedTuple):
    """A request of version 1 that NDJSON answers, and how many lines that answer has."""

    name: str
    body: object
    line_count: int


QUERY: Final = "FROM e IN events PROJECT INTO e.data"

STREAMS: Final = {
    "many events": Stream("read-events", ALL, EVENT_COUNT + 2),
    "the latest first": Stream(
        "read-events",
        {"subject": "/books", "options": {"recursive": True, "order": "antichronological"}},
        EVENT_COUNT,
    ),
    "two events": Stream("read-events", {"subject": "/few", "options": {"recursive": False}}, 2),
    "one event": Stream("read-events", {"subject": "/books/7", "options": {"recursive": False}}, 1),
    "no events": Stream("read-events", {"subject": "/none", "options": {"recursive": True}}, 0),
    "subjects": Stream("read-subjects", {"baseSubject": "/"}, EVENT_COUNT + 3),
    "no subjects": Stream("read-subjects", {"baseSubject": "/none"}, 0),
    "event types": Stream("read-event-types", {}, 1),
    "rows": Stream("run-eventql-query", {"query": QUERY}, EVENT_COUNT + 2),
    "one row": Stream("run-eventql-query", {"query": QUERY.replace("PROJECT", "TOP 1 PROJECT")}, 1),
    "an error": Stream("run-eventql-query", {"query": "FROM e IN"}, 1),
}


@contextmanager
def open_stream(
    server: RunningServer, stream: Stream, segment_size: int
) -> Iterator[PiecewiseAnswer]:
    """Ask for a stream, and check what goes before its first line."""
    path = f"/api/v1/{stream.name}"
    with PiecewiseAnswer(server.url, path, stream.body, segment_size=segment_size) as answer:
        assert answer.head[0] == "HTTP/1.1 200 OK"
        assert answer.headers["content-type"] == NDJSON
        assert answer.headers["transfer-encoding"] == "chunked"
        assert "content-length" not in answer.headers
        yield answer


@pytest.mark.slow
@pytest.mark.parametrize("segment_size", SEGMENT_SIZES)
@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS)
def test_whoever_takes_each_piece_of_a_body_for_a_line_reads_every_stream(
    library: RunningServer, stream: Stream, segment_size: int
) -> None:
    with Connection(library.url) as connection:
        expected = without_heartbeats(connection.v1(stream.name, stream.body).items)
    assert len(expected) == stream.line_count

    with open_stream(library, stream, segment_size) as answer:
        pieces = list(answer.pieces())

    for chunk in chunks_of(pieces):
        assert chunk.count(b"\n") == 1
        assert chunk.endswith(b"\n")
    assert without_heartbeats(php_items(pieces)) == expected
    assert without_heartbeats(elixir_items(pieces)) == expected


def without_heartbeats(items: Iterable[Any]) -> list[Any]:
    """Return the items but those that say that a second went by, whenever it did."""
    return [item for item in items if item != HEARTBEAT]


def test_what_they_read_is_signed(library: RunningServer) -> None:
    with open_stream(library, STREAMS["two events"], 1) as answer:
        signatures = [item["payload"]["signature"] for item in php_items(answer.pieces())]

    assert all(signature.startswith("esdb:signature:v1:") for signature in signatures)


@pytest.mark.slow
@pytest.mark.parametrize("read", [php_items, elixir_items])
@pytest.mark.parametrize("segment_size", SEGMENT_SIZES)
def test_they_observe_what_is_stored_what_comes_and_the_end(
    read: Callable[[Iterable[Piece]], Iterator[Any]], segment_size: int
) -> None:
    observing = Stream("observe-events", ALL, 0)
    with running_server(hash_version=1) as server, Connection(server.url) as connection:
        stored = connection.write(an_event("/a"), an_event("/b"))
        with open_stream(server, observing, segment_size) as answer:
            items = read(answer.pieces())
            events = (item["payload"] for item in items if item != HEARTBEAT)
            assert list(islice(events, 2)) == stored
            # One write, so that three lines leave at once.
            live = connection.write(an_event("/c"), an_event("/d", data={"b": 1}), an_event("/e"))
            assert list(islice(events, 3)) == live
            assert next(items) == HEARTBEAT
            server.ask_to_stop()
            error = {"type": "error", "payload": {"error": "server is shutting down"}}
            assert without_heartbeats(items) == [error]


def test_php_finds_the_headers_of_ping_where_it_looks_for_them(library: RunningServer) -> None:
    with PiecewiseAnswer(library.url, "/api/v1/ping", method="GET") as answer:
        # It counts what libcurl hands over: the status line and the empty line too.
        assert len(answer.head) >= 8
        assert answer.head[:3] == [
            "HTTP/1.1 200 OK",
            "Cache-Control: no-store, no-cache, must-revalidate, proxy-revalidate",
            "Content-Type: application/json",
        ]


# What applications send: the same text in every language, except for the order of members.
PLAIN_DATA: Final = (
    {},
    {"title": "2001: A Space Odyssey", "price": 9.99, "pages": 221, "lent": False, "due": None},
    {"z": {"b": [{"z": 1, "a": {}}, [], ["b", "a"]], "a": {"b": True, "a": ""}}, "Z": 1, "_": 2},
    {"none": [], "empty": {}, "nested": [{"y": {"b": 1, "a": 2}, "x": [{"d": 3, "c": 4}]}]},
    {"numbers": [0, -1, 0.1, -0.5, 1234.5678, 0.001, 9007199254740991, 1917, 99.95]},
    {"text": 'She said "hi", \\ and / and \n\r\t\b\f\u0001.', 'a "name"': 1, "a\\b": "\\n"},
    {"2": "two", "1": "one", "3a": 3, "a": {"20": 1, "10": 2}},
    {"reader/name": "Ada", "a.b": 1, "a-b": 2, "a b": 3, "aB": 4, "ab": 5, "": 6},
)

# Whoever encodes again has to write what the writer wrote: escapes stay as they were sent. Python
# escapes these letters, and Go what means something in HTML; the others do neither.
LETTERS: Final = {
    "\u00fcber": "Gr\u00fc\u00dfe \u20ac \u6f22\u5b57 \U0001f600",
    "\u00e9": [{"\uffff": 1, "\U00010000": 2, "z": 3}],
    "a": "b",
}
MARKUP: Final = {"html": "<b>Tom & Jerry</b>", "<": 1, "&": 2}

Encode = Callable[[object], str]


class Verifier(NamedTuple):
    """How a client verifies: what it makes of an answer, and the text that it hashes."""

    decode: Callable[[bytes], Any]
    encode: Encode

    def check(self, text: bytes) -> None:
        """Fail unless the hash of an event, as it was served, is that of its data."""
        event = self.decode(text)
        assert hash_of(event, self.encode(event["data"]).encode()) == event["hash"], text


ELIXIR: Final = Verifier(json.loads, elixir_text)
JAVASCRIPT: Final = Verifier(javascript_value, javascript_text)
PYTHON: Final = Verifier(json.loads, python_text)

VERIFIERS: Final = {"Elixir": ELIXIR, "JavaScript": JAVASCRIPT, "Python": PYTHON}

WRITERS: Final[dict[str, Encode]] = {
    "Elixir": elixir_text,
    "Go": go_text,
    "JavaScript": lambda data: javascript_text(javascript_value(json.dumps(data))),
    "Python": json.dumps,
}

# Each row: who verifies, who wrote, and data that the one encodes as the other does.
SHARED: Final = (
    *(
        (verifier, writer, data)
        for data in PLAIN_DATA
        for verifier in VERIFIERS
        for writer in WRITERS
    ),
    *(
        (verifier, writer, LETTERS)
        for verifier in ("Elixir", "JavaScript")
        for writer in ("Elixir", "JavaScript", "Go")
    ),
    ("Python", "Python", LETTERS),
    *(
        (verifier, writer, MARKUP)
        for verifier in VERIFIERS
        for writer in ("Elixir", "JavaScript", "Python")
    ),
    ("JavaScript", "JavaScript", {"b": [1e21, 1e-7, 1e-5, 1e20, 5e-324, 1.5e300, -0.0], "a": 1.0}),
    ("Elixir", "Elixir", {"b": [1.0, 1e5, 1e-5, 1e22, 123456.0], "a": -2.0}),
    ("Python", "Python", {"b": [1.0, 1e16, 1e-05, 1e22], "a": 2**60}),
)


def write_text(connection: Connection, text: str) -> bytes:
    """Write an event with this text for data, and return the answer to the write."""
    head = {"source": "https://everlog.test", "subject": "/test", "type": GOOD_TYPE}
    body = f'{{"events":[{json.dumps(head)[:-1]},"data":{text}}}]}}'
    answer = connection.ask("POST", "/api/v1/write-events", body.encode())
    assert answer.status == 200, answer.text
    return answer.body


@pytest.fixture(scope="module")
def served() -> list[tuple[bytes, bytes, bytes]]:
    """Write all data at once, and return each event as it was written, read and observed."""
    with running_server(hash_version=1) as server, Connection(server.url) as connection:
        written = [
            write_text(connection, WRITERS[writer](data)).strip()[1:-1]
            for _, writer, data in SHARED
        ]
        read = connection.v1("read-events", ALL).body.splitlines()
        with Connection(server.url) as observer:
            response = observer.send("POST", "/api/v1/observe-events", ALL)
            observed = [response.readline() for _ in SHARED]
    lines = zip(read, observed, strict=True)
    return [(text, *map(event_text, pair)) for text, pair in zip(written, lines, strict=True)]


def event_text(line: bytes) -> bytes:
    return line.strip().removeprefix(b'{"type":"event","payload":').removesuffix(b"}")


@pytest.mark.parametrize("number", range(len(SHARED)), ids=[f"{by}-{of}" for by, of, _ in SHARED])
def test_they_verify_hashes_over_data_that_they_encoded_again(
    served: list[tuple[bytes, bytes, bytes]], number: int
) -> None:
    verifier, _, _ = SHARED[number]
    for text in served[number]:
        VERIFIERS[verifier].check(text)
        assert hash_of(json.loads(text), served_data(text)) == json.loads(text)["hash"]


def served_data(text: bytes) -> bytes:
    return data_text(b'{"type":"event","payload":' + text + b"}")


def test_they_notice_data_that_was_changed(served: list[tuple[bytes, bytes, bytes]]) -> None:
    text = served[len(VERIFIERS) * len(WRITERS)][0]
    assert b"9.99" in text

    for verifier in VERIFIERS.values():
        with pytest.raises(AssertionError):
            verifier.check(text.replace(b"9.99", b"9.98"))


def test_with_hashes_of_version_2_the_members_stay_as_they_were_sent() -> None:
    with running_server(hash_version=2) as server, Connection(server.url) as connection:
        written = write_text(connection, '{"b": {"d": 1, "c": 2}, "a": 3}')

    assert b'"data":{"b":{"d":1,"c":2},"a":3},' in written


@pytest.mark.parametrize("name", ["v1", "v2"])
def test_the_largest_event_of_the_original_is_taken(server: RunningServer, name: str) -> None:
    assert len(json.dumps(LARGEST_DATA, separators=(",", ":"))) == 65_548
    event = an_event(f"/largest/{name}", data=LARGEST_DATA)
    reading = {"subject": event["subject"], "options": {"recursive": False}}

    with Connection(server.url) as connection:
        answer = getattr(connection, name)("write-events", {"events": [event]})
        assert answer.status == 200
        assert [stored["data"] for stored in answer.events] == [LARGEST_DATA]
        assert getattr(connection, name)("read-events", reading).events == answer.events
    with open_stream(server, Stream("read-events", reading, 1), 1_000) as stream:
        assert [item["payload"]["data"] for item in php_items(stream.pieces())] == [LARGEST_DATA]


def test_an_event_may_hold_128_kibibytes_and_no_more(server: RunningServer) -> None:
    assert EVENT_SIZE_MAX == 128 * 1024
    fields = an_event("/limit")
    # The limit counts the values, and the data with its brackets, names and quotes.
    room = EVENT_SIZE_MAX - sum(len(fields[name]) for name in ("source", "subject", "type"))
    longest = "x" * (room - len('{"a":""}'))

    with Connection(server.url) as connection:
        [stored] = connection.write(an_event("/limit", data={"a": longest}))
        assert stored["data"] == {"a": longest}
        too_large = {"events": [an_event("/limit", data={"a": longest + "x"})]}
        assert connection.v1("write-events", too_large).status == 413
        assert connection.v2("write-events", too_large).code == "event-too-large"
