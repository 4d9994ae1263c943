"""The SDK observes events: those stored, then those to come."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
from eventsourcingdb import (
    Bound,
    BoundType,
    Client,
    DbApiError,
    Event,
    IfEventIsMissingDuringObserve,
    ObserveEventsOptions,
    ObserveFromLatestEvent,
)

from tests.support.sdk import Place, Sdk, take
from tests.support.server import running_server

WAIT = IfEventIsMissingDuringObserve.WAIT_FOR_EVENT
READ_EVERYTHING = IfEventIsMissingDuringObserve.READ_EVERYTHING

RECURSIVE = ObserveEventsOptions(recursive=True)


async def write(client: Client, place: Place, *numbers: int, type_name: str = "happened") -> int:
    """Write numbered events to `/events` below a place; return the first's id."""
    events = await client.write_events(
        [place.event("events", type_name=type_name, data={"number": n}) for n in numbers]
    )
    return int(events[0].event_id)


def numbers(events: list[Event]) -> list[int]:
    return [event.data["number"] for event in events]


async def is_silent(events: AsyncGenerator[Event, None], *, seconds: float) -> bool:
    """Tell whether nothing comes; whoever asks may not go on with the stream."""
    try:
        async with asyncio.timeout(seconds):
            await anext(events)
    except TimeoutError:
        return True
    return False


def test_observes_stored_events_and_then_those_that_come(api: Sdk, place: Place) -> None:
    async def work(client: Client) -> list[int]:
        await write(client, place, 1, 2)
        events = client.observe_events(place.subject, RECURSIVE)
        seen = [await anext(events), await anext(events)]
        await write(client, place, 3, 4)
        seen += await take(events, 2)
        for event in seen:
            event.verify_hash()
        return numbers(seen)

    assert api.run(work) == [1, 2, 3, 4]


def test_observes_a_subject_alone(api: Sdk, place: Place) -> None:
    async def work(client: Client) -> list[str]:
        options = ObserveEventsOptions(recursive=False)
        events = client.observe_events(place.below("here"), options)
        for segments in (("here",), ("here", "below"), ("elsewhere",), ("here",)):
            await client.write_events([place.event(*segments)])
        return [event.subject for event in await take(events, 2)]

    assert api.run(work) == [place.below("here")] * 2


@pytest.mark.parametrize(
    "type_, expected", [(BoundType.INCLUSIVE, [2, 3]), (BoundType.EXCLUSIVE, [3, 4])]
)
def test_observes_from_a_lower_bound_on(
    api: Sdk, place: Place, type_: BoundType, expected: list[int]
) -> None:
    async def work(client: Client) -> list[int]:
        first = await write(client, place, 1, 2, 3)
        options = ObserveEventsOptions(recursive=True, lower_bound=Bound(str(first + 1), type_))
        events = client.observe_events(place.subject, options)
        await write(client, place, 4)
        return numbers(await take(events, 2))

    assert api.run(work) == expected


def test_a_lower_bound_in_the_future_is_waited_for(api: Sdk, place: Place) -> None:
    async def work(client: Client) -> list[int]:
        first = await write(client, place, 1)
        bound = Bound(str(first + 3), BoundType.INCLUSIVE)
        events = client.observe_events(
            place.subject, ObserveEventsOptions(recursive=True, lower_bound=bound)
        )
        waiting = asyncio.ensure_future(anext(events))
        await write(client, place, 2, 3)
        await write(client, place, 4)
        seen = await waiting
        await events.aclose()
        return numbers([seen])

    assert api.run(work) == [4]


def from_latest(
    place: Place, type_name: str, missing: IfEventIsMissingDuringObserve
) -> ObserveEventsOptions:
    latest = ObserveFromLatestEvent(place.below("events"), place.type(type_name), missing)
    return ObserveEventsOptions(recursive=True, from_latest_event=latest)


@pytest.mark.parametrize("missing", [WAIT, READ_EVERYTHING])
def test_observes_from_the_latest_event_of_a_type_on(
    api: Sdk, place: Place, missing: IfEventIsMissingDuringObserve
) -> None:
    async def work(client: Client) -> list[int]:
        await write(client, place, 1)
        await write(client, place, 2, type_name="special")
        await write(client, place, 3)
        options = from_latest(place, "special", missing)
        events = client.observe_events(place.subject, options)
        seen = [await anext(events)]
        await write(client, place, 4)
        return numbers(seen + await take(events, 2))

    assert api.run(work) == [2, 3, 4]


