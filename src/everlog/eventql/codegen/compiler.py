"""The compiler: a plan becomes functions that go through rows.

A chosen row is either a value, for a query around this one, or something that the JSON encoder
writes. For the latter, fields of events are taken as they are stored wherever they are written
only, so that most of what leaves the server has never been decoded.

Compiling takes longer than most queries run, so that a plan is compiled once: all that differs
between executions is bound later (`generated.Program`).
What is left to others: where rows come from, and what is done with those that were chosen.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from typing import Final, NamedTuple, assert_never

from everlog.domain.limits import EVENT_SIZE_MAX
from everlog.eventql.analysis.analyzed import ArrayOf, FieldAccess, RecordOf, TypedExpression
from everlog.eventql.codegen.expression_code import Environment, code_of, value_code_of
from everlog.eventql.codegen.generated import GeneratedModule, Program
from everlog.eventql.codegen.loop_code import (
    GroupEnvironment,
    aggregate_lines,
    group_lines,
    group_loop,
    row_loop,
    row_size_max,
    value_lines,
)
from everlog.eventql.codegen.row_code import EventRows, RowEnvironment, ValueRows, uses_of
from everlog.eventql.diagnostic import Span
from everlog.eventql.evaluation.conversion import to_json
from everlog.eventql.evaluation.operators import sort_key
from everlog.eventql.evaluation.values import EvaluationError, Value
from everlog.eventql.limits import VALUE_SIZE_MAX
from everlog.eventql.planning.plan import EvaluationContext, Plan, SourcePlan
from everlog.eventql.types import BOOLEAN, INT, NULL, NUMBER, ORDERED, STRING

# More are written as values, whose size is known: a short query could name a large event often.
_TEXTS_MAX: Final = 256

# What the JSON encoder writes as it should be.
_WRITTEN_AS_IS: Final = NULL | BOOLEAN | INT | STRING


def _texts_in(projection: TypedExpression, sources: tuple[SourcePlan, ...]) -> list[FieldAccess]:
    """Return the fields that a projection writes as they are stored; none if it makes values."""
    texts = []
    for part in _written_parts(projection):
        if isinstance(part, FieldAccess):
            if not sources[part.source].is_events:
                return []
            texts.append(part)
    return texts if len(texts) <= _TEXTS_MAX else []


def _values_in(projection: TypedExpression, texts: list[FieldAccess]) -> list[TypedExpression]:
    """Return the expressions that a projection evaluates, apart from the texts in it."""
    if not texts:
        return [projection]
    return [part for part in _written_parts(projection) if not isinstance(part, FieldAccess)]


_TextCode = Callable[[FieldAccess], str]


def _written_row_code(
    environment: Environment, projection: TypedExpression, text_of: _TextCode | None
) -> str:
    """Return the code of a row for the JSON encoder; fields are written as `text_of` tells.

    Without it they are values, of which the row is put together in the same way, unless it could
    be too large: then it is made as a value, which looks at the size.
    """
    if text_of is None:
        if code_of(environment, projection).size_max >= VALUE_SIZE_MAX:
            return _value_row_code_of(environment, projection)
        return _written(environment, projection, partial(_value_row_code_of, environment))
    return _written(environment, projection, text_of)


def _written(environment: Environment, projection: TypedExpression, text_of: _TextCode) -> str:
    match projection:
        case FieldAccess():
            return text_of(projection)
        case RecordOf(keys=keys, values=values) if values:
            entries = [
                f"{environment.module.constant(key)}: {_written(environment, value, text_of)}"
                for key, value in zip(keys, values, strict=True)
            ]
            return f"{{{', '.join(entries)}}}"
        case ArrayOf(items=items) if items:
            parts = [_written(environment, item, text_of) for item in items]
            return f"[{', '.join(parts)}]"
        case _:
            return _value_row_code_of(environment, projection)


def _value_row_code_of(environment: Environment, expression: TypedExpression) -> str:
    """Return the code of a value for the JSON encoder."""
    code = value_code_of(environment, expression)
    if code.type <= _WRITTEN_AS_IS:
        return code.text
    return f"{environment.module.constant(to_json)}({code.text})"


def _written_parts(projection: TypedExpression) -> Iterator[TypedExpression]:
    """Yield what stands in the projection when its records and arrays are taken apart."""
    pending = [projection]
    while pending:
        part = pending.pop()
        match part:
            case RecordOf(values=values) if values:
                pending.extend(values)
            case ArrayOf(items=items) if items:
                pending.extend(items)
            case _:
                yield part


Loop = Callable[..., Iterator[None]]

# What generated code raises over a row: the latter for a field that cannot be read.
RowError = EvaluationError | AttributeError
ROW_ERRORS: Final = (EvaluationError, AttributeError)


class RowEncoding(Enum):
    """What the rows are that a loop chooses."""

    VALUE = auto()
    # Something that the JSON encoder writes.
    WRITTEN = auto()
    # JSON, as bytes.
    JSON = auto()


class QueryFunctions(NamedTuple):
    """The functions of one plan, for one execution."""

    # Goes through rows: chooses them, or adds them to groups.
    loop: Loop
    # Goes through the results of groups, where there are any.
    group_loop: Loop | None
    # Evaluated before the first row.
    skip: Callable[[], Value] | None
    top: Callable[[], Value] | None


@dataclass(frozen=True, slots=True)
class CompiledQuery:
    """What is needed to run one plan, again and again; nothing changes it."""

    plan: Plan
    program: Program
    # The names of the functions, see `QueryFunctions`.
    names: tuple[str | None, ...]
    rows: Sequence[EventRows | ValueRows]
    # For each source that is a subquery, that.
    subqueries: "dict[int, CompiledQuery]"
    encoding: RowEncoding
    # Of a row that is a value, in items, keys and characters.
    row_size_max: int

    def bind(self, context: EvaluationContext) -> QueryFunctions:
        """Return the functions for one execution."""
        functions = self.program.bind(context)
        loop, *others = (None if name is None else functions[name] for name in self.names)
        assert loop is not None
        return QueryFunctions(loop, *others)

    @property
    def sorts_before_aggregating(self) -> bool:
        """Whether the order of rows decides what their aggregates are."""
        query = self.plan.query
        is_one_group = query.is_aggregated and query.group_key is None
        return is_one_group and self.plan.ordering is not None

    @property
    def sorts_rows(self) -> bool:
        """Whether what is chosen at last are pairs of a key to sort by and a row."""
        return self.plan.ordering is not None and not self.sorts_before_aggregating

    @property
    def has_string_rows(self) -> bool:
        """Whether all rows are strings."""
        return self.plan.query.projection.type <= STRING

    def span_of(self, error: EvaluationError) -> Span:
        """Return the place of the expression that failed."""
        span = self.program.span_of(error.__traceback__)
        return self.plan.query.projection.span if span is None else span


def is_compiled(plan: Plan, *, is_signed: bool, as_json: bool) -> bool:
    """Tell whether `compile_plan` has nothing to do any more."""
    return (is_signed, as_json) in plan.compiled


def compile_plan(plan: Plan, *, is_signed: bool, as_json: bool) -> CompiledQuery:
    """Return the functions for a plan and those of its subqueries, which are generated once."""
    key = (is_signed, as_json)
    compiled: CompiledQuery | None = plan.compiled.get(key)
    if compiled is None:
        # Two threads may come here at once: what they make is the same, and one is kept.
        made = _compile(plan, is_signed=is_signed, as_json=as_json)
        compiled = plan.compiled.setdefault(key, made)
    return compiled


def _compile(plan: Plan, *, is_signed: bool, as_json: bool) -> CompiledQuery:
    subqueries = {
        index: compile_plan(source.source, is_signed=is_signed, as_json=False)
        for index, source in enumerate(plan.sources)
        if isinstance(source.source, Plan)
    }
    module = GeneratedModule()
    query = plan.query
    encoding = _encoding_of(plan) if as_json else RowEncoding.VALUE
    has_texts = encoding is not RowEncoding.VALUE and not query.is_aggregated
    texts = _texts_in(query.projection, plan.sources) if has_texts else []
    rows = _rows_of(module, plan, texts, subqueries, is_signed=is_signed)
    environment = RowEnvironment(module, query.sources, rows)
    final: Environment = environment
    last_loop = None
    if query.is_aggregated:
        loop = _aggregating_loop(environment, rows, plan)
        is_key_event_time = _is_key_event_time(environment, plan)
        final = GroupEnvironment(module, is_key_event_time=is_key_event_time)
        row = _row_code(final, query.projection, encoding, None)
        last_loop = group_loop(final, query.having, _chosen_lines(final, plan, row))
    else:
        row = _row_code(environment, query.projection, encoding, environment if texts else None)
        body = _chosen_lines(environment, plan, row)
        size_max = row_size_max(_gathered(plan), rows)
        loop = row_loop(
            environment,
            rows,
            plan.conditions,
            query.sources,
            body,
            ("z0",),
            row_size_max=size_max,
        )
    value_size_max = 0 if as_json else code_of(final, query.projection).size_max
    counts = [_count_function(module, count) for count in (query.skip, query.top)]
    return CompiledQuery(
        plan=plan,
        program=module.finish(),
        names=(loop, last_loop, *counts),
        rows=rows,
        subqueries=subqueries,
        encoding=encoding,
        row_size_max=value_size_max,
    )


def _rows_of(
    module: GeneratedModule,
    plan: Plan,
    texts: list[FieldAccess],
    subqueries: dict[int, CompiledQuery],
    *,
    is_signed: bool,
) -> list[EventRows | ValueRows]:
    late = _late_expressions(plan, texts)
    rows: list[EventRows | ValueRows] = []
    for index, source in enumerate(plan.sources):
        if source.is_events:
            uses = uses_of(index, early=plan.conditions, late=late, texts=texts)
            rows.append(EventRows(module, index, uses, is_signed=is_signed))
        else:
            subquery = subqueries.get(index)
            size_max = EVENT_SIZE_MAX if subquery is None else subquery.row_size_max
            rows.append(ValueRows(module, index, size_max=size_max))
    return rows


def _late_expressions(plan: Plan, texts: list[FieldAccess]) -> list[TypedExpression]:
    """Return what is evaluated of a row that fulfils all conditions, apart from texts."""
    query = plan.query
    late: list[TypedExpression] = []
    if query.is_aggregated:
        late += [call.argument for call in query.aggregates if call.argument is not None]
        late += [] if query.group_key is None else [query.group_key]
    else:
        late += _values_in(query.projection, texts)
    if plan.ordering is not None and query.group_key is None:
        late.append(plan.ordering.key)
    return late


def _aggregating_loop(
    environment: Environment, rows: Sequence[EventRows | ValueRows], plan: Plan
) -> str:
    query = plan.query
    size_max = None
    if query.group_key is None and plan.ordering is not None:
        key = _sort_key_code(environment, plan.ordering.key)
        body = [f"a0(({key}, {value_lines(environment, query.aggregates)}))"]
        parameters = []
        size_max = row_size_max(_gathered(plan), rows)
    elif query.group_key is None:
        body = aggregate_lines(environment, query.aggregates, query.sources, is_grouped=False)
        parameters = ["g0", "j0"]
    else:
        body = group_lines(environment, query.group_key)
        body += aggregate_lines(environment, query.aggregates, query.sources, is_grouped=True)
        parameters = ["q0", "m0", "j0"]
    return row_loop(
        environment,
        rows,
        plan.conditions,
        query.sources,
        body or ["pass"],
        parameters,
        row_size_max=size_max,
    )


def _gathered(plan: Plan) -> list[TypedExpression]:
    """Return what is evaluated of a row that is gathered, or sorted before it is added up."""
    query = plan.query
    gathered = [] if query.is_aggregated else [query.projection]
    gathered += [call.argument for call in query.aggregates if call.argument is not None]
    if plan.ordering is not None:
        gathered.append(plan.ordering.key)
    return gathered


def _is_key_event_time(environment: Environment, plan: Plan) -> bool:
    key = plan.query.group_key
    return key is not None and code_of(environment, key).is_event_time


def _encoding_of(plan: Plan) -> RowEncoding:
    """Return the form in which rows are chosen that leave the server."""
    query = plan.query
    if query.is_distinct:
        # What is told apart is compared, and so has to be a value.
        return RowEncoding.VALUE
    projection = query.projection
    is_event = isinstance(projection, FieldAccess) and plan.sources[projection.source].is_events
    is_whole = is_event and isinstance(projection, FieldAccess) and not projection.path
    return RowEncoding.JSON if is_whole and not query.is_aggregated else RowEncoding.WRITTEN


def _row_code(
    environment: Environment,
    projection: TypedExpression,
    encoding: RowEncoding,
    texts: RowEnvironment | None,
) -> str:
    """Return the code of a chosen row; `texts` knows how fields are written, if they are."""
    match encoding:
        case RowEncoding.VALUE:
            return value_code_of(environment, projection).text
        case RowEncoding.WRITTEN:
            return _written_row_code(environment, projection, None if texts is None else texts.text)
        case RowEncoding.JSON:
            assert isinstance(projection, FieldAccess)
            assert texts is not None
            return texts.event_code(projection)
        case _:
            assert_never(encoding)


def _chosen_lines(environment: Environment, plan: Plan, row: str) -> list[str]:
    """Return the lines that append a chosen row, or group, with its key if it is to be sorted."""
    is_one_group = plan.query.is_aggregated and plan.query.group_key is None
    if plan.ordering is None or is_one_group:
        return [f"a0({row})"]
    failed = environment.module.constant(ROW_ERRORS)
    return [
        f"k1 = ({_sort_key_code(environment, plan.ordering.key)})",
        # Rows are projected in the order they are sorted in: an error comes when it is its turn.
        f"try: v1 = ({row})",
        f"except {failed} as e0: v1 = z0(e0)",
        "a0((k1, v1))",
    ]


def _sort_key_code(environment: Environment, key: TypedExpression) -> str:
    code = code_of(environment, key)
    if code.is_event_time:
        # Without the `Z`, texts sort like the moments.
        return f"{code.text}[:-1]"
    code = value_code_of(environment, key)
    if code.type <= NUMBER or (len(code.type) == 1 and code.type <= ORDERED):
        return code.text
    return f"{environment.module.constant(sort_key)}({code.text})"


def _count_function(module: GeneratedModule, count: TypedExpression | None) -> str | None:
    if count is None:
        return None
    return module.expression_function("", code_of(RowEnvironment(module, (), ()), count))
