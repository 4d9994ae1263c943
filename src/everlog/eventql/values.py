"""Values: what expressions evaluate to.

NULL is None, BOOLEAN bool, INT an int of 64 bits, FLOAT64 a finite float, STRING str, array a
list, record a dict; dates and times are the classes below. A JSON number is an INT if it is
written without fraction and exponent and fits into 64 bits, and a FLOAT64 otherwise.
"""

from typing import Any

import msgspec


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
