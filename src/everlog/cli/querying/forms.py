"""The forms that rows are printed in: NDJSON, JSON and CSV; a writer takes rows and gives bytes.

Rows come as JSON texts and stay as they are, but in CSV. A writer keeps back no more than it needs,
so that an output may be far larger than memory.
"""

import re
from typing import Final, Protocol

import msgspec

from everlog.domain.errors import EverlogError

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

    def add(self, rows: list[bytes]) -> bytes:
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

    def add(self, rows: list[bytes]) -> bytes:
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

    def add(self, rows: list[bytes]) -> bytes:
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
    """A table as RFC 4180 has it, with the members of the first row as its columns.

    NULL is an empty field, an empty string a quoted one. Arrays and records stand in it as JSON.
    """

    def __init__(self) -> None:
        """Begin before the header."""
        self._columns: tuple[str, ...] = ()
        self._row_count = 0

    def add(self, rows: list[bytes]) -> bytes:
        """Return the lines of rows.

        Raises:
            RowFormError: A row has a member that the first one had not.
        """
        lines: list[str] = []
        for row in rows:
            members = read_members(row)
            if self._row_count == 0:
                self._columns = tuple(members)
                lines.append(_csv_line(self._columns))
            self._row_count += 1
            if not members.keys() <= frozenset(self._columns):
                raise RowFormError(self._strange(members), before="".join(lines).encode())
            cells = (members.get(column) for column in self._columns)
            lines.append(",".join(map(_csv_cell, cells)) + "\r\n")
        return "".join(lines).encode()

    def flush(self) -> bytes:
        """Return nothing: nothing is kept back."""
        return b""

    def finish(self) -> bytes:
        """Return nothing: the last line has its end."""
        return b""

    def _strange(self, members: dict[str, msgspec.Raw]) -> str:
        names = next(name for name in members if name not in self._columns)
        return (
            f"row {self._row_count} has a member {names!r}, which the first row has not: "
            "CSV needs the same columns in all rows; use --format ndjson, or project a record that "
            "names its members"
        )


def _csv_line(texts: tuple[str, ...]) -> str:
    return ",".join(map(_csv_field, texts)) + "\r\n"


def _csv_cell(raw: msgspec.Raw | None) -> str:
    if raw is None:
        return ""
    text = bytes(raw)
    if text == b"null":
        return ""
    string = read_string(text)
    return _csv_field(text.decode() if string is None else string)


def _csv_field(text: str) -> str:
    # Readers may take away the space around a field, and an empty one for NULL.
    if text and text == text.strip() and _find_special(text) is None:
        return text
    return '"' + text.replace('"', '""') + '"'
