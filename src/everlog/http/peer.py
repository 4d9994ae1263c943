"""What the kernel knows about the other end of a connection."""

import asyncio
import socket
from typing import Final

# The first byte of Linux's `struct tcp_info` is the state; this one means that there is no peer.
_TCP_CLOSE: Final = 7

# An idle connection is asked for a sign of life after this many seconds without traffic.
_KEEPALIVE_SECONDS: Final = 60


def expect_signs_of_life(listener: asyncio.Server, *, seconds_max: float) -> None:
    """Let the kernel end accepted connections whose other end is silent for too long.

    A machine that loses its network says nothing. What is sent to it stays in the kernel, where
    our own clocks do not see it. Accepted sockets inherit these options (on Linux).
    """
    for endpoint in listener.sockets:
        endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_KEEPIDLE"):
            endpoint.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_SECONDS)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            milliseconds = max(1, int(seconds_max * 1000))
            endpoint.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)


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
