from dataclasses import replace

import pytest

from everlog.eventql.codegen.generated import Code, GeneratedModule
from everlog.eventql.diagnostic import Span
from everlog.eventql.evaluation.values import EvaluationError
from everlog.eventql.types import INT
from tests.support.eventql.executing import a_context

FIRST = Span(1, 2)
SECOND = Span(3, 4)


def fail(*_arguments: object) -> object:
    raise EvaluationError("no")


def succeed(*_arguments: object) -> object:
    return 1


def span_of_failure(module: GeneratedModule, name: str, *arguments: object) -> Span | None:
    program = module.finish()
    with pytest.raises(EvaluationError) as caught:
        program.bind(a_context())[name](*arguments)
    return program.span_of(caught.value.__traceback__)


@pytest.mark.parametrize(
    "outer, inner, expected", [(succeed, fail, SECOND), (fail, succeed, FIRST)]
)
def test_an_error_is_at_the_expression_that_failed(
    outer: object, inner: object, expected: Span
) -> None:
    module = GeneratedModule()
    assert callable(outer)
    assert callable(inner)
    within = module.call(inner, SECOND, "p0")
    code = Code(module.call(outer, FIRST, within, within), INT)

    assert span_of_failure(module, module.expression_function("p0", code), 1) == expected


def test_an_error_of_a_statement_is_known_too() -> None:
    module = GeneratedModule()
    line = module.failing_line("p0()", SECOND)
    other = module.failing_line("p1()", FIRST)

    assert (
        span_of_failure(module, module.function("p0, p1", [f" {line}", f" {other}"]), succeed, fail)
        == FIRST
    )


def test_the_innermost_function_tells_where_an_error_is() -> None:
    module = GeneratedModule()
    inner = module.expression_function("p0", Code(module.call(fail, SECOND), INT))
    outer = module.expression_function("p0", Code(f"{inner}(p0)", INT))

    assert span_of_failure(module, outer, 1) == SECOND


def test_an_error_elsewhere_has_no_place() -> None:
    program = GeneratedModule().finish()
    with pytest.raises(EvaluationError) as caught:
        fail()

    assert program.span_of(caught.value.__traceback__) is None


def test_the_same_object_has_the_same_name() -> None:
    module = GeneratedModule()
    value = "a text"

    assert module.constant(value) == module.constant(value)
    assert module.constant(value) != module.constant("another")
    assert module.temporary() != module.temporary()


def test_what_is_fixed_for_an_execution_is_bound_for_each() -> None:
    module = GeneratedModule()
    now = module.fixed(lambda context, _: context.now)
    later = module.fixed(lambda _, known: known[now] + 20)
    name = module.expression_function("", Code(f"[{now}, {later}]", INT))
    program = module.finish()
    first, second = (program.bind(replace(a_context(), now=moment))[name] for moment in (100, 200))

    assert first() == [100, 120]
    assert second() == [200, 220]
    assert first() == [100, 120]


def test_functions_that_depend_on_constants_alone_are_defined_once() -> None:
    module = GeneratedModule()
    name = module.expression_function("", Code(module.constant(20), INT))
    program = module.finish()

    assert program.bind(a_context())[name] is program.bind(a_context())[name]


def test_generated_code_can_call_nothing_but_what_it_needs() -> None:
    module = GeneratedModule()
    name = module.expression_function("", Code("open", INT))

    with pytest.raises(NameError):
        module.finish().bind(a_context())[name]()
