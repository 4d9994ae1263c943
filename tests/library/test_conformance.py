"""What every store promises an application, wherever it is."""

import json
import threading
from collections.abc import Callable, Iterable
from typing import Any

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
    JsonText,
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

CountEvents = Callable[[], int]


def event(subject: str, type_: str = ACQUIRED, **data: Any) -> NewEvent:
    return NewEvent(SOURCE, subject, type_, data)


def refusal_of(ask: Callable[[], object]) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        ask()
    return caught.value


def numbers_of(events: Iterable[Event]) -> list[int]:
    return [each.data["number"] for each in events]


def test_a_write_returns_the_events_as_they_are_stored(store: everlog.Store, top: str) -> None:
    trace = "00-10000000000000000000000000000000-2000000000000000-00"
    first, second = store.write(
        [
            event(top, title="2001", year=1968),
            NewEvent(SOURCE, f"{top}/23", BORROWED, {"reader": None}, trace, "vendor=1"),
        ]
    )
    assert (first.subject, first.type, first.source) == (top, ACQUIRED, SOURCE)
    assert (first.specversion, first.datacontenttype) == ("1.0", "application/json")
    assert int(second.id) == int(first.id) + 1
    assert first.data == {"title": "2001", "year": 1968}
    assert first.data_json == b'{"title":"2001","year":1968}'
    assert first.data is first.data
    assert second.predecessorhash == first.hash
    assert first.time.endswith("Z")
    assert (first.traceparent, first.tracestate, first.signature) == (None, None, None)
    assert (second.traceparent, second.tracestate) == (trace, "vendor=1")
    assert list(store.read(top, recursive=True, verify=True)) == [first, second]


def test_events_are_values(store: everlog.Store, top: str) -> None:
    [written] = store.write([event(top, title="2001")])
    [read] = store.read(top)
    assert read == written
    # Both operators are the class's own.
    assert (read != written) is False
    assert read != store.write([event(top, title="2001")])[0]
    assert hash(read) == hash(written)
    assert Event.from_json(read.to_json()) == read
    assert json.loads(read.to_json())["data"] == {"title": "2001"}
    assert "2001" in repr(read)
    with pytest.raises(AttributeError):
        read.subject = "/"  # type: ignore[misc] # what is tested


def test_reading_selects(store: everlog.Store, top: str) -> None:
    written = store.write([event(f"{top}/{number % 3}", number=number) for number in range(12)])
    ids = [each.id for each in written]
    assert numbers_of(store.read(f"{top}/1")) == [1, 4, 7, 10]
    assert numbers_of(store.read(top)) == []
    assert numbers_of(store.read(top, recursive=True)) == [*range(12)]
    backwards = store.read(f"{top}/1", order="antichronological")
    assert numbers_of(backwards) == [10, 7, 4, 1]
    between = store.read(f"{top}/1", lower_bound=Bound(ids[4]), upper_bound=Bound(ids[7]))
    assert numbers_of(between) == [4, 7]
    exclusive = Bound(ids[4], "exclusive")
    assert numbers_of(store.read(f"{top}/1", lower_bound=exclusive)) == [7, 10]
    latest = FromLatestEvent(f"{top}/1", ACQUIRED)
    assert numbers_of(store.read(f"{top}/1", from_latest_event=latest)) == [10]
    missing = FromLatestEvent(f"{top}/9", ACQUIRED, "read-nothing")
    assert numbers_of(store.read(f"{top}/1", from_latest_event=missing)) == []
    assert numbers_of(store.read("/nowhere", recursive=True)) == []


def test_a_selection_can_be_read_again_and_left_in_the_middle(
    store: everlog.Store, top: str
) -> None:
    store.write([event(top, number=number) for number in range(500)])
    selection = store.read(top)
    assert numbers_of([next(iter(selection))]) == [0]
    assert numbers_of(selection) == [*range(500)]
    store.write([event(top, number=500)])
    assert numbers_of(selection) == [*range(501)]


CONDITIONS: dict[str, Callable[[str, int], everlog.Precondition]] = {
    "pristine": lambda top, _: IsSubjectPristine(top),
    "populated": lambda top, _: IsSubjectPopulated(f"{top}/none"),
    "on-event-id": lambda top, id_: IsSubjectOnEventId(top, str(id_ + 1)),
    "query": lambda top, _: IsEventQlQueryTrue(
        f"FROM e IN events WHERE e.subject == '{top}' PROJECT INTO COUNT() == 7"
    ),
}


