"""Operators: what `==`, `<`, `CONTAINS`, `+`, `AND` and all others make of values.

Comparing knows more than a query asks of each row: `equals` and `sort_key` know all values, and
the operators `<` to `>=` are FALSE where a value is NULL. Numbers are compared exactly, INT with
FLOAT64 too. A BOOLEAN is not a number, whatever Python thinks. Nested values take one frame of
the stack for each level, and cannot be nested deeply: stored data has its limit, and so has what
a query makes of it (`VALUE_DEPTH_MAX`).

Arithmetic with NULL is NULL. INT with INT is INT, except for `/`, and an error where it does not
fit into 64 bits; everything else is FLOAT64, and an error where it is not finite. `/` rounds the
exact quotient, once. There is no arithmetic on strings, dates and times.

Connectives take BOOLEANs only. AND and OR do not look at the second where the first one decides;
that it is not evaluated either is left to whoever evaluates.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from everlog.eventql.evaluation.values import (
    INT_MAX,
    INT_MIN,
    Date,
    DateTime,
    EvaluationError,
    Time,
    Value,
)
from everlog.eventql.types import BinaryOperator, Kind, UnaryOperator

KINDS: Final[Mapping[type, Kind]] = {
    type(None): Kind.NULL,
    bool: Kind.BOOLEAN,
    int: Kind.INT,
    float: Kind.FLOAT64,
    str: Kind.STRING,
    Date: Kind.DATE,
    Time: Kind.TIME,
    DateTime: Kind.DATETIME,
    list: Kind.ARRAY,
    dict: Kind.RECORD,
}
"""The kind of each Python type that a value can have."""

_NUMBERS: Final = frozenset({int, float})
_ORDERED: Final = frozenset({bool, int, float, str, Date, Time, DateTime})

# The order of kinds in ORDER BY; numbers share one rank.
_RANKS: Final[dict[type, int]] = {
    type(None): 0,
    bool: 1,
    int: 2,
    float: 2,
    str: 3,
    Date: 4,
    Time: 5,
    DateTime: 6,
    list: 7,
    dict: 8,
}


def kind_of(value: Value) -> Kind:
    """Return what kind of value it is."""
    return KINDS[type(value)]


# --- Comparing


def equals(left: Any, right: Any) -> bool:
    """Tell whether two values are the same; those of different kinds never are.

    INT and FLOAT64 are one kind here, NULL equals NULL, and the order of keys means nothing.
    """
    kind = type(left)
    if kind is not type(right):
        return kind in _NUMBERS and type(right) in _NUMBERS and bool(left == right)
    # `map`, since a generator would take a second frame for each level.
    if kind is list:
        return len(left) == len(right) and all(map(equals, left, right))
    if kind is dict:
        if left.keys() != right.keys():
            return False
        return all(map(equals, left.values(), map(right.__getitem__, left)))
    return bool(left == right)


def contains(array: Any, value: Any) -> bool:
    """Tell whether an item of an array equals a value; NULL contains nothing.

    Raises:
        EvaluationError: The first value is neither an array nor NULL.
    """
    if type(array) is list:
        if type(value) is str:
            # Only a string equals a string, so that Python's own search is right.
            return value in array
        return any(equals(item, value) for item in array)
    if array is None:
        return False
    raise EvaluationError(f"CONTAINS expects an array on its left, but found {kind_of(array)}")


def is_less(left: Any, right: Any) -> bool:
    """Evaluate `left < right`."""
    return are_comparable("'<'", left, right) and bool(left < right)


def is_less_or_equal(left: Any, right: Any) -> bool:
    """Evaluate `left <= right`."""
    return are_comparable("'<='", left, right) and bool(left <= right)


def is_greater(left: Any, right: Any) -> bool:
    """Evaluate `left > right`."""
    return are_comparable("'>'", left, right) and bool(left > right)


def is_greater_or_equal(left: Any, right: Any) -> bool:
    """Evaluate `left >= right`."""
    return are_comparable("'>='", left, right) and bool(left >= right)


def are_comparable(operation: str, left: Any, right: Any) -> bool:
    """Tell whether two values have an order; they have none if one of them is NULL.

    Raises:
        EvaluationError: They are of different kinds, or arrays, or records.
    """
    kind = type(left)
    if kind is type(right):
        if kind in _ORDERED:
            return True
    elif kind in _NUMBERS and type(right) in _NUMBERS:
        return True
    if left is None or right is None:
        return False
    raise EvaluationError(f"{operation} cannot compare {kind_of(left)} with {kind_of(right)}")


ORDER_OPERATORS: Final[Mapping[BinaryOperator, Callable[[Any, Any], bool]]] = {
    BinaryOperator.LESS: is_less,
    BinaryOperator.LESS_OR_EQUAL: is_less_or_equal,
    BinaryOperator.GREATER: is_greater,
    BinaryOperator.GREATER_OR_EQUAL: is_greater_or_equal,
}


def sort_key(value: Any) -> tuple[Any, ...]:
    """Return a key that sorts like ORDER BY: by kind, and then within the kind.

    Kinds follow each other as NULL, BOOLEAN, numbers, STRING, DATE, TIME, DATETIME, array, record.
    Arrays compare item by item, records entry by entry in the order of their keys. Values that are
    equal have equal keys.
    """
    kind = type(value)
    rank = _RANKS[kind]
    # Nested keys are flat, rank and items in one tuple, since comparing tuples takes stack too.
    if kind is list:
        return (rank, *map(sort_key, value))
    if kind is dict:
        key: list[Any] = [rank]
        for name in sorted(value):
            key.append(name)
            key.append(sort_key(value[name]))
        return tuple(key)
    return (rank, value)


def identity_key(value: Any) -> Any:
    """Return a hashable key; two values have the same one if, and only if, they are equal.

    A value that is neither BOOLEAN, array nor record is its own key.
    """
    kind = type(value)
    # Python takes True for 1, and cannot hash lists and dicts; a tuple is never a value itself.
    if kind is bool:
        return _IS_TRUE if value else _IS_FALSE
    if kind is list or kind is dict:
        return sort_key(value)
    return value


_IS_TRUE: Final = sort_key(True)  # noqa: FBT003 - the value that the key is for.
_IS_FALSE: Final = sort_key(False)  # noqa: FBT003 - as above.


# --- Arithmetic


# Operands are `Any`: mypy does not follow `type(x) in ...`, which tells numbers from BOOLEAN.


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


# --- Connectives


def conjoin(left: Any, right: Any) -> bool:
    """Evaluate `left AND right`."""
    return boolean_of(left, "AND") and boolean_of(right, "AND")


def disjoin(left: Any, right: Any) -> bool:
    """Evaluate `left OR right`."""
    return boolean_of(left, "OR") or boolean_of(right, "OR")


def differ(left: Any, right: Any) -> bool:
    """Evaluate `left XOR right`."""
    return boolean_of(left, "XOR") is not boolean_of(right, "XOR")


def invert(operand: Any) -> bool:
    """Evaluate `NOT operand`."""
    return not boolean_of(operand, "NOT")


def boolean_of(value: Any, what: str) -> bool:
    """Return a BOOLEAN; any other value is an error of what asks for it."""
    if value is True or value is False:
        return bool(value)
    raise EvaluationError(f"{what} expects a BOOLEAN, but found {kind_of(value)}")


def _equals_not(left: Any, right: Any) -> bool:
    return not equals(left, right)


UNARY_OPERATORS: Final[Mapping[UnaryOperator, Callable[[Any], Value]]] = {
    **SIGNS,
    UnaryOperator.NOT: invert,
}

BINARY_OPERATORS: Final[Mapping[BinaryOperator, Callable[[Any, Any], Value]]] = {
    **ARITHMETIC,
    **ORDER_OPERATORS,
    BinaryOperator.EQUAL: equals,
    BinaryOperator.NOT_EQUAL: _equals_not,
    BinaryOperator.CONTAINS: contains,
    BinaryOperator.AND: conjoin,
    BinaryOperator.OR: disjoin,
    BinaryOperator.XOR: differ,
}
