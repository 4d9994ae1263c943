"""HTTPS with real handshakes: what is spoken, what is refused, and exchanging the certificate."""

import http.client
import signal
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.api import Connection, an_event
from tests.support.certificates import (
    PASSPHRASE,
    Issued,
    issue,
    new_rsa_key,
    write_files,
)
from tests.support.keys import CertificateFiles
from tests.support.server import (
    DEADLINE_SECONDS,
    TOKEN,
    RunningServer,
    run_to_end,
    running_server,
    wait_until,
)

RELOADED = "the certificate was read again"
REFUSED = "the certificate cannot be used"

ONLY_HTTPS = ("--https-enabled", "--http-enabled=false")


@pytest.fixture(scope="module")
def issued() -> Issued:
    return issue()


@pytest.fixture
def files(tmp_path: Path, issued: Issued) -> CertificateFiles:
    return write_files(tmp_path, issued)


@pytest.fixture
def server(files: CertificateFiles) -> Iterator[RunningServer]:
    with running_server(*files.flags, *ONLY_HTTPS) as server:
        yield server


def client_context(*trusted: Issued) -> ssl.SSLContext:
    return ssl.create_default_context(cadata="".join(part.pem.decode() for part in trusted))


def shaken_hands(port: int, context: ssl.SSLContext) -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_SECONDS)
    return context.wrap_socket(plain, server_hostname="127.0.0.1")


def serial_shown(port: int, *trusted: Issued) -> int:
    """Return the serial number of the certificate that a new connection gets."""
    with shaken_hands(port, client_context(*trusted)) as client:
        certificate = client.getpeercert()
    assert certificate is not None
    return int(str(certificate["serialNumber"]), 16)


def check_serves(server: RunningServer, *trusted: Issued) -> None:
    with Connection(server.url, context=client_context(*trusted)) as client:
        assert client.ask("POST", "/api/v1/verify-api-token").status == 200


def reload(server: RunningServer, message: str) -> None:
    def count() -> int:
        return sum(line["message"].startswith(message) for line in server.log)

    before = count()
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: count() > before)


# What is spoken.


@pytest.mark.parametrize(
    "version, name",
    [(ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.MAXIMUM_SUPPORTED, "TLSv1.3")],
)
def test_tls_1_3_is_preferred_and_1_2_is_spoken(
    server: RunningServer, issued: Issued, version: ssl.TLSVersion, name: str
) -> None:
    context = client_context(issued)
    context.maximum_version = version
    context.set_alpn_protocols(["h2", "http/1.1"])

    with shaken_hands(server.port, context) as client:
        assert client.version() == name
        assert client.selected_alpn_protocol() == "http/1.1"


# RFC 5246 section 7.4.1.4: what the client can verify and compute with.
EXTENSIONS = bytes.fromhex("000a 0006 0004 0017 001d  000d 0006 0004 0403 0804")
# Of ECDHE-ECDSA with AES-GCM, and what the older versions could use.
CIPHERS = bytes.fromhex("c02b c02c c009 c00a c013 c014 002f 0035")


def answer_to_hello(server: RunningServer, version: bytes) -> bytes:
    """Return what a client gets that knows this version and no newer one."""
    hello = b"".join((
        version,
        bytes(32),
        b"\0",
        struct.pack(">H", len(CIPHERS)) + CIPHERS,
        b"\1\0",
        struct.pack(">H", len(EXTENSIONS)) + EXTENSIONS,
    ))  # fmt: skip
    handshake = b"\1" + struct.pack(">I", len(hello))[1:] + hello
    record = b"\x16" + version + struct.pack(">H", len(handshake)) + handshake
    with socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE_SECONDS) as client:
        client.sendall(record)
        return client.recv(5)


def test_older_versions_are_refused(server: RunningServer) -> None:
    # A handshake record; the same words are understood from the version on that is spoken.
    assert answer_to_hello(server, b"\3\3")[:3] == b"\x16\3\3"

    for version in (b"\3\0", b"\3\1", b"\3\2"):
        # An alert, or the end of the connection without one.
        assert answer_to_hello(server, version)[:1] in {b"", b"\x15"}


def test_ciphers_that_are_weak_or_open_what_was_recorded_are_refused(
    server: RunningServer, issued: Issued
) -> None:
    context = client_context(issued)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    for cipher in ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"):
        context.set_ciphers(cipher)
        with shaken_hands(server.port, context) as client:
            used = client.cipher()
        assert used is not None
        assert used[0] == cipher

    for cipher in ("ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES256-SHA", "AES128-GCM-SHA256"):
        context.set_ciphers(cipher)
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            shaken_hands(server.port, context)


