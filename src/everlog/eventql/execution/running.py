"""Running generated loops, and telling of an error where it happened.

Rows that were chosen before an error are yielded before it. The event of an error is the one that
the loop over the first source had come to, which is known from how much of the chunk is left.
"""

from collections.abc import Iterator, Sequence
from operator import length_hint
from typing import Any

from everlog.eventql.diagnostic import Diagnostic, QueryUnevaluableError
from everlog.eventql.evaluation.values import EvaluationError
from everlog.eventql.execution.compiler import CompiledQuery, Loop
from everlog.eventql.execution.operators import Chunks, Deferred
from everlog.eventql.execution.readers import Lines


class Runner:
    """Runs the loops of one query, chunk by chunk."""

    def __init__(self, compiled: CompiledQuery) -> None:
        self._compiled = compiled
        self._items: Sequence[Any] = ()
        self._iterator: Iterator[Any] = iter(())
        self._lines: Lines | None = None

    def choose(
        self, loop: Loop, items: Sequence[Any], lines: Lines | None, *parameters: Any
    ) -> Chunks:
        """Run a loop over one chunk, and yield what it chooses; `lines` are those of events."""
        self._items = items
        self._iterator = iterator = iter(items)
        self._lines = lines
        chosen: list[Any] = []
        try:
            for _ in loop(iterator, lines, chosen, *parameters):
                yield chosen.copy()
                chosen.clear()
        except EvaluationError as error:
            yield chosen
            raise self.unevaluable(error) from error

    def defer(self, error: EvaluationError) -> Deferred:
        """Return a row that is an error."""
        return Deferred(self.unevaluable(error))

    def unevaluable(self, error: EvaluationError) -> QueryUnevaluableError:
        """Return an error with its place in the text and the event that was read."""
        event_id = None
        if self._lines is not None:
            event_id = self._lines.event_id(len(self._items) - length_hint(self._iterator) - 1)
        diagnostic = Diagnostic(str(error), self._compiled.span_of(error))
        text = self._compiled.plan.query.text
        return QueryUnevaluableError(text, diagnostic, event_id=event_id)
