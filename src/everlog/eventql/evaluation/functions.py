"""Functions and aggregates: what an entry of the catalogue says about one.

The analyzer checks calls against it, the compiler calls what it names, the documentation is
generated from it. Which ones there are stands in `catalogue`.

NULL in, NULL out: a scalar function is not called where an argument is NULL; its value is NULL
then, or FALSE for a function whose result is BOOLEAN. IF is the exception, see `Purity.LAZY`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from everlog.eventql.evaluation.aggregates import Accumulator
from everlog.eventql.evaluation.values import Value
from everlog.eventql.types import Type


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
    # Evaluated by the executor itself, since not all arguments may be evaluated: IF. Its branches
    # may be NULL, so that the types of its parameters and of its arguments are with NULL.
    LAZY = "lazy"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument: its name in messages and documentation, and the kinds it may have.

    `types` is without NULL, see the module's text.
    """

    name: str
    types: Type
    is_optional: bool = False


@dataclass(frozen=True, slots=True)
class ScalarFunction:
    """A function of one row's values.

    `call` is None for those that the executor evaluates itself (NOW, RAND, IF); it gets values of
    the parameters' kinds, none of them NULL, and raises `values.EvaluationError`.
    `result` tells the type of the result from the types of the arguments; neither has NULL in it.
    Kinds that a parameter does not take are no matter.
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
    summary: str
    # JSON arrays of values, and the JSON value that comes of them.
    examples: tuple[tuple[str, str], ...]
