"""The lexer: source text in, tokens out, and the parser's place among them.

Keywords are known in any casing; all else stands as it was written. Blanks and comments separate
tokens and are gone. Tokens are read one by one, so that a fault of a text is raised only when
all that stands before it has been taken. The last token is always END, behind the text.

A `Cursor` looks at one token, and at none ahead of it: the first fault in the text is the one
that is told.
What is left to others: the grammar, and how large a number may be.
"""

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Final, NamedTuple, NoReturn

from everlog.eventql.diagnostic import Diagnostic, QueryMalformedError, Span, locate
from everlog.eventql.language import hints
from everlog.eventql.limits import NESTING_MAX, QUERY_LENGTH_MAX


class TokenKind(StrEnum):
    """What a token is; keywords and symbols are kinds of their own, named by their text."""

    # Reserved words: neither aliases nor names of sources, functions and types.
    FROM = "FROM"
    IN = "IN"
    WHERE = "WHERE"
    ORDER = "ORDER"
    BY = "BY"
    ASC = "ASC"
    DESC = "DESC"
    GROUP = "GROUP"
    HAVING = "HAVING"
    SKIP = "SKIP"
    TOP = "TOP"
    PROJECT = "PROJECT"
    INTO = "INTO"
    DISTINCT = "DISTINCT"
    AND = "AND"
    OR = "OR"
    XOR = "XOR"
    NOT = "NOT"
    CONTAINS = "CONTAINS"
    AS = "AS"
    TRUE = "TRUE"
    FALSE = "FALSE"
    NULL = "NULL"

    EQUAL = "=="
    NOT_EQUAL = "!="
    LESS = "<"
    LESS_OR_EQUAL = "<="
    GREATER = ">"
    GREATER_OR_EQUAL = ">="
    PLUS = "+"
    MINUS = "-"
    STAR = "*"
    SLASH = "/"
    LEFT_PARENTHESIS = "("
    RIGHT_PARENTHESIS = ")"
    LEFT_BRACKET = "["
    RIGHT_BRACKET = "]"
    LEFT_BRACE = "{"
    RIGHT_BRACE = "}"
    DOT = "."
    COMMA = ","
    COLON = ":"

    IDENTIFIER = "identifier"
    STRING = "string"
    INTEGER = "integer"
    FLOAT = "float"
    END = "end"
    # Never read: what stands for the text of a fault that is none of the above.
    INVALID = "invalid"


RESERVED_WORDS: Final = frozenset(kind for kind in TokenKind if kind.isupper())
_KINDS: Final = {kind.value: kind for kind in TokenKind}


class Token(NamedTuple):
    """A piece of the text that has a meaning; the text of a string includes its quotes."""

    kind: TokenKind
    text: str
    span: Span

    @property
    def is_word(self) -> bool:
        """Tell whether it can name a field: reserved words can, after a dot."""
        return self.kind is TokenKind.IDENTIFIER or self.kind in RESERVED_WORDS


# Each character has one way to match, so that reading is linear.
_match_piece = re.compile(
    r"""
      (?P<blank> [ \t\r\n]+ | //[^\n]* | /\*(?s:.*?)\*/ )
    | (?P<open_comment> /\* )
    | (?P<word> [A-Za-z_][A-Za-z0-9_]* )
    | (?P<number> [0-9]+ (?:\.[0-9]+)? (?:[eE][+-]?[0-9]+)? )
    | (?P<string> "[^"\r\n]*" | '[^'\r\n]*' )
    | (?P<open_string> ["'] [^\r\n]* )
    | (?P<symbol> == | != | <= | >= | <(?!>) | [>+\-*/()\[\]{}.,:] )
    """,
    re.VERBOSE,
).match
_match_mistake = re.compile("|".join(map(re.escape, sorted(hints.SYMBOLS, reverse=True)))).match
_match_number_tail = re.compile(r"[0-9A-Za-z_.]*").match


