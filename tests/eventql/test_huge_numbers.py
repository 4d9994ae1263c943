"""Numbers that JSON has and EventQL has not: an error of whoever reads them, and of nobody else."""

import pytest

from tests.support.eventql.executing import (
    a_context,
    check_failure,
    check_rows,
    rows_of,
    texts_of,
)
from tests.support.eventql.logs import MemoryLog, a_log

HUGE = "9" * 400
BEYOND = "a number is beyond the range of FLOAT64"


def a_log_with_huge_numbers(*, block_size: int = 3) -> MemoryLog:
    """Return a log whose event '1' has numbers beyond FLOAT64 among others."""
    odd = f'{{"x":{HUGE},"in":{{"x":-{HUGE},"y":2}},"a":["s",{HUGE}],"y":2}}'
    return a_log('{"x":1,"y":1}', odd, '{"x":3,"y":3}', block_size=block_size)


@pytest.mark.parametrize("block_size", [1, 3])
@pytest.mark.parametrize(
    "clauses, blamed, rows",
    [
        ("PROJECT INTO e.data.x", "e.data.x", [1]),
        ("PROJECT INTO e.data.x + 1", "e.data.x", [2]),
        ("PROJECT INTO [e.data.y, -e.data.x]", "e.data.x", [[1, -1]]),
        ("PROJECT INTO e.data.x == 2", "e.data.x", [False]),
        ("PROJECT INTO e.data.x == e.data.y", "e.data.x", [True]),
        ("PROJECT INTO e.data.y != e.data.x", "e.data.x", [False]),
        ("PROJECT INTO e.data.x == NULL", "e.data.x", [False]),
        ("PROJECT INTO e.data.x == 'a'", "e.data.x", [False]),
        ("PROJECT INTO e.data.x < 2", "e.data.x", [True]),
        ("PROJECT INTO [1, 'a'] CONTAINS e.data.x", "e.data.x", [True]),
        ("PROJECT INTO ['a'] CONTAINS e.data.x", "e.data.x", [False]),
        ("PROJECT INTO e.data.x AS STRING", "e.data.x", ["1"]),
        ("PROJECT INTO ABS(e.data.x)", "e.data.x", [1]),
        ("PROJECT INTO IF(e.data.x == NULL, 1, 2)", "e.data.x", [2]),
        ("PROJECT INTO IF(TRUE, e.data.x, 2)", "e.data.x", [1]),
        ("PROJECT INTO { a: [e.data.x, 1 + 1] }", "e.data.x", [{"a": [1, 2]}]),
        ("PROJECT INTO e.data.in.x == 1", "e.data.in.x", [False]),
        ("PROJECT INTO e.data.in == {}", "e.data.in", [False]),
        ("PROJECT INTO e.data.a CONTAINS 1", "e.data.a", [False]),
        ("PROJECT INTO e.data.a == e.data.y", "e.data.a", [False]),
        ("PROJECT INTO e == {}", "e", [False]),
        ("PROJECT INTO DISTINCT e.data.x", "e.data.x", [1]),
        ("PROJECT INTO DISTINCT e.data.a", "e.data.a", [None]),
        ("WHERE e.data.x == 2 PROJECT INTO 1", "e.data.x", []),
        ("WHERE e.data == { x: 1, y: 1 } PROJECT INTO 5", "e.data", [5]),
        ("ORDER BY e.data.x PROJECT INTO 1", "e.data.x", []),
        ("ORDER BY e.data.a PROJECT INTO 1", "e.data.a", []),
        ("ORDER BY e.data.y DESC PROJECT INTO e.data.x", "e.data.x", [3]),
        ("ORDER BY e.data.y DESC PROJECT INTO e.data.x * 1", "e.data.x", [3]),
        ("GROUP BY e.data.x PROJECT INTO 1", "e.data.x", []),
        ("GROUP BY e.data.a PROJECT INTO 1", "e.data.a", []),
        ("GROUP BY e.data.y PROJECT INTO MAX(e.data.x)", "e.data.x", []),
        ("PROJECT INTO COUNT(e.data.x > 1)", "e.data.x", []),
        ("PROJECT INTO SUM(e.data.x)", "e.data.x", []),
        ("ORDER BY e.data.y PROJECT INTO SUM(e.data.x)", "e.data.x", []),
    ],
)
def test_a_number_beyond_float64_is_an_error_of_whoever_reads_it(
    clauses: str, blamed: str, rows: list[object], block_size: int
) -> None:
    log = a_log_with_huge_numbers(block_size=block_size)

    check_failure(
        f"FROM e IN events {clauses}", log, *rows, message=BEYOND, blamed=blamed, event_id="1"
    )


