"""What holds for all values, however they are compared, calculated, converted and added up."""

import json
import math
import statistics
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from everlog.domain.data import parse_data
from everlog.domain.errors import RefusedError
from everlog.domain.time import format_time as format_event_time
from everlog.eventql.evaluation import datetimes, scalars
from everlog.eventql.evaluation.aggregates import Accumulator
from everlog.eventql.evaluation.catalogue import AGGREGATES, FUNCTIONS, Purity, ScalarFunction
from everlog.eventql.evaluation.conversion import (
    CONVERSIONS,
    always_convertible_to,
    convert,
    render,
)
from everlog.eventql.evaluation.operators import (
    ARITHMETIC,
    contains,
    equals,
    identity_key,
    is_greater,
    is_greater_or_equal,
    is_less,
    is_less_or_equal,
    kind_of,
    sort_key,
)
from everlog.eventql.evaluation.values import (
    INT_MAX,
    INT_MIN,
    Date,
    DateTime,
    EvaluationError,
    Time,
    Value,
    from_json,
)
from everlog.eventql.types import (
    ARRAY,
    CONVERSION_TARGETS,
    NULL,
    RECORD,
    BinaryOperator,
    Kind,
    Type,
)

DAY = 86_400_000_000_000

texts = st.text(st.characters(codec="utf-8"), max_size=6)
ints = st.integers(INT_MIN, INT_MAX)
floats = st.floats(allow_nan=False, allow_infinity=False)
# Such that different kinds and forms of one number meet.
small = st.integers(-3, 3)
numbers = st.one_of(small, small.map(float), ints, floats)
dates = st.integers(-719_162, 2_932_896).map(Date)
times = st.integers(0, DAY - 1).map(Time)
moments = st.integers(-719_162 * DAY, 2_932_897 * DAY - 1).map(DateTime)
scalar_values = st.one_of(
    st.none(), st.booleans(), numbers, texts, dates, times, moments, st.sampled_from(["0", "1"])
)
values: st.SearchStrategy[Any] = st.recursive(
    scalar_values,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "b", "c"]) | texts, inner, max_size=3)
    ),
    max_leaves=8,
)


def outcome(evaluate: Callable[[], Value]) -> Any:
    """Return a value, or that there is none."""
    try:
        return evaluate()
    except EvaluationError:
        return EvaluationError


@given(values, values)
def test_all_ways_to_compare_agree(left: Any, right: Any) -> None:
    is_equal = equals(left, right)

    assert equals(right, left) is is_equal
    assert (sort_key(left) == sort_key(right)) is is_equal
    assert (identity_key(left) == identity_key(right)) is is_equal
    assert contains([right, left], left)
    assert contains([right], left) is is_equal
    assert (sort_key(left) < sort_key(right)) + (sort_key(right) < sort_key(left)) + is_equal == 1
    if is_equal:
        assert hash(identity_key(left)) == hash(identity_key(right))


VALUES_OF_KINDS: dict[Kind, st.SearchStrategy[Any]] = {
    Kind.NULL: st.none(),
    Kind.BOOLEAN: st.booleans(),
    Kind.INT: small | ints,
    Kind.FLOAT64: floats,
    Kind.STRING: texts,
    Kind.DATE: dates,
    Kind.TIME: times,
    Kind.DATETIME: moments,
    Kind.ARRAY: st.lists(scalar_values, max_size=2),
    Kind.RECORD: st.dictionaries(texts, scalar_values, max_size=2),
}


def values_of(kinds: Type) -> st.SearchStrategy[Any]:
    return st.one_of(VALUES_OF_KINDS[kind] for kind in sorted(kinds))


TOTAL_FUNCTIONS = [
    function
    for function in FUNCTIONS.values()
    if function.is_total and function.purity is Purity.PURE
]


@pytest.mark.parametrize("function", TOTAL_FUNCTIONS, ids=lambda function: function.name)
@given(st.data())
def test_a_total_function_has_a_value_for_all_arguments(
    function: ScalarFunction, data: st.DataObject
) -> None:
    arguments = [data.draw(values_of(each.types | NULL)) for each in function.parameters]

    value = function.checked()(*arguments)

    types = tuple(frozenset({kind_of(argument)}) for argument in arguments)
    assert kind_of(value) in function.result(types) | NULL


