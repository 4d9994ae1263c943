"""Every case, by the reference interpreter and by the product.

Cases are data: `tests/eventql/cases/*.eql` by topic, and the collected queries of clients and
guides in `tests/fixtures/eventql-cases.ndjson`.
"""

from collections.abc import Callable

import pytest

from tests.support.eventql.answers import Answer, answer_by_reference, find_differences
from tests.support.eventql.cases import CASE_DIRECTORY, FIXTURE, Case, file_cases, fixture_cases
from tests.support.eventql.corpora import Corpus

CASES = [*fixture_cases(), *file_cases()]

# The reference does not judge queries, it only evaluates those that may be.
EVALUATED_CASES = [case for case in CASES if case.failure is None or not case.failure.is_static]


def check_case(case: Case, answer_of: Callable[[str, Corpus], Answer]) -> None:
    differences = find_differences(case, answer_of(case.query, case.corpus))

    if differences:
        pytest.fail("\n".join([case.query, *differences]), pytrace=False)


@pytest.mark.parametrize("case", EVALUATED_CASES, ids=lambda case: case.name)
def test_the_reference_interpreter_answers_as_the_case_says(case: Case) -> None:
    check_case(case, answer_by_reference)


def test_no_file_of_cases_is_left_out() -> None:
    files = {case.name.partition(":")[0] for case in CASES}

    assert files == {FIXTURE.name, *(path.name for path in CASE_DIRECTORY.iterdir())}
