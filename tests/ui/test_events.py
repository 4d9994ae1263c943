"""Events as a table: any part of the log, page by page, filtered, live, and taken along."""

import json
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.support.api import Connection, an_event
from tests.support.browser import NARROW, Opening, sign_in, watched_page
from tests.support.server import TOKEN, RunningServer, running_server

COUNT = 600
ACQUIRED, BORROWED = "com.example.book-acquired", "com.example.book-borrowed"


def a_book(number: int) -> dict[str, object]:
    type_ = BORROWED if number % 3 == 0 else ACQUIRED
    data = {"title": f"Book {number}", "price": number + 0.5, "by": {"first name": "A"}}
    return an_event(f"/books/{number % 50}", type_, data=data)


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with running_server("--with-ui", is_temporary=True) as running:
        with Connection(running.url) as connection:
            for first in range(0, COUNT, 200):
                connection.write(*map(a_book, range(first, first + 200)))
        yield running


def table_of(page: Page) -> Locator:
    return page.get_by_role("grid", name="Events")


def first_id(page: Page) -> str:
    return table_of(page).locator("tbody tr[aria-rowindex] a").first.inner_text()


def expect_first(page: Page, event_id: int | str) -> None:
    link = table_of(page).locator("tbody tr[aria-rowindex='2'] a").first
    expect(link).to_have_text(str(event_id))


def state_of(page: Page) -> dict[str, list[str]]:
    return parse_qs(page.url.partition("?")[2])


def shared_server_fits(server: RunningServer) -> int:
    """Return how many events there are by now: tests that write add some."""
    with Connection(server.url) as connection:
        query = {"query": "FROM e IN events PROJECT INTO COUNT()"}
        return int(connection.v2("run-eventql-query", query).items[0]["data"]["value"])


def test_pages_lead_from_the_newest_event_to_the_oldest_and_back(
    open_page: Opening, server: RunningServer
) -> None:
    count = shared_server_fits(server)
    page = open_page("#/events?size=250")
    expect_first(page, count - 1)
    expect(page.get_by_role("status").filter(has_text="of")).to_contain_text(f"250 of {count}")
    page.get_by_role("button", name="Older").click()
    expect_first(page, count - 251)
    assert state_of(page) == {"size": ["250"], "before": [str(count - 250)]}
    page.reload()
    page.get_by_label("API token").fill(TOKEN)
    page.get_by_role("button", name="Sign in").click()
    expect_first(page, count - 251)
    page.get_by_role("button", name="Oldest").click()
    expect_first(page, 249)
    expect(page.get_by_role("button", name="Older")).to_be_disabled()
    page.get_by_role("button", name="Newer").click()
    expect_first(page, 499)
    page.get_by_role("button", name="Newest").click()
    expect_first(page, count - 1)
    expect(page.get_by_role("button", name="Newer")).to_be_disabled()
    page.go_back()
    expect_first(page, 499)


def test_filters_by_subject_and_type_are_in_the_address(open_page: Opening) -> None:
    page = open_page("#/events")
    expect(table_of(page)).to_be_visible()
    page.get_by_label("Subject", exact=True).fill("/books/3")
    page.get_by_label("Subject", exact=True).press("Enter")
    expect(page.get_by_role("status").filter(has_text="of")).to_have_text("12 of 12 events")
    page.get_by_label("Event type").fill(BORROWED)
    page.get_by_label("Event type").press("Enter")
    expect(page.get_by_role("status").filter(has_text="of")).to_have_text("4 of 4 events")
    assert state_of(page) == {"subject": ["/books/3"], "type": [BORROWED]}
    page.get_by_role("button", name=f"Take out {BORROWED}").click()
    expect(page.get_by_role("status").filter(has_text="of")).to_have_text("12 of 12 events")
    page.get_by_role("button", name="Clear all filters").click()
    expect(page.get_by_role("status").filter(has_text="of")).to_contain_text("100 of")
    assert state_of(page) == {}


def test_a_subject_without_those_below_has_its_own_events_only(open_page: Opening) -> None:
    page = open_page("#/events?subject=/books&recursive=false")
    expect(page.get_by_text("No events here")).to_be_visible()
    page.get_by_role("button", name="Look below /books too").click()
    expect(table_of(page)).to_be_visible()


