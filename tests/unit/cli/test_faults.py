"""Faults: the message, the line of the query, and what is wrong in it."""

import msgspec
import pytest

from everlog.cli.faults import LineError, describe_error, exit_code_of, point_at
from everlog.cli.forms import RowFormError
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
    StateConflictError,
)
from everlog.eventql.diagnostic import (
    Diagnostic,
    QueryLimitError,
    QueryMalformedError,
    QueryUnevaluableError,
    Span,
)
from everlog.eventql.query import prepare
from everlog.library.errors import UnauthorizedError, UnreachableError, VerificationError
from everlog.library.outcome import OutcomeUnknownError
from everlog.service.querying.faults import refusal_of


def token(line: int, column: int, text: str) -> dict[str, object]:
    return {"line": line, "column": column, "text": text}


TEXT = "FROM e IN events\nWHERE f.type == LENN(3)\nPROJECT INTO e.data.n / 0"


@pytest.mark.parametrize(
    "text, span, expected",
    [
        ("FROM e", Span(5, 6), "  FROM e\n       ^"),
        ("FROM e", Span(6, 6), "  FROM e\n        ^"),
        ("FROM e\nIN x\n", Span(7, 9), "  IN x\n  ^^"),
        # What goes on in the next line is pointed at to the end of its own.
        ("FROM (e\nIN x)", Span(5, 12), "  FROM (e\n       ^^"),
        ("\t'\u65e5\u672c' x", Span(1, 5), "   '\u65e5\u672c' x\n   ^^^^^^"),
        ("\t'\u65e5\u672c' x", Span(6, 7), "   '\u65e5\u672c' x\n          ^"),
        ("\x1b[1m x", Span(5, 6), "   [1m x\n       ^"),
        ("", Span(0, 0), "  \n  ^"),
        ("a" * 90 + "b" + "c" * 90, Span(90, 91), f"  {'a' * 60}b{'c' * 39}\n  {' ' * 60}^"),
        ("a" * 200, Span(0, 200), f"  {'a' * 100}\n  {'^' * 100}"),
    ],
)
def test_the_line_of_the_query_is_shown_and_pointed_at(
    text: str, span: Span, expected: str
) -> None:
    assert point_at(text, span) == expected


def malformed() -> QueryMalformedError:
    with pytest.raises(QueryMalformedError) as raised:
        prepare(TEXT)
    return raised.value


def unevaluable() -> QueryUnevaluableError:
    start = TEXT.index("e.data")
    diagnostic = Diagnostic("division by zero", Span(start, len(TEXT)))
    return QueryUnevaluableError(TEXT, diagnostic, event_id="7")


def remote(fault: QueryMalformedError | QueryUnevaluableError) -> RefusedError:
    """Return the error of a server for a fault, as it comes over HTTP."""
    refusal = refusal_of(fault)
    details = msgspec.json.decode(msgspec.json.encode(refusal.details))
    return RefusedError(refusal.code, refusal.message, **details)


def test_every_fault_of_a_text_is_told_with_its_place_and_hint() -> None:
    expected = """\
Error: 2:7: unknown name 'f'; the only source here is 'e'
  WHERE f.type == LENN(3)
        ^
Error: 2:17: unknown function 'LENN'; did you mean 'LEN'?
  WHERE f.type == LENN(3)
                  ^^^^"""

    assert describe_error(malformed(), TEXT) == expected
    assert describe_error(remote(malformed()), TEXT) == expected


def test_a_value_that_cannot_be_computed_with_names_its_event() -> None:
    expected = """\
Error: 3:14: event '7': division by zero
  PROJECT INTO e.data.n / 0
               ^^^^^^^^^^^^"""

    assert describe_error(unevaluable(), TEXT) == expected
    assert describe_error(remote(unevaluable()), TEXT) == expected


@pytest.mark.parametrize(
    "description, details",
    [
        ("something else", {}),
        ("9:1: behind the end", {}),
        ("1:99: behind the line", {}),
        ("0:0: nowhere", {}),
        ("a", {"startToken": token(9, 9, "x"), "endToken": token(1, 1, "x")}),
        ("a", {"startToken": token(1, 1, "FROM")}),
        ("a", {"startToken": 7, "errors": "no list"}),
    ],
)
def test_what_another_server_says_of_a_place_that_is_none_is_told_without(
    description: str, details: dict[str, object]
) -> None:
    error = RefusedError(Code.QUERY_MALFORMED, description, **details)

    assert describe_error(error, TEXT) == f"Error: {description}"


def test_a_terminal_obeys_nothing_of_a_message() -> None:
    error = RefusedError(Code.QUERY_UNEVALUABLE, "\x1b[2Jx\ny")

    assert describe_error(error, TEXT) == "Error: \\x1b[2Jx\\ny"


@pytest.mark.parametrize(
    "error, code",
    [
        (RowFormError("x", before=b""), 1),
        (SettingsError("x"), 2),
        (DataDirectoryError("x"), 3),
        (CorruptLogError("x", position=None), 4),
        (QueryMalformedError(TEXT, (Diagnostic("x", Span(0, 1)),)), 6),
        (QueryLimitError("x"), 7),
        (QueryUnevaluableError(TEXT, Diagnostic("x", Span(0, 1)), event_id=None), 7),
        (UnreachableError("x"), 8),
        (UnauthorizedError("x"), 8),
        (BusyError("x"), 8),
        (OutcomeUnknownError("x"), 10),
        (VerificationError("x"), 4),
        (LineError("x", exit_code=9), 9),
        (RefusedError(Code.QUERY_MISSING, "x"), 6),
        (RefusedError(Code.QUERY_MALFORMED, "x"), 6),
        (RefusedError(Code.QUERY_UNEVALUABLE, "x"), 7),
        (RefusedError(Code.SERVER_SHUTTING_DOWN, "x"), 8),
        (RefusedError(Code.SUBJECT_MALFORMED, "x"), 9),
        (StateConflictError(Code.PRECONDITION_VIOLATED, "x"), 9),
        (ReadFailedError("x"), 8),
        (DiskFullError("x"), 1),
    ],
)
def test_each_error_has_its_exit_code(error: EverlogError, code: int) -> None:
    assert exit_code_of(error) == code
