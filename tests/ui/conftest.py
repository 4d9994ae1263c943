"""One browser and one server for each module, one page for each test.

A test that takes `page` is signed out and at no address yet; one that takes `open_page` signs in
and goes where it says.
"""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.support.browser import Opening, Watch, launch, sign_in, watched_page
from tests.support.server import RunningServer, running_server


# While Playwright runs, no other test of its thread could run an event loop.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = launch(playwright)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with running_server("--with-ui", is_temporary=True) as running:
        yield running


@pytest.fixture
def watched(browser: Browser, server: RunningServer) -> Iterator[tuple[Page, Watch]]:
    with watched_page(browser, server.url) as both:
        yield both


@pytest.fixture
def page(watched: tuple[Page, Watch]) -> Page:
    return watched[0]


@pytest.fixture
def watch(watched: tuple[Page, Watch]) -> Watch:
    return watched[1]


@pytest.fixture
def open_page(browser: Browser, server: RunningServer) -> Iterator[Opening]:
    """Return what signs in and opens a page at a fragment, such as `#/events?subject=/a`."""
    with ExitStack() as stack:

        def open_at(fragment: str = "#/overview", **options: object) -> Page:
            opened, _ = stack.enter_context(watched_page(browser, server.url, **options))
            sign_in(opened, fragment)
            return opened

        yield open_at
