"""Answers: what comes of a query, of whoever evaluates it, in a form that can be compared."""

from dataclasses import dataclass
from typing import Any

from everlog.eventql.diagnostic import QueryMalformedError, Span, locate
from everlog.eventql.parser import parse
from tests.support.eventql.cases import Case
from tests.support.eventql.comparing import are_same
from tests.support.eventql.corpora import Corpus
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


def malformed_answer(error: QueryMalformedError) -> Answer:
    """Return the answer to a query that is refused."""
    span = error.diagnostics[0].span
    return Answer((), str(error), is_static=True, span=span)


def answer_by_reference(text: str, corpus: Corpus) -> Answer:
    """Evaluate a query as the reference interpreter does."""
    world = World(corpus.events, corpus.subjects, corpus.event_types, now=corpus.now)
    rows: list[Any] = []
    try:
        rows.extend(map(to_json, run_reference(parse(text), world)))
    except ReferenceUnevaluableError as error:
        return Answer(tuple(rows), str(error), span=error.span, event_id=error.event_id)
    return Answer(tuple(rows))


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
