"""The log as queries see it: what scans mean, how little is read, and how much there is to do."""

import random
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from everlog.eventql.analysis.analyzed import LogSource
from everlog.eventql.planning.plan import EventScan
from everlog.eventql.query import EvaluationContext, QueryLimits, prepare
from everlog.service.querying.log import (
    HeadLog,
    Needs,
    aggregate,
    log_sources,
    needs_of,
    scans_by_event_type,
    to_storage_scan,
    volume_of,
)
from everlog.storage.engine import Scan
from tests.support.events import FIRST_TIME, a_candidate, stage, store, store_staged
from tests.support.memory_engine import MemoryEngine

ONE, TWO = "io.everlog.one", "io.everlog.two"
EVENTS = (("/a/1", ONE), ("/a/2", TWO), ("/b", ONE), ("/a/1", TWO))

CONTEXT = EvaluationContext(
    now=FIRST_TIME, random=random.Random(1).random, sign=None, limits=QueryLimits()
)


@pytest.fixture(scope="module")
def engine() -> MemoryEngine:
    engine = MemoryEngine()
    for number, (subject, event_type) in enumerate(EVENTS):
        stage(engine, a_candidate(subject, event_type), time=FIRST_TIME + number)
        store_staged(engine)
    return engine


# Each row: what a query's scan asks for, and what storage is asked for then.
@pytest.mark.parametrize(
    "asked, expected",
    [
        ({}, {}),
        ({"id_start": 1, "id_stop": 3}, {"start": 1, "stop": 3}),
        ({"id_stop": 99}, {}),
        ({"time_start": FIRST_TIME + 1}, {"start": 1}),
        ({"time_stop": FIRST_TIME + 2}, {"stop": 2}),
        ({"time_start": FIRST_TIME + 1, "id_start": 2}, {"start": 2}),
        ({"time_stop": FIRST_TIME + 3, "id_stop": 2}, {"stop": 2}),
        ({"event_types": frozenset({ONE})}, {"event_types": frozenset({ONE})}),
        ({"subjects": frozenset({"/b"})}, {"subjects": frozenset({"/b"})}),
        ({"subject_prefix": "/a/"}, {"subject_prefix": "/a/"}),
        (
            {"subjects": frozenset({"/b", "/a/1"}), "subject_prefix": "/a/"},
            {"subjects": frozenset({"/a/1"}), "subject_prefix": "/a/"},
        ),
        ({"is_reversed": True}, {"is_reversed": True}),
    ],
)
def test_a_scan_of_a_query_means_a_scan_of_the_log(
    engine: MemoryEngine, asked: dict[str, Any], expected: dict[str, Any]
) -> None:
    found = to_storage_scan(EventScan(**asked), engine, engine.head)

    assert found == Scan(**{"start": 0, "stop": len(EVENTS), **expected})


def test_a_log_says_what_there_is_as_of_its_head(engine: MemoryEngine) -> None:
    log = HeadLog(engine, engine.head)

    assert log.count(EventScan(subject_prefix="/a/")) == 3
    assert log.count_by_event_type(EventScan(id_start=1)) == {TWO: 2, ONE: 1}
    assert b"".join(log.scan(EventScan())).count(b"\n") == len(EVENTS)
    assert [name for chunk in log.subjects() for name in chunk] == ["/", "/a", "/a/1", "/a/2", "/b"]
    assert log.event_types() == [ONE, TWO]


class CountingLog(HeadLog):
    """A log that hands out each event as a block of its own, and counts them."""

    read_count = 0

    def scan(self, scan: EventScan) -> Iterator[bytes]:
        for block in super().scan(scan):
            for line in block.splitlines(keepends=True):
                self.read_count += 1
                yield line


