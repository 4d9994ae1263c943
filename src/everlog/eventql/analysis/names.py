"""Names: which of the known ones somebody probably meant.

Used for hints only: whether a name exists is not decided here.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from everlog.eventql.language.likeness import most_alike

# The least likeness, from 0 to 1; `length` has 0.67 with `len`, `timestamp` 0.62 with `time`.
LIKENESS_MIN: Final = 0.6

# What other languages call the things that EventQL has; lower case.
FOREIGN_FUNCTIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "average": "AVG",
        "char_length": "LEN",
        "current_timestamp": "NOW",
        "first": "UNIQUE",
        "first_value": "UNIQUE",
        "any_value": "UNIQUE",
        "if_else": "IF",
        "iff": "IF",
        "iif": "IF",
        "length": "LEN",
        "locate": "INSTR",
        "position": "INSTR",
        "random": "RAND",
        "starts_with": "STARTSWITH",
        "ends_with": "ENDSWITH",
        "strpos": "INSTR",
        "strlen": "LEN",
        "std": "STDDEV",
        "substr": "SUBSTRING",
        "to_lower": "LOWER",
        "to_upper": "UPPER",
    }
)
FOREIGN_FIELDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "eventtype": "type",
        "event_type": "type",
        "payload": "data",
        "position": "id",
        "timestamp": "time",
    }
)
FOREIGN_TYPES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "bigint": "INT",
        "bool": "BOOLEAN",
        "decimal": "FLOAT64",
        "double": "FLOAT64",
        "float": "FLOAT64",
        "int64": "INT",
        "integer": "INT",
        "number": "FLOAT64",
        "numeric": "FLOAT64",
        "real": "FLOAT64",
        "text": "STRING",
        "timestamp": "DATETIME",
        "varchar": "STRING",
    }
)
NO_FOREIGN_NAMES: Final[Mapping[str, str]] = MappingProxyType({})


def nearest(
    name: str,
    known: Iterable[str],
    *,
    foreign: Mapping[str, str] = NO_FOREIGN_NAMES,
    likeness_min: float = LIKENESS_MIN,
) -> str | None:
    """Return the known name that looks most like a name, if there is one; casing is no matter."""
    folded = name.lower()
    if folded in foreign:
        return foreign[folded]
    return most_alike(name, known, likeness_min=likeness_min)
