"""The catalogue: all functions and aggregates, as data.

The analyzer checks calls against an entry, the planner asks it what cannot fail, generated code
calls what it names, and the documentation is made of it. How a function computes stands in
`scalars` and `datetimes`, an aggregate in `aggregates`. The examples are tests, too.

NULL in, NULL out: a scalar function is not called where an argument is NULL; its value is NULL
then, or FALSE for a function whose result is BOOLEAN. IF is the exception, see `Purity.LAZY`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any, Final

from everlog.eventql.evaluation import datetimes, scalars
from everlog.eventql.evaluation.aggregates import (
    Accumulator,
    Count,
    First,
    Last,
    Median,
    Moments,
    Total,
    deviation_of,
    maximum,
    mean_of,
    minimum,
    sum_of,
    variance_of,
)
from everlog.eventql.evaluation.operators import kind_of
from everlog.eventql.evaluation.values import EvaluationError, Value
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
    Kind,
    Type,
)


class Section(StrEnum):
    """Where the documentation lists a function."""

    MATH = "Math"
    STRING = "String"
    DATE_AND_TIME = "Date and time"
    CONDITIONAL = "Conditional"
    AGGREGATE = "Aggregate"


class Purity(StrEnum):
    """What the value of a call depends on."""

    # On the arguments alone.
    PURE = "pure"
    # On the time of the query too: NOW.
    FIXED_PER_QUERY = "fixed per query"
    # On nothing: each evaluation gives another value: RAND.
    RANDOM = "random"
    # Evaluated by generated code itself, since not all arguments may be evaluated: IF. Its branches
    # may be NULL, so that the types of its parameters and of its arguments are with NULL.
    LAZY = "lazy"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument: its name in messages and documentation, and the kinds it may have.

    `types` is without NULL, see the module's text. A repeated one is the last, and is there once
    or more often.
    """

    name: str
    types: Type
    is_optional: bool = False
    is_repeated: bool = False


def parameters_of(parameters: tuple[Parameter, ...], count: int) -> tuple[Parameter, ...]:
    """Return the parameter of each of `count` arguments; fewer, if there are not so many."""
    if count > len(parameters) and parameters and parameters[-1].is_repeated:
        return parameters + parameters[-1:] * (count - len(parameters))
    return parameters[:count]


@dataclass(frozen=True, slots=True)
class ScalarFunction:
    """A function of one row's values.

    `call` is None for those that generated code evaluates itself (NOW, RAND, IF); it gets values of
    the parameters' kinds, none of them NULL, and raises `values.EvaluationError`.
    `result` tells the type of the result from the types of the arguments; neither has NULL in it.
    Kinds that a parameter does not take are no matter.
    `is_total` is a promise: there is a value for all arguments of the parameters' kinds.
    """

    name: str
    section: Section
    parameters: tuple[Parameter, ...]
    result: Callable[[tuple[Type, ...]], Type]
    call: Callable[..., Value] | None
    purity: Purity
    # For the documentation: one sentence, and pairs of expression and JSON value.
    summary: str
    examples: tuple[tuple[str, str], ...]
    is_total: bool = False

    def checked(self) -> Callable[..., Value]:
        """Return what to call with values of any kind: it looks at them first.

        The function raises `EvaluationError` where a value is of a kind that it does not take.
        """
        call = self.call
        assert call is not None
        name, parameters = self.name, self.parameters
        is_boolean = self.result(tuple(parameter.types for parameter in parameters)) == BOOLEAN
        value_of_null = False if is_boolean else None
        is_repeated = any(parameter.is_repeated for parameter in parameters)

        def call_checked(*arguments: Any) -> Value:
            for argument in arguments:
                if argument is None:
                    return value_of_null
            taken = parameters_of(parameters, len(arguments)) if is_repeated else parameters
            for argument, parameter in zip(arguments, taken, strict=False):
                if kind_of(argument) not in parameter.types:
                    raise EvaluationError(
                        f"{name} expects {_listed(parameter.types)} for '{parameter.name}',"
                        f" but found {kind_of(argument)}"
                    )
            return call(*arguments)

        return call_checked


def _listed(kinds: Type) -> str:
    return " or ".join(kind.value for kind in Kind if kind in kinds)


@dataclass(frozen=True, slots=True)
class Aggregate:
    """A function of the values of many rows; `start` makes an empty accumulator.

    `result` tells the type of the result from that of the argument, with NULL where there may be
    no value at all. The argument of COUNT may be left out.
    """

    name: str
    parameter: Parameter
    result: Callable[[Type], Type]
    start: Callable[[], Accumulator]
    # Whether each value stays in memory as long as the accumulator.
    holds_values: bool
    # Whether it is one of the values, chosen by its place among the rows: their order matters.
    is_by_place: bool
    summary: str
    # JSON arrays of values, and the JSON value that comes of them.
    examples: tuple[tuple[str, str], ...]


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


def _calculated_number(arguments: tuple[Type, ...]) -> Type:
    """Return the kinds of a calculation: INT of INTs only, else FLOAT64."""
    left, right = arguments
    return (left & right & INT) | ((left | right) & FLOAT64)


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
    is_total: bool = False,
) -> ScalarFunction:
    return ScalarFunction(
        name,
        Section.MATH,
        parameters,
        result,
        call,
        Purity.PURE,
        summary,
        examples,
        is_total=is_total,
    )


