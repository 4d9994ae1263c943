"""Starting, stopping, counting, and TLS."""

import asyncio
import datetime as dt
import socket
import ssl
from contextlib import AbstractContextManager
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from everlog.http import Limits, Response, Server
from tests.support.serving import Client, RecordingApplication, Serving, serving

GET = b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n"


def stop_in_background(running: Serving, *, grace_seconds: float) -> None:
    stopping = running.server.stop(grace_seconds=grace_seconds)
    asyncio.run_coroutine_threadsafe(stopping, running.loop)
    running.wait_until(lambda: not running.server._listeners)


def test_stopping_closes_idle_connections_at_once() -> None:
    with serving() as running, Client(running.port) as fresh, Client(running.port) as kept:
        kept.send(GET % b"x")
        assert kept.read_answer().status == 200

        stop_in_background(running, grace_seconds=10.0)

        assert kept.receive_all() == b""
        assert fresh.receive_all() == b""


def test_stopping_refuses_new_connections() -> None:
    with serving() as running:
        running.stop(grace_seconds=1.0)

        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", running.port))


def test_stopping_waits_for_answers_and_says_that_they_are_the_last() -> None:
    application = RecordingApplication()
    with serving(application) as running, Client(running.port) as client:
        client.send(GET % b"later" + GET % b"later")
        running.wait_until(lambda: len(application.waiting) == 2)

        stop_in_background(running, grace_seconds=10.0)
        for exchange in application.waiting:
            running.call(lambda exchange=exchange: exchange.respond(Response(200, b"", b"")))

        first, second = client.read_answer(), client.read_answer()
        assert (first.status, first.headers.get(b"connection")) == (200, None)
        assert (second.status, second.headers.get(b"connection")) == (200, b"close")
        assert client.receive_all() == b""


def test_a_request_that_is_arriving_while_stopping_is_answered() -> None:
    with serving() as running, Client(running.port) as client:
        client.send(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na")
        running.wait_until(lambda: len(running.application.heads) == 1)
        stop_in_background(running, grace_seconds=10.0)

        # What comes after the last answer is not looked at.
        client.send(b"bc" + GET % b"later")

        answer = client.read_answer()
        assert answer.body == b"POST /x?\nabc"
        assert answer.headers[b"connection"] == b"close"
        assert client.receive_all() == b""
        assert len(running.application.heads) == 1


def test_a_refused_request_that_is_arriving_while_stopping_ends_the_connection() -> None:
    with serving() as running, Client(running.port) as client:
        client.send(b"POST /refused HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na")
        assert client.read_answer().status == 401
        stop_in_background(running, grace_seconds=10.0)

        client.send(b"bc")

        assert client.receive_all() == b""


def test_a_stream_that_ends_while_stopping_is_whole() -> None:
    application = RecordingApplication()
    with serving(application) as running, Client(running.port) as client:
        client.send(GET % b"later" + GET % b"numbers?2")
        running.wait_until(lambda: len(application.waiting) == 1)

        stop_in_background(running, grace_seconds=10.0)
        running.call(lambda: application.waiting[0].respond(Response(200, b"", b"")))

        assert client.read_answer().is_whole
        assert client.read_answer().body == b"number 0\nnumber 1\n"
        assert client.receive_all() == b""


def test_what_is_not_done_when_the_grace_is_over_is_cut() -> None:
    application = RecordingApplication()
    with serving(application) as running, Client(running.port) as client:
        client.send(GET % b"waiting")
        client.read_until(b"\r\n\r\n")

        running.stop(grace_seconds=0.01)

        assert running.statistics().connections == 0
        assert running.statistics().streams == 0
        assert application.streams_cancelled == 1
        assert client.is_closed_by_server()


def test_a_server_that_was_never_started_counts_nothing_and_stops() -> None:
    server = Server(RecordingApplication(), server_header=b"x", headers_kept=frozenset())

    asyncio.run(server.stop(grace_seconds=1.0))

    assert server.statistics().connections == 0


def test_several_listeners_serve_the_same_application() -> None:
    with serving() as running:
        starting = running.server.start("127.0.0.1", 0, ssl=None)
        port = asyncio.run_coroutine_threadsafe(starting, running.loop).result(10)

        for each in (running.port, port):
            with Client(each) as client:
                client.send(GET % b"x")
                assert client.read_answer().status == 200


def test_statistics_count_what_happened() -> None:
    with serving() as running, Client(running.port) as client, Client(running.port) as other:
        client.send(GET % b"x" + GET % b"refused" + GET % b"waiting")
        client.read_answer()
        client.read_answer()
        other.send(b"nonsense\r\n\r\n")
        other.read_answer()
        client.read_until(b"\r\n\r\n")

        statistics = running.statistics()
        assert statistics.connections == 2
        assert statistics.connections_accepted == 2
        assert statistics.requests == 2
        assert statistics.early_answers == {400: 1, 401: 1}
        assert statistics.streams == 1


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a file with a self-signed certificate for 127.0.0.1, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    file.write_bytes(
        signed.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return file


def serving_tls(
    certificate: Path, application: RecordingApplication | None = None
) -> AbstractContextManager[Serving]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return serving(application, ssl=context, limits=Limits(linger_seconds_max=0.2))


def tls_client(certificate: Path, port: int) -> Client:
    context = ssl.create_default_context(cafile=str(certificate))

    def wrap(plain: socket.socket) -> socket.socket:
        return context.wrap_socket(plain, server_hostname="127.0.0.1")

    return Client(port, socket_wrapper=wrap)


def test_tls_answers_streams_and_ends_in_order(certificate: Path) -> None:
    with serving_tls(certificate) as running, tls_client(certificate, running.port) as client:
        client.send(GET % b"x" + GET % b"numbers?2")
        assert client.read_answer().body == b"GET /x?\n"
        assert client.read_answer().body == b"number 0\nnumber 1\n"

        body = b"x" * 500_000
        client.send(
            b"POST /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 500000\r\n\r\n"
        )
        client.send(body)

        assert client.read_answer().body == b"POST /x?\n" + body
        assert client.receive_all() == b""


def test_tls_refusals_are_readable(certificate: Path) -> None:
    with serving_tls(certificate) as running, tls_client(certificate, running.port) as client:
        client.send(b"POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n")
        client.send(b"x" * 200_000)

        assert client.read_answer().status == 413
        assert client.is_closed_by_server()


def test_tls_disconnects_cancel_the_stream(certificate: Path) -> None:
    application = RecordingApplication()
    with serving_tls(certificate, application) as running:
        client = tls_client(certificate, running.port)
        client.send(GET % b"waiting")
        client.read_until(b"\r\n\r\n")

        client.socket.close()

        running.wait_until(lambda: application.streams_cancelled == 1)


def test_plain_text_on_a_tls_port_harms_nobody(certificate: Path) -> None:
    with serving_tls(certificate) as running:
        with Client(running.port) as client:
            client.send(GET % b"x")
            client.receive()

        with tls_client(certificate, running.port) as client:
            client.send(GET % b"x")
            assert client.read_answer().status == 200
