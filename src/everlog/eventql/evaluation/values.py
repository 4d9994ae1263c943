"""Values: what expressions evaluate to.

NULL is None, BOOLEAN bool, INT an int of 64 bits, FLOAT64 a finite float, STRING str, array a
list, record a dict; dates and times are the classes below. A JSON number is an INT if it is
written without fraction and exponent and fits into 64 bits, and a FLOAT64 otherwise.
"""

from typing import Any, Final

import msgspec

INT_MIN: Final = -(2**63)
INT_MAX: Final = 2**63 - 1

# The number itself is not quoted: it has more than 300 digits.
BEYOND_FLOAT64: Final = "a number is beyond the range of FLOAT64"


class Date(msgspec.Struct, frozen=True, order=True):
    """A day of the proleptic Gregorian calendar; `days` counts from 1970-01-01."""

    days: int


class Time(msgspec.Struct, frozen=True, order=True):
    """A time of day, in nanoseconds since midnight."""

    nanoseconds: int


class DateTime(msgspec.Struct, frozen=True, order=True):
    """A moment, in nanoseconds since 1970 UTC, of the years 1 to 9999."""

    nanoseconds: int


# Items of lists and dicts are values too.
Value = bool | int | float | str | Date | Time | DateTime | list[Any] | dict[str, Any] | None


class EvaluationError(Exception):
    """An operation that its operands do not allow; the message is a sentence for a person.

    Whoever evaluates adds the expression's place and the event.
    """


def from_json(decoded: Any) -> Any:
    """Return decoded JSON as a value; integers beyond 64 bits become FLOAT64.

    Arrays and records are changed in place: they belong to whoever decoded them.

    Raises:
        EvaluationError: An integer is beyond the range of FLOAT64 too.
    """
    kind = type(decoded)
    if kind is int:
        return decoded if INT_MIN <= decoded <= INT_MAX else _nearest_float(decoded)
    if kind is dict:
        for key, item in decoded.items():
            if type(item) in _CHANGEABLE:
                decoded[key] = from_json(item)
    elif kind is list:
        for index, item in enumerate(decoded):
            if type(item) in _CHANGEABLE:
                decoded[index] = from_json(item)
    return decoded


_CHANGEABLE: Final = frozenset({int, dict, list})


def _nearest_float(number: int) -> float:
    try:
        return float(number)
    except OverflowError as error:
        raise EvaluationError(BEYOND_FLOAT64) from error
