from collections.abc import Callable

import pytest

from everlog.domain.time import NANOSECONDS_PER_SECOND as SECOND
from everlog.domain.time import format_time as format_event_time
from everlog.eventql.evaluation import datetimes
from everlog.eventql.evaluation.values import Date, DateTime, Time

DAY = 86_400 * SECOND
NOON = 1_795_435_200 * SECOND


@pytest.mark.parametrize(
    "text, days",
    [
        ("1970-01-01", 0),
        ("1969-12-31", -1),
        ("2024-02-29", 19_782),
        ("0001-01-01", -719_162),
        ("9999-12-31", 2_932_896),
    ],
)
def test_reads_and_writes_a_date(text: str, days: int) -> None:
    assert datetimes.parse_date(text) == Date(days)
    assert datetimes.format_date(Date(days)) == text


@pytest.mark.parametrize(
    "text, reason",
    [
        ("", "looks like"),
        ("2026-11-23 ", "looks like"),
        ("2026-11-23\n", "looks like"),
        ("2026-1-23", "looks like"),
        ("20261123", "looks like"),
        ("26-11-23", "looks like"),
        ("12026-11-23", "looks like"),
        ("-2026-11-23", "looks like"),
        ("2026-W48-1", "looks like"),
        ("2026-11-23T12:00:00Z", "looks like"),
        ("\u0662026-11-23", "looks like"),
        ("2026-02-29", "no such day"),
        ("2026-13-01", "no such day"),
        ("2026-00-01", "no such day"),
        ("2026-01-00", "no such day"),
        ("0000-01-01", "no such day"),
    ],
)
def test_refuses_what_is_no_date(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        datetimes.parse_date(text)


@pytest.mark.parametrize(
    "text, nanoseconds",
    [
        ("00:00:00", 0),
        ("00:00:01", SECOND),
        ("00:01:00", 60 * SECOND),
        ("01:00:00", 3_600 * SECOND),
        ("12:30:05.25", 45_005 * SECOND + 250_000_000),
        ("00:00:00.000000001", 1),
        ("23:59:59.999999999", DAY - 1),
    ],
)
def test_reads_and_writes_a_time(text: str, nanoseconds: int) -> None:
    assert datetimes.parse_time(text) == Time(nanoseconds)
    assert datetimes.format_time(Time(nanoseconds)) == text


@pytest.mark.parametrize(
    "text, reason",
    [
        ("", "looks like"),
        ("12:30", "looks like"),
        ("1:30:00", "looks like"),
        ("12:30:00.", "looks like"),
        ("12:30:00,5", "looks like"),
        ("12:30:00Z", "looks like"),
        (" 12:30:00", "looks like"),
        ("12:30:00\n", "looks like"),
        ("T12:30:00", "looks like"),
        ("\u06612:30:00", "looks like"),
        ("24:00:00", "no such time"),
        ("12:60:00", "no such time"),
        ("12:00:61", "no such time"),
        ("23:59:60", "no leap seconds"),
        ("12:30:00.1234567890", "at most 9 digits"),
    ],
)
def test_refuses_what_is_no_time(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        datetimes.parse_time(text)


@pytest.mark.parametrize(
    "text, nanoseconds",
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-11-23T12:00:00Z", NOON),
        ("2026-11-23T12:00:00.5Z", NOON + SECOND // 2),
        ("2026-11-23T12:00:00.000000001Z", NOON + 1),
        ("1969-12-31T23:59:59.999999999Z", -1),
        ("0001-01-01T00:00:00Z", -719_162 * DAY),
        ("9999-12-31T23:59:59.999999999Z", 2_932_897 * DAY - 1),
    ],
)
def test_reads_and_writes_a_moment(text: str, nanoseconds: int) -> None:
    assert datetimes.parse_datetime(text) == DateTime(nanoseconds)
    assert datetimes.format_datetime(DateTime(nanoseconds)) == text


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-23t12:00:00z",
        "2026-11-23T12:00:00.000Z",
        "2026-11-23T12:00:00+00:00",
        "2026-11-23T12:00:00-00:00",
        "2026-11-23T13:00:00+01:00",
        "2026-11-23T17:30:00+05:30",
        "2026-11-23T04:00:00-08:00",
        "2026-11-24T11:59:00.0+23:59",
    ],
)
def test_reads_a_moment_in_each_form_of_the_rfc(text: str) -> None:
    assert datetimes.parse_datetime(text) == DateTime(NOON)


