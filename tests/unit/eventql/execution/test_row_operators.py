from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everlog.eventql.diagnostic import Diagnostic, QueryUnevaluableError, Span
from everlog.eventql.execution.memory_budget import MemoryBudget
from everlog.eventql.execution.row_operators import (
    Deferred,
    Sorter,
    chunks_of,
    distinct_rows,
    limit_rows,
    raise_deferred,
    sort_rows,
)
from everlog.eventql.limits import QueryLimits

CHUNKS = st.lists(st.lists(st.integers(0, 9), max_size=5), max_size=8)


def budget() -> MemoryBudget:
    return MemoryBudget(QueryLimits())


def flat(chunks: Iterator[list[Any]]) -> list[Any]:
    return [row for chunk in chunks for row in chunk]


def sorted_rows(
    keys: list[list[int]], *, is_descending: bool, row_count_max: int | None
) -> tuple[list[int], MemoryBudget]:
    """Sort rows that are their own places, by the given keys."""
    places = iter(range(1_000_000))
    pairs = ([(key, next(places)) for key in chunk] for chunk in keys)
    held = budget()
    sorter = Sorter(held, is_descending=is_descending, row_count_max=row_count_max)
    return flat(sort_rows(pairs, sorter, keep=list)), held


@given(keys=CHUNKS, is_descending=st.booleans(), row_count_max=st.none() | st.integers(1, 20))
def test_sorting_is_stable_and_descending_is_its_reverse(
    keys: list[list[int]], *, is_descending: bool, row_count_max: int | None
) -> None:
    flat_keys = [key for chunk in keys for key in chunk]
    expected = sorted(range(len(flat_keys)), key=lambda place: flat_keys[place])
    if is_descending:
        expected.reverse()

    found, _ = sorted_rows(keys, is_descending=is_descending, row_count_max=row_count_max)

    assert found == expected[:row_count_max]


@pytest.mark.parametrize("is_descending", [False, True])
def test_a_sort_for_the_first_rows_throws_others_away(*, is_descending: bool) -> None:
    keys = [
        [(number * 7919) % 1_000 for number in range(start, start + 100)]
        for start in range(0, 9_000, 100)
    ]
    flat_keys = [key for chunk in keys for key in chunk]
    expected = sorted(range(len(flat_keys)), key=lambda place: flat_keys[place])
    if is_descending:
        expected.reverse()

    found, held = sorted_rows(keys, is_descending=is_descending, row_count_max=25)

    assert found == expected[:25]
    assert held.rows == 25
    assert 0 < held.size < 25 * 1_000


@given(CHUNKS, st.integers(0, 12), st.none() | st.integers(1, 12))
def test_skipping_comes_before_ending(keys: list[list[int]], skip: int, top: int | None) -> None:
    rows = [key for chunk in keys for key in chunk]
    stop = None if top is None else skip + top

    assert flat(limit_rows(iter(keys), skip=skip, top=top)) == rows[skip:stop]


def test_nothing_is_asked_for_after_the_last_row() -> None:
    def chunks() -> Iterator[list[int]]:
        yield [1, 2]
        yield [3]
        raise AssertionError

    assert flat(limit_rows(chunks(), skip=1, top=2)) == [2, 3]


@given(
    st.lists(
        st.lists(st.sampled_from([1, 1.0, True, "1", None, [1], [True], {"a": 1}]), max_size=4)
    )
)
def test_the_first_of_equal_rows_stays(chunks: list[list[Any]]) -> None:
    # Python takes 1 and True for equal; a query does not.
    expected: list[Any] = []
    for row in (row for chunk in chunks for row in chunk):
        if not any(
            repr(row).replace("1.0", "1") == repr(other).replace("1.0", "1") for other in expected
        ):
            expected.append(row)

    assert repr(flat(distinct_rows(iter(chunks), budget(), are_strings=False))) == repr(expected)


def test_strings_are_their_own_keys() -> None:
    chunks = iter([["a", "b"], ["a", "c"]])

    assert flat(distinct_rows(chunks, budget(), are_strings=True)) == ["a", "b", "c"]


def test_an_error_is_raised_when_it_is_its_turn() -> None:
    error = QueryUnevaluableError("x", Diagnostic("no", Span(0, 1)), event_id=None)
    found: list[object] = []

    with pytest.raises(QueryUnevaluableError) as caught:
        found.extend(
            row for chunk in raise_deferred(iter([[1], [2, Deferred(error), 3]])) for row in chunk
        )

    assert caught.value is error
    assert found == [1, 2]


def test_rows_are_handed_on_in_chunks() -> None:
    chunks = [*chunks_of(range(600))]

    assert [len(chunk) for chunk in chunks] == [256, 256, 88]
    assert flat(iter(chunks)) == [*range(600)]
