"""How much a query has to do, told from its plan and the index."""

import pytest

from everlog.eventql.analysis.analyzed import LogSource
from everlog.eventql.planning.plan import EventScan
from everlog.eventql.query import prepare
from everlog.service.query_log import HeadLog
from everlog.service.query_work import count_rows, log_sources, scans_by_event_type
from tests.support.events import a_candidate, store
from tests.support.memory_engine import MemoryEngine

ONE, TWO = "io.everlog.one", "io.everlog.two"
EVENTS = 12
# The root, /books, and one for each of four books.
SUBJECTS = 6
BOOKS = 4
OF_ONE = EVENTS // 2

NAME_SOURCES = {LogSource.SUBJECTS, LogSource.EVENT_TYPES}

# Subqueries that stay ones.
GROUPED = "FROM e IN events GROUP BY e.data.n PROJECT INTO COUNT()"
NAMES = "FROM s IN subjects ORDER BY s DESC TOP 3 PROJECT INTO s"


@pytest.fixture(scope="module")
def log() -> HeadLog:
    engine = MemoryEngine()
    for number in range(EVENTS):
        store(engine, a_candidate(f"/books/{number % BOOKS}", (ONE, TWO)[number % 2]))
    return HeadLog(engine, engine.head)


# Each row: a query, and how many rows of sources it has to judge at most.
@pytest.mark.parametrize(
    "text, expected",
    [
        ("FROM e IN events PROJECT INTO e", EVENTS),
        (f"FROM e IN events WHERE e.type == '{ONE}' PROJECT INTO e", OF_ONE),
        (f"FROM e IN events WHERE e.subject == '/books/1' AND e.type == '{ONE}' PROJECT INTO e", 0),
        ("FROM e IN events WHERE FALSE PROJECT INTO e", 0),
        # The index answers.
        ("FROM e IN events PROJECT INTO COUNT()", 0),
        ("FROM e IN events GROUP BY e.type PROJECT INTO e.type", 0),
        # Done after the first ones, or not known to be.
        ("FROM e IN events TOP 2 PROJECT INTO e", 2),
        ("FROM e IN events SKIP 3 TOP 2 PROJECT INTO e", 5),
        ("FROM e IN events TOP 100 PROJECT INTO e", EVENTS),
        ("FROM e IN events SKIP 3 PROJECT INTO e", EVENTS),
        ("FROM e IN events SKIP ROUND(3.5) AS INT TOP 2 PROJECT INTO e", 6),
        ("FROM e IN events TOP ROUND(3.5) AS INT PROJECT INTO e", 4),
        ("FROM e IN events SKIP DAY(NOW()) TOP 2 PROJECT INTO e", EVENTS),
        ("FROM e IN events TOP DAY(NOW()) PROJECT INTO e", EVENTS),
        ("FROM e IN events ORDER BY e.time DESC TOP 2 PROJECT INTO e", 2),
        ("FROM e IN events ORDER BY e.data.n TOP 2 PROJECT INTO e", EVENTS),
        ("FROM e IN events WHERE e.data.n > 0 TOP 2 PROJECT INTO e", EVENTS),
        ("FROM e IN events TOP 2 PROJECT INTO DISTINCT e.data.n", EVENTS),
        ("FROM e IN events PROJECT INTO SUM(e.data.n)", EVENTS),
        # Other sources.
        ("FROM s IN subjects PROJECT INTO s", SUBJECTS),
        ("FROM t IN eventtypes PROJECT INTO t", 2),
        ("FROM e IN events FROM t IN eventtypes PROJECT INTO [e.id, t]", EVENTS * 2),
        ("FROM a IN events FROM b IN events PROJECT INTO [a.id, b.id]", EVENTS**2),
        ("FROM a IN events FROM b IN events TOP 7 PROJECT INTO [a.id, b.id]", 7),
        # A subquery is work of its own.
        (f"FROM n IN ({GROUPED}) FROM t IN eventtypes PROJECT INTO t", EVENTS + EVENTS * 2),
    ],
)
def test_the_rows_to_judge_are_told_beforehand(log: HeadLog, text: str, expected: int) -> None:
    assert count_rows(prepare(text), log) == expected


# Each row: a query, and what it reads besides events.
@pytest.mark.parametrize(
    "text, expected",
    [
        ("FROM e IN events PROJECT INTO e", set()),
        ("FROM s IN subjects PROJECT INTO s", {LogSource.SUBJECTS}),
        (f"FROM n IN ({NAMES}) FROM t IN eventtypes PROJECT INTO [n, t]", NAME_SOURCES),
    ],
)
def test_a_plan_tells_what_it_reads_besides_events(text: str, expected: set[LogSource]) -> None:
    assert log_sources(prepare(text)) == expected


def test_a_plan_tells_which_events_it_wants_counted_by_type() -> None:
    counted = "FROM e IN events GROUP BY e.type PROJECT INTO COUNT()"
    of_one = f"FROM e IN events WHERE e.type == '{ONE}' PROJECT INTO e.id"

    assert scans_by_event_type(prepare(counted)) == {EventScan()}
    assert scans_by_event_type(prepare(of_one)) == set()
    nested = f"FROM n IN ({counted}) FROM e IN events PROJECT INTO {{ n: n, id: e.id }}"
    assert scans_by_event_type(prepare(nested)) == {EventScan()}
