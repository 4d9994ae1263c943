"""Diagnostics: what is wrong with a query, where, and what would be right.

A diagnostic is about one cause and points into the source text. Its message is a sentence
without a final full stop, that names what was found and what was expected; a hint, where there
is one, says what was probably meant. Rendering places into lines and columns is done here, once.
What is left to others: which HTTP envelope or exit code a fault becomes.
"""

from typing import Final, NamedTuple

from everlog.domain.errors import EverlogError


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
