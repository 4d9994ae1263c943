"""Operators: what they accept, and of which type their results are."""

from typing import Final

from everlog.eventql.analysis.analyzed import (
    BinaryOperation,
    Constant,
    TypeConversion,
    TypedExpression,
)
from everlog.eventql.analysis.expectations import expect, is_dynamic, is_possible, suggest
from everlog.eventql.analysis.reporting import Reporter, enumerate_kinds
from everlog.eventql.diagnostic import Span
from everlog.eventql.language.syntax import BinaryOperator, UnaryOperator
from everlog.eventql.types import (
    ANY,
    ARRAY,
    BOOLEAN,
    DATE,
    DATETIME,
    FLOAT64,
    NULL,
    NUMBER,
    ORDERED,
    STRING,
    TIME,
    Kind,
    Type,
)

_LOGICAL: Final = frozenset({BinaryOperator.OR, BinaryOperator.XOR, BinaryOperator.AND})
_EQUALITIES: Final = frozenset({BinaryOperator.EQUAL, BinaryOperator.NOT_EQUAL})
_ORDERS: Final = frozenset(
    {
        BinaryOperator.LESS,
        BinaryOperator.LESS_OR_EQUAL,
        BinaryOperator.GREATER,
        BinaryOperator.GREATER_OR_EQUAL,
    }
)


def type_of_unary(operator: UnaryOperator, operand: TypedExpression, reporter: Reporter) -> Type:
    """Return the type of `operator operand`; report what is impossible."""
    if operator is UnaryOperator.NOT:
        expect(BOOLEAN, operand, what="NOT", reporter=reporter)
        return BOOLEAN
    hint = _hint_for_late_conversion(operand, operator.value, reporter)
    if not _expect_number(operator, operand, reporter, hint):
        return ANY
    return operand.type & (NUMBER | NULL)


def type_of_binary(
    operator: BinaryOperator,
    left: TypedExpression,
    right: TypedExpression,
    reporter: Reporter,
) -> Type:
    """Return the type of `left operator right`; report what is impossible."""
    if operator in _EQUALITIES:
        # Any two values can be compared: those of different kinds are different.
        return BOOLEAN
    if operator in _ORDERS:
        _check_order(operator, left, right, reporter)
        return BOOLEAN
    if operator in _LOGICAL:
        expect(BOOLEAN, left, what=operator.value, reporter=reporter)
        expect(BOOLEAN, right, what=operator.value, reporter=reporter)
        return BOOLEAN
    if operator is BinaryOperator.CONTAINS:
        hint = _hint_for_contains(left, right, reporter)
        expect(
            ARRAY | NULL, left, what="CONTAINS", role=" on its left", reporter=reporter, hint=hint
        )
        return BOOLEAN
    # One report for both operands: `"a" + "b"` is one mistake.
    start = f"{reporter.code(left.span)} {operator.value} "
    hint = _hint_for_late_conversion(right, start, reporter)
    if not _expect_number(operator, left, reporter):
        return ANY
    if not _expect_number(operator, right, reporter, hint):
        return ANY
    return _type_of_arithmetic(operator, left.type, right.type)


def _expect_number(
    operator: UnaryOperator | BinaryOperator,
    operand: TypedExpression,
    reporter: Reporter,
    hint: str | None = None,
) -> bool:
    if hint is None and not operand.type.isdisjoint(DATE | TIME | DATETIME):
        hint = "there is no arithmetic with dates and times"
    elif hint is None and operator is BinaryOperator.ADD and isinstance(operand, Constant):
        hint = "there is no operator that joins strings"
    what = f"'{operator.value}'"
    return expect(NUMBER | NULL, operand, what=what, reporter=reporter, hint=hint)


def _hint_for_late_conversion(
    operand: TypedExpression, start: str, reporter: Reporter
) -> str | None:
    """Return a hint for `1 + 2 AS STRING`, where AS binds to the last operand only."""
    if not isinstance(operand, TypeConversion) or operand.target is not Kind.STRING:
        # Of a number, nothing else can be made that is no number.
        return None
    converted = operand.operand
    is_bare = operand.span.start == converted.span.start
    if not is_bare or not is_possible(converted.type, NUMBER):
        return None
    return f"use ({start}{reporter.code(converted.span)}) AS {operand.target}"


def _type_of_arithmetic(operator: BinaryOperator, left: Type, right: Type) -> Type:
    """Return the type of a calculation with operands that can be numbers or NULL."""
    result = (left | right) & NULL
    if left.isdisjoint(NUMBER) or right.isdisjoint(NUMBER):
        return result
    if Kind.INT in left and Kind.INT in right:
        result |= FLOAT64 if operator is BinaryOperator.DIVIDE else frozenset({Kind.INT})
    if Kind.FLOAT64 in left or Kind.FLOAT64 in right:
        result |= FLOAT64
    return result


def _check_order(
    operator: BinaryOperator, left: TypedExpression, right: TypedExpression, reporter: Reporter
) -> None:
    for operand in (left, right):
        if not is_possible(operand.type, ORDERED | NULL):
            reporter.report(
                f"'{operator.value}' expects values that have an order, "
                f"but {reporter.quote(operand.span)} is {enumerate_kinds(operand.type)}",
                operand.span,
            )
            return
    if not _are_comparable(left.type, right.type):
        reporter.report(
            f"'{operator.value}' cannot compare {_describe(left, reporter)} "
            f"with {_describe(right, reporter)}",
            Span(left.span.start, right.span.end),
            hint=_hint_for_order(operator, left, right, reporter),
        )


def _are_comparable(left: Type, right: Type) -> bool:
    """Tell whether some values of the types can be compared, or one of them is always NULL."""
    if is_dynamic(left) or is_dynamic(right) or NULL in (left, right):
        return True
    return not left.isdisjoint(_comparable_kinds(right))


def _comparable_kinds(type_: Type) -> Type:
    """Return the kinds that values of a type can be compared with."""
    same = type_ & ORDERED
    return same if same.isdisjoint(NUMBER) else same | NUMBER


def _describe(operand: TypedExpression, reporter: Reporter) -> str:
    return f"{reporter.quote(operand.span)} ({enumerate_kinds(operand.type)})"


def _hint_for_order(
    operator: BinaryOperator, left: TypedExpression, right: TypedExpression, reporter: Reporter
) -> str | None:
    if isinstance(left, BinaryOperation) and left.operator in _ORDERS:
        middle = reporter.code(left.right.span)
        last = reporter.code(right.span)
        return f"use {reporter.code(left.span)} AND {middle} {operator.value} {last}"
    # A string is the one to be converted, and nothing else is into a string.
    for_left = _comparable_kinds(right.type) - STRING
    for_right = _comparable_kinds(left.type) - STRING
    if Kind.STRING in left.type:
        return suggest(for_left, left, reporter)
    return suggest(for_right, right, reporter) or suggest(for_left, left, reporter)


def _hint_for_contains(
    left: TypedExpression, right: TypedExpression, reporter: Reporter
) -> str | None:
    text, part = reporter.code(left.span), reporter.code(right.span)
    if right.type == ARRAY:
        return f"the array stands on the left: {part} CONTAINS {text}"
    if Kind.STRING in left.type:
        return f"use INSTR({text}, {part}) > 0"
    return None
