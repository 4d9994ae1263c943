import json
from collections.abc import Iterator

import pytest

from everlog.eventql.planning.plan import EventScan
from everlog.eventql.query import execute, prepare
from tests.support.eventql.executing import (
    a_context,
    check_failure,
    check_rows,
    rows_of,
    texts_of,
)
from tests.support.eventql.logs import MemoryLog, a_line, a_log, event_of

NUMBERS = a_log(*({"n": number} for number in (3, 1, 2, 3.0, None, 1)))


# What rows are.


@pytest.mark.parametrize("block_size", [1, 3, 100])
def test_a_whole_event_is_the_very_text_that_is_stored(block_size: int) -> None:
    log = a_log('{"b":1.0,"a":"\\u00e9"}', {}, '{"x":[1,2]}', {}, block_size=block_size)
    events = [line[line.index(b'{"spec') : line.rindex(b"}")] for line in log.lines]

    assert texts_of("FROM e IN events PROJECT INTO e", log) == events
    assert texts_of("FROM e IN events WHERE e.data.x != 7 PROJECT INTO e", log) == events
    assert texts_of("FROM e IN events ORDER BY e.hash PROJECT INTO e", log) == sorted(
        events, key=lambda event: json.loads(event)["hash"]
    )


def test_data_is_the_very_text_that_is_stored() -> None:
    data = [b'{"b":1.0,"a":{"c":[1e2]}}', b'{"b":5}']
    log = a_log(*(text.decode() for text in data))

    assert texts_of("FROM e IN events PROJECT INTO e.data", log) == data
    assert texts_of("FROM e IN events WHERE e.data.b < 3 PROJECT INTO e.data", log) == data[:1]
    assert texts_of(
        "FROM e IN events PROJECT INTO { d: e.data, a: e.data.a, c: e.data.a.c }", log
    ) == [
        b'{"d":{"b":1.0,"a":{"c":[1e2]}},"a":{"c":[100]},"c":[100]}',
        b'{"d":{"b":5},"a":null,"c":null}',
    ]


def test_whole_numbers_are_written_without_a_fraction_wherever_they_come_from() -> None:
    log = a_log('{"n":2.0}')

    assert texts_of("FROM e IN events PROJECT INTO [e.data.n, e.data.n * 1.0, 2.0]", log) == [
        b"[2,2,2]"
    ]


def test_a_signature_is_there_where_there_is_a_key() -> None:
    log = a_log({"n": 1}, {"n": 2})
    hashes = [event_of(line)["hash"] for line in log.lines]
    context = a_context(sign=lambda hash_: f"signed-{hash_}")
    signed = [f"signed-{hash_}" for hash_ in hashes]

    for projection in ("e.signature", "e", "[e.signature]", "{ e: e }", "IF(TRUE, e, e)"):
        rows = texts_of(f"FROM e IN events PROJECT INTO {projection}", log, context)
        assert [text in row.decode() for text, row in zip(signed, rows, strict=True)] == [
            True,
            True,
        ]
    assert rows_of("FROM e IN events WHERE e.signature == 'x' PROJECT INTO 1", log, context) == []
    check_rows("FROM e IN events PROJECT INTO e.signature", log, None, None)


# Clauses.


