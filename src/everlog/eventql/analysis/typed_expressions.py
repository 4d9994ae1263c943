"""Typed expressions: an expression of the syntax tree with its names resolved and types known.

What operators, functions and clauses accept is checked here. Unmet is only what cannot be met,
whatever the values are: none of the kinds that an expression can have is accepted. Where NULL is
accepted but other kinds are possible too, NULL does not help: who compares a name with a number
made a mistake, even if the name may be missing.

What failed stays in the tree with any type, so that nothing else is reported because of it.
What is left to others: where aggregates may stand, and what they do to fields (`analyzer`).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, assert_never

from everlog.eventql.analysis.analyzed import (
    AggregateCall,
    AggregateValue,
    ArrayOf,
    BinaryOperation,
    Constant,
    FieldAccess,
    RecordOf,
    ScalarCall,
    TypeConversion,
    TypedExpression,
    UnaryOperation,
    operands,
)
from everlog.eventql.analysis.scope import Scope, type_path
from everlog.eventql.diagnostic import Reporter, Span, enumerate_kinds, join_alternatives, locate
from everlog.eventql.evaluation.catalogue import (
    AGGREGATES,
    FUNCTIONS,
    Aggregate,
    Parameter,
    Purity,
    ScalarFunction,
    parameters_of,
)
from everlog.eventql.language import syntax
from everlog.eventql.language.hints import FOREIGN_FUNCTIONS, FOREIGN_TYPES, nearest
from everlog.eventql.language.syntax import Name
from everlog.eventql.trees import fold, walk
from everlog.eventql.types import (
    ANY,
    ARRAY,
    BOOLEAN,
    CONVERSION_TARGETS,
    CONVERTIBLE,
    DATE,
    DATETIME,
    EVENT_FIELDS,
    FLOAT64,
    INT,
    JSON,
    NULL,
    NUMBER,
    ORDERED,
    RECORD,
    STRING,
    TIME,
    BinaryOperator,
    Kind,
    Type,
    UnaryOperator,
)

# Fields of events that are texts and mean no number or moment, as `id` does.
_TEXT_FIELDS: Final = {name for name, type_ in EVENT_FIELDS.items() if type_ >= STRING} - {"id"}

# What to convert to, the most likely first, where several kinds would be accepted.
_LIKELY_TARGETS: Final = (Kind.INT, Kind.FLOAT64, Kind.DATETIME, Kind.DATE, Kind.TIME, Kind.STRING)
_FORMS: Final = (
    (Kind.INT, re.compile(r"[+-]?[0-9]+")),
    (Kind.FLOAT64, re.compile(r"[+-]?[0-9]+\.[0-9]+")),
    (Kind.DATE, re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")),
    (Kind.DATETIME, re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T.*")),
    (Kind.TIME, re.compile(r"[0-9]{2}:[0-9]{2}:[0-9]{2}.*")),
)


# --- What is accepted


def is_dynamic(type_: Type) -> bool:
    """Tell whether an expression is judged value by value only, like all that is from `data`.

    It may be missing in each event that a query meets, so that even what JSON does not have, such
    as a DATE, is no reason to refuse the query.
    """
    return type_ >= JSON


def is_possible(type_: Type, accepted: Type) -> bool:
    """Tell whether an expression of a type can be what is accepted."""
    values = type_ - NULL
    return is_dynamic(type_) or not accepted.isdisjoint(values or NULL)


def expect(
    accepted: Type,
    expression: TypedExpression,
    *,
    what: str,
    reporter: Reporter,
    role: str = "",
    hint: str | None = None,
) -> bool:
    """Report an expression that cannot be what is accepted; tell whether it can.

    The message begins with `what` expects it, and `role` says as what. Without a hint one is made
    from the types.
    """
    if is_possible(expression.type, accepted):
        return True
    reporter.report(
        f"{what} expects {enumerate_kinds(accepted - NULL)}{role}, "
        f"but {reporter.quote(expression.span)} is {enumerate_kinds(expression.type)}",
        expression.span,
        hint=hint or suggest(accepted, expression, reporter),
    )
    return False


def suggest(accepted: Type, expression: TypedExpression, reporter: Reporter) -> str | None:
    """Return how to make of an expression what is accepted, if that is likely to be meant."""
    code = reporter.code(expression.span)
    if accepted == BOOLEAN:
        if isinstance(expression, Constant):
            return None
        return f"compare it with something: {code} == x"
    target = _likely_target(accepted, expression)
    if target is None:
        return None
    if _is_bare_operation(expression, reporter.text):
        return f"use ({code}) AS {target}"
    if target is Kind.DATETIME and _form(expression) is Kind.DATE:
        # A date alone is no RFC 3339.
        return f"use {code[:-1]}T00:00:00Z{code[-1:]} AS DATETIME"
    return f"use {code} AS {target}"


def _is_bare_operation(expression: TypedExpression, text: str) -> bool:
    """Tell whether an expression needs parentheses before AS; its place includes those it has."""
    match expression:
        case UnaryOperation():
            return not text.startswith("(", expression.span.start)
        case BinaryOperation(left=left):
            return expression.span.start == left.span.start
        case _:
            return False


def _likely_target(accepted: Type, expression: TypedExpression) -> Kind | None:
    if isinstance(expression, FieldAccess) and not _TEXT_FIELDS.isdisjoint(expression.path[-1:]):
        return None
    if isinstance(expression, Constant):
        # Of a literal it can be seen what it is meant to be.
        form = _form(expression)
        possible = [] if form is None else [form]
        if form is Kind.DATE:
            possible.append(Kind.DATETIME)
    else:
        convertible = {kind for each in expression.type - NULL for kind in CONVERTIBLE[each]}
        possible = [kind for kind in _LIKELY_TARGETS if kind in convertible]
    return next((kind for kind in possible if kind in accepted), None)


def _form(expression: TypedExpression) -> Kind | None:
    """Return what a string literal looks like, apart from a string."""
    if isinstance(expression, Constant) and isinstance(expression.value, str):
        for kind, form in _FORMS:
            if form.fullmatch(expression.value):
                return kind
    return None


# --- Operators


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
    joining = _hint_for_joining(left, right, reporter) if operator is BinaryOperator.ADD else None
    if not _expect_number(operator, left, reporter, joining):
        return ANY
    if not _expect_number(operator, right, reporter, hint or joining):
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


def _hint_for_joining(
    left: TypedExpression, right: TypedExpression, reporter: Reporter
) -> str | None:
    """Return a hint for `s + 'x'`, by which other languages join strings."""
    strings = [each for each in (left, right) if each.type - NULL == STRING]
    if len(strings) < 2 and all(_likely_target(NUMBER, each) for each in strings):
        return None
    parts = [right]
    while isinstance(left, BinaryOperation) and left.operator is BinaryOperator.ADD:
        parts.append(left.right)
        left = left.left
    texts = [_text_code(each, reporter) for each in (left, *reversed(parts))]
    return f"use CONCAT({', '.join(texts)})"


def _text_code(part: TypedExpression, reporter: Reporter) -> str:
    """Return what to write for a string of a part, if there is one of it."""
    code = reporter.code(part.span)
    is_convertible = any(Kind.STRING in CONVERTIBLE[kind] for kind in part.type - NULL)
    if Kind.STRING in part.type or not is_convertible:
        return code
    return f"({code}) AS STRING" if _is_bare_operation(part, reporter.text) else f"{code} AS STRING"


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


# --- Calls


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
    "LEFT": "use SUBSTRING(text, 0, length)",
    "DATE": "use x AS DATE",
    "TIME": "use x AS TIME",
    "DATETIME": "use x AS DATETIME",
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
            for parameter, argument in zip(
                parameters_of(function.parameters, len(arguments)), arguments, strict=True
            )
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
    if needed <= count == len(parameters_of(parameters, count)):
        return True
    numbers = [str(number) for number in range(needed, len(parameters) + 1)]
    noun = "argument" if numbers == ["1"] else "arguments"
    usage = ", ".join(parameter.name for parameter in parameters)
    if parameters and parameters[-1].is_repeated:
        numbers.append("more")
        usage += ", ..."
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


# --- Expressions


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
