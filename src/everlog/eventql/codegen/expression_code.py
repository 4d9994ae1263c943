"""Code of expressions: a typed tree becomes one Python expression.

What the types of operands prove is not tested again; what is common is tested in place, by the
types of the values; everything else is a call of the functions that say what EventQL means.
A value may stand in code in forms that cost less than the value itself: see `Code`. `value_of`
makes the value of them; who knows better what to do with a form asks for it before.

Operations on constants are constants already (`planning.rewriting`). What depends on the time of
the query alone and cannot fail is evaluated once for each execution.

Fields, keys and aggregates are the environment's: they depend on where the expression stands.
"""

from collections.abc import Callable, Mapping
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
from everlog.eventql.codegen.generated import Code, GeneratedModule
from everlog.eventql.diagnostic import Span
from everlog.eventql.evaluation.catalogue import Purity, parameters_of
from everlog.eventql.evaluation.conversion import check_size, convert, size_of
from everlog.eventql.evaluation.datetimes import format_datetime, parse_event_time
from everlog.eventql.evaluation.operators import (
    ARITHMETIC,
    ORDER_OPERATORS,
    SIGNS,
    boolean_of,
    contains,
    equals,
)
from everlog.eventql.evaluation.values import DateTime, Value, from_json
from everlog.eventql.limits import STRING_LENGTH_MAX, VALUE_SIZE_MAX
from everlog.eventql.planning.fallible import can_fail_itself
from everlog.eventql.planning.plan import EvaluationContext
from everlog.eventql.planning.rewriting import is_operation, value_of_operation
from everlog.eventql.types import (
    BOOLEAN,
    NUMBER,
    ORDERED,
    STRING,
    BinaryOperator,
    Kind,
    Type,
    UnaryOperator,
)

_CONTAINERS: Final = frozenset({Kind.ARRAY, Kind.RECORD})


# --- Parts


def value_of(module: GeneratedModule, code: Code) -> Code:
    """Return the code of the value itself, that every function understands."""
    if code.is_event_time:
        text = f"{module.constant(parse_event_time)}({code.text})"
        return code._replace(text=text, depth=code.depth + 1, is_name=False, is_event_time=False)
    if code.decoded_at is not None and code.type & _CONTAINERS:
        text = module.call(from_json, code.decoded_at, code.text)
        return code._replace(text=text, depth=code.depth + 1, is_name=False, decoded_at=None)
    return code


def named(module: GeneratedModule, code: Code) -> tuple[str, Code]:
    """Return code that is evaluated first, and code to use the same value afterwards."""
    if code.is_name:
        return code.text, code
    name = module.temporary()
    return f"({name} := {code.text})", code._replace(text=name, depth=0, is_name=True)


def is_number_test(module: GeneratedModule, first: str) -> str:
    """Return a test of whether a value is a number, which BOOLEANs are not."""
    kind = module.temporary()
    return f"(({kind} := type({first})) is int or {kind} is float)"


def condition_of(module: GeneratedModule, code: Code, what: str, span: Span) -> str:
    """Return the code of a BOOLEAN; any other value is an error of what asks for it."""
    if code.type <= BOOLEAN:
        return code.text
    first, again = named(module, code)
    expect = module.call(partial(boolean_of, what=what), span, again.text)
    return f"({again.text} if {first} is True or {again.text} is False else {expect})"


# --- Calls


# What Python's strings do themselves.
_METHODS: Final = {"STARTSWITH": "startswith", "ENDSWITH": "endswith"}


def code_of_call(module: GeneratedModule, node: ScalarCall, arguments: list[Code]) -> Code:
    """Return the code of a call."""
    depth = max((argument.depth for argument in arguments), default=0) + 1
    if node.function.purity is Purity.RANDOM:
        return Code(f"{module.fixed(_random)}()", node.type)
    if node.function.purity is Purity.FIXED_PER_QUERY:
        return Code(module.fixed(_now), node.type, is_name=True, is_fixed=True)
    if node.function.purity is Purity.LAZY:
        return _conditional(module, node, arguments, depth)
    size_max = STRING_LENGTH_MAX if Kind.STRING in node.type else 32
    return Code(_plain_call(module, node, arguments), node.type, depth, size_max=size_max)


