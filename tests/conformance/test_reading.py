"""The SDK reads events, in every option."""

from typing import Any

import pytest
from eventsourcingdb import (
    Bound,
    BoundType,
    Client,
    Event,
    IfEventIsMissingDuringRead,
    Order,
    ReadEventsOptions,
    ReadFromLatestEvent,
)

from tests.support.sdk import Place, Sdk, collect

READ_NOTHING = IfEventIsMissingDuringRead.READ_NOTHING
READ_EVERYTHING = IfEventIsMissingDuringRead.READ_EVERYTHING
# Allowed where events are observed only.
WAIT_FOR_EVENT: Any = "wait-for-event"


def inclusive(id_: int | str) -> Bound:
    return Bound(str(id_), BoundType.INCLUSIVE)


def exclusive(id_: int | str) -> Bound:
    return Bound(str(id_), BoundType.EXCLUSIVE)


def read(api: Sdk, subject: str, options: ReadEventsOptions) -> list[Event]:
    async def work(client: Client) -> list[Event]:
        return await collect(client.read_events(subject, options))

    return api.run(work)


def ids(events: list[Event]) -> list[int]:
    return [int(event.event_id) for event in events]


def write_ten(api: Sdk, place: Place) -> int:
    """Write ten events in turn to `/even` and `/odd` below a place; return the first's id."""

    async def work(client: Client) -> int:
        candidates = [
            place.event(
                "odd" if number % 2 else "even",
                type_name="fifth" if number == 5 else "happened",
                data={"number": number},
            )
            for number in range(10)
        ]
        events = await client.write_events(candidates)
        return int(events[0].event_id)

    return api.run(work)


def check_read(api: Sdk, place: Place, options: ReadEventsOptions, *expected: int) -> None:
    """Check which of the ten events are read; bounds in the options count from the first."""
    first = write_ten(api, place)
    for bound in (options.lower_bound, options.upper_bound):
        if bound is not None:
            bound.id = str(first + int(bound.id))

    events = read(api, place.subject, options)

    assert [event.data["number"] for event in events] == list(expected)
    for event in events:
        event.verify_hash()


def test_reads_nothing_of_an_unknown_subject(api: Sdk, place: Place) -> None:
    assert read(api, place.subject, ReadEventsOptions(recursive=True)) == []


def test_reads_nothing_of_an_empty_store(empty: Sdk) -> None:
    assert read(empty, "/", ReadEventsOptions(recursive=True)) == []


def test_reads_a_subject_alone(api: Sdk, place: Place) -> None:
    first = write_ten(api, place)

    alone = ReadEventsOptions(recursive=False)
    assert ids(read(api, place.below("odd"), alone)) == [first + n for n in range(1, 10, 2)]
    assert read(api, place.subject, alone) == []


def test_reads_the_whole_log_from_the_root(empty: Sdk, place: Place) -> None:
    write_ten(empty, place)

    assert ids(read(empty, "/", ReadEventsOptions(recursive=True))) == list(range(10))
    assert read(empty, "/", ReadEventsOptions(recursive=False)) == []


def test_what_was_written_is_read_back_as_it_was_answered(api: Sdk, place: Place) -> None:
    async def work(client: Client) -> tuple[list[Event], list[Event]]:
        written = await client.write_events(
            [place.event(data={"text": "\u00fc<b>&\u2028\U0001f600"})]
        )
        options = ReadEventsOptions(recursive=False)
        return written, await collect(client.read_events(place.subject, options))

    written, stored = api.run(work)

    assert [event.to_json() for event in stored] == [event.to_json() for event in written]
    stored[0].verify_hash()


ALL = tuple(range(10))
BACKWARDS = tuple(reversed(ALL))

