"""Answers: what comes of a query, of whoever evaluates it, in a form that can be compared."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from everlog.eventql.codegen.structs import Sign
from everlog.eventql.diagnostic import (
    QueryMalformedError,
    QueryUnevaluableError,
    Span,
    locate,
)
from everlog.eventql.evaluation.datetimes import parse_datetime
from everlog.eventql.language.parser import parse
from everlog.eventql.query import EvaluationContext, Log, Plan, QueryLimits, execute, prepare
from tests.support.eventql.cases import Case
from tests.support.eventql.comparing import are_same
from tests.support.eventql.corpora import Corpus
from tests.support.eventql.logs import MemoryLog
from tests.support.eventql.reference import run_reference
from tests.support.eventql.reference_expressions import ReferenceUnevaluableError, World
from tests.support.eventql.reference_values import to_json


@dataclass(frozen=True)
class Answer:
    """The rows, as decoded JSON, and the error after them, if there is one."""

    rows: tuple[Any, ...]
    message: str | None = None
    is_static: bool = False
    span: Span | None = None
    event_id: str | None = None

    @property
    def is_failed(self) -> bool:
        """Tell whether the query ended with an error."""
        return self.message is not None


def answer_by_reference(text: str, corpus: Corpus, *, sign: Sign | None = None) -> Answer:
    """Evaluate a query as the reference interpreter does."""
    events: Sequence[dict[str, Any]] = corpus.events
    if sign is not None:
        events = [{**event, "signature": sign(event["hash"])} for event in events]
    world = World(events, corpus.subjects, corpus.event_types, now=corpus.now)
    rows: list[Any] = []
    try:
        for row in run_reference(parse(text), world):
            rows += [to_json(row)]
    except ReferenceUnevaluableError as error:
        return Answer(tuple(rows), str(error), span=error.span, event_id=error.event_id)
    return Answer(tuple(rows))


def answer_by_product(
    text: str,
    corpus: Corpus,
    *,
    block_size: int = 3,
    sign: Sign | None = None,
    change_plan: Callable[[Plan], Plan] = lambda plan: plan,
    log: Log | None = None,
) -> Answer:
    """Evaluate a query as the server does, or as it would with another plan.

    The log holds the events of the corpus; without one, it is a simple log in memory.
    """
    try:
        plan = change_plan(prepare(text))
    except QueryMalformedError as error:
        span = error.diagnostics[0].span
        return Answer((), str(error), is_static=True, span=span)
    texts: list[bytes] = []
    try:
        log = log_of(corpus, block_size) if log is None else log
        for chunk in execute(plan, log, context_of(corpus, sign)):
            texts += chunk
    except QueryUnevaluableError as error:
        rows = decoded(texts)
        return Answer(rows, str(error), span=error.diagnostic.span, event_id=error.event_id)
    return Answer(decoded(texts))


def decoded(texts: Sequence[bytes]) -> tuple[Any, ...]:
    """Decode rows; Python takes NaN and Infinity for JSON, which they are not."""
    return tuple(json.loads(text, parse_constant=refuse_constant) for text in texts)


def refuse_constant(name: str) -> None:
    """Refuse what is no JSON."""
    raise AssertionError(name)


def log_of(corpus: Corpus, block_size: int) -> MemoryLog:
    """Return a corpus as a log."""
    return MemoryLog([*corpus.lines], block_size=block_size, other_types=corpus.schema_types)


def context_of(corpus: Corpus, sign: Sign | None) -> EvaluationContext:
    """Return what the reference takes for granted, for the product."""
    now = parse_datetime(corpus.now).nanoseconds
    return EvaluationContext(now=now, random=lambda: 0.5, sign=sign, limits=QueryLimits())


def find_differences(case: Case, answer: Answer) -> list[str]:
    """Say how an answer differs from what a case expects."""
    found: list[str] = []
    if not are_same(answer.rows, case.rows):
        found.append(f"rows {answer.rows}, expected {case.rows}")
    expected = case.failure
    if expected is None:
        return found if answer.message is None else [*found, answer.message]
    if answer.message is None:
        return [*found, "no error"]
    if answer.is_static != expected.is_static:
        found.append(f"{answer.message}, before any row: {answer.is_static}")
    assert answer.span is not None
    line, column = locate(case.query, answer.span.start)
    if expected.line_and_column not in {None, f"{line}:{column}"}:
        found.append(f"{answer.message}, at {line}:{column}, expected {expected.line_and_column}")
    blamed = case.query[answer.span.start : answer.span.end]
    if expected.blamed not in {None, blamed}:
        found.append(f"{answer.message}, blaming {blamed}, expected {expected.blamed}")
    if expected.event_id not in {None, answer.event_id}:
        found.append(f"{answer.message}, for {answer.event_id}, expected {expected.event_id}")
    return found
