from collections.abc import Callable, Sequence
from typing import TypedDict, Unpack

import pytest

from everlog.domain.errors import Code
from everlog.domain.selection import (
    EVENT_ID_MAX,
    BoundText,
    FromLatestEvent,
    FromLatestEventText,
    IfEventIsMissing,
    Order,
    Selection,
    parse_event_id,
    parse_observe_selection,
    parse_read_selection,
)
from tests.support.refusals import check_refused

LATEST = FromLatestEventText("/a", "com.foo.bar", "read-everything")


class ReadText(TypedDict, total=False):
    subject: str | None
    recursive: bool
    order: str | None
    lower_bound: BoundText | None
    upper_bound: BoundText | None
    from_latest_event: FromLatestEventText | None
    types: Sequence[str] | None


class ObserveText(TypedDict, total=False):
    subject: str | None
    recursive: bool
    lower_bound: BoundText | None
    from_latest_event: FromLatestEventText | None


def read(**text: Unpack[ReadText]) -> Selection:
    everything = ReadText(
        subject="/",
        recursive=True,
        order=None,
        lower_bound=None,
        upper_bound=None,
        from_latest_event=None,
    )
    return parse_read_selection(**(everything | text))


def observe(**text: Unpack[ObserveText]) -> Selection:
    everything = ObserveText(subject="/", recursive=True, lower_bound=None, from_latest_event=None)
    return parse_observe_selection(**(everything | text))


def inclusive(event_id: int) -> BoundText:
    return BoundText(str(event_id), "inclusive")


def exclusive(event_id: int) -> BoundText:
    return BoundText(str(event_id), "exclusive")


@pytest.mark.parametrize(
    "text, event_id",
    [
        ("0", 0),
        ("42", 42),
        ("007", 7),
        ("0" * 100_000, 0),
        ("0" * 100_000 + "7", 7),
        ("9223372036854775807", EVENT_ID_MAX),
    ],
)
def test_parses_an_event_id(text: str, event_id: int) -> None:
    assert parse_event_id(text, field="id") == event_id


@pytest.mark.parametrize(
    "text", ["abc", "-1", "+1", "1.0", "1e3", "1_000", " 1", "1 ", "1\n", "0x1", "\u0661", "\u00b2"]
)
def test_refuses_an_event_id_that_is_no_number(text: str) -> None:
    check_refused(
        lambda: parse_event_id(text, field="id"),
        Code.EVENT_ID_MALFORMED,
        message=f"'{text}': event ID must contain an integer",
        field="id",
    )


@pytest.mark.parametrize("text", ["9223372036854775808", "1" + "0" * 19, "9" * 1_000_000])
def test_refuses_an_event_id_above_the_limit(text: str) -> None:
    check_refused(
        lambda: parse_event_id(text, field="id"),
        Code.EVENT_ID_MALFORMED,
        message="9223372036854775807 or less",
        field="id",
        limit="9223372036854775807",
    )


@pytest.mark.parametrize("text", [None, ""])
def test_refuses_a_missing_event_id(text: str | None) -> None:
    check_refused(lambda: parse_event_id(text, field="id"), Code.EVENT_ID_MISSING, field="id")


def test_reads_everything_without_options() -> None:
    assert read(subject="/a/", recursive=False) == Selection(
        subject="/a",
        recursive=False,
        order=Order.CHRONOLOGICAL,
        lower=0,
        upper=None,
        from_latest_event=None,
    )


def test_observes_everything_without_options() -> None:
    assert observe() == read()


@pytest.mark.parametrize("order", list(Order))
def test_reads_in_the_order_asked_for(order: Order) -> None:
    assert read(order=order.value).order is order


