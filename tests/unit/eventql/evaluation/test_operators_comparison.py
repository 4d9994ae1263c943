import itertools
from collections.abc import Callable
from typing import Any

import pytest

from everlog.eventql.evaluation.operators import (
    ORDER_OPERATORS,
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
from everlog.eventql.evaluation.values import Date, DateTime, Time, Value
from everlog.eventql.types import BinaryOperator, Kind
from tests.support.eventql.unevaluable import check_unevaluable

# Each value is less than the next one, within its kind and by kind.
ASCENDING: list[Any] = [
    None,
    False,
    True,
    -(2**63),
    -1.5,
    -1,
    0,
    0.5,
    1,
    2**53,
    2**53 + 1,
    2.0**53 + 2,
    1e300,
    "",
    "10",
    "9",
    "A",
    "a",
    "aa",
    "\ufb01",
    "\U0001f600",
    Date(-1),
    Date(0),
    Time(0),
    Time(1),
    DateTime(-1),
    DateTime(0),
    [],
    [None],
    [1],
    [1, 0],
    [1, "a"],
    [2],
    [[]],
    {},
    {"a": 1},
    {"a": 1, "b": 0},
    {"a": 2},
    {"b": 0},
]

# Each pair is equal, though not the same in Python, or not written in the same way.
EQUAL: list[tuple[Any, Any]] = [
    (1, 1.0),
    (0.0, -0.0),
    (2**53, 2.0**53),
    ([1, [2.0]], [1.0, [2]]),
    ({"a": 1, "b": [True]}, {"b": [True], "a": 1.0}),
]


def test_each_value_has_its_kind() -> None:
    kinds = [
        (None, Kind.NULL),
        (True, Kind.BOOLEAN),
        (1, Kind.INT),
        (1.0, Kind.FLOAT64),
        ("", Kind.STRING),
        (Date(0), Kind.DATE),
        (Time(0), Kind.TIME),
        (DateTime(0), Kind.DATETIME),
        ([], Kind.ARRAY),
        ({}, Kind.RECORD),
    ]

    assert [kind_of(value) for value, _ in kinds] == [kind for _, kind in kinds]
    assert {kind for _, kind in kinds} == set(Kind)


@pytest.mark.parametrize("value", ASCENDING)
def test_a_value_equals_itself(value: Value) -> None:
    check_equal(value, value)


@pytest.mark.parametrize("left, right", EQUAL)
def test_values_are_equal_whatever_their_form(left: Value, right: Value) -> None:
    check_equal(left, right)


def check_equal(left: Value, right: Value) -> None:
    assert equals(left, right)
    assert equals(right, left)
    assert sort_key(left) == sort_key(right)
    assert identity_key(left) == identity_key(right)
    assert hash(identity_key(left)) == hash(identity_key(right))


def test_values_that_differ_are_ordered_and_have_different_keys() -> None:
    for left, right in itertools.combinations(ASCENDING, 2):
        assert not equals(left, right), (left, right)
        assert not equals(right, left), (left, right)
        assert sort_key(left) < sort_key(right), (left, right)
        assert identity_key(left) != identity_key(right), (left, right)


@pytest.mark.parametrize(
    "left, right",
    [
        (True, 1),
        (False, 0.0),
        ("1", 1),
        ("", None),
        (False, None),
        (0, None),
        (Date(0), Time(0)),
        (Time(0), DateTime(0)),
        (Date(0), 0),
        ([], {}),
        ([True], [1]),
        ([[True]], [[1]]),
        ({"a": True}, {"a": 1}),
        ({"a": None}, {}),
        ({"a": 1}, {"b": 1}),
        ([1], 1),
        # What a careless key of TRUE would be.
        (True, [True]),
        (True, [1, True]),
    ],
)
def test_values_of_different_kinds_are_different(left: Value, right: Value) -> None:
    assert not equals(left, right)
    assert not equals(right, left)
    assert identity_key(left) != identity_key(right)


@pytest.mark.parametrize(
    "array, value, expected",
    [
        ([], 1, False),
        ([1, 2], 2, True),
        ([1, 2], 2.0, True),
        ([1.0], 1, True),
        ([1], True, False),
        ([True], 1, False),
        ([True], True, True),
        (["a", "b"], "b", True),
        (["a", 1, None, []], "b", False),
        (["1"], 1, False),
        ([None], None, True),
        ([0, False, "", []], None, False),
        ([[1]], [1.0], True),
        ([{"a": 1}], {"a": 1}, True),
        ([[True]], [1], False),
        (None, 1, False),
        (None, None, False),
    ],
)
def test_an_array_contains_what_equals_one_of_its_items(
    array: Value, value: Value, *, expected: bool
) -> None:
    assert contains(array, value) is expected


@pytest.mark.parametrize("array, kind", [("abc", "STRING"), ({"a": 1}, "record"), (1, "INT")])
def test_only_arrays_contain(array: Value, kind: str) -> None:
    check_unevaluable(
        lambda: contains(array, "a"), f"CONTAINS expects an array on its left, but found {kind}"
    )


Comparison = Callable[[Any, Any], bool]

OPERATORS: list[tuple[BinaryOperator, Comparison, tuple[bool, bool, bool]]] = [
    # The operator, its function, and what it says of less, equal and greater operands.
    (BinaryOperator.LESS, is_less, (True, False, False)),
    (BinaryOperator.LESS_OR_EQUAL, is_less_or_equal, (True, True, False)),
    (BinaryOperator.GREATER, is_greater, (False, False, True)),
    (BinaryOperator.GREATER_OR_EQUAL, is_greater_or_equal, (False, True, True)),
]


@pytest.mark.parametrize("operator, compare, answers", OPERATORS)
@pytest.mark.parametrize(
    "less, greater",
    [
        (1, 2),
        (1, 1.5),
        (0.5, 1),
        (2**53, 2**53 + 1),
        (2.0**53, 2**53 + 1),
        ("10", "9"),
        ("Z", "a"),
        ("\uffff", "\U00010000"),
        (False, True),
        (Date(-1), Date(1)),
        (Time(0), Time(1)),
        (DateTime(-1), DateTime(0)),
    ],
)
def test_values_of_one_kind_have_an_order(
    operator: BinaryOperator,
    compare: Comparison,
    answers: tuple[bool, bool, bool],
    less: Value,
    greater: Value,
) -> None:
    pairs = [(less, greater), (less, less), (greater, less)]

    for (left, right), expected in zip(pairs, answers, strict=True):
        assert compare(left, right) is expected
        assert ORDER_OPERATORS[operator](left, right) is expected


@pytest.mark.parametrize("operator", [row[0] for row in OPERATORS])
@pytest.mark.parametrize("other", [None, 1, "a", True, Date(0), [], {}])
def test_nothing_is_less_or_greater_than_null(operator: BinaryOperator, other: Value) -> None:
    assert ORDER_OPERATORS[operator](None, other) is False
    assert ORDER_OPERATORS[operator](other, None) is False


@pytest.mark.parametrize("operator", [row[0] for row in OPERATORS])
@pytest.mark.parametrize(
    "left, right, kinds",
    [
        (1, "1", "INT with STRING"),
        (True, 1, "BOOLEAN with INT"),
        (1.5, False, "FLOAT64 with BOOLEAN"),
        (DateTime(0), Date(0), "DATETIME with DATE"),
        (DateTime(0), "2026-11-23", "DATETIME with STRING"),
        ([1], [2], "array with array"),
        ({}, {}, "record with record"),
        (1, [1], "INT with array"),
    ],
)
def test_values_of_different_kinds_and_nested_ones_have_no_order(
    operator: BinaryOperator, left: Value, right: Value, kinds: str
) -> None:
    check_unevaluable(
        lambda: ORDER_OPERATORS[operator](left, right), f"'{operator}' cannot compare {kinds}"
    )


def test_values_may_be_nested_as_deeply_as_data_and_a_query_around_it() -> None:
    left: Value = []
    right: Value = []
    for _ in range(150):
        left = [{"a": left}]
        right = [{"a": right}]

    check_equal(left, right)
    assert sort_key(left) < sort_key([{"a": left}])
