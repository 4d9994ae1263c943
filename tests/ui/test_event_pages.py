"""One event and what is around it: data as stored, neighbours, chain, proof, history, trace."""

import json
import re
from collections.abc import Iterator
from typing import Final

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.support.api import Connection, an_event
from tests.support.browser import NARROW, Opening
from tests.support.server import RunningServer, running_server

TRACE: Final = "4bf92f3577b34da6a3ce929d0e0e4736"
OTHER_TRACE: Final = "0af7651916cd43dd8448eb211c80319c"

# As they are sent, since no library would write them so: what cannot be a double, letters that
# direct others, and what would be run if it were markup.
SCRIPT: Final = "<script>document.title = 'broken'</script><img src=x onerror=alert(1)>"
HOSTILE: Final = (
    '{"big":12345678901234567890.10,"one":1.0,"rtl":"\\u202Eabc","nul":"a\\u0000b",'
    '"arabic":"\\u0645\\u0631\\u062d\\u0628\\u0627","__proto__":{"x":1},"":[],'
    f'"html":{json.dumps(SCRIPT)},"long":"{"0123456789" * 1_000}"}}'
)

# Position by position: subject, type, data, and the span of a trace.
EVENTS: Final = (
    ("/books/42", "com.example.book-acquired", {"title": "2001", "shelf": {"row": 1, "place": 7}}),
    ("/books/23", "com.example.book-acquired", {"title": "Moby Dick"}),
    ("/books/42", "com.example.book-borrowed", {"reader": "/readers/7", "days": 14}),
    ("/books/42", "com.example.book-moved", {"shelf": {"row": 2}}),
    ("/books/42", "com.example.book-borrowed", {"reader": "/readers/8", "days": 14}),
)
HOSTILE_ID: Final = len(EVENTS)


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with running_server("--with-ui", is_temporary=True) as running:
        with Connection(running.url) as connection:
            for position, (subject, type_, data) in enumerate(EVENTS):
                span = f"00-{TRACE}-{position + 1:016x}-01"
                trace = {"traceparent": span} if position in {0, 1, 4} else {}
                connection.write(an_event(subject, type_, data=data, **trace))
            event = an_event("/hostile/" + "a" * 300, data="DATA")
            body = json.dumps({"events": [event]}).replace('"DATA"', HOSTILE).encode()
            answer = connection.ask("POST", "/api/v2/data/write-events", body)
            assert answer.items[-1]["type"] == "end", answer.text
            connection.write(an_event(traceparent=f"00-{OTHER_TRACE}-00f067aa0ba902b7-01"))
        yield running


def the_event(page: Page, event_id: int) -> Locator:
    return page.get_by_role("region", name=f"Event {event_id}", exact=True)


def test_an_event_has_its_own_address_and_its_neighbours(open_page: Opening) -> None:
    page = open_page("#/event?id=2")
    expect(the_event(page, 2)).to_contain_text("com.example.book-borrowed")
    expect(the_event(page, 2).get_by_role("link", name="42")).to_be_visible()
    for link, number in (
        ("Next event of the subject", 3),
        ("Previous event of the subject", 2),
        ("Previous event of the subject", 0),
        ("Next event of the log", 1),
    ):
        page.get_by_role("link", name=link).click()
        expect(the_event(page, number)).to_be_visible()
        assert page.url.endswith(f"#/event?id={number}")
    expect(page.get_by_role("button", name="Previous event of the subject")).to_be_disabled()
    page.keyboard.press("[")
    expect(the_event(page, 0)).to_be_visible()
    expect(page.get_by_role("button", name="Previous event of the log")).to_be_disabled()


