"""Plans that are kept, and how little the event loop is given to do."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from everlog.eventql.diagnostic import QueryMalformedError
from everlog.service.querying import plans
from everlog.service.querying.plans import KeptPlans, find_at_hand, prepare_query
from everlog.storage.log import LogEngine
from tests.support.engines import open_log
from tests.support.events import a_candidate, store

ONE = "io.everlog.one"
OF_A = "FROM e IN events WHERE e.subject == '/a'"

# What is looked at for a query on the event loop, at most: see the module.
EVENTS_MAX = 64
WORK_MAX = 512 * 1024


# Keeping.


def query_of(length: int, number: int = 0) -> str:
    """Return a query of so many characters."""
    text = f"FROM e IN events PROJECT INTO {number}"
    return text + " " * (length - len(text))


def test_what_was_asked_for_last_is_kept() -> None:
    kept = KeptPlans(size_max=3 * (256 + 100))
    prepared = [prepare_query(query_of(100, number), is_signed=False) for number in range(4)]
    for query in prepared[:3]:
        kept.keep(query)
    assert kept.find(query_of(100, 0)) is prepared[0]

    kept.keep(prepared[3])

    found = [kept.find(query_of(100, number)) for number in range(4)]
    assert found == [prepared[0], None, prepared[2], prepared[3]]


def test_a_query_that_is_prepared_twice_is_kept_once() -> None:
    kept = KeptPlans(size_max=2 * (256 + 100))
    first, again, other = (
        prepare_query(query_of(100, number), is_signed=False) for number in (0, 0, 1)
    )
    for query in (first, again, other):
        kept.keep(query)

    assert kept.find(query_of(100, 0)) is first
    assert kept.find(query_of(100, 1)) is other


def test_what_is_kept_is_bounded_by_the_length_of_all_texts() -> None:
    kept = KeptPlans()
    long = prepare_query(query_of(64 * 1024), is_signed=False)
    kept.keep(long)
    for number in range(300):
        kept.keep(prepare_query(query_of(1_000, number), is_signed=False))

    assert kept.find(query_of(64 * 1024)) is None
    assert sum(256 + len(text) for text in kept._kept) == kept._size
    assert kept._size <= 128 * 1024
    assert len(kept._kept) > 100


def test_a_text_that_takes_all_of_it_is_let_go_of() -> None:
    kept = KeptPlans(size_max=1_000)
    kept.keep(prepare_query(query_of(100), is_signed=False))
    kept.keep(prepare_query(query_of(2_000), is_signed=False))

    assert kept._size == 0
    assert kept.find(query_of(2_000)) is None


def test_what_is_no_query_is_told_each_time() -> None:
    for _ in range(2):
        with pytest.raises(QueryMalformedError):
            prepare_query("FROM e IN events", is_signed=False)


# What is light.


@pytest.mark.parametrize(
    "text",
    [
        "FROM e IN events PROJECT INTO COUNT() == 0",
        f"{OF_A} PROJECT INTO SUM(e.data.n) < 3",
        f"{OF_A} AND e.type == '{ONE}' AND e.data.n > 5 PROJECT INTO COUNT() == 0",
        f"{OF_A} ORDER BY e.id DESC TOP 1 PROJECT INTO e.data.n == 1",
        f"{OF_A} GROUP BY e.type HAVING COUNT() > 1 PROJECT INTO UNIQUE(e.subject)",
        f"{OF_A} AND STARTSWITH(e.type, 'io.') PROJECT INTO MAX(LEN(e.type)) > 3",
        f"{OF_A} AND YEAR(e.time) == 2026 PROJECT INTO COUNT() > 3",
        "FROM d IN (FROM e IN events PROJECT INTO e.data) WHERE d.n > 1 PROJECT INTO d",
    ],
)
def test_what_does_little_for_each_byte_is_light(text: str) -> None:
    assert prepare_query(text, is_signed=True).weight is not None


@pytest.mark.parametrize(
    "text",
    [
        # Not one source of events, read as the index knows them.
        f"EXPLAIN {OF_A} PROJECT INTO e.id",
        "FROM s IN subjects PROJECT INTO COUNT() == 0",
        "FROM t IN eventtypes PROJECT INTO t",
        "FROM a IN events FROM b IN events PROJECT INTO COUNT() == 0",
        "FROM n IN (FROM e IN events GROUP BY e.type PROJECT INTO COUNT()) PROJECT INTO n",
        "FROM e IN events GROUP BY e.type PROJECT INTO COUNT()",
        "FROM e IN events WHERE e.time > '2026-01-01T00:00:00Z' AS DATETIME PROJECT INTO COUNT()",
        # Texts that grow.
        f"{OF_A} PROJECT INTO REPLACE(e.subject, 'a', 'aaaaaaaaaaaa')",
        f"{OF_A} PROJECT INTO COUNT(LOWER(e.type) == 'a') > 1",
        f"{OF_A} AND SUBSTRING(e.type, 1) == 'a' PROJECT INTO COUNT() > 1",
        f"{OF_A} GROUP BY UPPER(e.type) PROJECT INTO COUNT()",
        f"{OF_A} ORDER BY TRIM(e.type) PROJECT INTO e.id",
        # Arrays and records to be told apart.
        f"{OF_A} PROJECT INTO DISTINCT e.data.n",
        f"{OF_A} GROUP BY e.data.n PROJECT INTO COUNT()",
        f"{OF_A} ORDER BY e.data.n PROJECT INTO e.id",
        f"{OF_A} PROJECT INTO UNIQUE(e.data.n) == 3",
        # Too many nodes, or characters.
        f"{OF_A} PROJECT INTO [{', '.join(['e.id'] * 256)}]",
        f"{OF_A} PROJECT INTO COUNT() == 0{' ' * 4096}",
        # Signatures.
        f"{OF_A} PROJECT INTO e",
        f"{OF_A} AND e.signature == 'a' PROJECT INTO COUNT() == 0",
    ],
)
def test_what_may_do_more_is_not(text: str) -> None:
    assert prepare_query(text, is_signed=True).weight is None


@pytest.mark.parametrize("projection", ["e", "e.signature"])
def test_signatures_are_no_work_where_there_is_no_key(projection: str) -> None:
    prepared = prepare_query(f"{OF_A} PROJECT INTO {projection}", is_signed=False)

    assert prepared.weight is not None


# What is at hand.


_preadv = os.preadv


def read_patiently(file: int, buffers: Sequence[memoryview], offset: int, _: int) -> int:
    """Read as if the system had all of the file in memory, whatever the file system knows."""
    return _preadv(file, buffers, offset)


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LogEngine]:
    monkeypatch.setattr(os, "preadv", read_patiently)
    engine = open_log(tmp_path)
    yield engine
    engine.close()


def judged(engine: LogEngine, text: str) -> tuple[int, int] | None:
    """Return how many events and bytes the event loop has to judge; None if it does not."""
    prepared = prepare_query(text, is_signed=False)
    log = find_at_hand(prepared, engine, engine.head)
    if log is None:
        return None
    scan = prepared.plan.sources[0].source
    lines = b"".join(log.scan(scan))  # type: ignore[arg-type] # The only source is a scan.
    return lines.count(b"\n"), len(lines)


QUERIES = (
    "FROM e IN events PROJECT INTO SUM(e.data.n) > 1",
    f"{OF_A} PROJECT INTO SUM(e.data.n) > 1",
    f"{OF_A} AND e.type == '{ONE}' PROJECT INTO SUM(e.data.n) > 1",
    f"{OF_A} PROJECT INTO [{', '.join(['e.data'] * 200)}]",
    f"{OF_A} ORDER BY e.id DESC PROJECT INTO DISTINCT e.source",
    f"FROM e IN events WHERE e.type == '{ONE}' AND e.data.n > 3 PROJECT INTO COUNT() == 0",
    "FROM e IN events WHERE ['/a', '/b', '/c'] CONTAINS e.subject PROJECT INTO e.data.n",
    f"{OF_A} AND NOT ([{', '.join(map(str, range(800)))}] CONTAINS e.data.n) PROJECT INTO e.id",
    f"{OF_A} PROJECT INTO [{', '.join(['e.time AS DATE'] * 80)}]",
)


@pytest.mark.parametrize("text", QUERIES)
@pytest.mark.parametrize("size", [10, 1_000, 100_000])
def test_the_event_loop_judges_so_much_and_no_more(engine: LogEngine, text: str, size: int) -> None:
    weight = prepare_query(text, is_signed=False).weight
    assert weight is not None
    data = f'{{"n":1,"text":"{"x" * size}"}}'
    found = []
    for _ in range(EVENTS_MAX + 2):
        found.append(judged(engine, text))
        store(engine, a_candidate("/a", ONE, data=data))

    assert found[0] == (0, 0)
    assert found[-1] is None
    for count, length in filter(None, found):
        assert count <= EVENTS_MAX
        assert length * weight <= WORK_MAX


def test_what_the_index_counts_is_never_read(
    engine: LogEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(engine, *[a_candidate("/a", ONE)] * 500)
    monkeypatch.setattr(os, "preadv", None)
    for text in (
        "FROM e IN events PROJECT INTO COUNT() == 0",
        f"FROM e IN events WHERE e.type == '{ONE}' PROJECT INTO COUNT() == 0",
        f"{OF_A} PROJECT INTO COUNT() == 0",
        f"{OF_A} AND e.type == '{ONE}' PROJECT INTO COUNT() == 0",
    ):
        prepared = prepare_query(text, is_signed=False)
        log = find_at_hand(prepared, engine, engine.head)
        assert log is not None
        assert log.count(plans.EventScan()) == 500

    subtree = "FROM e IN events WHERE STARTSWITH(e.subject, '/a') PROJECT INTO COUNT() == 0"
    assert find_at_hand(prepare_query(subtree, is_signed=False), engine, engine.head) is None
