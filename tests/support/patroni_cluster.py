"""Three PostgreSQL servers of which Patroni makes one the primary, and etcd, which it agrees by.

Each member is what a machine would be: a Patroni, and the PostgreSQL that it has started. Members
agree as fast as Patroni lets them. Whoever starts a cluster ends it, and nothing but it.
"""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import psycopg

from tests.support.network import LOOPBACK, NETWORK_RANGE, Host
from tests.support.postgresql_server import (
    PASSWORD,
    free_port,
    installation,
    remove_shared_memory,
    unprivileged,
    unprivileged_directory,
)
from tests.support.server import DEADLINE_SECONDS, wait_until

psutil: Final[Any] = import_module("psutil")

MEMBERS: Final = 3

# Patroni takes nothing that is shorter.
TTL_SECONDS: Final = 20

# With a machine that is four times slower.
START_SECONDS_MAX: Final = 120.0

# As docs/operating/postgresql.md says, which is compared with it.
SETTINGS: Final = {
    "ttl": TTL_SECONDS,
    "loop_wait": 1,
    "retry_timeout": 3,
    "primary_start_timeout": 0,
    "synchronous_mode": True,
}


class Member:
    """What would be on one machine."""

    def __init__(self, directory: Path, name: str, *, etcd: str, host: Host) -> None:
        self.name: Final = name
        self.host: Final = host
        self.port: Final = free_port()
        self._rest_port: Final = free_port()
        self._directory: Final = directory
        self._data: Final = directory / name
        self._configuration: Final = directory / f"{name}.yml"
        # JSON is YAML, too.
        self._configuration.write_text(json.dumps(self._settings(etcd)))
        self._patroni: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"{self.host.address}:{self.port}"

    @property
    def is_running(self) -> bool:
        return self._patroni is not None

    @property
    def log(self) -> str:
        return (self._directory / f"{self.name}.log").read_text()

    def start(self) -> None:
        """Start Patroni, which starts PostgreSQL."""
        with (self._directory / f"{self.name}.log").open("ab") as log, self.host.entered():
            self._patroni = subprocess.Popen(
                [*_as_nobody(), sys.executable, "-m", "patroni", self._configuration],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._directory,
                env=unprivileged()["env"],
            )

    start_again = start

    def is_leader(self) -> bool:
        return self._status() == "leader"

    def is_synchronous(self) -> bool:
        return self._status() == "synchronous"

    def kill_postgresql(self) -> None:
        """End the server as a power failure would; Patroni sees it."""
        for process in self._servers():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        remove_shared_memory(self._data)

    def kill(self) -> None:
        """End all of it: nobody is there to say that it is gone."""
        if self._patroni is not None:
            self._patroni.send_signal(signal.SIGKILL)
            self._patroni.wait(DEADLINE_SECONDS)
            self._patroni = None
        self.kill_postgresql()

    def pause(self) -> None:
        """Let nothing of it go on until `resume`, as a machine that hangs."""
        if self._patroni is not None:
            self._patroni.send_signal(signal.SIGSTOP)
        for process in self._servers():
            with suppress(psutil.NoSuchProcess):
                process.suspend()

    def resume(self) -> None:
        for process in self._servers():
            with suppress(psutil.NoSuchProcess):
                process.resume()
        if self._patroni is not None:
            self._patroni.send_signal(signal.SIGCONT)

    def _servers(self) -> Sequence[Any]:
        with suppress(OSError, ValueError, IndexError, psutil.NoSuchProcess):
            postmaster = psutil.Process(int((self._data / "postmaster.pid").read_text().split()[0]))
            # The number may be another's by now.
            if str(self._data) in postmaster.cmdline():
                postmaster.suspend()
                return [*postmaster.children(recursive=True), postmaster]
        return []

    def _status(self) -> str | None:
        for role in ("leader", "synchronous"):
            url = f"http://{self.host.address}:{self._rest_port}/{role}"
            with (
                suppress(OSError),
                self.host.entered(),
                urllib.request.urlopen(url, timeout=5) as answer,
            ):
                if answer.status == 200:
                    return role
        return None

    def _settings(self, etcd: str) -> dict[str, Any]:
        roles = {"superuser": "postgres", "replication": "replicator", "rewind": "rewinder"}
        return {
            "scope": "everlog",
            "name": self.name,
            "restapi": {
                "listen": f"{self.host.address}:{self._rest_port}",
                "connect_address": f"{self.host.address}:{self._rest_port}",
            },
            "etcd3": {"host": etcd},
            "bootstrap": {
                "dcs": {**SETTINGS, "postgresql": {"use_pg_rewind": True}},
                "initdb": ["no-sync", {"encoding": "UTF8"}, {"locale": "C.UTF-8"}],
            },
            "postgresql": {
                "listen": self.address,
                "connect_address": self.address,
                "data_dir": str(self._data),
                "bin_dir": str(installation() / "bin"),
                "pgpass": str(self._directory / f"{self.name}.pgpass"),
                "authentication": {
                    role: {"username": name, "password": PASSWORD} for role, name in roles.items()
                },
                "parameters": {
                    "unix_socket_directories": "",
                    "shared_buffers": "16MB",
                    "max_connections": 60,
                    "wal_keep_size": "64MB",
                },
                "pg_hba": [
                    f"host {database} all {addresses} scram-sha-256"
                    for database in ("all", "replication")
                    for addresses in ("127.0.0.1/32", NETWORK_RANGE)
                ],
            },
        }


