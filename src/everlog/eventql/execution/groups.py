"""Groups: the states that rows are added to, and what becomes of them.

Groups keep the order of their first rows. See `aggregate_code` for what a state is.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from everlog.eventql.analysis.analyzed import AggregateCall
from everlog.eventql.codegen.aggregate_code import result_of, start_of
from everlog.eventql.diagnostic import Diagnostic, QueryUnevaluableError
from everlog.eventql.evaluation.values import EvaluationError
from everlog.eventql.execution.holdings import TEXT_LENGTH_USUAL, Holdings, size_of
from everlog.eventql.execution.operators import CHUNK_ROWS

# A state, its accumulators, and a text of the usual length for each.
_STATE_SIZE: Final = 300
_CELL_SIZE: Final = 200 + TEXT_LENGTH_USUAL

State = list[Any]
# The key of a group and the results of its aggregates.
Result = tuple[Any, list[Any]]


def new_state(calls: Sequence[AggregateCall], key: Any = None) -> State:
    """Return the state of a group without rows."""
    return [key, *[start_of(call)() for call in calls]]


class Groups:
    """The groups of one query."""

    def __init__(self, calls: Sequence[AggregateCall], holdings: Holdings) -> None:
        self._calls = calls
        self._holdings = holdings
        self._size = _STATE_SIZE + _CELL_SIZE * len(calls)
        self.states: dict[Any, State] = {}

    def make(self, identity: Any, key: Any) -> State:
        """Add a group, and return its state."""
        self._holdings.add(1, self._size + size_of(key))
        state = self.states[identity] = new_state(self._calls, key)
        return state


def results_of(
    states: Iterable[State], calls: Sequence[AggregateCall], text: str
) -> Iterator[list[Result]]:
    """Yield the results of groups in chunks; those before one that is an error come first."""
    results: list[Result] = []
    for state in states:
        try:
            results.append((state[0], _results(state, calls, text)))
        except QueryUnevaluableError:
            yield results
            raise
        if len(results) == CHUNK_ROWS:
            yield results
            results = []
    yield results


def _results(state: State, calls: Sequence[AggregateCall], text: str) -> list[Any]:
    results = []
    for cell, call in zip(state[1:], calls, strict=True):
        try:
            results.append(result_of(call, cell))
        except EvaluationError as error:
            diagnostic = Diagnostic(str(error), call.span)
            raise QueryUnevaluableError(text, diagnostic, event_id=None) from error
    return results
