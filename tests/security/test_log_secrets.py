"""The log holds no secret and nothing that a client sent, whatever happens, at every level.

The whole API is used, well and badly, by a client that knows the token and writes markers into
everything; bugs are met that quote requests; and then every byte of the output is searched.
"""

import base64
import hashlib
import json
import signal
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from everlog.api.routes import ROUTES, Answer, Route
from everlog.telemetry import LEVELS
from tests.support.buggy_server import ANSWERED, UNTOUCHED, Bug
from tests.support.keys import CertificateFiles, write_certificate, write_signing_key
from tests.support.server import (
    EVERLOG,
    RunningServer,
    run_to_end,
    running_server,
    started_process,
    wait_until,
)

TOKEN = "Leaky0Token1Leaky2Token3Leaky4Token5"
OTHER_TOKEN = "Wrong0Token1Wrong2Token3Wrong4Token5"
PASSPHRASE = "leaky passphrase of the private key"
# In every place where a client may write something.
MARKER = "leak4711marker"

BUGGY = (EVERLOG[0], "-m", "tests.support.buggy_server")

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
EVENT: dict[str, Any] = {
    "source": f"https://{MARKER}.example",
    "subject": f"/{MARKER}",
    "type": f"io.{MARKER}.happened",
    "data": {MARKER: f"{MARKER} {TOKEN}"},
    "traceparent": TRACEPARENT,
    "tracestate": f"{MARKER}={MARKER}",
}
SCHEMA = {"type": "object", "properties": {MARKER: {"type": "string"}}}

BODIES: tuple[bytes, ...] = (
    b"",
    b"{}",
    MARKER.encode(),
    f'{{"{MARKER}":'.encode(),
    f'{{"{MARKER}":1}}'.encode(),
    f'{{"subject":5,"x":"{MARKER}"}}'.encode(),
    b"\xff" + MARKER.encode(),
    *(
        json.dumps(body).encode()
        for body in (
            {"events": [EVENT]},
            {"events": [EVENT, {**EVENT, "subject": MARKER}]},
            {"events": [{**EVENT, "data": MARKER}]},
            {"events": [{**EVENT, "data": {"x": MARKER * 10_000}}]},
            {
                "events": [EVENT],
                "preconditions": [
                    {"type": "isSubjectPristine", "payload": {"subject": f"/{MARKER}"}}
                ],
            },
            {"subject": f"/{MARKER}", "options": {"recursive": True}},
            {"subject": MARKER, "options": {"recursive": True, "order": MARKER}},
            {"baseSubject": f"/{MARKER}"},
            {"eventType": f"io.{MARKER}.happened"},
            {"type": MARKER},
            {"eventType": f"io.{MARKER}.other", "schema": SCHEMA},
            {"type": f"io.{MARKER}.happened", "schema": {**SCHEMA, "required": [MARKER]}},
            {"type": f"io.{MARKER}.bad", "schema": {**SCHEMA, "pattern": f"({MARKER}"}},
        )
    ),
)

HEADERS: tuple[dict[str, str], ...] = (
    {},
    {"Authorization": f"Bearer {OTHER_TOKEN}"},
    {"Authorization": f"Basic {MARKER}"},
    {"Authorization": TOKEN},
    {"Authorization": f"Bearer {TOKEN}", "X-Marker": MARKER, "User-Agent": MARKER},
)

GARBAGE: tuple[bytes, ...] = (
    MARKER.encode() + b"\r\n\r\n",
    b"GET /" + MARKER.encode() + b" HTTP/9.9\r\n\r\n",
    b"GET / HTTP/1.1\r\nAuthorization: Bearer " + TOKEN.encode() + b"\r\nX\x01: y\r\n\r\n",
    b"GET /" + MARKER.encode() * 1_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: " + MARKER.encode() * 2_000 + b"\r\n\r\n",
    b"POST /api/v1/write-events HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
    b"Authorization: Bearer " + TOKEN.encode() + b"\r\n\r\n" + MARKER.encode() + b"\r\n",
    b"\x16\x03\x01" + MARKER.encode(),
)


