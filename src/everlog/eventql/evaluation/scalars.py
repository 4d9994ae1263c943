"""What scalar functions compute.

Each gets values of the kinds that its entry in the catalogue names, none of them NULL. Characters
are code points; positions and lengths count them.
"""

import math
from typing import Final

from everlog.eventql.evaluation.conversion import quote
from everlog.eventql.evaluation.operators import fitting
from everlog.eventql.evaluation.values import EvaluationError
from everlog.eventql.limits import STRING_LENGTH_MAX

# The characters with Unicode's property White_Space; Python's own list has four more.
_WHITE_SPACE: Final = (
    "\t\n\v\f\r \u0085\u00a0\u1680"
    "\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)


def absolute(number: float) -> float:
    """ABS."""
    return fitting(abs(number))


def ceiling(number: float) -> float:
    """CEIL: the least whole number that is not smaller."""
    return number if type(number) is int else float(math.ceil(number))


def floor(number: float) -> float:
    """FLOOR: the greatest whole number that is not larger."""
    return number if type(number) is int else float(math.floor(number))


def round_half_away(number: float) -> float:
    """ROUND: the nearest whole number; of two, the one that is farther from zero."""
    if type(number) is int:
        return number
    whole = math.trunc(number)
    # Exact, as each whole number next to a float with a fraction is a float too.
    if abs(number - whole) >= 0.5:
        whole += 1 if number > 0 else -1
    return float(whole)


def sine(number: float) -> float:
    """SIN."""
    return math.sin(number)


def cosine(number: float) -> float:
    """COS."""
    return math.cos(number)


def tangent(number: float) -> float:
    """TAN."""
    return math.tan(number)


def exponential(number: float) -> float:
    """EXP: Euler's number to the power of another."""
    try:
        return math.exp(number)
    except OverflowError as error:
        raise _out_of_range("EXP", number) from error


def power(number: float, exponent: float) -> float:
    """POW: computed as FLOAT64, whatever the arguments are."""
    try:
        return math.pow(number, exponent)
    except OverflowError as error:
        raise _out_of_range("POW", number, exponent) from error
    except ValueError as error:
        # A division by zero, or the root of a negative number.
        raise EvaluationError(f"{_call('POW', number, exponent)} is not a real number") from error


def remainder(number: float, divisor: float) -> float:
    """MOD: of whole multiples of the divisor, with the sign of the number; exact for INTs."""
    if divisor == 0:
        raise EvaluationError("division by zero")
    if type(number) is int and type(divisor) is int:
        # Python's own rest has the sign of the divisor.
        rest = abs(number) % abs(divisor)
        return -rest if number < 0 else rest
    return math.fmod(number, divisor)


def square_root(number: float) -> float:
    """SQRT."""
    if number < 0:
        raise EvaluationError(f"{_call('SQRT', number)} is not a real number")
    return math.sqrt(number)


def pi() -> float:
    """PI."""
    return math.pi


def lower(text: str) -> str:
    """LOWER, by Unicode's rules."""
    return _fitting_text("LOWER", text.lower())


def upper(text: str) -> str:
    """UPPER, by Unicode's rules, which make three characters of some."""
    return _fitting_text("UPPER", text.upper())


def trim(text: str) -> str:
    """TRIM: without white space at both ends."""
    return text.strip(_WHITE_SPACE)


def trim_left(text: str) -> str:
    """LTRIM: without white space at the beginning."""
    return text.lstrip(_WHITE_SPACE)


def trim_right(text: str) -> str:
    """RTRIM: without white space at the end."""
    return text.rstrip(_WHITE_SPACE)


def length(text: str) -> int:
    """LEN."""
    return len(text)


def position_in(text: str, part: str) -> int:
    """INSTR: the place of the first occurrence, counted from 1; 0 if there is none."""
    return text.find(part) + 1


def substring(text: str, start: int, length: int | None = None) -> str:
    """SUBSTRING: from a place, counted from 0, to the end or so many characters on."""
    if start < 0:
        raise EvaluationError(f"SUBSTRING expects a start of 0 or more, but found {start}")
    if length is None:
        return text[start:]
    if length < 0:
        raise EvaluationError(f"SUBSTRING expects a length of 0 or more, but found {length}")
    return text[start : start + length]


def replace(text: str, old: str, new: str) -> str:
    """REPLACE: all occurrences, from left to right; none of an empty text."""
    if old == "":
        return text
    if len(new) > len(old):
        # Before anything is built: the result may be larger than all that there is memory for.
        grown = len(text) + text.count(old) * (len(new) - len(old))
        _check_length("REPLACE", grown)
    return text.replace(old, new)


def concatenate(*texts: str) -> str:
    """CONCAT."""
    # Before anything is built, as for REPLACE.
    _check_length("CONCAT", sum(map(len, texts)))
    return "".join(texts)


def starts_with(text: str, prefix: str) -> bool:
    """STARTSWITH."""
    return text.startswith(prefix)


def ends_with(text: str, suffix: str) -> bool:
    """ENDSWITH."""
    return text.endswith(suffix)


def _fitting_text(function: str, text: str) -> str:
    _check_length(function, len(text))
    return text


def _check_length(function: str, length: int) -> None:
    if length > STRING_LENGTH_MAX:
        raise EvaluationError(
            f"the result of {function} is too long: a string has at most "
            f"{STRING_LENGTH_MAX} characters"
        )


def _out_of_range(function: str, *numbers: float) -> EvaluationError:
    return EvaluationError(f"{_call(function, *numbers)} is beyond the range of FLOAT64")


def _call(function: str, *numbers: float) -> str:
    return f"{function}({', '.join(map(quote, numbers))})"
