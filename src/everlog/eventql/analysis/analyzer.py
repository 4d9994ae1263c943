"""The analyzer: from what a query says to what it means, or all that is wrong with it.

It resolves names, finds out types, and sees that aggregates stand where they may, as `analyzed`
promises. It evaluates nothing, not even constants: what depends on values is left to later stages,
also where a literal could tell (`"abc" AS INT`).
Independent faults are reported together, in the order of the text, each once: what follows from a
fault is not another one.

**Grouping.** Where rows become groups, a field has no single value any more: it has to stand
inside an aggregate, or be part of an expression that equals the key of GROUP BY. Whoever asks for
the aggregates of all rows has one group, and no key.

**Depths.** A text opens only so many brackets at once, but what a subquery projects may stand
inside of what the query around it projects, and that inside of the next. So it is counted through
subqueries how deep values can be nested, that whatever goes through them may recurse; these are
upper bounds, since of events only the types of their fields are known.
"""

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Final

from everlog.domain.limits import JSON_NESTING_MAX
from everlog.eventql.analysis.analyzed import (
    AggregateCall,
    AggregateValue,
    AnalyzedQuery,
    ArrayOf,
    Constant,
    FieldAccess,
    GroupKey,
    LogSource,
    Ordering,
    RecordOf,
    ScalarCall,
    TypedExpression,
    UnaryOperation,
    operands,
    with_operands,
)
from everlog.eventql.analysis.scope import Scope, SourceInScope
from everlog.eventql.analysis.typed_expressions import TypedClause, expect, type_clause
from everlog.eventql.diagnostic import Reporter, join_alternatives
from everlog.eventql.evaluation.catalogue import Purity
from everlog.eventql.language import syntax
from everlog.eventql.language.hints import nearest
from everlog.eventql.limits import VALUE_DEPTH_MAX
from everlog.eventql.trees import fold, walk
from everlog.eventql.types import ARRAY, BOOLEAN, INT, RECORD, UnaryOperator

# --- Grouping


def has_aggregates(clause: TypedClause, *, where: str, hint: str, reporter: Reporter) -> bool:
    """Report aggregates where there must be none; tell whether there is one."""
    for node in walk(clause.expression, operands):
        if isinstance(node, AggregateValue):
            reporter.report(
                f"an aggregate cannot stand in {where}, but found {reporter.quote(node.span)}",
                node.span,
                hint=hint,
            )
    return bool(clause.aggregates)


class Groups:
    """The groups of one query: their key, and which aggregates have to be computed for them."""

    def __init__(self, key: TypedExpression | None, reporter: Reporter) -> None:
        self.aggregates: Final[list[AggregateCall]] = []
        self._key: Final = key
        self._reporter: Final = reporter
        # The place of each aggregate among those to be computed.
        self._places: Final[dict[Hashable, int]] = {}

    def take(self, clause: TypedClause) -> TypedExpression:
        """Return an expression as it is evaluated for a group; report fields of single rows."""

        def operands_of_group(node: TypedExpression) -> tuple[TypedExpression, ...]:
            return () if self._is_key(node) else operands(node)

        def build(node: TypedExpression, below: Sequence[TypedExpression]) -> TypedExpression:
            if self._is_key(node):
                return GroupKey(node.type, node.span)
            if isinstance(node, FieldAccess):
                self._report_field(node, clause)
            if isinstance(node, AggregateValue):
                return replace(node, index=self._place(clause.aggregates[node.index]))
            return with_operands(node, below)

        return fold(clause.expression, operands_of_group, build)

    def _is_key(self, node: TypedExpression) -> bool:
        return self._key is not None and node == self._key

    def _place(self, call: AggregateCall) -> int:
        identity: Hashable = (call.aggregate.name, call.argument)
        if call.argument is not None and _is_random(call.argument):
            # Equal, but not of equal value.
            identity = object()
        if identity not in self._places:
            self._places[identity] = len(self.aggregates)
            self.aggregates.append(call)
        return self._places[identity]

    def _report_field(self, field: FieldAccess, clause: TypedClause) -> None:
        quoted, code = self._reporter.quote(field.span), self._reporter.code(field.span)
        if self._key is None:
            aggregate = self._reporter.quote(clause.aggregates[0].span)
            self._reporter.report(
                f"{quoted} has a value for each row, but {aggregate} makes one row of all of them",
                field.span,
                hint=f"use GROUP BY {code}, or an aggregate such as UNIQUE({code})",
            )
        else:
            self._reporter.report(
                f"{quoted} has a value for each row, but not for each group",
                field.span,
                hint=f"use the key of GROUP BY, or an aggregate such as UNIQUE({code})",
            )


