"""Parts of generated code that many expressions need.

A value may stand in code in forms that cost less than the value itself: see `Code`. `value_of`
makes the value of them; who knows better what to do with a form asks for it before.
"""

from collections.abc import Callable
from typing import Any, Final

from everlog.eventql.codegen.generated import Code, GeneratedModule
from everlog.eventql.diagnostic import Span
from everlog.eventql.evaluation.comparison import kind_of
from everlog.eventql.evaluation.datetimes import parse_event_time
from everlog.eventql.evaluation.values import EvaluationError, Value, from_json
from everlog.eventql.types import BOOLEAN, Kind

_CONTAINERS: Final = frozenset({Kind.ARRAY, Kind.RECORD})


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
    expect = module.call(_boolean_of(what), span, again.text)
    return f"({again.text} if {first} is True or {again.text} is False else {expect})"


def _boolean_of(what: str) -> Callable[[Any], Any]:
    def refuse(value: Value) -> Value:
        raise EvaluationError(f"{what} expects a BOOLEAN, but found {kind_of(value)}")

    return refuse
