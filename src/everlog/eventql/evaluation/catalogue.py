"""The catalogue: all functions and aggregates, as data.

How a function computes stands in `scalars` and `datetimes`, an aggregate in `aggregates` and
`sums`. The examples are tests, too.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from everlog.eventql.evaluation import datetimes, scalars
from everlog.eventql.evaluation.aggregates import (
    Accumulator,
    Count,
    First,
    Median,
    maximum,
    minimum,
)
from everlog.eventql.evaluation.functions import (
    Aggregate,
    Parameter,
    Purity,
    ScalarFunction,
    Section,
)
from everlog.eventql.evaluation.sums import (
    Moments,
    Total,
    deviation_of,
    mean_of,
    sum_of,
    variance_of,
)
from everlog.eventql.evaluation.values import Value
from everlog.eventql.types import (
    ANY,
    BOOLEAN,
    DATE,
    DATETIME,
    FLOAT64,
    INT,
    NULL,
    NUMBER,
    ORDERED,
    STRING,
    TIME,
    Type,
)

Example = tuple[str, str]
ResultType = Callable[[tuple[Type, ...]], Type]


# Named functions and `partial`, since entries of the catalogue go to other processes with a plan.
def _constant(type_: Type, _arguments: tuple[Type, ...] | Type) -> Type:
    return type_


def _always(type_: Type) -> ResultType:
    """Return a result that does not depend on the arguments."""
    return partial(_constant, type_)


def _same_number(arguments: tuple[Type, ...]) -> Type:
    return arguments[0] & NUMBER


def _either_branch(arguments: tuple[Type, ...]) -> Type:
    return arguments[1] | arguments[2]


_FLOAT: Final = _always(FLOAT64)

_X: Final = Parameter("x", NUMBER)
_TEXT: Final = Parameter("text", STRING)
_DAY: Final = Parameter("day", DATE | DATETIME)
_TIME_OF_DAY: Final = Parameter("time", TIME | DATETIME)


def _math(
    name: str,
    call: Callable[..., Value],
    summary: str,
    *examples: Example,
    parameters: tuple[Parameter, ...] = (_X,),
    result: ResultType = _FLOAT,
) -> ScalarFunction:
    return ScalarFunction(
        name, Section.MATH, parameters, result, call, Purity.PURE, summary, examples
    )


def _string(
    name: str,
    call: Callable[..., Value],
    summary: str,
    *examples: Example,
    parameters: tuple[Parameter, ...] = (_TEXT,),
    result: Type = STRING,
) -> ScalarFunction:
    return ScalarFunction(
        name, Section.STRING, parameters, _always(result), call, Purity.PURE, summary, examples
    )


def _part(
    parameter: Parameter,
    name: str,
    call: Callable[..., Value],
    summary: str,
    *examples: Example,
) -> ScalarFunction:
    return ScalarFunction(
        name,
        Section.DATE_AND_TIME,
        (parameter,),
        _always(INT),
        call,
        Purity.PURE,
        summary,
        examples,
    )


_SCALARS: Final = (
    _math(
        "ABS",
        scalars.absolute,
        "The number without its sign.",
        ("ABS(-4.5)", "4.5"),
        ("ABS(-4)", "4"),
        result=_same_number,
    ),
    _math(
        "CEIL",
        scalars.ceiling,
        "The least whole number that is not smaller.",
        ("CEIL(1.2)", "2"),
        ("CEIL(-1.2)", "-1"),
        result=_same_number,
    ),
    _math(
        "FLOOR",
        scalars.floor,
        "The greatest whole number that is not larger.",
        ("FLOOR(1.8)", "1"),
        ("FLOOR(-1.2)", "-2"),
        result=_same_number,
    ),
    _math(
        "ROUND",
        scalars.round_half_away,
        "The nearest whole number; of two, the one that is farther from zero.",
        ("ROUND(2.4)", "2"),
        ("ROUND(2.5)", "3"),
        ("ROUND(-2.5)", "-3"),
        result=_same_number,
    ),
    _math("SIN", scalars.sine, "The sine of an angle in radians.", ("SIN(0)", "0")),
    _math("COS", scalars.cosine, "The cosine of an angle in radians.", ("COS(0)", "1")),
    _math("TAN", scalars.tangent, "The tangent of an angle in radians.", ("TAN(0)", "0")),
    _math(
        "EXP",
        scalars.exponential,
        "Euler's number to the power of `x`.",
        ("EXP(0)", "1"),
        ("EXP(1)", "2.718281828459045"),
    ),
    _math(
        "POW",
        scalars.power,
        "`x` to the power of `y`, an error where that is not a real number.",
        ("POW(2, 10)", "1024"),
        ("POW(2, 0.5)", "1.4142135623730951"),
        parameters=(_X, Parameter("y", NUMBER)),
    ),
    _math("SQRT", scalars.square_root, "The square root, an error below 0.", ("SQRT(16)", "4")),
    ScalarFunction(
        "RAND",
        Section.MATH,
        (),
        _always(FLOAT64),
        None,
        Purity.RANDOM,
        "A random number of at least 0 and less than 1, a new one for each row and each call.",
        (),
    ),
    _math(
        "PI",
        scalars.pi,
        "The circumference of a circle of diameter 1.",
        ("PI()", "3.141592653589793"),
        parameters=(),
    ),
    _string(
        "LOWER",
        scalars.lower,
        "The text in lower case, by Unicode's rules.",
        ("LOWER('Dune')", '"dune"'),
    ),
    _string(
        "UPPER",
        scalars.upper,
        "The text in upper case, by Unicode's rules.",
        ("UPPER('Dune')", '"DUNE"'),
    ),
    _string(
        "TRIM",
        scalars.trim,
        "The text without white space at both ends.",
        ("TRIM('  a b ')", '"a b"'),
    ),
    _string(
        "LTRIM",
        scalars.trim_left,
        "The text without white space at its beginning.",
        ("LTRIM('  a b ')", '"a b "'),
    ),
    _string(
        "RTRIM",
        scalars.trim_right,
        "The text without white space at its end.",
        ("RTRIM('  a b ')", '"  a b"'),
    ),
    _string(
        "LEN",
        scalars.length,
        "How many characters (code points) the text has.",
        ("LEN('Dune')", "4"),
        result=INT,
    ),
    _string(
        "INSTR",
        scalars.position_in,
        "The place of the first occurrence of `part`, counted from 1; 0 if there is none.",
        ("INSTR('/books/42', '/')", "1"),
        ("INSTR('/books/42', '42')", "8"),
        ("INSTR('/books/42', 'x')", "0"),
        parameters=(_TEXT, Parameter("part", STRING)),
        result=INT,
    ),
    _string(
        "SUBSTRING",
        scalars.substring,
        "What begins at `start`, counted from 0, and has `length` characters, or goes to the end.",
        ("SUBSTRING('/books/42', 7)", '"42"'),
        ("SUBSTRING('/books/42', 1, 5)", '"books"'),
        ("SUBSTRING('/books/42', 20)", '""'),
        parameters=(_TEXT, Parameter("start", INT), Parameter("length", INT, is_optional=True)),
    ),
    _string(
        "REPLACE",
        scalars.replace,
        "The text with `new` for each `old`; where `old` is empty, the text as it is.",
        ("REPLACE('/books/42', '/', '.')", '".books.42"'),
        parameters=(_TEXT, Parameter("old", STRING), Parameter("new", STRING)),
    ),
    _string(
        "STARTSWITH",
        scalars.starts_with,
        "Whether the text begins so.",
        ("STARTSWITH('/books/42', '/books/')", "true"),
        ("STARTSWITH(null, '/books/')", "false"),
        parameters=(_TEXT, Parameter("prefix", STRING)),
        result=BOOLEAN,
    ),
    _string(
        "ENDSWITH",
        scalars.ends_with,
        "Whether the text ends so.",
        ("ENDSWITH('/books/42', '42')", "true"),
        parameters=(_TEXT, Parameter("suffix", STRING)),
        result=BOOLEAN,
    ),
    ScalarFunction(
        "NOW",
        Section.DATE_AND_TIME,
        (),
        _always(DATETIME),
        None,
        Purity.FIXED_PER_QUERY,
        "The time at which the query began, the same for all of it.",
        (),
    ),
    _part(
        _DAY,
        "YEAR",
        datetimes.year,
        "The year.",
        ("YEAR('2026-11-23T12:30:00Z' AS DATETIME)", "2026"),
        ("YEAR('2026-11-23' AS DATE)", "2026"),
    ),
    _part(
        _DAY,
        "MONTH",
        datetimes.month,
        "The month, from 1 to 12.",
        ("MONTH('2026-11-23' AS DATE)", "11"),
    ),
    _part(
        _DAY,
        "DAY",
        datetimes.day,
        "The day of the month, from 1.",
        ("DAY('2026-11-23' AS DATE)", "23"),
    ),
    _part(
        _DAY,
        "WEEKDAY",
        datetimes.weekday,
        "The day of the week, from 0 for Sunday to 6 for Saturday.",
        ("WEEKDAY('2026-11-23' AS DATE)", "1"),
    ),
    _part(
        _TIME_OF_DAY,
        "HOUR",
        datetimes.hour,
        "The hour, from 0 to 23.",
        ("HOUR('2026-11-23T12:30:00+02:00' AS DATETIME)", "10"),
        ("HOUR('12:30:00' AS TIME)", "12"),
    ),
    _part(
        _TIME_OF_DAY,
        "MINUTE",
        datetimes.minute,
        "The minute, from 0 to 59.",
        ("MINUTE('12:30:00' AS TIME)", "30"),
    ),
    _part(
        _TIME_OF_DAY,
        "SECOND",
        datetimes.second,
        "The second, from 0 to 59, without its fraction.",
        ("SECOND('12:30:05.75' AS TIME)", "5"),
    ),
    ScalarFunction(
        "IF",
        Section.CONDITIONAL,
        (Parameter("condition", BOOLEAN), Parameter("then", ANY), Parameter("else", ANY)),
        _either_branch,
        None,
        Purity.LAZY,
        "One of two values; the other one is not evaluated.",
        (("IF(1 < 2, 'yes', 'no')", '"yes"'), ("IF(null == null, 0, 1 / 0)", "0")),
    ),
)

FUNCTIONS: Final[Mapping[str, ScalarFunction]] = {function.name: function for function in _SCALARS}
"""All scalar functions, by their names in capitals."""


def _or_null(argument: Type) -> Type:
    return argument | NULL


def _sum_type(argument: Type) -> Type:
    # The sum of nothing is the INT 0.
    return INT if argument <= INT else NUMBER


_FLOAT_OR_NULL: Final = partial(_constant, FLOAT64 | NULL)


def _statistic(
    name: str,
    start: Callable[[], Accumulator],
    summary: str,
    *examples: Example,
    result: Callable[[Type], Type] = _FLOAT_OR_NULL,
    holds_values: bool = False,
) -> Aggregate:
    return Aggregate(name, _X, result, start, holds_values, summary, examples)


def _choice(
    name: str, types: Type, start: Callable[[], Accumulator], summary: str, *examples: Example
) -> Aggregate:
    parameter = Parameter("x", types)
    return Aggregate(
        name, parameter, _or_null, start, holds_values=False, summary=summary, examples=examples
    )


_AGGREGATES: Final = (
    Aggregate(
        "COUNT",
        Parameter("condition", BOOLEAN, is_optional=True),
        partial(_constant, INT),
        Count,
        holds_values=False,
        summary="How many rows there are, or for how many of them `condition` is TRUE.",
        examples=(("[true, false, null, true]", "2"), ("[]", "0")),
    ),
    _statistic(
        "SUM",
        partial(Total, "SUM", sum_of),
        "The sum, an INT if all values are; 0 without values.",
        ("[1, 2, 3.5]", "6.5"),
        ("[1e16, 1.5, -1e16]", "1.5"),
        ("[]", "0"),
        result=_sum_type,
    ),
    _statistic("AVG", partial(Total, "AVG", mean_of), "The average.", ("[23, 42]", "32.5")),
    _choice(
        "MIN",
        ORDERED,
        minimum,
        "The least value; all have to be numbers, or of one kind.",
        ("[3, 1, 2]", "1"),
        ('["b", "a"]', '"a"'),
        ("[]", "null"),
    ),
    _choice(
        "MAX",
        ORDERED,
        maximum,
        "The greatest value; all have to be numbers, or of one kind.",
        ("[3, 1, null]", "3"),
    ),
    _statistic(
        "MEDIAN",
        Median,
        "The middle value, or the average of the two in the middle.",
        ("[5, 1, 3]", "3"),
        ("[75000, 82000]", "78500"),
        holds_values=True,
    ),
    _statistic(
        "STDDEV",
        partial(Moments, "STDDEV", deviation_of),
        "The standard deviation of the values as a whole population.",
        ("[2, 4, 4, 4, 5, 5, 7, 9]", "2"),
    ),
    _statistic(
        "VARIANCE",
        partial(Moments, "VARIANCE", variance_of),
        "The variance of the values as a whole population.",
        ("[2, 4, 4, 4, 5, 5, 7, 9]", "4"),
    ),
    _choice(
        "UNIQUE",
        ANY - NULL,
        First,
        "The first value in the order of the source, for what is the same in each row of a group.",
        ('["a", "a"]', '"a"'),
        ('[null, "b", "c"]', '"b"'),
    ),
)

AGGREGATES: Final[Mapping[str, Aggregate]] = {
    aggregate.name: aggregate for aggregate in _AGGREGATES
}
"""All aggregates, by their names in capitals."""
