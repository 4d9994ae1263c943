"""What cannot fail: the only conditions that may be judged out of turn.

An error ends a query, so that a condition which may be one has to be judged exactly when the
text says so. That a condition cannot fail is proven by the types of its operands.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from everlog.eventql.analysis.analyzed import (
    AggregateValue,
    AnalyzedQuery,
    BinaryOperation,
    FieldAccess,
    GroupKey,
    LogSource,
    ScalarCall,
    TypeConversion,
    TypedExpression,
    UnaryOperation,
    operands,
)
from everlog.eventql.codegen.expression_code import CodeContext, code_of
from everlog.eventql.codegen.generated import GeneratedModule
from everlog.eventql.codegen.row_code import RowEnvironment
from everlog.eventql.evaluation.conversion import convertible_to
from everlog.eventql.evaluation.functions import Purity
from everlog.eventql.evaluation.values import Value
from everlog.eventql.language.syntax import BinaryOperator, UnaryOperator
from everlog.eventql.limits import QueryLimits
from everlog.eventql.surroundings import Surroundings
from everlog.eventql.trees import walk
from everlog.eventql.types import ARRAY, BOOLEAN, FLOAT64, NULL, NUMBER, ORDERED, Kind, Type

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

# Functions that have a value for all arguments of the right kinds.
_TOTAL_FUNCTIONS: Final = frozenset(
    {"CEIL", "FLOOR", "ROUND", "SIN", "COS", "TAN", "PI", "RAND", "NOW"}
    | {"LEN", "INSTR", "STARTSWITH", "ENDSWITH", "TRIM", "LTRIM", "RTRIM"}
    | {"YEAR", "MONTH", "DAY", "WEEKDAY", "HOUR", "MINUTE", "SECOND"}
)

# Conversions that succeed for all values of a kind, by target; those of a kind to itself as well.
_TOTAL_CONVERSIONS: Final[dict[Kind, Type]] = {
    Kind.STRING: convertible_to(Kind.STRING),
    Kind.FLOAT64: NUMBER,
    Kind.DATE: frozenset({Kind.DATETIME}),
    Kind.TIME: frozenset({Kind.DATETIME}),
    Kind.DATETIME: frozenset({Kind.DATE}),
}


Sources = Sequence[LogSource | AnalyzedQuery]


class Known(NamedTuple):
    """The value of an expression that depends on nothing."""

    value: Value


def known_value(expression: TypedExpression) -> Known | None:
    """Return the value of an expression of constants; None where there is none, or an error."""
    for node in walk(expression, operands):
        match node:
            case FieldAccess() | GroupKey() | AggregateValue():
                return None
            case ScalarCall(function=function) if function.purity in _NOT_PURE:
                return None
    module = GeneratedModule()
    context = CodeContext(module, RowEnvironment((), ()), _NO_SURROUNDINGS)
    code = code_of(context, expression)
    return Known(module.evaluate(code)) if code.is_constant else None


def can_fail(expression: TypedExpression, sources: Sources) -> bool:
    """Tell whether there may be a row for which the expression has no value."""
    pending = [expression]
    while pending:
        node = pending.pop()
        if not _may_fail_itself(node, sources):
            pending.extend(operands(node))
        elif known_value(node) is None:
            return True
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


_NOT_PURE: Final = frozenset({Purity.RANDOM, Purity.FIXED_PER_QUERY})

# Of an expression without NOW and RAND, whose value depends on none of it.
_NO_SURROUNDINGS: Final = Surroundings(now=0, random=float, sign=None, limits=QueryLimits())


def _may_fail_itself(node: TypedExpression, sources: Sources) -> bool:
    match node:
        case UnaryOperation(operator=UnaryOperator.NOT, operand=operand):
            return not operand.type <= BOOLEAN
        case UnaryOperation(operator=UnaryOperator.PLUS, operand=operand):
            return not operand.type <= NUMBER | NULL
        case UnaryOperation(operand=operand):
            # The least INT has no counterpart.
            return not operand.type <= FLOAT64 | NULL
        case BinaryOperation():
            return _may_operation_fail(node)
        case TypeConversion(operand=operand, target=target):
            total = _TOTAL_CONVERSIONS.get(target, frozenset()) | NULL | {target}
            return not (operand.type <= total or is_event_id(operand, sources))
        case ScalarCall():
            return _may_call_fail(node)
        case _:
            return False


def _may_operation_fail(node: BinaryOperation) -> bool:
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


def _may_call_fail(node: ScalarCall) -> bool:
    if node.function.purity is Purity.LAZY:
        return not node.arguments[0].type <= BOOLEAN
    if node.function.name not in _TOTAL_FUNCTIONS:
        return True
    return any(
        not argument.type <= parameter.types | NULL
        for argument, parameter in zip(node.arguments, node.function.parameters, strict=False)
    )
