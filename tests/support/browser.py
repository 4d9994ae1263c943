"""A real browser for tests of the management UI, and pages in it that are watched.

A test fails when its page said an error on the console, asked another host, broke the content
security policy, or had an error that nobody caught, unless the test said that it would.
"""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, Playwright, expect

from tests.support.server import TOKEN
from tools.system_packages import path_of

CHROMIUM: Final = path_of("chromium")

# A machine may be four times slower, and do much besides.
TIMEOUT_MS: Final = 30_000

WIDE: Final = {"width": 1440, "height": 900}
NARROW: Final = {"width": 390, "height": 844}

_OWN_SCHEMES: Final = ("blob", "data")

# As a script that runs before any of the page's.
_VIOLATIONS: Final = """
addEventListener("securitypolicyviolation", (event) => console.error(
  `policy violated: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
"""


class Watch:
    """What a page did that no page should do."""

    def __init__(self, origin: str) -> None:
        self.faults: Final[list[str]] = []
        # Everything that was asked for, and everything that was said on the console.
        self.urls: Final[list[str]] = []
        self.messages: Final[list[str]] = []
        self._origin: Final = origin
        self._expected: Final[list[re.Pattern[str]]] = []

    def expect(self, pattern: str) -> None:
        """Let faults pass in which a pattern is found, such as the status of a refused request."""
        self._expected.append(re.compile(pattern))

    def attach(self, page: Page) -> None:
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.faults.append(f"uncaught: {error}"))
        page.on("request", lambda request: self._see(request.url))
        page.add_init_script(_VIOLATIONS)

    def check(self) -> None:
        """Fail if there was a fault that nobody expected."""
        faults = [
            fault
            for fault in self.faults
            if not any(pattern.search(fault) for pattern in self._expected)
        ]
        assert not faults, faults

    def _hear(self, message: Any) -> None:
        text = f"{message.type}: {message.text} ({message.location.get('url', '')})"
        self.messages.append(text)
        if message.type == "error":
            self.faults.append(text)

    def _see(self, url: str) -> None:
        self.urls.append(url)
        parts = urlsplit(url)
        if f"{parts.scheme}://{parts.netloc}" != self._origin and parts.scheme not in _OWN_SCHEMES:
            self.faults.append(f"asked another host: {url}")


def launch(playwright: Playwright) -> Browser:
    """Start the system's Chromium without a window."""
    expect.set_options(timeout=TIMEOUT_MS)
    # Whoever is root cannot have its sandbox.
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    return playwright.chromium.launch(executable_path=CHROMIUM, args=flags)


@contextmanager
def watched_page(browser: Browser, url: str, **options: Any) -> Iterator[tuple[Page, Watch]]:
    """Open a page of its own, with nothing kept from others, and check it in the end."""
    parts = urlsplit(url)
    settings = {"viewport": WIDE, "color_scheme": "light", "reduced_motion": "reduce", **options}
    context = browser.new_context(base_url=url.rstrip("/") + "/", **settings)
    context.set_default_timeout(TIMEOUT_MS)
    watch = Watch(f"{parts.scheme}://{parts.netloc}")
    page = context.new_page()
    watch.attach(page)
    try:
        yield page, watch
    finally:
        context.close()
    watch.check()


def heap_of(page: Page) -> int:
    """Return the bytes that live objects take, in the page alone."""
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    return int(session.send("Runtime.getHeapUsage")["usedSize"])


def sign_in(page: Page, fragment: str = "#/overview", token: str = TOKEN) -> None:
    """Open a page of the UI, and sign in as a person does."""
    page.goto(f"./{fragment}")
    page.get_by_label("API token").fill(token)
    page.get_by_role("button", name="Sign in").click()
    page.locator("main .page").wait_for()


Opening = Callable[..., Page]
