"""One store, at each distance: in this process, and behind a server in both versions of the API.

Each also as its asynchronous twin, which is used here as if it were none. Several tests share a
store, each below a subject of its own.
"""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, cast

import pytest

import everlog
from tests.support.blocking_store import BlockingStore
from tests.support.server import TOKEN, RunningServer, running_server

DISTANCES = ("embedded", "v2", "v1", "async-embedded", "async-v2", "async-v1")

_numbers = count()


@pytest.fixture(scope="session")
def server() -> Iterator[RunningServer]:
    """Run a server whose store several tests write to."""
    with running_server() as running:
        yield running


def _ways_to(kind: str, server: RunningServer, directory: Path) -> tuple[Any, Any]:
    """Return what opens a store, and what does so with its asynchronous twin."""
    if kind.endswith("embedded"):
        return (lambda: everlog.open(directory)), (lambda: everlog.aopen(directory))
    version: Any = int(kind[-1])
    url = server.url
    return (
        lambda: everlog.connect(url, token=TOKEN, api_version=version),
        lambda: everlog.aconnect(url, token=TOKEN, api_version=version),
    )


def _opened(kind: str, server: RunningServer, directory: Path) -> Iterator[everlog.Store]:
    open_store, open_twin = _ways_to(kind, server, directory)
    if not kind.startswith("async"):
        with open_store() as store:
            yield store
        return
    twin = BlockingStore(open_twin)
    try:
        yield cast("everlog.Store", twin)
    finally:
        twin.end()


@pytest.fixture(scope="session", params=DISTANCES)
def store(
    request: pytest.FixtureRequest,
    server: RunningServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[everlog.Store]:
    """Return a store, in which others may have written."""
    yield from _opened(request.param, server, tmp_path_factory.mktemp("shared") / "data")


@pytest.fixture(params=DISTANCES)
def own_store(
    request: pytest.FixtureRequest, server: RunningServer, tmp_path: Path
) -> Iterator[everlog.Store]:
    """Return a store that may be closed."""
    yield from _opened(request.param, server, tmp_path / "data")


@pytest.fixture
def version(store: everlog.Store) -> int:
    """Return the version of the API that the store is asked in; 2 where it is in this process."""
    return 1 if "(version 1)" in repr(store) else 2


@pytest.fixture
def top() -> str:
    """Return a subject that no other test writes to."""
    return f"/top-{next(_numbers)}"


@pytest.fixture
def end_of(store: everlog.Store) -> Callable[[], int]:
    """Return what says how many events there are."""

    def count_events() -> int:
        latest = store.read("/", recursive=True, order="antichronological")
        return next((int(each.id) + 1 for each in latest), 0)

    return count_events
