"""What is wrong with a query, as a refusal with a code and with the place in its text."""

from typing import Final

from everlog.domain.errors import Code, RefusedError
from everlog.eventql.diagnostic import (
    Diagnostic,
    QueryLimitError,
    QueryMalformedError,
    QueryUnevaluableError,
    TokenPlace,
    describe,
)
from everlog.eventql.language.parser import tokens_around

# More would not be read.
_DIAGNOSTICS_MAX: Final = 10

QueryFault = QueryMalformedError | QueryUnevaluableError | QueryLimitError


def refusal_of(fault: QueryFault, **details: object) -> RefusedError:
    """Return the refusal that a fault of a query means, with further details."""
    match fault:
        case QueryMalformedError():
            first = fault.diagnostics[0]
            places = _places(fault.text, first)
            errors = [
                describe(fault.text, diagnostic)
                for diagnostic in fault.diagnostics[:_DIAGNOSTICS_MAX]
            ]
            return RefusedError(
                Code.QUERY_MALFORMED, str(fault), **places, errors=errors, **details
            )
        case QueryUnevaluableError():
            places = _places(fault.text, fault.diagnostic)
            located = {} if fault.event_id is None else {"eventId": fault.event_id}
            return RefusedError(Code.QUERY_UNEVALUABLE, str(fault), **places, **located, **details)
        case QueryLimitError():
            return RefusedError(Code.QUERY_UNEVALUABLE, str(fault), **details)


def _places(text: str, diagnostic: Diagnostic) -> dict[str, object]:
    start, end = tokens_around(text, diagnostic.span)
    return {"startToken": _place(start), "endToken": _place(end)}


def _place(token: TokenPlace) -> dict[str, object]:
    return token._asdict()
