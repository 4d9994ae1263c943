import pytest

from everlog.eventql.codegen.generated import Code, GeneratedModule
from everlog.eventql.diagnostic import Span
from everlog.eventql.evaluation.values import EvaluationError
from everlog.eventql.types import INT

FIRST = Span(1, 2)
SECOND = Span(3, 4)


def fail(*_arguments: object) -> object:
    raise EvaluationError("no")


def succeed(*_arguments: object) -> object:
    return 1


def span_of_failure(module: GeneratedModule, name: str, *arguments: object) -> Span | None:
    module.finish()
    with pytest.raises(EvaluationError) as caught:
        module[name](*arguments)
    return module.span_of(caught.value.__traceback__)


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
    module = GeneratedModule()
    module.finish()
    with pytest.raises(EvaluationError) as caught:
        fail()

    assert module.span_of(caught.value.__traceback__) is None


def test_the_same_object_has_the_same_name() -> None:
    module = GeneratedModule()
    value = "a text"

    assert module.constant(value) == module.constant(value)
    assert module.constant(value) != module.constant("another")
    assert module.temporary() != module.temporary()


def test_constants_can_be_evaluated_before_the_rest_exists() -> None:
    module = GeneratedModule()
    number = module.constant(20)

    assert module.evaluate(Code(f"\n{number} + {number}", INT)) == 40


def test_generated_code_can_call_nothing_but_what_it_needs() -> None:
    module = GeneratedModule()

    with pytest.raises(NameError):
        module.evaluate(Code("open", INT))
