"""A NATS cluster with JetStream, as somebody runs it who wants to lose nothing.

Each server is a process of its own, of an unprivileged user if the tests have a privileged one.
All listen on ports that the system chose, and keep them when they are started again; what they
store is in a temporary folder, synced before it is acknowledged. Whoever starts them ends them.
"""

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from tests.support.network import LOOPBACK, Host
from tests.support.server import DEADLINE_SECONDS, wait_until

STREAM: Final = "everlog"

# Ports that were free may be taken a moment later: then all of them are chosen anew.
_ATTEMPTS: Final = 5

_CONFIGURATION: Final = """
server_name: "{name}"
listen: "{host}:{port}"
http: "{host}:{http_port}"
log_file: "{folder}/log"
max_payload: {payload_max}
jetstream {{
    store_dir: "{folder}/data"
    sync_interval: {sync_interval}
    max_memory_store: 67108864
    max_file_store: 8589934592
}}
"""

_CLUSTER: Final = """
cluster {{
    name: "tests"
    listen: "{host}:{cluster_port}"
    routes: [{routes}]
}}
"""


class NatsServer:
    """One server: its process may come and go, its name, ports and data stay."""

    def __init__(self, name: str, *, host: Host, ports: Sequence[int], folder: Path) -> None:
        self.name: Final = name
        # Where it is on the network; what starts it and asks it goes there.
        self.host: Final = host
        self.port, self.http_port, self.cluster_port = ports
        self.folder: Final = folder
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def address(self) -> str:
        return f"{self.host.address}:{self.port}"

    @property
    def output(self) -> str:
        """What the server logged, all of its lives."""
        with suppress(OSError):
            return (self.folder / "log").read_text()
        return ""

    def start_again(self) -> None:
        """Start it with what it has stored; it may take a moment until it serves."""
        assert not self.is_running
        with (self.folder / "output").open("ab") as output, self.host.entered():
            self.process = subprocess.Popen(
                [str(_program(self.folder)), "-c", str(self.folder / "nats.conf")],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.folder,
                **_unprivileged(),
            )

    def kill(self) -> None:
        """End it as a power failure would, except that what the system was given stays."""
        assert self.process is not None
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait(DEADLINE_SECONDS)

    def pause(self) -> None:
        """Stop it in the middle of what it does; its connections stay open."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on where it was stopped."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def monitor(self, path: str) -> Any:
        """Return what its monitoring port says; None if it says nothing."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        url = f"http://{self.host.address}:{self.http_port}/{path}"
        # A server that is paused accepts, and says nothing.
        with (
            suppress(OSError, ValueError),
            self.host.entered(),
            opener.open(url, timeout=1) as answer,
        ):
            return json.load(answer)
        return None


