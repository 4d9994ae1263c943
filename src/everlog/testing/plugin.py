"""The plug-in for pytest: a store, and a server, for each test that asks for one, or for all.

pytest loads it by its entry point. It loads nothing of Everlog until a test asks.
"""

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from everlog.library.store import Store
    from everlog.testing.server import EverlogServer

# What was said by the servers that a test has asked for, by the section of its report.
_SECTION = "log of everlog_server"
_SESSION_SECTION = "log of everlog_session_server"


@pytest.fixture
def everlog_store(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Store]":
    """Return a new, empty store in a temporary folder, closed at the end of the test."""
    yield from _opened(tmp_path_factory)


@pytest.fixture(scope="session")
def everlog_session_store(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Store]":
    """Return a store that all tests share: what one has written, the others see."""
    yield from _opened(tmp_path_factory)


@pytest.fixture
def everlog_server(request: pytest.FixtureRequest) -> "Iterator[EverlogServer]":
    """Return a new server without events, ended at the end of the test.

    It has a `url` and a `token`. If the test fails, its report has the end of the server's log.
    """
    yield from _served(request, _SECTION)


@pytest.fixture(scope="session")
def everlog_session_server(request: pytest.FixtureRequest) -> "Iterator[EverlogServer]":
    """Return a server that all tests share: what one has written, the others see."""
    yield from _served(request, _SESSION_SECTION)


def _opened(paths: pytest.TempPathFactory) -> "Iterator[Store]":
    import everlog  # noqa: PLC0415 - most tests need no store.

    with everlog.open(paths.mktemp("everlog") / "store") as store:
        yield store


def _served(request: pytest.FixtureRequest, section: str) -> "Iterator[EverlogServer]":
    from everlog.testing.server import EverlogServer  # noqa: PLC0415 - as above.

    with EverlogServer() as server:
        request.config.stash.setdefault(_SERVERS, {})[section] = server
        yield server


_SERVERS: "pytest.StashKey[dict[str, EverlogServer]]" = pytest.StashKey()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> "Generator[None, pytest.TestReport, pytest.TestReport]":
    """Add the end of a server's log to the report of a test that has failed."""
    report = yield
    if report.failed:
        names = getattr(item, "fixturenames", ())
        for section, server in item.config.stash.get(_SERVERS, {}).items():
            if section.rpartition(" ")[2] in names and server.log:
                report.sections.append((section, server.log))
    return report
