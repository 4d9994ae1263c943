import json
import pickle
from typing import Any, assert_never

import pytest

from everlog.eventql.evaluation.catalogue import (
    AGGREGATES,
    FUNCTIONS,
    Aggregate,
    Parameter,
    Purity,
    ScalarFunction,
    Section,
    parameters_of,
)
from everlog.eventql.evaluation.conversion import convert, render
from everlog.eventql.evaluation.operators import ARITHMETIC, ORDER_OPERATORS, SIGNS, equals, kind_of
from everlog.eventql.evaluation.values import Value, from_json
from everlog.eventql.language.parser import parse
from everlog.eventql.language.syntax import (
    Array,
    Binary,
    Call,
    Conversion,
    Expression,
    Literal,
    Path,
    Record,
    Unary,
)
from everlog.eventql.types import (
    ANY,
    BOOLEAN,
    FLOAT64,
    INT,
    NULL,
    NUMBER,
    STRING,
    BinaryOperator,
    Kind,
)


def evaluate(expression: Expression) -> Value:
    """Evaluate what examples consist of, with the product's functions."""
    match expression:
        case Literal(value):
            return value
        case Unary(operator, operand):
            return SIGNS[operator](evaluate(operand))
        case Binary(BinaryOperator.EQUAL, left, right):
            return equals(evaluate(left), evaluate(right))
        case Binary(operator, left, right):
            function = ARITHMETIC.get(operator) or ORDER_OPERATORS[operator]
            return function(evaluate(left), evaluate(right))
        case Conversion(operand, type_):
            return convert(evaluate(operand), Kind(type_.text))
        case Call(name, arguments) if name.text == "IF":
            condition, first, second = arguments
            return evaluate(first if evaluate(condition) else second)
        case Call(name, arguments):
            return call(FUNCTIONS[name.text], [evaluate(argument) for argument in arguments])
        case Path() | Array() | Record():
            raise AssertionError(f"no example of the catalogue has {expression}")
        case _:
            assert_never(expression)


def call(function: ScalarFunction, arguments: list[Value]) -> Value:
    kinds = [kind_of(argument) for argument in arguments]
    result_type = function.result(tuple(frozenset({kind}) - NULL for kind in kinds))
    if Kind.NULL in kinds:
        return False if result_type == BOOLEAN else None
    for kind, parameter in zip(kinds, parameters_of(function.parameters, len(kinds)), strict=True):
        assert kind in parameter.types
    assert function.call is not None
    result = function.call(*arguments)
    assert kind_of(result) in result_type
    return result


@pytest.mark.parametrize(
    "text, value", [example for function in FUNCTIONS.values() for example in function.examples]
)
def test_each_example_of_a_function_has_the_value_that_it_names(text: str, value: str) -> None:
    expression = parse(f"FROM e IN events PROJECT INTO {text}").query.projection

    assert render(evaluate(expression)).decode() == value


@pytest.mark.parametrize(
    "aggregate, values, result",
    [(aggregate, *example) for aggregate in AGGREGATES.values() for example in aggregate.examples],
)
def test_each_example_of_an_aggregate_has_the_result_that_it_names(
    aggregate: Aggregate, values: str, result: str
) -> None:
    added = [value for value in from_json(json.loads(values)) if value is not None]
    assert aggregate.parameter is not None
    assert {kind_of(value) for value in added} <= aggregate.parameter.types
    accumulator = aggregate.start()
    for value in added:
        accumulator.add(value)

    found = accumulator.result()

    assert render(found).decode() == result
    assert kind_of(found) in aggregate.result(frozenset(map(kind_of, added)))