@pytest.mark.parametrize(
    "clauses, rows",
    [
        ("WHERE e.data.n == 3 PROJECT INTO e.id", ["0", "3"]),
        ("WHERE e.data.n != NULL AND e.data.n > 1 PROJECT INTO e.id", ["0", "2", "3"]),
        ("SKIP 2 PROJECT INTO e.id", ["2", "3", "4", "5"]),
        ("TOP 2 PROJECT INTO e.id", ["0", "1"]),
        ("SKIP 1 TOP 3 PROJECT INTO e.id", ["1", "2", "3"]),
        ("SKIP 100 PROJECT INTO e.id", []),
        ("TOP 0 PROJECT INTO 1 / 0", []),
        ("TOP 1 + 1 PROJECT INTO e.id", ["0", "1"]),
        ("ORDER BY e.data.n PROJECT INTO e.id", ["4", "1", "5", "2", "0", "3"]),
        ("ORDER BY e.data.n DESC PROJECT INTO e.id", ["3", "0", "2", "5", "1", "4"]),
        ("ORDER BY e.data.n SKIP 1 TOP 2 PROJECT INTO e.id", ["1", "5"]),
        ("ORDER BY e.data.n DESC SKIP 1 TOP 2 PROJECT INTO e.id", ["0", "2"]),
        ("ORDER BY e.time DESC TOP 2 PROJECT INTO e.id", ["5", "4"]),
        ("ORDER BY e.id AS INT DESC PROJECT INTO e.id", ["5", "4", "3", "2", "1", "0"]),
        ("PROJECT INTO DISTINCT e.data.n", [3, 1, 2, None]),
        ("PROJECT INTO DISTINCT { n: e.data.n }", [{"n": 3}, {"n": 1}, {"n": 2}, {"n": None}]),
        ("PROJECT INTO DISTINCT e.type", ["com.example.written"]),
        ("ORDER BY e.data.n DESC SKIP 1 TOP 2 PROJECT INTO DISTINCT e.data.n", [2, 1]),
        ("PROJECT INTO [COUNT(), SUM(e.data.n), MAX(e.data.n)]", [[6, 10, 3]]),
        ("PROJECT INTO COUNT(e.data.n == 3)", [2]),
        ("WHERE e.data.n == 7 PROJECT INTO [COUNT(), SUM(e.data.n), UNIQUE(e.id)]", [[0, 0, None]]),
        ("GROUP BY e.data.n PROJECT INTO [e.data.n, COUNT()]", [[3, 2], [1, 2], [2, 1], [None, 1]]),
        ("GROUP BY e.data.n HAVING COUNT() > 1 PROJECT INTO UNIQUE(e.id)", ["0", "1"]),
        ("GROUP BY e.data.n ORDER BY UNIQUE(e.id) DESC PROJECT INTO e.data.n", [None, 2, 1, 3]),
        ("GROUP BY e.time PROJECT INTO YEAR(e.time)", [2023] * 6),
        ("WHERE e.data.n == 9 GROUP BY e.data.n PROJECT INTO COUNT()", []),
        ("GROUP BY [e.data.n == 3] PROJECT INTO COUNT()", [2, 4]),
        ("GROUP BY e.data.n == 3 PROJECT INTO MEDIAN(e.data.n)", [3, 1]),
        ("GROUP BY e.data.n == 3 PROJECT INTO MIN(e.id)", ["0", "1"]),
        (
            "GROUP BY e.data.n == 3 PROJECT INTO MAX(e.time)",
            ["2023-11-14T22:13:23.000000004Z", "2023-11-14T22:13:25.000000006Z"],
        ),
        ("ORDER BY e.data.n DESC PROJECT INTO UNIQUE(e.id)", ["3"]),
        (
            "ORDER BY e.data.n PROJECT INTO [UNIQUE(e.data.n), COUNT(), COUNT(e.id == '1')]",
            [[1, 6, 1]],
        ),
    ],
)
def test_clauses(clauses: str, rows: list[object]) -> None:
    for block_size in (1, 4, 100):
        log = MemoryLog(NUMBERS.lines, block_size=block_size)
        check_rows(f"FROM e IN events {clauses}", log, *rows)


@pytest.mark.parametrize(
    "query, rows",
    [
        ("FROM s IN subjects PROJECT INTO s", ["/", "/a", "/a-b", "/a/b", "/a/b/c"]),
        ("FROM t IN eventtypes PROJECT INTO t", ["t.a", "t.b", "t.never"]),
        ("FROM s IN subjects WHERE LEN(s) > 2 PROJECT INTO COUNT()", [3]),
        (
            "FROM a IN events FROM b IN events PROJECT INTO [a.id, b.id]",
            [["0", "0"], ["0", "1"], ["1", "0"], ["1", "1"]],
        ),
        (
            (
                "FROM a IN events FROM b IN events WHERE a.type != b.type "
                "PROJECT INTO [a.data, b.data]"
            ),
            [[{"n": 1}, {"n": 2}], [{"n": 2}, {"n": 1}]],
        ),
        (
            "FROM t IN eventtypes FROM e IN events WHERE e.type == t PROJECT INTO [t, e.data.n]",
            [["t.a", 1], ["t.b", 2]],
        ),
        (
            "FROM e IN events FROM x IN (FROM f IN events TOP 0 PROJECT INTO f) PROJECT INTO 1",
            [],
        ),
        (
            "FROM x IN (FROM f IN events TOP 0 PROJECT INTO f) FROM e IN events PROJECT INTO 1",
            [],
        ),
        ("FROM a IN events FROM b IN events FROM c IN events PROJECT INTO COUNT()", [8]),
        (
            (
                "FROM x IN (FROM e IN events TOP 1 PROJECT INTO e) "
                "PROJECT INTO [x.time, x.data.n, x.no]"
            ),
            [["2023-11-14T22:13:20.000000001Z", 1, None]],
        ),
        (
            (
                "FROM x IN (FROM e IN events GROUP BY e.type PROJECT INTO { t: e.type, n: COUNT() }"
                ") "
                "ORDER BY x.t DESC PROJECT INTO x"
            ),
            [{"t": "t.b", "n": 1}, {"t": "t.a", "n": 1}],
        ),
        (
            (
                "FROM x IN (FROM e IN events ORDER BY e.time DESC PROJECT INTO e.data.n) "
                "PROJECT INTO SUM(x)"
            ),
            [3],
        ),
        (
            "FROM x IN (FROM e IN events PROJECT INTO DISTINCT e.source) PROJECT INTO x",
            ["https://example.com"],
        ),
    ],
)
def test_sources(query: str, rows: list[object]) -> None:
    lines = [
        a_line(0, {"n": 1}, type="t.a", subject="/a/b/c"),
        a_line(1, {"n": 2}, type="t.b", subject="/a-b"),
    ]

    check_rows(query, MemoryLog(lines, other_types=("t.never",)), *rows)


