"""The executor: gets rows from sources through loops and operators to whoever asks for them.

Everything is an iterator over chunks of rows: nothing is read before somebody asks, and whoever
stops asking has stopped the query. A chunk may be empty, see `operators`.
An error is given its place in the text and the event that was read, after the rows before it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec

from everlog.eventql.codegen.aggregate_code import is_result_kept
from everlog.eventql.codegen.row_code import EventRows
from everlog.eventql.diagnostic import Diagnostic, QueryUnevaluableError, Span
from everlog.eventql.evaluation.comparison import kind_of
from everlog.eventql.evaluation.rendering import to_json
from everlog.eventql.evaluation.values import EvaluationError, Value
from everlog.eventql.execution.compiler import CompiledQuery, RowForm
from everlog.eventql.execution.groups import Groups, State, new_state, results_of
from everlog.eventql.execution.holdings import Holdings, size_of
from everlog.eventql.execution.operators import (
    Chunks,
    Deferred,
    Sorter,
    distinct_rows,
    limit_rows,
    sort_rows,
)
from everlog.eventql.execution.readers import Lines, Turns, items_of, name_chunks, read_table
from everlog.eventql.execution.running import Runner
from everlog.eventql.planning.plan import EventScan, IndexAnswer, Log, Plan
from everlog.eventql.surroundings import Surroundings

_encode_lines: Final = msgspec.json.Encoder().encode_lines


def written_rows(compiled: CompiledQuery, log: Log, surroundings: Surroundings) -> Chunks:
    """Yield the rows of a query as JSON texts."""
    is_sorted = compiled.sorts_rows
    for chunk in rows_of(compiled, log, surroundings):
        if compiled.form is RowForm.JSON or not chunk:
            yield chunk
        elif compiled.form is RowForm.VALUE:
            yield _encode([*map(to_json, chunk)])
        else:
            # What was sorted was encoded before, so that its size was known.
            yield chunk if is_sorted else _encode(chunk)


def rows_of(compiled: CompiledQuery, log: Log, surroundings: Surroundings) -> Chunks:
    """Yield the rows of a query in the form of the compiled query; if sorted, as JSON or values."""
    return _Run(compiled, log, surroundings, Holdings(surroundings.limits)).rows()


def _encode(rows: Sequence[Any]) -> list[bytes]:
    # No JSON text of ours has a line feed: those of strings are escaped.
    lines: list[bytes] = _encode_lines(rows).split(b"\n")
    lines.pop()
    return lines


def _encode_kept(rows: list[Any]) -> list[Any]:
    """Return rows as JSON texts, and those that are errors as they are."""
    texts = iter(_encode([row for row in rows if type(row) is not Deferred]))
    return [row if type(row) is Deferred else next(texts) for row in rows]


class _Run:
    """One execution of a query; those of its subqueries share what may be held."""

    def __init__(
        self, compiled: CompiledQuery, log: Log, surroundings: Surroundings, holdings: Holdings
    ) -> None:
        self._compiled = compiled
        self._plan = compiled.plan
        self._query = compiled.plan.query
        self._log = log
        self._surroundings = surroundings
        self._holdings = holdings
        self._runner = Runner(compiled, log)

    def rows(self) -> Chunks:
        """Yield the rows of the query."""
        compiled = self._compiled
        skip = self._count(compiled.skip, "SKIP") or 0
        top = self._count(compiled.top, "TOP")
        if top == 0:
            return
        chunks = self._chosen()
        if compiled.sorts_rows:
            is_limited = top is not None and not self._query.is_distinct
            chunks = self._sorted(chunks, skip + (top or 0) if is_limited else None)
        if self._query.is_distinct:
            chunks = distinct_rows(chunks, self._holdings, are_strings=compiled.has_string_rows)
        if skip or top is not None:
            chunks = limit_rows(chunks, skip=skip, top=top)
        yield from chunks

    def _count(self, function: Callable[[], Value] | None, clause: str) -> int | None:
        """Return the count of SKIP or TOP."""
        if function is None:
            return None
        query = self._query
        expression = query.skip if clause == "SKIP" else query.top
        assert expression is not None
        try:
            count = function()
        except EvaluationError as error:
            raise self._runner.unevaluable(error) from error
        if type(count) is not int:
            refusal = f"{clause} expects an INT, but found {kind_of(count)}"
        elif count < 0:
            refusal = f"{clause} expects 0 or more rows, but found {count}"
        else:
            return count
        raise QueryUnevaluableError(query.text, Diagnostic(refusal, expression.span), event_id=None)

    def _sorted(self, pairs: Chunks, row_count_max: int | None) -> Chunks:
        ordering = self._plan.ordering
        assert ordering is not None
        sorter = Sorter(
            self._holdings, is_descending=ordering.is_descending, row_count_max=row_count_max
        )
        is_written = self._compiled.form is RowForm.WRITTEN and self._compiled.sorts_rows
        return sort_rows(pairs, sorter, keep=_encode_kept if is_written else list)

    def _chosen(self) -> Chunks:
        """Yield what the last loop chooses: of rows, or of groups."""
        compiled, query = self._compiled, self._query
        if compiled.group_loop is None:
            yield from self._loop_through_rows((self._runner.defer,))
            return
        states: Iterable[State]
        if self._plan.index_answer is not None:
            states = self._states_of_index(self._plan.index_answer)
        elif query.group_key is None:
            state = new_state(query.aggregates)
            yield from self._aggregated(state)
            states = [state]
        else:
            groups = Groups(query.aggregates, self._holdings)
            parameters = (groups.states.get, groups.make, self._holdings)
            yield from self._loop_through_rows(parameters)
            states = groups.states.values()
        for results in results_of(states, query.aggregates, query.text):
            yield from self._runner.choose(compiled.group_loop, results, None, self._runner.defer)

    def _states_of_index(self, answer: IndexAnswer) -> Iterable[State]:
        scan = self._plan.sources[0].source
        assert isinstance(scan, EventScan)
        calls = self._query.aggregates
        if answer is IndexAnswer.COUNT:
            count = self._log.count(scan)
            return [[None, *[count] * len(calls)]]
        counts = self._log.count_by_event_type(scan)
        return [
            [name, *[count if call.argument is None else name for call in calls]]
            for name, count in counts.items()
        ]

    def _aggregated(self, state: State) -> Chunks:
        """Add all rows to the state of the only group."""
        enough = self._plan.count_enough
        if self._compiled.sorts_before_aggregating:
            yield from self._aggregated_in_order(state)
        elif enough != 0:
            for chunk in self._loop_through_rows((state, self._holdings)):
                yield chunk
                if enough is not None and state[1] >= enough:
                    return

    def _aggregated_in_order(self, state: State) -> Chunks:
        """Sort what rows add to each aggregate before it is added."""
        calls = self._query.aggregates
        accumulators = [call.aggregate.start() for call in calls]
        for rows in self._sorted(self._loop_through_rows(()), None):
            for values in rows:
                for accumulator, value, call in zip(accumulators, values, calls, strict=True):
                    if value is not None:
                        self._add(accumulator.add, value, call.span)
            yield []
        state[1:] = [
            cell.result() if is_result_kept(call) else cell
            for cell, call in zip(accumulators, calls, strict=True)
        ]

    def _loop_through_rows(self, parameters: tuple[Any, ...]) -> Chunks:
        """Go through the product of all sources, and yield what the loop chooses."""
        compiled = self._compiled
        tables: list[list[Any]] = []
        for index in range(1, len(compiled.rows)):
            table: list[Any] = []
            yield from self._read_table(index, table)
            if not table:
                return
            tables.append(table)
        if tables:
            turns = Turns(self._surroundings.limits)
            parameters = (turns.take, *tables, *parameters)
        for items, lines in self._chunks_of_first():
            yield from self._runner.choose(compiled.loop, items, lines, *parameters)

    def _chunks_of_first(self) -> Iterator[tuple[Sequence[Any], Lines | None]]:
        """Yield the rows of the first source, as the loop takes them, with the lines of events."""
        source = self._plan.sources[0].source
        if isinstance(source, EventScan):
            rows = self._compiled.rows[0]
            assert isinstance(rows, EventRows)
            for block in self._log.scan(source):
                yield items_of(block, rows), Lines(block)
        else:
            for values in self._values_of(0):
                yield values, None

    def _values_of(self, index: int) -> Chunks:
        source = self._plan.sources[index].source
        if isinstance(source, Plan):
            subquery = self._compiled.subqueries[index]
            run = _Run(subquery, self._log, self._surroundings, self._holdings)
            return run.rows()
        assert not isinstance(source, EventScan)
        return name_chunks(self._log, source)

    def _read_table(self, index: int, table: list[Any]) -> Chunks:
        source = self._plan.sources[index].source
        rows = self._compiled.rows[index]
        if isinstance(source, EventScan):
            assert isinstance(rows, EventRows)
            for _ in read_table(self._log, source, rows, self._holdings, table):
                yield []
            return
        for chunk in self._values_of(index):
            self._holdings.add(len(chunk), sum(map(size_of, chunk)))
            table += chunk
            yield []

    def _add(self, add: Callable[[Any], None], value: Any, span: Span) -> None:
        try:
            add(value)
        except EvaluationError as error:
            text = self._query.text
            raise QueryUnevaluableError(
                text, Diagnostic(str(error), span), event_id=None
            ) from error
