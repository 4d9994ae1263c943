"""Plans that are kept, and how little the event loop is given to do."""

import gc
import os
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from everlog.eventql.codegen.compiler import compile_plan
from everlog.eventql.diagnostic import QueryMalformedError
from everlog.service.querying import plans
from everlog.service.querying.log import HeadLog
from everlog.service.querying.plans import (
    KeptPlans,
    PreparedQuery,
    find_at_hand,
    is_short,
    prepare_query,
)
from everlog.storage.log import LogEngine
from tests.support.engines import open_log
from tests.support.events import a_candidate, store

ONE = "io.everlog.one"
OF_A = "FROM e IN events WHERE e.subject == '/a'"

# What is looked at for a query on the event loop, at most: see the module.
EVENTS_MAX = 64
WORK_MAX = 512 * 1024


# Keeping.


def query_of(length: int, number: int = 0) -> PreparedQuery:
    """Return a query of so many characters."""
    text = f"FROM e IN events PROJECT INTO {number}"
    return prepare_query(text + " " * (length - len(text)), is_signed=False)


def sizes(*prepared: PreparedQuery) -> int:
    return sum(map(plans._size_of, prepared))


def test_what_was_asked_for_last_is_kept() -> None:
    first, second, third, fourth = (query_of(100, number) for number in range(4))
    kept = KeptPlans(size_max=sizes(first, second, third))
    for query in (first, second, third):
        kept.keep(query)
    assert kept.find(first.text) is first

    kept.keep(fourth)

    found = [kept.find(query.text) for query in (first, second, third, fourth)]
    assert found == [first, None, third, fourth]


def test_a_query_that_is_prepared_twice_is_kept_once() -> None:
    first, again, other = (query_of(100, number) for number in (0, 0, 1))
    kept = KeptPlans(size_max=sizes(first, other))
    for query in (first, again, other):
        kept.keep(query)

    assert kept.find(again.text) is first
    assert kept.find(other.text) is other


def test_what_is_kept_is_bounded_by_what_all_plans_take() -> None:
    kept = KeptPlans()
    prepared = [query_of(1_000 + 60 * (number % 50), number) for number in range(2_000)]
    for query in prepared:
        kept.keep(query)

    assert kept.find(prepared[0].text) is None
    assert sizes(*kept._kept.values()) == kept._size
    assert kept._size <= 32 * 1024 * 1024
    assert len(kept._kept) > 500


def test_a_text_that_takes_all_of_it_is_let_go_of() -> None:
    small, large = query_of(100), query_of(2_000)
    kept = KeptPlans(size_max=sizes(large) - 1)
    kept.keep(small)
    kept.keep(large)

    assert kept._size == 0
    assert kept.find(large.text) is None


def memory_of(texts: Sequence[str]) -> int:
    """Return how much memory the queries take that texts become, compiled in both ways."""
    gc.collect()
    tracemalloc.start()
    prepared = [prepare_query(text, is_signed=True) for text in texts]
    for query in prepared:
        if query.plan is not None:
            for as_json in (True, False):
                compile_plan(query.plan, is_signed=True, as_json=as_json)
    gc.collect()
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return taken


@pytest.mark.parametrize(
    "text",
    [
        "FROM e IN events PROJECT INTO {n}",
        f"FROM e IN events PROJECT INTO [{' + '.join(['e.data.a'] * 60)}, {{n}}]",
        "FROM e IN events PROJECT INTO ["
        + ", ".join(f"e.data.a{{n}}x{number}.b.c.d" for number in range(50))
        + "]",
        f"FROM e IN events PROJECT INTO [{', '.join(['IF(e.data.a, RAND(), {n})'] * 35)}]",
        f"{OF_A} PROJECT INTO [{', '.join(['e.data.a'] * 400)}, {{n}}]",
        "FROM e IN events WHERE ["
        + ", ".join(f"'/a/{{n}}/{number}'" for number in range(3_000))
        + "] CONTAINS e.subject PROJECT INTO e.id",
    ],
)
def test_a_plan_takes_no_more_memory_than_is_counted(text: str) -> None:
    texts = [text.replace("{n}", str(number)) for number in range(20)]
    # What is made once for all of them.
    memory_of(texts[:10])

    counted = sizes(*(prepare_query(text, is_signed=True) for text in texts[10:]))
    # Threads that other tests left behind may take some, too, now and then.
    assert any(memory_of(texts[10:]) <= counted for _ in range(3))


def test_what_was_not_short_is_remembered() -> None:
    kept = KeptPlans()
    first, other = query_of(100), query_of(100, 1)
    kept.keep(first)
    assert first.short_weight is not None

    kept.note_long(first)
    # It may have been let go of meanwhile.
    kept.note_long(other)

    assert kept.find(first.text) == first._replace(short_weight=None)
    assert kept.find(other.text) is None


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


# What the server has a plan of.


