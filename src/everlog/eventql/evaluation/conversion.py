"""Conversions: `value AS TYPE`.

Nothing is converted unasked, and what is asked for succeeds wholly or is an error: texts have no
space around them, no digits but ASCII ones, and no names for infinity. NULL stays NULL. Arrays
and records cannot be converted, and nothing can be converted to them.
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from everlog.eventql.evaluation.comparison import KINDS, kind_of
from everlog.eventql.evaluation.datetimes import (
    date_of,
    format_date,
    format_datetime,
    format_time,
    midnight_of,
    parse_date,
    parse_datetime,
    parse_time,
    time_of,
)
from everlog.eventql.evaluation.rendering import format_float, quote
from everlog.eventql.evaluation.values import INT_MAX, INT_MIN, EvaluationError, Value
from everlog.eventql.types import Kind

_INTEGER: Final = re.compile(r"[+-]?\d+", re.ASCII)
_NUMBER: Final = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)

# As many as the largest INT has.
_INT_DIGITS_MAX: Final = 19
_NO_INT: Final = "it is beyond the range of INT"

_BOOLEANS: Final = {"true": True, "false": False}
_BOOLEAN_LENGTH_MAX: Final = 5


def convert(value: Any, target: Kind) -> Value:
    """Evaluate `value AS target`.

    Raises:
        EvaluationError: The value has no counterpart of that kind.
    """
    conversion = _CONVERSIONS_BY_TYPE[target].get(type(value))
    if conversion is None:
        if value is None:
            return None
        raise EvaluationError(f"cannot convert {kind_of(value)} to {target}")
    try:
        return conversion(value)
    except ValueError as error:
        raise EvaluationError(f"cannot convert {quote(value)} to {target}: {error}") from error


def _parse_int(text: str) -> int:
    # Most are short and without a sign, as the ids of events are.
    if len(text) < _INT_DIGITS_MAX and text.isdecimal() and text.isascii():
        return int(text)
    if _INTEGER.fullmatch(text) is None:
        raise ValueError("an INT looks like 42 or -42")
    digits = text.lstrip("+-").lstrip("0") or "0"
    # Reading thousands of digits takes long, just to find that they are too many.
    if len(digits) > _INT_DIGITS_MAX:
        raise ValueError(_NO_INT)
    return _fitting_int(-int(digits) if text[0] == "-" else int(digits))


def _parse_float(text: str) -> float:
    # However long: unlike `int`, `float` takes no longer for a digit of many than for one of few.
    if _NUMBER.fullmatch(text) is None:
        raise ValueError("a FLOAT64 looks like 42, -4.2 or 4.2e10")
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("it is beyond the range of FLOAT64")
    return number


def _parse_boolean(text: str) -> bool:
    boolean = _BOOLEANS.get(text.lower()) if len(text) <= _BOOLEAN_LENGTH_MAX else None
    if boolean is None:
        raise ValueError("a BOOLEAN is 'true' or 'false'")
    return boolean


def _truncate(number: float) -> int:
    return _fitting_int(int(number))


def _fitting_int(number: int) -> int:
    if INT_MIN <= number <= INT_MAX:
        return number
    raise ValueError(_NO_INT)


def _format_boolean(value: bool) -> str:  # noqa: FBT001 - the value to convert.
    return "true" if value else "false"


def _keep(value: Value) -> Value:
    return value


# By target and source; what is not here is impossible. A conversion gets values of its source's
# kind, and raises ValueError with half a sentence that says why it cannot be.
CONVERSIONS: Final[Mapping[Kind, Mapping[Kind, Callable[[Any], Value]]]] = {
    Kind.STRING: {
        Kind.STRING: _keep,
        Kind.INT: str,
        Kind.FLOAT64: format_float,
        Kind.BOOLEAN: _format_boolean,
        Kind.DATE: format_date,
        Kind.TIME: format_time,
        Kind.DATETIME: format_datetime,
    },
    Kind.INT: {
        Kind.STRING: _parse_int,
        Kind.INT: _keep,
        Kind.FLOAT64: _truncate,
    },
    Kind.FLOAT64: {
        Kind.STRING: _parse_float,
        Kind.INT: float,
        Kind.FLOAT64: _keep,
    },
    Kind.BOOLEAN: {
        Kind.STRING: _parse_boolean,
        Kind.BOOLEAN: _keep,
    },
    Kind.DATE: {
        Kind.STRING: parse_date,
        Kind.DATE: _keep,
        Kind.DATETIME: date_of,
    },
    Kind.TIME: {
        Kind.STRING: parse_time,
        Kind.TIME: _keep,
        Kind.DATETIME: time_of,
    },
    Kind.DATETIME: {
        Kind.STRING: parse_datetime,
        Kind.DATE: midnight_of,
        Kind.DATETIME: _keep,
    },
}

# The same by Python's types, which `convert` is called with for each row.
_CONVERSIONS_BY_TYPE: Final = {
    target: {type_: sources[kind] for type_, kind in KINDS.items() if kind in sources}
    for target, sources in CONVERSIONS.items()
}


def convertible_to(target: Kind) -> frozenset[Kind]:
    """Return the kinds of which at least some values can be converted; NULL always can."""
    return frozenset({Kind.NULL, *CONVERSIONS[target]})