def read_tokens(text: str) -> Iterator[Token]:
    """Yield the tokens of a text, END at last; raises `QueryMalformedError`."""
    if len(text) > QUERY_LENGTH_MAX:
        _fail(
            text,
            Span(QUERY_LENGTH_MAX, QUERY_LENGTH_MAX + 1),
            f"the query has {len(text)} characters, but at most {QUERY_LENGTH_MAX} are allowed",
        )
    position = 0
    while position < len(text):
        match = _match_piece(text, position)
        if match is None:
            _fail_at_character(text, position)
        position = match.end()
        if match.lastgroup != "blank":
            yield _token(text, match)
    yield Token(TokenKind.END, "", Span(position, position))


def _token(text: str, match: re.Match[str]) -> Token:
    piece, span = match[0], Span(*match.span())
    match match.lastgroup:
        case "word":
            kind = _KINDS.get(piece.upper(), TokenKind.IDENTIFIER)
        case "symbol":
            kind = _KINDS[piece]
        case "string":
            kind = TokenKind.STRING
        case "number":
            _check_number(text, span)
            kind = TokenKind.INTEGER if piece.isdigit() else TokenKind.FLOAT
        case "open_comment":
            _fail(text, span, "the comment is not closed", hints.COMMENT_HINT)
        case _:
            _fail(text, span, "the string is not closed", hints.STRING_HINT)
    return Token(kind, piece, span)


def _check_number(text: str, span: Span) -> None:
    """Refuse a number that goes on with what is no part of one: `1.`, `1e`, `12abc`."""
    tail = _match_number_tail(text, span.end)
    assert tail is not None
    if tail[0]:
        whole = Span(span.start, tail.end())
        number = shorten(text[whole.start : whole.end])
        hint = "a number has digits after its point" if tail[0].startswith(".") else None
        _fail(text, whole, f"malformed number '{number}'", hint)


def _fail_at_character(text: str, position: int) -> NoReturn:
    mistake = _match_mistake(text, position)
    if mistake is not None:
        hint = hints.SYMBOLS[mistake[0]]
        _fail(text, Span(*mistake.span()), f"unexpected {_name(mistake[0])}", hint)
    character = text[position]
    _fail(
        text,
        Span(position, position + 1),
        f"unexpected character {_name(character)}",
        hints.LETTER_HINT if character.isalpha() else None,
    )


def _name(symbol: str) -> str:
    return f"'{symbol}'" if symbol.isprintable() else f"U+{ord(symbol):04X}"


def _fail(text: str, span: Span, message: str, hint: str | None = None) -> NoReturn:
    raise QueryMalformedError(text, (Diagnostic(message, span, hint),))


def shorten(text: str) -> str:
    """Return a text as a message may show it: its beginning, if it is long."""
    return text if len(text) <= 60 else f"{text[:57]}..."


# --- The parser's place among the tokens


# What cannot stand within something that is open, unless it closes it.
_ENDS: Final = frozenset(
    {
        TokenKind.RIGHT_PARENTHESIS,
        TokenKind.RIGHT_BRACKET,
        TokenKind.RIGHT_BRACE,
        TokenKind.END,
    }
)


_CLOSING: Final = {
    TokenKind.LEFT_PARENTHESIS: TokenKind.RIGHT_PARENTHESIS,
    TokenKind.LEFT_BRACKET: TokenKind.RIGHT_BRACKET,
    TokenKind.LEFT_BRACE: TokenKind.RIGHT_BRACE,
}