def test_data_is_shown_as_it_is_stored_and_never_as_markup(
    open_page: Opening, server: RunningServer
) -> None:
    page = open_page(f"#/event?id={HOSTILE_ID}")
    tree = page.get_by_role("tree", name=f"Data of event {HOSTILE_ID}")
    for text in ("12345678901234567890.10", "1.0", SCRIPT, "__proto__", "\u0645\u0631\u062d"):
        expect(tree).to_contain_text(text)
    expect(tree.get_by_text("show all 10,000 letters")).to_be_visible()
    expect(page).to_have_title("Event \u2013 Everlog")
    assert page.locator("main script, main img").count() == 0
    page.get_by_role("tab", name="As stored").click()
    with Connection(server.url) as connection:
        bound = {"id": str(HOSTILE_ID), "type": "inclusive"}
        options = {"recursive": True, "lowerBound": bound, "upperBound": bound}
        body = {"subject": "/", "options": options}
        line = connection.v2("read-events", body).text.splitlines()[0]
    stored = page.get_by_label(f"Event {HOSTILE_ID} as stored").text_content()
    assert stored == line.removeprefix('{"type":"event","data":').strip()[:-1]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_data_is_copied_as_it_is_stored(open_page: Opening) -> None:
    page = open_page(f"#/event?id={HOSTILE_ID}", permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy data").click()
    expect(page.get_by_text("Copied")).to_be_attached()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert '"big": 12345678901234567890.10,' in copied


def test_its_place_in_the_chain_is_checked_and_its_proof_verified(open_page: Opening) -> None:
    page = open_page("#/event?id=3&tab=chain")
    panel = page.get_by_role("tabpanel")
    expect(panel).to_contain_text("What it holds has the hash that it says.")
    expect(panel).to_contain_text("It names the hash of event 2")
    expect(panel).to_contain_text("Proven in this browser.")
    expect(panel).to_contain_text(f"{len(EVENTS) + 2} events")
    with page.expect_download() as download:
        panel.get_by_role("button", name="Download proof").click()
    proof = json.loads(download.value.path().read_text())
    assert proof["event"] == "3"
    panel.get_by_role("link", name="Event 2").click()
    expect(the_event(page, 2)).to_be_visible()
    assert page.url.endswith("#/event?id=2&tab=chain")


def test_a_proof_that_does_not_hold_is_told(open_page: Opening) -> None:
    page = open_page("#/overview")

    def forge(route: object) -> None:
        answer = route.fetch()  # type: ignore[attr-defined] # playwright's route
        proof = answer.json()
        proof["root"] = proof["proof"][0]
        route.fulfill(response=answer, json=proof)  # type: ignore[attr-defined] # the same

    page.route("**/inclusion-proof*", forge)
    page.goto("./#/event?id=3&tab=chain")
    expect(page.get_by_text("The proof does not hold.")).to_be_visible()


def test_an_event_that_is_not_there_is_told(open_page: Opening) -> None:
    page = open_page("#/event?id=999")
    expect(page.get_by_text("There is no event 999")).to_be_visible()
    page.goto("./#/event?id=abc")
    expect(page.get_by_role("alert").filter(has_text="is no id of an event")).to_be_visible()


def test_two_events_are_compared_and_swapped(open_page: Opening) -> None:
    page = open_page("#/event?id=4")
    page.get_by_role("link", name="Compare with previous").click()
    differences = page.get_by_role("table", name="Differences")
    expect(differences).to_contain_text("shelf")
    page.get_by_label("Event", exact=True).fill("2")
    page.get_by_label("Event", exact=True).press("Enter")
    rows = differences.locator("tbody tr")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text('"/readers/7"')
    page.get_by_label("Show what is the same too").check()
    expect(rows).to_have_count(2)
    page.get_by_role("button", name="Swap").click()
    expect(page).to_have_url(re.compile("left=4.*right=2"))
    expect(differences.locator("thead")).to_contain_text("Event 4")


def test_a_history_tells_step_by_step_what_changed(open_page: Opening) -> None:
    page = open_page("#/history?subject=/books/42&order=chronological")
    steps = page.get_by_role("listitem").get_by_role("region")
    expect(steps).to_have_count(4)
    moved = the_event(page, 3).locator("tbody tr")
    expect(moved).to_have_count(1)
    expect(moved).to_have_text("~changedshelf.row12")
    borrowed = the_event(page, 4).locator("tbody tr")
    expect(borrowed).to_have_count(1)
    expect(borrowed).to_contain_text('"/readers/7""/readers/8"')
    page.get_by_label("Compared with").select_option("the event before")
    expect(the_event(page, 4).locator("tbody tr")).to_have_count(3)
    assert "against=previous" in page.url


def test_a_trace_shows_its_events_in_their_order(open_page: Opening) -> None:
    page = open_page("#/event?id=1")
    page.get_by_role("link", name=TRACE).click()
    rows = page.get_by_role("table", name="Events of the trace").locator("tbody tr")
    expect(rows).to_have_count(3)
    ids = [rows.nth(place).get_by_role("link").first.inner_text() for place in range(3)]
    assert ids == ["0", "1", "4"]
    expect(rows.nth(1)).to_have_attribute("aria-current", "true")
    field = page.get_by_label("Trace id or traceparent")
    field.fill(f"00-{OTHER_TRACE}-0000000000000001-01")
    field.press("Enter")
    expect(rows).to_have_count(1)
    field.fill("nonsense")
    field.press("Enter")
    expect(page.get_by_text("That is no trace id")).to_be_visible()


@pytest.mark.parametrize(
    "fragment",
    [
        pytest.param(f"#/event?id={HOSTILE_ID}", id="event"),
        pytest.param(f"#/event?id={HOSTILE_ID}&tab=raw", id="stored"),
        pytest.param("#/event?id=3&tab=chain", id="chain"),
        pytest.param(f"#/compare?left=0&right={HOSTILE_ID}", id="compare"),
        pytest.param(f"#/history?subject=/hostile/{'a' * 300}", id="history"),
        pytest.param(f"#/trace?trace={TRACE}", id="trace"),
    ],
)
def test_nothing_is_wider_than_a_phone(open_page: Opening, fragment: str) -> None:
    page = open_page(fragment, viewport=NARROW)
    expect(page.locator("main .page .card").first).to_be_visible()
    expect(page.locator(".loading")).to_have_count(0)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate(
        "[...document.querySelectorAll('main .card')].every("
        "(card) => card.getBoundingClientRect().right <= innerWidth)"
    )
