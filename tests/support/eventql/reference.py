"""The reference interpreter: what a query means, in the most obvious way.

It takes the syntax tree, the events as JSON objects, and what else a query can ask for, and
yields the rows. It knows no types, plans nothing, reads everything, keeps lists, and shares only
the syntax tree with the product: whoever knows the language can check it line by line, and the
product is compared with it.

What is left to others: refusing queries that are wrong whatever the log holds. It is asked only
about queries that the analyzer has let pass.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from everlog.eventql.language import syntax
from tests.support.eventql.reference_expressions import (
    Context,
    GroupValues,
    ReferenceUnevaluableError,
    Row,
    World,
    children,
    condition,
    evaluate,
    form_of,
    located,
)
from tests.support.eventql.reference_functions import AGGREGATES, first, index_of
from tests.support.eventql.reference_values import (
    UnevaluableError,
    event_from_json,
    exact_kind_of,
    sort_key,
)

# --- Queries


def run_reference(statement: syntax.Statement, world: World) -> Iterator[Any]:
    """Yield the rows of a query, as values."""
    for value, _ in rows_of(statement.query, world):
        yield value


def rows_of(query: syntax.Query, world: World) -> Iterator[tuple[Any, str | None]]:
    """Yield the projected value of each row, and the id of the event that it is from."""
    skip = 0 if query.skip is None else count_of(query.skip, world)
    top = None if query.top is None else count_of(query.top, world)
    if top == 0:
        # Nobody asks for a row, so that none is evaluated.
        return iter(())
    contexts = row_contexts(query, world)
    if query.group is not None or has_aggregate(query.projection):
        contexts = group_contexts(query, contexts, world)
    elif query.order is not None:
        contexts = ordered(query.order, contexts)
    results: Iterator[tuple[Any, str | None]] = (
        (evaluate(query.projection, each), each.row.event_id) for each in contexts
    )
    if query.is_distinct:
        results = distinct(results)
    return cut(results, skip=skip, top=top)


def count_of(expression: syntax.Expression, world: World) -> int:
    """Return the number of SKIP or TOP."""
    value = evaluate(expression, Context(world))
    if exact_kind_of(value) != "INT" or value < 0:
        raise ReferenceUnevaluableError("not a count", expression.span, None)
    assert isinstance(value, int)
    return value


def row_contexts(query: syntax.Query, world: World) -> Iterator[Context]:
    """Yield the rows of the product that fulfil WHERE."""
    for row in product(query.sources, world):
        context = Context(world, row)
        if query.where is None or condition(query.where, context):
            yield context


def product(sources: Sequence[syntax.From], world: World) -> Iterator[Row]:
    """Combine every row of the first source with every row of the others, one after the other."""
    first, *others = sources
    tables: list[list[Row]] = []
    # All sources but the first are read before its first row, and none after an empty one.
    for source in others:
        tables.append(list(aliased_rows(source, world)))
        if tables[-1] == []:
            return
    for first_row in aliased_rows(first, world):
        for other_rows in itertools.product(*tables):
            yield joined([first_row, *other_rows])


def joined(rows: Sequence[Row]) -> Row:
    """Return one row of a product; the event is that of the first source that has events."""
    values: dict[str, Any] = {}
    for row in rows:
        values.update(row.values)
    return Row(values, next((row.event_id for row in rows if row.event_id is not None), None))


def aliased_rows(source: syntax.From, world: World) -> Iterator[Row]:
    """Yield the elements of a source under its alias."""
    for value, event_id in source_rows(source.source, world):
        yield Row({source.alias.text: value}, event_id)


def source_rows(
    source: syntax.Name | syntax.Query, world: World
) -> Iterator[tuple[Any, str | None]]:
    """Yield the elements of a source, and for each the id of the event that it is from."""
    if isinstance(source, syntax.Query):
        yield from rows_of(source, world)
        return
    match source.text.lower():
        case "events":
            for event in world.events:
                yield event_from_json(event), event["id"]
        case "subjects":
            for subject in sorted(world.subjects):
                yield subject, None
        case "eventtypes":
            for event_type in sorted(world.event_types):
                yield event_type, None
        case name:
            raise AssertionError(name)


def ordered(order: syntax.Order, contexts: Iterator[Context]) -> Iterator[Context]:
    """Sort: what is equal stays in its order; descending is ascending from behind."""
    keyed = [(evaluate(order.key, context), context) for context in contexts]
    keyed.sort(key=lambda pair: sort_key(pair[0]))
    if order.is_descending:
        keyed.reverse()
    return iter([context for _, context in keyed])


def distinct(results: Iterator[tuple[Any, str | None]]) -> Iterator[tuple[Any, str | None]]:
    """Leave out what is equal to something before."""
    seen: list[Any] = []
    for value, event_id in results:
        if index_of(seen, value) is None:
            seen.append(value)
            yield value, event_id


def cut(
    results: Iterator[tuple[Any, str | None]], *, skip: int, top: int | None
) -> Iterator[tuple[Any, str | None]]:
    """Leave out the first rows, and stop as soon as enough have come."""
    if top == 0:
        return
    for number, result in enumerate(results, start=1):
        if number > skip:
            yield result
        if top is not None and number == skip + top:
            return


# --- Groups


@dataclass
class Group:
    """The rows of one group, as the values of each aggregate's argument."""

    key: Any
    event_id: str | None
    row_count: int = 0
    arguments: dict[str, list[Any]] = field(default_factory=dict)


