"""Functions and aggregates of the reference interpreter, each as its description says it.

Nothing here is shared with the product. A function is a row of a table: the kinds of each of its
parameters, how many of them may be left out, and what it computes from values of these kinds.
"""

import datetime as dt
import decimal
import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from tests.support.eventql.reference_values import (
    Date,
    DateTime,
    Time,
    UnevaluableError,
    checked_float,
    checked_int,
    exact_kind_of,
    is_equal,
    is_less,
    kind_of,
)

NUMBER = ("number",)
STRING = ("STRING",)
INT = ("INT",)
DAY = ("DATE", "DATETIME")
CLOCK = ("TIME", "DATETIME")

# What Unicode calls white space.
WHITE_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)


@dataclass(frozen=True)
class Function:
    """A scalar function; NULL in means NULL out, or FALSE from a function with a BOOLEAN result."""

    parameters: tuple[tuple[str, ...], ...]
    compute: Callable[..., Any]
    optional_count: int = 0
    # Whether the last parameter takes any number of arguments.
    is_repeated: bool = False
    value_for_null: bool | None = None


def call(function: Function, arguments: list[Any]) -> Any:
    """Evaluate a call whose arguments are evaluated."""
    if any(argument is None for argument in arguments):
        return function.value_for_null
    parameters = list(function.parameters)
    if function.is_repeated:
        parameters += [parameters[-1]] * (len(arguments) - len(parameters))
    for argument, kinds in zip(arguments, parameters, strict=False):
        if kind_of(argument) not in kinds and exact_kind_of(argument) not in kinds:
            raise UnevaluableError(f"expected {kinds}, but found {exact_kind_of(argument)}")
    return function.compute(*arguments)


def real(compute: Callable[..., float]) -> Callable[..., float]:
    """Return a function of FLOAT64s, whose result must be one too."""

    def compute_checked(*arguments: float) -> float:
        try:
            return checked_float(compute(*map(float, arguments)))
        except (ValueError, OverflowError, ZeroDivisionError) as error:
            raise UnevaluableError(str(error)) from error

    return compute_checked


def round_half_away_from_zero(number: float) -> float:
    """Round an exact half away from zero."""
    if isinstance(number, int):
        return number
    nearest = math.floor(abs(Fraction(number)) + Fraction(1, 2))
    return math.copysign(float(nearest), number)


def rounded(compute: Callable[[int | float], int]) -> Callable[[int | float], int | float]:
    """Return a function that leaves the kind of a number as it is."""
    return lambda number: number if isinstance(number, int) else float(compute(number))


def absolute(number: float) -> float:
    """Return a number without its sign."""
    return checked_int(abs(number)) if isinstance(number, int) else abs(number)


def power(number: float, exponent: float) -> float:
    """Raise to a power, which complex numbers are no answer to."""
    return math.pow(number, exponent)


def modulo(number: float, divisor: float) -> float:
    """Return what is left of a number after taking away the divisor, towards zero."""
    if divisor == 0:
        raise UnevaluableError("division by zero")
    is_whole = isinstance(number, int) and isinstance(divisor, int)
    left, right = (number, divisor) if is_whole else (float(number), float(divisor))
    rest = Fraction(left) - math.trunc(Fraction(left) / Fraction(right)) * Fraction(right)
    return int(rest) if is_whole else math.copysign(float(rest), left)


def concatenate(*texts: str) -> str:
    """Join texts, up to the length that any text may have."""
    joined = "".join(texts)
    if len(joined) > 1024 * 1024:
        raise UnevaluableError("too long")
    return joined


def substring(text: str, start: int, length: int | None = None) -> str:
    """Cut code points out of a text; the first one is number 0."""
    if start < 0 or (length is not None and length < 0):
        raise UnevaluableError("start and length are not negative")
    return text[start:] if length is None else text[start : start + length]


def day_of(value: Date | DateTime) -> dt.date:
    """Return the day of a date or moment."""
    return value.day if isinstance(value, Date) else value.second.date()


def clock_of(value: Time | DateTime) -> dt.time:
    """Return the time of day of a time or moment."""
    return value.clock if isinstance(value, Time) else value.second.time()


