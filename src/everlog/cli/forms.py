"""The forms that rows are printed in: NDJSON, JSON, CSV, tables and plans.

A writer takes rows as JSON texts and gives bytes. It keeps back no more than it needs, so that an
output may be far larger than memory. What programs read keeps the texts as they are, but for CSV.

What a client stored may hold anything (`texts`). Nothing of that is in a form that people
read, nor in CSV for a terminal; rows themselves are made printable by who prints them there.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from everlog.domain.errors import EverlogError
from everlog.texts import to_printable

# What CSV calls the rows that are no records.
VALUE_COLUMN: Final = "value"

_read_record = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_read_string = msgspec.json.Decoder(str).decode

_find_special = re.compile(r'[",\r\n]').search


class RowFormError(EverlogError):
    """A row that has no place in this form; `before` is what was made of the rows before it."""

    def __init__(self, message: str, *, before: bytes) -> None:
        super().__init__(message)
        self.before: Final = before


class Writer(Protocol):
    """Makes of rows what is printed."""

    def add(self, rows: Sequence[bytes]) -> bytes:
        """Take rows, and return what can be printed by now."""

    def flush(self) -> bytes:
        """Return what was kept back, since nobody should wait for it any longer."""

    def finish(self) -> bytes:
        """Return the rest; there are no more rows."""


def read_members(row: bytes) -> dict[str, msgspec.Raw]:
    """Return the members of a record, and anything else as its only member."""
    return _read_record(row) if row.startswith(b"{") else {VALUE_COLUMN: msgspec.Raw(row)}


def read_string(text: bytes) -> str | None:
    """Return the string that a JSON text is, None if it is anything else."""
    return _read_string(text) if text.startswith(b'"') else None


class NdjsonWriter:
    """One row on each line."""

    def add(self, rows: Sequence[bytes]) -> bytes:
        """Return the lines of rows."""
        return b"\n".join([*rows, b""])

    def flush(self) -> bytes:
        """Return nothing: nothing is kept back."""
        return b""

    def finish(self) -> bytes:
        """Return nothing: the last line has its end."""
        return b""


class JsonWriter:
    """One array of all rows, each on a line; without its end if the rows have none."""

    def __init__(self) -> None:
        """Begin before the array."""
        self._separator = b"[\n"

    def add(self, rows: Sequence[bytes]) -> bytes:
        """Return items of the array."""
        if not rows:
            return b""
        before, self._separator = self._separator, b",\n"
        return before + b",\n".join(rows)

    def flush(self) -> bytes:
        """Return nothing: nothing is kept back."""
        return b""

    def finish(self) -> bytes:
        """Return the end of the array."""
        return b"[]\n" if self._separator == b"[\n" else b"\n]\n"


class CsvWriter:
    """A table as RFC 4180 has it, with the members of the first row, or given ones, as its columns.

    NULL is an empty field, an empty string a quoted one. Arrays and records stand in it as JSON.
    """

    def __init__(
        self, show: Callable[[str], str] = str, *, columns: Sequence[str] | None = None
    ) -> None:
        """Begin before the header; `show` returns what is shown of a field's text."""
        self._show = show
        self._columns: tuple[str, ...] | None = None if columns is None else tuple(columns)
        self._row_count = 0

    def add(self, rows: Sequence[bytes]) -> bytes:
        """Return the lines of rows.

        Raises:
            RowFormError: A row has a member that the first one had not.
        """
        lines: list[str] = []
        for row in rows:
            members = read_members(row)
            if self._columns is None:
                self._columns = tuple(members)
            if self._row_count == 0:
                lines.append(self._line(self._columns))
            self._row_count += 1
            if not members.keys() <= frozenset(self._columns):
                raise RowFormError(self._strange(members), before="".join(lines).encode())
            cells = (members.get(column) for column in self._columns)
            lines.append(self._line(map(_csv_text, cells)))
        return "".join(lines).encode()

    def flush(self) -> bytes:
        """Return nothing: nothing is kept back."""
        return b""

    def finish(self) -> bytes:
        """Return nothing: the last line has its end."""
        return b""

    def _line(self, texts: Iterable[str | None]) -> str:
        fields = ("" if text is None else _csv_field(self._show(text)) for text in texts)
        return ",".join(fields) + "\r\n"

    def _strange(self, members: dict[str, msgspec.Raw]) -> str:
        columns = self._columns or ()
        names = next(name for name in members if name not in columns)
        return (
            f"row {self._row_count} has a member {names!r}, which the first row has not: "
            "CSV needs the same columns in all rows; use --format ndjson, or project a record that "
            "names its members"
        )


def _csv_text(raw: msgspec.Raw | None) -> str | None:
    """Return what a field says of a value, None if that is nothing."""
    if raw is None:
        return None
    text = bytes(raw)
    if text == b"null":
        return None
    string = read_string(text)
    return text.decode() if string is None else string


