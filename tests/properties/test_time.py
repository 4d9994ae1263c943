import re

from hypothesis import given
from hypothesis import strategies as st

from everlog.domain.time import format_time, next_event_time, parse_time

SECOND = 1_000_000_000
# Up to the end of the year 9999, the last that RFC 3339 can write.
times = st.integers(min_value=1, max_value=253_402_300_800 * SECOND - 1)


def has_fraction(time: int) -> bool:
    return time % SECOND != 0


@given(times.filter(has_fraction))
def test_what_is_written_reads_back(time: int) -> None:
    text = format_time(time)

    assert parse_time(text) == time
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{0,8}[1-9]Z", text)


@given(st.lists(times, min_size=1))
def test_times_never_go_back_however_the_clock_jumps(clock: list[int]) -> None:
    previous = 0
    for now in clock:
        time, text = next_event_time(now, previous=previous)

        assert text == format_time(time)
        assert time >= previous
        assert has_fraction(time)
        assert time in {now, now + 1, previous}
        previous = time