FUNCTIONS: dict[str, Function] = {
    "ABS": Function((NUMBER,), absolute),
    "CEIL": Function((NUMBER,), rounded(math.ceil)),
    "FLOOR": Function((NUMBER,), rounded(math.floor)),
    "ROUND": Function((NUMBER,), round_half_away_from_zero),
    "SIN": Function((NUMBER,), real(math.sin)),
    "COS": Function((NUMBER,), real(math.cos)),
    "TAN": Function((NUMBER,), real(math.tan)),
    "EXP": Function((NUMBER,), real(math.exp)),
    "POW": Function((NUMBER, NUMBER), real(power)),
    "SQRT": Function((NUMBER,), real(math.sqrt)),
    "MOD": Function((NUMBER, NUMBER), modulo),
    "PI": Function((), lambda: math.pi),
    "LOWER": Function((STRING,), str.lower),
    "UPPER": Function((STRING,), str.upper),
    "TRIM": Function((STRING,), lambda text: text.strip(WHITE_SPACE)),
    "LTRIM": Function((STRING,), lambda text: text.lstrip(WHITE_SPACE)),
    "RTRIM": Function((STRING,), lambda text: text.rstrip(WHITE_SPACE)),
    "LEN": Function((STRING,), len),
    "INSTR": Function((STRING, STRING), lambda text, part: text.find(part) + 1),
    "SUBSTRING": Function((STRING, INT, INT), substring, optional_count=1),
    "REPLACE": Function(
        (STRING, STRING, STRING),
        lambda text, old, new: text.replace(old, new) if old else text,
    ),
    "CONCAT": Function((STRING, STRING), concatenate, is_repeated=True),
    "STARTSWITH": Function((STRING, STRING), str.startswith, value_for_null=False),
    "ENDSWITH": Function((STRING, STRING), str.endswith, value_for_null=False),
    "YEAR": Function((DAY,), lambda value: day_of(value).year),
    "MONTH": Function((DAY,), lambda value: day_of(value).month),
    "DAY": Function((DAY,), lambda value: day_of(value).day),
    # Sunday is 0.
    "WEEKDAY": Function((DAY,), lambda value: day_of(value).isoweekday() % 7),
    "HOUR": Function((CLOCK,), lambda value: clock_of(value).hour),
    "MINUTE": Function((CLOCK,), lambda value: clock_of(value).minute),
    "SECOND": Function((CLOCK,), lambda value: clock_of(value).second),
}


# --- Aggregates: each gets the values of its argument for the rows of one group, in their order.


def numbers(values: list[Any]) -> list[int | float]:
    """Return the values that are not NULL, which must be numbers."""
    present = [value for value in values if value is not None]
    for value in present:
        if kind_of(value) != "number":
            raise UnevaluableError(f"expected a number, but found {kind_of(value)}")
    return present


def nearest_float(number: Fraction) -> float:
    """Return the FLOAT64 nearest to an exact number."""
    try:
        return checked_float(float(number))
    except OverflowError as error:
        raise UnevaluableError(str(error)) from error


def fractions(values: list[Any]) -> list[Fraction]:
    """Return numbers exactly."""
    return [Fraction(value) for value in numbers(values)]


def count(values: list[Any]) -> int:
    """Count what is TRUE."""
    for value in values:
        if kind_of(value) not in {"BOOLEAN", "NULL"}:
            raise UnevaluableError(f"expected BOOLEAN, but found {kind_of(value)}")
    return sum(value is True for value in values)


def total(values: list[Any]) -> int | float:
    """Add up; the sum of INTs is an INT."""
    present = numbers(values)
    if all(isinstance(value, int) for value in present):
        return checked_int(sum(map(int, present)))
    return nearest_float(sum(fractions(values), Fraction(0)))


def average(values: list[Any]) -> float | None:
    """Return the mean."""
    exact = fractions(values)
    return nearest_float(statistics.mean(exact)) if exact else None


def median(values: list[Any]) -> float | None:
    """Return the middle value, or the mean of the two in the middle."""
    exact = fractions(values)
    return nearest_float(statistics.median(exact)) if exact else None


def variance(values: list[Any]) -> float | None:
    """Return the mean of the squared distances from the mean."""
    exact = fractions(values)
    return nearest_float(statistics.pvariance(exact)) if exact else None


def standard_deviation(values: list[Any]) -> float | None:
    """Return the square root of the variance."""
    exact = fractions(values)
    if not exact:
        return None
    squared = statistics.pvariance(exact)
    # The square may be beyond FLOAT64 where the root is not.
    with decimal.localcontext(prec=60):
        root = (decimal.Decimal(squared.numerator) / squared.denominator).sqrt()
    return checked_float(float(root))


def extreme(values: list[Any], *, is_better: Callable[[Any, Any], bool]) -> Any:
    """Return the first of the best values; all must be of one kind that has an order."""
    present = [value for value in values if value is not None]
    for value in present:
        if kind_of(value) in {"array", "record"}:
            raise UnevaluableError(f"{kind_of(value)} has no extreme")
        if kind_of(value) != kind_of(present[0]):
            raise UnevaluableError(f"{kind_of(value)} among {kind_of(present[0])}")
    best = present[0] if present else None
    for value in present:
        if is_better(value, best):
            best = value
    return best


def first(values: list[Any]) -> Any:
    """Return the first value that is there."""
    return next((value for value in values if value is not None), None)


def last(values: list[Any]) -> Any:
    """Return the last value that is there."""
    return first(values[::-1])


AGGREGATES: dict[str, Callable[[list[Any]], Any]] = {
    "COUNT": count,
    "SUM": total,
    "AVG": average,
    "MIN": lambda values: extreme(values, is_better=is_less),
    "MAX": lambda values: extreme(values, is_better=lambda value, best: is_less(best, value)),
    "MEDIAN": median,
    "STDDEV": standard_deviation,
    "VARIANCE": variance,
    "UNIQUE": first,
    "FIRST": first,
    "LAST": last,
}


def index_of(keys: list[Any], key: Any) -> int | None:
    """Return where a value equal to this one stands."""
    return next((index for index, other in enumerate(keys) if is_equal(other, key)), None)
