"""nginx in front of a server, configured with the files that are delivered.

Only what differs on every machine is replaced: ports, host, and where files are.
"""

import json
import socket
import ssl
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from eventsourcingdb import Client, Event, ObserveEventsOptions, ReadEventsOptions

from tests.support.api import Answer, Connection, an_event
from tests.support.keys import CertificateFiles, write_certificate
from tests.support.proxy import running_nginx
from tests.support.sdk import API_VERSIONS, Place, Sdk, collect, take
from tests.support.server import TOKEN, RunningServer, running_server, wait_until
from tests.support.sources import REPOSITORY

FOLDER = REPOSITORY / "deploy" / "nginx"

# What the page says is changed to reach Everlog by TLS.
TLS_CHANGES = {
    "server 127.0.0.1:3000;": "server 127.0.0.1:4000;",
    "proxy_pass http://everlog;": (
        "proxy_pass https://everlog; include snippets/everlog-upstream-tls.conf;"
    ),
}

# Far less than anybody's patience, far more than a loaded machine needs.
PROMPT_SECONDS = 5.0


@dataclass(frozen=True)
class Proxy:
    """Where nginx listens, and what it writes."""

    port: int
    certificate: CertificateFiles
    server: RunningServer
    folder: Path

    @property
    def access_log(self) -> Path:
        return self.folder / "everlog.access.log"

    @property
    def written(self) -> bytes:
        """Return everything that nginx logs."""
        return b"".join(path.read_bytes() for path in sorted(self.folder.glob("*.log")))

    def connect(self, context: ssl.SSLContext | None = None) -> Connection:
        trusting = context or self.certificate.client_context()
        return Connection(f"https://127.0.0.1:{self.port}", context=trusting)


def with_replacements(text: str, replacements: dict[str, str]) -> str:
    for shown, actual in replacements.items():
        assert shown in text, shown
        text = text.replace(shown, actual)
    return text


def configuration(
    folder: Path,
    port: int,
    certificate: CertificateFiles,
    *,
    upstream: str,
    is_tls: bool,
    is_buffered: bool,
) -> str:
    """Return the delivered configuration for these files, port and upstream."""
    text = (FOLDER / "everlog.conf").read_text(encoding="utf-8")
    snippet = (FOLDER / "everlog-upstream-tls.conf").read_text(encoding="utf-8")
    (folder / "everlog-upstream-tls.conf").write_text(
        with_replacements(
            snippet,
            {
                "/etc/nginx/everlog-ca.crt": str(certificate.certificate),
                # The name that the tests' certificates have.
                "everlog.internal": "everlog.test",
            },
        )
    )
    if is_buffered:
        text = with_replacements(text, {"proxy_buffering off;": "proxy_buffering on;"})
    if is_tls:
        text = with_replacements(text, TLS_CHANGES)
        text = text.replace("snippets/", f"{folder}/")
    shown_upstream = "server 127.0.0.1:4000;" if is_tls else "server 127.0.0.1:3000;"
    return with_replacements(
        text,
        {
            shown_upstream: f"server {upstream};",
            "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
            "listen [::]:443 ssl;": "",
            "/etc/nginx/tls.crt": str(certificate.certificate),
            "/etc/nginx/tls.key": str(certificate.private_key),
            "/var/log/nginx/": f"{folder}/",
        },
    )