def _is_random(expression: TypedExpression) -> bool:
    return any(
        isinstance(node, ScalarCall) and node.function.purity is Purity.RANDOM
        for node in walk(expression, operands)
    )


# --- Depths


# An event is a record around its `data`.
_EVENT_DEPTH: Final = 1 + JSON_NESTING_MAX
_NESTED: Final = ARRAY | RECORD


def measure(query: AnalyzedQuery, reporter: Reporter) -> AnalyzedQuery:
    """Return a query with the depth of its rows; report values that can be nested too deeply."""
    meter = _Meter(query.sources, reporter)
    if query.where is not None:
        meter.depth_of(query.where)
    if query.group_key is not None:
        meter.key_depth = meter.depth_of(query.group_key)
    meter.aggregate_depths = [
        0 if call.argument is None else meter.depth_of(call.argument) for call in query.aggregates
    ]
    if query.having is not None:
        meter.depth_of(query.having)
    if query.ordering is not None:
        meter.depth_of(query.ordering.key)
    return replace(query, row_depth=meter.depth_of(query.projection))


class _Meter:
    """What is known of the depths of one query's values, in the order of evaluation."""

    def __init__(self, sources: Sequence[LogSource | AnalyzedQuery], reporter: Reporter) -> None:
        self.key_depth = 0
        self.aggregate_depths: list[int] = []
        self._source_depths: Final = [_depth_of_rows(source) for source in sources]
        self._reporter: Final = reporter

    def depth_of(self, expression: TypedExpression) -> int:
        """Return how deep an expression's value can be nested, at most; a scalar has depth 0."""
        return fold(expression, operands, self._depth_of_node)

    def _depth_of_node(self, node: TypedExpression, below: Sequence[int]) -> int:
        if node.type.isdisjoint(_NESTED):
            return 0
        match node:
            case FieldAccess(source=source, path=path):
                # Each field leads one level down, or to NULL.
                return max(self._source_depths[source] - len(path), 0)
            case GroupKey():
                return self.key_depth
            case AggregateValue(index=index):
                return self.aggregate_depths[index]
            case ArrayOf() | RecordOf():
                return self._checked(node, 1 + max(below, default=0))
            case _:
                # No operator and no function nests its operands: what they return, they are given.
                return max(below, default=0)

    def _checked(self, node: ArrayOf | RecordOf, depth: int) -> int:
        """Return a depth that is allowed; after a report 0, since all around has the same cause."""
        if depth <= VALUE_DEPTH_MAX:
            return depth
        self._reporter.report(
            f"the value of {self._reporter.quote(node.span)} "
            f"may have more than {VALUE_DEPTH_MAX} levels of nesting",
            node.span,
            hint=f"rows of subqueries count too, and events as {_EVENT_DEPTH} levels",
        )
        return 0


def _depth_of_rows(source: LogSource | AnalyzedQuery) -> int:
    if isinstance(source, AnalyzedQuery):
        return source.row_depth
    return _EVENT_DEPTH if source is LogSource.EVENTS else 0


# --- Queries


_LOG_SOURCES: Final = {source.value: source for source in LogSource}
_HAVING_HINT: Final = "use HAVING after GROUP BY, or WHERE on a subquery"


def analyze(query: syntax.Query, text: str) -> AnalyzedQuery:
    """Return what a query means; `text` is what it was parsed from.

    Raises:
        QueryMalformedError: The query is wrong, whatever the log holds.
    """
    reporter = Reporter(text)
    analyzed = _analyze_query(query, frozenset(), reporter)
    reporter.raise_if_wrong()
    assert analyzed is not None
    return analyzed


def _analyze_query(
    query: syntax.Query, outer_aliases: frozenset[str], reporter: Reporter
) -> AnalyzedQuery | None:
    """Return what a query means, or None after reporting what is wrong with it."""
    count = reporter.count
    scope = _analyze_sources(query.sources, outer_aliases, reporter)
    where = _analyze_where(query.where, scope, reporter)
    group_key = _analyze_group_key(query.group, scope, reporter)
    projection = type_clause(query.projection, scope, reporter)
    is_aggregated = query.group is not None or bool(projection.aggregates)
    groups = Groups(group_key, reporter)
    having = _analyze_having(query.group, groups, scope, reporter)
    ordering = _analyze_order(query, groups, scope, reporter)
    projected = groups.take(projection) if is_aggregated else projection.expression
    skip = _analyze_count(query.skip, "SKIP", scope, reporter)
    top = _analyze_count(query.top, "TOP", scope, reporter)
    if reporter.count > count:
        return None
    analyzed = AnalyzedQuery(
        text=reporter.text,
        sources=tuple(found.source for found in scope.sources.values() if found.source is not None),
        where=where,
        is_aggregated=is_aggregated,
        group_key=group_key,
        aggregates=tuple(groups.aggregates),
        having=having,
        ordering=ordering,
        projection=projected,
        is_distinct=query.is_distinct,
        skip=skip,
        top=top,
    )
    measured = measure(analyzed, reporter)
    return None if reporter.count > count else measured