def _conditional(
    module: GeneratedModule, node: ScalarCall, arguments: list[Code], depth: int
) -> Code:
    condition, first, second = arguments
    test = condition_of(module, condition, node.function.name, node.arguments[0].span)
    first, second = value_of(module, first), value_of(module, second)
    size_max = max(first.size_max, second.size_max)
    return Code(f"({first.text} if {test} else {second.text})", node.type, depth, size_max=size_max)


def _plain_call(module: GeneratedModule, node: ScalarCall, arguments: list[Code]) -> str:
    function = node.function
    method = _METHODS.get(function.name)
    if method is not None and arguments[1].type <= STRING and not arguments[0].is_event_time:
        text, part = arguments
        if text.type <= STRING:
            return f"{text.text}.{method}({part.text})"
        if part.is_same_for_all:
            first, again = named(module, text)
            guarded = module.call(
                function.checked(), node.span, value_of(module, again).text, part.text
            )
            return f"({again.text}.{method}({part.text}) if type({first}) is str else {guarded})"
    values = [value_of(module, argument).text for argument in arguments]
    parameters = parameters_of(function.parameters, len(arguments))
    is_proven = all(
        argument.type <= parameter.types
        for argument, parameter in zip(arguments, parameters, strict=True)
    )
    assert function.call is not None
    return module.call(function.call if is_proven else function.checked(), node.span, *values)


def _random(context: EvaluationContext, _known: Mapping[str, Any]) -> Callable[[], float]:
    return context.random


def _now(context: EvaluationContext, _known: Mapping[str, Any]) -> DateTime:
    return DateTime(context.now)


# --- Operators between two operands


# Sums and products of this size fit into 64 bits, and comparing floats with it is quick.
_SURELY_FITTING: Final = 2**47
_SURELY_FITTING_NEGATIVE: Final = -_SURELY_FITTING

# Code up to this length may stand in two branches; what is longer would grow without end.
_REPEATED_LENGTH_MAX: Final = 100


def code_of_operation(
    module: GeneratedModule, node: BinaryOperation, left: Code, right: Code
) -> Code:
    """Return the code of an operator and its operands."""
    text = _TEXT_OF[node.operator](module, node, left, right)
    return Code(text, node.type, max(left.depth, right.depth) + 1)


def _connective(
    module: GeneratedModule, node: BinaryOperation, left: Code, right: Code, word: str
) -> str:
    left_condition = condition_of(module, left, node.operator.value, node.left.span)
    right_condition = condition_of(module, right, node.operator.value, node.right.span)
    return f"({left_condition} {word} {right_condition})"


def _equality(
    module: GeneratedModule, _node: BinaryOperation, left: Code, right: Code, *, negation: str
) -> str:
    return f"({negation}{_equals(module, left, right)})"


def _equals(module: GeneratedModule, left: Code, right: Code) -> str:
    texts = _event_times(module, left, right, _whole_text)
    if texts is not None:
        return f"({texts[0]} == {texts[1]})"
    if left.is_same_for_all:
        left, right = right, left
    left, right = _loosely(module, left), _loosely(module, right)
    if right.constant is not None and right.text in {"None", "True", "False"}:
        return f"({left.text} is {right.text})"
    if _is_equality_python(left.type, right.type):
        return f"({left.text} == {right.text})"
    if right.is_same_for_all and right.type <= NUMBER:
        # Python takes TRUE for 1, and knows arrays and records to be no numbers.
        first, again = named(module, left)
        return f"(type({first}) is not bool and {again.text} == {right.text})"
    equal = module.constant(equals)
    if len(right.text) > _REPEATED_LENGTH_MAX:
        return f"{equal}({value_of(module, left).text}, {value_of(module, right).text})"
    # Only a string equals a string, and most of what is compared are strings.
    first, again = named(module, left)
    slowly = f"{equal}({value_of(module, again).text}, {value_of(module, right).text})"
    return f"({again.text} == {right.text} if type({first}) is str else {slowly})"


