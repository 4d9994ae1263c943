"""Printing rows on standard output, and how far it is on standard error.

Rows are printed as they come; a table's rows wait for each other, but not for long. Whoever reads
them may stop at any time, which is no error.
"""

import shutil
import sys
from collections.abc import Iterator
from typing import BinaryIO, Final

import click

from everlog.cli.forms import (
    CsvWriter,
    JsonWriter,
    NdjsonWriter,
    PlanWriter,
    RowFormError,
    TableWriter,
    Writer,
)
from everlog.cli.progress import Progress, describe_seconds
from everlog.cli.querying.faults import EXIT_OUTPUT_CLOSED, describe_error, exit_code_of
from everlog.domain.errors import EverlogError
from everlog.exit_codes import EXIT_OK
from everlog.process import give_up_output
from everlog.texts import to_printable, to_printable_json

# Rows that wait for others to stand in a table with them wait no longer than that.
_WAITING_SECONDS_MAX: Final = 0.5


def print_rows(
    rows: Iterator[list[bytes]],
    text: str,
    form: str | None,
    progress: Progress,
    *,
    is_explain: bool,
) -> int:
    """Print the rows of a query's text, and return the exit code.

    Without a form it is a table on a terminal, and NDJSON elsewhere. What a terminal would obey is
    shown as escapes there; whatever else reads the rows gets them as they are.
    """
    output = _open_output()
    is_terminal = output.isatty()
    form = form or ("table" if is_terminal else "ndjson")
    width = shutil.get_terminal_size().columns if is_terminal else None
    writer = _writer(form, is_explain=is_explain, width=width)
    if is_terminal:
        rows = ([*map(to_printable_json, chunk)] for chunk in rows)
    try:
        count, error = _copy(rows, writer, output, progress)
    except BrokenPipeError:
        give_up_output()
        progress.clear()
        return EXIT_OUTPUT_CLOSED
    progress.clear()
    if error is not None:
        click.echo(describe_error(error, text), err=True)
        return exit_code_of(error)
    if form == "table" and not isinstance(writer, PlanWriter):
        click.echo(f"({count_rows(count)}, {describe_seconds(progress.seconds)})", err=True)
    return EXIT_OK


def _open_output() -> BinaryIO:
    if sys.stdout is None:
        # Nobody reads, as if it had been closed later.
        sys.exit(EXIT_OUTPUT_CLOSED)
    return sys.stdout.buffer


def _writer(form: str, *, is_explain: bool, width: int | None) -> Writer:
    match form:
        case "ndjson":
            return NdjsonWriter()
        case "json":
            return JsonWriter()
        case "csv":
            return CsvWriter() if width is None else CsvWriter(to_printable)
        case _:
            return PlanWriter() if is_explain else TableWriter(width_max=width)


def _copy(
    rows: Iterator[list[bytes]], writer: Writer, output: BinaryIO, progress: Progress
) -> tuple[int, EverlogError | None]:
    """Print rows as they come; return how many there are, and why there are no more."""
    count = 0
    printed_at = progress.seconds

    def show(text: bytes) -> None:
        nonlocal printed_at
        if text:
            printed_at = progress.seconds
            progress.clear()
            _write(output, text)

    try:
        for chunk in rows:
            show(writer.add(chunk))
            count += len(chunk)
            if progress.seconds > printed_at + _WAITING_SECONDS_MAX:
                show(writer.flush())
        show(writer.finish())
    except RowFormError as error:
        show(error.before)
        return count, error
    except EverlogError as error:
        show(writer.flush())
        return count, error
    return count, None


def _write(output: BinaryIO, text: bytes) -> None:
    try:
        output.write(text)
        output.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        message = f"standard output cannot be written: {error.strerror}"
        raise click.ClickException(message) from error


def describe_rows(count: int, seconds: float) -> str:
    """Return how many rows there are so far."""
    return f"{count_rows(count)}, {describe_seconds(seconds)}"


def count_rows(count: int) -> str:
    """Return a number of rows in words."""
    return "1 row" if count == 1 else f"{count:,} rows"
