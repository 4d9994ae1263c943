"""Calls: whether a function exists and can have such arguments, and the type of its result."""

from collections.abc import Sequence
from typing import Final

from everlog.eventql.analysis.analyzed import AggregateCall, ScalarCall, TypedExpression
from everlog.eventql.analysis.expectations import expect
from everlog.eventql.analysis.names import FOREIGN_FUNCTIONS, nearest
from everlog.eventql.analysis.reporting import Reporter, join_alternatives
from everlog.eventql.diagnostic import Span
from everlog.eventql.evaluation.catalogue import AGGREGATES, FUNCTIONS
from everlog.eventql.evaluation.functions import Aggregate, Parameter, Purity, ScalarFunction
from everlog.eventql.language.syntax import Name
from everlog.eventql.types import ANY, BOOLEAN, NULL, Type

_COUNT_HINT: Final = "COUNT() counts rows, COUNT(condition) those where it is TRUE"

# More than for other names: there are many functions, and their names are short. `FOO` has 0.75
# with `FLOOR`, `MEAN` 0.8 with `MEDIAN`.
_FUNCTION_LIKENESS_MIN: Final = 0.78

# What others have a function for, and what EventQL has instead.
_INSTEAD: Final[dict[str, str]] = {
    "COALESCE": "use IF(x == null, y, x)",
    "IFNULL": "use IF(x == null, y, x)",
    "NULLIF": "use IF(x == y, null, x)",
    "CAST": "use x AS INT, x AS STRING, ...",
    "CONVERT": "use x AS INT, x AS STRING, ...",
    "CONCAT": "there is no function that joins strings",
    "LEFT": "use SUBSTRING(text, 0, length)",
    "DATE": "use x AS DATE",
    "TIME": "use x AS TIME",
    "DATETIME": "use x AS DATETIME",
    "MOD": "there is no function for the remainder",
}


def aggregate_of(name: Name) -> Aggregate | None:
    """Return the aggregate that a name calls, if it calls one."""
    return AGGREGATES.get(name.text.upper())


def function_of(name: Name, reporter: Reporter) -> ScalarFunction | None:
    """Return the function that a name calls; report that there is none."""
    function = FUNCTIONS.get(name.text.upper())
    if function is None:
        reporter.report(
            f"unknown function {reporter.quote(name.span)}",
            name.span,
            hint=lambda: _hint_for_function(name.text),
        )
    return function


def _hint_for_function(name: str) -> str | None:
    if name.upper() in _INSTEAD:
        return _INSTEAD[name.upper()]
    found = nearest(
        name,
        [*FUNCTIONS, *AGGREGATES],
        foreign=FOREIGN_FUNCTIONS,
        likeness_min=_FUNCTION_LIKENESS_MIN,
    )
    return None if found is None else f"did you mean '{found}'?"


def type_scalar_call(
    function: ScalarFunction, arguments: Sequence[TypedExpression], span: Span, reporter: Reporter
) -> ScalarCall:
    """Return a call of a function; report what is impossible about it."""
    type_ = ANY
    if _has_arity(function.name, function.parameters, len(arguments), span, reporter):
        is_lazy = function.purity is Purity.LAZY
        are_possible = [
            expect(
                # Other functions are not called with NULL, see the text of `functions`.
                parameter.types if is_lazy else parameter.types | NULL,
                argument,
                what=function.name,
                role=f" as '{parameter.name}'",
                reporter=reporter,
            )
            # Parameters may be more than arguments: the last ones may be optional.
            for parameter, argument in zip(function.parameters, arguments, strict=False)
        ]
        if all(are_possible):
            type_ = _type_of_result(function, tuple(argument.type for argument in arguments))
    return ScalarCall(function, tuple(arguments), type_, span)


def check_aggregate_call(
    aggregate: Aggregate, arguments: Sequence[TypedExpression], span: Span, reporter: Reporter
) -> tuple[AggregateCall, Type]:
    """Return a call of an aggregate and the type of its value; report what is impossible."""
    parameter = aggregate.parameter
    call = AggregateCall(aggregate, arguments[0] if arguments else None, span)
    if not _has_arity(aggregate.name, (parameter,), len(arguments), span, reporter):
        return call, ANY
    if call.argument is None:
        return call, aggregate.result(frozenset())
    hint = _COUNT_HINT if parameter.is_optional else None
    # Rows where the argument is NULL are left out.
    accepted = parameter.types | NULL
    if expect(accepted, call.argument, what=aggregate.name, reporter=reporter, hint=hint):
        return call, aggregate.result(call.argument.type & parameter.types)
    return call, ANY


def _has_arity(
    name: str, parameters: tuple[Parameter, ...], count: int, span: Span, reporter: Reporter
) -> bool:
    needed = sum(not parameter.is_optional for parameter in parameters)
    if needed <= count <= len(parameters):
        return True
    numbers = [str(number) for number in range(needed, len(parameters) + 1)]
    noun = "argument" if numbers == ["1"] else "arguments"
    usage = ", ".join(parameter.name for parameter in parameters)
    reporter.report(
        f"{name} expects {join_alternatives(numbers)} {noun}, but found {count}",
        span,
        hint=f"use {name}({usage})",
    )
    return False


def _type_of_result(function: ScalarFunction, arguments: tuple[Type, ...]) -> Type:
    if function.purity is Purity.LAZY:
        return function.result(arguments)
    result = function.result(tuple(argument - NULL for argument in arguments))
    if result == BOOLEAN:
        return result
    if NULL in arguments:
        return NULL
    return result | NULL if any(argument >= NULL for argument in arguments) else result
