from hypothesis import given
from hypothesis import strategies as st

from everlog.domain.errors import Code, RefusedError
from everlog.domain.selection import (
    EVENT_ID_MAX,
    BoundText,
    parse_event_id,
    parse_observe_selection,
    parse_read_selection,
)

small_ids = st.integers(min_value=0, max_value=6)
bound_types = st.sampled_from(["inclusive", "exclusive"])
bounds = st.none() | st.tuples(small_ids, bound_types)


def bound_text(bound: tuple[int, str] | None) -> BoundText | None:
    return None if bound is None else BoundText(str(bound[0]), bound[1])


def ids_meant(lower: tuple[int, str] | None, upper: tuple[int, str] | None) -> list[int]:
    """Return the ids up to 8 that the bounds leave, by the meaning of their words."""
    return [
        event_id
        for event_id in range(9)
        if (lower is None or event_id > lower[0] or (event_id, "inclusive") == lower)
        and (upper is None or event_id < upper[0] or (event_id, "inclusive") == upper)
    ]


@given(bounds, bounds)
def test_a_selection_holds_the_ids_that_its_bounds_mean(
    lower: tuple[int, str] | None, upper: tuple[int, str] | None
) -> None:
    try:
        selection = parse_read_selection(
            subject="/",
            recursive=True,
            order=None,
            lower_bound=bound_text(lower),
            upper_bound=bound_text(upper),
            from_latest_event=None,
        )
    except RefusedError as refusal:
        assert refusal.code is Code.RANGE_UNSATISFIABLE  # noqa: PT017 (either outcome is right)
        assert ids_meant(lower, upper) == []
        return

    last = 8 if selection.upper is None else selection.upper
    assert list(range(selection.lower, last + 1)) == ids_meant(lower, upper)


@given(bounds)
def test_an_observer_starts_where_a_reader_would(lower: tuple[int, str] | None) -> None:
    selection = parse_observe_selection(
        subject="/", recursive=True, lower_bound=bound_text(lower), from_latest_event=None
    )

    assert list(range(selection.lower, 9)) == ids_meant(lower, None)


@given(st.integers(min_value=0, max_value=2**65), st.integers(min_value=0, max_value=30))
def test_an_event_id_is_its_decimal_number(number: int, zeros: int) -> None:
    text = "0" * zeros + str(number)

    try:
        event_id = parse_event_id(text, field="id")
    except RefusedError as refusal:
        assert refusal.code is Code.EVENT_ID_MALFORMED  # noqa: PT017 (either outcome is right)
        assert number > EVENT_ID_MAX
        return

    assert event_id == number
    assert number <= EVENT_ID_MAX
