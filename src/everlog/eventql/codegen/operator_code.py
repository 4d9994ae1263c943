"""Code of operators with two operands.

Each tests in place what is common, the kinds of values that a comparison with a constant is
meant for, and calls the function that knows all kinds for everything else.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

from everlog.eventql.analysis.analyzed import BinaryOperation
from everlog.eventql.codegen.code_parts import condition_of, is_number_test, named, value_of
from everlog.eventql.codegen.generated import Code, GeneratedModule
from everlog.eventql.evaluation.arithmetic import ARITHMETIC
from everlog.eventql.evaluation.comparison import ORDER_OPERATORS, contains, equals
from everlog.eventql.evaluation.datetimes import format_datetime
from everlog.eventql.evaluation.values import DateTime
from everlog.eventql.language.syntax import BinaryOperator
from everlog.eventql.types import NUMBER, ORDERED, STRING, Kind, Type

# Sums and products of this size fit into 64 bits, and comparing floats with it is quick.
_SURELY_FITTING: Final = 2**47
_SURELY_FITTING_NEGATIVE: Final = -_SURELY_FITTING

# Code up to this length may stand in two branches; what is longer would grow without end.
_REPEATED_LENGTH_MAX: Final = 100

_CONTAINERS: Final = (Kind.ARRAY, Kind.RECORD)


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
    if left.is_constant:
        left, right = right, left
    left, right = _loosely(module, left), _loosely(module, right)
    if right.is_constant and right.text in {"None", "True", "False"}:
        return f"({left.text} is {right.text})"
    if _is_equality_python(left.type, right.type):
        return f"({left.text} == {right.text})"
    if right.is_constant and right.type <= NUMBER:
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
        if constant.is_constant and constant.type <= NUMBER | STRING and not other.is_event_time:
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
        text = side
        if side.is_constant and side.type == {Kind.DATETIME}:
            value = module.evaluate(side)
            assert type(value) is DateTime
            text = side._replace(text=module.constant(format_datetime(value)), is_event_time=True)
        sides.append(text)
    if not all(side.is_event_time for side in sides):
        return None
    return form(sides[0]), form(sides[1])


def _whole_text(code: Code) -> str:
    return code.text


def _text_without_zone(code: Code) -> str:
    # The fraction is as long as it needs to be: after the `Z`, digits would sort wrongly.
    return f"{code.text}[:-1]"


def _contains(module: GeneratedModule, node: BinaryOperation, left: Code, right: Code) -> str:
    if left.is_constant:
        array = module.evaluate(left)
        if type(array) is list and all(type(item) is str for item in array):
            right = _loosely(module, right)
            strings = module.constant(frozenset(array))
            if right.type <= STRING:
                return f"({right.text} in {strings})"
            first, again = named(module, right)
            return f"(type({first}) is str and {again.text} in {strings})"
    if right.is_constant and right.type <= STRING:
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
