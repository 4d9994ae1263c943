"""A server for each file, the SDK in both of its versions, and for each test a place of its own."""

from collections.abc import Iterator

import pytest

from tests.support.sdk import API_VERSIONS, Place, Sdk
from tests.support.server import RunningServer, running_server


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with running_server() as server:
        yield server


@pytest.fixture(params=API_VERSIONS)
def api(server: RunningServer, request: pytest.FixtureRequest) -> Sdk:
    return Sdk(server.url, request.param)


@pytest.fixture(params=API_VERSIONS)
def empty(request: pytest.FixtureRequest) -> Iterator[Sdk]:
    """Yield the SDK, connected to a server without events that nobody else uses."""
    with running_server() as server:
        yield Sdk(server.url, request.param)


@pytest.fixture
def place() -> Place:
    return Place()
