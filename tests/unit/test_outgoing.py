"""Requests to others: whatever they answer, and however slowly, it ends."""

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from everlog import outgoing
from everlog.outgoing import post

OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/x\r\n"

Serve = Callable[[socket.socket], None]


class Listener:
    """Answers one connection after the other, as a function does."""

    def __init__(self, serve: Serve) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listening.getsockname()[1]}/path"
        self.requests: list[bytes] = []
        self._serve = serve
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        self.listening.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self.listening.close()

    def _run(self) -> None:
        with suppress(OSError):
            while True:
                connected, _ = self.listening.accept()
                with connected, suppress(OSError):
                    self.requests.append(_receive(connected))
                    self._serve(connected)


def _receive(connected: socket.socket) -> bytes:
    """Return a request, whose body may come after its head."""
    request = b""
    while b"\r\n\r\n" not in request and (part := connected.recv(65_536)):
        request += part
    head, _, body = request.partition(b"\r\n\r\n")
    [length] = re.findall(rb"(?i)\r\ncontent-length: (\d+)", head) or [b"0"]
    while len(body) < int(length) and (part := connected.recv(65_536)):
        request += part
        body += part
    return request


@pytest.fixture
def listen() -> Iterator[Callable[[Serve], Listener]]:
    listeners: list[Listener] = []

    def start(serve: Serve) -> Listener:
        listeners.append(Listener(serve))
        return listeners[-1]

    yield start
    for listener in listeners:
        listener.close()


def test_an_answer_is_returned_as_it_is(listen: Callable[[Serve], Listener]) -> None:
    listener = listen(lambda to: to.sendall(OK + b"Content-Length: 4\r\n\r\nbody"))

    answer = post(listener.url, b"question", {"X-Header": "value"}, size_max=4)

    assert answer == (200, "text/x", b"body")
    (request,) = listener.requests
    assert request.startswith(b"POST /path HTTP/1.1\r\n")
    assert b"X-Header: value\r\n" in request
    assert request.endswith(b"\r\n\r\nquestion")


def test_a_redirect_is_not_followed(listen: Callable[[Serve], Listener]) -> None:
    head = b"HTTP/1.1 307 Other\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
    listener = listen(lambda to: to.sendall(head))

    assert post(listener.url, b"", {}, size_max=4).status == 307


def test_an_answer_that_is_too_large_is_given_up(listen: Callable[[Serve], Listener]) -> None:
    listener = listen(lambda to: to.sendall(OK + b"Content-Length: 9\r\n\r\n123456789"))

    with pytest.raises(OSError, match="too large"):
        post(listener.url, b"", {}, size_max=8)


@pytest.mark.parametrize("answer", [b"rubbish\r\n\r\n", b"HTTP/1.1 200 OK\r\n" * 200, b""])
def test_what_is_no_http_is_told_without_its_words(
    listen: Callable[[Serve], Listener], answer: bytes
) -> None:
    listener = listen(lambda to: to.sendall(answer))

    with pytest.raises(OSError, match=r".") as raised:
        post(listener.url, b"", {}, size_max=8)
    assert "rubbish" not in str(raised.value)


def test_an_answer_without_end_is_given_up(
    listen: Callable[[Serve], Listener], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outgoing, "_SECONDS_MAX", 0.1)

    def drip(to: socket.socket) -> None:
        to.sendall(OK + b"Transfer-Encoding: chunked\r\n\r\n")
        while True:
            to.sendall(b"1\r\nx\r\n")
            time.sleep(0.01)

    listener = listen(drip)
    with pytest.raises(TimeoutError):
        post(listener.url, b"", {}, size_max=1 << 20)


def test_who_says_nothing_is_given_up(
    listen: Callable[[Serve], Listener], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outgoing, "_PIECE_SECONDS_MAX", 0.1)
    listener = listen(lambda to: to.recv(1) and None)

    with pytest.raises(TimeoutError):
        post(listener.url, b"", {}, size_max=8)


def test_where_nobody_listens_the_system_says_so() -> None:
    with pytest.raises(ConnectionRefusedError):
        post("http://127.0.0.1:1/", b"", {}, size_max=8)


def test_a_certificate_that_nobody_vouches_for_is_refused(
    listen: Callable[[Serve], Listener],
) -> None:
    listener = listen(lambda to: to.sendall(OK + b"\r\n"))

    with pytest.raises(OSError, match=r"(?i)ssl|record|closed|reset"):
        post(listener.url.replace("http://", "https://"), b"", {}, size_max=8)
