"""What every store promises an application, wherever it is."""

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

import everlog
from everlog import (
    Bound,
    Event,
    FromLatestEvent,
    IsEventQlQueryTrue,
    IsSubjectOnEventId,
    IsSubjectPopulated,
    IsSubjectPristine,
    NewEvent,
    RefusedError,
)

SOURCE = "https://library.example"
ACQUIRED = "com.example.book-acquired"
BORROWED = "com.example.book-borrowed"

SCHEMA = {
    "type": "object",
    "properties": {"title": {"type": "string"}},
    "required": ["title"],
    "additionalProperties": False,
}


def event(subject: str = "/books/42", type_: str = ACQUIRED, **data: Any) -> NewEvent:
    return NewEvent(SOURCE, subject, type_, data)


def refusal_of(ask: Callable[[], object]) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        ask()
    return caught.value


def ids_of(events: Iterator[Event] | everlog.Events | list[Event]) -> list[str]:
    return [each.id for each in events]


def test_a_write_returns_the_events_as_they_are_stored(store: everlog.Store) -> None:
    trace = "00-10000000000000000000000000000000-2000000000000000-00"
    first, second = store.write(
        [
            event(title="2001", year=1968),
            NewEvent(SOURCE, "/books/23", BORROWED, {"reader": None}, trace, "vendor=1"),
        ]
    )
    assert (first.id, first.subject, first.type, first.source) == (
        *("0", "/books/42", ACQUIRED),
        SOURCE,
    )
    assert (first.specversion, first.datacontenttype) == ("1.0", "application/json")
    assert first.data == {"title": "2001", "year": 1968}
    assert first.data_json == b'{"title":"2001","year":1968}'
    assert first.data is first.data
    assert first.predecessorhash == "0" * 64
    assert second.predecessorhash == first.hash
    assert first.time.endswith("Z")
    assert (first.traceparent, first.tracestate, first.signature) == (None, None, None)
    assert (second.traceparent, second.tracestate) == (trace, "vendor=1")
    assert list(store.read("/", recursive=True, verify=True)) == [first, second]


def test_events_are_values(store: everlog.Store) -> None:
    [written] = store.write([event(title="2001")])
    [read] = store.read("/books/42")
    assert read == written
    assert hash(read) == hash(written)
    assert Event.from_json(read.to_json()) == read
    assert json.loads(read.to_json())["data"] == {"title": "2001"}
    assert "2001" in repr(read)
    with pytest.raises(AttributeError):
        read.subject = "/"  # type: ignore[misc] # what is tested


def test_reading_selects(store: everlog.Store) -> None:
    store.write([event(f"/books/{number % 3}", number=number) for number in range(12)])
    assert ids_of(store.read("/books/1")) == ["1", "4", "7", "10"]
    assert ids_of(store.read("/books")) == []
    assert len(ids_of(store.read("/books", recursive=True))) == 12
    assert ids_of(store.read("/books/1", order="antichronological")) == ["10", "7", "4", "1"]
    assert ids_of(store.read("/books/1", lower_bound=Bound("4"), upper_bound=Bound("7"))) == [
        "4",
        "7",
    ]
    exclusive = Bound("4", "exclusive")
    assert ids_of(store.read("/books/1", lower_bound=exclusive)) == ["7", "10"]
    latest = FromLatestEvent("/books/1", ACQUIRED)
    assert ids_of(store.read("/books/1", from_latest_event=latest)) == ["10"]
    missing = FromLatestEvent("/books/9", ACQUIRED, "read-nothing")
    assert ids_of(store.read("/books/1", from_latest_event=missing)) == []
    assert ids_of(store.read("/nowhere", recursive=True)) == []


def test_a_selection_can_be_read_again_and_left_in_the_middle(store: everlog.Store) -> None:
    store.write([event(number=number) for number in range(500)])
    selection = store.read("/", recursive=True)
    assert next(iter(selection)).id == "0"
    assert len(list(selection)) == 500
    store.write([event()])
    assert len(list(selection)) == 501
    assert sum(map(len, selection.batches())) == 501