def test_rsa_keys_encrypted_keys_and_chains_are_served(tmp_path: Path) -> None:
    root = issue(is_authority=True)
    intermediate = issue(issuer=root, is_authority=True)
    leaf = issue(key=new_rsa_key(), issuer=intermediate)
    files = write_files(tmp_path, leaf, chain=(intermediate,), passphrase=PASSPHRASE)
    passphrase_file = tmp_path / "passphrase"
    passphrase_file.write_bytes(PASSPHRASE + b"\n")
    flags = (*files.flags, f"--https-private-key-passphrase-file={passphrase_file}", *ONLY_HTTPS)

    with running_server(*flags) as server:
        # The client knows the root only, so that the rest must come from the server.
        check_serves(server, root)
        server.stop()
        assert PASSPHRASE not in b"".join([*server.output, *server.errors])


def test_http_and_https_are_served_side_by_side(files: CertificateFiles, issued: Issued) -> None:
    with running_server(*files.flags) as server:
        wait_until(lambda: len(server.urls) == 2)
        assert [url.partition(":")[0] for url in server.urls] == ["https", "http"]

        for url in server.urls:
            with Connection(url, context=client_context(issued)) as client:
                client.write(an_event())
        with Connection(server.urls[0], context=client_context(issued)) as client:
            assert len(client.read_all()) == 2


# What is not spoken.


WRONG_PORT = "a client speaks to the wrong port"


def answer_to(port: int, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_SECONDS) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(1_000), b""))


def test_plain_http_on_the_port_for_https_gets_one_line_that_says_so(
    server: RunningServer, issued: Issued
) -> None:
    for _ in range(3):
        answer = answer_to(server.port, b"GET /api/v1/ping HTTP/1.1\r\nHost: a\r\n\r\n")
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 ")
        assert body.count(b"\n") == 1
        assert b"https" in body.lower()

    check_serves(server, issued)
    server.stop()
    lines = [line for line in server.log if line["message"] == WRONG_PORT]
    assert [(line["level"], line["address"]) for line in lines] == [("warn", "127.0.0.1")]
    assert "HTTPS" in lines[0]["what"]


def test_https_on_the_port_for_plain_http_is_told_of() -> None:
    with running_server() as server:
        with pytest.raises(ssl.SSLError):
            shaken_hands(server.port, ssl.create_default_context())
        line = server.wait_for_log(WRONG_PORT)
    assert "TLS" in line["what"]


def test_nonsense_on_the_tls_port_is_dropped_without_a_word_in_the_log(
    server: RunningServer, issued: Issued
) -> None:
    for nonsense in (b"\0" * 100, b"\x16\3\1\xff"):
        assert b"HTTP" not in answer_to(server.port, nonsense)

    check_serves(server, issued)
    server.stop()
    assert server.errors == []
    assert not [line for line in server.log if line["level"] in {"error", "fatal"}]


@pytest.mark.slow
def test_handshakes_that_never_end_hold_up_nobody_and_are_cut(
    server: RunningServer, issued: Issued
) -> None:
    silent = socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE_SECONDS)
    begun = socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE_SECONDS)
    with silent, begun:
        begun.sendall(b"\x16\3\1\2\0\1\0\1\xfc\3\3")
        others = [
            socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE_SECONDS)
            for _ in range(200)
        ]
        try:
            for _ in range(20):
                check_serves(server, issued)
            # After as long as the head of a request may take.
            assert silent.recv(100) == b""
            assert begun.recv(100) == b""
        finally:
            for other in others:
                other.close()
    check_serves(server, issued)


# Certificates that are refused, and what is warned about.


@pytest.mark.parametrize(
    "starts, ends, text",
    [
        (timedelta(days=-9), timedelta(days=-1), "expired on"),
        (timedelta(days=1), timedelta(days=9), "is not valid before"),
    ],
)
def test_a_certificate_that_clients_would_refuse_ends_the_start(
    tmp_path: Path, starts: timedelta, ends: timedelta, text: str
) -> None:
    check_refused(write_files(tmp_path, issue(starts=starts, ends=ends)), text)


def test_a_key_of_another_certificate_ends_the_start(tmp_path: Path) -> None:
    files = write_files(tmp_path, issue(), key=issue().key)

    check_refused(files, "the key does not belong to the first certificate in the file")


def check_refused(files: CertificateFiles, text: str) -> None:
    ended = run_to_end(
        "run", "--data-directory-temporary", *files.flags, environment={"EVERLOG_API_TOKEN": TOKEN}
    )

    assert ended.code == 2
    assert ended.log[-1]["level"] == "fatal"
    assert text in ended.log[-1]["message"]
    assert "tls.crt" in ended.log[-1]["message"]


