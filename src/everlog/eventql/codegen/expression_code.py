"""Code of expressions: a typed tree becomes one Python expression.

What the types of operands prove is not tested again; what is common is tested in place, by the
types of the values; everything else is a call of the functions that say what EventQL means.
An expression of constants is evaluated at once, unless that fails: then it is an error of the
first row that evaluates it, and none if there is no such row.

Fields, keys and aggregates are the environment's: they depend on where the expression stands.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

from everlog.eventql.analysis.analyzed import (
    AggregateValue,
    ArrayOf,
    BinaryOperation,
    Constant,
    FieldAccess,
    GroupKey,
    RecordOf,
    ScalarCall,
    TypeConversion,
    TypedExpression,
    UnaryOperation,
    operands,
)
from everlog.eventql.codegen.call_code import code_of_call
from everlog.eventql.codegen.code_parts import condition_of, value_of
from everlog.eventql.codegen.generated import Code, GeneratedModule
from everlog.eventql.codegen.operator_code import code_of_operation
from everlog.eventql.diagnostic import Span
from everlog.eventql.evaluation.arithmetic import SIGNS
from everlog.eventql.evaluation.conversion import convert
from everlog.eventql.evaluation.functions import Purity
from everlog.eventql.evaluation.rendering import check_size
from everlog.eventql.evaluation.values import EvaluationError, Value
from everlog.eventql.language.syntax import UnaryOperator
from everlog.eventql.limits import VALUE_SIZE_MAX
from everlog.eventql.surroundings import Surroundings
from everlog.eventql.types import BOOLEAN, Kind

# Python's parser accepts 200 parentheses within each other, and each level takes some.
_DEPTH_MAX: Final = 8


class Environment(Protocol):
    """What an expression finds where it stands."""

    @property
    def parameters(self) -> str:
        """The names that its code may use, as parameters of a function."""

    def field(self, access: FieldAccess) -> Code:
        """Return the code of a field's value."""

    def is_event_id(self, expression: TypedExpression) -> bool:
        """Tell whether it is the id of an event, which is a whole number as a text."""

    def group_key(self, key: GroupKey) -> Code:
        """Return the code of the key of a group."""

    def aggregate(self, value: AggregateValue) -> Code:
        """Return the code of an aggregate's result."""


@dataclass(frozen=True, slots=True)
class CodeContext:
    """Where generated code goes, and what it may refer to."""

    module: GeneratedModule
    environment: Environment
    surroundings: Surroundings


def code_of(context: CodeContext, expression: TypedExpression) -> Code:
    """Return the code of an expression."""
    parts = [code_of(context, operand) for operand in operands(expression)]
    code = _CODE_OF[type(expression)](context, expression, parts)
    if _is_foldable(expression, parts):
        code = _fold(context.module, code)
    elif code.depth > _DEPTH_MAX:
        parameters = context.environment.parameters
        function = context.module.expression_function(parameters, code)
        code = code._replace(text=f"{function}({parameters})", depth=0)
    return code


def value_code_of(context: CodeContext, expression: TypedExpression) -> Code:
    """Return the code of an expression's value as others may hold it."""
    return value_of(context.module, code_of(context, expression))


def condition_code_of(context: CodeContext, expression: TypedExpression, clause: str) -> str:
    """Return the code of a condition, which is an error of the clause if it is no BOOLEAN."""
    code = code_of(context, expression)
    return condition_of(context.module, code, clause, expression.span)


def constant_of(module: GeneratedModule, value: Any, code: Code) -> Code:
    """Return the code of a value that is known; `code` tells its type."""
    text = repr(value) if value is None or value is True or value is False else None
    return code._replace(
        text=text or module.constant(value),
        depth=0,
        is_name=True,
        is_constant=True,
        is_event_time=False,
        decoded_at=None,
    )


def _is_foldable(expression: TypedExpression, parts: list[Code]) -> bool:
    match expression:
        case Constant() | FieldAccess() | AggregateValue() | GroupKey():
            return False
        case ScalarCall(function=function) if function.purity is Purity.RANDOM:
            return False
        case _:
            return all(part.is_constant for part in parts)


