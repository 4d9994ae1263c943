"""Expressions: the part of the parser below the clauses.

Operators are collected flat and grouped by the tables of `precedence`, so that only what stands
between parentheses, brackets or braces takes the parser deeper.
What is left to others: whether names exist, and whether operands have the right type.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from everlog.eventql.diagnostic import Span
from everlog.eventql.language import mistakes
from everlog.eventql.language.cursor import Cursor, name_of
from everlog.eventql.language.lexer import Token, TokenKind, shorten
from everlog.eventql.language.precedence import CONNECTIVES, VALUE_LEVELS
from everlog.eventql.language.syntax import (
    Array,
    Binary,
    BinaryOperator,
    Call,
    Conversion,
    Entry,
    Expression,
    Literal,
    Name,
    Path,
    Record,
    Unary,
    UnaryOperator,
    operands,
)
from everlog.eventql.limits import PATH_LENGTH_MAX, TREE_DEPTH_MAX

_CONNECTIVES: Final = {TokenKind(operator.value): operator for operator in CONNECTIVES}
_VALUE_OPERATORS: Final = {
    TokenKind(operator.value): operator for level in VALUE_LEVELS for operator in level
}
_SIGNS: Final = {
    TokenKind.PLUS: UnaryOperator.PLUS,
    TokenKind.MINUS: UnaryOperator.MINUS,
}
_CONSTANTS: Final = {
    TokenKind.NULL: None,
    TokenKind.TRUE: True,
    TokenKind.FALSE: False,
}

_INT_MAX: Final = 2**63 - 1


def parse_expression(cursor: Cursor) -> Expression:
    """Take one whole expression."""
    expression = _expression(cursor)
    _check_depth(cursor, expression)
    return expression


def _check_depth(cursor: Cursor, expression: Expression) -> None:
    """Refuse a tree that later stages could not go through recursively."""
    level: list[Expression] = [expression]
    for _ in range(TREE_DEPTH_MAX):
        level = [operand for node in level for operand in operands(node)]
        if not level:
            return
    cursor.fail(
        f"the expression has more than {TREE_DEPTH_MAX} levels",
        expression.span,
        "only chains of one of AND, OR, XOR may have any number of operands",
    )


def _expression(cursor: Cursor) -> Expression:
    conditions: list[Expression] = []
    connectives: list[BinaryOperator] = []
    while True:
        negations = []
        while negation := cursor.accept(TokenKind.NOT):
            negations.append(negation.span.start)
        condition = _comparison(cursor)
        for start in reversed(negations):
            condition = Unary(UnaryOperator.NOT, condition, Span(start, condition.span.end))
        conditions.append(condition)
        connective = _CONNECTIVES.get(cursor.token.kind)
        if connective is None:
            break
        connectives.append(connective)
        cursor.take()
    for operator in reversed(CONNECTIVES):
        conditions, connectives = _join_evenly(conditions, connectives, operator)
    return conditions[0]


def _comparison(cursor: Cursor) -> Expression:
    """Take what stands between NOT, AND, XOR and OR."""
    values = [_operand(cursor)]
    operators: list[BinaryOperator] = []
    while operator := _VALUE_OPERATORS.get(cursor.token.kind):
        cursor.take()
        operators.append(operator)
        values.append(_operand(cursor))
    for level in VALUE_LEVELS:
        values, operators = _join_to_the_left(values, operators, level)
    return values[0]


def _join_to_the_left(
    values: list[Expression], operators: list[BinaryOperator], level: Sequence[BinaryOperator]
) -> tuple[list[Expression], list[BinaryOperator]]:
    """Join the neighbours between which an operator of the level stands."""
    joined = values[:1]
    rest: list[BinaryOperator] = []
    for operator, value in zip(operators, values[1:], strict=True):
        if operator in level:
            joined[-1] = _binary(operator, joined[-1], value)
        else:
            rest.append(operator)
            joined.append(value)
    return joined, rest


def _join_evenly(
    conditions: list[Expression], connectives: list[BinaryOperator], connective: BinaryOperator
) -> tuple[list[Expression], list[BinaryOperator]]:
    """Join the chains of the connective, each into a tree that is as flat as can be."""
    chains = [conditions[:1]]
    rest: list[BinaryOperator] = []
    for operator, condition in zip(connectives, conditions[1:], strict=True):
        if operator is connective:
            chains[-1].append(condition)
        else:
            rest.append(operator)
            chains.append([condition])
    return [_even_tree(connective, chain) for chain in chains], rest


def _even_tree(connective: BinaryOperator, chain: Sequence[Expression]) -> Expression:
    if len(chain) == 1:
        return chain[0]
    middle = (len(chain) + 1) // 2
    left = _even_tree(connective, chain[:middle])
    return _binary(connective, left, _even_tree(connective, chain[middle:]))


def _binary(operator: BinaryOperator, left: Expression, right: Expression) -> Expression:
    return Binary(operator, left, right, Span(left.span.start, right.span.end))


def _operand(cursor: Cursor) -> Expression:
    """Take an operand with the signs before it and the conversions behind it."""
    signs: list[Token] = []
    while cursor.token.kind in _SIGNS:
        signs.append(cursor.take())
    if cursor.is_at(TokenKind.INTEGER):
        value = _integer(cursor, signs)
    elif parse := _PRIMARIES.get(cursor.token.kind):
        value = parse(cursor)
    else:
        cursor.fail_before_operand()
    while cursor.accept(TokenKind.AS):
        target = _type_name(cursor)
        value = Conversion(value, target, Span(value.span.start, target.span.end))
    for sign in reversed(signs):
        value = Unary(_SIGNS[sign.kind], value, Span(sign.span.start, value.span.end))
    return value


def _integer(cursor: Cursor, signs: list[Token]) -> Expression:
    """Take an integer; the least one has no positive counterpart, so that it takes its sign too."""
    token = cursor.take()
    digits = token.text.lstrip("0") or "0"
    # Comparing lengths first: Python refuses to read thousands of digits.
    value = int(digits) if len(digits) <= len(str(_INT_MAX)) else _INT_MAX + 2
    if value <= _INT_MAX:
        return Literal(value, token.span)
    is_negated = (
        bool(signs) and signs[-1].kind is TokenKind.MINUS and not cursor.is_at(TokenKind.AS)
    )
    if value > _INT_MAX + 1 or not is_negated:
        hint = f"an INT is from {-_INT_MAX - 1} to {_INT_MAX}; others need a point or an exponent"
        cursor.fail(f"the number {shorten(token.text)} is out of range", token.span, hint)
    return Literal(-value, Span(signs.pop().span.start, token.span.end))


def _type_name(cursor: Cursor) -> Name:
    token = cursor.expect(TokenKind.IDENTIFIER, "the name of a type after AS")
    if cursor.is_at(TokenKind.DOT):
        cursor.fail(
            f"expected a single name as the type, but found '.' after {name_of(token)}",
            cursor.token.span,
        )
    return _name(token)


def _constant(cursor: Cursor) -> Expression:
    token = cursor.take()
    return Literal(_CONSTANTS[token.kind], token.span)


def _string(cursor: Cursor) -> Expression:
    token = cursor.take()
    return Literal(token.text[1:-1], token.span)


def _float(cursor: Cursor) -> Expression:
    token = cursor.take()
    value = float(token.text)
    if value == float("inf"):
        cursor.fail(f"the number {shorten(token.text)} is too large for a FLOAT64", token.span)
    return Literal(value, token.span)


def _path_or_call(cursor: Cursor) -> Expression:
    alias = _name(cursor.take())
    if cursor.is_at(TokenKind.LEFT_PARENTHESIS):
        return _call(cursor, alias)
    fields: list[Name] = []
    while cursor.accept(TokenKind.DOT):
        if len(fields) == PATH_LENGTH_MAX:
            cursor.fail(f"more than {PATH_LENGTH_MAX} fields in one path", cursor.token.span)
        if not is_field_name(cursor.token):
            cursor.fail_unexpected("the name of a field after '.'", _field_hint(cursor))
        fields.append(field_name(cursor.take()))
    end = fields[-1].span.end if fields else alias.span.end
    return Path(alias, tuple(fields), Span(alias.span.start, end))


def _field_hint(cursor: Cursor) -> str:
    if cursor.is_at(TokenKind.STAR):
        return mistakes.BEFORE_OPERAND["*"]
    return 'a field name that is no identifier stands between quotes: e.data."..."'


def _call(cursor: Cursor, function: Name) -> Expression:
    cursor.open()
    arguments = _items(cursor, TokenKind.RIGHT_PARENTHESIS)
    closing = cursor.close(TokenKind.RIGHT_PARENTHESIS, "',' or ')'")
    return Call(function, arguments, Span(function.span.start, closing.span.end))


def _array(cursor: Cursor) -> Expression:
    opening = cursor.open()
    items = _items(cursor, TokenKind.RIGHT_BRACKET)
    closing = cursor.close(TokenKind.RIGHT_BRACKET, "',' or ']'")
    return Array(items, Span(opening.span.start, closing.span.end))


def _items(cursor: Cursor, closing: TokenKind) -> tuple[Expression, ...]:
    """Take expressions with commas between them, up to what closes them."""
    if cursor.is_at(closing):
        return ()
    items = [_expression(cursor)]
    while cursor.accept(TokenKind.COMMA):
        if cursor.is_at(closing):
            cursor.fail_unexpected("an expression after ','", "remove the comma")
        items.append(_expression(cursor))
    return tuple(items)


def _record(cursor: Cursor) -> Expression:
    opening = cursor.open()
    entries: list[Entry] = []
    if not cursor.is_at(TokenKind.RIGHT_BRACE):
        entries.append(_entry(cursor))
        while cursor.accept(TokenKind.COMMA):
            if cursor.is_at(TokenKind.RIGHT_BRACE):
                cursor.fail_unexpected("a key after ','", "remove the comma")
            entries.append(_entry(cursor))
    closing = cursor.close(TokenKind.RIGHT_BRACE, "',' or '}'")
    return Record(tuple(entries), Span(opening.span.start, closing.span.end))


def _entry(cursor: Cursor) -> Entry:
    if not is_field_name(cursor.token):
        hint = "a key is an identifier, or anything between quotes: { total: COUNT() }"
        cursor.fail_unexpected("a key", hint)
    key = cursor.take()
    cursor.expect(
        TokenKind.COLON,
        f"':' after the key {name_of(key)}",
        "each value of a record has a key: { id: e.id }",
    )
    return Entry(field_name(key), _expression(cursor))


def _parenthesized(cursor: Cursor) -> Expression:
    """Take an expression between parentheses, whose place then includes them."""
    opening = cursor.open()
    expression = _expression(cursor)
    is_list = cursor.is_at(TokenKind.COMMA)
    hint = "an array stands between brackets: [a, b]" if is_list else None
    closing = cursor.close(TokenKind.RIGHT_PARENTHESIS, "')'", hint)
    return replace(expression, span=Span(opening.span.start, closing.span.end))


def is_field_name(token: Token) -> bool:
    """Tell whether a token can name a field: any word, and anything between quotes."""
    return token.is_word or token.kind is TokenKind.STRING


def field_name(token: Token) -> Name:
    """Return the name of a field, without its quotes."""
    text = token.text[1:-1] if token.kind is TokenKind.STRING else token.text
    return Name(text, token.span)


def _name(token: Token) -> Name:
    return Name(token.text, token.span)


_PRIMARIES: Final[dict[TokenKind, Callable[[Cursor], Expression]]] = {
    **dict.fromkeys(_CONSTANTS, _constant),
    TokenKind.STRING: _string,
    TokenKind.FLOAT: _float,
    TokenKind.IDENTIFIER: _path_or_call,
    TokenKind.LEFT_PARENTHESIS: _parenthesized,
    TokenKind.LEFT_BRACKET: _array,
    TokenKind.LEFT_BRACE: _record,
}
