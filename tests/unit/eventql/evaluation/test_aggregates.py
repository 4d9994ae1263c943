import pickle
from collections.abc import Callable

import pytest

from everlog.eventql.evaluation.aggregates import (
    Accumulator,
    Count,
    First,
    Last,
    Median,
    maximum,
    minimum,
)
from everlog.eventql.evaluation.values import INT_MAX, Date, DateTime, Time, Value
from tests.support.eventql.unevaluable import check_unevaluable

Start = Callable[[], Accumulator]


def check_result(start: Start, values: list[Value], expected: Value) -> None:
    accumulator = start()
    for value in values:
        accumulator.add(value)
    copy = pickle.loads(pickle.dumps(accumulator))

    # It may be asked for more than once, and elsewhere.
    for result in (accumulator.result(), accumulator.result(), copy.result()):
        assert type(result) is type(expected)
        assert result == expected


@pytest.mark.parametrize(
    "values, expected", [([], 0), ([True, False, True], 2), ([False], 0), ([True] * 100, 100)]
)
def test_counts_what_is_true(values: list[Value], expected: Value) -> None:
    check_result(Count, values, expected)


@pytest.mark.parametrize("value, kind", [(1, "INT"), (0, "INT"), ("true", "STRING"), ([], "array")])
def test_counts_conditions_only(value: Value, kind: str) -> None:
    check_unevaluable(lambda: Count().add(value), f"COUNT expects a BOOLEAN, but found {kind}")


@pytest.mark.parametrize(
    "values, least, greatest",
    [
        ([], None, None),
        ([1], 1, 1),
        ([3, 1, 2], 1, 3),
        ([0.5, 1, -1], -1, 1),
        ([2**53 + 1, 2.0**53], 2.0**53, 2**53 + 1),
        # Of equal ones the first.
        ([1, 1.0], 1, 1),
        ([1.0, 1], 1.0, 1.0),
        (["10", "9", ""], "", "9"),
        ([True, False], False, True),
        ([Date(1), Date(0)], Date(0), Date(1)),
        ([Time(1), Time(0)], Time(0), Time(1)),
        ([DateTime(1), DateTime(-1)], DateTime(-1), DateTime(1)),
    ],
)
def test_finds_the_extremes(values: list[Value], least: Value, greatest: Value) -> None:
    check_result(minimum, values, least)
    check_result(maximum, values, greatest)


@pytest.mark.parametrize(
    "values, kinds",
    [
        ([1, "1"], "INT with STRING"),
        ([0.5, True], "FLOAT64 with BOOLEAN"),
        ([False, 1], "BOOLEAN with INT"),
        ([Date(0), DateTime(0)], "DATE with DATETIME"),
        ([[1]], "array with array"),
        ([{}], "record with record"),
        (["a", []], "STRING with array"),
    ],
)
@pytest.mark.parametrize("start, name", [(minimum, "MIN"), (maximum, "MAX")])
def test_extremes_are_of_one_kind_that_has_an_order(
    start: Start, name: str, values: list[Value], kinds: str
) -> None:
    *added, last = values
    accumulator = start()
    for value in added:
        accumulator.add(value)

    check_unevaluable(lambda: accumulator.add(last), f"{name} cannot compare {kinds}")


@pytest.mark.parametrize(
    "values, expected",
    [
        ([], None),
        ([5], 5.0),
        ([5, 1, 3], 3.0),
        ([75_000, 82_000], 78_500.0),
        ([1, 0.5, 3, 2.5], 1.75),
        ([INT_MAX, INT_MAX], 2.0**63),
        ([1.7e308, 1.7e308], 1.7e308),
        ([3, 1, 2, 2, 1], 2.0),
    ],
)
def test_finds_the_middle(values: list[Value], expected: Value) -> None:
    check_result(Median, values, expected)


def test_the_middle_moves_on_with_more_values() -> None:
    median = Median()
    results = []
    for value in [5, 1, 3.0, 2]:
        median.add(value)
        results.append(median.result())

    assert results == [5.0, 3.0, 3.0, 2.5]


@pytest.mark.parametrize("value, kind", [("1", "STRING"), (True, "BOOLEAN"), ([1], "array")])
def test_only_numbers_have_a_middle(value: Value, kind: str) -> None:
    check_unevaluable(lambda: Median().add(value), f"MEDIAN expects numbers, but found {kind}")


@pytest.mark.parametrize(
    "values, expected",
    [([], None), (["a", "a"], "a"), (["b", "a", 1], "b"), ([False, True], False), ([[1], 2], [1])],
)
def test_what_is_unique_is_the_first_value(values: list[Value], expected: Value) -> None:
    check_result(First, values, expected)


@pytest.mark.parametrize(
    "values, expected",
    [([], None), (["b", "a", 1], 1), ([True, False], False), ([2, [1]], [1]), ([0], 0)],
)
def test_what_is_last_is_the_last_value(values: list[Value], expected: Value) -> None:
    check_result(Last, values, expected)
