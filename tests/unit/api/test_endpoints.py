"""Endpoints: what becomes of a write, in either look, whatever came of it."""

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from everlog.api import look_v1, look_v2
from everlog.api.answers import EventForm
from everlog.api.endpoints import answer_write
from everlog.api.look import Look
from everlog.api.services import Services
from everlog.domain.errors import (
    Code,
    DiskFullError,
    RefusedError,
    StateConflictError,
    StoreFailedError,
    TooManyQueriesError,
    TooMuchUnjudgedError,
)
from everlog.http import Exchange, Response
from everlog.http.framing import PLAIN
from everlog.service.writing.changes import Outcome
from everlog.storage.engine import Head
from tests.support.events import a_candidate, accept_at

V1, V2 = look_v1.LOOK, look_v2.LOOK

EVENTS = accept_at(Head(), [a_candidate(), a_candidate()], time=1)
FIRST, SECOND = (event.json for event in EVENTS)
END = b'{"type":"end","data":{}}\n'


def services_of(refusals: Counter[str], form: Any = None) -> Services:
    tally: Any = SimpleNamespace(refusals=refusals)
    nothing: Any = None
    form = form or EventForm(None)
    return Services(nothing, form, nothing, nothing, tally, nothing, nothing, nothing)


def answer_to(look: Look, outcome: Outcome) -> tuple[Response, Counter[str]]:
    """Return the answer to a write, and what was counted."""
    exchange, refusals = Exchange(None, PLAIN), Counter[str]()
    answer_write(look, services_of(refusals), exchange, outcome)
    assert isinstance(exchange.answer, Response)
    return exchange.answer, refusals


@pytest.mark.parametrize(
    "look, count, body",
    [
        (V1, 1, b"[%b]" % FIRST),
        (V1, 2, b"[%b,%b]" % (FIRST, SECOND)),
        (V2, 1, b'{"type":"event","data":%b}\n' % FIRST + END),
        (
            V2,
            2,
            b'{"type":"event","data":%b}\n{"type":"event","data":%b}\n' % (FIRST, SECOND) + END,
        ),
    ],
)
def test_a_write_is_answered_with_its_events(look: Look, count: int, body: bytes) -> None:
    answer, refusals = answer_to(look, EVENTS[:count])

    assert (answer.status, answer.body) == (200, body)
    assert not refusals


@pytest.mark.parametrize("look, status", [(V1, 409), (V2, 200)])
def test_a_write_that_is_refused_is_answered_as_its_version_says_no_and_counted(
    look: Look, status: int
) -> None:
    error = StateConflictError(Code.PRECONDITION_VIOLATED, "precondition failed: ...")

    answer, refusals = answer_to(look, error)

    assert (answer.status, refusals) == (status, {"precondition-violated": 1})


@pytest.mark.parametrize("look", [V1, V2])
@pytest.mark.parametrize(
    "error, code",
    [
        (RefusedError(Code.QUERY_MALFORMED, "..."), "query-malformed"),
        (TooManyQueriesError("..."), "too-many-queries"),
        (TooMuchUnjudgedError("..."), "too-much-to-judge"),
        (DiskFullError("..."), "disk-full"),
        (StoreFailedError("..."), "store-failed"),
    ],
)
def test_every_failure_of_a_write_is_answered_and_counted(
    look: Look, error: Exception, code: str
) -> None:
    answer, refusals = answer_to(look, error)

    assert answer.body
    assert refusals == {code: 1}


@pytest.mark.parametrize("look", [V1, V2])
def test_an_error_that_nobody_expects_is_told_to_the_client_and_to_who_called(look: Look) -> None:
    exchange = Exchange(None, PLAIN)

    with pytest.raises(KeyError):
        answer_write(look, services_of(Counter()), exchange, KeyError())

    assert isinstance(exchange.answer, Response)
    assert exchange.answer.status == 500


def test_a_bug_met_while_answering_is_told_to_the_client_and_to_who_called() -> None:
    exchange, form = Exchange(None, PLAIN), SimpleNamespace(event=lambda _: 1 // 0)

    with pytest.raises(ZeroDivisionError):
        answer_write(V1, services_of(Counter(), form), exchange, EVENTS)

    assert isinstance(exchange.answer, Response)
    assert exchange.answer.status == 500