@pytest.mark.parametrize("target", CONVERSION_TARGETS)
@given(st.data())
def test_what_can_always_be_converted_is(target: Kind, data: st.DataObject) -> None:
    value = data.draw(values_of(always_convertible_to(target)))

    assert kind_of(convert(value, target)) in {target, Kind.NULL}


@given(scalar_values, scalar_values)
def test_where_there_is_an_order_it_is_that_of_sorting(left: Any, right: Any) -> None:
    compared = outcome(lambda: is_less(left, right))

    if left is None or right is None:
        assert compared is False
    elif sort_key(left)[0] == sort_key(right)[0]:
        assert compared is (sort_key(left) < sort_key(right))
        assert is_less_or_equal(left, right) is (compared or equals(left, right))
        assert is_greater_or_equal(left, right) is not compared
        assert is_greater(left, right) is is_less(right, left)
    else:
        assert compared is EvaluationError


@given(values)
def test_a_value_is_itself_in_whatever_order_its_keys_stand(value: Any) -> None:
    turned = turn(value)

    assert equals(value, turned)
    assert identity_key(value) == identity_key(turned)


def turn(value: Any) -> Any:
    """Return the same value with the keys of all records in the opposite order."""
    match value:
        case list():
            return [turn(item) for item in value]
        case dict():
            return {key: turn(value[key]) for key in reversed(value)}
        case _:
            return value


@given(numbers, st.sampled_from([*ARITHMETIC]), numbers)
def test_arithmetic_is_that_of_fractions(left: Any, operator: BinaryOperator, right: Any) -> None:
    result = outcome(lambda: ARITHMETIC[operator](left, right))

    if operator is BinaryOperator.DIVIDE and right == 0:
        assert result is EvaluationError
        return
    is_whole = type(left) is type(right) is int and operator is not BinaryOperator.DIVIDE
    # Only `/` of two INTs is rounded from the exact quotient; a FLOAT64 makes a FLOAT64 of an INT.
    if type(left) is not type(right):
        left, right = float(left), float(right)
    exact = {
        BinaryOperator.ADD: lambda: Fraction(left) + Fraction(right),
        BinaryOperator.SUBTRACT: lambda: Fraction(left) - Fraction(right),
        BinaryOperator.MULTIPLY: lambda: Fraction(left) * Fraction(right),
        BinaryOperator.DIVIDE: lambda: Fraction(left) / Fraction(right),
    }[operator]()
    expected = whole(exact) if is_whole else nearest(exact)
    assert type(result) is type(expected)
    assert result == expected


def whole(number: Fraction) -> Any:
    """Return the INT that a number is."""
    assert number.denominator == 1
    return number.numerator if INT_MIN <= number.numerator <= INT_MAX else EvaluationError


def nearest(number: Fraction) -> Any:
    """Return the FLOAT64 nearest to a number."""
    try:
        return float(number)
    except OverflowError:
        return EvaluationError


@given(st.one_of(st.booleans(), numbers, texts, dates, times, moments))
def test_what_becomes_a_text_reads_back(value: Any) -> None:
    text = convert(value, Kind.STRING)
    back = convert(text, kind_of(value))

    assert type(text) is str
    assert type(back) is type(value)
    assert back == value


@given(st.one_of(ints, floats))
def test_the_text_of_a_number_is_that_in_json(number: float) -> None:
    text = convert(number, Kind.STRING)

    assert text == render(number).decode()
    assert json.loads(render(number)) == number


@given(values, st.sampled_from(CONVERSION_TARGETS))
def test_a_conversion_has_a_value_of_its_kind_or_is_an_error(value: Any, target: Kind) -> None:
    result = outcome(lambda: convert(value, target))

    if value is None:
        assert result is None
    elif kind_of(value) not in CONVERSIONS[target]:
        assert result is EvaluationError
    else:
        assert result is EvaluationError or kind_of(result) is target
        if target is Kind.STRING or kind_of(value) is target:
            assert result is not EvaluationError


