"""The reference interpreter judges everything that there is in the language.

Kinds of nodes, operators, functions and conversions are enumerated from the product: whoever adds
one has to teach it to the interpreter, and write a case that it answers.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any, get_args

import pytest

from everlog.eventql.analysis.analyzed import TypedExpression
from everlog.eventql.analysis.analyzed import operands as operands_of_typed
from everlog.eventql.codegen.expression_code import CODE_OF
from everlog.eventql.evaluation.catalogue import AGGREGATES, FUNCTIONS
from everlog.eventql.language import syntax
from everlog.eventql.language.parser import parse
from everlog.eventql.planning.plan import Plan
from everlog.eventql.query import prepare
from everlog.eventql.trees import walk
from everlog.eventql.types import CONVERSION_TARGETS, BinaryOperator, UnaryOperator
from tests.support.eventql import reference, reference_expressions, reference_functions
from tests.support.eventql.answers import answer_by_reference
from tests.support.eventql.cases import Case, file_cases
from tests.support.eventql.differential import make_trial, make_wild_trial, plans_within

# What the reference interpreter knows of without a row in its table.
UNTABLED_FUNCTIONS = frozenset({"IF", "NOW", "RAND"})

SYNTAX_KINDS = frozenset(get_args(syntax.Expression))
TYPED_KINDS = frozenset(get_args(TypedExpression))


def evaluated_cases() -> list[Case]:
    return [case for case in file_cases() if case.failure is None or not case.failure.is_static]


def parts_of(node: syntax.Expression) -> Iterator[object]:
    """Yield what has a meaning of its own about a node: its kind, and which one of them it is."""
    yield type(node)
    match node:
        case syntax.Unary(operator=operator) | syntax.Binary(operator=operator):
            yield operator
        case syntax.Conversion(type=target):
            yield f"AS {target.text.upper()}"
        case syntax.Call(function=function):
            yield f"{function.text.upper()}()"


ALL_PARTS = frozenset(
    {
        *SYNTAX_KINDS,
        *UnaryOperator,
        *BinaryOperator,
        *(f"AS {kind}" for kind in CONVERSION_TARGETS),
        *(f"{name}()" for name in (*FUNCTIONS, *AGGREGATES)),
    }
)


def test_the_reference_interpreter_has_evaluated_every_part_of_the_language(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: Counter[object] = Counter()
    evaluate_parts = reference_expressions.evaluate_parts
    context_of = reference.context_of

    def watch_parts(expression: syntax.Expression, context: Any) -> Any:
        value = evaluate_parts(expression, context)
        # It has a value: otherwise there is an error instead.
        seen.update(parts_of(expression))
        return value

    def watch_aggregates(group: Any, clause: Any, aggregates: Any, world: Any) -> Any:
        context = context_of(group, clause, aggregates, world)
        seen.update(part for call in aggregates.values() for part in parts_of(call))
        return context

    monkeypatch.setattr(reference_expressions, "evaluate_parts", watch_parts)
    monkeypatch.setattr(reference, "context_of", watch_aggregates)
    for case in evaluated_cases():
        answer_by_reference(case.query, case.corpus)

    # RAND has no value that a case could expect.
    assert ALL_PARTS - {"RAND()"} - set(seen) == set()


def test_the_reference_interpreter_knows_every_function_and_no_other() -> None:
    assert set(reference_functions.FUNCTIONS) | UNTABLED_FUNCTIONS == set(FUNCTIONS)
    assert set(reference_functions.AGGREGATES) == set(AGGREGATES)


def test_every_kind_of_typed_node_is_in_a_plan_that_is_compared_with_the_interpreter() -> None:
    seen = {
        type(node)
        for case in evaluated_cases()
        for plan in plans_within(prepare(case.query))
        for node in nodes_of(plan)
    }

    assert seen == TYPED_KINDS


def nodes_of(plan: Plan) -> Iterator[TypedExpression]:
    query = plan.query
    ordering = None if query.ordering is None else query.ordering.key
    arguments = (call.argument for call in query.aggregates)
    roots = (query.where, query.group_key, query.having, ordering, query.projection, *arguments)
    for root in roots:
        if root is not None:
            yield from walk(root, operands_of_typed)


def test_every_kind_of_typed_node_has_code() -> None:
    assert frozenset(CODE_OF) == TYPED_KINDS


def test_random_queries_have_every_kind_of_node_and_every_operator() -> None:
    wanted = {*SYNTAX_KINDS, *UnaryOperator, *BinaryOperator}
    seen: set[object] = set()

    for seed in range(1_000):
        make = make_trial if seed % 2 else make_wild_trial
        text = make(seed).text
        seen |= {part for root in roots_of(parse(text).query) for part in all_parts(root)}
        if wanted <= seen:
            break

    assert wanted - seen == set()


def all_parts(root: syntax.Expression) -> Iterator[object]:
    return (part for node in walk(root, syntax.operands) for part in parts_of(node))


def roots_of(query: syntax.Query) -> Iterator[syntax.Expression]:
    """Yield the expressions of a query and of its subqueries."""
    yield query.projection
    group, order = query.group, query.order
    optional = (
        query.where,
        None if group is None else group.key,
        None if group is None else group.having,
        None if order is None else order.key,
        query.skip,
        query.top,
    )
    yield from (each for each in optional if each is not None)
    for source in query.sources:
        if isinstance(source.source, syntax.Query):
            yield from roots_of(source.source)
