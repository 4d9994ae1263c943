"""One store, at each distance: in this process, and behind a server in both versions of the API."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import everlog
from tests.support.server import TOKEN, RunningServer, running_server

DISTANCES = ("embedded", "v2", "v1")


@pytest.fixture(scope="session")
def shared_server() -> Iterator[RunningServer]:
    """Run a server whose store several tests may write to."""
    with running_server() as server:
        yield server


@pytest.fixture(params=DISTANCES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[everlog.Store]:
    """Return an empty store."""
    if request.param == "embedded":
        with everlog.open(tmp_path / "data") as opened:
            yield opened
        return
    with (
        running_server() as server,
        everlog.connect(
            server.url, token=TOKEN, api_version=1 if request.param == "v1" else 2
        ) as connected,
    ):
        yield connected


@pytest.fixture
def version(store: everlog.Store) -> int:
    """Return the version of the API that the store is asked in; 2 where it is in this process."""
    return 1 if "(version 1)" in repr(store) else 2
