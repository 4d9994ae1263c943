"""TLS below a connection: in whatever pieces it comes, at the client's pace, and to its end."""

import socket
import ssl

import pytest

from everlog.http import Exchange, Limits, Request, Response, ServerEvents
from tests.support.certificates import Issued, issue, write_files
from tests.support.serving import DEADLINE_SECONDS, Client, RecordingApplication, serving

GET = b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture(scope="module")
def issued() -> Issued:
    return issue()


@pytest.fixture(scope="module")
def context(issued: Issued, tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    files = write_files(tmp_path_factory.mktemp("tls"), issued)
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    found.load_cert_chain(files.certificate, files.private_key)
    return found


class Talk:
    """The client's side of TLS, byte by byte."""

    def __init__(self, port: int, issued: Issued, *, receive_buffer_size: int = 0) -> None:
        self.client = Client(port, receive_buffer_size=receive_buffer_size)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.create_default_context(cadata=issued.pem.decode())
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="127.0.0.1")

    def shake_hands(self, *, step: int = 1_000_000) -> None:
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self.flush(step=step)
                self.incoming.write(self.client.socket.recv(65_536))
            else:
                self.flush(step=step)
                return

    def flush(self, *, step: int = 1_000_000) -> None:
        data = self.outgoing.read()
        for start in range(0, len(data), step):
            self.client.send(data[start : start + step])

    def send(self, data: bytes, *, step: int = 1_000_000) -> None:
        self.tls.write(data)
        self.flush(step=step)

    def receive(self) -> bytes:
        """Return what comes next, nothing at the end that TLS has."""
        while True:
            try:
                return self.tls.read(65_536)
            except ssl.SSLWantReadError:
                data = self.client.socket.recv(65_536)
                assert data, "the connection ended without the end of TLS"
                self.incoming.write(data)
            except ssl.SSLZeroReturnError:
                return b""

    def receive_until(self, ending: bytes) -> bytes:
        received = b""
        while not received.endswith(ending):
            data = self.receive()
            assert data, received
            received += data
        return received


@pytest.mark.parametrize("step", [1, 7, 1_000_000])
def test_whatever_the_pieces_are_requests_are_answered(
    context: ssl.SSLContext, issued: Issued, step: int
) -> None:
    with serving(ssl=context) as running:
        talk = Talk(running.port, issued)
        talk.shake_hands(step=step)
        for name in (b"x", b"y"):
            talk.send(GET % name, step=step)
            assert talk.receive_until(b"GET /%b?\n" % name)
        talk.client.socket.close()


def test_the_first_request_may_come_with_the_end_of_the_handshake(
    context: ssl.SSLContext, issued: Issued
) -> None:
    with serving(ssl=context) as running:
        talk = Talk(running.port, issued)
        with pytest.raises(ssl.SSLWantReadError):
            talk.tls.do_handshake()
        talk.flush()
        talk.incoming.write(talk.client.socket.recv(65_536))
        talk.tls.do_handshake()
        talk.send(GET % b"x")
        assert talk.receive_until(b"GET /x?\n")
        talk.client.socket.close()


def test_the_end_is_said_in_tls_and_the_client_has_time_to_see_it(
    context: ssl.SSLContext, issued: Issued
) -> None:
    with serving(ssl=context) as running:
        talk = Talk(running.port, issued)
        talk.shake_hands()
        talk.send(b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert talk.receive_until(b"GET /x?\n")
        # What the client sends meanwhile must not reset the connection.
        talk.send(b"x" * 300_000)
        assert talk.receive() == b""
        assert talk.client.socket.recv(1) == b""
        talk.client.socket.close()
        running.wait_until(lambda: running.server.statistics().connections == 0)


def test_who_says_the_end_in_tls_is_answered_with_it(
    context: ssl.SSLContext, issued: Issued
) -> None:
    with serving(ssl=context) as running:
        talk = Talk(running.port, issued)
        talk.shake_hands()
        with pytest.raises(ssl.SSLWantReadError):
            talk.tls.unwrap()
        talk.flush()
        while True:
            try:
                talk.tls.unwrap()
            except ssl.SSLWantReadError:
                talk.incoming.write(talk.client.socket.recv(65_536))
            else:
                break
        talk.client.socket.close()
        running.wait_until(lambda: running.server.statistics().connections == 0)


class LargeApplication(RecordingApplication):
    """Answers each request with much."""

    def __init__(self, body: bytes) -> None:
        super().__init__()
        self._body = body

    def echo(self, _: Request, exchange: Exchange) -> None:
        exchange.respond(Response(200, self._body, b"text/plain"))


def test_a_large_answer_leaves_at_the_pace_of_the_client(
    context: ssl.SSLContext, issued: Issued
) -> None:
    body = bytes(range(256)) * 40_000 + b"the end"
    with serving(LargeApplication(body), ssl=context) as running:
        talk = Talk(running.port, issued, receive_buffer_size=4_096)
        talk.shake_hands()
        talk.send(GET % b"x")
        running.wait_until(lambda: running.server.statistics().requests == 1)
        state = running.server._state
        assert state is not None
        running.wait_until(lambda: state.backlog.size > 0)
        [connection] = state.connections
        # What is encrypted is little more than what the system has taken.
        tls = connection._transport  # type: ignore[attr-defined]  # of a connection
        assert running.call(tls._transport.get_write_buffer_size) < 200_000
        talk.client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1_000_000)
        assert talk.receive_until(b"the end").partition(b"\r\n\r\n")[2] == body
        assert state.backlog.size == 0
        talk.client.socket.close()


