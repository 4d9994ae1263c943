"""Transports that cannot say who or whether somebody is there."""

import asyncio
import socket

import pytest

from everlog.http.sockets import find_address, is_gone


@pytest.mark.parametrize("peername, address", [(("1.2.3.4", 5), "1.2.3.4"), ("", ""), (None, "")])
def test_an_address_is_told_where_there_is_one(peername: object, address: str) -> None:
    assert find_address(asyncio.Transport({"peername": peername})) == address


def test_nobody_is_gone_where_nobody_can_tell() -> None:
    left, right = socket.socketpair()
    with left, right:
        assert not is_gone(asyncio.Transport({"socket": left}))
    assert not is_gone(asyncio.Transport())
