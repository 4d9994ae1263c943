import math
import time
from collections.abc import Callable

import pytest

from everlog.eventql.evaluation import scalars
from everlog.eventql.evaluation.values import INT_MAX, INT_MIN
from everlog.eventql.limits import STRING_LENGTH_MAX
from tests.support.eventql.unevaluable import check_unevaluable

FLOAT_MAX = math.nextafter(math.inf, 0)
TOO_LONG = f"is too long: a string has at most {STRING_LENGTH_MAX} characters"

NumberFunction = Callable[[float], float]


@pytest.mark.parametrize(
    "function, number, expected",
    [
        (scalars.absolute, -3, 3),
        (scalars.absolute, INT_MIN + 1, INT_MAX),
        (scalars.absolute, -2.5, 2.5),
        (scalars.absolute, 0.0, 0.0),
        (scalars.ceiling, 7, 7),
        (scalars.ceiling, 1.1, 2.0),
        (scalars.ceiling, -1.9, -1.0),
        (scalars.ceiling, 1e300, 1e300),
        (scalars.floor, -7, -7),
        (scalars.floor, 1.9, 1.0),
        (scalars.floor, -1.1, -2.0),
        (scalars.floor, -1e300, -1e300),
        (scalars.round_half_away, INT_MAX, INT_MAX),
        (scalars.round_half_away, 2.4, 2.0),
        (scalars.round_half_away, 2.5, 3.0),
        (scalars.round_half_away, 3.5, 4.0),
        (scalars.round_half_away, -2.5, -3.0),
        (scalars.round_half_away, -2.4, -2.0),
        (scalars.round_half_away, 0.5, 1.0),
        (scalars.round_half_away, -0.5, -1.0),
        (scalars.round_half_away, 0.0, 0.0),
        # Adding a half would give 1, and an odd neighbour.
        (scalars.round_half_away, 0.49999999999999994, 0.0),
        (scalars.round_half_away, 4503599627370497.0, 4503599627370497.0),
        (scalars.round_half_away, 2251799813685248.5, 2251799813685249.0),
        (scalars.round_half_away, FLOAT_MAX, FLOAT_MAX),
        (scalars.sine, 0, 0.0),
        (scalars.sine, 1e300, math.sin(1e300)),
        (scalars.cosine, 0, 1.0),
        (scalars.cosine, 0.5, 0.8775825618903728),
        (scalars.tangent, 0, 0.0),
        (scalars.tangent, math.pi / 2, 1.633123935319537e16),
        (scalars.exponential, 0, 1.0),
        (scalars.exponential, 1, math.e),
        (scalars.exponential, -1e300, 0.0),
        (scalars.exponential, INT_MIN, 0.0),
        (scalars.square_root, 16, 4.0),
        (scalars.square_root, 0, 0.0),
        (scalars.square_root, 2.25, 1.5),
        (scalars.square_root, FLOAT_MAX, 1.3407807929942596e154),
    ],
)
def test_computes_with_a_number(function: NumberFunction, number: float, expected: float) -> None:
    result = function(number)

    assert type(result) is type(expected)
    assert result == expected


@pytest.mark.parametrize(
    "number, exponent, expected",
    [
        (2, 10, 1024.0),
        (2, 0.5, math.sqrt(2)),
        (2, -1, 0.5),
        (-2, 3, -8.0),
        (0, 0, 1.0),
        (10, 308, 1e308),
        (10, -400, 0.0),
    ],
)
def test_raises_to_a_power(number: float, exponent: float, expected: float) -> None:
    result = scalars.power(number, exponent)

    assert type(result) is float
    assert result == expected


@pytest.mark.parametrize(
    "evaluate, message",
    [
        (lambda: scalars.absolute(INT_MIN), "the result is beyond the range of INT"),
        (lambda: scalars.exponential(710), "EXP(710) is beyond the range of FLOAT64"),
        (lambda: scalars.power(10, 309), "POW(10, 309) is beyond the range of FLOAT64"),
        (lambda: scalars.power(-8, 0.5), "POW(-8, 0.5) is not a real number"),
        (lambda: scalars.power(0, -1), "POW(0, -1) is not a real number"),
        (lambda: scalars.square_root(-1), "SQRT(-1) is not a real number"),
        (lambda: scalars.square_root(-5e-324), "SQRT(-5e-324) is not a real number"),
        (
            lambda: scalars.substring("abc", -1),
            "SUBSTRING expects a start of 0 or more, but found -1",
        ),
        (
            lambda: scalars.substring("abc", 0, -2),
            "SUBSTRING expects a length of 0 or more, but found -2",
        ),
    ],
)
def test_what_has_no_result_is_an_error(evaluate: Callable[[], object], message: str) -> None:
    check_unevaluable(evaluate, message)


def test_there_is_one_pi() -> None:
    assert scalars.pi() == math.pi