def test_observes_everything_where_the_latest_event_is_missing(api: Sdk, place: Place) -> None:
    async def work(client: Client) -> list[int]:
        await write(client, place, 1, 2)
        options = from_latest(place, "special", READ_EVERYTHING)
        events = client.observe_events(place.subject, options)
        seen = [await anext(events)]
        await write(client, place, 3)
        return numbers(seen + await take(events, 2))

    assert api.run(work) == [1, 2, 3]


def test_waits_for_the_event_to_start_from(api: Sdk, place: Place) -> None:
    async def work(client: Client) -> list[int]:
        await write(client, place, 1)
        events = client.observe_events(place.subject, from_latest(place, "special", WAIT))
        first = asyncio.ensure_future(anext(events))
        # Neither another type nor another subject is what is waited for.
        await write(client, place, 2)
        await client.write_events([place.event("elsewhere", type_name="special")])
        await write(client, place, 3, type_name="special")
        await write(client, place, 4)
        await write(client, place, 5, type_name="special")
        return numbers([await first, *await take(events, 2)])

    assert api.run(work) == [3, 4, 5]


def test_nothing_comes_while_the_event_to_start_from_is_missing(api: Sdk, place: Place) -> None:
    async def work(client: Client) -> bool:
        await write(client, place, 1)
        events = client.observe_events(place.subject, from_latest(place, "special", WAIT))
        return await is_silent(events, seconds=1.2)

    assert api.run(work)


def test_an_observation_of_an_empty_store_can_be_ended_at_once(empty: Sdk) -> None:
    async def work(client: Client) -> None:
        events = client.observe_events("/", RECURSIVE)
        assert await is_silent(events, seconds=0.1)
        await events.aclose()
        await client.ping()

    empty.run(work)


def test_eight_observers_see_the_same(api: Sdk, place: Place) -> None:
    async def work(client: Client) -> list[list[int]]:
        observers = [client.observe_events(place.subject, RECURSIVE) for _ in range(8)]
        taking = [asyncio.ensure_future(take(events, 20)) for events in observers]
        for number in range(20):
            await write(client, place, number)
        return [numbers(seen) for seen in await asyncio.gather(*taking)]

    assert api.run(work) == [list(range(20))] * 8


@pytest.mark.parametrize("api_version, code", [("v1", None), ("v2", "server-shutting-down")])
def test_the_end_of_the_server_is_told_as_an_error(
    place: Place, api_version: str, code: str | None
) -> None:
    with running_server() as server:

        async def work(client: Client) -> None:
            await write(client, place, 1)
            events = client.observe_events(place.subject, RECURSIVE)
            await anext(events)
            server.ask_to_stop()
            await anext(events)

        with pytest.raises(DbApiError, match="shutting down") as raised:
            Sdk(server.url, api_version).run(work)

        assert raised.value.code == (code and f"https://docs.eventsourcingdb.io/errors/{code}")
        assert server.wait() == 0


# Each row: a subject, options that are refused, and the code of version 2.
REFUSED: tuple[tuple[str, ObserveEventsOptions, str], ...] = (
    ("", RECURSIVE, "subject-missing"),
    ("barbaz", RECURSIVE, "subject-malformed"),
    (
        "/",
        ObserveEventsOptions(recursive=True, lower_bound=Bound("", BoundType.INCLUSIVE)),
        "event-id-missing",
    ),
    (
        "/",
        ObserveEventsOptions(recursive=True, lower_bound=Bound("-1", BoundType.INCLUSIVE)),
        "event-id-malformed",
    ),
    (
        "/",
        ObserveEventsOptions(
            recursive=True,
            lower_bound=Bound("1", BoundType.INCLUSIVE),
            from_latest_event=ObserveFromLatestEvent("/", "io.everlog.test.happened", WAIT),
        ),
        "selection-conflicting",
    ),
    (
        "/",
        ObserveEventsOptions(
            recursive=True,
            from_latest_event=ObserveFromLatestEvent("/", "malformed", WAIT),
        ),
        "event-type-malformed",
    ),
)


@pytest.mark.parametrize("subject, options, code", REFUSED)
def test_refuses_what_cannot_be_observed(
    api: Sdk, subject: str, options: ObserveEventsOptions, code: str
) -> None:
    api.check_fails(
        lambda client: take(client.observe_events(subject, options), 1),
        status=400,
        text="",
        code=code,
    )
