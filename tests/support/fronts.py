"""The processes of a server that has several: which one a client speaks with, and their end."""

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tests.support.api import Connection
from tests.support.server import RunningServer, wait_until

_COMMAND = b"front_worker"


def fronts_of(server: RunningServer) -> list[int]:
    """Return the processes of a server that speak with clients."""
    return [pid for pid in server.children if _is_front(pid)]


def front_of(server: RunningServer, connection: Connection) -> int:
    """Return the process that has the other end of a connection."""
    local = connection.http.sock.getsockname()[1]
    inode = _inode(server.port, local)
    return next(pid for pid in fronts_of(server) if inode in _sockets_of(pid))


@contextmanager
def a_client_of_each(server: RunningServer) -> Iterator[list[Connection]]:
    """Connect to each front of a server."""
    wanted = set(fronts_of(server))
    with ExitStack() as clients:
        found: dict[int, Connection] = {}
        while set(found) != wanted:
            client = clients.enter_context(Connection(server.url))
            assert client.ask("GET", "/api/v1/ping").status == 200
            found[front_of(server, client)] = client
        yield [*found.values()]


def kill_front(pid: int) -> None:
    """End one, which a test's server has started."""
    os.kill(pid, signal.SIGKILL)


def wait_for_end(pids: list[int]) -> None:
    """Return when none of these processes is there any more."""
    wait_until(lambda: not any(_is_front(pid) for pid in pids))


def _is_front(pid: int) -> bool:
    # One that has ended, and that nobody has waited for, has no command.
    with suppress(OSError):
        return _COMMAND in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def _inode(local: int, remote: int) -> str:
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        columns = line.split()
        ports = [int(address.rpartition(":")[2], 16) for address in columns[1:3]]
        if ports == [local, remote]:
            return columns[9]
    raise AssertionError


def _sockets_of(pid: int) -> set[str]:
    found: set[str] = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            found.add(str(link.readlink()).removeprefix("socket:[").removesuffix("]"))
    return found