def test_a_certificate_that_expires_soon_is_warned_about(tmp_path: Path) -> None:
    files = write_files(tmp_path, issue(ends=timedelta(days=29, hours=12)))

    with running_server(*files.flags) as server:
        warning = server.wait_for_log("the certificate expires soon")

    assert (warning["level"], warning["days"]) == ("warn", 29)


def test_a_certificate_that_lasts_is_not_warned_about(tmp_path: Path) -> None:
    files = write_files(tmp_path, issue(ends=timedelta(days=30, hours=12)))

    with running_server(*files.flags) as server:
        assert not [line for line in server.log if "expires" in line["message"]]


@pytest.mark.parametrize("host, is_open", [("127.0.0.1", False), ("0.0.0.0", True)])
def test_plain_http_for_other_machines_is_warned_about(host: str, *, is_open: bool) -> None:
    with running_server(f"--host={host}") as server:
        warnings = [line for line in server.log if line["message"].startswith("plain HTTP is open")]

    assert [warning["host"] for warning in warnings] == [host] * is_open
    assert [warning["level"] for warning in warnings] == ["warn"] * is_open


# Exchanging the certificate.


def test_new_connections_get_the_new_certificate_and_open_ones_go_on(
    server: RunningServer, files: CertificateFiles, issued: Issued
) -> None:
    new = issue(key=new_rsa_key())
    with Connection(server.url, context=client_context(issued)) as old_client:
        assert old_client.ask("POST", "/api/v1/verify-api-token").status == 200
        write_files(files.certificate.parent, new)

        reload(server, RELOADED)

        assert serial_shown(server.port, new) == new.serial
        assert server.log[-1]["expires"] == new.certificate.not_valid_after_utc.isoformat()
        # It shook hands before.
        assert old_client.ask("POST", "/api/v1/verify-api-token").status == 200
    with pytest.raises(ssl.SSLCertVerificationError):
        serial_shown(server.port, issued)


def test_a_certificate_that_cannot_be_used_changes_nothing(
    server: RunningServer, files: CertificateFiles, issued: Issued
) -> None:
    directory = files.certificate.parent
    expired = issue(starts=timedelta(days=-9), ends=timedelta(days=-1))
    write_files(directory, expired)
    reload(server, REFUSED)
    assert serial_shown(server.port, issued) == issued.serial

    # Half of an exchange: the new certificate with the old key.
    new = issue()
    write_files(directory, new, key=issued.key)
    reload(server, REFUSED)
    assert serial_shown(server.port, issued) == issued.serial

    files.private_key.unlink()
    reload(server, REFUSED)
    assert serial_shown(server.port, issued) == issued.serial

    write_files(directory, new)
    reload(server, RELOADED)
    assert serial_shown(server.port, new) == new.serial
    errors = [line["reason"] for line in server.log if line["level"] == "error"]
    assert ["expired" in errors[0], "belong" in errors[1], "exist" in errors[2]] == [True] * 3


def test_no_request_fails_while_certificates_are_exchanged(
    server: RunningServer, files: CertificateFiles, issued: Issued
) -> None:
    certificates = [issued, *(issue() for _ in range(5))]
    context = client_context(*certificates)
    is_done = threading.Event()
    failures: list[Exception] = []
    written: list[int] = []
    seen: set[int] = set()

    def write() -> None:
        """Write on a kept connection and on a new one in turns."""
        try:
            with Connection(server.url, context=context) as kept:
                while not is_done.is_set():
                    kept.write(an_event())
                    with Connection(server.url, context=context) as fresh:
                        fresh.write(an_event())
                        seen.add(serial_of(fresh))
                    written.append(2)
        except (OSError, http.client.HTTPException, AssertionError) as error:
            failures.append(error)

    writers = [threading.Thread(target=write) for _ in range(3)]
    for writer in writers:
        writer.start()
    try:
        wait_for_rounds(written, failures)
        for certificate in certificates[1:]:
            write_files(files.certificate.parent, certificate)
            reload(server, RELOADED)
            wait_for_rounds(written, failures)
    finally:
        is_done.set()
        for writer in writers:
            writer.join()

    assert failures == []
    assert {part.serial for part in certificates} == seen
    with Connection(server.url, context=context) as client:
        assert len(client.read_all()) == sum(written)


def wait_for_rounds(written: list[int], failures: list[Exception]) -> None:
    """Wait until connections were made that nobody had begun to make before."""
    before = len(written)
    wait_until(lambda: len(written) >= before + 6 or bool(failures))


def serial_of(connection: Connection) -> int:
    assert isinstance(connection.http.sock, ssl.SSLSocket)
    certificate = connection.http.sock.getpeercert()
    assert certificate is not None
    return int(str(certificate["serialNumber"]), 16)
