import pytest

from everlog.eventql.planning.plan import EventScan
from everlog.eventql.query import prepare, reads_events, scans_of


def test_all_scans_of_a_plan_are_known_in_the_same_order_each_time() -> None:
    text = (
        "FROM a IN events FROM x IN (FROM e IN events WHERE e.type == 'x' TOP 1 PROJECT INTO e) "
        "FROM s IN subjects FROM b IN events WHERE a.type == 'a' AND b.type == 'b' PROJECT INTO 1"
    )
    scans = scans_of(prepare(text))

    assert {scan.event_types for scan in scans} == {frozenset({name}) for name in "axb"}
    assert scans == scans_of(prepare(text))
    assert scans_of(prepare("FROM s IN subjects PROJECT INTO s")) == ()
    assert scans_of(prepare("FROM e IN events ORDER BY e.time DESC PROJECT INTO e")) == (
        EventScan(is_reversed=True),
    )


@pytest.mark.parametrize(
    "query, expected",
    [
        ("FROM e IN events PROJECT INTO e", True),
        ("FROM e IN events PROJECT INTO COUNT()", False),
        ("FROM e IN events WHERE e.data.x == 1 PROJECT INTO COUNT() >= 0", False),
        ("FROM e IN events GROUP BY e.type PROJECT INTO COUNT()", False),
        ("FROM s IN subjects PROJECT INTO s", False),
        ("FROM s IN subjects FROM e IN events PROJECT INTO s", True),
        ("FROM x IN (FROM e IN events PROJECT INTO COUNT()) PROJECT INTO x", False),
        ("FROM x IN (FROM e IN events TOP 1 PROJECT INTO e) PROJECT INTO x", True),
    ],
)
def test_some_queries_read_no_event(query: str, *, expected: bool) -> None:
    assert reads_events(prepare(query)) is expected