@pytest.mark.parametrize(
    "conditions",
    [
        [IsSubjectPristine("/books/42")],
        [IsSubjectPopulated("/books/23")],
        [IsSubjectOnEventId("/books/42", "7")],
        [IsEventQlQueryTrue("FROM e IN events PROJECT INTO COUNT() == 7")],
    ],
    ids=["pristine", "populated", "on-event-id", "query"],
)
def test_a_precondition_that_does_not_hold_refuses_all_of_a_write(
    store: everlog.Store, conditions: list[everlog.Precondition]
) -> None:
    store.write([event()])
    refusal = refusal_of(lambda: store.write([event(), event()], conditions))
    assert refusal.code == "precondition-violated"
    assert len(list(store.read("/", recursive=True))) == 1


def test_preconditions_that_hold_let_a_write_pass(store: everlog.Store, version: int) -> None:
    store.write([event()], [IsSubjectPristine("/books/42")])
    conditions: list[everlog.Precondition] = [
        IsSubjectPopulated("/books/42"),
        IsSubjectOnEventId("/books/42", "0"),
        IsEventQlQueryTrue("FROM e IN events PROJECT INTO COUNT() == 1"),
    ]
    store.write([event()], conditions)
    recursive = [IsSubjectOnEventId("/books", "1", recursive=True)]
    if version == 1:
        assert refusal_of(lambda: store.write([event()], recursive)).code == "precondition-unknown"
    else:
        assert store.write([event()], recursive)[0].id == "2"


DEEP = json.loads('{"a":' * 99 + "1" + "}" * 99)