# Errors.


def test_rows_before_an_error_come_first() -> None:
    log = a_log({"n": 1}, {"n": 2}, {"n": "x"}, {"n": 3}, block_size=100)

    check_failure(
        "FROM e IN events WHERE e.data.n > 0 PROJECT INTO e.data.n",
        log,
        1,
        2,
        message="'>' cannot compare STRING with INT",
        blamed="e.data.n > 0",
        event_id="2",
    )
    check_failure(
        "FROM e IN events PROJECT INTO e.data.n * 1",
        log,
        1,
        2,
        message="'*' expects numbers, but found STRING and INT",
        blamed="e.data.n * 1",
        event_id="2",
    )


def test_an_error_behind_the_last_row_that_is_asked_for_is_none() -> None:
    log = a_log({"n": 1}, {"n": "x"}, block_size=100)

    check_rows("FROM e IN events TOP 1 PROJECT INTO e.data.n * 1", log, 1)
    check_rows("FROM e IN events ORDER BY e.data.n TOP 1 PROJECT INTO e.data.n * 1", log, 1)


def test_sorted_rows_fail_when_it_is_their_turn() -> None:
    log = a_log({"n": 3}, {"n": "x"}, {"n": 1})

    check_failure(
        "FROM e IN events ORDER BY e.data.n PROJECT INTO e.data.n * 1",
        log,
        1,
        3,
        message="'*' expects numbers, but found STRING and INT",
        blamed="e.data.n * 1",
        event_id="1",
    )


@pytest.mark.parametrize(
    "clauses, blamed, message, event_id",
    [
        (
            "WHERE e.data.n PROJECT INTO 1",
            "e.data.n",
            "WHERE expects a BOOLEAN, but found INT",
            "0",
        ),
        (
            "PROJECT INTO SUM(e.data.x)",
            "SUM(e.data.x)",
            "SUM expects numbers, but found STRING",
            "1",
        ),
        (
            "GROUP BY e.type PROJECT INTO MAX(e.data.m)",
            "MAX(e.data.m)",
            "MAX cannot compare INT with STRING",
            "1",
        ),
        (
            "PROJECT INTO SUM(e.data.max)",
            "SUM(e.data.max)",
            "the result is beyond the range of INT",
            None,
        ),
        ("GROUP BY 1 / e.data.zero PROJECT INTO 1", "1 / e.data.zero", "division by zero", "1"),
        (
            "GROUP BY e.type HAVING UNIQUE(e.data.n) PROJECT INTO 1",
            "UNIQUE(e.data.n)",
            "HAVING expects a BOOLEAN, but found INT",
            None,
        ),
        (
            "GROUP BY e.type PROJECT INTO 1 / (COUNT() - 2)",
            "1 / (COUNT() - 2)",
            "division by zero",
            None,
        ),
        (
            "GROUP BY e.type ORDER BY 1 / (COUNT() - 2) PROJECT INTO 1",
            "1 / (COUNT() - 2)",
            "division by zero",
            None,
        ),
        (
            "ORDER BY 1 / e.data.zero PROJECT INTO UNIQUE(e.id)",
            "1 / e.data.zero",
            "division by zero",
            "1",
        ),
        (
            "ORDER BY e.id PROJECT INTO [UNIQUE(e.id), SUM(e.data.x)]",
            "SUM(e.data.x)",
            "SUM expects numbers, but found STRING",
            None,
        ),
        ("TOP (1 / 0) AS INT PROJECT INTO 1", "(1 / 0)", "division by zero", None),
        (
            "SKIP LEN('') - 1 PROJECT INTO 1",
            "LEN('') - 1",
            "SKIP expects 0 or more rows, but found -1",
            None,
        ),
        (
            "TOP IF(TRUE, 'a', 1) PROJECT INTO 1",
            "IF(TRUE, 'a', 1)",
            "TOP expects an INT, but found STRING",
            None,
        ),
        (
            "FROM f IN events WHERE f.id != '0' PROJECT INTO 1 / f.data.zero",
            "1 / f.data.zero",
            "division by zero",
            "1",
        ),
    ],
)
def test_errors_say_where_they_are(
    clauses: str, blamed: str, message: str, event_id: str | None
) -> None:
    log = a_log(
        {"n": 1, "x": 1, "m": 1, "zero": 1, "max": 2**63 - 1},
        {"n": 1, "x": "a", "m": "b", "zero": 0, "max": 2**63 - 1},
    )

    check_failure(
        f"FROM e IN events {clauses}", log, message=message, blamed=blamed, event_id=event_id
    )


