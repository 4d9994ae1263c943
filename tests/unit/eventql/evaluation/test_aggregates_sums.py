import math
import pickle
from collections.abc import Callable, Iterable

import pytest

from everlog.eventql.evaluation.aggregates import (
    Moments,
    Total,
    deviation_of,
    mean_of,
    sum_of,
    variance_of,
)
from everlog.eventql.evaluation.values import INT_MAX, INT_MIN, Value
from tests.support.eventql.unevaluable import check_unevaluable

FLOAT_MAX = math.nextafter(math.inf, 0)

Start = Callable[[], Total | Moments]


def start_sum() -> Total:
    return Total("SUM", sum_of)


def start_mean() -> Total:
    return Total("AVG", mean_of)


def start_variance() -> Moments:
    return Moments("VARIANCE", variance_of)


def start_deviation() -> Moments:
    return Moments("STDDEV", deviation_of)


STARTS: list[Start] = [start_sum, start_mean, start_variance, start_deviation]


def add_all(start: Start, values: Iterable[Value]) -> Total | Moments:
    accumulator = start()
    for value in values:
        accumulator.add(value)
    return accumulator


def check_result(start: Start, values: list[Value], expected: Value) -> None:
    for order in (values, values[::-1]):
        result = add_all(start, order).result()

        assert type(result) is type(expected)
        assert result == expected


@pytest.mark.parametrize(
    "values, expected",
    [
        ([], 0),
        ([1, 2, 3], 6),
        ([1, 2.5], 3.5),
        ([0.0], 0.0),
        ([1, -1.0], 0.0),
        ([INT_MAX, 1, -1], INT_MAX),
        ([INT_MIN, INT_MAX], -1),
        ([INT_MAX, INT_MAX, 0.0], 2.0**64),
        ([0.1] * 10, 1.0),
        ([1e16, 1.0, -1e16], 1.0),
        ([2**53, 1, 0.5, 0.5], 2.0**53 + 2),
        ([1e308, 1e308, -1e308, -1e308, 3.5], 3.5),
        ([1e308, 1e308, -1e308], 1e308),
        ([1e300, 5e-324, -1e300], 5e-324),
        ([0.5] * 1_000, 500.0),
    ],
)
def test_a_sum_is_exact(values: list[Value], expected: Value) -> None:
    check_result(start_sum, values, expected)


@pytest.mark.parametrize(
    "values, expected",
    [
        ([], None),
        ([23, 42], 32.5),
        ([1], 1.0),
        ([1, 2.0], 1.5),
        ([0.1] * 3, 0.1),
        ([95_000, 110_000, 88_000], 97_666.66666666667),
        ([INT_MAX, INT_MAX], 2.0**63),
        ([FLOAT_MAX, FLOAT_MAX, FLOAT_MAX], FLOAT_MAX),
        ([5e-324, 0.0], 0.0),
    ],
)
def test_an_average_is_rounded_once(values: list[Value], expected: Value) -> None:
    check_result(start_mean, values, expected)


@pytest.mark.parametrize(
    "values, variance, deviation",
    [
        ([], None, None),
        ([5], 0.0, 0.0),
        ([5.5], 0.0, 0.0),
        ([95_000, 110_000, 88_000], 84_222_222.22222222, 9_177.266598624136),
        ([2, 4, 4, 4, 5, 5, 7, 9], 4.0, 2.0),
        ([1, 2.0], 0.25, 0.5),
        ([0.5, 1.5, 2], 0.3888888888888889, 0.6236095644623235),
        # The textbook formula with floats gives 0, or less than 0.
        ([1e9 + 0.25, 1e9 + 0.5, 1e9 + 0.75], 1 / 24, 0.2041241452319315),
        ([1e16, 1e16 + 2, 1e16 + 4], 8 / 3, 1.632993161855452),
        ([INT_MIN, INT_MAX], 8.507059173023462e37, 9.223372036854776e18),
        ([1e-200, -1e-200], 0.0, 1e-200),
    ],
)
def test_variance_and_deviation_are_those_of_the_population(
    values: list[Value], variance: Value, deviation: Value
) -> None:
    check_result(start_variance, values, variance)
    check_result(start_deviation, values, deviation)


def test_a_deviation_can_be_had_where_the_variance_is_out_of_range() -> None:
    check_result(start_deviation, [1e200, -1e200], 1e200)
    check_unevaluable(
        add_all(start_variance, [1e200, -1e200]).result,
        "the result is beyond the range of FLOAT64",
    )


@pytest.mark.parametrize(
    "values, kind",
    [
        ([INT_MAX, 1], "INT"),
        ([INT_MIN, -1], "INT"),
        ([FLOAT_MAX, FLOAT_MAX], "FLOAT64"),
        ([FLOAT_MAX, FLOAT_MAX / 2**53], "FLOAT64"),
    ],
)
def test_a_sum_out_of_range_is_an_error(values: list[Value], kind: str) -> None:
    check_unevaluable(
        add_all(start_sum, values).result, f"the result is beyond the range of {kind}"
    )


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("value, kind", [("1", "STRING"), (True, "BOOLEAN"), ([1], "array")])
def test_only_numbers_are_added(start: Start, value: Value, kind: str) -> None:
    names = dict(zip(STARTS, ["SUM", "AVG", "VARIANCE", "STDDEV"], strict=True))

    check_unevaluable(
        lambda: start().add(value), f"{names[start]} expects numbers, but found {kind}"
    )


@pytest.mark.parametrize("start", STARTS)
def test_a_result_can_be_asked_for_at_any_time(start: Start) -> None:
    values = [1, 0.1, 2, 1e20, -3.5, *[0.1] * 40]
    accumulator = start()
    for count, value in enumerate(values, 1):
        accumulator.add(value)

        expected = add_all(start, values[:count]).result()
        assert accumulator.result() == expected
        assert accumulator.result() == expected


@pytest.mark.parametrize("start", STARTS)
def test_a_state_can_go_to_another_process_and_on(start: Start) -> None:
    values = [1, 0.1, 2, 1e20, *[0.1] * 40]

    copy = pickle.loads(pickle.dumps(add_all(start, values)))
    copy.add(0.5)

    assert copy.result() == add_all(start, [*values, 0.5]).result()
