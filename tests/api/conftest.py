"""A server for each file, and a connection to it for each test."""

from collections.abc import Iterator

import pytest

from tests.support.api import Connection
from tests.support.server import RunningServer, running_server


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with running_server() as server:
        yield server


@pytest.fixture
def connection(server: RunningServer) -> Iterator[Connection]:
    with Connection(server.url) as connection:
        yield connection


@pytest.fixture
def fresh() -> Iterator[Connection]:
    """Yield a connection to a server without events that nobody else uses."""
    with running_server() as server, Connection(server.url) as connection:
        yield connection
