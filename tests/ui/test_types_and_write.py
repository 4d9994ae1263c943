"""Event types and their schemas, and events that people write: tested first, and confirmed."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.support.api import Connection, an_event
from tests.support.browser import Opening, sign_in, watched_page
from tests.support.server import RunningServer, running_server

ACQUIRED, BORROWED = "com.example.book-acquired", "com.example.book-borrowed"
BURNED = "com.example.book-burned"
HOSTILE = "com.example.hostile"
BIG = "12345678901234567890.50"
SCHEMA = '{"type": "object", "properties": {"title": {"type": "%s"}}, "required": ["title"]}'


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with running_server("--with-ui", is_temporary=True) as running:
        with Connection(running.url) as connection:
            connection.write(an_event("/books/1", ACQUIRED, data={"title": "Dune"}))
            connection.write(an_event("/books/2", ACQUIRED, data={"title": "Moby Dick"}))
            connection.write(an_event("/books/2", BORROWED, data={"reader": "/readers/7"}))
            connection.write(an_event("/h", HOSTILE, data={"text": "<script>pwned = 1</script>"}))
            schema = {"type": "object", "properties": {"when": {"type": "string"}}}
            connection.v2("register-event-schema", {"type": BURNED, "schema": schema})
        yield running


def types_of(page: Page) -> Locator:
    return page.get_by_role("grid", name="Event types").locator("tbody tr[aria-rowindex]")


def test_types_are_listed_with_their_schemas_and_events(open_page: Opening) -> None:
    page = open_page("#/types")
    expect(types_of(page)).to_have_text(
        [
            re.compile(f"{ACQUIRED}.*none.*2"),
            re.compile(f"{BORROWED}.*none.*1"),
            re.compile(f"{BURNED}.*schema.*0"),
            re.compile(f"{HOSTILE}.*none.*1"),
        ]
    )
    page.get_by_role("button", name="Without schema").click()
    expect(types_of(page)).to_have_count(3)
    page.get_by_label("Filter event types").fill("BORROW")
    expect(types_of(page)).to_have_count(1)
    assert "filter=BORROW" in page.url
    assert "schema=none" in page.url
    page.get_by_label("Filter event types").fill("nothing like it")
    expect(page.get_by_text("No type is like that")).to_be_visible()


def test_a_type_shows_its_schema_and_examples_of_its_events(open_page: Opening) -> None:
    page = open_page(f"#/types?type={HOSTILE}")
    examples = page.get_by_label("Examples")
    expect(examples).to_contain_text("<script>pwned = 1</script>")
    assert page.evaluate("window.pwned") is None
    page.get_by_label("Filter event types").fill("burned")
    types_of(page).first.press("Enter")
    expect(page.get_by_label("Schema", exact=True).first).to_contain_text('"string"')
    expect(page.get_by_label("Register a schema")).to_have_count(0)
    assert f"type={BURNED}" in page.url


def test_a_schema_is_tested_against_stored_events_before_it_is_for_good(
    open_page: Opening, server: RunningServer
) -> None:
    page = open_page(f"#/types?type={ACQUIRED}")
    form = page.get_by_label("Register a schema")
    text = form.get_by_label("JSON Schema")
    test, register = (
        form.get_by_role("button", name=each) for each in ("Test against", "Register…")
    )
    expect(register).to_be_disabled()
    text.fill("{")
    expect(form.get_by_role("alert")).to_contain_text("This is no JSON")
    expect(test).to_be_disabled()
    text.fill('{"type": "string"}')
    test.click()
    expect(text).to_have_attribute("aria-invalid", "true")
    text.fill(SCHEMA % "integer")
    test.click()
    expect(form.get_by_role("alert")).to_contain_text("/title: expected integer, but got string")
    expect(form.get_by_role("link", name="Open event 0")).to_be_visible()
    expect(register).to_be_disabled()
    text.fill(SCHEMA % "string")
    test.click()
    expect(form.get_by_text("All 2 stored events of this type match.")).to_be_visible()
    with Connection(server.url) as connection:
        known = connection.v2("read-event-type", {"type": ACQUIRED})
        assert "schema" not in known.json["data"]
    register.click()
    page.get_by_role("dialog").get_by_role("button", name="Register for good").click()
    expect(page.get_by_text("has its schema")).to_be_visible()
    expect(page.get_by_label("Schema", exact=True).first).to_contain_text("required")
    with Connection(server.url) as connection:
        known = connection.v2("read-event-type", {"type": ACQUIRED})
        assert known.json["data"]["schema"]["required"] == ["title"]


def test_a_draft_of_a_schema_is_made_of_events(open_page: Opening) -> None:
    page = open_page(f"#/types?type={BORROWED}")
    form = page.get_by_label("Register a schema")
    form.get_by_role("button", name="Draft from events").click()
    expect(form.get_by_label("JSON Schema")).to_have_value(re.compile('"reader"'))
    form.get_by_role("button", name="Test against").click()
    expect(form.get_by_text("The stored event of this type matches.")).to_be_visible()


def test_a_type_gets_its_schema_before_its_first_event(open_page: Opening) -> None:
    page = open_page("#/types")
    page.get_by_role("link", name="Register…").click()
    form = page.get_by_label("Register a schema")
    form.get_by_label("Event type").fill("nonsense")
    form.get_by_role("button", name="Test against").click()
    expect(form.get_by_label("Event type")).to_have_attribute("aria-invalid", "true")
    form.get_by_label("Event type").fill("com.example.book-lent")
    form.get_by_role("button", name="Test against").click()
    expect(form.get_by_text("There is no event of this type yet.")).to_be_visible()


def fill(page: Page, **values: str) -> None:
    for label, value in values.items():
        page.get_by_label(label, exact=True).fill(value)


def write(page: Page) -> None:
    page.get_by_role("button", name="Write…").click()
    page.get_by_role("dialog").get_by_role("button", name="Write for good").click()


def test_another_event_like_one_is_written_after_a_confirmation(
    open_page: Opening, server: RunningServer
) -> None:
    page = open_page("#/write?like=2")
    expect(page.get_by_label("Type", exact=True)).to_have_value(BORROWED)
    expect(page.get_by_label("Data", exact=True)).to_have_value('{\n  "reader": "/readers/7"\n}')
    fill(page, Data=f'{{"reader": "/readers/8", "fee": {BIG}}}')
    page.get_by_role("button", name="Write…").click()
    dialog = page.get_by_role("dialog", name="Write this event?")
    expect(dialog).to_contain_text("It can neither be changed nor deleted.")
    expect(dialog).to_contain_text(BIG)
    page.keyboard.press("Escape")
    write(page)
    link = page.get_by_role("link", name=re.compile("Open event"))
    expect(link).to_be_visible()
    with Connection(server.url) as connection:
        lines = connection.v2("read-events", {"subject": "/books/2"}).body
    assert BIG in lines.decode()


def test_a_refusal_is_shown_at_the_field_that_it_names(open_page: Opening) -> None:
    page = open_page("#/write")
    fill(page, Type="com.example.a", Subject="no path", Source="https://a.example", Data="{")
    page.get_by_role("button", name="Write…").click()
    expect(page.get_by_label("Data", exact=True)).to_be_focused()
    fill(page, Data="{}")
    write(page)
    subject = page.get_by_label("Subject", exact=True)
    expect(subject).to_be_focused()
    expect(subject).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_text("absolute, slash-separated path").first).to_be_visible()
    fill(page, Subject="/a", Type="x")
    write(page)
    expect(page.get_by_label("Type", exact=True)).to_have_attribute("aria-invalid", "true")
    expect(subject).not_to_have_attribute("aria-invalid", "true")
    fill(page, Type=BURNED, Data='{"when": 7}')
    write(page)
    expect(page.get_by_label("Data", exact=True)).to_have_attribute("aria-invalid", "true")


PRECONDITIONS = {
    "pristine": ("isSubjectPristine", {"Subject": "/books/1"}),
    "populated": ("isSubjectPopulated", {"Subject": "/nowhere"}),
    "on-event": ("isSubjectOnEventId", {"Subject": "/books/1", "Event id": "7"}),
    "query": ("isEventQlQueryTrue", {"Query": "FROM e IN events PROJECT INTO COUNT() == 0"}),
}


@pytest.mark.parametrize("name", PRECONDITIONS)
def test_a_precondition_that_does_not_hold_keeps_the_event_out(
    open_page: Opening, server: RunningServer, name: str
) -> None:
    kind, values = PRECONDITIONS[name]
    page = open_page("#/write?type=com.example.late&subject=/late")
    fill(page, Source="https://a.example", Data="{}")
    page.get_by_role("button", name="Add").click()
    group = page.get_by_role("group", name="Precondition 1")
    group.get_by_label("Must hold").select_option(kind)
    for label, value in values.items():
        group.get_by_label(label).fill(value)
    write(page)
    expect(page.get_by_text("It was not written.")).to_be_visible()
    expect(group.get_by_label("Must hold")).to_have_attribute("aria-invalid", "true")
    with Connection(server.url) as connection:
        assert not connection.v2("read-events", {"subject": "/late"}).items[:-1]


def test_nothing_is_to_be_written_where_the_server_is_read_only(browser: Browser) -> None:
    with running_server("--with-ui", is_temporary=True) as server:
        with Connection(server.url) as connection:
            connection.write(an_event("/books/1", ACQUIRED, data={}))
            connection.v1("put-into-read-only-mode")
        with watched_page(browser, server.url) as (page, _):
            sign_in(page, "#/types")
            expect(page.get_by_role("link", name="Event types")).to_be_visible()
            expect(page.get_by_role("link", name="Write")).to_have_count(0)
            expect(page.get_by_role("link", name="Register…")).to_have_count(0)
            page.evaluate("location.hash = '#/write'")
            expect(page.get_by_text("Nothing can be written here.")).to_be_visible()