def group_contexts(
    query: syntax.Query, contexts: Iterator[Context], world: World
) -> Iterator[Context]:
    """Yield one context for each group, those of HAVING only, in the order of ORDER BY."""
    if query.group is None and query.order is not None:
        contexts = ordered(query.order, contexts)
    aggregates = aggregates_of(query)
    groups = group_rows(query.group, aggregates, contexts)
    results: Iterator[Context] = iter(
        [context_of(group, query.group, aggregates, world) for group in groups]
    )
    if query.group is None:
        return results
    having = query.group.having
    if having is not None:
        results = (context for context in results if condition(having, context))
    return results if query.order is None else ordered(query.order, results)


def group_rows(
    clause: syntax.Group | None, aggregates: Mapping[str, syntax.Call], contexts: Iterator[Context]
) -> list[Group]:
    """Put each row into the group of its key; without a key there is exactly one group."""
    groups = [] if clause is not None else [Group(None, None)]
    for context in contexts:
        key = None if clause is None else evaluate(clause.key, context)
        index = index_of([group.key for group in groups], key)
        if index is None:
            index = len(groups)
            groups.append(Group(key, None))
        group = groups[index]
        group.row_count += 1
        for form, aggregate in aggregates.items():
            if aggregate.arguments:
                gather(aggregate, group.arguments.setdefault(form, []), context)
    return groups


def gather(aggregate: syntax.Call, values: list[Any], context: Context) -> None:
    """Add one row's value to those of an aggregate; what it cannot take is refused at once."""
    value = evaluate(aggregate.arguments[0], context)
    name = aggregate.function.text.upper()
    # These ask for one kind, that of the first value; the others judge each value alone.
    company = [first(values)] if name in {"MIN", "MAX"} else []
    try:
        AGGREGATES[name]([*company, value])
    except UnevaluableError as error:
        raise located(error, aggregate, context) from error
    values.append(value)


def context_of(
    group: Group,
    clause: syntax.Group | None,
    aggregates: Mapping[str, syntax.Call],
    world: World,
) -> Context:
    """Compute the aggregates of a group."""
    context = Context(world)
    values: dict[str, Any] = {} if clause is None else {form_of(clause.key): group.key}
    for form, aggregate in aggregates.items():
        if not aggregate.arguments:
            values[form] = group.row_count
            continue
        try:
            compute = AGGREGATES[aggregate.function.text.upper()]
            values[form] = compute(group.arguments.get(form, []))
        except UnevaluableError as error:
            raise located(error, aggregate, context) from error
    return Context(world, group=GroupValues(values))


def aggregates_of(query: syntax.Query) -> dict[str, syntax.Call]:
    """Return the calls of aggregates in a query, by their form."""
    expressions = [query.projection]
    if query.group is not None:
        expressions += [] if query.group.having is None else [query.group.having]
        expressions += [] if query.order is None else [query.order.key]
    return {form_of(call_): call_ for each in expressions for call_ in aggregate_calls(each)}


def has_aggregate(expression: syntax.Expression) -> bool:
    """Tell whether an expression is about many rows."""
    return any(True for _ in aggregate_calls(expression))


def aggregate_calls(expression: syntax.Expression) -> Iterator[syntax.Call]:
    """Yield the calls of aggregates in an expression."""
    if isinstance(expression, syntax.Call) and expression.function.text.upper() in AGGREGATES:
        yield expression
        return
    for child in children(expression):
        yield from aggregate_calls(child)