@pytest.mark.parametrize(
    "text, is_kept",
    [
        (f"{OF_A} PROJECT INTO [{', '.join(['e.id'] * 240)}]", True),
        (f"{OF_A} PROJECT INTO [{', '.join(['e.id'] * 260)}]", False),
        # Each name of a path is one more.
        (f"{OF_A} PROJECT INTO [{', '.join(['e.data.a.b.c'] * 60)}]", True),
        (f"{OF_A} PROJECT INTO [{', '.join(['e.data.a.b.c'] * 65)}]", False),
        # A constant is one, however many stand in it.
        (f"FROM e IN events WHERE {[*range(900)]} CONTAINS e.data.n PROJECT INTO e", True),
        # Of all subqueries together.
        (
            (
                f"FROM d IN ({OF_A} TOP 9 PROJECT INTO [{', '.join(['e.id'] * 150)}]) "
                f"PROJECT INTO [{', '.join(['d'] * 150)}]"
            ),
            False,
        ),
    ],
)
def test_the_server_keeps_small_plans_only(text: str, *, is_kept: bool) -> None:
    prepared = prepare_query(text, is_signed=False)

    assert (prepared.plan is not None) is is_kept
    assert is_kept or (prepared.weight, prepared.short_weight) == (None, None)
    # What it needs is known of any.
    assert prepared.needs.scans
    # Where there are no processes, there is nobody to leave it to.
    alone = prepare_query(text, is_signed=False, has_processes=False)
    assert alone.plan is not None


@pytest.mark.parametrize(
    "text, expected",
    [
        (f"{OF_A} PROJECT INTO SUM(e.data.n) > 1", True),
        # It would hold each number for as long as a write waits.
        (f"{OF_A} PROJECT INTO MEDIAN(e.data.n) > 1", False),
        (f"{OF_A} PROJECT INTO SUM({' + '.join(['e.data.n'] * 100)}) > 1", False),
    ],
)
def test_what_is_counted_on_takes_little(text: str, *, expected: bool) -> None:
    assert prepare_query(text, is_signed=False).is_incremental is expected


# What is short.


@pytest.mark.parametrize(
    "text, expected",
    [
        ("FROM e IN events PROJECT INTO LOWER(e.data.text)", True),
        ("FROM e IN events PROJECT INTO REPLACE(e.data.text, 'a', 'b')", True),
        ("FROM e IN events PROJECT INTO REPLACE(e.data.text, 'ab', '')", True),
        ("FROM e IN events PROJECT INTO REPLACE(e.data.text, 'a', 'bb')", False),
        ("FROM e IN events PROJECT INTO REPLACE(e.data.text, '', 'bb')", False),
        ("FROM e IN events PROJECT INTO REPLACE(e.data.text, e.data.a, 'b')", False),
        ("FROM e IN events PROJECT INTO REPLACE(e.data.text, 'b', e.data.a)", False),
        (
            (
                "FROM d IN (FROM e IN events TOP 3 PROJECT INTO REPLACE(e.id, '1', e.id)) "
                "PROJECT INTO d"
            ),
            False,
        ),
    ],
)
def test_what_makes_texts_longer_is_not_short(text: str, *, expected: bool) -> None:
    assert (prepare_query(text, is_signed=False).short_weight is not None) is expected


LARGE_TEXT = "x" * 100_000

# Each row: a query, and of how many events of 100 KB it is short.
SHORTNESS = (
    ("FROM e IN events PROJECT INTO e.id", 10),
    ("FROM e IN events TOP 2 PROJECT INTO e.id", 50),
    ("FROM e IN events PROJECT INTO COUNT()", 50),
    ("FROM e IN events PROJECT INTO e.data", 10),
    # Two hundred times what the event may hold.
    (f"FROM e IN events PROJECT INTO [{', '.join(['e.data'] * 100)}]", 1),
    ("FROM a IN events FROM b IN events PROJECT INTO a.data.text == b.data.text", 2),
    (
        (
            f"FROM x IN (FROM e IN events TOP 2 PROJECT INTO [{', '.join(['e'] * 50)}]) "
            f"PROJECT INTO [{', '.join(['x'] * 20)}]"
        ),
        0,
    ),
)


@pytest.mark.parametrize("text, count_max", SHORTNESS)
def test_bytes_decide_what_is_short(engine: LogEngine, text: str, count_max: int) -> None:
    prepared = prepare_query(text, is_signed=False)
    found = []
    for _ in range(50):
        store(engine, a_candidate("/a", ONE, data=f'{{"text":"{LARGE_TEXT}"}}'))
        found.append(is_short(prepared, HeadLog(engine, engine.head)))

    assert found == [number < count_max for number in range(50)]


def test_rows_decide_what_is_short(engine: LogEngine) -> None:
    prepared = prepare_query("FROM e IN events PROJECT INTO e.id", is_signed=False)
    store(engine, *[a_candidate("/a", ONE)] * 1_000)
    assert is_short(prepared, HeadLog(engine, engine.head))

    store(engine, a_candidate("/a", ONE))
    assert not is_short(prepared, HeadLog(engine, engine.head))
    # Signatures take as long as many other things.
    signed = prepare_query("FROM e IN events TOP 999 PROJECT INTO [e, e, e]", is_signed=True)
    assert not is_short(signed, HeadLog(engine, engine.head))


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