@pytest.mark.parametrize("name", CONDITIONS)
def test_a_precondition_that_does_not_hold_refuses_all_of_a_write(
    store: everlog.Store, top: str, name: str
) -> None:
    [written] = store.write([event(top)])
    condition = CONDITIONS[name](top, int(written.id))
    refusal = refusal_of(lambda: store.write([event(top), event(top)], [condition]))
    assert refusal.code == "precondition-violated"
    assert list(store.read(top)) == [written]


def test_preconditions_that_hold_let_a_write_pass(
    store: everlog.Store, top: str, version: int
) -> None:
    [first] = store.write([event(top)], [IsSubjectPristine(top)])
    query = f"FROM e IN events WHERE e.subject == '{top}' PROJECT INTO COUNT() == 1"
    conditions: list[everlog.Precondition] = [
        IsSubjectPopulated(top),
        IsSubjectOnEventId(top, first.id),
        IsEventQlQueryTrue(query),
    ]
    [second] = store.write([event(f"{top}/below")], conditions)
    recursive = [IsSubjectOnEventId(top, second.id, recursive=True)]
    if version == 1:
        refusal = refusal_of(lambda: store.write([event(top)], recursive))
        assert refusal.code == "precondition-unknown"
    else:
        store.write([event(top)], recursive)


DEEP = json.loads('{"a":' * 99 + "1" + "}" * 99)

BAD_WRITES: dict[str, tuple[NewEvent, str]] = {
    "source": (NewEvent("", "/", ACQUIRED, {}), "source-missing"),
    "source-malformed": (NewEvent("a b", "/", ACQUIRED, {}), "source-malformed"),
    "subject": (NewEvent(SOURCE, "books", ACQUIRED, {}), "subject-malformed"),
    "type": (NewEvent(SOURCE, "/", "acquired", {}), "event-type-malformed"),
    "data": (NewEvent(SOURCE, "/", ACQUIRED, JsonText(b"[1]")), "data-malformed"),
    "no-json": (NewEvent(SOURCE, "/", ACQUIRED, JsonText(b"{")), "data-malformed"),
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
}


@pytest.mark.parametrize("name", BAD_WRITES)
def test_a_write_of_what_is_no_event_is_refused(store: everlog.Store, top: str, name: str) -> None:
    bad, code = BAD_WRITES[name]
    refusal = refusal_of(lambda: store.write([event(top), bad]))
    assert refusal.code == code
    assert refusal.message
    assert list(store.read(top)) == []


def test_a_write_of_nothing_is_refused(store: everlog.Store) -> None:
    assert refusal_of(lambda: store.write([])).code == "events-missing"


def test_a_write_of_too_many_is_refused(store: everlog.Store, top: str) -> None:
    refusal = refusal_of(lambda: store.write([event(top)] * 10_001))
    assert refusal.code == "event-too-large"


def test_a_write_of_too_many_bytes_is_refused(store: everlog.Store, top: str) -> None:
    large = event(top, text="x" * 100_000)
    refusal = refusal_of(lambda: store.write([large] * 700))
    assert refusal.code == "event-too-large"
    assert refusal.details["limit"] == 64 * 1024 * 1024


def test_a_refusal_says_which_event(store: everlog.Store, top: str, version: int) -> None:
    bad = NewEvent(SOURCE, "books", ACQUIRED, {})
    refusal = refusal_of(lambda: store.write([event(top), bad]))
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


def test_text_of_any_script_comes_back_as_it_was(store: everlog.Store, top: str) -> None:
    data = {"greeting": "\u00e4\u4f60\u597d\U0001f600", 'quote"\\': "\n\u2028\x7f"}
    [written] = store.write([NewEvent("https://\u00fc.example", top, ACQUIRED, data)])
    assert written.data == data
    assert list(store.read(top, verify=True)) == [written]


def test_numbers_come_back_as_they_were(store: everlog.Store, top: str) -> None:
    data = {"large": 2**80, "small": -1, "real": 0.1, "zero": 0, "true": True, "none": None}
    store.write([NewEvent(SOURCE, top, ACQUIRED, data)])
    [read] = store.read(top)
    assert read.data == data
    assert read.data["true"] is True


def test_json_text_is_taken_as_it_is(store: everlog.Store, top: str) -> None:
    text = JsonText(b'{"a": 1.50, "b":  1e2}')
    [written] = store.write([NewEvent(SOURCE, top, ACQUIRED, text)])
    assert written.data_json == b'{"a":1.50,"b":1e2}'
    assert text == written.data == {"a": 1.5, "b": 100.0}
    [inside] = store.write([NewEvent(SOURCE, top, ACQUIRED, {"of": JsonText("[1.50]")})])
    assert inside.data_json == b'{"of":[1.50]}'
    with pytest.raises(ValueError, match="is no JSON object"):
        len(JsonText("[1.50]"))


