"""The SDK lists subjects and event types, and registers event schemas."""

from typing import Any

import pytest
from eventsourcingdb import Client, EventType, ReadSubjectsOptions

from tests.support.sdk import Place, Sdk, collect

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"value": {"type": "number"}},
    "required": ["value"],
    "additionalProperties": False,
}


def subjects(api: Sdk, subject: str, *, recursive: bool = True) -> list[str]:
    async def work(client: Client) -> list[str]:
        return await collect(client.read_subjects(subject, ReadSubjectsOptions(recursive)))

    return api.run(work)


def write(api: Sdk, place: Place, *paths: str, **data: Any) -> None:
    async def work(client: Client) -> None:
        await client.write_events([place.event(*path.split("/"), data=data) for path in paths])

    api.run(work)


def register(api: Sdk, event_type: str, schema: dict[str, Any]) -> None:
    api.run(lambda client: client.register_event_schema(event_type, schema))


def event_types(api: Sdk) -> list[EventType]:
    async def work(client: Client) -> list[EventType]:
        return await collect(client.read_event_types())

    return api.run(work)


def test_an_empty_store_has_no_subjects_and_no_event_types(empty: Sdk) -> None:
    assert subjects(empty, "/") == []
    assert subjects(empty, "/", recursive=False) == []
    assert event_types(empty) == []


def test_every_node_with_events_in_its_subtree_is_a_subject_depth_first(
    empty: Sdk, place: Place
) -> None:
    write(empty, place, "b/2", "b-c", "b/10", "b/2", "a/x/y")
    below = [place.below(*path.split("/")) for path in ("a", "a/x", "a/x/y", "b", "b/10", "b/2")]

    assert subjects(empty, "/") == ["/", place.subject, *below, place.below("b-c")]
    assert subjects(empty, place.below("b")) == below[3:]
    assert subjects(empty, place.below("b") + "/") == below[3:]


@pytest.mark.parametrize("name, exists", [("a", True), ("a/b", True), ("a/b/c", False)])
def test_a_subject_alone_is_listed_if_it_exists(
    api: Sdk, place: Place, name: str, *, exists: bool
) -> None:
    write(api, place, "a/b")
    subject = place.below(*name.split("/"))

    assert subjects(api, subject, recursive=False) == ([subject] if exists else [])
    assert subjects(api, f"{subject}/", recursive=False) == ([subject] if exists else [])


@pytest.mark.parametrize("subject, code", [("", "missing"), ("barbaz", "malformed")])
def test_refuses_to_list_what_is_no_subject(api: Sdk, subject: str, code: str) -> None:
    options = ReadSubjectsOptions(recursive=True)

    api.check_fails(
        lambda client: collect(client.read_subjects(subject, options)),
        status=400,
        text="subject",
        code=f"subject-{code}",
    )


def test_event_types_are_sorted_and_include_those_that_have_only_a_schema(
    empty: Sdk, place: Place
) -> None:
    async def work(client: Client) -> None:
        await client.write_events([place.event(type_name=name) for name in ("b", "Z", "a")])
        await client.register_event_schema(place.type("c"), SCHEMA)

    empty.run(work)

    assert event_types(empty) == [
        EventType(place.type("Z"), has_events=True),
        EventType(place.type("a"), has_events=True),
        EventType(place.type("b"), has_events=True),
        EventType(place.type("c"), has_events=False, schema=SCHEMA),
    ]


def read_event_type(api: Sdk, name: str) -> EventType:
    return api.run(lambda client: client.read_event_type(name))


def test_an_event_type_tells_whether_it_has_events_and_a_schema(api: Sdk, place: Place) -> None:
    name = place.type()

    register(api, name, SCHEMA)
    assert read_event_type(api, name) == EventType(name, has_events=False, schema=SCHEMA)

    write(api, place, "a", value=1)
    assert read_event_type(api, name) == EventType(name, has_events=True, schema=SCHEMA)


def test_an_unknown_event_type_is_not_found(api: Sdk) -> None:
    api.check_fails(
        lambda client: client.read_event_type("non.existent.eventType"),
        status=404,
        text="event type 'non.existent.eventType' not found",
        code="event-type-unknown",
    )


def test_a_malformed_event_type_is_refused(api: Sdk) -> None:
    api.check_fails(
        lambda client: client.read_event_type("malformed.eventType."),
        status=400,
        text="invalid event type: 'malformed.eventType.'",
        code="event-type-malformed",
    )


def test_writing_goes_on_after_an_event_type_was_read(api: Sdk, place: Place) -> None:
    write(api, place, "a")
    read_event_type(api, place.type())

    write(api, place, "a")


