"""The parser: source text in, syntax tree out, by the rules of `grammar.ebnf`.

Recursive descent over the clauses; `expressions` is the part below them. The first fault in the
text ends it. A tree that comes from here is shallow enough for every later stage (`limits`).
What is left to others: names, types, and where aggregates may stand (analyzer).
"""

from collections.abc import Sequence
from typing import Final

from everlog.eventql.diagnostic import QueryMalformedError, Span, TokenPlace, locate
from everlog.eventql.language import mistakes
from everlog.eventql.language.cursor import Cursor
from everlog.eventql.language.expressions import parse_expression
from everlog.eventql.language.lexer import RESERVED_WORDS, Token, TokenKind, read_tokens
from everlog.eventql.language.likeness import most_alike
from everlog.eventql.language.syntax import Expression, From, Group, Name, Order, Query, Statement
from everlog.eventql.limits import QUERY_DEPTH_MAX, SOURCES_MAX

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
        hint = _hint_for_word(cursor.token, ["FROM"]) or mistakes.BEGINNING_HINT
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