def _csv_field(text: str) -> str:
    # Readers may take away the space around a field, and an empty one for NULL.
    if text and text == text.strip() and _find_special(text) is None:
        return text
    return '"' + text.replace('"', '""') + '"'


class PlanWriter:
    """Writes each row, which is a plan, as indented text."""

    def add(self, rows: Sequence[bytes]) -> bytes:
        """Return the text of plans."""
        lines = [line for row in rows for line in render_plan(msgspec.json.decode(row))]
        return "".join(f"{line}\n" for line in lines).encode()

    def flush(self) -> bytes:
        """Return nothing: nothing is kept back."""
        return b""

    def finish(self) -> bytes:
        """Return nothing: the last line has its end."""
        return b""


def render_plan(plan: dict[str, Any]) -> list[str]:
    """Return a plan as lines: what belongs to something stands below it, two spaces further in."""
    lines: list[str] = []
    for name, value in plan.items():
        lines += _render_member(_words(name), value)
    return lines


def _render_member(title: str, value: Any) -> list[str]:
    match value:
        case dict() if value:
            return [f"{title}:", *_indented(render_plan(value))]
        case [dict(), *_]:
            parts = []
            for item in value:
                first, *others = render_plan(item)
                parts += [f"- {first}", *_indented(others)]
            return [f"{title}:", *_indented(parts)]
        case [_, _, *_]:
            return [f"{title}:", *_indented([f"- {to_printable(str(item))}" for item in value])]
        case [item]:
            return [f"{title}: {to_printable(str(item))}"]
        case dict():
            # No condition, in all places where there may be some.
            return [f"{title}: everything"]
        case []:
            return [f"{title}: nothing"]
        case _:
            return [f"{title}: {to_printable(str(value))}"]


def _indented(lines: list[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _words(name: str) -> str:
    """Return the words of a name such as `eventsInLog`."""
    return re.sub(r"[A-Z]", lambda match: f" {match[0].lower()}", name)


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
    """Writes tables, window by window, each column as wide as it needs and the screen has.

    The columns are the members of the records, in the order in which they first come; what is no
    record stands in a column of its own. NULL is `null`, a member that a record lacks is left
    empty; strings that would look like something else stand in quotes, and numbers at the right.
    Where the columns of a record do not fit side by side, they stand below each other. Without a
    width all are as wide as they need.
    """

    def __init__(
        self,
        *,
        width_max: int | None,
        columns: Sequence[str] | None = None,
        has_colours: bool = False,
    ) -> None:
        """Begin before the first row; of given columns, no other member is shown."""
        self._width_max = width_max
        self._columns = columns
        self._has_colours = has_colours
        self._window: list[dict[str, Cell]] = []
        self._window_size = 0
        self._row_count = 0
        # Of each column: how wide its cells are, and how its name is aligned.
        self._widths: dict[str, int] = {}
        self._is_numeric: dict[str, bool] = {}
        # As it stands above the rows that were printed last.
        self._header = ""
        self._is_vertical = False

    def add(self, rows: Sequence[bytes]) -> bytes:
        """Take rows, and return the windows that they fill."""
        parts = []
        for row in rows:
            members = read_members(row)
            names = members if self._columns is None else self._columns
            cells = {name: self._cell(bytes(members[name])) for name in names if name in members}
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
        if self._has_colours:
            header, rule = f"\033[1m{header}\033[0m", f"\033[2m{rule}\033[0m"
        return [*gap, header, rule, *lines]

    def _vertical(self, window: list[dict[str, Cell]]) -> list[str]:
        lines = []
        for number, row in enumerate(window, start=self._row_count + 1):
            rule = f"-[ row {number} ]-"
            lines.append(f"\033[2m{rule}\033[0m" if self._has_colours else rule)
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


_ELLIPSIS: Final = "\u2026"

# They stand on the letter before them.
_WITHOUT_WIDTH: Final = frozenset({"Mn", "Me"})


def width_of(text: str) -> int:
    """Return how many columns of a terminal a printable text takes."""
    return len(text) if text.isascii() else sum(map(_width_of_letter, text))


def shorten(text: str, width: int) -> str:
    """Return a text that is not wider than this; an ellipsis says that something is missing."""
    # No letter is worth looking at that is that far behind.
    if len(text) <= 4 * width and width_of(text) <= width:
        return text
    taken = 0
    for index, letter in enumerate(text):
        taken += _width_of_letter(letter)
        if taken >= width:
            return text[:index] + _ELLIPSIS
    return text


def _width_of_letter(letter: str) -> int:
    if letter.isascii():
        return 1
    if unicodedata.category(letter) in _WITHOUT_WIDTH:
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1
