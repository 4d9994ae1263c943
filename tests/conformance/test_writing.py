"""The SDK writes events: one, many, traced, and only if preconditions hold."""

from collections.abc import Callable
from itertools import pairwise

import pytest
from eventsourcingdb import (
    Client,
    Event,
    EventCandidate,
    IncompatibleServerError,
    IsSubjectOnEventId,
    IsSubjectPopulated,
    IsSubjectPristine,
    Precondition,
    PreconditionOptions,
)

from tests.support.sdk import Place, Sdk

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

NESTED = PreconditionOptions(recursive=True)
ALONE = PreconditionOptions(recursive=False)


def write(
    api: Sdk, *candidates: EventCandidate, preconditions: list[Precondition] | None = None
) -> list[Event]:
    async def work(client: Client) -> list[Event]:
        return await client.write_events(list(candidates), preconditions)

    return api.run(work)


def test_the_first_event_has_the_id_zero_and_follows_the_genesis_hash(
    empty: Sdk, place: Place
) -> None:
    (event,) = write(empty, place.event("1", data={"value": 23}))

    assert event.event_id == "0"
    assert event.predecessor_hash == "0" * 64
    assert event.source == "https://everlog.test"
    assert event.subject == place.below("1")
    assert event.type == place.type()
    assert event.data == {"value": 23}
    assert event.spec_version == "1.0"
    assert event.data_content_type == "application/json"
    assert (event.trace_parent, event.trace_state, event.signature) == (None, None, None)


def test_events_written_together_follow_each_other_in_the_order_of_the_request(
    api: Sdk, place: Place
) -> None:
    events = write(api, *(place.event(str(n), data={"n": n}) for n in range(101)))

    first = int(events[0].event_id)
    assert [event.data["n"] for event in events] == list(range(101))
    assert [int(event.event_id) for event in events] == list(range(first, first + 101))
    assert {event.time for event in events} == {events[0].time}
    for before, after in pairwise(events):
        assert after.predecessor_hash == before.hash


@pytest.mark.parametrize("tracestate", [None, "foo=bar", "foo=bar,ba1=qux"])
def test_a_trace_comes_back_as_it_was_given(api: Sdk, place: Place, tracestate: str | None) -> None:
    candidate = place.event()
    candidate.trace_parent, candidate.trace_state = TRACEPARENT, tracestate

    (event,) = write(api, candidate)

    assert (event.trace_parent, event.trace_state) == (TRACEPARENT, tracestate)
    event.verify_hash()


def test_a_trailing_slash_of_a_subject_is_dropped(api: Sdk, place: Place) -> None:
    candidate = place.event()
    candidate.subject += "/"

    (event,) = write(api, candidate)

    assert event.subject == place.subject


PreconditionCase = Callable[[Place, str], Precondition]

# Each row: a precondition for a place whose subject `/a/b` has one event; the argument is its id.
# Only the subject `/a/b` itself has events, `/a` has none.
HOLDING: tuple[PreconditionCase, ...] = (
    lambda place, _: IsSubjectPristine(place.below("other")),
    lambda place, _: IsSubjectPristine(place.below("a")),
    lambda place, _: IsSubjectPristine(place.below("a"), ALONE),
    lambda place, _: IsSubjectPopulated(place.below("a", "b")),
    lambda place, _: IsSubjectPopulated(place.below("a", "b"), ALONE),
    lambda place, id_: IsSubjectOnEventId(place.below("a", "b"), id_),
    lambda place, id_: IsSubjectOnEventId(place.below("a", "b"), f"000{id_}"),
)
HOLDING_RECURSIVELY: tuple[PreconditionCase, ...] = (
    lambda place, _: IsSubjectPristine(place.below("other"), NESTED),
    lambda place, _: IsSubjectPopulated(place.below("a"), NESTED),
    lambda _, id_: IsSubjectOnEventId("/", id_, NESTED),
    lambda place, id_: IsSubjectOnEventId(place.below("a"), id_, NESTED),
)
VIOLATED: tuple[PreconditionCase, ...] = (
    lambda place, _: IsSubjectPristine(place.below("a", "b")),
    lambda place, _: IsSubjectPopulated(place.below("a")),
    lambda place, _: IsSubjectPopulated(place.below("other")),
    lambda place, id_: IsSubjectOnEventId(place.below("a", "b"), str(int(id_) + 1)),
    lambda place, id_: IsSubjectOnEventId(place.below("a"), id_),
    lambda place, _: IsSubjectOnEventId(place.below("a", "b"), "9223372036854775807"),
)
VIOLATED_RECURSIVELY: tuple[PreconditionCase, ...] = (
    lambda place, _: IsSubjectPristine(place.below("a"), NESTED),
    lambda place, _: IsSubjectPopulated(place.below("other"), NESTED),
    lambda place, id_: IsSubjectOnEventId(place.below("other"), id_, NESTED),
)


def write_under(api: Sdk, place: Place, case: PreconditionCase) -> Callable[[Client], object]:
    """Write an event to `/a/b`, and return an act that writes to `/written` under the case."""
    (event,) = write(api, place.event("a", "b"))
    precondition = case(place, event.event_id)
    return lambda client: client.write_events([place.event("written")], [precondition])


