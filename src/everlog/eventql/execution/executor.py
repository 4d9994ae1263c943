"""The executor: gets rows from sources through loops and operators to whoever asks for them.

Everything is an iterator over chunks of rows: nothing is read before somebody asks, and whoever
stops asking has stopped the query. A chunk may be empty, see `row_operators`.

An error is given its place in the text and the event that was read, after the rows before it. The
event is the one that the loop over the first source had come to, which is known from how much of
the chunk is left; where rows of several sources meet, it is the one whose field the expression
names first. All that is looked for only once an error has happened, so that rows that do not fail
pay nothing for it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import length_hint
from types import TracebackType
from typing import Any, Final

import msgspec

from everlog.domain.json_text import is_nested_deeper
from everlog.eventql.analysis.analyzed import (
    AnalyzedQuery,
    FieldAccess,
    LogSource,
    TypedExpression,
    operands,
)
from everlog.eventql.codegen.compiler import ROW_ERRORS, CompiledQuery, Loop, RowEncoding, RowError
from everlog.eventql.codegen.loop_code import is_result_kept
from everlog.eventql.codegen.row_code import EventRows
from everlog.eventql.codegen.structs import event_id_of, lines_of, unreadable_field
from everlog.eventql.diagnostic import Diagnostic, QueryUnevaluableError, Span
from everlog.eventql.evaluation.conversion import to_json
from everlog.eventql.evaluation.operators import kind_of
from everlog.eventql.evaluation.values import EvaluationError, Value
from everlog.eventql.execution.memory_budget import MemoryBudget, size_of
from everlog.eventql.execution.readers import BlockLines, Turns, items_of, name_chunks, read_table
from everlog.eventql.execution.row_operators import (
    Chunks,
    Deferred,
    GroupStates,
    Sorter,
    State,
    distinct_rows,
    limit_rows,
    new_state,
    results_of,
    sort_rows,
)
from everlog.eventql.limits import ROW_DEPTH_MAX
from everlog.eventql.planning.plan import EvaluationContext, EventScan, IndexAnswer, Log, Plan
from everlog.eventql.trees import walk

# --- Whose value it was


def blamed_source(query: AnalyzedQuery, span: Span) -> int:
    """Return the source of events that the expression at a span names first; 0 if it names none."""
    blamed = next((node for place, node in _evaluated(query) if place == span), None)
    if blamed is None:
        return 0
    named = (node for node in walk(blamed, operands) if isinstance(node, FieldAccess))
    events = (field for field in named if query.sources[field.source] is LogSource.EVENTS)
    first = min(events, key=lambda field: field.span.start, default=None)
    return 0 if first is None else first.source


def place_of_row(traceback: TracebackType | None, source: int) -> int | None:
    """Return the place in its table of the row that a loop over a later source had come to.

    The names are those that generated loops have (`codegen.loop_code`).
    """
    while traceback is not None:
        names = traceback.tb_frame.f_locals
        table = names.get(f"s{source}")
        row = names.get(f"r{source}", names.get(f"w{source}"))
        if table is not None and row is not None:
            return next((place for place, item in enumerate(table) if _is_of(item, row)), None)
        traceback = traceback.tb_next
    return None


def event_at(log: Log, scan: EventScan, place: int) -> str:
    """Return the id of an event by its place in a scan, which is read again up to there."""
    before = 0
    for block in log.scan(scan):
        count = block.count(b"\n")
        if place < before + count:
            return event_id_of(lines_of(block)[place - before])
        before += count
    raise AssertionError


def _is_of(item: Any, row: Any) -> bool:
    """Tell whether an item of a table is a row, or a row with its line."""
    return item is row or (type(item) is tuple and item[0] is row)


def _evaluated(query: AnalyzedQuery) -> Iterator[tuple[Span, TypedExpression]]:
    """Yield what is evaluated with a row of each source, with the places that errors name."""
    roots = [query.where, query.group_key, query.projection]
    if query.ordering is not None:
        roots.append(query.ordering.key)
    for call in query.aggregates:
        if call.argument is not None:
            yield call.span, call.argument
            roots.append(call.argument)
    for root in roots:
        if root is not None:
            yield from ((node.span, node) for node in walk(root, operands))


# --- Running loops


class Runner:
    """Runs the loops of one query, chunk by chunk."""

    def __init__(
        self,
        compiled: CompiledQuery,
        log: Log | None = None,
        check: Callable[[], None] | None = None,
    ) -> None:
        """Run the loops of a query; the log is needed where it has several sources.

        `check` is called before each row.
        """
        self._compiled = compiled
        self._log = log
        self._check = check
        self._items: Sequence[Any] = ()
        self._iterator: Iterator[Any] = iter(())
        self._lines: BlockLines | None = None

    def choose(
        self, loop: Loop, items: Sequence[Any], lines: BlockLines | None, *parameters: Any
    ) -> Chunks:
        """Run a loop over one chunk, and yield what it chooses; `lines` are those of events."""
        self._items = items
        # How far the loop is, is told by what is left of it.
        self._iterator = iterator = iter(items)
        self._lines = lines
        rows = iterator if self._check is None else _checked(iterator, self._check)
        chosen: list[Any] = []
        try:
            for _ in loop(rows, lines, chosen, *parameters):
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


def _checked(rows: Iterator[Any], check: Callable[[], None]) -> Iterator[Any]:
    for row in rows:
        check()
        yield row


def _meaning_of(error: RowError) -> EvaluationError:
    """Return what an error says about a row; one that is a bug of ours is raised again."""
    if isinstance(error, EvaluationError):
        return error
    meaning = unreadable_field(error)
    if meaning is None:
        raise error
    return meaning


# --- Queries


_DEPTH_HINT: Final = "project it with fewer arrays and records around it"

_encode_lines: Final = msgspec.json.Encoder().encode_lines


def written_rows(compiled: CompiledQuery, log: Log, context: EvaluationContext) -> Chunks:
    """Yield the rows of a query as JSON texts."""
    query = compiled.plan.query
    rows = _written(compiled, log, context)
    return rows if query.row_depth <= ROW_DEPTH_MAX else _check_depths(rows, query)


def _check_depths(rows: Chunks, query: AnalyzedQuery) -> Chunks:
    """Yield rows that are no deeper than a client can read."""
    for chunk in rows:
        for place, row in enumerate(chunk):
            if is_nested_deeper(row, ROW_DEPTH_MAX):
                yield chunk[:place]
                message = f"the row has more than {ROW_DEPTH_MAX} levels of nesting"
                diagnostic = Diagnostic(message, query.projection.span, _DEPTH_HINT)
                raise QueryUnevaluableError(query.text, diagnostic, event_id=None)
        yield chunk


def _written(compiled: CompiledQuery, log: Log, context: EvaluationContext) -> Chunks:
    is_sorted = compiled.sorts_rows
    for chunk in rows_of(compiled, log, context):
        if compiled.encoding is RowEncoding.JSON or not chunk:
            yield chunk
        elif compiled.encoding is RowEncoding.VALUE:
            yield _encode([*map(to_json, chunk)])
        else:
            # What was sorted was encoded before, so that its size was known.
            yield chunk if is_sorted else _encode(chunk)


def rows_of(compiled: CompiledQuery, log: Log, context: EvaluationContext) -> Chunks:
    """Yield the rows of a query in the form of the compiled query; if sorted, as JSON or values."""
    return _Run(compiled, log, context, MemoryBudget(context.limits)).rows()


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
        self, compiled: CompiledQuery, log: Log, context: EvaluationContext, budget: MemoryBudget
    ) -> None:
        self._compiled = compiled
        self._functions = compiled.bind(context)
        self._plan = compiled.plan
        self._query = compiled.plan.query
        self._log = log
        self._context = context
        self._budget = budget
        self._runner = Runner(compiled, log, context.check)

    def rows(self) -> Chunks:
        """Yield the rows of the query."""
        compiled = self._compiled
        skip = self._count(self._functions.skip, "SKIP") or 0
        top = self._count(self._functions.top, "TOP")
        if top == 0:
            return
        chunks = self._chosen()
        if compiled.sorts_rows:
            is_limited = top is not None and not self._query.is_distinct
            chunks = self._sorted(chunks, skip + (top or 0) if is_limited else None)
        if self._query.is_distinct:
            chunks = distinct_rows(chunks, self._budget, are_strings=compiled.has_string_rows)
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
            self._budget, is_descending=ordering.is_descending, row_count_max=row_count_max
        )
        is_written = self._compiled.encoding is RowEncoding.WRITTEN and self._compiled.sorts_rows
        return sort_rows(pairs, sorter, keep=_encode_kept if is_written else list)

    def _chosen(self) -> Chunks:
        """Yield what the last loop chooses: of rows, or of groups."""
        query, group_loop = self._query, self._functions.group_loop
        if group_loop is None:
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
            groups = GroupStates(query.aggregates, self._budget)
            parameters = (groups.states.get, groups.make, self._budget)
            yield from self._loop_through_rows(parameters)
            states = groups.states.values()
        for results in results_of(states, query.aggregates, query.text):
            yield from self._runner.choose(group_loop, results, None, self._runner.defer)

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
            for chunk in self._loop_through_rows((state, self._budget)):
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
            turns = Turns(self._context.limits, self._context.check)
            parameters = (turns.take, *tables, *parameters)
        for items, lines in self._chunks_of_first():
            yield from self._runner.choose(self._functions.loop, items, lines, *parameters)

    def _chunks_of_first(self) -> Iterator[tuple[Sequence[Any], BlockLines | None]]:
        """Yield the rows of the first source, as the loop takes them, with the lines of events."""
        source = self._plan.sources[0].source
        if isinstance(source, EventScan):
            rows = self._compiled.rows[0]
            assert isinstance(rows, EventRows)
            for block in self._log.scan(source):
                yield items_of(block, rows), BlockLines(block)
        else:
            for values in self._values_of(0):
                yield values, None

    def _values_of(self, index: int) -> Chunks:
        source = self._plan.sources[index].source
        if isinstance(source, Plan):
            subquery = self._compiled.subqueries[index]
            run = _Run(subquery, self._log, self._context, self._budget)
            return run.rows()
        assert not isinstance(source, EventScan)
        return name_chunks(self._log, source)

    def _read_table(self, index: int, table: list[Any]) -> Chunks:
        source = self._plan.sources[index].source
        rows = self._compiled.rows[index]
        if isinstance(source, EventScan):
            assert isinstance(rows, EventRows)
            for _ in read_table(self._log, source, rows, self._budget, table):
                yield []
            return
        for chunk in self._values_of(index):
            self._budget.add(len(chunk), sum(map(size_of, chunk)))
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
