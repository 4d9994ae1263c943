"""The catalogue of functions and aggregates: what there is, as data.

The analyzer checks calls against it, the compiler calls what it names, the documentation is
generated from it. How a function computes stands in `scalars`, an aggregate in `aggregates`.

NULL in, NULL out: a scalar function is not called where an argument is NULL; its value is NULL
then, or FALSE for a function whose result is BOOLEAN.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from everlog.eventql.types import Type
from everlog.eventql.values import Value


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
    # Evaluated by the executor itself, since not all arguments may be evaluated: IF.
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
    `result` tells the type of the result from the types of the arguments (without NULL).
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
    """A function of the values of many rows; `start` makes an empty accumulator."""

    name: str
    parameter: Parameter | None
    result: Callable[[Type], Type]
    start: "Callable[[], Accumulator]"
    summary: str
