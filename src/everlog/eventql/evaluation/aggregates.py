"""Aggregates: what becomes of one value of each row.

An accumulator is made for each group. NULL is never added: rows where the argument is NULL are
left out before, and COUNT without an argument is given TRUE for each row. `result` may be asked
for at any time, and again later.

No result depends on the order of rows, but for UNIQUE, and for which of 1 and 1.0 MIN and MAX
return. Accumulators can be pickled, in case that a group has to leave the process.
"""

import operator
from collections.abc import Callable
from typing import Any, Protocol

from everlog.eventql.evaluation.comparison import are_comparable, kind_of
from everlog.eventql.evaluation.sums import Total, mean_of, wrong_kind
from everlog.eventql.evaluation.values import EvaluationError, Value


class Accumulator(Protocol):
    """The state of one aggregate of one group."""

    def add(self, value: Any) -> None:
        """Take in the value of a row.

        Raises:
            EvaluationError: The value is of a kind that the aggregate does not take.
        """

    def result(self) -> Value:
        """Return the aggregate of all values so far.

        Raises:
            EvaluationError: It is beyond the range of its kind.
        """


class Count:
    """COUNT: how many values are TRUE."""

    __slots__ = ("_count",)

    def __init__(self) -> None:
        self._count = 0

    def add(self, value: Any) -> None:
        """Take in a condition."""
        if value is True:
            self._count += 1
        elif value is not False:
            raise EvaluationError(f"COUNT expects a BOOLEAN, but found {kind_of(value)}")

    def result(self) -> Value:
        """Return the count."""
        return self._count


class Extreme:
    """MIN or MAX: the first of the values that no other one is better than."""

    __slots__ = ("_is_better", "_name", "_value")

    def __init__(self, name: str, is_better: Callable[[Any, Any], bool]) -> None:
        self._name = name
        self._is_better = is_better
        self._value: Value = None

    def add(self, value: Any) -> None:
        """Take in a value; all have to be of one kind."""
        current = self._value
        if current is None:
            # Asked for the kind alone: some have no order.
            are_comparable(self._name, value, value)
            self._value = value
        elif are_comparable(self._name, current, value) and self._is_better(value, current):
            self._value = value

    def result(self) -> Value:
        """Return the extreme; NULL if there is no value."""
        return self._value


def minimum() -> Extreme:
    """Start MIN."""
    return Extreme("MIN", operator.lt)


def maximum() -> Extreme:
    """Start MAX."""
    return Extreme("MAX", operator.gt)


class Median:
    """MEDIAN: what half of the numbers are not above. It holds all of them."""

    __slots__ = ("_numbers",)

    def __init__(self) -> None:
        self._numbers: list[int | float] = []

    def add(self, value: Any) -> None:
        """Take in a number."""
        if type(value) is not float and type(value) is not int:
            raise wrong_kind("MEDIAN", value)
        self._numbers.append(value)

    def result(self) -> Value:
        """Return the middle number, or the mean of the two; NULL if there is no number."""
        numbers = self._numbers
        numbers.sort()
        middle = Total("MEDIAN", mean_of)
        # The second index is the first one again where the count is odd.
        for number in numbers[(len(numbers) - 1) // 2 : len(numbers) // 2 + 1]:
            middle.add(number)
        return middle.result()


class First:
    """UNIQUE: the first value, which is the only one if all are the same."""

    __slots__ = ("_value",)

    def __init__(self) -> None:
        self._value: Value = None

    def add(self, value: Any) -> None:
        """Take in a value of any kind."""
        if self._value is None:
            self._value = value

    def result(self) -> Value:
        """Return the first value; NULL if there is none."""
        return self._value