def _loosely(module: GeneratedModule, code: Code) -> Code:
    """Return the value of a time, and decoded JSON as it is."""
    return value_of(module, code) if code.is_event_time else code


def _is_equality_python(left: Type, right: Type) -> bool:
    """Tell whether Python's `==` says the same of all values of two types."""
    if any(kind in left and kind in right for kind in _CONTAINERS):
        return False
    is_mixed = (Kind.BOOLEAN in left and right & NUMBER) or (
        Kind.BOOLEAN in right and left & NUMBER
    )
    return not is_mixed


def _order(module: GeneratedModule, node: BinaryOperation, left: Code, right: Code) -> str:
    operator = node.operator.value
    texts = _event_times(module, left, right, _text_without_zone)
    if texts is not None:
        return f"({texts[0]} {operator} {texts[1]})"
    if _are_of_one_kind(left.type, right.type):
        return f"({value_of(module, left).text} {operator} {value_of(module, right).text})"
    compare = ORDER_OPERATORS[node.operator]
    for constant, other, is_left in ((right, left, False), (left, right, True)):
        is_of_one_kind = constant.type <= NUMBER or constant.type <= STRING
        if constant.is_same_for_all and is_of_one_kind and not other.is_event_time:
            first, again = named(module, other)
            test = (
                f"type({first}) is str"
                if constant.type <= STRING
                else is_number_test(module, first)
            )
            sides = (constant, again) if is_left else (again, constant)
            values = [value_of(module, side).text for side in sides]
            slowly = module.call(compare, node.span, *values)
            return (
                f"({sides[0].text} {operator} {sides[1].text} if {test}"
                f" else False if {again.text} is None else {slowly})"
            )
    return module.call(
        compare, node.span, value_of(module, left).text, value_of(module, right).text
    )


def _are_of_one_kind(left: Type, right: Type) -> bool:
    kinds = left | right
    return kinds <= NUMBER or (len(kinds) == 1 and kinds <= ORDERED)


def _event_times(
    module: GeneratedModule,
    left: Code,
    right: Code,
    form: Callable[[Code], str],
) -> tuple[str, str] | None:
    """Return what to compare instead of moments: texts; None if they are not both known as such."""
    sides = []
    for side in (left, right):
        text = None
        if side.type == {Kind.DATETIME} and side.constant is not None:
            text = module.constant(_text_of_time(side.constant.value))
        elif side.type == {Kind.DATETIME} and side.is_fixed:
            text = module.fixed(partial(_fixed_text_of_time, side.text))
        sides.append(side if text is None else side._replace(text=text, is_event_time=True))
    if not all(side.is_event_time for side in sides):
        return None
    return form(sides[0]), form(sides[1])


def _text_of_time(value: Value) -> str:
    assert type(value) is DateTime
    return format_datetime(value)


def _fixed_text_of_time(name: str, _context: EvaluationContext, known: Mapping[str, Any]) -> str:
    return _text_of_time(known[name])


def _whole_text(code: Code) -> str:
    return code.text


def _text_without_zone(code: Code) -> str:
    # The fraction is as long as it needs to be: after the `Z`, digits would sort wrongly.
    return f"{code.text}[:-1]"


def _contains(module: GeneratedModule, node: BinaryOperation, left: Code, right: Code) -> str:
    if left.constant is not None:
        array = left.constant.value
        if type(array) is list and all(type(item) is str for item in array):
            right = _loosely(module, right)
            strings = module.constant(frozenset(array))
            if right.type <= STRING:
                return f"({right.text} in {strings})"
            first, again = named(module, right)
            return f"(type({first}) is str and {again.text} in {strings})"
    if right.is_same_for_all and right.type <= STRING:
        first, again = named(module, left)
        slowly = module.call(contains, node.span, value_of(module, again).text, right.text)
        return f"({right.text} in {again.text} if type({first}) is list else {slowly})"
    return module.call(
        contains, node.span, value_of(module, left).text, value_of(module, right).text
    )


