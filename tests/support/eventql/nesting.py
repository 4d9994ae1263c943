"""Nesting: queries whose subqueries nest values more deeply than one text can."""

from everlog.eventql.limits import NESTING_MAX

ARRAYS = ("[", "]")
RECORDS = ("{a:", "}")


def nested_source(levels: int, brackets: tuple[str, str], *, source: str, clause: str = "") -> str:
    """Return a source whose rows are those of another one inside of so many brackets."""
    opening, closing = brackets
    subqueries = 0
    while levels:
        # Each subquery stands in the parentheses of those around it.
        count = min(levels, NESTING_MAX // 2)
        nested = f"{opening * count}e{closing * count}"
        source = f"(FROM e IN {source} {clause} PROJECT INTO {nested})"
        levels -= count
        subqueries += 1
    assert subqueries < NESTING_MAX // 2
    return source
