import itertools
import math
from functools import partial

import pytest

from everlog.eventql.evaluation.conversion import CONVERSIONS, convert, convertible_to, quote
from everlog.eventql.evaluation.values import INT_MAX, INT_MIN, Date, DateTime, Time, Value
from everlog.eventql.types import CONVERSION_TARGETS, Kind
from tests.support.eventql.unevaluable import check_unevaluable

DAY = 86_400_000_000_000

A_VALUE: dict[Kind, Value] = {
    Kind.BOOLEAN: True,
    Kind.INT: 1,
    Kind.FLOAT64: 1.0,
    Kind.STRING: "1",
    Kind.DATE: Date(0),
    Kind.TIME: Time(0),
    Kind.DATETIME: DateTime(0),
    Kind.ARRAY: [1],
    Kind.RECORD: {"a": 1},
}


@pytest.mark.parametrize(
    "value, target, expected",
    [
        ("", Kind.STRING, ""),
        (42, Kind.STRING, "42"),
        (INT_MIN, Kind.STRING, "-9223372036854775808"),
        (2.0, Kind.STRING, "2"),
        (0.1, Kind.STRING, "0.1"),
        (1e22, Kind.STRING, "1e22"),
        (True, Kind.STRING, "true"),
        (False, Kind.STRING, "false"),
        (Date(0), Kind.STRING, "1970-01-01"),
        (Time(DAY - 1), Kind.STRING, "23:59:59.999999999"),
        (DateTime(-DAY), Kind.STRING, "1969-12-31T00:00:00Z"),
        ("42", Kind.INT, 42),
        ("-42", Kind.INT, -42),
        ("+42", Kind.INT, 42),
        ("007", Kind.INT, 7),
        ("-0", Kind.INT, 0),
        ("9223372036854775807", Kind.INT, INT_MAX),
        ("-9223372036854775808", Kind.INT, INT_MIN),
        ("0" * 100_000 + "5", Kind.INT, 5),
        (42, Kind.INT, 42),
        (2.9, Kind.INT, 2),
        (-2.9, Kind.INT, -2),
        (-0.5, Kind.INT, 0),
        (-(2.0**63), Kind.INT, INT_MIN),
        ("42", Kind.FLOAT64, 42.0),
        ("-4.25", Kind.FLOAT64, -4.25),
        ("+1.5", Kind.FLOAT64, 1.5),
        (".5", Kind.FLOAT64, 0.5),
        ("5.", Kind.FLOAT64, 5.0),
        ("1e3", Kind.FLOAT64, 1000.0),
        ("1.5E-3", Kind.FLOAT64, 0.0015),
        ("1e-400", Kind.FLOAT64, 0.0),
        ("0." + "1" * 998, Kind.FLOAT64, 0.1111111111111111),
        (2**53 + 1, Kind.FLOAT64, 2.0**53),
        (1.5, Kind.FLOAT64, 1.5),
        ("true", Kind.BOOLEAN, True),
        ("FALSE", Kind.BOOLEAN, False),
        ("True", Kind.BOOLEAN, True),
        (False, Kind.BOOLEAN, False),
        ("1970-01-02", Kind.DATE, Date(1)),
        (Date(1), Kind.DATE, Date(1)),
        (DateTime(DAY - 1), Kind.DATE, Date(0)),
        (DateTime(-1), Kind.DATE, Date(-1)),
        ("00:00:01", Kind.TIME, Time(10**9)),
        (Time(1), Kind.TIME, Time(1)),
        (DateTime(-1), Kind.TIME, Time(DAY - 1)),
        ("1970-01-02T01:00:00+01:00", Kind.DATETIME, DateTime(DAY)),
        (Date(-1), Kind.DATETIME, DateTime(-DAY)),
        (DateTime(1), Kind.DATETIME, DateTime(1)),
    ],
)
def test_converts(value: Value, target: Kind, expected: Value) -> None:
    result = convert(value, target)

    assert type(result) is type(expected)
    assert result == expected


@pytest.mark.parametrize("target", CONVERSION_TARGETS)
def test_null_stays_null(target: Kind) -> None:
    assert convert(None, target) is None
    assert Kind.NULL in convertible_to(target)


def test_what_has_no_conversion_is_an_error() -> None:
    for (source, value), target in itertools.product(A_VALUE.items(), CONVERSION_TARGETS):
        if source not in convertible_to(target):
            check_unevaluable(
                partial(convert, value, target), f"cannot convert {source} to {target}"
            )