# Each row: options, and the numbers of the events that they select of ten.
SELECTIONS: tuple[tuple[ReadEventsOptions, tuple[int, ...]], ...] = (
    (ReadEventsOptions(recursive=True), ALL),
    (ReadEventsOptions(recursive=True, order=Order.CHRONOLOGICAL), ALL),
    (ReadEventsOptions(recursive=True, order=Order.ANTICHRONOLOGICAL), BACKWARDS),
    (ReadEventsOptions(recursive=True, lower_bound=inclusive(7)), (7, 8, 9)),
    (ReadEventsOptions(recursive=True, lower_bound=exclusive(7)), (8, 9)),
    (ReadEventsOptions(recursive=True, lower_bound=exclusive(9)), ()),
    (ReadEventsOptions(recursive=True, lower_bound=inclusive(1_000_000)), ()),
    (ReadEventsOptions(recursive=True, upper_bound=inclusive(2)), (0, 1, 2)),
    (ReadEventsOptions(recursive=True, upper_bound=exclusive(2)), (0, 1)),
    (ReadEventsOptions(recursive=True, upper_bound=inclusive(1_000_000)), ALL),
    (
        ReadEventsOptions(recursive=True, lower_bound=inclusive(4), upper_bound=inclusive(4)),
        (4,),
    ),
    (
        ReadEventsOptions(recursive=True, lower_bound=exclusive(4), upper_bound=exclusive(6)),
        (5,),
    ),
    (
        ReadEventsOptions(
            recursive=True,
            order=Order.ANTICHRONOLOGICAL,
            lower_bound=inclusive(4),
            upper_bound=exclusive(7),
        ),
        (6, 5, 4),
    ),
)


@pytest.mark.parametrize("number", range(len(SELECTIONS)))
def test_reads_what_the_options_select(api: Sdk, place: Place, number: int) -> None:
    options, expected = SELECTIONS[number]
    copy = ReadEventsOptions(
        options.recursive,
        options.order,
        options.lower_bound and Bound(options.lower_bound.id, options.lower_bound.type),
        options.upper_bound and Bound(options.upper_bound.id, options.upper_bound.type),
    )

    check_read(api, place, copy, *expected)


def test_a_bound_may_have_leading_zeros(api: Sdk, place: Place) -> None:
    first = write_ten(api, place)
    options = ReadEventsOptions(recursive=True, lower_bound=inclusive(f"00000{first + 8}"))

    assert ids(read(api, place.subject, options)) == [first + 8, first + 9]


def from_latest(
    place: Place,
    type_name: str,
    *segments: str,
    missing: IfEventIsMissingDuringRead = READ_NOTHING,
    upper_bound: Bound | None = None,
) -> ReadEventsOptions:
    return ReadEventsOptions(
        recursive=True,
        upper_bound=upper_bound,
        from_latest_event=ReadFromLatestEvent(
            place.below(*segments), place.type(type_name), missing
        ),
    )


def test_reads_from_the_latest_event_of_a_type_on(api: Sdk, place: Place) -> None:
    check_read(api, place, from_latest(place, "fifth", "odd"), 5, 6, 7, 8, 9)


def test_the_latest_event_may_lie_on_another_subject_than_the_one_read(
    api: Sdk, place: Place
) -> None:
    first = write_ten(api, place)

    events = read(api, place.below("even"), from_latest(place, "fifth", "odd"))

    assert ids(events) == [first + 6, first + 8]


@pytest.mark.parametrize("segments, type_name", [(("odd",), "missing"), ((), "fifth")])
def test_reads_nothing_or_everything_where_the_latest_event_is_missing(
    api: Sdk, place: Place, segments: tuple[str, ...], type_name: str
) -> None:
    first = write_ten(api, place)
    nothing = from_latest(place, type_name, *segments)
    everything = from_latest(
        place, type_name, *segments, missing=READ_EVERYTHING, upper_bound=inclusive(first + 3)
    )

    assert read(api, place.subject, nothing) == []
    assert ids(read(api, place.subject, everything)) == [first, first + 1, first + 2, first + 3]


def test_reads_from_the_latest_event_up_to_a_bound(api: Sdk, place: Place) -> None:
    check_read(api, place, from_latest(place, "fifth", "odd", upper_bound=exclusive(8)), 5, 6, 7)


