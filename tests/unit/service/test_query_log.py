"""The log as queries see it: what scans mean, and how little tallies read."""

import random
from collections.abc import Iterator
from typing import Any

import pytest

from everlog.eventql.planning.plan import EventScan
from everlog.eventql.query import EvaluationContext, QueryLimits, prepare
from everlog.service.query_log import HeadLog, tally_of, to_storage_scan
from everlog.storage.engine import Scan
from tests.support.events import FIRST_TIME, a_candidate, stage, store_staged
from tests.support.memory_engine import MemoryEngine

ONE, TWO = "io.everlog.one", "io.everlog.two"
EVENTS = (("/a/1", ONE), ("/a/2", TWO), ("/b", ONE), ("/a/1", TWO))

SURROUNDINGS = EvaluationContext(
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
def test_a_tally_reads_as_few_events_as_it_can(
    engine: MemoryEngine, text: str, read_count: int, value: object
) -> None:
    log = CountingLog(engine, engine.head)

    tally = tally_of(prepare(text), log, SURROUNDINGS)

    assert tally.value() == value
    assert log.read_count == read_count
