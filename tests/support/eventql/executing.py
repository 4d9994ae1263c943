"""Executing: what a query answers about a log in memory."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from everlog.eventql.diagnostic import QueryUnevaluableError
from everlog.eventql.query import EvaluationContext, Log, QueryLimits, execute, prepare

# 2026-11-23T12:30:00.25Z.
NOW = 1_795_437_000_250_000_000


def a_context(
    *,
    sign: Callable[[str], str] | None = None,
    random: Callable[[], float] = lambda: 0.25,
    **limits: int,
) -> EvaluationContext:
    """Return a context in which everything is known."""
    return EvaluationContext(now=NOW, random=random, sign=sign, limits=QueryLimits(**limits))


def rows_of(text: str, log: Log, context: EvaluationContext | None = None) -> list[Any]:
    """Return the decoded rows of a query."""
    chunks = execute(prepare(text), log, context or a_context())
    return [json.loads(row) for chunk in chunks for row in chunk]


def texts_of(text: str, log: Log, context: EvaluationContext | None = None) -> list[bytes]:
    """Return the rows of a query as they leave it."""
    chunks = execute(prepare(text), log, context or a_context())
    return [row for chunk in chunks for row in chunk]


def check_rows(text: str, log: Log, *expected: object) -> None:
    """Check what a query answers."""
    assert rows_of(text, log) == [*expected]


def check_failure(
    text: str,
    log: Log,
    *rows: object,
    message: str,
    blamed: str,
    event_id: str | None,
    context: EvaluationContext | None = None,
) -> None:
    """Check which rows come before an error, and what the error says."""
    found: list[object] = []
    chunks = execute(prepare(text), log, context or a_context())
    with pytest.raises(QueryUnevaluableError) as caught:
        found.extend(json.loads(row) for chunk in chunks for row in chunk)

    error = caught.value
    span = error.diagnostic.span
    assert found == [*rows]
    assert error.diagnostic.message == message
    assert text[span.start : span.end] == blamed
    assert error.event_id == event_id