def test_refuses_a_bound_below_the_latest_event(api: Sdk, place: Place) -> None:
    first = write_ten(api, place)
    options = from_latest(place, "fifth", "odd", upper_bound=inclusive(first + 4))

    api.check_fails(
        lambda client: collect(client.read_events(place.subject, options)),
        status=409,
        text="state conflict: fromLatestEvent results in an event ID greater than upperBound ID",
        code="range-unsatisfiable",
    )


def latest(subject: str, type_: str) -> ReadEventsOptions:
    return ReadEventsOptions(
        recursive=True, from_latest_event=ReadFromLatestEvent(subject, type_, READ_NOTHING)
    )


GOOD_TYPE = "io.everlog.test.happened"

# Each row: a subject, options that are refused, and the code of version 2.
REFUSED: tuple[tuple[str, ReadEventsOptions, str], ...] = (
    ("", ReadEventsOptions(recursive=True), "subject-missing"),
    ("barbaz", ReadEventsOptions(recursive=True), "subject-malformed"),
    ("/", ReadEventsOptions(recursive=True, lower_bound=inclusive("")), "event-id-missing"),
    ("/", ReadEventsOptions(recursive=True, lower_bound=inclusive("abc")), "event-id-malformed"),
    ("/", ReadEventsOptions(recursive=True, lower_bound=inclusive("-1")), "event-id-malformed"),
    ("/", ReadEventsOptions(recursive=True, upper_bound=inclusive("1.0")), "event-id-malformed"),
    ("/", ReadEventsOptions(recursive=True, upper_bound=inclusive(2**63)), "event-id-malformed"),
    (
        "/",
        ReadEventsOptions(recursive=True, lower_bound=exclusive(2**63 - 1)),
        "event-id-malformed",
    ),
    ("/", ReadEventsOptions(recursive=True, upper_bound=exclusive(0)), "range-unsatisfiable"),
    (
        "/",
        ReadEventsOptions(recursive=True, lower_bound=inclusive(2), upper_bound=exclusive(2)),
        "range-unsatisfiable",
    ),
    (
        "/",
        ReadEventsOptions(recursive=True, lower_bound=exclusive(2), upper_bound=exclusive(3)),
        "range-unsatisfiable",
    ),
    (
        "/",
        ReadEventsOptions(
            recursive=True,
            upper_bound=exclusive(0),
            from_latest_event=ReadFromLatestEvent("/", GOOD_TYPE, READ_NOTHING),
        ),
        "range-unsatisfiable",
    ),
    (
        "/",
        ReadEventsOptions(
            recursive=True,
            lower_bound=inclusive(0),
            from_latest_event=ReadFromLatestEvent("/", GOOD_TYPE, READ_NOTHING),
        ),
        "selection-conflicting",
    ),
    (
        "/",
        ReadEventsOptions(
            recursive=True,
            order=Order.ANTICHRONOLOGICAL,
            from_latest_event=ReadFromLatestEvent("/", GOOD_TYPE, READ_NOTHING),
        ),
        "selection-conflicting",
    ),
    ("/", latest("", GOOD_TYPE), "from-latest-event-incomplete"),
    ("/", latest("/", ""), "from-latest-event-incomplete"),
    ("/", latest("malformed", GOOD_TYPE), "subject-malformed"),
    ("/", latest("/", "malformed"), "event-type-malformed"),
    (
        "/",
        ReadEventsOptions(
            recursive=True,
            from_latest_event=ReadFromLatestEvent("/", GOOD_TYPE, WAIT_FOR_EVENT),
        ),
        "if-event-is-missing-unknown",
    ),
)


@pytest.mark.parametrize("subject, options, code", REFUSED)
def test_refuses_what_cannot_be_read(
    api: Sdk, subject: str, options: ReadEventsOptions, code: str
) -> None:
    api.check_fails(
        lambda client: collect(client.read_events(subject, options)),
        status=400,
        text="",
        code=code,
    )


def test_ten_thousand_events_are_read_in_order(empty: Sdk, place: Place) -> None:
    async def work(client: Client) -> list[Event]:
        for _ in range(10):
            await client.write_events([place.event(str(n % 7)) for n in range(1_000)])
        return await collect(client.read_events("/", ReadEventsOptions(recursive=True)))

    assert ids(empty.run(work)) == list(range(10_000))
