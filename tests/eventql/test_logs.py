"""Queries over real logs: indexes and files select what the scans of a plan mean."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from everlog.eventql.planning.plan import Log
from tests.support.eventql.answers import answer_by_product, find_differences
from tests.support.eventql.cases import Case, file_cases, fixture_cases
from tests.support.eventql.comparing import are_same
from tests.support.eventql.corpora import CORPORA
from tests.support.eventql.differential import make_trial
from tests.support.eventql.stored_corpora import STORES, Store

CASES = [
    case
    for case in (*fixture_cases(), *file_cases())
    if case.failure is None or not case.failure.is_static
]
TRIAL_COUNT = 150


@pytest.fixture(scope="module", params=STORES)
def logs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Log]]:
    opened: dict[str, Log] = {}
    with ExitStack() as stack:
        for name, corpus in CORPORA.items():
            store = STORES[request.param]
            opened[name] = stack.enter_context(store(corpus, tmp_path_factory.mktemp("log")))
        yield opened


def test_every_case_holds_over_a_real_log(logs: dict[str, Log]) -> None:
    differences = [
        difference
        for case in CASES
        for difference in find_differences_over(logs[case.corpus_name], case)
    ]

    assert differences == []


def find_differences_over(log: Log, case: Case) -> Iterator[str]:
    answer = answer_by_product(case.query, case.corpus, log=log)
    for difference in find_differences(case, answer):
        yield f"{case.name}: {difference}"


@pytest.mark.slow
@pytest.mark.parametrize("store", STORES.values(), ids=STORES)
def test_random_queries_have_the_same_rows_over_a_real_log(store: Store, tmp_path: Path) -> None:
    for seed in range(TRIAL_COUNT):
        trial = make_trial(seed)
        directory = tmp_path / str(seed)
        directory.mkdir()
        with store(trial.corpus, directory) as log:
            found = answer_by_product(trial.text, trial.corpus, log=log)
        expected = answer_by_product(trial.text, trial.corpus)

        assert are_same(found.rows, expected.rows), trial
        assert (found.message, found.event_id) == (expected.message, expected.event_id), trial
