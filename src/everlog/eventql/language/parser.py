"""The parser: source text in, syntax tree out, by the rules of `grammar.ebnf`.

Recursive descent over the clauses, and over what stands between parentheses, brackets or braces.
In between, operators are collected flat and grouped by the tables of `syntax`, so that a chain of
them takes the parser no deeper. The first fault in the text ends it. A tree that comes from here
is shallow enough for every later stage (`limits`).
What is left to others: names, types, and where aggregates may stand (analyzer).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from everlog.eventql.diagnostic import QueryMalformedError, Span, TokenPlace, locate
from everlog.eventql.language import hints
from everlog.eventql.language.hints import most_alike
from everlog.eventql.language.lexer import (
    RESERVED_WORDS,
    Cursor,
    Token,
    TokenKind,
    name_of,
    read_tokens,
    shorten,
)
from everlog.eventql.language.syntax import (
    CONNECTIVES,
    VALUE_LEVELS,
    Array,
    Binary,
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
    Statement,
    Unary,
    operands,
)
from everlog.eventql.limits import PATH_LENGTH_MAX, QUERY_DEPTH_MAX, SOURCES_MAX, TREE_DEPTH_MAX
from everlog.eventql.types import BinaryOperator, UnaryOperator

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


# --- Expressions


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
        return hints.BEFORE_OPERAND["*"]
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


# --- Clauses


_CLAUSES: Final = {
    TokenKind.WHERE: "WHERE",
    TokenKind.ORDER: "ORDER BY",
    TokenKind.GROUP: "GROUP BY",
    TokenKind.SKIP: "SKIP",
    TokenKind.TOP: "TOP",
}
# Words that may stand where a clause begins, or an expression or its direction ends.
_CLAUSE_WORDS: Final = (
    "WHERE",
    "ORDER",
    "GROUP",
    "HAVING",
    "SKIP",
    "TOP",
    "PROJECT",
    "ASC",
    "DESC",
)
# Names of fields and functions stand near them: only what is hardly anything else is meant.
_WORD_LIKENESS_MIN: Final = 0.8

# What may not follow a projection, though it may precede it.
_MISPLACED: Final = frozenset({TokenKind.FROM, TokenKind.HAVING, *_CLAUSES})


def parse(text: str) -> Statement:
    """Return what a text asks for; raises `QueryMalformedError`."""
    cursor = Cursor(text)
    is_explain = cursor.token.text.upper() == "EXPLAIN"
    if is_explain:
        cursor.take()
    query = _query(cursor, depth=0)
    if not cursor.is_at(TokenKind.END):
        _fail_after_projection(cursor, "the end of the query")
    return Statement(query, is_explain)


def tokens_around(text: str, span: Span) -> tuple[TokenPlace, TokenPlace]:
    """Return the first and the last token of a piece of the text, whatever the text is.

    Between tokens it is the next one; behind the last one, and in an empty text, the end.
    """
    tokens = _readable_tokens(text)
    first = next((token for token in tokens if token.span.end > span.start), tokens[-1])
    inside = [token for token in tokens if first.span.start <= token.span.start < span.end]
    return _place(text, first), _place(text, inside[-1] if inside else first)


def _readable_tokens(text: str) -> list[Token]:
    """Return the tokens up to the first fault, which stands at the end as a token of its own."""
    tokens: list[Token] = []
    try:
        tokens.extend(read_tokens(text))
    except QueryMalformedError as error:
        span = error.diagnostics[0].span
        tokens.append(Token(TokenKind.INVALID, text[span.start : span.end], span))
    return tokens


def _place(text: str, token: Token) -> TokenPlace:
    line, column = locate(text, token.span.start)
    return TokenPlace(line, column, token.text, token.kind.value)


def _query(cursor: Cursor, *, depth: int) -> Query:
    start = cursor.token.span.start
    sources = _sources(cursor, depth=depth)
    clauses = _Clauses()
    while cursor.token.kind in _CLAUSES:
        clauses.take(cursor)
    _project_into(cursor, clauses)
    is_distinct = cursor.accept(TokenKind.DISTINCT) is not None
    projection = parse_expression(cursor)
    assert cursor.previous is not None
    return Query(
        sources=sources,
        where=clauses.where,
        group=clauses.group,
        order=clauses.order,
        projection=projection,
        is_distinct=is_distinct,
        skip=clauses.skip,
        top=clauses.top,
        span=Span(start, cursor.previous.span.end),
    )


def _sources(cursor: Cursor, *, depth: int) -> tuple[From, ...]:
    if not cursor.is_at(TokenKind.FROM):
        hint = _hint_for_word(cursor.token, ["FROM"]) or hints.BEGINNING_HINT
        cursor.fail_unexpected("FROM", hint)
    sources: list[From] = []
    while cursor.is_at(TokenKind.FROM):
        if len(sources) == SOURCES_MAX:
            cursor.fail(f"more than {SOURCES_MAX} sources in one query", cursor.token.span)
        cursor.take()
        alias = _alias(cursor)
        cursor.expect(
            TokenKind.IN,
            f"IN after the alias '{alias.text}'",
            "the alias comes before the source: FROM e IN events",
        )
        sources.append(From(alias, _source(cursor, depth=depth)))
    return tuple(sources)


def _alias(cursor: Cursor) -> Name:
    if cursor.token.kind in RESERVED_WORDS:
        cursor.fail(
            f"the word '{cursor.token.text}' is reserved, so that it cannot be an alias",
            cursor.token.span,
        )
    token = cursor.expect(TokenKind.IDENTIFIER, "an alias after FROM")
    return Name(token.text, token.span)


def _source(cursor: Cursor, *, depth: int) -> Name | Query:
    if cursor.is_at(TokenKind.LEFT_PARENTHESIS):
        return _subquery(cursor, depth=depth + 1)
    hint = None
    if cursor.is_at(TokenKind.STRING):
        hint = f"choose by subject with WHERE: e.subject == {cursor.token.text}"
    token = cursor.expect(TokenKind.IDENTIFIER, "a source after IN", hint)
    return Name(token.text, token.span)


def _subquery(cursor: Cursor, *, depth: int) -> Query:
    if depth > QUERY_DEPTH_MAX:
        cursor.fail(f"more than {QUERY_DEPTH_MAX} subqueries inside each other", cursor.token.span)
    cursor.open()
    query = _query(cursor, depth=depth)
    if not cursor.is_at(TokenKind.RIGHT_PARENTHESIS):
        _fail_after_projection(cursor, "')' after the subquery")
    cursor.close(TokenKind.RIGHT_PARENTHESIS, "')' after the subquery")
    return query


class _Clauses:
    """The clauses between the sources and the projection: each at most once, WHERE the first."""

    def __init__(self) -> None:
        self.where: Expression | None = None
        self.order: Order | None = None
        self.group: Group | None = None
        self.skip: Expression | None = None
        self.top: Expression | None = None
        self._taken: list[TokenKind] = []

    def take(self, cursor: Cursor) -> None:
        kind = cursor.token.kind
        if kind in self._taken:
            cursor.fail(f"more than one {_CLAUSES[kind]}", cursor.token.span)
        if kind is TokenKind.WHERE and self._taken:
            last = _CLAUSES[self._taken[-1]]
            cursor.fail(f"WHERE stands before {last}", cursor.token.span)
        self._taken.append(kind)
        cursor.take()
        match kind:
            case TokenKind.WHERE:
                self.where = parse_expression(cursor)
            case TokenKind.ORDER:
                self.order = _order(cursor)
            case TokenKind.GROUP:
                self.group = _group(cursor)
            case TokenKind.SKIP:
                self.skip = parse_expression(cursor)
            case _:
                assert kind is TokenKind.TOP
                self.top = parse_expression(cursor)

    @property
    def last(self) -> TokenKind | None:
        """The clause that was taken last."""
        return self._taken[-1] if self._taken else None


def _order(cursor: Cursor) -> Order:
    cursor.expect(TokenKind.BY, "BY after ORDER")
    key = parse_expression(cursor)
    is_descending = cursor.accept(TokenKind.DESC) is not None
    if not is_descending:
        cursor.accept(TokenKind.ASC)
    return Order(key, is_descending)


def _group(cursor: Cursor) -> Group:
    cursor.expect(TokenKind.BY, "BY after GROUP")
    key = parse_expression(cursor)
    having = parse_expression(cursor) if cursor.accept(TokenKind.HAVING) else None
    return Group(key, having)


def _project_into(cursor: Cursor, clauses: _Clauses) -> None:
    """Take PROJECT INTO, or tell what is wrong about what stands there instead."""
    token = cursor.token
    match token.kind:
        case TokenKind.PROJECT:
            cursor.take()
            cursor.expect(TokenKind.INTO, "INTO after PROJECT")
            return
        case TokenKind.FROM:
            cursor.fail("FROM stands before all other clauses", token.span)
        case TokenKind.HAVING if clauses.group is None:
            cursor.fail("HAVING without GROUP BY", token.span, "use WHERE to choose among rows")
        case TokenKind.HAVING:
            repeated = clauses.group is not None and clauses.group.having is not None
            message = (
                "more than one HAVING" if repeated else "HAVING stands directly after GROUP BY"
            )
            cursor.fail(message, token.span)
        case TokenKind.COMMA if clauses.last is TokenKind.ORDER:
            cursor.fail("ORDER BY takes one key", token.span)
        case TokenKind.COMMA if clauses.last is TokenKind.GROUP:
            hint = "group by several values with an array: GROUP BY [a, b]"
            cursor.fail("GROUP BY takes one key", token.span, hint)
        case TokenKind.COMMA if clauses.last is None:
            hint = "each source has a FROM of its own: FROM a IN events FROM b IN subjects"
            cursor.fail_unexpected("a clause or PROJECT INTO", hint)
        case _:
            is_end = token.kind is TokenKind.END
            expected = "PROJECT INTO" if is_end else "a clause or PROJECT INTO"
            cursor.fail_after_operand(expected, _hint_for_word(token, _CLAUSE_WORDS))


def _hint_for_word(token: Token, words: Sequence[str]) -> str | None:
    """Return which of some reserved words was probably meant by a name."""
    if token.kind is not TokenKind.IDENTIFIER:
        return None
    found = most_alike(token.text, words, likeness_min=_WORD_LIKENESS_MIN)
    return None if found is None else f"did you mean '{found}'?"


def _fail_after_projection(cursor: Cursor, expected: str) -> None:
    token = cursor.token
    if token.kind in _MISPLACED:
        clause = _CLAUSES.get(token.kind, token.kind.value)
        cursor.fail(f"{clause} stands before PROJECT INTO", token.span)
    if token.kind is TokenKind.COMMA:
        hint = "several values make a record or an array: PROJECT INTO { a: e.id, b: e.type }"
        cursor.fail_unexpected(expected, hint)
    cursor.fail_after_operand(expected)