def test_groups_before_one_that_is_an_error_come_first() -> None:
    log = a_log({"k": 1, "n": 1}, {"k": 2, "n": 2**63 - 1}, {"k": 2, "n": 1})

    check_failure(
        "FROM e IN events GROUP BY e.data.k PROJECT INTO SUM(e.data.n)",
        log,
        1,
        message="the result is beyond the range of INT",
        blamed="SUM(e.data.n)",
        event_id=None,
    )


def test_many_groups_are_handed_on_in_parts() -> None:
    log = a_log(*({"k": number} for number in range(600)), block_size=100)
    query = prepare("FROM e IN events GROUP BY e.data.k PROJECT INTO COUNT()")

    chunks = [chunk for chunk in execute(query, log, a_context()) if chunk]

    assert [len(chunk) for chunk in chunks] == [256, 256, 88]


# Work that is not done.


class WatchedLog(MemoryLog):
    """A log that counts the blocks it was asked for."""

    blocks = 0
    closed = False

    def scan(self, scan: EventScan) -> Iterator[bytes]:
        try:
            for block in super().scan(scan):
                self.blocks += 1
                yield block
        finally:
            self.closed = True


def a_long_log(length: int = 100) -> WatchedLog:
    return WatchedLog([a_line(number, {"n": number}) for number in range(length)], block_size=10)


def test_nothing_is_read_before_somebody_asks() -> None:
    log = a_long_log()

    chunks = execute(prepare("FROM e IN events PROJECT INTO e.id"), log, a_context())

    assert log.blocks == 0
    assert next(chunks) == [b'"%d"' % number for number in range(10)]
    assert log.blocks == 1


def test_whoever_stops_asking_has_stopped_the_query() -> None:
    log = a_long_log()
    chunks = execute(prepare("FROM e IN events PROJECT INTO e.id"), log, a_context())
    next(chunks)

    del chunks

    assert log.closed
    assert log.blocks == 1


@pytest.mark.parametrize(
    "query, blocks",
    [
        ("FROM e IN events TOP 15 PROJECT INTO e", 2),
        ("FROM e IN events ORDER BY e.time DESC TOP 5 PROJECT INTO e", 1),
        ("FROM e IN events WHERE e.data.n >= 20 PROJECT INTO COUNT() > 0", 3),
        ("FROM e IN events WHERE e.data.n >= 0 PROJECT INTO COUNT() < 15", 2),
        ("FROM e IN events WHERE e.data.n >= 0 PROJECT INTO COUNT() >= 0", 0),
        ("FROM e IN events PROJECT INTO COUNT()", 0),
        ("FROM e IN events WHERE e.id AS INT > 5 PROJECT INTO COUNT() == 94", 0),
        ("FROM e IN events GROUP BY e.type PROJECT INTO [e.type, COUNT()]", 0),
        ("FROM e IN events WHERE e.type == 'other' PROJECT INTO e", 0),
        ("FROM e IN events TOP 0 PROJECT INTO e", 0),
        (
            "FROM x IN (FROM e IN events ORDER BY e.time DESC PROJECT INTO e) TOP 1 PROJECT INTO x",
            1,
        ),
    ],
)
def test_no_more_is_read_than_needed(query: str, blocks: int) -> None:
    log = a_long_log()

    rows_of(query, log)

    assert log.blocks == blocks


def test_a_query_without_rows_gives_whoever_waits_a_turn_after_each_block() -> None:
    for clauses in (
        "WHERE e.data.n < 0 PROJECT INTO e",
        "ORDER BY e.data.n PROJECT INTO e",
        "GROUP BY e.data.n PROJECT INTO COUNT()",
        "PROJECT INTO SUM(e.data.n)",
        "FROM f IN events WHERE e.data.n < f.data.n - 100 PROJECT INTO e.id",
    ):
        log = a_long_log()
        chunks = execute(prepare(f"FROM e IN events {clauses}"), log, a_context())

        assert next(chunks) == []
        assert log.blocks == 1


def test_large_products_are_handed_on_in_parts() -> None:
    log = a_long_log(60)
    query = prepare("FROM a IN events FROM b IN events PROJECT INTO a.id")

    chunks = [chunk for chunk in execute(query, log, a_context()) if chunk]

    assert sum(map(len, chunks)) == 3600
    assert max(map(len, chunks)) <= 300
