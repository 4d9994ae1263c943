"""Event times: nanoseconds since 1970 UTC inside, RFC 3339 text outside.

The text is UTC with a `Z`, up to nine fraction digits, trailing zeros trimmed, and never without
a fraction: some clients split it at the dot (compatibility specification, section 4).
No clock is read here; "now" is an argument.
"""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

NANOSECONDS_PER_SECOND: Final = 1_000_000_000

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_PATTERN: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z", re.ASCII)


def next_event_time(now: int, *, previous: int) -> tuple[int, str]:
    """Return the time of the next write, never before the previous one's, and its text.

    A whole second becomes the nanosecond after it, so that its text has a fraction.
    """
    # Neither `max` nor `format_time` is called: this runs for every write.
    time = max(now, previous)
    seconds, fraction = divmod(time, NANOSECONDS_PER_SECOND)
    if fraction == 0:
        return next_event_time(time + 1, previous=0)
    return time, f"{_format_second(seconds)}.{fraction:09d}".rstrip("0") + "Z"


def format_time(time: int) -> str:
    """Return the RFC 3339 text of nanoseconds since 1970 that are not a whole second."""
    same_time, text = next_event_time(time, previous=0)
    assert same_time == time
    return text


def parse_time(text: str) -> int:
    """Return the nanoseconds since 1970 of an RFC 3339 UTC text.

    Raises:
        ValueError: The text is no such time.
    """
    match = _PATTERN.fullmatch(text)
    if match is None:
        message = f"not an RFC 3339 time in UTC: {text!r}"
        raise ValueError(message)
    return _parse_second(match[1]) + int((match[2] or "").ljust(9, "0"))


# Consecutive events mostly share their second, and a date costs more than hashing.
@lru_cache(maxsize=64)
def _parse_second(text: str) -> int:
    second = datetime.fromisoformat(text).replace(tzinfo=UTC)
    return (second - _EPOCH) // timedelta(seconds=1) * NANOSECONDS_PER_SECOND


@lru_cache(maxsize=64)
def _format_second(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
