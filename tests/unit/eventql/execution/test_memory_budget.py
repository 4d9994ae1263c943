import pytest

from everlog.eventql.diagnostic import QueryLimitError
from everlog.eventql.evaluation.values import DateTime
from everlog.eventql.execution.memory_budget import MemoryBudget, size_of
from everlog.eventql.limits import QueryLimits
from tests.support.eventql.executing import a_context, rows_of
from tests.support.eventql.logs import MemoryLog, a_log


def test_rows_and_their_size_are_limited_each() -> None:
    budget = MemoryBudget(QueryLimits(held_rows_max=2, held_size_max=100))
    budget.add(2, 100)

    with pytest.raises(QueryLimitError, match="more than 2 rows in memory"):
        budget.add(1, 0)
    budget.add(-1, 0)
    with pytest.raises(QueryLimitError, match="more than 100 bytes of rows in memory"):
        budget.add(0, 1)


def test_what_is_let_go_makes_room() -> None:
    budget = MemoryBudget(QueryLimits(held_rows_max=2, held_size_max=100))
    budget.add(2, 100)
    budget.add(-2, -100)
    budget.add(2, 100)

    assert (budget.rows, budget.size) == (2, 100)


def test_values_are_held_by_their_size() -> None:
    budget = MemoryBudget(QueryLimits())

    assert budget.hold("x" * 1_000) == "x" * 1_000
    assert 1_000 < budget.size < 1_200
    assert budget.hold(None) is None
    assert budget.size < 1_200


def test_only_long_texts_are_held_again_and_again() -> None:
    budget = MemoryBudget(QueryLimits())

    assert budget.hold_text("short") == "short"
    assert budget.hold_text(5) == 5
    assert budget.size == 0
    budget.hold_text("x" * 1_000)
    assert budget.size > 1_000


def test_numbers_are_held_one_by_one() -> None:
    budget = MemoryBudget(QueryLimits())

    assert [budget.hold_number(number) for number in (1, 2.5)] == [1, 2.5]
    assert budget.size > 0


@pytest.mark.parametrize(
    "value, least",
    [
        (None, 16),
        (DateTime(1), 32),
        ("x" * 100, 100),
        (b"x" * 100, 100),
        ("\U0001f600" * 100, 400),
        (["x" * 100] * 10, 1_000),
        (({"key": ["x" * 100]}, 1), 100 + 3),
        ([[[[]]]] * 100, 300 * 56),
    ],
)
def test_sizes_are_rather_too_large_than_too_small(value: object, least: int) -> None:
    assert least <= size_of(value) <= 20 * least


# What queries hold.


def a_log_of(length: int) -> MemoryLog:
    return a_log(*({"n": number} for number in range(length)), block_size=10)


@pytest.mark.parametrize(
    "clauses",
    [
        "ORDER BY e.data.n PROJECT INTO 1",
        "GROUP BY e.data.n PROJECT INTO 1",
        "PROJECT INTO DISTINCT e.data.n",
        "FROM f IN events PROJECT INTO 1",
        "FROM s IN (FROM x IN events TOP 20 PROJECT INTO x.id) PROJECT INTO 1",
    ],
)
def test_what_a_query_holds_is_limited(clauses: str) -> None:
    log = a_log_of(20)
    query = f"FROM e IN events {clauses}"

    assert rows_of(query, log, a_context(held_rows_max=20))
    with pytest.raises(QueryLimitError, match="more than 19 rows in memory"):
        rows_of(query, log, a_context(held_rows_max=19))


@pytest.mark.parametrize(
    "clauses",
    [
        "ORDER BY e.data.n PROJECT INTO e",
        "GROUP BY e.id PROJECT INTO UNIQUE(e)",
        "GROUP BY e.id PROJECT INTO LAST(e)",
        "GROUP BY e.data.text PROJECT INTO 1",
        "GROUP BY e.id PROJECT INTO MAX(e.data.text)",
        "PROJECT INTO DISTINCT e.data.text",
        "PROJECT INTO DISTINCT e.data",
        "FROM f IN events WHERE f.data.n == 1 PROJECT INTO 1",
        "FROM s IN (FROM x IN events TOP 20 PROJECT INTO x.data) PROJECT INTO 1",
    ],
)
def test_the_memory_of_what_a_query_holds_is_limited(clauses: str) -> None:
    texts = [str(number) * 2_000 for number in range(10, 30)]
    log = a_log(*({"n": number, "text": text} for number, text in enumerate(texts)))

    with pytest.raises(QueryLimitError, match="more than 50000 bytes of rows in memory"):
        rows_of(f"FROM e IN events {clauses}", log, a_context(held_size_max=50_000))
    rows_of(f"FROM e IN events {clauses}", log, a_context(held_size_max=500_000))


def test_of_last_values_one_is_held_at_a_time() -> None:
    log = a_log(*({"text": "x" * (10 if number % 2 else 20_000)} for number in range(40)))
    query = "FROM e IN events GROUP BY 1 PROJECT INTO LEN(LAST(e.data.text))"

    assert rows_of(query, log, a_context(held_size_max=25_000)) == [10]
    with pytest.raises(QueryLimitError):
        rows_of(query, log, a_context(held_size_max=19_000))


def test_the_numbers_that_a_median_needs_are_limited() -> None:
    log = a_log_of(100)

    with pytest.raises(QueryLimitError):
        rows_of(
            "FROM e IN events PROJECT INTO MEDIAN(e.data.n)", log, a_context(held_size_max=3_000)
        )


def test_only_the_first_rows_of_a_sort_are_held() -> None:
    log = a_log_of(3_000)
    context = a_context(held_rows_max=1_100)

    for direction, first in (("", 0), (" DESC", 2_999)):
        query = f"FROM e IN events ORDER BY e.data.n{direction} TOP 1 PROJECT INTO e.data.n"
        assert rows_of(query, log, context) == [first]


def test_the_combinations_of_a_product_are_limited() -> None:
    log = a_log_of(20)
    query = (
        "FROM a IN events FROM b IN events FROM c IN events "
        "WHERE a.id == 'x' OR c.id == 'y' PROJECT INTO 1"
    )

    assert rows_of(query, log, a_context(product_rows_max=8_000)) == []
    with pytest.raises(QueryLimitError, match="more than 7999 rows of its sources"):
        rows_of(query, log, a_context(product_rows_max=7_999))