def test_there_are_just_the_conversions_of_the_language() -> None:
    assert tuple(CONVERSIONS) == CONVERSION_TARGETS
    assert {
        (source.value, target.value)
        for target, sources in CONVERSIONS.items()
        for source in sources
    } == {
        *((source.value, "STRING") for source in CONVERSION_TARGETS),
        *(("STRING", target.value) for target in CONVERSION_TARGETS),
        *((target.value, target.value) for target in CONVERSION_TARGETS),
        ("INT", "FLOAT64"),
        ("FLOAT64", "INT"),
        ("DATETIME", "DATE"),
        ("DATETIME", "TIME"),
        ("DATE", "DATETIME"),
    }


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        " 42",
        "42 ",
        "42\n",
        "4_2",
        "4 2",
        "4.0",
        "1e3",
        "0x2a",
        "--1",
        "+-1",
        "+",
        "-",
        "abc",
        "\u0664\u0662",
        "\uff14",
        "\u00b2",
    ],
)
def test_an_int_has_nothing_but_digits_and_a_sign(text: str) -> None:
    check_failing(text, Kind.INT, "an INT looks like 42 or -42")


@pytest.mark.parametrize(
    "value",
    [
        "9223372036854775808",
        "-9223372036854775809",
        "-10000000000000000000",
        "1" * 40,
        "-" + "1" * 40,
        2.0**63,
        -1.0e19,
        1e300,
    ],
)
def test_an_int_has_64_bits(value: Value) -> None:
    check_failing(value, Kind.INT, "it is beyond the range of INT")


@pytest.mark.parametrize(
    "text",
    [
        "",
        " 1.5",
        "1.5 ",
        "1.5\n",
        "1_000.0",
        "1,5",
        ".",
        "-",
        "e5",
        "1e",
        "1e+",
        "1.5.2",
        "0x1p3",
        "nan",
        "NaN",
        "inf",
        "-Infinity",
        "\u0661.5",
    ],
)
def test_a_float_has_digits_a_point_and_an_exponent(text: str) -> None:
    check_failing(text, Kind.FLOAT64, "a FLOAT64 looks like 42, -4.2 or 4.2e10")


@pytest.mark.parametrize("text", ["1e309", "-1e309", "9" * 400, "1e9999"])
def test_a_float_is_finite(text: str) -> None:
    check_failing(text, Kind.FLOAT64, "it is beyond the range of FLOAT64")


@pytest.mark.parametrize(
    "text, number",
    [
        ("0" * 100_000 + "5", 5.0),
        ("-." + "3" * 100_000, -1 / 3),
        # Only the last digit tells that it is more than half-way to the next FLOAT64.
        ("9007199254740993." + "0" * 100_000 + "1", 9007199254740994.0),
        ("1" + "0" * 100_000 + "e-100000", 1.0),
    ],
    ids=range(4),
)
def test_a_text_may_have_any_number_of_digits(text: str, number: float) -> None:
    assert convert(text, Kind.FLOAT64) == number


def test_a_long_text_may_be_no_float() -> None:
    check_failing("1" * 100_000 + "x", Kind.FLOAT64, "a FLOAT64 looks like 42, -4.2 or 4.2e10")


@pytest.mark.parametrize(
    "text", ["", "1", "yes", "t", " true", "true ", "trues", "falsey", "x" * 9]
)
def test_a_boolean_is_one_of_two_words(text: str) -> None:
    check_failing(text, Kind.BOOLEAN, "a BOOLEAN is 'true' or 'false'")


@pytest.mark.parametrize(
    "text, target, reason",
    [
        ("23.11.2026", Kind.DATE, "a DATE looks like 2026-11-23"),
        ("2026-02-30", Kind.DATE, "there is no such day"),
        ("12:30", Kind.TIME, "a TIME looks like 12:30:00 or 12:30:00.25"),
        ("2026-11-23", Kind.DATETIME, "a DATETIME looks like 2026-11-23T12:30:00Z"),
    ],
)
def test_dates_and_times_are_those_of_the_rfc(text: str, target: Kind, reason: str) -> None:
    check_failing(text, target, reason)


def test_an_error_quotes_the_beginning_of_a_long_text() -> None:
    check_unevaluable(
        lambda: convert("y" * 64_000, Kind.BOOLEAN),
        f"cannot convert \"{'y' * 40}\"... to BOOLEAN: a BOOLEAN is 'true' or 'false'",
    )


def check_failing(value: Value, target: Kind, reason: str) -> None:
    check_unevaluable(
        lambda: convert(value, target), f"cannot convert {quote(value)} to {target}: {reason}"
    )


def test_the_greatest_float_has_a_text_that_reads_back() -> None:
    text = convert(math.nextafter(math.inf, 0), Kind.STRING)

    assert text == "1.7976931348623157e308"
    assert convert(text, Kind.FLOAT64) == math.nextafter(math.inf, 0)
