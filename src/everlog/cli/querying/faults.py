"""What went wrong, for people and for scripts: messages that point into the query, and exit codes.

The codes that a query shares with the other commands mean the same there.
"""

import re
from typing import Final, NamedTuple

from everlog import process
from everlog.cli.connecting import EXIT_SERVER, ServerError
from everlog.cli.forms import RowFormError, width_of
from everlog.cli.querying.server import Details, RemoteFaultError, Token
from everlog.domain.errors import (
    CorruptLogError,
    DataDirectoryError,
    EverlogError,
    SettingsError,
)
from everlog.eventql.diagnostic import (
    QueryLimitError,
    QueryMalformedError,
    QueryUnevaluableError,
    Span,
    describe,
    locate,
)
from everlog.eventql.language.parser import tokens_around
from everlog.exit_codes import (
    EXIT_DAMAGED,
    EXIT_DATA_DIRECTORY,
    EXIT_SETTINGS,
    EXIT_UNEXPECTED,
)
from everlog.texts import to_printable

EXIT_MALFORMED: Final = 6
EXIT_UNEVALUABLE: Final = 7
EXIT_INTERRUPTED: Final = process.EXIT_INTERRUPTED
EXIT_OUTPUT_CLOSED: Final = process.EXIT_OUTPUT_CLOSED

_REMOTE_CODES: Final = {
    "query-missing": EXIT_MALFORMED,
    "query-malformed": EXIT_MALFORMED,
    "query-unevaluable": EXIT_UNEVALUABLE,
}

# The first that fits counts.
_EXIT_CODES: Final[tuple[tuple[type[EverlogError], int], ...]] = (
    (QueryMalformedError, EXIT_MALFORMED),
    (QueryUnevaluableError, EXIT_UNEVALUABLE),
    (QueryLimitError, EXIT_UNEVALUABLE),
    (ServerError, EXIT_SERVER),
    (SettingsError, EXIT_SETTINGS),
    (CorruptLogError, EXIT_DAMAGED),
    (DataDirectoryError, EXIT_DATA_DIRECTORY),
    (RowFormError, EXIT_UNEXPECTED),
)

_PLACE: Final = re.compile(r"(\d{1,9}):(\d{1,9}): ")

# What is shown of a line of the query, around the fault.
_LINE_WIDTH_MAX: Final = 100
_WIDTH_BEFORE: Final = 60


class _Fault(NamedTuple):
    """One thing that is wrong, and where in the query, if it has a place there."""

    message: str
    span: Span | None


def exit_code_of(error: EverlogError) -> int:
    """Return the code with which the command ends."""
    if isinstance(error, RemoteFaultError):
        return _REMOTE_CODES.get(error.code, EXIT_SERVER)
    return next(code for kind, code in _EXIT_CODES if isinstance(error, kind))


def describe_error(error: EverlogError, text: str) -> str:
    """Return what is wrong as a person reads it, under a query's text."""
    return "\n".join(
        f"Error: {to_printable(fault.message)}"
        + ("" if fault.span is None else f"\n{point_at(text, fault.span)}")
        for fault in _faults_of(error, text)
    )


def point_at(text: str, span: Span) -> str:
    """Return the line of a query in which something begins, and a line that points at it."""
    line_start = text.rfind("\n", 0, span.start) + 1
    line = text[line_start:].partition("\n")[0]
    start = span.start - line_start
    # What a terminal would obey becomes a space, so that places stay what they are.
    line = "".join(letter if letter.isprintable() else " " for letter in line)
    first = max(0, start - _WIDTH_BEFORE) if len(line) > _LINE_WIDTH_MAX else 0
    shown = line[first : first + _LINE_WIDTH_MAX]
    marked = shown[start - first : span.end - line_start - first]
    indent = " " * width_of(shown[: start - first])
    return f"  {shown.rstrip()}\n  {indent}{'^' * max(1, width_of(marked))}"


def _faults_of(error: EverlogError, text: str) -> list[_Fault]:
    match error:
        case QueryMalformedError():
            return [
                _Fault(describe(error.text, diagnostic), diagnostic.span)
                for diagnostic in error.diagnostics
            ]
        case QueryUnevaluableError():
            return [_Fault(str(error), error.diagnostic.span)]
        case RemoteFaultError():
            return _remote_faults(str(error), error.details, text)
        case _:
            return [_Fault(str(error), None)]


def _remote_faults(description: str, details: Details, text: str) -> list[_Fault]:
    messages = details.errors or (description,)
    faults = [_Fault(message, _place_of(message, text)) for message in messages]
    first, last = details.start_token, details.end_token
    if first is not None and last is not None:
        start, end = (_offset_of(token, text) for token in (first, last))
        if start is not None and end is not None:
            faults[0] = _Fault(messages[0], Span(start, end + len(last.text)))
    return faults


def _place_of(message: str, text: str) -> Span | None:
    """Return the token that a message begins with the place of."""
    found = _PLACE.match(message)
    if found is None:
        return None
    offset = _offset_of(Token(int(found[1]), int(found[2]), ""), text)
    if offset is None:
        return None
    token, _ = tokens_around(text, Span(offset, offset + 1))
    return Span(offset, offset + len(token.text))


def _offset_of(token: Token, text: str) -> int | None:
    """Return where a token stands, None if the text has no such place."""
    lines = text.split("\n")
    if not (1 <= token.line <= len(lines) and 1 <= token.column <= len(lines[token.line - 1]) + 1):
        return None
    offset = sum(len(line) + 1 for line in lines[: token.line - 1]) + token.column - 1
    assert locate(text, offset) == (token.line, token.column)
    return offset
