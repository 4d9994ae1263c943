"""The memory budget: what a query keeps in memory, and the end of a query that keeps too much.

Sizes are estimates, rather too large than too small: what counts is that a query cannot take the
memory of the server, not the last byte.
"""

import sys
from typing import Any, Final

from everlog.eventql.diagnostic import QueryLimitError
from everlog.eventql.limits import QueryLimits

# A number, a date, a boolean with what refers to it.
_SCALAR_SIZE: Final = 40
# A list, a dict or a tuple without what is in it, and what each item takes there.
_CONTAINER_SIZE: Final = 80
_ITEM_SIZE: Final = 16
_ENTRY_SIZE: Final = 100

# Texts up to this length are taken for part of their group's state.
TEXT_LENGTH_USUAL: Final = 256


class MemoryBudget:
    """The rows that one execution of a query holds, and roughly their bytes, up to its limits."""

    __slots__ = ("_limits", "rows", "size")

    def __init__(self, limits: QueryLimits) -> None:
        self._limits = limits
        self.rows = 0
        self.size = 0

    def add(self, rows: int, size: int) -> None:
        """Account for more, or with negative numbers for less.

        Raises:
            QueryLimitError: It is too much.
        """
        self.rows += rows
        self.size += size
        if self.rows > self._limits.held_rows_max:
            _refuse(f"{self._limits.held_rows_max} rows")
        if self.size > self._limits.held_size_max:
            _refuse(f"{self._limits.held_size_max} bytes of rows")

    def hold(self, value: Any) -> Any:
        """Account for a value, and return it."""
        if value is not None:
            self.add(0, size_of(value))
        return value

    def exchange(self, old: Any, new: Any) -> Any:
        """Account for a value that takes the place of another one, and return it."""
        self.add(0, size_of(new) - (0 if old is None else size_of(old)))
        return new

    def hold_number(self, value: Any) -> Any:
        """Account for one of many numbers, and return it."""
        self.add(0, _SCALAR_SIZE)
        return value

    def hold_text(self, value: Any) -> Any:
        """Account for a value that may take the place of one like it, and return it.

        Only of texts that are longer than usual nothing is known of the one before.
        """
        if type(value) is str and len(value) > TEXT_LENGTH_USUAL:
            self.add(0, size_of(value))
        return value


def _refuse(limit: str) -> None:
    raise QueryLimitError(
        f"the query has to hold more than {limit} in memory to sort, group, tell apart or combine "
        "them; select fewer rows with WHERE, or project less of them"
    )


def size_of(value: Any) -> int:
    """Return roughly how many bytes of memory a value takes."""
    kind = type(value)
    if kind is str or kind is bytes:
        return sys.getsizeof(value)
    if kind not in _CONTAINERS:
        return _SCALAR_SIZE
    size = 0
    pending = [value]
    while pending:
        container = pending.pop()
        if type(container) is dict:
            size += _CONTAINER_SIZE + _ENTRY_SIZE * len(container)
            items = [*container, *container.values()]
        else:
            size += _CONTAINER_SIZE + _ITEM_SIZE * len(container)
            items = container
        for item in items:
            kind = type(item)
            if kind is str or kind is bytes:
                size += sys.getsizeof(item)
            elif kind in _CONTAINERS:
                pending.append(item)
            else:
                size += _SCALAR_SIZE
    return size


_CONTAINERS: Final = frozenset({list, tuple, dict})