class NatsServers:
    """A cluster of them, or one that stands alone."""

    def __init__(self, servers: Sequence[NatsServer], *, credentials: str = "") -> None:
        self.servers: Final = servers
        self._credentials: Final = credentials

    @property
    def url(self) -> str:
        """The URL of a journal on these servers."""
        return self.url_of(STREAM)

    def url_of(self, stream: str, *, scheme: str = "nats") -> str:
        """Return the URL of the journal in another stream."""
        hosts = ",".join(server.address for server in self.servers)
        return f"{scheme}://{self._credentials}{hosts}/{stream}"

    def leader(self, stream: str = STREAM) -> NatsServer:
        """Return the server that leads a stream, as soon as those that answer agree on one."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while (found := self._find_leader(stream)) is None:
            assert time.monotonic() < deadline, [server.output for server in self.servers]
            time.sleep(0.05)
        return found

    def followers(self, stream: str = STREAM) -> list[NatsServer]:
        """Return the others."""
        leader = self.leader(stream)
        return [server for server in self.servers if server is not leader]

    def wait_until_ready(self) -> None:
        """Wait until all servers that run know each other, and who leads them."""
        running = [server for server in self.servers if server.is_running]
        try:
            wait_until(lambda: all(_is_ready(server, len(self.servers)) for server in running))
        except AssertionError:
            output = "\n".join(server.output for server in running)
            raise AssertionError(f"the servers do not come up:\n{output}") from None

    def _find_leader(self, stream: str) -> NatsServer | None:
        if len(self.servers) == 1:
            return self.servers[0]
        views = {
            view
            for server in self.servers
            if server.is_running and (view := _leader_as_seen_by(server, stream))
        }
        if len(views) != 1:
            return None
        name = views.pop()
        found = next(server for server in self.servers if server.name == name)
        return found if found.is_running else None


@contextmanager
def running_nats(
    count: int = 3,
    *,
    payload_max: int = 8 << 20,
    sync_interval: str = "always",
    credentials: str = "",
    configuration: str = "",
    hosts: Sequence[Host] | None = None,
    readable: Sequence[Path] = (),
) -> Iterator[NatsServers]:
    """Run so many servers until the end of the block; they are ready when it begins.

    `credentials` stand in the URL in front of the hosts (`user:password@`), and `configuration` is
    added to that of each server. Each may be on a host of its own, of a network of the test's.
    `readable` are files that the configuration names.
    """
    hosts = hosts or [LOOPBACK] * count
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="everlog-nats-")))
        folder.chmod(0o755)
        shutil.copy(Path(sys.executable).parent / "nats-server", folder / "nats-server")
        for path in readable:
            copy = folder / path.name
            shutil.copy(path, copy)
            _give_away(copy)
            configuration = configuration.replace(str(path), str(copy))
        servers: list[NatsServer] = []
        for attempt in range(_ATTEMPTS):
            servers = [
                NatsServer(
                    f"n{index}", host=host, ports=ports, folder=folder / f"{attempt}-{index}"
                )
                for index, (host, ports) in enumerate(zip(hosts, _free_ports(hosts), strict=True))
            ]
            for server in servers:
                _configure(
                    server,
                    servers,
                    payload_max=payload_max,
                    sync_interval=sync_interval,
                    more=configuration,
                )
                stack.callback(_end, server)
                server.start_again()
            if _all_listen(servers):
                break
            for server in servers:
                _end(server)
        else:
            raise AssertionError("\n".join(server.output for server in servers))
        cluster = NatsServers(servers, credentials=credentials)
        cluster.wait_until_ready()
        yield cluster


def _configure(
    server: NatsServer,
    servers: Sequence[NatsServer],
    *,
    payload_max: int,
    sync_interval: str,
    more: str,
) -> None:
    server.folder.mkdir()
    (server.folder / "data").mkdir()
    text = _CONFIGURATION.format(
        name=server.name,
        host=server.host.address,
        port=server.port,
        http_port=server.http_port,
        folder=server.folder,
        payload_max=payload_max,
        sync_interval=sync_interval,
    )
    if len(servers) > 1:
        routes = ", ".join(f'"nats://{each.host.address}:{each.cluster_port}"' for each in servers)
        text += _CLUSTER.format(
            host=server.host.address, cluster_port=server.cluster_port, routes=routes
        )
    (server.folder / "nats.conf").write_text(text + more)
    for path in (server.folder, *server.folder.iterdir()):
        _give_away(path)


def _program(folder: Path) -> Path:
    # A copy beside the data: who runs it may not reach the folder of the tests.
    return folder.parent / "nats-server"


def _unprivileged() -> dict[str, Any]:
    if os.getuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _give_away(path: Path) -> None:
    if os.getuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(path, nobody.pw_uid, nobody.pw_gid)


def _free_ports(hosts: Sequence[Host]) -> list[tuple[int, int, int]]:
    # All are held until the last one is chosen, so that none is chosen twice.
    with ExitStack() as stack:
        ports = [_free_port(stack, host) for host in hosts for _ in range(3)]
    return [(a, b, c) for a, b, c in zip(ports[::3], ports[1::3], ports[2::3], strict=True)]


def _free_port(stack: ExitStack, host: Host) -> int:
    with host.entered():
        chosen = stack.enter_context(socket.socket())
    chosen.bind((host.address, 0))
    return int(chosen.getsockname()[1])


def _all_listen(servers: Sequence[NatsServer]) -> bool:
    # Whoever finds its port taken ends at once.
    wait_until(
        lambda: (
            any(not server.is_running for server in servers)
            or all(server.monitor("varz") is not None for server in servers)
        )
    )
    return all(server.is_running for server in servers)


def _is_ready(server: NatsServer, count: int) -> bool:
    if count == 1:
        return server.monitor("healthz?js-enabled-only=true") is not None
    cluster = (server.monitor("jsz") or {}).get("meta_cluster", {})
    if not cluster.get("leader") or cluster.get("cluster_size") != count:
        return False
    # Only the one that leads knows who follows.
    others = cluster.get("replicas") or () if cluster["leader"] == server.name else ()
    return all(other["current"] and not other.get("offline") for other in others)


def _leader_as_seen_by(server: NatsServer, stream: str) -> str | None:
    told = server.monitor("jsz?streams=true") or {}
    for account in told.get("account_details", []):
        for detail in account.get("stream_detail", []):
            if detail["name"] == stream:
                leader: str | None = detail.get("cluster", {}).get("leader")
                return leader
    return None


def _end(server: NatsServer) -> None:
    if server.process is not None:
        server.kill()
