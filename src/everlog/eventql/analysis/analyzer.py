"""The analyzer: from what a query says to what it means, or all that is wrong with it.

It resolves names, finds out types, and sees that aggregates stand where they may, as `analyzed`
promises. It evaluates nothing, not even constants: what depends on values is left to the executor,
also where a literal could tell (`"abc" AS INT`).
Independent faults are reported together, in the order of the text, each once: what follows from a
fault is not another one.
"""

from typing import Final

from everlog.eventql.analysis.analyzed import (
    AggregateValue,
    AnalyzedQuery,
    Constant,
    FieldAccess,
    LogSource,
    Ordering,
    TypedExpression,
    UnaryOperation,
    operands,
)
from everlog.eventql.analysis.depths import measure
from everlog.eventql.analysis.expectations import expect
from everlog.eventql.analysis.grouping import Groups, has_aggregates
from everlog.eventql.analysis.names import nearest
from everlog.eventql.analysis.reporting import Reporter, join_alternatives
from everlog.eventql.analysis.scope import Scope, SourceInScope
from everlog.eventql.analysis.typed_expressions import type_clause
from everlog.eventql.language import syntax
from everlog.eventql.language.syntax import UnaryOperator
from everlog.eventql.trees import walk
from everlog.eventql.types import BOOLEAN, INT

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