def _arithmetic(module: GeneratedModule, node: BinaryOperation, left: Code, right: Code) -> str:
    left, right = _loosely(module, left), _loosely(module, right)
    function = ARITHMETIC[node.operator]
    if node.operator is BinaryOperator.DIVIDE or not (left.type & NUMBER and right.type & NUMBER):
        arguments = [value_of(module, side).text for side in (left, right)]
        return module.call(function, node.span, *arguments)
    tests = []
    sides = []
    for side in (left, right):
        first, again = named(module, side)
        sides.append(again)
        if first != again.text:
            # Evaluated for sure, and in the order written: a tuple that is not empty is true.
            tests.append(f"({first},)")
    tests += [is_number_test(module, side.text) for side in sides if not side.type <= NUMBER]
    result = module.temporary()
    lower, upper = module.constant(_SURELY_FITTING_NEGATIVE), module.constant(_SURELY_FITTING)
    operation = f"({result} := {sides[0].text} {node.operator.value} {sides[1].text})"
    tests.append(f"{lower} < {operation} < {upper}")
    slowly = module.call(function, node.span, *(value_of(module, side).text for side in sides))
    return f"({result} if {' and '.join(tests)} else {slowly})"


_Text = Callable[[GeneratedModule, BinaryOperation, Code, Code], str]

_TEXT_OF: Final[dict[BinaryOperator, _Text]] = {
    BinaryOperator.AND: partial(_connective, word="and"),
    BinaryOperator.OR: partial(_connective, word="or"),
    BinaryOperator.XOR: partial(_connective, word="is not"),
    BinaryOperator.EQUAL: partial(_equality, negation=""),
    BinaryOperator.NOT_EQUAL: partial(_equality, negation="not "),
    BinaryOperator.LESS: _order,
    BinaryOperator.LESS_OR_EQUAL: _order,
    BinaryOperator.GREATER: _order,
    BinaryOperator.GREATER_OR_EQUAL: _order,
    BinaryOperator.CONTAINS: _contains,
    BinaryOperator.ADD: _arithmetic,
    BinaryOperator.SUBTRACT: _arithmetic,
    BinaryOperator.MULTIPLY: _arithmetic,
    BinaryOperator.DIVIDE: _arithmetic,
}


# --- Expressions


# Python's parser accepts 200 parentheses within each other, and each level takes some.
_DEPTH_MAX: Final = 8


class Environment(Protocol):
    """What an expression finds where it stands."""

    @property
    def module(self) -> GeneratedModule:
        """Where the code goes."""

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


def code_of(environment: Environment, expression: TypedExpression) -> Code:
    """Return the code of an expression."""
    parts = [code_of(environment, operand) for operand in operands(expression)]
    if _is_fixed(expression, parts):
        return _fixed(environment.module, expression, parts)
    code = CODE_OF[type(expression)](environment, expression, parts)
    if code.depth > _DEPTH_MAX:
        parameters = environment.parameters
        function = environment.module.expression_function(parameters, code)
        code = code._replace(text=f"{function}({parameters})", depth=0)
    return code


def value_code_of(environment: Environment, expression: TypedExpression) -> Code:
    """Return the code of an expression's value as others may hold it."""
    return value_of(environment.module, code_of(environment, expression))


def condition_code_of(environment: Environment, expression: TypedExpression, clause: str) -> str:
    """Return the code of a condition, which is an error of the clause if it is no BOOLEAN."""
    code = code_of(environment, expression)
    return condition_of(environment.module, code, clause, expression.span)


def _is_fixed(node: TypedExpression, parts: list[Code]) -> bool:
    """Tell whether the value of a node is known once the time of the query is, without an error."""
    is_any_fixed = False
    for part in parts:
        if part.is_fixed:
            is_any_fixed = True
        elif part.constant is None:
            return False
    return (
        is_any_fixed
        and not isinstance(node, ArrayOf | RecordOf)
        and is_operation(node)
        and not can_fail_itself(node, ())
    )


def _fixed(module: GeneratedModule, node: TypedExpression, parts: list[Code]) -> Code:
    operands_ = [part.constant or part.text for part in parts]
    name = module.fixed(partial(_value_of_fixed, node, operands_))
    size_max = max(part.size_max for part in parts)
    return Code(name, node.type, is_name=True, is_fixed=True, size_max=size_max)


