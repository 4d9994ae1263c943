"""What an application is told of the way to a server: reached, stored or not, and by whom."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from typing import Any

import pytest

import everlog
from everlog import IsSubjectPristine, NewEvent
from everlog.library import client
from tests.support.backups import an_event
from tests.support.cutting import cutting
from tests.support.followed import TOKEN as FOLLOWED_TOKEN
from tests.support.followed import Followed, running_followed
from tests.support.keys import write_certificate
from tests.support.server import TOKEN, RunningServer, running_server

TYPE = "com.example.book-acquired"


def event(subject: str, **data: Any) -> NewEvent:
    return NewEvent("https://library.example", subject, TYPE, data)


Answer = tuple[int, dict[str, str], bytes]
Answers = dict[str, Answer | Callable[[bytes], Answer]]


class Stub:
    """A server that answers what a test says, by method and path; the rest is not found."""

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.url = ""


@contextmanager
def stub(answers: Answers) -> Iterator[Stub]:
    told = Stub(answers)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            told.requests.append((self.command, self.path, dict(self.headers)))
            found = told.answers.get(f"{self.command} {self.path}", (404, {}, b""))
            status, headers, content = found(body) if callable(found) else found
            self.send_response_only(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        # The names are the library's, made of the methods.
        do_GET = do_POST = do_QUERY = handle_any  # noqa: N815 - as said

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        told.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield told
        finally:
            server.shutdown()
            thread.join()


OK: Answer = (200, {}, b"{}")
V2_TOKEN = "POST /api/v2/system/verify-token"
V1_TOKEN = "POST /api/v1/verify-api-token"
V2_WRITE = "POST /api/v2/data/write-events"


def connected(told: Stub) -> everlog.Store:
    return everlog.connect(told.url, token=TOKEN)


def test_a_server_that_speaks_version_2_is_asked_in_it(server: RunningServer) -> None:
    with everlog.connect(server.url, token=TOKEN) as store:
        assert "(version 2)" in repr(store)


def test_a_server_that_does_not_is_asked_in_version_1() -> None:
    with stub({V1_TOKEN: OK, "GET /api/v1/ping": OK}) as told, connected(told) as store:
        assert "(version 1)" in repr(store)
        store.ping()
    assert [request[1] for request in told.requests] == [
        "/api/v2/system/verify-token",
        "/api/v1/verify-api-token",
        "/api/v1/ping",
    ]


def test_what_is_no_server_of_the_kind_is_said_to_be_none() -> None:
    with stub({}) as told, pytest.raises(everlog.UnreachableError, match="is the URL that of an"):
        connected(told)


def test_a_path_in_the_url_stands_before_the_api() -> None:
    with (
        stub({"POST /behind/here/api/v2/system/verify-token": OK}) as told,
        everlog.connect(f"{told.url}/behind/here/", token=TOKEN, api_version=2),
    ):
        assert told.requests[0][1] == "/behind/here/api/v2/system/verify-token"


def test_the_token_is_in_a_header_and_nowhere_else() -> None:
    with stub({V2_TOKEN: OK}) as told, connected(told) as store:
        [(_, path, headers)] = told.requests
        assert headers["Authorization"] == f"Bearer {TOKEN}"
        assert TOKEN not in path
        assert TOKEN not in repr(store)
        told.answers.clear()
        with pytest.raises(everlog.UnreachableError) as caught:
            store.ping()
    assert TOKEN not in str(caught.value)


def test_a_redirect_is_not_followed(server: RunningServer) -> None:
    redirect: Answer = (307, {"Location": f"{server.url}/api/v2/system/verify-token"}, b"")
    with (
        stub({V2_TOKEN: redirect}) as told,
        pytest.raises(everlog.UnreachableError, match="name the address itself"),
    ):
        connected(told)


@pytest.mark.parametrize(
    "url",
    [
        "localhost:3000",
        "ftp://localhost",
        "http://",
        "http://user:secret@localhost",
        "http://localhost/?a=b",
        "http://localhost/#a",
        "http://local host",
        "http://localhost:port",
    ],
)
def test_what_is_no_url_of_a_server_is_refused_and_not_quoted(url: str) -> None:
    with pytest.raises(ValueError, match="the URL must begin with http") as caught:
        everlog.connect(url, token=TOKEN)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("token", ["", "a\nb", "\u00e4"], ids=["none", "lines", "letters"])
def test_what_cannot_be_a_token_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match="printable ASCII"):
        everlog.connect("http://localhost", token=token)


def test_a_wrong_token_is_told_at_once(server: RunningServer) -> None:
    for version in (None, 1, 2):
        with pytest.raises(everlog.UnauthorizedError, match="does not take the token") as caught:
            everlog.connect(server.url, token="another", api_version=version)
        assert "another" not in str(caught.value)


def test_a_server_that_is_not_there_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(everlog.UnreachableError, match="Connection refused"):
        everlog.connect(f"http://127.0.0.1:{port}", token=TOKEN)


def test_a_server_that_says_nothing_is_left_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(everlog.UnreachableError, match="it does not answer"):
            everlog.connect(url, token=TOKEN, timeout=0.2)


# TLS.


def test_a_certificate_that_nobody_trusts_is_told_with_what_helps(tmp_path: Path) -> None:
    files = write_certificate(tmp_path)
    with running_server(*files.flags, "--http-enabled=false") as server:
        url = server.url
        with pytest.raises(everlog.UnreachableError, match=r"name it, .* by ca_file"):
            everlog.connect(url, token=TOKEN)
        with everlog.connect(url, token=TOKEN, ca_file=files.certificate) as store:
            store.ping()
        with pytest.raises(everlog.UnreachableError, match="is not one for localhost"):
            everlog.connect(f"https://localhost:{server.port}", token=TOKEN, ca_file=files[0])
        with pytest.raises(everlog.UnreachableError, match="use https://"):
            everlog.connect(url.replace("https", "http"), token=TOKEN)


def test_plain_http_where_tls_is_spoken_is_told(server: RunningServer) -> None:
    url = server.url.replace("http", "https")
    with pytest.raises(everlog.UnreachableError, match="does its URL begin with http://"):
        everlog.connect(url, token=TOKEN)


@pytest.mark.parametrize("content", [None, b"no PEM"], ids=["missing", "no-pem"])
def test_a_ca_file_that_is_none_is_told(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(everlog.SettingsError, match="ca_file"):
        everlog.connect("https://localhost", token=TOKEN, ca_file=path)


# Writes whose outcome is not known, or is.


def test_a_write_whose_answer_is_lost_has_an_unknown_outcome(server: RunningServer) -> None:
    with (
        cutting(server.port, Random(1)) as cutter,
        everlog.connect(server.url, token=TOKEN) as store,
        everlog.connect(cutter.url, token=TOKEN) as behind,
    ):
        [known] = behind.write([event("/unknown", number=0)])
        # A new connection, which brings nothing back.
        behind_cut = everlog.connect(cutter.url, token=TOKEN)
        with behind_cut:
            [seen] = behind_cut.read("/unknown")
            cutter.cut_now()
            cutter.size_max = 1
            events = [event("/unknown", number=1), event("/unknown/below", number=2)]
            condition = IsSubjectPristine("/unknown/below")
            with pytest.raises(everlog.OutcomeUnknownError) as caught:
                behind_cut.write(events, [condition])
    error = caught.value
    assert seen == known
    assert error.events == tuple(events)
    assert error.preconditions == (condition,)
    assert error.after is not None
    assert int(error.after) >= int(known.id)
    with everlog.connect(server.url, token=TOKEN) as store:
        found = error.find_out(store)
        assert found is not None
        assert [each.data for each in found] == [{"number": 1}, {"number": 2}]
        assert list(store.read("/unknown/below")) == found[1:]
        # Writing it again stores nothing twice.
        with pytest.raises(everlog.RefusedError, match="precondition failed"):
            store.write(events, [condition])


def test_a_write_that_was_not_stored_is_not_found(server: RunningServer) -> None:
    with everlog.connect(server.url, token=TOKEN) as store:
        [first] = store.write([event("/lost", number=1)])
        error = everlog.OutcomeUnknownError(
            "lost", events=[event("/lost", number=1)], after=first.id
        )
        assert error.find_out(store) is None
        store.write([event("/lost", number=1)])
        assert error.find_out(store) is not None


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_status_from_in_front_of_a_server_leaves_a_write_unknown(status: int) -> None:
    answers: Answers = {V2_TOKEN: OK, V2_WRITE: (status, {"Server": "nginx"}, b"oh\n")}
    with (
        stub(answers) as told,
        connected(told) as store,
        pytest.raises(everlog.OutcomeUnknownError),
    ):
        store.write([event("/")])


@pytest.mark.parametrize(
    "content",
    [b"", b'{"type":"event","data":{}}\n', b"no item\n", b'{"type":"end","data":{}}\n'],
    ids=["nothing", "no-end", "no-item", "no-event"],
)
def test_an_answer_that_is_not_whole_leaves_a_write_unknown(content: bytes) -> None:
    answers: Answers = {V2_TOKEN: OK, V2_WRITE: (200, {}, content)}
    with (
        stub(answers) as told,
        connected(told) as store,
        pytest.raises(everlog.OutcomeUnknownError),
    ):
        store.write([event("/")])


def test_a_server_that_is_busy_has_stored_nothing() -> None:
    busy: Answer = (503, {"Server": "EventSourcingDB/1.0 Everlog/1.0"}, b"try again\n")
    answers: Answers = {V2_TOKEN: OK, V2_WRITE: busy}
    with stub(answers) as told, connected(told) as store:
        with pytest.raises(everlog.BusyError, match="try again"):
            store.write([event("/")])
        told.answers[V2_WRITE] = (429, {}, b"")
        with pytest.raises(everlog.BusyError, match="too often"):
            store.write([event("/")])


def test_a_code_that_is_not_known_here_stays_a_text() -> None:
    error = {"code": "https://docs.example/errors/moon-full", "description": "no", "details": {}}
    item = json.dumps({"type": "error", "data": error}).encode() + b"\n"
    with (
        stub({V2_TOKEN: OK, V2_WRITE: (200, {}, item)}) as told,
        connected(told) as store,
        pytest.raises(everlog.RefusedError, match="no") as caught,
    ):
        store.write([event("/")])
    assert caught.value.code == "moon-full"


def test_a_read_that_breaks_off_is_no_end() -> None:
    answers: Answers = {V2_TOKEN: OK, "QUERY /api/v2/data/read-events": (200, {}, b"")}
    with (
        stub(answers) as told,
        connected(told) as store,
        pytest.raises(everlog.UnreachableError, match="before the end"),
    ):
        list(store.read())


def test_a_connection_that_the_server_has_closed_is_not_used_again(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    with running_server(data_directory=directory) as first:
        port = first.port
        store = everlog.connect(first.url, token=TOKEN)
        store.write([event("/again")])
        first.stop()
    with store:
        with pytest.raises(everlog.UnreachableError):
            store.write([event("/again")])
        with running_server(f"--http-port={port}", data_directory=directory):
            store.write([event("/again")])
            assert len(list(store.read("/again"))) == 2


# A server that is no Everlog: its events have their members in another order, and signatures.


@pytest.mark.parametrize("version", [1, 2], ids=["v1", "v2"])
def test_another_server_of_the_kind_is_read_and_followed(version: int) -> None:
    followed = Followed()
    followed.versions = {version}
    with running_followed(followed):
        followed.write(an_event(subject="/books/1"), an_event(subject="/books/2"))
        with everlog.connect(followed.url, token=FOLLOWED_TOKEN) as store:
            assert f"(version {version})" in repr(store)
            events = list(store.read("/", recursive=True, verify=True))
            assert [(each.id, each.subject) for each in events] == [
                ("0", "/books/1"),
                ("1", "/books/2"),
            ]
            assert events[0].signature is not None
            assert [each.has_events for each in store.event_types()] == [True]
            with store.follow(verify=True) as following:
                assert [next(following), next(following)] == events
                followed.write(an_event(subject="/books/3"))
                assert next(following).subject == "/books/3"


def test_a_line_that_is_too_long_ends_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "LINE_SIZE_MAX", 1_000)
    answers: Answers = {V2_TOKEN: OK, "QUERY /api/v2/data/read-events": (200, {}, b" " * 300_000)}
    with (
        stub(answers) as told,
        connected(told) as store,
        pytest.raises(everlog.UnreachableError, match="a line of more than 1000 bytes"),
    ):
        list(store.read())


def test_an_iteration_that_is_left_closes_its_connection(server: RunningServer) -> None:
    with everlog.connect(server.url, token=TOKEN) as store:
        store.write([event("/left", text="x" * 1_000) for _ in range(2_000)])
        before = set(Path("/proc/self/fd").iterdir())
        for _ in range(10):
            next(iter(store.read("/left")))
            next(iter(store.query("FROM e IN events PROJECT INTO e")))
            with store.follow("/left") as following:
                next(following)
        assert len(set(Path("/proc/self/fd").iterdir()) - before) <= 1


def test_one_connection_serves_one_request_after_the_other(server: RunningServer) -> None:
    with (
        cutting(server.port, Random(1)) as cutter,
        everlog.connect(cutter.url, token=TOKEN) as store,
    ):
        for number in range(5):
            store.write([event("/kept", number=number)])
            assert list(store.read("/kept"))
            assert list(store.query("FROM e IN events TOP 1 PROJECT INTO e.id"))
            store.ping()
        assert cutter.connection_count == 1


# Following.


def test_following_goes_on_behind_a_cut_and_misses_nothing(server: RunningServer) -> None:
    with (
        everlog.connect(server.url, token=TOKEN) as writer,
        cutting(server.port, Random(7)) as cutter,
        everlog.connect(cutter.url, token=TOKEN) as store,
    ):
        written = [writer.write([event("/cut", number=number)])[0] for number in range(40)]
        cutter.size_max = 8_000
        # What was kept from asking who the server is was to bring back as much as it liked.
        cutter.cut_now()
        told: list[Exception] = []
        following = store.follow("/cut", verify=True, on_interruption=told.append)
        with following:
            seen = [next(following) for _ in range(30)]
            cutter.size_max = None
            seen += [next(following) for _ in range(10)]
        assert seen == written
        assert cutter.cut_count > 0
        assert all(isinstance(error, everlog.UnreachableError) for error in told)


def test_following_waits_for_a_server_that_is_gone(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    interrupted = threading.Event()
    with running_server(data_directory=directory) as first:
        port = first.port
        store = everlog.connect(first.url, token=TOKEN)
        store.write([event("/gone", number=0)])
        following = store.follow("/gone", on_interruption=lambda _: interrupted.set())
        assert next(following).data == {"number": 0}
        first.stop()
    seen: list[everlog.Event] = []
    reader = threading.Thread(target=lambda: seen.append(next(following)))
    reader.start()
    assert interrupted.wait(30)
    with store, running_server(f"--http-port={port}", data_directory=directory):
        store.write([event("/gone", number=1)])
        reader.join(60)
        following.close()
    assert [each.data for each in seen] == [{"number": 1}]


def test_following_notices_that_a_store_has_become_another_one(tmp_path: Path) -> None:
    with running_server() as first:
        port = first.port
        store = everlog.connect(first.url, token=TOKEN)
        store.write([event("/other", number=0)])
        following = store.follow("/other", verify=True)
        next(following)
        first.stop()
    with store, running_server(f"--http-port={port}", data_directory=tmp_path / "data"):
        store.write([event("/other", number=1), event("/other", number=2)])
        with pytest.raises(everlog.VerificationError, match="it has become another one"):
            next(following)
        assert list(following) == []


def test_a_changed_event_is_noticed_where_that_is_asked_for(server: RunningServer) -> None:
    with everlog.connect(server.url, token=TOKEN) as real:
        [first, second] = real.write([event("/changed", number=1), event("/changed", number=2)])
    changed = first.to_json().replace(b'"number":1', b'"number":7')
    lines = [changed, second.to_json()]
    body = b"".join(b'{"type":"event","data":%b}\n' % line for line in lines)
    body += b'{"type":"end","data":{}}\n'
    answers: Answers = {V2_TOKEN: OK, "QUERY /api/v2/data/read-events": (200, {}, body)}
    with stub(answers) as told, connected(told) as store:
        assert [each.data["number"] for each in store.read("/changed")] == [7, 2]
        with pytest.raises(everlog.VerificationError, match="does not have the hash") as caught:
            list(store.read("/changed", verify=True))
        assert caught.value.event_id == first.id
        told.answers["QUERY /api/v2/data/read-events"] = (200, {}, body.replace(b":7", b":1"))
        assert len(list(store.read("/changed", verify=True))) == 2
