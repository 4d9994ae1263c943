"""Aggregates: what becomes of one value of each row.

An accumulator is made for each group. NULL is never added: rows where the argument is NULL are
left out before, and COUNT without an argument is given TRUE for each row. `result` may be asked
for at any time, and again later.

No result depends on the order of rows, but for UNIQUE, FIRST and LAST, and for which of 1 and 1.0
MIN and MAX return. Accumulators can be pickled, in case that a group has to leave the process.

Sums are exact. Each FLOAT64 is a whole number divided by a power of two, and so is the sum of any
of them. It is kept as such, so that nothing is lost between 1e16 and 1, and only the range of the
result is limited and not that of what it is computed from.
"""

import math
import operator
from collections.abc import Callable
from typing import Any, Final, Protocol

from everlog.eventql.evaluation.operators import are_comparable, fitting, kind_of
from everlog.eventql.evaluation.values import EvaluationError, Value
from everlog.eventql.types import Kind

# Adding floats by the dozen takes half the time; a group of few rows should not hold many.
_PENDING_MAX: Final = 32


# --- Exact sums


class Total:
    """A count and a sum, and what to make of them: `sum_of` or `mean_of`."""

    __slots__ = ("_count", "_finish", "_has_floats", "_name", "_numerator", "_pending", "_scale")

    def __init__(self, name: str, finish: "Callable[[Total], Value]") -> None:
        self._name = name
        self._finish = finish
        # Those that wait to be added are not counted yet.
        self._count = 0
        # The sum is numerator / 2 ** scale, and the floats that wait to be added to it.
        self._numerator = 0
        self._scale = 0
        self._pending: list[float] = []
        self._has_floats = False

    def add(self, value: Any) -> None:
        """Add a number."""
        kind = type(value)
        if kind is float:
            pending = self._pending
            pending.append(value)
            if len(pending) == _PENDING_MAX:
                self._add_pending()
        elif kind is int:
            self._numerator += value << self._scale
            self._count += 1
        else:
            raise wrong_kind(self._name, value)

    def result(self) -> Value:
        """Return what the total was made for."""
        return self._finish(self)

    @property
    def count(self) -> int:
        """Tell how many numbers were added."""
        return self._count + len(self._pending)

    @property
    def is_whole(self) -> bool:
        """Tell whether there were INTs only."""
        return not self._has_floats and not self._pending

    def ratio(self) -> tuple[int, int]:
        """Return the exact sum as numerator and denominator."""
        self._add_pending()
        return self._numerator, 1 << self._scale

    def _add_pending(self) -> None:
        pending = self._pending
        if not pending:
            return
        self._has_floats = True
        self._count += len(pending)
        try:
            # Each turn finds the next 53 bits of the sum; there are rarely more than two.
            while (leading := math.fsum(pending)) != 0:
                self._add_exactly(leading)
                pending.append(-leading)
        except OverflowError:
            # Only the sum of all must be in range, and not what it passes through.
            for number in pending:
                self._add_exactly(number)
        pending.clear()

    def _add_exactly(self, number: float) -> None:
        numerator, scale = _split(number)
        if scale > self._scale:
            self._numerator <<= scale - self._scale
            self._scale = scale
        self._numerator += numerator << (self._scale - scale)


def sum_of(total: Total) -> Value:
    """Return the sum: INT if all numbers are, and 0 if there is none."""
    is_whole = total.is_whole
    numerator, denominator = total.ratio()
    return fitting(numerator) if is_whole else _quotient(numerator, denominator)


def mean_of(total: Total) -> Value:
    """Return the average; NULL if there is no number."""
    if total.count == 0:
        return None
    numerator, denominator = total.ratio()
    return _quotient(numerator, denominator * total.count)


class Moments:
    """A count, a sum and a sum of squares, and what to make of them."""

    __slots__ = ("_count", "_finish", "_name", "_scale", "_squares", "_sum")

    def __init__(self, name: str, finish: Callable[[int, int], float]) -> None:
        self._name = name
        self._finish = finish
        self._count = 0
        # The sum is divided by 2 ** scale, and that of the squares by the square of it.
        self._sum = 0
        self._squares = 0
        self._scale = 0

    def add(self, value: Any) -> None:
        """Add a number."""
        kind = type(value)
        if kind is int:
            number = value << self._scale
        elif kind is float:
            numerator, scale = _split(value)
            if scale > self._scale:
                self._sum <<= scale - self._scale
                self._squares <<= 2 * (scale - self._scale)
                self._scale = scale
            number = numerator << (self._scale - scale)
        else:
            raise wrong_kind(self._name, value)
        self._sum += number
        self._squares += number * number
        self._count += 1

    def result(self) -> Value:
        """Return what the moments were gathered for; NULL if there is no number."""
        if self._count == 0:
            return None
        numerator = self._count * self._squares - self._sum * self._sum
        return self._finish(numerator, self._count * self._count << (2 * self._scale))


def variance_of(numerator: int, denominator: int) -> float:
    """Return a variance, which is given exactly."""
    return _quotient(numerator, denominator)


def deviation_of(numerator: int, denominator: int) -> float:
    """Return the square root of a variance, which is given exactly."""
    # The root of 110 bits or more has 55, two more than a float; and the last of them tells that
    # something was cut off, so that the division rounds rightly.
    half_shift = max(0, 56 - (numerator.bit_length() - denominator.bit_length()) // 2)
    quotient, rest = divmod(numerator << (2 * half_shift), denominator)
    root = math.isqrt(quotient)
    if rest or root * root != quotient:
        root |= 1
    return _quotient(root, 1 << half_shift)


def wrong_kind(aggregate: str, value: Value) -> EvaluationError:
    """Return the error of an aggregate that knows numbers only."""
    return EvaluationError(f"{aggregate} expects numbers, but found {kind_of(value)}")


def _split(number: float) -> tuple[int, int]:
    """Return a whole number and a power of two that it has to be divided by."""
    numerator, denominator = number.as_integer_ratio()
    return numerator, denominator.bit_length() - 1


def _quotient(numerator: int, denominator: int) -> float:
    try:
        return numerator / denominator
    except OverflowError as error:
        raise EvaluationError(f"the result is beyond the range of {Kind.FLOAT64}") from error


# --- Aggregates


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
    """FIRST, and UNIQUE: the first value, which is the only one if all are the same."""

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


class Last:
    """LAST: the value that came last."""

    __slots__ = ("_value",)

    def __init__(self) -> None:
        self._value: Value = None

    def add(self, value: Any) -> None:
        """Take in a value of any kind."""
        self._value = value

    def result(self) -> Value:
        """Return the last value; NULL if there is none."""
        return self._value
