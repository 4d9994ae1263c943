"""The cursor: the parser's place among the tokens, and how it tells what it cannot accept.

One token is looked at, none ahead of it: the first fault in the text is the one that is told.
What is left to others: the grammar.
"""

from typing import Final, NoReturn

from everlog.eventql.diagnostic import Diagnostic, QueryMalformedError, Span, locate
from everlog.eventql.language import mistakes
from everlog.eventql.language.lexer import RESERVED_WORDS, Token, TokenKind, read_tokens, shorten
from everlog.eventql.limits import NESTING_MAX

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
        hint = mistakes.BEFORE_OPERAND.get(self.token.text.upper())
        if self.previous is not None and self.previous.kind is TokenKind.COMMA:
            self.fail_unexpected("an expression after ','", hint)
        self.fail_unexpected("an expression", hint)

    def fail_after_operand(self, expected: str, hint: str | None = None) -> NoReturn:
        """Refuse the next token, with which an expression cannot go on."""
        word = self.token.text.upper()
        self.fail_unexpected(
            expected,
            self._hint_from_before()
            or mistakes.AFTER_OPERAND.get(word)
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
            return mistakes.QUOTE_HINT if self.token.is_word or self.is_at(before.kind) else None
        if before.kind is not TokenKind.IDENTIFIER:
            return None
        known = mistakes.LITERALS if self.is_at(TokenKind.STRING) else mistakes.EXPRESSIONS
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
