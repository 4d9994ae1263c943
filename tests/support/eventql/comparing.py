"""Comparing rows: as JSON values, strictly, and with the last digits of a FLOAT64 left free.

`1` and `true` differ here, and so do records whose keys stand in different orders; `2` and `2.0`
are the same JSON number.
"""

import math
from collections.abc import Sequence
from typing import Any

from tests.support.eventql.reference_values import INT_MAX, INT_MIN

# Sums and means may be rounded differently, and no more than this.
RELATIVE_TOLERANCE = 1e-12


def is_same(found: Any, expected: Any) -> bool:
    """Tell whether two decoded JSON values are the same."""
    if isinstance(found, bool) or isinstance(expected, bool):
        return found is expected
    if isinstance(found, int | float) and isinstance(expected, int | float):
        return is_same_number(found, expected)
    if type(found) is not type(expected):
        return False
    if isinstance(found, list):
        return are_same(found, expected)
    if isinstance(found, dict):
        return list(found) == list(expected) and are_same([*found.values()], [*expected.values()])
    return bool(found == expected)


def are_same(found: Sequence[Any], expected: Sequence[Any]) -> bool:
    """Tell whether two lists of decoded JSON values are the same."""
    return len(found) == len(expected) and all(map(is_same, found, expected))


def is_same_number(found: float, expected: float) -> bool:
    """Tell whether two numbers are the same; INTs must be so exactly."""
    if is_int(found) and is_int(expected):
        return found == expected
    return math.isclose(float(found), float(expected), rel_tol=RELATIVE_TOLERANCE, abs_tol=1e-300)


def is_int(number: float) -> bool:
    """Tell whether a number is written as an INT."""
    return isinstance(number, int) and INT_MIN <= number <= INT_MAX
