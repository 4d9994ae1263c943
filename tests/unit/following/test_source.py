"""The source over HTTP: versions, questions, and whatever may be wrong with an answer."""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from everlog.domain.known_event import KnownEvent
from everlog.following import connection, source
from everlog.following.connection import Access
from everlog.following.source import HttpSource, HttpStream
from everlog.service.mirroring.source import SourceError, SourceType, UnfitSourceError, Writes
from tests.support.backups import an_event
from tests.support.followed import (
    TOKEN,
    Followed,
    Handler,
    answer_with,
    pour,
    refuse_with,
    running_followed,
)
from tests.support.server import DEADLINE_SECONDS

SCHEMA = '{"type":"object","properties":{"n":{"type":"number"}}}'


@pytest.fixture
def followed() -> Iterator[Followed]:
    with running_followed() as server:
        yield server


def source_of(url: str, token: str = TOKEN) -> HttpSource:
    return HttpSource(url, Access(token, ssl.create_default_context()))


@contextmanager
def observing(
    followed: Followed, known: KnownEvent | None = None, *, token: str = TOKEN
) -> Iterator[HttpStream]:
    stream = source_of(followed.url, token).observe(known, time=0)
    try:
        yield stream
    finally:
        stream.close()


def take(stream: HttpStream, count: int = 1) -> list[Writes]:
    """Return what a stream gives away, until there are so many events."""
    found: list[Writes] = []
    deadline = time.monotonic() + DEADLINE_SECONDS
    while sum(len(writes.events) for writes in found) < count:
        assert time.monotonic() < deadline
        writes = stream.take(seconds=0.1)
        if writes is not None:
            found.append(writes)
    return found


def failure_of(action: Callable[[], Any]) -> str:
    with pytest.raises(SourceError) as error:
        action()
    return str(error.value)


def taking(followed: Followed) -> str:
    """Return why a stream ends from which nothing can be taken."""
    with observing(followed) as stream:

        def take_all() -> None:
            while True:
                stream.take(seconds=0.05)

        return failure_of(take_all)


@pytest.mark.parametrize("versions", [{1}, {2}, {1, 2}], ids=["v1", "v2", "both"])
def test_the_newer_version_is_spoken_if_the_source_knows_it(
    followed: Followed, versions: set[int]
) -> None:
    followed.versions = versions
    followed.write(an_event(), an_event())
    followed.write(an_event())

    with observing(followed) as stream:
        found = take(stream, 3)

    assert stream.version == f"v{max(versions)}"
    assert [event.hash for writes in found for event in writes.events] == [
        hash_ for _, hash_ in followed.events
    ]


def test_a_version_is_remembered(followed: Followed) -> None:
    followed.versions = {1}
    asked = source_of(followed.url)

    asked.find_latest(0)
    asked.find_latest(0)

    assert followed.asked == ["v2 read-events", "v1 read-events", "v1 read-events"]


def test_a_source_that_is_exchanged_may_speak_another_version(followed: Followed) -> None:
    asked = source_of(followed.url)
    for version in (2, 1, 2):
        followed.versions = {version}
        with contextlib.suppress(SourceError):
            asked.find_latest(0)
        followed.asked.clear()

        asked.find_latest(0)

        assert followed.asked[-1] == f"v{version} read-events"


@pytest.mark.parametrize("status", [400, 405, 501])
def test_who_does_not_let_the_newer_method_pass_is_asked_in_the_older_version(
    followed: Followed, status: int
) -> None:
    def answer(handler: Handler) -> None:
        if "/v2/" in handler.path:
            handler.refuse(status)
        else:
            handler.answer("read-events", 1)

    followed.instead["read-events"] = answer
    followed.write(an_event())

    assert source_of(followed.url).find_latest(0) == 0


def test_a_stream_begins_behind_an_event_and_goes_on(followed: Followed) -> None:
    followed.is_everlog = True
    followed.write(an_event())
    followed.write(an_event(), an_event())

    with observing(followed, KnownEvent(0, followed.events[0][1])) as stream:
        [first] = take(stream)
        followed.write(an_event())
        [second] = take(stream)

        assert stream.is_marked
        assert stream.is_proven
        assert (first.first_position, len(first.lines)) == (1, 2)
        assert (second.first_position, len(second.lines)) == (3, 1)
        while not stream.is_current:
            assert stream.take(seconds=0.1) is None
        assert stream.count == 4


def test_questions(followed: Followed) -> None:
    for version in (1, 2):
        followed.versions = {version}
        asked = source_of(followed.url)
        followed.events.clear()
        assert asked.find_latest(0) is None
        assert asked.find_hash(0) is None

        followed.write(an_event(), an_event())
        assert asked.find_latest(0) == 1
        assert asked.find_latest(2) is None
        assert asked.find_hash(1) == followed.events[1][1]
        assert asked.find_hash(2) is None


def test_event_types_come_with_their_schemas(followed: Followed) -> None:
    followed.write(an_event())
    followed.schemas["com.example.phantom"] = SCHEMA
    for version in (1, 2):
        followed.versions = {version}

        found = list(source_of(followed.url).read_event_types())

        assert found == [
            SourceType("com.example.phantom", SCHEMA),
            SourceType("io.everlog.test.happened", None),
        ]


def test_a_schema_that_cannot_be_kept_is_refused(followed: Followed) -> None:
    followed.schemas["com.example.odd"] = '{"type":"object"}'

    with pytest.raises(UnfitSourceError, match="event schemas cannot be kept here"):
        list(source_of(followed.url).read_event_types())