def _analyze_sources(
    sources: tuple[syntax.From, ...], outer_aliases: frozenset[str], reporter: Reporter
) -> Scope:
    aliases = outer_aliases | {each.alias.text for each in sources}
    in_scope: dict[str, SourceInScope] = {}
    for place, each in enumerate(sources):
        source = _analyze_source(each.source, aliases, reporter)
        alias = each.alias
        if alias.text in in_scope:
            reporter.report(
                f"the name {reporter.quote(alias.span)} is already taken by another source",
                alias.span,
                hint="give each source a name of its own",
            )
            # Which one the name means, is not known: it could have any field.
            source = None
        in_scope[alias.text] = SourceInScope(place, source)
    return Scope(in_scope, outer_aliases)


def _analyze_source(
    source: syntax.Name | syntax.Query, aliases: frozenset[str], reporter: Reporter
) -> LogSource | AnalyzedQuery | None:
    if isinstance(source, syntax.Query):
        return _analyze_query(source, aliases, reporter)
    name = source.text
    if name.lower() not in _LOG_SOURCES:
        reporter.report(
            f"unknown source {reporter.quote(source.span)}",
            source.span,
            hint=lambda: _hint_for_source(name),
        )
    return _LOG_SOURCES.get(name.lower())


def _hint_for_source(name: str) -> str:
    found = nearest(name, _LOG_SOURCES)
    if found is None:
        return f"a source is {join_alternatives([*_LOG_SOURCES, 'a query between parentheses'])}"
    return f"did you mean '{found}'?"


def _analyze_where(
    where: syntax.Expression | None, scope: Scope, reporter: Reporter
) -> TypedExpression | None:
    if where is None:
        return None
    clause = type_clause(where, scope, reporter)
    if not has_aggregates(clause, where="WHERE", hint=_HAVING_HINT, reporter=reporter):
        expect(BOOLEAN, clause.expression, what="WHERE", reporter=reporter)
    return clause.expression


def _analyze_group_key(
    group: syntax.Group | None, scope: Scope, reporter: Reporter
) -> TypedExpression | None:
    if group is None:
        return None
    clause = type_clause(group.key, scope, reporter)
    hint = "group the rows of a subquery that aggregates: FROM x IN (FROM ...)"
    has_aggregates(clause, where="the key of GROUP BY", hint=hint, reporter=reporter)
    return clause.expression


def _analyze_having(
    group: syntax.Group | None, groups: Groups, scope: Scope, reporter: Reporter
) -> TypedExpression | None:
    if group is None or group.having is None:
        return None
    clause = type_clause(group.having, scope, reporter)
    expect(BOOLEAN, clause.expression, what="HAVING", reporter=reporter)
    return groups.take(clause)


def _analyze_order(
    query: syntax.Query, groups: Groups, scope: Scope, reporter: Reporter
) -> Ordering | None:
    if query.order is None:
        return None
    clause = type_clause(query.order.key, scope, reporter)
    if query.group is not None:
        key = groups.take(clause)
    else:
        key = clause.expression
        hint = "rows have no aggregates before they are grouped: add GROUP BY"
        where = "ORDER BY without GROUP BY"
        has_aggregates(clause, where=where, hint=hint, reporter=reporter)
    return Ordering(key, query.order.is_descending)


def _analyze_count(
    count: syntax.Expression | None, what: str, scope: Scope, reporter: Reporter
) -> TypedExpression | None:
    """Return the number of SKIP or TOP, which is evaluated before there is any row."""
    if count is None:
        return None
    expression = type_clause(count, scope, reporter).expression
    is_constant = True
    for node in walk(expression, operands):
        if isinstance(node, FieldAccess | AggregateValue):
            is_constant = False
            reporter.report(
                f"{what} is the same for all rows, but {reporter.quote(node.span)} depends on them",
                node.span,
            )
    if is_constant and expect(INT, expression, what=what, reporter=reporter):
        _check_not_negative(expression, what, reporter)
    return expression


def _check_not_negative(expression: TypedExpression, what: str, reporter: Reporter) -> None:
    """Report a negative literal; what has to be calculated is left to the executor."""
    match expression:
        case Constant(value=int(value)) if value < 0:
            is_negative = True
        case UnaryOperation(operator=UnaryOperator.MINUS, operand=Constant(value=int(value))):
            is_negative = value > 0
        case _:
            is_negative = False
    if is_negative:
        reporter.report(
            f"{what} expects 0 or more, but found {reporter.quote(expression.span)}",
            expression.span,
        )
