"""Values as the reference interpreter sees them: kinds, equality, order, conversion, JSON.

Nothing here is shared with the product, and dates are kept in another way than there, so that
a mistake in either shows as a difference. Each rule stands as the language's guide says it, in
the most obvious form; speed is of no concern.

NULL is None, BOOLEAN bool, INT int, FLOAT64 float, STRING str, array a list, record a dict.
"""

import datetime as dt
import decimal
import functools
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

INT_MIN = -(2**63)
INT_MAX = 2**63 - 1

# Says of a value that such a number is somewhere in it.
UNREADABLE = "there is a number beyond the range of FLOAT64"


class UnevaluableError(Exception):
    """An operation that its operands do not allow."""


class BeyondFloat:
    """What stands in the place of a number that no FLOAT64 is near to, until it is read."""


@dataclass(frozen=True, order=True)
class Date:
    """A day."""

    day: dt.date


@dataclass(frozen=True, order=True)
class Time:
    """A time of day: whole seconds, and the nanoseconds after them."""

    clock: dt.time
    nanosecond: int


@dataclass(frozen=True, order=True)
class DateTime:
    """A moment in UTC: whole seconds, and the nanoseconds after them."""

    second: dt.datetime
    nanosecond: int


# Sorting puts a value of a kind before all values of the kinds after it.
KINDS = (
    "NULL",
    "BOOLEAN",
    "number",
    "STRING",
    "DATE",
    "TIME",
    "DATETIME",
    "array",
    "record",
)


def kind_of(value: Any) -> str:
    """Name the kind of a value; INT and FLOAT64 are one kind, except for conversion."""
    if value is None:
        return "NULL"
    # Python takes TRUE for the number 1.
    if isinstance(value, bool):
        return "BOOLEAN"
    kinds: tuple[tuple[type, str], ...] = (
        (int, "number"),
        (float, "number"),
        (str, "STRING"),
        (Date, "DATE"),
        (Time, "TIME"),
        (DateTime, "DATETIME"),
        (list, "array"),
        (dict, "record"),
    )
    return next(kind for python_type, kind in kinds if isinstance(value, python_type))


def exact_kind_of(value: Any) -> str:
    """Name the kind of a value, with INT and FLOAT64 apart."""
    if kind_of(value) == "number":
        return "INT" if isinstance(value, int) else "FLOAT64"
    return kind_of(value)


def is_equal(left: Any, right: Any) -> bool:
    """Tell whether `left == right`: the same kind and the same content, and 1 is 1.0."""
    if kind_of(left) != kind_of(right):
        return False
    if isinstance(left, list):
        return len(left) == len(right) and all(map(is_equal, left, right))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(is_equal(left[key], right[key]) for key in left)
    return bool(left == right)


def compare(left: Any, right: Any) -> int:
    """Compare any two values as sorting does: negative, zero or positive."""
    left_kind, right_kind = KINDS.index(kind_of(left)), KINDS.index(kind_of(right))
    if left_kind != right_kind:
        return left_kind - right_kind
    if left is None:
        return 0
    if isinstance(left, list):
        return compare_arrays(left, right)
    if isinstance(left, dict):
        return compare_arrays(pairs(left), pairs(right))
    is_greater, is_smaller = bool(left > right), bool(left < right)
    return is_greater - is_smaller


def compare_arrays(left: list[Any], right: list[Any]) -> int:
    """Compare item by item; if one array begins with the other, the shorter one is less."""
    for left_item, right_item in zip(left, right, strict=False):
        order = compare(left_item, right_item)
        if order != 0:
            return order
    return len(left) - len(right)


def pairs(record: dict[str, Any]) -> list[Any]:
    """Return keys and values in the order of the keys, since the order written does not matter."""
    return [[key, record[key]] for key in sorted(record)]


sort_key = functools.cmp_to_key(compare)


