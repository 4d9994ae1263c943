"""Grouping: what aggregates do to the fields around them.

Where rows become groups, a field has no single value any more: it has to stand inside an
aggregate, or be part of an expression that equals the key of GROUP BY. Whoever asks for the
aggregates of all rows has one group, and no key.
"""

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Final

from everlog.eventql.analysis.analyzed import (
    AggregateCall,
    AggregateValue,
    FieldAccess,
    GroupKey,
    ScalarCall,
    TypedExpression,
    operands,
    with_operands,
)
from everlog.eventql.analysis.reporting import Reporter
from everlog.eventql.analysis.typed_expressions import TypedClause
from everlog.eventql.evaluation.functions import Purity
from everlog.eventql.trees import fold, walk


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
