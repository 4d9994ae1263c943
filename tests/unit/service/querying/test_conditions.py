"""Standing queries: they take in what comes, or say that they cannot."""

import pytest
from msgspec.structs import replace

from everlog.service.querying.conditions import StaleQueryError, StandingQuery
from everlog.storage.engine import Head
from tests.support.events import a_candidate, store
from tests.support.memory_engine import MemoryEngine

LINES = b"what the stored lines hold does not matter here\n"


def two_heads() -> tuple[Head, Head]:
    """Return two heads, an event between them."""
    engine = MemoryEngine()
    store(engine, a_candidate())
    first = engine.head
    store(engine, a_candidate())
    return first, engine.head


def a_standing_query(
    head: Head, *, is_known: bool = True, sees_event_types: bool = False, is_quick: bool = True
) -> tuple[StandingQuery, list[bytes]]:
    """Return one that says of all lines the same, and the lines that it took."""
    taken: list[bytes] = []

    def take(lines: bytes) -> bool:
        taken.append(lines)
        return is_known

    standing = StandingQuery(
        head=head,
        take=take,
        answer=lambda: len(taken) == 1,
        sees_event_types=sees_event_types,
        is_quick=is_quick,
    )
    return standing, taken


def test_it_takes_in_what_comes_and_answers_as_of_then() -> None:
    first, second = two_heads()
    standing, taken = a_standing_query(first)
    assert standing.position == 1
    assert not standing.is_true()

    standing.advance(LINES, second)

    assert taken == [LINES]
    assert standing.position == 2
    assert standing.is_true()


def test_no_lines_are_nothing_to_take_in() -> None:
    first, second = two_heads()
    standing, taken = a_standing_query(first, is_known=False)

    standing.advance(b"", second)

    assert taken == []
    assert standing.position == 2


@pytest.mark.parametrize("is_quick", [True, False])
def test_lines_that_may_change_the_answer_make_it_stale(*, is_quick: bool) -> None:
    first, second = two_heads()
    standing, _ = a_standing_query(first, is_known=False, is_quick=is_quick)

    with pytest.raises(StaleQueryError) as raised:
        standing.advance(LINES, second)

    assert raised.value.is_quick is is_quick
    assert standing.position == 1


def test_a_new_event_type_matters_to_those_who_see_them_all() -> None:
    first, second = two_heads()
    later = replace(second, event_type_count=second.event_type_count + 1)

    blind, _ = a_standing_query(first)
    blind.advance(b"", later)
    seeing, taken = a_standing_query(first, sees_event_types=True)
    seeing.advance(LINES, second)
    with pytest.raises(StaleQueryError):
        seeing.advance(b"", later)

    assert taken == [LINES]