# Nothing in such texts is a number to Python and not to EventQL.
number_texts = st.from_regex(
    r"[+-]?[0-9]{0,25}(\.[0-9]{0,5})?([eE][+-]?[0-9]{0,4})?", fullmatch=True
)


@given(number_texts)
@example("-10000000000000000000")
@example("-9223372036854775808")
def test_a_text_is_an_int_if_python_says_so_and_it_fits(text: str) -> None:
    try:
        expected: Any = whole(Fraction(int(text)))
    except ValueError:
        expected = EvaluationError

    assert outcome(lambda: convert(text, Kind.INT)) == expected


@given(number_texts)
def test_a_text_is_a_float_if_python_says_so_and_it_is_finite(text: str) -> None:
    try:
        expected: Any = float(text)
    except ValueError:
        expected = EvaluationError

    found = outcome(lambda: convert(text, Kind.FLOAT64))
    assert found == (EvaluationError if expected in {math.inf, -math.inf} else expected)


@given(texts)
@example("\u0661")
@example("1_0")
@example("nan")
def test_no_text_makes_a_conversion_crash(text: str) -> None:
    for target in CONVERSION_TARGETS:
        outcome(partial(convert, text, target))


@given(moments)
def test_a_moment_is_its_date_and_its_time(moment: DateTime) -> None:
    date, time = datetimes.date_of(moment), datetimes.time_of(moment)

    assert datetimes.midnight_of(date).nanoseconds + time.nanoseconds == moment.nanoseconds
    assert datetimes.format_datetime(moment) == (
        f"{datetimes.format_date(date)}T{datetimes.format_time(time)}Z"
    )


@given(moments, moments)
def test_moments_are_ordered_as_they_follow_each_other(left: DateTime, right: DateTime) -> None:
    assert is_less(left, right) is (left.nanoseconds < right.nanoseconds)
    if is_less_or_equal(left, right):
        assert is_less_or_equal(datetimes.date_of(left), datetimes.date_of(right))


@given(st.integers(1, 2_932_897 * DAY - 1).filter(lambda time: time % 10**9 != 0))
def test_the_time_of_an_event_is_written_as_it_was_stored(time: int) -> None:
    text = format_event_time(time)

    assert datetimes.parse_event_time(text) == datetimes.parse_datetime(text) == DateTime(time)
    assert render(DateTime(time)).decode() == f'"{text}"'


@given(values)
def test_what_is_rendered_is_json_of_the_same_value(value: Any) -> None:
    decoded = msgspec.json.decode(render(value))

    assert equals(from_json(decoded), readable(value))
    assert render(decoded) == render(value)


def readable(value: Any) -> Any:
    """Return a value with texts for dates and times."""
    match value:
        case Date() | Time() | DateTime():
            return convert(value, Kind.STRING)
        case list():
            return [readable(item) for item in value]
        case dict():
            return {key: readable(item) for key, item in value.items()}
        case _:
            return value


@given(
    st.dictionaries(
        texts, st.integers() | st.integers(10**305, 10**310) | floats | texts, max_size=4
    )
)
def test_whatever_is_stored_becomes_a_value_or_an_error(stored: dict[str, Any]) -> None:
    try:
        _, data = parse_data(msgspec.json.encode(stored))
    except RefusedError:
        return
    record = outcome(lambda: from_json(data))

    if record is not EvaluationError:
        for key, number in stored.items():
            assert equals(record[key], nearest_value(number))


def nearest_value(stored: Any) -> Any:
    is_large = type(stored) is int and not INT_MIN <= stored <= INT_MAX
    return nearest(Fraction(stored)) if is_large else stored


@given(floats)
def test_rounding_goes_to_the_nearest_whole_number_and_away_from_zero(number: float) -> None:
    rounded = scalars.round_half_away(number)
    magnitude = math.floor(abs(Fraction(number)) + Fraction(1, 2))

    assert rounded == (magnitude if number > 0 else -magnitude)
    assert scalars.floor(number) == math.floor(number)
    assert scalars.ceiling(number) == math.ceil(number)