def test_large_events_and_thousands_of_them(store: everlog.Store, top: str) -> None:
    store.write([event(f"{top}/large", text="x" * 100_000) for _ in range(20)])
    many = [event(f"{top}/many/{number}", number=number) for number in range(3_000)]
    assert numbers_of(store.write(many)) == [*range(3_000)]
    events = list(store.read(top, recursive=True, verify=True))
    assert len(events) == 3_020
    assert {len(each.data["text"]) for each in events[:20]} == {100_000}
    backwards = store.read(top, recursive=True, order="antichronological", verify=True)
    assert list(backwards) == events[::-1]


def test_the_whole_log_is_one_chain(store: everlog.Store, top: str) -> None:
    store.write([event(top), event(top)])
    ids = [int(each.id) for each in store.read("/", recursive=True, verify=True)]
    assert ids == [*range(len(ids))]


def test_following_replays_and_then_waits(store: everlog.Store, top: str) -> None:
    first, second, third = store.write([event(top, number=number) for number in range(3)])
    with store.follow(after=first.id, verify=True) as following:
        assert [next(following), next(following)] == [second, third]
        writer = threading.Thread(target=lambda: store.write([event(top), event(top)]))
        writer.start()
        ids = [int(next(following).id), int(next(following).id)]
        assert ids == [int(third.id) + 1, int(third.id) + 2]
        writer.join()


def test_following_a_subject_leaves_the_others_out(store: everlog.Store, top: str) -> None:
    with store.follow(f"{top}/books", recursive=True) as following:
        store.write([event(f"{top}/readers/{each}") for each in range(3)])
        store.write([event(f"{top}/readers/1"), event(f"{top}/books/1")])
        assert next(following).subject == f"{top}/books/1"
        store.write([event(f"{top}/readers/1")])
        store.write([event(f"{top}/books")])
        assert next(following).subject == f"{top}/books"


def follow_on_a_thread(store: everlog.Store, top: str) -> tuple[Any, threading.Thread]:
    """Return what follows a subject, and a thread that waits in it, having seen an event."""
    following = store.follow(top)
    seen = threading.Event()

    def follow() -> None:
        for _ in following:
            seen.set()

    reader = threading.Thread(target=follow)
    reader.start()
    store.write([event(top)])
    assert seen.wait(60)
    return following, reader


def test_closing_ends_who_follows_on_another_thread(store: everlog.Store, top: str) -> None:
    following, reader = follow_on_a_thread(store, top)
    following.close()
    following.close()
    reader.join(60)
    assert not reader.is_alive()
    assert list(following) == []


def test_closing_the_store_ends_who_follows(own_store: everlog.Store, top: str) -> None:
    _, reader = follow_on_a_thread(own_store, top)
    own_store.close()
    reader.join(60)
    assert not reader.is_alive()


def test_following_what_is_no_subject_is_refused(store: everlog.Store) -> None:
    assert refusal_of(lambda: next(store.follow("books"))).code == "subject-malformed"


def test_queries_have_rows(store: everlog.Store, top: str) -> None:
    store.write([event(top, number=number) for number in range(1_000)])
    where = f"FROM e IN events WHERE e.subject == '{top}'"
    assert list(store.query(f"{where} PROJECT INTO COUNT()")) == [1_000]
    rows = store.query(f"{where} PROJECT INTO {{number: e.data.number, subject: e.subject}}")
    assert [row["number"] for row in rows] == [*range(1_000)]
    assert next(iter(rows)) == {"number": 0, "subject": top}
    assert list(store.query(f"{where} AND e.id == '-1' PROJECT INTO e")) == []


def test_a_query_that_is_none_is_refused(store: everlog.Store) -> None:
    refusal = refusal_of(lambda: list(store.query("FROM")))
    assert refusal.code == "query-malformed"
    assert "startToken" in refusal.details
    assert refusal_of(lambda: list(store.query(""))).code == "query-missing"


def test_a_row_that_cannot_be_computed_ends_a_query(store: everlog.Store, top: str) -> None:
    store.write([event(top, number=1), event(top, number=0)])
    rows = iter(
        store.query(f"FROM e IN events WHERE e.subject == '{top}' PROJECT INTO 1 / e.data.number")
    )
    seen: list[Any] = []
    assert refusal_of(lambda: seen.extend(rows)).code == "query-unevaluable"