def _value_of_fixed(
    node: TypedExpression,
    operands_: list[Constant | str],
    _context: EvaluationContext,
    known: Mapping[str, Any],
) -> Value:
    return value_of_operation(
        node, [known[each] if isinstance(each, str) else each.value for each in operands_]
    )


def _constant(environment: Environment, node: Constant, _parts: list[Code]) -> Code:
    value = node.value
    is_word = value is None or value is True or value is False
    text = repr(value) if is_word else environment.module.constant(value)
    size = size_of(value, enough=VALUE_SIZE_MAX)
    return Code(text, node.type, is_name=True, constant=node, size_max=size + 1)


def _field(environment: Environment, node: FieldAccess, _parts: list[Code]) -> Code:
    return environment.field(node)


def _group_key(environment: Environment, node: GroupKey, _parts: list[Code]) -> Code:
    return environment.group_key(node)


def _aggregate(environment: Environment, node: AggregateValue, _parts: list[Code]) -> Code:
    return environment.aggregate(node)


def _unary(environment: Environment, node: UnaryOperation, parts: list[Code]) -> Code:
    [operand] = parts
    module = environment.module
    depth = operand.depth + 1
    if node.operator is UnaryOperator.NOT:
        condition = condition_of(module, operand, "NOT", node.operand.span)
        return Code(f"(not {condition})", BOOLEAN, depth)
    function = SIGNS[node.operator]
    text = module.call(function, node.span, value_of(module, operand).text)
    return Code(text, node.type, depth)


def _binary(environment: Environment, node: BinaryOperation, parts: list[Code]) -> Code:
    return code_of_operation(environment.module, node, *parts)


def _conversion(environment: Environment, node: TypeConversion, parts: list[Code]) -> Code:
    [operand] = parts
    module = environment.module
    depth = operand.depth + 1
    if operand.is_event_time and node.target is Kind.STRING:
        # Its text is what it would be converted to.
        return operand._replace(type=node.type, is_event_time=False)
    if operand.type <= {Kind.NULL, node.target}:
        return operand
    if node.target is Kind.INT and environment.is_event_id(node.operand):
        return Code(f"int({operand.text})", node.type, depth)
    function = partial(convert, target=node.target)
    text = module.call(function, node.span, value_of(module, operand).text)
    return Code(text, node.type, depth, size_max=max(operand.size_max, 32))


def _call(environment: Environment, node: ScalarCall, parts: list[Code]) -> Code:
    return code_of_call(environment.module, node, parts)


def _array(environment: Environment, node: ArrayOf, parts: list[Code]) -> Code:
    values = [value_of(environment.module, part).text for part in parts]
    return _limited(environment, node.span, f"[{', '.join(values)}]", node, parts)


def _record(environment: Environment, node: RecordOf, parts: list[Code]) -> Code:
    module = environment.module
    entries = [
        f"{module.constant(key)}: {value_of(module, part).text}"
        for key, part in zip(node.keys, parts, strict=True)
    ]
    return _limited(environment, node.span, f"{{{', '.join(entries)}}}", node, parts)


def _limited(
    environment: Environment, span: Span, text: str, node: ArrayOf | RecordOf, parts: list[Code]
) -> Code:
    """Return the code of a value made of others, which is refused where it could be endless."""
    depth = max((part.depth for part in parts), default=0) + 1
    size_max = sum(part.size_max + 1 for part in parts)
    if isinstance(node, RecordOf):
        size_max += sum(len(key) for key in node.keys)
    if size_max > VALUE_SIZE_MAX:
        text = environment.module.call(_check_size, span, text)
        size_max = VALUE_SIZE_MAX
    return Code(text, node.type, depth, size_max=size_max)


def _check_size(value: Value) -> Value:
    check_size(value, size_max=VALUE_SIZE_MAX)
    return value


CODE_OF: Final[dict[type, Callable[[Environment, Any, list[Code]], Code]]] = {
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
