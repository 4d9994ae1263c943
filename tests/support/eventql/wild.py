"""Wild queries: expressions put together without regard to types.

Most are refused; those that are not show what happens where kinds meet that no sensible query
brings together, and where the product trusts what it knows about types.
"""

import random
from typing import Final

from tests.support.eventql.corpora import Corpus, Written, make_corpus
from tests.support.eventql.random_logs import random_json

LEAVES: Final = (
    *("e.data.x", "e.data.y", "e.data.z") * 6,
    *("e.data.x.a", "e.data", "e.id", "e.type", "e.time", "e.traceparent", "e.subject"),
    *("NULL", "TRUE", "FALSE", "0", "1", "2.5", "1.0", "9223372036854775807", "1e300"),
    *("''", "'a'", "'1'", "'true'", "'2024-02-29'", "'12:00:00'", "'2024-02-29T12:00:00Z'"),
    *("[]", "[1, 'a', NULL]", "{}", "{ a: 1 }", "NOW()", "PI()", "e.time AS DATE"),
    *("NOW() AS TIME", "e.id AS INT", "e.data.x AS STRING"),
)
BINARY: Final = (
    *("+", "-", "*", "/", "==", "!=", "<", "<=", ">", ">=", "AND", "OR", "XOR", "CONTAINS"),
    # The only ones that hardly any kind is refused by.
    *("==", "!=", "==", "!="),
)
UNARY: Final = ("NOT ", "-", "+")
TYPES: Final = ("STRING", "INT", "FLOAT64", "BOOLEAN", "DATE", "TIME", "DATETIME")
# Names with the number of their arguments.
FUNCTIONS: Final = (
    *(("ABS", 1), ("CEIL", 1), ("FLOOR", 1), ("ROUND", 1), ("COS", 1), ("EXP", 1), ("SQRT", 1)),
    *(("POW", 2), ("LOWER", 1), ("UPPER", 1), ("TRIM", 1), ("LEN", 1), ("INSTR", 2)),
    *(("SUBSTRING", 2), ("SUBSTRING", 3), ("REPLACE", 3), ("STARTSWITH", 2), ("ENDSWITH", 2)),
    *(("CONCAT", 2), ("CONCAT", 3), ("MOD", 2), ("MOD", 2)),
    *(("YEAR", 1), ("DAY", 1), ("WEEKDAY", 1), ("HOUR", 1), ("SECOND", 1), ("IF", 3), ("IF", 3)),
)
# What an index can answer, and what may fail: a plan must not hide the failure.
INDEX_CONDITIONS: Final = (
    *("e.id AS INT < 4", "e.id AS INT >= 2", "e.id == '3'", "3 > e.id AS INT", "e.id AS INT == 1"),
    *("e.type == 'test.a'", "e.type == 'test.b'", "['test.a'] CONTAINS e.type", "e.type != 'x'"),
    *("e.subject == '/wild/1'", "STARTSWITH(e.subject, '/wild/1')", "STARTSWITH(e.subject, '/')"),
    "e.time > '2024-02-28T23:30:00Z' AS DATETIME",
    "e.time <= '2024-02-29T01:00:00.000000001Z' AS DATETIME",
)
FALLIBLE_CONDITIONS: Final = (
    *("e.data.x", "NOT e.data.y", "e.data.x < 5", "e.data.y > 'a'", "e.data.x <= e.data.z"),
    *("e.data.x CONTAINS 1", "e.data.z + 1 > 0", "STARTSWITH(e.data.x, 'a')", "1 / 0 > 0"),
    *("e.data.x AS INT > 0", "LEN(e.data.z) > 1", "e.data.x != NULL AND e.data.x"),
)
CONNECTIVES: Final = (*("AND",) * 8, "OR", "XOR")

AGGREGATES: Final = (
    *("COUNT", "SUM", "AVG", "MIN", "MAX", "MEDIAN", "STDDEV", "VARIANCE"),
    *("UNIQUE", "FIRST", "LAST"),
)


def wild_corpus(rng: random.Random) -> Corpus:
    """Make a log in which each field is anything, but often the same kind of thing."""
    habits = {name: random_json(rng, depth=2) for name in "xyz"}
    lines = []
    for number in range(rng.randrange(1, 8)):
        values = (
            f'"{name}":{habit if rng.random() < 0.5 else random_json(rng, depth=2)}'
            for name, habit in habits.items()
            if rng.random() < 0.9
        )
        type_ = rng.choice(("test.a", "test.b"))
        lines.append(Written(type_, f"/wild/{number % 3}", f"{{{','.join(values)}}}"))
    return make_corpus(lines)


