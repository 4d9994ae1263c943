import pytest

from everlog.domain.time import format_time, next_event_time, parse_time

SECOND = 1_000_000_000
NOON = 1_795_435_200 * SECOND


@pytest.mark.parametrize(
    "time, text",
    [
        (NOON + 123_456_789, "2026-11-23T12:00:00.123456789Z"),
        (NOON + 1, "2026-11-23T12:00:00.000000001Z"),
        (NOON + 100_000_000, "2026-11-23T12:00:00.1Z"),
        (NOON + 120_000, "2026-11-23T12:00:00.00012Z"),
        (NOON + SECOND - 1, "2026-11-23T12:00:00.999999999Z"),
        (1, "1970-01-01T00:00:00.000000001Z"),
        (1_672_666_620 * SECOND + 100_000, "2023-01-02T13:37:00.0001Z"),
        (1_709_164_800 * SECOND + 1, "2024-02-29T00:00:00.000000001Z"),
    ],
)
def test_writes_and_reads_a_time(time: int, text: str) -> None:
    assert format_time(time) == text
    assert parse_time(text) == time


def test_reads_a_time_without_a_fraction() -> None:
    assert parse_time("2026-11-23T12:00:00Z") == NOON


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-11-23",
        "2026-11-23T12:00:00",
        "2026-11-23T12:00:00.1",
        "2026-11-23T12:00:00.Z",
        "2026-11-23T12:00:00,1Z",
        "2026-11-23T12:00:00.1234567890Z",
        "2026-11-23T12:00:00.1+00:00",
        "2026-11-23 12:00:00.1Z",
        "2026-11-23T12:00:00.1z",
        "2026-13-23T12:00:00.1Z",
        "2026-02-29T12:00:00.1Z",
        "2026-11-23T24:00:01.1Z",
        "2026-11-23T12:00:60.1Z",
        "\u0662026-11-23T12:00:00.1Z",
        "2026-11-23T12:00:00.1Z\n",
    ],
)
def test_refuses_what_is_no_time(text: str) -> None:
    with pytest.raises(
        ValueError, match=r"not an RFC 3339|must be in|out of range|unconverted|date"
    ):
        parse_time(text)


@pytest.mark.parametrize(
    "now, previous, expected",
    [
        (NOON + 5, 0, NOON + 5),
        (NOON + 5, NOON + 4, NOON + 5),
        (NOON + 5, NOON + 5, NOON + 5),
        (NOON + 5, NOON + 6, NOON + 6),
        (NOON, 0, NOON + 1),
        (NOON, NOON + 1, NOON + 1),
        (NOON - 7 * SECOND, NOON + 1, NOON + 1),
        (0, 0, 1),
    ],
)
def test_the_next_time_never_goes_back_and_has_a_fraction(
    now: int, previous: int, expected: int
) -> None:
    time, text = next_event_time(now, previous=previous)

    assert time == expected
    assert parse_time(text) == time