@pytest.mark.parametrize(
    "function, text, expected",
    [
        (scalars.lower, "D\u00dcNE", "d\u00fcne"),
        (scalars.lower, "\u0130", "i\u0307"),
        (scalars.upper, "d\u00fcne", "D\u00dcNE"),
        (scalars.upper, "stra\u00dfe", "STRASSE"),
        (scalars.trim, "\u3000 \t\r\n a b \u00a0", "a b"),
        # Python would take these control characters for space, Unicode does not.
        (scalars.trim, " \x1c\x1f ", "\x1c\x1f"),
        # It has no width, and is no space.
        (scalars.trim, "\u200ba\ufeff", "\u200ba\ufeff"),
        (scalars.trim, "  ", ""),
        (scalars.trim_left, " \x85a ", "a "),
        (scalars.trim_right, " a\u2028 ", " a"),
    ],
)
def test_changes_a_text(function: Callable[[str], str], text: str, expected: str) -> None:
    assert function(text) == expected


def test_white_space_is_what_unicode_says() -> None:
    # Property White_Space of the Unicode Character Database.
    ranges = [(0x9, 0xD), (0x20, 0x20), (0x85, 0x85), (0xA0, 0xA0), (0x1680, 0x1680)]
    ranges += [(0x2000, 0x200A), (0x2028, 0x2029), (0x202F, 0x202F), (0x205F, 0x205F)]
    ranges += [(0x3000, 0x3000)]
    space = {chr(code) for first, last in ranges for code in range(first, last + 1)}

    assert {chr(code) for code in range(0x11_0000) if scalars.trim(chr(code)) == ""} == space


@pytest.mark.parametrize(
    "text, length", [("", 0), ("abc", 3), ("\u00fc\U0001f600", 2), ("e\u0301", 2)]
)
def test_a_length_is_that_in_code_points(text: str, length: int) -> None:
    assert scalars.length(text) == length


@pytest.mark.parametrize(
    "text, part, position",
    [
        ("abcabc", "b", 2),
        ("abc", "abc", 1),
        ("abc", "d", 0),
        ("abc", "", 1),
        ("\U0001f600b", "b", 2),
    ],
)
def test_finds_the_first_occurrence(text: str, part: str, position: int) -> None:
    assert scalars.position_in(text, part) == position


@pytest.mark.parametrize(
    "start, length, expected",
    [
        (0, None, "events.A"),
        (7, None, "A"),
        (8, None, ""),
        (9, None, ""),
        (INT_MAX, None, ""),
        (0, 6, "events"),
        (1, 2, "ve"),
        (7, 100, "A"),
        (3, 0, ""),
        (INT_MAX, INT_MAX, ""),
    ],
)
def test_cuts_a_part_out(start: int, length: int | None, expected: str) -> None:
    result = (
        scalars.substring("events.A", start)
        if length is None
        else scalars.substring("events.A", start, length)
    )

    assert result == expected


@pytest.mark.parametrize(
    "text, old, new, expected",
    [
        ("abab", "a", "xy", "xybxyb"),
        ("abab", "ab", "", ""),
        ("abab", "", "x", "abab"),
        ("abab", "c", "x", "abab"),
        ("aaa", "aa", "b", "ba"),
        ("a", "a", "aa", "aa"),
    ],
)
def test_replaces_all_occurrences(text: str, old: str, new: str, expected: str) -> None:
    assert scalars.replace(text, old, new) == expected


def test_tells_how_a_text_begins_and_ends() -> None:
    assert scalars.starts_with("/books/42", "/books")
    assert not scalars.starts_with("/books/42", "/Books")
    assert scalars.starts_with("/books/42", "")
    assert scalars.ends_with("/books/42", "42")
    assert not scalars.ends_with("/books/42", "/books")


def test_a_text_may_be_as_long_as_the_limit_and_no_longer() -> None:
    half = "x" * (STRING_LENGTH_MAX // 2)

    assert len(scalars.replace(half, "x", "xx")) == STRING_LENGTH_MAX
    check_unevaluable(
        lambda: scalars.replace(f"{half}x", "x", "xx"), f"the result of REPLACE {TOO_LONG}"
    )


def test_a_text_that_would_fill_the_memory_is_never_built() -> None:
    text = "x" * STRING_LENGTH_MAX
    started = time.perf_counter()

    check_unevaluable(lambda: scalars.replace(text, "x", text), f"the result of REPLACE {TOO_LONG}")

    # The text would have 10 ** 12 characters.
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize(
    "name, function, letter",
    [("UPPER", scalars.upper, "\u0390"), ("LOWER", scalars.lower, "\u0130")],
)
def test_letters_that_become_several_do_not_pass_the_limit(
    name: str, function: Callable[[str], str], letter: str
) -> None:
    assert len(function(letter)) > 1
    check_unevaluable(
        lambda: function(letter * STRING_LENGTH_MAX), f"the result of {name} {TOO_LONG}"
    )
