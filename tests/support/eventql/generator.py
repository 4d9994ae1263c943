"""Random queries that mean something about a log.

`sensible_query` uses the names and values of a vocabulary, types mostly fit, and few of its
queries are refused or fail. All clauses, functions, aggregates and sources come, and often
the conditions that a planner can answer from indexes. Rows depend on the log alone: there is no
RAND, and NOW only if asked for. The same seed makes the same queries.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from everlog.eventql.language.syntax import Expression, From, Group, Order, Path, Query
from everlog.eventql.types import BinaryOperator, UnaryOperator
from tests.support.eventql.builders import (
    NOWHERE,
    array,
    binary,
    call,
    conversion,
    literal,
    name,
    path,
    record,
    unary,
)


class Sort(StrEnum):
    """What an expression is to be; every sort may also be NULL."""

    NUMBER = "number"
    STRING = "string"
    BOOLEAN = "boolean"
    DATETIME = "datetime"
    DATE = "date"
    TIME = "time"
    ARRAY = "array"
    # Whatever JSON has.
    MIXED = "mixed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """What queries about one log talk about; no sequence is empty."""

    event_types: Sequence[str]
    subjects: Sequence[str]
    # RFC 3339, near the times of the events.
    times: Sequence[str]
    # Near the number of events.
    id_stop: int
    # Paths below `data`, and what mostly stands there where they exist.
    fields: Mapping[tuple[str, ...], Sort]
    # Values that stand in `data`, or nearly.
    words: Sequence[str]
    numbers: Sequence[int | float]


# The columns that a row of a source has, by path; an empty path is the row itself.
Columns = Mapping[tuple[str, ...], Sort]

EVENT_COLUMNS: Final[Columns] = {
    ("id",): Sort.STRING,
    ("type",): Sort.STRING,
    ("subject",): Sort.STRING,
    ("source",): Sort.STRING,
    ("time",): Sort.DATETIME,
    ("hash",): Sort.STRING,
    ("traceparent",): Sort.STRING,
}
SCALAR_COLUMNS: Final[Columns] = {(): Sort.STRING}

COMPARISONS: Final = (
    BinaryOperator.LESS,
    BinaryOperator.LESS_OR_EQUAL,
    BinaryOperator.GREATER,
    BinaryOperator.GREATER_OR_EQUAL,
)
EQUALITIES: Final = (BinaryOperator.EQUAL, BinaryOperator.NOT_EQUAL)
CONNECTIVES: Final = (
    *(BinaryOperator.AND,) * 4,
    *(BinaryOperator.OR,) * 3,
    BinaryOperator.XOR,
)
ARITHMETIC: Final = (BinaryOperator.ADD, BinaryOperator.SUBTRACT, BinaryOperator.MULTIPLY)
ORDERED: Final = (Sort.NUMBER, Sort.STRING, Sort.DATETIME, Sort.DATE, Sort.TIME)
NUMBER_AGGREGATES: Final = ("SUM", "AVG", "MIN", "MAX", "MEDIAN", "STDDEV", "VARIANCE")


def sensible_query(rng: random.Random, vocabulary: Vocabulary, *, has_now: bool = False) -> Query:
    """Return a query that mostly means something about the log that the vocabulary is from."""
    query, _ = _query(rng, vocabulary, has_now=has_now, depth=2)
    return query


def _query(
    rng: random.Random, vocabulary: Vocabulary, *, has_now: bool, depth: int
) -> tuple[Query, Columns]:
    """Return a query and the columns of its rows."""
    aliases = rng.sample(("e", "f", "event", "row", "_x"), rng.choice((1, 1, 1, 1, 1, 1, 2, 2, 3)))
    sources: list[From] = []
    columns: dict[Path, Sort] = {}
    for alias in aliases:
        source, below = _source(rng, vocabulary, alias, has_now=has_now, depth=depth)
        sources.append(source)
        columns |= {path(alias, *fields): sort for fields, sort in below.items()}
    rows = _Rows(rng, vocabulary, columns, has_now=has_now)

    where = rows.expression(Sort.BOOLEAN, 3) if rng.random() < 0.7 else None
    has_key = rng.random() < 0.3
    key = rows.expression(rows.any_sort(), 1) if has_key else None
    is_aggregated = has_key or rng.random() < 0.15
    values: _Rows = _Groups(rows, key) if is_aggregated else rows
    having = values.expression(Sort.BOOLEAN, 2) if has_key and rng.random() < 0.4 else None
    # Without GROUP BY, ORDER BY of an aggregated query is about rows.
    ordered = rows if is_aggregated and not has_key else values
    order = Order(ordered.key(), rng.random() < 0.5) if rng.random() < 0.4 else None
    projection, projected = values.projection(aliases)
    query = Query(
        sources=tuple(sources),
        where=where,
        group=None if key is None else Group(key, having),
        order=order,
        projection=projection,
        is_distinct=rng.random() < 0.2,
        skip=_count(rng) if rng.random() < 0.2 else None,
        top=_count(rng) if rng.random() < 0.25 else None,
        span=NOWHERE,
    )
    return query, projected


def _source(
    rng: random.Random, vocabulary: Vocabulary, alias: str, *, has_now: bool, depth: int
) -> tuple[From, Columns]:
    choice = rng.random()
    if depth and choice < 0.12:
        query, columns = _query(rng, vocabulary, has_now=has_now, depth=depth - 1)
        return From(name(alias), query), columns
    if choice < 0.2:
        names = rng.choice(("subjects", "eventtypes", "SUBJECTS"))
        return From(name(alias), name(names)), SCALAR_COLUMNS
    data = {("data", *fields): sort for fields, sort in vocabulary.fields.items()}
    return From(name(alias), name(rng.choice(("events", "events", "Events")))), {
        **EVENT_COLUMNS,
        **data,
    }


def _count(rng: random.Random) -> Expression:
    """Return a value for SKIP or TOP."""
    count = literal(rng.choice((0, 1, 1, 2, 3, 5, 10, 100)))
    return count if rng.random() < 0.9 else binary(BinaryOperator.ADD, count, literal(1))


class _Rows:
    """Expressions over the columns of a row."""

    def __init__(
        self,
        rng: random.Random,
        vocabulary: Vocabulary,
        columns: Mapping[Path, Sort],
        *,
        has_now: bool,
    ) -> None:
        self.rng = rng
        self.vocabulary = vocabulary
        self.columns = columns
        self.has_now = has_now

    def any_sort(self) -> Sort:
        return self.rng.choice(tuple(Sort))

    def columns_of(self, sort: Sort) -> list[Path]:
        return [column for column, have in self.columns.items() if have is sort]

    def leaf(self, sort: Sort) -> Expression:
        """Return a column if there is one, or a constant."""
        found = self.columns_of(sort)
        if found and self.rng.random() < 0.8:
            return self.rng.choice(found)
        return self.constant(sort)

    def constant(self, sort: Sort) -> Expression:
        rng, vocabulary = self.rng, self.vocabulary
        match sort:
            case Sort.NUMBER:
                return literal(abs(rng.choice(vocabulary.numbers)))
            case Sort.STRING:
                texts = (vocabulary.event_types, vocabulary.subjects, vocabulary.words)
                return literal(rng.choice(rng.choice(texts)))
            case Sort.BOOLEAN:
                return literal(rng.random() < 0.5)
            case Sort.DATETIME:
                if self.has_now and rng.random() < 0.3:
                    return call("NOW")
                return conversion(literal(rng.choice(vocabulary.times)), "DATETIME")
            case Sort.DATE | Sort.TIME:
                return conversion(self.constant(Sort.DATETIME), sort.upper())
            case Sort.ARRAY:
                item = rng.choice((Sort.NUMBER, Sort.STRING, Sort.BOOLEAN, Sort.MIXED))
                return array(*(self.constant(item) for _ in range(rng.randrange(4))))
            case Sort.MIXED:
                return rng.choice(
                    (literal(None), record(), self.constant(Sort.NUMBER), record(("a", literal(1))))
                )

    def expression(self, sort: Sort, depth: int) -> Expression:
        """Return an expression of a sort (now and then of another one)."""
        if self.rng.random() < 0.003:
            sort = self.any_sort()
        if depth == 0 or (sort is not Sort.BOOLEAN and self.rng.random() < 0.3):
            # Conditions go without columns, which may be NULL.
            return self.condition(0) if sort is Sort.BOOLEAN else self.leaf(sort)
        if self.rng.random() < 0.04:
            condition = self.condition(depth - 1)
            branches = (self.expression(sort, depth - 1), self.expression(sort, depth - 1))
            return call(self.cased("IF"), condition, *branches)
        match sort:
            case Sort.NUMBER:
                return self.number(depth - 1)
            case Sort.STRING:
                return self.text(depth - 1)
            case Sort.BOOLEAN:
                return self.condition(depth)
            case Sort.DATE | Sort.TIME:
                return conversion(self.expression(Sort.DATETIME, depth - 1), sort.upper())
            case Sort.ARRAY:
                items = (self.expression(self.any_sort(), 0) for _ in range(self.rng.randrange(3)))
                return array(*items)
            case _:
                return self.leaf(sort)

    def number(self, depth: int) -> Expression:
        rng = self.rng
        match rng.randrange(10):
            case 0 | 1:
                operands = (
                    self.expression(Sort.NUMBER, depth),
                    self.expression(Sort.NUMBER, depth),
                )
                return binary(rng.choice(ARITHMETIC), *operands)
            case 2:
                divisor = literal(rng.choice((1, 2, 3, 0.5, 10)))
                return binary(BinaryOperator.DIVIDE, self.expression(Sort.NUMBER, depth), divisor)
            case 3:
                sign = rng.choice((UnaryOperator.MINUS, UnaryOperator.PLUS))
                return unary(sign, self.expression(Sort.NUMBER, depth))
            case 4:
                function = rng.choice(("ABS", "CEIL", "FLOOR", "ROUND", "SIN", "COS", "TAN"))
                return call(self.cased(function), self.expression(Sort.NUMBER, depth))
            case 5:
                inner = self.expression(Sort.NUMBER, depth)
                exponent = literal(rng.choice((0, 1, 2)))
                small = call("COS", inner)
                roots = (call("SQRT", call("ABS", inner)), call("EXP", small), call("PI"))
                return rng.choice((*roots, call("POW", inner, exponent)))
            case 6:
                text = self.expression(Sort.STRING, depth)
                counts = (call("LEN", text), call("instr", text, self.constant(Sort.STRING)))
                return rng.choice(counts)
            case 7:
                divisor = literal(rng.choice((1, 2, 3, 0.5, 10)))
                return call(self.cased("MOD"), self.expression(Sort.NUMBER, depth), divisor)
            case 8:
                function = rng.choice(("YEAR", "MONTH", "DAY", "WEEKDAY"))
                sort = rng.choice((Sort.DATETIME, Sort.DATE))
                return call(self.cased(function), self.expression(sort, depth))
            case _:
                function = rng.choice(("HOUR", "MINUTE", "SECOND"))
                sort = rng.choice((Sort.DATETIME, Sort.TIME))
                return call(self.cased(function), self.expression(sort, depth))

    def text(self, depth: int) -> Expression:
        rng = self.rng
        match rng.randrange(5):
            case 0:
                function = rng.choice(("LOWER", "UPPER", "TRIM", "LTRIM", "RTRIM"))
                return call(self.cased(function), self.expression(Sort.STRING, depth))
            case 1:
                places = [literal(rng.randrange(12)) for _ in range(rng.randrange(1, 3))]
                return call("SUBSTRING", self.expression(Sort.STRING, depth), *places)
            case 2:
                parts = [literal(rng.choice((*self.vocabulary.words, "", "e"))) for _ in range(2)]
                return call("REPLACE", self.expression(Sort.STRING, depth), *parts)
            case 3:
                texts = [self.expression(Sort.STRING, 0) for _ in range(rng.randrange(1, 3))]
                return call(self.cased("CONCAT"), self.expression(Sort.STRING, depth), *texts)
            case _:
                sort = rng.choice((*ORDERED, Sort.BOOLEAN))
                return conversion(self.expression(sort, depth), self.cased("STRING"))

    def condition(self, depth: int) -> Expression:
        rng = self.rng
        if depth and rng.random() < 0.5:
            if rng.random() < 0.2:
                return unary(UnaryOperator.NOT, self.condition(depth - 1))
            operands = (self.condition(depth - 1), self.condition(depth - 1))
            return binary(rng.choice(CONNECTIVES), *operands)
        if rng.random() < 0.5:
            return self.index_condition()
        below = max(depth - 1, 0)
        match rng.randrange(6):
            case 0 | 1:
                sort = rng.choice(ORDERED)
                operands = (self.expression(sort, below), self.leaf(sort))
                return binary(rng.choice(COMPARISONS), *self.mirrored(*operands))
            case 2:
                sort = rng.choice((*ORDERED, Sort.BOOLEAN, Sort.MIXED, Sort.ARRAY))
                other = sort if rng.random() < 0.8 else self.any_sort()
                operands = (self.leaf(sort), self.leaf(other))
                return binary(rng.choice(EQUALITIES), *self.mirrored(*operands))
            case 3:
                return binary(rng.choice(EQUALITIES), self.leaf(self.any_sort()), literal(None))
            case 4:
                item = self.leaf(rng.choice((Sort.STRING, Sort.NUMBER, Sort.MIXED)))
                return binary(BinaryOperator.CONTAINS, self.leaf(Sort.ARRAY), item)
            case _:
                function = rng.choice(("STARTSWITH", "ENDSWITH"))
                part = literal(rng.choice(self.vocabulary.words)[: rng.randrange(1, 4)])
                return call(self.cased(function), self.expression(Sort.STRING, below), part)

    def index_condition(self) -> Expression:
        """Return a condition that a planner may answer from indexes."""
        rng, vocabulary = self.rng, self.vocabulary
        names = [column for column in self.columns if _last(column) in {"type", "subject", "id"}]
        times = self.columns_of(Sort.DATETIME)
        if times and (not names or rng.random() < 0.2):
            operands = (rng.choice(times), self.constant(Sort.DATETIME))
            return binary(rng.choice((*COMPARISONS, *EQUALITIES)), *self.mirrored(*operands))
        if not names:
            return binary(rng.choice(EQUALITIES), self.leaf(Sort.NUMBER), self.leaf(Sort.NUMBER))
        column = rng.choice(names)
        if _last(column) == "id":
            if rng.random() < 0.7:
                bound = literal(rng.randrange(vocabulary.id_stop + 2))
                position = conversion(column, self.cased("INT"))
                operators = (*COMPARISONS, *EQUALITIES)
                return binary(rng.choice(operators), *self.mirrored(position, bound))
            return binary(
                rng.choice(EQUALITIES), column, literal(str(rng.randrange(vocabulary.id_stop + 2)))
            )
        texts = vocabulary.event_types if _last(column) == "type" else vocabulary.subjects
        match rng.randrange(4):
            case 0:
                chosen = rng.choices(texts, k=rng.randrange(4))
                return binary(BinaryOperator.CONTAINS, array(*map(literal, chosen)), column)
            case 1:
                prefix = rng.choice(texts)
                return call("STARTSWITH", column, literal(prefix[: rng.randrange(len(prefix) + 1)]))
            case _:
                operator = rng.choice((BinaryOperator.EQUAL, *EQUALITIES))
                return binary(operator, *self.mirrored(column, literal(rng.choice(texts))))

    def mirrored(self, left: Expression, right: Expression) -> tuple[Expression, Expression]:
        return (left, right) if self.rng.random() < 0.7 else (right, left)

    def key(self) -> Expression:
        """Return something to sort by."""
        ids = [column for column in self.columns if _last(column) == "id"]
        if ids and self.rng.random() < 0.3:
            return conversion(self.rng.choice(ids), "INT")
        return self.expression(self.rng.choice((*ORDERED, Sort.MIXED)), 1)

    def projection(self, aliases: Sequence[str]) -> tuple[Expression, Columns]:
        """Return what a row becomes, and the columns which that has."""
        choice = self.rng.random()
        if choice < 0.2:
            alias = self.rng.choice(aliases)
            below = {
                tuple(part.text for part in column.fields): sort
                for column, sort in self.columns.items()
                if column.alias.text == alias
            }
            return path(alias), below
        if choice < 0.4:
            return self.value_projection()
        return self.record_projection()

    def value_projection(self) -> tuple[Expression, Columns]:
        sort = self.any_sort()
        return self.expression(sort, 2), {(): sort}

    def record_projection(self) -> tuple[Expression, Columns]:
        keys = self.rng.sample(("id", "a", "b", "total", "type", "odd key"), self.rng.randrange(4))
        sorts = {key: self.any_sort() for key in keys}
        # A field named `type` or `id` is used as one of an event would be.
        sorts |= {key: Sort.STRING for key in keys if key in {"type", "id"}}
        entries = ((key, self.expression(sort, 2)) for key, sort in sorts.items())
        return record(*entries), {(key,): sort for key, sort in sorts.items()}

    def cased(self, word: str) -> str:
        """Return a word, now and then in another casing."""
        return word if self.rng.random() < 0.8 else word.lower()


class _Groups(_Rows):
    """Expressions over groups of rows: aggregates, and the key of the group."""

    def __init__(self, rows: _Rows, key: Expression | None) -> None:
        super().__init__(rows.rng, rows.vocabulary, {}, has_now=rows.has_now)
        self.rows = rows
        self.group_key = key

    def leaf(self, sort: Sort) -> Expression:
        rng = self.rng
        if rng.random() < 0.15:
            return self.constant(sort)
        if self.group_key is not None and rng.random() < 0.2:
            # Of any sort: the key is what it is.
            return self.group_key if sort is Sort.MIXED else self.constant(sort)
        if sort is Sort.NUMBER:
            return self.number_aggregate()
        if sort in ORDERED and rng.random() < 0.4:
            return call(self.cased(rng.choice(("MIN", "MAX"))), self.rows.expression(sort, 1))
        chosen = rng.choice(("UNIQUE", "FIRST", "LAST"))
        return call(self.cased(chosen), self.rows.expression(sort, 1))

    def number_aggregate(self) -> Expression:
        rng = self.rng
        choice = rng.random()
        if choice < 0.3:
            return call(self.cased("COUNT"))
        if choice < 0.4:
            return call("COUNT", self.rows.condition(1))
        function = self.cased(rng.choice(NUMBER_AGGREGATES))
        return call(function, self.rows.expression(Sort.NUMBER, 1))

    def projection(self, aliases: Sequence[str]) -> tuple[Expression, Columns]:
        assert aliases
        choice = self.rng.random()
        if choice < 0.15:
            operators = (*COMPARISONS, *EQUALITIES)
            count = literal(self.rng.randrange(4))
            return binary(self.rng.choice(operators), call("COUNT"), count), {(): Sort.BOOLEAN}
        if self.group_key is not None and choice < 0.4:
            key = self.group_key if self.rng.random() < 0.5 else call("UNIQUE", self.group_key)
            entries = (("key", key), ("n", call("COUNT")), ("x", self.leaf(Sort.NUMBER)))
            return record(*entries), {("n",): Sort.NUMBER, ("x",): Sort.NUMBER}
        return self.value_projection() if choice < 0.6 else self.record_projection()


def _last(column: Path) -> str | None:
    return column.fields[-1].text if len(column.fields) == 1 else None
