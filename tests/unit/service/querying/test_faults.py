"""What is wrong with a query, with a code and a place."""

import pytest

from everlog.domain.errors import Code
from everlog.eventql.diagnostic import (
    Diagnostic,
    QueryLimitError,
    QueryMalformedError,
    QueryUnevaluableError,
    Span,
)
from everlog.eventql.query import prepare
from everlog.service.querying.faults import refusal_of

TEXT = "FROM e IN events\nPROJECT INTO e.data.number AS INT"
START = TEXT.index("e.data")
SPAN = Span(START, len(TEXT))


def test_a_malformed_query_is_told_with_all_its_errors_and_the_place_of_the_first() -> None:
    with pytest.raises(QueryMalformedError) as raised:
        prepare("FROM e IN events\nWHERE e.missing == 1 PROJECT INTO e.absent")

    refusal = refusal_of(raised.value, preconditionIndex=2)

    assert refusal.code is Code.QUERY_MALFORMED
    assert refusal.details["startToken"].items() >= {"line": 2, "text": "missing"}.items()
    assert [error.partition(": ")[0] for error in refusal.details["errors"]] == ["2:9", "2:37"]
    assert refusal.details["preconditionIndex"] == 2


def test_errors_beyond_the_tenth_are_not_told() -> None:
    diagnostics = tuple(Diagnostic(f"error {number}", SPAN) for number in range(12))

    refusal = refusal_of(QueryMalformedError(TEXT, diagnostics))

    assert [error.rpartition(" ")[2] for error in refusal.details["errors"]] == [
        str(number) for number in range(10)
    ]


@pytest.mark.parametrize("event_id, located", [(None, {}), ("7", {"eventId": "7"})])
def test_a_query_that_cannot_be_evaluated_names_the_event_and_the_expression(
    event_id: str | None, located: dict[str, str]
) -> None:
    diagnostic = Diagnostic("no number", SPAN)

    refusal = refusal_of(QueryUnevaluableError(TEXT, diagnostic, event_id=event_id))

    assert refusal.code is Code.QUERY_UNEVALUABLE
    assert refusal.details["startToken"]["text"] == "e"
    assert refusal.details["endToken"]["text"] == "INT"
    assert {"eventId": refusal.details.get("eventId")} == {"eventId": event_id}
    assert refusal.details.items() >= located.items()


def test_a_limit_has_no_place_in_the_text() -> None:
    refusal = refusal_of(QueryLimitError("too much"), preconditionIndex=0)

    assert refusal.code is Code.QUERY_UNEVALUABLE
    assert str(refusal) == "too much"
    assert refusal.details == {"preconditionIndex": 0}
