"""Running generated loops, and telling of an error where it happened.

Rows that were chosen before an error are yielded before it. The event of an error is the one that
the loop over the first source had come to, which is known from how much of the chunk is left;
where rows of several sources meet, it is the one whose field the expression names first.
"""

from collections.abc import Iterator, Sequence
from operator import length_hint
from typing import Any

from everlog.eventql.codegen.structs import unreadable_field
from everlog.eventql.diagnostic import Diagnostic, QueryUnevaluableError
from everlog.eventql.evaluation.values import EvaluationError
from everlog.eventql.execution.blame import blamed_source, event_at, place_of_row
from everlog.eventql.execution.compiler import ROW_ERRORS, CompiledQuery, Loop, RowError
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
        except ROW_ERRORS as error:
            yield chosen
            raise self.unevaluable(error) from error

    def defer(self, error: RowError) -> Deferred:
        """Return a row that is an error."""
        return Deferred(self.unevaluable(error))

    def unevaluable(self, row_error: RowError) -> QueryUnevaluableError:
        """Return an error with its place in the text and the event that was read."""
        error = _meaning_of(row_error)
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


def _meaning_of(error: RowError) -> EvaluationError:
    """Return what an error says about a row; one that is a bug of ours is raised again."""
    if isinstance(error, EvaluationError):
        return error
    meaning = unreadable_field(error)
    if meaning is None:
        raise error
    return meaning