# Each row: a query of one value, how many events are read for it, and the value.
@pytest.mark.parametrize(
    "text, read_count, value",
    [
        ("FROM e IN events PROJECT INTO COUNT()", 0, 4),
        (f"FROM e IN events WHERE e.type == '{ONE}' PROJECT INTO COUNT() > 1", 0, True),
        ("FROM e IN events PROJECT INTO SUM(e.data.n)", 4, 4),
        ("FROM e IN events WHERE e.data.n == 1 PROJECT INTO COUNT() > 1", 2, True),
        ("FROM e IN events WHERE e.data.n == 2 PROJECT INTO COUNT() == 0", 4, True),
    ],
)
def test_aggregates_read_as_few_events_as_they_can(
    engine: MemoryEngine, text: str, read_count: int, value: object
) -> None:
    log = CountingLog(engine, engine.head)

    aggregation = aggregate(prepare(text), log, CONTEXT)

    assert aggregation.value() == value
    assert log.read_count == read_count


# How much there is to do.

BOOK_EVENTS = 12
# The root, /books, and one for each of four books.
SUBJECTS = 6
BOOKS = 4
OF_ONE = BOOK_EVENTS // 2

NAME_SOURCES = {LogSource.SUBJECTS, LogSource.EVENT_TYPES}

# Subqueries that stay ones.
GROUPED = "FROM e IN events GROUP BY e.data.n PROJECT INTO COUNT()"
NAMES = "FROM s IN subjects ORDER BY s DESC TOP 3 PROJECT INTO s"


@pytest.fixture(scope="module")
def books() -> HeadLog:
    engine = MemoryEngine()
    for number in range(BOOK_EVENTS):
        store(engine, a_candidate(f"/books/{number % BOOKS}", (ONE, TWO)[number % 2]))
    return HeadLog(engine, engine.head)


# Each row: a query, and how many rows of sources it has to judge at most.
@pytest.mark.parametrize(
    "text, expected",
    [
        ("FROM e IN events PROJECT INTO e", BOOK_EVENTS),
        (f"FROM e IN events WHERE e.type == '{ONE}' PROJECT INTO e", OF_ONE),
        (f"FROM e IN events WHERE e.subject == '/books/1' AND e.type == '{ONE}' PROJECT INTO e", 0),
        ("FROM e IN events WHERE FALSE PROJECT INTO e", 0),
        # The index answers.
        ("FROM e IN events PROJECT INTO COUNT()", 0),
        ("FROM e IN events GROUP BY e.type PROJECT INTO e.type", 0),
        # Done after the first ones, or not known to be.
        ("FROM e IN events TOP 2 PROJECT INTO e", 2),
        ("FROM e IN events SKIP 3 TOP 2 PROJECT INTO e", 5),
        ("FROM e IN events TOP 100 PROJECT INTO e", BOOK_EVENTS),
        ("FROM e IN events SKIP 3 PROJECT INTO e", BOOK_EVENTS),
        ("FROM e IN events SKIP ROUND(3.5) AS INT TOP 2 PROJECT INTO e", 6),
        ("FROM e IN events TOP ROUND(3.5) AS INT PROJECT INTO e", 4),
        ("FROM e IN events SKIP DAY(NOW()) TOP 2 PROJECT INTO e", BOOK_EVENTS),
        ("FROM e IN events TOP DAY(NOW()) PROJECT INTO e", BOOK_EVENTS),
        ("FROM e IN events ORDER BY e.time DESC TOP 2 PROJECT INTO e", 2),
        ("FROM e IN events ORDER BY e.data.n TOP 2 PROJECT INTO e", BOOK_EVENTS),
        ("FROM e IN events WHERE e.data.n > 0 TOP 2 PROJECT INTO e", BOOK_EVENTS),
        ("FROM e IN events TOP 2 PROJECT INTO DISTINCT e.data.n", BOOK_EVENTS),
        ("FROM e IN events PROJECT INTO SUM(e.data.n)", BOOK_EVENTS),
        # Other sources.
        ("FROM s IN subjects PROJECT INTO s", SUBJECTS),
        ("FROM t IN eventtypes PROJECT INTO t", 2),
        ("FROM e IN events FROM t IN eventtypes PROJECT INTO [e.id, t]", BOOK_EVENTS * 2),
        ("FROM a IN events FROM b IN events PROJECT INTO [a.id, b.id]", BOOK_EVENTS**2),
        # All rows of the others are read before the first.
        ("FROM a IN events FROM b IN events TOP 7 PROJECT INTO [a.id, b.id]", BOOK_EVENTS),
        # A subquery is work of its own.
        (
            f"FROM n IN ({GROUPED}) FROM t IN eventtypes PROJECT INTO t",
            BOOK_EVENTS + BOOK_EVENTS * 2,
        ),
    ],
)
def test_the_rows_to_judge_are_told_beforehand(books: HeadLog, text: str, expected: int) -> None:
    volume = volume_of(prepare(text), books, rows_max=1_000)

    assert volume is not None
    assert volume.rows == expected
    if expected > 0:
        assert volume_of(prepare(text), books, rows_max=expected) == volume
        assert volume_of(prepare(text), books, rows_max=expected - 1) is None


