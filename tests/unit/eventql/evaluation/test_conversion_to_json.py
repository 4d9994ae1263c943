import math
from typing import Any

import pytest

from everlog.eventql.evaluation.conversion import check_size, format_float, quote, render, to_json
from everlog.eventql.evaluation.values import INT_MAX, INT_MIN, Date, DateTime, Time, Value
from tests.support.eventql.unevaluable import check_unevaluable

NOON = 1_795_435_200_000_000_000


@pytest.mark.parametrize(
    "value, text",
    [
        (None, "null"),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (INT_MAX, "9223372036854775807"),
        (INT_MIN, "-9223372036854775808"),
        (2.0, "2"),
        (-2.0, "-2"),
        (0.0, "0"),
        (-0.0, "0"),
        (2.5, "2.5"),
        (0.1, "0.1"),
        (0.30000000000000004, "0.30000000000000004"),
        (9007199254740994.0, "9007199254740994"),
        (9999999999999998.0, "9999999999999998"),
        (1e16, "1e16"),
        (1.5e22, "1.5e22"),
        (-1e300, "-1e300"),
        (5e-324, "5e-324"),
        ("", '""'),
        ('a"\\\n\u00fc\u2028\U0001f600', '"a\\"\\\\\\n\u00fc\u2028\U0001f600"'),
        (Date(0), '"1970-01-01"'),
        (Time(45_000_250_000_000), '"12:30:00.25"'),
        (DateTime(NOON), '"2026-11-23T12:00:00Z"'),
        (DateTime(NOON + 10), '"2026-11-23T12:00:00.00000001Z"'),
        ([], "[]"),
        ({}, "{}"),
        ([1, 2.0, None, "a"], '[1,2,null,"a"]'),
        ({"b": 2.0, "a": 1.5}, '{"b":2,"a":1.5}'),
        ({"a": [{"b": Date(0), "c": 1.0}]}, '{"a":[{"b":"1970-01-01","c":1}]}'),
        ({"a": 1, "b": "x", "c": True, "d": None}, '{"a":1,"b":"x","c":true,"d":null}'),
    ],
)
def test_each_value_has_a_text(value: Value, text: str) -> None:
    assert render(value).decode() == text


def test_nothing_but_what_has_to_be_is_copied() -> None:
    plain = {"a": 1, "b": "x", "c": None}

    assert to_json(plain) is plain
    assert to_json([plain])[0] is plain


def test_the_value_stays_as_it_was() -> None:
    value: Any = {"a": 2.0, "b": [2.0, Date(0)]}

    render(value)

    assert repr(value) == "{'a': 2.0, 'b': [2.0, Date(days=0)]}"


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_what_is_no_value_is_never_written(number: float) -> None:
    with pytest.raises(AssertionError):
        render([number])


@pytest.mark.parametrize("number, text", [(2.0, "2"), (1e16, "1e16"), (0.00001, "0.00001")])
def test_a_number_reads_as_it_does_in_json(number: float, text: str) -> None:
    assert format_float(number) == text
    assert render(number).decode() == text


@pytest.mark.parametrize(
    "value, quoted",
    [
        ("abc", '"abc"'),
        ("\n", '"\\n"'),
        ("x" * 40, '"' + "x" * 40 + '"'),
        ("x" * 41, '"' + "x" * 40 + '"...'),
        (2.0, "2"),
        (True, "true"),
        (Date(0), '"1970-01-01"'),
    ],
)
def test_errors_quote_no_more_than_the_beginning_of_a_value(value: Value, quoted: str) -> None:
    assert quote(value) == quoted


@pytest.mark.parametrize(
    "value, size",
    [
        (1, 0),
        ("abc", 3),
        ([1, 2], 2),
        (["abc", [1]], 6),
        ({"ab": "c", "d": None}, 6),
    ],
)
def test_a_value_has_a_size(value: Value, size: int) -> None:
    check_size(value, size_max=size)
    if size:
        check_unevaluable(
            lambda: check_size(value, size_max=size - 1),
            f"the value is too large: it has more than {size - 1} items and characters",
        )


def test_the_size_is_that_of_the_text_and_not_that_in_memory() -> None:
    value: Value = "abcdefgh"
    for _ in range(100):
        value = [value, value]

    check_unevaluable(
        lambda: check_size(value, size_max=1_000_000),
        "the value is too large: it has more than 1000000 items and characters",
    )
