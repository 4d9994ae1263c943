"""Conversions: `value AS TYPE`, and values as JSON.

Nothing is converted unasked, and what is asked for succeeds wholly or is an error: texts have no
space around them, no digits but ASCII ones, and no names for infinity. NULL stays NULL. Arrays
and records cannot be converted, and nothing can be converted to them.

In JSON, a whole FLOAT64 is written without a fraction, 2.0 as `2`, and every number with as few
digits as read back as the same number. Dates and times are strings. There is no NaN and no
infinity.
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

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
from everlog.eventql.evaluation.operators import KINDS, kind_of
from everlog.eventql.evaluation.values import (
    INT_MAX,
    INT_MIN,
    Date,
    DateTime,
    EvaluationError,
    Time,
    Value,
)
from everlog.eventql.types import DATE, DATETIME, NUMBER, Kind, Type

_encode: Final = msgspec.json.Encoder().encode

# Below, all digits of a whole float are written out anyway, so that those of an int are the same.
_WHOLE_FLOAT_MAX: Final = 1e16

_QUOTED_LENGTH_MAX: Final = 40


# --- JSON


def render(value: Value) -> bytes:
    """Return the JSON text of a value."""
    return _encode(to_json(value))


def to_json(value: Any) -> Any:
    """Return what the JSON encoder of msgspec writes as `render` would; the value stays as it is.

    What needs no change is not copied.
    """
    convert = _TO_JSON.get(type(value))
    return value if convert is None else convert(value)


def _array_to_json(array: list[Any]) -> list[Any]:
    for item in array:
        if type(item) in _TO_JSON:
            return [*map(to_json, array)]
    return array


def _record_to_json(record: dict[str, Any]) -> dict[str, Any]:
    for item in record.values():
        if type(item) in _TO_JSON:
            return dict(zip(record, map(to_json, record.values()), strict=True))
    return record


def _float_to_json(number: float) -> int | float:
    if number.is_integer():
        return int(number) if abs(number) < _WHOLE_FLOAT_MAX else number
    # The encoder would write null, and the operators let no such number come to be.
    assert math.isfinite(number)
    return number


_TO_JSON: Final[dict[type, Callable[[Any], Any]]] = {
    float: _float_to_json,
    Date: format_date,
    Time: format_time,
    DateTime: format_datetime,
    list: _array_to_json,
    dict: _record_to_json,
}


def format_float(number: float) -> str:
    """Return the text of a number as it is in JSON."""
    return render(number).decode()


def quote(value: Value) -> str:
    """Return a value as an error quotes it: as JSON, and not more than its beginning."""
    if isinstance(value, str) and len(value) > _QUOTED_LENGTH_MAX:
        return f"{render(value[:_QUOTED_LENGTH_MAX]).decode()}..."
    return render(value).decode()


def size_of(value: Any, *, enough: int) -> int:
    """Return how many items, keys and characters of strings a value has together.

    A query can build a value that is small in memory and endless when it is written, since parts
    of it may be the same object. So counting ends with any number above `enough`.
    """
    size = 0
    pending = [value]
    while pending and size <= enough:
        item = pending.pop()
        kind = type(item)
        if kind is str:
            size += len(item)
        elif kind is list:
            size += len(item)
            pending.extend(item)
        elif kind is dict:
            size += len(item)
            pending.extend(item)
            pending.extend(item.values())
    return size


def check_size(value: Any, *, size_max: int) -> None:
    """Refuse a value whose size is larger, before it is rendered or compared.

    Raises:
        EvaluationError: It is.
    """
    if size_of(value, enough=size_max) > size_max:
        raise EvaluationError(
            f"the value is too large: it has more than {size_max} items and characters"
        )


# --- AS


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


# Conversions that succeed for all values of a kind, apart from those of a kind to itself.
_ALWAYS_CONVERTED: Final[Mapping[Kind, Type]] = {
    Kind.STRING: frozenset(CONVERSIONS[Kind.STRING]),
    Kind.FLOAT64: NUMBER,
    Kind.DATE: DATETIME,
    Kind.TIME: DATETIME,
    Kind.DATETIME: DATE,
}


def always_convertible_to(target: Kind) -> Type:
    """Return the kinds all of whose values can be converted."""
    return _ALWAYS_CONVERTED.get(target, frozenset()) | {Kind.NULL, target}


def convertible_to(target: Kind) -> frozenset[Kind]:
    """Return the kinds of which at least some values can be converted; NULL always can."""
    return frozenset({Kind.NULL, *CONVERSIONS[target]})
