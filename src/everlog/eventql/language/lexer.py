"""The lexer: source text in, tokens out.

Keywords are known in any casing; all else stands as it was written. Blanks and comments separate
tokens and are gone. Tokens are read one by one, so that a fault of a text is raised only when
all that stands before it has been taken. The last token is always END, behind the text.
What is left to others: which tokens may follow each other, and how large a number may be.
"""

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Final, NamedTuple, NoReturn

from everlog.eventql.diagnostic import Diagnostic, QueryMalformedError, Span
from everlog.eventql.language import mistakes
from everlog.eventql.limits import QUERY_LENGTH_MAX


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
_match_mistake = re.compile("|".join(map(re.escape, sorted(mistakes.SYMBOLS, reverse=True)))).match
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
            _fail(text, span, "the comment is not closed", mistakes.COMMENT_HINT)
        case _:
            _fail(text, span, "the string is not closed", mistakes.STRING_HINT)
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
        hint = mistakes.SYMBOLS[mistake[0]]
        _fail(text, Span(*mistake.span()), f"unexpected {_name(mistake[0])}", hint)
    character = text[position]
    _fail(
        text,
        Span(position, position + 1),
        f"unexpected character {_name(character)}",
        mistakes.LETTER_HINT if character.isalpha() else None,
    )


def _name(symbol: str) -> str:
    return f"'{symbol}'" if symbol.isprintable() else f"U+{ord(symbol):04X}"


def _fail(text: str, span: Span, message: str, hint: str | None = None) -> NoReturn:
    raise QueryMalformedError(text, (Diagnostic(message, span, hint),))


def shorten(text: str) -> str:
    """Return a text as a message may show it: its beginning, if it is long."""
    return text if len(text) <= 60 else f"{text[:57]}..."
