"""Operators on chunks of rows: sorting, telling apart, grouping, skipping and ending early.

All take and yield chunks as they come, some of them empty: those say only that work goes on, so
that whoever waits for rows can do something else, or give up.
What is held is accounted for in the `MemoryBudget`, which ends a query that holds too much.
Groups keep the order of their first rows. See `codegen.loop_code` for what their state is.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from operator import itemgetter
from typing import Any, Final, NamedTuple

from everlog.eventql.analysis.analyzed import AggregateCall
from everlog.eventql.codegen.loop_code import result_of, start_of
from everlog.eventql.diagnostic import Diagnostic, QueryUnevaluableError
from everlog.eventql.evaluation.operators import identity_key
from everlog.eventql.evaluation.values import EvaluationError
from everlog.eventql.execution.memory_budget import TEXT_LENGTH_USUAL, MemoryBudget, size_of

Chunks = Iterator[list[Any]]
Pair = tuple[Any, Any]

# Rows of a sorted or grouped answer that are handed on at once.
CHUNK_ROWS: Final = 256

# A sort that keeps but the first rows throws others away when there are so many of them.
_SPARE_ROWS: Final = 1_000

_key_of: Final = itemgetter(0)


class Deferred(NamedTuple):
    """A row that is an error, which is raised when it is the row's turn."""

    error: QueryUnevaluableError


class Sorter:
    """Sorts pairs of a key and a row by their keys; pairs with equal keys keep their order.

    Descending is the exact reverse of ascending, so that those with equal keys are reversed too.
    Of many only the first `row_count_max` are kept, if that is given.
    """

    def __init__(
        self, budget: MemoryBudget, *, is_descending: bool, row_count_max: int | None
    ) -> None:
        # Whoever needs no row does not sort.
        assert row_count_max != 0
        self._budget = budget
        self._is_descending = is_descending
        self._row_count_max = row_count_max
        self._pairs: list[Pair] = []
        # The key of the last pair to be kept, once there are enough of them.
        self._worst: Any = None
        self._has_worst = False

    def candidates(self, pairs: list[Pair]) -> list[Pair]:
        """Return the pairs that may be among the first ones."""
        if not self._has_worst:
            return pairs
        worst = self._worst
        if self._is_descending:
            return [pair for pair in pairs if pair[0] >= worst]
        return [pair for pair in pairs if pair[0] < worst]

    def add(self, pairs: list[Pair]) -> None:
        """Keep pairs, for now."""
        self._budget.add(len(pairs), sum(map(size_of, pairs)))
        self._pairs += pairs
        count = self._row_count_max
        if count is not None and len(self._pairs) >= count + _SPARE_ROWS:
            self._sort()
            self._worst = self._pairs[0 if self._is_descending else -1][0]
            self._has_worst = True

    def rows(self) -> Iterator[Any]:
        """Yield all rows in order."""
        self._sort()
        pairs = reversed(self._pairs) if self._is_descending else self._pairs
        return (row for _, row in pairs)

    def _sort(self) -> None:
        pairs = self._pairs
        pairs.sort(key=_key_of)
        count = self._row_count_max
        if count is None or len(pairs) <= count:
            return
        surplus = slice(None, len(pairs) - count) if self._is_descending else slice(count, None)
        self._budget.add(count - len(pairs), -sum(map(size_of, pairs[surplus])))
        del pairs[surplus]


def sort_rows(pairs: Chunks, sorter: Sorter, *, keep: Callable[[list[Any]], list[Any]]) -> Chunks:
    """Sort pairs of key and row, and yield the rows.

    `keep` is given the rows that are kept for now, and returns what to keep of them.
    """
    for chunk in pairs:
        chosen = sorter.candidates(chunk)
        rows = keep([row for _, row in chosen])
        sorter.add([(key, row) for (key, _), row in zip(chosen, rows, strict=True)])
        yield []
    yield from raise_deferred(chunks_of(sorter.rows()))


def raise_deferred(chunks: Chunks) -> Chunks:
    """Yield rows up to the first one that is an error."""
    for chunk in chunks:
        for index, row in enumerate(chunk):
            if type(row) is Deferred:
                yield chunk[:index]
                raise row.error
        yield chunk


def distinct_rows(chunks: Chunks, budget: MemoryBudget, *, are_strings: bool) -> Chunks:
    """Leave out each row that equals one before it."""
    seen: set[Any] = set()
    for chunk in chunks:
        keys = chunk if are_strings else [*map(identity_key, chunk)]
        fresh = []
        for key, row in zip(keys, chunk, strict=True):
            if key not in seen:
                budget.add(1, size_of(key))
                seen.add(key)
                fresh.append(row)
        yield fresh


def limit_rows(chunks: Chunks, *, skip: int, top: int | None) -> Chunks:
    """Leave out the first rows, and end after the next ones."""
    for chunk in chunks:
        rows = chunk[skip:] if skip else chunk
        skip -= min(skip, len(chunk))
        if top is not None:
            rows = rows[:top]
            top -= len(rows)
        yield rows
        if top == 0:
            return


def chunks_of(rows: Iterable[Any]) -> Chunks:
    """Yield rows in chunks."""
    iterator = iter(rows)
    while chunk := [*islice(iterator, CHUNK_ROWS)]:
        yield chunk


# A state, its accumulators, and a text of the usual length for each.
_STATE_SIZE: Final = 300
_CELL_SIZE: Final = 200 + TEXT_LENGTH_USUAL

State = list[Any]
# The key of a group and the results of its aggregates.
Result = tuple[Any, list[Any]]


def new_state(calls: Sequence[AggregateCall], key: Any = None) -> State:
    """Return the state of a group without rows."""
    return [key, *[start_of(call)() for call in calls]]


class GroupStates:
    """The groups of one query."""

    def __init__(self, calls: Sequence[AggregateCall], budget: MemoryBudget) -> None:
        self._calls = calls
        self._budget = budget
        self._size = _STATE_SIZE + _CELL_SIZE * len(calls)
        self.states: dict[Any, State] = {}

    def make(self, identity: Any, key: Any) -> State:
        """Add a group, and return its state."""
        self._budget.add(1, self._size + size_of(key))
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