@pytest.mark.parametrize(
    "lower, upper, expected",
    [
        (None, None, (0, None)),
        (inclusive(3), None, (3, None)),
        (exclusive(3), None, (4, None)),
        (None, inclusive(3), (0, 3)),
        (None, exclusive(3), (0, 2)),
        (None, inclusive(0), (0, 0)),
        (None, exclusive(1), (0, 0)),
        (inclusive(3), inclusive(3), (3, 3)),
        (exclusive(3), exclusive(5), (4, 4)),
        (inclusive(3), exclusive(4), (3, 3)),
        (inclusive(EVENT_ID_MAX), inclusive(EVENT_ID_MAX), (EVENT_ID_MAX, EVENT_ID_MAX)),
        (exclusive(EVENT_ID_MAX - 1), None, (EVENT_ID_MAX, None)),
    ],
)
def test_makes_bounds_inclusive(
    lower: BoundText | None, upper: BoundText | None, expected: tuple[int, int | None]
) -> None:
    selection = read(lower_bound=lower, upper_bound=upper)

    assert (selection.lower, selection.upper) == expected


@pytest.mark.parametrize(
    "lower, upper, latest",
    [
        (inclusive(4), inclusive(3), None),
        (exclusive(3), inclusive(3), None),
        (inclusive(3), exclusive(3), None),
        (exclusive(3), exclusive(4), None),
        (None, exclusive(0), None),
        (None, exclusive(0), LATEST),
    ],
)
def test_refuses_bounds_that_leave_no_room(
    lower: BoundText | None, upper: BoundText, latest: FromLatestEventText | None
) -> None:
    check_refused(
        lambda: read(lower_bound=lower, upper_bound=upper, from_latest_event=latest),
        Code.RANGE_UNSATISFIABLE,
        field="options.upperBound",
    )


def test_refuses_to_begin_after_the_last_possible_event() -> None:
    check_refused(
        lambda: read(lower_bound=exclusive(EVENT_ID_MAX)),
        Code.EVENT_ID_MALFORMED,
        field="options.lowerBound.id",
        limit="9223372036854775807",
    )


@pytest.mark.parametrize(
    "text, code, field",
    [
        (ReadText(subject=None), Code.SUBJECT_MISSING, "subject"),
        (ReadText(subject="a"), Code.SUBJECT_MALFORMED, "subject"),
        (ReadText(order="sideways"), Code.ORDER_UNKNOWN, "options.order"),
        (ReadText(order=""), Code.ORDER_UNKNOWN, "options.order"),
        (
            ReadText(lower_bound=BoundText(None, "inclusive")),
            Code.EVENT_ID_MISSING,
            "options.lowerBound.id",
        ),
        (
            ReadText(lower_bound=BoundText("x", "inclusive")),
            Code.EVENT_ID_MALFORMED,
            "options.lowerBound.id",
        ),
        (
            ReadText(lower_bound=BoundText("1", None)),
            Code.BOUND_TYPE_MISSING,
            "options.lowerBound.type",
        ),
        (
            ReadText(upper_bound=BoundText("1", "")),
            Code.BOUND_TYPE_MISSING,
            "options.upperBound.type",
        ),
        (
            ReadText(upper_bound=BoundText("1", "open")),
            Code.BOUND_TYPE_UNKNOWN,
            "options.upperBound.type",
        ),
        (
            ReadText(upper_bound=BoundText("-1", "exclusive")),
            Code.EVENT_ID_MALFORMED,
            "options.upperBound.id",
        ),
    ],
)
def test_refuses_malformed_options_and_says_where(text: ReadText, code: Code, field: str) -> None:
    check_refused(lambda: read(**text), code, field=field)


def test_an_observer_has_the_same_rules() -> None:
    check_refused(lambda: observe(subject=""), Code.SUBJECT_MISSING, field="subject")
    check_refused(
        lambda: observe(lower_bound=BoundText("1", "x")),
        Code.BOUND_TYPE_UNKNOWN,
        field="options.lowerBound.type",
    )
    assert observe(lower_bound=exclusive(3)).lower == 4


