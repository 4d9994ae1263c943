"""What the SDK 1.9.x must be able to do: run by test_sdk_v1.py, with that SDK on its path.

Started as `python sdk_v1_checks.py <url> <token> <signed url> <verification key in hex>`, it runs
every check and prints one JSON object: for each check null, or the traceback of its failure.
"""

import asyncio
import itertools
import json
import sys
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from eventsourcingdb import (
    Bound,
    BoundType,
    Client,
    Event,
    EventCandidate,
    EventType,
    IfEventIsMissingDuringObserve,
    IfEventIsMissingDuringRead,
    IsSubjectOnEventId,
    IsSubjectPopulated,
    IsSubjectPristine,
    ObserveEventsOptions,
    ObserveFromLatestEvent,
    Order,
    ReadEventsOptions,
    ReadFromLatestEvent,
    ServerError,
)

URL, TOKEN, SIGNED_URL, VERIFICATION_KEY = sys.argv[1:]

READ_ALL = ReadEventsOptions(recursive=True)
OBSERVE_ALL = ObserveEventsOptions(recursive=True)
SCHEMA = {
    "type": "object",
    "properties": {"value": {"type": "number"}},
    "additionalProperties": False,
}

numbers = itertools.count()


class Place:
    """A subject and event types that no other check uses."""

    def __init__(self) -> None:
        self.number = next(numbers)
        self.subject = f"/test-{self.number}"

    def type(self, name: str = "happened") -> str:
        return f"io.everlog.test-{self.number}.{name}"

    def event(self, path: str = "", name: str = "happened", **data: Any) -> EventCandidate:
        return EventCandidate(
            "https://everlog.test", self.subject + path, self.type(name), data, None, None
        )


async def collect(items: AsyncGenerator[Any, None]) -> list[Any]:
    return [item async for item in items]


async def take(items: AsyncGenerator[Any, None], count: int) -> list[Any]:
    taken = [await anext(items) for _ in range(count)]
    await items.aclose()
    return taken


async def assert_fails(act: Awaitable[object], *texts: str) -> None:
    with pytest.raises(ServerError) as raised:
        await act
    for text in texts:
        assert text in str(raised.value)


async def check_pings(client: Client, _: Place) -> None:
    await client.ping()
    async with Client(URL, "wrong") as stranger:
        await stranger.ping()


async def check_verifies_the_token(client: Client, _: Place) -> None:
    await client.verify_api_token()
    async with Client(URL, "wrong") as stranger:
        await assert_fails(stranger.verify_api_token(), "Failed to verify API token", "401")


async def check_writes_one_event(client: Client, place: Place) -> None:
    (event,) = await client.write_events([place.event("/a", value=23)])
    assert (event.subject, event.data) == (f"{place.subject}/a", {"value": 23})
    assert (event.trace_parent, event.trace_state, event.signature) == (None, None, None)


async def check_writes_many_events(client: Client, place: Place) -> None:
    events = await client.write_events([place.event(value=n) for n in range(3)])
    first = int(events[0].event_id)
    assert [int(event.event_id) for event in events] == [first, first + 1, first + 2]


async def check_keeps_traces(client: Client, place: Place) -> None:
    candidate = place.event()
    candidate.trace_parent = "00-10000000000000000000000000000000-1000000000000000-00"
    candidate.trace_state = "state=12345"
    (event,) = await client.write_events([candidate])
    assert event.trace_parent == candidate.trace_parent
    assert event.trace_state == candidate.trace_state
    event.verify_hash()


async def check_keeps_preconditions(client: Client, place: Place) -> None:
    (event,) = await client.write_events(
        [place.event("/a")], [IsSubjectPristine(f"{place.subject}/a")]
    )
    holding = [
        IsSubjectPristine(f"{place.subject}/b"),
        IsSubjectPopulated(f"{place.subject}/a"),
        IsSubjectOnEventId(f"{place.subject}/a", event.event_id),
    ]
    await client.write_events([place.event("/c")], holding)
    for violated in (
        IsSubjectPristine(f"{place.subject}/a"),
        IsSubjectPopulated(f"{place.subject}/b"),
        IsSubjectOnEventId(f"{place.subject}/a", "9223372036854775807"),
    ):
        await assert_fails(client.write_events([place.event("/d")], [violated]), "409")
    found = await collect(client.read_events(place.subject, READ_ALL))
    assert [event.subject.rpartition("/")[2] for event in found] == ["a", "c"], found


async def check_reads_in_every_option(client: Client, place: Place) -> None:
    names = ("odd", "even")
    written = await client.write_events([place.event(name=names[n % 2], n=n) for n in range(4)])
    ids = [event.event_id for event in written]
    lower, upper = Bound(ids[1], BoundType.INCLUSIVE), Bound(ids[3], BoundType.EXCLUSIVE)
    nothing = IfEventIsMissingDuringRead.READ_NOTHING
    everything = IfEventIsMissingDuringRead.READ_EVERYTHING
    latest = ReadFromLatestEvent(place.subject, place.type("odd"), nothing)
    missing = ReadFromLatestEvent(place.subject, place.type("missing"), nothing)
    missing_too = ReadFromLatestEvent(place.subject, place.type("missing"), everything)
    for options, expected in (
        (ReadEventsOptions(recursive=False), [0, 1, 2, 3]),
        (ReadEventsOptions(recursive=False, order=Order.ANTICHRONOLOGICAL), [3, 2, 1, 0]),
        (ReadEventsOptions(recursive=False, lower_bound=lower, upper_bound=upper), [1, 2]),
        (ReadEventsOptions(recursive=False, from_latest_event=latest), [2, 3]),
        (ReadEventsOptions(recursive=False, from_latest_event=missing), []),
        (ReadEventsOptions(recursive=False, from_latest_event=missing_too), [0, 1, 2, 3]),
    ):
        events = await collect(client.read_events(place.subject, options))
        assert [event.data["n"] for event in events] == expected


