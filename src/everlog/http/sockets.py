"""What the system does for sockets, and knows of them."""

import asyncio
import socket
from collections.abc import Iterable
from typing import Final

# An idle connection is asked for a sign of life after this many seconds without traffic.
_KEEPALIVE_SECONDS: Final = 60

# How much the system keeps for a client that it cannot send yet; by itself, it would take some MB.
_UNSENT_SIZE_MAX: Final = 256 * 1024

# The first byte of Linux's `struct tcp_info` is the state; this one means that there is no peer.
_TCP_CLOSE: Final = 7


def set_options(listeners: Iterable[socket.socket], *, seconds_max: float) -> None:
    """Let the system end connections whose other end is silent for too long, and keep little.

    A machine that loses its network says nothing. What is sent to it stays in the kernel, where
    our own clocks do not see it. Accepted sockets inherit these options (on Linux).
    """
    for endpoint in listeners:
        endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_KEEPIDLE"):
            endpoint.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_SECONDS)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            endpoint.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_SIZE_MAX)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            milliseconds = max(1, int(seconds_max * 1000))
            endpoint.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)


def open_listeners(
    host: str, port: int, *, backlog: int, seconds_max: float
) -> list[socket.socket]:
    """Listen on all addresses of a host, as `asyncio` does, for who accepts by itself.

    Raises:
        OSError: The system refuses to, or there is no such host.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    listeners: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            listener = socket.socket(family, kind, protocol)
            listeners.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind(address)
            listener.listen(backlog)
    except BaseException:
        for listener in listeners:
            listener.close()
        raise
    set_options(listeners, seconds_max=seconds_max)
    return listeners


def find_address(transport: asyncio.BaseTransport) -> str:
    """Return the address of the client, or nothing where it has none."""
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, tuple) else ""


def is_gone(transport: asyncio.BaseTransport) -> bool:
    """Tell whether the client has reset the connection; False where nobody can tell.

    A transport that has seen the end of input does not look for resets on its own.
    """
    endpoint: socket.socket | None = transport.get_extra_info("socket")
    if endpoint is None or endpoint.family not in {socket.AF_INET, socket.AF_INET6}:
        return False
    if not hasattr(socket, "TCP_INFO"):
        return False
    return endpoint.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _TCP_CLOSE