@given(texts, texts, st.integers(0, 8), st.integers(0, 8))
def test_texts_are_made_of_code_points(text: str, part: str, start: int, length: int) -> None:
    points = [*text]

    assert scalars.length(text) == len(points)
    assert scalars.substring(text, start) == "".join(points[start:])
    assert scalars.substring(text, start, length) == "".join(points[start : start + length])
    position = scalars.position_in(text, part)
    assert (position > 0) is (part in text)
    assert position == 0 or scalars.starts_with(scalars.substring(text, position - 1), part)
    assert scalars.replace(text, part, "") == (text.replace(part, "") if part else text)


def accumulate(name: str, added: list[Any]) -> Any:
    accumulator: Accumulator = AGGREGATES[name].start()

    def result() -> Value:
        for value in added:
            accumulator.add(value)
        return accumulator.result()

    return outcome(result)


def of_fractions(compute: Callable[[list[Fraction]], Fraction], added: list[Any]) -> Any:
    return nearest(compute([Fraction(value) for value in added])) if added else None


def sum_of(added: list[Any]) -> Any:
    exact = sum(map(Fraction, added), Fraction(0))
    return nearest(exact) if any(type(value) is float for value in added) else whole(exact)


EXPECTED: dict[str, Callable[[list[Any]], Any]] = {
    "SUM": sum_of,
    "AVG": lambda added: of_fractions(statistics.mean, added),
    "MIN": lambda added: min(added, default=None),
    "MAX": lambda added: max(added, default=None),
    "MEDIAN": lambda added: of_fractions(statistics.median, added),
    "VARIANCE": lambda added: of_fractions(statistics.pvariance, added),
}

# More than are added at once.
many_numbers = st.lists(numbers, max_size=8) | st.lists(numbers, min_size=30, max_size=70)


@pytest.mark.slow
@given(many_numbers, st.randoms(use_true_random=False))
@example([1.7e308] * 40 + [-1.7e308] * 40, None)
@example([INT_MAX, INT_MAX, -INT_MAX], None)
def test_aggregates_are_those_of_fractions_in_any_order(added: list[Any], random: Any) -> None:
    turned = [*added]
    if random is not None:
        random.shuffle(turned)
    for name, compute in EXPECTED.items():
        expected = compute(added)

        assert accumulate(name, added) == expected
        assert accumulate(name, turned) == expected
        if name not in {"MIN", "MAX"}:
            # Of 1 and 1.0 they return the first.
            assert type(accumulate(name, turned)) is type(expected)


@pytest.mark.slow
@given(many_numbers)
def test_a_deviation_is_the_float_nearest_to_the_square_root(added: list[Any]) -> None:
    deviation = accumulate("STDDEV", added)

    if not added:
        assert deviation is None
    elif deviation is not EvaluationError:
        variance = statistics.pvariance([Fraction(value) for value in added])
        below = Fraction(deviation) - Fraction(math.ulp(deviation)) / 2
        above = Fraction(deviation) + Fraction(math.ulp(deviation)) / 2
        assert below <= 0 or below * below <= variance
        assert variance <= above * above


@given(st.lists(st.booleans()))
def test_counting_is_adding_up(conditions: list[bool]) -> None:
    assert accumulate("COUNT", conditions) == sum(conditions)


@given(st.lists(values.filter(lambda value: value is not None), max_size=4))
def test_an_extreme_needs_one_kind_that_has_an_order(added: list[Any]) -> None:
    ranks = {sort_key(value)[0] for value in added}
    has_order = not any(kind_of(value) in ARRAY | RECORD for value in added)
    least, greatest = accumulate("MIN", added), accumulate("MAX", added)

    if len(ranks) > 1 or not has_order:
        assert least is greatest is EvaluationError
    elif added:
        assert equals(least, min(added, key=sort_key))
        assert equals(greatest, max(added, key=sort_key))
