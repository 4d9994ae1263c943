"""Random syntax trees: all of the syntax, and mostly no meaning.

Names are random and types do not fit; every tree is one that the parser could have made, and
`print_query` turns it into text. The same seed makes the same trees. Places of what is generated
are all zero. Queries that mean something come from `generator`.
"""

import random
import string
from collections.abc import Callable
from typing import Final

from everlog.eventql.language.lexer import RESERVED_WORDS
from everlog.eventql.language.syntax import (
    Array,
    Call,
    Conversion,
    Entry,
    Expression,
    From,
    Group,
    Literal,
    Name,
    Order,
    Path,
    Query,
    Record,
)
from everlog.eventql.types import BinaryOperator, UnaryOperator
from tests.support.eventql.builders import NOWHERE, binary, literal, name, unary

INT_MAX: Final = 2**63 - 1
IDENTIFIERS: Final = ("e", "E", "events", "_", "a1", "x_y", "explain", "If", "count", "string")
ODD_NAMES: Final = ("", " ", "first-name", "42", "1a", "it's", 'so "said"', "a.b", "\u00fc", "\t\\")
STRINGS: Final = (
    "",
    "a",
    "it's",
    'a "b"',
    "\\",
    "// no comment",
    "\u2028 \U0001f600",
    "\0",
    "NULL",
)
NUMBERS: Final = (0, 1, 42, INT_MAX, -INT_MAX - 1, 0.0, 0.5, 1e22, 5e-324, 1.7976931348623157e308)


def any_query(rng: random.Random, *, depth: int = 2) -> Query:
    """Return any query that the parser could have made; subqueries are at most `depth` deep."""

    def maybe(clause: Callable[[], Expression]) -> Expression | None:
        return clause() if rng.random() < 0.3 else None

    def expression() -> Expression:
        return any_expression(rng, depth=rng.randrange(5))

    sources = [_any_source(rng, depth=depth)]
    while rng.random() < 0.2:
        sources.append(_any_source(rng, depth=depth))
    has_group, has_order = rng.random() < 0.3, rng.random() < 0.3
    return Query(
        sources=tuple(sources),
        where=maybe(expression),
        group=Group(expression(), maybe(expression)) if has_group else None,
        order=Order(expression(), rng.random() < 0.5) if has_order else None,
        projection=expression(),
        is_distinct=rng.random() < 0.2,
        skip=maybe(expression),
        top=maybe(expression),
        span=NOWHERE,
    )


def _any_source(rng: random.Random, *, depth: int) -> From:
    if depth and rng.random() < 0.2:
        return From(any_identifier(rng), any_query(rng, depth=depth - 1))
    return From(any_identifier(rng), any_identifier(rng))


def any_expression(rng: random.Random, *, depth: int) -> Expression:
    """Return any expression that the parser could have made, at most `depth` levels deep."""
    if depth == 0:
        return rng.choice((_any_literal, _any_path))(rng)

    def operand() -> Expression:
        return any_expression(rng, depth=depth - 1)

    def operands() -> tuple[Expression, ...]:
        return tuple(operand() for _ in range(rng.choice((0, 1, 1, 2, 3))))

    match rng.randrange(10):
        case 0 | 1 | 2:
            # Often the same operator as next to it, so that grouping matters.
            operators = (BinaryOperator.AND, BinaryOperator.OR, *BinaryOperator)
            return binary(rng.choice(operators), operand(), operand())
        case 3:
            return any_chain(rng, [operand() for _ in range(rng.randrange(2, 9))])
        case 4 | 5:
            return unary(rng.choice(tuple(UnaryOperator)), operand())
        case 6:
            return Conversion(operand(), any_identifier(rng), NOWHERE)
        case 7:
            return Call(any_identifier(rng), operands(), NOWHERE)
        case 8:
            return Array(operands(), NOWHERE)
        case _:
            entries = (Entry(any_field(rng), value) for value in operands())
            return Record(tuple(entries), NOWHERE)


def any_chain(rng: random.Random, operands: list[Expression]) -> Expression:
    """Return a tree of one operator over the operands, of any shape."""
    operator = rng.choice((BinaryOperator.AND, BinaryOperator.OR, BinaryOperator.ADD))

    def tree(part: list[Expression]) -> Expression:
        if len(part) == 1:
            return part[0]
        middle = rng.choice(((len(part) + 1) // 2, len(part) - 1, rng.randrange(1, len(part))))
        return binary(operator, tree(part[:middle]), tree(part[middle:]))

    return tree(operands)


def any_identifier(rng: random.Random) -> Name:
    """Return any word that is not reserved."""
    if rng.random() < 0.7:
        return name(rng.choice(IDENTIFIERS))
    letters = string.ascii_letters + "_"
    word = rng.choice(letters) + "".join(
        rng.choice(letters + string.digits) for _ in range(rng.randrange(4))
    )
    return name(f"{word}_" if word.upper() in RESERVED_WORDS else word)


def any_field(rng: random.Random) -> Name:
    """Return any name of a field or key: words, reserved ones too, and what needs quotes."""
    words = [kind.value for kind in RESERVED_WORDS]
    words.sort()
    return name(rng.choice((*IDENTIFIERS, *ODD_NAMES, *words, "from", "Null")))


def _any_path(rng: random.Random) -> Path:
    fields = tuple(any_field(rng) for _ in range(rng.choice((0, 1, 1, 2, 3))))
    return Path(any_identifier(rng), fields, NOWHERE)


def _any_literal(rng: random.Random) -> Literal:
    match rng.randrange(4):
        case 0:
            return literal(rng.choice((None, True, False)))
        case 1:
            return literal(rng.choice(NUMBERS))
        case 2:
            return literal(rng.choice((rng.randrange(10 ** rng.randrange(1, 19)), rng.random())))
        case _:
            return literal(rng.choice(STRINGS))
