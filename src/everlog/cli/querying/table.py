"""Rows as a table for people: window by window, each column as wide as it needs and the screen has.

The columns are the members of the records, in the order in which they first come; what is no
record stands in a column of its own. NULL is `null`, a member that a record lacks is left empty;
strings that would look like something else stand in quotes, and numbers at the right.
Where the columns of a record do not fit side by side, they stand below each other.
"""

from typing import Final, NamedTuple

from everlog.cli.querying.forms import read_members, read_string
from everlog.cli.querying.text import shorten, to_printable, width_of

# As many rows as a screen or two: columns are as wide as these need.
WINDOW_ROWS: Final = 200
# Rows may be large.
_WINDOW_SIZE_MAX: Final = 4 * 1024 * 1024

# Less of a column says nothing: then they stand below each other.
_COLUMN_WIDTH_MIN: Final = 8
# Records that are used as dictionaries have other members each.
_COLUMNS_MAX: Final = 100

_BETWEEN: Final = " | "
_AMBIGUOUS: Final = frozenset({"", "null", "true", "false"})
_NUMBER_STARTS: Final = frozenset(b"-0123456789")


class Cell(NamedTuple):
    """What is shown of a value."""

    text: str
    is_number: bool


_MISSING: Final = Cell("", is_number=False)


class TableWriter:
    """Writes tables; without a width they are as wide as they need."""

    def __init__(self, *, width_max: int | None) -> None:
        """Begin before the first row."""
        self._width_max = width_max
        self._window: list[dict[str, Cell]] = []
        self._window_size = 0
        self._row_count = 0
        # Of each column: how wide its cells are, and how its name is aligned.
        self._widths: dict[str, int] = {}
        self._is_numeric: dict[str, bool] = {}
        # As it stands above the rows that were printed last.
        self._header = ""
        self._is_vertical = False

    def add(self, rows: list[bytes]) -> bytes:
        """Take rows, and return the windows that they fill."""
        parts = []
        for row in rows:
            cells = {name: self._cell(bytes(raw)) for name, raw in read_members(row).items()}
            self._window.append(cells)
            self._window_size += sum(len(cell.text) for cell in cells.values())
            if len(self._window) >= WINDOW_ROWS or self._window_size >= _WINDOW_SIZE_MAX:
                parts.append(self.flush())
        return b"".join(parts)

    def flush(self) -> bytes:
        """Return the rows that are still waiting for others."""
        window, self._window, self._window_size = self._window, [], 0
        if not window:
            return b""
        self._measure(window)
        shown = self._shown_widths()
        lines = self._vertical(window) if shown is None else self._horizontal(window, shown)
        self._row_count += len(window)
        return "".join(line.rstrip(" ") + "\n" for line in lines).encode()

    def finish(self) -> bytes:
        """Return the last rows."""
        return self.flush()

    def _cell(self, text: bytes) -> Cell:
        string = read_string(text)
        shown = to_printable(self._beginning(text.decode() if string is None else string))
        if string is not None and shown in _AMBIGUOUS:
            shown = f'"{shown}"'
        return Cell(shown, is_number=text[0] in _NUMBER_STARTS)

    def _beginning(self, text: str) -> str:
        """Return as much of a text as may be shown, so that long ones take no time."""
        return text if self._width_max is None else text[: 4 * self._width_max + 1]

    def _measure(self, window: list[dict[str, Cell]]) -> None:
        if self._is_vertical:
            return
        for row in window:
            for name, cell in row.items():
                width = max(self._widths.get(name, 1), width_of(cell.text))
                self._widths[name] = width
                if cell.text != "null":
                    self._is_numeric.setdefault(name, cell.is_number)
            if len(self._widths) > _COLUMNS_MAX:
                self._is_vertical = True
                return
        for name in self._widths:
            self._widths[name] = max(self._widths[name], width_of(_title(name)))

    def _shown_widths(self) -> dict[str, int] | None:
        """Return the widths that fit side by side, None if they do not."""
        if not self._is_vertical:
            room = self._width_max
            if room is None:
                return self._widths
            room -= len(_BETWEEN) * (len(self._widths) - 1)
            widest = _widest_that_fits([*self._widths.values()], room)
            if widest >= min(_COLUMN_WIDTH_MIN, max(self._widths.values(), default=1)):
                return {name: min(width, widest) for name, width in self._widths.items()}
        self._is_vertical = True
        return None

    def _horizontal(self, window: list[dict[str, Cell]], widths: dict[str, int]) -> list[str]:
        titles = {
            name: Cell(_title(name), is_number=self._is_numeric.get(name, False)) for name in widths
        }
        header = _line(titles, widths)
        rule = "-+-".join("-" * width for width in widths.values())
        lines = [_line(row, widths) for row in window]
        if header + rule == self._header:
            return lines
        # Columns came, or became wider: what follows is another table.
        gap = [""] if self._header else []
        self._header = header + rule
        return [*gap, header, rule, *lines]

    def _vertical(self, window: list[dict[str, Cell]]) -> list[str]:
        lines = []
        for number, row in enumerate(window, start=self._row_count + 1):
            lines.append(f"-[ row {number} ]-")
            titles = {name: _title(name) for name in row}
            name_width = max(map(width_of, titles.values()), default=0)
            if self._width_max is not None:
                name_width = min(name_width, self._width_max // 2)
            for name, cell in row.items():
                text = cell.text
                if self._width_max is not None:
                    text = shorten(text, max(1, self._width_max - name_width - len(_BETWEEN)))
                title = _aligned(Cell(titles[name], is_number=False), name_width)
                lines.append(f"{title}{_BETWEEN}{text}")
        return lines


def _title(name: str) -> str:
    return to_printable(name) or '""'


def _line(cells: dict[str, Cell], widths: dict[str, int]) -> str:
    return _BETWEEN.join(
        _aligned(cells.get(name, _MISSING), width) for name, width in widths.items()
    )


def _aligned(cell: Cell, width: int) -> str:
    text = shorten(cell.text, width)
    padding = " " * (width - width_of(text))
    return padding + text if cell.is_number else text + padding


def _widest_that_fits(widths: list[int], room: int) -> int:
    """Return the width that columns may have at most, so that all of them fit into a room."""
    remaining = room
    for index, width in enumerate(sorted(widths)):
        share = remaining // (len(widths) - index)
        if width > share:
            return share
        remaining -= width
    return max(widths, default=0)