class Secrets(NamedTuple):
    """What must not be found, and files that hold some of it."""

    signing_key: Path
    certificate: CertificateFiles
    token_file: Path
    passphrase_file: Path

    def flags(self) -> tuple[str, ...]:
        return (
            *self.certificate.flags,
            f"--https-private-key-passphrase-file={self.passphrase_file}",
            f"--signing-key-file={self.signing_key}",
            f"--api-token-file={self.token_file}",
        )

    def forms(self) -> Iterator[bytes]:
        """Yield every secret in every form in which it could show."""
        for text in (TOKEN, OTHER_TOKEN, PASSPHRASE, MARKER):
            yield from (text.encode(), quote(text).encode(), text.encode().hex().encode())
            # Without its end, which depends on what follows.
            yield base64.b64encode(text.encode())[:20]
        yield hashlib.sha256(TOKEN.encode()).hexdigest().encode()
        yield hashlib.sha256(TOKEN.encode()).digest()
        for pem in (
            self.signing_key.read_bytes(),
            self.certificate.private_key.read_bytes(),
            decrypted(self.certificate.private_key),
        ):
            yield from pem.splitlines()[1:-1]


def decrypted(path: Path) -> bytes:
    key = load_pem_private_key(path.read_bytes(), PASSPHRASE.encode())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.fixture
def secrets(tmp_path: Path) -> Secrets:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    (tmp_path / "passphrase").write_text(f"{PASSPHRASE}\n")
    write_signing_key(tmp_path / "signing-key.pem")
    return Secrets(
        signing_key=tmp_path / "signing-key.pem",
        certificate=write_certificate(tmp_path, passphrase=PASSPHRASE.encode()),
        token_file=tmp_path / "token",
        passphrase_file=tmp_path / "passphrase",
    )


def check_nothing_leaks(secrets: Secrets, *outputs: bytes) -> None:
    for output in outputs:
        for form in secrets.forms():
            assert form not in output, (form, output[max(output.find(form) - 200, 0) :][:600])


