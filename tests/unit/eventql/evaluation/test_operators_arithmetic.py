import pytest

from everlog.eventql.evaluation.operators import ARITHMETIC, SIGNS
from everlog.eventql.evaluation.values import INT_MAX, INT_MIN, Date, DateTime, Value
from everlog.eventql.types import BinaryOperator, UnaryOperator
from tests.support.eventql.unevaluable import check_unevaluable

FLOAT_MAX = 1.7976931348623157e308


@pytest.mark.parametrize(
    "left, operator, right, expected",
    [
        (1, "+", 2, 3),
        (1, "+", 2.5, 3.5),
        (1.5, "+", 1.5, 3.0),
        (INT_MAX - 1, "+", 1, INT_MAX),
        (INT_MAX, "+", 1.0, 9223372036854775808.0),
        (1, "-", 2, -1),
        (INT_MIN + 1, "-", 1, INT_MIN),
        (0.3, "-", 0.1, 0.19999999999999998),
        (6, "*", 7, 42),
        (2**32, "*", -(2**31), INT_MIN),
        (6, "*", 0.5, 3.0),
        (7, "/", 2, 3.5),
        (4, "/", 2, 2.0),
        (-7, "/", 2, -3.5),
        (0, "/", 5, 0.0),
        # Both operands as FLOAT64 would give 1.
        (INT_MAX, "/", INT_MAX - 1024, 1.0000000000000002),
        (1e-300, "*", 1e-300, 0.0),
        (1, "/", FLOAT_MAX, 5.562684646268003e-309),
    ],
)
def test_calculates(left: Value, operator: str, right: Value, expected: Value) -> None:
    result = ARITHMETIC[BinaryOperator(operator)](left, right)

    assert type(result) is type(expected)
    assert result == expected


@pytest.mark.parametrize(
    "operator, operand, expected",
    [
        ("-", 5, -5),
        ("-", -5.5, 5.5),
        ("-", INT_MAX, INT_MIN + 1),
        ("+", 5, 5),
        ("+", INT_MIN, INT_MIN),
        ("+", -5.5, -5.5),
        ("-", None, None),
        ("+", None, None),
    ],
)
def test_signs_numbers(operator: str, operand: Value, expected: Value) -> None:
    result = SIGNS[UnaryOperator(operator)](operand)

    assert type(result) is type(expected)
    assert result == expected


@pytest.mark.parametrize("operator", ARITHMETIC)
@pytest.mark.parametrize("other", [None, 1, 0, 1.5, "a", True, Date(0), []])
def test_null_with_anything_is_null(operator: BinaryOperator, other: Value) -> None:
    assert ARITHMETIC[operator](None, other) is None
    assert ARITHMETIC[operator](other, None) is None


@pytest.mark.parametrize(
    "left, operator, right, kind",
    [
        (INT_MAX, "+", 1, "INT"),
        (INT_MIN, "-", 1, "INT"),
        (2**32, "*", 2**31, "INT"),
        (FLOAT_MAX, "+", FLOAT_MAX, "FLOAT64"),
        (-FLOAT_MAX, "-", FLOAT_MAX, "FLOAT64"),
        (1e200, "*", 1e200, "FLOAT64"),
        (1, "/", 5e-324, "FLOAT64"),
    ],
)
def test_a_result_out_of_range_is_an_error(
    left: Value, operator: str, right: Value, kind: str
) -> None:
    check_unevaluable(
        lambda: ARITHMETIC[BinaryOperator(operator)](left, right),
        f"the result is beyond the range of {kind}",
    )


def test_the_least_int_has_no_counterpart() -> None:
    check_unevaluable(
        lambda: SIGNS[UnaryOperator.MINUS](INT_MIN), "the result is beyond the range of INT"
    )


@pytest.mark.parametrize("left", [1, 1.5, 0, 0.0])
@pytest.mark.parametrize("right", [0, 0.0, -0.0])
def test_nothing_is_divided_by_zero(left: Value, right: Value) -> None:
    check_unevaluable(lambda: ARITHMETIC[BinaryOperator.DIVIDE](left, right), "division by zero")


@pytest.mark.parametrize("operator", ARITHMETIC)
@pytest.mark.parametrize(
    "left, right, kinds",
    [
        ("a", "b", "STRING and STRING"),
        (1, "1", "INT and STRING"),
        (True, 1, "BOOLEAN and INT"),
        (1.5, False, "FLOAT64 and BOOLEAN"),
        (DateTime(1), DateTime(0), "DATETIME and DATETIME"),
        ([1], 1, "array and INT"),
        ({}, 1, "record and INT"),
    ],
)
def test_only_numbers_are_calculated_with(
    operator: BinaryOperator, left: Value, right: Value, kinds: str
) -> None:
    check_unevaluable(
        lambda: ARITHMETIC[operator](left, right),
        f"'{operator}' expects numbers, but found {kinds}",
    )


@pytest.mark.parametrize("operator", SIGNS)
@pytest.mark.parametrize("operand, kind", [("1", "STRING"), (True, "BOOLEAN"), ([], "array")])
def test_only_numbers_have_a_sign(operator: UnaryOperator, operand: Value, kind: str) -> None:
    check_unevaluable(
        lambda: SIGNS[operator](operand), f"'{operator}' expects a number, but found {kind}"
    )