def test_subjects_and_event_types_are_found(store: everlog.Store, top: str) -> None:
    store.write([event(f"{top}/42"), event(f"{top}/23", BORROWED)])
    assert list(store.subjects(top)) == [top, f"{top}/23", f"{top}/42"]
    assert list(store.subjects(f"{top}/42")) == [f"{top}/42"]
    assert {"/", top} <= {*store.subjects()}
    assert list(store.subjects("/none")) == []
    assert {ACQUIRED, BORROWED} <= {each.name for each in store.event_types()}
    assert store.event_type(ACQUIRED) == everlog.EventType(ACQUIRED, has_events=True)
    assert refusal_of(lambda: store.event_type("com.example.none")).code == "event-type-unknown"
    assert refusal_of(lambda: list(store.subjects("none"))).code == "subject-malformed"


def test_a_schema_is_registered_once_and_holds(store: everlog.Store, top: str) -> None:
    type_ = f"com.example{top.replace('/', '.')}"
    store.register_event_schema(type_, SCHEMA)
    assert store.event_type(type_) == everlog.EventType(type_, has_events=False, schema=SCHEMA)
    store.write([event(top, type_, title="2001")])
    refusal = refusal_of(lambda: store.write([event(top, type_, name="2001")]))
    assert refusal.code == "event-schema-violated"
    again = refusal_of(lambda: store.register_event_schema(type_, SCHEMA))
    assert again.code == "event-schema-already-registered"
    none = refusal_of(lambda: store.register_event_schema("com.example.none", {"type": "array"}))
    assert none.code == "event-schema-not-object"


def test_health_is_a_document(store: everlog.Store, end_of: CountEvents) -> None:
    store.ping()
    found = store.health()
    assert found["status"] == "pass"
    assert found["checks"]["log:events"][0]["observedValue"] == end_of()


def test_a_backup_has_lines_for_everything(
    store: everlog.Store, top: str, end_of: CountEvents, version: int
) -> None:
    [first, second] = store.write([event(top), event(top)])
    lines = b"".join(store.backup()).splitlines()
    kinds = [json.loads(line)["type"] for line in lines]
    assert kinds.count("event") == end_of()
    assert {*kinds} <= {"schema", "event"}
    after = (first.id, first.hash)
    if version == 1:
        refusal = refusal_of(lambda: list(store.backup(after=after)))
        assert refusal.code == "last-backed-up-event-unknown"
        return
    last = json.loads(b"".join(store.backup(after=after)).splitlines()[-1])
    assert last["payload"]["hash"] == second.hash
    wrong = refusal_of(lambda: list(store.backup(after=(first.id, second.hash))))
    assert wrong.code == "last-backed-up-event-mismatched"


def test_a_store_verifies_itself(store: everlog.Store, top: str) -> None:
    store.write([event(top)])
    assert store.verify_store() == everlog.Verification([], [])


def test_the_tree_of_the_log_proves_what_is_in_it(
    store: everlog.Store, top: str, end_of: CountEvents
) -> None:
    [written] = store.write([event(top)])
    size = end_of()
    proof = store.inclusion_proof(written.id, size=size)
    assert (proof["event"], proof["hash"], proof["size"]) == (written.id, written.hash, size)
    consistency = store.consistency_proof(size, size)
    assert (consistency["fromRoot"], consistency["toRoot"]) == (proof["root"], proof["root"])
    refusal = refusal_of(lambda: store.inclusion_proof(str(size + 7), size=size))
    assert refusal.code == "range-unsatisfiable"
    with pytest.raises(everlog.NoCheckpointError):
        store.checkpoint()


def test_many_threads_share_a_store(store: everlog.Store, top: str) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(5):
                store.write([event(f"{top}/{number}", number=turn)])
                assert numbers_of(store.read(f"{top}/{number}")) == [*range(turn + 1)]
        except BaseException as error:  # noqa: BLE001 - told to the test
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(list(store.read(top, recursive=True, verify=True))) == 40


def test_a_closed_store_says_so(own_store: everlog.Store, top: str) -> None:
    store = own_store
    store.write([event(top)])
    store.close()
    store.close()
    asked: list[Callable[[], object]] = [
        lambda: store.write([event(top)]),
        lambda: list(store.read("/")),
        lambda: list(store.query("FROM e IN events PROJECT INTO e")),
        lambda: next(store.follow()),
        lambda: list(store.subjects()),
        store.ping,
        store.health,
    ]
    for ask in asked:
        with pytest.raises(everlog.StoreClosedError):
            ask()
    assert "closed" in repr(store)