class Client:
    """Asks by hand, so that anything at all can be asked."""

    def __init__(self, port: int) -> None:
        self.port = port

    def is_answered(self) -> bool:
        """Tell whether the server listens and answers."""
        try:
            return self.ask("GET", "/api/v1/ping").startswith(b"HTTP/1.1 200 ")
        except ConnectionRefusedError:
            return False

    def send(self, data: bytes, *, until: bytes | None = None) -> bytes:
        """Return the answer up to a text, or all of it where it ends."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            connection.sendall(data)
            received = b""
            while until is None or until not in received:
                piece = connection.recv(65_536)
                if not piece:
                    break
                received += piece
            return received

    def ask(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        *,
        until: bytes | None = None,
    ) -> bytes:
        lines = {"Authorization": f"Bearer {TOKEN}"} if headers is None else headers
        head = [f"{method} {target} HTTP/1.1", "Host: a", f"Content-Length: {len(body)}"]
        head += ["Connection: close", *(f"{name}: {text}" for name, text in lines.items())]
        return self.send("\r\n".join([*head, "", ""]).encode() + body, until=until)


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def use_everything(client: Client) -> None:
    for route in ROUTES:
        for body in BODIES:
            if route.answer is not Answer.READ_ONLY_MODE:
                # An observation is left after its first line.
                is_endless = route.answer is Answer.OBSERVATION
                client.ask(
                    route.method, route.path, body, until=b"\r\n\r\n" if is_endless else None
                )
        for headers in HEADERS[:-1]:
            target = f"{route.path}?token={TOKEN}&format={MARKER}"
            client.ask(route.method, target, BODIES[8], headers)
    client.ask("GET", f"/api/v1/health?format={MARKER}", headers=HEADERS[-1])
    for data in GARBAGE:
        # What is not HTTP may be waited for: an answer or the end is not promised at once.
        with socket.create_connection(("127.0.0.1", client.port), timeout=20) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65_536):
                pass


def use_tls(port: int, secrets: Secrets) -> None:
    """Finish one handshake, and begin others that come to nothing."""
    context = secrets.certificate.client_context()
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as connection,
        context.wrap_socket(connection, server_hostname="127.0.0.1") as secured,
    ):
        secured.sendall(b"GET /api/v1/" + MARKER.encode() + b" HTTP/1.1\r\nHost: a\r\n\r\n")
        # The address has asked so often without the right token that it may be told to wait.
        assert secured.recv(100).startswith((b"HTTP/1.1 401", b"HTTP/1.1 429"))
    for data in (MARKER.encode() * 100, b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01"):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            connection.sendall(data + MARKER.encode() * 200)
            connection.shutdown(socket.SHUT_WR)
            while True:
                try:
                    if not connection.recv(65_536):
                        break
                except ConnectionResetError:
                    break
    distrusting = ssl.create_default_context()
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as connection,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        distrusting.wrap_socket(connection, server_hostname="127.0.0.1")


def meet_every_bug(client: Client) -> None:
    body = json.dumps({"events": [EVENT]}).encode()
    for route in (
        ROUTES[0],
        routes_named("/api/v1/write-events"),
        routes_named("data/read-events"),
    ):
        for bug in ANSWERED:
            answer = client.ask(route.method, f"{route.path}?bug={bug}", body)
            assert answer.startswith(b"HTTP/1.1 500 "), (bug, answer)
        for bug in UNTOUCHED:
            answer = client.ask(route.method, f"{route.path}?bug={bug}", body)
            assert answer.startswith(b"HTTP/1.1 200 "), (bug, answer)
        cut = client.ask(route.method, f"{route.path}?bug={Bug.STREAM}", body)
        assert cut.endswith(b"something\n\r\n")
        with socket.create_connection(("127.0.0.1", client.port), timeout=20) as connection:
            head = f"{route.method} {route.path}?bug={Bug.DISCONNECT} HTTP/1.1\r\nHost: a\r\n"
            head += f"Authorization: Bearer {TOKEN}\r\n\r\n"
            connection.sendall(head.encode())
            # Its end is then a reset, which the server notices at once.
            no_lingering = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_lingering)


def routes_named(end: str) -> Route:
    return next(route for route in ROUTES if route.path.endswith(end))


# Each of these is met on three routes, and says so in one line.
BUGS_ON_ROUTES = [*ANSWERED, *UNTOUCHED, Bug.STREAM, Bug.DISCONNECT]
SAID_OTHERWISE = {
    Bug.LOOP: "the event loop met something unexpected",
    Bug.WARNING: "a library warns",
    Bug.LOGGING: "a library warns",
}


def fail_the_writer(client: Client) -> None:
    for bug in (Bug.STAGE, Bug.COMMIT):
        event = {**EVENT, "subject": f"/{MARKER}/{bug}"}
        answer = client.ask(
            "POST", "/api/v1/write-events", json.dumps({"events": [event]}).encode()
        )
        assert answer.startswith(b"HTTP/1.1 500 "), answer
    answer = client.ask("POST", "/api/v1/write-events", json.dumps({"events": [EVENT]}).encode())
    assert answer.startswith(b"HTTP/1.1 503 ")


def reload_badly(server: RunningServer, secrets: Secrets, *, is_told: bool) -> None:
    """Have the token file read again while it holds something that is no token."""
    for content in (f"{TOKEN}\x01{MARKER}", f"{MARKER}\n{TOKEN}\n{OTHER_TOKEN}"):
        secrets.token_file.write_text(content)
        said = len(server.output)
        server.process.send_signal(signal.SIGHUP)
        if is_told:
            wait_until(lambda before=said: len(server.output) > before)
    secrets.token_file.write_text(f"{TOKEN}\n")


@pytest.mark.slow
@pytest.mark.parametrize("level", LEVELS)
def test_whatever_is_asked_and_whatever_goes_wrong_nothing_leaks(
    secrets: Secrets, tmp_path: Path, level: str
) -> None:
    is_told = level != "fatal"
    # The log says where the server listens, but not at every level.
    http_port, https_port = free_port(), free_port()
    command = (
        *BUGGY,
        "run",
        "--host=127.0.0.1",
        "--http-enabled",
        f"--http-port={http_port}",
        f"--https-port={https_port}",
        f"--data-directory={tmp_path / 'data'}",
        f"--log-level={level}",
        *secrets.flags(),
    )
    with started_process(command, tmp_path / "data", {}) as server:
        client = Client(http_port)
        wait_until(client.is_answered)
        use_everything(client)
        use_tls(https_port, secrets)
        meet_every_bug(client)
        wait_until(lambda: bug_count(client) == expected_bug_count())
        fail_the_writer(client)
        reload_badly(server, secrets, is_told=is_told)
        client.ask("POST", "/api/v1/put-into-read-only-mode")
        assert server.stop() == 0

    output, errors = b"".join(server.output), b"".join(server.errors)
    check_nothing_leaks(secrets, output, errors)
    assert errors == b""
    allowed = LEVELS[LEVELS.index(level) :]
    assert {line["level"] for line in server.log} <= set(allowed)
    check_bugs_are_told(server, is_told=is_told)


def check_bugs_are_told(server: RunningServer, *, is_told: bool) -> None:
    """See that the tracebacks were there to be searched."""
    bugs = [line for line in server.log if line["message"] == "unexpected error"]
    assert (len(bugs) >= expected_bug_count()) == is_told
    for line in bugs:
        assert "buggy_server.py" in line["traceback"]
        assert line["error"] in {"QuotingError", "KeyError", "ExceptionGroup"}


def expected_bug_count() -> int:
    return 3 * len([bug for bug in BUGS_ON_ROUTES if bug not in SAID_OTHERWISE])


def bug_count(client: Client) -> int:
    text = client.ask("GET", "/api/v1/health?format=openmetrics").decode()
    line = next(line for line in text.splitlines() if "unexpected_errors_total" in line)
    return int(line.split()[1])


def damaged_signing_key(secrets: Secrets) -> tuple[str, ...]:
    lines = secrets.signing_key.read_bytes().splitlines()
    secrets.signing_key.with_name("bad.pem").write_bytes(b"\n".join([*lines[1:], TOKEN.encode()]))
    return (f"--signing-key-file={secrets.signing_key.with_name('bad.pem')}",)


def foreign_signing_key(secrets: Secrets) -> tuple[str, ...]:
    # An elliptic key, and so none that can sign.
    return (f"--signing-key-file={secrets.certificate.private_key}",)


def wrong_passphrase(secrets: Secrets) -> tuple[str, ...]:
    secrets.passphrase_file.write_text(f"{MARKER} {OTHER_TOKEN}")
    return ()


def keys_in_the_wrong_place(secrets: Secrets) -> tuple[str, ...]:
    return (f"--https-certificate-file={secrets.certificate.private_key}",)


def too_many_tokens(secrets: Secrets) -> tuple[str, ...]:
    secrets.token_file.write_text(f"{TOKEN}\n{OTHER_TOKEN}\n{MARKER}\n")
    return ()


def unusable_token(secrets: Secrets) -> tuple[str, ...]:
    secrets.token_file.write_text(f"{TOKEN}\x01\n")
    return ()


def token_on_the_command_line(_: Secrets) -> tuple[str, ...]:
    return (f"--api-token={TOKEN} ",)


@pytest.mark.parametrize(
    "spoil",
    [
        damaged_signing_key,
        foreign_signing_key,
        wrong_passphrase,
        keys_in_the_wrong_place,
        too_many_tokens,
        unusable_token,
        token_on_the_command_line,
    ],
)
def test_a_start_that_fails_says_why_without_the_secret(
    secrets: Secrets, tmp_path: Path, spoil: Callable[[Secrets], tuple[str, ...]]
) -> None:
    flags = (*secrets.flags(), f"--data-directory={tmp_path / 'data'}", "--log-level=debug")

    ended = run_to_end("run", *flags, *spoil(secrets))

    assert ended.code == 2
    assert "Traceback" not in ended.errors
    check_nothing_leaks(secrets, ended.output.encode(), ended.errors.encode())


@pytest.mark.parametrize("spoiled", [b"}}", b'"data"', b'"hash"', b'"id":"'])
def test_damage_is_told_without_what_was_damaged(
    secrets: Secrets, tmp_path: Path, spoiled: bytes
) -> None:
    data = tmp_path / "data"
    with running_server(data_directory=data) as server:
        client = Client(server.port)
        token = {"Authorization": f"Bearer {server.token}"}
        for _ in range(2):
            client.ask("POST", "/api/v1/write-events", BODIES[7], token)
        server.kill()
    [segment] = (data / "log").glob("*.ndjson")
    content = segment.read_bytes()
    assert content.count(MARKER.encode()) >= 2
    segment.write_bytes(content.replace(spoiled, MARKER.encode()[: len(spoiled)], 1))

    ended = run_to_end("run", *secrets.flags(), f"--data-directory={data}", "--log-level=debug")

    assert ended.code == 4
    assert "is damaged" in ended.log[-1]["message"]
    assert ended.errors == ""
    check_nothing_leaks(secrets, ended.output.encode())


def test_the_search_finds_each_form_of_a_secret(secrets: Secrets) -> None:
    for form in secrets.forms():
        with pytest.raises(AssertionError):
            check_nothing_leaks(secrets, b"{" + form + b"}")