def is_less(left: Any, right: Any) -> bool:
    """Tell whether `left < right`, where neither is NULL."""
    kind = kind_of(left)
    if kind != kind_of(right):
        raise UnevaluableError(f"{kind} is not comparable with {kind_of(right)}")
    if kind in {"array", "record"}:
        raise UnevaluableError(f"{kind} has no order")
    return compare(left, right) < 0


def checked_int(value: int) -> int:
    """Return an INT, if it is one of 64 bits."""
    if not INT_MIN <= value <= INT_MAX:
        raise UnevaluableError("the INT needs more than 64 bits")
    return value


def checked_float(value: float) -> float:
    """Return a FLOAT64, if JSON has it."""
    if not math.isfinite(value):
        raise UnevaluableError("the FLOAT64 is not finite")
    return value


# --- JSON


def from_json(value: Any) -> Any:
    """Return the value of decoded JSON: an integer of more than 64 bits is a FLOAT64."""
    if isinstance(value, list):
        return [from_json(item) for item in value]
    if isinstance(value, dict):
        return {key: from_json(item) for key, item in value.items()}
    if exact_kind_of(value) == "INT" and not INT_MIN <= value <= INT_MAX:
        try:
            return float(value)
        except OverflowError:
            return BeyondFloat()
    return value


def readable(value: Any) -> Any:
    """Return a value that an expression reads, if all numbers in it are values."""
    if isinstance(value, BeyondFloat):
        raise UnevaluableError(UNREADABLE)
    if isinstance(value, list):
        return [readable(item) for item in value]
    if isinstance(value, dict):
        return {key: readable(item) for key, item in value.items()}
    return value


