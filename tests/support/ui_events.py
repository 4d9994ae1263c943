"""Events that pages of the management UI show: a small shop, and what nobody should have stored."""

import json
from typing import Final

import everlog

TRACE: Final = "4bf92f3577b34da6a3ce929d0e0e4736"

SOURCE: Final = "https://shop.example"
CUSTOMERS: Final = 8

_CITIES: Final = ("London", "Zurich", "Oslo", "Porto")

# What a page must show as it is, whatever it would mean elsewhere.
HOSTILE_TEXTS: Final = (
    "<script>window.pwned = 1</script>",
    '"><img src=x onerror="window.pwned=1">',
    "<marquee>",
    "{{7*7}} ${7*7} javascript:window.pwned=1",
)
HOSTILE_NUMBER: Final = "12345678901234567890.12345678901234567890"
# Subjects and types have harmless letters, but may be long; a source is any reference.
HOSTILE_SUBJECT: Final = "/hostile/script-" + "x" * 400
_HOSTILE_SOURCE: Final = "https://x.example/%3Cscript%3E?a=1&b=%26%2F#window.pwned='1'"


def write_example(store: everlog.Store) -> None:
    """Write the events of a shop's customers and orders, and one that is hostile."""
    for number in range(CUSTOMERS):
        store.write(_events_of(number))
    store.write([_hostile()])


def _events_of(number: int) -> list[everlog.NewEvent]:
    customer = f"/customers/{1000 + number}"
    parent = f"00-{TRACE}-00f067aa0ba902b{number}-01"
    here, there = _CITIES[number % 4], _CITIES[(number + 1) % 4]
    return [
        everlog.NewEvent(
            source=SOURCE,
            subject=subject,
            type=f"com.example.{name}",
            data=data,
            traceparent=parent,
        )
        for subject, name, data in (
            (customer, "customer-registered", {"name": "Ada Lovelace", "city": here}),
            (customer, "customer-moved", {"city": there, "postcode": f"80{number:02}"}),
            (f"/orders/{number}", "order-placed", {"customer": customer, "total": 12.5 + number}),
        )
    ]


def _hostile() -> everlog.NewEvent:
    texts = {f"text{index}": text for index, text in enumerate(HOSTILE_TEXTS)}
    data = {
        **texts,
        "__proto__": {"pwned": True},
        "direction": "abc\u202edef\u2066",
        "long": "long " * 2_000,
        "word": "w" * 10_000,
        "": {"a" * 300: [[[[[[[[[[1]]]]]]]]]]},
    }
    # More digits than a number of a browser has.
    text = f'{{"number":{HOSTILE_NUMBER},{json.dumps(data)[1:]}'
    return everlog.NewEvent(
        source=_HOSTILE_SOURCE,
        subject=HOSTILE_SUBJECT,
        type="com.example.hostile",
        data=everlog.JsonText(text),
    )