@pytest.fixture(scope="module", params=["http", "https"])
def proxy(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    is_tls = request.param == "https"
    with running_proxy(tmp_path_factory.mktemp("nginx"), is_tls=is_tls) as proxy:
        yield proxy


@contextmanager
def running_proxy(
    folder: Path,
    *,
    is_tls: bool,
    server_certificate: CertificateFiles | None = None,
    is_buffered: bool = False,
) -> Iterator[Proxy]:
    """Run a server, and nginx in front, with TLS between them or without.

    With `is_buffered`, nginx gathers answers instead of passing on what there is.
    """
    certificate = write_certificate(folder)
    served = server_certificate or certificate
    flags = ["--http-enabled=false", *served.flags] if is_tls else []
    with running_server(*flags) as server:

        def write_configuration(port: int) -> str:
            upstream = f"127.0.0.1:{server.port}"
            return configuration(
                folder,
                port,
                certificate,
                upstream=upstream,
                is_tls=is_tls,
                is_buffered=is_buffered,
            )

        with running_nginx(write_configuration) as port:
            yield Proxy(port, certificate, server, folder)


@pytest.mark.slow
@pytest.mark.parametrize("is_buffered", [False, True])
def test_lines_arrive_whole_however_nginx_gathers_them(
    tmp_path: Path, *, is_buffered: bool
) -> None:
    events = [an_event("/lines", data={"text": "x" * (number % 700)}) for number in range(3_000)]
    with (
        running_proxy(tmp_path, is_tls=False, is_buffered=is_buffered) as proxy,
        proxy.connect() as connection,
    ):
        stored = connection.v1("write-events", {"events": events}).json
        for upper in (0, 20, 2_999):
            bound = {"id": str(upper), "type": "inclusive"}
            options = {"recursive": True, "upperBound": bound}
            read = connection.v1("read-events", {"subject": "/", "options": options})

            assert "content-length" not in read.headers
            assert read.events == stored[: upper + 1]


@pytest.mark.slow
def test_writes_of_any_size_and_reads_pass(proxy: Proxy) -> None:
    events = [an_event("/sizes", data={"text": "x" * 60_000}) for _ in range(50)]

    with proxy.connect() as connection:
        written = connection.v1("write-events", {"events": events})
        read = connection.v2("read-events", {"subject": "/sizes"})

    assert (written.status, len(written.json)) == (200, 50)
    assert len(read.events) == 50
    assert read.items[-1] == {"type": "end", "data": {}}


@pytest.mark.slow
@pytest.mark.parametrize("api_version", API_VERSIONS)
def test_the_sdk_works_through_nginx(tmp_path: Path, api_version: str) -> None:
    place = Place()

    async def work(client: Client) -> tuple[list[Event], list[Event]]:
        await client.verify_api_token()
        written = await client.write_events([place.event(), place.event()])
        options = ReadEventsOptions(recursive=True)
        assert await collect(client.read_events(place.subject, options)) == written
        observing = client.observe_events(place.subject, ObserveEventsOptions(recursive=True))
        observed = [await anext(observing), await anext(observing)]
        written += await client.write_events([place.event()])
        return written, observed + await take(observing, 1)

    def without_tls(port: int) -> str:
        # The SDK trusts the authorities of the system only, and ours is not one of them.
        upstream = f"127.0.0.1:{server.port}"
        certificate = write_certificate(tmp_path)
        text = configuration(
            tmp_path, port, certificate, upstream=upstream, is_tls=False, is_buffered=False
        )
        return with_replacements(text, {f":{port} ssl;": f":{port};"})

    with running_server() as server, running_nginx(without_tls) as port:
        written, observed = Sdk(f"http://127.0.0.1:{port}", api_version).run(work)

    assert observed == written
    for event in observed:
        event.verify_hash()


@pytest.mark.slow
def test_the_answers_are_those_of_everlog(proxy: Proxy) -> None:
    with proxy.connect() as connection:
        for answer, status in (
            (connection.ask("GET", "/api/v1/ping"), 200),
            (connection.ask("QUERY", "/api/v2/data/read-event-types", {}), 200),
            (connection.ask("GET", "/api/v1//ping"), 404),
            (connection.ask("POST", "/api/v1/read-events", b"{"), 400),
            (connection.ask("POST", "/api/v1/read-events", b"{}", headers={}), 401),
        ):
            check_from_everlog(answer, status)


def check_from_everlog(answer: Answer, status: int) -> None:
    assert answer.status == status, answer.text
    # SDKs refuse to talk to anybody else.
    (name,) = answer.headers.get_all("Server", [])
    assert name.startswith("EventSourcingDB/")
    assert "nginx" not in answer.text


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/api/v1/write-events", "/api/v1/read-events"])
def test_a_body_that_is_too_large_is_refused_by_everlog(proxy: Proxy, path: str) -> None:
    size = 64 * 1024 * 1024 + 1
    head = (
        f"POST {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {TOKEN}\r\n"
        f"Content-Length: {size}\r\n\r\n"
    )

    context = proxy.certificate.client_context()
    with (
        socket.create_connection(("127.0.0.1", proxy.port)) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as client,
    ):
        client.sendall(head.encode() + b"{")
        answer = client.recv(65_536)

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"\r\nServer: EventSourcingDB/" in answer


@pytest.mark.slow
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_events_and_heartbeats_reach_observers_at_once(proxy: Proxy, version: str) -> None:
    subject = f"/observed/{version}"
    with proxy.connect() as observing, proxy.connect() as writing:
        items = observing.observe(version, subject)
        # It comes after a second of silence; a buffer of some KB would fill in minutes.
        assert next(items)["type"] == "heartbeat"
        writing.write(an_event(subject))
        written_at = time.monotonic()
        arrived = next(item for item in items if item["type"] == "event")
        waited_seconds = time.monotonic() - written_at

    assert json.dumps(arrived).count(subject) == 1
    assert waited_seconds < PROMPT_SECONDS


@pytest.mark.slow
def test_neither_token_nor_query_string_nor_body_is_logged(proxy: Proxy) -> None:
    secrets = ["secret-in-a-query", "secret-in-a-body", "secret-in-a-header"]
    with proxy.connect() as connection:
        connection.ask("GET", f"/api/v1/ping?token={secrets[0]}")
        connection.v1("read-events", {"subject": secrets[1]})
        connection.ask("GET", "/api/v1/marker", headers={"Authorization": f"Bearer {secrets[2]}"})
    wait_until(lambda: b"/api/v1/marker" in proxy.written)

    lines = [json.loads(line) for line in proxy.access_log.read_bytes().splitlines()]
    paths = [line["path"] for line in lines]
    assert "/api/v1/ping" in paths
    assert "/api/v1/read-events" in paths
    assert lines[-1].keys() == {
        "time", "client", "method", "path", "status", "seconds", "sent", "tls",
    }  # fmt: skip
    assert not [secret for secret in (TOKEN, *secrets) if secret.encode() in proxy.written]


@pytest.mark.slow
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_current_versions_of_tls_are_spoken(proxy: Proxy, version: ssl.TLSVersion) -> None:
    context = proxy.certificate.client_context()
    context.minimum_version = context.maximum_version = version

    with proxy.connect(context) as connection:
        assert connection.ask("GET", "/api/v1/ping").status == 200


@pytest.mark.slow
def test_older_versions_of_tls_are_refused(proxy: Proxy) -> None:
    # OpenSSL speaks them at its lowest level of security only, and Python warns about both.
    context = proxy.certificate.client_context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1

    with proxy.connect(context) as connection, pytest.raises(ssl.SSLError, match="VERSION"):
        connection.ask("GET", "/api/v1/ping")


@pytest.mark.slow
def test_a_server_that_cannot_prove_who_it_is_gets_no_request(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    impostor = write_certificate(tmp_path / "other")
    with (
        running_proxy(tmp_path, is_tls=True, server_certificate=impostor) as proxy,
        proxy.connect() as connection,
    ):
        status = connection.ask("GET", "/api/v1/ping").status

    assert status == 502
    assert b"certificate verify error" in proxy.written
    assert TOKEN.encode() not in proxy.written
