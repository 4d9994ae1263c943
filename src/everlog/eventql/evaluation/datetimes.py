"""Dates and times: their texts and their parts.

Texts are those of RFC 3339, with up to nine fraction digits; others are refused and never
guessed. Written is UTC with `T` and `Z`, without the zeros that a fraction ends with, and without
a fraction where it is zero. So a DATETIME reads exactly as the event whose time it is. The
calendar is the Gregorian one, for the years 1 to 9999 and without leap seconds.
"""

import re
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Final

from everlog.domain.time import NANOSECONDS_PER_SECOND
from everlog.eventql.evaluation.values import Date, DateTime, Time

_SECONDS_PER_DAY: Final = 86_400
_NANOSECONDS_PER_DAY: Final = _SECONDS_PER_DAY * NANOSECONDS_PER_SECOND

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - UTC goes without saying, and is faster so.
_EPOCH_ORDINAL: Final = _EPOCH.toordinal()
_DAYS_MIN: Final = date.min.toordinal() - _EPOCH_ORDINAL
_DAYS_MAX: Final = date.max.toordinal() - _EPOCH_ORDINAL

_DATE: Final = re.compile(r"(\d{4})-(\d\d)-(\d\d)", re.ASCII)
_TIME: Final = re.compile(r"(\d\d):(\d\d):(\d\d)(?:\.(\d+))?", re.ASCII)
_OFFSET: Final = re.compile(r"(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII)
_DATETIME: Final = re.compile(
    f"({_DATE.pattern})[Tt]({_TIME.pattern})({_OFFSET.pattern})", re.ASCII
)
# The form that programs write, and no other.
_USUAL_DATETIME: Final = re.compile(
    r"(\d{4}-\d\d-\d\dT(?:[01]\d|2[0-3]):\d\d:\d\d)(?:\.(\d{1,9}))?Z", re.ASCII
)
_FRACTION_DIGITS_MAX: Final = 9


def parse_date(text: str) -> Date:
    """Return the day that a text such as `2026-11-23` names.

    Raises:
        ValueError: The text is no such day; the message says why, in half a sentence.
    """
    match = _DATE.fullmatch(text)
    if match is None:
        raise ValueError("a DATE looks like 2026-11-23")
    try:
        day = date(int(match[1]), int(match[2]), int(match[3]))
    except ValueError as error:
        raise ValueError("there is no such day") from error
    return Date(day.toordinal() - _EPOCH_ORDINAL)


def parse_time(text: str) -> Time:
    """Return the time of day that a text such as `12:30:00` or `12:30:00.25` names.

    Raises:
        ValueError: The text is no such time; the message says why, in half a sentence.
    """
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError("a TIME looks like 12:30:00 or 12:30:00.25")
    hour, minute, second = int(match[1]), int(match[2]), int(match[3])
    if second == 60:
        raise ValueError("there are no leap seconds")
    if hour > 23 or minute > 59 or second > 59:
        raise ValueError("there is no such time of day")
    fraction = match[4] or ""
    if len(fraction) > _FRACTION_DIGITS_MAX:
        raise ValueError(f"a fraction has at most {_FRACTION_DIGITS_MAX} digits")
    seconds = (hour * 60 + minute) * 60 + second
    return Time(seconds * NANOSECONDS_PER_SECOND + int(fraction.ljust(_FRACTION_DIGITS_MAX, "0")))


def parse_datetime(text: str) -> DateTime:
    """Return the moment that a text such as `2026-11-23T12:30:00+01:00` names.

    Raises:
        ValueError: The text is no such moment; the message says why, in half a sentence.
    """
    usual = _parse_usual_datetime(text)
    if usual is not None:
        return usual
    match = _DATETIME.fullmatch(text)
    if match is None:
        raise ValueError("a DATETIME looks like 2026-11-23T12:30:00Z")
    day = parse_date(match[1])
    time = parse_time(match[5])
    nanoseconds = day.days * _NANOSECONDS_PER_DAY + time.nanoseconds - _parse_offset(match[10])
    if not _DAYS_MIN <= nanoseconds // _NANOSECONDS_PER_DAY <= _DAYS_MAX:
        raise ValueError("in UTC it is beyond the years 1 to 9999")
    return DateTime(nanoseconds)


def _parse_usual_datetime(text: str) -> DateTime | None:
    """Return the moment that a text in the usual form names, which takes half the time, or None."""
    match = _USUAL_DATETIME.fullmatch(text)
    if match is None:
        return None
    try:
        seconds = _parse_second(match[1])
    except ValueError:
        return None
    fraction = match[2]
    nanoseconds = int(fraction.ljust(_FRACTION_DIGITS_MAX, "0")) if fraction else 0
    return DateTime(seconds * NANOSECONDS_PER_SECOND + nanoseconds)


def _parse_offset(text: str) -> int:
    match = _OFFSET.fullmatch(text)
    assert match is not None
    if match[1] is None:
        return 0
    hours, minutes = int(match[2]), int(match[3])
    if hours > 23 or minutes > 59:
        raise ValueError("there is no such offset from UTC")
    offset = (hours * 60 + minutes) * 60 * NANOSECONDS_PER_SECOND
    return -offset if match[1] == "-" else offset


def parse_event_time(text: str) -> DateTime:
    """Return the moment of a stored event, whose text is canonical; nothing is checked."""
    seconds = _parse_second(text[:19])
    return DateTime(seconds * NANOSECONDS_PER_SECOND + int(text[20:-1].ljust(9, "0")))


def format_date(value: Date) -> str:
    """Return a text such as `2026-11-23`."""
    return date.fromordinal(value.days + _EPOCH_ORDINAL).isoformat()


def format_time(value: Time) -> str:
    """Return a text such as `12:30:00` or `12:30:00.25`."""
    seconds, fraction = divmod(value.nanoseconds, NANOSECONDS_PER_SECOND)
    return _format_second(seconds)[11:] + _format_fraction(fraction)


def format_datetime(value: DateTime) -> str:
    """Return a text such as `2026-11-23T12:30:00Z` or `2026-11-23T12:30:00.25Z`."""
    seconds, fraction = divmod(value.nanoseconds, NANOSECONDS_PER_SECOND)
    return f"{_format_second(seconds)}{_format_fraction(fraction)}Z"


def _format_fraction(nanoseconds: int) -> str:
    return f".{nanoseconds:09d}".rstrip("0") if nanoseconds else ""


# Consecutive events mostly share their second.
@lru_cache(maxsize=64)
def _parse_second(text: str) -> int:
    elapsed = datetime.fromisoformat(text) - _EPOCH
    return elapsed.days * _SECONDS_PER_DAY + elapsed.seconds


@lru_cache(maxsize=64)
def _format_second(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).isoformat()


def date_of(value: DateTime) -> Date:
    """Return the day of a moment, in UTC."""
    return Date(value.nanoseconds // _NANOSECONDS_PER_DAY)


def time_of(value: DateTime) -> Time:
    """Return the time of day of a moment, in UTC."""
    return Time(value.nanoseconds % _NANOSECONDS_PER_DAY)


def midnight_of(value: Date) -> DateTime:
    """Return the moment at which a day begins in UTC."""
    return DateTime(value.days * _NANOSECONDS_PER_DAY)


def year(value: Date | DateTime) -> int:
    """Return the year."""
    return _calendar_date(value).year


def month(value: Date | DateTime) -> int:
    """Return the month, from 1."""
    return _calendar_date(value).month


def day(value: Date | DateTime) -> int:
    """Return the day of the month, from 1."""
    return _calendar_date(value).day


def weekday(value: Date | DateTime) -> int:
    """Return the day of the week; 0 is Sunday."""
    return _calendar_date(value).isoweekday() % 7


def hour(value: Time | DateTime) -> int:
    """Return the hour of the day, from 0."""
    return _second_of_day(value) // 3_600


def minute(value: Time | DateTime) -> int:
    """Return the minute of the hour, from 0."""
    return _second_of_day(value) // 60 % 60


def second(value: Time | DateTime) -> int:
    """Return the second of the minute, from 0 and without its fraction."""
    return _second_of_day(value) % 60


def _calendar_date(value: Date | DateTime) -> date:
    day = value if isinstance(value, Date) else date_of(value)
    return date.fromordinal(day.days + _EPOCH_ORDINAL)


def _second_of_day(value: Time | DateTime) -> int:
    return value.nanoseconds // NANOSECONDS_PER_SECOND % _SECONDS_PER_DAY
