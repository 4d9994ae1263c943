"""Scans as sets: checked against the sets of events that they select."""

from hypothesis import given
from hypothesis import strategies as st

from everlog.eventql.planning.plan import ALL, NOTHING, EventScan
from everlog.eventql.planning.pushdown import intersect, is_nothing, unite
from tests.support.eventql.logs import a_line, event_of, is_selected

TYPES = ("a.b", "a.c")
SUBJECTS = ("/x", "/x/y", "/xy", "/z")
TIMES = (1_000_000_001, 2_000_000_002, 2_000_000_002, 3_000_000_003)
EVENTS = [
    event_of(a_line(position, {}, type=TYPES[position % 2], subject=subject, time=time))
    for position, (subject, time) in enumerate(zip(SUBJECTS * 2, TIMES * 2, strict=True))
]


def subsets(names: tuple[str, ...]) -> st.SearchStrategy[frozenset[str]]:
    return st.frozensets(st.sampled_from(names))


def scans() -> st.SearchStrategy[EventScan]:
    positions = st.integers(0, 9)
    times = st.none() | st.sampled_from(TIMES)
    return st.builds(
        EventScan,
        event_types=st.none() | subsets(TYPES),
        subjects=st.none() | subsets(SUBJECTS),
        id_start=positions,
        id_stop=st.none() | positions,
        time_start=times,
        time_stop=times,
    ) | st.builds(EventScan, subject_prefix=st.sampled_from(["", "/", "/x", "/x/", "/q"]))


def selected(scan: EventScan) -> set[str]:
    return {event["id"] for event in EVENTS if is_selected(event, scan)}


@given(scans(), scans())
def test_the_intersection_selects_what_both_select(first: EventScan, second: EventScan) -> None:
    scan = intersect(first, second)

    assert selected(scan) == selected(first) & selected(second)
    assert scan.subjects is None or scan.subject_prefix is None


@given(scans(), scans())
def test_the_union_selects_what_either_selects_and_knows_when_it_selects_more(
    first: EventScan, second: EventScan
) -> None:
    scan, is_exact = unite(first, second)
    either = selected(first) | selected(second)

    assert selected(scan) >= either
    if is_exact:
        assert selected(scan) == either


@given(scans())
def test_nothing_is_what_selects_nothing(scan: EventScan) -> None:
    if is_nothing(scan):
        assert selected(scan) == set()


def test_subjects_that_begin_alike_are_united_by_how_they_begin() -> None:
    prefix = EventScan(subject_prefix="/x")

    assert unite(prefix, EventScan(subjects=frozenset({"/x/y"})))[0] == prefix
    assert unite(EventScan(subject_prefix="/x/y"), prefix)[0] == prefix
    assert unite(prefix, EventScan(subject_prefix="/z"))[0] == ALL
    assert unite(NOTHING, prefix) == (prefix, True)
