"""What went wrong, for people and for scripts: messages, under a query its place, and exit codes.

Each kind of error has one code, whichever command meets it.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final, NamedTuple

import click
import msgspec

from everlog.cli.forms import RowFormError, width_of
from everlog.cli.progress import Progress
from everlog.domain.errors import (
    BusyError,
    Code,
    CorruptLogError,
    DataDirectoryError,
    DiskFullError,
    EverlogError,
    ReadFailedError,
    RefusedError,
    SettingsError,
    StoreFailedError,
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
    EXIT_INTERRUPTED,
    EXIT_MALFORMED,
    EXIT_OUTCOME_UNKNOWN,
    EXIT_REFUSED,
    EXIT_SERVER,
    EXIT_SETTINGS,
    EXIT_UNEVALUABLE,
    EXIT_UNEXPECTED,
)
from everlog.library.errors import UnauthorizedError, UnreachableError, VerificationError
from everlog.library.outcome import OutcomeUnknownError
from everlog.texts import is_coloured, to_printable

_REFUSALS: Final[Mapping[str, int]] = {
    Code.QUERY_MISSING: EXIT_MALFORMED,
    Code.QUERY_MALFORMED: EXIT_MALFORMED,
    Code.QUERY_UNEVALUABLE: EXIT_UNEVALUABLE,
    Code.SERVER_SHUTTING_DOWN: EXIT_SERVER,
    Code.RESTORE_IN_PROGRESS: EXIT_SERVER,
    Code.READ_FAILED: EXIT_SERVER,
    Code.STORE_FAILED: EXIT_SERVER,
    Code.DISK_FULL: EXIT_SERVER,
}

# The first that fits counts.
_EXIT_CODES: Final[tuple[tuple[type[EverlogError], int], ...]] = (
    (QueryMalformedError, EXIT_MALFORMED),
    (QueryUnevaluableError, EXIT_UNEVALUABLE),
    (QueryLimitError, EXIT_UNEVALUABLE),
    (OutcomeUnknownError, EXIT_OUTCOME_UNKNOWN),
    (UnreachableError, EXIT_SERVER),
    (UnauthorizedError, EXIT_SERVER),
    (BusyError, EXIT_SERVER),
    (SettingsError, EXIT_SETTINGS),
    (VerificationError, EXIT_DAMAGED),
    (CorruptLogError, EXIT_DAMAGED),
    (DataDirectoryError, EXIT_DATA_DIRECTORY),
    (ReadFailedError, EXIT_DATA_DIRECTORY),
    (DiskFullError, EXIT_UNEXPECTED),
    (StoreFailedError, EXIT_UNEXPECTED),
    (RowFormError, EXIT_UNEXPECTED),
    (EverlogError, EXIT_UNEXPECTED),
)

_ABOUT_QUERIES: Final = (Code.QUERY_MISSING, Code.QUERY_MALFORMED, Code.QUERY_UNEVALUABLE)

_PLACE: Final = re.compile(r"(\d{1,9}):(\d{1,9}): ")

# What is shown of a line of the query, around the fault.
_LINE_WIDTH_MAX: Final = 100
_WIDTH_BEFORE: Final = 60


class LineError(EverlogError):
    """A line of an input that is refused."""

    def __init__(self, message: str, *, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code: Final = exit_code


class Token(msgspec.Struct, frozen=True):
    """A token as a server names it; line and column begin at 1."""

    line: int
    column: int
    text: str


class _Details(msgspec.Struct, frozen=True, rename="camel"):
    """What a refusal says of the place of the fault in a query, as far as it says anything."""

    errors: tuple[str, ...] = ()
    start_token: Token | None = None
    end_token: Token | None = None


class _Fault(NamedTuple):
    """One thing that is wrong, and where in the query, if it has a place there."""

    message: str
    span: Span | None


def exit_code_of(error: EverlogError) -> int:
    """Return the code with which the command ends."""
    if isinstance(error, LineError):
        return error.exit_code
    if isinstance(error, RefusedError):
        return _REFUSALS.get(error.code, EXIT_REFUSED)
    return next(code for kind, code in _EXIT_CODES if isinstance(error, kind))


def describe_error(error: EverlogError, text: str = "") -> str:
    """Return what is wrong as a person reads it, under a query's text."""
    return "\n".join(
        f"{_word()}: {to_printable(fault.message)}"
        + ("" if fault.span is None else f"\n{point_at(text, fault.span)}")
        for fault in _faults_of(error, text)
    )


def _word() -> str:
    return "\033[1;31mError\033[0m" if is_coloured(2) else "Error"


@contextmanager
def told(progress: Progress, text: str = "") -> Iterator[None]:
    """End the command with a message and a code, if the block ends with an error.

    `text` is that of a query, if there is one.
    """
    try:
        yield
    except EverlogError as error:
        progress.clear()
        click.echo(describe_error(error, text), err=True)
        sys.exit(exit_code_of(error))
    except BrokenPipeError:
        progress.clear()
        raise
    except KeyboardInterrupt:
        progress.clear()
        sys.exit(EXIT_INTERRUPTED)


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
        case RefusedError() if error.code in _ABOUT_QUERIES and text:
            return _remote_faults(error.message, _read_details(error.details), text)
        case RefusedError():
            return [_Fault(f"{error.message} [{error.code}]", None)]
        case _:
            return [_Fault(str(error), None)]


def _read_details(details: Mapping[str, object]) -> _Details:
    try:
        return msgspec.convert(details, _Details)
    except msgspec.ValidationError:
        # Another server, which says something else there.
        return _Details()


def _remote_faults(description: str, details: _Details, text: str) -> list[_Fault]:
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
