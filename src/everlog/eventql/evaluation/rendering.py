"""Rendering: values as JSON.

A whole FLOAT64 is written without a fraction, 2.0 as `2`, and every number with as few digits as
read back as the same number. Dates and times are strings. There is no NaN and no infinity.
"""

import math
from collections.abc import Callable
from typing import Any, Final

import msgspec

from everlog.eventql.evaluation.datetimes import format_date, format_datetime, format_time
from everlog.eventql.evaluation.values import Date, DateTime, EvaluationError, Time, Value

_encode: Final = msgspec.json.Encoder().encode

# Below, all digits of a whole float are written out anyway, so that those of an int are the same.
_WHOLE_FLOAT_MAX: Final = 1e16

_QUOTED_LENGTH_MAX: Final = 40


def render(value: Value) -> bytes:
    """Return the JSON text of a value."""
    return _encode(to_json(value))


def to_json(value: Any) -> Any:
    """Return what the JSON encoder of msgspec writes as `render` would; the value stays as it is.

    What needs no change is not copied.
    """
    convert = _CONVERSIONS.get(type(value))
    return value if convert is None else convert(value)


def _array_to_json(array: list[Any]) -> list[Any]:
    for item in array:
        if type(item) in _CONVERSIONS:
            return [*map(to_json, array)]
    return array


def _record_to_json(record: dict[str, Any]) -> dict[str, Any]:
    for item in record.values():
        if type(item) in _CONVERSIONS:
            return dict(zip(record, map(to_json, record.values()), strict=True))
    return record


def _float_to_json(number: float) -> int | float:
    if number.is_integer():
        return int(number) if abs(number) < _WHOLE_FLOAT_MAX else number
    # The encoder would write null, and the operators let no such number come to be.
    assert math.isfinite(number)
    return number


_CONVERSIONS: Final[dict[type, Callable[[Any], Any]]] = {
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


def check_size(value: Any, *, size_max: int) -> None:
    """Refuse a value of more than so many items, keys and characters of strings together.

    A query can build a value that is small in memory and endless when it is written, since parts
    of it may be the same object. So this is asked before such a value is rendered or compared.

    Raises:
        EvaluationError: The value is larger.
    """
    size = 0
    pending = [value]
    while pending:
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
        if size > size_max:
            raise EvaluationError(
                f"the value is too large: it has more than {size_max} items and characters"
            )