def event_from_json(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return an event as the record that an alias of `events` stands for."""
    record: dict[str, Any] = from_json(dict(event))
    record["time"] = string_to_datetime(record["time"])
    return record


def to_json(value: Any) -> Any:
    """Return what a row decodes to: dates become text, a whole FLOAT64 loses its fraction."""
    if isinstance(value, list):
        return [to_json(item) for item in value]
    if isinstance(value, dict):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, Date | Time | DateTime):
        return to_string(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


# --- Conversion with AS


def to_string(value: Any) -> str:
    """Convert anything that has a text."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case int():
            return str(value)
        case float():
            return float_to_string(value)
        case Date(day):
            return day.isoformat()
        case Time(clock, nanosecond):
            return clock.isoformat() + fraction_text(nanosecond)
        case DateTime(second, nanosecond):
            return second.isoformat() + fraction_text(nanosecond) + "Z"
        case _:
            raise UnevaluableError(f"{kind_of(value)} has no text")


def float_to_string(value: float) -> str:
    """Return the shortest digits that mean this number; a whole number has no fraction.

    The smallest and the largest numbers have an exponent.
    """
    if value == 0:
        return "0"
    shortest = decimal.Decimal(repr(value)).normalize()
    if 1e-5 <= abs(value) < 1e16:
        return f"{shortest:f}"
    sign, digits, exponent = shortest.as_tuple()
    assert isinstance(exponent, int)
    first, *others = map(str, digits)
    fraction = f".{''.join(others)}" if others else ""
    return f"{'-' if sign else ''}{first}{fraction}e{exponent + len(others)}"


def fraction_text(nanosecond: int) -> str:
    """Return a fraction of a second without the zeros at its end."""
    return f".{nanosecond:09d}".rstrip("0") if nanosecond else ""


def string_to_int(text: str) -> int:
    """Convert digits with an optional sign."""
    if re.fullmatch(r"[+-]?[0-9]+", text) is None:
        raise UnevaluableError(f"'{text}' is no INT")
    return checked_int(int(text))


def string_to_float(text: str) -> float:
    """Convert a decimal number, with an exponent or without."""
    if re.fullmatch(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?", text) is None:
        raise UnevaluableError(f"'{text}' is no FLOAT64")
    return checked_float(float(text))


def string_to_boolean(text: str) -> bool:
    """Convert the two words, in any casing."""
    if text.lower() not in {"true", "false"}:
        raise UnevaluableError(f"'{text}' is no BOOLEAN")
    return text.lower() == "true"


DATE_TEXT = r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
TIME_TEXT = r"([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?"
OFFSET_TEXT = r"(?:Z|([+-])([0-9]{2}):([0-9]{2}))"


def string_to_date(text: str) -> Date:
    """Convert `YYYY-MM-DD`."""
    match = re.fullmatch(DATE_TEXT, text)
    if match is None:
        raise UnevaluableError(f"'{text}' is no DATE")
    try:
        return Date(dt.date(*map(int, match.groups())))
    except ValueError as error:
        raise UnevaluableError(f"'{text}' is no DATE") from error


def string_to_time(text: str) -> Time:
    """Convert `HH:MM:SS`, with a fraction or without."""
    match = re.fullmatch(TIME_TEXT, text)
    if match is None:
        raise UnevaluableError(f"'{text}' is no TIME")
    hour, minute, second, fraction = match.groups()
    try:
        clock = dt.time(int(hour), int(minute), int(second))
    except ValueError as error:
        raise UnevaluableError(f"'{text}' is no TIME") from error
    return Time(clock, int((fraction or "").ljust(9, "0")))


def string_to_datetime(text: str) -> DateTime:
    """Convert an RFC 3339 text with `Z` or an offset."""
    match = re.fullmatch(rf"({DATE_TEXT})[Tt]({TIME_TEXT})({OFFSET_TEXT})", text, re.IGNORECASE)
    if match is None:
        raise UnevaluableError(f"'{text}' is no DATETIME")
    date, time = string_to_date(match[1]), string_to_time(match[5])
    sign, hours, minutes = match.groups()[-3:]
    second = dt.datetime.combine(date.day, time.clock)
    try:
        if sign is not None:
            offset = dt.timedelta(hours=int(hours), minutes=int(minutes))
            if int(hours) > 23 or int(minutes) > 59:
                raise UnevaluableError(f"'{text}' is no DATETIME")
            second = second - offset if sign == "+" else second + offset
    except OverflowError as error:
        raise UnevaluableError(f"'{text}' is before year 1 or after 9999") from error
    return DateTime(second, time.nanosecond)


def same(value: Any) -> Any:
    """Convert a value to its own kind."""
    return value


# From each kind to each type that it can be converted to; all other pairs are errors.
CONVERSIONS: dict[tuple[str, str], Callable[[Any], Any]] = {
    ("STRING", "STRING"): same,
    ("STRING", "INT"): string_to_int,
    ("STRING", "FLOAT64"): string_to_float,
    ("STRING", "BOOLEAN"): string_to_boolean,
    ("STRING", "DATE"): string_to_date,
    ("STRING", "TIME"): string_to_time,
    ("STRING", "DATETIME"): string_to_datetime,
    ("INT", "STRING"): to_string,
    ("INT", "INT"): same,
    ("INT", "FLOAT64"): float,
    ("FLOAT64", "STRING"): to_string,
    ("FLOAT64", "INT"): lambda number: checked_int(math.trunc(number)),
    ("FLOAT64", "FLOAT64"): same,
    ("BOOLEAN", "STRING"): to_string,
    ("BOOLEAN", "BOOLEAN"): same,
    ("DATE", "STRING"): to_string,
    ("DATE", "DATE"): same,
    ("DATE", "DATETIME"): lambda date: DateTime(dt.datetime.combine(date.day, dt.time()), 0),
    ("TIME", "STRING"): to_string,
    ("TIME", "TIME"): same,
    ("DATETIME", "STRING"): to_string,
    ("DATETIME", "DATE"): lambda moment: Date(moment.second.date()),
    ("DATETIME", "TIME"): lambda moment: Time(moment.second.time(), moment.nanosecond),
    ("DATETIME", "DATETIME"): same,
}


def convert(value: Any, target: str) -> Any:
    """Evaluate `value AS target`."""
    if value is None:
        return None
    conversion = CONVERSIONS.get((exact_kind_of(value), target.upper()))
    if conversion is None:
        raise UnevaluableError(f"{exact_kind_of(value)} is not convertible to {target}")
    return conversion(value)