@pytest.mark.parametrize(
    "parse, if_event_is_missing",
    [
        (read, IfEventIsMissing.READ_NOTHING),
        (read, IfEventIsMissing.READ_EVERYTHING),
        (observe, IfEventIsMissing.WAIT_FOR_EVENT),
        (observe, IfEventIsMissing.READ_EVERYTHING),
    ],
)
def test_starts_from_the_latest_event(
    parse: Callable[..., Selection], if_event_is_missing: IfEventIsMissing
) -> None:
    text = FromLatestEventText("/b/", "com.foo.bar", if_event_is_missing.value)

    selection = parse(from_latest_event=text)

    assert selection.lower == 0
    assert selection.from_latest_event == FromLatestEvent(
        subject="/b", type="com.foo.bar", if_event_is_missing=if_event_is_missing
    )


@pytest.mark.parametrize(
    "text, code, field",
    [
        (LATEST._replace(subject=None), Code.FROM_LATEST_EVENT_INCOMPLETE, "subject"),
        (LATEST._replace(subject=""), Code.FROM_LATEST_EVENT_INCOMPLETE, "subject"),
        (LATEST._replace(type=None), Code.FROM_LATEST_EVENT_INCOMPLETE, "type"),
        (
            LATEST._replace(if_event_is_missing=None),
            Code.FROM_LATEST_EVENT_INCOMPLETE,
            "ifEventIsMissing",
        ),
        (LATEST._replace(subject="b"), Code.SUBJECT_MALFORMED, "subject"),
        (LATEST._replace(type="foo"), Code.EVENT_TYPE_MALFORMED, "type"),
        (
            LATEST._replace(if_event_is_missing="panic"),
            Code.IF_EVENT_IS_MISSING_UNKNOWN,
            "ifEventIsMissing",
        ),
    ],
)
def test_refuses_a_malformed_latest_event(
    text: FromLatestEventText, code: Code, field: str
) -> None:
    path = f"options.fromLatestEvent.{field}"

    check_refused(lambda: read(from_latest_event=text), code, field=path)
    check_refused(lambda: observe(from_latest_event=text), code, field=path)


def test_a_reader_does_not_wait_and_an_observer_does_not_give_up() -> None:
    field = "options.fromLatestEvent.ifEventIsMissing"

    check_refused(
        lambda: read(from_latest_event=LATEST._replace(if_event_is_missing="wait-for-event")),
        Code.IF_EVENT_IS_MISSING_UNKNOWN,
        message="must be 'read-nothing' or 'read-everything' here",
        field=field,
    )
    check_refused(
        lambda: observe(from_latest_event=LATEST._replace(if_event_is_missing="read-nothing")),
        Code.IF_EVENT_IS_MISSING_UNKNOWN,
        message="must be 'wait-for-event' or 'read-everything' here",
        field=field,
    )


def test_refuses_options_that_contradict_each_other() -> None:
    field = "options.fromLatestEvent"

    check_refused(
        lambda: read(lower_bound=inclusive(0), from_latest_event=LATEST),
        Code.SELECTION_CONFLICTING,
        field=field,
    )
    check_refused(
        lambda: observe(lower_bound=inclusive(0), from_latest_event=LATEST),
        Code.SELECTION_CONFLICTING,
        field=field,
    )
    check_refused(
        lambda: read(order="antichronological", from_latest_event=LATEST),
        Code.SELECTION_CONFLICTING,
        field=field,
    )


def test_a_reader_may_ask_for_some_types() -> None:
    types = ["io.everlog.one", "io.everlog.two", "io.everlog.one"]
    assert read(types=types).event_types == frozenset(types)
    assert read(types=None).event_types is None


def test_a_type_that_is_none_is_refused_with_its_place() -> None:
    check_refused(
        lambda: read(types=["io.everlog.one", "two"]),
        Code.EVENT_TYPE_MALFORMED,
        field="options.types[1]",
    )
