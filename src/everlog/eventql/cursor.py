"""The cursor: the parser's place among the tokens, and how it tells what it cannot accept.

One token is looked at, none ahead of it: the first fault in the text is the one that is told.
What is left to others: the grammar.
"""

from typing import Final, NoReturn

from everlog.eventql import mistakes
from everlog.eventql.diagnostic import Diagnostic, QueryMalformedError, Span
from everlog.eventql.lexer import Token, TokenKind, read_tokens, shorten
from everlog.eventql.limits import NESTING_MAX


class Cursor:
    """A place among the tokens of a text; `token` is the one that comes next."""

    def __init__(self, text: str) -> None:
        """Begin before the first token."""
        self.text: Final = text
        self._tokens: Final = read_tokens(text)
        self.token: Token = next(self._tokens)
        # The token taken last; at the beginning there is none.
        self.previous: Token | None = None
        self._nesting = 0

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
        if self._nesting == NESTING_MAX:
            self.fail(f"more than {NESTING_MAX} levels of nesting", self.token.span)
        self._nesting += 1
        return self.take()

    def close(self, kind: TokenKind, expected: str) -> Token:
        """Take the token that closes what was opened last."""
        if not self.is_at(kind):
            self.fail_after_operand(expected)
        self._nesting -= 1
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

    def fail_after_operand(self, expected: str) -> NoReturn:
        """Refuse the next token, with which an expression cannot go on."""
        before = self.previous
        assert before is not None
        hint = mistakes.AFTER_OPERAND.get(self.token.text.upper())
        if before.kind is TokenKind.STRING and before.span.end == self.token.span.start:
            hint = hint or mistakes.QUOTE_HINT
        if before.kind is TokenKind.IDENTIFIER:
            hint = hint or mistakes.FOREIGN_EXPRESSIONS.get(before.text.upper())
        self.fail_unexpected(expected, hint)

    def _found(self) -> str:
        match self.token.kind:
            case TokenKind.END:
                return "the end of the query"
            case TokenKind.STRING:
                return f"the string {shorten(self.token.text)}"
            case _:
                return f"'{shorten(self.token.text)}'"