def test_times_bound_what_is_shown(open_page: Opening, server: RunningServer) -> None:
    with Connection(server.url) as connection:
        events = connection.read_all()
    middle = str(events[COUNT // 2]["time"])
    first = next(int(each["id"]) for each in events if str(each["time"]) >= middle)
    page = open_page(f"#/events?since={middle}&until=2999-01-01&order=chronological&size=500")
    expect_first(page, first)
    page.get_by_label("Until").fill(middle)
    page.get_by_label("Until").press("Enter")
    expect(page.get_by_text("No events here")).to_be_visible()
    page.get_by_label("Until").fill("someday")
    expect(page.get_by_text("No time")).to_be_visible()
    expect(page.get_by_label("Until")).to_have_attribute("aria-invalid", "true")


def test_an_address_with_a_wrong_time_says_so(open_page: Opening) -> None:
    page = open_page("#/events?since=yesterday")
    expect(page.get_by_role("alert").filter(has_text="is no time")).to_be_visible()


def test_columns_are_chosen_and_may_be_fields_of_data(open_page: Opening) -> None:
    page = open_page("#/events?subject=/books/7&size=25")
    expect(table_of(page)).to_be_visible()
    page.get_by_role("button", name="Columns").click()
    dialog = page.get_by_role("dialog")
    for name in ("time", "type", "data"):
        dialog.get_by_label(name, exact=True).uncheck()
    dialog.get_by_label("data.price", exact=True).check()
    dialog.get_by_label("A field of data").fill('by."first name"')
    dialog.get_by_role("button", name="Add").click()
    dialog.get_by_role("button", name="Done").click()
    assert state_of(page)["column"] == ["id", "subject", "data.price", 'data.by."first name"']
    row = table_of(page).locator("tbody tr[aria-rowindex='2']")
    expect(row).to_contain_text("557.5")
    expect(row.get_by_role("gridcell").last).to_have_text("A")


def test_the_table_is_walked_and_an_event_opened_without_a_mouse(open_page: Opening) -> None:
    page = open_page("#/events?from=0&size=25&order=chronological")
    expect_first(page, 0)
    table_of(page).locator("tbody tr[aria-rowindex='2']").focus()
    for place in (3, 4):
        page.keyboard.press("ArrowDown")
        expect(table_of(page).locator(f"tr[aria-rowindex='{place}']")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="Event 2")).to_be_visible()
    page.go_back()
    expect_first(page, 0)
    page.keyboard.press("]")
    expect_first(page, 25)


def test_two_events_are_marked_and_compared(open_page: Opening) -> None:
    page = open_page("#/events?from=0&size=25&order=chronological")
    page.get_by_label("Mark event 7", exact=True).check()
    expect(page.get_by_role("button", name="Mark one more")).to_be_disabled()
    page.get_by_label("Mark event 4", exact=True).check()
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("table", name="Differences")).to_contain_text('"Book 4"')
    assert state_of(page) == {"left": ["4"], "right": ["7"]}


def test_new_events_are_counted_and_not_pushed_between(
    open_page: Opening, server: RunningServer
) -> None:
    page = open_page("#/events?size=25")
    expect(table_of(page)).to_be_visible()
    before = first_id(page)
    # That it observes is not to be seen; the first event that it tells of is.
    with Connection(server.url) as connection:
        connection.write(*map(a_book, range(12)))
        button = page.get_by_role("button", name="new events")
        expect(button).to_have_text("12 new events")
        assert first_id(page) == before
        connection.write(a_book(0))
        expect(button).to_have_text("13 new events")
    button.click()
    expect_first(page, int(before) + 13)
    expect(button).to_have_count(0)


def test_live_shows_what_comes_and_pauses_where_somebody_reads(
    open_page: Opening, server: RunningServer
) -> None:
    page = open_page("#/events?size=100")
    expect(table_of(page)).to_be_visible()
    before = int(first_id(page))
    page.get_by_role("button", name="Live").click()
    assert state_of(page)["live"] == ["true"]
    with Connection(server.url) as connection:
        connection.write(*map(a_book, range(5)))
        expect_first(page, before + 5)
        page.locator(".events .table-scroll").evaluate("element => { element.scrollTop = 500; }")
        page.wait_for_function(
            "() => document.querySelector('.events .table-scroll').scrollTop >= 400"
        )
        connection.write(*map(a_book, range(7)))
        paused = page.get_by_role("button", name="Paused: 7 new events")
        expect(paused).to_be_visible()
        paused.click()
        expect_first(page, before + 12)
    page.get_by_role("button", name="Live").click()
    assert "live" not in state_of(page)


