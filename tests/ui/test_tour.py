"""The tour: what a person does from signing in to signing out, with a mouse and without one.

Both find the same store, and do the same; what one has written, the other one sees as older events.
"""

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

import everlog
from tests.support.browser import TIMEOUT_MS, Watch, watched_page
from tests.support.server import TOKEN, RunningServer
from tests.support.ui_events import write_example

CUSTOMER = "/customers/1003"
BY_TYPE = "FROM e IN events GROUP BY e.type PROJECT INTO { type: e.type, count: COUNT() }"
TYPE = "com.example.customer-called"
SCHEMA = '{"type":"object","properties":{"minutes":{"type":"integer"}},"required":["minutes"]}'
DATA = '{"minutes": 12345678901234567890}'


@pytest.fixture(scope="module", autouse=True)
def _filled(server: RunningServer) -> None:
    with everlog.connect(server.url, token=TOKEN) as store:
        write_example(store)


@pytest.fixture
def opened(browser: Browser, server: RunningServer) -> Iterator[tuple[Page, Watch]]:
    with watched_page(browser, server.url) as (page, watch):
        # Where nobody has asked for the tree before, it has to grow first.
        watch.expect("503.*checkpoint")
        page.goto("./")
        yield page, watch


def heading_of(page: Page) -> Locator:
    return page.get_by_role("heading", level=1)


def grid_of(page: Page, name: str) -> Locator:
    return page.get_by_role("grid", name=name)


def region_of(page: Page, name: str) -> Locator:
    return page.get_by_role("region", name=name)


