from hypothesis import given
from hypothesis import strategies as st

from everlog.eventql.execution.readers import selected_lines
from everlog.eventql.planning.plan import EventScan
from tests.support.eventql.logs import a_line, event_of, is_selected

TIMES = (1_000_000_001, 2_000_000_002, 2_000_000_002, 3_000_000_003)
LINES = [
    a_line(position, {}, type=f"t.{position % 2}", subject=subject, time=time)
    for position, (subject, time) in enumerate(zip(("/x", "/x/y", "/xy", "/z"), TIMES, strict=True))
]


@given(
    st.builds(
        EventScan,
        event_types=st.none() | st.frozensets(st.sampled_from(["t.0", "t.1"])),
        subjects=st.none() | st.frozensets(st.sampled_from(["/x", "/x/y", "/z"])),
        subject_prefix=st.none() | st.sampled_from(["", "/x", "/x/", "/q"]),
        id_start=st.integers(0, 5),
        id_stop=st.none() | st.integers(0, 5),
        time_start=st.none() | st.sampled_from(TIMES),
        time_stop=st.none() | st.sampled_from(TIMES),
    )
)
def test_those_lines_are_selected_that_a_scan_selects(scan: EventScan) -> None:
    expected = [line for line in LINES if is_selected(event_of(line), scan)]
    # The mark at the end of a line is not part of the event.
    expected_events = [event_of(line) for line in expected]

    found = selected_lines(b"".join(LINES), scan)

    assert [event_of(line) for line in found.splitlines()] == expected_events
    assert found == b"".join(expected)