class Cursor:
    """A place among the tokens of a text; `token` is the one that comes next."""

    def __init__(self, text: str) -> None:
        """Begin before the first token."""
        self.text: Final = text
        self._tokens: Final = read_tokens(text)
        self.token: Token = next(self._tokens)
        # The token taken last; at the beginning there is none.
        self.previous: Token | None = None
        # What is open, and has to be closed again: the innermost last.
        self._opened: list[Token] = []

    def is_at(self, kind: TokenKind) -> bool:
        """Tell whether the next token is of this kind."""
        return self.token.kind is kind

    def take(self) -> Token:
        """Go on behind the next token, and return it; END is never taken."""
        taken = self.token
        self.token = next(self._tokens)
        self.previous = taken
        return taken

    def accept(self, kind: TokenKind) -> Token | None:
        """Take the next token if it is of this kind."""
        return self.take() if self.is_at(kind) else None

    def expect(self, kind: TokenKind, expected: str, hint: str | None = None) -> Token:
        """Take the next token, which has to be of this kind."""
        if not self.is_at(kind):
            self.fail_unexpected(expected, hint)
        return self.take()

    def open(self) -> Token:
        """Take the token that opens parentheses, brackets or braces, and go one level down."""
        if len(self._opened) == NESTING_MAX:
            self.fail(f"more than {NESTING_MAX} levels of nesting", self.token.span)
        self._opened.append(self.token)
        return self.take()

    def close(self, kind: TokenKind, expected: str, hint: str | None = None) -> Token:
        """Take the token that closes what was opened last."""
        if not self.is_at(kind):
            self.fail_after_operand(expected, hint)
        self._opened.pop()
        return self.take()

    def fail(self, message: str, span: Span, hint: str | None = None) -> NoReturn:
        """Refuse the text."""
        raise QueryMalformedError(self.text, (Diagnostic(message, span, hint),))

    def fail_unexpected(self, expected: str, hint: str | None = None) -> NoReturn:
        """Refuse the next token, since something else has to stand there."""
        self.fail(f"expected {expected}, but found {self._found()}", self.token.span, hint)

    def fail_before_operand(self) -> NoReturn:
        """Refuse the next token, since an expression has to begin there."""
        hint = hints.BEFORE_OPERAND.get(self.token.text.upper())
        if self.previous is not None and self.previous.kind is TokenKind.COMMA:
            self.fail_unexpected("an expression after ','", hint)
        self.fail_unexpected("an expression", hint)

    def fail_after_operand(self, expected: str, hint: str | None = None) -> NoReturn:
        """Refuse the next token, with which an expression cannot go on."""
        word = self.token.text.upper()
        self.fail_unexpected(
            expected,
            self._hint_from_before()
            or hints.AFTER_OPERAND.get(word)
            or hint
            or self._hint_from_opened(),
        )

    def _hint_from_before(self) -> str | None:
        """Return a hint for what only the token taken last explains."""
        before = self.previous
        assert before is not None
        if before.kind in RESERVED_WORDS and self._follows_dot(before):
            return f"'{before.text}' is the name of a field here, since it follows '.'"
        if before.kind is TokenKind.STRING and before.span.end == self.token.span.start:
            return hints.QUOTE_HINT if self.token.is_word or self.is_at(before.kind) else None
        if before.kind is not TokenKind.IDENTIFIER:
            return None
        known = hints.LITERALS if self.is_at(TokenKind.STRING) else hints.EXPRESSIONS
        return known.get(before.text.upper())

    def _follows_dot(self, token: Token) -> bool:
        return self.text[: token.span.start].rstrip().endswith(".")

    def _hint_from_opened(self) -> str | None:
        """Return a hint for what ends although something is open."""
        if not self._opened or not (self.token.kind in _ENDS or self.token.kind in RESERVED_WORDS):
            return None
        opened = self._opened[-1]
        if self.is_at(_CLOSING[opened.kind]):
            # It is closed, but too early.
            return None
        line, column = locate(self.text, opened.span.start)
        return f"the '{opened.text}' at {line}:{column} is not closed"

    def _found(self) -> str:
        if self.is_at(TokenKind.END):
            return "the end of the query"
        return name_of(self.token)


def name_of(token: Token) -> str:
    """Return a token as a message names it."""
    text = shorten(token.text)
    return f"the string {text}" if token.kind is TokenKind.STRING else f"'{text}'"
