"""Arithmetic: `+`, `-`, `*`, `/` and the signs.

NULL with anything is NULL. INT with INT is INT, except for `/`, and an error where it does not
fit into 64 bits; everything else is FLOAT64, and an error where it is not finite. `/` rounds the
exact quotient, once. There is no arithmetic on strings, dates and times.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from everlog.eventql.evaluation.comparison import kind_of
from everlog.eventql.evaluation.values import INT_MAX, INT_MIN, EvaluationError, Value
from everlog.eventql.language.syntax import BinaryOperator, UnaryOperator
from everlog.eventql.types import Kind

# Operands are `Any`: mypy does not follow `type(x) in ...`, which tells numbers from BOOLEAN.
_NUMBERS: Final = frozenset({int, float})


def add(left: Any, right: Any) -> Value:
    """Evaluate `left + right`."""
    if type(left) in _NUMBERS and type(right) in _NUMBERS:
        return fitting(left + right)
    return _null_of("+", left, right)


def subtract(left: Any, right: Any) -> Value:
    """Evaluate `left - right`."""
    if type(left) in _NUMBERS and type(right) in _NUMBERS:
        return fitting(left - right)
    return _null_of("-", left, right)


def multiply(left: Any, right: Any) -> Value:
    """Evaluate `left * right`."""
    if type(left) in _NUMBERS and type(right) in _NUMBERS:
        return fitting(left * right)
    return _null_of("*", left, right)


def divide(left: Any, right: Any) -> Value:
    """Evaluate `left / right`, which is FLOAT64 for INTs too."""
    if type(left) in _NUMBERS and type(right) in _NUMBERS:
        if right == 0:
            raise EvaluationError("division by zero")
        return fitting(left / right)
    return _null_of("/", left, right)


def negate(operand: Any) -> Value:
    """Evaluate `-operand`."""
    if type(operand) in _NUMBERS:
        return fitting(-operand)
    return _null_of("-", operand)


def keep_sign(operand: Any) -> Value:
    """Evaluate `+operand`."""
    if type(operand) in _NUMBERS:
        return fitting(operand)
    return _null_of("+", operand)


ARITHMETIC: Final[Mapping[BinaryOperator, Callable[[Any, Any], Value]]] = {
    BinaryOperator.ADD: add,
    BinaryOperator.SUBTRACT: subtract,
    BinaryOperator.MULTIPLY: multiply,
    BinaryOperator.DIVIDE: divide,
}

SIGNS: Final[Mapping[UnaryOperator, Callable[[Any], Value]]] = {
    UnaryOperator.PLUS: keep_sign,
    UnaryOperator.MINUS: negate,
}


def fitting(result: float) -> float:
    """Return a number that is a value.

    Raises:
        EvaluationError: An int has more than 64 bits, or a float is not finite.
    """
    if type(result) is int:
        if INT_MIN <= result <= INT_MAX:
            return result
        kind = Kind.INT
    else:
        if math.isfinite(result):
            return result
        kind = Kind.FLOAT64
    raise EvaluationError(f"the result is beyond the range of {kind}")


def _null_of(operator: str, *operands: Value) -> Value:
    """Return NULL where an operand is NULL; there is no other value without numbers."""
    if None not in operands:
        found = " and ".join(kind_of(operand) for operand in operands)
        expected = "a number" if len(operands) == 1 else "numbers"
        raise EvaluationError(f"'{operator}' expects {expected}, but found {found}")
    return None
