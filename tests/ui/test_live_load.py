"""A thousand events a second, watched live: what the browser holds does not grow with them."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import expect

from tests.support.api import Connection, an_event
from tests.support.browser import Opening, heap_of
from tests.support.server import RunningServer

# `make test-all` has a minute.
SECONDS = int(os.environ.get("EVERLOG_UI_LIVE_SECONDS", "4"))
PER_SECOND = 1_000
PER_WRITE = 100

# Long tasks hold up what a person does; the sum is of those that took more than 50 ms.
WATCH = """
window.longTasks = [];
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) { window.longTasks.push(entry.duration); }
}).observe({ entryTypes: ["longtask"] });
"""


@contextmanager
def writing(server: RunningServer) -> Iterator[None]:
    """Write so many events a second, for so many seconds, beside what the block does."""

    def write() -> None:
        with Connection(server.url) as connection:
            begun = time.monotonic()
            for turn in range(SECONDS * PER_SECOND // PER_WRITE):
                due = begun + turn * PER_WRITE / PER_SECOND
                time.sleep(max(0.0, due - time.monotonic()))
                data = {"turn": turn, "text": "x" * 200}
                connection.write(*[an_event(f"/load/{turn}", data=data)] * PER_WRITE)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        thread.join()


@pytest.mark.parametrize("live", ["true", ""], ids=["shown", "counted"])
def test_memory_and_page_do_not_grow_with_what_arrives(
    open_page: Opening, server: RunningServer, live: str
) -> None:
    with Connection(server.url) as connection:
        connection.write(*[an_event("/load/first", data={"text": "x" * 200})] * 200)
    page = open_page(f"#/events?size=100&live={live}")
    expect(page.get_by_role("grid", name="Events")).to_be_visible()
    page.evaluate(WATCH)
    elements, heap = page.evaluate("document.querySelectorAll('*').length"), heap_of(page)
    with writing(server):
        pass
    if live:
        with Connection(server.url) as connection:
            [last] = connection.write(an_event("/load/last"))
        first = page.locator("tr[aria-rowindex='2'] a").first
        expect(first).to_have_text(str(last["id"]))
    else:
        count = f"{SECONDS * PER_SECOND:,} new events"
        expect(page.get_by_role("button", name=count)).to_be_visible()
    assert page.evaluate("document.querySelectorAll('*').length") < elements + 100
    # A page of events is kept twice at most; all that came would be 600 bytes each and more.
    assert heap_of(page) < heap + 2 * 1024 * 1024
    tasks = page.evaluate("window.longTasks")
    # How long one takes, a loaded machine decides; how many there are of them, the page does.
    assert len(tasks) < 4 * SECONDS
