"""Hosts that reach each other over a network which a test cuts, in both directions or in one.

Each host is a network namespace; all of them hang on one that forwards between them, and drops what
it is told to drop, without a word, as a broken switch does. The namespaces have no names and no way
out: they vanish with their last process. Where the system lets nobody make any, all hosts are this
one, and nothing can be cut.
"""

import ctypes
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from threading import Thread
from typing import Final, NamedTuple

# The range that is reserved for tests of networks (RFC 2544); each host has a /24 of it.
NETWORK_RANGE: Final = "198.18.0.0/15"
_RANGE: Final = "198.18"

_CLONE_NEWNET: Final = 0x40000000
_OWN_NAMESPACE: Final = "/proc/thread-self/ns/net"

_libc: Final = ctypes.CDLL(None, use_errno=True)


class Host(NamedTuple):
    """A place on the network for servers; their other clients enter it, too."""

    address: str
    # The namespace, None where it is this process's own.
    file: int | None

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Let this thread be on the host: sockets that it opens, and processes that it starts."""
        if self.file is None:
            yield
            return
        before = os.open(_OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _check(_libc.setns(self.file, _CLONE_NEWNET))
            try:
                yield
            finally:
                _check(_libc.setns(before, _CLONE_NEWNET))
        finally:
            os.close(before)


LOOPBACK: Final = Host("127.0.0.1", None)


class Network:
    """Hosts, and what is cut between them."""

    def __init__(self, hosts: Sequence[Host], middle: Host) -> None:
        """Take hosts that hang on the one in the middle."""
        self.hosts: Final = hosts
        self._middle: Final = middle
        self._rules: Final[set[tuple[str, str]]] = set()

    @property
    def can_be_cut(self) -> bool:
        return self._middle.file is not None

    def cut(self, sources: Sequence[Host], targets: Sequence[Host]) -> None:
        """Drop whatever some hosts send to others; what these send to those still arrives."""
        for source in sources:
            for target in targets:
                rule = (source.address, target.address)
                if source != target and rule not in self._rules:
                    self._rules.add(rule)
                    self._set("add", *rule)

    def split(self, ones: Sequence[Host], others: Sequence[Host]) -> None:
        """Cut the network in both directions."""
        self.cut(ones, others)
        self.cut(others, ones)

    def mend(self) -> None:
        """Let everything arrive again."""
        while self._rules:
            self._set("del", *self._rules.pop())

    def _set(self, change: str, source: str, target: str) -> None:
        _ip(self._middle, f"rule {change} from {source} to {target} blackhole")


@contextmanager
def running_network(count: int) -> Iterator[Network]:
    """Make so many hosts; all of them this one where the system does not allow more."""
    if not _can_make_namespaces():
        yield Network([LOOPBACK] * count, LOOPBACK)
        return
    with ExitStack() as stack:
        middle = stack.enter_context(_host("none"))
        with middle.entered():
            forward = "echo 1 > /proc/sys/net/ipv4/ip_forward"
            subprocess.run(["sh", "-c", forward], check=True)
        addresses = [f"{_RANGE}.{number}.2" for number in range(count)]
        hosts = [stack.enter_context(_host(address)) for address in addresses]
        for number, host in enumerate(hosts):
            _connect(host, middle, number)
        yield Network(hosts, middle)


def _connect(host: Host, middle: Host, number: int) -> None:
    port, gateway = f"to{number}", f"{_RANGE}.{number}.1"
    there = f"/proc/{os.getpid()}/fd/{host.file}"
    _ip(middle, f"link add {port} type veth peer name eth0 netns {there}")
    _ip(middle, f"addr add {gateway}/24 dev {port}")
    _ip(middle, f"link set {port} up")
    _ip(host, f"addr add {host.address}/24 dev eth0")
    _ip(host, "link set eth0 up")
    _ip(host, f"route add default via {gateway}")


@contextmanager
def _host(address: str) -> Iterator[Host]:
    files: list[int] = []

    def make() -> None:
        # A namespace is a thread's, and stays for as long as somebody has it open.
        if _libc.unshare(_CLONE_NEWNET) == 0:
            files.append(os.open(_OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC))

    thread = Thread(target=make)
    thread.start()
    thread.join()
    if not files:
        raise PermissionError(address)
    try:
        host = Host(address, files[0])
        _ip(host, "link set lo up")
        yield host
    finally:
        os.close(files[0])


def _can_make_namespaces() -> bool:
    try:
        with _host("none"):
            return True
    except (OSError, AttributeError, subprocess.CalledProcessError):
        return False


def _ip(host: Host, command: str) -> None:
    with host.entered():
        subprocess.run(["ip", *command.split()], check=True, capture_output=True)


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