def _string(
    name: str,
    call: Callable[..., Value],
    summary: str,
    *examples: Example,
    parameters: tuple[Parameter, ...] = (_TEXT,),
    result: Type = STRING,
    is_total: bool = False,
) -> ScalarFunction:
    return ScalarFunction(
        name,
        Section.STRING,
        parameters,
        _always(result),
        call,
        Purity.PURE,
        summary,
        examples,
        is_total=is_total,
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
        is_total=True,
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
        is_total=True,
    ),
    _math(
        "FLOOR",
        scalars.floor,
        "The greatest whole number that is not larger.",
        ("FLOOR(1.8)", "1"),
        ("FLOOR(-1.2)", "-2"),
        result=_same_number,
        is_total=True,
    ),
    _math(
        "ROUND",
        scalars.round_half_away,
        "The nearest whole number; of two, the one that is farther from zero.",
        ("ROUND(2.4)", "2"),
        ("ROUND(2.5)", "3"),
        ("ROUND(-2.5)", "-3"),
        result=_same_number,
        is_total=True,
    ),
    _math("SIN", scalars.sine, "The sine of an angle in radians.", ("SIN(0)", "0"), is_total=True),
    _math(
        "COS", scalars.cosine, "The cosine of an angle in radians.", ("COS(0)", "1"), is_total=True
    ),
    _math(
        "TAN",
        scalars.tangent,
        "The tangent of an angle in radians.",
        ("TAN(0)", "0"),
        is_total=True,
    ),
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
    _math(
        "MOD",
        scalars.remainder,
        "What is left of `x` when `y` is taken away as often as it fits; it has the sign of `x`.",
        ("MOD(7, 3)", "1"),
        ("MOD(-7, 3)", "-1"),
        ("MOD(7.5, 2)", "1.5"),
        parameters=(_X, Parameter("y", NUMBER)),
        result=_calculated_number,
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
        is_total=True,
    ),
    _math(
        "PI",
        scalars.pi,
        "The circumference of a circle of diameter 1.",
        ("PI()", "3.141592653589793"),
        parameters=(),
        is_total=True,
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
        is_total=True,
    ),
    _string(
        "LTRIM",
        scalars.trim_left,
        "The text without white space at its beginning.",
        ("LTRIM('  a b ')", '"a b "'),
        is_total=True,
    ),
    _string(
        "RTRIM",
        scalars.trim_right,
        "The text without white space at its end.",
        ("RTRIM('  a b ')", '"  a b"'),
        is_total=True,
    ),
    _string(
        "LEN",
        scalars.length,
        "How many characters (code points) the text has.",
        ("LEN('Dune')", "4"),
        result=INT,
        is_total=True,
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
        is_total=True,
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
        "CONCAT",
        scalars.concatenate,
        "Two or more texts, one behind the other.",
        ("CONCAT('/books/', '42')", '"/books/42"'),
        ("CONCAT('Dune', ', ', 1965 AS STRING)", '"Dune, 1965"'),
        ("CONCAT('Dune', null)", "null"),
        parameters=(_TEXT, Parameter("other", STRING, is_repeated=True)),
    ),
    _string(
        "STARTSWITH",
        scalars.starts_with,
        "Whether the text begins so.",
        ("STARTSWITH('/books/42', '/books/')", "true"),
        ("STARTSWITH(null, '/books/')", "false"),
        parameters=(_TEXT, Parameter("prefix", STRING)),
        result=BOOLEAN,
        is_total=True,
    ),
    _string(
        "ENDSWITH",
        scalars.ends_with,
        "Whether the text ends so.",
        ("ENDSWITH('/books/42', '42')", "true"),
        parameters=(_TEXT, Parameter("suffix", STRING)),
        result=BOOLEAN,
        is_total=True,
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
        is_total=True,
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
    return Aggregate(
        name, _X, result, start, holds_values, is_by_place=False, summary=summary, examples=examples
    )


def _choice(
    name: str,
    types: Type,
    start: Callable[[], Accumulator],
    summary: str,
    *examples: Example,
    is_by_place: bool = False,
) -> Aggregate:
    return Aggregate(
        name,
        Parameter("x", types),
        _or_null,
        start,
        holds_values=False,
        is_by_place=is_by_place,
        summary=summary,
        examples=examples,
    )


_AGGREGATES: Final = (
    Aggregate(
        "COUNT",
        Parameter("condition", BOOLEAN, is_optional=True),
        partial(_constant, INT),
        Count,
        holds_values=False,
        is_by_place=False,
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
        is_by_place=True,
    ),
    _choice(
        "FIRST",
        ANY - NULL,
        First,
        "The value of the first row.",
        ("[3, 1, 2]", "3"),
        ('[null, "b", "c"]', '"b"'),
        ("[]", "null"),
        is_by_place=True,
    ),
    _choice(
        "LAST",
        ANY - NULL,
        Last,
        "The value of the last row.",
        ("[3, 1, 2]", "2"),
        ('["a", "b", null]', '"b"'),
        is_by_place=True,
    ),
)

AGGREGATES: Final[Mapping[str, Aggregate]] = {
    aggregate.name: aggregate for aggregate in _AGGREGATES
}
"""All aggregates, by their names in capitals."""

EXTREMES: Final = frozenset({"MIN", "MAX"})
"""Aggregates that are one of the values, chosen by their order."""
