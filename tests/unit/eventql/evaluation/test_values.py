from typing import Any

import pytest

from everlog.eventql.evaluation.values import INT_MAX, INT_MIN, from_json
from tests.support.eventql.unevaluable import check_unevaluable


@pytest.mark.parametrize(
    "decoded, value",
    [
        (INT_MAX, INT_MAX),
        (INT_MIN, INT_MIN),
        (INT_MAX + 1, 9223372036854775808.0),
        (INT_MIN - 1, -9223372036854775808.0),
        (10**30, 1e30),
        (1.5, 1.5),
        ("1", "1"),
        (True, True),
        (None, None),
        ([], []),
        ([1, [INT_MAX + 1], {"a": INT_MAX + 1}], [1, [2.0**63], {"a": 2.0**63}]),
        (
            {"a": True, "b": {"c": [10**30]}, "d": 10**30},
            {"a": True, "b": {"c": [1e30]}, "d": 1e30},
        ),
    ],
)
def test_integers_of_more_than_64_bits_are_floats_wherever_they_stand(
    decoded: Any, value: Any
) -> None:
    found = from_json(decoded)

    assert repr(found) == repr(value)


@pytest.mark.parametrize("decoded", [10**400, [10**400], {"a": -(10**400)}])
def test_a_number_beyond_every_kind_is_an_error(decoded: Any) -> None:
    check_unevaluable(lambda: from_json(decoded), "a number is beyond the range of FLOAT64")