class Mouse:
    """A person who points and clicks."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def press(self, target: Locator) -> None:
        target.click()

    def fill(self, target: Locator, text: str) -> None:
        target.click()
        target.fill(text)

    def visit(self, name: str, _: str) -> None:
        self.page.get_by_role("navigation").get_by_role("link", name=name, exact=True).click()

    def find_events(self) -> None:
        self.page.get_by_role("button", name="Go to").click()
        self.page.get_by_role("combobox").fill(CUSTOMER)
        self.page.get_by_role("option", name=CUSTOMER).first.click()

    def open_latest(self) -> None:
        row = grid_of(self.page, "Events").locator("tbody tr[aria-rowindex]").first
        row.get_by_role("link").first.click()


class Keyboard:
    """A person who has no mouse: whatever is not reached by keys is not there."""

    # More stops than any page has.
    STOPS_MAX = 200

    def __init__(self, page: Page) -> None:
        self.page = page

    def reach(self, target: Locator) -> None:
        expect(target).to_be_visible(timeout=TIMEOUT_MS)
        for _ in range(self.STOPS_MAX):
            if target.evaluate("(element) => element.matches(':focus')"):
                return
            self.page.keyboard.press("Tab")
        pytest.fail(f"no key leads to {target}")

    def press(self, target: Locator) -> None:
        self.reach(target)
        self.page.keyboard.press("Enter")

    def fill(self, target: Locator, text: str) -> None:
        self.reach(target)
        self.page.keyboard.press("Control+a")
        self.page.keyboard.insert_text(text)

    def visit(self, name: str, letter: str) -> None:
        # Letters lead elsewhere only where nobody types.
        self.press(self.page.locator(".skip"))
        self.page.keyboard.press("g")
        self.page.keyboard.press(letter)
        expect(heading_of(self.page)).to_have_text(name)

    def find_events(self) -> None:
        self.page.keyboard.press("Control+k")
        self.page.keyboard.insert_text(CUSTOMER)
        expect(self.page.get_by_role("option", name=CUSTOMER).first).to_be_visible()
        self.page.keyboard.press("Enter")

    def open_latest(self) -> None:
        first = grid_of(self.page, "Events").locator("tbody tr[aria-rowindex]").first
        self.press(first)


@pytest.mark.parametrize("person", [Mouse, Keyboard])
def test_the_tour(
    opened: tuple[Page, Watch], server: RunningServer, person: Callable[[Page], Mouse | Keyboard]
) -> None:
    page, watch = opened
    who = person(page)

    # Sign in, and see that the store is well.
    who.fill(page.get_by_label("API token"), TOKEN)
    who.press(page.get_by_role("button", name="Sign in"))
    expect(heading_of(page)).to_have_text("Overview")
    expect(page.get_by_label("Health: Healthy")).to_be_visible()

    # Find a customer's events.
    who.find_events()
    expect(heading_of(page)).to_have_text("Events")
    expect(grid_of(page, "Events")).to_contain_text("com.example.customer-registered")

    # See what changed between two.
    who.open_latest()
    who.press(page.get_by_role("link", name="Compare with previous"))
    differences = page.get_by_role("table", name="Differences")
    expect(differences).to_contain_text("city")
    expect(differences).to_contain_text("London")

    # Ask a question, and save it.
    who.visit("Query", "q")
    editor = page.get_by_role("textbox", name="EventQL query")
    who.fill(editor, BY_TYPE)
    page.keyboard.press("Control+Enter")
    expect(grid_of(page, "Rows")).to_contain_text("com.example.customer-moved")
    # In the editor, Tab indents; Escape leaves that to the next Tab.
    page.keyboard.press("Escape")
    who.press(page.get_by_role("button", name="Save", exact=True))
    name = f"By type, {person.__name__}"
    who.fill(page.get_by_role("dialog").get_by_label("Name"), name)
    page.keyboard.press("Enter")
    expect(page.get_by_role("complementary")).to_contain_text(name)

    # Register a schema.
    type_ = f"{TYPE}-by-{person.__name__.lower()}"
    who.visit("Event types", "t")
    who.press(page.get_by_role("link", name="Register\u2026"))
    form = region_of(page, "Register a schema")
    who.fill(form.get_by_label("Event type"), type_)
    who.fill(form.get_by_label("JSON Schema"), SCHEMA)
    who.press(form.get_by_role("button", name="Test against stored events"))
    expect(form).to_contain_text("It can be registered.")
    who.press(form.get_by_role("button", name="Register\u2026"))
    who.press(page.get_by_role("dialog").get_by_role("button", name="Register for good"))
    expect(page.get_by_text("has its schema")).to_be_visible()

    # Write an event, and watch it arrive live.
    with watched_page(_browser_of(page), server.url) as (other, _):
        watching = person(other)
        other.goto(f"./#/events?subject={CUSTOMER}&recursive=true")
        watching.fill(other.get_by_label("API token"), TOKEN)
        watching.press(other.get_by_role("button", name="Sign in"))
        watching.press(other.get_by_role("button", name="Live"))
        expect(grid_of(other, "Events")).not_to_contain_text(type_)
        _write(who, type_)
        expect(page.get_by_text(re.compile(r"Event \d+ is written"))).to_be_visible()
        arrived = other.get_by_role("button", name=re.compile("1 new event"))
        expect(arrived.or_(grid_of(other, "Events").get_by_text(type_)).first).to_be_visible()

    # Verify the chain, and sign out.
    who.visit("Integrity", "i")
    chain = region_of(page, "Hash chain")
    who.press(chain.get_by_role("button", name="The whole log"))
    expect(chain).to_contain_text("The chain is whole.")
    who.press(page.get_by_role("button", name="Sign out"))
    expect(page.get_by_label("API token")).to_be_visible()

    assert not any(TOKEN in each for each in (*watch.urls, *watch.messages, page.url))
    assert TOKEN not in page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
    assert TOKEN.encode() not in b"".join(server.output)


def _write(who: Mouse | Keyboard, type_: str) -> None:
    page = who.page
    who.visit("Write", "w")
    who.fill(page.get_by_label("Type", exact=True), type_)
    who.fill(page.get_by_label("Subject", exact=True), CUSTOMER)
    who.fill(page.get_by_label("Source", exact=True), "https://shop.example")
    who.fill(page.get_by_label("Data", exact=True), DATA)
    who.press(page.get_by_role("button", name="Write\u2026"))
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("12345678901234567890")
    who.press(dialog.get_by_role("button", name="Write for good"))


def _browser_of(page: Page) -> Browser:
    browser = page.context.browser
    assert browser is not None
    return browser
