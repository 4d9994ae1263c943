"""Running generated loops, and telling of an error where it happened.

Rows that were chosen before an error are yielded before it. The event of an error is the one that
the loop over the first source had come to, which is known from how much of the chunk is left;
where rows of several sources meet, it is the one whose field the expression names first.
"""

from collections.abc import Iterator, Sequence
from operator import length_hint
from typing import Any

from everlog.eventql.diagnostic import Diagnostic, QueryUnevaluableError
from everlog.eventql.evaluation.values import EvaluationError
from everlog.eventql.execution.blame import blamed_source, event_at, place_of_row
from everlog.eventql.execution.compiler import CompiledQuery, Loop
from everlog.eventql.execution.operators import Chunks, Deferred
from everlog.eventql.execution.readers import Lines
from everlog.eventql.planning.plan import EventScan, Log


class Runner:
    """Runs the loops of one query, chunk by chunk."""

    def __init__(self, compiled: CompiledQuery, log: Log | None = None) -> None:
        """Run the loops of a query; the log is needed where it has several sources."""
        self._compiled = compiled
        self._log = log
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
        span = self._compiled.span_of(error)
        query = self._compiled.plan.query
        event_id = self._event_id(error, blamed_source(query, span))
        return QueryUnevaluableError(query.text, Diagnostic(str(error), span), event_id=event_id)

    def _event_id(self, error: EvaluationError, source: int) -> str | None:
        if source == 0:
            if self._lines is None:
                return None
            return self._lines.event_id(len(self._items) - length_hint(self._iterator) - 1)
        scan = self._compiled.plan.sources[source].source
        place = place_of_row(error.__traceback__, source)
        if place is None or self._log is None or not isinstance(scan, EventScan):
            return None
        return event_at(self._log, scan, place)
