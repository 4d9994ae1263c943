"""What cannot fail: the only conditions that may be judged out of turn.

An error ends a query, so that a condition which may be one has to be judged exactly when the
text says so. That a condition cannot fail is proven by the types of its operands; constants were
folded before (`rewriting`), so that what is still an operation depends on something.
"""

from collections.abc import Sequence
from typing import Final

from everlog.eventql.analysis.analyzed import (
    AnalyzedQuery,
    BinaryOperation,
    FieldAccess,
    LogSource,
    ScalarCall,
    TypeConversion,
    TypedExpression,
    UnaryOperation,
    operands,
)
from everlog.eventql.evaluation.catalogue import Purity, parameters_of
from everlog.eventql.evaluation.conversion import always_convertible_to
from everlog.eventql.trees import walk
from everlog.eventql.types import (
    ARRAY,
    BOOLEAN,
    FLOAT64,
    NULL,
    NUMBER,
    ORDERED,
    BinaryOperator,
    UnaryOperator,
)

_CONNECTIVES: Final = frozenset({BinaryOperator.AND, BinaryOperator.OR, BinaryOperator.XOR})
_EQUALITIES: Final = frozenset({BinaryOperator.EQUAL, BinaryOperator.NOT_EQUAL})
_ORDERS: Final = frozenset(
    {
        BinaryOperator.LESS,
        BinaryOperator.LESS_OR_EQUAL,
        BinaryOperator.GREATER,
        BinaryOperator.GREATER_OR_EQUAL,
    }
)

Sources = Sequence[LogSource | AnalyzedQuery]


def can_fail(expression: TypedExpression, sources: Sources) -> bool:
    """Tell whether there may be a row for which the expression has no value."""
    pending = [expression]
    while pending:
        node = pending.pop()
        if can_fail_itself(node, sources):
            return True
        pending.extend(operands(node))
    return False


def is_condition_safe(expression: TypedExpression, sources: Sources) -> bool:
    """Tell whether a condition is TRUE or FALSE for every row, however often it is judged."""
    if not expression.type <= BOOLEAN or can_fail(expression, sources):
        return False
    return not any(
        isinstance(node, ScalarCall) and node.function.purity is Purity.RANDOM
        for node in walk(expression, operands)
    )


def is_event_id(expression: TypedExpression, sources: Sources) -> bool:
    """Tell whether an expression is the id of an event, which is a whole number as a text."""
    return (
        isinstance(expression, FieldAccess)
        and expression.path == ("id",)
        and sources[expression.source] is LogSource.EVENTS
    )


def can_fail_itself(node: TypedExpression, sources: Sources) -> bool:
    """Tell whether a node may have no value although its operands have one."""
    match node:
        case UnaryOperation(operator=UnaryOperator.NOT, operand=operand):
            return not operand.type <= BOOLEAN
        case UnaryOperation(operator=UnaryOperator.PLUS, operand=operand):
            return not operand.type <= NUMBER | NULL
        case UnaryOperation(operand=operand):
            # The least INT has no counterpart.
            return not operand.type <= FLOAT64 | NULL
        case BinaryOperation():
            return _can_operation_fail(node)
        case TypeConversion(operand=operand, target=target):
            is_total = operand.type <= always_convertible_to(target)
            return not (is_total or is_event_id(operand, sources))
        case ScalarCall():
            return _can_call_fail(node)
        case _:
            return False


def _can_operation_fail(node: BinaryOperation) -> bool:
    left, right = node.left.type, node.right.type
    if node.operator in _CONNECTIVES:
        return not left | right <= BOOLEAN
    if node.operator in _EQUALITIES:
        return False
    if node.operator in _ORDERS:
        kinds = (left | right) - NULL
        is_one_kind = kinds <= NUMBER or len(kinds) <= 1
        return not (is_one_kind and kinds <= ORDERED)
    if node.operator is BinaryOperator.CONTAINS:
        return not left <= ARRAY | NULL
    return True


def _can_call_fail(node: ScalarCall) -> bool:
    if node.function.purity is Purity.LAZY:
        return not node.arguments[0].type <= BOOLEAN
    if not node.function.is_total:
        return True
    parameters = parameters_of(node.function.parameters, len(node.arguments))
    return any(
        not argument.type <= parameter.types | NULL
        for argument, parameter in zip(node.arguments, parameters, strict=True)
    )