@pytest.mark.parametrize(
    "clauses, rows",
    [
        ("TOP 1 PROJECT INTO e.data.x + 1", [2]),
        ("WHERE e.id != '1' PROJECT INTO e.data.x + 1", [2, 4]),
        ("WHERE e.data.y != 2 PROJECT INTO e.data.x + 1", [2, 4]),
        ("WHERE e.id AS INT > 1 PROJECT INTO e.data.x + 1", [4]),
        ("ORDER BY e.data.y DESC TOP 1 PROJECT INTO e.data.x + 1", [4]),
        ("PROJECT INTO IF(e.data.y == 2, 0, e.data.x)", [1, 0, 3]),
        ("PROJECT INTO e.data.y != 2 AND e.data.x == 1", [True, False, False]),
        ("PROJECT INTO e.data.in.y", [None, 2, None]),
        ("PROJECT INTO e.data.x.y", [None, None, None]),
        ("PROJECT INTO e.data.x.y == 1", [False, False, False]),
        ("PROJECT INTO e.data.a CONTAINS 's'", [False, True, False]),
        ("PROJECT INTO e.data.a == NULL", [True, False, True]),
        ("PROJECT INTO UNIQUE(e.data.x)", [1]),
    ],
)
def test_rows_that_do_not_read_such_a_number_are_not_disturbed(
    clauses: str, rows: list[object]
) -> None:
    check_rows(f"FROM e IN events {clauses}", a_log_with_huge_numbers(), *rows)


def test_such_a_number_is_written_as_it_is_stored_within_data() -> None:
    log = a_log_with_huge_numbers()
    array = f'["s",{HUGE}]'.encode()

    assert texts_of("FROM e IN events WHERE e.id == '1' PROJECT INTO e.data.a", log) == [array]
    [data] = texts_of("FROM e IN events WHERE e.data.y == 2 PROJECT INTO e.data", log)
    assert HUGE.encode() in data


def test_a_bug_is_not_taken_for_such_a_number() -> None:
    def broken() -> float:
        raise AttributeError("a bug")

    for clauses in ("", "ORDER BY e.id"):
        with pytest.raises(AttributeError, match="a bug"):
            rows_of(
                f"FROM e IN events {clauses} PROJECT INTO RAND()",
                a_log_with_huge_numbers(),
                a_context(random=broken),
            )


@pytest.mark.parametrize("reader", ["e", "f"])
def test_such_a_number_is_an_error_in_a_product_and_in_a_subquery(reader: str) -> None:
    log = a_log_with_huge_numbers()
    other = "f" if reader == "e" else "e"

    check_failure(
        f"FROM {other} IN events FROM {reader} IN events WHERE {other}.id == '0' "
        f"PROJECT INTO {reader}.data.x + 1",
        log,
        2,
        message=BEYOND,
        blamed=f"{reader}.data.x",
        event_id="1",
    )
    check_failure(
        f"FROM {reader} IN (FROM {other} IN events TOP 3 PROJECT INTO {other}.data.x) "
        f"PROJECT INTO {reader}",
        log,
        1,
        message=BEYOND,
        blamed=f"{other}.data.x",
        event_id="1",
    )
