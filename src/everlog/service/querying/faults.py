"""What was wrong with a query, as a client is told.

Saying it takes reading the text again, which takes as long as the text is. So it is said where the
fault was found, on a thread or in a process, and the event loop only hands it on.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from everlog.domain.errors import Code, EverlogError, RefusedError
from everlog.eventql.diagnostic import (
    Diagnostic,
    QueryLimitError,
    QueryMalformedError,
    QueryUnevaluableError,
    TokenPlace,
    describe,
)
from everlog.eventql.language.parser import tokens_around
from everlog.service.querying.messages import Fault

# Of what is wrong with a text; more would not be read.
_DIAGNOSTICS_MAX: Final = 10


class ToldFaultError(EverlogError):
    """A fault of a query that has been put into words already."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault: Final = fault


QueryFault = QueryMalformedError | QueryUnevaluableError | QueryLimitError | ToldFaultError

QUERY_FAULTS: Final = (
    QueryMalformedError,
    QueryUnevaluableError,
    QueryLimitError,
    ToldFaultError,
)


def tell(fault: QueryFault) -> Fault:
    """Put a fault of a query into words."""
    match fault:
        case ToldFaultError():
            return fault.fault
        case QueryMalformedError():
            first = fault.diagnostics[0]
            errors = [
                describe(fault.text, diagnostic)
                for diagnostic in fault.diagnostics[:_DIAGNOSTICS_MAX]
            ]
            details = {**_token_places(fault.text, first), "errors": errors}
            return Fault(Code.QUERY_MALFORMED, str(fault), details)
        case QueryUnevaluableError():
            details = _token_places(fault.text, fault.diagnostic)
            if fault.event_id is not None:
                details["eventId"] = fault.event_id
            return Fault(Code.QUERY_UNEVALUABLE, str(fault), details)
        case QueryLimitError():
            return Fault(Code.QUERY_UNEVALUABLE, str(fault), {})


def refusal_of(fault: QueryFault, **details: object) -> RefusedError:
    """Return the refusal that a fault of a query means, with further details."""
    told = tell(fault)
    return RefusedError(told.code, told.message, **told.details, **details)


@contextmanager
def faults_told() -> Iterator[None]:
    """Put what is wrong with a text, or with a row, into words before others hear of it."""
    try:
        yield
    except (QueryMalformedError, QueryUnevaluableError) as error:
        raise ToldFaultError(tell(error)) from error


def _token_places(text: str, diagnostic: Diagnostic) -> dict[str, object]:
    start, end = tokens_around(text, diagnostic.span)
    return {"startToken": _place(start), "endToken": _place(end)}


def _place(token: TokenPlace) -> dict[str, object]:
    return token._asdict()