@pytest.mark.parametrize(
    "text, reason",
    [
        ("", "looks like"),
        ("2026-11-23", "looks like"),
        ("2026-11-23T12:00:00", "looks like"),
        ("2026-11-23 12:00:00Z", "looks like"),
        ("2026-11-23T12:00Z", "looks like"),
        ("2026-11-23T12:00:00+01", "looks like"),
        ("2026-11-23T12:00:00+0100", "looks like"),
        ("2026-11-23T12:00:00 Z", "looks like"),
        ("2026-11-23T12:00:00Z\n", "looks like"),
        ("2026-02-29T12:00:00Z", "no such day"),
        ("2026-11-23T24:00:00Z", "no such time"),
        ("2016-12-31T23:59:60Z", "no leap seconds"),
        ("2026-11-23T12:00:00.1234567890Z", "at most 9 digits"),
        ("2026-11-23T12:00:00+24:00", "no such offset"),
        ("2026-11-23T12:00:00-01:60", "no such offset"),
        ("0001-01-01T00:00:00+00:01", "beyond the years"),
        ("9999-12-31T23:59:59-00:01", "beyond the years"),
    ],
)
def test_refuses_what_is_no_moment(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        datetimes.parse_datetime(text)


@pytest.mark.parametrize("nanoseconds", [1, NOON + 1, NOON + 120_000_000, NOON + SECOND - 1])
def test_the_time_of_an_event_is_read_and_written_as_it_was_stored(nanoseconds: int) -> None:
    text = format_event_time(nanoseconds)

    assert datetimes.parse_event_time(text) == DateTime(nanoseconds)
    assert datetimes.format_datetime(DateTime(nanoseconds)) == text


@pytest.mark.parametrize(
    "text, date, time",
    [
        ("2026-11-23T12:30:00.25Z", "2026-11-23", "12:30:00.25"),
        ("1969-12-31T23:59:59.999999999Z", "1969-12-31", "23:59:59.999999999"),
        ("1970-01-01T00:00:00Z", "1970-01-01", "00:00:00"),
        ("0001-01-01T00:00:00.000000001Z", "0001-01-01", "00:00:00.000000001"),
    ],
)
def test_a_moment_has_a_date_and_a_time(text: str, date: str, time: str) -> None:
    moment = datetimes.parse_datetime(text)

    assert datetimes.date_of(moment) == datetimes.parse_date(date)
    assert datetimes.time_of(moment) == datetimes.parse_time(time)
    assert datetimes.format_datetime(datetimes.midnight_of(datetimes.date_of(moment))) == (
        f"{date}T00:00:00Z"
    )


@pytest.mark.parametrize(
    "text, parts",
    [
        ("2026-11-23T12:30:05.75Z", (2026, 11, 23, 1, 12, 30, 5)),
        ("1970-01-01T00:00:00Z", (1970, 1, 1, 4, 0, 0, 0)),
        ("1969-12-31T23:59:59.999999999Z", (1969, 12, 31, 3, 23, 59, 59)),
        ("2024-02-29T01:02:03Z", (2024, 2, 29, 4, 1, 2, 3)),
        ("2026-11-22T00:00:00Z", (2026, 11, 22, 0, 0, 0, 0)),
        ("2026-11-28T00:00:00Z", (2026, 11, 28, 6, 0, 0, 0)),
        ("0001-01-01T00:00:00Z", (1, 1, 1, 1, 0, 0, 0)),
        ("9999-12-31T23:59:59Z", (9999, 12, 31, 5, 23, 59, 59)),
    ],
)
def test_a_moment_a_date_and_a_time_have_the_same_parts(text: str, parts: tuple[int, ...]) -> None:
    moment = datetimes.parse_datetime(text)
    date, time = datetimes.date_of(moment), datetimes.time_of(moment)

    assert parts_of(moment, moment) == parts
    assert parts_of(date, time) == parts


def parts_of(day: Date | DateTime, time: Time | DateTime) -> tuple[int, ...]:
    of_day: list[Callable[[Date | DateTime], int]] = [
        datetimes.year,
        datetimes.month,
        datetimes.day,
        datetimes.weekday,
    ]
    of_time: list[Callable[[Time | DateTime], int]] = [
        datetimes.hour,
        datetimes.minute,
        datetimes.second,
    ]
    return (*(part(day) for part in of_day), *(part(time) for part in of_time))
