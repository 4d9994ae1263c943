"""The network that tests cut: what is cut does not arrive, and nothing else is missing."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

import pytest

from tests.support.network import Host, Network, running_network

# A packet takes some microseconds.
NEVER_SECONDS = 0.2
# What was cut is sent again after a while, and later each time.
SOON_SECONDS = 10.0


class Line(NamedTuple):
    """A connection between the first two hosts, both ends of it."""

    one: socket.socket
    two: socket.socket


@contextmanager
def a_line(one: Host, two: Host) -> Iterator[Line]:
    with ExitStack() as stack:
        with two.entered():
            listener = stack.enter_context(socket.create_server((two.address, 0)))
        with one.entered():
            begun = socket.create_connection(listener.getsockname(), SOON_SECONDS)
        accepted, _ = listener.accept()
        yield Line(stack.enter_context(begun), stack.enter_context(accepted))


def arrives(source: socket.socket, target: socket.socket, *, within: float) -> bool:
    """Tell whether what one end sends comes to the other one."""
    target.settimeout(within)
    source.sendall(b"x")
    try:
        return target.recv(1) == b"x"
    except TimeoutError:
        return False


def check_nothing_is_cut(network: Network) -> None:
    ones = [(one, two) for one in network.hosts for two in network.hosts]
    for one, two in ones:
        with a_line(one, two) as line:
            assert arrives(line.one, line.two, within=SOON_SECONDS)
            assert arrives(line.two, line.one, within=SOON_SECONDS)


def test_hosts_reach_each_other_until_they_are_cut_in_one_direction() -> None:
    with running_network(3) as network:
        one, two, _ = network.hosts
        check_nothing_is_cut(network)
        if not network.can_be_cut:
            return
        with a_line(one, two) as line:
            network.cut([one], [two])

            assert arrives(line.two, line.one, within=SOON_SECONDS)
            assert not arrives(line.one, line.two, within=NEVER_SECONDS)

            network.mend()
            line.two.settimeout(SOON_SECONDS)
            assert line.two.recv(1) == b"x"
        check_nothing_is_cut(network)


def test_halves_do_not_reach_each_other_and_each_reaches_itself() -> None:
    with running_network(3) as network:
        one, two, three = network.hosts
        if not network.can_be_cut:
            return
        network.split([one], [two, three])

        with a_line(two, three) as line:
            assert arrives(line.one, line.two, within=SOON_SECONDS)
        with two.entered():
            listener = socket.create_server((two.address, 0))
        with listener, one.entered(), pytest.raises(TimeoutError):
            socket.create_connection(listener.getsockname(), NEVER_SECONDS)

        network.mend()
        check_nothing_is_cut(network)
