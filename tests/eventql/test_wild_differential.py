"""Random queries over values of any kind: most are refused, the others have the reference's rows.

In a file of their own, so that they run beside those of `test_differential`, which says how many.
"""

import pytest

from tests.support.eventql.differential import check_trials, make_wild_trial, parts_of_run


@pytest.mark.slow
@pytest.mark.parametrize("seeds", parts_of_run(), ids=lambda seeds: f"from {seeds.start}")
def test_values_of_any_kind_give_the_rows_of_the_reference_interpreter(seeds: range) -> None:
    # Most are refused, which takes no time.
    outcomes = check_trials(map(make_wild_trial, range(2 * seeds.start, 2 * seeds.stop)))

    assert outcomes["rows"] > len(seeds) * 0.2
    assert outcomes["fails"] > 0
