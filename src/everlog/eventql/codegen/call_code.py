"""Code of calls of scalar functions.

A function is called only with values that its parameters allow: NULL for any argument makes the
whole call NULL (FALSE where the function tells something), anything else is an error.
"""

from collections.abc import Callable
from typing import Any, Final

from everlog.eventql.analysis.analyzed import ScalarCall
from everlog.eventql.codegen.code_parts import condition_of, named, value_of
from everlog.eventql.codegen.generated import Code, GeneratedModule
from everlog.eventql.evaluation.comparison import kind_of
from everlog.eventql.evaluation.functions import Purity
from everlog.eventql.evaluation.values import DateTime, EvaluationError, Value
from everlog.eventql.limits import STRING_LENGTH_MAX
from everlog.eventql.surroundings import Surroundings
from everlog.eventql.types import BOOLEAN, STRING, Kind

# What Python's strings do themselves.
_METHODS: Final = {"STARTSWITH": "startswith", "ENDSWITH": "endswith"}


def code_of_call(
    module: GeneratedModule, surroundings: Surroundings, node: ScalarCall, arguments: list[Code]
) -> Code:
    """Return the code of a call."""
    depth = max((argument.depth for argument in arguments), default=0) + 1
    if node.function.purity is Purity.RANDOM:
        return Code(f"{module.constant(surroundings.random)}()", node.type)
    if node.function.purity is Purity.FIXED_PER_QUERY:
        return Code(module.constant(DateTime(surroundings.now)), node.type)
    if node.function.purity is Purity.LAZY:
        return _conditional(module, node, arguments, depth)
    size_max = STRING_LENGTH_MAX if Kind.STRING in node.type else 32
    return Code(_call(module, node, arguments), node.type, depth, size_max=size_max)


def _conditional(
    module: GeneratedModule, node: ScalarCall, arguments: list[Code], depth: int
) -> Code:
    condition, first, second = arguments
    test = condition_of(module, condition, node.function.name, node.arguments[0].span)
    first, second = value_of(module, first), value_of(module, second)
    size_max = max(first.size_max, second.size_max)
    return Code(f"({first.text} if {test} else {second.text})", node.type, depth, size_max=size_max)


def _call(module: GeneratedModule, node: ScalarCall, arguments: list[Code]) -> str:
    function = node.function
    method = _METHODS.get(function.name)
    if method is not None and arguments[1].type <= STRING and not arguments[0].is_event_time:
        text, part = arguments
        if text.type <= STRING:
            return f"{text.text}.{method}({part.text})"
        if part.is_constant:
            first, again = named(module, text)
            guarded = module.call(
                _guarded(node), node.span, value_of(module, again).text, part.text
            )
            return f"({again.text}.{method}({part.text}) if type({first}) is str else {guarded})"
    values = [value_of(module, argument).text for argument in arguments]
    parameters = function.parameters[: len(arguments)]
    is_proven = all(
        argument.type <= parameter.types
        for argument, parameter in zip(arguments, parameters, strict=True)
    )
    assert function.call is not None
    return module.call(function.call if is_proven else _guarded(node), node.span, *values)


def _guarded(node: ScalarCall) -> Callable[..., Value]:
    """Return a function that looks at its arguments first."""
    function = node.function
    call = function.call
    assert call is not None
    value_of_null = False if node.type <= BOOLEAN else None

    def guard(*arguments: Any) -> Value:
        for argument in arguments:
            if argument is None:
                return value_of_null
        for argument, parameter in zip(arguments, function.parameters, strict=False):
            if kind_of(argument) not in parameter.types:
                raise EvaluationError(
                    f"{function.name} expects {_listed(parameter.types)} for '{parameter.name}',"
                    f" but found {kind_of(argument)}"
                )
        return call(*arguments)

    return guard


def _listed(kinds: frozenset[Kind]) -> str:
    return " or ".join(kind.value for kind in Kind if kind in kinds)