def size_of(log: HeadLog, scan: EventScan, count: int = BOOK_EVENTS) -> int:
    """Return the bytes of the first lines that a scan selects, by reading them."""
    lines = b"".join(log.scan(scan)).splitlines(keepends=True)
    return sum(map(len, lines[:count]))


OF_TYPE_ONE = EventScan(event_types=frozenset({ONE}))


# Each row: a query, and of how many bytes its rows are made, at most.
@pytest.mark.parametrize(
    "text, size",
    [
        ("FROM e IN events PROJECT INTO e", lambda log: size_of(log, EventScan())),
        ("FROM e IN events TOP 2 PROJECT INTO e", lambda log: size_of(log, EventScan(), 2)),
        (
            f"FROM e IN events WHERE e.type == '{ONE}' PROJECT INTO e",
            lambda log: size_of(log, OF_TYPE_ONE),
        ),
        ("FROM e IN events PROJECT INTO COUNT()", lambda _: 0),
        ("FROM t IN eventtypes PROJECT INTO t", lambda _: len(ONE) + len(TWO)),
        # Each of the one with each of the other, which is read before.
        (
            "FROM e IN events FROM t IN eventtypes PROJECT INTO [e.id, t]",
            lambda log: size_of(log, EventScan()) * 2 + (len(ONE) + len(TWO)) * (BOOK_EVENTS + 1),
        ),
    ],
)
def test_the_bytes_to_judge_are_told_beforehand(
    books: HeadLog, text: str, size: Callable[[HeadLog], int]
) -> None:
    volume = volume_of(prepare(text), books, rows_max=1_000)

    assert volume is not None
    assert volume.size == size(books)


def test_rows_of_a_subquery_count_with_what_they_may_repeat(books: HeadLog) -> None:
    def judged(copies: int) -> int:
        inner = f"FROM e IN events TOP 3 PROJECT INTO [{', '.join(['e'] * copies)}]"
        text = f"FROM x IN ({inner}) FROM t IN eventtypes PROJECT INTO x"
        volume = volume_of(prepare(text), books, rows_max=1_000)
        assert volume is not None
        return volume.size

    one = size_of(books, EventScan(), 3)
    assert judged(1) >= 2 * one
    assert judged(20) >= 2 * 20 * one


@pytest.mark.parametrize(
    "grouped, rows",
    [
        ("FROM e IN events GROUP BY e.type PROJECT INTO e.type", 2),
        ("FROM e IN events PROJECT INTO COUNT()", 1),
        ("FROM e IN events PROJECT INTO SUM(e.data.n)", 1),
    ],
)
def test_rows_that_the_index_knows_are_rows_for_the_query_around(
    books: HeadLog, grouped: str, rows: int
) -> None:
    text = f"FROM n IN ({grouped}) FROM e IN events PROJECT INTO [n, e.id]"
    volume = volume_of(prepare(text), books, rows_max=1_000)

    assert volume is not None
    assert volume.rows >= rows * BOOK_EVENTS


def test_what_a_query_needs_is_told_without_its_plan() -> None:
    text = f"FROM a IN events FROM b IN events FROM n IN ({NAMES}) PROJECT INTO [a.id, b.id, n]"
    needs = needs_of(prepare(text))

    # What two sources read alike is found once.
    assert needs.scans == {EventScan(): False}
    assert needs.has_subjects
    assert not needs.has_event_types
    assert needs.deciding_scans == (EventScan(),)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(needs), type=Needs) == needs


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
