"""Questions: typed with completion, judged while typed, run, cancelled, drawn, explained, kept."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.support.api import Connection, an_event
from tests.support.browser import Opening, sign_in, watched_page
from tests.support.server import TOKEN, RunningServer, running_server, wait_until

COUNT = 300
ACQUIRED, BORROWED = "com.example.book-acquired", "com.example.book-borrowed"
BIG = "12345678901234567890.50"
HOSTILE = "<img src=x onerror=alert(1)>\u202e"

BY_TYPE = "FROM e IN events GROUP BY e.type PROJECT INTO { type: e.type, count: COUNT() }"
# More work than anybody waits for: each event with each other one, three times.
ENDLESS = (
    "FROM a IN events FROM b IN events FROM c IN events FROM d IN events "
    "WHERE a.data.n + b.data.n + c.data.n + d.data.n < 0 PROJECT INTO a.id"
)


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with running_server("--with-ui", is_temporary=True) as running:
        with Connection(running.url) as connection:
            events = [
                an_event(
                    f"/books/{n % 20}",
                    BORROWED if n % 3 else ACQUIRED,
                    data={"n": n, "by": {"name": "A"}},
                )
                for n in range(COUNT)
            ]
            connection.write(*events)
            connection.write(an_event("/hostile", "com.example.hostile", data={"text": HOSTILE}))
        yield running


def editor_of(page: Page) -> Locator:
    return page.get_by_role("textbox", name="EventQL query")


def type_query(page: Page, text: str) -> None:
    editor_of(page).click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(text)


def run_query(page: Page, text: str) -> None:
    type_query(page, text)
    page.keyboard.press("Control+Enter")


def rows_of(page: Page) -> Locator:
    return page.get_by_role("grid", name="Rows").locator("tbody tr[aria-rowindex]")


def state_of(page: Page) -> Locator:
    return page.get_by_label("State of the query")


def take_by_key(page: Page, options: Locator) -> None:
    """Take the first of what is offered; a list that has just come does not take a key yet."""

    def is_second_chosen() -> bool:
        page.keyboard.press("ArrowDown")
        return options.nth(1).get_attribute("aria-selected") == "true"

    wait_until(is_second_chosen)
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")


def test_a_query_is_typed_with_completion_and_run_by_a_key(open_page: Opening) -> None:
    page = open_page("#/query")
    editor_of(page).click()
    page.keyboard.press("Control+a")
    page.keyboard.type("FROM e IN ev")
    options = page.get_by_role("listbox").get_by_role("option")
    expect(options.first).to_contain_text("events")
    take_by_key(page, options)
    page.keyboard.type(" WHERE e.type == 'com.example.book-b")
    options.get_by_text(BORROWED).click()
    page.keyboard.type(" AND e.data.by.")
    expect(options.first).to_contain_text("name")
    page.keyboard.type("name == 'A' AND e.subject == '/books/1")
    expect(options.filter(has_text="/books/19")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("End")
    page.keyboard.type(" PROJECT INTO COUN")
    expect(options.first).to_contain_text("COUNT")
    expect(page.get_by_text("How many rows there are")).to_be_visible()
    options.first.click()
    expect(editor_of(page)).to_contain_text(f"e.type == '{BORROWED}' AND e.data.by.name == 'A'")
    page.keyboard.type(")")
    page.keyboard.press("Control+Enter")
    expect(state_of(page)).to_contain_text("1 row")
    expect(rows_of(page)).to_have_count(1)


def test_what_was_selected_a_moment_ago_is_typed_over(open_page: Opening) -> None:
    page = open_page("#/query")
    type_query(page, "FROM e IN events\nWHERE e.id == 1\nPROJECT INTO e")

    # The editor is told of a selection only after this.
    editor_of(page).evaluate(
        """(content) => {
            content.getRootNode().getSelection().selectAllChildren(content);
            const typed = { inputType: "insertText", data: "FROM", bubbles: true };
            content.dispatchEvent(new InputEvent("beforeinput", { ...typed, cancelable: true }));
        }"""
    )

    expect(editor_of(page)).to_have_text("FROM")


def test_letters_that_are_typed_are_no_shortcuts(open_page: Opening) -> None:
    page = open_page("#/query")
    type_query(page, "x")
    page.keyboard.type("g e ? / g o")
    expect(page.get_by_role("heading", level=1)).to_have_text("Query")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(editor_of(page)).to_contain_text("xg e ? / g o")


def test_faults_are_underlined_where_they_are_before_it_runs(open_page: Opening) -> None:
    page = open_page("#/query")
    type_query(page, "FROM e IN events\nWHERE e.typ == 'x'\nPROJECT INTO LENGTH(e.id)")
    underlined = page.locator(".cm-lintRange-error")
    expect(underlined).to_have_text(["typ", "LENGTH"])
    listed = page.locator(".faults li")
    expect(listed).to_have_text(
        [
            re.compile("^2:9 +events have no field 'typ'; did you mean 'e.type'"),
            re.compile("^3:14 +unknown function 'LENGTH'; did you mean 'LEN'"),
        ]
    )
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("alert")).to_contain_text("This is no query.")
    expect(underlined).to_have_count(2)
    run_query(page, "FROM e IN events PROJECT INTO e.data.by AS INT")
    expect(underlined).to_have_text("e.data.by AS INT")
    expect(page.get_by_role("link", name="Open event 0")).to_be_visible()


def test_rows_are_shown_as_they_are_stored(open_page: Opening) -> None:
    page = open_page("#/query")
    run_query(
        page,
        f"FROM e IN events WHERE e.id == '0' PROJECT INTO {{ b: {BIG} AS STRING, z: null }}",
    )
    expect(rows_of(page).first).to_contain_text("null")
    run_query(page, "FROM e IN events WHERE e.subject == '/hostile' PROJECT INTO e.data")
    expect(rows_of(page)).to_have_count(1)
    expect(rows_of(page).first).to_contain_text("<img src=x onerror=alert(1)>")
    rows_of(page).first.click()
    dialog = page.get_by_role("dialog", name="Row")
    expect(dialog).to_contain_text("\\u202e")
    page.keyboard.press("Escape")
    assert page.locator("main img").count() == 0
    run_query(page, "FROM e IN events ORDER BY e.id AS INT DESC TOP 3 PROJECT INTO e")
    rows_of(page).first.click()
    expect(dialog.get_by_role("link", name=f"Open event {COUNT}")).to_be_visible()
    dialog.get_by_role("button", name="Close").click()
    page.get_by_role("tab", name="JSON").click()
    expect(page.get_by_role("tree")).to_contain_text("com.example.hostile")


def test_a_query_that_takes_long_is_cancelled(open_page: Opening) -> None:
    page = open_page("#/query")
    run_query(page, ENDLESS)
    expect(state_of(page)).to_contain_text("Running")
    expect(state_of(page)).to_contain_text(" s")
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("The query was cancelled")).to_be_visible()
    expect(page.get_by_role("button", name=re.compile("^Run Ctrl"))).to_be_enabled()
    run_query(page, BY_TYPE)
    expect(rows_of(page)).to_have_count(3)


def test_more_rows_than_anybody_reads_are_cut(open_page: Opening) -> None:
    page = open_page("#/query")
    run_query(page, "FROM a IN events FROM b IN events PROJECT INTO { a: a.data.n, b: b.data.n }")
    expect(page.get_by_text("There are more rows.")).to_be_visible()
    expect(state_of(page)).to_contain_text("10,000 rows")
    # Only what can be seen is in the page.
    assert rows_of(page).count() < 100
    grid = page.get_by_role("grid", name="Rows")
    expect(grid).to_have_attribute("aria-rowcount", "10001")


def test_a_chart_is_drawn_of_what_can_be_drawn(open_page: Opening) -> None:
    page = open_page("#/query")
    run_query(page, BY_TYPE)
    page.get_by_role("tab", name="Chart").click()
    expect(page.get_by_role("img", name="Chart of count along type")).to_be_visible()
    box = page.locator(".plot canvas").bounding_box()
    assert box is not None
    assert box["height"] > 100
    assert "view=chart" in page.url
    page.get_by_role("combobox", name="Along").select_option("#")
    expect(page.get_by_role("img", name="along the rows")).to_be_visible()
    run_query(page, "FROM e IN events TOP 3 PROJECT INTO e.type")
    page.get_by_role("tab", name="Chart").click()
    expect(page.get_by_role("heading", name="Nothing to draw")).to_be_visible()


def test_a_plan_can_be_read(open_page: Opening) -> None:
    page = open_page("#/query")
    type_query(
        page, f"FROM e IN events WHERE e.type == '{ACQUIRED}' AND e.data.n > 7 PROJECT INTO e.id"
    )
    page.get_by_role("button", name="Explain").click()
    plan = page.get_by_role("tabpanel").get_by_role("listitem")
    expect(plan.nth(0)).to_contain_text("Read events that the index finds, the oldest first")
    expect(plan.nth(0)).to_contain_text(f"of the type {ACQUIRED}")
    expect(plan.nth(0)).to_contain_text("at most 100 of 301 events, 33 %")
    expect(plan.nth(1)).to_contain_text("e.data.n > 7")
    page.get_by_role("button", name="Run without EXPLAIN").click()
    expect(state_of(page)).to_contain_text("97 rows")


def test_queries_are_kept_and_what_came_of_them_is_not(page: Page) -> None:
    sign_in(page, "#/query")
    run_query(page, BY_TYPE)
    expect(rows_of(page)).to_have_count(3)
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_label("Name")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("Give it a name.")
    page.get_by_label("Name").fill("By type")
    page.keyboard.press("Enter")
    expect(page.get_by_text("is saved in this browser")).to_be_visible()
    type_query(page, "FROM e IN events PROJECT INTO COUNT()")
    page.keyboard.press("Control+Enter")
    expect(rows_of(page)).to_have_count(1)
    # Another day.
    page.goto("about:blank")
    sign_in(page, "#/query")
    kept = page.get_by_role("complementary")
    page.get_by_role("tab", name="History").click()
    expect(kept.get_by_role("listitem")).to_have_count(2)
    page.get_by_role("tab", name="Saved").click()
    page.get_by_role("button", name="Run By type").click()
    expect(rows_of(page)).to_have_count(3)
    stored = page.evaluate(
        "JSON.stringify([Object.entries(localStorage), Object.entries(sessionStorage)])"
    )
    assert ACQUIRED not in stored
    assert TOKEN not in stored
    page.get_by_role("button", name="Remove By type").click()
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("button", name="Run By type")).to_be_visible()


def test_a_link_shows_the_same_to_somebody_else(browser: Browser, server: RunningServer) -> None:
    permissions = {"permissions": ["clipboard-read", "clipboard-write"]}
    with watched_page(browser, server.url, **permissions) as (page, _):
        sign_in(page, "#/query")
        run_query(page, BY_TYPE)
        page.get_by_role("tab", name="Chart").click()
        page.get_by_role("button", name="Copy link").click()
        link = page.evaluate("navigator.clipboard.readText()")
    assert TOKEN not in link
    with watched_page(browser, server.url) as (page, watch):
        sign_in(page, link.partition("/#")[2] and f"#{link.partition('#')[2]}")
        expect(page.get_by_role("img", name="Chart of count along type")).to_be_visible()
        # What is asked is never in an address that a server sees.
        assert not any("GROUP" in url.partition("#")[0] for url in watch.urls)


def test_going_back_shows_the_query_of_before(open_page: Opening) -> None:
    page = open_page("#/query")
    run_query(page, BY_TYPE)
    expect(rows_of(page)).to_have_count(3)
    run_query(page, "FROM e IN events PROJECT INTO COUNT()")
    expect(rows_of(page)).to_have_count(1)
    page.go_back()
    expect(editor_of(page)).to_contain_text("GROUP BY e.type")
    expect(rows_of(page)).to_have_count(3)


def test_rows_are_taken_along(open_page: Opening) -> None:
    page = open_page("#/query")
    run_query(
        page, "FROM e IN events ORDER BY e.id AS INT TOP 2 PROJECT INTO { id: e.id, n: e.data.n }"
    )
    expect(rows_of(page)).to_have_count(2)
    contents = {}
    for name in ("NDJSON", "CSV", "JSON"):
        with page.expect_download() as download:
            page.get_by_role("button", name=name, exact=True).click()
        contents[name] = Path(download.value.path()).read_text(encoding="utf-8")
    assert contents["NDJSON"] == '{"id":"0","n":0}\n{"id":"1","n":1}\n'
    assert contents["CSV"].splitlines() == ["id,n", "0,0", "1,1"]
    assert json.loads(contents["JSON"]) == [{"id": "0", "n": 0}, {"id": "1", "n": 1}]
