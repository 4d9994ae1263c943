"""Incremental aggregation: aggregates to which events can be added as they are written.

A precondition that asks for an aggregate is counted on what is stored, by another process if it
takes long; then only what was written since has to be added before the write is decided.
Queries that cannot be answered so are asked again if `may_affect` says that they have to be.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from everlog.eventql.codegen.compiler import compile_plan
from everlog.eventql.codegen.row_code import EventRows
from everlog.eventql.evaluation.values import Value
from everlog.eventql.execution.executor import Runner
from everlog.eventql.execution.memory_budget import MemoryBudget
from everlog.eventql.execution.readers import BlockLines, items_of, selected_lines, selects_any
from everlog.eventql.execution.row_operators import State, new_state, results_of
from everlog.eventql.planning.plan import ALL, EvaluationContext, EventScan, IndexAnswer, Plan
from everlog.eventql.planning.planner import prepare

# Each is judged for each event that has come. A query of more is rather asked anew.
_SCANS_JUDGED_MAX: Final = 16


def is_incremental(plan: Plan) -> bool:
    """Tell whether a query can be answered so: one row, made of one pass over events in order."""
    query = plan.query
    is_one_row = query.is_aggregated and query.group_key is None
    is_whole = query.skip is None and query.top is None
    is_plain = is_one_row and is_whole and plan.ordering is None and not plan.is_explain
    return is_plain and len(plan.sources) == 1 and _is_forward(plan)


def _is_forward(plan: Plan) -> bool:
    scan = plan.sources[0].source
    return isinstance(scan, EventScan) and not scan.is_reversed


class IncrementalAggregation:
    """The aggregates of a query that `is_incremental`, over the events added so far.

    It can be pickled; what was unpickled has to `resume` before it is used again.
    """

    def __init__(self, plan: Plan, now: int, state: State, held_size: int) -> None:
        assert is_incremental(plan)
        self._plan = plan
        self._now = now
        self._state = state
        self._held_size = held_size
        self._calculation: _Calculation | None = None

    @classmethod
    def start(cls, plan: Plan, context: EvaluationContext) -> "IncrementalAggregation":
        """Return the aggregates of no events."""
        state = new_state(plan.query.aggregates)
        return cls(plan, context.now, state, 0).resume(context)

    def resume(self, context: EvaluationContext) -> "IncrementalAggregation":
        """Make it usable in another process; the time of the query stays what it was."""
        context = replace(context, now=self._now)
        self._calculation = _Calculation(self._plan, context, self._held_size)
        return self

    @property
    def is_certain(self) -> bool:
        """Whether more events cannot change the value."""
        enough = self._plan.count_enough
        return enough is not None and self._state[1] >= enough

    @property
    def is_count(self) -> bool:
        """Whether the number of events is all that there is to know of them."""
        return self._plan.index_answer is IndexAnswer.COUNT

    def begin_with(self, count: int) -> None:
        """Take in so many first events that the plan's scan selects, unread."""
        assert self.is_count
        self._state[1:] = [count] * len(self._plan.query.aggregates)

    def add(self, block: bytes) -> None:
        """Add events that the plan's scan selects, in their order.

        Raises:
            QueryUnevaluableError: One of them has no value.
        """
        assert self._calculation is not None
        self._calculation.add(block, self._state)
        self._held_size = self._calculation.budget.size

    def add_any(self, block: bytes) -> None:
        """Add those events of some that the plan's scan selects; none once the value is certain.

        Raises:
            QueryUnevaluableError: One of them has no value.
        """
        if self.is_certain:
            return
        [source] = self._plan.sources
        assert isinstance(source.source, EventScan)
        selected = block if source.source == ALL else selected_lines(block, source.source)
        if selected:
            self.add(selected)

    def value(self) -> Value:
        """Return the value of the only row, as of the events so far.

        Raises:
            QueryUnevaluableError: It has none.
        """
        assert self._calculation is not None
        return self._calculation.value(self._state)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self._plan.query.text, self._now, self._state, self._held_size)


class _Calculation:
    """What is computed with, bound to one context."""

    def __init__(self, plan: Plan, context: EvaluationContext, held_size: int) -> None:
        is_signed = context.sign is not None
        self._compiled = compile_plan(plan, is_signed=is_signed, as_json=False)
        self._functions = self._compiled.bind(context)
        self._runner = Runner(self._compiled, check=context.check)
        self.budget = MemoryBudget(context.limits)
        self.budget.add(0, held_size)

    def add(self, block: bytes, state: State) -> None:
        [rows] = self._compiled.rows
        assert isinstance(rows, EventRows)
        items, lines = items_of(block, rows), BlockLines(block)
        for _ in self._runner.choose(self._functions.loop, items, lines, state, self.budget):
            pass

    def value(self, state: State) -> Value:
        query = self._compiled.plan.query
        loop = self._functions.group_loop
        assert loop is not None
        [results] = results_of([state], query.aggregates, query.text)
        [[row]] = self._runner.choose(loop, results, None, self._runner.defer)
        value: Value = row
        return value


def _restore(text: str, now: int, state: State, held_size: int) -> IncrementalAggregation:
    return IncrementalAggregation(prepare(text), now, state, held_size)


def may_affect(scans: Sequence[EventScan]) -> Callable[[bytes], bool]:
    """Return a function that tells whether one of some scans selects events.

    Its argument is a block of stored lines. It may say so in vain.
    """
    if ALL in scans or len(scans) > _SCANS_JUDGED_MAX:
        return bool
    return lambda block: selects_any(block, scans)
