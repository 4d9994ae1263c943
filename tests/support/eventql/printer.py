"""The printer: syntax trees back into text, on one line, with no parentheses but the needed ones.

Keywords are upper case, names stand as they were written. What was printed reads as the very
tree again, for every tree that the parser can make.
"""

import re
from typing import Final, assert_never

from everlog.eventql.language.syntax import (
    ASSOCIATIVE,
    CONNECTIVES,
    VALUE_LEVELS,
    Array,
    Binary,
    Call,
    Conversion,
    Expression,
    From,
    Literal,
    Name,
    Path,
    Query,
    Record,
    Unary,
)
from everlog.eventql.types import BinaryOperator, UnaryOperator

# How tightly an expression holds together: the higher, the tighter.
_BINARY_TIGHTNESS: Final = {
    operator: tightness
    for tightness, level in enumerate(
        (
            *((operator,) for operator in CONNECTIVES),
            (),  # NOT has its place here.
            *reversed(VALUE_LEVELS),
        )
    )
    for operator in level
}
_NOT: Final = len(CONNECTIVES)
_SIGN: Final = _NOT + len(VALUE_LEVELS) + 1
_CONVERSION: Final = _SIGN + 1
_PRIMARY: Final = _CONVERSION + 1

_is_identifier = re.compile(r"[A-Za-z_][A-Za-z0-9_]*").fullmatch


def print_query(query: Query) -> str:
    """Return a query as text."""
    parts = [_print_source(source) for source in query.sources]
    if query.where is not None:
        parts.append(f"WHERE {print_expression(query.where)}")
    if query.group is not None:
        parts.append(f"GROUP BY {print_expression(query.group.key)}")
        if query.group.having is not None:
            parts.append(f"HAVING {print_expression(query.group.having)}")
    if query.order is not None:
        direction = " DESC" if query.order.is_descending else ""
        parts.append(f"ORDER BY {print_expression(query.order.key)}{direction}")
    if query.skip is not None:
        parts.append(f"SKIP {print_expression(query.skip)}")
    if query.top is not None:
        parts.append(f"TOP {print_expression(query.top)}")
    distinct = "DISTINCT " if query.is_distinct else ""
    parts.append(f"PROJECT INTO {distinct}{print_expression(query.projection)}")
    return " ".join(parts)


def print_expression(expression: Expression) -> str:
    """Return an expression as text."""
    match expression:
        case Literal(value):
            return _print_literal(value)
        case Path(alias, fields):
            return ".".join((alias.text, *map(_print_field, fields)))
        case Unary(UnaryOperator.NOT, operand):
            return f"NOT {_print_within(operand, _NOT)}"
        case Unary(operator, operand):
            return f"{operator.value}{_print_within(operand, _SIGN)}"
        case Binary():
            return _print_binary(expression)
        case Conversion(operand, target):
            return f"{_print_within(operand, _CONVERSION)} AS {target.text}"
        case Call(function, arguments):
            return f"{function.text}({', '.join(map(print_expression, arguments))})"
        case Array(items):
            return f"[{', '.join(map(print_expression, items))}]"
        case Record(entries):
            pairs = [f"{_print_field(key.key)}: {print_expression(key.value)}" for key in entries]
            return f"{{ {', '.join(pairs)} }}" if pairs else "{}"
        case _:
            assert_never(expression)


def _print_source(source: From) -> str:
    if isinstance(source.source, Query):
        return f"FROM {source.alias.text} IN ({print_query(source.source)})"
    return f"FROM {source.alias.text} IN {source.source.text}"


def _print_literal(value: bool | float | str | None) -> str:  # noqa: FBT001 (A value of the query.)
    match value:
        case None:
            return "NULL"
        case True:
            return "TRUE"
        case False:
            return "FALSE"
        case str():
            return _print_quoted(value)
        case _:
            return repr(value)


def _print_field(name: Name) -> str:
    return name.text if _is_identifier(name.text) else _print_quoted(name.text)


def _print_quoted(text: str) -> str:
    # There are no escapes, so that no text that was read has both kinds of quotes.
    quote = "'" if '"' in text else '"'
    assert quote not in text
    return f"{quote}{text}{quote}"


def _print_within(operand: Expression, tightness: int) -> str:
    """Return an operand as text, between parentheses if it does not hold together tightly."""
    text = print_expression(operand)
    return text if _tightness(operand) >= tightness else f"({text})"


def _tightness(expression: Expression) -> int:
    match expression:
        case Binary(operator):
            return _BINARY_TIGHTNESS[operator]
        case Unary(operator):
            return _NOT if operator is UnaryOperator.NOT else _SIGN
        case Conversion():
            return _CONVERSION
        case Literal(int(value)) if value < 0:
            return _SIGN
        case _:
            return _PRIMARY


def _print_binary(expression: Binary) -> str:
    operator = expression.operator
    tightness = _BINARY_TIGHTNESS[operator]
    left, right = expression.left, expression.right
    if operator not in ASSOCIATIVE:
        # They group to the left.
        return (
            f"{_print_within(left, tightness)} {operator.value}"
            f" {_print_within(right, tightness + 1)}"
        )
    # Read again, a chain becomes an even tree: it is written as one if this is what it is.
    operands = [left, right] if _even_length(expression, operator) is None else None
    chain = operands or _chain(expression, operator)
    return f" {operator.value} ".join(_print_within(operand, tightness + 1) for operand in chain)


def _even_length(expression: Expression, connective: BinaryOperator) -> int | None:
    """Return of how many operands a chain consists, None if its tree is not even."""
    if not (isinstance(expression, Binary) and expression.operator is connective):
        return 1
    left = _even_length(expression.left, connective)
    right = _even_length(expression.right, connective)
    if left is None or right is None or left - right not in {0, 1}:
        return None
    return left + right


def _chain(expression: Expression, connective: BinaryOperator) -> list[Expression]:
    if not (isinstance(expression, Binary) and expression.operator is connective):
        return [expression]
    return [*_chain(expression.left, connective), *_chain(expression.right, connective)]