@pytest.mark.parametrize("case", HOLDING)
def test_writes_where_a_precondition_holds(api: Sdk, place: Place, case: PreconditionCase) -> None:
    api.run(write_under(api, place, case))

    write(api, place.event(), preconditions=[IsSubjectPopulated(place.below("written"))])


@pytest.mark.parametrize("case", VIOLATED)
def test_writes_nothing_where_a_precondition_is_violated(
    api: Sdk, place: Place, case: PreconditionCase
) -> None:
    error = api.check_fails(
        write_under(api, place, case),
        status=409,
        text="state conflict: precondition failed",
        code="precondition-violated",
    )

    assert error.details == (
        {} if api.api_version == "v1" else {"precondition": 0, "preconditionIndex": 0}
    )
    write(api, place.event(), preconditions=[IsSubjectPristine(place.below("written"))])


@pytest.mark.parametrize("case", HOLDING_RECURSIVELY)
def test_writes_where_a_recursive_precondition_holds(
    empty: Sdk, place: Place, case: PreconditionCase
) -> None:
    act = write_under(empty, place, case)

    if empty.api_version == "v1":
        with pytest.raises(IncompatibleServerError):
            empty.run(act)
    else:
        empty.run(act)


@pytest.mark.parametrize("case", VIOLATED_RECURSIVELY)
def test_writes_nothing_where_a_recursive_precondition_is_violated(
    api: Sdk, place: Place, case: PreconditionCase
) -> None:
    act = write_under(api, place, case)

    if api.api_version == "v1":
        with pytest.raises(IncompatibleServerError):
            api.run(act)
    else:
        api.check_fails(act, status=409, text="", code="precondition-violated")


def test_the_first_violated_precondition_is_named(api: Sdk, place: Place) -> None:
    write(api, place.event("a"))
    preconditions = [
        IsSubjectPristine(place.below("b")),
        IsSubjectPopulated(place.below("b")),
        IsSubjectPristine(place.below("a")),
    ]

    error = api.check_fails(
        lambda client: client.write_events([place.event("c")], preconditions),
        status=409,
        text="state conflict: precondition failed",
        code="precondition-violated",
    )

    assert error.details.get("preconditionIndex", 1) == 1


# Each row: how a candidate is spoilt, the text of version 1, the code of version 2.
MALFORMED: tuple[tuple[str, object, str, str], ...] = (
    ("source", "", "the event source is missing", "source-missing"),
    ("source", "$%&/(", "malformed event source '$%&/('", "source-malformed"),
    ("source", "://foobar", "malformed event source '://foobar'", "source-malformed"),
    ("subject", "", "the event subject is missing", "subject-missing"),
    ("subject", "barbaz", "malformed event subject 'barbaz'", "subject-malformed"),
    ("subject", "/a//b", "malformed event subject '/a//b'", "subject-malformed"),
    ("type", "", "the event type is missing", "event-type-missing"),
    ("type", "barbaz", "malformed event type 'barbaz'", "event-type-malformed"),
    ("type", "malformed.eventType.", "malformed event type", "event-type-malformed"),
    ("data", [], "malformed event data", "data-malformed"),
    ("data", "text", "malformed event data", "data-malformed"),
    ("trace_parent", "00-x", "malformed traceparent '00-x'", "traceparent-malformed"),
    ("trace_state", "a=b", "traceparent is required", "tracestate-without-traceparent"),
)


@pytest.mark.parametrize("field, value, text, code", MALFORMED)
def test_refuses_a_malformed_candidate_with_its_place(
    api: Sdk, place: Place, field: str, value: object, text: str, code: str
) -> None:
    candidate = place.event()
    setattr(candidate, field, value)

    error = api.check_fails(
        lambda client: client.write_events([place.event(), candidate]),
        status=400,
        text=text,
        code=code,
    )

    if api.api_version == "v2":
        assert error.details["eventIndex"] == 1
        assert error.details["field"] == f"events[1].{field.replace('_', '')}"
    write(api, place.event(), preconditions=[IsSubjectPristine(place.subject)])


# Of a candidate with several faults, the first of these is told.
FAULTS_IN_ORDER = (
    ("source", "the event source is missing", "source-missing"),
    ("subject", "the event subject is missing", "subject-missing"),
    ("type", "the event type is missing", "event-type-missing"),
    ("data", "malformed event data", "data-malformed"),
)


@pytest.mark.parametrize("first", range(len(FAULTS_IN_ORDER)))
def test_tells_the_first_of_several_faults(api: Sdk, place: Place, first: int) -> None:
    candidate = place.event()
    for field, _, _ in FAULTS_IN_ORDER[first:]:
        setattr(candidate, field, "")
    _, text, code = FAULTS_IN_ORDER[first]

    api.check_fails(
        lambda client: client.write_events([candidate]), status=400, text=text, code=code
    )


def test_refuses_a_write_without_events(api: Sdk) -> None:
    api.check_fails(
        lambda client: client.write_events([]), status=400, text="event", code="events-missing"
    )


def test_refuses_an_event_of_more_than_128_kib(api: Sdk, place: Place) -> None:
    api.check_fails(
        lambda client: client.write_events([place.event(data={"text": "x" * 131_072})]),
        status=413,
        text="131072",
        code="event-too-large",
    )
