"""Upper bounds on what a query may be and may need, each with its reason.

Queries are hostile text. What a text alone exceeds is refused before any row, as malformed; what
only the log makes too much ends the query with `QueryLimitError`.

Depth is bounded so that every stage may walk trees recursively: Python gives a thread 1,000
frames, of which a server or a test may already use 200. The parser needs at most 6 frames for
each level of nesting; comparing or hashing a tree needs 3 for each level of the tree. A stage
may use up to 5 for each level of a tree and 5 for each subquery around it.
"""

from dataclasses import dataclass
from typing import Final

# In characters. People write hundreds of them, programs thousands; lexer and parser take about
# a tenth of a second for this many.
QUERY_LENGTH_MAX: Final = 64 * 1024

# Parentheses, arrays, records, calls and subqueries that are open at once.
NESTING_MAX: Final = 100

# Levels of one expression's tree; each operand of `1 + 1 + ...` adds one, since `+` has to be
# evaluated from the left. Chains of AND, OR or XOR add one whenever their length doubles: their
# grouping has no meaning, so that the parser groups them evenly, and programs may generate
# thousands of alternatives.
TREE_DEPTH_MAX: Final = 128

# Subqueries within subqueries. Every row passes through all of them, each some frames deep.
QUERY_DEPTH_MAX: Final = 16

# Sources of one query (FROM, not counting those of subqueries): what is evaluated is their product.
SOURCES_MAX: Final = 16

# Levels of arrays and records within each other, in any value that a query makes. `NESTING_MAX`
# brackets around an event, whose data has `domain.limits.JSON_NESTING_MAX` levels, need 162; what
# subqueries nest further has to end somewhere. Data of earlier versions may have 67 levels more.
# Writing or comparing a value takes 2 frames for each level, beyond which 400 are left for the
# server and the query around it.
VALUE_DEPTH_MAX: Final = 192

# The same in a row, around which version 2 has two more: what clients read has 64 levels at most
# (`domain.limits`). An event fits, and so does a record of its fields; what a query nests further
# is looked at row by row. Fields of events that are so deep already are not: they are from earlier
# versions, and can be read no other way.
ROW_DEPTH_MAX: Final = 64 - 2

# Fields of one path. Data of earlier versions is at most 128 levels deep.
PATH_LENGTH_MAX: Final = 150

# Characters of a string that a function returns. Stored strings are at most 128 KiB, literals
# 64 KiB; REPLACE may make thousands of each character, and REPLACE of that thousands of those.
STRING_LENGTH_MAX: Final = 1024 * 1024

# Items, keys and characters of one row. A row may name the same event again and again, and a
# subquery's row may be named likewise: without a limit a short query's row would fill the disk.
VALUE_SIZE_MAX: Final = 16 * 1024 * 1024

# Bytes of one row as JSON: whoever sends it to a client has it in memory as a whole, and most
# characters may be six bytes long.
ROW_SIZE_MAX: Final = 16 * 1024 * 1024

# Bytes of what a precondition has aggregated, which is kept until its write is decided.
AGGREGATES_SIZE_MAX: Final = 1024 * 1024

# Bytes that a process may take for a query. What a query may hold is bounded below, and estimated
# rather too high: this is for all that nobody has thought of.
PROCESS_MEMORY_MAX: Final = 1024 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryLimits:
    """What one query may take while it runs; the defaults are meant for a server."""

    # Combinations of rows of several sources. A core judges some millions in a second.
    product_rows_max: int = 100_000_000

    # Rows that are kept to be sorted, grouped, told apart or combined with others.
    held_rows_max: int = 5_000_000

    # Bytes, roughly, that those rows and their keys take in memory.
    held_size_max: int = 512 * 1024 * 1024
