"""Expectations: what an operator, a function or a clause accepts, and the hint if it does not.

Unmet is only what cannot be met, whatever the values are: none of the kinds that an expression
can have is accepted. Where NULL is accepted but other kinds are possible too, NULL does not help:
who compares a name with a number made a mistake, even if the name may be missing.
"""

import re
from typing import Final

from everlog.eventql.analysis.analyzed import (
    BinaryOperation,
    Constant,
    TypedExpression,
    UnaryOperation,
)
from everlog.eventql.analysis.reporting import Reporter, enumerate_kinds
from everlog.eventql.types import BOOLEAN, CONVERTIBLE, JSON, NULL, Kind, Type

# What to convert to, the most likely first, where several kinds would be accepted.
_TARGETS: Final = (Kind.INT, Kind.FLOAT64, Kind.DATETIME, Kind.DATE, Kind.TIME, Kind.STRING)
_FORMS: Final = (
    (Kind.INT, re.compile(r"[+-]?[0-9]+")),
    (Kind.FLOAT64, re.compile(r"[+-]?[0-9]+\.[0-9]+")),
    (Kind.DATE, re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")),
    (Kind.DATETIME, re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T.*")),
    (Kind.TIME, re.compile(r"[0-9]{2}:[0-9]{2}:[0-9]{2}.*")),
)


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
    if isinstance(expression, Constant):
        # Of a literal it can be seen what it is meant to be.
        form = _form(expression)
        possible = [] if form is None else [form]
        if form is Kind.DATE:
            possible.append(Kind.DATETIME)
    else:
        convertible = {kind for each in expression.type - NULL for kind in CONVERTIBLE[each]}
        possible = [kind for kind in _TARGETS if kind in convertible]
    return next((kind for kind in possible if kind in accepted), None)


def _form(expression: TypedExpression) -> Kind | None:
    """Return what a string literal looks like, apart from a string."""
    if isinstance(expression, Constant) and isinstance(expression.value, str):
        for kind, form in _FORMS:
            if form.fullmatch(expression.value):
                return kind
    return None
