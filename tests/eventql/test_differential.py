"""Random queries over random logs: whatever the planner decides, the rows are the reference's.

`EVENTQL_QUERIES` says how many, `EVENTQL_SEED` from which seed on: `make test-all` asks for
100,000. Each seed is a log and a query, the same ones in every run.

That cases and trials are worth something is shown with planted bugs, in the parser and in the
reference interpreter: they are noticed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, NamedTuple

import pytest

from everlog.eventql.analysis.analyzed import TypedExpression
from everlog.eventql.language import parser
from everlog.eventql.planning import planner, pushdown
from everlog.eventql.planning.plan import EventScan
from everlog.eventql.types import BinaryOperator
from tests.support.eventql import (
    reference,
    reference_expressions,
    reference_functions,
)
from tests.support.eventql.answers import answer_by_reference, find_differences
from tests.support.eventql.cases import Case, file_cases
from tests.support.eventql.differential import (
    check_trials,
    find_wrong_trials,
    make_trial,
    make_wild_trial,
    parts_of_run,
)
from tests.support.eventql.reference_values import is_equal


@pytest.mark.slow
@pytest.mark.parametrize("seeds", parts_of_run(), ids=lambda seeds: f"from {seeds.start}")
def test_plans_give_the_rows_of_the_reference_interpreter(seeds: range) -> None:
    outcomes = check_trials(map(make_trial, seeds))

    # The trials are worth their time: most queries mean something, and some of them fail.
    assert outcomes["malformed"] < len(seeds) * 0.05
    assert outcomes["rows"] > len(seeds) * 0.3
    assert outcomes["fails"] > 0


class Bug(NamedTuple):
    """A mistake: what is replaced, and by what."""

    owner: Any
    name: str
    replacement: Any


def sort_stably_descending(order: Any, contexts: Iterator[Any]) -> Iterator[Any]:
    keyed = [(reference.evaluate(order.key, context), context) for context in contexts]
    keyed.sort(key=lambda pair: reference.sort_key(pair[0]), reverse=order.is_descending)
    return iter([context for _, context in keyed])


def compare_null_as_least(operator: BinaryOperator, left: Any, right: Any) -> bool:
    if left is None or right is None:
        order = (left is not None) - (right is not None)
        return bool(reference_expressions.order_holds(operator, order, 0))
    return order_holds(operator, left, right)


def take_null_for_false(expression: Any, context: Any) -> bool:
    return evaluate(expression, context) is True


def cut_top_first(results: Iterator[Any], *, skip: int, top: int | None) -> Iterator[Any]:
    return iter(list(results)[:top][skip:])


def tell_one_from_one(keys: list[Any], key: Any) -> int | None:
    return next((i for i, k in enumerate(keys) if is_equal(k, key) and type(k) is type(key)), None)


def read_missing_field_of_text(value: Any, path: Any) -> Any:
    for name in path:
        value = value.get(name, "") if isinstance(value, dict) else None
    return value


def count_all(values: list[Any]) -> int:
    return sum(value is not None for value in values)


order_holds = reference_expressions.order_holds
evaluate = reference_expressions.evaluate


def bound_too_tightly(
    conditions: Any, source: int, sources: Any
) -> tuple[EventScan, Sequence[TypedExpression]]:
    scan, said = bounds_of(conditions, source, sources)
    stop = None if scan.id_stop is None else scan.id_stop - 1
    return replace(scan, id_stop=stop), said


def drop_all_conditions(
    conditions: Any, source: int, sources: Any
) -> tuple[EventScan, Sequence[TypedExpression]]:
    scan, _ = bounds_of(conditions, source, sources)
    return scan, conditions


bounds_of = planner.bounds_of


def take_the_last(values: list[Any]) -> Any:
    return values[-1] if values else None


def with_remainder_of_python() -> reference_functions.Function:
    right = reference_functions.FUNCTIONS["MOD"]
    return replace(right, compute=lambda number, divisor: number % (divisor or 1))


PLANNER_BUGS = {
    "the last event of a range of ids is not read": Bug(planner, "bounds_of", bound_too_tightly),
    "what a scan does not say is not judged": Bug(planner, "bounds_of", drop_all_conditions),
    "any order is that of the log": Bug(planner, "_is_order_irrelevant", lambda *_: True),
    "no condition can fail": Bug(pushdown, "is_condition_safe", lambda *_: True),
}

BUGS = {
    "OR binds more tightly than AND": Bug(
        parser, "CONNECTIVES", tuple(reversed(parser.CONNECTIVES))
    ),
    "DESC keeps the order of ties": Bug(reference, "ordered", sort_stably_descending),
    "NULL is less than anything": Bug(reference_expressions, "order_holds", compare_null_as_least),
    "TRUE is 1": Bug(reference_expressions, "is_equal", lambda left, right: left == right),
    "WHERE takes NULL for FALSE": Bug(reference, "condition", take_null_for_false),
    "TOP comes before SKIP": Bug(reference, "cut", cut_top_first),
    "1 and 1.0 are distinct": Bug(reference, "index_of", tell_one_from_one),
    "a missing field is an empty text": Bug(
        reference_expressions, "field_of", read_missing_field_of_text
    ),
    "COUNT counts FALSE": Bug(reference_functions.AGGREGATES, "COUNT", count_all),
    "LAST is FIRST": Bug(reference_functions.AGGREGATES, "LAST", reference_functions.first),
    "LAST takes NULL": Bug(reference_functions.AGGREGATES, "LAST", take_the_last),
    "MOD has the sign of the divisor": Bug(
        reference_functions.FUNCTIONS, "MOD", with_remainder_of_python()
    ),
}


def plant(monkeypatch: pytest.MonkeyPatch, bug: Bug) -> None:
    if isinstance(bug.owner, dict):
        monkeypatch.setitem(bug.owner, bug.name, bug.replacement)
    else:
        monkeypatch.setattr(bug.owner, bug.name, bug.replacement)


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_a_planted_bug_is_noticed_by_a_case(bug: Bug, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = [case for case in file_cases() if case.failure is None or not case.failure.is_static]
    assert not any(map(is_noticed_by, cases))

    plant(monkeypatch, bug)

    assert any(map(is_noticed_by, cases))


def is_noticed_by(case: Case) -> bool:
    return bool(find_differences(case, answer_by_reference(case.query, case.corpus)))


# The parser is one for all, and queries made to mean something seldom compare TRUE with 1.
FOUND_AT_RANDOM = (
    "DESC keeps the order of ties",
    "NULL is less than anything",
    "TOP comes before SKIP",
    "a missing field is an empty text",
    "LAST is FIRST",
    "LAST takes NULL",
)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*FOUND_AT_RANDOM, *PLANNER_BUGS])
def test_a_planted_bug_is_noticed_by_random_queries(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch, {**BUGS, **PLANNER_BUGS}[name])

    trials = chain(map(make_trial, range(500)), map(make_wild_trial, range(500)))
    _, wrong = find_wrong_trials(trials, most=1)

    assert len(wrong) == 1
