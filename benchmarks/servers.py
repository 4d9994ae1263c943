"""The servers under load: Everlog, and nginx as the reference on the same machine.

Neither is pinned to a core, nor is the client. nginx runs one worker, as Everlog runs one process.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tools.system_packages import path_of

TOKEN = "benchmark"

_START_SECONDS_MAX = 60.0

_NGINX_CONFIGURATION = """
worker_processes 1;
error_log stderr crit;
pid {folder}/nginx.pid;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    default_type application/json;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000000;
    client_max_body_size 0;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        listen 127.0.0.1:{tls_port} ssl;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        set $kilobyte '{kilobyte}';
        location / {{ return 200 '{answer}'; }}
        location /files/ {{ alias {files}/; }}
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate for 127.0.0.1 that nobody else trusts, and its key."""

    path: Path
    key_path: Path


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a server listens, and its process."""

    plain: str
    tls: str
    process_id: int

    @property
    def port(self) -> int:
        """The port of plain HTTP."""
        return int(self.plain.rpartition(":")[2])


def make_certificate(folder: Path) -> Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    made = Certificate(folder / "certificate.pem", folder / "key.pem")
    made.path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    made.key_path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return made


@contextmanager
def serve_everlog(
    directory: Path,
    certificate: Certificate,
    *,
    sources: Path | None = None,
    flags: Sequence[str] = (),
) -> Iterator[Addresses]:
    """Run Everlog on a data directory, and stop it cleanly at the end.

    Other sources than those that are installed are in a folder that holds the package.
    """
    command = [
        # Older sources cannot be run as a module.
        *(sys.executable, "-c", "from everlog.cli import main; main()"),
        *("run", "--data-directory", str(directory)),
        *("--host", "127.0.0.1", "--http-enabled", "--http-port=0", "--https-port=0"),
        *("--https-certificate-file", str(certificate.path)),
        *("--https-private-key-file", str(certificate.key_path)),
        *flags,
    ]
    environment = os.environ | {"EVERLOG_API_TOKEN": TOKEN}
    if sources is not None:
        environment["PYTHONPATH"] = str(sources)
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        urls: dict[str, str] = {}
        assert process.stdout is not None
        while len(urls) < 2:
            line = process.stdout.readline()
            if not line:
                raise RuntimeError(f"Everlog did not start: exit code {process.wait()}")
            entry = json.loads(line)
            if entry["message"] == "listening":
                urls[entry["url"].partition(":")[0]] = entry["url"]
        yield Addresses(urls["http"], urls["https"], process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=_START_SECONDS_MAX)


@contextmanager
def serve_nginx(files: Path, certificate: Certificate, *, answer_size: int) -> Iterator[Addresses]:
    """Run nginx: any path answers so many bytes at once, `/files/` serves a folder."""
    port, tls_port = free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="everlog-nginx-") as name:
        folder = Path(name)
        # Its worker runs as another user, who must find the way.
        folder.chmod(0o755)
        configuration = folder / "nginx.conf"
        configuration.write_text(
            _user_line()
            + _NGINX_CONFIGURATION.format(
                folder=folder,
                port=port,
                tls_port=tls_port,
                certificate=certificate.path,
                key=certificate.key_path,
                kilobyte="x" * 1024,
                # A parameter has at most 4 KB, its value may have more.
                answer="${kilobyte}" * (answer_size // 1024) + "x" * (answer_size % 1024),
                files=files,
            )
        )
        program = path_of("nginx")
        process = subprocess.Popen(
            [program, "-c", configuration, "-p", folder, "-e", "stderr", "-g", "daemon off;"]
        )
        try:
            wait_listening(port, process)
            yield Addresses(
                f"http://127.0.0.1:{port}", f"https://127.0.0.1:{tls_port}", process.pid
            )
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(_START_SECONDS_MAX)


def _user_line() -> str:
    # As root it would become somebody who may not read the files.
    return "user root;\n" if os.geteuid() == 0 else ""


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def wait_listening(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS_MAX
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return