def wild_query(rng: random.Random) -> str:
    """Make a query of one source, in which any expression may stand anywhere."""
    match rng.randrange(14):
        case 0:
            return f"FROM e IN events WHERE {wild(rng, 2)} PROJECT INTO e.id"
        case 8 | 9 | 10:
            projection = rng.choice(("e.id", "e.id", "COUNT()", "DISTINCT e.type", "e.data.x"))
            order = rng.choice(("", "", "", "ORDER BY e.id DESC", "ORDER BY e.data.x"))
            return f"FROM e IN events WHERE {conditions(rng)} {order} PROJECT INTO {projection}"
        case 11:
            inner = f"FROM e IN events WHERE {conditions(rng)} PROJECT INTO e"
            return f"FROM e IN ({inner}) WHERE {conditions(rng)} PROJECT INTO e.id"
        case 12:
            other = f"FROM f IN events WHERE {conditions(rng)}"
            return f"FROM e IN events {other} AND {conditions(rng)} PROJECT INTO [e.id, f.id]"
        case 1:
            direction = rng.choice(("", " DESC"))
            return (
                f"FROM e IN events ORDER BY {wild(rng, 2)}{direction} PROJECT INTO {wild(rng, 1)}"
            )
        case 2:
            key = wild(rng, 1)
            return f"FROM e IN events GROUP BY {key} PROJECT INTO [{key}, {aggregated(rng, 2)}]"
        case 3:
            return f"FROM e IN events PROJECT INTO DISTINCT {wild(rng, 2)}"
        case 4:
            return f"FROM e IN events PROJECT INTO {aggregated(rng, 2)}"
        case 5:
            inner = f"FROM f IN (FROM e IN events PROJECT INTO {{ data: {wild(rng, 2)} }})"
            return f"{inner} PROJECT INTO {wild(rng, 2).replace('e.data', 'f.data')}"
        case _:
            return f"FROM e IN events PROJECT INTO {wild(rng, 3)}"


def conditions(rng: random.Random) -> str:
    """Make a condition of several, some of which may fail."""
    parts = [rng.choice(rng.choice((INDEX_CONDITIONS, FALLIBLE_CONDITIONS)))]
    for _ in range(rng.randrange(4)):
        condition = rng.choice(rng.choice((INDEX_CONDITIONS, FALLIBLE_CONDITIONS)))
        parts += [rng.choice(CONNECTIVES), condition]
    text = " ".join(parts)
    return f"NOT ({text})" if rng.random() < 0.1 else f"({text})"


def wild(rng: random.Random, depth: int) -> str:
    """Make an expression."""
    if depth == 0 or rng.random() < 0.15:
        return rng.choice(LEAVES)
    match rng.randrange(8):
        case 0 | 1 | 2:
            left, right = wild(rng, depth - 1), wild(rng, depth - 1)
            return f"({left} {rng.choice(BINARY)} {right})"
        case 3:
            return f"({rng.choice(UNARY)}{wild(rng, depth - 1)})"
        case 4:
            return f"(({wild(rng, depth - 1)}) AS {rng.choice(TYPES)})"
        case 5 | 6:
            name, count = rng.choice(FUNCTIONS)
            return f"{name}({', '.join(wild(rng, depth - 1) for _ in range(count))})"
        case _:
            items = ", ".join(wild(rng, depth - 1) for _ in range(rng.randrange(3)))
            return rng.choice((f"[{items}]", f"{{ a: {wild(rng, depth - 1)} }}"))


def aggregated(rng: random.Random, depth: int) -> str:
    """Make an expression over aggregates."""
    if depth == 0 or rng.random() < 0.3:
        return f"{rng.choice(AGGREGATES)}({wild(rng, 1)})" if rng.random() < 0.8 else "COUNT()"
    match rng.randrange(4):
        case 0 | 1:
            left, right = aggregated(rng, depth - 1), aggregated(rng, depth - 1)
            return f"({left} {rng.choice(BINARY)} {right})"
        case 2:
            return f"({aggregated(rng, depth - 1)} AS {rng.choice(TYPES)})"
        case _:
            return f"[{aggregated(rng, depth - 1)}, {aggregated(rng, depth - 1)}]"