class PatroniCluster:
    """The members, and where their clients find them."""

    def __init__(self, members: Sequence[Member]) -> None:
        self.members: Final = members

    @property
    def url(self) -> str:
        hosts = ",".join(member.address for member in self.members)
        return f"postgresql://postgres:{PASSWORD}@{hosts}/postgres"

    def leader(self) -> Member:
        """Return the one that is the primary, once there is one."""
        found: list[Member] = []

        def find() -> bool:
            found[:] = [member for member in self.members if member.is_leader()]
            return bool(found)

        wait_until(find, seconds=START_SECONDS_MAX)
        return found[0]

    def wait_for_standby(self) -> None:
        """Wait until another one confirms what the primary has committed."""
        wait_until(
            lambda: any(member.is_synchronous() for member in self.members),
            seconds=START_SECONDS_MAX,
        )

    def execute(self, statement: str) -> list[Any]:
        """Execute a statement at the primary, and return what it returns."""
        with (
            self.members[0].host.entered(),
            psycopg.connect(
                self.url, autocommit=True, connect_timeout=5, target_session_attrs="read-write"
            ) as connection,
        ):
            return connection.execute(statement.encode()).fetchall()


@contextmanager
def running_patroni(
    hosts: Sequence[Host] = (LOOPBACK,) * MEMBERS, etcd_host: Host = LOOPBACK
) -> Iterator[PatroniCluster]:
    """Run a new cluster, of which one member is synchronous, until the end of the block."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(unprivileged_directory()))
        etcd = stack.enter_context(_running_etcd(directory, etcd_host))
        members = [
            Member(directory, f"member{number}", etcd=etcd, host=host)
            for number, host in enumerate(hosts)
        ]
        cluster = PatroniCluster(members)
        for member in members:
            stack.callback(member.kill)
            member.start()
            # The first one makes the database, which others copy.
            cluster.leader()
        cluster.wait_for_standby()
        yield cluster


@contextmanager
def _running_etcd(directory: Path, host: Host) -> Iterator[str]:
    address = f"{host.address}:{free_port()}"
    peer = f"http://{host.address}:{free_port()}"
    client = f"http://{address}"
    with (directory / "etcd.log").open("wb") as log, host.entered():
        process = subprocess.Popen(
            [
                "etcd",
                f"--data-dir={directory / 'etcd'}",
                f"--listen-client-urls={client}",
                f"--advertise-client-urls={client}",
                f"--listen-peer-urls={peer}",
                f"--initial-advertise-peer-urls={peer}",
                f"--initial-cluster=default={peer}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=directory,
            **unprivileged(),
        )
    try:
        with host.entered():
            wait_until(lambda: _is_healthy(f"{client}/health"))
        yield address
    finally:
        process.kill()
        process.wait()


def _is_healthy(url: str) -> bool:
    with suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:
        return b"true" in answer.read()
    return False


def _as_nobody() -> Sequence[str]:
    """Return what lets a command run without rights, but that it can reach our Python."""
    if os.geteuid() != 0:
        return ()
    return (
        "setpriv",
        "--reuid=nobody",
        "--regid=nogroup",
        "--clear-groups",
        "--inh-caps=+dac_override",
        "--ambient-caps=+dac_override",
    )
