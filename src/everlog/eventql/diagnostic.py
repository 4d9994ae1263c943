"""Diagnostics: what is wrong with a query, where, and what would be right.

A diagnostic is about one cause and points into the source text. Its message is a sentence
without a final full stop, that names what was found and what was expected; a hint, where there
is one, says what was probably meant. Rendering places into lines and columns is done here, once.

A `Reporter` collects causes in any order and tells them in the order of the text, a handful at
most: who sees that many looks at the first ones first. What is quoted of the text fits on a line.
What is left to others: which HTTP envelope or exit code a fault becomes.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from everlog.domain.errors import EverlogError
from everlog.eventql.types import Kind, Type


class Span(NamedTuple):
    """A piece of the source text, as offsets of code points; the end is exclusive."""

    start: int
    end: int


class TokenPlace(NamedTuple):
    """Where a token stands, what it says and what kind it is; line and column begin at 1."""

    line: int
    column: int
    text: str
    type: str


class Diagnostic(NamedTuple):
    """One fault of a query; the span is that of the offending text."""

    message: str
    span: Span
    hint: str | None = None


class QueryMalformedError(EverlogError):
    """A query that is wrong whatever the log holds: found before any row.

    `diagnostics` is not empty and in the order of the source text.
    """

    def __init__(self, text: str, diagnostics: tuple[Diagnostic, ...]) -> None:
        super().__init__(describe(text, diagnostics[0]))
        self.text: Final = text
        self.diagnostics: Final = diagnostics


class QueryUnevaluableError(EverlogError):
    """A query that met a value it cannot go on with; says which expression, and which event.

    `event_id` is None where no single event is concerned (the count of TOP, a limit, ...).
    """

    def __init__(self, text: str, diagnostic: Diagnostic, *, event_id: str | None) -> None:
        super().__init__(describe(text, diagnostic, event_id=event_id))
        self.text: Final = text
        self.diagnostic: Final = diagnostic
        self.event_id: Final = event_id


class QueryLimitError(EverlogError):
    """A query that needs more than it may have; names the limit and the number."""


def locate(text: str, offset: int) -> tuple[int, int]:
    """Return line and column of an offset, both from 1; a line ends with a line feed."""
    line_start = text.rfind("\n", 0, offset) + 1
    return text.count("\n", 0, offset) + 1, offset - line_start + 1


def describe(text: str, diagnostic: Diagnostic, *, event_id: str | None = None) -> str:
    """Return a diagnostic as one sentence, with its place."""
    line, column = locate(text, diagnostic.span.start)
    subject = "" if event_id is None else f"event '{event_id}': "
    hint = "" if diagnostic.hint is None else f"; {diagnostic.hint}"
    return f"{line}:{column}: {subject}{diagnostic.message}{hint}"


DIAGNOSTICS_MAX: Final = 10
EXCERPT_LENGTH_MAX: Final = 60
_ELLIPSIS: Final = "..."
_UNPRINTABLE: Final = "\ufffd"


# A hint, or how to find one: hostile texts have thousands of faults, of which few are told.
Hint = str | Callable[[], str | None] | None


class _Fault(NamedTuple):
    message: str
    span: Span
    hint: Hint


class Reporter:
    """What is wrong with one source text, as far as it is known."""

    def __init__(self, text: str) -> None:
        self.text: Final = text
        self._faults: list[_Fault] = []

    @property
    def count(self) -> int:
        """How much was reported; what did not add to it is right."""
        return len(self._faults)

    def report(self, message: str, span: Span, *, hint: Hint = None) -> None:
        """Note that something is wrong."""
        self._faults.append(_Fault(message, span, hint))

    def raise_if_wrong(self) -> None:
        """Raise `QueryMalformedError` if anything was reported."""
        if self._faults:
            # Of two causes at one place the one that was found first stays first.
            told = sorted(self._faults, key=lambda fault: fault.span.start)[:DIAGNOSTICS_MAX]
            diagnostics = (
                Diagnostic(message, span, hint() if callable(hint) else hint)
                for message, span, hint in told
            )
            raise QueryMalformedError(self.text, tuple(diagnostics))

    def excerpt(self, span: Span) -> str:
        """Return a piece of the text on one line, shortened if it is long."""
        # The piece may be almost the whole text, and so may that of each of many faults.
        stop = min(span.end, span.start + 4 * EXCERPT_LENGTH_MAX)
        piece = " ".join(self.text[span.start : stop].split())
        # What a terminal would take for more than text does not come back in a message.
        piece = "".join(each if each.isprintable() else _UNPRINTABLE for each in piece)
        if stop == span.end and len(piece) <= EXCERPT_LENGTH_MAX:
            return piece
        return piece[: EXCERPT_LENGTH_MAX - len(_ELLIPSIS)] + _ELLIPSIS

    def quote(self, span: Span) -> str:
        """Return a piece of the text between quotes that it does not contain, if possible."""
        excerpt = self.excerpt(span)
        return f'"{excerpt}"' if "'" in excerpt else f"'{excerpt}'"

    def code(self, span: Span) -> str:
        """Return a piece of the text for use in a hint, `...` for one that would be shortened."""
        excerpt = self.excerpt(span)
        return _ELLIPSIS if excerpt.endswith(_ELLIPSIS) else excerpt


# Kinds that have no name in the language.
_NOUNS: Final = {Kind.ARRAY: "an array", Kind.RECORD: "a record"}


def enumerate_kinds(type_: Type) -> str:
    """Return the kinds of a type as words: `STRING`, `an array`, `DATE, TIME or DATETIME`."""
    return join_alternatives([_NOUNS.get(kind, kind.value) for kind in Kind if kind in type_])


def join_alternatives(words: list[str]) -> str:
    """Return words with commas between them, and `or` before the last."""
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last
