"""Expressions of the reference interpreter: what each means for a row or a group.

Shares only the syntax tree with the product; what values are and do stands in
`reference_values`, what functions compute in `reference_functions`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, assert_never

from everlog.eventql.diagnostic import Span
from everlog.eventql.language import syntax
from everlog.eventql.types import BinaryOperator, UnaryOperator
from tests.support.eventql.reference_functions import FUNCTIONS, call, index_of
from tests.support.eventql.reference_values import (
    DateTime,
    UnevaluableError,
    checked_float,
    checked_int,
    convert,
    is_equal,
    is_less,
    kind_of,
    readable,
    string_to_datetime,
)


class ReferenceUnevaluableError(Exception):
    """The query met a value that it cannot go on with; says where, and for which event."""

    def __init__(self, message: str, span: Span, event_id: str | None) -> None:
        super().__init__(message)
        self.span = span
        self.event_id = event_id


@dataclass(frozen=True)
class World:
    """All that a query can ask for."""

    events: Sequence[Mapping[str, Any]]
    subjects: Sequence[str] = ()
    event_types: Sequence[str] = ()
    now: str = "2026-01-01T00:00:00Z"
    random: Callable[[], float] = lambda: 0.5


@dataclass(frozen=True)
class Row:
    """What each alias stands for, and the event that this row is from, if it is from one."""

    values: Mapping[str, Any]
    event_id: str | None


@dataclass(frozen=True)
class GroupValues:
    """What is known about a whole group, by the form of the expression."""

    values: Mapping[str, Any]


@dataclass(frozen=True)
class Context:
    """What an expression is evaluated for: a row, a group, or neither."""

    world: World
    row: Row = Row({}, None)
    group: GroupValues = GroupValues({})


def located(
    error: UnevaluableError, expression: syntax.Expression, context: Context
) -> ReferenceUnevaluableError:
    """Say where an error arose."""
    return ReferenceUnevaluableError(str(error), expression.span, context.row.event_id)


def condition(expression: syntax.Expression, context: Context) -> bool:
    """Evaluate what must be TRUE or FALSE."""
    value = evaluate(expression, context)
    if kind_of(value) != "BOOLEAN":
        error = UnevaluableError(f"expected BOOLEAN, but found {kind_of(value)}")
        raise located(error, expression, context)
    assert isinstance(value, bool)
    return value


def evaluate(expression: syntax.Expression, context: Context) -> Any:
    """Return the value of an expression."""
    if context.group.values:
        form = form_of(expression)
        if form in context.group.values:
            return context.group.values[form]
    try:
        return evaluate_parts(expression, context)
    except UnevaluableError as error:
        raise located(error, expression, context) from error


def evaluate_parts(expression: syntax.Expression, context: Context) -> Any:
    """Return the value of an expression from the values of its parts."""
    match expression:
        case syntax.Literal(value=value):
            return value
        case syntax.Path(alias=alias, fields=fields):
            row = context.row.values[alias.text]
            return readable(field_of(row, [name.text for name in fields]))
        case syntax.Unary(operator=UnaryOperator.NOT, operand=operand):
            return not condition(operand, context)
        case syntax.Unary(operator=operator, operand=operand):
            sign = -1 if operator is UnaryOperator.MINUS else 1
            return arithmetic(BinaryOperator.MULTIPLY, sign, evaluate(operand, context))
        case syntax.Binary():
            return evaluate_binary(expression, context)
        case syntax.Conversion(operand=operand, type=target):
            return convert(evaluate(operand, context), target.text)
        case syntax.Call():
            return evaluate_call(expression, context)
        case syntax.Array(items=items):
            return [evaluate(item, context) for item in items]
        case syntax.Record(entries=entries):
            return {entry.key.text: evaluate(entry.value, context) for entry in entries}
        case _:
            assert_never(expression)


def field_of(value: Any, path: Sequence[str]) -> Any:
    """Follow a path; it leads through records only, and to NULL otherwise."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def evaluate_call(expression: syntax.Call, context: Context) -> Any:
    """Call a scalar function."""
    match expression.function.text.upper(), expression.arguments:
        case "IF", (test, chosen, other):
            return evaluate(chosen if condition(test, context) else other, context)
        case "NOW", ():
            return now_of(context.world)
        case "RAND", ():
            return context.world.random()
        case name, arguments:
            return call(FUNCTIONS[name], [evaluate(each, context) for each in arguments])


def now_of(world: World) -> DateTime:
    """Return the time of the query."""
    return string_to_datetime(world.now)