def test_requests_wait_in_the_socket_until_answers_have_left(
    context: ssl.SSLContext, issued: Issued
) -> None:
    application = RecordingApplication()
    with serving(application, ssl=context) as running:
        talk = Talk(running.port, issued)
        talk.shake_hands()
        talk.send(
            GET % b"later" * 100 + b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 99999\r\n\r\n"
        )
        talk.send(b"x" * 99_999)
        running.wait_until(lambda: len(application.waiting) == 64)
        for number in range(100):
            running.wait_until(lambda number=number: len(application.waiting) > number)
            running.call(
                lambda number=number: application.waiting[number].respond(
                    Response(200, b"%d\n" % number, b"")
                )
            )
        assert talk.receive_until(b"x" * 99_999).count(b"HTTP/1.1 200 ") == 101
        talk.client.socket.close()


def test_a_client_that_speaks_plain_http_is_told_so_and_the_server_tells_once(
    context: ssl.SSLContext,
) -> None:
    told: list[tuple[str, str]] = []
    events = ServerEvents(mistaken=lambda address, what: told.append((address, what)))
    with serving(ssl=context, events=events) as running:
        for _ in range(3):
            with Client(running.port) as client:
                client.send(GET % b"x")
                answer = client.read_answer()
                assert answer.status == 400
                assert b"HTTPS" in answer.body
                assert client.receive_all() == b""
        assert running.application.heads == []
        assert running.statistics().early_answers == {400: 3}
    assert told == [("127.0.0.1", "plain HTTP on the port for HTTPS")]


def test_a_client_that_speaks_tls_to_the_plain_port_is_told_so(issued: Issued) -> None:
    told: list[tuple[str, str]] = []
    events = ServerEvents(mistaken=lambda address, what: told.append((address, what)))
    with serving(events=events) as running:
        for _ in range(2):
            talk = Talk(running.port, issued)
            with pytest.raises(ssl.SSLWantReadError):
                talk.tls.do_handshake()
            talk.flush()
            answer = talk.client.read_answer()
            assert answer.status == 400
            assert b"plain HTTP" in answer.body
            talk.client.socket.close()
    assert told == [("127.0.0.1", "TLS on the port for plain HTTP")]


@pytest.mark.parametrize("nonsense", [b"\0" * 100, b"\x16\3\1\0\5hello", b"\x15\3\1\0\2\2\x28"])
def test_nonsense_instead_of_a_handshake_ends_the_connection(
    context: ssl.SSLContext, nonsense: bytes
) -> None:
    with serving(ssl=context) as running, Client(running.port) as client:
        client.send(nonsense)
        # An alert, or nothing.
        assert client.receive_all()[:1] in {b"", b"\x15"}
        running.wait_until(lambda: running.server.statistics().connections == 0)


def test_a_handshake_without_end_is_cut(context: ssl.SSLContext) -> None:
    limits = Limits(head_seconds_max=0.2)
    with serving(ssl=context, limits=limits) as running, Client(running.port) as client:
        client.send(b"\x16\3\1\2\0\1\0\1\xfc\3\3")
        assert running.statistics().connections == 1
        assert client.receive_all() == b""
    with serving(ssl=context) as running, Client(running.port) as client:
        # The start of a message of 16 MB, in records of nearly 16 KB.
        record = b"\x16\3\1\x3f\0" + b"\1\xff\xff\xff" + bytes(0x3F00 - 4)
        try:
            for _ in range(100):
                client.send(record)
        except ConnectionError:
            pass
        else:
            assert client.receive()[:1] in {b"", b"\x15"}
        running.wait_until(lambda: running.server.statistics().connections == 0)


def test_many_handshakes_at_once_are_shaken_in_turns(
    context: ssl.SSLContext, issued: Issued
) -> None:
    """The watchdog of the server sees how long each turn takes."""
    with serving(ssl=context) as running:
        talks = [Talk(running.port, issued) for _ in range(200)]
        for talk in talks:
            with pytest.raises(ssl.SSLWantReadError):
                talk.tls.do_handshake()
        for talk in talks:
            talk.flush()
        for talk in talks:
            talk.shake_hands()
            talk.send(GET % b"x")
        for talk in talks:
            assert talk.receive_until(b"GET /x?\n")
            talk.client.socket.close()


def test_those_beyond_the_limit_are_told_so_once_hands_are_shaken(
    context: ssl.SSLContext, issued: Issued
) -> None:
    limits = Limits(connections_max=1)
    with serving(ssl=context, limits=limits) as running:
        first = Talk(running.port, issued)
        first.shake_hands()
        first.send(GET % b"x")
        assert first.receive_until(b"GET /x?\n")
        second = Talk(running.port, issued)
        second.shake_hands()
        assert second.receive_until(b"connections already").startswith(b"HTTP/1.1 503 ")
        first.client.socket.close()
        second.client.socket.close()


def test_a_client_that_is_gone_without_a_word_ends_its_stream(
    context: ssl.SSLContext, issued: Issued
) -> None:
    application = RecordingApplication()
    with serving(application, ssl=context) as running:
        talk = Talk(running.port, issued)
        talk.shake_hands()
        talk.send(GET % b"waiting")
        talk.receive_until(b"\r\n\r\n")
        talk.client.socket.settimeout(DEADLINE_SECONDS)
        talk.client.socket.close()
        running.wait_until(lambda: application.streams_cancelled == 1)