# What is wrong with an answer, and what is said of it.
WRONG: dict[str, tuple[Callable[[Handler], None], str]] = {
    "unauthorized": (refuse_with(401), "it refuses the token (status 401)"),
    "forbidden": (refuse_with(403), "it refuses the token (status 403)"),
    "too-often": (refuse_with(429), "it is asked too often (status 429)"),
    "not-ready": (refuse_with(503), "it is not ready to answer (status 503)"),
    "broken": (refuse_with(500), "it answers with status 500"),
    "redirect": (
        refuse_with(307, Location="http://127.0.0.1:1/"),
        "it redirects (status 307), which is not followed: name the address itself",
    ),
    "other-type": (
        answer_with(b"<html>", content_type="text/html"),
        "its answer is no application/x-ndjson",
    ),
    "other-server": (
        answer_with(b"", server="nginx"),
        (
            "it is no EventSourcingDB: its answer has no header Server that begins with "
            "EventSourcingDB/"
        ),
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_an_answer_that_is_none_is_told(followed: Followed, name: str) -> None:
    followed.instead["observe-events"], reason = WRONG[name]

    assert failure_of(lambda: source_of(followed.url).observe(None, time=0)) == reason


def test_a_redirect_is_not_followed(followed: Followed) -> None:
    with running_followed() as elsewhere:
        for name in ("observe-events", "read-events", "read-event-types"):
            followed.instead[name] = refuse_with(307, Location=f"{elsewhere.url}/api/v2/data")
        asked = source_of(followed.url)
        failure_of(lambda: asked.observe(None, time=0))
        failure_of(lambda: asked.find_latest(0))
        failure_of(lambda: list(asked.read_event_types()))

        assert elsewhere.asked == []


def test_a_path_that_no_version_has_is_told(followed: Followed) -> None:
    followed.versions = set()

    reason = failure_of(lambda: source_of(followed.url).observe(None, time=0))

    assert reason == (
        "it does not know the path (status 404): is the URL that of an EventSourcingDB?"
    )


def test_a_wrong_token_is_told_and_never_shown(followed: Followed) -> None:
    asked = source_of(followed.url, "another")

    assert failure_of(lambda: asked.observe(None, time=0)) == "it refuses the token (status 401)"
    assert "another" not in repr(asked.access)
    asked.access = Access(TOKEN, asked.access.context)
    asked.observe(None, time=0).close()


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    reason = failure_of(lambda: source_of(f"http://127.0.0.1:{port}").observe(None, time=0))

    assert reason == "Connection refused"


def test_what_is_no_http_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connected, _ = listener.accept()
            with connected:
                connected.recv(1)
                connected.sendall(b"SSH-2.0-OpenSSH\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        port = listener.getsockname()[1]
        reason = failure_of(lambda: source_of(f"http://127.0.0.1:{port}").observe(None, time=0))
        thread.join()

    assert reason in {"its answer is not HTTP (BadStatusLine)", "Connection reset by peer"}


def test_tls_where_there_is_none_is_told(followed: Followed) -> None:
    url = followed.url.replace("http:", "https:")

    reason = failure_of(lambda: source_of(url).observe(None, time=0))

    assert reason.startswith("TLS failed: ")


def test_the_end_of_a_stream_is_told(followed: Followed) -> None:
    followed.instead["observe-events"] = answer_with(b"")

    assert taking(followed) == "it ended the stream"


def test_a_stream_that_breaks_off_gives_away_no_half_line(followed: Followed) -> None:
    followed.write(an_event())
    half = followed.item(0, 2)[:-10]
    followed.instead["observe-events"] = answer_with(half)

    assert taking(followed) == "it ended the stream"


def test_a_line_without_end_is_given_up(
    followed: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "BACKUP_LINE_SIZE_MAX", 100_000)
    followed.instead["observe-events"] = pour(b"x" * 10_000)

    assert taking(followed) == "it sends a line of more than 100000 bytes"


def test_a_trickle_is_given_up(followed: Followed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "LINE_SECONDS_MAX", 0.3)
    followed.instead["observe-events"] = pour(b"x", pause=0.01)

    assert taking(followed) == "it does not bring a line to its end"


def test_silence_is_given_up(followed: Followed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "SILENCE_SECONDS_MAX", 0.3)
    followed.heartbeat_seconds = 60.0

    assert taking(followed) == "it says nothing any more"


def test_an_answer_that_does_not_end_is_given_up(
    followed: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_ANSWER_SECONDS_MAX", 0.2)
    item = b'{"type":"eventType","data":{"type":"com.example.one","hasEvents":true}}\n'
    followed.instead["read-event-types"] = pour(item, pause=0.01)

    reason = failure_of(lambda: list(source_of(followed.url).read_event_types()))

    assert reason == "its answer does not come to an end"


def test_who_is_not_read_from_has_to_wait(followed: Followed) -> None:
    sent = 0
    piece = b'{"type":"heartbeat","data":{}}\n' * 4_000

    def answer(handler: Handler) -> None:
        nonlocal sent
        handler.begin()
        while not handler.followed.is_stopping:
            handler.send(piece)
            sent += len(piece)

    followed.instead["observe-events"] = answer

    with observing(followed):
        before = -1
        # Until nothing moves any more.
        while before != sent:
            before = sent
            time.sleep(0.3)

    # What was read ahead, and the buffers of the system.
    assert sent < 40 * 1024 * 1024


@pytest.mark.parametrize("name", ["observe-events", "read-events", "read-event-types"])
def test_items_that_are_none_are_told(followed: Followed, name: str) -> None:
    followed.instead[name] = answer_with(b"nonsense\n")
    asked = source_of(followed.url)
    actions: dict[str, Callable[[], object]] = {
        "observe-events": lambda: taking(followed),
        "read-events": lambda: failure_of(lambda: asked.find_latest(0)),
        "read-event-types": lambda: failure_of(lambda: list(asked.read_event_types())),
    }

    assert "no item" in str(actions[name]())