def evaluate_binary(expression: syntax.Binary, context: Context) -> Any:
    """Evaluate an operator between two operands; AND and OR may leave the right one alone."""
    operator = expression.operator
    match operator:
        case BinaryOperator.AND:
            return condition(expression.left, context) and condition(expression.right, context)
        case BinaryOperator.OR:
            return condition(expression.left, context) or condition(expression.right, context)
        case BinaryOperator.XOR:
            return condition(expression.left, context) != condition(expression.right, context)
        case _:
            left = evaluate(expression.left, context)
            right = evaluate(expression.right, context)
            return combine(operator, left, right)


def combine(operator: BinaryOperator, left: Any, right: Any) -> Any:
    """Evaluate an operator between two values."""
    match operator:
        case BinaryOperator.EQUAL:
            return is_equal(left, right)
        case BinaryOperator.NOT_EQUAL:
            return not is_equal(left, right)
        case BinaryOperator.CONTAINS:
            return contains(left, right)
        case BinaryOperator.ADD | BinaryOperator.SUBTRACT:
            return arithmetic(operator, left, right)
        case BinaryOperator.MULTIPLY | BinaryOperator.DIVIDE:
            return arithmetic(operator, left, right)
        case _:
            return order_holds(operator, left, right)


def order_holds(operator: BinaryOperator, left: Any, right: Any) -> bool:
    """Evaluate `<` and its kin; nothing is less or greater than NULL, nor is NULL itself."""
    if left is None or right is None:
        return False
    is_left_less, is_right_less = is_less(left, right), is_less(right, left)
    match operator:
        case BinaryOperator.LESS:
            return is_left_less
        case BinaryOperator.LESS_OR_EQUAL:
            return not is_right_less
        case BinaryOperator.GREATER:
            return is_right_less
        case BinaryOperator.GREATER_OR_EQUAL:
            return not is_left_less
        case _:
            raise AssertionError(operator)


def contains(array: Any, value: Any) -> bool:
    """Tell whether an array has an equal item."""
    if array is None:
        return False
    if kind_of(array) != "array":
        raise UnevaluableError(f"expected an array, but found {kind_of(array)}")
    return index_of(array, value) is not None


def arithmetic(operator: BinaryOperator, left: Any, right: Any) -> int | float | None:
    """Compute with numbers: INTs stay exact, with a FLOAT64 all is FLOAT64, and so is division."""
    if left is None or right is None:
        return None
    for operand in (left, right):
        if kind_of(operand) != "number":
            raise UnevaluableError(f"expected a number, but found {kind_of(operand)}")
    if operator is BinaryOperator.DIVIDE:
        if right == 0:
            raise UnevaluableError("division by zero")
        return divide(left, right)
    if isinstance(left, int) and isinstance(right, int):
        return checked_int(COMPUTE[operator](left, right))
    return checked_float(COMPUTE[operator](float(left), float(right)))


def divide(left: float, right: float) -> float:
    """Divide two numbers; of INTs, the quotient is the FLOAT64 nearest to the exact one."""
    try:
        return checked_float(left / right)
    except OverflowError as error:
        raise UnevaluableError(str(error)) from error


COMPUTE: dict[BinaryOperator, Callable[[Any, Any], Any]] = {
    BinaryOperator.ADD: lambda left, right: left + right,
    BinaryOperator.SUBTRACT: lambda left, right: left - right,
    BinaryOperator.MULTIPLY: lambda left, right: left * right,
}


# --- What expressions are made of


def children(expression: syntax.Expression) -> Sequence[syntax.Expression]:
    """Return the expressions directly below one."""
    match expression:
        case syntax.Literal() | syntax.Path():
            return ()
        case syntax.Unary(operand=operand) | syntax.Conversion(operand=operand):
            return (operand,)
        case syntax.Binary(left=left, right=right):
            return (left, right)
        case syntax.Call(arguments=arguments):
            return arguments
        case syntax.Array(items=items):
            return items
        case syntax.Record(entries=entries):
            return [entry.value for entry in entries]
        case _:
            assert_never(expression)


def form_of(expression: syntax.Expression) -> str:
    """Return a text that two expressions share if they say the same."""
    match expression:
        case syntax.Literal(value=value):
            own = f"literal {value!r}"
        case syntax.Path(alias=alias, fields=fields):
            own = f"path {[alias.text, *(name.text for name in fields)]!r}"
        case syntax.Unary(operator=operator) | syntax.Binary(operator=operator):
            own = f"operator {operator.value}"
        case syntax.Conversion(type=target):
            own = f"as {target.text.upper()}"
        case syntax.Call(function=function):
            own = f"call {function.text.upper()}"
        case syntax.Array():
            own = "array"
        case syntax.Record(entries=entries):
            own = f"record {[entry.key.text for entry in entries]!r}"
        case _:
            assert_never(expression)
    return f"({own} {' '.join(map(form_of, children(expression)))})"
