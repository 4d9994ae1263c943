"""Types: what kinds of values an expression may have.

A type is the set of the kinds that its values can be of, as far as the query alone tells. Only
what is impossible for every kind of the set is an error before the first row; all the rest is
judged value by value. `data` is JSON, so that its fields can be of any kind JSON has.
"""

from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """What a value is; the value of a member is its name in messages, and after AS."""

    NULL = "NULL"
    BOOLEAN = "BOOLEAN"
    INT = "INT"
    FLOAT64 = "FLOAT64"
    STRING = "STRING"
    DATE = "DATE"
    TIME = "TIME"
    DATETIME = "DATETIME"
    ARRAY = "array"
    RECORD = "record"


class UnaryOperator(StrEnum):
    """Operators before their operand."""

    NOT = "NOT"
    PLUS = "+"
    MINUS = "-"


class BinaryOperator(StrEnum):
    """Operators between their operands; see `grammar.ebnf` for what binds how tightly."""

    OR = "OR"
    XOR = "XOR"
    AND = "AND"
    EQUAL = "=="
    NOT_EQUAL = "!="
    LESS = "<"
    LESS_OR_EQUAL = "<="
    GREATER = ">"
    GREATER_OR_EQUAL = ">="
    CONTAINS = "CONTAINS"
    ADD = "+"
    SUBTRACT = "-"
    MULTIPLY = "*"
    DIVIDE = "/"


Type = frozenset[Kind]

# The kinds that a value can be converted to with AS.
CONVERSION_TARGETS: Final = (
    Kind.STRING,
    Kind.INT,
    Kind.FLOAT64,
    Kind.BOOLEAN,
    Kind.DATE,
    Kind.TIME,
    Kind.DATETIME,
)

NULL: Final = frozenset({Kind.NULL})
BOOLEAN: Final = frozenset({Kind.BOOLEAN})
INT: Final = frozenset({Kind.INT})
FLOAT64: Final = frozenset({Kind.FLOAT64})
NUMBER: Final = frozenset({Kind.INT, Kind.FLOAT64})
STRING: Final = frozenset({Kind.STRING})
DATE: Final = frozenset({Kind.DATE})
TIME: Final = frozenset({Kind.TIME})
DATETIME: Final = frozenset({Kind.DATETIME})
ARRAY: Final = frozenset({Kind.ARRAY})
RECORD: Final = frozenset({Kind.RECORD})
ANY: Final = frozenset(Kind)
JSON: Final = ANY - {Kind.DATE, Kind.TIME, Kind.DATETIME}
# What can be compared with `<`, each kind with itself only (numbers with each other).
ORDERED: Final = ANY - {Kind.NULL, Kind.ARRAY, Kind.RECORD}

# What AS can make of each kind, at least of some of its values; NULL becomes NULL of every kind.
CONVERTIBLE: Final[dict[Kind, Type]] = {
    Kind.NULL: frozenset(CONVERSION_TARGETS),
    Kind.BOOLEAN: STRING | BOOLEAN,
    Kind.INT: STRING | NUMBER,
    Kind.FLOAT64: STRING | NUMBER,
    Kind.STRING: frozenset(CONVERSION_TARGETS),
    Kind.DATE: STRING | DATE | DATETIME,
    Kind.TIME: STRING | TIME,
    Kind.DATETIME: STRING | DATE | TIME | DATETIME,
    Kind.ARRAY: frozenset(),
    Kind.RECORD: frozenset(),
}

# The fields of an event, in the order in which it is served; source: EventQL, event fields.
EVENT_FIELDS: Final[dict[str, Type]] = {
    "specversion": STRING,
    "id": STRING,
    "time": DATETIME,
    "source": STRING,
    "subject": STRING,
    "type": STRING,
    "datacontenttype": STRING,
    "traceparent": STRING | NULL,
    "tracestate": STRING | NULL,
    "data": RECORD,
    "predecessorhash": STRING,
    "hash": STRING,
    "signature": STRING | NULL,
}
