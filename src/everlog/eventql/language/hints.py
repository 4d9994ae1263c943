"""Hints: what people write who know other languages, and what they should write here.

Lexer, parser and analyzer look up what they cannot accept, so that the message can have a hint;
whether a word exists is not decided here. Words are found whatever their casing, and where they
are not known themselves, by their likeness to those that are.
"""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Final

_QUOTES_HINT: Final = "strings stand between straight quotes, ' or \""

# What no token begins with (or is, where it looks like several), and the hint for it.
SYMBOLS: Final[dict[str, str]] = {
    "=": "did you mean '=='?",
    "=>": "did you mean '>='?",
    "=<": "did you mean '<='?",
    "<>": "did you mean '!='?",
    "!": "did you mean 'NOT'?",
    "&": "did you mean 'AND'?",
    "&&": "did you mean 'AND'?",
    "|": "did you mean 'OR'?",
    "||": "did you mean 'OR'? (strings are joined by CONCAT(a, b))",
    "%": "use MOD(x, y)",
    "^": "did you mean 'POW(x, y)'?",
    "~": "there are no regular expressions",
    "#": "comments are // to the end of the line, or /* ... */",
    ";": "a text is one query, without a semicolon",
    "\\": "a backslash has no meaning outside of strings, and none of its own within",
    "`": 'a field name that is no identifier stands between quotes: e.data."..."',
    "\u2018": _QUOTES_HINT,
    "\u2019": _QUOTES_HINT,
    "\u201a": _QUOTES_HINT,
    "\u201c": _QUOTES_HINT,
    "\u201d": _QUOTES_HINT,
    "\u201e": _QUOTES_HINT,
    "\u00ab": _QUOTES_HINT,
    "\u00bb": _QUOTES_HINT,
    "\u2013": "did you mean '-'?",
    "\u2212": "did you mean '-'?",
    "\u00d7": "did you mean '*'?",
    "\u2260": "did you mean '!='?",
    "\u2264": "did you mean '<='?",
    "\u2265": "did you mean '>='?",
    "\u00a0": "this is a no-break space: use a plain one",
    "\ufeff": "this is a byte order mark: leave it out",
}

# Letters outside of a-z, which identifiers do not have.
LETTER_HINT: Final = 'names with other letters stand between quotes: e.data."..."'

STRING_HINT: Final = "a string ends with the quote that it began with, on the same line"

# A string that is followed by what was probably meant to be a part of it.
QUOTE_HINT: Final = "a string cannot contain its own quote: use quotes of the other kind around it"

COMMENT_HINT: Final = "a block comment ends with '*/'"

# A text that begins with something else than FROM.
BEGINNING_HINT: Final = "a query begins with FROM and ends with PROJECT INTO"

# Where a condition, an operator or the next clause could go on.
AFTER_OPERAND: Final[dict[str, str]] = {
    "LIKE": "use STARTSWITH(x, 'a'), ENDSWITH(x, 'a') or INSTR(x, 'a') > 0",
    "ILIKE": "use STARTSWITH(LOWER(x), 'a') or INSTR(LOWER(x), 'a') > 0",
    "MATCHES": "there are no regular expressions",
    "REGEXP": "there are no regular expressions",
    "IN": "use [a, b] CONTAINS x",
    "BETWEEN": "use x >= a AND x <= b",
    "IS": "use x == null or x != null",
    "NOT": "NOT stands before a whole condition: NOT [a, b] CONTAINS x",
    "MOD": "use MOD(x, y)",
    "DIV": "use FLOOR(a / b)",
    "LIMIT": "TOP limits the number of rows: TOP 10",
    "FETCH": "TOP limits the number of rows: TOP 10",
    "OFFSET": "SKIP leaves out the first rows: SKIP 10",
    "SELECT": "what a query returns stands at its end: PROJECT INTO x",
    "RETURN": "what a query returns stands at its end: PROJECT INTO x",
    "JOIN": "several FROM make a product, and WHERE chooses from it",
    "UNION": "a query has one result: combine conditions with OR",
    "ORDERBY": "did you mean 'ORDER BY'?",
    "GROUPBY": "did you mean 'GROUP BY'?",
    "INTO": "did you mean 'PROJECT INTO'?",
    "ASCENDING": "did you mean 'ASC'?",
    "DESCENDING": "did you mean 'DESC'?",
    "[": "elements of arrays cannot be picked; CONTAINS tells whether there is one",
    ".": "only an alias has fields: e.data.x",
    "(": "only functions can be called: ABS(x)",
}

# Where an expression should begin.
BEFORE_OPERAND: Final[dict[str, str]] = {
    "*": "an alias alone is the whole row, and COUNT() counts rows",
    ".": "a number has digits before its point: 0.5",
    "DISTINCT": "DISTINCT stands directly after PROJECT INTO",
    "FROM": "a subquery is a source: FROM x IN (FROM ...)",
    "CONTAINS": "CONTAINS stands between an array and a value: [a, b] CONTAINS x",
    "NOT": "put NOT and its operand between parentheses",
}

# Words that are names here, and begin expressions elsewhere.
EXPRESSIONS: Final[dict[str, str]] = {
    "CASE": "use IF(condition, a, b)",
    "EXISTS": "project COUNT() > 0 in a query of its own",
}

# Likewise, with a string behind them.
LITERALS: Final[dict[str, str]] = {
    "DATE": "use '2026-01-31' AS DATE",
    "TIME": "use '12:00:00' AS TIME",
    "TIMESTAMP": "use '2026-01-31T12:00:00Z' AS DATETIME",
    "DATETIME": "use '2026-01-31T12:00:00Z' AS DATETIME",
    "INTERVAL": "there are no durations",
}


# The comparison takes time that grows with the product of the lengths, and words come from
# hostile texts. No word of ours is half as long.
_LENGTH_MAX: Final = 40


def most_alike(word: str, known: Iterable[str], *, likeness_min: float) -> str | None:
    """Return the known word that looks most like a word, if there is one; casing is no matter.

    Likeness is from 0 to 1. Two neighbours that are exchanged are alike in any case: they make
    much of a short word.
    """
    if len(word) > _LENGTH_MAX:
        return None
    folded = word.lower()
    by_folded = {each.lower(): each for each in known if len(each) <= _LENGTH_MAX}
    found = get_close_matches(folded, by_folded, n=1, cutoff=likeness_min)
    found = found or [each for each in by_folded if _is_exchanged(folded, each)]
    return by_folded[found[0]] if found else None


def _is_exchanged(word: str, other: str) -> bool:
    """Tell whether two words differ by two neighbours in the other order."""
    if len(word) != len(other):
        return False
    different = [index for index in range(len(word)) if word[index] != other[index]]
    if len(different) != 2 or different[1] != different[0] + 1:
        return False
    first, second = different
    return word[first] == other[second] and word[second] == other[first]


# The least likeness, from 0 to 1; `length` has 0.67 with `len`, `timestamp` 0.62 with `time`.
LIKENESS_MIN: Final = 0.6

# What other languages call the things that EventQL has; lower case.
FOREIGN_FUNCTIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "average": "AVG",
        "char_length": "LEN",
        "current_timestamp": "NOW",
        "first_value": "FIRST",
        "any_value": "UNIQUE",
        "if_else": "IF",
        "iff": "IF",
        "iif": "IF",
        "last_value": "LAST",
        "latest": "LAST",
        "length": "LEN",
        "locate": "INSTR",
        "position": "INSTR",
        "random": "RAND",
        "remainder": "MOD",
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
