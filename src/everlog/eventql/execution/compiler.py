"""The compiler: a plan becomes functions that go through rows.

What is generated depends on the surroundings too: NOW is a constant, and so is how to sign.
What is left to others: where rows come from, and what is done with those that were chosen.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, assert_never

from everlog.domain.limits import EVENT_SIZE_MAX
from everlog.eventql.analysis.analyzed import FieldAccess, TypedExpression
from everlog.eventql.codegen.aggregate_code import (
    GroupEnvironment,
    aggregate_lines,
    group_lines,
    value_lines,
)
from everlog.eventql.codegen.expression_code import CodeContext, code_of, value_code_of
from everlog.eventql.codegen.generated import GeneratedModule
from everlog.eventql.codegen.loop_code import group_loop, row_loop
from everlog.eventql.codegen.row_code import EventRows, RowEnvironment, ValueRows, uses_of
from everlog.eventql.diagnostic import Span
from everlog.eventql.evaluation.comparison import sort_key
from everlog.eventql.evaluation.values import EvaluationError, Value
from everlog.eventql.execution.projection_code import row_code_of, texts_in, values_in
from everlog.eventql.planning.plan import Plan
from everlog.eventql.surroundings import Surroundings
from everlog.eventql.types import NUMBER, ORDERED, STRING

Loop = Callable[..., Iterator[None]]

# What generated code raises over a row: the latter for a field that cannot be read.
RowError = EvaluationError | AttributeError
ROW_ERRORS: Final = (EvaluationError, AttributeError)


class RowForm(Enum):
    """What the rows are that a loop chooses."""

    VALUE = auto()
    # Something that the JSON encoder writes.
    WRITTEN = auto()
    # JSON, as bytes.
    JSON = auto()


@dataclass(frozen=True, slots=True)
class CompiledQuery:
    """What is needed to run one plan."""

    plan: Plan
    module: GeneratedModule
    rows: Sequence[EventRows | ValueRows]
    # For each source that is a subquery, that.
    subqueries: "dict[int, CompiledQuery]"
    # Goes through rows: chooses them, or adds them to groups.
    loop: Loop
    # Goes through the results of groups, where there are any.
    group_loop: Loop | None
    # Evaluated before the first row.
    skip: Callable[[], Value] | None
    top: Callable[[], Value] | None
    form: RowForm
    # Of a row that is a value, in items, keys and characters.
    row_size_max: int

    @property
    def sorts_before_aggregating(self) -> bool:
        """Whether the order of rows decides what their aggregates are."""
        is_one_group = self.group_loop is not None and self.plan.query.group_key is None
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
        span = self.module.span_of(error.__traceback__)
        return self.plan.query.projection.span if span is None else span


def compile_plan(plan: Plan, surroundings: Surroundings, *, as_json: bool) -> CompiledQuery:
    """Generate the functions for a plan, and for those of its subqueries."""
    subqueries = {
        index: compile_plan(source.source, surroundings, as_json=False)
        for index, source in enumerate(plan.sources)
        if isinstance(source.source, Plan)
    }
    module = GeneratedModule()
    query = plan.query
    form = _form_of(plan) if as_json else RowForm.VALUE
    has_texts = form is not RowForm.VALUE and not query.is_aggregated
    texts = texts_in(query.projection, plan.sources) if has_texts else []
    rows = _rows_of(module, plan, texts, subqueries, surroundings)
    environment = RowEnvironment(query.sources, rows)
    context = CodeContext(module, environment, surroundings)
    if query.is_aggregated:
        loop = _aggregating_loop(context, rows, plan)
        environment_of_groups = GroupEnvironment(
            is_key_event_time=_is_key_event_time(context, plan)
        )
        final = CodeContext(module, environment_of_groups, surroundings)
        row = _row_code(final, query.projection, form, None)
        last_loop = group_loop(final, query.having, _chosen_lines(final, plan, row))
    else:
        final = context
        row = _row_code(context, query.projection, form, environment if texts else None)
        body = _chosen_lines(context, plan, row)
        loop = row_loop(context, rows, plan.conditions, query.sources, body, ("z0",))
        last_loop = loop
    row_size_max = 0 if as_json else code_of(final, query.projection).size_max
    skip = _count_function(module, query.skip, surroundings)
    top = _count_function(module, query.top, surroundings)
    module.finish()
    return CompiledQuery(
        plan=plan,
        module=module,
        rows=rows,
        subqueries=subqueries,
        loop=module[loop],
        group_loop=module[last_loop] if query.is_aggregated else None,
        skip=None if skip is None else module[skip],
        top=None if top is None else module[top],
        form=form,
        row_size_max=row_size_max,
    )


def _rows_of(
    module: GeneratedModule,
    plan: Plan,
    texts: list[FieldAccess],
    subqueries: dict[int, CompiledQuery],
    surroundings: Surroundings,
) -> list[EventRows | ValueRows]:
    late = _late_expressions(plan, texts)
    rows: list[EventRows | ValueRows] = []
    for index, source in enumerate(plan.sources):
        if source.is_events:
            uses = uses_of(index, early=plan.conditions, late=late, texts=texts)
            rows.append(EventRows(module, index, uses, surroundings.sign))
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
        late += values_in(query.projection, texts)
    if plan.ordering is not None and query.group_key is None:
        late.append(plan.ordering.key)
    return late


def _aggregating_loop(
    context: CodeContext, rows: Sequence[EventRows | ValueRows], plan: Plan
) -> str:
    query = plan.query
    if query.group_key is None and plan.ordering is not None:
        key = _sort_key_code(context, plan.ordering.key)
        body = [f"a0(({key}, {value_lines(context, query.aggregates)}))"]
        parameters = []
    elif query.group_key is None:
        body = aggregate_lines(context, query.aggregates, query.sources, is_grouped=False)
        parameters = ["g0", "j0"]
    else:
        body = group_lines(context, query.group_key)
        body += aggregate_lines(context, query.aggregates, query.sources, is_grouped=True)
        parameters = ["q0", "m0", "j0"]
    return row_loop(context, rows, plan.conditions, query.sources, body or ["pass"], parameters)


def _is_key_event_time(context: CodeContext, plan: Plan) -> bool:
    key = plan.query.group_key
    return key is not None and code_of(context, key).is_event_time


def _form_of(plan: Plan) -> RowForm:
    """Return the form in which rows are chosen that leave the server."""
    query = plan.query
    if query.is_distinct:
        # What is told apart is compared, and so has to be a value.
        return RowForm.VALUE
    projection = query.projection
    is_event = isinstance(projection, FieldAccess) and plan.sources[projection.source].is_events
    is_whole = is_event and isinstance(projection, FieldAccess) and not projection.path
    return RowForm.JSON if is_whole and not query.is_aggregated else RowForm.WRITTEN


def _row_code(
    context: CodeContext,
    projection: TypedExpression,
    form: RowForm,
    texts: RowEnvironment | None,
) -> str:
    """Return the code of a chosen row; `texts` knows how fields are written, if they are."""
    match form:
        case RowForm.VALUE:
            return value_code_of(context, projection).text
        case RowForm.WRITTEN:
            return row_code_of(context, projection, None if texts is None else texts.text)
        case RowForm.JSON:
            assert isinstance(projection, FieldAccess)
            assert texts is not None
            return texts.event_code(projection)
        case _:
            assert_never(form)


def _chosen_lines(context: CodeContext, plan: Plan, row: str) -> list[str]:
    """Return the lines that append a chosen row, or group, with its key if it is to be sorted."""
    is_one_group = plan.query.is_aggregated and plan.query.group_key is None
    if plan.ordering is None or is_one_group:
        return [f"a0({row})"]
    failed = context.module.constant(ROW_ERRORS)
    return [
        f"k1 = ({_sort_key_code(context, plan.ordering.key)})",
        # Rows are projected in the order they are sorted in: an error comes when it is its turn.
        f"try: v1 = ({row})",
        f"except {failed} as e0: v1 = z0(e0)",
        "a0((k1, v1))",
    ]


def _sort_key_code(context: CodeContext, key: TypedExpression) -> str:
    code = code_of(context, key)
    if code.is_event_time:
        # Without the `Z`, texts sort like the moments.
        return f"{code.text}[:-1]"
    code = value_code_of(context, key)
    if code.type <= NUMBER or (len(code.type) == 1 and code.type <= ORDERED):
        return code.text
    return f"{context.module.constant(sort_key)}({code.text})"


def _count_function(
    module: GeneratedModule, count: TypedExpression | None, surroundings: Surroundings
) -> str | None:
    if count is None:
        return None
    context = CodeContext(module, RowEnvironment((), ()), surroundings)
    return module.expression_function("", code_of(context, count))