def test_events_must_match_the_schema_of_their_type(api: Sdk, place: Place) -> None:
    register(api, place.type(), SCHEMA)
    write(api, place, "good", value=1)

    async def write_two(client: Client) -> None:
        bad = place.event("bad", data={"value": 1, "extra": 2})
        await client.write_events([place.event("bad", type_name="other"), bad])

    error = api.check_fails(
        write_two,
        status=409,
        text="schema conflict: event candidate does not match schema: "
        "additionalProperties 'extra' not allowed",
        code="event-schema-violated",
    )

    assert error.details.get("eventIndex", 1) == 1
    assert subjects(api, place.below("bad")) == []


def test_a_schema_is_registered_once_even_if_it_is_the_same(api: Sdk, place: Place) -> None:
    register(api, place.type(), SCHEMA)

    for schema in (SCHEMA, {"type": "object", "properties": {}}):
        api.check_fails(
            lambda client, schema=schema: client.register_event_schema(place.type(), schema),
            status=409,
            text="schema conflict: schema already exists",
            code="event-schema-already-registered",
        )


def test_a_schema_that_a_stored_event_does_not_match_is_refused(api: Sdk, place: Place) -> None:
    write(api, place, "a", value=1)
    write(api, place, "a", oy=1, value=1)

    error = api.check_fails(
        lambda client: client.register_event_schema(place.type(), SCHEMA),
        status=409,
        text="additionalProperties 'oy' not allowed",
        code="event-schema-violated",
    )

    assert error.description.startswith("schema conflict: event with ID ") or error.details
    assert read_event_type(api, place.type()).schema is None


# Each row: a schema, what the text of version 1 holds, the code of version 2.
BAD_SCHEMAS: tuple[tuple[dict[str, Any], str, str], ...] = (
    (
        {"type": "object", "additionalProperties": False},
        "missing properties: 'properties'",
        "not-object",
    ),
    ({"type": "gurkenwasser", "properties": {}}, 'value must be "object"', "not-object"),
    ({"x": "csie"}, "missing properties", "not-object"),
    ({}, "missing properties: 'type', 'properties'", "not-object"),
    ({"type": "object", "properties": {"a": {"type": "x"}}}, "malformed", "malformed"),
    ({"type": "object", "properties": {"a": {"pattern": "("}}}, "malformed", "malformed"),
    (
        {"type": "object", "properties": {"a": {"$ref": "https://everlog.test/schema"}}},
        "not fetched",
        "malformed",
    ),
)


@pytest.mark.parametrize("schema, text, code", BAD_SCHEMAS)
def test_refuses_what_is_no_schema_of_an_object_whatever_is_stored(
    api: Sdk, place: Place, schema: dict[str, Any], text: str, code: str
) -> None:
    write(api, place, "a", value="does not match anything")

    api.check_fails(
        lambda client: client.register_event_schema(place.type(), schema),
        status=400,
        text=text,
        code=f"event-schema-{code}",
    )


@pytest.mark.parametrize("name, code", [("", "missing"), ("malformed.eventType.", "malformed")])
def test_refuses_a_schema_for_what_is_no_event_type(api: Sdk, name: str, code: str) -> None:
    api.check_fails(
        lambda client: client.register_event_schema(name, SCHEMA),
        status=400,
        text="event type",
        code=f"event-type-{code}",
    )


# Keywords that a framework of the vendor registers, with data that match and data that do not.
KEYWORDS: tuple[tuple[dict[str, Any], object, object], ...] = (
    ({"anyOf": [{"type": "string"}, {"type": "null"}]}, None, 1),
    ({"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 2}, [1], []),
    ({"type": "object", "additionalProperties": {"type": "number"}}, {"a": 1}, {"a": "x"}),
    ({"type": "string", "pattern": "^[a-z]+$"}, "abc", "ABC"),
    ({"type": "string", "format": "date-time"}, "2026-11-23T12:00:00.123+02:00", 5),
    ({"enum": ["a", "b"]}, "a", "c"),
)


@pytest.mark.parametrize("schema, good, bad", KEYWORDS)
def test_validates_with_the_usual_keywords(
    api: Sdk, place: Place, schema: dict[str, Any], good: object, bad: object
) -> None:
    register(api, place.type(), {"type": "object", "properties": {"value": schema}})

    write(api, place, "a", value=good)
    api.check_fails(
        lambda client: client.write_events([place.event("a", data={"value": bad})]),
        status=409,
        text="schema conflict: event candidate does not match schema: /value",
        code="event-schema-violated",
    )