def _fold(module: GeneratedModule, code: Code) -> Code:
    try:
        value = module.evaluate(code)
    except EvaluationError:
        return code
    return constant_of(module, value, code)


def _constant(context: CodeContext, node: Constant, _parts: list[Code]) -> Code:
    size = len(node.value) if isinstance(node.value, str) else 0
    return constant_of(context.module, node.value, Code("", node.type, size_max=size + 1))


def _field(context: CodeContext, node: FieldAccess, _parts: list[Code]) -> Code:
    return context.environment.field(node)


def _group_key(context: CodeContext, node: GroupKey, _parts: list[Code]) -> Code:
    return context.environment.group_key(node)


def _aggregate(context: CodeContext, node: AggregateValue, _parts: list[Code]) -> Code:
    return context.environment.aggregate(node)


def _unary(context: CodeContext, node: UnaryOperation, parts: list[Code]) -> Code:
    [operand] = parts
    module = context.module
    depth = operand.depth + 1
    if node.operator is UnaryOperator.NOT:
        condition = condition_of(module, operand, "NOT", node.operand.span)
        return Code(f"(not {condition})", BOOLEAN, depth)
    function = SIGNS[node.operator]
    text = module.call(function, node.span, value_of(module, operand).text)
    return Code(text, node.type, depth)


def _binary(context: CodeContext, node: BinaryOperation, parts: list[Code]) -> Code:
    return code_of_operation(context.module, node, *parts)


def _conversion(context: CodeContext, node: TypeConversion, parts: list[Code]) -> Code:
    [operand] = parts
    module = context.module
    depth = operand.depth + 1
    if operand.is_event_time and node.target is Kind.STRING:
        # Its text is what it would be converted to.
        return operand._replace(type=node.type, is_event_time=False)
    if operand.type <= {Kind.NULL, node.target}:
        return operand
    if node.target is Kind.INT and context.environment.is_event_id(node.operand):
        return Code(f"int({operand.text})", node.type, depth)
    function = partial(convert, target=node.target)
    text = module.call(function, node.span, value_of(module, operand).text)
    return Code(text, node.type, depth, size_max=max(operand.size_max, 32))


def _call(context: CodeContext, node: ScalarCall, parts: list[Code]) -> Code:
    return code_of_call(context.module, context.surroundings, node, parts)


def _array(context: CodeContext, node: ArrayOf, parts: list[Code]) -> Code:
    values = [value_of(context.module, part).text for part in parts]
    return _limited(context, node.span, f"[{', '.join(values)}]", node, parts)


def _record(context: CodeContext, node: RecordOf, parts: list[Code]) -> Code:
    module = context.module
    entries = [
        f"{module.constant(key)}: {value_of(module, part).text}"
        for key, part in zip(node.keys, parts, strict=True)
    ]
    return _limited(context, node.span, f"{{{', '.join(entries)}}}", node, parts)


def _limited(
    context: CodeContext, span: Span, text: str, node: ArrayOf | RecordOf, parts: list[Code]
) -> Code:
    """Return the code of a value made of others, which is refused where it could be endless."""
    depth = max((part.depth for part in parts), default=0) + 1
    size_max = sum(part.size_max + 1 for part in parts)
    if isinstance(node, RecordOf):
        size_max += sum(len(key) for key in node.keys)
    if size_max > VALUE_SIZE_MAX:
        text = context.module.call(_check_size, span, text)
        size_max = VALUE_SIZE_MAX
    return Code(text, node.type, depth, size_max=size_max)


def _check_size(value: Value) -> Value:
    check_size(value, size_max=VALUE_SIZE_MAX)
    return value


_CODE_OF: Final[dict[type, Callable[[CodeContext, Any, list[Code]], Code]]] = {
    Constant: _constant,
    FieldAccess: _field,
    GroupKey: _group_key,
    AggregateValue: _aggregate,
    UnaryOperation: _unary,
    BinaryOperation: _binary,
    TypeConversion: _conversion,
    ScalarCall: _call,
    ArrayOf: _array,
    RecordOf: _record,
}
