"""The deepest values there are, through everything that goes through values recursively."""

import inspect
import pickle
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from everlog.domain.limits import JSON_NESTING_MAX
from everlog.eventql.analysis.analyzed import LogSource
from everlog.eventql.execution import executor
from everlog.eventql.limits import NESTING_MAX, PATH_LENGTH_MAX, TREE_DEPTH_MAX, VALUE_DEPTH_MAX
from everlog.eventql.query import IncrementalAggregation, prepare
from tests.support.eventql.executing import a_context, rows_of, texts_of
from tests.support.eventql.logs import MemoryLog, a_log
from tests.support.eventql.nesting import ARRAYS, RECORDS, nested_source

# What earlier versions took.
STORED_NESTING_MAX = 128

# A whole float has to be written anew, so that no level is left as it is.
DATA = '{"a":' * (STORED_NESTING_MAX - 1) + '{"a":2.0}' + "}" * (STORED_NESTING_MAX - 1)
LEVELS = VALUE_DEPTH_MAX - JSON_NESTING_MAX - 1
DEEPEST = LEVELS + 1 + STORED_NESTING_MAX

# Of the 1,000 frames of a thread, a server takes some for itself.
FRAMES = 800


@contextmanager
def few_frames() -> Iterator[None]:
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + FRAMES)
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


@pytest.fixture(autouse=True)
def _rows_as_deep_as_values(monkeypatch: pytest.MonkeyPatch) -> None:
    # So that it can be seen how everything goes through: clients get rows that are less deep.
    monkeypatch.setattr(executor, "ROW_DEPTH_MAX", 1_000)


@pytest.fixture(scope="module")
def log() -> MemoryLog:
    return a_log(DATA, {"a": 1})


def depth_of(text: bytes) -> int:
    """Return how deep JSON is nested that has no brackets in strings."""
    depth = deepest = 0
    for byte in text:
        depth += (byte in b"[{") - (byte in b"]}")
        deepest = max(deepest, depth)
    return deepest


# The first is inlined; what has an order, or a limit, stays a query of its own.
@pytest.mark.parametrize("clause", ["", "ORDER BY e", "TOP 9"])
@pytest.mark.parametrize("brackets", [ARRAYS, RECORDS], ids=["arrays", "records"])
@pytest.mark.parametrize(
    "clauses, count",
    [
        ("PROJECT INTO e", 2),
        ("PROJECT INTO DISTINCT e", 2),
        ("WHERE e == e PROJECT INTO e", 2),
        ("WHERE [e] CONTAINS e PROJECT INTO 1", 0),
        ("WHERE [1, e.a] CONTAINS e.a PROJECT INTO e", 2),
        ("ORDER BY e DESC PROJECT INTO e", 2),
        ("GROUP BY e PROJECT INTO e", 2),
        ("PROJECT INTO UNIQUE(e)", 1),
        ("PROJECT INTO COUNT(e == e) > 0", 1),
        ("PROJECT INTO UNIQUE(e) == UNIQUE(e)", 1),
        ("PROJECT INTO IF(e == 1, 1, e)", 2),
        ("PROJECT INTO { b: e.a }", 2),
    ],
)
def test_the_deepest_values_go_through_every_clause(
    log: MemoryLog, clauses: str, count: int, brackets: tuple[str, str], clause: str
) -> None:
    levels = LEVELS if count else LEVELS - 1
    source = nested_source(levels, brackets, source="events", clause=clause)

    with few_frames():
        rows = texts_of(f"FROM e IN {source} {clauses}", log)

    assert len(rows) == (count or 2)
    if clauses.endswith(("INTO e", "INTO DISTINCT e")):
        assert max(map(depth_of, rows)) == DEEPEST


@pytest.mark.parametrize("brackets", [ARRAYS, RECORDS], ids=["arrays", "records"])
def test_the_deepest_values_may_be_made_of_brackets_alone(brackets: tuple[str, str]) -> None:
    source = nested_source(VALUE_DEPTH_MAX, brackets, source="eventtypes")

    with few_frames():
        [row] = texts_of(f"FROM e IN {source} WHERE e == e ORDER BY e PROJECT INTO e", a_log({}))

    assert depth_of(row) == VALUE_DEPTH_MAX


@pytest.mark.parametrize("length", [1, 99, 100, LEVELS, PATH_LENGTH_MAX])
@pytest.mark.parametrize("clause", ["", "ORDER BY e", "TOP 9"])
def test_paths_lead_through_the_deepest_values(log: MemoryLog, length: int, clause: str) -> None:
    source = nested_source(LEVELS, RECORDS, source="events", clause=clause)
    names = ".a" * length

    with few_frames():
        rows = rows_of(f"FROM e IN {source} WHERE e{names} == e{names} PROJECT INTO e{names}", log)

    wholes = rows_of(f"FROM e IN {source} PROJECT INTO e", log)
    assert rows == [_below(whole, length) for whole in wholes]


def _below(value: Any, length: int) -> Any:
    for _ in range(length):
        value = value.get("a") if isinstance(value, dict) else None
    return value


def test_what_one_text_nests_around_the_deepest_event_is_written(log: MemoryLog) -> None:
    for opening, closing in (ARRAYS, RECORDS):
        nested = f"{opening * NESTING_MAX}e{closing * NESTING_MAX}"
        with few_frames():
            rows = texts_of(f"FROM e IN events ORDER BY {nested} PROJECT INTO {nested}", log)
        assert max(map(depth_of, rows)) == NESTING_MAX + 1 + STORED_NESTING_MAX


@pytest.mark.parametrize(
    "levels, is_inlined", [(TREE_DEPTH_MAX - 1, True), (TREE_DEPTH_MAX, False)]
)
def test_no_expression_becomes_deeper_than_one_of_a_text(levels: int, *, is_inlined: bool) -> None:
    source = nested_source(levels, RECORDS, source="subjects")
    text = f"FROM e IN {source} PROJECT INTO e"

    assert (prepare(text).query.sources == (LogSource.SUBJECTS,)) is is_inlined
    with few_frames():
        rows = texts_of(text, a_log({}))
    assert {depth_of(row) for row in rows} == {levels}


def test_an_aggregation_of_the_deepest_value_goes_to_another_process(log: MemoryLog) -> None:
    nested = f"{'[' * (NESTING_MAX - 1)}e{']' * (NESTING_MAX - 1)}"
    plan = prepare(f"FROM e IN events PROJECT INTO UNIQUE({nested}) == UNIQUE({nested})")
    aggregation = IncrementalAggregation.start(plan, a_context())

    with few_frames():
        aggregation.add(b"".join(log.lines))
        copy = pickle.loads(pickle.dumps(aggregation)).resume(a_context())

        assert copy.value() is True
