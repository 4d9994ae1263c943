"""What the tools give back: whole, or cut with a word on how to go on; and what they refuse."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

import everlog
from everlog.mcp.tools import Call, Limits, ToolFailedError, run_tool

TYPE: Final = "com.example.book-acquired"
SOURCE: Final = "https://library.example"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[everlog.Store]:
    with everlog.open(tmp_path) as store:
        store.write(
            [
                everlog.NewEvent(SOURCE, f"/books/{number}", TYPE, {"number": number})
                for number in range(10)
            ]
        )
        yield store


def answer(
    store: everlog.Store,
    name: str,
    arguments: dict[str, Any] | None = None,
    *,
    may_write: bool = False,
    **limits: Any,
) -> Any:
    """Return what a tool gives back, as a client gets it."""
    call = Call(store, Limits(**limits), has_token=True)
    return json.loads(
        msgspec.json.encode(run_tool(name, arguments or {}, call, may_write=may_write))
    )


def failure(store: everlog.Store, name: str, arguments: dict[str, Any], **options: Any) -> Any:
    """Return what a client is told of a call that fails."""
    with pytest.raises(ToolFailedError) as caught:
        answer(store, name, arguments, **options)
    return caught.value.answer["error"]


def read(store: everlog.Store, **arguments: Any) -> Any:
    limits = {name: arguments.pop(name) for name in [*arguments] if name.endswith("_max")}
    return answer(
        store, "esdb_read_events", {"subject": "/", "recursive": True, **arguments}, **limits
    )


def ids(found: Any) -> list[int]:
    return [int(event["id"]) for event in found["events"]]


def test_all_events_that_there_are_come_whole(store: everlog.Store) -> None:
    found = read(store)

    assert (found["isComplete"], found["count"], ids(found)) == (True, 10, [*range(10)])
    assert "notice" not in found
    # Every member, and data as it is stored.
    (stored, *_) = store.read("/", recursive=True)
    assert found["events"][0] == json.loads(stored.to_json())


@pytest.mark.parametrize("order", ["chronological", "antichronological"])
def test_whoever_does_as_the_notice_says_reads_each_event_once(
    store: everlog.Store, order: str
) -> None:
    seen: list[int] = []
    arguments: dict[str, Any] = {"order": order, "limit": 4}
    while not (found := read(store, **arguments))["isComplete"]:
        seen += ids(found)
        assert "there are more than 4, which is the limit" in found["notice"]
        name, _, rest = found["notice"].partition("ask the same with ")[2].partition(" ")
        arguments[name] = json.loads(rest.removesuffix("."))
    seen += ids(found)

    assert seen == [*range(10)][:: 1 if order == "chronological" else -1]


def test_from_the_latest_event_one_goes_on_without_it(store: everlog.Store) -> None:
    latest = {"subject": "/books/3", "type": TYPE, "ifEventIsMissing": "read-nothing"}
    found = read(store, fromLatestEvent=latest, limit=2)

    assert ids(found) == [3, 4]
    assert found["notice"].endswith(
        'with lowerBound {"id":"4","type":"exclusive"} in place of fromLatestEvent.'
    )
    on = read(store, lowerBound={"id": "4", "type": "exclusive"}, limit=100)
    assert ids(on) == [5, 6, 7, 8, 9]


def test_a_limit_cannot_be_larger_than_that_of_the_server(store: everlog.Store) -> None:
    assert ids(read(store, limit=5, items_max=3)) == [0, 1, 2]


def test_as_many_bytes_come_as_may(store: everlog.Store) -> None:
    size = len(next(iter(store.read("/", recursive=True))).to_json())
    found = read(store, bytes_max=3 * size)

    assert ids(found) == [0, 1, 2]
    assert f"over {3 * size} bytes" in found["notice"]


def test_what_is_too_large_by_itself_is_said_to_be_so(store: everlog.Store) -> None:
    found = answer(
        store,
        "esdb_run_eventql_query",
        {"query": "FROM e IN events PROJECT INTO e"},
        bytes_max=50,
    )

    assert (found["count"], found["isComplete"]) == (0, False)
    assert "the first alone has" in found["notice"]
    assert "the limit is 50" in found["notice"]


def test_reading_ends_when_its_time_is_over_also_where_nothing_comes() -> None:
    class Endless:
        """A store whose queries compute for ever."""

        def query(self, _text: str) -> Any:
            class Rows:
                def batches(self) -> Iterator[Sequence[bytes]]:
                    while True:
                        yield ()

            return Rows()

    endless: Any = Endless()
    found = answer(endless, "esdb_run_eventql_query", {"query": "x"}, seconds_max=0.01)

    assert found["notice"].startswith("Cut: it took longer than 0.01 seconds.")


def test_rows_are_what_the_query_projects(store: everlog.Store) -> None:
    query = "FROM e IN events WHERE e.data.number > 7 PROJECT INTO { n: e.data.number }"
    found = answer(store, "esdb_run_eventql_query", {"query": query})

    assert found == {"isComplete": True, "count": 2, "rows": [{"n": 8}, {"n": 9}]}


def test_subjects_and_event_types_are_found(store: everlog.Store) -> None:
    store.register_event_schema(TYPE, {"type": "object", "properties": {}})
    subjects = answer(store, "esdb_read_subjects", {"baseSubject": "/books", "limit": 2})
    assert subjects["subjects"] == ["/books", "/books/0"]
    assert not subjects["isComplete"]

    known = {"type": TYPE, "hasEvents": True, "schema": {"type": "object", "properties": {}}}
    assert answer(store, "esdb_read_event_types")["eventTypes"] == [known]
    assert answer(store, "esdb_read_event_type", {"eventType": TYPE}) == {"eventType": known}


def test_the_store_can_be_asked(store: everlog.Store) -> None:
    assert answer(store, "esdb_ping") == {"message": "The store can be asked."}
    assert "takes the token" in answer(store, "esdb_verify_api_token")["message"]
    call = Call(store, Limits(), has_token=False)
    found = run_tool("esdb_verify_api_token", {}, call, may_write=False)
    assert "There is no token" in found["message"]


EVENT: Final = {
    "source": SOURCE,
    "subject": "/books/11",
    "type": TYPE,
    "data": {"number": 11},
    "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
}


def test_events_are_written_where_that_is_allowed(store: everlog.Store) -> None:
    pristine = {"type": "isSubjectPristine", "payload": {"subject": "/books/11"}}
    written = {"events": [EVENT], "preconditions": [pristine]}
    found = answer(store, "esdb_write_events", written, may_write=True)

    (event,) = store.read("/books/11")
    assert found["events"] == [
        {"id": "10", "time": event.time, "subject": event.subject, "hash": event.hash}
    ]
    assert (event.data, event.traceparent) == (EVENT["data"], EVENT["traceparent"])
    again = failure(store, "esdb_write_events", written, may_write=True)
    assert again["code"] == "precondition-violated"
    assert again["details"]["preconditionIndex"] == 0


@pytest.mark.parametrize("name", ["esdb_write_events", "esdb_register_event_schema"])
def test_nothing_is_written_where_that_is_not_allowed(store: everlog.Store, name: str) -> None:
    refused = failure(store, name, {"events": [EVENT]})

    assert refused["code"] == "writing-not-allowed"
    assert "--allow-writes" in refused["message"]
    assert len([*store.read("/", recursive=True)]) == 10


def test_a_schema_is_registered_for_good(store: everlog.Store) -> None:
    schema = {"type": "object", "properties": {"number": {"type": "integer"}}}
    given = {"eventType": TYPE, "schema": schema}
    answer(store, "esdb_register_event_schema", given, may_write=True)

    assert store.event_type(TYPE).schema == schema
    again = failure(store, "esdb_register_event_schema", given, may_write=True)
    assert again["code"] == "event-schema-already-registered"


@pytest.mark.parametrize(
    "name, arguments, code, words",
    [
        ("esdb_drop_events", {}, "tool-unknown", "there is no tool 'esdb_drop_events'"),
        ("esdb_read_events", {}, "arguments-malformed", "`subject`"),
        ("esdb_read_events", {"subject": "/", "recursiv": True}, "arguments-malformed", "recursiv"),
        ("esdb_read_events", {"subject": "/", "limit": 0}, "arguments-malformed", "$.limit"),
        ("esdb_read_events", {"subject": "/", "limit": "9"}, "arguments-malformed", "$.limit"),
        ("esdb_read_events", {"subject": "/", "order": "x"}, "arguments-malformed", "$.order"),
        ("esdb_read_events", {"subject": "books"}, "subject-malformed", "subject"),
        (
            "esdb_read_events",
            {"subject": "/", "lowerBound": {"id": "x", "type": "inclusive"}},
            "event-id-malformed",
            "malformed event ID 'x'",
        ),
        ("esdb_run_eventql_query", {"query": "FROM"}, "query-malformed", ""),
        ("esdb_read_event_type", {"eventType": "com.example.x"}, "event-type-unknown", ""),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_is_named(
    store: everlog.Store, name: str, arguments: dict[str, Any], code: str, words: str
) -> None:
    refused = failure(store, name, arguments)

    assert refused["code"] == code
    assert words in refused["message"]


@pytest.mark.parametrize(
    "kind, payload, wanted",
    [
        ("isSubjectPristine", {}, "subject alone"),
        ("isSubjectPopulated", {"subject": "/a", "query": "x"}, "subject alone"),
        ("isSubjectOnEventId", {"subject": "/a"}, "subject and eventId alone"),
        ("isEventQlQueryTrue", {"subject": "/a"}, "query alone"),
    ],
    ids=["pristine", "populated", "on-event-id", "query"],
)
def test_a_precondition_has_what_its_kind_takes(
    store: everlog.Store, kind: str, payload: dict[str, str], wanted: str
) -> None:
    given = {"events": [EVENT], "preconditions": [{"type": kind, "payload": payload}]}
    refused = failure(store, "esdb_write_events", given, may_write=True)

    assert refused["code"] == "arguments-malformed"
    assert refused["message"] == f"the payload of {kind} has to have {wanted}"


def test_a_condition_that_holds_lets_a_write_through(store: everlog.Store) -> None:
    conditions = [
        {"type": "isSubjectPopulated", "payload": {"subject": "/books/1"}},
        {"type": "isSubjectOnEventId", "payload": {"subject": "/books/1", "eventId": "1"}},
        {
            "type": "isEventQlQueryTrue",
            "payload": {"query": "FROM e IN events PROJECT INTO COUNT() == 10"},
        },
    ]
    given = {"events": [EVENT], "preconditions": conditions}

    assert answer(store, "esdb_write_events", given, may_write=True)["count"] == 1