def test_live_keeps_to_the_filters(open_page: Opening, server: RunningServer) -> None:
    page = open_page(f"#/events?subject=/live&type={BORROWED}&live=true")
    expect(page.get_by_text("No events here")).to_be_visible()
    with Connection(server.url) as connection:
        connection.write(
            an_event("/live/1", ACQUIRED), an_event("/other", BORROWED), an_event("/live", BORROWED)
        )
    row = table_of(page).locator("tbody tr[aria-rowindex]")
    expect(row).to_have_count(1)
    expect(row).to_contain_text("/live")


@pytest.mark.parametrize("form", ["ndjson", "json", "csv"])
def test_all_that_a_filter_means_is_downloaded(
    open_page: Opening, server: RunningServer, tmp_path: Path, form: str
) -> None:
    columns = "&column=id&column=data.title&column=data.price"
    page = open_page(f"#/events?subject=/books/9&type={BORROWED}&size=25{columns}")
    expect(table_of(page)).to_be_visible()
    page.get_by_role("button", name="Download").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Form").select_option(form)
    with page.expect_download() as download:
        dialog.get_by_role("button", name="Download").click()
    expect(dialog.get_by_text("Saved.")).to_be_visible()
    assert download.value.suggested_filename == f"events-books-9.{form}"
    path = tmp_path / "saved"
    download.value.save_as(path)
    text = path.read_text("utf-8")
    with Connection(server.url) as connection:
        events = [
            each
            for each in connection.v2("read-events", {"subject": "/books/9"}).events
            if each["type"] == BORROWED
        ]
    assert events
    if form == "csv":
        rows = [f"{each['id']},{each['data']['title']},{each['data']['price']}" for each in events]
        assert path.read_bytes().decode().split("\r\n") == ["id,data.title,data.price", *rows, ""]
    else:
        read = json.loads(text) if form == "json" else list(map(json.loads, text.splitlines()))
        assert read == events


def test_the_query_and_the_command_behind_a_page_give_what_it_shows(
    open_page: Opening, server: RunningServer
) -> None:
    page = open_page(f"#/events?subject=/books/9&type={BORROWED}&size=25&before=400")
    expect(table_of(page)).to_be_visible()
    cells = table_of(page).locator("tbody tr[aria-rowindex] a[href*='#/event?']")
    ids = [each.strip() for each in cells.all_inner_texts()]
    page.get_by_text("The same as EventQL, and with curl").click()
    query = page.get_by_label("Query", exact=True).inner_text()
    command = page.get_by_label("Command", exact=True).inner_text()
    assert TOKEN not in command
    with Connection(server.url) as connection:
        assert [
            each["id"] for each in connection.v2("run-eventql-query", {"query": query}).events
        ] == ids
    environment = {"EVERLOG_API_TOKEN": TOKEN, "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        ["/bin/sh", "-c", f"{command} --silent"],
        capture_output=True,
        encoding="utf-8",
        timeout=30,
        check=True,
        env=environment,
    )
    items = list(map(json.loads, done.stdout.splitlines()))
    assert [item["data"]["id"] for item in items[:-1]] == ids
    assert items[-1]["type"] == "end"
    assert shlex.split(command.replace("\\\n", ""))[0] == "curl"
    page.get_by_role("link", name="Open in the editor").click()
    assert state_of(page)["query"] == [query]


def test_a_server_that_fails_is_told_with_a_way_to_try_again(
    browser: Browser, server: RunningServer
) -> None:
    with watched_page(browser, server.url) as (page, watch):
        watch.expect("503")
        said = {"status": 503, "content_type": "text/plain", "body": "too much at once"}
        page.route("**/read-events", lambda route: route.fulfill(**said))
        sign_in(page, "#/events")
        alert = page.get_by_role("alert").filter(has_text="Too much at once.")
        expect(alert).to_be_visible()
        page.unroute("**/read-events")
        alert.get_by_role("button", name="Try again").click()
        expect(table_of(page)).to_be_visible()


def test_filters_fold_on_a_phone_and_nothing_is_wider_than_it(open_page: Opening) -> None:
    page = open_page("#/events", viewport=NARROW)
    expect(table_of(page)).to_be_visible()
    expect(page.get_by_label("Event type")).to_be_hidden()
    page.get_by_role("button", name="Filters").click()
    expect(page.get_by_label("Event type")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