BAD_WRITES: dict[str, tuple[NewEvent, str]] = {
    "source": (NewEvent("", "/", ACQUIRED, {}), "source-missing"),
    "source-malformed": (NewEvent("a b", "/", ACQUIRED, {}), "source-malformed"),
    "subject": (NewEvent(SOURCE, "books", ACQUIRED, {}), "subject-malformed"),
    "type": (NewEvent(SOURCE, "/", "acquired", {}), "event-type-malformed"),
    "data": (NewEvent(SOURCE, "/", ACQUIRED, msgspec.Raw(b"[1]")), "data-malformed"),
    "nan": (NewEvent(SOURCE, "/", ACQUIRED, {"a": [None, float("nan")]}), "data-malformed"),
    "surrogate": (NewEvent(SOURCE, "/", ACQUIRED, {"a": "\ud800"}), "data-malformed"),
    "object": (NewEvent(SOURCE, "/", ACQUIRED, {"a": object()}), "data-malformed"),
    "deep": (NewEvent(SOURCE, "/", ACQUIRED, DEEP), "data-malformed"),
    "large": (NewEvent(SOURCE, "/", ACQUIRED, {"a": "x" * 140_000}), "event-too-large"),
    "traceparent": (NewEvent(SOURCE, "/", ACQUIRED, {}, "00"), "traceparent-malformed"),
    "tracestate": (
        NewEvent(SOURCE, "/", ACQUIRED, {}, None, "a=1"),
        "tracestate-without-traceparent",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_WRITES)
def test_a_write_of_what_is_no_event_is_refused(store: everlog.Store, name: str) -> None:
    bad, code = BAD_WRITES[name]
    refusal = refusal_of(lambda: store.write([event(), bad]))
    assert refusal.code == code
    assert refusal.message
    assert ids_of(store.read("/", recursive=True)) == []


def test_a_write_of_nothing_is_refused(store: everlog.Store) -> None:
    assert refusal_of(lambda: store.write([])).code == "events-missing"


def test_a_refusal_says_which_event(store: everlog.Store, version: int) -> None:
    refusal = refusal_of(lambda: store.write([event(), NewEvent(SOURCE, "books", ACQUIRED, {})]))
    if version == 2:
        assert refusal.details["eventIndex"] == 1
        assert refusal.details["field"] == "events[1].subject"


OPEN: Any = "open"

BAD_READS: dict[str, tuple[dict[str, Any], str]] = {
    "subject": ({"subject": "books"}, "subject-malformed"),
    "order": ({"order": "backwards"}, "order-unknown"),
    "bound-id": ({"lower_bound": Bound("x")}, "event-id-malformed"),
    "bound-type": ({"lower_bound": Bound("1", OPEN)}, "bound-type-unknown"),
    "no-room": ({"lower_bound": Bound("2"), "upper_bound": Bound("1")}, "range-unsatisfiable"),
    "conflicting": (
        {"from_latest_event": FromLatestEvent("/", ACQUIRED), "lower_bound": Bound("1")},
        "selection-conflicting",
    ),
}


@pytest.mark.parametrize("name", BAD_READS)
def test_a_selection_that_is_none_is_refused(store: everlog.Store, name: str) -> None:
    options, code = BAD_READS[name]
    assert refusal_of(lambda: list(store.read(**options))).code == code


def test_text_of_any_script_comes_back_as_it_was(store: everlog.Store) -> None:
    data = {"greeting": "\u00e4\u4f60\u597d\U0001f600", 'quote"\\': "\n\u2028\x7f"}
    [written] = store.write([NewEvent("https://\u00fc.example", "/books", ACQUIRED, data)])
    assert written.data == data
    [read] = store.read("/books", verify=True)
    assert read == written


def test_numbers_come_back_as_they_were(store: everlog.Store) -> None:
    data = {"large": 2**80, "small": -1, "real": 0.1, "zero": 0, "true": True, "none": None}
    store.write([NewEvent(SOURCE, "/numbers", ACQUIRED, data)])
    [read] = store.read("/numbers")
    assert read.data == data
    assert read.data["true"] is True


def test_json_text_is_taken_as_it_is(store: everlog.Store) -> None:
    raw = msgspec.Raw(b'{"a": 1.50, "b":  1e2}')
    [written] = store.write([NewEvent(SOURCE, "/raw", ACQUIRED, raw)])
    assert written.data_json == b'{"a":1.50,"b":1e2}'


def test_large_events_and_thousands_of_them(store: everlog.Store) -> None:
    store.write([event("/large", text="x" * 100_000) for _ in range(20)])
    written = store.write([event(f"/many/{number}", number=number) for number in range(5_000)])
    assert [each.data["number"] for each in written] == list(range(5_000))
    events = list(store.read("/", recursive=True, verify=True))
    assert len(events) == 5_020
    assert {len(each.data["text"]) for each in events[:20]} == {100_000}
    backwards = store.read("/", recursive=True, order="antichronological", verify=True)
    assert ids_of(backwards) == ids_of(events)[::-1]


def test_following_replays_and_then_waits(store: everlog.Store) -> None:
    store.write([event(number=number) for number in range(3)])
    with store.follow(after="0", verify=True) as following:
        assert [next(following).id, next(following).id] == ["1", "2"]
        writer = threading.Thread(target=lambda: store.write([event(), event()]))
        writer.start()
        assert [next(following).id, next(following).id] == ["3", "4"]
        assert following.after == "4"
        writer.join()


def test_following_a_subject_leaves_the_others_out(store: everlog.Store) -> None:
    with store.follow("/books", recursive=True) as following:
        store.write([event("/readers/1"), event("/books/1"), event("/readers/2")])
        assert next(following).subject == "/books/1"
        store.write([event("/readers/1")])
        store.write([event("/books")])
        assert next(following).subject == "/books"


def test_closing_ends_who_follows_on_another_thread(store: everlog.Store) -> None:
    following = store.follow()
    seen: list[str] = []
    reader = threading.Thread(target=lambda: seen.extend(each.id for each in following))
    reader.start()
    store.write([event()])
    while not seen:
        reader.join(0.01)
    following.close()
    following.close()
    reader.join(30)
    assert not reader.is_alive()
    assert seen == ["0"]


def test_closing_the_store_ends_who_follows(store: everlog.Store) -> None:
    following = store.follow()
    seen: list[str] = []
    reader = threading.Thread(target=lambda: seen.extend(each.id for each in following))
    reader.start()
    store.write([event()])
    while not seen:
        reader.join(0.01)
    store.close()
    reader.join(30)
    assert not reader.is_alive()


def test_following_what_is_no_subject_is_refused(store: everlog.Store) -> None:
    assert refusal_of(lambda: next(store.follow("books"))).code == "subject-malformed"


def test_queries_have_rows(store: everlog.Store) -> None:
    store.write([event(f"/books/{number}", number=number) for number in range(1_000)])
    count = store.query("FROM e IN events PROJECT INTO COUNT()")
    assert list(count) == [1_000]
    rows = store.query(
        "FROM e IN events PROJECT INTO { number: e.data.number, subject: e.subject }"
    )
    assert [row["number"] for row in rows] == list(range(1_000))
    assert next(iter(rows)) == {"number": 0, "subject": "/books/0"}
    assert sum(len(batch) for batch in rows.batches()) == 1_000
    assert list(store.query("FROM e IN events WHERE e.subject == '/none' PROJECT INTO e")) == []


def test_a_query_that_is_none_is_refused(store: everlog.Store) -> None:
    refusal = refusal_of(lambda: list(store.query("FROM")))
    assert refusal.code == "query-malformed"
    assert "startToken" in refusal.details
    assert refusal_of(lambda: list(store.query(""))).code == "query-missing"


def test_a_row_that_cannot_be_computed_ends_a_query(store: everlog.Store) -> None:
    store.write([event(number=1), event(number=0)])
    rows = iter(store.query("FROM e IN events PROJECT INTO 1 / e.data.number"))
    seen: list[Any] = []
    refusal = refusal_of(lambda: seen.extend(rows))
    assert refusal.code == "query-unevaluable"


def test_subjects_and_event_types_are_found(store: everlog.Store) -> None:
    store.write([event("/books/42"), event("/books/23", BORROWED)])
    assert list(store.subjects()) == ["/", "/books", "/books/23", "/books/42"]
    assert list(store.subjects("/books/42")) == ["/books/42"]
    assert list(store.subjects("/none")) == []
    assert [each.name for each in store.event_types()] == [ACQUIRED, BORROWED]
    assert store.event_type(ACQUIRED) == everlog.EventType(ACQUIRED, has_events=True)
    assert refusal_of(lambda: store.event_type("com.example.none")).code == "event-type-unknown"


def test_a_schema_is_registered_once_and_holds(store: everlog.Store) -> None:
    store.register_event_schema(ACQUIRED, SCHEMA)
    assert store.event_type(ACQUIRED) == everlog.EventType(
        ACQUIRED, has_events=False, schema=SCHEMA
    )
    store.write([event(title="2001")])
    assert refusal_of(lambda: store.write([event(name="2001")])).code == "event-schema-violated"
    again = refusal_of(lambda: store.register_event_schema(ACQUIRED, SCHEMA))
    assert again.code == "event-schema-already-registered"


def test_health_is_a_document(store: everlog.Store) -> None:
    store.ping()
    found = store.health()
    assert found["status"] == "pass"
    assert found["checks"]["log:events"][0]["observedValue"] == 0


def test_a_backup_has_lines_for_everything(store: everlog.Store, version: int) -> None:
    store.register_event_schema(ACQUIRED, SCHEMA)
    [first, second] = store.write([event(title="2001"), event(title="2010")])
    lines = b"".join(store.backup()).splitlines()
    assert [json.loads(line)["type"] for line in lines] == ["schema", "event", "event"]
    after = (first.id, first.hash)
    if version == 1:
        assert refusal_of(lambda: list(store.backup(after=after))).code == (
            "last-backed-up-event-unknown"
        )
        return
    last = json.loads(b"".join(store.backup(after=after)).splitlines()[-1])
    assert last["payload"]["hash"] == second.hash
    wrong = refusal_of(lambda: list(store.backup(after=(first.id, second.hash))))
    assert wrong.code == "last-backed-up-event-mismatched"


def test_a_store_verifies_itself(store: everlog.Store) -> None:
    store.write([event()])
    assert store.verify_store() == everlog.Verification([], [])


def test_many_threads_share_a_store(store: everlog.Store) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(10):
                store.write([event(f"/threads/{number}", turn=turn)])
                assert len(list(store.read(f"/threads/{number}"))) == turn + 1
        except BaseException as error:  # noqa: BLE001 - told to the test
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(list(store.read("/threads", recursive=True, verify=True))) == 80


def test_a_closed_store_says_so(store: everlog.Store) -> None:
    store.write([event()])
    rows = iter(store.read("/", recursive=True))
    store.close()
    store.close()
    for ask in (
        lambda: store.write([event()]),
        lambda: list(store.read("/")),
        lambda: list(rows),
        lambda: list(store.query("FROM e IN events PROJECT INTO e")),
        lambda: next(store.follow()),
        lambda: list(store.subjects()),
        store.ping,
        store.health,
    ):
        with pytest.raises(everlog.StoreClosedError):
            ask()
    assert "closed" in repr(store)