def test_there_are_the_functions_of_the_language() -> None:
    assert {
        section: " ".join(name for name, entry in FUNCTIONS.items() if entry.section is section)
        for section in Section
    } == {
        Section.MATH: "ABS CEIL FLOOR ROUND SIN COS TAN EXP POW MOD SQRT RAND PI",
        Section.STRING: (
            "LOWER UPPER TRIM LTRIM RTRIM LEN INSTR SUBSTRING REPLACE CONCAT STARTSWITH ENDSWITH"
        ),
        Section.DATE_AND_TIME: "NOW YEAR MONTH DAY WEEKDAY HOUR MINUTE SECOND",
        Section.CONDITIONAL: "IF",
        Section.AGGREGATE: "",
    }
    assert " ".join(AGGREGATES) == (
        "COUNT SUM AVG MIN MAX MEDIAN STDDEV VARIANCE UNIQUE FIRST LAST"
    )
    assert [*FUNCTIONS] == [function.name for function in FUNCTIONS.values()]
    assert [*AGGREGATES] == [aggregate.name for aggregate in AGGREGATES.values()]


@pytest.mark.parametrize("entry", [*FUNCTIONS.values(), *AGGREGATES.values()])
def test_each_entry_is_explained(entry: ScalarFunction | Aggregate) -> None:
    assert entry.summary.endswith(".")
    is_repeatable = isinstance(entry, Aggregate) or entry.purity in {Purity.PURE, Purity.LAZY}
    assert bool(entry.examples) is is_repeatable


@pytest.mark.parametrize("function", FUNCTIONS.values())
def test_the_executor_evaluates_what_does_not_depend_on_arguments_alone(
    function: ScalarFunction,
) -> None:
    assert (function.call is not None) is (function.purity is Purity.PURE)


@pytest.mark.parametrize("function", FUNCTIONS.values())
def test_optional_parameters_come_last_and_null_is_passed_to_nothing_but_if(
    function: ScalarFunction,
) -> None:
    are_optional = [parameter.is_optional for parameter in function.parameters]
    are_repeated = [parameter.is_repeated for parameter in function.parameters]

    assert not any(are_repeated[:-1])
    assert not (any(are_optional) and any(are_repeated))
    assert are_optional == sorted(are_optional)
    assert all(
        parameter.types.isdisjoint(NULL) or function.purity is Purity.LAZY
        for parameter in function.parameters
    )


def test_types_of_results_follow_from_those_of_arguments() -> None:
    assert FUNCTIONS["ABS"].result((INT,)) == INT
    assert FUNCTIONS["ROUND"].result((ANY,)) == NUMBER
    assert FUNCTIONS["SQRT"].result((INT,)) == FLOAT64
    assert FUNCTIONS["MOD"].result((INT, INT)) == INT
    assert FUNCTIONS["MOD"].result((INT, FLOAT64)) == FLOAT64
    assert FUNCTIONS["MOD"].result((NUMBER, INT)) == NUMBER
    assert FUNCTIONS["CONCAT"].result((STRING, STRING, STRING)) == STRING
    assert FUNCTIONS["IF"].result((BOOLEAN, INT, STRING | NULL)) == INT | STRING | NULL
    assert AGGREGATES["COUNT"].result(frozenset()) == INT
    assert AGGREGATES["SUM"].result(INT) == INT
    # The sum of no FLOAT64 at all is the INT 0.
    assert AGGREGATES["SUM"].result(FLOAT64) == NUMBER
    assert AGGREGATES["AVG"].result(INT) == FLOAT64 | NULL
    assert AGGREGATES["MIN"].result(STRING) == STRING | NULL
    assert AGGREGATES["UNIQUE"].result(INT) == INT | NULL


def test_what_is_chosen_by_place_depends_on_the_order_of_rows() -> None:
    chosen = [name for name, entry in AGGREGATES.items() if entry.is_by_place]

    assert chosen == ["UNIQUE", "FIRST", "LAST"]


def test_only_the_median_holds_on_to_all_values() -> None:
    assert [name for name, entry in AGGREGATES.items() if entry.holds_values] == ["MEDIAN"]


@pytest.mark.parametrize("entry", [*FUNCTIONS.values(), *AGGREGATES.values()])
def test_entries_can_go_to_another_process(entry: Any) -> None:
    copy = pickle.loads(pickle.dumps(entry))

    assert copy.name == entry.name
    if isinstance(entry, Aggregate):
        assert copy.start().result() == entry.start().result()
        assert copy.result(INT) == entry.result(INT)
        assert isinstance(copy.parameter, Parameter)
    else:
        types = tuple(parameter.types for parameter in entry.parameters)
        assert copy.result(types) == entry.result(types)
