"""What holds for every page: axe finds nothing, hostile data is text, its URL is its state."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect

import everlog
from tests.support.browser import NARROW, TIMEOUT_MS, WIDE, Watch, sign_in, watched_page
from tests.support.server import TOKEN, RunningServer
from tests.support.sources import REPOSITORY
from tests.support.ui_events import (
    HOSTILE_NUMBER,
    HOSTILE_SUBJECT,
    HOSTILE_TEXTS,
    TRACE,
    write_example,
)

AXE = REPOSITORY / "tools" / "ui" / "node_modules" / "axe-core" / "axe.min.js"

PAGES = {
    "overview": "#/overview",
    "subjects": "#/subjects?subject=/customers/1001",
    "events": "#/events?subject=/&recursive=true",
    "event": "#/event?id=3",
    "compare": "#/compare?left=0&right=1",
    "history": "#/history?subject=/customers/1001",
    "trace": f"#/trace?trace={TRACE}",
    "query": "#/query?query=FROM+e+IN+events+PROJECT+INTO+e.type&run=true",
    "types": "#/types",
    "write": "#/write",
    "integrity": "#/integrity",
    "nowhere": "#/nowhere",
}


@pytest.fixture(scope="module", autouse=True)
def _filled(server: RunningServer) -> None:
    with everlog.connect(server.url, token=TOKEN) as store:
        write_example(store)


@pytest.fixture(scope="module")
def shared(browser: Browser, server: RunningServer) -> Iterator[tuple[Page, Watch]]:
    """Return one page for all that only look."""
    with watched_page(browser, server.url) as (page, watch):
        # Where nobody has asked for the tree before, it has to grow first.
        watch.expect("503.*checkpoint")
        sign_in(page)
        page.evaluate(AXE.read_text())
        yield page, watch


def show(page: Page, fragment: str) -> None:
    """Show a page as a link in it does, and wait until it stands still."""
    page.evaluate("(hash) => { location.hash = hash; }", fragment)
    settle(page)


def settle(page: Page) -> None:
    """Wait until what was asked for is there."""
    # A page that has never been shown is loaded first, and says so in the next picture.
    page.evaluate("() => new Promise((done) => setTimeout(() => requestAnimationFrame(done)))")
    expect(page.locator(".loading")).to_have_count(0, timeout=TIMEOUT_MS)


def faults_of(page: Page) -> list[str]:
    """Return what axe finds, each with where it is."""
    found: dict[str, Any] = page.evaluate("axe.run({ resultTypes: ['violations'] })")
    return [
        f"{each['id']}: {node['target']} {node['failureSummary']}"
        for each in found["violations"]
        for node in each["nodes"]
    ]


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_axe_finds_nothing(
    shared: tuple[Page, Watch], name: str, theme: Literal["light", "dark"], size: ViewportSize
) -> None:
    page, _ = shared
    page.set_viewport_size(size)
    page.emulate_media(color_scheme=theme)
    show(page, PAGES[name])
    assert faults_of(page) == []


@pytest.mark.parametrize("name", PAGES)
def test_no_page_is_wider_than_a_phone(shared: tuple[Page, Watch], name: str) -> None:
    page, _ = shared
    page.set_viewport_size(NARROW)
    show(page, PAGES[name])
    width = page.evaluate(
        "Math.max(...['main', '.page'].map((each) => document.querySelector(each).scrollWidth))"
    )
    assert width <= NARROW["width"]


def test_axe_finds_nothing_where_one_signs_in_and_in_windows(page: Page) -> None:
    page.goto("./")
    page.get_by_label("API token").wait_for()
    page.evaluate(AXE.read_text())
    assert faults_of(page) == []
    page.get_by_label("API token").fill(TOKEN)
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Overview").wait_for()
    page.keyboard.press("?")
    page.get_by_role("dialog").wait_for()
    assert faults_of(page) == []
    page.keyboard.press("Escape")
    page.keyboard.press("Control+k")
    page.get_by_role("combobox").fill("/customers/10")
    expect(page.get_by_role("option", name="/customers/1001")).to_be_visible()
    assert faults_of(page) == []


HOSTILE = {
    "subjects": {"subject": HOSTILE_SUBJECT},
    "events": {"subject": HOSTILE_SUBJECT, "recursive": "true"},
    "history": {"subject": HOSTILE_SUBJECT},
    "event": {},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_data_is_shown_as_text(
    server: RunningServer, shared: tuple[Page, Watch], name: str
) -> None:
    with everlog.connect(server.url, token=TOKEN) as store:
        (event,) = store.read(HOSTILE_SUBJECT)
    page, _ = shared
    page.set_viewport_size(WIDE)
    params = HOSTILE[name] or {"id": event.id}
    page.evaluate(
        "([page, params]) => { location.hash = `#/${page}?${new URLSearchParams(params)}`; }",
        [name, params],
    )
    settle(page)
    expect(page.locator("main .page")).to_contain_text(HOSTILE_SUBJECT.rsplit("/", 1)[1][:12])
    assert page.evaluate("window.pwned") is None
    # What is in the data is neither an element, nor does it move what is around it.
    assert page.locator("main .page :is(script, iframe, marquee, img)").count() == 0
    assert page.evaluate("document.querySelector('main .page').scrollWidth") <= WIDE["width"]
    if name == "event":
        text = page.locator("main .page").inner_text()
        for each in HOSTILE_TEXTS:
            assert each in text
        assert HOSTILE_NUMBER in text
        assert "\\u202e" in text


def test_the_url_is_the_whole_state(page: Page) -> None:
    fragment = "#/events?subject=/customers/1001&recursive=true&order=chronological"
    sign_in(page, fragment)
    expect(page.get_by_role("grid")).to_contain_text("com.example.customer-moved")
    shown = page.get_by_role("grid").inner_text()
    page.reload()
    sign_in(page, fragment)
    expect(page.get_by_role("grid")).to_contain_text("com.example.customer-moved")
    assert page.get_by_role("grid").inner_text() == shown
    assert TOKEN not in page.url


def test_keys_lead_to_pages_and_tell_what_they_are(page: Page) -> None:
    sign_in(page)
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keyboard shortcuts")
    expect(dialog).to_contain_text("Overview")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    for letter, title in {"e": "Events", "s": "Subjects", "o": "Overview"}.items():
        page.keyboard.press("g")
        page.keyboard.press(letter)
        expect(page.get_by_role("heading", level=1)).to_have_text(title)
        expect(page.get_by_role("heading", level=1)).to_be_focused()


def test_who_does_not_want_letters_as_shortcuts_switches_them_off(page: Page) -> None:
    sign_in(page)
    page.get_by_role("button", name="Keyboard shortcuts").click()
    page.get_by_label("Single letters are shortcuts").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    page.keyboard.press("Control+k")
    expect(page.get_by_role("dialog", name="Go to")).to_be_visible()
    expect(page.get_by_role("dialog")).to_have_count(1)


def test_the_go_to_box_completes_subjects_and_knows_events_types_and_pages(
    page: Page, watch: Watch
) -> None:
    # The page about integrity may be looked at before the tree has grown.
    watch.expect("503.*checkpoint")
    sign_in(page)
    for text, fragment in {
        "/customers/1001": "#/events?subject=/customers/1001&recursive=true",
        "3": "#/event?id=3",
        "com.example.customer-moved": "com.example.customer-moved",
        "integ": "#/integrity",
    }.items():
        page.keyboard.press("Control+k")
        page.get_by_role("combobox", name="Page, subject").fill(text)
        page.keyboard.press("Enter")
        page.wait_for_url(lambda url, end=fragment: end in url)


def test_the_theme_is_kept_and_nothing_else(page: Page) -> None:
    sign_in(page)
    page.get_by_role("button", name="Dark").click()
    assert page.evaluate("getComputedStyle(document.body).colorScheme") == "dark"
    page.reload()
    sign_in(page)
    expect(page.get_by_role("button", name="Dark")).to_have_attribute("aria-pressed", "true")
    kept = json.loads(page.evaluate("JSON.stringify(Object.entries(localStorage))"))
    assert dict(kept)["everlog.theme"] == '"dark"'


def test_every_page_is_looked_at() -> None:
    source = Path(REPOSITORY, "src/everlog/ui/browser/app.js").read_text()
    assert all(f"./pages/{name}.js" in source for name in PAGES if name != "nowhere")
    assert source.count('import("./pages/') == len(PAGES) - 1
