"""Make the pictures of the management UI that the manual shows: `make screenshots`.

Each page of a small shop's store is shown in both themes, at the width of a desk and of a phone, by
the Chromium of the system, and goes to docs/ui. Look at each of them before it is committed.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, Page, sync_playwright

import everlog
from everlog.testing import EverlogServer
from tools.system_packages import path_of

_REPOSITORY: Final = Path(__file__).parents[1]
_FOLDER: Final = _REPOSITORY / "docs" / "ui"
_CHROMIUM: Final = path_of("chromium")

# What one page may weigh: the pictures are part of the repository.
_SIZE_MAX: Final = 150_000

_TRACE: Final = "4bf92f3577b34da6a3ce929d0e0e4736"
_BY_TYPE: Final = "FROM e IN events GROUP BY e.type PROJECT INTO { type: e.type, count: COUNT() }"

_EVENTS: Final = (
    "#/events?subject=/customers&recursive=true&size=25"
    "&column=id&column=time&column=subject&column=type&column=data.city"
)

# By the name of the picture: the fragment, and what must be there before it is made.
_PAGES: Final = {
    "overview": ("#/overview", "Health checks"),
    "subjects": ("#/subjects?subject=/customers/1004", "Latest events"),
    "events": (_EVENTS, "com.example.customer-moved"),
    "event": ("#/event?id=15", "com.example.customer-moved"),
    "compare": ("#/compare?left=14&right=15", "What differs"),
    "history": ("#/history?subject=/customers/1004", "com.example.customer-moved"),
    "trace": (f"#/trace?trace={_TRACE}", "/orders/"),
    "query": (f"#/query?query={_BY_TYPE}&run=true", "rows"),
    "types": ("#/types?type=com.example.customer-moved", "The latest events"),
    "write": ("#/write?like=15", "An event like"),
    "integrity": ("#/integrity", "Hash chain"),
}

_SIZES: Final = {"wide": (1440, 760), "narrow": (390, 844)}
_THEMES: Final = ("light", "dark")

_PEOPLE: Final = ("Ada Lovelace", "Grace Hopper", "Alan Turing", "Mary Shaw", "Tony Hoare")
_CITIES: Final = ("London", "Zurich", "Oslo", "Porto", "Vienna")
_SCHEMA: Final = {
    "type": "object",
    "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
    "required": ["city"],
}


def main() -> int:
    """Make all pictures, and return 1 if one is too large."""
    _FOLDER.mkdir(exist_ok=True)
    options = ("--with-ui", "--ui-title=Shop, staging", "--ui-colour=green")
    with EverlogServer(options=options) as server, sync_playwright() as playwright:
        with everlog.connect(server.url, token=server.token) as store:
            for events in _shop():
                store.write(events)
            store.register_event_schema("com.example.customer-moved", _SCHEMA)
        flags = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=_CHROMIUM, args=flags)
        for theme in _THEMES:
            for size in _SIZES:
                _make(browser, server, theme, size)
        browser.close()
    large = [path.name for path in _FOLDER.glob("*.png") if path.stat().st_size > _SIZE_MAX]
    if large:
        print(f"larger than {_SIZE_MAX} bytes: {', '.join(large)}", file=sys.stderr)
    return 1 if large else 0


def _make(browser: Browser, server: EverlogServer, theme: str, size: str) -> None:
    width, height = _SIZES[size]
    context = browser.new_context(viewport={"width": width, "height": height})
    page = context.new_page()
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    page.goto(server.url)
    page.get_by_label("API token").wait_for()
    _save(page, f"sign-in-{size}-{theme}")
    page.get_by_label("API token").fill(server.token)
    page.get_by_role("button", name="Sign in").click()
    # Charts have some seconds to show.
    page.get_by_text("Health checks", exact=True).wait_for()
    page.wait_for_timeout(6_000)
    for name, (fragment, awaited) in _PAGES.items():
        page.evaluate("(hash) => { location.hash = hash; }", fragment)
        page.locator("main .page").get_by_text(awaited).first.wait_for()
        page.locator(".loading").first.wait_for(state="detached")
        # The pointer is over nothing, and fonts and charts are drawn.
        page.mouse.move(0, 0)
        page.wait_for_timeout(400)
        _save(page, f"{name}-{size}-{theme}")
    context.close()


def _save(page: Page, name: str) -> None:
    page.screenshot(path=_FOLDER / f"{name}.png", animations="disabled")


def _shop() -> Iterator[list[everlog.NewEvent]]:
    """Return the events of some customers and their orders, as they were written together."""
    for number in range(40):
        customer = f"/customers/{1000 + number}"
        person, city = _PEOPLE[number % 5], _CITIES[number % 5]
        moved = {"street": f"{number} Main Street", "city": _CITIES[(number + 2) % 5]}
        told: list[tuple[str, str, Mapping[str, object]]] = [
            (customer, "customer-registered", {"name": person, "street": "1 Hill", "city": city}),
            (customer, "customer-moved", moved),
            (f"/orders/{number}", "order-placed", {"customer": customer, "total": 12.5 + number}),
        ]
        if number % 3 == 0:
            told.append((f"/orders/{number}", "order-shipped", {"carrier": "bicycle"}))
        yield [
            everlog.NewEvent(
                source="https://shop.example",
                subject=subject,
                type=f"com.example.{name}",
                data=data,
                traceparent=f"00-{_TRACE}-00f067aa0ba902b7-01" if number == 4 else None,
            )
            for subject, name, data in told
        ]


if __name__ == "__main__":
    sys.exit(main())
