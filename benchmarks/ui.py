"""The management UI in a real browser: how long a person waits, and what a stream of events costs.

`python -m benchmarks.ui` prints a line for each figure; nothing is asserted. It fills a store of
its own with as many siblings as it is told, which takes a while for a million.
"""

import argparse
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Final

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

import everlog
from everlog.testing import EverlogServer
from tests.support.browser import CHROMIUM, heap_of

_ROUNDS: Final = 9
_PER_WRITE: Final = 5_000
_PER_SECOND: Final = 1_000
_WRITES_PER_SECOND: Final = 10

# Waits in the page for something that a click brings, and returns how long it took in milliseconds:
# from the click to the picture that has it.
_MEASURE: Final = """
([selector, count, run]) => new Promise((done) => {
  const begun = performance.now();
  const look = () => document.querySelectorAll(selector).length >= count
    ? requestAnimationFrame(() => done(performance.now() - begun))
    : setTimeout(look, 1);
  (new Function(run))();
  look();
})
"""

_FIRST_PAINT: Final = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime"

# What lies between two pictures, and the longest of it.
_FRAMES: Final = """
window.longest = 0;
let last = performance.now();
const frame = (now) => {
  window.longest = Math.max(window.longest, now - last);
  last = now;
  requestAnimationFrame(frame);
};
requestAnimationFrame(frame);
"""


def main() -> None:
    """Measure, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--siblings", type=int, default=1_000_000, help="subjects on one level")
    parser.add_argument("--seconds", type=int, default=60, help="how long events arrive")
    options = parser.parse_args()
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    with EverlogServer(options=("--with-ui",)) as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        _fill(server, options.siblings)
        # Pages under the policy run no text as a script; what measures is outside of it.
        context = browser.new_context(bypass_csp=True, viewport={"width": 1440, "height": 900})
        _tell("first picture, cached (ms)", _first_picture(context, server))
        page = _signed_in(context, server)
        _tell("click to 100 events (ms)", _click_to_events(page))
        _tell(f"{options.siblings:,} siblings opened (ms)", _open_siblings(page))
        _watch_arrivals(browser, server, options.seconds)
        browser.close()


def _tell(name: str, values: list[float]) -> None:
    print(f"{name}: median {median(values):.0f}, worst {max(values):.0f} of {len(values)}")


def _fill(server: EverlogServer, siblings: int) -> None:
    with everlog.connect(server.url, token=server.token) as store:
        for first in range(0, siblings, _PER_WRITE):
            numbers = range(first, min(first + _PER_WRITE, siblings))
            store.write([_event(f"/customers/c{number:07}", number) for number in numbers])


def _event(subject: str, number: int) -> everlog.NewEvent:
    return everlog.NewEvent(
        source="https://shop.example",
        subject=subject,
        type="com.example.customer-registered",
        data={"number": number, "text": "x" * 100},
    )


def _first_picture(context: BrowserContext, server: EverlogServer) -> list[float]:
    found = []
    for _ in range(_ROUNDS + 1):
        page = context.new_page()
        page.goto(server.url)
        page.get_by_label("API token").wait_for()
        found.append(
            # What is there may not be painted yet.
            page.wait_for_function(_FIRST_PAINT).json_value()
        )
        page.close()
    # The first one had to fetch them.
    return [float(each) for each in found[1:]]


def _signed_in(context: BrowserContext, server: EverlogServer) -> Page:
    page = context.new_page()
    page.goto(server.url)
    page.get_by_label("API token").fill(server.token)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_text("Health checks", exact=True).wait_for()
    return page


def _click_to_events(page: Page) -> list[float]:
    found = []
    for _ in range(_ROUNDS + 1):
        page.evaluate("location.hash = '#/overview'")
        page.get_by_text("Health checks", exact=True).wait_for()
        run = """document.querySelector("nav a[href^='#/events']").click()"""
        found.append(_measured(page, "tbody tr[aria-rowindex]", 10, run))
    # The first one loads the page's module.
    return found[1:]


def _open_siblings(page: Page) -> list[float]:
    found = []
    for _ in range(_ROUNDS):
        page.evaluate("location.hash = '#/overview'")
        page.get_by_text("Health checks", exact=True).wait_for()
        page.evaluate("location.hash = '#/subjects'")
        page.locator("[role=treeitem]").nth(1).wait_for()
        run = "document.querySelectorAll('[role=treeitem] .twist')[1].click()"
        found.append(_measured(page, "[role=treeitem][aria-level='3']", 10, run))
    return found


def _measured(page: Page, selector: str, count: int, run: str) -> float:
    return float(page.evaluate(_MEASURE, [selector, count, run]))


def _watch_arrivals(browser: Browser, server: EverlogServer, seconds: int) -> None:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = _signed_in(context, server)
    page.evaluate("location.hash = '#/events?subject=/&recursive=true&live=true'")
    page.locator("tbody tr[aria-rowindex]").first.wait_for()
    page.evaluate(_FRAMES)
    before = heap_of(page)
    with _arriving(server, seconds):
        time.sleep(seconds)
    longest, after = float(page.evaluate("window.longest")), heap_of(page)
    print(f"{_PER_SECOND:,} events a second for {seconds} s: longest frame {longest:.0f} ms")
    print(f"memory of the page: {before / 2**20:.1f} MiB before, {after / 2**20:.1f} MiB after")


@contextmanager
def _arriving(server: EverlogServer, seconds: int) -> Iterator[None]:
    def write() -> None:
        count = _PER_SECOND // _WRITES_PER_SECOND
        with everlog.connect(server.url, token=server.token) as store:
            begun = time.monotonic()
            for turn in range(seconds * _WRITES_PER_SECOND):
                time.sleep(max(0.0, begun + turn / _WRITES_PER_SECOND - time.monotonic()))
                store.write([_event(f"/live/{turn}", number) for number in range(count)])

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        thread.join()


if __name__ == "__main__":
    main()
