"""Typed expressions: an expression of the syntax tree with its names resolved and types known.

What failed stays in the tree with any type, so that nothing else is reported because of it.
What is left to others: where aggregates may stand, and what they do to fields (`grouping`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, assert_never

from everlog.eventql.analysis.analyzed import (
    AggregateCall,
    AggregateValue,
    ArrayOf,
    BinaryOperation,
    Constant,
    RecordOf,
    TypeConversion,
    TypedExpression,
    UnaryOperation,
    operands,
)
from everlog.eventql.analysis.calls import (
    aggregate_of,
    check_aggregate_call,
    function_of,
    type_scalar_call,
)
from everlog.eventql.analysis.names import FOREIGN_TYPES, nearest
from everlog.eventql.analysis.operator_types import type_of_binary, type_of_unary
from everlog.eventql.analysis.paths import type_path
from everlog.eventql.analysis.reporting import Reporter, enumerate_kinds, join_alternatives
from everlog.eventql.analysis.scope import Scope
from everlog.eventql.diagnostic import Span, locate
from everlog.eventql.language import syntax
from everlog.eventql.trees import fold, walk
from everlog.eventql.types import (
    ANY,
    ARRAY,
    BOOLEAN,
    CONVERSION_TARGETS,
    CONVERTIBLE,
    FLOAT64,
    INT,
    NULL,
    RECORD,
    STRING,
    Type,
)


@dataclass(frozen=True, slots=True)
class TypedClause:
    """A typed expression with the aggregates that it calls; their index is the place in here."""

    expression: TypedExpression
    aggregates: tuple[AggregateCall, ...]


def type_clause(expression: syntax.Expression, scope: Scope, reporter: Reporter) -> TypedClause:
    """Return an expression with types; report what is wrong with it, wherever it stands."""
    aggregates: list[AggregateCall] = []

    def build(node: syntax.Expression, below: Sequence[TypedExpression]) -> TypedExpression:
        return _type_node(node, below, scope, reporter, aggregates)

    return TypedClause(fold(expression, syntax.operands, build), tuple(aggregates))


def _type_node(
    node: syntax.Expression,
    below: Sequence[TypedExpression],
    scope: Scope,
    reporter: Reporter,
    aggregates: list[AggregateCall],
) -> TypedExpression:
    match node:
        case syntax.Literal():
            return Constant(node.value, _type_of_literal(node), node.span)
        case syntax.Path():
            return type_path(node, scope, reporter)
        case syntax.Unary(operator=sign, span=span):
            (operand,) = below
            return UnaryOperation(sign, operand, type_of_unary(sign, operand, reporter), span)
        case syntax.Binary(operator=operator, span=span):
            left, right = below
            type_ = type_of_binary(operator, left, right, reporter)
            return BinaryOperation(operator, left, right, type_, span)
        case syntax.Conversion():
            return _type_conversion(node, below[0], reporter)
        case syntax.Call():
            return _type_call(node, below, reporter, aggregates)
        case syntax.Array(span=span):
            return ArrayOf(tuple(below), ARRAY, span)
        case syntax.Record():
            return _type_record(node, below, reporter)
        case _:
            assert_never(node)


def _type_of_literal(literal: syntax.Literal) -> Type:
    match literal.value:
        case None:
            return NULL
        # Before int, which Python's bool is too.
        case bool():
            return BOOLEAN
        case int():
            return INT
        case float():
            return FLOAT64
        case str():
            return STRING
        case _:
            assert_never(literal.value)


def _type_conversion(
    node: syntax.Conversion, operand: TypedExpression, reporter: Reporter
) -> TypedExpression:
    target = _TARGETS.get(node.type.text.upper())
    if target is None:
        _report_unknown_type(node.type, reporter)
        return _failed((operand,), node.span)
    values = operand.type - NULL
    if values and not any(target in CONVERTIBLE[kind] for kind in values):
        reporter.report(
            f"{reporter.quote(operand.span)} is {enumerate_kinds(operand.type)}, "
            f"which cannot be converted to {target}",
            node.span,
        )
        return _failed((operand,), node.span)
    type_ = frozenset({target}) | (operand.type & NULL) if values else NULL
    return TypeConversion(operand, target, type_, node.span)


_TARGETS: Final = {kind.value: kind for kind in CONVERSION_TARGETS}


def _report_unknown_type(name: syntax.Name, reporter: Reporter) -> None:
    reporter.report(
        f"unknown type {reporter.quote(name.span)}",
        name.span,
        hint=lambda: _hint_for_type(name.text),
    )


def _hint_for_type(name: str) -> str:
    found = nearest(name, _TARGETS, foreign=FOREIGN_TYPES)
    if found is None:
        return f"the types are {join_alternatives(list(_TARGETS))}"
    return f"did you mean '{found}'?"


def _type_call(
    node: syntax.Call,
    arguments: Sequence[TypedExpression],
    reporter: Reporter,
    aggregates: list[AggregateCall],
) -> TypedExpression:
    aggregate = aggregate_of(node.function)
    if aggregate is not None:
        if _has_nested(arguments, aggregate.name, reporter):
            return _failed(arguments, node.span)
        call, type_ = check_aggregate_call(aggregate, arguments, node.span, reporter)
        aggregates.append(call)
        return AggregateValue(len(aggregates) - 1, type_, node.span)
    function = function_of(node.function, reporter)
    if function is None:
        return _failed(arguments, node.span)
    return type_scalar_call(function, arguments, node.span, reporter)


def _has_nested(arguments: Sequence[TypedExpression], outer_name: str, reporter: Reporter) -> bool:
    """Report aggregates inside of an aggregate; tell whether there is one."""
    nested = [
        node
        for argument in arguments
        for node in walk(argument, operands)
        if isinstance(node, AggregateValue)
    ]
    for inner in nested:
        reporter.report(
            f"an aggregate cannot stand inside of another one, "
            f"but {reporter.quote(inner.span)} is inside of {outer_name}",
            inner.span,
            hint="aggregate the rows of a subquery: FROM x IN (FROM ...)",
        )
    return bool(nested)


def _type_record(
    node: syntax.Record, values: Sequence[TypedExpression], reporter: Reporter
) -> TypedExpression:
    first: dict[str, Span] = {}
    for entry in node.entries:
        key = entry.key
        if key.text in first:
            line, column = locate(reporter.text, first[key.text].start)
            reporter.report(
                f"the key {reporter.quote(key.span)} is already used in this record",
                key.span,
                hint=f"its first use is at {line}:{column}",
            )
        first.setdefault(key.text, key.span)
    keys = tuple(entry.key.text for entry in node.entries)
    return RecordOf(keys, tuple(values), RECORD, node.span)


def _failed(operands_: Sequence[TypedExpression], span: Span) -> TypedExpression:
    """Return what stands for an expression that nothing more can be said about."""
    return ArrayOf(tuple(operands_), ANY, span)
