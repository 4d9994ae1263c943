"""Standing queries: they take in what comes, or say that they cannot."""

from collections.abc import Iterator
from math import inf
from time import perf_counter

import pytest
from msgspec.structs import replace

from everlog.domain.errors import Code, RefusedError
from everlog.service.querying.conditions import StaleQueryError, StandingQuery, take_in
from everlog.storage.engine import Head
from tests.support.events import a_candidate, store
from tests.support.memory_engine import MemoryEngine

LINES = b"what the stored lines hold does not matter here\n"
FAULT = RefusedError(Code.QUERY_UNEVALUABLE, "not a number")


def two_heads() -> tuple[Head, Head]:
    """Return two heads, an event between them."""
    engine = MemoryEngine()
    store(engine, a_candidate())
    first = engine.head
    store(engine, a_candidate())
    return first, engine.head


def a_standing_query(
    head: Head,
    *,
    is_known: bool = True,
    sees_event_types: bool = False,
    is_quick: bool = True,
    weight: int | None = 1,
    fault: RefusedError | None = None,
) -> tuple[StandingQuery, list[bytes]]:
    """Return one that says of all lines the same, and the lines that it took.

    It is TRUE if it took lines once, and cannot be told where it never took any.
    """
    taken: list[bytes] = []

    def take(lines: bytes) -> bool:
        taken.append(lines)
        if fault is not None:
            raise fault
        return is_known

    def answer() -> bool:
        if not taken:
            raise RefusedError(Code.QUERY_NOT_BOOLEAN, "NULL")
        return len(taken) == 1

    standing = StandingQuery(
        head=head,
        take=take,
        answer=answer,
        sees_event_types=sees_event_types,
        is_quick=is_quick,
        weight=weight,
    )
    return standing, taken


def is_stale(standing: StandingQuery, *, is_quick: bool = True) -> bool:
    with pytest.raises(StaleQueryError) as raised:
        standing.is_true()
    return raised.value.is_quick is is_quick


def test_it_takes_in_what_comes_and_answers_as_of_then() -> None:
    first, second = two_heads()
    standing, taken = a_standing_query(first)
    assert standing.head is first
    with pytest.raises(RefusedError):
        standing.is_true()

    standing.advance([LINES], second)

    assert taken == [LINES]
    assert standing.head is second
    assert standing.is_true()


def test_no_lines_are_nothing_to_take_in() -> None:
    first, second = two_heads()
    standing, taken = a_standing_query(first, is_known=False)

    standing.advance([b""], second)

    assert taken == []
    assert standing.head is second


@pytest.mark.parametrize("is_quick", [True, False])
def test_lines_that_may_change_the_answer_make_it_stale_for_good(*, is_quick: bool) -> None:
    first, second = two_heads()
    standing, taken = a_standing_query(first, is_known=False, is_quick=is_quick)

    standing.advance([LINES, LINES], second)
    assert is_stale(standing, is_quick=is_quick)
    standing.advance([LINES], second)

    assert is_stale(standing, is_quick=is_quick)
    assert taken == [LINES]
    assert standing.work(second) == 0


def test_a_new_event_type_matters_to_those_who_see_them_all() -> None:
    first, second = two_heads()
    later = replace(second, event_type_count=second.event_type_count + 1)

    blind, _ = a_standing_query(first)
    blind.advance([LINES], later)
    assert blind.is_true()
    seeing, taken = a_standing_query(first, sees_event_types=True)
    seeing.advance([LINES], second)
    assert seeing.is_true()
    seeing.advance([b""], later)

    assert is_stale(seeing)
    assert taken == [LINES]


def test_a_fault_is_told_when_it_is_asked_and_nothing_is_taken_in_after_it() -> None:
    first, second = two_heads()
    standing, taken = a_standing_query(first, fault=FAULT)

    standing.advance([LINES, LINES], second)
    standing.advance([LINES], second)

    assert taken == [LINES]
    assert standing.work(second) == 0
    for _ in range(2):
        standing.settle()
        with pytest.raises(RefusedError) as raised:
            standing.is_true()
        assert raised.value is FAULT


def test_who_fails_halfway_is_of_no_use_any_more() -> None:
    first, second = two_heads()
    standing, _ = a_standing_query(first)

    def blocks() -> Iterator[bytes]:
        yield LINES
        raise FAULT

    with pytest.raises(RefusedError):
        standing.advance(blocks(), second)

    assert is_stale(standing)


def test_what_was_lost_cannot_be_taken_out_again() -> None:
    first, second = two_heads()
    standing, _ = a_standing_query(first)
    standing.forget(first)
    standing.advance([LINES], second)
    assert standing.is_true()

    standing.forget(first)

    assert is_stale(standing)


def test_an_answer_that_was_found_out_is_not_asked_for_again_before_something_comes() -> None:
    first, second = two_heads()
    standing, taken = a_standing_query(first)

    # A refusal is an answer too, and another one is possible later.
    standing.settle()
    taken.append(LINES)
    with pytest.raises(RefusedError):
        standing.is_true()
    standing.advance([LINES], second)
    assert not standing.is_true()
    standing.settle()
    taken.clear()
    assert not standing.is_true()


def test_work_is_what_is_missed_times_the_weight_and_a_little_for_asking() -> None:
    first, second = two_heads()
    size = second.log_size - first.log_size
    light, _ = a_standing_query(first, weight=3)
    asked = light.work(first)
    assert asked > 0
    assert light.work(second) == asked + 3 * size

    light.advance([LINES], second)
    light.settle()

    assert light.work(second) == 0


def test_the_work_of_a_heavy_query_is_done_when_its_answer_is_known() -> None:
    first, second = two_heads()
    heavy, _ = a_standing_query(first, weight=None)
    assert not heavy.is_light
    assert heavy.work(first) == heavy.work(second) == inf

    heavy.settle()
    assert heavy.work(first) == 0
    assert heavy.work(second) == inf

    heavy.advance([LINES], second)
    assert heavy.work(second) == inf


@pytest.mark.parametrize("weight", [1, None])
def test_all_take_in_the_rest_together(weight: int | None) -> None:
    engine = MemoryEngine()
    heads = [engine.head]
    for _ in range(200):
        store(engine, a_candidate())
        heads.append(engine.head)
    queries = [a_standing_query(head, weight=weight) for head in heads[::50]]

    take_in(engine, [standing for standing, _ in queries], heads[-1], 60)

    log = b"".join(stored.line for stored in engine._log)
    for (standing, taken), head in zip(queries, heads[::50], strict=True):
        assert b"".join(taken) == log[head.log_size :]
        # In steps of whole lines, none of which is long.
        assert all(step.endswith(b"\n") and len(step) <= 8 * 1024 for step in taken)
        assert standing.head is heads[-1]
        assert standing.work(heads[-1]) == 0


def test_a_line_that_is_longer_than_a_step_is_one() -> None:
    engine = MemoryEngine()
    standing, taken = a_standing_query(engine.head)
    for size in (1, 20_000, 1, 20_000, 20_000):
        store(engine, a_candidate(data=f'{{"text":"{"x" * size}"}}'))

    take_in(engine, [standing], engine.head, 60)

    assert [len(step) > 20_000 for step in taken] == [False, True, False, True, True]


def test_taking_in_comes_to_an_end() -> None:
    engine = MemoryEngine()
    standing, taken = a_standing_query(engine.head)
    for _ in range(3):
        store(engine, a_candidate())
    started = perf_counter()

    with pytest.raises(RefusedError, match="came faster"):
        take_in(engine, [standing], engine.head, 0)

    assert taken == []
    assert perf_counter() - started < 30
    assert is_stale(standing)
