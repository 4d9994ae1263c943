"""Subjects as a tree: opened level by level, however many siblings there are."""

import os
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.support.api import Connection, an_event
from tests.support.browser import NARROW, Opening
from tests.support.server import RunningServer, running_server

# `make test-all` has a million.
SIBLINGS = int(os.environ.get("EVERLOG_UI_SUBJECTS", "20000"))
PER_WRITE = 10_000

TREE_ROWS = '[role="treeitem"]'


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with running_server("--with-ui", is_temporary=True) as running:
        with Connection(running.url) as connection:
            connection.write(
                *(an_event(subject) for subject in ("/books/42", "/books/42", "/books/23")),
                *(
                    an_event(subject)
                    for subject in ("/books/42/pages/1", "/Readers", "/books-old/1")
                ),
            )
            for first in range(0, SIBLINGS, PER_WRITE):
                last = min(first + PER_WRITE, SIBLINGS)
                connection.write(*(an_event(f"/customers/{name(n)}") for n in range(first, last)))
        yield running


def name(number: int) -> str:
    return f"c{number:07d}"


def tree_of(page: Page) -> Locator:
    return page.get_by_role("tree", name="Subjects")


def item(page: Page, subject: str) -> Locator:
    return tree_of(page).get_by_role("treeitem", name=f"{subject}, ", exact=False).first


def shown(page: Page) -> list[str]:
    labels = (
        tree_of(page)
        .locator(TREE_ROWS)
        .evaluate_all(
            "rows => rows.map((row) => row.querySelector('.visually-hidden')?.textContent)"
        )
    )
    return [str(label).partition(",")[0] for label in labels]


def test_levels_are_opened_one_by_one_with_their_counts(open_page: Opening) -> None:
    page = open_page("#/subjects")
    expect(item(page, "/books")).to_be_visible()
    assert shown(page) == ["/", "/Readers", "/books", "/books-old", "/customers"]
    books = item(page, "/books")
    expect(books).to_contain_text("2 below")
    expect(books).to_have_attribute("aria-expanded", "false")
    books.locator(".twist").click()
    expect(item(page, "/books/42")).to_be_visible()
    assert shown(page)[2:5] == ["/books", "/books/23", "/books/42"]
    expect(item(page, "/books/42")).to_contain_text("/books/42, 3 events")
    item(page, "/books/42").click()
    about = page.get_by_role("region", name="The subject")
    expect(about).to_contain_text("2 events")
    expect(about).to_contain_text("3 events")
    assert "open=/books" in page.url
    assert "subject=/books/42" in page.url
    page.go_back()
    expect(page).to_have_url(page.url.partition("#")[0] + "#/subjects?open=/books")


def test_the_address_opens_all_that_is_above_a_subject(open_page: Opening) -> None:
    page = open_page("#/subjects?subject=/books/42/pages/1")
    expect(item(page, "/books/42/pages/1")).to_have_attribute("aria-selected", "true")
    expect(item(page, "/books/42/pages/1")).to_have_attribute("aria-level", "5")


def test_the_tree_is_walked_with_the_arrows(open_page: Opening) -> None:
    page = open_page("#/subjects")
    expect(item(page, "/books")).to_be_visible()
    item(page, "/").focus()
    for key, subject in (("ArrowDown", "/Readers"), ("ArrowDown", "/books")):
        page.keyboard.press(key)
        expect(item(page, subject)).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(item(page, "/books/42")).to_be_visible()
    for key, subject in (("ArrowRight", "/books/23"), ("ArrowDown", "/books/42")):
        page.keyboard.press(key)
        expect(item(page, subject)).to_be_focused()
    page.keyboard.press("Enter")
    expect(item(page, "/books/42")).to_have_attribute("aria-selected", "true")
    page.keyboard.press("ArrowLeft")
    expect(item(page, "/books")).to_be_focused()
    page.keyboard.press("ArrowLeft")
    expect(item(page, "/books")).to_have_attribute("aria-expanded", "false")
    page.keyboard.press("End")
    expect(item(page, "/customers")).to_be_focused()


def test_many_siblings_are_scrolled_without_being_in_the_page(open_page: Opening) -> None:
    page = open_page("#/subjects?open=/customers")
    expect(item(page, f"/customers/{name(0)}")).to_be_visible()
    scroll = page.locator(".tree-scroll")
    for part in (0.5, 1.0, 0.25):
        scroll.evaluate(
            "(element, part) => { element.scrollTop = part * element.scrollHeight; }", part
        )
        page.wait_for_function(
            """wanted => {
              const rows = [...document.querySelectorAll("[role=treeitem]")];
              const found = /.customers.c(\\d+),/.exec(rows[10]?.textContent);
              return found !== null && Math.abs(Number(found[1]) - wanted.at) < wanted.off &&
                rows.every((row) => row.ariaBusy === null);
            }""",
            arg={"at": part * SIBLINGS, "off": SIBLINGS / 20},
        )
        assert len(shown(page)) < 100
    elements = page.evaluate("document.querySelectorAll('*').length")
    assert elements < 1_500
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_box_completes_subjects_and_goes_there(open_page: Opening) -> None:
    page = open_page("#/subjects")
    expect(item(page, "/books")).to_be_visible()
    box = page.get_by_label("Go to a subject")
    box.fill("/cust")
    option = page.get_by_role("option")
    expect(option).to_have_count(1)
    expect(option).to_contain_text(f"{SIBLINGS:,}")
    box.press("Tab")
    expect(box).to_have_value("/customers")
    wanted = f"/customers/{name(SIBLINGS * 3 // 4)}"
    box.press_sequentially(wanted.removeprefix("/customers")[:-1])
    expect(page.get_by_role("option", name=wanted)).to_be_visible()
    box.fill(wanted)
    box.press("Enter")
    expect(item(page, wanted)).to_have_attribute("aria-selected", "true")
    expect(page.get_by_role("region", name="The subject")).to_contain_text("1 event")


def test_a_level_is_narrowed_to_what_begins_so(open_page: Opening) -> None:
    page = open_page("#/subjects?subject=/customers&open=/customers")
    expect(item(page, f"/customers/{name(0)}")).to_be_visible()
    page.get_by_label("Children of /customers that begin with").fill(name(7)[:-1])
    expect(page.get_by_text("10 match", exact=True)).to_be_visible()
    expect(item(page, f"/customers/{name(9)}")).to_be_visible()
    expect(item(page, f"/customers/{name(10)}")).to_have_count(0)
    assert f"prefix={name(7)[:-1]}" in page.url


def test_a_subject_leads_to_its_events_and_its_history(open_page: Opening) -> None:
    page = open_page("#/subjects?subject=/books/42")
    about = page.get_by_role("region", name="The subject")
    expect(about.get_by_role("listitem")).to_have_count(3)
    about.get_by_role("link", name="History").click()
    expect(page.get_by_role("heading", name="History")).to_be_visible()
    page.go_back()
    about.get_by_role("link", name="Events").click()
    expect(page.get_by_role("grid", name="Events").get_by_role("row")).to_have_count(4)


def test_a_new_subject_appears_when_it_is_loaded_anew(
    open_page: Opening, server: RunningServer
) -> None:
    page = open_page("#/subjects")
    expect(item(page, "/books")).to_be_visible()
    with Connection(server.url) as connection:
        connection.write(an_event("/zebras/1"))
    page.get_by_role("button", name="Load anew").click()
    expect(item(page, "/zebras")).to_be_visible()


def test_it_fits_on_a_phone(open_page: Opening) -> None:
    page = open_page("#/subjects?subject=/books", viewport=NARROW)
    expect(item(page, "/books")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