async def check_refuses_what_cannot_be_read(client: Client, _: Place) -> None:
    latest = ReadFromLatestEvent("/", "malformed", IfEventIsMissingDuringRead.READ_NOTHING)
    bound = Bound("0", BoundType.EXCLUSIVE)
    for options in (
        ReadEventsOptions(recursive=True, upper_bound=bound),
        ReadEventsOptions(recursive=True, lower_bound=Bound("-1", BoundType.INCLUSIVE)),
        ReadEventsOptions(recursive=True, from_latest_event=latest),
        ReadEventsOptions(recursive=True, from_latest_event=latest, lower_bound=bound),
    ):
        await assert_fails(collect(client.read_events("/", options)), "400")


async def check_observes(client: Client, place: Place) -> None:
    await client.write_events([place.event(n=1)])
    events = client.observe_events(place.subject, OBSERVE_ALL)
    seen = [await anext(events)]
    await client.write_events([place.event(n=2)])
    # Longer than a second, so that a heartbeat comes.
    waiting = asyncio.ensure_future(anext(events))
    await asyncio.wait([waiting], timeout=1.2)
    await client.write_events([place.event(n=3)])
    seen += [await waiting, await anext(events)]
    await events.aclose()
    assert [event.data["n"] for event in seen] == [1, 2, 3]


async def check_observes_from_the_latest_event(client: Client, place: Place) -> None:
    missing = IfEventIsMissingDuringObserve.WAIT_FOR_EVENT
    latest = ObserveFromLatestEvent(place.subject, place.type("special"), missing)
    options = ObserveEventsOptions(recursive=True, from_latest_event=latest)
    events = client.observe_events(place.subject, options)
    first = asyncio.ensure_future(anext(events))
    await client.write_events([place.event(n=1)])
    await client.write_events([place.event(name="special", n=2)])
    await client.write_events([place.event(n=3)])
    seen = [await first, *await take(events, 1)]
    assert [event.data["n"] for event in seen] == [2, 3]


async def check_reads_subjects(client: Client, place: Place) -> None:
    await client.write_events([place.event("/foo/bar")])
    subjects = await collect(client.read_subjects(place.subject))
    below = [f"{place.subject}/foo", f"{place.subject}/foo/bar"]
    assert subjects == [place.subject, *below]
    await assert_fails(collect(client.read_subjects("")), "400")


async def check_registers_schemas_and_reads_event_types(client: Client, place: Place) -> None:
    name = place.type()
    await client.register_event_schema(name, SCHEMA)
    phantom = EventType(event_type=name, is_phantom=True, schema=SCHEMA)
    assert await client.read_event_type(name) == phantom
    await client.write_events([place.event(value=1)])
    used = EventType(event_type=name, is_phantom=False, schema=SCHEMA)
    assert await client.read_event_type(name) == used
    assert used in await collect(client.read_event_types())


async def check_tells_why_a_schema_is_refused(client: Client, place: Place) -> None:
    await client.write_events([place.event(oy="value")])
    register = client.register_event_schema
    for schema, text in (
        (SCHEMA, "additionalProperties 'oy' not allowed"),
        ({"type": "gurkenwasser", "properties": {}}, 'value must be "object"'),
        ({"type": "object", "additionalProperties": False}, "missing properties"),
    ):
        await assert_fails(register(place.type(), schema), text)
    await register(place.type("other"), SCHEMA)
    await assert_fails(register(place.type("other"), SCHEMA), "schema already exists")
    await assert_fails(client.write_events([place.event(name="other", oy=1)]), "409")


async def check_tells_about_event_types_that_are_none(client: Client, _: Place) -> None:
    for name, text in (
        ("non.existent.eventType", "event type 'non.existent.eventType' not found"),
        ("malformed.eventType.", "invalid event type: 'malformed.eventType.'"),
    ):
        await assert_fails(client.read_event_type(name), text)


async def check_verifies_hashes_and_signatures(_: Client, place: Place) -> None:
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(VERIFICATION_KEY))
    async with Client(SIGNED_URL, TOKEN) as client:
        written = await client.write_events([place.event(value="text"), place.event(b=1, a=2)])
        read = await collect(client.read_events("/", READ_ALL))
        observed = await take(client.observe_events("/", OBSERVE_ALL), 2)
    for event in (*written, *read, *observed):
        assert isinstance(event, Event)
        event.verify_hash()
        event.verify_signature(key)


async def check_refuses_a_wrong_token_everywhere(_: Client, place: Place) -> None:
    async with Client(URL, "wrong") as stranger:
        for act in (
            stranger.write_events([place.event()]),
            collect(stranger.read_events("/", READ_ALL)),
            take(stranger.observe_events("/", OBSERVE_ALL), 1),
            collect(stranger.read_subjects("/")),
            collect(stranger.read_event_types()),
        ):
            await assert_fails(act, "401")


Check = Callable[[Client, Place], Awaitable[None]]


async def run(check: Check) -> str | None:
    try:
        async with asyncio.timeout(30), Client(URL, TOKEN) as client:
            await check(client, Place())
    except Exception:  # noqa: BLE001 - the test that started this shows it.
        return traceback.format_exc()
    return None


async def main() -> None:
    checks = {name: check for name, check in globals().items() if name.startswith("check_")}
    results = await asyncio.gather(*map(run, checks.values()))
    sys.stdout.write(json.dumps(dict(zip(checks, results, strict=True))))


asyncio.run(main())
